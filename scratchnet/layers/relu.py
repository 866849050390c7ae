"""ReLU: negative numbers become 0, all others stay.

    out = max(x, 0)

Backward: where x > 0 the output moves as the input does, elsewhere it does not move at all:

    dx = dout where x > 0, else 0

At x = 0 the slope has no single value; 0 is taken there, as the frameworks do. NaN stays NaN, so that it is noticed.

Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
"""

from __future__ import annotations

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer


def relu_forward(x: np.ndarray) -> np.ndarray:
    """max(x, 0), entry by entry: an array of any shape in, one of the same shape out."""
    return np.maximum(x, 0)


def relu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of ReLU: dx, of the shape that dout and x have, from the gradient dout and the forward's input x."""
    return dout * (x > 0)


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
