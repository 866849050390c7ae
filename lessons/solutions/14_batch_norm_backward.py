"""An answer to exercise 14: backward of batch normalisation (lesson 14)."""

import numpy as np


def batch_norm_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, eps: float):
    """dx (N, C), dw (C,) and db (C,), from dout (N, C), x (N, C), w (C,) and eps, a number above 0."""
    N = len(x)
    centred = x - x.mean(axis=0)
    var = (centred**2).mean(axis=0)
    deviation = np.sqrt(var + eps)
    x_hat = centred / deviation
    dx_hat = dout * w  # reverses w * x_hat
    dvar = (dx_hat * centred).sum(axis=0) * -0.5 / deviation**3  # reverses (var + eps)**-0.5
    dmean = -dx_hat.sum(axis=0) / deviation  # reverses x - mean
    dx = dx_hat / deviation + dmean / N + dvar * 2 * centred / N  # the three paths
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
