"""Where windows stand on padded images, for all mirrored layers that slide one; and the copies that they read from."""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.register.vector import REGISTER_BITS, load_first, store_first
from scratchnet.layers.shapes import Pads


@inlined
def copy_stretch(a, start, count, out, to):
    """out[to : to + count] = a[start : start + count], a vector at a time."""
    for i in range(0, count, REGISTER_BITS // (8 * a.itemsize)):
        store_first(load_first(a, start + i, count - i), out, to + i, count - i)


@inlined
def copy_image(x, padded, top, left, SH, SW):
    """padded[top + i*SH, left + j*SW, c] = x[i, j, c], where that is inside; all else in padded stays as it is, its
    further channels, too, if it has more than x."""
    H, W, C = x.shape
    PH, PW, channels = padded.shape
    numbers, flat = x.reshape(-1), padded.reshape(-1)
    side_by_side = SW == 1 and channels == C  # then the pixels of a row stay one stretch of memory
    first, last = max(0, -left), min(W, PW - left)
    for i in range(H):
        row = top + i * SH
        if 0 <= row < PH and side_by_side:
            copy_stretch(numbers, (i * W + first) * C, (last - first) * C, flat, (row * PW + left + first) * C)
        elif 0 <= row < PH:
            for j in range(W):
                column = left + j * SW
                if 0 <= column < PW:
                    for c in range(C):
                        padded[row, column, c] = x[i, j, c]


@kernel
def copy_into(x, padded, top, left, SH, SW):
    """Each image of x (N, H, W, C) in padded (N, PH, PW, C), and zeros elsewhere: padding; with a stride, spreading."""
    for n in prange(len(x)):
        padded[n] = 0
        copy_image(x[n], padded[n], top, left, SH, SW)


def padded_copy(x: np.ndarray, pads: Pads) -> np.ndarray:
    """x (N, H, W, C) with zeros around it; x itself if there is no padding."""
    (top, bottom), (left, right) = pads
    if not (top or bottom or left or right):
        return x
    N, H, W, C = x.shape
    out = np.empty((N, top + H + bottom, left + W + right, C), x.dtype)
    copy_into(x, out, top, left, 1, 1)
    return out


@functools.lru_cache(maxsize=16)  # a network asks for the same few at every step
def window_starts(padded_shape: tuple[int, ...], out_size: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """(N*OH*OW,): the flat address in a padded array (N, PH, PW, C) of each window's first entry, in output order."""
    N, PH, PW, C = padded_shape
    (OH, OW), (SH, SW) = out_size, stride
    images = np.arange(N) * (PH * PW * C)
    rows = np.arange(OH) * (SH * PW * C)
    places = np.arange(OW) * (SW * C)
    return (images[:, None, None] + rows[:, None] + places).reshape(-1)
