"""Products with a matrix that is mostly zeros, without the multiplications by zero.

The gradient behind a ReLU is zero wherever the ReLU's output was zero: half of it or more. Dropout adds more zeros. A
tile multiplies zeros like any other number. Here each row of A is a list of its nonzeros, and only they are multiplied:

    row m of A     0  .3   0   0  -1   0   0   2             B's rows 1, 4 and 7, VECTORS registers wide
    as a list      places 1, 4, 7     values .3, -1, 2       sums = .3 * B[1] - 1 * B[4] + 2 * B[7]

A vector of B that is loaded is multiplied by one number of A, not by seven as in the tile. So the loads set the pace,
and they must come from the L1 cache. Hence B is cut into panels VECTORS registers wide, and each panel into slabs of
rows that fit into L1. The lists are cut in the same way; a place is counted from the start of its slab. (In
`conv_sparse.py`, B is an image or a table of weights.)

                       slab 0         slab 1                    panel 0   panel 1
    row 0 of A      .3 in place 1  -1 in place 0              +---------+---------+
    row 1           ...            ...              slab 0    |         |         |      all rows of A use slab 0
      ...                                                     +---------+---------+      of a panel, then slab 1; a
                                                    slab 1    |         |         |      thread takes whole panels
                                                              +---------+---------+

A multiply-add takes a third longer here than in the tile, and matrices have to be transposed:
`choose.dense_gradients` says when this way is faster. A product of zero and infinity, which is NaN elsewhere, is left
out as well: `scratchnet/engine.py` says what the engines promise about such numbers.

In the dense layer, the sparse matrix is the gradient dout (N, F), and the vectors run along the layer's inputs:

    dx   = dout @ w^T             B: w^T, transposed while w is packed
    dw^T = dout^T @ x             B: x; the sums are transposed while they are written
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet.fast.choose import FIRST_LEVEL, PANEL
from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.padded import copy_stretch
from scratchnet.fast.product.loops import pack_panel
from scratchnet.fast.register.scratch import scratch, zeroed
from scratchnet.fast.register.transpose import transpose, transposed
from scratchnet.fast.register.vector import (
    append_nonzero,
    fma,
    lanes_of,
    load,
    load_first,
    replaced,
    splat,
    store,
    zeros,
)
from scratchnet.fast.register.width import REGISTER_BITS, lanes

VECTORS = len(PANEL)


class Nonzeros(NamedTuple):
    """The nonzeros of a matrix (M, K), slab by slab of `slab` columns, and row by row within a slab.

    The nonzeros of slab s and row m are values[starts[s, m] : starts[s, m + 1]]. The same entries of `places` are their
    columns, counted from the first column of the slab.
    """

    values: np.ndarray
    places: np.ndarray
    starts: np.ndarray
    slab: int


@kernel
def nonzeros_kernel(a, numbers, values, places, starts):
    """Fill in the `Nonzeros` of a (M, K). numbers : (slab,), int32, 0, 1, 2 and so on: the columns of a slab."""
    M, K = a.shape
    slab, lanes = numbers.size, lanes_of(a)
    flat = a.reshape(-1)
    for s in prange(len(starts)):
        first, last = s * slab, min((s + 1) * slab, K)
        to = s * (values.size // len(starts))
        for m in range(M):
            starts[s, m] = to
            for k in range(first, last, lanes):
                some = load_first(flat, m * K + k, last - k)
                to += append_nonzero(some, numbers, k - first, values, places, to)
        starts[s, M] = to


def nonzeros(a: np.ndarray) -> Nonzeros:
    """The `Nonzeros` of a contiguous a. The rows of a panel of B that match a slab's columns fit into the L1 cache."""
    M, K = a.shape
    slab = FIRST_LEVEL // (VECTORS * REGISTER_BITS // 8) // 16 * 16  # whole squares, for `transpose`
    slabs = -(-K // slab)
    room = slabs * (M * slab + lanes(a.dtype))  # `append_nonzero` writes whole vectors, the last one too
    starts = np.empty((slabs, M + 1), np.int64)
    lists = Nonzeros(np.empty(room, a.dtype), np.empty(room, np.int32), starts, slab)
    nonzeros_kernel(a, np.arange(slab, dtype=np.int32), lists.values, lists.places, starts)
    return lists


@inlined
def add_products(acc, values, places, first, last, b, step, offsets):
    """acc[v] + the sum over e, from first to last, of  values[e] * b[places[e] * step + offsets[v] :][:LANES]."""
    for e in range(first, last):
        value, at = splat(values, e), places[e] * step
        for v in range(len(offsets)):
            acc = replaced(acc, v, fma(value, load(b, at + offsets[v]), acc[v]))
    return acc


@inlined
def add_slab(values, places, starts, right, total):
    """total[m] += the sum over e, from starts[m] to starts[m + 1], of  values[e] * right[places[e]].

    right : a slab of a panel of B. total : the sums. Both are flat, with rows of VECTORS vectors.
    """
    lanes = lanes_of(right)
    width = VECTORS * lanes
    z = zeros(right)
    acc, side_by_side = (z, z, z, z, z, z, z), PANEL
    for v in range(VECTORS):
        side_by_side = replaced(side_by_side, v, v * lanes)
    for m in range(starts.size - 1):
        for v in range(VECTORS):
            acc = replaced(acc, v, load(total, m * width + v * lanes))
        acc = add_products(acc, values, places, starts[m], starts[m + 1], right, width, side_by_side)
        for v in range(VECTORS):
            store(acc[v], total, m * width + v * lanes)


@kernel
def product_kernel(values, places, starts, slab, b, turned, out):
    """For A (M, K): if `turned`, out (M, D) = A @ b^T with b (D, K), else out (D, M) = (A @ b)^T with b (K, D).

    values, places, starts, slab : the `Nonzeros` of A. b : flat. In both cases the vectors run along D.
    """
    M = starts.shape[1] - 1
    D = out.size // M
    K = b.size // D
    lanes = lanes_of(b)
    width = VECTORS * lanes
    flat = out.reshape(-1)
    for panel in prange((D + width - 1) // width):
        first = panel * width
        some = min(width, D - first)
        right, total = scratch((K if turned else slab) * width, b), zeroed(M * width, b)
        if turned:
            if some < width:
                right[:] = 0.0
            for d in range(0, some, lanes):  # LANES rows of b at a time, each read contiguously
                transpose(b, (first + d) * K, K, min(lanes, some - d), K, right, d, width)
        for s in range(len(starts)):
            k = s * slab
            if not turned:
                pack_panel(b, k * D, min(slab, K - k), D, first, width, right, 0)
            add_slab(values, places, starts[s], right[k * width if turned else 0 :], total)
        if turned:
            for m in range(M):
                copy_stretch(total, m * width, some, flat, m * D + first)
        else:
            transpose(total, 0, width, M, some, flat, first * M, M)


def times_transposed(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """a (M, K) @ w^T, for a contiguous w (D, K): (M, D)."""
    out = np.empty((len(a), len(w)), a.dtype)
    product_kernel(*nonzeros(a), w.reshape(-1), True, out)
    return out


def transposed_product(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x^T @ a, for contiguous x (K, D) and a (K, M): (D, M)."""
    out = np.empty((x.shape[1], a.shape[1]), a.dtype)
    product_kernel(*nonzeros(transposed(a)), x.reshape(-1), False, out)
    return out
