"""Exercise 14: backward of batch normalisation (lesson 14).

Each channel c is normalised by the mean and the variance of its N numbers in the batch:

    forward:   mean[c]     = 1/N * sum over n of  x[n, c]
               var[c]      = 1/N * sum over n of  (x[n, c] - mean[c])**2
               x_hat[n, c] = (x[n, c] - mean[c]) / sqrt(var[c] + eps)
               out[n, c]   = w[c] * x_hat[n, c] + b[c]

Given dout, find dx, dw and db. Compute mean, var and x_hat again: backward is given only what is named below. x acts on
x_hat on three paths: directly, through the mean and through the variance. (For images, each pixel of each image is one
of the N rows.) About 8 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 14`, to check it. Hints: `.venv/bin/scratchnet hint 14`.
"""

import numpy as np


def batch_norm_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray, eps: float):
    """dx (N, C), dw (C,) and db (C,), from dout (N, C), x (N, C), w (C,) and eps, a number above 0."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
