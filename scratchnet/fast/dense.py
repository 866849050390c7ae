"""Dense layer: three products over the tile. They differ in what a row of A is and in what k runs over.

    out = x @ w          rows: examples     k: inputs      B: w
    dw  = x^T @ dout     rows: inputs       k: examples    B: dout
    dx  = dout @ w^T     rows: inputs       k: outputs     B: dout^T, and the result is dx^T

For dw, x is transposed, so that a row of A is contiguous. dx is computed transposed, so that a large matrix w is read
as it is stored, and only the small matrices dout and dx^T are transposed. If w is the smaller one, as before ten
classes, w is transposed instead, and dx comes out directly. If dout is mostly zeros, as behind a ReLU,
`product/sparse.py` computes dw and dx from its nonzeros.

For a few examples, such as one digit to recognise, the time is that of reading w once, and a tile gains nothing. Then w
is read in long contiguous runs, eight rows at a time, and the sums stay in the cache.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.choose import ROWS_TOGETHER, SHARE
from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.fast.product import sparse
from scratchnet.fast.product.loops import column_sums, product
from scratchnet.fast.product.tile import Stretches
from scratchnet.fast.register.transpose import transposed
from scratchnet.fast.register.vector import add, fma, lanes_of, load_first, replaced, splat, store_first, zeros


@kernel
def few_rows_kernel(a, b, bias, out, block):
    """out (M, F) = a (M, K) @ b (K, F) + bias (F,), for a handful of rows. block : ROWS_TOGETHER."""
    M, F = out.shape
    K = a.shape[1]
    lanes = lanes_of(a)
    left, right, sums = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    share = SHARE * lanes
    for part in prange((F + share - 1) // share):
        end = min((part + 1) * share, F)
        out[:, part * share : end] = 0.0
        z = zeros(left)
        factors = (z, z, z, z, z, z, z, z)
        whole = K - K % len(block)
        for k in range(0, whole, len(block)):
            for m in range(M):
                for i in range(len(block)):
                    factors = replaced(factors, i, splat(left, m * K + k + i))
                for j in range(part * share, end, lanes):
                    total = load_first(sums, m * F + j, end - j)
                    for i in range(len(block)):
                        total = fma(factors[i], load_first(right, (k + i) * F + j, end - j), total)
                    store_first(total, sums, m * F + j, end - j)
        for k in range(whole, K):
            for m in range(M):
                for j in range(part * share, end, lanes):
                    row, total = load_first(right, k * F + j, end - j), load_first(sums, m * F + j, end - j)
                    store_first(fma(splat(left, m * K + k), row, total), sums, m * F + j, end - j)
        for m in range(M):
            for j in range(part * share, end, lanes):  # the bias last, as the tile does
                total = add(load_first(sums, m * F + j, end - j), load_first(bias, j, end - j))
                store_first(total, sums, m * F + j, end - j)


def rows_times(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, computes: str = "out") -> np.ndarray:
    """a (M, K) @ b (K, F) + bias (F,), for a contiguous a: (M, F). computes : "out" or "dx", for the record."""
    M, K = a.shape
    F = b.shape[1]
    if not choose.few_rows(M, K, F, a.dtype, computes):
        return product(a.reshape(-1), np.arange(M) * K, Stretches(1, 0, K, 1), b, bias)
    out = np.empty((M, F), a.dtype)
    bias = np.zeros(F, a.dtype) if bias is None else for_kernel(bias)
    few_rows_kernel(a, for_kernel(b), bias, out, ROWS_TOGETHER)
    return out


def columns_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T @ b for a contiguous a (K, M) and b (K, F): (M, F).

    The tile could read the columns of a in place. But then each step of k would be in another page of memory.
    """
    K, M = a.shape
    return product(transposed(a).reshape(-1), np.arange(M) * K, Stretches(1, 0, K, 1), b, None)


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.dense.dense_forward`."""
    return rows_times(for_kernel(x), w, b)


def dense_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.dense.dense_backward`."""
    dout, x, w = for_kernel(dout), for_kernel(x), for_kernel(w)
    way = choose.dense_gradients(dout, x.shape[1], need_dx)
    dw = sparse.transposed_product(dout, x) if way == "nonzeros" else columns_times(x, dout)
    dx = None
    if need_dx:
        dx = sparse.times_transposed(dout, w) if way == "nonzeros" else times_transposed(dout, w)
    return dx, dw, column_sums(dout)


def times_transposed(dout: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dout (N, F) @ w^T, for a contiguous w (D, F): dx (N, D)."""
    if choose.dense_dx_transposed(len(dout), w.shape):
        return transposed(rows_times(w, transposed(dout), None, "dx"))
    return rows_times(dout, np.ascontiguousarray(w.T), None, "dx")
