"""Exercise 13: a layer of your own (lesson 15).

Write any layer you like. The checker has no answer to compare it with. It checks what every layer has to do:

    - MyLayer() makes one: each argument of the constructor has a default, and self keeps it under the same name;
    - a constructor begins with super().__init__(), and parameters() lists every sn.Parameter;
    - forward begins with x = self.check_input(x), backward with dout = self.check_dout(dout);
    - neither changes the array that it is given, and each example is computed on its own;
    - the output and the gradients have the dtype of the input (float32 in, float32 out);
    - backward returns dx and sets p.grad (=, not +=) of each parameter, and may be called twice;
    - output_shape(self, input_shape) gives one example's shape, without N; leave it out if the shape stays the same;
    - the gradients agree with measured slopes (`sn.gradcheck`).

Some ideas, from easy to less easy:

    LeakyReLU     out = x where x > 0, else 0.01 * x
    Swish         out = x / (1 + exp(-x))
    Scale         out = x * w + b, one w and one b for each channel    (two parameters: see sn.Parameter)
    GlobalMean    out (N, C) = the mean over an image's pixels         (another shape: define output_shape)

`scratchnet/layers/relu.py` is a complete layer to learn from, `scratchnet/layers/dense.py` one with weights. 10 to 30
lines.

Run this file, or `.venv/bin/scratchnet check 13`, to check it. Hints: `.venv/bin/scratchnet hint 13`.
"""

import numpy as np

import scratchnet as sn


class MyLayer(sn.Layer):
    """Say what your layer does, in a formula."""

    kind = "my_layer"

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Return the output for a batch x (N, ...), and keep in self what backward needs."""
        x = self.check_input(x)
        raise NotImplementedError("write this function, and delete this line")

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        """Return dx (the shape of x) from dout (the shape of the output), and set p.grad of each parameter."""
        dout = self.check_dout(dout)
        raise NotImplementedError("write this function, and delete this line")


def example() -> np.ndarray:
    """An input to check the layer with. Change its shape if your layer needs another."""
    return np.random.default_rng(0).standard_normal((3, 4, 5, 2))


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
