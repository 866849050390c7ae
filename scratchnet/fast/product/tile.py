"""The register tile: the one loop under every matrix product and every convolution.

A tile is ROWS x COLUMNS numbers of the output, held in registers from the first to the last of the products that are
summed into it. This is the wide one:

                    B   one vector is LANES columns
                  +---------------+---------------+
              k   |   right[0]    |   right[1]    |     two loads a step of k
                  +---------------+---------------+
           A      +---------------+---------------+
     row 0  a ->  |    acc[0]     |    acc[1]     |
     row 1  a ->  |    acc[2]     |    acc[3]     |     one number of A, splat over all lanes, meets both
       ...        |      ...      |      ...      |     vectors: ROWS * VECTORS multiply-adds a step of k
     row 6  a ->  |    acc[12]    |    acc[13]    |
                  +---------------+---------------+

A number that is loaded is used VECTORS or ROWS times, so the multiply-adds, not the loads, set the pace. That takes
enough accumulators to hide how long one multiply-add takes (4 cycles, two started each cycle: at least 8), and few
enough that they fit into the registers: 14 and 3 of 32 here, 12 and 3 of 16 with AVX2.

The narrow tile has the same accumulators in one column of vectors: 14 rows and 1 vector. Results with few columns waste
fewer lanes in it. Which of the two it is, the tuple `rows` says by its length, which the compiler knows: every loop
over rows and vectors is unrolled, and nothing is left of the tuples but registers.

A need not be a matrix. Each row begins at an address of its own, and k runs through `Stretches` from there. So the
patches of a convolution are read from where they lie in the padded image (its KH rows are the stretches), and nothing
is copied into a matrix first. The rows of B lie b_k apart; the caller sees to it that COLUMNS numbers of each can be
read. C is written row by row.

`scratchnet/fast/product/__init__.py` has the contracts of these loops in one table.
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

# 7 rows of 2, or 14 of 1: 7 divides the width of MNIST's images after each pool, 28, 14 and 7.
ACCUMULATORS = 12 if REGISTER_BITS == 256 else 14
WIDE, NARROW = known(ACCUMULATORS // 2), known(ACCUMULATORS)  # the two tiles, by their number of rows


class Stretches(NamedTuple):
    """How k runs from the beginning of a row of A: through `runs` stretches of K numbers each."""

    runs: int
    a_run: int  #: from one stretch to the next
    K: int
    a_k: int  #: from one number of a stretch to the next


class Spot(NamedTuple):
    """Where a tile lies in a flat array: where its first row begins, and how far its rows are apart."""

    start: int
    row: int


def columns(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Columns of a tile of that shape, WIDE or NARROW: its vectors a row, times the numbers a register holds."""
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
def lanewise_tile(a, rows, stretches, b, bi, b_k, count):
    """As `tile`, narrow, but lane j of a row meets only its own number of A:  A[m, r, k, j] * B[r, k, j],  j < count.

    A[m, r, k, j] is a[rows[m] + r * a_run + k * a_k + j]: where no channel sees another, count channels side by side.
    """
    runs, a_run, K, a_k = stretches
    acc = accumulators(a)
    for r in range(runs):
        for k in range(K):
            at = r * a_run + k * a_k
            right = load_first(b, bi, count)
            for m in range(ACCUMULATORS // 2):
                acc = replaced(acc, 2 * m, fma(load_first(a, rows[2 * m] + at, count), right, acc[2 * m]))
                acc = replaced(acc, 2 * m + 1, fma(load_first(a, rows[2 * m + 1] + at, count), right, acc[2 * m + 1]))
            bi += b_k
    return acc


@inlined
def sliding_tile(a, first, stretches, b, bi, b_k, count):
    """As `lanewise_tile`, for rows that begin a_k apart, the first at `first`.

    What one row meets now, the row before it meets next. So A is loaded once for all rows, and moves from row to row in
    registers.
    """
    runs, a_run, K, a_k = stretches
    acc = accumulators(a)
    for r in range(runs):
        at = first + r * a_run
        met = acc
        for m in range(ACCUMULATORS // 2):  # row m + 1 gets what row m is about to meet
            met = replaced(met, 2 * m, load_first(a, at + max(0, 2 * m - 1) * a_k, count))
            met = replaced(met, 2 * m + 1, load_first(a, at + 2 * m * a_k, count))
        for k in range(K):
            met = met[1:] + (load_first(a, at + (ACCUMULATORS - 1 + k) * a_k, count),)  # noqa: RUF005 (Numba needs +)
            right = load_first(b, bi, count)
            for m in range(ACCUMULATORS // 2):
                acc = replaced(acc, 2 * m, fma(met[2 * m], right, acc[2 * m]))
                acc = replaced(acc, 2 * m + 1, fma(met[2 * m + 1], right, acc[2 * m + 1]))
            bi += b_k
    return acc


@inlined
def add_to(acc, rows, c, spot, more, more_spot):
    """c[m, j] = acc[m, j] + more[m, j], for all rows m and columns j of the tile, which lies at a `Spot` of c and more.

    `more` is a bias, whose rows are 0 apart, or c itself, to add the tile to what is there.
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
