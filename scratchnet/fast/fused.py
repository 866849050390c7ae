"""Layers in one pass over memory: ReLU and the max-pool after it, and a pointwise convolution of one channel before.

Their arithmetic is nothing; what they cost is going through the largest arrays of a network, several times a step.

ReLU and max-pool: the ReLU is applied to each number as the pool reads it, and its output is never written. Backward,
the mask falls on the pool's small gradient instead of the large one: a winner's value is the pool's output, so

    relu_backward(pool_backward(dout), x) = pool_backward(relu_backward(dout, out))

to the last bit. In front of these a pointwise convolution of one channel, as in a depthwise separable network's first
block, is so little work that writing its output, and reading the gradient for it, takes nearly all of its time. Neither
is ever made: forward, each number goes from the multiplication right into the pool's comparison; backward, the
convolution reads the pool's small gradient and its winners, instead of an array that is most of it zeros.

The layers stay what they are, and hold afterwards what they would hold, the ReLU's part as something that is computed
`Later`: `Network.layers`, and the stages that `Network.steps` shows, know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchnet.fast.pointwise import one_channel_backward, one_channel_forward, pointwise_conv2d_forward
from scratchnet.fast.pool import max_pool2d_backward, relu_max_pool2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.layers import Layer, MaxPool2D, PointwiseConv2D, ReLU


class Later:
    """An array that is computed when somebody looks at it first.

    What the ReLU of the three layers holds: only its own backward needs it, which is not called as long as they go
    together, and to write it would take longer than all the rest of their forward pass.
    """

    def __init__(self, function: Callable[..., np.ndarray], *arguments: np.ndarray | None) -> None:
        self.function, self.arguments = function, arguments
        self.array: np.ndarray | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.array is None:
            self.array = self.function(*self.arguments)
        array = np.asarray(self.array, dtype)
        return array.copy() if copy else array

    def __gt__(self, other: Any) -> np.ndarray:
        return np.asarray(self) > other

    def __repr__(self) -> str:
        return repr(np.asarray(self))


class ReLUMaxPool:
    """A ReLU and the MaxPool2D behind it, with a layer's forward and backward."""

    def __init__(self, relu: ReLU, pool: MaxPool2D) -> None:
        self.relu, self.pool = relu, pool

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The pool's output for the ReLU's input."""
        pool = self.pool
        self.accept(x)
        return self.remember(x, *relu_max_pool2d_forward(x, pool.pool_size, pool.stride, pool.padding))

    def accept(self, x: np.ndarray) -> None:
        """Have both layers check an input, or an array of its shape and dtype."""
        self.relu.check_input(x)
        self.pool.x_shape = self.pool.check_input(x).shape

    def remember(self, x: np.ndarray | Later, out: np.ndarray, argmax: np.ndarray) -> np.ndarray:
        """Have both layers hold what a forward pass from x to out leaves; returns out."""
        self.relu.x = x  # type: ignore[assignment]
        self.out, self.argmax = out, argmax
        self.pool.argmax = argmax
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
        pointwise, rest = self.pointwise, self.rest
        self.x = pointwise.x = pointwise.check_input(x)
        rest.accept(np.broadcast_to(x, (*x.shape[:3], pointwise.filters)))
        w, b = pointwise.weights(x.dtype)
        convolved = Later(pointwise_conv2d_forward, x, w.copy(), None if b is None else b.copy())
        return rest.remember(convolved, *one_channel_forward(x, w, b, rest.pool.pool_size))

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
