"""Exercise 09: dropout, forward and backward (lesson 6).

In training each number is dropped with probability `rate`, and the others are scaled so that the expected output is x:

    mask = 0 where draws < rate, else 1 / (1 - rate)
    out  = x * mask

Outside training nothing is dropped and nothing scaled: out holds the numbers of x, and the mask is all ones. The random
`draws`, uniform in [0, 1), are given, so that the answer can be compared. 2 to 5 lines, and 1.

Run this file, or `scratchnet check 09`, to check it. Hints: `scratchnet hint 09`.
"""

import numpy as np


def dropout_forward(x: np.ndarray, draws: np.ndarray, rate: float, training: bool):
    """out and mask, both of x's shape and dtype, from x and draws of any one shape."""
    raise NotImplementedError("write this function, and delete this line")


def dropout_backward(dout: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """dx, of the shape that dout and mask have."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
