"""Sums of products over the tile: the two shapes that every convolution and every dense layer needs.

`product_rows` makes many rows of output, each from a stretch of A of its own: the forward pass (a row is a pixel and
its patch, or an example) and the gradient of the input. `product_over_images` makes few rows, summed over all images:
the gradient of the weights.

            product_rows                              product_over_images

          some panels of B, copied into
          a thread's own cache                image 0    image 1   ...
             +------+------+                  +--------+ +--------+       A and B of one image are in cache,
    rows 0-6 | tile | tile |  threads share   |      chunk 0      | ...   and their products are added to the
             +------+------+  the blocks      +-------------------+       buffer of the image's chunk;
   rows 7-13 | tile | tile |  of rows                + in order           the chunks' buffers are added up
             +------+------+                         result               in a fixed order

A panel is as many columns of B as a tile has. A thread copies panels together because a step of k must not meet a new
page of memory, nor, where the rows of B are 4096 bytes apart, always the same few places of the cache. A long B, as a
dense layer's weights are, is cut into slabs of rows, whose sums are added up in the output. To copy a slab is to wait
for memory; so while the tiles of one slab are computed, the next is asked for, a few rows at each tile.

Both give the same bits whatever the number of threads: each number is summed by one thread, in one order, and the
chunks are as many as they are for any number of threads.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.product.tile import (
    ACCUMULATORS,
    WIDE,
    add_part_to,
    add_to,
    columns,
    padded_columns,
    tile,
    tile_cost,
)
from scratchnet.fast.register.scratch import LINE, scratch
from scratchnet.fast.register.vector import (
    REGISTER_BITS,
    add,
    load,
    load_first,
    prefetch,
    replaced,
    store,
    store_first,
    zeros,
)

CACHE = 1 << 18  # bytes of B that a thread copies into its cache at a time: half of a common second level
SLAB = 1024  # rows of B that are gone through together
BLOCKS = 16  # shares of a product, at least, for the threads
BLOCK_TILES = 4  # rows of tiles in a block, at least: each block copies its panels anew
LITTLE = 1 << 21  # multiply-adds of a product that may be in the wrong tile; a layer of ten classes has 1.3 million
CHUNKS = 16  # of images; no more threads than this share a weight gradient


@inlined
def addresses(starts, first, shape):
    """The addresses of a tile's rows from `first` on; beyond the last row the last one again: its result is dropped."""
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
def copy_panel(b, start, K, F, first, width, out, to):
    """Columns first to first + width of B, row after row, to out[to:]; zeros beyond column F. B[k, f] is
    b[start + k * F + f]."""
    lanes = REGISTER_BITS // (8 * b.itemsize)
    for k in range(K):
        for f in range(first, first + width, lanes):
            store(load_first(b, start + k * F + f, F - f), out, to + k * width + f - first)


@inlined
def ask_for(b, first, last, F, left, right):
    """Have B's rows first to last, from column left to right, brought near. B[k, f] is b[k * F + f]."""
    for k in range(first, last):
        for f in range(left, right, LINE // b.itemsize):
            prefetch(b, k * F + f)


@kernel
def product_rows(a, starts, runs, a_run, K, a_k, b, bias, out, slab_runs, slab_K, groups, blocks, shape):
    """out[m, f] = bias[f] + sum over r < runs, k < K of  a[starts[m] + r * a_run + k * a_k] * B[r * K + k, f].

    a : flat array. starts : (M,), where each row of A begins. b : B (runs*K, F), flat. bias : (F,). out : (M, F).
    slab_runs, slab_K, groups, blocks : see `shares`. shape : the tile, WIDE or NARROW.
    """
    M, F = out.shape
    rows = len(shape)
    width = ACCUMULATORS // rows * (REGISTER_BITS // (8 * a.itemsize))
    tiles, panels = (M + rows - 1) // rows, (F + width - 1) // width
    flat = out.reshape(-1)
    for task in prange(groups * blocks):
        group, block = task // blocks, task % blocks
        first, last = group * panels // groups, (group + 1) * panels // groups
        top, bottom = block * tiles // blocks * rows, min((block + 1) * tiles // blocks * rows, M)
        right = scratch((last - first) * slab_runs * slab_K * width, a)
        for run in range(0, runs, slab_runs):
            for k in range(0, K, slab_K):
                some_runs, some_K = min(slab_runs, runs - run), min(slab_K, K - k)
                begin = run * K + k
                end = begin + some_runs * some_K
                for panel in range(first, last):
                    to = (panel - first) * (end - begin) * width
                    copy_panel(b, begin * F, end - begin, F, panel * width, width, right, to)
                part, more, more_row = a[run * a_run + k * a_k :], bias, 0
                if begin > 0:
                    more, more_row = flat, F  # the sums of the slabs before
                asked, ahead = end, (end - begin) // max(1, (bottom - top) // rows) + 1  # rows of the next slab
                for m in range(top, bottom, rows):
                    where = addresses(starts, m, shape)
                    ask_for(b, asked, min(asked + ahead, runs * K), F, first * width, min(last * width, F))
                    asked += ahead
                    for panel in range(first, last):
                        j = panel * width
                        at = (panel - first) * (end - begin) * width
                        acc = tile(part, where, a_run, a_k, right, at, width, some_runs, some_K)
                        at_more = j if begin == 0 else m * F + j
                        if m + rows <= M and j + width <= F:
                            add_to(acc, where, flat, m * F + j, F, more, at_more, more_row)
                        else:
                            add_part_to(acc, where, flat, m * F + j, F, more, at_more, more_row, M - m, F - j)


@kernel
def product_over_images(a, image_size, starts, runs, a_run, K, a_k, b, sums, bias_sums, shape):
    """For each chunk of the images, sum over its images n of  A[n]^T @ B[n]; and of B[n]'s rows.

    A[n][r * K + k, m] is a[n * image_size + starts[m] + r * a_run + k * a_k], and b is (N, runs*K, F).
    sums : (CHUNKS, M rounded up to whole tiles, F likewise) and bias_sums : (CHUNKS, F likewise), both overwritten.
    """
    N, P, F = b.shape
    rows = len(shape)
    lanes = REGISTER_BITS // (8 * a.itemsize)
    width = ACCUMULATORS // rows * lanes
    columns = sums.shape[2]
    # Large images are gone through in bands of lines, of A and B together, that stay in the cache for all tiles.
    band = max(1, CACHE // ((K * columns + a_run) * a.itemsize))
    flat = b.reshape(-1)
    for chunk in prange(CHUNKS):
        total, bias_total = sums[chunk].reshape(-1), bias_sums[chunk]
        total[:] = 0.0
        bias_total[:] = 0.0
        # Rows of B that are whole panels are read where they lie, others are copied and filled up.
        copy = scratch(0 if columns == F else P * columns, b)
        right, right_k = (flat, F) if columns == F else (copy, columns)
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            at = n * P * F
            if columns > F:
                copy_panel(flat, at, P, F, 0, columns, copy, 0)
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
                        acc = tile(part, where, a_run, a_k, right, here + f, right_k, some, K)
                        to = m * columns + f
                        add_to(acc, where, total, to, columns, total, to, columns)


@kernel
def sums_kernel(b, sums):
    """sums[chunk] = the sum over the chunk's rows of b (P, F)."""
    P, F = b.shape
    flat, flat_sums = b.reshape(-1), sums.reshape(-1)
    for chunk in prange(CHUNKS):
        for f in range(0, F, REGISTER_BITS // (8 * b.itemsize)):
            total = zeros(flat)
            for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
                total = add(total, load_first(flat, p * F + f, F - f))
            store_first(total, flat_sums, chunk * F + f, F - f)


def column_sums(b: np.ndarray) -> np.ndarray:
    """The gradient of a bias: the sum of b (..., F), contiguous, over all but its last axis."""
    sums = np.empty((CHUNKS, b.shape[-1]), b.dtype)
    sums_kernel(b.reshape(-1, b.shape[-1]), sums)
    return sums.sum(axis=0)


@functools.lru_cache(maxsize=256)  # a network asks for the same few at every step
def shares(M: int, F: int, runs: int, K: int, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int, int, int]:
    """How `product_rows` divides its work: runs and k of a slab, groups of panels, and blocks of rows.

    A thread copies a group's part of one slab at a time, which stays in its cache while the rows of a block pass by.
    Groups and blocks together are BLOCKS at least, where there is that much to do.
    """
    slabs = -(-K // SLAB)
    slab_runs, slab_K = min(runs, max(1, SLAB // K)), -(-K // slabs)
    panels = padded_columns(F, shape, dtype) // columns(shape, dtype)
    together = max(1, CACHE // (slab_runs * slab_K * columns(shape, dtype) * dtype.itemsize))
    groups = -(-panels // together)
    blocks = max(1, min(-(-M // len(shape)) // BLOCK_TILES, BLOCKS // groups))
    return slab_runs, slab_K, min(panels, max(groups, BLOCKS // blocks)), blocks


def product(a, starts, runs, a_run, K, a_k, b, bias) -> np.ndarray:
    """`product_rows` into a new array (M, F), in the tile that suits its columns; bias : (F,) or None."""
    M, F = starts.size, b.shape[1]
    # A little product in the wrong tile costs less than that tile's compilation, if nothing else needs it.
    shape = WIDE if M * runs * K * F < LITTLE else tile_cost(F, a.dtype)[1]
    bias = np.zeros(F, a.dtype) if bias is None else np.ascontiguousarray(bias)
    if 0 in (M, F, runs, K):
        return np.tile(bias, (M, 1))  # no entries, or no terms in their sums, as in the gradients of an empty batch
    out = np.empty((M, F), a.dtype)
    b = np.ascontiguousarray(b).reshape(-1)
    product_rows(a, starts, runs, a_run, K, a_k, b, bias, out, *shares(M, F, runs, K, shape, out.dtype), shape)
    return out


def weight_gradient(a, image_size, starts, runs, a_run, K, a_k, b) -> tuple[np.ndarray, np.ndarray]:
    """The chunks of `product_over_images`, added up in their order: dw (M, F) and db (F,)."""
    M, F = starts.size, b.shape[2]
    _, shape = tile_cost(F, b.dtype)
    sums = np.empty((CHUNKS, -(-M // len(shape)) * len(shape), padded_columns(F, shape, b.dtype)), b.dtype)
    bias_sums = np.empty(sums.shape[::2], b.dtype)
    product_over_images(a, image_size, starts, runs, a_run, K, a_k, b, sums, bias_sums, shape)
    return np.ascontiguousarray(sums.sum(axis=0)[:M, :F]), bias_sums.sum(axis=0)[:F].copy()
