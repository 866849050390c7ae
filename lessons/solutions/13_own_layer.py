"""An answer to exercise 13: Swish."""

import numpy as np

import scratchnet as sn


class MyLayer(sn.Layer):
    """Swish, x * sigmoid(x): Ramachandran et al., 2017, arXiv 1710.05941."""

    kind = "my_layer"

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        return x * _sigmoid(x)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        dout = self.check_dout(dout)
        s = _sigmoid(self.x)
        return dout * (s + self.x * s * (1 - s))  # the product rule; the sigmoid's slope is s * (1 - s)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def example() -> np.ndarray:
    """An input to check the layer with."""
    return np.random.default_rng(0).standard_normal((3, 4, 5, 2))
