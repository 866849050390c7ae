"""Two layers in one pass over memory: ReLU and the max-pool after it.

Their arithmetic is nothing; what they cost is going through the largest arrays of a network, four times a step. Taken
together, the ReLU is applied to each number as the pool reads it, and its output is never written. Backward, the mask
falls on the pool's small gradient instead of the large one: a winner's value is the pool's output, so

    relu_backward(pool_backward(dout), x) = pool_backward(relu_backward(dout, out))

to the last bit. The layers stay what they are, and hold afterwards what they would hold: `Network.layers`, and the
stages that `Network.steps` shows, know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scratchnet.fast.pool import max_pool2d_backward, relu_max_pool2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.layers import Layer, MaxPool2D, ReLU


class ReLUMaxPool:
    """A ReLU and the MaxPool2D behind it, with a layer's forward and backward."""

    def __init__(self, relu: ReLU, pool: MaxPool2D) -> None:
        self.relu, self.pool = relu, pool

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The pool's output for the ReLU's input."""
        relu, pool = self.relu, self.pool
        relu.x = relu.check_input(x)
        pool.x_shape = pool.check_input(x).shape
        out, pool.argmax = relu_max_pool2d_forward(x, pool.pool_size, pool.stride, pool.padding)
        self.out, self.argmax = out, pool.argmax
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the ReLU's input, from that for the pool's output."""
        pool = self.pool
        if pool.argmax is not self.argmax:  # somebody has called the two layers one by one since
            dx: np.ndarray = pool.backward(dout)  # type: ignore[assignment]
            return self.relu.backward(dx)
        dout = relu_backward(pool.check_dout(dout), self.out)
        return max_pool2d_backward(dout, pool.argmax, pool.x_shape, pool.pool_size, pool.stride, pool.padding)


def paired(layers: Sequence[Layer]) -> list[Layer | ReLUMaxPool]:
    """The layers in their order, each ReLU and the max-pool behind it as one."""
    stages: list[Layer | ReLUMaxPool] = []
    for layer in layers:
        if type(layer) is MaxPool2D and stages and type(stages[-1]) is ReLU:
            stages[-1] = ReLUMaxPool(stages[-1], layer)
        else:
            stages.append(layer)
    return stages
