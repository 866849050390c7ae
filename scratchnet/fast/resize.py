"""Resizing: the book's two matrices have two nonzeros per row. Only these are multiplied, one image at a time.

First the rows are mixed, into an array that stays in the cache, then the columns. Backward does the same with both
matrices transposed. The book's matrix products would take no longer. But BLAS computes them with its own threads, and a
second pool of threads in a step costs many times what the products take.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.layers.resize import interpolation_matrix


@kernel
def mix_kernel(x, rows, columns, out):
    """out[n, i, j, c] = sum over h, w of  rows[i, h] * columns[j, w] * x[n, h, w, c],  zero weights left out."""
    N, H, W, C = x.shape
    OH, OW = out.shape[1:3]
    for n in prange(N):
        lines = np.zeros((OH, W, C), x.dtype)
        for i in range(OH):
            for h in range(H):
                if rows[i, h] != 0:
                    for w in range(W):
                        for c in range(C):
                            lines[i, w, c] += rows[i, h] * x[n, h, w, c]
        out[n] = 0
        for j in range(OW):
            for w in range(W):
                if columns[j, w] != 0:
                    for i in range(OH):
                        for c in range(C):
                            out[n, i, j, c] += columns[j, w] * lines[i, w, c]


def resize_forward(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """See `scratchnet.layers.resize.resize_forward`."""
    rows, columns = (interpolation_matrix(x.shape[axis + 1], size[axis], x.dtype) for axis in (0, 1))
    out = np.empty((len(x), *size, x.shape[3]), x.dtype)
    mix_kernel(for_kernel(x), rows, columns, out)
    return out


def resize_backward(dout: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """See `scratchnet.layers.resize.resize_backward`."""
    rows, columns = (interpolation_matrix(x_shape[axis], dout.shape[axis], dout.dtype) for axis in (1, 2))
    dx = np.empty(x_shape, dout.dtype)
    mix_kernel(for_kernel(dout), np.ascontiguousarray(rows.T), np.ascontiguousarray(columns.T), dx)
    return dx
