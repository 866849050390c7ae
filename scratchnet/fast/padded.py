"""The zero-padded copies that kernels read, and the addresses of the windows in them.

All mirrored layers that slide a window use them. The `Window` itself is the book's: see `scratchnet/layers/shapes.py`.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.register.vector import lanes_of, load_first, store_first
from scratchnet.layers.shapes import Pair, Window


@inlined
def copy_stretch(a, start, count, out, to):
    """out[to : to + count] = a[start : start + count], one vector at a time."""
    for i in range(0, count, lanes_of(a)):
        store_first(load_first(a, start + i, count - i), out, to + i, count - i)


@inlined
def copy_image(x, padded, before, apart):
    """padded[top + i*SH, left + j*SW, c] = x[i, j, c], where that pixel is inside padded.

    before : (top, left). apart : (SH, SW), the distance in padded between neighbouring pixels of x. All other entries
    of padded keep their values. So do its further channels, if padded has more channels than x.
    """
    H, W, C = x.shape
    padded_H, padded_W, channels = padded.shape
    (top, left), (SH, SW) = before, apart
    numbers, flat = x.reshape(-1), padded.reshape(-1)
    side_by_side = SW == 1 and channels == C  # then a row of pixels is contiguous in both
    first, last = max(0, -left), min(W, padded_W - left)
    for i in range(H):
        row = top + i * SH
        if 0 <= row < padded_H and side_by_side:
            copy_stretch(numbers, (i * W + first) * C, (last - first) * C, flat, (row * padded_W + left + first) * C)
        elif 0 <= row < padded_H:
            for j in range(W):
                column = left + j * SW
                if 0 <= column < padded_W:
                    for c in range(C):
                        padded[row, column, c] = x[i, j, c]


@kernel
def copy_into(x, padded, before, apart):
    """Set each image of padded to zeros, then copy an image of x (N, H, W, C) into it with `copy_image`."""
    for n in prange(len(x)):
        padded[n] = 0
        copy_image(x[n], padded[n], before, apart)


def padded_copy(x: np.ndarray, window: Window) -> np.ndarray:
    """x (N, H, W, C), zero-padded as the window says; x itself if the window has no padding."""
    if window.padded == window.image:
        return x
    out = np.empty((len(x), *window.padded, x.shape[3]), x.dtype)
    copy_into(x, out, window.before, (1, 1))
    return out


@functools.lru_cache(maxsize=16)  # a network asks for the same few at every step
def window_starts(N: int, padded: Pair, C: int, out: Pair, stride: Pair) -> np.ndarray:
    """(N*OH*OW,): the flat address of each window's first entry in a padded array (N, *padded, C), row-major."""
    (padded_H, padded_W), (OH, OW), (SH, SW) = padded, out, stride
    images = np.arange(N) * (padded_H * padded_W * C)
    rows = np.arange(OH) * (SH * padded_W * C)
    places = np.arange(OW) * (SW * C)
    return (images[:, None, None] + rows[:, None] + places).reshape(-1)
