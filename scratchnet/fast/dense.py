"""Dense layer: three products over the tile, which differ in what is a row of A and what k runs over.

    out = x @ w          rows: examples     k: inputs      B: w
    dw  = x^T @ dout     rows: inputs       k: examples    B: dout
    dx  = dout @ w^T     rows: inputs       k: outputs     B: dout^T, and the result is dx^T

The last is turned round so that the large matrix, w, is read as it lies, and only the small one is transposed.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product import column_sums, product

BLOCK = 16  # numbers a line of the cache


@kernel
def transpose_kernel(a, out):
    """out (F, M) = a (M, F)^T, in squares of BLOCK numbers: a row of one is a column of the other."""
    M, F = a.shape
    for block in prange((M + BLOCK - 1) // BLOCK):
        for first in range(0, F, BLOCK):
            for m in range(block * BLOCK, min((block + 1) * BLOCK, M)):
                for f in range(first, min(first + BLOCK, F)):
                    out[f, m] = a[m, f]


def transposed(a: np.ndarray) -> np.ndarray:
    """A contiguous copy of a^T."""
    out = np.empty(a.shape[::-1], a.dtype)
    transpose_kernel(a, out)
    return out


def rows_times(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """a (M, K) @ b (K, F) + bias (F,), for a contiguous a: (M, F)."""
    M, K = a.shape
    return product(a.reshape(-1), np.arange(M) * K, 1, 0, K, 1, b, bias)


def columns_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T @ b for a contiguous a (K, M) and b (K, F): (M, F)."""
    K, M = a.shape
    return product(a.reshape(-1), np.arange(M), 1, 0, K, M, b, None)


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.dense.dense_forward`."""
    return rows_times(np.ascontiguousarray(x), w, b)


def dense_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.dense.dense_backward`."""
    dout = np.ascontiguousarray(dout)
    db = column_sums(dout)
    dw = columns_times(np.ascontiguousarray(x), dout)
    dx = transposed(rows_times(np.ascontiguousarray(w), transposed(dout), None)) if need_dx else None
    return dx, dw, db
