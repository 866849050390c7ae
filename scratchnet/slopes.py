"""How fast a loss changes when one number v moves: its slopes, measured on both sides, and how far to trust them.

    right = (loss(v + h) - loss(v)) / h
    left  = (loss(v) - loss(v - h)) / h

Their mean is a central difference: its error shrinks as h**2. Where the two do not meet as h shrinks, the loss has a
kink at v and no slope: ReLU at 0, or a tie in max-pooling.

Two errors pull the step h in opposite directions. If h is too large, the loss bends within it, or meets a kink. So each
slope is measured with h and with h / 10, and the difference is taken for this error. If h is too small, the two losses
differ only in their last digits, which rounding has made. A forward pass that rounds gives what an exact one would give
for inputs with other last digits. So all inputs are changed there a few times, and what this does to the output,
divided by h, is taken for the error of rounding. From 1/100 of the number's usual size, h shrinks by factors of 10
while the first error is the larger one, or grows while rounding is, until their sum is small enough.

Sources: Press et al., "Numerical Recipes", section 5.7, with Ridders' idea to compare several steps; Higham, "Accuracy
and Stability of Numerical Algorithms", 2002, section 1.5 (rounding as a change of the inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

EPS = float(np.finfo(np.float64).eps)
LAST_DIGITS = 8 * EPS  # how much inputs are changed to see rounding: a few units of their last digit
FIRST_STEP = 0.01  # of the number's usual size
MOST_STEPS = 16
FAR = 1e10  # times the usual size: what does not change over such a distance does not depend on the number


@dataclass(frozen=True)
class Slope:
    """The slopes of a loss on both sides of a number, and their error.

    Attributes
    ----------
    left, right : float
        The slopes.
    bend, rounding : float
        The two parts of their error. Infinite if a loss was NaN or infinite.
    gross : float
        What all numbers of the output contribute to the slope, added up without signs: the scale of the slope.
    low, high : float
        Each number of the output contributes its left or its right slope; the sum of the smaller, and of the larger
        ones.
    far : bool
        Whether the step was larger than the number itself. Rounding hides what happens on the way there: such slopes
        can confirm a gradient, but not convict one.
    """

    left: float
    right: float
    bend: float
    rounding: float
    gross: float
    low: float
    high: float
    far: bool

    @property
    def value(self) -> float:
        """The central difference."""
        return (self.left + self.right) / 2

    @property
    def error(self) -> float:
        """How far the slopes may be from the true ones."""
        return self.bend + self.rounding


class Loss:
    """The loss sum(out * dout), as a function of arrays in which one number at a time is moved.

    Parameters
    ----------
    forward : function
        Gives out, for the arrays as they are at that moment.
    arrays : list of ndarray
        All that out depends on.
    dout : ndarray
        The slope of the loss for each number of out.
    rng : numpy.random.Generator
        Draws the last digits.
    """

    def __init__(
        self,
        forward: Callable[[], np.ndarray],
        arrays: Sequence[np.ndarray],
        dout: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.forward, self.arrays, self.dout, self.rng = forward, arrays, dout, rng
        self.out = forward()
        self.rounding = np.finfo(self.out.dtype).eps * np.abs(self.out)  # what rounding does to each number of out
        for _ in range(8):
            with other_last_digits(arrays, rng):
                self.rounding = np.maximum(self.rounding, np.abs(forward() - self.out))

    def usual_size(self, array: np.ndarray) -> float:
        """The median size of an array's numbers, without zeros.

        For an array of zeros, such as new biases, it is the size that would change out by about as much as out is.
        """
        sizes = np.abs(array[array != 0])
        if sizes.size:
            return float(np.median(sizes))
        with _restored([array]):
            array += 1
            change = np.abs(self.forward() - self.out).max()
        if change <= 100 * self.rounding.max():  # nothing but rounding
            return 1.0
        size = float(np.abs(self.out).max() / change)
        return size if 0 < size < np.inf else 1.0

    def slope(self, array: np.ndarray, index: tuple[int, ...], size: float, enough: Callable[[Slope], bool]) -> Slope:
        """The slopes for array[index], a number of about this size: the first that are good `enough`, or the best."""
        with np.errstate(all="ignore"):  # a step may lead to infinite numbers: then it was too large
            found = self._best(array, index, size, enough, np.abs(self.dout))
            if enough(found) or found.bend > found.rounding:
                return found
            # Rounding hides the slope. What does not depend on the number is not to blame for that: leave it out.
            far = [self._moved(array, index, sign * FAR * size) != self.out for sign in (1, -1)]
            depends = far[0] | far[1]
            if not depends.any():  # on nothing at all, or rounding hides that too
                return found
            return self._best(array, index, size, enough, np.abs(self.dout) * depends)

    def _best(
        self,
        array: np.ndarray,
        index: tuple[int, ...],
        size: float,
        enough: Callable[[Slope], bool],
        weights: np.ndarray,
    ) -> Slope:
        """The slopes at the best step; `weights` say how much the rounding of each number of the output matters."""
        size = max(abs(float(array[index])), size)
        step = FIRST_STEP * size
        coarse, fine = (self._slopes(array, index, h, size, weights) for h in (step, step / 10))
        best = found = _compared(fine, coarse)
        grows = found.rounding > found.bend
        for _ in range(MOST_STEPS):
            if enough(best) or grows != (found.rounding > found.bend):
                break
            step = step * 10 if grows else step / 10
            if grows:
                coarse, fine = self._slopes(array, index, step, size, weights), coarse
            else:
                coarse, fine = fine, self._slopes(array, index, step / 10, size, weights)
            found = _compared(fine, coarse)
            best = min(best, found, key=lambda slope: slope.error)
        return best

    def _slopes(
        self, array: np.ndarray, index: tuple[int, ...], step: float, size: float, weights: np.ndarray
    ) -> Slope:
        """The slopes with one step."""
        value = float(array[index])
        above, below = self._moved(array, index, step), self._moved(array, index, -step)
        right = self.dout * (above - self.out) / ((value + step) - value)  # the step that was made, after rounding
        left = self.dout * (self.out - below) / (value - (value - step))
        rounded = self.rounding + 4 * EPS * np.maximum(np.abs(above), np.abs(below))
        far = step > size
        if far:  # there, numbers are larger, and rounding is
            with other_last_digits(self.arrays, self.rng):
                rounded = np.maximum(rounded, np.abs(self._moved(array, index, step) - above))
        return Slope(
            left=float(left.sum()),
            right=float(right.sum()),
            bend=0.0,
            rounding=float(2 * (weights * rounded).sum() / step),
            gross=float(np.abs(left).sum() + np.abs(right).sum()) / 2,
            low=float(np.minimum(left, right).sum()),
            high=float(np.maximum(left, right).sum()),
            far=far,
        )

    def _moved(self, array: np.ndarray, index: tuple[int, ...], step: float) -> np.ndarray:
        """The output with array[index] moved by a step; the number is put back."""
        value = array[index]
        array[index] = value + step
        out = self.forward()
        array[index] = value
        return out


def _compared(fine: Slope, coarse: Slope) -> Slope:
    """The slopes of the finer step, with their difference from the coarser one's as an error."""
    bend = abs(fine.right - coarse.right) + abs(fine.left - coarse.left)
    if not np.isfinite(bend + fine.rounding):
        return replace(fine, bend=np.inf, rounding=0.0)
    return replace(fine, bend=bend, far=fine.far or coarse.far)


@contextmanager
def other_last_digits(arrays: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[None]:
    """Inside, all numbers differ in their last digits from what they were; afterwards they are as before."""
    with _restored(arrays):
        for array in arrays:
            array *= 1 + LAST_DIGITS * rng.uniform(-1, 1, array.shape)
        yield


@contextmanager
def _restored(arrays: Sequence[np.ndarray]) -> Iterator[None]:
    """Inside, the arrays may be changed in place; afterwards they are as before."""
    kept = [array.copy() for array in arrays]
    try:
        yield
    finally:
        for array, before in zip(arrays, kept, strict=True):
            array[...] = before
