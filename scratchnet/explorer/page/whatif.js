// What if: change one weight or one pixel, and compare what the gradient predicts for the loss with what happens.
import { ask } from "./api.js";
import { byId, make, nameOf, short } from "./dom.js";

let target = null;

/** Set up the form. `changed(answer)` is called after each change. */
export function setUpWhatIf(changed) {
  byId("what-if-form").onsubmit = async (event) => {
    event.preventDefault();
    if (!target) return;
    const answer = await ask("what-if", { ...target, delta: Number(byId("delta").value) });
    byId("what-if-result").replaceChildren(...resultOf(answer));
    changed(answer, "what-if-result");
  };
  const takeBack = (all) => async () => {
    const answer = await ask("undo", { all });
    byId("what-if-result").replaceChildren(`Taken back: the change of ${answer.undone.map((what) => `the ${what}`).join(", of ")}.`);
    changed(answer, "what-if-result");
  };
  byId("undo").onclick = takeBack(false);
  byId("reset").onclick = takeBack(true);
  setTarget(null);
}

/** The weight or pixel that a number stands for, if it does: that of w, b, dw and db, and of the first x and the last dx. */
export function targetOf(stages, at, array, index) {
  const stage = stages[at];
  const inner = { w: "w", b: "b", dw: "w", db: "b" }[array];
  if (inner && stage.kind !== "Loss") return { kind: "weight", name: `${stage.layer}.${inner}`, index };
  if ((array === "x" && at === 0) || (at === stages.length - 1 && (array === "dx" || array === "x"))) return { kind: "pixel", index };
  return null;
}

/** Choose what the form changes; null keeps what it was, so that moving on does not lose it. */
export function setTarget(found) {
  if (found && target && JSON.stringify(found) !== JSON.stringify(target)) byId("what-if-result").replaceChildren(); // it was of another one
  target = found ?? target;
  byId("what-if-form").querySelector("button[type=submit]").disabled = !target;
  byId("what-if-target").replaceChildren(...(target
    ? ["Change ", make("b", {}, target.kind === "pixel" ? `${nameOf("x", target.index)}, a pixel of the digit` : `${target.name}[${target.index.join(", ")}]`), ": does the loss move as its gradient says?"]
    : ["Select a weight (in w, b, dw or db) or a pixel of the digit (x of the first stage), and change it: does the loss move as its gradient says?"]));
}

function resultOf(answer) {
  const line = (name, value, id) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { id }, value));
  return [make("table", {}, make("tbody", {},
    line("the gradient predicts", `${short(answer.grad)} × ${short(answer.delta)} = ${short(answer.predicted)}`, "predicted"),
    line("the loss really moved by", short(answer.happened), "happened"),
    line("loss before", short(answer.before), "loss-before"), line("loss after", short(answer.after), "loss-after"))),
  make("p", { class: "quiet" }, verdict(answer))];
}

/** Another label has no slope: it is not a number that moves. But the loss is another. */
export function showLabelChange({ before, after }) {
  byId("what-if-result").replaceChildren(make("p", {}, "With this label the loss is ", make("b", { id: "label-after" }, short(after)), `; it was ${short(before)}. No slope predicts that: a label does not move by a little.`));
}

function verdict({ predicted, happened }) {
  if (predicted === 0 && happened === 0) return "No effect, as predicted.";
  const off = Math.abs(happened - predicted) / Math.max(Math.abs(happened), Math.abs(predicted));
  if (off < 0.02) return "They agree. The gradient is the slope of the loss here.";
  return `They differ by ${Math.round(100 * off)} %. The slope holds for small steps; the loss is curved. Try a smaller one.`;
}
