// The whole network as a row of stages: activations above, gradients below. The stage that is shown is framed, those
// that were passed are underlined.
import { colourOf } from "./colour.js";
import { byId, make } from "./dom.js";
import { thumbnail } from "./maps.js";

let cells = [];

/** Build the row: one column for each layer and the loss, with a button for its forward and one for its backward. */
export function buildRow(stages, go) {
  const forward = stages.filter((stage) => stage.direction === "forward");
  cells = new Array(stages.length);
  const columns = forward.map((stage, k) => {
    const mirrored = stages.length - 1 - k;
    cells[k] = stageButton(stage, k, go);
    cells[mirrored] = stageButton(stages[mirrored], mirrored, go);
    return make("div", { class: "column" }, make("span", { class: "column-name", title: stage.kind }, shortName(stage)), cells[k], cells[mirrored]);
  });
  byId("strip").replaceChildren(make("div", { class: "sides", "aria-hidden": "true" }, make("span"), make("span", {}, "forward", make("br"), "out →"), make("span", {}, "backward", make("br"), "← dx")), ...columns);
}

const shortName = (stage) => (stage.kind === "Loss" ? "loss" : stage.layer);

function stageButton(stage, k, go) {
  return make("button", { type: "button", class: stage.direction, "aria-label": `stage ${k + 1}: ${stage.name}`, title: `${k + 1}  ${stage.name}`, click: () => go(k) }, make("canvas"), make("small", { "aria-hidden": "true" }, String(k + 1)));
}

/** What a stage makes: the array that its picture shows. */
export const madeBy = (stage) => (stage.kind === "Loss" ? (stage.direction === "forward" ? "p" : "dlogits") : stage.direction === "forward" ? "out" : "dx");

/** Draw the pictures of a new walk. */
export function drawRow(stages) {
  stages.forEach((stage, k) => thumbnail(cells[k].firstChild, stage.arrays[madeBy(stage)]));
}

/** Frame the present stage, and bring it into view. */
export function markRow(at) {
  cells.forEach((cell, k) => {
    cell.setAttribute("aria-current", k === at ? "step" : "false");
    cell.classList.toggle("passed", k < at);
    cell.tabIndex = k === at ? 0 : -1; // one stop for Tab; the arrow keys go on from there
  });
  const strip = byId("strip"), column = cells[at].parentElement;
  if (strip.contains(document.activeElement)) cells[at].focus({ preventScroll: true });
  const left = column.offsetLeft - strip.clientWidth / 2 + column.clientWidth / 2;
  strip.scrollTo({ left, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** The colour scale, drawn with the function that colours everything. */
export function drawLegend() {
  const canvas = make("canvas", { width: 201, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let k = 0; k <= 200; k++) {
    context.fillStyle = `rgb(${colourOf((k - 100) / 100).join(",")})`;
    context.fillRect(k, 0, 1, 1);
  }
  byId("legend").replaceChildren(make("span", {}, "−largest"), canvas, make("span", {}, "largest"), make("span", { class: "quiet" }, "blue is negative, and has a − where there is room; white is 0, orange is positive; each array has its own scale"));
}
