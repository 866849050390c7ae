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
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.product import packed, padded_bias, product_rows, weight_gradient
from scratchnet.fast.tile import columns
from scratchnet.fast.window import copy_into, padded_copy, window_starts
from scratchnet.layers.shapes import Padding, Window, pair, window_grid


def conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Window, padding: Padding) -> np.ndarray:
    """See `scratchnet.layers.conv.conv2d_forward`."""
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    stride = pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), stride, padding)
    image = padded_copy(np.ascontiguousarray(x), pads)
    bias = padded_bias(b, F, x.dtype)
    out = np.empty((N, OH, OW, F), x.dtype)
    starts = window_starts(image.shape, (OH, OW), stride)
    row = image.shape[2] * C
    weights = packed(w.reshape(KH * KW * C, F))
    product_rows(image.reshape(-1), starts, KH, row, KW * C, 1, weights, bias, out.reshape(-1, F), columns(x.dtype))
    return out


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Window, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.conv.conv2d_backward`."""
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    SH, SW = pair(stride, "stride")
    (OH, OW), pads = window_grid((H, W), (KH, KW), (SH, SW), padding)
    dout = np.ascontiguousarray(dout)
    image = padded_copy(np.ascontiguousarray(x), pads)
    size, row = image[:1].size, image.shape[2] * C
    starts = (np.arange(KH)[:, None] * row + np.arange(KW * C)).reshape(-1)  # of each (kh, kw, c) in an image
    dw, db = weight_gradient(image.reshape(-1), size, starts, OH, SH * row, OW, SW * C, dout.reshape(N, OH * OW, F))
    dx = input_gradient(dout, w, (H, W), (SH, SW), (pads[0][0], pads[1][0])) if need_dx else None
    return dx, dw.reshape(w.shape), db


def input_gradient(
    dout: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: tuple[int, int], before: tuple[int, int]
) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, F); `before` is the padding above and to the left of the image."""
    N = len(dout)
    (H, W), (KH, KW, C, F) = size, w.shape
    spread = np.empty((N, H + KH - 1, W + KW - 1, F), dout.dtype)
    copy_into(dout, spread, KH - 1 - before[0], KW - 1 - before[1], *stride)
    turned = np.ascontiguousarray(w[::-1, ::-1].transpose(0, 1, 3, 2)).reshape(KH * KW * F, C)
    dx = np.empty((N, H, W, C), dout.dtype)
    starts = window_starts(spread.shape, (H, W), (1, 1))
    none = padded_bias(None, C, dout.dtype)
    row = (W + KW - 1) * F
    product_rows(
        spread.reshape(-1), starts, KH, row, KW * F, 1, packed(turned), none, dx.reshape(-1, C), columns(dout.dtype)
    )
    return dx


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
