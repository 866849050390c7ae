"""Layers in one pass over memory: ReLU and the max-pool after it, and a pointwise convolution of one channel before.

Their arithmetic is nothing; what they cost is going through the largest arrays of a network, several times a step.

ReLU and max-pool: the ReLU is applied to each number as the pool reads it, and its output is never written. Backward,
the mask falls on the pool's small gradient instead of the large one: a winner's value is the pool's output, so

    relu_backward(pool_backward(dout), x) = pool_backward(relu_backward(dout, out))

to the last bit. In front of these a pointwise convolution of one channel, as in a depthwise separable network's first
block, has so little to do with each number of its dout that making and reading it takes nearly all of its time. Most of
them are zeros, written by the pool's backward; the convolution's reads the pool's gradient and winners instead.

The layers stay what they are, and hold afterwards what they would hold: `Network.layers`, and the stages that
`Network.steps` shows, know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scratchnet.fast.pointwise import one_channel_backward
from scratchnet.fast.pool import max_pool2d_backward, relu_max_pool2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.layers import Layer, MaxPool2D, PointwiseConv2D, ReLU


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

    def is_current(self) -> bool:
        """Whether nobody has called the two layers one by one since the last forward."""
        return self.pool.argmax is self.argmax

    def winners_gradient(self, dout: np.ndarray) -> np.ndarray:
        """The gradient for the pixels that won, of dout's shape, from that for the pool's output."""
        return relu_backward(self.pool.check_dout(dout), self.out)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the ReLU's input, from that for the pool's output."""
        pool = self.pool
        if not self.is_current():
            dx: np.ndarray = pool.backward(dout)  # type: ignore[assignment]
            return self.relu.backward(dx)
        dout = self.winners_gradient(dout)
        return max_pool2d_backward(dout, pool.argmax, pool.x_shape, pool.pool_size, pool.stride, pool.padding)


class OneChannelReLUMaxPool:
    """A PointwiseConv2D of one channel and the ReLU and MaxPool2D behind it, with a layer's forward and backward."""

    def __init__(self, pointwise: PointwiseConv2D, rest: ReLUMaxPool) -> None:
        self.pointwise, self.rest = pointwise, rest

    @staticmethod
    def fits(pointwise: PointwiseConv2D, pool: MaxPool2D) -> bool:
        """Whether there is one channel, and the pool's windows lie side by side from the first pixel on."""
        windows_touch = pool.stride == pool.pool_size and pool.padding in ((0, 0), "valid")
        return pointwise.in_channels == 1 and windows_touch

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The pool's output for the convolution's input."""
        out = self.rest.forward(self.pointwise.forward(x, training), training)
        self.x = self.pointwise.x
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the convolution's input, from that for the pool's output."""
        pointwise, rest = self.pointwise, self.rest
        if pointwise.x is not self.x or not rest.is_current():
            return pointwise.backward(rest.backward(dout), need_dx)  # type: ignore[arg-type]
        dout = rest.winners_gradient(dout)
        w, _ = pointwise.weights(dout.dtype)
        dx, dw, db = one_channel_backward(dout, rest.argmax, pointwise.x, w, rest.pool.pool_size)
        pointwise.set_gradients(dw, db)
        return dx if need_dx else None


Stage = Layer | ReLUMaxPool | OneChannelReLUMaxPool


def fused(layers: Sequence[Layer]) -> list[Stage]:
    """The layers in their order, those that go together as one."""
    stages: list[Stage] = []
    for layer in layers:
        before = stages[-1] if stages else None
        if type(layer) is not MaxPool2D or type(before) is not ReLU:
            stages.append(layer)
            continue
        stages[-1] = rest = ReLUMaxPool(before, layer)
        first = stages[-2] if len(stages) > 1 else None
        if type(first) is PointwiseConv2D and OneChannelReLUMaxPool.fits(first, layer):
            stages[-2:] = [OneChannelReLUMaxPool(first, rest)]
    return stages
