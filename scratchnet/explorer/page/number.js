// One number: the products that it is the sum of, as the server (or the recording) took them apart.
import { byId, make, nameOf, short } from "./dom.js";
import { countOf, gridsOf, isPool } from "./grids.js";

const MADE_BESIDE = { // what a stage makes on its way to what it returns, or keeps for its backward
  mask: "The mask that the forward drew: 0 drops a number, and the others scale what is kept, so that the mean stays.",
  argmax: "Which number of the window was the largest, counted row by row from 0. The forward keeps it; the gradient goes there alone.",
  xhat: "x, less the mean of its channel and divided by the deviation: what w scales and b shifts.",
  "w/deviation": "The scale w of each channel, divided by the deviation of its numbers.",
  "1/count": "1 over how many numbers of the image are in the window: padding is not counted.",
  A: "How much of each row of x is in each row of out: the weights of the interpolation.",
  B: "How much of each column of x is in each column of out: the weights of the interpolation.",
  "exp(z - max)": "e to the power of the logit less the largest one, so that nothing overflows. Divided by their sum, it is p.",
  "1/sum": "1 over the sum of exp(z - max) of all classes: it makes the p add up to 1.",
  "-log p": "Minus the logarithm of p: what the loss would be if this class were the label.",
  "is label": "1 for the class of the label, 0 for all others.",
};

/** Show where a number comes from. `choose(layer)` asks for another value of a sum's third index, `takeWeight(index)` for
 * a weight that the reader wants to change. `use` says what the stage makes of its input: see `usedBy`. */
export function showNumber(array, index, found, use, choose, takeWeight) {
  const name = nameOf(array, index);
  byId("number-value").replaceChildren(make("b", {}, name), " = ", make("output", { id: "value" }, short(found.value)));
  byId("number-parts").replaceChildren(...(found.sums ? partsOf(found, choose, takeWeight) : [make("p", { class: "quiet" }, MADE_BESIDE[array] ?? usedBy(use))]));
}

/** Which numbers an input is used for: of `use.made`, those in the ranges `use.ranges`. */
function usedBy(use) {
  const rest = "Select a number of what the stage makes to see its terms.";
  if (!use) return `An input of this stage, not made by it. ${rest}`;
  if (!use.ranges) return `An input of this stage. No number of ${use.made} uses it.`;
  const places = use.ranges.map(([low, high]) => (low === high ? low : `${low}:${high + 1}`));
  return `An input of this stage. It is used by ${nameOf(use.made, places)}, framed in ${use.made}. ${rest}`;
}

export function showNoNumber() {
  byId("number-value").replaceChildren(make("span", { class: "quiet" }, "Point at a number, or select one with the keyboard."));
  byId("number-parts").replaceChildren();
}

function partsOf(found, choose, takeWeight) {
  const blocks = found.sums.map((part) => make("div", { class: "part" }, ...blockOf(part, choose, takeWeight)));
  if (found.sums.length > 1) {
    const terms = found.sums.flatMap((part, k) => [k ? " + " : "", short(part.total)]);
    blocks.push(make("p", { class: "total" }, ...terms, " = ", make("b", {}, short(found.total))));
  }
  return blocks;
}

/** The name of a factor; of a plain entry with its index. */
function sourceOf(part, k) {
  const name = part.factors[k], ranges = part.touched[name];
  return ranges ? nameOf(name, ranges.map((range) => range[0])) : name;
}

const signed = (part) => (part.scale === 1 ? [] : part.scale === -1 ? ["−"] : [short(part.scale), " × "]);
const product = (part) => [...signed(part), part.factors.join(" × ")];

function blockOf(part, choose, takeWeight) {
  if (part.values) {
    const terms = part.values.flatMap((value, k) => [k ? " × " : "", make("span", { class: "term" }, make("i", {}, sourceOf(part, k)), short(value))]);
    return [make("p", { class: "line" }, ...signed(part), ...terms, " = ", make("b", {}, short(part.total)))];
  }
  if (part.grid && isPool(part)) return [...gridsOf(part), make("p", { class: "line" }, `the largest of ${countOf(part)} = `, make("b", {}, short(part.total)))];
  const sum = make("p", { class: "line" }, `sum over ${part.over.join(", ")} of `, ...product(part), " = ", make("b", {}, short(part.total)));
  return part.terms ? [...listOf(part, takeWeight), sum] : [...gridsOf(part), ...layersOf(part, choose), sum];
}

/** The largest terms of a long sum, and what the others add up to. */
function listOf(part, takeWeight) {
  const most = Math.max(...part.terms.map((term) => Math.abs(term.product)), 1e-30);
  const lines = part.terms.slice(0, 12).map((term) => make("tr", {},
    make("th", { scope: "row" }, term.w ? make("button", { type: "button", class: "plain", title: "what if this weight were another?", click: () => takeWeight(term.w) }, `${part.over[0]} = ${term.at}`) : `${part.over[0]} = ${term.at}`), ...term.values.map((value) => make("td", {}, short(value))),
    make("td", {}, short(term.product)), make("td", { class: "share" }, bar(term.product / most))));
  const hidden = part.terms.slice(12).reduce((sum, term) => sum + term.product, 0);
  const count = Math.max(part.terms.length - 12, 0) + part.rest.count;
  const head = make("tr", {}, make("th", { scope: "col" }, "largest"), ...part.factors.map((f) => make("th", { scope: "col" }, f)), make("th", { scope: "col" }, "product"), make("th"));
  if (count) lines.push(make("tr", { class: "rest" }, make("th", { scope: "row", colspan: 1 + part.factors.length }, `the other ${count.toLocaleString("en")}`), make("td", {}, short(hidden + part.rest.sum)), make("td")));
  return [make("table", { class: "terms" }, make("thead", {}, head), make("tbody", {}, ...lines))];
}

function bar(share) {
  const fill = make("i");
  fill.style.setProperty("width", `${Math.abs(share) * 100}%`);
  fill.className = share < 0 ? "minus" : "plus";
  return make("span", { class: "share-bar" }, fill);
}

/** The partial sums over the third index, one of which is shown in full. */
function layersOf(part, choose) {
  if (!part.layers || part.layers.length === 1) return [];
  const most = Math.max(...part.layers.map(Math.abs), 1e-30);
  const name = part.over[2];
  const buttons = part.layers.map((value, k) => {
    const fill = make("i");
    fill.style.setProperty("height", `${value === 0 ? 0 : Math.max((Math.abs(value) / most) * 100, 4)}%`);
    fill.className = value < 0 ? "minus" : "plus";
    return make("button", { type: "button", "aria-pressed": k === part.layer, "aria-label": `${name} = ${k}: ${short(value)}`, title: `${name} = ${k}: ${short(value)}`, tabindex: k === part.layer ? "0" : "-1",
      click: () => choose(k), keydown: (e) => { const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key]; if (step) { e.preventDefault(); e.stopPropagation(); choose(k + step, true); } } }, fill);
  });
  return [make("p", { class: "line" }, `${name} = ${part.layer}: these products add up to `, make("b", {}, short(part.layers[part.layer]))),
    make("div", { class: "layers", role: "group", "aria-label": `partial sums by ${name}` }, ...buttons)];
}
