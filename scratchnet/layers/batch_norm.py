"""Batch normalisation: each channel gets the mean 0 and the variance 1 over the batch, and a learned scale and shift.

The weights of a layer are learned for the numbers that the layer before gives. When that layer learns, its numbers
move. Batch normalisation keeps their mean and their spread in place, so that larger steps can be taken.

p runs over the P numbers that a channel c has in the batch: one in each example, and for images one in each pixel. In
training,

    mean[c]    = 1 / P * sum over p of  x[p, c]
    var[c]     = 1 / P * sum over p of  (x[p, c] - mean[c])^2
    xhat[p, c] = (x[p, c] - mean[c]) / sqrt(var[c] + eps)
    out[p, c]  = w[c] * xhat[p, c] + b[c]

Outside training there may be a single example, and its output must not depend on others. Then mean and var are running
means over the steps of training. The newest of the one is mean, that of the other is var * P / (P - 1), since a sample
of P numbers underestimates the variance:

    running = (1 - momentum) * running + momentum * newest

Backward: b[c] and w[c] are used P times. x[p, c] acts on its own xhat, and through mean and var on all of them. The two
sums that this adds are those of db and dw:

    db[c]    = sum over p of  dout[p, c]
    dw[c]    = sum over p of  dout[p, c] * xhat[p, c]
    dx[p, c] = w[c] / sqrt(var[c] + eps) * (dout[p, c] - (db[c] + xhat[p, c] * dw[c]) / P)

Outside training mean and var are constants, and of dx only the first term is left:

    dx[p, c] = w[c] / sqrt(var[c] + eps) * dout[p, c]

Where the terms come from: out moves with x[p, c] by w / sqrt(var + eps) directly. The mean takes part of this back: a
change of x[p, c] by 1 moves it by 1 / P, and with it all P numbers; in sum that is the term with db. The variance moves
by 2 * (x[p, c] - mean) / P, and divides all P numbers; in sum that is the term with dw. So dx has the mean 0 in each
channel, and is orthogonal to xhat: to shift or to stretch all numbers of a channel changes nothing.

Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", 2015, arXiv 1502.03167, algorithm 1 and section 3. The momentum is PyTorch's: the weight of the newest batch.
"""

from __future__ import annotations

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Parameter, Shape, State, WeightedLayer
from scratchnet.settings import above_zero, below_one, positive


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel.

    Parameters
    ----------
    x : (N, ..., C).

    Returns
    -------
    mean, var : (C,), over all axes but the last; zeros for an empty batch. Summed in float64.
    """
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    if not len(rows):
        return np.zeros(x.shape[-1], x.dtype), np.zeros(x.shape[-1], x.dtype)
    mean = rows.mean(axis=0)
    var = ((rows - mean) ** 2).mean(axis=0)
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """Normalise, scale and shift each channel.

    Parameters
    ----------
    x : (N, ..., C).
    w, b : (C,), scale and shift.
    mean, var : (C,), those of the batch in training, and else the running ones.
    eps : float
        Keeps the division finite.

    Returns
    -------
    out : of x's shape.
    """
    xhat = (x - mean) / np.sqrt(var + x.dtype.type(eps))
    return w * xhat + b


def batch_norm_backward(
    dout: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    training: bool,
    *,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of batch normalisation.

    Parameters
    ----------
    dout : of x's shape, the gradient with respect to the output.
    x, w, mean, var, eps : as given to `batch_norm_forward`.
    training : bool
        Whether mean and var are those of x, and move with it.
    need_dx : bool
        If false, dx is not computed and is None.

    Returns
    -------
    dx : of x's shape, dw : (C,), db : (C,).
    """
    C = x.shape[-1]
    deviation = np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) / deviation
    db = dout.reshape(-1, C).sum(axis=0, dtype=np.float64).astype(x.dtype)  # reverses + b
    dw = (dout * xhat).reshape(-1, C).sum(axis=0, dtype=np.float64).astype(x.dtype)  # reverses w * xhat, for w
    if not need_dx:
        return None, dw, db
    dx = w / deviation * dout  # reverses w * (x - mean) / deviation, for x alone
    if training and x.size:
        P = x.size // C
        dx -= w / deviation * (db + xhat * dw) / P  # and for the mean and the variance, which x moves
    return dx, dw, db


class BatchNorm(WeightedLayer):
    """Batch normalisation over the last axis: the channels of images, or the numbers of rows.

    In training it takes the mean and the variance of the batch, and follows them with running ones, which it takes
    outside training. A batch with a single number for each channel gives `b`.

    Parameters
    ----------
    channels : int
        Size of the last axis.
    momentum : float
        Weight of the newest batch in the running mean and variance, 0 <= momentum < 1. (Keras calls 1 - momentum so.)
    eps : float
        Added to the variance.

    Attributes
    ----------
    running_mean, running_var : ndarray
        (C,), state that is not trained: saved with the weights.

    Raises
    ------
    ValueError
        If a setting is out of range; from `forward`, if the last axis has another size.
    """

    kind = "batch_norm"
    formulas = Formulas(
        forward=["xhat = (x - mean) / sqrt(var + eps)", "out = w * xhat + b"],
        backward=[
            "db = sum over p of dout",
            "dw = sum over p of dout * xhat",
            "dx = w / sqrt(var + eps) * (dout - (db + xhat * dw) / P)",
        ],
    )

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = positive(self.name, "channels", channels)
        self.momentum = below_one(self.name, "momentum", momentum)
        self.eps = above_zero(self.name, "eps", eps)
        self.w = Parameter("w", np.ones(self.channels, np.float32))
        self.b = Parameter("b", np.zeros(self.channels, np.float32))
        self.running_mean = np.zeros(self.channels, np.float32)
        self.running_var = np.ones(self.channels, np.float32)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x, self.in_training = self.check_input(x), training
        self.find_statistics(x)
        w, b = self.weights(x.dtype)
        return ops.batch_norm_forward(x, w, b, self.mean, self.var, self.eps)

    def find_statistics(self, x: np.ndarray) -> None:
        """Set mean and var: in training those of x, which the running ones then follow, and else the running ones."""
        if self.in_training:
            self.mean, self.var = ops.batch_norm_statistics(x)
            self.follow(self.mean, self.var, x.size // self.channels)
        else:
            self.mean, self.var = (a.astype(x.dtype) for a in (self.running_mean, self.running_var))

    def follow(self, mean: np.ndarray, var: np.ndarray, P: int) -> None:
        """Move the running mean and variance towards those of a batch with P numbers for each channel."""
        if P == 0:
            return
        for name, newest in (("running_mean", mean), ("running_var", var * (P / max(P - 1, 1)))):
            old = getattr(self, name)
            setattr(self, name, ((1 - self.momentum) * old + self.momentum * newest).astype(old.dtype))

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        w, _ = self.weights(dout.dtype)
        dx, dw, db = ops.batch_norm_backward(
            dout, self.x, w, self.mean, self.var, self.eps, self.in_training, need_dx=need_dx
        )
        self.set_gradients(dw, db)
        return dx

    def state(self) -> State:
        return {"running_mean": self.running_mean, "running_var": self.running_var}

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape[-1:] != (self.channels,):
            raise ValueError(f"expected {self.channels} channels on the last axis, got {input_shape}")
        return input_shape

    def multiply_adds(self, input_shape: Shape) -> int:
        return int(np.prod(input_shape))
