"""Batch normalisation: two passes over memory forward, two backward, each shared by the threads.

The first pass of each sums over all rows, in a fixed number of chunks and in float64, and the chunks' sums are added in
order: so a result does not depend on the number of threads. The second one does what is left, number by number. A ReLU
behind it takes no pass of its own (see `fused.py`).

One pass gives the mean and the variance: it sums x - x0 and (x - x0)^2, where x0 is the first row. The variance is the
difference of two means, which loses digits if x0 is far from the mean. But x0 is one of the P numbers, so its distance
squared is at most P times the variance: of float64's 16 digits at most log10(P) are lost.

The inner loops go over the channels. Where these are few, several rows are taken as one long row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet.fast.choose import CHUNKS
from scratchnet.fast.compiled import for_kernel, kernel

LONG_ROW = 64  # numbers: so few vectors that a loop over them takes longer to begin than to run


class Norm(NamedTuple):
    """What is done to a number of channel c: max((x - mean[c]) * scale[c] + shift[c], least)."""

    mean: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    least: np.floating  #: 0 if a ReLU follows, else -infinity


class Slopes(NamedTuple):
    """What the mean and the variance of a batch take back from dx: level[c] + slope[c] * (x - mean[c])."""

    level: np.ndarray
    slope: np.ndarray


@kernel
def statistics_kernel(x, x0, sums):
    """sums[chunk, 0, c] and [chunk, 1, c]: the sums over the chunk's rows of x[p, c] - x0[c], and of its square."""
    P, C = x.shape
    for chunk in prange(CHUNKS):
        total = sums[chunk]
        total[:] = 0.0
        for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
            for c in range(C):
                apart = np.float64(x[p, c]) - np.float64(x0[c])
                total[0, c] += apart
                total[1, c] += apart * apart


@kernel
def normalise_kernel(x, norm, out):
    """out, as `Norm` has it; NaN stays NaN."""
    mean, scale, shift, least = norm
    P, C = x.shape
    for p in prange(P):
        for c in range(C):
            value = (x[p, c] - mean[c]) * scale[c] + shift[c]
            out[p, c] = least if value <= least else value


@kernel
def gradients_kernel(dout, x, norm, sums):
    """sums[chunk, 0, c], [chunk, 1, c]: the sums over the chunk's rows of dout[p, c], and times x[p, c] - mean[c].

    dout counts as 0 where the output is `least`.
    """
    mean, scale, shift, least = norm
    P, C = x.shape
    for chunk in prange(CHUNKS):
        total = sums[chunk]
        total[:] = 0.0
        for p in range(chunk * P // CHUNKS, (chunk + 1) * P // CHUNKS):
            for c in range(C):
                apart, d = x[p, c] - mean[c], np.float64(dout[p, c])
                d = 0.0 if apart * scale[c] + shift[c] <= least else d
                total[0, c] += d
                total[1, c] += d * apart


@kernel
def dx_kernel(dout, x, norm, slopes, dx):
    """dx[p, c] = scale[c] * dout[p, c] - level[c] - slope[c] * (x[p, c] - mean[c]), with dout as `gradients_kernel`."""
    mean, scale, shift, least = norm
    level, slope = slopes
    P, C = x.shape
    for p in prange(P):
        for c in range(C):
            apart, d = x[p, c] - mean[c], scale[c] * dout[p, c]
            back = -level[c] - slope[c] * apart
            dx[p, c] = back if apart * scale[c] + shift[c] <= least else back + d


def in_rows(x: np.ndarray) -> tuple[np.ndarray, int]:
    """x (..., C) as rows (P / k, k * C) for a kernel, and k.

    k is how many rows are taken as one: 1, or a power of two that divides their number P.
    """
    C, k = x.shape[-1], 1
    while k * C < LONG_ROW and x.size % (2 * k * C) == 0:
        k *= 2
    return for_kernel(x).reshape(-1, k * C), k


def norm_of(w: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float, least: float) -> Norm:
    """The constants of each channel, from the arguments of `batch_norm_forward`."""
    number = mean.dtype.type
    return Norm(for_kernel(mean), w / np.sqrt(var + number(eps)), for_kernel(b), number(least))


def for_long_rows(norm: Norm, k: int) -> Norm:
    """The constants for k rows that are taken as one."""
    return Norm(np.tile(norm.mean, k), np.tile(norm.scale, k), np.tile(norm.shift, k), norm.least)


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `scratchnet.layers.batch_norm.batch_norm_statistics`."""
    C = x.shape[-1]
    if not x.size:
        return np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    rows, k = in_rows(x)
    x0, sums = rows[0, :C], np.empty((CHUNKS, 2, k * C))
    statistics_kernel(rows, np.tile(x0, k), sums)
    apart, squares = sum_of(sums, k) / (x.size // C)
    return (x0 + apart).astype(x.dtype), np.maximum(squares - apart**2, 0).astype(x.dtype)


def sum_of(sums: np.ndarray, k: int) -> np.ndarray:
    """(2, C): the sums of all chunks (CHUNKS, 2, k * C), and of the k rows that were taken as one."""
    return sums.sum(axis=0).reshape(2, k, -1).sum(axis=1)


def batch_norm_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """See `scratchnet.layers.batch_norm.batch_norm_forward`."""
    return normalised(x, norm_of(w, b, mean, var, eps, least=-np.inf))


def normalised(x: np.ndarray, norm: Norm) -> np.ndarray:
    """Each number of x (..., C) as `Norm` has it."""
    out = np.empty(x.shape, x.dtype)
    if x.size:
        rows, k = in_rows(x)
        normalise_kernel(rows, for_long_rows(norm, k), out.reshape(rows.shape))
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
    norm = norm_of(w, np.zeros_like(w), mean, var, eps, least=-np.inf)
    if training:
        return norm_gradients(dout, x, norm, w, var, eps, need_dx)
    _, dw, db = norm_gradients(dout, x, norm, w, var, eps, need_dx=False)
    return norm.scale * dout if need_dx else None, dw, db


def norm_gradients(
    dout: np.ndarray, x: np.ndarray, norm: Norm, w: np.ndarray, var: np.ndarray, eps: float, need_dx: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """dx, dw and db of `normalised(x, norm)`, where mean and var are those of x, and so move with it."""
    dx, C = np.empty(x.shape, x.dtype) if need_dx else None, x.shape[-1]
    if not x.size:
        return dx, np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    rows, k = in_rows(x)
    drows, constants = for_kernel(dout).reshape(rows.shape), for_long_rows(norm, k)
    sums = np.empty((CHUNKS, 2, k * C))
    gradients_kernel(drows, rows, constants, sums)
    dw, db, slopes = from_sums(sum_of(sums, k), x.size // C, w, var, eps)
    if dx is not None:
        slopes = Slopes(np.tile(slopes.level, k), np.tile(slopes.slope, k))
        dx_kernel(drows, rows, constants, slopes, dx.reshape(rows.shape))
    return dx, dw, db


def from_sums(
    sums: np.ndarray, P: int, w: np.ndarray, var: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, Slopes]:
    """dw, db and the slopes of dx, from the sums of dout and of dout * (x - mean) over P numbers a channel."""
    db, times_apart = sums
    deviation = np.sqrt(var + var.dtype.type(eps)).astype(np.float64)
    dw = times_apart / deviation
    P = max(P, 1)
    level, slope = w / deviation * db / P, w / deviation * dw / (P * deviation)
    dw, db, level, slope = (a.astype(var.dtype) for a in (dw, db, level, slope))
    return dw, db, Slopes(level, slope)
