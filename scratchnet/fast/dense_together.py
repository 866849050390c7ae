"""A dense layer on several shards of a batch at once, with the bits that each would have by itself.

A shard has few examples: the time of its products is that of reading w, or of writing dw, and not of multiplying. Here
w is read once for all shards. A row of x @ w, or of dout @ w^T, is summed in the same order whatever the other rows
are, so it can stay in one product with those of other shards. dw is different: it is a sum over examples, and the
shards' sums have to be added in the order of a tree (`scratchnet/parallel/tree.py`), whoever computes them:

    dw  =  (x_0^T @ dout_0  +  x_1^T @ dout_1)  +  (x_2^T @ dout_2  +  x_3^T @ dout_3)

A tile of dw stays in the L1 cache until all of its shards are in it, and is written once:

    for each m           some columns of x: rows of dw
      for each panel     some columns of dout
        for each shard   tile: x's columns times the panel, over the shard's examples
          merge          add it to the sums before it, as often as the tree says

In `dense.py`, a handful of rows and gradients that are mostly zeros go other ways than the tile, which do not have the
same bits. So where a shard would go another way by itself, nothing is done together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.choose import FEW, SLAB, product_cut, product_shape
from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.fast.dense import rows_times, times_transposed
from scratchnet.fast.product.loops import addresses, column_sums, pack_columns, pack_slab
from scratchnet.fast.product.tile import ACCUMULATORS, Spot, Stretches, add_part_to, add_to, tile
from scratchnet.fast.register.scratch import scratch
from scratchnet.fast.register.vector import add, lanes_of, load, replaced, store

Sums = Sequence[tuple[Sequence[int], np.ndarray]]


@inlined
def add_vectors(acc, a, start):
    """acc[i] + the vector i of those that begin at a[start], for each of the accumulators."""
    lanes = lanes_of(a)
    for i in range(ACCUMULATORS // 2):
        for j in range(2):
            acc = replaced(acc, 2 * i + j, add(acc[2 * i + j], load(a, start + (2 * i + j) * lanes)))
    return acc


@inlined
def store_vectors(acc, a, start):
    """Write the accumulators to a[start:], one after the other."""
    lanes = lanes_of(a)
    for i in range(ACCUMULATORS // 2):
        for j in range(2):
            store(acc[2 * i + j], a, start + (2 * i + j) * lanes)


@kernel
def sums_of_shards_kernel(x, dout, ends, merges, where, bias, dw, groups, blocks, shape):
    """dw (D, F) = the sum over shards s of  x[s]^T @ dout[s], added as `merges` says.

    x (N, D), dout (N, F) : the rows of all shards; those of shard s begin at ends[s] and end before ends[s + 1].
    merges : for each shard, how often the last two sums are added after it. where : 0, 1, 2 and so on, as many as a
    tile has rows. bias : zeros (F,). groups, blocks, shape : as in `product_rows`.
    """
    D, F = dw.shape
    N = len(x)
    rows, lanes = len(shape), lanes_of(x)
    width = ACCUMULATORS // rows * lanes
    size = ACCUMULATORS * lanes
    tiles, panels = (D + rows - 1) // rows, (F + width - 1) // width
    flat, sums = x.reshape(-1), dw.reshape(-1)
    for task in prange(groups * blocks):
        group, block = task // blocks, task % blocks
        first, last = group * panels // groups, (group + 1) * panels // groups
        top, bottom = block * tiles // blocks * rows, min((block + 1) * tiles // blocks * rows, D)
        right, columns = scratch((last - first) * N * width, x), scratch(N * rows + lanes, x)
        stack = scratch((merges.size + 1) * size, x)
        stack[:size] = 0.0
        pack_slab(dout.reshape(-1), 0, N, F, first, last, width, right)
        for m in range(top, bottom, rows):
            pack_columns(flat, m, D - m, D, N, rows, columns)
            spots = addresses(where, 0, shape)
            for panel in range(first, last):
                j, begin = panel * width, (panel - first) * N * width
                depth = 0  # how many sums the stack holds; they begin behind a place of zeros
                for s in range(merges.size):
                    walk = Stretches(1, 0, ends[s + 1] - ends[s], rows)
                    acc = tile(columns[ends[s] * rows :], spots, walk, right, begin + ends[s] * width, width)
                    acc = add_vectors(acc, stack, 0)  # makes 0 of -0, as a product's bias does
                    for _ in range(merges[s]):
                        acc = add_vectors(acc, stack, depth * size)
                        depth -= 1
                    depth += 1
                    store_vectors(acc, stack, depth * size)
                spot, of_bias = Spot(m * F + j, F), Spot(j, 0)
                if m + rows <= D and j + width <= F:
                    add_to(acc, spots, sums, spot, bias, of_bias)
                else:
                    add_part_to(acc, spots, sums, spot, bias, of_bias, D - m, F - j)


def sum_of_shards(x: np.ndarray, dout: np.ndarray, ends: np.ndarray, merges: Sequence[int], dw: np.ndarray) -> None:
    """Write the sum over shards of x^T @ dout into dw: see `sums_of_shards_kernel`."""
    (N, D), F = x.shape, dout.shape[1]
    shape = product_shape(D, N, F, x.dtype)
    cut = product_cut(D, F, Stretches(1, 0, N, D), shape, x.dtype)
    zeros = np.zeros(F, x.dtype)
    sums_of_shards_kernel(
        x, dout, ends, np.array(merges), np.arange(len(shape)), zeros, dw, cut.groups, cut.blocks, shape
    )


def dense_forward_together(xs: Sequence[np.ndarray], w: np.ndarray, b: np.ndarray | None) -> list[np.ndarray] | None:
    """See `scratchnet.engine.dense_forward_together`."""
    if any(len(x) <= FEW for x in xs):
        return None
    return parted(rows_times(np.concatenate(xs), w, b), xs)


def dense_backward_together(
    douts: Sequence[np.ndarray], xs: Sequence[np.ndarray], w: np.ndarray, sums: Sums, *, need_dx: bool = True
) -> tuple[list[np.ndarray | None], list[np.ndarray]] | None:
    """See `scratchnet.engine.dense_backward_together`."""
    D = len(w)
    if sum(map(len, xs)) > SLAB or any(choose.dense_gradients(dout, D, need_dx) != "tile" for dout in douts):
        return None
    x, dout = np.concatenate(xs), np.concatenate(douts)
    ends = np.array([0, *accumulate(map(len, xs))])
    first = 0
    for merges, dw in sums:
        these = ends[first : first + len(merges) + 1]
        begin, end = these[0], these[-1]
        sum_of_shards(x[begin:end], dout[begin:end], these - begin, merges, dw)
        first += len(merges)
    dxs: list[np.ndarray | None] = [None] * len(xs)
    if need_dx:
        dxs = [*parted(times_transposed(dout, for_kernel(w)), xs)]
    return dxs, [column_sums(for_kernel(each)) for each in douts]


def parted(rows: np.ndarray, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The rows of each of the xs."""
    return np.split(rows, list(accumulate(map(len, xs)))[:-1])
