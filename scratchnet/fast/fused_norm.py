"""Stages with batch normalisation; see `fused.py`. Outside training only forward is fused; backward goes one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from scratchnet.fast.batch_norm import Norm, batch_norm_statistics, norm_gradients, norm_of, normalised
from scratchnet.fast.batch_norm_pool import norm_max_backward, norm_max_forward
from scratchnet.fast.fused_pool import OneChannelReLUMaxPool
from scratchnet.fast.pointwise import one_channel_backward, one_channel_forward, pointwise_conv2d_forward
from scratchnet.fast.relu import relu_backward
from scratchnet.fast.stage import Fused
from scratchnet.layers import BatchNorm, MaxPool2D, PointwiseConv2D, ReLU
from scratchnet.layers.pool import pool_window


class NormReLU(Fused):
    """A BatchNorm and the ReLU behind it. Backward in training; outside it, the layers go one by one."""

    def __init__(self, norm: BatchNorm, relu: ReLU) -> None:
        super().__init__(norm, relu)
        self.norm, self.relu = norm, relu

    def goes_back_together(self) -> bool:
        return self.norm.in_training

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.constants = forward_but_for_arrays(self.norm, self.relu, x, training)
        return normalised(x, self.constants)

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        norm = self.norm
        w, _ = norm.weights(norm.x.dtype)
        dx, dw, db = norm_gradients(self.relu.check_dout(dout), norm.x, self.constants, w, norm.var, norm.eps, need_dx)
        norm.set_gradients(dw, db)
        return dx


class NormReLUMaxPool(Fused):
    """A BatchNorm, and the ReLU and the MaxPool2D behind it. Backward as `NormReLU`."""

    def __init__(self, norm: BatchNorm, relu: ReLU, pool: MaxPool2D) -> None:
        super().__init__(norm, relu, pool)
        self.norm, self.relu, self.pool = norm, relu, pool

    def goes_back_together(self) -> bool:
        return self.norm.in_training

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        pool = self.pool
        self.constants = forward_but_for_arrays(self.norm, self.relu, x, training)
        pool.x_shape = pool.check_input(x).shape
        self.window = pool_window(x.shape[1:3], pool.pool_size, pool.stride, pool.padding)
        self.out, pool.argmax = norm_max_forward(x, self.constants, self.window)
        return self.out

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        norm, pool = self.norm, self.pool
        w, _ = norm.weights(norm.x.dtype)
        dwinners = relu_backward(pool.check_dout(dout), self.out)  # reverses the ReLU, for the pixels that won
        dx, dw, db = norm_max_backward(
            dwinners, pool.argmax, norm.x, self.constants, self.window, w, norm.var, norm.eps, need_dx
        )
        norm.set_gradients(dw, db)
        return dx


def forward_but_for_arrays(norm: BatchNorm, relu: ReLU, x: np.ndarray, training: bool) -> Norm:
    """Leave in both layers what their forward would; returns what they do to each number of x."""
    norm.x, norm.in_training = norm.check_input(x), training
    norm.find_statistics(x)
    relu.check_input(x)
    constants = constants_of(norm, x.dtype)
    relu.remember_later("x", partial(normalised, x, constants))
    return constants._replace(least=x.dtype.type(0))


def constants_of(norm: BatchNorm, dtype: np.dtype) -> Norm:
    """What the layer does to each number after its mean and variance are found."""
    w, b = (p.value.astype(dtype) for p in norm.parameters())  # copies, since training changes the weights in place
    return norm_of(w, b, norm.mean, norm.var, norm.eps, least=-np.inf)


def normalised_later(convolve: Callable[[], np.ndarray], constants: Norm) -> np.ndarray:
    """The normalised output of a convolution that has not been computed yet."""
    return normalised(convolve(), constants)


class OneChannelNormReLUMaxPool(Fused):
    """A PointwiseConv2D of one channel, and the BatchNorm, the ReLU and the MaxPool2D behind it.

    With one channel, filter f gives x * w[f]. Its mean over the batch is mean(x) * w[f], and its variance
    var(x) * w[f]^2. So in training, convolution and normalisation are together another convolution, of x - mean(x):

        (x - mean(x)) * filters[f] + b[f],   filters[f] = w_norm[f] * w[f] / sqrt(var(x) * w[f]^2 + eps)

    and the array of all filters need not be made. (A bias would be subtracted again with the mean.) Outside training
    the running mean and variance are constants, and it is a convolution of x. The sums are not those of the single
    layers, so results are the same up to rounding.
    """

    def __init__(self, pointwise: PointwiseConv2D, norm: BatchNorm, relu: ReLU, pool: MaxPool2D) -> None:
        super().__init__(pointwise, norm, relu, pool)
        self.pointwise, self.norm, self.relu, self.pool = pointwise, norm, relu, pool

    @staticmethod
    def fits(pointwise: PointwiseConv2D, norm: BatchNorm, relu: ReLU, pool: MaxPool2D) -> bool:
        """As for `OneChannelReLUMaxPool`."""
        return OneChannelReLUMaxPool.fits(pointwise, relu, pool)

    def goes_back_together(self) -> bool:
        return self.norm.in_training

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        pointwise, norm, relu, pool = self.pointwise, self.norm, self.relu, self.pool
        pointwise.x = pointwise.check_input(x)
        w, b = pointwise.weights(x.dtype)
        convolve = partial(pointwise_conv2d_forward, x, w.copy(), None if b is None else b.copy())
        convolved = np.broadcast_to(x, (*x.shape[:3], pointwise.filters))  # stands for its shape and dtype, no more
        norm.check_input(convolved)
        norm.remember_later("x", convolve)
        norm.in_training = training

        row, bias, centre = w.reshape(-1), 0 if b is None else b, x.dtype.type(0)
        if training:
            centre, var = batch_norm_statistics(x)
            norm.mean, norm.var = row * centre + bias, row**2 * var
            norm.follow(norm.mean, norm.var, x.size)
        else:
            norm.find_statistics(convolved)
        constants = constants_of(norm, x.dtype)
        relu.check_input(convolved)
        relu.remember_later("x", partial(normalised_later, convolve, constants))

        pool.x_shape = pool.check_input(convolved).shape
        self.centred, self.filters = x - centre, row * constants.scale
        start = (row * centre + bias - norm.mean) * constants.scale + constants.shift  # in training, the shift alone
        self.out, pool.argmax = one_channel_forward(self.centred, self.filters, start, pool.pool_size)
        return self.out

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        pointwise, norm, pool, P = self.pointwise, self.norm, self.pool, self.centred.size
        dwinners = relu_backward(pool.check_dout(dout), self.out)  # reverses the ReLU, for the pixels that won
        dx, dfilters, db = one_channel_backward(dwinners, pool.argmax, self.centred, self.filters, pool.pool_size)
        w, (w_norm, _) = pointwise.weights(dx.dtype)[0], norm.weights(dx.dtype)
        row, deviation = w.reshape(-1), np.sqrt(norm.var + dx.dtype.type(norm.eps))
        norm.set_gradients(dfilters * row / deviation, db)
        # filters = w_norm * w / sqrt(var(x) * w^2 + eps) hardly moves with w; and a bias moves nothing at all
        dw = dfilters * w_norm * dx.dtype.type(norm.eps) / deviation**3
        pointwise.set_gradients(dw.reshape(w.shape), np.zeros_like(row))
        if need_dx and P:  # and x moves its mean and its variance
            level = (db * self.filters).sum() / P
            slope = (dfilters * w_norm * (row / deviation) ** 3).sum() / P
            dx -= level + slope * self.centred
        return dx if need_dx else None
