"""Pointwise convolution: the pixels are the rows of A, each a stretch of C numbers, and the tile does the rest."""

from __future__ import annotations

import numpy as np

from scratchnet.fast.dense import rows_times
from scratchnet.fast.product import weight_gradient


def pointwise_conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_forward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    return rows_times(np.ascontiguousarray(x).reshape(N * H * W, C), w.reshape(C, F), b).reshape(N, H, W, F)


def pointwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_backward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    dout, x = np.ascontiguousarray(dout), np.ascontiguousarray(x)
    # A 1 x 1 kernel at all H*W pixels: row c of the result begins at channel c, and the next pixel is C further.
    dw, db = weight_gradient(x.reshape(-1), H * W * C, np.arange(C), 1, 0, H * W, C, dout.reshape(N, H * W, F))
    dx = rows_times(dout.reshape(N * H * W, F), w.reshape(C, F).T, None).reshape(x.shape) if need_dx else None
    return dx, dw.reshape(w.shape), db
