"""What the explorer knows of each kind of layer: which sums its numbers are, and which line of the book makes an array.

A layer that is not here is shown as arrays, with its own source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scratchnet import layers as book
from scratchnet import loss
from scratchnet.explorer.sums import Affine, Entry, Number, Sum, entry
from scratchnet.layers.pool import pool_window, window_counts
from scratchnet.layers.resize import interpolation_matrix
from scratchnet.layers.shapes import Window
from scratchnet.network import Loss

Numbers = dict[str, Number]


class Kind(NamedTuple):
    """One kind of layer."""

    forward: Callable[..., Any]  #: the function of the book, whose source is shown
    backward: Callable[..., Any]
    numbers: Callable[[Any, tuple[int, ...], tuple[int, ...]], tuple[Numbers, Numbers]]
    #: what stands in the line of the source that makes an array
    lines: Mapping[str, str]
    #: arrays that entries refer to besides x, w, b, out, dout, dx, dw and db
    extras: Callable[[Any, np.ndarray], dict[str, np.ndarray]] = lambda layer, x: {}
    #: arrays that another function makes, and what stands in the line of its source that does
    elsewhere: Mapping[str, tuple[Callable[..., Any], str]] = {}


def kind_of(layer: Any) -> Kind | None:
    """The record of a layer; None for one that is not known. A subclass may compute something else."""
    return OFF if is_off(layer) else KINDS.get(type(layer))


def is_off(layer: Any) -> bool:
    """Whether the layer's last forward was the identity: dropout outside training."""
    return type(layer) is book.Dropout and layer.mask is None


# ---------------------------------------------------------------- where a window stands


class Place(NamedTuple):
    """The indices between a window and the image that it stands on, as affine forms."""

    row: Affine  # of the image, from i and kh
    column: Affine
    kh: Affine  # of the window, from row and i
    kw: Affine
    OH: int
    OW: int

    @classmethod
    def of(cls, window: Window) -> Place:
        (top, left), (SH, SW), (OH, OW) = window.before, window.stride, window.out
        return cls(
            row={"i": SH, "kh": 1, "": -top},
            column={"j": SW, "kw": 1, "": -left},
            kh={"row": 1, "i": -SH, "": top},
            kw={"column": 1, "j": -SW, "": left},
            OH=OH,
            OW=OW,
        )

    @property
    def places(self) -> dict[str, int]:
        return {"i": self.OH, "j": self.OW}


def _bias(layer: Any, *index: Any) -> tuple[Sum, ...]:
    return () if layer.b is None else (Sum({}, (entry("b", *index),)),)


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Letters for the axes of an array of any shape."""
    usual = {0: (), 1: ("k",), 2: ("i", "c"), 3: ("i", "j", "c")}
    return usual.get(len(shape)) or tuple(f"i{axis}" for axis in range(len(shape)))


# ---------------------------------------------------------------- the kinds


def conv(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    (KH, KW), C, F = layer.kernel_size, layer.in_channels, layer.filters
    at = Place.of(Window.on(x[:2], (KH, KW), layer.stride, layer.padding))
    pixel, weight = entry("x", at.row, at.column, "c"), entry("w", "kh", "kw", "c", "f")
    dpixel = entry("dout", "i", "j", "f")
    products = Sum({"kh": KH, "kw": KW, "c": C}, (pixel, weight))
    windows = Sum(at.places | {"f": F}, (dpixel, entry("w", at.kh, at.kw, "c", "f")), crop=True)
    return {"out": Number(("i", "j", "f"), (products, *_bias(layer, "f")))}, {
        "dx": Number(("row", "column", "c"), (windows,)),
        "dw": Number(("kh", "kw", "c", "f"), (Sum(at.places, (pixel, dpixel)),)),
        "db": Number(("f",), (Sum(at.places, (dpixel,)),)),
    }


def depthwise(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    (KH, KW), C, M = layer.kernel_size, layer.channels, layer.multiplier
    at = Place.of(Window.on(x[:2], (KH, KW), layer.stride, layer.padding))
    k = {"c": M, "m": 1}
    pixel, dpixel = entry("x", at.row, at.column, "c"), entry("dout", "i", "j", k)
    products = Sum({"kh": KH, "kw": KW}, (pixel, entry("w", "kh", "kw", "c", "m")))
    windows = Sum(at.places | {"m": M}, (dpixel, entry("w", at.kh, at.kw, "c", "m")), crop=True)
    return {"out": Number(("i", "j", "c", "m"), (products, *_bias(layer, k)), split=(C, M))}, {
        "dx": Number(("row", "column", "c"), (windows,)),
        "dw": Number(("kh", "kw", "c", "m"), (Sum(at.places, (pixel, dpixel)),)),
        "db": Number(("c", "m"), (Sum(at.places, (dpixel,)),), split=(C, M)),
    }


def pointwise(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    (H, W, C), F = x, layer.filters
    zero: Affine = {"": 0}
    pixel, dpixel, weight = entry("x", "i", "j", "c"), entry("dout", "i", "j", "f"), entry("w", zero, zero, "c", "f")
    places = {"i": H, "j": W}
    return {"out": Number(("i", "j", "f"), (Sum({"c": C}, (pixel, weight)), *_bias(layer, "f")))}, {
        "dx": Number(("i", "j", "c"), (Sum({"f": F}, (dpixel, weight)),)),
        "dw": Number(("kh", "kw", "c", "f"), (Sum(places, (pixel, dpixel)),)),
        "db": Number(("f",), (Sum(places, (dpixel,)),)),
    }


def dense(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    weight = entry("w", "i", "o")
    products = Sum({"i": layer.in_features}, (entry("x", "i"), weight))
    return {"out": Number(("o",), (products, *_bias(layer, "o")))}, {
        "dx": Number(("i",), (Sum({"o": layer.out_features}, (entry("dout", "o"), weight)),)),
        "dw": Number(("i", "o"), (Sum({}, (entry("x", "i"), entry("dout", "o"))),)),
        "db": Number(("o",), (Sum({}, (entry("dout", "o"),)),)),
    }


def max_pool(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    at = Place.of(pool_window(x[:2], layer.pool_size, layer.stride, layer.padding))
    PH, PW = layer.pool_size
    winner = entry("argmax", "i", "j", "c", test="equals", to={"kh": PW, "kw": 1})
    position = {"row": PW, "i": PW * at.kh["i"], "column": 1, "j": at.kw["j"], "": PW * at.kh[""] + at.kw[""]}
    back = entry("argmax", "i", "j", "c", test="equals", to=position)
    inside = entry("window", at.kh, at.kw)
    largest = Sum({"kh": PH, "kw": PW}, (entry("x", at.row, at.column, "c"), winner))
    windows = Sum(at.places, (entry("dout", "i", "j", "c"), back, inside), crop=True)
    return {"out": Number(("i", "j", "c"), (largest,))}, {"dx": Number(("row", "column", "c"), (windows,))}


def max_pool_extras(layer: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"argmax": np.asarray(layer.argmax), "window": np.ones((1, *layer.pool_size))}


def avg_pool(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    at = Place.of(pool_window(x[:2], layer.pool_size, layer.stride, layer.padding))
    PH, PW = layer.pool_size
    share, inside = entry("1/count", "i", "j"), entry("window", at.kh, at.kw)
    mean = Sum({"kh": PH, "kw": PW}, (entry("x", at.row, at.column, "c"), share))
    windows = Sum(at.places, (entry("dout", "i", "j", "c"), share, inside), crop=True)
    return {"out": Number(("i", "j", "c"), (mean,))}, {"dx": Number(("row", "column", "c"), (windows,))}


def avg_pool_extras(layer: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    window = pool_window(x.shape[1:3], layer.pool_size, layer.stride, layer.padding)
    counts = window_counts(window, x.dtype)[..., 0]
    return {"1/count": 1 / counts[None], "window": np.ones((1, *layer.pool_size))}


def relu(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    axes = _axes(x)
    gate = entry("x", *axes, test="positive")
    return {"out": Number(axes, (Sum({}, (entry("x", *axes), gate)),))}, {
        "dx": Number(axes, (Sum({}, (entry("dout", *axes), gate)),))
    }


def dropout(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    axes = _axes(x)
    mask = () if layer.mask is None else (entry("mask", *axes),)
    return {"out": Number(axes, (Sum({}, (entry("x", *axes), *mask)),))}, {
        "dx": Number(axes, (Sum({}, (entry("dout", *axes), *mask)),))
    }


def dropout_extras(layer: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {} if layer.mask is None else {"mask": layer.mask}


def flatten(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    axes = _axes(x)
    place = {axis: math.prod(x[number + 1 :]) for number, axis in enumerate(axes)}
    return {"out": Number(axes, (Sum({}, (entry("x", *axes),)),), split=x)}, {
        "dx": Number(axes, (Sum({}, (entry("dout", place),)),))
    }


def resize(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    A, B = entry("A", "i", "row"), entry("B", "j", "column")
    pixels = Sum({"row": x[0], "column": x[1]}, (A, B, entry("x", "row", "column", "c")), crop=True, sparse=("A", "B"))
    back = Sum({"i": out[0], "j": out[1]}, (A, B, entry("dout", "i", "j", "c")), crop=True, sparse=("A", "B"))
    return {"out": Number(("i", "j", "c"), (pixels,))}, {"dx": Number(("row", "column", "c"), (back,))}


def resize_extras(layer: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    rows, columns = (interpolation_matrix(x.shape[1 + axis], layer.size[axis], x.dtype) for axis in range(2))
    return {"A": rows[None], "B": columns[None]}


def batch_norm(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    axes, P = _axes(x), math.prod(x[:-1])
    channel = axes[-1]
    xhat, scale, dout = entry("xhat", *axes), entry("w/deviation", channel), entry("dout", *axes)
    through = (
        Sum({}, (scale, entry("db", channel)), -1 / P),  # by way of the mean
        Sum({}, (scale, xhat, entry("dw", channel)), -1 / P),  # and of the variance
    )
    places = dict(zip(axes[:-1], x[:-1], strict=True))
    scaled, shift = Sum({}, (entry("w", channel), xhat)), Sum({}, (entry("b", channel),))
    return {"out": Number(axes, (scaled, shift))}, {
        "dx": Number(axes, (Sum({}, (scale, dout)), *(through if layer.in_training else ()))),
        "dw": Number((channel,), (Sum(places, (dout, xhat)),)),
        "db": Number((channel,), (Sum(places, (dout,)),)),
    }


def batch_norm_extras(layer: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    deviation = np.sqrt(layer.var + x.dtype.type(layer.eps))
    return {"xhat": (x - layer.mean) / deviation, "w/deviation": (layer.w.value / deviation)[None]}


def loss_numbers(layer: Any, x: tuple[int, ...], out: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    chosen: Entry = entry("is label", "k")
    return {
        "loss": Number((), (Sum({"k": x[0]}, (chosen, entry("-log p", "k")), sparse=("is label",)),)),
        "p": Number(("k",), (Sum({}, (entry("exp(z - max)", "k"), entry("1/sum"))),)),
    }, {"dlogits": Number(("k",), (Sum({}, (entry("p", "k"),)), Sum({}, (chosen,), -1.0)))}


def loss_extras(logits: np.ndarray, label: int) -> dict[str, np.ndarray]:
    """What the loss is made of, class by class."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    is_label = np.zeros_like(logits)
    is_label[0, label] = 1
    return {
        "exp(z - max)": exponentials,
        "1/sum": 1 / exponentials.sum(axis=1),
        "p": loss.softmax(logits),
        "-log p": 0 - loss.log_softmax(logits),
        "is label": is_label,
    }


WEIGHTED = {"dx": "dx = ", "dw": "dw = ", "db": "db = "}
PRODUCT = {"out": "out = ", "w": "@ w", "b": "out += b", **WEIGHTED}

KINDS: dict[type, Kind] = {
    book.Conv2D: Kind(book.conv2d_forward, book.conv2d_backward, conv, PRODUCT),
    book.DepthwiseConv2D: Kind(
        book.depthwise_conv2d_forward,
        book.depthwise_conv2d_backward,
        depthwise,
        {
            "out": "out += window_pixels",
            "w": "* w[kh, kw]",
            "b": "out += b",
            "dx": "dpixels += dout",
            "dw": "dw[kh, kw] = ",
            "db": "db = ",
        },
    ),
    book.PointwiseConv2D: Kind(book.pointwise_conv2d_forward, book.pointwise_conv2d_backward, pointwise, PRODUCT),
    book.Dense: Kind(book.dense_forward, book.dense_backward, dense, PRODUCT),
    book.MaxPool2D: Kind(
        book.max_pool2d_forward,
        book.max_pool2d_backward,
        max_pool,
        {"out": "np.maximum(out, pixels", "argmax": "argmax[larger] = ", "dx": "dpixels += "},
        max_pool_extras,
    ),
    book.AvgPool2D: Kind(
        book.avg_pool2d_forward,
        book.avg_pool2d_backward,
        avg_pool,
        {"out": "return out / ", "dx": "dpixels += "},
        avg_pool_extras,
    ),
    book.ReLU: Kind(book.relu_forward, book.relu_backward, relu, {"out": "return", "dx": "return"}),
    book.Dropout: Kind(
        book.dropout_forward,
        book.dropout_backward,
        dropout,
        {"out": "return x * mask", "mask": "mask = ", "dx": "return"},
        dropout_extras,
    ),
    book.Flatten: Kind(
        book.Flatten.forward, book.Flatten.backward, flatten, {"out": "return x.reshape", "dx": "return dout.reshape"}
    ),
    book.Resize: Kind(
        book.resize_forward, book.resize_backward, resize, {"out": "return", "dx": "return"}, resize_extras
    ),
    book.BatchNorm: Kind(
        book.batch_norm_forward,
        book.batch_norm_backward,
        batch_norm,
        {"out": "return w * xhat", "xhat": "xhat = ", "w": "return w * xhat", "b": "return w * xhat", **WEIGHTED},
        batch_norm_extras,
    ),
    Loss: Kind(
        loss.softmax_cross_entropy,
        loss.softmax_gradient,
        loss_numbers,
        {
            "loss": "return float(np.mean",
            "-log p": "own = log_softmax",
            "dlogits": "dlogits[np.arange(N), labels] -= 1",
        },
        elsewhere={
            "exp(z - max)": (loss.softmax, "exponentials = "),
            "1/sum": (loss.softmax, "return exponentials / "),
            "p": (loss.softmax, "return exponentials / "),
        },
    ),
}

# Dropout outside training: its functions are not called, and the layer returns early.
OFF = Kind(book.Dropout.forward, book.Dropout.backward, dropout, {"out": "return x", "dx": "return dout"})
