"""Exercise 11: a step of Adam (lesson 10).

    m = beta1 * m + (1 - beta1) * g             a running mean of the gradient
    s = beta2 * s + (1 - beta2) * g**2          a running mean of its square

Both start at 0, so at step t = 1, 2, ... they are too small by a factor of 1 - beta**t. The update of the weights
divides by this factor; the returned m and s are not divided:

    value = value - lr * (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)

Return all three as new arrays, and do not change the given ones. 4 to 6 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 11`, to check it. Hints: `.venv/bin/scratchnet hint 11`.
"""

import numpy as np


def adam_step(
    value: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
):
    """The new value, m and s, from the weights `value`, their gradient g, m and s, all of one shape."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
