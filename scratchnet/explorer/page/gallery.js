// Images of the data set to choose from: of each class the one that the network is surest of, and below it the least sure.
import { ask } from "./api.js";
import { paint } from "./colour.js";
import { byId, make } from "./dom.js";

/** Fill the strip. `choose(digit)` is called for the one that is chosen. Returns a digit to begin with. */
export async function setUpGallery({ classes }, choose) {
  const { first, shape, images } = await ask("gallery");
  const [rows, columns, channels = 1] = shape.length > 1 ? shape : [1, shape[0]];
  byId("gallery").replaceChildren(...images.map(({ digit, label, read, image }, k) => {
    const said = label === read ? `${classes[label]}` : `${classes[label]}, read as ${classes[read]}`;
    const canvas = make("canvas", { "aria-hidden": "true" });
    paint(canvas, rows, columns, (r, c) => image[(r * columns + c) * channels], 1);
    return make("button", { type: "button", "data-digit": digit, class: label === read ? "" : "misread", tabindex: k ? "-1" : "0", "aria-pressed": "false",
      "aria-label": `image ${digit}: a ${said}`, title: `image ${digit}: a ${said}`, click: () => choose(digit), keydown: (e) => moveIn(e, k) },
    canvas, make("small", { "aria-hidden": "true" }, label === read ? classes[label] : `${classes[label]} → ${classes[read]}`));
  }));
  return first;
}

function moveIn(event, k) {
  const step = { ArrowRight: 2, ArrowLeft: -2, ArrowDown: 1, ArrowUp: -1 }[event.key]; // two rows, column by column
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  byId("gallery").children[k + step]?.focus();
}

/** Mark the image that is shown; none if it was drawn. */
export function markInGallery(digit) {
  const buttons = [...byId("gallery").children];
  const shown = buttons.findIndex((button) => Number(button.dataset.digit) === digit);
  buttons.forEach((button, k) => {
    button.setAttribute("aria-pressed", k === shown);
    button.tabIndex = k === Math.max(shown, 0) ? 0 : -1;
  });
}
