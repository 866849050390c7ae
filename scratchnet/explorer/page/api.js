// What the page asks the server for. An exported page has no server: it brings one recorded walk, see `recorded`.
import { takeApart } from "./sums.js";

export const recorded = globalThis.RECORDED ?? null;
let page = "";
let asking = 0;

/** Ask the server; an error is the sentence that it answers with. */
export async function ask(action, request = {}) {
  busy(1);
  try { return await answerTo(action, request); } finally { busy(-1); }
}

function busy(more) {
  asking += more;
  document.body.setAttribute("aria-busy", asking > 0);
}

async function answerTo(action, request) {
  const response = await fetch(`api/${action}`, { method: "POST", body: JSON.stringify({ page, ...request }) });
  if (response.headers.get("Content-Type")?.startsWith("application/octet")) return unpack(await response.arrayBuffer());
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Begin: a page of its own on the server, which ends what it began when the page is closed. */
export async function open() {
  if (recorded) return recorded.info;
  page = (await ask("open")).page;
  addEventListener("pagehide", () => navigator.sendBeacon("api/close", JSON.stringify({ page })));
  return ask("describe");
}

/** The walk of the present image. */
export async function walk(training) {
  return recorded ? unpack(fromBase64(recorded.walk)) : ask("walk", { training });
}

/** Where one number comes from. */
export async function explain(walked, stage, array, index, layer) {
  if (recorded) return takeApart(walked, stage, array, index, layer);
  return ask("explain", { stage, array, index, layer });
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

/** The bytes of a recording: its header, in which each array now has its numbers (none if it is too long). */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const stage of header.stages) {
    for (const array of Object.values(stage.arrays)) {
      const size = array.shape.reduce((a, b) => a * b, 1);
      array.data = array.at < 0 ? null : new Float32Array(buffer, 4 + length + 4 * array.at, size);
    }
  }
  return header;
}
