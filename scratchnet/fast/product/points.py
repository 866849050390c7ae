"""Winograd's transforms, to the points and back. `conv_winograd.py` says what they are for.

Each transform multiplies a tile of pixels by a small matrix from both sides, for LANES channels at once:

    to the points      a tile (S, S) -> (8, 8)      B^T for images, G for kernels, A for the gradient of the output
    from the points    (8, 8) -> (R, R)             A^T for the output, G^T for the gradient of the kernel

The points come in pairs p and -p. Their even powers are equal, and their odd powers differ in sign. So the even and the
odd terms are summed once for both points, which halves the work.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from scratchnet.fast.choose import WINOGRAD_SIDE
from scratchnet.fast.compiled import inlined
from scratchnet.fast.register.vector import (
    add,
    fma,
    lanes_of,
    load,
    load_first,
    replaced,
    splat,
    store_first,
    subtract,
    zeros,
)
from scratchnet.fast.register.width import known

SIDE = WINOGRAD_SIDE
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity: SIDE points, one for each input along a side of a tile
FOUR, FIVE, EIGHT = known(4), known(5), known(8)  # the length of a column
TO_POINTS, FROM_POINTS = known(1), known(2)  # the direction of a transform


class Square(NamedTuple):
    """Where a square of vectors lies in a flat array: entry (i, j) begins at  at + i * row + j * step."""

    at: int
    row: int
    step: int


@functools.cache
def matrices(r: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B^T (n, n), G (n, r) and A^T (m, n) for kernels r wide: Cook and Toom's construction.

    Row i of the Vandermonde matrix V_k is 1, p_i, ..., p_i^(k-1): it maps k coefficients to the value at point p_i. For
    the point infinity the row is 0, ..., 0, 1. The inverse of V_n maps products of values back to coefficients, which
    gives a polynomial product. The transpose of a polynomial product is the correlation.
    """

    def vandermonde(k: int) -> np.ndarray:
        return np.vstack([np.vander(POINTS, k, increasing=True), np.eye(k)[-1:]])

    B_T = np.linalg.inv(vandermonde(SIDE)).T
    scale = np.abs(B_T).max(axis=1, keepdims=True)
    G, A_T = vandermonde(r) * scale, vandermonde(SIDE - r + 1).T
    return tuple(np.ascontiguousarray(matrix, dtype) for matrix in (B_T / scale, G, A_T))  # type: ignore[return-value]


@inlined
def column_of(a, shape):
    """A tuple of vectors of zeros, as long as `shape`."""
    z = zeros(a)
    if len(shape) == 4:
        return (z, z, z, z)
    if len(shape) == 5:
        return (z, z, z, z, z)
    return (z, z, z, z, z, z, z, z)


@inlined
def to_points(matrix, column, count, out, to, step):
    """out[to + i * step] = row i of matrix (SIDE, S) @ column.

    Rows 2q + 1 and 2q + 2 belong to points p and -p. They differ only in the sign of the odd powers, so the even and
    the odd part are summed once for both rows.
    """
    S = len(column)
    for i in range(1, SIDE - 1, 2):
        even, odd = zeros(out), zeros(out)
        for k in range(len(column)):
            if k % 2 == 0:
                even = fma(splat(matrix, i * S + k), column[k], even)
            else:
                odd = fma(splat(matrix, i * S + k), column[k], odd)
        store_first(add(even, odd), out, to + i * step, count)
        store_first(subtract(even, odd), out, to + (i + 1) * step, count)
    for i in range(0, SIDE, SIDE - 1):
        acc = zeros(out)
        for k in range(len(column)):
            acc = fma(splat(matrix, i * S + k), column[k], acc)
        store_first(acc, out, to + i * step, count)


@inlined
def from_points(matrix, R, column, count, out, to, step):
    """out[to + i * step] = row i of matrix (R, SIDE) @ column: the transpose of `to_points`.

    Columns 2q + 1 and 2q + 2 of the matrix are equal in even rows, and differ in sign in odd rows.
    """
    both, apart = column, column
    for k in range(1, len(column) - 1, 2):
        both = replaced(both, k, add(column[k], column[k + 1]))
        apart = replaced(apart, k, subtract(column[k], column[k + 1]))
    last = len(column) - 1
    for i in range(R):
        ends = fma(splat(matrix, i * SIDE), column[0], zeros(out))
        acc = fma(splat(matrix, i * SIDE + last), column[last], ends)
        if i % 2 == 0:
            for k in range(1, len(column) - 1, 2):
                acc = fma(splat(matrix, i * SIDE + k), both[k], acc)
        else:
            for k in range(1, len(column) - 1, 2):
                acc = fma(splat(matrix, i * SIDE + k), apart[k], acc)
        store_first(acc, out, to + i * step, count)


@inlined
def transform(way, matrix, R, shape, a, source, count, half, out, target):
    """out's tile (R, R) = matrix (R, S) @ a's tile (S, S) @ matrix^T, for `count` channels at once, LANES at most.

    way : TO_POINTS or FROM_POINTS. shape : a tuple of length S. source, target : the `Square` of a's and of out's tile.
    half : scratch for R * S vectors.
    """
    (at, row, step), (to, out_row, out_step) = source, target
    lanes = lanes_of(a)
    S = len(shape)
    column = column_of(a, shape)
    for j in range(S):
        for i in range(len(shape)):
            column = replaced(column, i, load_first(a, at + i * row + j * step, count))
        if len(way) == 1:
            to_points(matrix, column, count, half, j * lanes, S * lanes)
        else:
            from_points(matrix, R, column, count, half, j * lanes, S * lanes)
    for i in range(R):
        for j in range(len(shape)):
            column = replaced(column, j, load(half, (i * S + j) * lanes))
        if len(way) == 1:
            to_points(matrix, column, count, out, to + i * out_row, out_step)
        else:
            from_points(matrix, R, column, count, out, to + i * out_row, out_step)
