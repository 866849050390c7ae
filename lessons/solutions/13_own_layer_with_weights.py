"""Another answer to exercise 13: Scale, with a weight and a bias for each channel."""

import numpy as np

import scratchnet as sn


class MyLayer(sn.Layer):
    """out = x * w + b, where w and b have one number for each channel."""

    kind = "my_layer"

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.channels = channels
        self.w = sn.Parameter("w", np.ones(channels, np.float32))
        self.b = sn.Parameter("b", np.zeros(channels, np.float32))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x = self.check_input(x)
        return x * self.w.value.astype(x.dtype) + self.b.value.astype(x.dtype)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        dout = self.check_dout(dout)
        self.w.grad = (dout * self.x).sum(axis=(0, 1, 2))  # w acts on every example and place: its gradients add up
        self.b.grad = dout.sum(axis=(0, 1, 2))
        return dout * self.w.value.astype(dout.dtype)

    def parameters(self) -> list[sn.Parameter]:
        return [self.w, self.b]

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", self.channels)


def example() -> np.ndarray:
    """An input to check the layer with."""
    return np.random.default_rng(0).standard_normal((3, 4, 5, 2))
