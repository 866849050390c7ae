"""Batch normalisation, ReLU and max-pool in a row: the normalised image is never written (see `fused.py`).

Forward, each number is normalised as the pool compares it. Backward, only the pixels that won have a gradient: the sums
go over these alone, and dx is made from x, with the winners' gradients added to it.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.batch_norm import Norm, from_sums
from scratchnet.fast.choose import CHUNKS
from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.layers.shapes import Window


@kernel
def norm_max_forward_kernel(x, norm, window, out, argmax):
    """For each window, the largest of its normalised pixels, and that pixel's index, as in `max_forward_kernel`."""
    mean, scale, shift, least = norm
    N, H, W, C = x.shape
    (OH, OW), (top, left) = window.out, window.before
    (PH, PW), (SH, SW) = window.size, window.stride
    for n in prange(N):
        for i in range(OH):
            for j in range(OW):
                best, place = out[n, i, j], argmax[n, i, j]
                h, w = i * SH - top, j * SW - left
                best[:] = -np.inf
                place[:] = max(0, -h) * PW + max(0, -w)  # it stays the winner if all pixels are -infinity
                for kh in range(max(0, -h), min(PH, H - h)):
                    for kw in range(max(0, -w), min(PW, W - w)):
                        for c in range(C):
                            value = (x[n, h + kh, w + kw, c] - mean[c]) * scale[c] + shift[c]
                            value = least if value <= least else value
                            wins = value > best[c] or value != value
                            best[c] = value if wins else best[c]
                            place[c] = kh * PW + kw if wins else place[c]


@kernel
def norm_max_sums_kernel(dwinners, argmax, x, norm, window, offsets, sums):
    """sums[chunk, 0, c], [chunk, 1, c]: the sums of d and of d * (x - mean) over the winners of the chunk's images.

    d is a winner's gradient, from `dwinners`. offsets : for each place in a window, the distance in x from its first.
    """
    N, H, W, C = x.shape
    (OH, OW), (top, left) = window.out, window.before
    SH, SW = window.stride
    flat = x.reshape(-1)
    for chunk in prange(CHUNKS):
        total = sums[chunk]
        total[:] = 0.0
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            for i in range(OH):
                for j in range(OW):
                    first = ((n * H + i * SH - top) * W + j * SW - left) * C
                    for c in range(C):
                        d = np.float64(dwinners[n, i, j, c])
                        value = flat[first + offsets[argmax[n, i, j, c]] + c]
                        total[0, c] += d
                        total[1, c] += d * (np.float64(value) - np.float64(norm.mean[c]))


@kernel
def norm_max_dx_kernel(dwinners, argmax, x, norm, slopes, window, offsets, dx):
    """dx, as in `dx_kernel`, from the gradients of the winners."""
    N, H, W, C = x.shape
    (OH, OW), (top, left) = window.out, window.before
    SH, SW = window.stride
    flat = dx.reshape(-1)
    for n in prange(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    dx[n, h, w, c] = -slopes.level[c] - slopes.slope[c] * (x[n, h, w, c] - norm.mean[c])
        for i in range(OH):
            for j in range(OW):
                first = ((n * H + i * SH - top) * W + j * SW - left) * C
                for c in range(C):
                    flat[first + offsets[argmax[n, i, j, c]] + c] += norm.scale[c] * dwinners[n, i, j, c]


def norm_max_forward(x: np.ndarray, norm: Norm, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Max-pooling of `normalised(x, norm)`: out (N, OH, OW, C) and argmax, likewise."""
    out = np.empty((len(x), *window.out, x.shape[3]), x.dtype)
    argmax = np.empty(out.shape, np.int32)
    norm_max_forward_kernel(for_kernel(x), norm, window, out, argmax)
    return out, argmax


def norm_max_backward(
    dwinners: np.ndarray,
    argmax: np.ndarray,
    x: np.ndarray,
    norm: Norm,
    window: Window,
    w: np.ndarray,
    var: np.ndarray,
    eps: float,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """dx, dw and db of batch normalisation in training, from the gradients of the pool's winners."""
    dwinners, argmax, x = for_kernel(dwinners), for_kernel(argmax), for_kernel(x)
    (_, _, W, C), (PH, PW) = x.shape, window.size
    offsets = np.array([(kh * W + kw) * C for kh, kw in np.ndindex(PH, PW)])
    sums = np.empty((CHUNKS, 2, C))
    norm_max_sums_kernel(dwinners, argmax, x, norm, window, offsets, sums)
    dw, db, slopes = from_sums(sums.sum(axis=0), x.size // C, w, var, eps)
    if not need_dx:
        return None, dw, db
    dx = np.empty_like(x)
    norm_max_dx_kernel(dwinners, argmax, x, norm, slopes, window, offsets, dx)
    return dx, dw, db
