"""A convolution's gradients where the gradient of its output is mostly zeros: those are left out.

Behind a max-pool, one pixel of a window has a gradient, the winner, and behind the ReLU between them not even all
winners. What is left goes into lists, as in `product/sparse.py`, which has the loop over them and says what becomes of
infinities.

Gradient of w. Each filter gets a list of its pixels that are left, image by image, and dw sums their patches:

    dw[:, f] = sum over the pixels p in f's list of  dout[p, f] * the patch of p

                          KW * C numbers, whole vectors
                       +---------+---------+- -
    patch of p, from   | vector  | vector  |          its KH lines lie one image row apart; GROUP of these vectors are
    the padded image   +---------+---------+- -       summed at a time, in registers, over the whole list
                       | vector  | vector  |
                       +---------+---------+- -

Gradient of x. A number of dout adds the whole kernel of its filter, times itself, to its patch in dx. A row of dout has
one list, pixel after pixel, and those that reach a place in dx lie side by side in it:

    row i of dout       . .[x x x x x]. .         a piece of the list: all numbers of KW pixels
                            \\ \\ | / /
    dx, row i*SH        . . . [v] . . . .         vectors of channels in the same place of KH rows, GROUP at a time, sum
        row i*SH + 1    . . . [v] . . . .         the piece; each number meets other weights in each of them, a fixed
          ...                                     distance apart

With few channels, G neighbouring places of a row are one vector: then the piece is G - 1 pixels longer, and the weights
are those that each place meets, zeros where it is out of a pixel's reach.

Image and sums stay in the first level of the cache meanwhile, if the image is as small as MNIST's.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product.loops import CACHE, CHUNKS
from scratchnet.fast.product.sparse import add_products
from scratchnet.fast.register.scratch import aligned_zeros, scratch, zeroed
from scratchnet.fast.register.transpose import transpose
from scratchnet.fast.register.vector import (
    REGISTER_BITS,
    append_nonzero,
    lanes,
    load,
    load_first,
    replaced,
    store,
    zeros,
)
from scratchnet.fast.window import copy_image, copy_stretch, window_starts
from scratchnet.layers.shapes import Pads

LISTED = 4.0  # what it takes to look at a number and put it into a list, in multiply-adds of a vector
TABLE = 1 << 16  # bytes of weights, at most: beyond the first level of the cache, but not far
GROUP = (0,) * 5  # vectors; as many as a 5 x 5 kernel has lines


@kernel
def kernel_gradient_kernel(x, padded_size, before, dout, pixels, stretches, sums, group):
    """For each chunk of the images and each filter f, the sum over the pixels of  dout[pixel, f] * the pixel's patch.

    x : (N, H, W, C), with `before` zeros above and to the left in a padded image of `padded_size`. dout : (N, P, G*F),
    each row G pixels. pixels : (G * P,), int32, where the first pixel of each row has its patch in the padded image,
    then the second ones. stretches : where each vector of a patch lies in it. sums : (chunks, F, all vectors). group :
    vectors that are summed together, as a tuple of that length.
    """
    N, P, columns = dout.shape
    F = sums.shape[1]
    PH, PW = padded_size
    C = x.shape[3]
    width = REGISTER_BITS // (8 * x.itemsize)
    for chunk in prange(len(sums)):
        image = zeroed(PH * PW * C + width, x)  # the last vector of a patch may reach beyond it
        values, places = np.empty(pixels.size + width, x.dtype), np.empty(pixels.size + width, np.int32)
        turned = scratch(columns * P, x)
        z = zeros(values)
        acc, offsets = (z, z, z, z, z), group
        sums[chunk] = 0.0
        for n in range(chunk * N // len(sums), (chunk + 1) * N // len(sums)):
            copy_image(x[n], image[: PH * PW * C].reshape(PH, PW, C), *before, 1, 1)
            transpose(dout[n].reshape(-1), 0, columns, P, columns, turned, 0, P)
            for f in range(F):
                total, count = sums[chunk, f], 0
                for g in range(columns // F):
                    for p in range(0, P, width):
                        some = load_first(turned, (g * F + f) * P + p, P - p)
                        count += append_nonzero(some, pixels, g * P + p, values, places, count)
                for v in range(0, stretches.size, len(group)):
                    for i in range(len(group)):
                        offsets = replaced(offsets, i, stretches[v + i])
                        acc = replaced(acc, i, load(total, (v + i) * width))
                    acc = add_products(acc, values, places, 0, count, image, 1, offsets)
                    for i in range(len(group)):
                        store(acc[i], total, (v + i) * width)


@kernel
def input_gradient_kernel(dout, weights, numbers, homes, Q, G, block, stride, before, dx, group):
    """dx (N, H, W, C) from dout (N, OH, OW, F) and the weights as `weights_table` lays them out, flat.

    numbers : (OW * F,), int32, where the weights for each number of a row of dout begin, seen from those for a block.
    homes : where each vector that belongs to a block lies, seen from the block's place in row i*SH of the sums. Q, G,
    block : places in the table, pixels of a block, and its numbers in whole vectors. before : the padding above and to
    the left of dx. group : vectors that are summed together, as a tuple of that length.
    """
    N, OH, OW, F = dout.shape
    _, H, W, C = dx.shape
    SH, SW = stride
    top, left = before
    width = REGISTER_BITS // (8 * dx.itemsize)
    blocks = (W + G - 1) // G
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
                    q = left + k * G + G - 1  # pixel j of dout meets the weights at place q - j * SW of Q
                    first, last = starts[min(OW, max(0, (q - Q + SW) // SW))], starts[min(OW, q // SW + 1)]
                    for v in range(0, homes.size, len(group)):
                        for g in range(len(group)):
                            offsets = replaced(offsets, g, q * (weights.size // Q) + (v + g) * width)
                            to = replaced(to, g, homes[v + g] + i * SH * line + k * block)
                            acc = replaced(acc, g, load(sums, to[g]))
                        acc = add_products(acc, values, places, first, last, weights, 1, offsets)
                        for g in range(len(group)):
                            store(acc[g], sums, to[g])
            for h in range(H):
                pixels = dx[n, h].reshape(-1)
                for k in range(blocks):
                    copy_stretch(sums, (h + top) * line + k * block, min(G, W - k * G) * C, pixels, k * G * C)


def pays(dout: np.ndarray, vectors: float, other: float) -> bool:
    """Whether a gradient without the zeros is faster than another way; measured with 5 x 5 kernels.

    vectors : of multiply-adds that a number of dout takes. other : the other way's time for one of them, here 1. How
    many numbers are zero is guessed from a few images.
    """
    some = dout[:: max(1, len(dout) // 4)]
    return LISTED + vectors * float(np.count_nonzero(some)) / max(1, some.size) < other * vectors


def kernel_gradient_pays(x: np.ndarray, dout: np.ndarray, w_shape: tuple[int, ...], other: float) -> bool:
    """See `pays`, for dw; and whether the image fits into the cache."""
    KH, KW, C, _ = w_shape
    return x[:1].nbytes < CACHE and pays(dout, KH * -(-KW * C // lanes(x.dtype)), other)


def kernel_gradient(
    x: np.ndarray, dout: np.ndarray, w_shape: tuple[int, ...], stride: tuple[int, int], pads: Pads
) -> np.ndarray:
    """dw (KH, KW, C, F) of a convolution, from x (N, H, W, C), which `pads` surround with zeros, and dout."""
    N, H, W, C = x.shape
    KH, KW, _, F = w_shape
    (top, bottom), (left, right) = pads
    size = top + H + bottom, left + W + right
    pixels = window_starts((1, *size, C), dout.shape[1:3], stride).astype(np.int32)
    G = max(1, lanes(x.dtype) // F)
    if pixels.size % G:
        G = 1
    pixels = pixels.reshape(-1, G).T.reshape(-1)  # few filters: G pixels together are as wide as what is turned round
    in_a_line = -(-KW * C // lanes(x.dtype))  # vectors of a patch
    stretches = (np.arange(KH)[:, None] * (size[1] * C) + np.arange(in_a_line) * lanes(x.dtype)).reshape(-1)
    whole = np.zeros(-(-stretches.size // len(GROUP)) * len(GROUP), np.intp)
    whole[: stretches.size] = stretches
    sums = np.empty((min(CHUNKS, N), F, whole.size * lanes(x.dtype)), x.dtype)
    kernel_gradient_kernel(x, size, (top, left), dout.reshape(N, pixels.size // G, G * F), pixels, whole, sums, GROUP)
    dw = sums.sum(axis=0)[:, : stretches.size * lanes(x.dtype)].reshape(F, KH, -1)[:, :, : KW * C]
    return np.ascontiguousarray(dw.reshape(F, KH, KW, C).transpose(1, 2, 3, 0))


def weights_table(w: np.ndarray, G: int) -> np.ndarray:
    """(Q, F, V, KH, LANES): for each filter, the weights that G places of dx, in V vectors, meet in KH rows.

    Q = KW + G - 1 : at place q, the g-th of the G places meets column q - (G - 1) + g of w (KH, KW, C, F), or zeros
    where that is outside. KH is made so large, with zeros, that the vectors fill whole GROUPs.
    """
    KH, KW, C, F = w.shape
    V = -(-G * C // lanes(w.dtype))
    rows = KH if V % len(GROUP) == 0 else -(-KH // len(GROUP)) * len(GROUP)
    spread = np.zeros((KW + G - 1, F, rows, V * lanes(w.dtype)), w.dtype)
    for g in range(G):
        spread[G - 1 - g :][:KW, :, :KH, g * C : (g + 1) * C] = w.transpose(1, 3, 0, 2)
    spread = spread.reshape(*spread.shape[:3], V, -1).transpose(0, 1, 3, 2, 4)
    table = aligned_zeros(spread.size, w.dtype).reshape(spread.shape)
    table[...] = spread
    return table


def pixels_at_once(C: int, W: int, dtype: np.dtype) -> int:
    """G, the pixels of dx whose C channels fill a vector."""
    return max(1, min(W, lanes(dtype) // C))


def input_gradient_pays(dout: np.ndarray, w_shape: tuple[int, ...], size: tuple[int, int], other: float) -> bool:
    """See `pays`, for dx with images of this size; and whether they and the table fit into the caches."""
    (H, W), (KH, KW, C, F) = size, w_shape
    G = pixels_at_once(C, W, dout.dtype)
    vectors = KH * (KW + G - 1) * -(-G * C // lanes(dout.dtype))
    small = vectors * F * REGISTER_BITS // 8 <= TABLE and H * W * C * dout.itemsize < CACHE
    return small and pays(dout, vectors / G, other)


def input_gradient(
    dout: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: tuple[int, int], before: tuple[int, int]
) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, F); `before` is the padding above and to the left of the image."""
    N, _, OW, F = dout.shape
    (H, W), C = size, w.shape[2]
    G = pixels_at_once(C, W, w.dtype)
    table = weights_table(w, G)
    Q, _, V, rows, width = table.shape
    block = V * width
    homes = (np.arange(V)[:, None] * width + np.arange(rows) * (-(-W // G) * block)).reshape(-1)
    numbers = (np.arange(F) - np.arange(OW)[:, None] * (stride[1] * F)) * (rows * block)
    dx = np.empty((N, H, W, C), w.dtype)
    numbers = numbers.astype(np.int32).reshape(-1)
    input_gradient_kernel(dout, table.reshape(-1), numbers, homes, Q, G, block, stride, before, dx, GROUP)
    return dx
