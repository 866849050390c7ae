"""Depthwise convolution: the tile again, but each lane is a channel that meets only its own weights.

No number is used by more than one lane, so there is one load for each multiply-add, and these are the pace now. Unless
a tile's rows are neighbouring pixels: then the pixel that one of them meets now, the one before meets next, and each is
loaded once and slides through the tile. Two pictures of an image, as the tile takes them, of the same memory:

    "pixels"    a row of A is an output pixel, and its C channels are the lanes
    "lines"     a row of A is a line of the output, and all OW*C numbers in it are the lanes: with a stride of 1, the
                line below a tap of the kernel is one stretch of memory. For few channels, such as MNIST's one

In both, forward sums over the taps (kh, kw) with the weights as B, and the gradient of the weights sums over the output
with dout as B, where a row of A is a tap. The gradient of the image is a forward pass over the spread dout with the
kernel turned, as in `conv.py`.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product import CHUNKS, addresses, column_sums
from scratchnet.fast.tile import ACCUMULATORS, NARROW, REGISTERS, add_part_to, lanewise_tile, sliding_tile
from scratchnet.fast.vector import REGISTER_BITS, lanes
from scratchnet.fast.window import copy_into, padded_copy, window_starts
from scratchnet.layers.shapes import Padding, Window, pair, window_grid


@kernel
def lanewise_rows(a, image_size, starts, runs, a_run, K, a_k, slides, b, bias, out, shape):
    """out[n, m, f] = bias[f] + sum over r < runs, k < K of  a[n, starts[m] + r * a_run + k * a_k + f] * B[r, k, f].

    a : flat, image_size numbers an image. starts : (M,). slides : whether all of a tile's rows begin a_k apart.
    b : B (runs, K, F), flat. bias : (F,). out : (N, M, F).
    """
    N, M, F = out.shape
    flat = out.reshape(-1)
    for n in prange(N):
        image = a[n * image_size : (n + 1) * image_size]
        for m in range(0, M, ACCUMULATORS):
            rows = addresses(starts, m, shape)
            for f in range(0, F, REGISTER_BITS // (8 * a.itemsize)):
                if slides:
                    acc = sliding_tile(image[f:], rows[0], a_run, a_k, b, f, F, runs, K, F - f)
                else:
                    acc = lanewise_tile(image[f:], rows, a_run, a_k, b, f, F, runs, K, F - f)
                add_part_to(acc, rows, flat, (n * M + m) * F + f, F, bias, f, 0, M - m, F - f)


@kernel
def lanewise_over_images(a, image_size, starts, runs, a_run, K, a_k, b, sums, shape):
    """For each chunk of the images, sum over its n, r, k of  a[n, starts[m] + r*a_run + k*a_k + f] * B[n, r, k, f].

    b : B (N, runs * K, F). sums : (CHUNKS, M, F).
    """
    N, P, F = b.shape
    flat = b.reshape(-1)
    M = sums.shape[1]
    for chunk in prange(CHUNKS):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            image = a[n * image_size : (n + 1) * image_size]
            for m in range(0, M, ACCUMULATORS):
                rows = addresses(starts, m, shape)
                for f in range(0, F, REGISTER_BITS // (8 * a.itemsize)):
                    acc = lanewise_tile(image[f:], rows, a_run, a_k, flat, n * P * F + f, F, runs, K, F - f)
                    add_part_to(acc, rows, total, m * F + f, F, total, m * F + f, F, M - m, F - f)


def in_lines(C: int, SW: int, dtype: np.dtype) -> bool:
    """Whether lines are the picture to take: few channels, whose places lie side by side."""
    return SW == 1 and lanes(dtype) > C


def correlation(
    image: np.ndarray, w: np.ndarray, b: np.ndarray | None, out_size: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """out (N, OH, OW, C) of a padded image (N, PH, PW, C) and w (KH, KW, C)."""
    N, _, PW, C = image.shape
    (OH, OW), (SH, SW), (KH, KW, _) = out_size, stride, w.shape
    bias = np.zeros(C, w.dtype) if b is None else b
    if in_lines(C, SW, w.dtype):
        starts, slides = np.arange(OH) * (SH * PW * C), False
        w, bias = np.tile(w, OW), np.tile(bias, OW)
    else:
        starts = window_starts((1, *image.shape[1:]), (OH, OW), stride)
        slides = REGISTERS >= 2 * ACCUMULATORS + 1 and SW == 1 and OW % ACCUMULATORS == 0
    out = np.empty((N, len(starts), w.shape[2]), w.dtype)
    taps = np.ascontiguousarray(w).reshape(-1)
    lanewise_rows(image.reshape(-1), image[:1].size, starts, KH, PW * C, KW, C, slides, taps, bias, out, NARROW)
    return out.reshape(N, OH, OW, C)


def kernel_gradient(
    image: np.ndarray, dout: np.ndarray, kernel_size: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """dw (KH, KW, C), from a padded image (N, PH, PW, C) and dout (N, OH, OW, C)."""
    N, OH, OW, C = dout.shape
    (KH, KW), (SH, SW), line = kernel_size, stride, image.shape[2] * C
    starts = (np.arange(KH)[:, None] * line + np.arange(KW) * C).reshape(-1)
    if in_lines(C, SW, dout.dtype):
        runs, run, K, step, F = 1, 0, OH, SH * line, OW * C
    else:
        runs, run, K, step, F = OH, SH * line, OW, SW * C, C
    sums = np.empty((CHUNKS, KH * KW, F), dout.dtype)
    rows = dout.reshape(N, runs * K, F)
    lanewise_over_images(image.reshape(-1), image[:1].size, starts, runs, run, K, step, rows, sums, NARROW)
    return sums.sum(axis=0).reshape(KH, KW, F // C, C).sum(axis=2)


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_forward`."""
    KH, KW, C, M = w.shape
    stride = pair(stride, "stride")
    out_size, pads = window_grid(x.shape[1:3], (KH, KW), stride, padding)
    return correlation(padded_copy(repeated(x, M), pads), w.reshape(KH, KW, C * M), b, out_size, stride)


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Window, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_backward`."""
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    SH, SW = pair(stride, "stride")
    _, pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    dout = np.ascontiguousarray(dout)
    db = column_sums(dout)
    dw = kernel_gradient(padded_copy(repeated(x, M), pads), dout, (KH, KW), (SH, SW)).reshape(w.shape)
    if not need_dx:
        return None, dw, db
    spread = np.empty((N, H + KH - 1, W + KW - 1, C * M), dout.dtype)
    copy_into(dout, spread, KH - 1 - pads[0][0], KW - 1 - pads[1][0], SH, SW)
    turned = w.reshape(KH, KW, C * M)[::-1, ::-1]
    dx = correlation(spread, turned, None, (H, W), (1, 1))
    return dx if M == 1 else dx.reshape(N, H, W, C, M).sum(axis=4), dw, db


def repeated(x: np.ndarray, M: int) -> np.ndarray:
    """x (N, H, W, C), contiguous, with each channel M times."""
    return np.ascontiguousarray(x) if M == 1 else np.repeat(x, M, axis=3)
