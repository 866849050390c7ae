"""What both directions of the exchange with ONNX share: the package, and the numbers that a graph stands for."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np

from scratchnet import layers as book
from scratchnet.interop.proof import TOLERANCE
from scratchnet.layers.base import Layer
from scratchnet.network import Network

TO_CHANNELS_FIRST = (0, 3, 1, 2)  # the axes of images (N, H, W, C), as ONNX has them

# ONNX holds these layers' settings in float32: eps, and the factors of a Resize, which move its grid by 1e-7 pixels for
# each pixel that the image has.
TOLERANCES: dict[type[Layer], float] = {book.BatchNorm: 1e-6, book.Resize: 1e-4}


def onnx_package(user: str) -> Any:
    """The package onnx with its checker, or an ImportError that says how to install it."""
    try:
        onnx = importlib.import_module("onnx")
        for part in ("checker", "reference"):
            importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise ImportError(
            f'{user}: expected the package onnx ({error}); install it with: pip install "scratchnet[onnx]"'
        ) from None
    return onnx


def tolerance(net: Network) -> float:
    """How far the outputs of two networks may be apart in float64, relative to the largest."""
    return max(TOLERANCES.get(type(layer), TOLERANCE) for layer in net.layers)


def reference_outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """What the package's reference evaluator, written in NumPy, gives for x; all in float64.

    x : in the layout that the model takes.

    Raises ValueError if the evaluator cannot run the model.
    """
    onnx = onnx_package("reference_outputs")
    try:
        with np.errstate(all="ignore"):
            evaluator = onnx.reference.ReferenceEvaluator(in_float64(model), new_ops=[general_max_pool()])
            return evaluator.run(None, {_input(model).name: np.ascontiguousarray(x)})[0]
    except Exception as error:  # whatever a graph's operators raise
        raise ValueError(f"onnx's reference evaluator does not run the model on inputs of {x.shape}: {error}") from None


def general_max_pool() -> Any:
    """The evaluator's own MaxPool, always by its general way: its shortcut for stride 1 takes uneven pads for others.

    Seen in onnx 1.23: 5 x 6 pixels, a window of 4 x 4 and pads (1, 1, 2, 2) give 4 x 7 pixels, and not 5 x 6.
    """
    own = importlib.import_module("onnx.reference.ops.op_max_pool").MaxPool

    def run(self: Any, x: np.ndarray, **settings: Any) -> Any:
        return self._max_pool(x, **settings)

    return type("MaxPool", (own,), {"op_domain": "", "_run": run})


def in_float64(model: Any) -> Any:
    """A copy of a model in which all that is float32 has become float64."""
    onnx = onnx_package("in_float64")
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    widened = copy.deepcopy(model)
    constants = [a.t for node in widened.graph.node if node.op_type == "Constant" for a in node.attribute]
    for tensor in [*widened.graph.initializer, *constants]:
        if tensor.data_type == single:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in [*widened.graph.input, *widened.graph.output]:
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    del widened.graph.value_info[:]  # what was inferred for float32
    return widened


def inputs_of(graph: Any) -> list[Any]:
    """What a graph is given. Old files list their weights among the inputs as well."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _input(model: Any) -> Any:
    return inputs_of(model.graph)[0]
