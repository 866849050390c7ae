"""An answer to exercise 11: a step of Adam (lesson 10)."""

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
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)
    return value - lr * m_hat / (np.sqrt(s_hat) + eps), m, s
