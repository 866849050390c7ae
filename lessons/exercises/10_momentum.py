"""Exercise 10: a step of SGD with momentum (lesson 9).

    m     = momentum * m + g          a sum of all gradients so far; older ones count less
    value = value - lr * m            with the new m

Return both as new arrays, and do not change the given ones. (The library's `momentum_update` changes them in place, to
save memory.) 2 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 10`, to check it. Hints: `.venv/bin/scratchnet hint 10`.
"""

import numpy as np


def momentum_step(value: np.ndarray, g: np.ndarray, m: np.ndarray, lr: float, momentum: float):
    """The new value and the new m, from the weights `value`, their gradient g and m, all of one shape."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
