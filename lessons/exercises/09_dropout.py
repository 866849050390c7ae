"""Exercise 09: dropout, forward and backward (lesson 7).

In training, each number is dropped with probability `rate`. The others are scaled, so that the expected output is x:

    mask = 0 where draws < rate, else 1 / (1 - rate)
    out  = x * mask

Outside training, nothing is dropped or scaled: out has the numbers of x, and the mask is all ones. The random numbers
`draws`, uniform in [0, 1), are given, so that your result can be compared. 2 to 5 lines for forward, 1 for backward.

Run this file, or `.venv/bin/scratchnet check 09`, to check it. Hints: `.venv/bin/scratchnet hint 09`.
"""

import numpy as np


def dropout_forward(x: np.ndarray, draws: np.ndarray, rate: float, training: bool):
    """out and mask, both of the shape and dtype of x, from x and draws, which have the same shape."""
    raise NotImplementedError("write this function, and delete this line")


def dropout_backward(dout: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """dx, of the same shape as dout and mask."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
