"""Exercise 08: backward of max-pooling (lesson 6).

    forward:   out[n, i, j, c] = the largest of  x[n, i*stride + kh, j*stride + kw, c],  0 <= kh, kw < pool

Only the winner moved the output, so it alone gets the gradient; of equal pixels the first one in row-major order (row
by row, from the left). Where stride < pool the windows overlap, and one pixel may win in several. No padding here:
there are (H - pool) // stride + 1 windows down, and dout has one number for each. Unlike the library's function this
one is not told where the winners are: find them in x. About 8 lines.

Run this file, or `scratchnet check 08`, to check it. Hints: `scratchnet hint 08`.
"""

import numpy as np


def max_pool2d_backward(dout: np.ndarray, x: np.ndarray, pool: int, stride: int) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, C) and the forward's x (N, H, W, C)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
