"""What each node of an ONNX graph is here: one record for each operator.

A record says which settings the layer can do, makes the layer, and takes its weights from the node. What is not here is
refused by name. `from_onnx` then compares graph and network on numbers, so nothing rests on this file alone.

Source: the ONNX operators, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchnet import layers as book
from scratchnet.interop.equivalents import record_of
from scratchnet.interop.order import channels_last
from scratchnet.layers.base import Layer, Shape
from scratchnet.layers.shapes import Pads, Window


class Refused(ValueError):
    """Something that no layer has."""


@dataclass
class OnnxStep:
    """A node of a graph in a row: what is done with the result of the node before.

    Attributes
    ----------
    name : str
        The node's name and its operator, for messages.
    op : str
        The operator.
    arrays : list of ndarray or None
        The node's constant inputs, in order. None stands for an input that is left out.
    attributes : dict
        The attributes, with the operator's defaults for those that are not given.
    batch : int or None
        The size of the batch, if the file takes no other.
    """

    name: str
    op: str
    arrays: list[np.ndarray | None]
    attributes: dict[str, Any]
    batch: int | None = None

    def array(self, i: int) -> np.ndarray | None:
        """The constant input i, counted from the first behind the result of the node before; None without it."""
        return self.arrays[i] if i < len(self.arrays) else None

    def weights(self, i: int, what: str, rank: int) -> np.ndarray:
        """An input that has to be there, with so many axes, as float32 or float64."""
        array = self.array(i)
        if array is None or array.ndim != rank or array.dtype not in (np.float32, np.float64):
            got = "none" if array is None else f"{array.dtype} of shape {array.shape}"
            raise Refused(f"expected {what} of {rank} axes, in float32 or float64, got {got}")
        return array


Values = dict[str, np.ndarray]  # of a layer's parameters and its state, by the names of the attributes


def no_values(step: OnnxStep, layer: Layer, flattened: Shape | None) -> Values:
    return {}


@dataclass(frozen=True)
class OnnxOperator:
    """What an operator is here.

    Attributes
    ----------
    make : function (step, input_shape) -> Layer or None
        The layer; None if the node does nothing outside of training. Raises Refused for what no layer does.
    only : dict
        The values that a layer has, for attributes that may have others.
    values : function (step, layer, flattened) -> dict of ndarray
        The layer's parameters and arrays of state. `flattened` is (H, W, C) if the inputs are images made flat.
    """

    make: Callable[[OnnxStep, Shape], Layer | None]
    only: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    values: Callable[[OnnxStep, Any, Shape | None], Values] = no_values

    def check(self, step: OnnxStep) -> None:
        """Raise Refused if the step has an attribute that no layer has."""
        for name, allowed in self.only.items():
            value = step.attributes.get(name, allowed[0])
            if value not in allowed:
                raise Refused(f"expected {name} to be {' or '.join(map(str, allowed))}, got {value}")


# ---------------------------------------------------------------- windows

ONES = ([1, 1], [1])
PADDINGS = {"VALID": "valid", "SAME_UPPER": "same"}
WINDOWS = {"auto_pad": ("NOTSET", *PADDINGS), "dilations": ONES, "ceil_mode": (0,)}


def pads_of(step: OnnxStep) -> Pads:
    """((top, bottom), (left, right)) from ONNX's order: top, left, bottom, right."""
    top, left, bottom, right = step.attributes.get("pads", (0, 0, 0, 0))
    return (top, bottom), (left, right)


def window_of(step: OnnxStep, image: Shape, size: Any) -> dict[str, Any]:
    """Stride and padding of a window, as a layer's arguments."""
    stride = tuple(step.attributes.get("strides", (1, 1)))
    if step.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return {"stride": stride, "padding": PADDINGS[step.attributes["auto_pad"]]}
    pads = (top, bottom), (left, right) = pads_of(step)
    if (top, left) == (bottom, right):
        return {"stride": stride, "padding": (top, left)}
    if Window.on(image[:2], size, stride, "same").pads == pads:
        return {"stride": stride, "padding": "same"}
    raise Refused(f"expected pads that are the same on both sides, or those of SAME_UPPER, got {pads}")


def shortest(number: float) -> float:
    """The shortest decimal number that is the same in float32: 1e-5, not 9.99999974e-6."""
    return float(str(np.float32(number)))


# ---------------------------------------------------------------- convolutions


def conv(step: OnnxStep, image: Shape) -> Layer:
    F, per_group, *size = step.weights(0, "weights", rank=4).shape
    groups, C = step.attributes["group"], image[-1]
    kernel_size, bias = tuple(size), step.array(1) is not None
    window = window_of(step, image, kernel_size) | {"bias": bias}
    if groups == C > 1 and per_group == 1:
        return book.DepthwiseConv2D(C, kernel_size, multiplier=F // C, **window)
    if groups != 1:
        raise Refused(f"expected group to be 1 or the {C} channels, got {groups}")
    if kernel_size == window["stride"] == (1, 1) and window["padding"] in ((0, 0), "same", "valid"):
        return book.PointwiseConv2D(per_group, F, bias=bias)
    return book.Conv2D(per_group, F, kernel_size, **window)


def conv_values(step: OnnxStep, layer: Layer, flattened: Shape | None) -> Values:
    return as_in_torch(layer, [step.weights(0, "weights", 4)], biases(step, 1), flattened)


def as_in_torch(layer: Layer, w: list[np.ndarray], b: list[np.ndarray], flattened: Shape | None) -> Values:
    """The parameters of a layer from those in PyTorch's layout, which is ONNX's too."""
    return dict(zip("wb", record_of(layer).from_torch(layer, [*w, *b], flattened), strict=False))


def biases(step: OnnxStep, i: int) -> list[np.ndarray]:
    return [] if step.array(i) is None else [step.weights(i, "biases", 1)]


# ---------------------------------------------------------------- pooling


def max_pool(step: OnnxStep, image: Shape) -> Layer:
    size = tuple(step.attributes["kernel_shape"])
    return book.MaxPool2D(size, **window_of(step, image, size))


def avg_pool(step: OnnxStep, image: Shape) -> Layer:
    size = tuple(step.attributes["kernel_shape"])
    window = window_of(step, image, size)
    padded = window["padding"] not in ((0, 0), "valid")
    if step.attributes["count_include_pad"] and padded:
        raise Refused("expected count_include_pad to be 0 where there is padding, got 1")
    return book.AvgPool2D(size, **window)


# ---------------------------------------------------------------- rows


def flatten(step: OnnxStep, shape: Shape) -> Layer:
    return book.Flatten()


def reshape(step: OnnxStep, shape: Shape) -> Layer:
    target = step.array(0)
    numbers = math.prod(shape)
    rows = [[N, K] for N in (0, -1, step.batch) for K in (-1, numbers) if N != K]
    if target is None or target.tolist() not in rows:
        raise Refused(f"expected the shape (N, -1), as a constant [0, -1] or [-1, {numbers}], got {target}")
    return book.Flatten()


def gemm(step: OnnxStep, shape: Shape) -> Layer:
    rows, columns = dense_weights(step).shape
    return book.Dense(rows, columns, bias=step.array(1) is not None)


def dense_weights(step: OnnxStep) -> np.ndarray:
    """(in, out)."""
    w = step.weights(0, "weights", rank=2)
    return w.T if step.attributes["transB"] else w


def gemm_values(step: OnnxStep, layer: book.Dense, flattened: Shape | None) -> Values:
    return as_in_torch(layer, [dense_weights(step).T], gemm_biases(step, layer.out_features), flattened)


def gemm_biases(step: OnnxStep, columns: int) -> list[np.ndarray]:
    """(columns,), as a list of one. ONNX takes whatever can be broadcast to rows."""
    b = step.array(1)
    if b is None:
        return []
    if b.shape not in ((), (1,), (1, 1), (columns,), (1, columns)):
        raise Refused(f"expected biases of shape ({columns},), got {b.shape}")
    return [np.broadcast_to(b, (1, columns))[0]]


# ---------------------------------------------------------------- the others


def batch_norm(step: OnnxStep, shape: Shape) -> Layer:
    channels = len(step.weights(0, "scales", rank=1))
    momentum = shortest(1 - shortest(step.attributes["momentum"]))
    return book.BatchNorm(channels, momentum, shortest(step.attributes["epsilon"]))


def batch_norm_values(step: OnnxStep, layer: Layer, flattened: Shape | None) -> Values:
    names = ("w", "b", "running_mean", "running_var")
    return {name: channels_last(step.weights(i, name, 1), flattened) for i, name in enumerate(names)}


def dropout(step: OnnxStep, shape: Shape) -> Layer:
    ratio, training = step.array(0), step.array(1)
    if training is not None and training.any():
        raise Refused("expected training_mode to be false, got true")
    return book.Dropout(0.5 if ratio is None else shortest(float(ratio)))


def resize(step: OnnxStep, image: Shape) -> Layer:
    scales, sizes = step.array(1), step.array(2)
    H, W, C = image
    if scales is not None and scales.shape == (4,) and tuple(scales[:2]) == (1, 1):
        return book.Resize((int(H * float(scales[2])), int(W * float(scales[3]))))
    if sizes is not None and sizes.shape == (4,) and sizes[1] == C:
        return book.Resize((int(sizes[2]), int(sizes[3])))
    raise Refused(f"expected scales (1, 1, height, width) or sizes (N, {C}, height, width), got {scales} and {sizes}")


OPERATORS = {
    "Conv": OnnxOperator(conv, WINDOWS, conv_values),
    "MaxPool": OnnxOperator(max_pool, WINDOWS | {"storage_order": (0,)}),
    "AveragePool": OnnxOperator(avg_pool, WINDOWS),
    "GlobalAveragePool": OnnxOperator(lambda step, image: book.AvgPool2D((image[0], image[1]))),
    "Relu": OnnxOperator(lambda step, shape: book.ReLU()),
    "Flatten": OnnxOperator(flatten, {"axis": (1,)}),
    "Reshape": OnnxOperator(reshape, {"allowzero": (0,)}),
    "Gemm": OnnxOperator(gemm, {"alpha": (1.0,), "beta": (1.0,), "transA": (0,)}, gemm_values),
    "BatchNormalization": OnnxOperator(batch_norm, {"training_mode": (0,)}, batch_norm_values),
    "Dropout": OnnxOperator(dropout),
    "Identity": OnnxOperator(lambda step, shape: None),
    "Resize": OnnxOperator(
        resize,
        {
            "mode": ("linear",),
            "coordinate_transformation_mode": ("half_pixel",),
            "antialias": (0,),
            "axes": (None,),
            "exclude_outside": (0,),
            "keep_aspect_ratio_policy": ("stretch",),
        },
    ),
}
# Taken where `onnx_import` looks for them, and refused elsewhere.
SOMEWHERE = {
    "Transpose": "only one from (N, H, W, C) to (N, C, H, W) at the input is taken",
    "Add": "only biases directly behind a MatMul are taken",
    "MatMul": "only one by constant weights is taken",
}

ADVICE = {
    "Softmax": "a network here ends with logits: leave it out, and use predict",
    "LogSoftmax": "a network here ends with logits: leave it out, and use predict",
    "Shape": "flatten with a constant shape, as torch.flatten(x, 1) does",
    "Cast": "convert the whole model to one dtype before",
}
