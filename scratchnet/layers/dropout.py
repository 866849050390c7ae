"""Dropout: training sets each number to 0 with probability `rate`, so that the network cannot rely on any single one.

    mask = 0 with probability rate, else 1 / (1 - rate)
    out  = x * mask

The numbers that are kept are scaled by 1 / (1 - rate), so that the expected output is x ("inverted" dropout). Outside
training the layer returns x unchanged.

Backward: x was multiplied by the mask, so the gradient is multiplied by the same mask:

    dx = dout * mask

A seed makes a Philox generator. It computes any part of its stream without the parts before it, so that the mirror's
threads share the work, and still draw the same mask.

Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer, State
from scratchnet.settings import below_one, generator


def dropout_forward(x: np.ndarray, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Drop numbers at random, and scale the rest.

    Parameters
    ----------
    x : ndarray of any shape.
    rate : float
        Probability that a number is dropped, 0 <= rate < 1.
    rng : numpy.random.Generator
        Advanced by x.size draws, the same ones for float32 and float64.

    Returns
    -------
    out, mask : both of x's shape and dtype; out = x * mask, and mask holds 0 and 1 / (1 - rate).
    """
    keep = rng.random(x.shape, dtype=np.float32) >= rate
    mask = keep.astype(x.dtype) / x.dtype.type(1 - rate)
    return x * mask, mask


def dropout_backward(dout: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gradient of dropout: dx, from dout and the forward's mask, all of one shape."""
    return dout * mask  # reverses x * mask


class Dropout(Layer):
    """Inverted dropout for an input of any shape; the identity outside training.

    Parameters
    ----------
    rate : float
        Probability that a number is dropped, 0 <= rate < 1.
    rng : numpy.random.Generator or int
        Where the masks are drawn from: a generator, or the seed of a new Philox.

    Raises
    ------
    ValueError
        If the rate is not in [0, 1).
    """

    kind = "dropout"
    formulas = Formulas(
        forward=["mask = 0 with probability rate, else 1 / (1 - rate)", "out = x * mask"],
        backward=["dx = dout * mask"],
    )

    def __init__(self, rate: float, *, rng: Any = 0) -> None:
        super().__init__()
        self.rate = below_one(self.name, "rate", rate)
        self.rng = generator(self.name, "rng", rng, np.random.Philox)
        self.mask: np.ndarray | None = None  # None: the last forward was the identity

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.check_input(x)
        if not training:
            self.mask = None
            return x
        out, self.mask = ops.dropout_forward(x, self.rate, self.rng)
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        if self.mask is None:
            return dout
        return ops.dropout_backward(dout, self.mask)

    def state(self) -> State:
        return {"rng": self.rng}
