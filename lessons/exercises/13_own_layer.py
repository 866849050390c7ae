"""Exercise 13: a layer of your own (lesson 10).

Any layer you like. The checker has no answer to compare with; it checks what every layer promises: gradients that agree
with measured slopes (`sn.gradcheck`), a kept dtype, inputs left alone, a backward that may be called twice, and
`output_shape`. Some ideas, from easy to less easy:

    LeakyReLU     out = x where x > 0, else 0.01 * x
    Swish         out = x / (1 + exp(-x))
    Scale         out = x * w + b, one w and one b for each channel    (two parameters: see sn.Parameter)
    GlobalMean    out (N, C) = the mean over an image's pixels         (another shape: define output_shape)

`scratchnet/layers/relu.py` is a complete layer to learn from. 10 to 30 lines.

Run this file, or `scratchnet check 13`, to check it. Hints: `scratchnet hint 13`.
"""

import numpy as np

import scratchnet as sn


class MyLayer(sn.Layer):
    """What it does, in a formula."""

    kind = "my_layer"

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The layer's output for a batch x (N, ...); keep what backward needs in self."""
        x = self.check_input(x)
        raise NotImplementedError("write this function, and delete this line")

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        """dx, of x's shape, from dout, of the output's shape; fill p.grad of each parameter, if there are any."""
        dout = self.check_dout(dout)
        raise NotImplementedError("write this function, and delete this line")


def example() -> np.ndarray:
    """An input to check the layer with; change its shape if your layer wants another."""
    return np.random.default_rng(0).standard_normal((3, 4, 5, 2))


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
