// What the letters and names of a stage mean: those of its arrays and of their indices, in a short list.
import { byId, make } from "./dom.js";

const NAMES = {
  x: "what goes into the layer", out: "what comes out of it", w: "its weights", b: "its biases, one for each filter or unit",
  dout: "the gradient of the loss by out: how much the loss rises if a number of out does", dx: "the gradient by x: what the layer before gets as its dout",
  dw: "the gradient by w: what an optimiser takes its step along", db: "the gradient by b",
  z: "the logits: one number for each class, before softmax", p: "the probabilities: softmax of the logits",
  loss: "−log p of the label: 0 if the network is sure and right", dlogits: "the gradient of the loss by the logits: p − (1 for the label)",
  mask: "what dropout multiplies by: 0, or 1 / (1 − rate)", argmax: "which number of each window was the largest",
  xhat: "x, normalised: mean 0 and deviation 1 in each channel",
};
const LETTERS = {
  n: "the image of the batch; here there is one, number 0", i: "the row of out", j: "the column of out", c: "the channel of x", f: "the filter: a channel of out",
  kh: "the row in the kernel, or in the window", kw: "the column in it", m: "which of the multiplier's kernels of a channel", row: "the row of x", column: "the column of x", k: "the class, or the place in a vector", o: "the unit: a number of out",
};
const IN_DENSE = { i: "the number of x", o: LETTERS.o };

/** What a name or a letter means, in a stage of this kind of layer; undefined if it is not in the list. */
export const meaning = (name, kind) => NAMES[name] ?? (kind === "Dense" ? IN_DENSE[name] : undefined) ?? LETTERS[name];

/** List the names of the arrays that are shown of a stage, and the letters of their indices. */
export function showGlossary(stage, arrays) {
  const names = arrays.filter((name) => NAMES[name]);
  const letters = ["n", ...new Set(Object.values(stage.named).flat().concat(stage.over))].filter((name) => LETTERS[name]);
  byId("letters").replaceChildren(...[...names, ...letters].flatMap((name) => [make("dt", {}, name), make("dd", {}, meaning(name, stage.kind))]));
}
