"""Exercise 07: backward of a convolution (lesson 5).

    forward:   out[n, i, j, f] = b[f] + sum over kh, kw, c of
                                 padded[n, i*stride + kh, j*stride + kw, c] * w[kh, kw, c, f]

Given dout, find dx, dw and db. Every number gets the sum over all the products that it was a factor of. dx has the
shape of x: the padding's part is dropped. OH and OW are the sizes of dout. 10 to 20 lines, with loops or with im2col
and col2im (exercises 4 and 6, whose answers you may copy here).

Run this file, or `scratchnet check 07`, to check it. Hints: `scratchnet hint 07`.
"""

import numpy as np


def conv2d_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int):
    """dx (N, H, W, C), dw (KH, KW, C, F) and db (F,), from dout (N, OH, OW, F), x (N, H, W, C) and w (KH, KW, C, F)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
