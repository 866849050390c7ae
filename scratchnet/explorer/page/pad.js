// The pad. It keeps strokes as points; Python draws them into the image that the network sees.
import { byId } from "./dom.js";
import { paint } from "./colour.js";

let strokes = [];
let drawing = false;

/** Set up the pad. `changed(strokes, ended)` is called while a stroke is drawn, and at its end. */
export function setUpPad(changed) {
  const pad = byId("pad");
  const point = (event) => {
    const box = pad.getBoundingClientRect();
    const inside = (share) => Math.round(Math.min(1, Math.max(0, share)) * 1e4) / 1e4;
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  };
  pad.onpointerdown = (event) => {
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    drawing = true;
    strokes.push([point(event)]);
    redraw();
    changed(strokes, false);
  };
  pad.onpointermove = (event) => {
    if (!drawing) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(point(each));
    redraw();
    changed(strokes, false);
  };
  pad.onpointerup = pad.onpointercancel = () => {
    if (!drawing) return;
    drawing = false;
    changed(strokes, true);
  };
  byId("clear").onclick = () => { clearPad(); changed(strokes, true); };
}

export function clearPad() {
  strokes = [];
  redraw();
}

function redraw() {
  const pad = byId("pad"), context = pad.getContext("2d");
  context.clearRect(0, 0, pad.width, pad.height);
  context.lineWidth = pad.width / 14;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = getComputedStyle(pad).color;
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y]) => context.lineTo(x * pad.width, y * pad.height));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * pad.width + 0.1, stroke[0][1] * pad.height);
    context.stroke();
  }
  byId("pad-hint").hidden = strokes.length > 0;
}

/** Draw the image that the network sees: light on black, as its numbers are; its first channel. */
export function drawSeen(image, shape) {
  const canvas = byId("seen");
  const [rows, columns, channels = 1] = shape.length > 1 ? shape : [1, shape[0]];
  paint(canvas, rows, columns, (r, c) => image[(r * columns + c) * channels], 1);
}
