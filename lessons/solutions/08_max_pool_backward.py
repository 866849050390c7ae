"""An answer to exercise 08: backward of max-pooling (lesson 7)."""

import numpy as np


def max_pool2d_backward(dout: np.ndarray, x: np.ndarray, pool: int, stride: int) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, C) and the input of the forward pass, x (N, H, W, C)."""
    N, OH, OW, C = dout.shape
    dx = np.zeros_like(x)
    n, c = np.ogrid[:N, :C]
    for i, j in np.ndindex(OH, OW):
        top, left = i * stride, j * stride
        window = x[:, top : top + pool, left : left + pool].reshape(N, pool * pool, C)
        kh, kw = divmod(window.argmax(axis=1), pool)  # (N, C): of equal pixels the first
        dx[n, top + kh, left + kw, c] += dout[:, i, j]  # windows may overlap
    return dx
