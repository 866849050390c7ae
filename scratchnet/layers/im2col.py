"""Patches as rows of a matrix: with them, a convolution is one matrix product.

`im2col` copies every patch that a kernel covers into a row of a matrix. `col2im` is its backward pass (its adjoint). A
pixel that was copied into several rows gets the sum of what those rows hold: this is the chain rule for copies.

    row (n, i, j) of the matrix, at (kh, kw, c)  =  padded[n, i*SH + kh, j*SW + kw, c]
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchnet.layers.shapes import IntOrPair, Padding, Window, crop, pad


def im2col(x: np.ndarray, kernel_size: IntOrPair, stride: IntOrPair, padding: Padding) -> np.ndarray:
    """Every patch of x that a kernel covers, one in each row.

    Parameters
    ----------
    x : (N, H, W, C), images.
    kernel_size, stride : int or (int, int), (height, width).
    padding : int, (int, int), "same" or "valid"; the padding holds zeros.

    Returns
    -------
    columns : (N*OH*OW, KH*KW*C); its rows run over (n, i, j), its columns over (kh, kw, c).

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    N, H, W, C = x.shape
    window = Window.on((H, W), kernel_size, stride, padding)
    (KH, KW), (SH, SW), (OH, OW) = window.size, window.stride, window.out
    every_place = sliding_window_view(pad(x, window.pads), (KH, KW), axis=(1, 2))  # a view: nothing is copied yet
    patches = every_place[:, ::SH, ::SW]  # (N, OH, OW, C, KH, KW)
    return patches.transpose(0, 1, 2, 4, 5, 3).reshape(N * OH * OW, KH * KW * C)


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """Add every row back to the patch that `im2col` took it from.

    Parameters
    ----------
    columns : (N*OH*OW, KH*KW*C), one patch in each row, as from `im2col`.
    x_shape : (N, H, W, C), the images' shape.
    kernel_size, stride, padding : as given to `im2col`.

    Returns
    -------
    dx : (N, H, W, C); each pixel is the sum over the patches that hold it. What falls on the padding is dropped.

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    N, H, W, C = x_shape
    window = Window.on((H, W), kernel_size, stride, padding)
    (KH, KW), (SH, SW), (OH, OW) = window.size, window.stride, window.out
    patches = columns.reshape(N, OH, OW, KH, KW, C)
    dpadded = pad(np.zeros(x_shape, columns.dtype), window.pads)
    for i in range(OH):
        for j in range(OW):
            # += and not =, since patches overlap: a pixel may be in up to KH*KW of them.
            dpadded[:, i * SH : i * SH + KH, j * SW : j * SW + KW] += patches[:, i, j]
    return crop(dpadded, window.pads)
