"""Depthwise convolution: each channel has filters of its own, and no channel sees another.

With M filters for each of the C channels there are C*M output channels, and channel c's M results lie together:

    out[n, i, j, c*M + m] = b[c*M + m] + sum over kh, kw of  x[n, i*SH + kh, j*SW + kw, c] * w[kh, kw, c, m]

n runs over the images, (i, j) over the places of the kernel, (kh, kw) over its pixels, c over the channels and m over
the filters of a channel. A convolution sums over (kh, kw, c) for every filter; here the sum over c is gone, and with it
most of the work: where a convolution has F filters, this costs M/F of it. Mixing the channels is left to a pointwise
convolution after it (`pointwise.py`).

There is no matrix product left to gain from, so this file slides the other way round: for each of the kernel's KH*KW
positions, take the pixels that this position meets at all places at once, and multiply them by that one weight a
channel. The channels are repeated M times first, so that output and input channels pair up one to one, k = c*M + m:

    repeated[n, h, w, k] = x[n, h, w, c]           out[n, i, j, k] += pixels(kh, kw)[n, i, j, k] * w[kh, kw, k]

Backward. The bias was added to every output, each weight and each pixel was a factor in every product it met, and each
channel was copied M times; every gradient is the sum over these:

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
from scratchnet.layers.base import Formulas, Shape, WeightedLayer, positive
from scratchnet.layers.shapes import IntOrPair, Padding, Window, check_padding, crop, pad, pair, window_pixels


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
    dout : (N, OH, OW, C*M), the gradient for the output.
    x, w, stride, padding : as given to `depthwise_conv2d_forward`.
    need_dx : bool
        If false, dx is None and its work is saved.

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
            # Both reverse  out += pixels * w[kh, kw]:  the sum over n, i, j without a temporary array, then the pixels.
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
        Channels in, C; channels*multiplier come out.
    kernel_size : int or (int, int)
        Height and width of the filters, in pixels.
    stride : int or (int, int)
        Pixels from one place to the next.
    padding : int, (int, int), "same" or "valid"
        See `Window.on`.
    multiplier : int
        Filters a channel, M.
    bias : bool
        Whether each filter adds a number of its own; False by default, since the pointwise convolution after it does.
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
        self.bias = bool(bias)
        KH, KW = self.kernel_size
        self.draw_parameters((KH, KW, channels, multiplier), KH * KW, channels * multiplier * self.bias, init, rng)

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
