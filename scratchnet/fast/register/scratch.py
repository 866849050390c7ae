"""Arrays for kernels that begin at a cache line.

The cache is filled and read in lines of 64 bytes, the size of the widest register. A vector at a multiple of 64 lies in
one line. At any other address such a vector lies in two lines, and takes two loads. NumPy aligns arrays to 16 or 32
bytes only. That makes no difference for data that is read once. But a panel is read again and again: where loads set
the pace, as in `product/sparse.py`, alignment saves a fifth of the time.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.compiled import inlined

LINE = 64  # bytes


@inlined
def scratch(count, a):
    """An uninitialised array of `count` numbers of a's dtype. For kernels: each thread makes its own."""
    room = np.empty(count + LINE // a.itemsize, a.dtype)
    return room[-room.ctypes.data % LINE // a.itemsize :][:count]


@inlined
def zeroed(count, a):
    """As `scratch`, but filled with zeros."""
    room = scratch(count, a)
    room[:] = 0.0
    return room


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """As `zeroed`, but called outside of kernels: for a table that kernels read."""
    dtype = np.dtype(dtype)
    room = np.zeros(count + LINE // dtype.itemsize, dtype)
    return room[-room.ctypes.data % LINE // dtype.itemsize :][:count]
