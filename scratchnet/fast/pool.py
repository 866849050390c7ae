"""Pooling: a vector of channels at a time. The winner and its index stay in registers while a window is read.

The index of a pixel in its window is kh*PW + kw. Vectors hold indices as numbers of their own dtype.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.fast.register.vector import (
    add,
    lanes_of,
    load_first,
    load_int,
    splat,
    store_first,
    store_int,
    where_equal,
    where_greater,
    where_greater_or_nan,
    zeros,
)
from scratchnet.layers.pool import pool_window, window_counts
from scratchnet.layers.shapes import IntOrPair, Padding, Window


@inlined
def larger(value, best, here, place):
    """The larger of a pixel and the best so far, lane by lane, and its index; NaN wins over all.

    A tie goes to the first pixel of the window in row-major order: `>`, and not `>=`, replaces the best so far. Of NaNs
    the last one stays, since no number is greater than NaN.
    """
    return where_greater_or_nan(value, best, value, best), where_greater_or_nan(value, best, here, place)


@kernel
def max_forward_kernel(x, N, C, window, out, argmax, places, relu):
    """For each window, the largest of its pixels inside the image, and that pixel's index; NaN wins over all.

    x, out, argmax : flat, of N images with C channels. places : -infinity and then every index, in out's dtype. relu :
    whether negative pixels count as 0.
    """
    (H, W), (OH, OW), (top, left) = window.image, window.out, window.before
    (PH, PW), (SH, SW) = window.size, window.stride
    for n in prange(N):
        for i in range(OH):
            h = i * SH - top
            for j in range(OW):
                w = j * SW - left
                first = max(0, -h) * PW + max(0, -w)  # it stays the winner if all pixels are -infinity
                for c in range(0, C, lanes_of(x)):
                    best, place = splat(places, 0), splat(places, 1 + first)
                    for kh in range(max(0, -h), min(PH, H - h)):
                        for kw in range(max(0, -w), min(PW, W - w)):
                            value = load_first(x, ((n * H + h + kh) * W + w + kw) * C + c, C - c)
                            if relu:
                                value = where_greater(zeros(out), value, zeros(out), value)
                            best, place = larger(value, best, splat(places, 1 + kh * PW + kw), place)
                    to = ((n * OH + i) * OW + j) * C + c
                    store_first(best, out, to, C - c)
                    store_int(place, argmax, to, C - c)


@kernel
def max_backward_kernel(dout, argmax, dx, N, C, window, places, once):
    """Add each output's gradient to the pixel that won.

    dout, argmax, dx : flat. once : whether each pixel is in exactly one window. Then dx is written, not added to, and
    need not be zeroed before. The rest as in `max_forward_kernel`.
    """
    (H, W), (OH, OW), (top, left) = window.image, window.out, window.before
    (PH, PW), (SH, SW) = window.size, window.stride
    for n in prange(N):
        if not once:
            dx[n * H * W * C : (n + 1) * H * W * C] = 0.0
        for i in range(OH):
            h = i * SH - top
            for j in range(OW):
                w = j * SW - left
                for c in range(0, C, lanes_of(dx)):
                    start = ((n * OH + i) * OW + j) * C + c
                    d = load_first(dout, start, C - c)
                    winner = load_int(argmax, start, C - c, d)
                    for kh in range(max(0, -h), min(PH, H - h)):
                        for kw in range(max(0, -w), min(PW, W - w)):
                            to = ((n * H + h + kh) * W + w + kw) * C + c
                            here = where_equal(winner, splat(places, 1 + kh * PW + kw), d, zeros(dx))
                            if not once:
                                here = add(load_first(dx, to, C - c), here)
                            store_first(here, dx, to, C - c)


@kernel
def avg_forward_kernel(x, counts, out, window):
    """For each window, the mean of its pixels inside the image. counts : (OH, OW, 1), how many these are."""
    N, H, W, C = x.shape
    (OH, OW), (top, left) = window.out, window.before
    (PH, PW), (SH, SW) = window.size, window.stride
    for n in prange(N):
        for i in range(OH):
            for j in range(OW):
                total = out[n, i, j]
                total[:] = 0
                for h in range(max(i * SH - top, 0), min(i * SH - top + PH, H)):
                    for column in range(max(j * SW - left, 0), min(j * SW - left + PW, W)):
                        for c in range(C):
                            total[c] += x[n, h, column, c]
                for c in range(C):
                    total[c] /= counts[i, j, 0]


@kernel
def avg_backward_kernel(dout, counts, dx, window):
    """Add each output's gradient, divided by its window's count, to all pixels of the window."""
    N, OH, OW, C = dout.shape
    (H, W), (top, left) = window.image, window.before
    (PH, PW), (SH, SW) = window.size, window.stride
    for n in prange(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for h in range(max(i * SH - top, 0), min(i * SH - top + PH, H)):
                    for column in range(max(j * SW - left, 0), min(j * SW - left + PW, W)):
                        for c in range(C):
                            dx[n, h, column, c] += dout[n, i, j, c] / counts[i, j, 0]


def places_of(window: int, dtype: np.dtype) -> np.ndarray:
    """(1 + window,): -infinity, where a search begins, then the indices of a window's pixels, in this dtype."""
    return np.concatenate([[-np.inf], np.arange(window)]).astype(dtype)


def max_pool2d_forward(
    x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray]:
    """See `scratchnet.layers.pool.max_pool2d_forward`."""
    return max_forward(x, pool_window(x.shape[1:3], pool, stride, padding), relu=False)


def relu_max_pool2d_forward(
    x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray]:
    """`max_pool2d_forward` of `relu_forward(x)`, without writing the ReLU's output."""
    return max_forward(x, pool_window(x.shape[1:3], pool, stride, padding), relu=True)


def max_forward(x: np.ndarray, window: Window, relu: bool) -> tuple[np.ndarray, np.ndarray]:
    """Max-pooling of x, or of its ReLU: out (N, OH, OW, C) and argmax, likewise."""
    N, _, _, C = x.shape
    (PH, PW) = window.size
    out = np.empty((N, *window.out, C), x.dtype)
    argmax = np.empty(out.shape, np.int32)
    x, places = for_kernel(x).reshape(-1), places_of(PH * PW, x.dtype)
    max_forward_kernel(x, N, C, window, out.reshape(-1), argmax.reshape(-1), places, relu)
    return out, argmax


def max_pool2d_backward(
    dout: np.ndarray,
    argmax: np.ndarray,
    x_shape: tuple[int, ...],
    pool: IntOrPair,
    stride: IntOrPair,
    padding: Padding,
) -> np.ndarray:
    """See `scratchnet.layers.pool.max_pool2d_backward`."""
    window = pool_window(x_shape[1:3], pool, stride, padding)
    (N, _, _, C), (PH, PW), (OH, OW) = x_shape, window.size, window.out
    dx = np.empty(x_shape, dout.dtype)
    dout, argmax = for_kernel(dout).reshape(-1), for_kernel(argmax).reshape(-1)
    once = window.size == window.stride and window.image == window.padded == (OH * PH, OW * PW)
    max_backward_kernel(dout, argmax, dx.reshape(-1), N, C, window, places_of(PH * PW, dx.dtype), once)
    return dx


def avg_pool2d_forward(x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.pool.avg_pool2d_forward`."""
    window = pool_window(x.shape[1:3], pool, stride, padding)
    out = np.empty((x.shape[0], *window.out, x.shape[3]), x.dtype)
    avg_forward_kernel(for_kernel(x), window_counts(window, x.dtype), out, window)
    return out


def avg_pool2d_backward(
    dout: np.ndarray, x_shape: tuple[int, ...], pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.pool.avg_pool2d_backward`."""
    window = pool_window(x_shape[1:3], pool, stride, padding)
    dx = np.empty(x_shape, dout.dtype)
    avg_backward_kernel(for_kernel(dout), window_counts(window, dout.dtype), dx, window)
    return dx
