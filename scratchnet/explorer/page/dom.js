// Small helpers for elements and for writing numbers.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a function as an attribute listens to that event. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect", "text", "g", "polyline"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A number with four significant digits. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e5) return String(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(3) : value.toPrecision(4);
}

/** How numbers are written in small cells: all divided by one power of ten, so that they are short; and its name.
 * `most` is 1e-30 if all are 0. */
export function cellScale(most) {
  const power = most >= 100 || (most < 0.1 && most > 1e-30) ? Math.floor(Math.log10(most)) : 0;
  return { factor: 10 ** -power, name: power ? ` in 10${[...String(power)].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(sign)]).join("")}` : "" };
}

/** A number for a small cell. */
export function tiny(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.005) return "≈0";
  return value.toFixed(size >= 10 ? 0 : size >= 1 ? 1 : 2).replace(/^(-?)0\./, "$1.");
}

/** The name of a number: out[0, 5, 7, 3]. Arrays of a batch have their image first, which is always 0 here. */
export function nameOf(array, index) {
  const places = isOfBatch(array) ? [0, ...index] : index;
  return places.length ? `${array}[${places.join(", ")}]` : array;
}

const WITHOUT_BATCH = new Set(["w", "b", "dw", "db", "loss", "dloss", "A", "B", "1/count", "w/deviation"]);
const isOfBatch = (array) => !WITHOUT_BATCH.has(array);

/** Call a function again and again, but never while its last call has not ended; the newest arguments win. */
export function oneAtATime(work) {
  let running = false, waiting = null;
  return async function run(...given) {
    if (running) { waiting = given; return; }
    running = true;
    try { await work(...given); } finally {
      running = false;
      if (waiting) { const next = waiting; waiting = null; run(...next); }
    }
  };
}
