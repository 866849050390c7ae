"""An answer to exercise 12: backward of a depthwise convolution (lesson 13)."""

import numpy as np


def depthwise_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int):
    """dx (N, H, W, C) and dw (KH, KW, C), from dout (N, OH, OW, C), x (N, H, W, C) and w (KH, KW, C)."""
    _, H, W, _ = x.shape
    KH, KW, _ = w.shape
    _, OH, OW, _ = dout.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for kh in range(KH):
        for kw in range(KW):
            met = np.s_[:, kh : kh + (OH - 1) * stride + 1 : stride, kw : kw + (OW - 1) * stride + 1 : stride]
            dw[kh, kw] = (padded[met] * dout).sum(axis=(0, 1, 2))
            dpadded[met] += dout * w[kh, kw]
    return dpadded[:, padding : padding + H, padding : padding + W], dw
