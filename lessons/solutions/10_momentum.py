"""An answer to exercise 10: a step of SGD with momentum (lesson 9)."""

import numpy as np


def momentum_step(value: np.ndarray, g: np.ndarray, m: np.ndarray, lr: float, momentum: float):
    """The new value and the new m, from the weights `value`, their gradient g and m, all of one shape."""
    m = momentum * m + g
    return value - lr * m, m
