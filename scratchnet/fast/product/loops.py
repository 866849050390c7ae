"""The loops around the tile: cache blocking and threads, in the two forms that convolutions and dense layers need.

`product_rows` computes many rows of output, each from its own address in A. That is the forward pass (a row is an
output pixel and its patch, or an example), the gradient of the input, and that of a dense layer's weights. It has the
five loops around a micro-kernel that Goto and van de Geijn described ("Anatomy of High-Performance Matrix
Multiplication", 2008; BLIS: Van Zee and van de Geijn, 2015). Each keeps one level of the memory filled:

    for each task        a thread's share: a group of panels of B (columns) and a block of rows
      for each slab      SLAB rows of B. Its part in the group's panels is packed and fills half of the L2 cache
        for each m       7 rows of A, as long as the slab is deep: 7 KB, which stay in the L1 cache
          for each panel     as many columns as the tile has: 32 KB, which stream from the L2 to the L1 cache
            tile             for each k: 2 vectors of B times 7 numbers of A, added to 14 registers

                     B  slab 0 |panel|panel|panel| . . . |      packed: the same numbers, panel by panel, row by row,
                        slab 1 |     |     |     | . . . |              in contiguous memory
                          A  slab 0   slab 1
                   rows 0-6 |--------|--------|   ->   |tile |tile |tile | . . . |  out, to which each slab
                  rows 7-13 |--------|--------|        |tile |tile |tile | . . . |  adds its sums

A is not packed: its 7 rows are 7 streams that the processor follows, and packing them was measured to cost more than it
saves. Only where A is stored by columns are the columns of a tile packed. Without packing B, each step of k would touch
another page of memory; and rows of B that are 4096 bytes apart would all map to the same few sets of the cache.

`product_over_images` computes few rows, each summed over all images: the gradient of a convolution's weights.

     image 0    image 1   ...
    +--------+ +--------+       A and B of one image are in cache,
    |      chunk 0      | ...   and their products are added to the
    +-------------------+       buffer of the image's chunk;
             + in order         the chunks' buffers are added up
              result            in a fixed order

Both loops give the same bits for any number of threads. One thread sums each number, in a fixed order, and the number
of chunks is fixed. (The depth of a slab decides how a sum is divided: it is the same on all processors.)
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.choose import CACHE, CHUNKS, PACKED_TOGETHER, product_cut, product_shape, tile_for
from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.fast.product.tile import ACCUMULATORS, Spot, Stretches, add_part_to, add_to, padded_columns, tile
from scratchnet.fast.register.scratch import scratch
from scratchnet.fast.register.vector import (
    add,
    lanes_of,
    load,
    load_first,
    replaced,
    store,
    store_first,
    zeros,
)


@inlined
def addresses(starts, first, shape):
    """The addresses of a tile's rows from `first` on. Rows after the last repeat its address; their sums are unused."""
    rows = shape
    last = starts.size - 1
    for m in range(ACCUMULATORS // 2):
        if len(shape) == ACCUMULATORS:
            rows = replaced(rows, 2 * m, starts[min(first + 2 * m, last)])
            rows = replaced(rows, 2 * m + 1, starts[min(first + 2 * m + 1, last)])
        else:
            rows = replaced(rows, m, starts[min(first + m, last)])
    return rows


@inlined
def pack_panel(b, start, K, F, first, width, out, to):
    """Pack columns first to first + width of B into out[to:], row by row, zero-padded beyond column F.

    B[k, f] is b[start + k * F + f].
    """
    lanes = lanes_of(b)
    for k in range(K):
        for f in range(first, first + width, lanes):
            store(load_first(b, start + k * F + f, F - f), out, to + k * width + f - first)


@inlined
def pack_slab(b, begin, end, F, first, last, width, out):
    """Pack the rows of B from begin to end into the panels from first to last, which follow each other in out.

    A few rows go into all panels before the next few: B is read in long runs, and from few pages of memory at a time.
    """
    for k in range(begin, end, PACKED_TOGETHER):
        count = min(PACKED_TOGETHER, end - k)
        for panel in range(first, last):
            to = ((panel - first) * (end - begin) + k - begin) * width
            pack_panel(b, k * F, count, F, panel * width, width, out, to)


@inlined
def pack_columns(a, first, count, a_k, K, rows, out):
    """Pack neighbouring columns of a matrix: out[k * rows + m] = a[first + k * a_k + m]  for m < min(count, rows).

    out : (K * rows + LANES,). Its other numbers, where count < rows, are zeros or belong to sums that are not used.
    """
    for k in range(K):
        for m in range(0, rows, lanes_of(a)):
            store(load_first(a, first + k * a_k + m, count - m), out, k * rows + m)


@kernel
def product_rows(a, starts, stretches, b, bias, out, cut, shape):
    """out[m, f] = bias[f] + sum over r < runs, k < K of  a[starts[m] + r * a_run + k * a_k] * B[r * K + k, f].

    a : flat array. starts : (M,), the address of each row of A. stretches : `Stretches`; if a_k is not 1, A is a matrix
    stored by columns: a single run, and rows that begin side by side. b : B (runs*K, F), flat. bias : (F,). out :
    (M, F). cut : `choose.Cut`. shape : the tile, WIDE or NARROW.
    """
    M, F = out.shape
    (runs, a_run, K, a_k), (slab_runs, slab_K, groups, blocks) = stretches, cut
    rows = len(shape)
    width = ACCUMULATORS // rows * lanes_of(a)
    tiles, panels = (M + rows - 1) // rows, (F + width - 1) // width
    sums = out.reshape(-1)
    for task in prange(groups * blocks):
        group, block = task // blocks, task % blocks
        first, last = group * panels // groups, (group + 1) * panels // groups
        top, bottom = block * tiles // blocks * rows, min((block + 1) * tiles // blocks * rows, M)
        right = scratch((last - first) * slab_runs * slab_K * width, a)
        columns = scratch(0 if a_k == 1 else slab_K * rows + lanes_of(a), a)
        for run in range(0, runs, slab_runs):
            for k in range(0, K, slab_K):
                some_runs, some_K = min(slab_runs, runs - run), min(slab_K, K - k)
                depth = some_runs * some_K
                begin = run * K + k
                pack_slab(b, begin, begin + depth, F, first, last, width, right)
                more, more_row = (bias, 0) if begin == 0 else (sums, F)  # the sums over the slabs before
                part = a[run * a_run + k * a_k :]
                left, walk = part, Stretches(some_runs, a_run, some_K, a_k)
                if a_k != 1:
                    left, walk = columns, Stretches(1, 0, some_K, rows)
                for m in range(top, bottom, rows):
                    if a_k != 1:
                        pack_columns(part, starts[m], M - m, a_k, some_K, rows, columns)
                    where = addresses(starts, m if a_k == 1 else 0, shape)
                    for panel in range(first, last):
                        j = panel * width
                        acc = tile(left, where, walk, right, (panel - first) * depth * width, width)
                        spot, more_spot = Spot(m * F + j, F), Spot(m * more_row + j, more_row)
                        if m + rows <= M and j + width <= F:
                            add_to(acc, where, sums, spot, more, more_spot)
                        else:
                            add_part_to(acc, where, sums, spot, more, more_spot, M - m, F - j)


@kernel
def product_over_images(a, image_size, starts, stretches, b, sums, bias_sums, shape):
    """For each chunk, the sum over its images n of  A[n]^T @ B[n], and the sum of the rows of all its B[n].

    A[n][r * K + k, m] is a[n * image_size + starts[m] + r * a_run + k * a_k]. b : B (N, runs*K, F). sums : (CHUNKS, M
    padded, F padded), both padded to whole tiles. bias_sums : (CHUNKS, F padded). Both arrays are overwritten.
    """
    N, P, F = b.shape
    runs, a_run, K, a_k = stretches
    rows = len(shape)
    lanes = lanes_of(a)
    width = ACCUMULATORS // rows * lanes
    columns = sums.shape[2]
    # A large image is processed in bands of runs. The band's part of A and of B stays in the cache for all tiles.
    band = max(1, CACHE // ((K * columns + a_run) * a.itemsize))
    flat = b.reshape(-1)
    for chunk in prange(CHUNKS):
        total, bias_total = sums[chunk].reshape(-1), bias_sums[chunk]
        total[:] = 0.0
        bias_total[:] = 0.0
        # B is read in place if its rows are whole panels. Otherwise it is copied, zero-padded to whole panels.
        copy = scratch(0 if columns == F else P * columns, b)
        right, right_k = (flat, F) if columns == F else (copy, columns)
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            at = n * P * F
            if columns > F:
                pack_panel(flat, at, P, F, 0, columns, copy, 0)
                at = 0
            for f in range(0, columns, lanes):
                total_f = load(bias_total, f)
                for p in range(P):
                    total_f = add(total_f, load(right, at + p * right_k + f))
                store(total_f, bias_total, f)
            for run in range(0, runs, band):
                part = a[n * image_size + run * a_run : (n + 1) * image_size]
                some, here = min(band, runs - run), at + run * K * right_k
                for m in range(0, sums.shape[1], rows):
                    where = addresses(starts, m, shape)
                    for f in range(0, columns, width):
                        acc = tile(part, where, Stretches(some, a_run, K, a_k), right, here + f, right_k)
                        spot = Spot(m * columns + f, columns)
                        add_to(acc, where, total, spot, total, spot)


@kernel
def sums_kernel(b, sums):
    """sums[chunk] = the sum over the chunk's rows of b (P, F)."""
    P, F = b.shape
    flat, flat_sums = b.reshape(-1), sums.reshape(-1)
    for chunk in prange(CHUNKS):
        for f in range(0, F, lanes_of(b)):
            total = zeros(flat)
            for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
                total = add(total, load_first(flat, p * F + f, F - f))
            store_first(total, flat_sums, chunk * F + f, F - f)


def column_sums(b: np.ndarray) -> np.ndarray:
    """The gradient of a bias: the sum of b (..., F), contiguous, over all axes but the last."""
    sums = np.empty((CHUNKS, b.shape[-1]), b.dtype)
    sums_kernel(b.reshape(-1, b.shape[-1]), sums)
    return sums.sum(axis=0)


def product(a, starts, stretches, b, bias) -> np.ndarray:
    """`product_rows` into a new array (M, F), with the tile that suits F columns. bias : (F,) or None."""
    M, F, depth = starts.size, b.shape[1], stretches.runs * stretches.K
    bias = np.zeros(F, a.dtype) if bias is None else for_kernel(bias)
    if 0 in (M, F, depth):
        return np.tile(bias, (M, 1))  # no entries, or sums of no terms, as in the gradients of an empty batch
    shape = product_shape(M, depth, F, a.dtype)
    out = np.empty((M, F), a.dtype)
    b = for_kernel(b).reshape(-1)
    product_rows(a, starts, stretches, b, bias, out, product_cut(M, F, stretches, shape, out.dtype), shape)
    return out


def weight_gradient(a, image_size, starts, stretches, b) -> tuple[np.ndarray, np.ndarray]:
    """dw (M, F) and db (F,): the sums of `product_over_images`, added up over the chunks in order."""
    M, F = starts.size, b.shape[2]
    shape = tile_for(F, b.dtype).shape
    sums = np.empty((CHUNKS, -(-M // len(shape)) * len(shape), padded_columns(F, shape, b.dtype)), b.dtype)
    bias_sums = np.empty(sums.shape[::2], b.dtype)
    product_over_images(a, image_size, starts, stretches, b, sums, bias_sums, shape)
    return np.ascontiguousarray(sums.sum(axis=0)[:M, :F]), bias_sums.sum(axis=0)[:F].copy()
