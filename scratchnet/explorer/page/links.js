// Where a number comes from and where it goes: the stage before, and the one after. Stage `at` reverses stage
// `stages.length - 1 - at`.
import { madeBy } from "./row.js";

const mirrorOf = (stages, at) => stages.length - 1 - at;

/** The stage that made an array of this stage, and its name there; null for the image, for weights, and for what the
 * stage makes itself. */
export function makerOf(stages, at, array) {
  const mirror = mirrorOf(stages, at);
  if (stages[at].direction === "forward") return (array === "x" || array === "z") && at > 0 ? { at: at - 1, array: "out" } : null;
  if (array === "dout") return { at: at - 1, array: madeBy(stages[at - 1]) };
  if (array === "x" && mirror > 0) return { at: mirror - 1, array: "out" };
  return array === "out" || array === "p" ? { at: mirror, array } : null;
}

/** The stage that takes what this stage makes, and its name there; null if there is none. */
export function userOf(stages, at, array) {
  const next = stages[at + 1];
  if (!next || array !== madeBy(stages[at])) return null;
  const name = { out: next.kind === "Loss" ? "z" : "x", p: "p", dx: "dout", dlogits: "dout" }[array];
  return { at: at + 1, array: name };
}

/** What the stage makes of its input, and which sums tell it: those of the stage that reverses this one run over the
 * same places. null for an array that is no input, or if that stage has no such sums. */
export function reversedUse(stages, at, array) {
  const found = { x: { made: "out", from: "dx", touched: "dout" }, dout: { made: "dx", from: "out", touched: "x" } }[array];
  const isInput = array === (stages[at].direction === "forward" ? "x" : "dout");
  const mirror = mirrorOf(stages, at);
  return isInput && found && stages[mirror].named[found.from] ? { ...found, at: mirror } : null;
}
