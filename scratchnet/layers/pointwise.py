"""Pointwise convolution: a 1 x 1 convolution. It mixes the channels of each pixel, and pixels are not mixed.

    out[n, i, j, f] = b[f] + sum over c of  x[n, i, j, c] * w[0, 0, c, f]

n runs over the images, (i, j) over the pixels, c over the channels and f over the filters. Each patch is one pixel,
so the matrix of patches is x itself, and the layer is one matrix product:

    out = pixels @ w + b             pixels (N*H*W, C),  w (C, F)

Backward:

    db      = sum of dout's rows     reverses + b
    dw      = pixels^T @ dout        reverses pixels @ w, for w
    dpixels = dout @ w^T             reverses pixels @ w, for pixels

A depthwise convolution and then a pointwise one are a depthwise separable convolution. It is nearly as accurate as a
full convolution, with 1/F + 1/(KH*KW) of its multiply-adds.

Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, section 3.1, eq. 4 and 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Shape, WeightedLayer
from scratchnet.layers.shapes import Window
from scratchnet.settings import flag, positive


def pointwise_conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """1 x 1 convolution of a batch of images.

    Parameters
    ----------
    x : (N, H, W, C), images.
    w : (1, 1, C, F), filters.
    b : (F,), biases, or None.

    Returns
    -------
    out : (N, H, W, F).
    """
    N, H, W, C = x.shape
    F = w.shape[-1]
    out = x.reshape(N * H * W, C) @ w.reshape(C, F)  # (N*H*W, F)
    if b is not None:
        out += b
    return out.reshape(N, H, W, F)


def pointwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of a 1 x 1 convolution.

    Parameters
    ----------
    dout : (N, H, W, F), the gradient with respect to the output.
    x, w : as given to `pointwise_conv2d_forward`.
    need_dx : bool
        If false, dx is not computed and is None.

    Returns
    -------
    dx : (N, H, W, C), dw : (1, 1, C, F), db : (F,).
    """
    N, H, W, C = x.shape
    F = w.shape[-1]
    pixels = x.reshape(N * H * W, C)
    dout_rows = dout.reshape(N * H * W, F)  # reverses out.reshape(N, H, W, F)
    db = dout_rows.sum(axis=0)  # reverses out += b
    dw = (pixels.T @ dout_rows).reshape(w.shape)  # reverses pixels @ w, for w
    dx = (dout_rows @ w.reshape(C, F).T).reshape(x.shape) if need_dx else None  # reverses pixels @ w, for pixels
    return dx, dw, db


class PointwiseConv2D(WeightedLayer):
    """A layer of `filters` 1 x 1 filters over images with `in_channels` channels.

    Parameters
    ----------
    in_channels, filters : int
        Channels in and out: C and F.
    bias : bool
        Whether each filter has a bias.
    init, rng :
        As for `Conv2D`.

    Raises
    ------
    ValueError
        If an argument is out of range; TypeError or ValueError from `forward` if the input does not fit.
    """

    kind = "pointwise"
    formulas = Formulas(
        forward=["out = pixels @ w + b"],
        backward=["db = sum of dout's rows", "dw = pixels^T @ dout", "dpixels = dout @ w^T"],
    )

    def __init__(
        self, in_channels: int, filters: int, bias: bool = True, *, init: str = "glorot_uniform", rng: Any = 0
    ) -> None:
        super().__init__()
        self.in_channels = positive(self.name, "in_channels", in_channels)
        self.filters = positive(self.name, "filters", filters)
        self.bias = flag(self.name, "bias", bias)
        C, F = self.in_channels, self.filters
        self.draw_parameters((1, 1, C, F), C, F * self.bias, init, rng)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        w, b = self.weights(x.dtype)
        return ops.pointwise_conv2d_forward(x, w, b)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        w, _ = self.weights(dout.dtype)
        dx, dw, db = ops.pointwise_conv2d_backward(dout, self.x, w, need_dx=need_dx)
        self.set_gradients(dw, db)
        return dx

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", self.in_channels)

    def output_shape(self, input_shape: Shape) -> Shape:
        OH, OW = Window.on(input_shape[:2], 1, 1, 0).out  # as large as the image, which has to have a pixel
        return (OH, OW, self.filters)

    def multiply_adds(self, input_shape: Shape) -> int:
        H, W, C = input_shape
        return H * W * C * self.filters
