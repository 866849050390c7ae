"""Layers with an error in their backward, one of each kind, and right ones drawn at random, to try `gradcheck` on.

Each wrong layer is a right one whose `backward` does one thing more. Its weights, its biases and its input can be
given at any scale, so that no error hides behind small or large numbers.
"""

from __future__ import annotations

import numpy as np

import scratchnet as sn
from scratchnet.layers import conv2d_backward
from scratchnet.layers.shapes import Window, window_pixels

IMAGES, ROWS = (3, 5, 6, 2), (4, 3)  # shapes of inputs; Dense(3, 3) is square, so that a transposed w fits


class Scale(sn.Layer):
    """out = x * w with one weight a channel: the simplest layer that has weights and no product of matrices."""

    def __init__(self):
        super().__init__()
        self.w = sn.Parameter("w", np.array([1.5, -0.7]))

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return x * self.w.value.astype(x.dtype)

    def backward(self, dout, need_dx=True):
        dout = self.check_dout(dout)
        self.w.grad = (dout * self.x).sum(axis=(0, 1, 2))
        return dout * self.w.value.astype(dout.dtype)

    def parameters(self):
        return [self.w]


class Normalise(sn.Layer):
    """(x - mean) / standard deviation over the batch: curved, and every output depends on every input."""

    def forward(self, x, training=False):
        self.check_input(x)
        self.deviation = x.std(axis=0)
        self.out = (x - x.mean(axis=0)) / self.deviation
        return self.out

    def backward(self, dout, need_dx=True):
        dout = self.check_dout(dout)
        along = (dout * self.out).mean(axis=0) * self.out
        return (dout - dout.mean(axis=0) - along) / self.deviation


class Square(sn.Layer):
    """x**2: its slope depends on x everywhere."""

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return x**2

    def backward(self, dout, need_dx=True):
        return 2 * self.x * self.check_dout(dout)


LAYERS = {
    "dense": (lambda: sn.Dense(3, 3, init="pytorch"), ROWS),
    "conv": (lambda: sn.Conv2D(2, 3, 3, padding=1, init="pytorch"), IMAGES),
    "conv_stride": (lambda: sn.Conv2D(2, 3, (3, 2), stride=2, padding=0, init="pytorch"), IMAGES),
    "depthwise": (lambda: sn.DepthwiseConv2D(2, 3, multiplier=2, bias=True, init="pytorch"), IMAGES),
    "pointwise": (lambda: sn.PointwiseConv2D(2, 2, init="pytorch"), IMAGES),
    "max_pool": (lambda: sn.MaxPool2D(3, 1), IMAGES),
    "avg_pool": (lambda: sn.AvgPool2D(3, 2, padding=1), IMAGES),
    "relu": (sn.ReLU, IMAGES),
    "dropout": (lambda: sn.Dropout(0.4), IMAGES),
    "resize": (lambda: sn.Resize((4, 9)), IMAGES),
    "flatten": (sn.Flatten, IMAGES),
    "scale": (Scale, IMAGES),
    "normalise": (Normalise, ROWS),
    "square": (Square, ROWS),
}

PLANTED = {}


def planted(*layers):
    """Register an error, a function of (layer, dout, dx) that returns another dx, for some kinds of layers."""

    def register(error):
        for name in layers:
            PLANTED[f"{error.__name__} in {name}"] = (name, error)
        return error

    return register


def wrong_layer(name):
    """A layer with the error of this name, and the shape of an input."""
    layer, error = PLANTED[name]
    make, shape = LAYERS[layer]
    made = make()
    right = made.backward
    made.backward = lambda dout, need_dx=True: error(made, dout, right(dout))
    return made, shape


EVERY = tuple(LAYERS)
WEIGHTED = ("dense", "conv", "conv_stride", "depthwise", "pointwise")


@planted(*EVERY)
def dx_negated(layer, dout, dx):
    return -dx


@planted("dense", "max_pool", "normalise")
def dx_doubled(layer, dout, dx):
    return 2 * dx


@planted("conv", "relu", "square")
def dx_zero(layer, dout, dx):
    return np.zeros_like(dx)


@planted("dense", "conv", "avg_pool")
def dx_of_the_next_example(layer, dout, dx):
    return np.roll(dx, 1, axis=0)


@planted("conv", "pointwise", "resize")
def dx_of_the_next_channel(layer, dout, dx):
    return np.roll(dx, 1, axis=-1)


@planted("conv_stride", "avg_pool", "max_pool")
def dx_one_pixel_off(layer, dout, dx):
    return np.roll(dx, 1, axis=2)


@planted("dense", "depthwise", "normalise")
def dx_a_thousandth_too_large(layer, dout, dx):
    return dx * 1.001


@planted("dense", "conv", "square")
def dx_divided_by_the_batch(layer, dout, dx):
    return dx / len(dx)


@planted("dense", "scale", "relu")
def dx_without_signs(layer, dout, dx):
    return np.abs(dx)


@planted("dense", "conv", "resize")
def dx_in_half_precision(layer, dout, dx):
    scale = np.abs(dx).max()
    return (dx / scale).astype(np.float16).astype(dx.dtype) * scale


@planted("dense", "conv", "flatten")
def one_dx_wrong(layer, dout, dx):
    dx = dx.copy()
    dx[-1].flat[-1] *= 1.01
    return dx


@planted("conv", "dropout")
def last_example_forgotten(layer, dout, dx):
    dx = dx.copy()
    dx[-1] = 0
    return dx


@planted("dense", "max_pool")
def one_nan(layer, dout, dx):
    dx = dx.copy()
    dx.flat[1] = np.nan
    return dx


@planted("dense", "relu")
def one_infinity(layer, dout, dx):
    dx = dx.copy()
    dx.flat[1] = np.inf
    return dx


@planted("conv", "relu")
def a_constant_added(layer, dout, dx):
    return dx + 1e-3 * np.abs(dx).max()


@planted("dense", "square")
def clipped(layer, dout, dx):
    limit = np.abs(dx).max() / 2
    return dx.clip(-limit, limit)


@planted(*WEIGHTED, "scale")
def dw_negated(layer, dout, dx):
    layer.w.grad = -layer.w.grad
    return dx


@planted("dense", "conv")
def dw_doubled(layer, dout, dx):
    layer.w.grad = 2 * layer.w.grad
    return dx


@planted(*WEIGHTED)
def dw_averaged_over_the_batch(layer, dout, dx):
    layer.w.grad = layer.w.grad / len(dout)
    return dx


@planted("depthwise", "pointwise", "scale")
def dw_zero(layer, dout, dx):
    layer.w.grad = np.zeros_like(layer.w.grad)
    return dx


@planted("dense")
def dw_transposed(layer, dout, dx):
    layer.w.grad = layer.w.grad.T.copy()
    return dx


@planted("dense")
def dw_of_the_first_example(layer, dout, dx):
    layer.w.grad = layer.x[:1].T @ dout[:1]
    return dx


@planted("conv", "depthwise")
def dw_flipped(layer, dout, dx):
    layer.w.grad = layer.w.grad[::-1, ::-1].copy()
    return dx


@planted("conv", "pointwise")
def dw_of_the_next_filter(layer, dout, dx):
    layer.w.grad = np.roll(layer.w.grad, 1, axis=-1)
    return dx


@planted("dense", "conv_stride")
def one_dw_wrong(layer, dout, dx):
    layer.w.grad.flat[2] *= -1
    return dx


@planted("dense", "conv")
def dw_with_weight_decay(layer, dout, dx):
    """As large as a hundredth of the gradient."""
    scale = np.abs(layer.w.grad).max() / np.abs(layer.w.value).max()
    layer.w.grad = layer.w.grad + 0.01 * scale * layer.w.value
    return dx


@planted(*WEIGHTED)
def db_averaged(layer, dout, dx):
    layer.b.grad = dout.mean(axis=tuple(range(dout.ndim - 1)))
    return dx


@planted("dense", "pointwise")
def db_negated(layer, dout, dx):
    layer.b.grad = -layer.b.grad
    return dx


@planted("conv", "depthwise")
def db_zero(layer, dout, dx):
    layer.b.grad = np.zeros_like(layer.b.grad)
    return dx


@planted("conv")
def db_of_the_first_image(layer, dout, dx):
    layer.b.grad = dout[0].sum(axis=(0, 1))
    return dx


@planted("dense")
def db_not_summed_but_last(layer, dout, dx):
    layer.b.grad = dout[-1].copy()
    return dx


@planted(*WEIGHTED)
def a_gradient_of_its_own_accumulates(layer, dout, dx):
    layer.sum_of_dw = getattr(layer, "sum_of_dw", 0) + layer.w.grad
    layer.w.grad = layer.sum_of_dw
    return dx


@planted("dense", "conv")
def the_same_array_accumulates(layer, dout, dx):
    kept = vars(layer).setdefault("kept", np.zeros_like(layer.b.grad))
    kept += layer.b.grad
    layer.b.grad = kept
    return dx


@planted("square", "relu", "max_pool")
def dx_accumulates(layer, dout, dx):
    layer.sum_of_dx = getattr(layer, "sum_of_dx", 0) + dx
    return layer.sum_of_dx


@planted("dense", "conv", "relu")
def dout_overwritten(layer, dout, dx):
    dout *= 2
    return dx


@planted("square", "scale", "conv")
def x_overwritten(layer, dout, dx):
    layer.x *= 0.5
    return dx


@planted("dense", "depthwise")
def weights_overwritten(layer, dout, dx):
    layer.w.value[...] = -layer.w.value
    return dx


@planted("dense")
def w_not_transposed(layer, dout, dx):
    return dout @ layer.w.value


@planted("conv")
def kernel_turned(layer, dout, dx):
    return conv2d_backward(dout, layer.x, layer.w.value.transpose(1, 0, 2, 3), 1, 1)[0]


@planted("conv")
def kernel_not_flipped(layer, dout, dx):
    return conv2d_backward(dout, layer.x, layer.w.value[::-1, ::-1], 1, 1)[0]


@planted("conv")
def padding_forgotten(layer, dout, dx):
    dx = dx.copy()
    dx[:, [0, -1]] = 0
    return dx


@planted("conv_stride")
def stride_forgotten(layer, dout, dx):
    KH, KW = layer.kernel_size
    OH, OW = dout.shape[1:3]
    dx = np.zeros_like(layer.x)
    seen = layer.x[:, : OH + KH - 1, : OW + KW - 1]
    dx[:, : OH + KH - 1, : OW + KW - 1] = conv2d_backward(dout, seen, layer.w.value, 1, 0)[0]
    return dx


@planted("max_pool")
def overlaps_overwritten(layer, dout, dx):
    dx = np.zeros_like(dx)
    for kh in range(3):
        for kw in range(3):
            pixels = window_pixels(dx, kh, kw, Window.on(dx.shape[1:3], 3, 1, 0))
            won = layer.argmax == 3 * kh + kw
            pixels[won] = dout[won]
    return dx


@planted("max_pool")
def spread_as_a_mean(layer, dout, dx):
    mean = sn.AvgPool2D(3, 1)
    mean.forward(dx)
    return mean.backward(dout)


@planted("avg_pool")
def padding_counted_in_the_mean(layer, dout, dx):
    dx = dx.copy()
    dx[:, 0] *= 6 / 9
    return dx


@planted("relu")
def all_of_dout_passes(layer, dout, dx):
    return dout.copy()


@planted("relu")
def sign_of_dout_taken_for_that_of_x(layer, dout, dx):
    return dout * (dout > 0)


@planted("relu")
def leaks(layer, dout, dx):
    return np.where(layer.x > 0, dout, 0.01 * dout)


@planted("dropout")
def mask_not_scaled(layer, dout, dx):
    return dout * (layer.mask > 0)


@planted("dropout")
def mask_forgotten(layer, dout, dx):
    return dout.copy()


@planted("resize")
def nearest_instead_of_bilinear(layer, dout, dx):
    dx = np.zeros_like(dx)
    OH, OW = dout.shape[1:3]
    for i in range(OH):
        for j in range(OW):
            dx[:, i * dx.shape[1] // OH, j * dx.shape[2] // OW] += dout[:, i, j]
    return dx


@planted("flatten")
def columns_before_rows(layer, dout, dx):
    return np.ascontiguousarray(dout.reshape(len(dx), 2, 5, 6).transpose(0, 2, 3, 1))


@planted("normalise")
def mean_taken_for_a_constant(layer, dout, dx):
    return dx + dout.mean(axis=0) / layer.deviation


@planted("normalise")
def deviation_taken_for_a_constant(layer, dout, dx):
    return (dout - dout.mean(axis=0)) / layer.deviation


@planted("square")
def dout_taken_for_x(layer, dout, dx):
    return 2 * dout * dout


# ---------------------------------------------------------------- right ones


def scaled(layer, weights, biases, rng):
    """The layer or network with random weights and biases of these sizes, in float64."""
    for p in layer.parameters():
        size = biases if p.name.endswith("b") else weights
        p._value = size * rng.standard_normal(p.value.shape) * np.abs(p.value).max(initial=0.3)
    return layer


def drawn_layer(rng):
    """A layer of any kind with drawn arguments, and the shape of an input for it."""
    N, H, W, C = (int(rng.integers(1, top)) for top in (5, 8, 8, 4))
    outputs = int(rng.integers(1, 5))
    window = int(rng.integers(1, min(H, W) + 1)), int(rng.integers(1, min(H, W) + 1))
    stride = int(rng.integers(1, 4))
    padding = ["same", "valid", (window[0] - 1) // 2][rng.integers(3)]
    make = [
        lambda: sn.Dense(C, outputs, bias=bool(rng.integers(2))),
        lambda: sn.Conv2D(C, outputs, window, stride, padding, bias=bool(rng.integers(2))),
        lambda: sn.DepthwiseConv2D(C, window, stride, padding, multiplier=outputs, bias=bool(rng.integers(2))),
        lambda: sn.PointwiseConv2D(C, outputs),
        lambda: sn.MaxPool2D(window, stride, "valid"),
        lambda: sn.AvgPool2D(window, stride, "valid"),
        sn.ReLU,
        lambda: sn.Dropout(float(rng.random())),
        lambda: sn.Resize((outputs, outputs + 1)),
        sn.Flatten,
        Square,
    ][rng.integers(11)]
    layer = make()
    return layer, (N, C) if isinstance(layer, sn.Dense) else (N, H, W, C)


def drawn_network(rng):
    """A small network for images of 28 x 28 pixels."""
    filters, units = int(rng.integers(1, 4)), int(rng.integers(2, 6))
    first = [
        [sn.Conv2D(1, filters, 3, rng=rng)],
        [sn.Conv2D(1, filters, (2, 5), stride=2, padding="valid", rng=rng)],
        [sn.DepthwiseConv2D(1, 3, rng=rng), sn.PointwiseConv2D(1, filters, rng=rng)],
        [sn.Resize(14), sn.Conv2D(1, filters, 3, rng=rng)],
    ][rng.integers(4)]
    between = [[sn.ReLU(), sn.MaxPool2D(4)], [sn.MaxPool2D(3, 2), sn.ReLU()], [sn.ReLU(), sn.AvgPool2D(4)]]
    layers = [*first, *between[rng.integers(3)], sn.Flatten()]
    size = sn.Network(layers, (28, 28, 1)).output_shapes()[-1][0]
    return sn.Network(
        [*layers, sn.Dense(size, units, rng=rng), sn.ReLU(), sn.Dropout(0.3), sn.Dense(units, 3, rng=rng)]
    )


def drawn_right(seed, digits):
    """A right layer or network, an input in float64, and whether to check the forward of training."""
    rng = np.random.default_rng([seed, 77])
    scale = {name: float(10 ** rng.uniform(-8, 8)) for name in ("x", "weights", "biases")}
    if rng.random() < 0.3:
        net = drawn_network(rng)
        first = int(rng.integers(len(digits) - 2))
        x = digits[first : first + int(rng.integers(1, 3))].astype(np.float64)
        kind = rng.integers(3)
        if kind == 1:
            x = 255 * x
        elif kind == 2:
            x = x + 0.1 * rng.standard_normal(x.shape)
        if rng.random() < 0.3:  # else as a network begins: its biases are 0
            scaled(net, 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-4, 2), rng)
        return net, x, bool(rng.integers(2))
    layer, shape = drawn_layer(rng)
    if rng.random() < 0.8:
        scaled(layer, scale["weights"], scale["biases"], rng)
    x = rng.standard_normal(shape)
    kind = rng.integers(4)
    if kind == 1:
        x = rng.integers(0, 256, shape).astype(np.float64)
    elif kind == 2:
        x = x * (rng.random(shape) < 0.5)
    elif kind == 3:
        x = x * 10 ** rng.uniform(-4, 4, (shape[0], *[1] * (len(shape) - 1)))  # examples of different sizes
    return layer, x * (1.0 if kind == 1 else scale["x"]), bool(rng.integers(2))
