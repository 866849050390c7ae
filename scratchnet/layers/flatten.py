"""Flatten: images become rows, so that a dense layer can take them.

    out[n, (h*W + w)*C + c] = x[n, h, w, c]

Only the shape changes, and backward changes it back. So this layer has no kernels.
"""

from __future__ import annotations

import math

import numpy as np

from scratchnet.layers.base import Formulas, Layer, Shape


class Flatten(Layer):
    """(N, H, W, C) to (N, H*W*C), in row-major order; any other axes likewise."""

    kind = "flatten"
    formulas = Formulas(
        forward=["out[n, (h*W + w)*C + c] = x[n, h, w, c]"],
        backward=["dx[n, h, w, c] = dout[n, (h*W + w)*C + c]"],
    )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x_shape = self.check_input(x).shape
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        return dout.reshape(self.x_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)
