"""Depthwise convolution: there is no product to tile, so the channels fill the vectors.

A channel meets its own weights only, so each number that is loaded is used once for each of its KH*KW weights and no
more: the loads set the pace. The loops are therefore the plain ones, with the output channels innermost, where
neighbouring numbers of x (M = 1), w and out lie side by side and the compiler makes vectors of them by itself.

    out[n, i, j, k] += x[n, i*SH + kh, j*SW + kw, k // M] * w[kh, kw, k]         k = c*M + m

The gradient of the weights is summed like a convolution's: a fixed number of chunks of the images, added up in order.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product import CHUNKS
from scratchnet.fast.window import padded_copy
from scratchnet.layers.shapes import Padding, Window, crop, pad, pair, window_grid


@kernel
def forward_kernel(image, w, bias, out, SH, SW):
    """out (N, OH, OW, K) from image (N, PH, PW, K), w (KH, KW, K) and bias (K,)."""
    N, OH, OW, K = out.shape
    KH, KW = w.shape[:2]
    for n in prange(N):
        for i in range(OH):
            for j in range(OW):
                target = out[n, i, j]
                for k in range(K):
                    target[k] = bias[k]
                for kh in range(KH):
                    for kw in range(KW):
                        pixel, weight = image[n, i * SH + kh, j * SW + kw], w[kh, kw]
                        for k in range(K):
                            target[k] += pixel[k] * weight[k]


@kernel
def weight_kernel(image, dout, sums, bias_sums, SH, SW):
    """sums (CHUNKS, KH, KW, K) and bias_sums (CHUNKS, K): the gradients of each chunk of the images."""
    N, OH, OW, K = dout.shape
    KH, KW = sums.shape[1:3]
    for chunk in prange(CHUNKS):
        total, bias_total = sums[chunk], bias_sums[chunk]
        total[:] = 0
        bias_total[:] = 0
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            for i in range(OH):
                for j in range(OW):
                    d = dout[n, i, j]
                    for k in range(K):
                        bias_total[k] += d[k]
                    for kh in range(KH):
                        for kw in range(KW):
                            pixel, target = image[n, i * SH + kh, j * SW + kw], total[kh, kw]
                            for k in range(K):
                                target[k] += pixel[k] * d[k]


@kernel
def input_kernel(dout, w, dimage, SH, SW):
    """dimage (N, PH, PW, K): each output's gradient added to its window's pixels. Each image is one thread's."""
    N, OH, OW, K = dout.shape
    KH, KW = w.shape[:2]
    for n in prange(N):
        dimage[n] = 0
        for i in range(OH):
            for j in range(OW):
                d = dout[n, i, j]
                for kh in range(KH):
                    for kw in range(KW):
                        target, weight = dimage[n, i * SH + kh, j * SW + kw], w[kh, kw]
                        for k in range(K):
                            target[k] += d[k] * weight[k]


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_forward`."""
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    SH, SW = pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    bias = np.zeros(C * M, x.dtype) if b is None else b
    out = np.empty((N, OH, OW, C * M), x.dtype)
    forward_kernel(repeated(x, M, pads), w.reshape(KH, KW, C * M), bias, out, SH, SW)
    return out


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Window, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.depthwise.depthwise_conv2d_backward`."""
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    SH, SW = pair(stride, "stride")
    _, pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    dout = np.ascontiguousarray(dout)
    image = repeated(x, M, pads)
    sums, bias_sums = np.empty((CHUNKS, KH, KW, C * M), x.dtype), np.empty((CHUNKS, C * M), x.dtype)
    weight_kernel(image, dout, sums, bias_sums, SH, SW)
    dw, db = sums.sum(axis=0).reshape(w.shape), bias_sums.sum(axis=0)
    if not need_dx:
        return None, dw, db
    dimage = np.empty_like(image)
    input_kernel(dout, w.reshape(KH, KW, C * M), dimage, SH, SW)
    dx = crop(dimage, pads)
    return np.ascontiguousarray(dx if M == 1 else dx.reshape(N, H, W, C, M).sum(axis=4)), dw, db


def repeated(x: np.ndarray, M: int, pads) -> np.ndarray:
    """x (N, H, W, C) with each channel M times, and padded."""
    return padded_copy(np.ascontiguousarray(x), pads) if M == 1 else pad(np.repeat(x, M, axis=3), pads)
