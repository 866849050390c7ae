"""ReLU: negative numbers become 0, all others stay the same.

    out = max(x, 0)

Backward: the slope is 1 where x > 0, and 0 elsewhere:

    dx = dout where x > 0, else 0

At x = 0 the slope is not defined. It is taken to be 0, as in other frameworks. NaN stays NaN, so that it is noticed.

Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
"""

from __future__ import annotations

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer


def relu_forward(x: np.ndarray) -> np.ndarray:
    """max(x, 0), entry by entry: x of any shape, out of the same shape."""
    return np.maximum(x, 0)


def relu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of ReLU: dx, from dout and the forward's input x, all of one shape."""
    return np.where(x > 0, dout, 0)


class ReLU(Layer):
    """max(x, 0) for an input of any shape."""

    kind = "relu"
    formulas = Formulas(
        forward=["out = max(x, 0)"],
        backward=["dx = dout where x > 0, else 0"],
    )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        return ops.relu_forward(x)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        return ops.relu_backward(dout, self.x)
