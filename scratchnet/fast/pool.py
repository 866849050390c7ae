"""Pooling: the plain loops, the channels innermost, so that the compiler compares whole vectors of them."""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.layers.pool import pool_grid, window_counts
from scratchnet.layers.shapes import Padding, Window, pair


@kernel
def max_forward_kernel(x, out, argmax, PH, PW, SH, SW, top, left):
    """The largest pixel of each window that lies inside the image, and its place kh*PW + kw; NaN wins over all."""
    N, H, W, C = x.shape
    OH, OW = out.shape[1:3]
    for n in prange(N):
        for i in range(OH):
            for j in range(OW):
                best, place = out[n, i, j], argmax[n, i, j]
                best[:] = -np.inf
                place[:] = 0
                for kh in range(PH):
                    h = i * SH + kh - top
                    if 0 <= h < H:
                        for kw in range(PW):
                            column = j * SW + kw - left
                            if 0 <= column < W:
                                pixel = x[n, h, column]
                                for c in range(C):
                                    larger = pixel[c] > best[c]
                                    place[c] = kh * PW + kw if larger else place[c]
                                    best[c] = pixel[c] if larger or pixel[c] != pixel[c] else best[c]


@kernel
def max_backward_kernel(dout, argmax, dx, PW, SH, SW, top, left):
    """Each output's gradient added to the pixel that won."""
    N, OH, OW, C = dout.shape
    H, W = dx.shape[1:3]
    for n in prange(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    h = i * SH + argmax[n, i, j, c] // PW - top
                    column = j * SW + argmax[n, i, j, c] % PW - left
                    if 0 <= h < H and 0 <= column < W:
                        dx[n, h, column, c] += dout[n, i, j, c]


@kernel
def avg_forward_kernel(x, counts, out, PH, PW, SH, SW, top, left):
    """The mean of the pixels of each window that lie inside the image."""
    N, H, W, C = x.shape
    OH, OW = out.shape[1:3]
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
def avg_backward_kernel(dout, counts, dx, PH, PW, SH, SW, top, left):
    """Each output's gradient, divided by its window's pixels, added to all of them."""
    N, OH, OW, C = dout.shape
    H, W = dx.shape[1:3]
    for n in prange(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for h in range(max(i * SH - top, 0), min(i * SH - top + PH, H)):
                    for column in range(max(j * SW - left, 0), min(j * SW - left + PW, W)):
                        for c in range(C):
                            dx[n, h, column, c] += dout[n, i, j, c] / counts[i, j, 0]


def max_pool2d_forward(x: np.ndarray, pool: Window, stride: Window, padding: Padding) -> tuple[np.ndarray, np.ndarray]:
    """See `scratchnet.layers.pool.max_pool2d_forward`."""
    (PH, PW), (SH, SW) = pair(pool, "pool_size"), pair(stride, "stride")
    (OH, OW), ((top, _), (left, _)) = pool_grid(x.shape[1:3], (PH, PW), (SH, SW), padding)
    out = np.empty((x.shape[0], OH, OW, x.shape[3]), x.dtype)
    argmax = np.empty(out.shape, np.int32)
    max_forward_kernel(np.ascontiguousarray(x), out, argmax, PH, PW, SH, SW, top, left)
    return out, argmax


def max_pool2d_backward(
    dout: np.ndarray, argmax: np.ndarray, x_shape: tuple[int, ...], pool: Window, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.pool.max_pool2d_backward`."""
    (PH, PW), (SH, SW) = pair(pool, "pool_size"), pair(stride, "stride")
    _, ((top, _), (left, _)) = pool_grid(x_shape[1:3], (PH, PW), (SH, SW), padding)
    dx = np.empty(x_shape, dout.dtype)
    max_backward_kernel(np.ascontiguousarray(dout), argmax, dx, PW, SH, SW, top, left)
    return dx


def avg_pool2d_forward(x: np.ndarray, pool: Window, stride: Window, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.pool.avg_pool2d_forward`."""
    (PH, PW), (SH, SW) = pair(pool, "pool_size"), pair(stride, "stride")
    (OH, OW), ((top, _), (left, _)) = pool_grid(x.shape[1:3], (PH, PW), (SH, SW), padding)
    out = np.empty((x.shape[0], OH, OW, x.shape[3]), x.dtype)
    counts = window_counts((x.shape[1], x.shape[2]), (PH, PW), (SH, SW), padding, x.dtype)
    avg_forward_kernel(np.ascontiguousarray(x), counts, out, PH, PW, SH, SW, top, left)
    return out


def avg_pool2d_backward(
    dout: np.ndarray, x_shape: tuple[int, ...], pool: Window, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.pool.avg_pool2d_backward`."""
    (PH, PW), (SH, SW) = pair(pool, "pool_size"), pair(stride, "stride")
    _, ((top, _), (left, _)) = pool_grid(x_shape[1:3], (PH, PW), (SH, SW), padding)
    dx = np.empty(x_shape, dout.dtype)
    counts = window_counts((x_shape[1], x_shape[2]), (PH, PW), (SH, SW), padding, dout.dtype)
    avg_backward_kernel(np.ascontiguousarray(dout), counts, dx, PH, PW, SH, SW, top, left)
    return dx
