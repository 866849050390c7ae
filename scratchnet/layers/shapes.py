"""Where a window stands: strides, padding and output sizes, shared by every layer that slides one over an image.

Along one axis, a window of KH rows that moves by SH rows over an image of H rows, with `top` rows of padding above and
`bottom` below, stands at

    OH = (H + top + bottom - KH) // SH + 1

places, and at place i it covers the rows i*SH - top ... i*SH - top + KH - 1 of the image. Columns work the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

Padding = int | tuple[int, int] | str
Window = int | tuple[int, int]
Pads = tuple[tuple[int, int], tuple[int, int]]


def pair(value: Any, what: str, least: int = 1) -> tuple[int, int]:
    """One number for both axes, or (height, width), as two plain ints.

    Raises ValueError, naming `what`, for anything but one or two integers of at least `least`.
    """
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= least:
        return value  # a pair already, as nearly always: layers ask several times at every step
    both = (value, value) if isinstance(value, Integral) else value
    is_pair = isinstance(both, (tuple, list)) and len(both) == 2
    if not is_pair or not all(isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= least for v in both):
        raise ValueError(f"expected {what} to be an integer of at least {least}, or a pair of them; got {value!r}")
    return int(both[0]), int(both[1])


def check_padding(padding: Any) -> Padding:
    """`padding` itself, if it is "same", "valid", an int or a pair (height, width); else a ValueError."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f'expected padding to be "same", "valid", an integer or a pair; got {padding!r}')
        return padding
    return pair(padding, "padding", least=0)


def window_grid(size: Sequence[int], window: Window, stride: Window, padding: Padding) -> tuple[tuple[int, int], Pads]:
    """How often a window fits on an image, and how much padding that takes.

    Parameters
    ----------
    size : (H, W)
        Height and width of the image, in pixels.
    window, stride : int or (int, int)
        The window's size and its step, (height, width).
    padding : int, (int, int), "same" or "valid"
        Rows and columns added, alike on both sides. "valid" adds none. "same" adds what makes the output
        ceil(size / stride), and where that is an odd number the extra row or column goes after, as in TensorFlow.

    Returns
    -------
    (OH, OW) : the output's height and width.
    ((top, bottom), (left, right)) : the padding.

    Raises
    ------
    ValueError
        If the window is larger than the padded image.
    """
    H, W = size
    return _window_grid((H, W), pair(window, "window"), pair(stride, "stride"), check_padding(padding))


@functools.lru_cache(maxsize=256)  # a network asks for the same few at every step
def _window_grid(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> tuple[tuple[int, int], Pads]:
    """`window_grid`, of what has been checked."""
    outputs, pads = [], []
    for axis in range(2):
        if padding == "same":
            out = -(-size[axis] // stride[axis])  # rounded up
            total = max((out - 1) * stride[axis] + window[axis] - size[axis], 0)
            before, after = total // 2, total - total // 2
        else:
            before = after = 0 if padding == "valid" else padding[axis]  # type: ignore[assignment, index]
        padded = size[axis] + before + after
        if padded < window[axis] or size[axis] < 1:
            raise ValueError(
                f"the window of {window[0]}x{window[1]} is larger than the padded image: "
                f"the image has {size[0]}x{size[1]} pixels, padding is {padding!r}"
            )
        outputs.append((padded - window[axis]) // stride[axis] + 1)
        pads.append((before, after))
    return (outputs[0], outputs[1]), (pads[0], pads[1])


def pad(x: np.ndarray, pads: Pads, value: float = 0.0) -> np.ndarray:
    """A copy of x (N, H, W, C) with `value` around it: (N, top + H + bottom, left + W + right, C)."""
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def crop(padded: np.ndarray, pads: Pads) -> np.ndarray:
    """What `pad` reverses: the view of the image (N, H, W, C) inside its padding."""
    (top, bottom), (left, right) = pads
    return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]


def window_pixels(padded: np.ndarray, kh: int, kw: int, stride: Window, out_size: tuple[int, int]) -> np.ndarray:
    """The pixels that position (kh, kw) of the window meets as the window moves over a padded image.

    A view (N, OH, OW, C) of padded (N, H, W, C): entry [n, i, j] is padded[n, i*SH + kh, j*SW + kw]. Adding to it adds
    to the image.
    """
    (SH, SW), (OH, OW) = pair(stride, "stride"), out_size
    return padded[:, kh : kh + (OH - 1) * SH + 1 : SH, kw : kw + (OW - 1) * SW + 1 : SW]
