"""The register tile: the one loop under every matrix product and every convolution.

A tile is ROWS x COLUMNS numbers of the output, held in registers from the first to the last of the products that are
summed into it:

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

A need not be a matrix. Each row begins at an address of its own, and k runs through `runs` stretches of K numbers,
which lie a_run apart; inside a stretch they lie a_k apart. So the patches of a convolution are read from where they lie
in the padded image (its KH rows are the stretches), and nothing is copied into a matrix first. B is packed by the
caller: COLUMNS numbers for each step of k, zeros beyond its last column, so that every load is whole and comes from the
next address. C is written row by row, each at an address of its own.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.compiled import inlined
from scratchnet.fast.vector import REGISTER_BITS, add, fma, lanes, load, replaced, splat, store, zeros

# Rows and vectors a row. 7 rows, since 7 divides the width of MNIST's images after each pool: 28, 14, 7.
ROWS, VECTORS = (6, 2) if REGISTER_BITS == 256 else (7, 2)


def columns(dtype: np.dtype) -> int:
    """Columns of a tile: VECTORS registers of the dtype."""
    return VECTORS * lanes(dtype)


@inlined
def accumulators(a):
    """ROWS * VECTORS vectors of zeros, of a's dtype."""
    z = zeros(a)
    if ROWS == 6:
        return (z, z, z, z, z, z, z, z, z, z, z, z)
    return (z, z, z, z, z, z, z, z, z, z, z, z, z, z)


@inlined
def tile(a, rows, a_run, a_k, b, bi, runs, K, width):
    """The sums  acc[m, :] = sum over r < runs and k < K of  A[m, r, k] * B[r, k, :],  in registers.

    A[m, r, k] is a[rows[m] + r * a_run + k * a_k], and B[r, k, j] is b[bi + (r * K + k) * width + j], j < width =
    COLUMNS.
    """
    acc = accumulators(a)
    right = (zeros(a), zeros(a))
    half = width // VECTORS
    for r in range(runs):
        for k in range(K):
            for v in range(VECTORS):
                right = replaced(right, v, load(b, bi + v * half))
            for m in range(ROWS):
                left = splat(a, rows[m] + r * a_run + k * a_k)
                for v in range(VECTORS):
                    acc = replaced(acc, m * VECTORS + v, fma(left, right[v], acc[m * VECTORS + v]))
            bi += width
    return acc


@inlined
def write(acc, bias, first, c, start, row, width):
    """c[start + m * row + j] = acc[m, j] + bias[first + j] for all ROWS rows and COLUMNS columns."""
    half = width // VECTORS
    for m in range(ROWS):
        for v in range(VECTORS):
            store(add(acc[m * VECTORS + v], load(bias, first + v * half)), c, start + m * row + v * half)
