"""Exercise 03: backward of ReLU (lesson 3).

    forward:   out = max(x, 0), entry by entry

Given dout, find dx. At x = 0 there is no single slope; by convention it is 0. dout belongs to the caller, so do not
change it. 1 line.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 03`, to check it. Hints: `.venv/bin/scratchnet hint 03`.
"""

import numpy as np


def relu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx, of the same shape as dout and x."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
