"""The arrays that kernels work in begin where a line of the cache begins.

The cache is filled and read in lines of 64 bytes, as many as the widest register has. A vector that begins at a
multiple of 64 lies in one line, any other in two, and is two loads. NumPy puts an array wherever 16 or 32 bytes divide
the address, which for what passes through once makes no difference. A panel that is read again and again is worth the
few lines here: where loads set the pace, as in `product/sparse.py`, they save a fifth of the time.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.compiled import inlined

LINE = 64  # bytes


@inlined
def scratch(count, a):
    """An array of so many numbers, of a's dtype, that are not set yet. For kernels: a thread's own."""
    room = np.empty(count + LINE // a.itemsize, a.dtype)
    return room[-room.ctypes.data % LINE // a.itemsize :][:count]


@inlined
def zeroed(count, a):
    """As `scratch`, but zeros."""
    room = scratch(count, a)
    room[:] = 0.0
    return room


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """The same outside of kernels, for a table that they read."""
    dtype = np.dtype(dtype)
    room = np.zeros(count + LINE // dtype.itemsize, dtype)
    return room[-room.ctypes.data % LINE // dtype.itemsize :][:count]
