"""Layers in one pass over memory: which layers go together is the table `FUSIONS`.

ReLU and max-pool do hardly any arithmetic. What they cost is going through the largest arrays of a network, several
times a step. A layer that goes together with the next one need not write its output.

**ReLU and max-pool.** Forward, the ReLU is applied to each number as the pool reads it, and its output is never
written. Backward, the mask falls on the pool's small gradient instead of the large one. A winner's value is the pool's
output, so

    relu_backward(pool_backward(dout), x) = pool_backward(relu_backward(dout, out))

to the last bit.

**A pointwise convolution of one channel before these**, as in a depthwise separable network's first block. It has so
little work that writing its output, and reading the gradient for it, takes nearly all of its time. Neither is made
here. Forward, each number goes from the multiplication right into the pool's comparison. Backward, the convolution
reads the pool's small gradient and its winners, instead of an array that is mostly zeros.

A stage leaves in its layers what they would hold after a forward pass of their own. An array that it did not write is
left as a function (`Layer.remember_later`), which makes the array when somebody looks at it. So `Network.layers` and
`Network.steps` show the same arrays as on the other engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from scratchnet.fast.pointwise import one_channel_backward, one_channel_forward, pointwise_conv2d_forward
from scratchnet.fast.pool import max_pool2d_backward, relu_max_pool2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.layers import Layer, MaxPool2D, PointwiseConv2D, ReLU


class Fused:
    """Layers that go together as one stage, with a layer's forward and backward.

    A subclass writes `forward_together` and `backward_together`.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self.seen: list[Any] = []

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The last layer's output for the first one's input."""
        out = self.forward_together(x, training)
        self.seen = [layer.seen for layer in self.layers]
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the first layer's input, from that for the last one's output."""
        if self.is_current():
            return self.backward_together(dout, need_dx)
        for layer in reversed(self.layers):
            dout = layer.backward(dout, need_dx or layer is not self.layers[0])  # type: ignore[assignment]
        return dout

    def is_current(self) -> bool:
        """Whether none of the layers has been called by itself since the last forward."""
        # Each forward of a layer makes a new `seen`, so it is the object that counts, and not what it says.
        return [id(seen) for seen in self.seen] == [id(layer.seen) for layer in self.layers]

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        """As `forward`; leaves in the layers what their own forward passes would."""
        raise NotImplementedError

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """As `backward`, after a `forward_together`; fills the parameters' `grad`."""
        raise NotImplementedError


class ReLUMaxPool(Fused):
    """A ReLU and the MaxPool2D behind it."""

    def __init__(self, relu: ReLU, pool: MaxPool2D) -> None:
        super().__init__(relu, pool)
        self.relu, self.pool = relu, pool

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        relu, pool = self.relu, self.pool
        relu.x = relu.check_input(x)
        pool.x_shape = pool.check_input(x).shape
        self.out, pool.argmax = relu_max_pool2d_forward(x, pool.pool_size, pool.stride, pool.padding)
        return self.out

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        pool = self.pool
        dwinners = relu_backward(pool.check_dout(dout), self.out)  # reverses the ReLU, for the pixels that won
        return max_pool2d_backward(dwinners, pool.argmax, pool.x_shape, pool.pool_size, pool.stride, pool.padding)


class OneChannelReLUMaxPool(Fused):
    """A PointwiseConv2D of one channel, and the ReLU and the MaxPool2D behind it."""

    def __init__(self, pointwise: PointwiseConv2D, relu: ReLU, pool: MaxPool2D) -> None:
        super().__init__(pointwise, relu, pool)
        self.pointwise, self.relu, self.pool = pointwise, relu, pool

    @staticmethod
    def fits(pointwise: PointwiseConv2D, relu: ReLU, pool: MaxPool2D) -> bool:
        """Whether there is one channel, and the pool's windows lie side by side from the first pixel on."""
        windows_touch = pool.stride == pool.pool_size and pool.padding in ((0, 0), "valid")
        return pointwise.in_channels == 1 and windows_touch

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        pointwise, relu, pool = self.pointwise, self.relu, self.pool
        pointwise.x = pointwise.check_input(x)
        w, b = pointwise.weights(x.dtype)
        convolved = np.broadcast_to(x, (*x.shape[:3], pointwise.filters))  # stands for its shape and dtype, no more
        relu.check_input(convolved)
        # Copies, since training changes the weights in place.
        relu.remember_later("x", partial(pointwise_conv2d_forward, x, w.copy(), None if b is None else b.copy()))
        pool.x_shape = pool.check_input(convolved).shape
        self.out, pool.argmax = one_channel_forward(x, w, b, pool.pool_size)
        return self.out

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        pointwise, pool = self.pointwise, self.pool
        dwinners = relu_backward(pool.check_dout(dout), self.out)  # reverses the ReLU, for the pixels that won
        w, _ = pointwise.weights(dwinners.dtype)
        dx, dw, db = one_channel_backward(dwinners, pool.argmax, pointwise.x, w, pool.pool_size)
        pointwise.set_gradients(dw, db)
        return dx if need_dx else None


class Fusion(NamedTuple):
    """A rule: layers of these kinds in a row become one stage."""

    kinds: tuple[type[Layer], ...]  #: exactly these; a subclass may compute something else
    make: Callable[..., Fused]  #: the stage, from the layers
    when: Callable[..., bool] = lambda *layers: True  #: whether it can be made of these layers

    def applies(self, layers: Sequence[Layer]) -> bool:
        """Whether the row of layers begins with what this rule puts together."""
        if type(layers[0]) is not self.kinds[0]:  # as nearly always: this is asked for every layer at every forward
            return False
        row = layers[: len(self.kinds)]
        return tuple(map(type, row)) == self.kinds and self.when(*row)


# The first rule that applies is taken, so a longer row stands before a shorter one.
FUSIONS = (
    Fusion((PointwiseConv2D, ReLU, MaxPool2D), make=OneChannelReLUMaxPool, when=OneChannelReLUMaxPool.fits),
    Fusion((ReLU, MaxPool2D), make=ReLUMaxPool),
)


def stages(layers: Sequence[Layer]) -> list[Layer | Fused]:
    """The layers in their order, those that go together as one stage."""
    found: list[Layer | Fused] = []
    rest = list(layers)
    while rest:
        for rule in FUSIONS:
            if rule.applies(rest):
                count = len(rule.kinds)
                found.append(rule.make(*rest[:count]))
                break
        else:
            count = 1
            found.append(rest[0])
        del rest[:count]
    return found
