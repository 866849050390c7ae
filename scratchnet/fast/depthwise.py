"""Depthwise convolution: the tile again, but lane by lane. Each lane is a channel with weights of its own.

No number is used by more than one lane. So there is one load for each multiply-add, and the loads set the pace. Tiles
whose rows are neighbouring pixels are better off: the input pixel that one row needs now, the row before needs next.
There rows share their loads (`sliding_tile`). The tile takes an image in one of two
layouts of the same memory:

    "pixels"    a row of A is an output pixel, and its C channels are the lanes
    "lines"     a row of A is a line of the output, a row of its pixels, and the OW*C numbers of the line are the lanes.
                With a stride of 1, each tap of the kernel reads one contiguous run. For few channels: MNIST has one

In both, the forward pass sums over the taps (kh, kw), and B is the weights. The gradient of the weights sums over the
output pixels: B is dout, and a row of A is a tap. The gradient of the image is a forward pass over the spread dout with
the kernel rotated by 180 degrees, as in `conv.py`. There are few multiply-adds for each number, so memory traffic
matters. Just before it reads an image, a thread copies it into a padded array of its own, which stays in its cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.choose import CHUNKS
from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.fast.padded import copy_image, window_starts
from scratchnet.fast.product.loops import addresses, column_sums
from scratchnet.fast.product.tile import (
    ACCUMULATORS,
    NARROW,
    Spot,
    Stretches,
    add_part_to,
    lanewise_tile,
    sliding_tile,
)
from scratchnet.fast.register.scratch import zeroed
from scratchnet.fast.register.vector import lanes_of
from scratchnet.layers.shapes import IntOrPair, Padding, Pair, Window


class Frame(NamedTuple):
    """Where an image lies in a zero-padded one. Each pair is (height, width)."""

    padded: Pair  #: size of the padded image
    before: Pair  #: rows above the image's first pixel, and columns left of it
    apart: Pair  #: distance between neighbouring pixels of the image


@kernel
def lanewise_rows(x, frame, starts, stretches, slides, b, bias, out, shape):
    """out[n, m, f] = bias[f] + sum over r < runs, k < K of  A[n, starts[m] + r * a_run + k * a_k + f] * B[r, k, f].

    x : (N, H, W, C). A : the images of x, padded as their `Frame` says, each flat. starts : (M,), the address of each
    row of A. stretches : `Stretches`. slides : whether all rows of a tile begin a_k apart. b : B (runs, K, F), flat.
    bias : (F,). out : (N, M, F). shape : NARROW.
    """
    N, M, F = out.shape
    flat = out.reshape(-1)
    (padded_H, padded_W), before, apart = frame
    runs, a_run, K, a_k = stretches
    C = x.shape[3]
    chunks = min(CHUNKS, N)
    for chunk in prange(chunks):
        image = zeroed(padded_H * padded_W * C, x)
        for n in range(chunk * N // chunks, (chunk + 1) * N // chunks):
            copy_image(x[n], image.reshape(padded_H, padded_W, C), before, apart)
            for m in range(0, M, ACCUMULATORS):
                rows = addresses(starts, m, shape)
                for f in range(0, F, lanes_of(x)):
                    taps = Stretches(runs, a_run, K, a_k)
                    if slides:
                        acc = sliding_tile(image, f + rows[0], taps, b, f, F, F - f)
                    else:
                        acc = lanewise_tile(image, f, rows, taps, b, f, F, F - f)
                    add_part_to(acc, rows, flat, Spot((n * M + m) * F + f, F), bias, Spot(f, 0), M - m, F - f)


@kernel
def lanewise_over_images(x, frame, starts, stretches, b, sums, shape):
    """For each chunk of the images, sum over its n, r, k of  A[n, starts[m] + r*a_run + k*a_k + f] * B[n, r, k, f].

    x, A, shape : as in `lanewise_rows`. b : B (N, runs * K, F). sums : (chunks, M, F).
    """
    N, P, F = b.shape
    flat = b.reshape(-1)
    M = sums.shape[1]
    (padded_H, padded_W), before, apart = frame
    runs, a_run, K, a_k = stretches
    C = x.shape[3]
    for chunk in prange(len(sums)):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        image = zeroed(padded_H * padded_W * C, x)
        for n in range(chunk * N // len(sums), (chunk + 1) * N // len(sums)):
            copy_image(x[n], image.reshape(padded_H, padded_W, C), before, apart)
            for m in range(0, M, ACCUMULATORS):
                rows = addresses(starts, m, shape)
                for f in range(0, F, lanes_of(x)):
                    pixels = Stretches(runs, a_run, K, a_k)
                    acc = lanewise_tile(image, f, rows, pixels, flat, n * P * F + f, F, F - f)
                    spot = Spot(m * F + f, F)
                    add_part_to(acc, rows, total, spot, total, spot, M - m, F - f)


def lanewise_forward(
    x: np.ndarray, frame: Frame, w: np.ndarray, b: np.ndarray | None, out_size: Pair, stride: Pair
) -> np.ndarray:
    """out (N, OH, OW, C) of x (N, H, W, C) in its frame and w (KH, KW, C)."""
    N, C = len(x), x.shape[3]
    (OH, OW), (SH, SW), (KH, KW, _), line = out_size, stride, w.shape, frame.padded[1] * C
    bias = np.zeros(C, w.dtype) if b is None else for_kernel(b)
    if choose.lanewise_in_lines(C, SW, w.dtype):
        starts, slides = np.arange(OH) * (SH * line), False
        w, bias = np.tile(w, OW), np.tile(bias, OW)
    else:
        starts = window_starts(1, frame.padded, C, (OH, OW), stride)
        slides = choose.lanewise_slides(OW, SW)
    out = np.empty((N, len(starts), w.shape[2]), w.dtype)
    taps = for_kernel(w).reshape(-1)
    lanewise_rows(x, frame, starts, Stretches(KH, line, KW, C), slides, taps, bias, out, NARROW)
    return out.reshape(N, OH, OW, C)


def lanewise_dw(x: np.ndarray, frame: Frame, dout: np.ndarray, window: Window) -> np.ndarray:
    """dw (KH, KW, C), from x (N, H, W, C) in its frame and dout (N, OH, OW, C)."""
    N, OH, OW, C = dout.shape
    (KH, KW), (SH, SW), line = window.size, window.stride, frame.padded[1] * C
    starts = (np.arange(KH)[:, None] * line + np.arange(KW) * C).reshape(-1)
    if choose.lanewise_in_lines(C, SW, dout.dtype):
        places, F = Stretches(1, 0, OH, SH * line), OW * C
    else:
        places, F = Stretches(OH, SH * line, OW, SW * C), C
    sums = np.empty((min(CHUNKS, N), KH * KW, F), dout.dtype)
    rows = dout.reshape(N, places.runs * places.K, F)
    lanewise_over_images(x, frame, starts, places, rows, sums, NARROW)
    return sums.sum(axis=0).reshape(KH, KW, F // C, C).sum(axis=2)


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_forward`."""
    KH, KW, C, M = w.shape
    window = Window.on(x.shape[1:3], (KH, KW), stride, padding)
    x, w = repeated(x, M), w.reshape(KH, KW, C * M)
    choose.note_lanewise("out", len(x), w.shape, window, x.dtype)
    return lanewise_forward(x, Frame(window.padded, window.before, (1, 1)), w, b, window.out, window.stride)


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_backward`."""
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    window = Window.on((H, W), (KH, KW), stride, padding)
    dout, x, taps = for_kernel(dout), repeated(x, M), w.reshape(KH, KW, C * M)
    db = column_sums(dout)
    choose.note_lanewise("dw", N, taps.shape, window, x.dtype)
    dw = lanewise_dw(x, Frame(window.padded, window.before, (1, 1)), dout, window).reshape(w.shape)
    if not need_dx:
        return None, dw, db
    over_dout = choose.dx_window(window)
    choose.note_lanewise("dx", N, taps.shape, over_dout, x.dtype)
    frame = Frame(over_dout.padded, over_dout.before, window.stride)
    dx = lanewise_forward(dout, frame, taps[::-1, ::-1], None, (H, W), (1, 1))
    return dx if M == 1 else dx.reshape(N, H, W, C, M).sum(axis=4), dw, db


def repeated(x: np.ndarray, M: int) -> np.ndarray:
    """x (N, H, W, C), contiguous, with each channel M times."""
    return for_kernel(x) if M == 1 else np.repeat(x, M, axis=3)
