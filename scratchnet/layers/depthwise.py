"""Depthwise convolution: each channel has its own filters, and channels are not mixed.

With M filters for each of the C channels there are C*M output channels. The M outputs of channel c are neighbours:

    out[n, i, j, c*M + m] = b[c*M + m] + sum over kh, kw of  x[n, i*SH + kh, j*SW + kw, c] * w[kh, kw, c, m]

n runs over the images, (i, j) over the places of the kernel, (kh, kw) over its pixels, c over the channels and m over
the filters of a channel. A convolution sums over (kh, kw, c) for every filter. Here there is no sum over c, so it needs
only M/F of the multiply-adds of a convolution with F filters. A pointwise convolution after it mixes the channels
(`pointwise.py`).

This is not a matrix product, so the code loops over the KH*KW positions of the kernel. pixels(kh, kw) are the pixels
that position (kh, kw) meets at all places of the kernel. Each channel of them is multiplied by one weight. Each channel
of the image is repeated M times first, so that each output channel k = c*M + m has its own input channel:

    repeated[n, h, w, k] = x[n, h, w, c]           out[n, i, j, k] += pixels(kh, kw)[n, i, j, k] * w[kh, kw, k]

Backward. A bias was added to many outputs, a weight or a pixel was a factor of many products, and a channel was copied
M times. Each gradient is the sum over all these uses:

    db[k]         = sum over n, i, j of  dout[n, i, j, k]
    dw[kh, kw, k] = sum over n, i, j of  pixels(kh, kw)[n, i, j, k] * dout[n, i, j, k]
    drepeated     : pixels(kh, kw) of it get  + dout * w[kh, kw]           + since the windows overlap
    dx[..., c]    = sum over m of  drepeated[..., c*M + m]

Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, section 3.1, eq. 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Shape, WeightedLayer
from scratchnet.layers.shapes import IntOrPair, Padding, Window, check_padding, crop, pad, pair, window_pixels
from scratchnet.settings import flag, positive


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """Depthwise convolution of a batch of images.

    Parameters
    ----------
    x : (N, H, W, C), images.
    w : (KH, KW, C, M), M filters for each channel.
    b : (C*M,), biases, or None.
    stride : int or (int, int), (height, width).
    padding : int, (int, int), "same" or "valid".

    Returns
    -------
    out : (N, OH, OW, C*M).

    Raises
    ------
    ValueError
        If the kernel is larger than the padded image.
    """
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    window = Window.on((H, W), (KH, KW), stride, padding)
    repeated = pad(np.repeat(x, M, axis=3), window.pads)  # (N, top + H + bottom, left + W + right, C*M)
    w = w.reshape(KH, KW, C * M)
    out = np.zeros((N, *window.out, C * M), x.dtype)
    for kh in range(KH):
        for kw in range(KW):
            out += window_pixels(repeated, kh, kw, window) * w[kh, kw]
    if b is not None:
        out += b
    return out


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of a depthwise convolution.

    Parameters
    ----------
    dout : (N, OH, OW, C*M), the gradient with respect to the output.
    x, w, stride, padding : as given to `depthwise_conv2d_forward`.
    need_dx : bool
        If false, dx is not computed and is None.

    Returns
    -------
    dx : (N, H, W, C), dw : (KH, KW, C, M), db : (C*M,).
    """
    N, H, W, _ = x.shape
    KH, KW, C, M = w.shape
    window = Window.on((H, W), (KH, KW), stride, padding)
    repeated = pad(np.repeat(x, M, axis=3), window.pads)  # as in forward
    w = w.reshape(KH, KW, C * M)
    dw = np.empty((KH, KW, C * M), x.dtype)
    drepeated = np.zeros_like(repeated)
    db = dout.sum(axis=(0, 1, 2))  # reverses out += b
    for kh in range(KH):
        for kw in range(KW):
            # dw and dpixels reverse  out += pixels * w[kh, kw].  einsum sums over n, i, j without a temporary array.
            pixels = window_pixels(repeated, kh, kw, window)
            dw[kh, kw] = np.einsum("nijk,nijk->k", pixels, dout)
            if need_dx:
                dpixels = window_pixels(drepeated, kh, kw, window)
                dpixels += dout * w[kh, kw]
    dw = dw.reshape(KH, KW, C, M)
    if not need_dx:
        return None, dw, db
    dx = crop(drepeated, window.pads).reshape(N, H, W, C, M).sum(axis=4)  # reverses np.repeat(x, M, axis=3)
    return dx, dw, db


class DepthwiseConv2D(WeightedLayer):
    """A layer of `multiplier` filters for each of `channels` channels.

    Parameters
    ----------
    channels : int
        Channels of the input, C. The output has channels*multiplier.
    kernel_size : int or (int, int)
        Height and width of the filters, in pixels.
    stride : int or (int, int)
        Pixels from one place to the next.
    padding : int, (int, int), "same" or "valid"
        See `Window.on`.
    multiplier : int
        Filters for each channel, M.
    bias : bool
        Whether each filter has a bias. False by default, since the pointwise convolution after it has one.
    init, rng :
        As for `Conv2D`.

    Raises
    ------
    ValueError
        If an argument is out of range; TypeError or ValueError from `forward` if the input does not fit.
    """

    kind = "depthwise"
    formulas = Formulas(
        forward=["out[n, i, j, k] += pixels(kh, kw)[n, i, j, k] * w[kh, kw, k]"],
        backward=["db = sum of dout", "at (kh, kw): dw = sum of pixels * dout", "dpixels += dout * w"],
    )

    def __init__(
        self,
        channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = "same",
        multiplier: int = 1,
        bias: bool = False,
        *,
        init: str = "glorot_uniform",
        rng: Any = 0,
    ) -> None:
        super().__init__()
        self.channels = positive(self.name, "channels", channels)
        self.kernel_size = self.on_this_layer(pair, kernel_size, "kernel_size")
        self.stride = self.on_this_layer(pair, stride, "stride")
        self.padding = self.on_this_layer(check_padding, padding)
        self.multiplier = positive(self.name, "multiplier", multiplier)
        self.bias = flag(self.name, "bias", bias)
        (KH, KW), C, M = self.kernel_size, self.channels, self.multiplier
        self.draw_parameters((KH, KW, C, M), KH * KW, C * M * self.bias, init, rng)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        w, b = self.weights(x.dtype)
        return ops.depthwise_conv2d_forward(x, w, b, self.stride, self.padding)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        w, _ = self.weights(dout.dtype)
        dx, dw, db = ops.depthwise_conv2d_backward(dout, self.x, w, self.stride, self.padding, need_dx=need_dx)
        self.set_gradients(dw, db)
        return dx

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", self.channels)

    def output_shape(self, input_shape: Shape) -> Shape:
        OH, OW = Window.on(input_shape[:2], self.kernel_size, self.stride, self.padding).out
        return (OH, OW, self.channels * self.multiplier)

    def multiply_adds(self, input_shape: Shape) -> int:
        OH, OW, outputs = self.output_shape(input_shape)
        KH, KW = self.kernel_size
        return OH * OW * KH * KW * outputs
