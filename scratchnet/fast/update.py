"""The updates of weights and of their average, each in one pass over memory. NumPy makes one for each operation."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numba import prange

from scratchnet import average as book
from scratchnet import optim
from scratchnet.fast.compiled import kernel


class AdamNumbers(NamedTuple):
    """The numbers of one step of Adam, the same for all weights."""

    step: np.floating  #: lr / (1 - beta1^t)
    beta1: np.floating
    beta2: np.floating
    correction: np.floating  #: 1 - beta2^t
    eps: np.floating
    one: np.floating  #: 1


@kernel
def sgd_kernel(value, g, lr):
    """v -= lr * g."""
    for i in prange(value.size):
        value[i] -= lr * g[i]


@kernel
def momentum_kernel(value, g, m, lr, momentum, nesterov):
    """m = momentum * m + g;  v -= lr * m, or Nesterov's lr * (g + momentum * m)."""
    for i in prange(value.size):
        m[i] = momentum * m[i] + g[i]
        value[i] -= lr * (g[i] + momentum * m[i] if nesterov else m[i])


@kernel
def adam_kernel(value, g, m, s, numbers):
    """As `adam_update`. numbers : `AdamNumbers`, in the arrays' dtype."""
    step, beta1, beta2, correction, eps, one = numbers
    for i in prange(value.size):
        m[i] = beta1 * m[i] + (one - beta1) * g[i]
        s[i] = beta2 * s[i] + (one - beta2) * (g[i] * g[i])
        value[i] -= step * m[i] / (np.sqrt(s[i] / correction) + eps)


@kernel
def average_kernel(average, value, share):
    """average += share * (value - average)."""
    for i in prange(value.size):
        average[i] += share * (value[i] - average[i])


def one_kind(*arrays: np.ndarray) -> bool:
    """Whether a kernel can take the arrays: contiguous, writable, of one shape and dtype, and apart in memory.

    All others are left to NumPy, which also has the errors for arrays that do not fit.
    """
    kinds = {(a.shape, a.dtype, a.flags.carray) for a in arrays}
    return kinds == {(arrays[0].shape, arrays[0].dtype, True)} and not any(
        np.may_share_memory(a, b) for a, b in combinations(arrays, 2)
    )


def sgd_update(value: np.ndarray, g: np.ndarray, lr: float) -> None:
    """See `scratchnet.optim.sgd_update`."""
    if one_kind(value, g):
        sgd_kernel(value.reshape(-1), g.reshape(-1), value.dtype.type(lr))
    else:
        optim.sgd_update(value, g, lr)


def momentum_update(
    value: np.ndarray, g: np.ndarray, m: np.ndarray, lr: float, momentum: float, nesterov: bool
) -> None:
    """See `scratchnet.optim.momentum_update`."""
    if one_kind(value, g, m):
        number = value.dtype.type
        momentum_kernel(value.reshape(-1), g.reshape(-1), m.reshape(-1), number(lr), number(momentum), nesterov)
    else:
        optim.momentum_update(value, g, m, lr, momentum, nesterov)


def adam_update(
    value: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    """See `scratchnet.optim.adam_update`."""
    if one_kind(value, g, m, s):
        (beta1, beta2), number = betas, value.dtype.type
        scalars = (lr / (1 - beta1**t), beta1, beta2, 1 - beta2**t, eps, 1)
        numbers = AdamNumbers(*map(number, scalars))
        adam_kernel(value.reshape(-1), g.reshape(-1), m.reshape(-1), s.reshape(-1), numbers)
    else:
        optim.adam_update(value, g, m, s, lr, betas, eps, t)


def average_update(average: np.ndarray, value: np.ndarray, decay: float) -> None:
    """See `scratchnet.average.average_update`."""
    if one_kind(average, value):
        average_kernel(average.reshape(-1), value.reshape(-1), value.dtype.type(1 - decay))
    else:
        book.average_update(average, value, decay)
