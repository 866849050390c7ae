"""What can be said about wrong numbers when no mistake is recognised: what the wrong entries have in common.

Each fact is tested on every case that is wrong, and is said only if it holds in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchnet.exercises.attempts import RTOL, Attempt, counted, same, which_cases

Facts = Sequence[tuple[Attempt, np.ndarray, np.ndarray, np.ndarray]]  # attempt, what came, what is right, which differ


def facts(name: str, axes: str, wrong: Sequence[Attempt], attempts: Sequence[Attempt], i: int) -> str:
    """The worst entry of output i, the cases that are wrong, what the wrong entries share, and a picture of them.

    axes : a letter for each axis of the output, such as "nhwc"; "" if it has no names.
    """
    compared = [_compared(a, i) for a in wrong]
    a, got, want, bad = compared[0]
    far = np.where(np.isfinite(got), np.abs(got - want), np.inf)
    worst = tuple(int(k) for k in np.unravel_index(far.argmax(), far.shape))
    shared = "".join(f"\n{fact}" for find in SHARED for fact in find(axes, compared))
    drawn = "" if bad.all() or not _drawn(bad, axes) else "\n" + picture(bad, _first_drawn(axes))
    return (
        f"{bad.sum()} of {counted(bad.size, 'number')} {'is' if bad.sum() == 1 else 'are'} wrong; the worst at "
        f"{list(worst)}: expected {want[worst]:.6g}, got {got[worst]:.6g}\n(called with {a.case})"
        f"{which_cases(wrong, attempts, 'are wrong', 'are right')}{shared}{drawn}"
    )


def _compared(a: Attempt, i: int) -> tuple[Attempt, np.ndarray, np.ndarray, np.ndarray]:
    got, want = np.asarray(a.got[i]), np.asarray(a.want[i] + 0.0)  # no -0
    far = np.where(np.isfinite(got), np.abs(got - want), np.inf)
    return a, got, want, np.asarray(far > RTOL * np.abs(want).max(initial=0))


# ---------------------------------------------------------------- what the wrong entries share


def written(axes: str, compared: Facts) -> Iterator[str]:
    """Whether yours holds nothing but zeros, or NaN, or zeros wherever it is wrong."""
    if all(not got.any() for _, got, _, _ in compared):
        yield "All numbers are 0: was the result ever written into the array that is returned?"
    elif all(not got[bad].any() for _, got, _, bad in compared):
        yield "All the wrong ones are 0: nothing was written there."
    if all(not want[bad].any() for _, _, want, bad in compared):
        yield "Wherever yours is wrong, the right number is 0."
    if any(np.isnan(got).any() for _, got, _, _ in compared):
        yield "Some are NaN, which comes from 0 / 0, infinity - infinity or infinity / infinity."


PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "{} > 0": lambda a: a > 0,
    "{} < 0": lambda a: a < 0,
    "{} >= 0": lambda a: a >= 0,
    "{} <= 0": lambda a: a <= 0,
    "{} is 0": lambda a: a == 0,
    "{} is not 0": lambda a: a != 0,
}


def where_an_input(axes: str, compared: Facts) -> Iterator[str]:
    """Whether exactly those entries are wrong where an input of the same shape is positive, negative or 0."""
    for name in _inputs_of_its_shape(compared):
        for words, part in PARTS.items():
            parts = [part(a.case.arguments[name]) for a, _, _, _ in compared]
            if any(not p.all() for p in parts) and all(
                np.array_equal(p, bad) for p, (_, _, _, bad) in zip(parts, compared, strict=True)
            ):
                yield f"Wrong are exactly those where {words.format(name)}."
                return


def along_an_axis(axes: str, compared: Facts) -> Iterator[str]:
    """Whether only some indices of an axis are wrong: all but the first, only the last, ..."""
    for k, letter in enumerate(axes):
        long = [bad for _, _, _, bad in compared if bad.shape[k] > 1]
        if not long:
            continue
        seen = [np.moveaxis(bad, k, 0).reshape(bad.shape[k], -1).any(axis=1) for bad in long]
        for words, expected in ENDS.items():
            if all(np.array_equal(s, expected(s.size)) for s in seen):
                yield words.format(f"along axis {k} ({letter})", letter)
                break


ENDS: dict[str, Callable[[int], np.ndarray]] = {
    "Only index 0 {} is right. Is there a 0 where an index {} belongs, or a loop too few?": lambda n: np.arange(n) > 0,
    "Only the last index {} is right.": lambda n: np.arange(n) < n - 1,
    "Only the last index {} is wrong.": lambda n: np.arange(n) == n - 1,
    "Only index 0 {} is wrong.": lambda n: np.arange(n) == 0,
}


def difference(axes: str, compared: Facts) -> Iterator[str]:
    """Whether yours minus the right one is a multiple of an input: then that term has the wrong weight."""
    for name in _inputs_of_its_shape(compared):
        rest = [got - want for _, got, want, _ in compared]
        inputs = [a.case.arguments[name] for a, _, _, _ in compared]
        if all(_multiple(r, v) for r, v in zip(rest, inputs, strict=True)):
            yield f"The difference is a multiple of {name} in every case: only the term with {name} is wrong."
            return
        if all(same(got[bad], v[bad]) for v, (_, got, _, bad) in zip(inputs, compared, strict=True)):
            yield f"The wrong ones are {name}'s own numbers."
            return


def in_other_places(axes: str, compared: Facts) -> Iterator[str]:
    """Whether yours has the right numbers, or at least their sum, but not where they belong."""
    if all(same(np.sort(got, axis=None), np.sort(want, axis=None)) for _, got, want, _ in compared):
        yield "They are the right numbers, in other places."
    elif all(got.ndim > 1 and _has_its_sum(got, want) for _, got, want, _ in compared):
        yield "Their sum is right: what was added up is right, but it is in other places."


def _has_its_sum(got: np.ndarray, want: np.ndarray) -> bool:
    size = np.abs(want).sum()
    by_itself = abs(want.sum()) > 1e-3 * size  # not a sum that is always 0, as that of softmax's gradient
    return bool(by_itself and abs(got.sum() - want.sum()) <= RTOL * size)


def _multiple(rest: np.ndarray, of: np.ndarray) -> bool:
    if not np.isfinite(rest).all() or not of.any():
        return False
    return same(rest, (rest * of).sum() / (of * of).sum() * of, rtol=1e-6)


def _inputs_of_its_shape(compared: Facts) -> list[str]:
    """The names of the inputs that hold floats, and have the output's shape in every case."""
    return [
        name
        for name, value in compared[0][0].case.arguments.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and all(a.case.arguments[name].shape == want.shape for a, _, want, _ in compared)
    ]


SHARED: tuple[Callable[[str, Facts], Iterator[str]], ...] = (
    written,
    where_an_input,
    along_an_axis,
    difference,
    in_other_places,
)

# ---------------------------------------------------------------- a picture


def _first_drawn(axes: str) -> int:
    """The first of the two axes that are drawn: the rows and columns of images or of filters."""
    return axes.index("h") if "h" in axes else 0


def _drawn(bad: np.ndarray, axes: str) -> bool:
    """Whether a picture shows anything: not if every field of it is wrong."""
    return "." in picture(bad, _first_drawn(axes)).partition("\n")[2]


def picture(bad: Any, first: int = 1, most: int = 20) -> str:
    """Where wrong entries are: `#` wrong, `.` right. Of more than two axes, `first` and the next one are drawn.

    For images (N, H, W, C) `first` is 1, for filters (KH, KW, C, F) it is 0. At most `most` rows and columns.
    """
    bad = bad.reshape(1, -1) if bad.ndim < 2 else bad
    first = first if bad.ndim > 2 else 0
    flat = bad.any(axis=tuple(k for k in range(bad.ndim) if k not in (first, first + 1)))
    rows = ["    " + "".join("#" if field else "." for field in row[: 2 * most]) for row in flat[:most]]
    rows += ["    ..., and so on"] * (len(flat) > most)
    axes = f", axes {first} and {first + 1}" if bad.ndim > 2 else ""
    return f"where (# wrong, . right{axes}):\n" + "\n".join(rows)
