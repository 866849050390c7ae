"""Rotating and shifting images: one pass over the output's pixels. The threads share the images.

Each output pixel is mapped back to a point of the input, by a rotation and a shift, and the four pixels around that
point are interpolated. No intermediate array is made. NumPy makes one for each step of the formula.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from scratchnet.fast.compiled import for_kernel, inlined, kernel


@inlined
def pixel(x, n, i, j, c):
    """x[n, i, j, c], or 0 outside the image."""
    inside = 0 <= i < x.shape[1] and 0 <= j < x.shape[2]
    return x[n, i, j, c] if inside else x.dtype.type(0)


@kernel
def turn_and_shift_kernel(x, angles, shifts, out):
    """See `scratchnet.data.augment.turn_and_shift`. out : as x."""
    N, H, W, C = x.shape
    for n in prange(N):
        cos, sin = math.cos(angles[n]), math.sin(angles[n])
        for i in range(H):
            u = i - (H - 1) / 2 - shifts[n, 0]
            for j in range(W):
                v = j - (W - 1) / 2 - shifts[n, 1]
                row = (H - 1) / 2 + u * cos + v * sin
                column = (W - 1) / 2 - u * sin + v * cos
                top, left = math.floor(row), math.floor(column)
                below, beside = x.dtype.type(row - top), x.dtype.type(column - left)
                one = x.dtype.type(1)
                for c in range(C):
                    upper = pixel(x, n, top, left, c) * (one - beside) + pixel(x, n, top, left + 1, c) * beside
                    lower = pixel(x, n, top + 1, left, c) * (one - beside) + pixel(x, n, top + 1, left + 1, c) * beside
                    out[n, i, j, c] = upper * (one - below) + lower * below


def turn_and_shift(x: np.ndarray, angles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """See `scratchnet.data.augment.turn_and_shift`."""
    x = for_kernel(x)
    out = np.empty_like(x)
    turn_and_shift_kernel(x, for_kernel(angles.astype(np.float64)), for_kernel(shifts.astype(np.float64)), out)
    return out
