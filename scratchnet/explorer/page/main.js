// The explorer's page: what is looked at, and how the three levels stay linked: the network, one layer, one number.
// Plain ES modules, canvas and SVG, no bundler and nothing from elsewhere: it can be read as it is served, and works
// without a network.
import { ask, explain, open, recorded, walk } from "./api.js";
import { buildBars, showBars } from "./bars.js";
import { keepLineInView, setUpCopying, setUpLine, showCode } from "./code.js";
import { byId, make, oneAtATime, short } from "./dom.js";
import { markInGallery, setUpGallery } from "./gallery.js";
import { showGlossary } from "./glossary.js";
import { hasKernels, KernelsView } from "./kernels.js";
import { drawHistograms, setUpLearning } from "./learn.js";
import { makerOf, reversedUse, userOf } from "./links.js";
import { ArrayView, channelsIn } from "./maps.js";
import { showNoNumber, showNumber } from "./number.js";
import { clearPad, drawSeen, setUpPad } from "./pad.js";
import { buildRow, drawLegend, drawRow, madeBy, markRow } from "./row.js";
import { closeSheet, openSheet, setUpSheet } from "./sheet.js";
import { setUpTour } from "./tour.js";
import { setTarget, setUpWhatIf, showLabelChange, targetOf } from "./whatif.js";

const SURE = 1e-3; // a loss below this one has gradients that are all tiny
const LARGE = 236, SMALL = 132; // pixels of a map's longer side
const state = { info: null, walked: null, at: 0, held: null, layer: null, views: [], kernels: [], playing: null, ownLabel: null };

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
  for (const view of [...state.views, ...state.kernels]) view.update(stage.arrays[view.name]);
  sayWhere();
  if (state.held) point(state.held.array, state.held.index);
}

const stageNow = () => state.walked.stages[state.at];

function sayWhere() {
  const { stages, loss } = state.walked;
  byId("where").replaceChildren(`stage ${state.at + 1} of ${stages.length}: `, make("b", {}, stageNow().name), make("span", { class: "quiet" }, ` · loss ${short(loss)}`));
  byId("sure").hidden = !(loss < SURE);
}

/** Show a stage, and in it a number: the one given, or the one that it shows first. */
function go(at, number = null) {
  if (!state.walked) return;
  state.at = Math.min(Math.max(at, 0), state.walked.stages.length - 1);
  state.layer = null;
  markRow(state.at);
  sayWhere();
  showLayer(number);
}

// ---------------------------------------------------------------- one layer

function showLayer(number) {
  const stage = stageNow();
  byId("layer-title").textContent = stage.name;
  byId("made").textContent = stage.made;
  byId("math").textContent = stage.math.join("\n");
  const labels = stage.kind === "Loss" || state.at === state.walked.stages.length / 2 - 2 ? state.info.classes : null;
  const main = mainArrays(stage), hooks = { point, select, leave, turn, turned };
  const view = (name, size) => new ArrayView(name, stage.arrays[name], size, hooks, labels);
  const large = main.map((name) => view(name, LARGE));
  const small = stage.shown.filter((name) => !main.includes(name) && name !== "dloss").map((name) => view(name, SMALL));
  state.views = [...large, ...small];
  byId("main-arrays").replaceChildren(large[0].element, ...large.slice(1).flatMap((each) => [make("span", { class: "arrow", "aria-hidden": "true" }, "→"), each.element]));
  state.kernels = small.filter((each) => hasKernels(each.array)).map(({ name, array }) => new KernelsView(name, array, (...channels) => chooseKernel(name, channels)));
  for (const each of state.kernels) turned(each.name);
  byId("more-arrays").replaceChildren(...[...small, ...state.kernels].map((each) => each.element));
  showGlossary(stage, state.views.map((each) => each.name));
  hold(number ?? defaultNumber(stage));
}

function mainArrays(stage) {
  if (stage.kind === "Loss") return stage.direction === "forward" ? ["z", "p"] : ["p", "dlogits"];
  return stage.direction === "forward" ? ["x", "out"] : ["dout", "dx"];
}

/** The number that a stage shows first: the largest one that it makes, and in the loss that of the label. */
function defaultNumber(stage, array = madeBy(stage)) {
  const { shape, data } = stage.arrays[array], ofLabel = stage.kind === "Loss" && shape.length > 0;
  let best = ofLabel ? state.walked.label : 0;
  if (!ofLabel) data?.forEach((value, k) => { if (Math.abs(value) > Math.abs(data[best])) best = k; });
  const index = [];
  for (let rest = best, axis = shape.length - 1; axis >= 0; axis--) { index.unshift(rest % shape[axis]); rest = Math.floor(rest / shape[axis]); }
  return { array, index };
}

// ---------------------------------------------------------------- one number

function select(array, index) {
  pause();
  state.layer = null;
  hold({ array, index });
  openSheet(state.views.find((view) => view.name === array)?.map);
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
  const reversed = reversedUse(state.walked.stages, at, array);
  const use = reversed && { made: reversed.made, ranges: (await explain(state.walked, reversed.at, reversed.from, index)).sums[0].touched[reversed.touched] };
  if (at !== state.at) return;
  showNumber(array, index, found, use, (chosen, moved) => { state.layer = chosen; point(array, index, moved); },
    (weight) => setTarget({ kind: "weight", name: `${state.walked.stages[at].layer}.w`, index: weight }));
  keepLineInView(); // there may be less room for it now
  if (focus) byId("number-parts").querySelector(".layers [aria-pressed=true]")?.focus();
  const touched = Object.assign({}, ...(found.sums ?? []).map((part) => part.touched), use?.ranges && { [use.made]: use.ranges });
  for (const view of state.views) {
    view.touch(touched[view.name]);
    if (touched[view.name] && view.name !== array) follow(view, touched[view.name], found);
  }
});

/** Turn the other arrays to the channel that the number comes from. */
function follow(view, ranges, found) {
  const { shape } = view.array;
  if (!view.array.data) return;
  const shown = found.sums?.find((part) => part.layer !== undefined)?.layer;
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
  showWays(array);
  guard(askFor)(state.at, array, index, state.layer, focus);
}

/** Say where the buttons beside a number lead: to the stage that made it, and to the one that uses it. */
function showWays(array) {
  const { stages } = state.walked;
  const isLast = array === madeBy(stageNow()), isStep = array === "dw" || array === "db";
  const say = (id, way, text, otherwise) => {
    byId(id).setAttribute("aria-disabled", !way);
    byId(id).textContent = way ? text.replace("…", stages[way.at].name) : otherwise;
  };
  say("to-maker", makerOf(stages, state.at, array), "← made by …", stageNow().named[array] ? "made here" : "made by no stage");
  say("to-user", userOf(stages, state.at, array), "used by … →", isStep ? "used by the optimiser" : isLast ? "used by no stage" : "used here");
}

function setUpWays() {
  for (const [id, find] of [["to-maker", makerOf], ["to-user", userOf]]) {
    byId(id).onclick = () => {
      const { array, index } = state.held, way = find(state.walked.stages, state.at, array);
      if (!way) return;
      pause();
      go(way.at, { array: way.array, index });
    };
  }
}

/** Another kernel is shown in full: its place among all. */
function turned(name) {
  const view = state.views.find((each) => each.name === name);
  state.kernels.find((each) => each.name === name)?.mark(view.channels);
}

/** A kernel was chosen among all: the number in its middle is held. */
function chooseKernel(name, channels) {
  const [KH, KW] = stageNow().arrays[name].shape;
  select(name, [KH >> 1, KW >> 1, ...channels]);
}

/** Another channel was chosen: the held number moves there. */
function turn(name, axis, channel) {
  const view = state.views.find((each) => each.name === name);
  const held = state.held?.array === name ? [...state.held.index] : null;
  pause();
  if (!held) return;
  held[held.length - channelsIn(view.array.shape, held).length + axis] = channel;
  state.layer = null;
  hold({ array: name, index: held });
}

// ---------------------------------------------------------------- the image

function seen(answer) {
  drawSeen(answer.image, answer.shape);
  showBars(answer.probabilities, answer.label);
  byId("label").value = answer.label;
  markInGallery(answer.digit);
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
  byId("digit").onchange = () => { if (byId("digit").value !== "") choose(Number(byId("digit").value)); };
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

/** Choose an image of the data set. */
const choose = guard(async (digit) => {
  clearPad();
  state.ownLabel = null;
  byId("digit").value = digit;
  await changed(await ask("choose", { digit }));
});

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
    ArrowUp: () => turnHeld(1), ArrowDown: () => turnHeld(-1), " ": play, Escape: () => { if (!closeSheet() && byId("tour").open) byId("tour-skip").click(); },
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
  setUpWays();
  setUpLine();
  setUpSheet();
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
    const first = await setUpGallery(state.info, choose);
    await choose(Number(asked().get("digit") ?? first));
  }
  setUpTour();
  addEventListener("hashchange", goToHash);
  goToHash();
  document.body.dataset.ready = "yes";
}

const asked = () => new URLSearchParams(location.hash.slice(1));

/** An address may end with #stage=7, or with the name of a stage: #conv2-backward; then with an array: &array=dw. A page
 * that can choose its image takes &digit=3, too. */
function goToHash() {
  const { stages } = state.walked;
  const named = stages.findIndex((stage) => asked().has(stage.name.replace(" ", "-")));
  const at = named >= 0 ? named : Number(asked().get("stage") ?? 0) - 1, array = asked().get("array");
  if (stages[at]) go(at, stages[at].arrays[array]?.data ? defaultNumber(stages[at], array) : null);
}

addEventListener("unhandledrejection", (event) => { event.preventDefault(); tellFault(event.reason); });
begin().catch(tellFault);
