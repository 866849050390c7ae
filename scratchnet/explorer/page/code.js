// The book's own source for the present stage, with the line marked that makes the selected array.
import { ask, recorded } from "./api.js";
import { byId, make, nameOf } from "./dom.js";
import { closeSheet } from "./sheet.js";

let shown = "";

/** Show a function, and mark the line that makes `array`; say that line beside the number, too. */
export function showCode(stage, array) {
  const source = stage.elsewhere[array] ?? stage;
  const lines = byId("code-lines");
  const key = `${source.file}:${source.title}`;
  if (key !== shown) {
    shown = key;
    byId("code-file").replaceChildren(make("b", {}, source.title), ` in ${source.file}`);
    lines.replaceChildren(...source.lines.map(([number, text]) => make("li", { value: number, "data-line": number }, make("code", {}, ...coloured(text)))));
  }
  const wanted = source.marks[array];
  const text = source.lines.find(([number]) => number === wanted)?.[1];
  byId("to-line").replaceChildren(...(text ? [`${source.file.split("/").at(-1)}:${wanted} `, make("code", {}, text.trim())] : ["no line of this stage makes it"]));
  byId("to-line").setAttribute("aria-disabled", !text);
  for (const line of lines.children) {
    if (+line.dataset.line === wanted) line.setAttribute("aria-current", "true"); else line.removeAttribute("aria-current");
  }
  keepLineInView();
}

/** Scroll the list, and not the page, to the marked line. */
export function keepLineInView() {
  const lines = byId("code-lines"), box = lines.getBoundingClientRect();
  const at = lines.querySelector("[aria-current]")?.getBoundingClientRect();
  if (at && (at.top < box.top || at.bottom > box.bottom)) lines.scrollTop += at.top - box.top - box.height / 3;
}

/** A line of Python with its comment and its first word told apart. */
function coloured(text) {
  const hash = text.search(/(^|\s)# /);
  const code = hash < 0 ? text : text.slice(0, hash);
  const parts = code.split(/\b(def|return|for|in|if|else|is|not|None|while|with|and|or)\b/).map((part, k) => (k % 2 ? make("b", {}, part) : part));
  return hash < 0 ? (text ? parts : [" "]) : [...parts, make("i", {}, text.slice(hash))];
}

/** The line beside the number leads to the function around it. */
export function setUpLine() {
  byId("to-line").onclick = () => {
    closeSheet();
    byId("code-lines").focus({ preventScroll: true });
    byId("code").scrollIntoView({ block: "nearest" });
  };
}

/** The buttons that copy what opens a debugger at that very line. `present()` gives the stage and the array. */
export function setUpCopying(present) {
  if (recorded) return;
  const copy = async (kind) => {
    const { source, index, ...held } = present();
    const found = await ask("debug", held);
    if (found.why) { tell(found.why); return; }
    const text = kind === "pdb" ? found.pdb : JSON.stringify(found.vscode, null, 2);
    try { await navigator.clipboard.writeText(text); } catch { tell(text); return; }
    tell(kind === "pdb" ? `Copied. Paste it into a terminal: pdb stops before the marked line, with this image. ${howToSee(source, held.array, index)}` : `Copied. Paste it into the list configurations of .vscode/launch.json, and set a breakpoint at ${found.at}.`);
  };
  byId("copy-pdb").onclick = () => copy("pdb");
  byId("copy-vscode").onclick = () => copy("vscode");
}

/** What to type once pdb has stopped, to see the held number made. */
function howToSee(source, array, index) {
  const text = source.lines.find(([number]) => number === source.marks[array])?.[1].trim() ?? "";
  if (text.startsWith("return ")) return "Type n, then retval.";
  return text.startsWith(`${array} = `) && array.startsWith("d") ? `Type n, then p ${nameOf(array, index)}` : "Type n to run it.";
}

function tell(text) {
  byId("copied").textContent = text;
}
