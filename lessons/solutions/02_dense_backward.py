"""An answer to exercise 02: backward of a dense layer (lesson 3)."""

import numpy as np


def dense_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray):
    """dx (N, in), dw (in, out) and db (out,), from dout (N, out), x (N, in) and w (in, out)."""
    dx = dout @ w.T
    dw = x.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db
