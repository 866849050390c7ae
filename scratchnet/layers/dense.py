"""Dense layer: every output is a weighted sum of all inputs.

    out[n, o] = b[o] + sum over i of  x[n, i] * w[i, o]           out = x @ w + b

n runs over the examples, i over the inputs and o over the outputs.

Backward, given dout, the gradient of the loss with respect to out. The chain rule sums over every path to the loss.
b[o] and w[i, o] are used in all N examples, x[n, i] in all outputs:

    db[o]    = sum over n of  dout[n, o]               = sum of dout's rows
    dw[i, o] = sum over n of  x[n, i] * dout[n, o]     = x^T @ dout
    dx[n, i] = sum over o of  dout[n, o] * w[i, o]     = dout @ w^T

Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986, eq. 1 and 4 to 7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Shape, WeightedLayer
from scratchnet.settings import flag, positive


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Weighted sums of all inputs.

    Parameters
    ----------
    x : (N, in), examples.
    w : (in, out), weights.
    b : (out,), biases, or None.

    Returns
    -------
    out : (N, out).
    """
    out = x @ w
    if b is not None:
        out += b
    return out


def dense_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of a dense layer.

    Parameters
    ----------
    dout : (N, out), the gradient with respect to the output.
    x, w : as given to `dense_forward`.
    need_dx : bool
        If false, dx is not computed and is None.

    Returns
    -------
    dx : (N, in), dw : (in, out), db : (out,).
    """
    db = dout.sum(axis=0)  # reverses out += b
    dw = x.T @ dout  # reverses x @ w, for w
    dx = dout @ w.T if need_dx else None  # reverses x @ w, for x
    return dx, dw, db


class Dense(WeightedLayer):
    """A fully connected layer.

    Parameters
    ----------
    in_features, out_features : int
        Size of one example before and after the layer.
    bias : bool
        Whether each output has a bias.
    init, rng :
        As for `Conv2D`.

    Raises
    ------
    ValueError
        If an argument is out of range; TypeError or ValueError from `forward` if the input does not fit.
    """

    kind = "dense"
    formulas = Formulas(
        forward=["out = x @ w + b"],
        backward=["db = sum of dout's rows", "dw = x^T @ dout", "dx = dout @ w^T"],
    )

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, init: str = "glorot_uniform", rng: Any = 0
    ) -> None:
        super().__init__()
        self.in_features = positive(self.name, "in_features", in_features)
        self.out_features = positive(self.name, "out_features", out_features)
        self.bias = flag(self.name, "bias", bias)
        fan_in, outputs = self.in_features, self.out_features
        self.draw_parameters((fan_in, outputs), fan_in, outputs * self.bias, init, rng)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        w, b = self.weights(x.dtype)
        return ops.dense_forward(x, w, b)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        w, _ = self.weights(dout.dtype)
        dx, dw, db = ops.dense_backward(dout, self.x, w, need_dx=need_dx)
        self.set_gradients(dw, db)
        return dx

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", self.in_features)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.out_features,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.in_features * self.out_features
