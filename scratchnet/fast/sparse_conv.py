"""A convolution's gradient of w where the gradient of its output is mostly zeros: those are left out.

Behind a max-pool, one pixel of a window has a gradient, the winner, and behind the ReLU between them not even all
winners. So each filter gets a list of its pixels that are left, image by image, and dw sums their patches:

    dw[:, f] = sum over the pixels p in f's list of  dout[p, f] * the patch of p

                          KW * C numbers, whole vectors
                       +---------+---------+- -
    patch of p, from   | vector  | vector  |          its KH lines lie one image row apart; GROUP of these vectors are
    the padded image   +---------+---------+- -       summed at a time, in registers, over the whole list
                       | vector  | vector  |
                       +---------+---------+- -

The image stays in the first level of the cache meanwhile, if it is as small as MNIST's. The loop, and what becomes of
infinities, is in `sparse.py`.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product import CACHE, CHUNKS
from scratchnet.fast.sparse import add_products
from scratchnet.fast.vector import REGISTER_BITS, lanes, load, replaced, store, zeros
from scratchnet.fast.window import copy_image, window_starts
from scratchnet.layers.shapes import Pads

GROUP = (0,) * 5  # vectors; as many as a 5 x 5 kernel has lines


@kernel
def kernel_gradient_kernel(x, padded_size, before, dout, pixels, stretches, sums, group):
    """For each chunk of the images and each filter f, the sum over the pixels of  dout[pixel, f] * the pixel's patch.

    x : (N, H, W, C), with `before` zeros above and to the left in a padded image of `padded_size`. dout : (N, P, F).
    pixels : (P,), where each one's patch begins in the padded image. stretches : where each vector of a patch lies in
    it. sums : (CHUNKS, F, all vectors). group : vectors that are summed together, as a tuple of that length.
    """
    N, P, F = dout.shape
    PH, PW = padded_size
    C = x.shape[3]
    width = REGISTER_BITS // (8 * x.itemsize)
    for chunk in prange(len(sums)):
        image = np.zeros(PH * PW * C + width, x.dtype)  # the last vector of a patch may reach beyond it
        values, places = np.empty(P, x.dtype), np.empty(P, np.intp)
        z = zeros(values)
        acc, offsets = (z, z, z, z, z), group
        sums[chunk] = 0.0
        for n in range(chunk * N // len(sums), (chunk + 1) * N // len(sums)):
            copy_image(x[n], image[: PH * PW * C].reshape(PH, PW, C), *before, 1, 1)
            flat = dout[n].reshape(-1)
            for f in range(F):
                total, count = sums[chunk, f], 0
                for p in range(P):
                    value = flat[p * F + f]
                    values[count], places[count] = value, pixels[p]
                    count += value != 0
                for v in range(0, stretches.size, len(group)):
                    for i in range(len(group)):
                        offsets = replaced(offsets, i, stretches[v + i])
                        acc = replaced(acc, i, load(total, (v + i) * width))
                    acc = add_products(acc, values, places, 0, count, image, 1, offsets)
                    for i in range(len(group)):
                        store(acc[i], total, (v + i) * width)


def pays(x: np.ndarray, dout: np.ndarray, w_shape: tuple[int, ...], other: float) -> bool:
    """Whether this is faster than another way, which makes every multiply-add in `other` times what one takes here.

    Measured with 5 x 5 kernels: to look at a number of dout takes as long as 2.5 multiply-adds of vectors. How many are
    zero is guessed from a few images.
    """
    KH, KW, C, _ = w_shape
    some = dout[:: max(1, len(dout) // 4)]
    nonzero = np.count_nonzero(some) / max(1, some.size)
    vectors = KH * -(-KW * C // lanes(x.dtype))
    return bool(x[:1].nbytes < CACHE and 2.5 + nonzero * vectors < other * KH * KW * C / lanes(x.dtype))


def kernel_gradient(
    x: np.ndarray, dout: np.ndarray, w_shape: tuple[int, ...], stride: tuple[int, int], pads: Pads
) -> np.ndarray:
    """dw (KH, KW, C, F) of a convolution, from x (N, H, W, C), which `pads` surround with zeros, and dout."""
    N, H, W, C = x.shape
    KH, KW, _, F = w_shape
    (top, bottom), (left, right) = pads
    size = top + H + bottom, left + W + right
    pixels = window_starts((1, *size, C), dout.shape[1:3], stride)
    in_a_line = -(-KW * C // lanes(x.dtype))  # vectors of a patch
    stretches = (np.arange(KH)[:, None] * (size[1] * C) + np.arange(in_a_line) * lanes(x.dtype)).reshape(-1)
    whole = np.zeros(-(-stretches.size // len(GROUP)) * len(GROUP), np.intp)
    whole[: stretches.size] = stretches
    sums = np.empty((min(CHUNKS, N), F, whole.size * lanes(x.dtype)), x.dtype)
    kernel_gradient_kernel(x, size, (top, left), dout.reshape(N, -1, F), pixels, whole, sums, GROUP)
    dw = sums.sum(axis=0)[:, : stretches.size * lanes(x.dtype)].reshape(F, KH, -1)[:, :, : KW * C]
    return np.ascontiguousarray(dw.reshape(F, KH, KW, C).transpose(1, 2, 3, 0))
