"""An answer to exercise 08: backward of max-pooling (lesson 6)."""

import numpy as np


def max_pool2d_backward(dout: np.ndarray, x: np.ndarray, pool: int, stride: int) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, C) and the input of the forward pass, x (N, H, W, C)."""
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dout.shape):
        top, left = i * stride, j * stride
        window = x[n, top : top + pool, left : left + pool, c]
        kh, kw = divmod(window.argmax(), pool)
        dx[n, top + kh, left + kw, c] += dout[n, i, j, c]
    return dx
