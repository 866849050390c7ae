"""Exercise 02: backward of a dense layer (lesson 3).

    forward:   out[n, o] = b[o] + sum over i of x[n, i] * w[i, o]        out = x @ w + b

Given dout[n, o], the slope of the loss for each output, find the slopes for x, w and b. The slope for a number is the
sum over all paths on which it reaches the loss. 3 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 02`, to check it. Hints: `.venv/bin/scratchnet hint 02`.
"""

import numpy as np


def dense_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray):
    """dx (N, in), dw (in, out) and db (out,), from dout (N, out), x (N, in) and w (in, out)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
