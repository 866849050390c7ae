"""An answer to exercise 04: patches as rows (lesson 5)."""

import numpy as np


def im2col(x: np.ndarray, kernel_size: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """columns (N*OH*OW, KH*KW*C), from images x (N, H, W, C) and a kernel_size of (KH, KW)."""
    N, H, W, C = x.shape
    KH, KW = kernel_size
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.empty((N, OH, OW, KH, KW, C), x.dtype)
    for i in range(OH):
        for j in range(OW):
            patches[:, i, j] = padded[:, i * stride : i * stride + KH, j * stride : j * stride + KW]
    return patches.reshape(N * OH * OW, KH * KW * C)
