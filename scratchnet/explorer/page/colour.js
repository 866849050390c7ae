// One colour scale for every number: negative blue, zero white, positive orange. Blue is darker than orange at its end,
// so that signs differ in grey as well; each number can also be read beside its picture.

const NEGATIVE = [12, 44, 132];
const POSITIVE = [214, 92, 0];
const ROOM = 6; // pixels that a number needs to be marked as negative
const FAINT = 0.02; // of the largest: what is smaller looks white, and has no mark
const STRENGTH = 0.6; // below 1: small numbers can be seen beside large ones

/** The colour of a value from -1 to 1 as [red, green, blue]. */
export function colourOf(value) {
  if (Number.isNaN(value)) return [150, 150, 150];
  const end = value < 0 ? NEGATIVE : POSITIVE;
  const level = Math.min(1, Math.abs(value)) ** STRENGTH;
  return end.map((channel) => Math.round(255 + level * (channel - 255)));
}

export const css = (value) => `rgb(${colourOf(value).join(",")})`;

/** Whether text on this colour has to be white. */
export const isDark = (value) => colourOf(value).reduce((sum, c, k) => sum + c * [0.3, 0.59, 0.11][k], 0) < 140;

/** The largest absolute value of an array, kept with it; 1 if all are 0. */
export function largest(array) {
  if (array.largest === undefined) {
    let most = 0;
    for (const value of array.data ?? []) if (Math.abs(value) > most && Number.isFinite(value)) most = Math.abs(value);
    array.largest = most || 1;
  }
  return array.largest;
}

/** Draw rows of numbers on a canvas, a pixel for each; `at(row, column)` gives the number: undefined is none, null a gap.
 * If the canvas is shown so large (`size`, in pixels of the page) that there is room, each number is a square, with a stroke
 * in it if it is negative: signs can be read in grey. */
export function paint(canvas, rows, columns, at, most, size = 0) {
  const side = Math.floor((size * devicePixelRatio) / Math.max(rows, columns));
  if (side >= ROOM) { paintMarked(canvas, rows, columns, at, most, Math.min(side, 32)); return; }
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0, k = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, k += 4) {
      const value = at(row, column);
      if (value === null) continue;
      const [red, green, blue] = value === undefined ? [128, 128, 128] : colourOf(value / most);
      image.data[k] = red; image.data[k + 1] = green; image.data[k + 2] = blue;
      image.data[k + 3] = value === undefined ? 60 : 255;
    }
  }
  context.putImageData(image, 0, 0);
}

function paintMarked(canvas, rows, columns, at, most, side) {
  canvas.width = columns * side;
  canvas.height = rows * side;
  const context = canvas.getContext("2d"), third = Math.round(side / 3), thick = Math.max(1, Math.round(side / 10));
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const value = at(row, column), share = value / most;
    if (value === null) continue;
    context.fillStyle = value === undefined ? "rgb(128 128 128 / 24%)" : css(share);
    context.fillRect(column * side, row * side, side, side);
    if (!(share < -FAINT)) continue;
    context.fillStyle = isDark(share) ? "#ffffff" : "#14171a";
    context.fillRect(column * side + third, row * side + Math.floor((side - thick) / 2), side - 2 * third, thick);
  }
}
