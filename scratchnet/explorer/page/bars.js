// The probabilities, a bar for each class.
import { byId, make } from "./dom.js";

/** Build the bars for these classes. */
export function buildBars(classes) {
  byId("bars").replaceChildren(...classes.map((name) => make("li", {}, make("span", { class: "class-name" }, name), make("span", { class: "meter" }, make("i")), make("output", {}, ""))));
}

/** Show probabilities; the class of the label is framed, the most likely one is bold. */
export function showBars(probabilities, label) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  [...byId("bars").children].forEach((line, k) => {
    line.querySelector("i").style.setProperty("width", `${100 * probabilities[k]}%`);
    line.querySelector("output").textContent = `${(100 * probabilities[k]).toFixed(1)} %`;
    line.classList.toggle("best", k === best);
    line.classList.toggle("label", k === label);
    line.title = probabilities[k].toPrecision(6);
  });
  byId("bars").setAttribute("aria-label", `most likely: ${byId("bars").children[best].firstChild.textContent}, ${(100 * probabilities[best]).toFixed(1)} percent`);
}
