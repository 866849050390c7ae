"""A convolution's gradients where dout is mostly zeros: only its nonzeros are multiplied.

If a max-pool follows the convolution, one pixel of each window has a gradient: the winner. If a ReLU lies between them,
not even every winner has one. The nonzeros are put into lists, as in `product/sparse.py`. That file has the inner loop
over a list, and says what becomes of infinities.

Gradient of w. Each filter f has a list of the output pixels where dout is not zero, image by image. dw sums their
patches:

    dw[:, f] = sum over the pixels p in f's list of  dout[p, f] * the patch of p

                          KW * C numbers, whole vectors
                       +---------+---------+- -
    patch of p, from   | vector  | vector  |          its KH rows lie one image row apart; GROUP of these vectors are
    the padded image   +---------+---------+- -       summed at a time, in registers, over the whole list
                       | vector  | vector  |
                       +---------+---------+- -

Gradient of x. A number dout[p, f] adds the kernel of filter f, times that number, to the patch of p in dx. Each row of
dout has one list, pixel after pixel. The numbers that reach a given pixel of dx are consecutive in it:

    row i of dout       . .[x x x x x]. .         a piece of the list: all numbers of KW pixels
                            \\ \\ | / /
    dx, row i*SH        . . . [v] . . . .         one pixel's vectors of channels, in KH rows; GROUP vectors at a time
        row i*SH + 1    . . . [v] . . . .         sum the piece; each row multiplies a number by other weights, which
          ...                                     lie a fixed distance apart

With few channels, one vector holds n neighbouring pixels of a row of dx. Then the piece is n - 1 pixels longer. A
vector of weights has a part for each of the n pixels, which is zero where a number does not reach the pixel.

If the image is as small as MNIST's, image and sums stay in the L1 cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet.fast.choose import CHUNKS, GROUP, neighbours_in_vector
from scratchnet.fast.compiled import kernel
from scratchnet.fast.padded import copy_image, copy_stretch, window_starts
from scratchnet.fast.product.sparse import add_products
from scratchnet.fast.register.scratch import aligned_zeros, scratch, zeroed
from scratchnet.fast.register.transpose import transpose
from scratchnet.fast.register.vector import (
    append_nonzero,
    lanes_of,
    load,
    load_first,
    replaced,
    store,
    zeros,
)
from scratchnet.fast.register.width import lanes
from scratchnet.layers.shapes import Window


class Blocks(NamedTuple):
    """How `sparse_dx` cuts a row of dx: into blocks of neighbouring pixels, padded to whole vectors."""

    pixels: int  #: pixels of a block
    numbers: int  #: numbers of a block, padding included
    meets: int  #: pixels of dout that reach a block, for a stride of 1: KW + pixels - 1


@kernel
def sparse_dw_kernel(x, window, dout, pixels, vectors, sums, group):
    """For each chunk of the images and each filter f, the sum over the pixels of  dout[pixel, f] * the pixel's patch.

    x : (N, H, W, C). dout : (N, P, n*F), n pixels in each row. pixels : (n * P,), int32, the address of each pixel's
    patch in the padded image: the first pixel of every row, then the second of every row. vectors : the offset of each
    vector in a patch. sums : (chunks, F, all vectors). group : GROUP, vectors that are summed together.
    """
    N, P, columns = dout.shape
    F = sums.shape[1]
    padded_H, padded_W = window.padded
    before, C = window.before, x.shape[3]
    width = lanes_of(x)
    for chunk in prange(len(sums)):
        image = zeroed(padded_H * padded_W * C + width, x)  # the last vector of a patch may reach beyond the image
        values, places = np.empty(pixels.size + width, x.dtype), np.empty(pixels.size + width, np.int32)
        turned = scratch(columns * P, x)
        z = zeros(values)
        acc, offsets = (z, z, z, z, z), group
        sums[chunk] = 0.0
        for n in range(chunk * N // len(sums), (chunk + 1) * N // len(sums)):
            padded = image[: padded_H * padded_W * C].reshape(padded_H, padded_W, C)
            copy_image(x[n], padded, before, (1, 1))
            transpose(dout[n].reshape(-1), 0, columns, P, columns, turned, 0, P)
            for f in range(F):
                total, count = sums[chunk, f], 0
                for i in range(columns // F):
                    for p in range(0, P, width):
                        some = load_first(turned, (i * F + f) * P + p, P - p)
                        count += append_nonzero(some, pixels, i * P + p, values, places, count)
                for v in range(0, vectors.size, len(group)):
                    for i in range(len(group)):
                        offsets = replaced(offsets, i, vectors[v + i])
                        acc = replaced(acc, i, load(total, (v + i) * width))
                    acc = add_products(acc, values, places, 0, count, image, 1, offsets)
                    for i in range(len(group)):
                        store(acc[i], total, (v + i) * width)


@kernel
def sparse_dx_kernel(dout, weights, numbers, homes, cut, window, dx, group):
    """dx (N, H, W, C) from dout (N, OH, OW, F) and the weights as `weights_table` lays them out, flat.

    numbers : (OW * F,), int32, the offset of the weights for each number of a row of dout, relative to the block's
    offset in the table. homes : the offset in the sums of each vector of a block, relative to the block in row i*SH.
    cut : `Blocks`. group : GROUP, vectors that are summed together.
    """
    N, OH, OW, F = dout.shape
    _, H, W, C = dx.shape
    pixels, block, meets = cut
    (SH, SW), (top, left) = window.stride, window.before
    width = lanes_of(dx)
    blocks = (W + pixels - 1) // pixels
    line = blocks * block
    rows = max((OH - 1) * SH + homes.size * width // block, H + top)
    chunks = min(CHUNKS, N)
    for chunk in prange(chunks):
        sums = scratch(rows * line, dx)
        values, places = np.empty(OW * F + width, dx.dtype), np.empty(OW * F + width, np.int32)
        starts = np.empty(OW + 1, np.intp)
        z = zeros(values)
        acc, offsets, to = (z, z, z, z, z), group, group
        for n in range(chunk * N // chunks, (chunk + 1) * N // chunks):
            sums[:] = 0.0
            for i in range(OH):
                row, count = dout[n, i].reshape(-1), 0
                for j in range(OW):
                    starts[j] = count
                    for f in range(0, F, width):
                        some = load_first(row, j * F + f, F - f)
                        count += append_nonzero(some, numbers, j * F + f, values, places, count)
                starts[OW] = count
                for k in range(blocks):
                    q = left + (k + 1) * pixels - 1  # pixel j of dout takes entry q - j * SW of the table
                    first, last = starts[min(OW, max(0, (q - meets + SW) // SW))], starts[min(OW, q // SW + 1)]
                    for v in range(0, homes.size, len(group)):
                        for g in range(len(group)):
                            offsets = replaced(offsets, g, q * (weights.size // meets) + (v + g) * width)
                            to = replaced(to, g, homes[v + g] + i * SH * line + k * block)
                            acc = replaced(acc, g, load(sums, to[g]))
                        acc = add_products(acc, values, places, first, last, weights, 1, offsets)
                        for g in range(len(group)):
                            store(acc[g], sums, to[g])
            for h in range(H):
                line_of_dx = dx[n, h].reshape(-1)
                for k in range(blocks):
                    some = min(pixels, W - k * pixels) * C
                    copy_stretch(sums, (h + top) * line + k * block, some, line_of_dx, k * pixels * C)


def sparse_dw(x: np.ndarray, dout: np.ndarray, window: Window) -> np.ndarray:
    """dw (KH, KW, C, F) of a convolution, from x (N, H, W, C) and dout (N, OH, OW, F), without the zeros of dout."""
    (N, _, _, C), F, (KH, KW) = x.shape, dout.shape[3], window.size
    LANES, line = lanes(x.dtype), window.padded[1] * C
    pixels = window_starts(1, window.padded, C, window.out, window.stride).astype(np.int32)
    n = max(1, LANES // F)  # few filters: n pixels together fill a square of the transpose
    if pixels.size % n:
        n = 1
    rows = dout.reshape(N, pixels.size // n, n * F)
    pixels = pixels.reshape(-1, n).T.reshape(-1)
    in_a_line = -(-KW * C // LANES)  # vectors of a patch
    vectors = (np.arange(KH)[:, None] * line + np.arange(in_a_line) * LANES).reshape(-1)
    in_groups = np.zeros(-(-vectors.size // len(GROUP)) * len(GROUP), np.intp)
    in_groups[: vectors.size] = vectors
    sums = np.empty((min(CHUNKS, N), F, in_groups.size * LANES), x.dtype)
    sparse_dw_kernel(x, window, rows, pixels, in_groups, sums, GROUP)
    dw = sums.sum(axis=0)[:, : vectors.size * LANES].reshape(F, KH, in_a_line * LANES)[:, :, : KW * C]
    return np.ascontiguousarray(dw.reshape(F, KH, KW, C).transpose(1, 2, 3, 0))


def weights_table(w: np.ndarray, n: int) -> np.ndarray:
    """(Q, F, V, KH, LANES): for each filter, the weights of n neighbouring pixels of dx, in V vectors, for KH rows.

    Q = KW + n - 1. In entry q, pixel i of the n has column q - (n - 1) + i of w (KH, KW, C, F), or zeros where w has no
    such column. KH is zero-padded, so that the vectors fill whole GROUPs.
    """
    KH, KW, C, F = w.shape
    LANES = lanes(w.dtype)
    V = -(-n * C // LANES)
    rows = KH if V % len(GROUP) == 0 else -(-KH // len(GROUP)) * len(GROUP)
    spread = np.zeros((KW + n - 1, F, rows, V * LANES), w.dtype)
    for i in range(n):
        spread[n - 1 - i :][:KW, :, :KH, i * C : (i + 1) * C] = w.transpose(1, 3, 0, 2)
    spread = spread.reshape(*spread.shape[:3], V, LANES).transpose(0, 1, 3, 2, 4)
    table = aligned_zeros(spread.size, w.dtype).reshape(spread.shape)
    table[...] = spread
    return table


def sparse_dx(dout: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, F) and w (KH, KW, C, F), without the zeros of dout."""
    N, _, OW, F = dout.shape
    (H, W), C, SW = window.image, w.shape[2], window.stride[1]
    n = neighbours_in_vector(C, W, w.dtype)
    table = weights_table(w, n)
    Q, _, V, rows, LANES = table.shape
    block = V * LANES
    homes = (np.arange(V)[:, None] * LANES + np.arange(rows) * (-(-W // n) * block)).reshape(-1)
    numbers = (np.arange(F) - np.arange(OW)[:, None] * (SW * F)) * (rows * block)
    numbers = numbers.astype(np.int32).reshape(-1)
    dx = np.empty((N, H, W, C), w.dtype)
    sparse_dx_kernel(dout, table.reshape(-1), numbers, homes, Blocks(n, block, Q), window, dx, GROUP)
    return dx
