// The explorer's page: what is looked at, and how the three levels stay linked: the network, one layer, one number.
// Plain ES modules, canvas and SVG, no bundler and nothing from elsewhere: it can be read as it is served, and works
// without a network.
import { ask, explain, open, recorded, walk } from "./api.js";
import { buildBars, showBars } from "./bars.js";
import { setUpCopying, showCode } from "./code.js";
import { byId, make, oneAtATime, short } from "./dom.js";
import { drawHistograms, setUpLearning } from "./learn.js";
import { ArrayView, channelsIn } from "./maps.js";
import { showNoNumber, showNumber } from "./number.js";
import { clearPad, drawSeen, setUpPad } from "./pad.js";
import { buildRow, drawLegend, drawRow, madeBy, markRow } from "./row.js";
import { setUpTour } from "./tour.js";
import { setTarget, setUpWhatIf, showLabelChange, targetOf } from "./whatif.js";

const SURE = 1e-3; // a loss below this one has gradients that are all tiny
const LARGE = 236, SMALL = 132; // pixels of a map's longer side
const state = { info: null, walked: null, at: 0, held: null, layer: null, views: [], playing: null, ownLabel: null };

// ---------------------------------------------------------------- the network

const takeWalk = oneAtATime(async () => {
  const first = state.walked === null;
  state.walked = await walk(byId("training").checked);
  if (first) buildRow(state.walked.stages, (at) => { pause(); go(at); });
  drawRow(state.walked.stages);
  if (first) go(0); else refresh();
  if (!recorded) drawHistograms(state.walked.stages, madeBy);
});

function refresh() {
  const stage = stageNow();
  for (const view of state.views) view.update(stage.arrays[view.name]);
  sayWhere();
  if (state.held) point(state.held.array, state.held.index);
}

const stageNow = () => state.walked.stages[state.at];

function sayWhere() {
  const { stages, loss } = state.walked;
  byId("where").replaceChildren(`stage ${state.at + 1} of ${stages.length}: `, make("b", {}, stageNow().name), make("span", { class: "quiet" }, ` · loss ${short(loss)}`));
  byId("sure").hidden = !(loss < SURE);
}

function go(at) {
  if (!state.walked) return;
  state.at = Math.min(Math.max(at, 0), state.walked.stages.length - 1);
  state.layer = null;
  markRow(state.at);
  sayWhere();
  showLayer();
}

// ---------------------------------------------------------------- one layer

function showLayer() {
  const stage = stageNow();
  byId("layer-title").textContent = stage.name;
  byId("made").textContent = stage.made;
  byId("math").textContent = stage.math.join("\n");
  const labels = stage.kind === "Loss" || state.at === state.walked.stages.length / 2 - 2 ? state.info.classes : null;
  const main = mainArrays(stage), hooks = { point, select, leave, turn };
  const view = (name, size) => new ArrayView(name, stage.arrays[name], size, hooks, labels);
  const large = main.map((name) => view(name, LARGE));
  const small = stage.shown.filter((name) => !main.includes(name) && name !== "dloss").map((name) => view(name, SMALL));
  state.views = [...large, ...small];
  byId("main-arrays").replaceChildren(large[0].element, ...large.slice(1).flatMap((each) => [make("span", { class: "arrow", "aria-hidden": "true" }, "→"), each.element]));
  byId("more-arrays").replaceChildren(...small.map((each) => each.element));
  hold(defaultNumber(stage));
}

function mainArrays(stage) {
  if (stage.kind === "Loss") return stage.direction === "forward" ? ["z", "p"] : ["p", "dlogits"];
  return stage.direction === "forward" ? ["x", "out"] : ["dout", "dx"];
}

/** The number that a stage shows first: the largest one that it makes, and in the loss that of the label. */
function defaultNumber(stage) {
  const array = madeBy(stage), { shape, data } = stage.arrays[array];
  let best = stage.kind === "Loss" ? state.walked.label : 0;
  if (stage.kind !== "Loss") data?.forEach((value, k) => { if (Math.abs(value) > Math.abs(data[best])) best = k; });
  const index = [];
  for (let rest = best, axis = shape.length - 1; axis >= 0; axis--) { index.unshift(rest % shape[axis]); rest = Math.floor(rest / shape[axis]); }
  return { array, index };
}

// ---------------------------------------------------------------- one number

function select(array, index) {
  pause();
  state.layer = null;
  hold({ array, index });
}

function hold(number) {
  state.held = number;
  byId("copied").replaceChildren(); // that command was for another number
  point(number.array, number.index);
  setTarget(targetOf(state.walked.stages, state.at, number.array, number.index));
}

function leave() {
  state.layer = null;
  if (state.held) point(state.held.array, state.held.index);
}

const askFor = oneAtATime(async (at, array, index, layer, focus) => {
  const found = await explain(state.walked, at, array, index, layer);
  if (at !== state.at) return;
  showNumber(array, index, found, (chosen, moved) => { state.layer = chosen; point(array, index, moved); },
    (weight) => setTarget({ kind: "weight", name: `${state.walked.stages[at].layer}.w`, index: weight }));
  if (focus) byId("number-parts").querySelector(".layers [aria-pressed=true]")?.focus();
  const touched = Object.assign({}, ...(found.sums ?? []).map((part) => part.touched));
  for (const view of state.views) {
    view.touch(touched[view.name]);
    if (touched[view.name] && view.name !== array) follow(view, touched[view.name], found);
  }
});

/** Turn the other arrays to the channel that the number comes from. */
function follow(view, ranges, found) {
  const { shape } = view.array;
  if (!view.array.data) return;
  const shown = found.sums.find((part) => part.layer !== undefined)?.layer;
  channelsIn(shape, ranges).forEach(([low, high], axis) => {
    const channel = low === high ? low : shown ?? view.channels[axis];
    if (view.channels[axis] !== undefined && channel >= low && channel <= high && view.channels[axis] !== channel) view.turn(axis, channel, false);
  });
}

function point(array, index, focus = false) {
  for (const view of state.views) {
    if (view.name === array) view.show(index); else view.mark(null);
  }
  showCode(stageNow().source, array);
  guard(askFor)(state.at, array, index, state.layer, focus);
}

/** Another channel was chosen: the held number moves there. */
function turn(name, axis, channel) {
  const view = state.views.find((each) => each.name === name);
  const held = state.held?.array === name ? [...state.held.index] : null;
  pause();
  if (!held) return;
  held[held.length - channelsIn(view.array.shape, held).length + axis] = channel;
  select(name, held);
}

// ---------------------------------------------------------------- the image

function seen(answer) {
  drawSeen(answer.image, answer.shape);
  showBars(answer.probabilities, answer.label);
  byId("label").value = answer.label;
  byId("undo").disabled = byId("reset").disabled = !answer.undo;
}

/** Clear what was said of an image, a label or weights that are no more, but for the result of the change itself. */
function forget(result = "") {
  for (const id of ["what-if-result", "learn-result", "copied"]) if (id !== result) byId(id).replaceChildren();
}

/** After anything that changes the image, the label or the weights; `result` is where its own result stands. */
function changed(answer, result) {
  forget(result);
  seen(answer);
  return guard(takeWalk)();
}

function setUpImage() {
  const draw = oneAtATime(async (strokes, ended) => {
    const answer = await ask("draw", { strokes, label: state.ownLabel });
    seen(answer);
    if (ended) guard(takeWalk)();
  });
  setUpPad(guard((strokes, ended) => {
    const isNew = !strokes.length || (strokes.length === 1 && strokes[0].length === 1);
    if (isNew) { // a new drawing gets the most likely label, until another is chosen
      state.ownLabel = null;
      byId("digit").value = ""; // so that the same image can be chosen again
    }
    forget();
    return draw(strokes, ended);
  }));
  byId("digit").max = state.info.data.count - 1;
  byId("digit").onchange = guard(async () => {
    if (byId("digit").value === "") return;
    clearPad();
    state.ownLabel = null;
    changed(await ask("choose", { digit: Number(byId("digit").value) }));
  });
  byId("label").onchange = guard(async () => {
    state.ownLabel = Number(byId("label").value);
    const answer = await ask("label", { label: state.ownLabel });
    showLabelChange(answer);
    changed(answer, "what-if-result");
  });
  byId("training").onchange = () => { forget(); guard(takeWalk)(); };
  byId("training-box").hidden = !state.info.changes_in_training;
  byId("pad-area").classList.toggle("no-pad", !state.info.can_draw);
}

// ---------------------------------------------------------------- stepping

function play() {
  if (state.playing) { clearInterval(state.playing); state.playing = null; } else {
    if (state.at === state.walked.stages.length - 1) go(0);
    state.playing = setInterval(() => {
      if (state.at === state.walked.stages.length - 1) play(); else go(state.at + 1);
    }, Number(byId("speed").value));
  }
  byId("play").textContent = state.playing ? "Pause" : "Play";
  byId("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
}

const pause = () => { if (state.playing) play(); };

function turnHeld(step) {
  const view = state.views.find((each) => each.name === state.held?.array);
  if (view?.strip) view.turn(0, view.channels[0] + step);
}

function setUpKeys() {
  byId("first").onclick = () => go(0);
  byId("back").onclick = () => go(state.at - 1);
  byId("next").onclick = () => go(state.at + 1);
  byId("play").onclick = play;
  byId("speed").onchange = () => { if (state.playing) { play(); play(); } };
  const keys = {
    ArrowRight: () => go(state.at + 1), ArrowLeft: () => go(state.at - 1), Home: () => go(0), End: () => go(state.walked.stages.length - 1),
    ArrowUp: () => turnHeld(1), ArrowDown: () => turnHeld(-1), " ": play, Escape: () => byId("tour").open && byId("tour-skip").click(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") || (event.key === " " && event.target.matches("button"));
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

function setUpTheme() {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  try { root.dataset.theme = localStorage.getItem("scratchnet-explorer-theme") ?? ""; } catch { /* not allowed */ }
  byId("theme").onclick = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("scratchnet-explorer-theme", root.dataset.theme); } catch { /* not allowed */ }
  };
}

// ---------------------------------------------------------------- beginning

/** Show what goes wrong in a call as a sentence. */
function guard(work) {
  return async (...given) => {
    try { byId("fault").hidden = true; return await work(...given); } catch (error) { tellFault(error); return undefined; }
  };
}

function tellFault(error) {
  const lost = error instanceof TypeError && !recorded;
  byId("fault").textContent = lost ? "The server does not answer: it was ended, or this page was. Start scratchnet explore again." : error.message;
  byId("fault").hidden = false;
}

async function begin() {
  setUpTheme();
  drawLegend();
  showNoNumber();
  state.info = await open();
  byId("subject").textContent = `${state.info.net} · engine ${state.info.engine}${recorded ? " · a recorded walk, as in training" : ""}`;
  document.title = `${state.info.net} · scratchnet explorer`;
  buildBars(state.info.classes);
  byId("label").replaceChildren(...state.info.classes.map((name, k) => make("option", { value: k }, name)));
  setUpKeys();
  globalThis.explainHere = (...number) => explain(state.walked, ...number); // for the curious, and for tests
  if (recorded) {
    document.body.classList.add("recorded");
    byId("label").disabled = true;
    seen(recorded.seen);
    await takeWalk();
  } else {
    setUpImage();
    setUpWhatIf(changed);
    setUpLearning(state.info, changed);
    setUpCopying(() => ({ stage: state.at, array: state.held?.array ?? "", index: state.held?.index ?? [], source: stageNow().source }));
    seen(await ask("choose", { digit: 0 }));
    await takeWalk();
  }
  setUpTour();
  addEventListener("hashchange", goToHash);
  goToHash();
  document.body.dataset.ready = "yes";
}

/** An address may end with #stage=7, or with the name of a stage: #conv2-backward. */
function goToHash() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const named = state.walked.stages.findIndex((stage) => stage.name.replace(" ", "-") === wanted);
  const number = /^stage=(\d+)$/.exec(wanted);
  if (named >= 0) go(named); else if (number) go(Number(number[1]) - 1);
}

addEventListener("unhandledrejection", (event) => { event.preventDefault(); tellFault(event.reason); });
begin().catch(tellFault);
