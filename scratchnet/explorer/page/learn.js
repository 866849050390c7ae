// Learning: one step on the digit, before and after; or training while one looks on.
import { ask } from "./api.js";
import { byId, make, short } from "./dom.js";

const POLL = 250; // milliseconds between two looks at a training
const RATES = { sgd: 0.05, momentum: 0.01, adam: 0.001 };
let losses = [];
let running = false;

/** Set up the buttons. `changed(answer)` is called whenever the weights have changed. */
export function setUpLearning(info, changed) {
  byId("optimizer").replaceChildren(...info.optimizers.map((name) => make("option", {}, name)));
  byId("optimizer").onchange = () => { byId("lr").value = RATES[byId("optimizer").value]; };
  byId("lr").value = RATES[info.optimizers[0]];
  byId("rewind-first").hidden = !info.first;
  const chosen = () => ({ optimizer: byId("optimizer").value, lr: Number(byId("lr").value) });
  byId("learn-form").onsubmit = async (event) => {
    event.preventDefault();
    await stop(changed);
    const answer = await ask("learn", chosen());
    byId("learn-result").replaceChildren(...stepResult(answer));
    changed(answer, "learn-result");
  };
  byId("train").onclick = async () => {
    if (running) { await stop(changed); return; }
    show(await ask("train", { go: true, ...chosen() }));
    poll(changed);
  };
  byId("one-batch").onclick = async () => {
    await stop(changed);
    const answer = await ask("train", { go: true, once: true, ...chosen() });
    show(answer);
    changed(answer, "learn-result");
  };
  for (const [id, first] of [["rewind", false], ["rewind-first", true]]) {
    byId(id).onclick = async () => {
      losses = [];
      const answer = await ask("rewind", { first });
      show(answer);
      byId("learn-result").textContent = first ? "These are the weights before any training." : "These are the weights that the network was opened with.";
      changed(answer, "learn-result");
    };
  }
  drawCurve([], []);
}

async function stop(changed) {
  if (!running) return;
  const answer = await ask("train", { go: false });
  show(answer);
  changed(answer, "learn-result");
}

async function poll(changed) {
  while (running) {
    await new Promise((resolve) => setTimeout(resolve, POLL));
    if (!running) return;
    const answer = await ask("progress", { since: losses.length });
    show({ ...answer, losses: [...losses, ...answer.losses] });
    await changed(answer, "learn-result");
  }
}

/** Show how training goes; `answer.losses` has all of them. */
function show(answer) {
  losses = answer.losses;
  running = answer.running;
  byId("train").textContent = running ? "Pause" : answer.step ? "Go on training" : "Train on the data";
  byId("train").setAttribute("aria-pressed", running);
  const [, loss, accuracy] = answer.tests.at(-1) ?? [];
  const text = [answer.step === 1 ? "1 step" : `${answer.step} steps`];
  if (losses.length) text.push(`mean loss of the last ones ${short(meanOf(losses.slice(-20)))}`);
  if (accuracy !== undefined) text.push(`${(100 * accuracy).toFixed(1)} % of the first ${answer.tested} test images right at the last look, their loss ${short(loss)}`);
  byId("learn-result").textContent = answer.fault || text.join(" · ");
  drawCurve(losses, answer.tests);
}

const meanOf = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function stepResult(answer) {
  const most = Object.entries(answer.moved).sort((a, b) => b[1] - a[1])[0];
  return [make("p", {}, "Loss of this digit: ", make("b", { id: "step-before" }, short(answer.before)), " → ", make("b", { id: "step-after" }, short(answer.after)),
    `. Its label had ${(100 * answer.p_before[answer.label]).toFixed(1)} %, now ${(100 * answer.p_after[answer.label]).toFixed(1)} %. The largest change of a weight was ${short(most[1])}, in ${most[0]}.`)];
}

/** The losses of the steps, and of the test images: `tests` has [step, loss, accuracy]. Both are those of the weights
 * after so many steps. */
function drawCurve(values, tests) {
  const svg = byId("curve"), [width, height, left, bottom] = [360, 140, 34, 18];
  const most = Math.max(...values, ...tests.map(([, loss]) => loss), 0.1);
  const x = (k) => left + (k / Math.max(values.length, 1)) * (width - left - 6);
  const y = (v) => height - bottom - (Math.min(v, most) / most) * (height - bottom - 8);
  const every = Math.max(1, Math.floor(values.length / 300));
  const points = [];
  for (let k = 0; k < values.length; k += every) points.push([k, meanOf(values.slice(k, k + every))]);
  const line = (attributes) => make("line", attributes);
  svg.replaceChildren(
    line({ x1: left, y1: y(0), x2: width - 6, y2: y(0), class: "axis" }), line({ x1: left, y1: 8, x2: left, y2: y(0), class: "axis" }),
    make("text", { x: left - 4, y: y(0), "text-anchor": "end" }, "0"), make("text", { x: left - 4, y: 14, "text-anchor": "end" }, most.toPrecision(2)),
    make("text", { x: width - 6, y: height - 4, "text-anchor": "end" }, values.length ? `step ${values.length}` : "no steps yet"),
    make("polyline", { points: points.map(([k, v]) => `${x(k)},${y(v)}`).join(" "), class: "curve" }),
    make("polyline", { points: tests.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" "), class: "curve test" }));
}

/** Histograms of what each stage makes: activations and gradients, a small picture for each layer. */
export function drawHistograms(stages, madeBy) {
  for (const [id, direction] of [["activations", "forward"], ["gradients", "backward"]]) {
    const shown = stages.filter((stage) => stage.direction === direction && stage.kind !== "Loss" && stage.arrays[madeBy(stage)].data);
    if (direction === "backward") shown.reverse();
    byId(id).replaceChildren(...shown.map((stage) => histogramOf(stage.layer, stage.arrays[madeBy(stage)].data)));
  }
}

function histogramOf(name, data) {
  const bins = new Array(21).fill(0);
  let most = 0;
  for (const value of data) most = Math.max(most, Math.abs(value));
  for (const value of data) bins[Math.round((value / (most || 1)) * 10) + 10] += 1;
  const highest = Math.log1p(Math.max(...bins));
  const svg = make("svg", { viewBox: "0 0 84 34", role: "img", "aria-label": `${name}: numbers from minus to plus ${short(most)}` });
  bins.forEach((count, k) => {
    const height = (Math.log1p(count) / highest) * 30;
    svg.append(make("rect", { x: 4 * k, y: 32 - height, width: 3.4, height, class: k < 10 ? "minus" : k > 10 ? "plus" : "zero" }));
  });
  return make("figure", {}, svg, make("figcaption", {}, name, make("small", {}, `±${short(most)}`)));
}
