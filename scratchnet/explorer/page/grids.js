// The factors and the products of a sum over places, side by side. A cell that is pointed at, or reached with the arrow
// keys, is marked in each of them, and its product is written below.
import { css, isDark, paint } from "./colour.js";
import { cellScale, make, short, tiny } from "./dom.js";

const GRID = 110; // pixels of the page that a grid takes
const CELLS = 7; // a grid of up to so many columns has its numbers written in it

/** The grids of a part, and the line for the cell that is pointed at. */
export function gridsOf(part) {
  const [rows, columns] = part.over, [height, width] = [part.products.length, part.products[0].length];
  const isPlain = part.grid.length === 1 && part.scale === 1; // one factor: it is the product
  const shown = isPool(part) ? [[part.grid[0], part.factors[0]]]
    : [...(isPlain ? [] : part.grid.map((grid, k) => [grid, nameOfGrid(part, k)])), [part.products, isPlain ? part.factors[0] : "product"]];
  const figures = shown.map(([grid, name]) => gridOf(grid, name, part));
  const signs = figures.map((_, k) => make("span", { class: "sign", "aria-hidden": "true" }, k === 0 ? "" : k === figures.length - 1 ? "=" : "×"));
  const said = make("p", { class: "linked-line", role: "status" }, `rows: ${rows}, columns: ${columns}. Point at a cell, or move with the arrow keys.`);
  let at = null;
  const link = (row, column) => {
    at = [Math.min(Math.max(row, 0), height - 1), Math.min(Math.max(column, 0), width - 1)];
    for (const figure of figures) frameCell(figure.querySelector(".linked"), at, height, width);
    said.textContent = lineOf(part, ...at);
  };
  const box = make("div", {
    class: "grids", "data-columns": width > CELLS ? "many" : "few", tabindex: "0", role: "group", "aria-label": `${part.factors.join(" times ")}, cell by cell. Arrow keys move.`,
    pointermove: (event) => { const place = cellUnder(event, height, width); if (place) link(...place); },
    keydown: (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      event.stopPropagation();
      link(...(at ? [at[0] + move[0], at[1] + move[1]] : [0, 0]));
    },
  }, ...figures.flatMap((figure, k) => (k ? [signs[k], figure] : [figure])));
  if (isPool(part)) part.grid[1].forEach((row, r) => row.forEach((wins, c) => { if (wins) frameCell(figures[0].querySelector(".winner"), [r, c], height, width); }));
  return [box, said];
}

/** Whether a part is the choice of the largest number of a window. */
export const isPool = (part) => part.factors[1] === "wins" && part.factors[0] === "x";

/** How many numbers a window has; those outside the image do not count. */
export const countOf = (part) => part.grid[0].flat().filter((value) => value !== null).length;

function nameOfGrid(part, k) {
  if (part.factors[k] === "wins") return "1 where it won";
  return part.turned[k] ? `${part.factors[k]}, turned by 180°` : part.factors[k];
}

/** A cell in words: its place, its factors and their product. */
function lineOf(part, row, column) {
  const place = `${part.over[0]} = ${row + part.first[0]}, ${part.over[1]} = ${column + part.first[1]}: `;
  const value = part.products[row][column];
  if (value === null) return `${place}outside, no term`;
  if (isPool(part)) return `${place}${short(part.grid[0][row][column])}${part.grid[1][row][column] ? ", the largest" : ""}`;
  const scale = part.scale === 1 ? "" : `${short(part.scale)} × `;
  return `${place}${scale}${part.grid.map((grid, k) => `${part.factors[k]} ${short(grid[row][column])}`).join(" × ")}${part.grid.length > 1 || scale ? ` = ${short(value)}` : ""}`;
}

function cellUnder(event, height, width) {
  const plane = event.target.closest(".plane");
  if (!plane) return null;
  const box = plane.getBoundingClientRect();
  return [Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width)];
}

function frameCell(frame, [row, column], height, width) {
  const sides = { left: column / width, top: row / height, width: 1 / width, height: 1 / height };
  for (const [side, share] of Object.entries(sides)) frame.style.setProperty(side, `${100 * share}%`);
  frame.hidden = false;
}

function gridOf(grid, name, part) {
  const most = Math.max(...grid.flat().map((v) => Math.abs(v ?? 0)), 1e-30);
  const [rows, columns] = [grid.length, grid[0].length];
  const caption = make("figcaption", {}, name);
  const frames = ["linked", "winner"].map((kind) => make("div", { class: kind, hidden: true }));
  const figure = (plane) => make("figure", {}, make("div", { class: "plane" }, plane, ...frames), caption);
  if (columns > CELLS || rows > CELLS) {
    const canvas = make("canvas", { role: "img", "aria-label": `${name}: ${rows} by ${columns} numbers` });
    paint(canvas, rows, columns, (r, c) => grid[r][c] ?? undefined, most, GRID);
    return figure(canvas);
  }
  const scale = cellScale(most);
  const cells = grid.flatMap((row, r) => row.map((value, c) => cellOf(value, most, scale, `${part.over[0]} ${r + part.first[0]}, ${part.over[1]} ${c + part.first[1]}`)));
  const box = make("div", { class: "cells", role: "img", "aria-label": `${name}: ${grid.map((row) => row.map((v) => (v === null ? "none" : short(v))).join(" ")).join("; ")}` }, ...cells);
  caption.append(scale.name);
  box.classList.toggle("narrow", columns >= 5);
  box.style.setProperty("grid-template-columns", `repeat(${columns}, 1fr)`);
  return figure(box);
}

function cellOf(value, most, scale, where) {
  if (value === null) return make("span", { class: "padding", title: `${where}: outside` });
  const cell = make("span", { class: isDark(value / most) ? "on-dark" : "", title: `${where}: ${short(value)}` }, tiny(value * scale.factor));
  cell.style.setProperty("background", css(value / most));
  return cell;
}
