"""The register tile: the micro-kernel of every matrix product and every convolution.

A tile is ROWS x COLUMNS numbers of the output. These are accumulators: they stay in registers until all their products
have been added. This is the wide tile:

                    B   one vector is LANES columns
                  +---------------+---------------+
              k   |   right[0]    |   right[1]    |     two loads per step of k
                  +---------------+---------------+
           A      +---------------+---------------+
     row 0  a ->  |    acc[0]     |    acc[1]     |
     row 1  a ->  |    acc[2]     |    acc[3]     |     one number of A, broadcast to all lanes, multiplies both
       ...        |      ...      |      ...      |     vectors: ROWS * VECTORS multiply-adds per step of k
     row 6  a ->  |    acc[12]    |    acc[13]    |
                  +---------------+---------------+

Each number of A that is loaded is used VECTORS times, and each vector of B ROWS times. So the multiply-adds set the
pace, not the loads. The tile needs enough accumulators to hide the latency of a multiply-add: 4 cycles, with two
started in each cycle, so at least 8. And they must fit into the registers: 14 accumulators and 3 operands of 32
registers here, 12 and 3 of 16 with AVX2.

The narrow tile has the same accumulators in one column of vectors: 14 rows of 1 vector. It wastes fewer lanes where the
output has few columns. The length of the tuple `rows` says which of the two tiles is meant. The compiler knows this
length, so it unrolls every loop over rows and vectors, and keeps the entries of the tuples in registers.

A need not be stored as a matrix. Each row of A begins at an address of its own, and k walks from there as `Stretches`
says. So the patches of a convolution are read in place from the padded image, each as KH runs, without im2col. The rows
of B are b_k apart; the caller makes sure that COLUMNS numbers of each row can be read. C is stored row by row.

`scratchnet/fast/product/__init__.py` has the contracts of these loops in one table. Read `loops.py` next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scratchnet.fast.compiled import inlined
from scratchnet.fast.register.vector import (
    add,
    fma,
    lanes_of,
    load,
    load_first,
    replaced,
    splat,
    store,
    store_first,
    zeros,
)
from scratchnet.fast.register.width import REGISTER_BITS, known, lanes

# 7 rows of 2 vectors, or 14 rows of 1: 7 divides 28, 14 and 7, the widths of MNIST's images before and after the pools.
ACCUMULATORS = 12 if REGISTER_BITS == 256 else 14
WIDE, NARROW = known(ACCUMULATORS // 2), known(ACCUMULATORS)  # the two tiles, by their number of rows


class Stretches(NamedTuple):
    """How k walks through a row of A: `runs` runs of K numbers each, with a stride for either."""

    runs: int
    a_run: int  #: stride from one run to the next
    K: int
    a_k: int  #: stride from one number of a run to the next


class Spot(NamedTuple):
    """Where a tile lies in a flat array: the address of its first row, and the stride from row to row."""

    start: int
    row: int


def columns(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Columns of a tile of this shape, WIDE or NARROW: vectors per row, times numbers per register."""
    return ACCUMULATORS // len(shape) * lanes(dtype)


def padded_columns(F: int, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """F rounded up to whole tiles."""
    return -(-F // columns(shape, dtype)) * columns(shape, dtype)


@inlined
def accumulators(a):
    """ACCUMULATORS vectors of zeros, of a's dtype."""
    z = zeros(a)
    if ACCUMULATORS == 12:
        return (z, z, z, z, z, z, z, z, z, z, z, z)
    return (z, z, z, z, z, z, z, z, z, z, z, z, z, z)


@inlined
def tile(a, rows, stretches, b, bi, b_k):
    """The sums  acc[m, :] = sum over r < runs and k < K of  A[m, r, k] * B[r, k, :],  in registers.

    A[m, r, k] is a[rows[m] + r * a_run + k * a_k], and B[r, k, j] is b[bi + (r * K + k) * b_k + j].
    """
    runs, a_run, K, a_k = stretches
    lanes = lanes_of(a)
    acc = accumulators(a)
    right = (zeros(a), zeros(a))
    for r in range(runs):
        for k in range(K):
            at = r * a_run + k * a_k
            if len(rows) == ACCUMULATORS:
                only = load(b, bi)
                for m in range(ACCUMULATORS // 2):
                    acc = replaced(acc, 2 * m, fma(splat(a, rows[2 * m] + at), only, acc[2 * m]))
                    acc = replaced(acc, 2 * m + 1, fma(splat(a, rows[2 * m + 1] + at), only, acc[2 * m + 1]))
            else:
                for v in range(2):
                    right = replaced(right, v, load(b, bi + v * lanes))
                for m in range(len(rows)):
                    left = splat(a, rows[m] + at)
                    for v in range(2):
                        acc = replaced(acc, m * 2 + v, fma(left, right[v], acc[m * 2 + v]))
            bi += b_k
    return acc


@inlined
def lanewise_tile(a, ai, rows, stretches, b, bi, b_k, count):
    """The sums  acc[m, j] = sum over r, k of  A[m, r, k, j] * B[r, k, j],  for j < count, in the narrow tile.

    A[m, r, k, j] is a[ai + rows[m] + r * a_run + k * a_k + j]. Unlike in `tile`, no number of A is broadcast: each lane
    has its own. The lanes are `count` neighbouring channels, which are not mixed.
    """
    runs, a_run, K, a_k = stretches
    acc = accumulators(a)
    for r in range(runs):
        for k in range(K):
            at = ai + r * a_run + k * a_k
            right = load_first(b, bi, count)
            for m in range(ACCUMULATORS // 2):
                acc = replaced(acc, 2 * m, fma(load_first(a, rows[2 * m] + at, count), right, acc[2 * m]))
                acc = replaced(acc, 2 * m + 1, fma(load_first(a, rows[2 * m + 1] + at, count), right, acc[2 * m + 1]))
            bi += b_k
    return acc


@inlined
def sliding_tile(a, first, stretches, b, bi, b_k, count):
    """As `lanewise_tile`, for rows of A that begin a_k apart, the first one at `first`.

    Row m needs at step k + 1 the vector that row m + 1 needs at step k. The compiler sees this: it takes two steps at a
    time, and loads each vector once for both. And it needs no register for each row's address.
    """
    runs, a_run, K, a_k = stretches
    acc = accumulators(a)
    for r in range(runs):
        for k in range(K):
            at = first + r * a_run + k * a_k
            right = load_first(b, bi, count)
            for m in range(ACCUMULATORS // 2):
                acc = replaced(acc, 2 * m, fma(load_first(a, at + 2 * m * a_k, count), right, acc[2 * m]))
                other = load_first(a, at + (2 * m + 1) * a_k, count)
                acc = replaced(acc, 2 * m + 1, fma(other, right, acc[2 * m + 1]))
            bi += b_k
    return acc


@inlined
def add_to(acc, rows, c, spot, more, more_spot):
    """c[m, j] = acc[m, j] + more[m, j], for all rows m and columns j of the tile.

    spot, more_spot : the `Spot` of the tile in c and in more. more : a bias, whose row stride is 0, or c itself, to
    accumulate.
    """
    (start, row), (first, more_row) = spot, more_spot
    lanes = lanes_of(c)
    vectors = ACCUMULATORS // len(rows)
    for i in range(ACCUMULATORS // 2):
        for j in range(2):
            m, v = (2 * i + j, 0) if vectors == 1 else (i, j)
            total = add(acc[2 * i + j], load(more, first + m * more_row + v * lanes))
            store(total, c, start + m * row + v * lanes)


@inlined
def add_part_to(acc, rows, c, spot, more, more_spot, M, F):
    """As `add_to`, but only for the tile's first M rows and F columns."""
    (start, row), (first, more_row) = spot, more_spot
    lanes = lanes_of(c)
    vectors = ACCUMULATORS // len(rows)
    for i in range(ACCUMULATORS // 2):
        for j in range(2):
            m, v = (2 * i + j, 0) if vectors == 1 else (i, j)
            if m < M and v * lanes < F:
                total = add(acc[2 * i + j], load_first(more, first + m * more_row + v * lanes, F - v * lanes))
                store_first(total, c, start + m * row + v * lanes, F - v * lanes)
