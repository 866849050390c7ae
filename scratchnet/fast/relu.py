"""ReLU: one pass over memory, shared by the threads. Memory bandwidth is its limit."""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import for_kernel, kernel


@kernel
def forward_kernel(x, out):
    """out[i] = max(x[i], 0), and NaN where x is NaN."""
    for i in prange(x.size):
        out[i] = 0 if x[i] <= 0 else x[i]


@kernel
def backward_kernel(dout, x, dx):
    """dx[i] = dout[i] where x[i] > 0, else 0."""
    for i in prange(x.size):
        dx[i] = dout[i] if x[i] > 0 else 0


def relu_forward(x: np.ndarray) -> np.ndarray:
    """See `scratchnet.layers.relu.relu_forward`."""
    x = for_kernel(x)
    out = np.empty_like(x)
    forward_kernel(x.reshape(-1), out.reshape(-1))
    return out


def relu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    """See `scratchnet.layers.relu.relu_backward`."""
    dout, x = for_kernel(dout), for_kernel(x)
    dx = np.empty_like(dout)
    backward_kernel(dout.reshape(-1), x.reshape(-1), dx.reshape(-1))
    return dx
