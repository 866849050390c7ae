"""The operations of `vector.py` in plain NumPy: with NUMBA_DISABLE_JIT=1 these stand in for them, to step through.

A vector is an array of LANES numbers.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.register.width import lanes

OPERATIONS: tuple[str, ...] = (
    "add", "append_nonzero", "fma", "lanes_of", "load", "load_first", "load_int", "prefetch", "replaced", "splat",
    "store", "store_first", "store_int", "subtract", "sum_of_lanes", "transpose_square", "where_equal", "where_greater",
    "where_nan", "zeros",
)  # fmt: skip


def lanes_of(a):
    """LANES: how many numbers of a's dtype one register holds."""
    return lanes(a.dtype)


def zeros(a):
    """LANES zeros of a's dtype."""
    return np.zeros(lanes(a.dtype), a.dtype)


def load(a, i):
    """a[i : i + LANES]."""
    return a[i : i + lanes(a.dtype)].copy()


def splat(a, i):
    """a[i] in every lane."""
    return np.full(lanes(a.dtype), a[i])


def fma(x, y, z):
    """x * y + z, lane by lane."""
    return x * y + z


def add(x, y):
    """x + y, lane by lane."""
    return x + y


def subtract(x, y):
    """x - y, lane by lane."""
    return x - y


def store(v, a, i):
    """a[i : i + LANES] = v."""
    a[i : i + len(v)] = v


def prefetch(a, i):
    """Nothing: only time would show it."""


def replaced(t, i, v):
    """The tuple t with v in place i."""
    return (*t[:i], v, *t[i + 1 :])


def load_first(a, i, count):
    """a[i : i + count], and zeros in the other lanes."""
    v = np.zeros(lanes(a.dtype), a.dtype)
    count = max(0, min(count, len(v)))
    v[:count] = a[i : i + count]
    return v


def store_first(v, a, i, count):
    """a[i : i + count] = the first lanes of v."""
    a[i : i + min(count, len(v))] = v[: min(count, len(v))]


def load_int(a, i, count, x):
    """The int32 a[i : i + count], and zeros in the other lanes, as numbers of the vector x's dtype."""
    v = np.zeros_like(x)
    v[: min(count, len(v))] = a[i : i + min(count, len(v))]
    return v


def store_int(v, a, i, count):
    """a[i : i + count] = int32 of the first lanes of v."""
    a[i : i + min(count, len(v))] = v[: min(count, len(v))]


def where_greater(x, y, a, b):
    """a where x > y, else b, lane by lane."""
    return np.where(x > y, a, b)


def where_equal(x, y, a, b):
    """a where x == y, else b, lane by lane."""
    return np.where(x == y, a, b)


def where_nan(x, a, b):
    """a where x is NaN, else b, lane by lane."""
    return np.where(x != x, a, b)


def append_nonzero(x, numbers, i, values, places, at):
    """values[at:] = the lanes of x that are not zero, places[at:] = numbers[i:] there; how many these are."""
    here = np.flatnonzero(x)
    values[at : at + len(here)], places[at : at + len(here)] = x[here], numbers[i + here]
    return len(here)


def transpose_square(a, i, row, out, j, out_row):
    """out[j + c * out_row + r] = a[i + r * row + c], for r and c < LANES."""
    for r in range(lanes(a.dtype)):
        for c in range(lanes(a.dtype)):
            out[j + c * out_row + r] = a[i + r * row + c]


def sum_of_lanes(x):
    """The sum of all lanes: one half added to the other, until one number is left."""
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]
