// All kernels of a layer at a glance: small pictures on one scale, a row for each channel and a column for each filter.
import { largest, paint } from "./colour.js";
import { make } from "./dom.js";
import { offsetOf } from "./maps.js";

const BIGGEST = 6; // screen pixels for a weight, where there is room

/** Whether an array is so many kernels that one by one they cannot be compared. */
export const hasKernels = ({ shape, data }) => data && shape.length === 4 && shape[0] * shape[1] > 1 && shape[2] * shape[3] > 1;

/** A picture of all kernels; a click on one chooses it: `choose(channel, filter)`. */
export class KernelsView {
  constructor(name, array, choose) {
    const [KH, KW, C, F] = array.shape;
    Object.assign(this, { name, rows: C * (KH + 1) - 1, columns: F * (KW + 1) - 1 });
    this.canvas = make("canvas", { role: "img", "aria-label": `all kernels of ${name}: ${C} channels, ${F} filters, on one scale. The fields channel and filter choose one.`, title: "click on a kernel to choose it", click: (e) => choose(...this.kernelAt(e)) });
    this.frame = make("div", { class: "touched" });
    this.box = make("div", { class: "kernels" }, this.canvas, this.frame);
    this.box.style.setProperty("max-width", `${this.columns * BIGGEST}px`);
    this.element = make("figure", { class: "all-kernels", "data-kernels": name }, make("figcaption", {}, "all of ", make("b", {}, name), ` on one scale; rows: channels (${C}), columns: filters (${F})`), this.box);
    this.update(array);
  }

  kernelAt(event) {
    const box = this.canvas.getBoundingClientRect(), [KH, KW, C, F] = this.array.shape;
    const at = (share, many, size) => Math.min(many - 1, Math.max(0, Math.floor((share * (many * (size + 1) - 1)) / (size + 1))));
    return [at((event.clientY - box.top) / box.height, C, KH), at((event.clientX - box.left) / box.width, F, KW)];
  }

  update(array) {
    this.array = array;
    const [KH, KW] = array.shape;
    const at = (row, column) => {
      const [kh, kw] = [row % (KH + 1), column % (KW + 1)];
      return kh === KH || kw === KW ? null : array.data[offsetOf(array.shape, [kh, kw, Math.floor(row / (KH + 1)), Math.floor(column / (KW + 1))])];
    };
    paint(this.canvas, this.rows, this.columns, at, largest(array), this.columns * BIGGEST);
  }

  /** Frame the kernel that is shown in full. */
  mark([channel, filter]) {
    const [KH, KW] = this.array.shape;
    const sides = { left: (filter * (KW + 1)) / this.columns, top: (channel * (KH + 1)) / this.rows, width: KW / this.columns, height: KH / this.rows };
    for (const [side, share] of Object.entries(sides)) this.frame.style.setProperty(side, `${100 * share}%`);
  }
}
