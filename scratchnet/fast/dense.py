"""Dense layer: three products over the tile. They differ in what a row of A is and in what k runs over.

    out = x @ w          rows: examples     k: inputs      B: w
    dw  = x^T @ dout     rows: inputs       k: examples    B: dout
    dx  = dout @ w^T     rows: inputs       k: outputs     B: dout^T, and the result is dx^T

For dw, a row of A is a column of x; the columns of a tile are packed. dx is computed transposed, so that a large matrix
w is read as it is stored, and only the small matrices dout and dx^T are transposed. If w is the smaller one, as before
ten classes, w is transposed instead, and dx comes out directly. If dout is mostly zeros, as behind a ReLU,
`product/sparse.py` computes dw and dx from its nonzeros.

For a few examples, such as one digit to recognise, the time is that of reading w once, and a tile gains nothing. Then w
is read in place and in long runs, while the few rows of out, x and dout stay in the cache. A row of w that meets zeros
only, as half of them do behind a ReLU, is not read at all.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.choose import INPUTS, ROWS_TOGETHER
from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.fast.product import sparse
from scratchnet.fast.product.loops import column_sums, product
from scratchnet.fast.product.tile import Stretches
from scratchnet.fast.register.transpose import transposed
from scratchnet.fast.register.vector import (
    add,
    fma,
    lanes_of,
    load_first,
    replaced,
    splat,
    store_first,
    sum_of_lanes,
    zeros,
)


@inlined
def columns_with_nonzeros(a, M, K):
    """The columns of a (M, K), flat, that are not zeros from top to bottom; and how many they are."""
    places, count = np.empty(K, np.int64), 0
    for k in range(K):
        places[count] = k
        for m in range(M):
            if a[m * K + k] != 0.0:
                count += 1
                break
    return places, count


@kernel
def few_rows_kernel(a, b, bias, out, parts, block):
    """out (M, F) = a (M, K) @ b (K, F) + bias (F,), for a handful of rows.

    parts : into how many parts the columns are divided. block : ROWS_TOGETHER.
    """
    M, F = out.shape
    K = a.shape[1]
    lanes = lanes_of(a)
    left, right, sums = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    vectors = (F + lanes - 1) // lanes
    for part in prange(parts):
        begin, end = part * vectors // parts * lanes, min((part + 1) * vectors // parts * lanes, F)
        out[:, begin:end] = 0.0
        places, count = columns_with_nonzeros(left, M, K)
        z = zeros(left)
        factors = (z, z, z, z, z, z, z, z)
        whole = count - count % len(block)
        for e in range(0, whole, len(block)):
            for m in range(M):
                for i in range(len(block)):
                    factors = replaced(factors, i, splat(left, m * K + places[e + i]))
                for j in range(begin, end, lanes):
                    total = load_first(sums, m * F + j, end - j)
                    for i in range(len(block)):
                        total = fma(factors[i], load_first(right, places[e + i] * F + j, end - j), total)
                    store_first(total, sums, m * F + j, end - j)
        for e in range(whole, count):
            for m in range(M):
                for j in range(begin, end, lanes):
                    row, total = load_first(right, places[e] * F + j, end - j), load_first(sums, m * F + j, end - j)
                    store_first(fma(splat(left, m * K + places[e]), row, total), sums, m * F + j, end - j)
        for m in range(M):
            for j in range(begin, end, lanes):  # the bias last, as the tile does
                total = add(load_first(sums, m * F + j, end - j), load_first(bias, j, end - j))
                store_first(total, sums, m * F + j, end - j)


@kernel
def few_gradients_kernel(dout, x, w, dx, dw):
    """dx (N, D) = dout (N, F) @ w^T, unless dx is empty, and dw (D, F) = x^T @ dout, for a handful of rows."""
    D, F = w.shape
    N = len(dout)
    lanes = lanes_of(w)
    left, right, inputs, of_w = dout.reshape(-1), w.reshape(-1), x.reshape(-1), dw.reshape(-1)
    z = zeros(left)
    for part in prange((D + INPUTS - 1) // INPUTS):
        for d in range(part * INPUTS, min((part + 1) * INPUTS, D)):
            for n in range(len(dx)):
                sums = (z, z, z, z)
                for f in range(0, F, 4 * lanes):
                    for i in range(4):
                        j = f + i * lanes
                        product = fma(load_first(left, n * F + j, F - j), load_first(right, d * F + j, F - j), sums[i])
                        sums = replaced(sums, i, product)
                dx[n, d] = sum_of_lanes(add(add(sums[0], sums[1]), add(sums[2], sums[3])))
            for f in range(0, F, lanes):
                total = z
                for n in range(N):
                    total = fma(splat(inputs, n * D + d), load_first(left, n * F + f, F - f), total)
                store_first(total, of_w, d * F + f, F - f)


def rows_times(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, computes: str = "out") -> np.ndarray:
    """a (M, K) @ b (K, F) + bias (F,), for a contiguous a: (M, F). computes : "out" or "dx", for the record."""
    M, K = a.shape
    F = b.shape[1]
    if not choose.few_rows(M, K, F, a.dtype, computes):
        return product(a.reshape(-1), np.arange(M) * K, Stretches(1, 0, K, 1), b, bias)
    return few_rows_times(a, for_kernel(b), np.zeros(F, a.dtype) if bias is None else for_kernel(bias))


def few_rows_times(a: np.ndarray, b: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """a (M, K) @ b (K, F) + bias (F,), all contiguous, for a handful of rows: (M, F)."""
    out = np.empty((len(a), b.shape[1]), a.dtype)
    few_rows_kernel(a, b, bias, out, choose.parts_of_columns(b.shape[1], a.dtype), ROWS_TOGETHER)
    return out


def columns_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T @ b for a contiguous a (K, M) and b (K, F): (M, F)."""
    K, M = a.shape
    return product(a.reshape(-1), np.arange(M), Stretches(1, 0, K, M), b, None)


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.dense.dense_forward`."""
    return rows_times(for_kernel(x), w, b)


def dense_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.dense.dense_backward`."""
    dout, x, w = for_kernel(dout), for_kernel(x), for_kernel(w)
    way = choose.dense_gradients(dout, x.shape[1], need_dx)
    if way == "few rows":
        dx, dw = few_gradients(dout, x, w, need_dx)
    elif way == "nonzeros":
        dw = sparse.transposed_product(dout, x)
        dx = sparse.times_transposed(dout, w) if need_dx else None
    else:
        dw = columns_times(x, dout)
        dx = times_transposed(dout, w) if need_dx else None
    return dx, dw, column_sums(dout)


def few_gradients(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, need_dx: bool
) -> tuple[np.ndarray | None, np.ndarray]:
    """dx, if it is needed, and dw, for a handful of examples."""
    dx, dw = np.empty((len(x) if need_dx else 0, len(w)), w.dtype), np.empty_like(w)
    few_gradients_kernel(dout, x, w, dx, dw)
    return dx if need_dx else None, dw


def times_transposed(dout: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dout (N, F) @ w^T, for a contiguous w (D, F): dx (N, D)."""
    if choose.dense_dx_transposed(len(dout), w.shape):
        return transposed(rows_times(w, transposed(dout), None, "dx"))
    return rows_times(dout, transposed(w), None, "dx")
