"""Batch normalisation: two passes over memory forward, two backward, each shared by the threads.

The first pass of each sums over all rows, in a fixed number of chunks and in float64, and the chunks' sums are added in
order: so a result does not depend on the number of threads. The second one does what is left, number by number.

One pass gives the mean and the variance: it sums x - x0 and (x - x0)^2, where x0 is the first row. The variance is the
difference of two means, which loses digits if x0 is far from the mean. But x0 is one of the P numbers, so its distance
squared is at most P times the variance: of float64's 16 digits at most log10(P) are lost.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.choose import CHUNKS
from scratchnet.fast.compiled import for_kernel, kernel


@kernel
def statistics_kernel(x, C, sums):
    """sums[chunk, 0, c] and [chunk, 1, c]: the sums over the chunk's rows of x[p, c] - x[0, c], and of its square."""
    P = x.size // C
    for chunk in prange(CHUNKS):
        total = sums[chunk]
        total[:] = 0.0
        for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
            for c in range(C):
                apart = np.float64(x[p * C + c]) - np.float64(x[c])
                total[0, c] += apart
                total[1, c] += apart * apart


@kernel
def normalise_kernel(x, C, mean, scale, shift, out):
    """out[p, c] = (x[p, c] - mean[c]) * scale[c] + shift[c]."""
    P = x.size // C
    for p in prange(P):
        for c in range(C):
            out[p * C + c] = (x[p * C + c] - mean[c]) * scale[c] + shift[c]


@kernel
def gradients_kernel(dout, x, C, mean, sums):
    """sums[chunk, 0, c], [chunk, 1, c]: the sums over the chunk's rows of dout[p, c], and times x[p, c] - mean[c]."""
    P = x.size // C
    for chunk in prange(CHUNKS):
        total = sums[chunk]
        total[:] = 0.0
        for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
            for c in range(C):
                d = np.float64(dout[p * C + c])
                total[0, c] += d
                total[1, c] += d * (np.float64(x[p * C + c]) - np.float64(mean[c]))


@kernel
def dx_kernel(dout, x, C, mean, scale, level, slope, dx):
    """dx[p, c] = scale[c] * dout[p, c] - level[c] - slope[c] * (x[p, c] - mean[c])."""
    P = x.size // C
    for p in prange(P):
        for c in range(C):
            i = p * C + c
            dx[i] = scale[c] * dout[i] - level[c] - slope[c] * (x[i] - mean[c])


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `scratchnet.layers.batch_norm.batch_norm_statistics`."""
    C, x = x.shape[-1], for_kernel(x)
    P = x.size // C
    if not P:
        return np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    sums = np.empty((CHUNKS, 2, C))
    flat = x.reshape(-1)
    statistics_kernel(flat, C, sums)
    apart, squares = sums.sum(axis=0) / P
    return (flat[:C] + apart).astype(x.dtype), np.maximum(squares - apart**2, 0).astype(x.dtype)


def batch_norm_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """See `scratchnet.layers.batch_norm.batch_norm_forward`."""
    x = for_kernel(x)
    out = np.empty_like(x)
    scale = w / np.sqrt(var + x.dtype.type(eps))
    normalise_kernel(x.reshape(-1), x.shape[-1], for_kernel(mean), scale, for_kernel(b), out.reshape(-1))
    return out


def batch_norm_backward(
    dout: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    training: bool,
    *,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.batch_norm.batch_norm_backward`."""
    dout, x, mean = for_kernel(dout), for_kernel(x), for_kernel(mean)
    C = x.shape[-1]
    P = x.size // C
    sums = np.empty((CHUNKS, 2, C))
    gradients_kernel(dout.reshape(-1), x.reshape(-1), C, mean, sums)
    db, times_apart = sums.sum(axis=0)
    deviation = np.sqrt(var + x.dtype.type(eps)).astype(np.float64)
    dw = times_apart / deviation
    gradients = dw.astype(x.dtype), db.astype(x.dtype)
    if not need_dx:
        return None, *gradients
    scale = w / deviation
    if not (training and P):
        return scale.astype(x.dtype) * dout, *gradients
    level, slope = scale * db / P, scale * dw / (P * deviation)
    constants = (a.astype(x.dtype) for a in (scale, level, slope))
    dx = np.empty_like(x)
    dx_kernel(dout.reshape(-1), x.reshape(-1), C, mean, *constants, dx.reshape(-1))
    return dx, *gradients
