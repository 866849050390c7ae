// One colour scale for every number: negative blue, zero white, positive orange. Blue is darker than orange at its end,
// so that signs differ in grey as well; each number can also be read beside its picture.

const NEGATIVE = [12, 44, 132];
const POSITIVE = [214, 92, 0];
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

/** Draw rows of numbers on a canvas, a pixel for each; `at(row, column)` gives the number. */
export function paint(canvas, rows, columns, at, most) {
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0, k = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, k += 4) {
      const value = at(row, column);
      const [red, green, blue] = value === undefined ? [128, 128, 128] : colourOf(value / most);
      image.data[k] = red; image.data[k + 1] = green; image.data[k + 2] = blue;
      image.data[k + 3] = value === undefined ? 60 : 255;
    }
  }
  context.putImageData(image, 0, 0);
}
