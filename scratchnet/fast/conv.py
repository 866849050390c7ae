"""Convolution without im2col: patches are read from where they lie in the padded image.

Forward. In an NHWC image, KW neighbouring pixels with their C channels are one stretch of KW*C numbers, so a patch is
KH such stretches, one image row apart. That is what the tile's `runs` are for: rows of A are patches, B is w (KH*KW*C,
F).

Gradient of w. dw[kh, kw, c, f] sums x[pixel at (kh, kw), c] * dout[pixel, f] over all pixels. So a row of the result is
one (kh, kw, c), which begins at that offset in the image; k runs over the output's pixels, row by row; B is dout.

Gradient of x. Each pixel of x receives from every output whose patch holds it. Seen from x, the outputs that a pixel
meets are a patch of dout, and the kernel lies the other way round:

    dx[h, w, c] = sum over kh, kw, f of  dout[(h + top - kh) / SH, (w + left - kw) / SW, f] * w[kh, kw, c, f]

where the divisions must come out even. Spread dout so that output (i, j) stands at (i*SH, j*SW) with zeros between and
KH-1, KW-1 zeros around, turn the kernel by 180 degrees, swap its C and F: then it is the forward pass again.

With few filters most of a register would be empty. Then n neighbouring pixels are made at once, as n*F filters of a
wider kernel, which holds w n times, each time one stride further right, with zeros around it (here n = 2, KW = 5,
SW = 1):

    w w w w w 0     the first pixel's F columns        The zeros cost (KW + (n-1)*SW) / KW times the multiply-adds, and
    0 w w w w w     the second pixel's F columns       the lanes that are no longer empty win more than that.

With many channels and a kernel of 5 x 5, `conv_winograd.py` computes all three with fewer multiplications. Where dout
is mostly zeros, `conv_sparse.py` leaves these out of both gradients. `choose.py` says which way is taken.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.compiled import kernel
from scratchnet.fast.conv_sparse import sparse_dw, sparse_dx
from scratchnet.fast.conv_winograd import winograd_dw, winograd_forward
from scratchnet.fast.product.loops import column_sums, product, weight_gradient
from scratchnet.fast.product.tile import Stretches
from scratchnet.fast.window import copy_into, padded_copy, window_starts
from scratchnet.layers.shapes import IntOrPair, Padding, Window


def conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.conv.conv2d_forward`."""
    window = Window.on(x.shape[1:3], w.shape[:2], stride, padding)
    x = np.ascontiguousarray(x)
    if choose.conv_forward(w.shape, window, len(x), x.dtype) == "Winograd":
        return winograd_forward(x, w, b, window)
    return direct_forward(padded_copy(x, window), w, b, window)


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.conv.conv2d_backward`."""
    window = Window.on(x.shape[1:3], w.shape[:2], stride, padding)
    x, dout = np.ascontiguousarray(x), np.ascontiguousarray(dout)
    way = choose.conv_dw(x, dout, w.shape, window)
    if way == "nonzeros":
        dw, db = sparse_dw(x, dout, window), column_sums(dout)
    elif way == "Winograd":
        dw, db = winograd_dw(x, dout, window), column_sums(dout)
    else:
        dw, db = direct_dw(padded_copy(x, window), dout, window)
    return input_gradient(dout, w, window) if need_dx else None, dw, db


def input_gradient(dout: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, F)."""
    way = choose.conv_dx(dout, w.shape, window)
    if way == "nonzeros":
        return sparse_dx(dout, w, window)
    turned, over_dout = w[::-1, ::-1].transpose(0, 1, 3, 2), choose.turned_window(window)
    if way == "Winograd":
        return winograd_forward(dout, turned, None, over_dout, decides=False)
    spread = np.empty((len(dout), *over_dout.padded, dout.shape[3]), dout.dtype)
    copy_into(dout, spread, over_dout.before, window.stride)
    return direct_forward(spread, turned, None, over_dout)


def direct_forward(image: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window) -> np.ndarray:
    """out (N, OH, OW, F) of a padded image (N, *window.padded, C) and w (KH, KW, C, F), by the tile."""
    N, _, _, C = image.shape
    (OH, OW), (SH, SW), F = window.out, window.stride, w.shape[3]
    n = choose.neighbours_in_tile(OW, F, w.shape[1], SW, w.dtype)
    w = widened(w, n, SW)
    KH, KW = w.shape[:2]
    starts = window_starts(N, window.padded, C, (OH, OW // n), (SH, n * SW))
    bias = None if b is None else np.tile(b, n)
    patch = Stretches(KH, window.padded[1] * C, KW * C, 1)
    return product(image.reshape(-1), starts, patch, w.reshape(KH * KW * C, n * F), bias).reshape(N, OH, OW, F)


def direct_dw(image: np.ndarray, dout: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """dw (KH, KW, C, F) and db (F,), from a padded image (N, *window.padded, C) and dout, by the tile."""
    N, OH, OW, F = dout.shape
    C, (KH, KW), (SH, SW) = image.shape[3], window.size, window.stride
    n = choose.neighbours_in_tile(OW, F, KW, SW, dout.dtype)
    wide_KW = KW + (n - 1) * SW
    line = window.padded[1] * C
    starts = (np.arange(KH)[:, None] * line + np.arange(wide_KW * C)).reshape(-1)  # of each (kh, kw, c) in an image
    places = Stretches(OH, SH * line, OW // n, n * SW * C)
    rows_of_dout = dout.reshape(N, OH * OW // n, n * F)
    wide, db = weight_gradient(image.reshape(-1), image[:1].size, starts, places, rows_of_dout)
    wide = wide.reshape(KH, wide_KW, C, n, F)
    dw = np.sum([wide[:, i * SW : i * SW + KW, :, i] for i in range(n)], axis=0)  # reverses `widened`
    return dw, db.reshape(n, F).sum(axis=0)


def widened(w: np.ndarray, n: int, SW: int) -> np.ndarray:
    """w (KH, KW, C, F) for n neighbouring pixels at once: (KH, KW + (n-1)*SW, C, n*F)."""
    KH, KW, C, F = w.shape
    out = np.zeros((KH, KW + (n - 1) * SW, C, n, F), w.dtype)
    for i in range(n):
        out[:, i * SW : i * SW + KW, :, i] = w
    return out.reshape(*out.shape[:3], n * F)


# ---------------------------------------------------------------- the explicit form, to compare with


@kernel
def gather_columns(image, patches, SH, SW):
    """patches[n, i, j, kh, kw, c] = image[n, i*SH + kh, j*SW + kw, c]."""
    N, OH, OW, KH, KW, C = patches.shape
    for n in prange(N):
        for i in range(OH):
            for j in range(OW):
                for kh in range(KH):
                    for kw in range(KW):
                        for c in range(C):
                            patches[n, i, j, kh, kw, c] = image[n, i * SH + kh, j * SW + kw, c]


@kernel
def scatter_columns(patches, dx, SH, SW, top, left):
    """dx[n, i*SH + kh - top, j*SW + kw - left, c] += patches[n, i, j, kh, kw, c], where that is inside the image."""
    N, OH, OW, KH, KW, C = patches.shape
    H, W = dx.shape[1:3]
    for n in prange(N):
        dx[n] = 0
        for i in range(OH):
            for j in range(OW):
                for kh in range(KH):
                    h = i * SH + kh - top
                    if 0 <= h < H:
                        for kw in range(KW):
                            column = j * SW + kw - left
                            if 0 <= column < W:
                                for c in range(C):
                                    dx[n, h, column, c] += patches[n, i, j, kh, kw, c]


def im2col(x: np.ndarray, kernel_size: IntOrPair, stride: IntOrPair, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.im2col.im2col`."""
    N, H, W, C = x.shape
    window = Window.on((H, W), kernel_size, stride, padding)
    (KH, KW), (OH, OW) = window.size, window.out
    patches = np.empty((N, OH, OW, KH, KW, C), x.dtype)
    gather_columns(padded_copy(np.ascontiguousarray(x), window), patches, *window.stride)
    return patches.reshape(N * OH * OW, KH * KW * C)


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.im2col.col2im`."""
    N, H, W, C = x_shape
    window = Window.on((H, W), kernel_size, stride, padding)
    dx = np.empty(x_shape, columns.dtype)
    patches = np.ascontiguousarray(columns).reshape(N, *window.out, *window.size, C)
    scatter_columns(patches, dx, *window.stride, *window.before)
    return dx
