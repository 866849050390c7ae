"""Pooling: a window slides over each channel, and all pixels in the window become one number.

Max-pooling keeps the largest, average pooling the mean:

    out[n, i, j, c] = max  over kh, kw of  x[n, i*SH + kh, j*SW + kw, c]
    out[n, i, j, c] = mean over kh, kw of  x[n, i*SH + kh, j*SW + kw, c]

n runs over the images, (i, j) over the places of the window, (kh, kw) over its pixels and c over the channels; x is the
padded image.

Backward of the maximum: the output depends only on the largest pixel, so this pixel gets the whole gradient. Forward
keeps its position (argmax = kh*PW + kw; of equal pixels, the first in row-major order), and backward adds dout there:

    dx[n, i*SH + kh, j*SW + kw, c] += dout[n, i, j, c]   where argmax[n, i, j, c] = kh*PW + kw

It is += and not =, since windows may overlap: one pixel may be the largest in several of them. NaN counts as larger
than every number, so that it is noticed; of several, the last is taken, as in PyTorch.

Backward of the mean: each of the window's pixels had the weight 1 / count in it:

    dx[n, i*SH + kh, j*SW + kw, c] += dout[n, i, j, c] / count[i, j]

Padding does not count: for the maximum it is -infinity, and the mean is taken over the count[i, j] pixels that are
inside the image.

Sources: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998 (average pooling); Ranzato,
Huang, Boureau and LeCun, "Unsupervised Learning of Invariant Feature Hierarchies", 2007 (max-pooling).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer, Shape
from scratchnet.layers.shapes import IntOrPair, Padding, Window, check_padding, crop, pad, pair, window_pixels


def pool_window(image: Sequence[int], pool: IntOrPair, stride: IntOrPair, padding: Padding) -> Window:
    """`Window.on`, and a ValueError if a window would hold nothing but padding."""
    window = Window.on(image, pool, stride, padding)
    PH, PW = window.size
    if max(window.before[0], window.after[0]) >= PH or max(window.before[1], window.after[1]) >= PW:
        raise ValueError(
            f"expected padding smaller than the {PH}x{PW} window, got {padding!r}: a window would be empty"
        )
    return window


def max_pool2d_forward(
    x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray]:
    """The largest pixel of every window.

    Parameters
    ----------
    x : (N, H, W, C), images.
    pool, stride : int or (int, int), the window's size and step, (height, width).
    padding : int, (int, int), "same" or "valid"; the padding holds -infinity.

    Returns
    -------
    out : (N, OH, OW, C).
    argmax : (N, OH, OW, C), int32; the position of the largest pixel in its window, kh*PW + kw; in a tie, the first.
        It is always a pixel of the image, even if all of them are -infinity as the padding is.

    Raises
    ------
    ValueError
        If a window is larger than the padded image, or would hold nothing but padding.
    """
    N, H, W, C = x.shape
    window = pool_window((H, W), pool, stride, padding)
    PH, PW = window.size
    padded = pad(x, window.pads, value=-np.inf)
    out = np.full((N, *window.out, C), -np.inf, x.dtype)
    argmax = np.empty(out.shape, np.int32)
    argmax[:] = first_pixels(window)
    for kh in range(PH):
        for kw in range(PW):
            pixels = window_pixels(padded, kh, kw, window)
            larger = (pixels > out) | np.isnan(pixels)  # > and not >=: the first of equal pixels stays
            argmax[larger] = kh * PW + kw
            np.maximum(out, pixels, out=out)
    return out, argmax


def first_pixels(window: Window) -> np.ndarray:
    """The position of the first pixel in each window that is not padding, kh*PW + kw: (OH, OW, 1)."""
    (top, left), (SH, SW), (OH, OW) = window.before, window.stride, window.out
    rows, columns = np.maximum(top - np.arange(OH) * SH, 0), np.maximum(left - np.arange(OW) * SW, 0)
    return (rows[:, None] * window.size[1] + columns)[..., None]


def max_pool2d_backward(
    dout: np.ndarray, argmax: np.ndarray, x_shape: tuple[int, ...], pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """Gradient of max-pooling: dx (N, H, W, C), from dout (N, OH, OW, C) and the forward's argmax and arguments."""
    window = pool_window(x_shape[1:3], pool, stride, padding)
    PH, PW = window.size
    dpadded = pad(np.zeros(x_shape, dout.dtype), window.pads)
    for kh in range(PH):
        for kw in range(PW):
            dpixels = window_pixels(dpadded, kh, kw, window)
            dpixels += np.where(argmax == kh * PW + kw, dout, 0)  # reverses out = pixels, where they were the largest
    return crop(dpadded, window.pads)


def avg_pool2d_forward(x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding) -> np.ndarray:
    """The mean of every window.

    Parameters
    ----------
    x : (N, H, W, C), images.
    pool, stride : int or (int, int), the window's size and step, (height, width).
    padding : int, (int, int), "same" or "valid"; not counted in the mean.

    Returns
    -------
    out : (N, OH, OW, C).

    Raises
    ------
    ValueError
        If a window is larger than the padded image, or would hold nothing but padding.
    """
    N, H, W, C = x.shape
    window = pool_window((H, W), pool, stride, padding)
    PH, PW = window.size
    padded = pad(x, window.pads)
    out = np.zeros((N, *window.out, C), x.dtype)
    for kh in range(PH):
        for kw in range(PW):
            out += window_pixels(padded, kh, kw, window)
    return out / window_counts(window, x.dtype)


def avg_pool2d_backward(
    dout: np.ndarray, x_shape: tuple[int, ...], pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """Gradient of average pooling: dx (N, H, W, C), from dout (N, OH, OW, C) and the forward's arguments."""
    window = pool_window(x_shape[1:3], pool, stride, padding)
    PH, PW = window.size
    dsum = dout / window_counts(window, dout.dtype)  # reverses the division
    dpadded = pad(np.zeros(x_shape, dout.dtype), window.pads)
    for kh in range(PH):
        for kw in range(PW):
            dpixels = window_pixels(dpadded, kh, kw, window)
            dpixels += dsum  # reverses out += pixels
    return crop(dpadded, window.pads)


def window_counts(window: Window, dtype: np.dtype) -> np.ndarray:
    """How many pixels of the image, not of its padding, each window holds: (OH, OW, 1), of the given dtype."""
    along = []  # the rows that a window holds, by its place; then the columns
    for size, stride, length, before, places in zip(
        window.size, window.stride, window.image, window.before, window.out, strict=True
    ):
        first = np.arange(places) * stride - before  # of its pixels; less than 0 in the padding
        along.append(np.minimum(first + size, length) - np.maximum(first, 0))
    rows, columns = along
    return (rows[:, None] * columns)[..., None].astype(dtype)


class Pool2D(Layer):
    """What both pooling layers share: their window.

    Parameters
    ----------
    pool_size : int or (int, int)
        Height and width of the window, in pixels.
    stride : int or (int, int), optional
        Pixels from one window to the next; the window's size if not given, so that windows touch and do not overlap.
    padding : int, (int, int), "same" or "valid"
        Smaller than the window. See `Window.on`.

    Raises
    ------
    ValueError
        If an argument is out of range; TypeError or ValueError from `forward` if the input does not fit.
    """

    kind = "pool"

    def __init__(self, pool_size: IntOrPair, stride: IntOrPair | None = None, padding: Padding = 0) -> None:
        super().__init__()
        self.pool_size = self.on_this_layer(pair, pool_size, "pool_size")
        self.stride = self.pool_size if stride is None else self.on_this_layer(pair, stride, "stride")
        self.padding = self.on_this_layer(check_padding, padding)

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", "C")

    def output_shape(self, input_shape: Shape) -> Shape:
        OH, OW = pool_window(input_shape[:2], self.pool_size, self.stride, self.padding).out
        return (OH, OW, input_shape[2])


class MaxPool2D(Pool2D):
    """The largest pixel of every window, for each channel; arguments and errors as for `Pool2D`."""

    formulas = Formulas(
        forward=["out[n, i, j, c] = max over kh, kw of x[n, i*SH + kh, j*SW + kw, c]"],
        backward=["dx[n, i*SH + kh, j*SW + kw, c] += dout[n, i, j, c]", "where argmax[n, i, j, c] = kh*PW + kw"],
    )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x_shape = self.check_input(x).shape
        out, self.argmax = ops.max_pool2d_forward(x, self.pool_size, self.stride, self.padding)
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        return ops.max_pool2d_backward(dout, self.argmax, self.x_shape, self.pool_size, self.stride, self.padding)


class AvgPool2D(Pool2D):
    """The mean of every window, for each channel; arguments and errors as for `Pool2D`."""

    formulas = Formulas(
        forward=["out[n, i, j, c] = mean over kh, kw of x[n, i*SH + kh, j*SW + kw, c]"],
        backward=["dx[n, i*SH + kh, j*SW + kw, c] += dout[n, i, j, c] / count[i, j]"],
    )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x_shape = self.check_input(x).shape
        return ops.avg_pool2d_forward(x, self.pool_size, self.stride, self.padding)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        return ops.avg_pool2d_backward(dout, self.x_shape, self.pool_size, self.stride, self.padding)
