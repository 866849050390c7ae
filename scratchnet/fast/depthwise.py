"""Depthwise convolution: the tile again, but each lane is a channel that meets only its own weights.

No number is used by more than one lane, so there is one load for each multiply-add, and these are the pace now. Unless
a tile's rows are neighbouring pixels: then the pixel that one of them meets now, the one before meets next, and each is
loaded once and slides through the tile. Two pictures of an image, as the tile takes them, of the same memory:

    "pixels"    a row of A is an output pixel, and its C channels are the lanes
    "lines"     a row of A is a line of the output, and all OW*C numbers in it are the lanes: with a stride of 1, the
                line below a tap of the kernel is one stretch of memory. For few channels, such as MNIST's one

In both, forward sums over the taps (kh, kw) with the weights as B, and the gradient of the weights sums over the output
with dout as B, where a row of A is a tap. The gradient of the image is a forward pass over the spread dout with the
kernel turned, as in `conv.py`. With so few multiply-adds for a number, memory counts: a thread makes the padded image
from its image just before it needs it, in an array of its own that its cache holds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product.loops import CHUNKS, addresses, column_sums
from scratchnet.fast.product.tile import ACCUMULATORS, NARROW, REGISTERS, add_part_to, lanewise_tile, sliding_tile
from scratchnet.fast.register.scratch import zeroed
from scratchnet.fast.register.vector import REGISTER_BITS, lanes
from scratchnet.fast.window import copy_image, window_starts
from scratchnet.layers.shapes import Padding, Pads, Window, pair, window_grid

Pair = tuple[int, int]


class Frame(NamedTuple):
    """Where an image stands in a padded one, each pair for height and width; all around it there are zeros."""

    size: Pair  #: of the padded image
    before: Pair  #: rows above the image's first pixel, and columns left of it
    apart: Pair  #: from a pixel to the next


def padding_of(x: np.ndarray, pads: Pads) -> Frame:
    """The frame of x (N, H, W, C) for this padding."""
    (top, bottom), (left, right) = pads
    return Frame((top + x.shape[1] + bottom, left + x.shape[2] + right), (top, left), (1, 1))


@kernel
def lanewise_rows(x, size, before, apart, starts, runs, a_run, K, a_k, slides, b, bias, out, shape):
    """out[n, m, f] = bias[f] + sum over r < runs, k < K of  A[n, starts[m] + r * a_run + k * a_k + f] * B[r, k, f].

    x : (N, H, W, C). A : its images in their `Frame` of size, before and apart, each flat. starts : (M,). slides :
    whether all of a tile's rows begin a_k apart. b : B (runs, K, F), flat. bias : (F,). out : (N, M, F).
    """
    N, M, F = out.shape
    flat = out.reshape(-1)
    PH, PW = size
    C = x.shape[3]
    chunks = min(CHUNKS, N)
    for chunk in prange(chunks):
        image = zeroed(PH * PW * C, x)
        for n in range(chunk * N // chunks, (chunk + 1) * N // chunks):
            copy_image(x[n], image.reshape(PH, PW, C), *before, *apart)
            for m in range(0, M, ACCUMULATORS):
                rows = addresses(starts, m, shape)
                for f in range(0, F, REGISTER_BITS // (8 * x.itemsize)):
                    if slides:
                        acc = sliding_tile(image[f:], rows[0], a_run, a_k, b, f, F, runs, K, F - f)
                    else:
                        acc = lanewise_tile(image[f:], rows, a_run, a_k, b, f, F, runs, K, F - f)
                    add_part_to(acc, rows, flat, (n * M + m) * F + f, F, bias, f, 0, M - m, F - f)


@kernel
def lanewise_over_images(x, size, before, apart, starts, runs, a_run, K, a_k, b, sums, shape):
    """For each chunk of the images, sum over its n, r, k of  A[n, starts[m] + r*a_run + k*a_k + f] * B[n, r, k, f].

    x, A : as in `lanewise_rows`. b : B (N, runs * K, F). sums : (chunks, M, F).
    """
    N, P, F = b.shape
    flat = b.reshape(-1)
    M = sums.shape[1]
    PH, PW = size
    C = x.shape[3]
    for chunk in prange(len(sums)):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        image = zeroed(PH * PW * C, x)
        for n in range(chunk * N // len(sums), (chunk + 1) * N // len(sums)):
            copy_image(x[n], image.reshape(PH, PW, C), *before, *apart)
            for m in range(0, M, ACCUMULATORS):
                rows = addresses(starts, m, shape)
                for f in range(0, F, REGISTER_BITS // (8 * x.itemsize)):
                    acc = lanewise_tile(image[f:], rows, a_run, a_k, flat, n * P * F + f, F, runs, K, F - f)
                    add_part_to(acc, rows, total, m * F + f, F, total, m * F + f, F, M - m, F - f)


def in_lines(C: int, SW: int, dtype: np.dtype) -> bool:
    """Whether lines are the picture to take: few channels, whose places lie side by side."""
    return SW == 1 and lanes(dtype) > C


def correlation(
    x: np.ndarray, frame: Frame, w: np.ndarray, b: np.ndarray | None, out_size: Pair, stride: Pair
) -> np.ndarray:
    """out (N, OH, OW, C) of x (N, H, W, C) in its frame and w (KH, KW, C)."""
    N, C = len(x), x.shape[3]
    (OH, OW), (SH, SW), (KH, KW, _), line = out_size, stride, w.shape, frame.size[1] * C
    bias = np.zeros(C, w.dtype) if b is None else b
    if in_lines(C, SW, w.dtype):
        starts, slides = np.arange(OH) * (SH * line), False
        w, bias = np.tile(w, OW), np.tile(bias, OW)
    else:
        starts = window_starts((1, *frame.size, C), (OH, OW), stride)
        slides = REGISTERS >= 2 * ACCUMULATORS + 1 and SW == 1 and OW % ACCUMULATORS == 0
    out = np.empty((N, len(starts), w.shape[2]), w.dtype)
    taps = np.ascontiguousarray(w).reshape(-1)
    lanewise_rows(x, *frame, starts, KH, line, KW, C, slides, taps, bias, out, NARROW)
    return out.reshape(N, OH, OW, C)


def kernel_gradient(x: np.ndarray, frame: Frame, dout: np.ndarray, kernel_size: Pair, stride: Pair) -> np.ndarray:
    """dw (KH, KW, C), from x (N, H, W, C) in its frame and dout (N, OH, OW, C)."""
    N, OH, OW, C = dout.shape
    (KH, KW), (SH, SW), line = kernel_size, stride, frame.size[1] * C
    starts = (np.arange(KH)[:, None] * line + np.arange(KW) * C).reshape(-1)
    if in_lines(C, SW, dout.dtype):
        runs, run, K, step, F = 1, 0, OH, SH * line, OW * C
    else:
        runs, run, K, step, F = OH, SH * line, OW, SW * C, C
    sums = np.empty((min(CHUNKS, N), KH * KW, F), dout.dtype)
    rows = dout.reshape(N, runs * K, F)
    lanewise_over_images(x, *frame, starts, runs, run, K, step, rows, sums, NARROW)
    return sums.sum(axis=0).reshape(KH, KW, F // C, C).sum(axis=2)


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_forward`."""
    KH, KW, C, M = w.shape
    stride = pair(stride, "stride")
    out_size, pads = window_grid(x.shape[1:3], (KH, KW), stride, padding)
    x, w = repeated(x, M), w.reshape(KH, KW, C * M)
    return correlation(x, padding_of(x, pads), w, b, out_size, stride)


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Window, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_backward`."""
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    stride = pair(stride, "stride")
    _, pads = window_grid((H, W), (KH, KW), stride, padding)
    dout, x = np.ascontiguousarray(dout), repeated(x, M)
    db = column_sums(dout)
    dw = kernel_gradient(x, padding_of(x, pads), dout, (KH, KW), stride).reshape(w.shape)
    if not need_dx:
        return None, dw, db
    turned = w.reshape(KH, KW, C * M)[::-1, ::-1]
    frame = Frame((H + KH - 1, W + KW - 1), (KH - 1 - pads[0][0], KW - 1 - pads[1][0]), stride)
    dx = correlation(dout, frame, turned, None, (H, W), (1, 1))
    return dx if M == 1 else dx.reshape(N, H, W, C, M).sum(axis=4), dw, db


def repeated(x: np.ndarray, M: int) -> np.ndarray:
    """x (N, H, W, C), contiguous, with each channel M times."""
    return np.ascontiguousarray(x) if M == 1 else np.repeat(x, M, axis=3)
