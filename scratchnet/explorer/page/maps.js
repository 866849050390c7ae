// One array as a picture in which every number can be pointed at: images by channel, kernels by channel and filter,
// vectors as bars or as rows of pixels.
import { isDark, largest, paint } from "./colour.js";
import { cellScale, make, short, tiny } from "./dom.js";
import { meaning } from "./glossary.js";

const BARS = 16; // a vector of up to so many numbers is drawn as bars
const NUMBERS = 8; // and a map of up to so many rows has its numbers written in it

/** How an array lies on a plane: its rows and columns, and the index of the number at a place. */
export function planeOf(shape, channels) {
  if (shape.length === 3) {
    const [rows, columns] = shape;
    return { rows, columns, index: (r, c) => [r, c, channels[0]], place: (k) => [k[0], k[1]] };
  }
  if (shape.length === 4 && shape[0] * shape[1] > 1) {
    const [rows, columns] = shape;
    return { rows, columns, index: (r, c) => [r, c, ...channels], place: (k) => [k[0], k[1]] };
  }
  if (shape.length === 4) return { rows: shape[2], columns: shape[3], index: (r, c) => [0, 0, r, c], place: (k) => [k[2], k[3]] };
  if (isLong(shape)) {
    const columns = Math.ceil(Math.sqrt(shape[0]));
    return { rows: Math.ceil(shape[0] / columns), columns, index: (r, c) => [r * columns + c, channels[0]],
      place: (k) => [Math.floor(k[0] / columns), k[0] % columns] };
  }
  if (shape.length === 2) return { rows: shape[0], columns: shape[1], index: (r, c) => [r, c], place: (k) => k };
  const size = shape[0] ?? 1;
  const columns = Math.ceil(Math.sqrt(size));
  return { rows: Math.ceil(size / columns), columns, index: (r, c) => (shape.length ? [r * columns + c] : []),
    place: (k) => (k.length ? [Math.floor(k[0] / columns), k[0] % columns] : [0, 0]) };
}

/** Where a number lies in the row of an array's data. */
export const offsetOf = (shape, index) => index.reduce((sum, k, axis) => sum * shape[axis] + k, 0);

/** Whether a table is so long that each of its columns is shown alone, as rows of pixels: the weights of one unit. */
const isLong = (shape) => shape.length === 2 && shape[0] > 4 * shape[1];

/** The channels of an array that are not rows or columns. */
const channelAxes = (shape) => (shape.length === 3 ? [shape[2]] : isLong(shape) ? [shape[1]] : shape.length === 4 && shape[0] * shape[1] > 1 ? shape.slice(2) : []);

/** Of a number's index, the channels. */
export const channelsIn = (shape, index) => (isLong(shape) ? [index[1]] : index.slice(2));

/** The channel with the largest mean absolute value; of kernels, the channel and the filter. */
export function strongest(array) {
  const axes = array.shape.slice(2), count = axes.reduce((a, b) => a * b, 1);
  const sums = new Float64Array(count);
  array.data.forEach((value, k) => { sums[k % count] += Math.abs(value); });
  const best = sums.indexOf(Math.max(...sums));
  return axes.length === 2 ? [Math.floor(best / axes[1]), best % axes[1]] : [best];
}

/** A small picture of an array: its strongest channel, its numbers as bars, or all of them as pixels. */
export function thumbnail(canvas, array) {
  if (!array?.data) return;
  const { shape, data } = array;
  const most = largest(array);
  if (shape.length < 2 && data.length <= BARS) {
    const height = 16, foot = data.some((value) => value < 0) ? height / 2 : height; // positive bars go up, negative ones down
    paint(canvas, height, data.length * 2, (row, column) => {
      const value = data[column >> 1], level = Math.round((value / most) * foot), up = foot - row; // up: 1 is the first above the foot
      return column % 2 === 0 && (up > 0 ? up <= level : 1 - up <= -level) ? value : 0;
    }, most);
    return;
  }
  const plane = planeOf(shape, shape.length === 3 ? strongest(array) : [0, 0]);
  paint(canvas, plane.rows, plane.columns, (r, c) => data[offsetOf(shape, plane.index(r, c))], most);
}

/** An array in full. `hooks.point(array, index)` is called for the number under the pointer, `hooks.select` for a chosen
 * one, `hooks.leave` when the pointer has left, and `hooks.turn` when another channel is shown. */
export class ArrayView {
  constructor(name, array, size, hooks, labels = null) {
    Object.assign(this, { name, array, size, hooks, labels, chosen: null });
    const axes = channelAxes(array.shape);
    this.channels = array.shape.length >= 3 && axes.length && array.data ? strongest(array) : axes.map(() => 0);
    this.caption = make("figcaption");
    this.element = make("figure", { class: "array", "data-array": name }, this.caption);
    if (!array.data) {
      this.element.append(make("p", { class: "too-long" },
        `${array.shape.join(" × ")} numbers are too many for a picture. The terms of out and dx show the largest ones.`));
    } else if (array.shape.length === 0) this.element.append(this.scalar = make("p", { class: "scalar" }));
    else if (array.shape.length === 1 && array.data.length <= BARS) this.makeBars();
    else this.makeMap();
    this.update(array);
  }

  makeBars() {
    this.bars = make("ol", { class: "value-bars", role: "listbox", tabindex: "0", "aria-label": this.name, keydown: (e) => this.key(e), pointerleave: () => this.hooks.leave() });
    for (let k = 0; k < this.array.data.length; k++) {
      this.bars.append(make("li", { role: "option", pointerenter: () => this.hooks.point(this.name, [k]), click: () => this.hooks.select(this.name, [k]) },
        make("span", { class: "bar-name" }, String(this.labels?.[k] ?? k)), make("span", { class: "bar" }, make("i")), make("output")));
    }
    this.element.append(this.bars);
  }

  makeMap() {
    const { shape } = this.array;
    this.canvas = make("canvas");
    this.numbers = make("div", { class: "numbers", "aria-hidden": "true" });
    this.touched = make("div", { class: "touched", hidden: true });
    this.cursor = make("div", { class: "cursor", hidden: true });
    this.map = make("div", {
      class: "map", tabindex: "0", role: "application",
      pointermove: (e) => this.hover(e), pointerleave: () => this.hooks.leave(), click: (e) => this.hover(e, true), keydown: (e) => this.key(e),
    }, this.canvas, this.numbers, this.touched, this.cursor);
    const { rows, columns } = planeOf(shape, this.channels);
    const width = columns >= rows ? this.size : Math.max(Math.round((this.size * columns) / rows), 24);
    this.map.style.setProperty("width", `${width}px`);
    this.map.style.setProperty("aspect-ratio", `${columns} / ${rows}`);
    this.element.append(this.map);
    const axes = channelAxes(shape);
    if (shape.length === 3 && axes[0] > 1) {
      this.strip = make("div", { class: "channels", role: "group", "aria-label": `channels of ${this.name}` });
      for (let k = 0; k < axes[0]; k++) {
        this.strip.append(make("button", { type: "button", "aria-label": `channel ${k}`, title: `channel ${k}`, tabindex: k ? "-1" : "0", click: () => this.turn(0, k), keydown: (e) => this.stripKey(e) }, make("canvas")));
      }
      this.element.append(this.strip);
    } else if (axes.length && axes[0] * (axes[1] ?? 1) > 1) {
      const names = shape.length === 2 ? ["unit"] : ["channel", "filter"];
      this.selects = axes.map((count, axis) => {
        const input = make("input", { type: "number", min: 0, max: count - 1, value: 0, "aria-label": `${names[axis]} of ${this.name}`, change: (e) => this.turn(axis, +e.target.value) });
        return input;
      });
      this.element.append(make("div", { class: "axes" }, ...this.selects.flatMap((input, axis) => [make("label", {}, `${names[axis]} `, input)])));
    }
  }

  /** Draw the numbers of a new walk. */
  update(array) {
    this.array = array;
    this.draw();
    if (this.strip) [...this.strip.children].forEach((button, k) => {
      const [rows, columns, count] = array.shape;
      paint(button.firstChild, rows, columns, (r, c) => array.data[(r * columns + c) * count + k], largest(array));
    });
  }

  draw() {
    const { array, name } = this;
    const axes = channelAxes(array.shape);
    const where = axes.length && axes.some((n) => n > 1) ? `, channel ${this.channels.join(", ")}` : "";
    this.caption.replaceChildren(make("b", { title: meaning(name) }, name), ` ${array.shape.join(" × ") || "a number"}`);
    if (this.scalar) this.scalar.textContent = short(array.data[0]);
    if (this.bars) {
      [...this.bars.children].forEach((line, k) => {
        const value = array.data[k], share = (Math.abs(value) / largest(array)) * 50;
        const bar = line.children[1].firstChild;
        bar.style.setProperty("width", `${share}%`);
        bar.style.setProperty("left", value < 0 ? `${50 - share}%` : "50%");
        bar.className = value < 0 ? "minus" : "plus";
        line.lastChild.textContent = short(value);
      });
    }
    if (!this.canvas) return;
    const plane = planeOf(array.shape, this.channels);
    const at = (r, c) => array.data[offsetOf(array.shape, plane.index(r, c))];
    const wraps = array.shape.length < 2 || isLong(array.shape);
    const inside = (r, c) => (!wraps || r * plane.columns + c < (array.shape[0] ?? 1) ? at(r, c) : undefined);
    const written = plane.columns <= NUMBERS && plane.rows <= NUMBERS && this.size / Math.max(plane.rows, plane.columns) >= 26;
    paint(this.canvas, plane.rows, plane.columns, inside, largest(array), written ? 0 : this.size);
    this.map.setAttribute("aria-label", `${name}, ${plane.rows} by ${plane.columns}${where}. Arrow keys move, Enter holds the number.`);
    if (written) {
      this.numbers.style.setProperty("grid-template-columns", `repeat(${plane.columns}, 1fr)`);
      const cells = [], scale = cellScale(largest(array));
      for (let r = 0; r < plane.rows; r++) for (let c = 0; c < plane.columns; c++) {
        const value = inside(r, c);
        cells.push(make("span", { class: value !== undefined && isDark(value / largest(array)) ? "on-dark" : "" }, value === undefined ? "" : tiny(value * scale.factor)));
      }
      this.numbers.replaceChildren(...cells);
      this.caption.append(scale.name);
    }
    if (this.strip) [...this.strip.children].forEach((b, k) => {
      b.setAttribute("aria-pressed", k === this.channels[0]);
      b.tabIndex = k === this.channels[0] ? 0 : -1;
    });
    this.selects?.forEach((input, axis) => { input.value = this.channels[axis]; });
    this.hooks.turned?.(this.name);
    this.mark(this.chosen);
  }

  /** Show another channel. */
  turn(axis, channel, tell = true) {
    const count = channelAxes(this.array.shape)[axis];
    if (count === undefined) return;
    this.channels[axis] = ((Math.round(channel) || 0) % count + count) % count;
    this.draw();
    if (tell) this.hooks.turn?.(this.name, axis, this.channels[axis]);
  }

  /** Frame one number (null: none); if it is in another channel, show that one. */
  mark(index) {
    this.chosen = index;
    if (this.bars) [...this.bars.children].forEach((line, k) => line.setAttribute("aria-selected", index?.[0] === k));
    if (!this.canvas) return;
    if (index) this.frame(this.cursor, planeOf(this.array.shape, this.channels).place(index).map((k) => [k, k]));
    else this.cursor.hidden = true;
  }

  show(index) {
    const wanted = channelsIn(this.array.shape, index);
    if (channelAxes(this.array.shape).length && wanted.some((k, axis) => k !== this.channels[axis])) { this.channels = wanted; this.draw(); }
    this.mark(index);
  }

  /** Frame the entries that a number is made of: the ranges of their indices. */
  touch(ranges) {
    if (!this.canvas) { return; }
    if (!ranges) { this.touched.hidden = true; return; }
    const { shape } = this.array;
    if (shape.length === 4 && shape[0] * shape[1] === 1) this.frame(this.touched, ranges.slice(2));
    else if (shape.length >= 3) this.frame(this.touched, ranges.slice(0, 2));
    else if (ranges[0][0] === ranges[0][1]) this.frame(this.touched, planeOf(shape, []).place(ranges.map((r) => r[0])).map((k) => [k, k]));
    else this.touched.hidden = true;
  }

  frame(box, [[r0, r1], [c0, c1]]) {
    const { rows, columns } = planeOf(this.array.shape, this.channels);
    const lengths = { left: c0 / columns, top: r0 / rows, width: (c1 - c0 + 1) / columns, height: (r1 - r0 + 1) / rows };
    for (const [side, share] of Object.entries(lengths)) box.style.setProperty(side, `${100 * share}%`);
    box.hidden = false;
  }

  hover(event, choose = false) {
    const box = this.canvas.getBoundingClientRect();
    const plane = planeOf(this.array.shape, this.channels);
    const row = Math.min(plane.rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * plane.rows)));
    const column = Math.min(plane.columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * plane.columns)));
    this.go(plane.index(row, column), choose);
  }

  go(index, choose) {
    if (index.some((k, axis) => k < 0 || k >= this.array.shape[axis])) return;
    (choose ? this.hooks.select : this.hooks.point)(this.name, index);
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    if (this.bars) { this.go([(this.chosen?.[0] ?? -1) + (move ? move[0] + move[1] : 0)], true); return; }
    const plane = planeOf(this.array.shape, this.channels);
    const [row, column] = this.chosen ? plane.place(this.chosen) : [0, 0];
    const next = this.chosen && move ? [row + move[0], column + move[1]] : [row, column];
    if (next[0] >= 0 && next[1] >= 0 && next[0] < plane.rows && next[1] < plane.columns) this.go(plane.index(...next), true);
  }

  stripKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.turn(0, this.channels[0] + step);
    this.strip.children[this.channels[0]].focus();
  }
}
