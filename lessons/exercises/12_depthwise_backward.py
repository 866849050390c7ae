"""Exercise 12: backward of a depthwise convolution (lesson 13).

Each channel has its own filter, and sees no other channel:

    forward:   out[n, i, j, c] = sum over kh, kw of  padded[n, i*stride + kh, j*stride + kw, c] * w[kh, kw, c]

Given dout, find dx and dw. About 10 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 12`, to check it. Hints: `.venv/bin/scratchnet hint 12`.
"""

import numpy as np


def depthwise_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int):
    """dx (N, H, W, C) and dw (KH, KW, C), from dout (N, OH, OW, C), x (N, H, W, C) and w (KH, KW, C)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
