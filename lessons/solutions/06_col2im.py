"""An answer to exercise 06: rows back to an image (lesson 6)."""

import numpy as np


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """dx (N, H, W, C), from columns (N*OH*OW, KH*KW*C), x_shape (N, H, W, C) and a kernel_size of (KH, KW)."""
    N, H, W, C = x_shape
    KH, KW = kernel_size
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    patches = columns.reshape(N, OH, OW, KH, KW, C)
    dpadded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), columns.dtype)
    for i in range(OH):
        for j in range(OW):
            dpadded[:, i * stride : i * stride + KH, j * stride : j * stride + KW] += patches[:, i, j]
    return dpadded[:, padding : padding + H, padding : padding + W]
