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

Few filters leave most of a register empty. Then G neighbouring pixels are made at once, as G*F filters of a wider
kernel, which holds w G times, each time one stride further right, with zeros around it (here G = 2, KW = 5, SW = 1):

    w w w w w 0     the first pixel's F columns        The zeros cost (KW + (G-1)*SW) / KW times the multiply-adds, and
    0 w w w w w     the second pixel's F columns       the lanes that are no longer empty win more than that.

With many channels and a kernel of 5 x 5, `conv_winograd.py` computes all three with fewer multiplications. Where
dout is mostly zeros, `conv_sparse.py` makes the gradients of what is left.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from scratchnet.fast import conv_sparse, conv_winograd
from scratchnet.fast.compiled import kernel
from scratchnet.fast.product.loops import column_sums, product, weight_gradient
from scratchnet.fast.product.tile import tile_cost
from scratchnet.fast.window import copy_into, padded_copy, window_starts
from scratchnet.layers.shapes import Padding, Window, pair, window_grid


def conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Window, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.conv.conv2d_forward`."""
    _, H, W, _ = x.shape
    KH, KW = w.shape[:2]
    stride = pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), stride, padding)
    x = np.ascontiguousarray(x)
    if conv_winograd.pays(w.shape, stride, (OH, OW), len(x)):
        return conv_winograd.forward(x, w, b, (pads[0][0], pads[1][0]), (OH, OW))
    return correlation(padded_copy(x, pads), w, b, (OH, OW), stride)


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Window, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.conv.conv2d_backward`."""
    H, W = x.shape[1:3]
    stride = pair(stride, "stride")
    _, pads = window_grid((H, W), w.shape[:2], stride, padding)
    before = pads[0][0], pads[1][0]
    x, dout = np.ascontiguousarray(x), np.ascontiguousarray(dout)
    few_products = conv_winograd.pays(w.shape, stride, dout.shape[1:3], len(x))
    if conv_sparse.kernel_gradient_pays(x, dout, w.shape, time_of_others(few_products)):
        dw, db = conv_sparse.kernel_gradient(x, dout, w.shape, stride, pads), column_sums(dout)
    elif few_products:
        dw, db = conv_winograd.kernel_gradient(x, dout, w.shape[0], before), column_sums(dout)
    else:
        dw, db = kernel_gradient(padded_copy(x, pads), dout, w.shape, stride)
    dx = input_gradient(dout, w, (H, W), stride, before) if need_dx else None
    return dx, dw, db


def time_of_others(few_products: bool) -> float:
    """What a multiply-add takes in Winograd's convolution or in the tile, seen from one of `conv_sparse`; measured."""
    return 0.4 if few_products else 0.9


@functools.cache
def pixels_at_once(OW: int, F: int, KW: int, SW: int, dtype: np.dtype) -> int:
    """The G, among the divisors of a row's OW pixels, with the least work."""
    divisors = [G for G in range(1, OW + 1) if OW % G == 0]
    return min(divisors, key=lambda G: tile_cost(G * F, dtype)[0] / G * (KW + (G - 1) * SW))


def widened(w: np.ndarray, G: int, SW: int) -> np.ndarray:
    """w (KH, KW, C, F) for G pixels at once: (KH, KW + (G-1)*SW, C, G*F)."""
    KH, KW, C, F = w.shape
    out = np.zeros((KH, KW + (G - 1) * SW, C, G, F), w.dtype)
    for g in range(G):
        out[:, g * SW : g * SW + KW, :, g] = w
    return out.reshape(*out.shape[:3], G * F)


def correlation(
    image: np.ndarray, w: np.ndarray, b: np.ndarray | None, out_size: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """out (N, OH, OW, F) of a padded image (N, PH, PW, C) and w (KH, KW, C, F)."""
    N, _, PW, C = image.shape
    (OH, OW), (SH, SW), F = out_size, stride, w.shape[3]
    G = pixels_at_once(OW, F, w.shape[1], SW, w.dtype)
    w = widened(w, G, SW)
    KH, KW = w.shape[:2]
    starts = window_starts(image.shape, (OH, OW // G), (SH, G * SW))
    bias = None if b is None else np.tile(b, G)
    weights = w.reshape(KH * KW * C, G * F)
    return product(image.reshape(-1), starts, KH, PW * C, KW * C, 1, weights, bias).reshape(N, OH, OW, F)


def kernel_gradient(
    image: np.ndarray, dout: np.ndarray, w_shape: tuple[int, ...], stride: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """dw (KH, KW, C, F) and db (F,), from a padded image (N, PH, PW, C) and dout (N, OH, OW, F)."""
    N, OH, OW, F = dout.shape
    (KH, KW, C, _), (SH, SW) = w_shape, stride
    G = pixels_at_once(OW, F, KW, SW, dout.dtype)
    KG = KW + (G - 1) * SW
    row = image.shape[2] * C
    starts = (np.arange(KH)[:, None] * row + np.arange(KG * C)).reshape(-1)  # of each (kh, kw, c) in an image
    rows_of_dout = dout.reshape(N, OH * OW // G, G * F)
    wide, db = weight_gradient(
        image.reshape(-1), image[:1].size, starts, OH, SH * row, OW // G, G * SW * C, rows_of_dout
    )
    wide = wide.reshape(KH, KG, C, G, F)
    dw = np.sum([wide[:, g * SW : g * SW + KW, :, g] for g in range(G)], axis=0)  # reverses `widened`
    return dw, db.reshape(G, F).sum(axis=0)


def input_gradient(
    dout: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: tuple[int, int], before: tuple[int, int]
) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, F); `before` is the padding above and to the left of the image."""
    (H, W), (KH, KW, _, F) = size, w.shape
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)
    few_products = conv_winograd.pays(turned.shape, stride, size, len(dout))
    if conv_sparse.input_gradient_pays(dout, w.shape, size, time_of_others(few_products)):
        return conv_sparse.input_gradient(dout, w, size, stride, before)
    if few_products:
        around = (KH - 1 - before[0], KW - 1 - before[1])
        return conv_winograd.forward(dout, turned, None, around, size, decides=False)
    spread = np.empty((len(dout), H + KH - 1, W + KW - 1, F), dout.dtype)
    copy_into(dout, spread, KH - 1 - before[0], KW - 1 - before[1], *stride)
    return correlation(spread, turned, None, (H, W), (1, 1))


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


def im2col(x: np.ndarray, kernel_size: Window, stride: Window, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.im2col.im2col`."""
    N, H, W, C = x.shape
    (KH, KW), (SH, SW) = pair(kernel_size, "kernel_size"), pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    patches = np.empty((N, OH, OW, KH, KW, C), x.dtype)
    gather_columns(padded_copy(np.ascontiguousarray(x), pads), patches, SH, SW)
    return patches.reshape(N * OH * OW, KH * KW * C)


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: Window, stride: Window, padding: Padding
) -> np.ndarray:
    """See `scratchnet.layers.im2col.col2im`."""
    N, H, W, C = x_shape
    (KH, KW), (SH, SW) = pair(kernel_size, "kernel_size"), pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    dx = np.empty(x_shape, columns.dtype)
    patches = np.ascontiguousarray(columns).reshape(N, OH, OW, KH, KW, C)
    scatter_columns(patches, dx, SH, SW, pads[0][0], pads[1][0])
    return dx
