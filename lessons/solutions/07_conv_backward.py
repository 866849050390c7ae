"""An answer to exercise 07: backward of a convolution (lesson 6)."""

import numpy as np


def conv2d_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int):
    """dx (N, H, W, C), dw (KH, KW, C, F) and db (F,), from dout (N, OH, OW, F), x (N, H, W, C) and w (KH, KW, C, F)."""
    _, H, W, _ = x.shape
    KH, KW, _, _ = w.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for i in range(dout.shape[1]):
        for j in range(dout.shape[2]):
            place = np.s_[:, i * stride : i * stride + KH, j * stride : j * stride + KW]
            dw += np.tensordot(padded[place], dout[:, i, j], axes=(0, 0))  # sums over the images
            dpadded[place] += np.tensordot(dout[:, i, j], w, axes=(1, 3))  # sums over the filters
    dx = dpadded[:, padding : padding + H, padding : padding + W]
    return dx, dw, dout.sum(axis=(0, 1, 2))
