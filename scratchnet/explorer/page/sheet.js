// On a phone, the number that was touched is shown at the foot of the screen, below its map, until it is closed.
import { byId } from "./dom.js";

const small = matchMedia("(max-width: 760px)");
let opener = null;

/** Open the sheet for a number of this map. */
export function openSheet(map) {
  if (!small.matches) return;
  opener = map;
  document.body.classList.add("sheet-open");
  const sheet = byId("number").getBoundingClientRect(), box = map?.getBoundingClientRect();
  if (box && box.bottom > sheet.top) scrollBy({ top: box.bottom - sheet.top + 8 }); // the map stays in view
}

/** Close it; whether it was open. */
export function closeSheet() {
  if (!document.body.classList.contains("sheet-open")) return false;
  const inside = byId("number").contains(document.activeElement);
  document.body.classList.remove("sheet-open");
  if (inside && opener?.isConnected) opener.focus({ preventScroll: true });
  return true;
}

export function setUpSheet() {
  byId("close-number").onclick = closeSheet;
  small.addEventListener("change", closeSheet);
}
