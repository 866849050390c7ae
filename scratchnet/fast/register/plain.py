"""The operations of `vector.py` in plain NumPy.

With NUMBA_DISABLE_JIT=1 they replace the compiled ones, so that kernels can be stepped through. A vector is an array of
LANES numbers.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.register.width import lanes

OPERATIONS: tuple[str, ...] = (
    "add", "append_nonzero", "fma", "lanes_of", "load", "load_first", "load_int", "replaced", "splat",
    "store", "store_first", "store_int", "subtract", "sum_of_lanes", "transpose_square", "where_equal", "where_greater",
    "where_greater_or_nan", "zeros",
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
    """a[i], broadcast to all lanes."""
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


def replaced(t, i, v):
    """The tuple t with v at index i."""
    return (*t[:i], v, *t[i + 1 :])


def load_first(a, i, count):
    """a[i : i + count], zero-padded to LANES."""
    v = np.zeros(lanes(a.dtype), a.dtype)
    count = max(0, min(count, len(v)))
    v[:count] = a[i : i + count]
    return v


def store_first(v, a, i, count):
    """a[i : i + count] = the first lanes of v."""
    a[i : i + min(count, len(v))] = v[: min(count, len(v))]


def load_int(a, i, count, x):
    """The int32 a[i : i + count], zero-padded to LANES and converted to the dtype of the vector x."""
    v = np.zeros_like(x)
    v[: min(count, len(v))] = a[i : i + min(count, len(v))]
    return v


def store_int(v, a, i, count):
    """a[i : i + count] = the first lanes of v, converted to int32."""
    a[i : i + min(count, len(v))] = v[: min(count, len(v))]


def where_greater(x, y, a, b):
    """a where x > y, else b, lane by lane."""
    return np.where(x > y, a, b)


def where_equal(x, y, a, b):
    """a where x == y, else b, lane by lane."""
    return np.where(x == y, a, b)


def where_greater_or_nan(x, y, a, b):
    """a where x > y or x is NaN, else b, lane by lane."""
    return np.where((x > y) | np.isnan(x), a, b)


def append_nonzero(x, numbers, i, values, places, at):
    """values[at:] = the nonzero lanes of x, places[at:] = the same lanes of numbers[i:]; returns how many they are."""
    here = np.flatnonzero(x)
    values[at : at + len(here)], places[at : at + len(here)] = x[here], numbers[i + here]
    return len(here)


def transpose_square(a, i, row, out, j, out_row):
    """out[j + c * out_row + r] = a[i + r * row + c], for r and c < LANES."""
    for r in range(lanes(a.dtype)):
        for c in range(lanes(a.dtype)):
            out[j + c * out_row + r] = a[i + r * row + c]


def sum_of_lanes(x):
    """The sum of all lanes: the upper half is added to the lower one, until one number is left."""
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]
