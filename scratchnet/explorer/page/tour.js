// Help for a first visit: three sentences, then a tour that can be skipped.
import { recorded } from "./api.js";
import { byId } from "./dom.js";

const HELLO = recorded
  ? "This page is one digit's recorded walk through a network. The row shows every stage: activations above, gradients below. Click a stage, then point at any number to see what it is the sum of, and the line of code that made it."
  : "Draw a digit, and watch the probabilities move. The row shows every stage of the network: activations above, gradients below. Click a stage, then point at any number to see what it is the sum of, and the line of code that made it.";
const STOPS = [
  ["draw", "Draw here with mouse, finger or pen, or choose one of the images below: of each digit the one that the network is surest of, and the least sure. The label says what the digit should be; the loss and all gradients depend on it."],
  ["row", "Each column is a layer. The right arrow key goes forward through the upper row, and then backward through the lower one. Space plays."],
  ["layer", "One layer: what goes in and what comes out, channel by channel, with its weights. Click a number to hold it; arrow keys move from there. The up and down keys turn the channels."],
  ["number", "Where that number comes from: the patch, the kernel, each product and their sum, and the line of code. From there you can go to the stage that made a number, and to the one that uses it."],
  ["code", "The function that computes this stage, from the book of the library. The marked line makes the selected array. The button copies a command that stops a debugger there."],
  ["what-if", "Change a weight or a pixel, and compare the slope's prediction with what the loss really does."],
  ["learn", "Let the network learn: one step on your digit, or many on the data while you look on. Rewind whenever you like."],
];
const INSTEAD = recorded ? { // a recorded page has no pad, and nothing to copy
  draw: "The image, and the probabilities that the network gives it. The framed one is its label; the loss and all gradients depend on it.",
  code: "The function that computes this stage, from the book of the library. The marked line makes the selected array.",
} : {};

let at = -1;

export function setUpTour() {
  byId("help").onclick = () => beginTour();
  byId("tour-next").onclick = () => goOn(at + 1);
  byId("tour-skip").onclick = () => endTour();
  byId("tour").addEventListener("close", () => mark(null));
  if (!remembered()) beginTour();
}

const stops = () => STOPS.filter(([id]) => !byId(id).hidden && byId(id).offsetParent !== null);

function beginTour() {
  at = -1;
  byId("tour").show();
  goOn(-1);
  byId("tour-next").focus({ preventScroll: true });
}

function goOn(to) {
  const places = stops();
  if (to >= places.length) { endTour(); return; }
  at = to;
  byId("tour-text").textContent = to < 0 ? HELLO : INSTEAD[places[to][0]] ?? places[to][1];
  byId("tour-count").textContent = to < 0 ? "" : `${to + 1} of ${places.length}`;
  byId("tour-next").textContent = to < 0 ? "Show me" : to === places.length - 1 ? "Done" : "Next";
  mark(to < 0 ? null : byId(places[to][0]));
}

function mark(section) {
  document.querySelectorAll(".toured").forEach((each) => each.classList.remove("toured"));
  section?.classList.add("toured");
  section?.scrollIntoView({ block: "nearest" });
}

function endTour() {
  byId("tour").close();
  byId("strip").querySelector("[tabindex='0']")?.focus({ preventScroll: true }); // where the keys go on
  try { localStorage.setItem("scratchnet-explorer-tour", "seen"); } catch { /* a page from disk may not remember */ }
}

function remembered() {
  try { return localStorage.getItem("scratchnet-explorer-tour") === "seen"; } catch { return false; }
}
