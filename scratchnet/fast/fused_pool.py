"""Stages that end with a max-pool; see `fused.py`."""

from __future__ import annotations

from functools import partial

import numpy as np

from scratchnet.fast.pointwise import one_channel_backward, one_channel_forward, pointwise_conv2d_forward
from scratchnet.fast.pool import max_pool2d_backward, relu_max_pool2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.fast.stage import Fused
from scratchnet.layers import MaxPool2D, PointwiseConv2D, ReLU


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
