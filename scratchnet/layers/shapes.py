"""Where a window stands: strides, padding and output sizes, for every layer that slides a window over an image.

Along one axis, a window of KH rows that moves by SH rows over an image of H rows, with `top` rows of padding above and
`bottom` below, stands at

    OH = (H + top + bottom - KH) // SH + 1

places, and at place i it covers the rows i*SH - top ... i*SH - top + KH - 1 of the image. Columns work the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from scratchnet.settings import shown

Pair = tuple[int, int]  # (height, width)
IntOrPair = int | Pair  # one number for both axes, or (height, width)
Padding = int | Pair | str
Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def pair(value: Any, what: str, least: int = 1) -> Pair:
    """One number for both axes, or (height, width), as two plain ints.

    Raises ValueError, naming `what`, for anything but one or two integers of at least `least`.
    """
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= least:
        return value  # the usual case, kept fast: layers ask several times in each step
    both = (value, value) if isinstance(value, Integral) else value
    is_pair = isinstance(both, (tuple, list)) and len(both) == 2
    if not is_pair or not all(isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= least for v in both):
        raise ValueError(f"expected {what} to be an integer of at least {least}, or a pair of them; got {shown(value)}")
    return int(both[0]), int(both[1])


def check_padding(padding: Any) -> Padding:
    """`padding` itself, if it is "same", "valid", an int or a pair (height, width); else a ValueError."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f'expected padding to be "same", "valid", an integer or a pair; got {shown(padding)}')
        return str(padding)  # not NumPy's
    return pair(padding, "padding", least=0)


class Window(NamedTuple):
    """A window on an image: its size and stride, the padding, and how many places it has.

    `Window.on` works this out from the arguments of a layer, once for each image size. The code of both engines takes
    the numbers from here. All of it relies on a window's pixels being neighbours. For a dilation, begin here, in
    `im2col.py` and in `definition.py`; in the mirror, the stretches, `widened` and the explicit
    columns of `fast/conv.py`, those of `fast/depthwise.py`, and `dx_window` in `fast/choose.py` come next. Winograd's
    way, the lists of nonzeros and pooling have to refuse it.
    """

    size: Pair  #: (KH, KW), of the window
    stride: Pair  #: (SH, SW), pixels from one place to the next
    image: Pair  #: (H, W), without padding
    before: Pair  #: (top, left): rows of padding above the image, and columns to its left
    after: Pair  #: (bottom, right)
    padded: Pair  #: (top + H + bottom, left + W + right)
    out: Pair  #: (OH, OW): how many places there are, down and across

    @classmethod
    def on(cls, image: Sequence[int], size: IntOrPair, stride: IntOrPair, padding: Padding) -> Window:
        """The window of a layer's arguments on an image of (H, W) pixels.

        Parameters
        ----------
        image : (H, W)
            Height and width of the image, in pixels.
        size, stride : int or (int, int)
            The window's size and its step, (height, width).
        padding : int, (int, int), "same" or "valid"
            Rows and columns added on each side. "valid" adds none. "same" adds as many as make the output
            ceil(image / stride). If their number is odd, the extra one is added after the image, as in TensorFlow.

        Raises
        ------
        ValueError
            If an argument is out of range, or the window is larger than the padded image.
        """
        arguments = image, size, stride, padding
        try:
            return _window_on(*arguments)
        except TypeError:  # a list, which cannot be looked up in a cache
            return _window_on(*(tuple(given) if isinstance(given, list) else given for given in arguments))

    @property
    def pads(self) -> Pads:
        """((top, bottom), (left, right)): the padding, axis by axis."""
        (top, left), (bottom, right) = self.before, self.after
        return (top, bottom), (left, right)


@functools.lru_cache(maxsize=256, typed=True)  # a network asks for the same few windows in every step
def _window_on(image: Any, size: Any, stride: Any, padding: Any) -> Window:
    """`Window.on`, for arguments that are no lists."""
    height, width = image
    image = int(height), int(width)
    size, stride, padding = pair(size, "window"), pair(stride, "stride"), check_padding(padding)
    out, pads = [], []
    for axis in range(2):
        if padding == "same":
            places = -(-image[axis] // stride[axis])  # rounded up
            total = max((places - 1) * stride[axis] + size[axis] - image[axis], 0)
            before, after = total // 2, total - total // 2
        else:
            before = after = 0 if padding == "valid" else padding[axis]
        padded = before + image[axis] + after
        if padded < size[axis] or image[axis] < 1:
            raise ValueError(
                f"the window of {size[0]}x{size[1]} is larger than the padded image: "
                f"the image has {image[0]}x{image[1]} pixels, padding is {padding!r}"
            )
        out.append((padded - size[axis]) // stride[axis] + 1)
        pads.append((before, after))
    (top, bottom), (left, right) = pads
    padded_size = top + image[0] + bottom, left + image[1] + right
    return Window(size, stride, image, (top, left), (bottom, right), padded_size, (out[0], out[1]))


def pad(x: np.ndarray, pads: Pads, value: float = 0.0) -> np.ndarray:
    """A copy of x (N, H, W, C) with `value` around it: (N, top + H + bottom, left + W + right, C)."""
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def crop(padded: np.ndarray, pads: Pads) -> np.ndarray:
    """Reverses `pad`: a view of the image (N, H, W, C) inside its padding."""
    (top, bottom), (left, right) = pads
    return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]


def window_pixels(padded: np.ndarray, kh: int, kw: int, window: Window) -> np.ndarray:
    """The pixels that position (kh, kw) of the window meets as the window moves over a padded image.

    A view (N, OH, OW, C) of padded (N, top + H + bottom, left + W + right, C): entry [n, i, j] is
    padded[n, i*SH + kh, j*SW + kw]. Adding to it adds to the image.
    """
    (SH, SW), (OH, OW) = window.stride, window.out
    return padded[:, kh : kh + (OH - 1) * SH + 1 : SH, kw : kw + (OW - 1) * SW + 1 : SW]
