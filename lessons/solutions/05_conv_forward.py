"""An answer to exercise 05: convolution (lesson 5)."""

import numpy as np


def conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """out (N, OH, OW, F), from images x (N, H, W, C), filters w (KH, KW, C, F) and biases b (F,)."""
    N, H, W, _ = x.shape
    KH, KW, _, F = w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out = np.empty((N, OH, OW, F), x.dtype)
    for i in range(OH):
        for j in range(OW):
            patch = padded[:, i * stride : i * stride + KH, j * stride : j * stride + KW]  # (N, KH, KW, C)
            out[:, i, j] = np.tensordot(patch, w, axes=3) + b
    return out
