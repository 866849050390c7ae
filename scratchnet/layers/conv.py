"""Convolution: each filter slides over the image. Its output at each place is a weighted sum of the pixels there.

Forward, with a kernel of KH x KW pixels, stride (SH, SW) and x padded:

    out[n, i, j, f] = b[f] + sum over kh, kw, c of  x[n, i*SH + kh, j*SW + kw, c] * w[kh, kw, c, f]

n runs over the images, (i, j) over the places of the kernel, f over the filters, (kh, kw) over the kernel's pixels and
c over the channels. The kernel is not flipped. Signal processing calls this a correlation; deep learning calls it a
convolution.

The sum over (kh, kw, c) is a dot product of one patch of the image with one filter. With the patches as rows of one
matrix (`im2col`) and the filters as columns of another, the convolution is a matrix product:

    out = columns @ w + b            columns (N*OH*OW, KH*KW*C),  w (KH*KW*C, F)

Backward, given dout, the gradient of the loss with respect to out. The gradient of a weight or a pixel is a sum over
all products that it was a factor of. The gradient of a bias is a sum over all outputs that it was added to:

    db[f]            = sum over n, i, j of  dout[n, i, j, f]                                    = sum of dout's rows
    dw[kh, kw, c, f] = sum over n, i, j of  x[n, i*SH + kh, j*SW + kw, c] * dout[n, i, j, f]    = columns^T @ dout
    dcolumns         = for each patch, sum over f of  dout[n, i, j, f] * w[kh, kw, c, f]        = dout @ w^T
    dx               = each pixel sums dcolumns over the patches that hold it                   = col2im(dcolumns)

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Shape, WeightedLayer
from scratchnet.layers.im2col import col2im, im2col
from scratchnet.layers.shapes import IntOrPair, Padding, Window, check_padding, pair
from scratchnet.settings import flag, positive


def conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """Convolution of a batch of images.

    Parameters
    ----------
    x : (N, H, W, C), images.
    w : (KH, KW, C, F), filters.
    b : (F,), biases, or None.
    stride : int or (int, int), (height, width).
    padding : int, (int, int), "same" or "valid".

    Returns
    -------
    out : (N, OH, OW, F).

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    N, H, W, _ = x.shape
    KH, KW, C, F = w.shape
    OH, OW = Window.on((H, W), (KH, KW), stride, padding).out
    columns = im2col(x, (KH, KW), stride, padding)  # (N*OH*OW, KH*KW*C)
    out = columns @ w.reshape(KH * KW * C, F)  # (N*OH*OW, F)
    if b is not None:
        out += b
    return out.reshape(N, OH, OW, F)


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of a convolution.

    Parameters
    ----------
    dout : (N, OH, OW, F), the gradient with respect to the output.
    x, w, stride, padding : as given to `conv2d_forward`.
    need_dx : bool
        If false, dx is not computed and is None. The first layer of a network needs no dx.

    Returns
    -------
    dx : (N, H, W, C), dw : (KH, KW, C, F), db : (F,).
    """
    KH, KW, C, F = w.shape
    columns = im2col(x, (KH, KW), stride, padding)  # made again, not kept: it can be KH*KW times as large as x
    dout_rows = dout.reshape(-1, F)  # reverses out.reshape(N, OH, OW, F)
    db = dout_rows.sum(axis=0)  # reverses out += b: b[f] was added in every row
    dw = (columns.T @ dout_rows).reshape(w.shape)  # reverses columns @ w, for w
    if not need_dx:
        return None, dw, db
    dcolumns = dout_rows @ w.reshape(KH * KW * C, F).T  # reverses columns @ w, for columns
    dx = col2im(dcolumns, x.shape, (KH, KW), stride, padding)  # reverses im2col
    return dx, dw, db


class Conv2D(WeightedLayer):
    """A layer of `filters` filters over images with `in_channels` channels.

    Parameters
    ----------
    in_channels, filters : int
        Channels in and out: C and F.
    kernel_size : int or (int, int)
        Height and width of the filters, in pixels.
    stride : int or (int, int)
        Pixels from one place to the next.
    padding : int, (int, int), "same" or "valid"
        "same" keeps the image's size at stride 1; see `Window.on`.
    bias : bool
        Whether each filter has a bias.
    init : str
        Rule for the initial weights; see `initial_weights`.
    rng : numpy.random.Generator or int
        Where they are drawn from. Two layers with the same shape and seed start with the same weights, so give one
        Generator to all layers of a network.

    Raises
    ------
    ValueError
        If an argument is out of range; TypeError or ValueError from `forward` if the input does not fit.
    """

    kind = "conv"
    formulas = Formulas(
        forward=["out = columns @ w + b"],
        backward=["db = sum of dout's rows", "dw = columns^T @ dout", "dx = col2im(dout @ w^T)"],
    )

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = "same",
        bias: bool = True,
        *,
        init: str = "glorot_uniform",
        rng: Any = 0,
    ) -> None:
        super().__init__()
        self.in_channels = positive(self.name, "in_channels", in_channels)
        self.filters = positive(self.name, "filters", filters)
        self.kernel_size = self.on_this_layer(pair, kernel_size, "kernel_size")
        self.stride = self.on_this_layer(pair, stride, "stride")
        self.padding = self.on_this_layer(check_padding, padding)
        self.bias = flag(self.name, "bias", bias)
        (KH, KW), C, F = self.kernel_size, self.in_channels, self.filters
        self.draw_parameters((KH, KW, C, F), KH * KW * C, F * self.bias, init, rng)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        w, b = self.weights(x.dtype)
        return ops.conv2d_forward(x, w, b, self.stride, self.padding)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        w, _ = self.weights(dout.dtype)
        dx, dw, db = ops.conv2d_backward(dout, self.x, w, self.stride, self.padding, need_dx=need_dx)
        self.set_gradients(dw, db)
        return dx

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", self.in_channels)

    def output_shape(self, input_shape: Shape) -> Shape:
        OH, OW = Window.on(input_shape[:2], self.kernel_size, self.stride, self.padding).out
        return (OH, OW, self.filters)

    def multiply_adds(self, input_shape: Shape) -> int:
        OH, OW, F = self.output_shape(input_shape)
        KH, KW = self.kernel_size
        return OH * OW * KH * KW * self.in_channels * F
