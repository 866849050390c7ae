"""Exercise 07: backward of a convolution (lesson 6).

    forward:   out[n, i, j, f] = b[f] + sum over kh, kw, c of
                                 padded[n, i*stride + kh, j*stride + kw, c] * w[kh, kw, c, f]

Given dout, find dx, dw and db. The gradient of a number is a sum with one term for each product that the number was a
factor of. dx has the shape of x, so cut off the padding. dout has OH rows and OW columns. 10 to 20 lines, with loops or
with im2col and col2im (exercises 4 and 6; you may copy your answers here).

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 07`, to check it. Hints: `.venv/bin/scratchnet hint 07`.
"""

import numpy as np


def conv2d_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int):
    """dx (N, H, W, C), dw (KH, KW, C, F) and db (F,), from dout (N, OH, OW, F), x (N, H, W, C) and w (KH, KW, C, F)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
