"""Transposes of matrices, in squares that fit into the registers.

If a matrix is transposed number by number, either the reads or the writes jump from row to row, and each jump fetches a
cache line. A square of LANES x LANES is loaded row by row and stored column by column, as whole vectors.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.register.vector import lanes_of, transpose_square

ROWS = 64  # rows of the matrix that a thread takes at a time


@inlined
def transpose(a, start, row, M, F, out, to, out_row):
    """out[to + f * out_row + m] = a[start + m * row + f]  for m < M and f < F."""
    lanes = lanes_of(a)
    for f in range(0, F, lanes):
        for m in range(0, M, lanes):
            at, at_out = start + m * row + f, to + f * out_row + m
            if m + lanes <= M and f + lanes <= F:
                transpose_square(a, at, row, out, at_out, out_row)
            else:
                for i in range(min(lanes, M - m)):
                    for j in range(min(lanes, F - f)):
                        out[at_out + j * out_row + i] = a[at + i * row + j]


@kernel
def transpose_kernel(a, out, M, F):
    """out (F, M) = a (M, F)^T, both flat."""
    for block in prange((M + ROWS - 1) // ROWS):
        first = block * ROWS
        transpose(a, first * F, F, min(ROWS, M - first), F, out, first, M)


def transposed(a: np.ndarray) -> np.ndarray:
    """A contiguous copy of a^T, for a contiguous a."""
    out = np.empty(a.shape[::-1], a.dtype)
    transpose_kernel(a.reshape(-1), out.reshape(-1), *a.shape)
    return out
