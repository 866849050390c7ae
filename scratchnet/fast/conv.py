"""Convolution without im2col: patches are read in place from the padded image. Read `product/tile.py` first.

Forward. In an NHWC image, KW neighbouring pixels with their C channels are one contiguous run of KW*C numbers. A patch
is KH such runs, one image row apart: the tile's `runs`. The rows of A are patches, and B is w (KH*KW*C, F).

Gradient of w. dw[kh, kw, c, f] sums x[i*SH + kh, j*SW + kw, c] * dout[i, j, f] over the output pixels (i, j) of all
images. So a row of the result is one (kh, kw, c), and its row of A begins at that offset in the image; k runs over the
output pixels, row by row; B is dout.

Gradient of x. A pixel of x contributes to each output whose patch holds it. Seen from x, these outputs are a patch of
dout, and the kernel is rotated by 180 degrees:

    dx[h, w, c] = sum over kh, kw, f of  dout[(h + top - kh) / SH, (w + left - kw) / SW, f] * w[kh, kw, c, f]

over the kh and kw for which both divisions leave no remainder. This is a forward pass again. Its image is dout spread
by the stride: output (i, j) stands at (i*SH, j*SW) with zeros between, zero-padded by KH-1 and KW-1, less the padding
of x. Its kernel is w rotated by 180 degrees, with C and F swapped.

With few filters most lanes of a register would be empty. Then n neighbouring output pixels are computed at once, as n*F
filters of a wider kernel. It holds w n times, each copy shifted by one stride more, and is zero-padded (here n = 2,
KW = 5, SW = 1):

    w w w w w 0     the first pixel's F columns        The zeros cost (KW + (n-1)*SW) / KW times the multiply-adds. The
    0 w w w w w     the second pixel's F columns       lanes that are no longer empty save more than that.

`choose.py` has the conditions; the first of these ways that applies is taken:

    "nonzeros"   dw, dx        most of dout is zeros: they are left out       sparse_dw, sparse_dx     conv_sparse.py
    "Winograd"   out, dw, dx   5 x 5 kernels, many channels: fewer products   winograd_forward, _dw    conv_winograd.py
    "tile"       out, dw, dx   all else                                       direct_forward, _dw      here
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.fast.conv_sparse import sparse_dw, sparse_dx
from scratchnet.fast.conv_winograd import winograd_dw, winograd_forward
from scratchnet.fast.padded import copy_into, padded_copy, window_starts
from scratchnet.fast.product.loops import column_sums, product, weight_gradient
from scratchnet.fast.product.tile import Stretches
from scratchnet.layers.shapes import IntOrPair, Padding, Window


def conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.conv.conv2d_forward`."""
    window = Window.on(x.shape[1:3], w.shape[:2], stride, padding)
    x = for_kernel(x)
    if choose.conv_forward(w.shape, window, len(x), x.dtype) == "Winograd":
        return winograd_forward(x, w, b, window)
    return direct_forward(padded_copy(x, window), w, b, window)


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.conv.conv2d_backward`."""
    window = Window.on(x.shape[1:3], w.shape[:2], stride, padding)
    x, dout = for_kernel(x), for_kernel(dout)
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
    turned, over_dout = w[::-1, ::-1].transpose(0, 1, 3, 2), choose.dx_window(window)
    if way == "Winograd":
        return winograd_forward(dout, turned, None, over_dout, exact_bias=False)
    spread = np.empty((len(dout), *over_dout.padded, dout.shape[3]), dout.dtype)
    copy_into(dout, spread, over_dout.before, window.stride)
    return direct_forward(spread, turned, None, over_dout)


def direct_forward(image: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window) -> np.ndarray:
    """out (N, OH, OW, F) of padded images (N, *window.padded, C) and w (KH, KW, C, F), with the tile."""
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
    """dw (KH, KW, C, F) and db (F,), from padded images (N, *window.padded, C) and dout, with the tile."""
    N, OH, OW, F = dout.shape
    C, (KH, KW), (SH, SW) = image.shape[3], window.size, window.stride
    n = choose.neighbours_in_tile(OW, F, KW, SW, dout.dtype)
    wide_KW = KW + (n - 1) * SW
    line = window.padded[1] * C
    starts = (np.arange(KH)[:, None] * line + np.arange(wide_KW * C)).reshape(-1)  # offset of each (kh, kw, c)
    places = Stretches(OH, SH * line, OW // n, n * SW * C)
    rows_of_dout = dout.reshape(N, OH * OW // n, n * F)
    wide, db = weight_gradient(image.reshape(-1), image[:1].size, starts, places, rows_of_dout)
    wide = wide.reshape(KH, wide_KW, C, n, F)
    dw = np.sum([wide[:, i * SW : i * SW + KW, :, i] for i in range(n)], axis=0)  # reverses `widened`
    return dw, db.reshape(n, F).sum(axis=0)


def widened(w: np.ndarray, n: int, SW: int) -> np.ndarray:
    """w (KH, KW, C, F) widened for n neighbouring output pixels: (KH, KW + (n-1)*SW, C, n*F)."""
    KH, KW, C, F = w.shape
    out = np.zeros((KH, KW + (n - 1) * SW, C, n, F), w.dtype)
    for i in range(n):
        out[:, i * SW : i * SW + KW, :, i] = w
    return out.reshape(*out.shape[:3], n * F)


# ---------------------------------------------------------------- explicit im2col and col2im, to compare with


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
    """dx[n, i*SH + kh - top, j*SW + kw - left, c] += patches[n, i, j, kh, kw, c], inside the image."""
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
    gather_columns(padded_copy(for_kernel(x), window), patches, *window.stride)
    return patches.reshape(N * OH * OW, KH * KW * C)


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.im2col.col2im`."""
    N, H, W, C = x_shape
    window = Window.on((H, W), kernel_size, stride, padding)
    dx = np.empty(x_shape, columns.dtype)
    patches = for_kernel(columns).reshape(N, *window.out, *window.size, C)
    scatter_columns(patches, dx, *window.stride, *window.before)
    return dx
