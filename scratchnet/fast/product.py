"""Sums of products over the tile: the two shapes that every convolution and every dense layer needs.

`product_rows` makes many rows of output, each from a stretch of A of its own: the forward pass (a row is a pixel and
its patch, or an example) and the gradient of the input. `product_over_images` makes few rows, summed over all images:
the gradient of the weights.

            product_rows                              product_over_images

     packed B, a panel at a time               image 0    image 1   ...
             +------+------+                  +--------+ +--------+       A and B of one image are in cache,
    rows 0-6 | tile | tile |  threads share   |      chunk 0      | ...   and their products are added to the
             +------+------+  the rows        +-------------------+       buffer of the image's chunk;
   rows 7-13 | tile | tile |                       + in order             the chunks' buffers are added up
             +------+------+                         result               in a fixed order

Both give the same bits whatever the number of threads: each number is summed by one thread, in one order, and the
chunks are as many as they are for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.tile import ROWS, VECTORS, columns, tile, write
from scratchnet.fast.vector import add, load, store

CACHE = 1 << 18  # bytes of A that a thread goes through before it takes the next panel of B
CHUNKS = 16  # of the images; no more threads than this share a weight gradient


@inlined
def addresses(starts, first):
    """The addresses of ROWS rows from `first` on; beyond the last row the last one again, its result is not kept."""
    last = starts.size - 1
    if ROWS == 6:
        return (
            starts[first],
            starts[min(first + 1, last)],
            starts[min(first + 2, last)],
            starts[min(first + 3, last)],
            starts[min(first + 4, last)],
            starts[min(first + 5, last)],
        )
    return (
        starts[first],
        starts[min(first + 1, last)],
        starts[min(first + 2, last)],
        starts[min(first + 3, last)],
        starts[min(first + 4, last)],
        starts[min(first + 5, last)],
        starts[min(first + 6, last)],
    )


@kernel
def pack(b, width, out):
    """B (K, F) in panels of `width` columns, each contiguous: out (panels * K * width,), zeros beyond column F."""
    K, F = b.shape
    panels = (F + width - 1) // width
    for block in prange(CHUNKS):
        for k in range(block * K // CHUNKS, (block + 1) * K // CHUNKS):
            for panel in range(panels):
                to = (panel * K + k) * width
                if panel * width + width <= F:
                    for j in range(width):
                        out[to + j] = b[k, panel * width + j]
                else:
                    for j in range(width):
                        column = panel * width + j
                        out[to + j] = b[k, column] if column < F else 0.0


def packed(b: np.ndarray) -> np.ndarray:
    """B (K, F) as `pack` lays it out, in a new array."""
    width = columns(b.dtype)
    out = np.empty(-(-b.shape[1] // width) * width * b.shape[0], b.dtype)
    pack(b, width, out)
    return out


def padded_bias(bias: np.ndarray | None, F: int, dtype: np.dtype) -> np.ndarray:
    """A bias (F,), or zeros if it is None, with zeros up to the end of the last panel."""
    out = np.zeros(-(-F // columns(dtype)) * columns(dtype), dtype)
    if bias is not None:
        out[:F] = bias
    return out


@kernel
def product_rows(a, starts, runs, a_run, K, a_k, b, bias, out, width):
    """out[m, f] = bias[f] + sum over r < runs, k < K of  a[starts[m] + r * a_run + k * a_k] * B[r * K + k, f].

    a : flat array. starts : (M,), where each row of A begins. b : B (runs*K, F) packed. bias : (F,), padded with zeros
    to whole panels. out : (M, F).
    """
    M, F = out.shape
    panels = (F + width - 1) // width
    tiles = (M + ROWS - 1) // ROWS
    tiles_a_block = max(1, CACHE // (ROWS * runs * K * a.itemsize))
    blocks = (tiles + tiles_a_block - 1) // tiles_a_block
    flat = out.reshape(-1)
    for task in prange(blocks * panels):
        # Tasks that follow each other share what is the larger: a panel of B, or a block of rows of A.
        if panels * width > M:
            panel, block = task // blocks, task % blocks
        else:
            panel, block = task % panels, task // panels
        edge = np.empty(ROWS * width, a.dtype)  # a tile that sticks out of the matrix is written here first
        j = panel * width
        for m in range(block * tiles_a_block * ROWS, min((block + 1) * tiles_a_block * ROWS, M), ROWS):
            acc = tile(a, addresses(starts, m), a_run, a_k, b, j * runs * K, runs, K, width)
            if m + ROWS <= M and j + width <= F:
                write(acc, bias, j, flat, m * F + j, F, width)
            else:
                write(acc, bias, j, edge, 0, width, width)
                for row in range(min(ROWS, M - m)):
                    for column in range(min(width, F - j)):
                        flat[(m + row) * F + j + column] = edge[row * width + column]


@kernel
def product_over_images(a, image_size, starts, runs, a_run, K, a_k, b, width, sums, bias_sums):
    """For each chunk of the images, sum over its images n of  A[n]^T @ B[n]; and of B[n]'s rows.

    A[n][r * K + k, m] is a[n * image_size + starts[m] + r * a_run + k * a_k], and b is (N, runs*K, F).
    sums : (CHUNKS, M rounded up to ROWS, F rounded up to width) and bias_sums : (CHUNKS, F), both overwritten.
    """
    N, P, F = b.shape
    panels = (F + width - 1) // width
    stride = panels * width
    rows = sums.shape[1]
    half = width // VECTORS
    for chunk in prange(CHUNKS):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        bias_sums[chunk, :] = 0.0
        right = np.empty(panels * P * width, b.dtype)
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            for panel in range(panels):
                for p in range(P):
                    for j in range(width):
                        f = panel * width + j
                        right[(panel * P + p) * width + j] = b[n, p, f] if f < F else 0.0
            for p in range(P):
                for f in range(F):
                    bias_sums[chunk, f] += b[n, p, f]
            image = a[n * image_size : (n + 1) * image_size]
            for m in range(0, rows, ROWS):
                where = addresses(starts, m)
                for panel in range(panels):
                    acc = tile(image, where, a_run, a_k, right, panel * P * width, runs, K, width)
                    for row in range(ROWS):
                        for v in range(VECTORS):
                            to = (m + row) * stride + panel * width + v * half
                            store(add(acc[row * VECTORS + v], load(total, to)), total, to)


def weight_gradient(a, image_size, starts, runs, a_run, K, a_k, b) -> tuple[np.ndarray, np.ndarray]:
    """The chunks of `product_over_images`, added up in their order: dw (M, F) and db (F,)."""
    width = columns(b.dtype)
    M, F = starts.size, b.shape[2]
    sums = np.empty((CHUNKS, -(-M // ROWS) * ROWS, -(-F // width) * width), b.dtype)
    bias_sums = np.empty((CHUNKS, F), b.dtype)
    product_over_images(a, image_size, starts, runs, a_run, K, a_k, b, width, sums, bias_sums)
    return np.ascontiguousarray(sums.sum(axis=0)[:M, :F]), bias_sums.sum(axis=0)
