"""A network from an ONNX file: the nodes of its graph in a row, each as a layer.

`onnx_nodes.py` says what each operator is here. All nodes are looked at before a layer is made, and the result is
compared with onnx's reference evaluator before it is given out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.interop.onnx_nodes import ADVICE, OPERATORS, SOMEWHERE, OnnxStep, Refused
from scratchnet.interop.onnx_reference import (
    TO_CHANNELS_FIRST,
    inputs_of,
    onnx_package,
    reference_outputs,
    tolerance,
)
from scratchnet.interop.order import walk
from scratchnet.interop.proof import BATCH, difference, in_our_order, trial
from scratchnet.layers.base import Layer, Shape
from scratchnet.network import Network
from scratchnet.reading import FileFault, as_file

OLDEST_OPSET = 14  # in earlier ones, a BatchNormalization says by its outputs whether it is in training


def from_onnx(path: str | Path, *, input_shape: Sequence[int] | None = None) -> Network:
    """The network that computes what an ONNX file computes, with copies of its weights, in the file's dtype.

    The file has to be one row of nodes that are layers here: Conv (with group 1 or as many as channels), MaxPool,
    AveragePool, GlobalAveragePool, Relu, Flatten, Reshape to (N, -1), Gemm, MatMul with or without Add,
    BatchNormalization, Dropout, Resize and Identity. Its images are (N, C, H, W), or (N, H, W, C) if it begins with a
    Transpose. The network takes (N, H, W, C) in both cases.

    The two are compared on a random batch, in float64. Their outputs have to agree within 1e-9 of the largest; within
    1e-6 with a BatchNormalization and 1e-4 with a Resize, whose settings ONNX holds in float32.

    Parameters
    ----------
    path : str or Path
        The file.
    input_shape : (H, W, C) or (K,), optional
        The shape of one input, for a file that leaves it open.

    Returns
    -------
    Network

    Raises
    ------
    ImportError
        If the package onnx is not installed: ``pip install "scratchnet[onnx]"``.
    FileNotFoundError
        If there is no such file.
    FileFault
        If the file is damaged, or no ONNX file.
    ValueError
        If a node or one of its settings has no equivalent, and the message names it; if there are branches, several
        inputs or outputs, another dtype, or weights in other files; or if the two do not compute the same numbers.
    """
    onnx = onnx_package("from_onnx")
    model = read_model(onnx, path)
    try:
        return network_of(onnx, model, input_shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def network_of(onnx: Any, model: Any, input_shape: Sequence[int] | None) -> Network:
    """The network that a model is. Raises ValueError as `from_onnx` does, without the path."""
    given = _require_one_of_each(onnx, model)
    steps = list(joined(steps_of(onnx, model, given)))
    channels_last = bool(steps) and is_to_channels_first(steps[0])
    steps = steps[1:] if channels_last else steps
    for step in steps:
        _check(step)
    batch, shape = shape_of(given, channels_last, input_shape)
    pairs = list(layers_of(steps, shape))
    if not pairs:
        raise ValueError("expected at least one node that is a layer here, got none")
    net = Network([layer for layer, _ in pairs], shape, model.graph.name or "network")
    if given.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
        net.astype(np.float64)
    for (layer, _, flattened), (_, step) in zip(walk(net), pairs, strict=True):
        _fill(layer, step, flattened)
    _require_the_same(model, net, channels_last, batch)
    return net


# ---------------------------------------------------------------- the file


def read_model(onnx: Any, path: str | Path) -> Any:
    """The file as an onnx.ModelProto that onnx's checker has nothing against."""
    from google.protobuf.message import DecodeError

    content = as_file(path, "an ONNX file").read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, UnicodeDecodeError) as error:
        raise FileFault(f"{path}: damaged, or no ONNX file ({error})") from None
    _require_all_inside(onnx, path, model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as error:
        raise FileFault(f"{path}: damaged, or no ONNX file: {' '.join(str(error).split())}") from None
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"{path}: expected opset {OLDEST_OPSET} or later, got {opset}; convert it with "
            f"onnx.version_converter.convert_version(model, {OLDEST_OPSET})"
        )
    return model


def _require_all_inside(onnx: Any, path: str | Path, model: Any) -> None:
    """A ValueError if weights lie in other files: they would be read from wherever the file says."""
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f"{path}: expected all weights in this file, but {tensor.name} lies in another one (external data); "
                "load the model with onnx.load, and save it with onnx.save into one file"
            )


def opset_of(model: Any) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _require_one_of_each(onnx: Any, model: Any) -> Any:
    """The only input of a graph with one input and one output, of a dtype that layers have; else a ValueError."""
    graph = model.graph
    for what, values in (("input", inputs_of(graph)), ("output", graph.output)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise ValueError(
                f"expected one {what}, got {len(values)} ({names}); cut the model into parts with one each"
            )
    (given,) = inputs_of(graph)
    kinds = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    kind = given.type.tensor_type.elem_type
    if kind not in kinds:
        got = onnx.TensorProto.DataType.Name(kind).lower()
        raise ValueError(
            f"expected an input {given.name} of float32 or float64, got {got}; convert the model to float32"
        )
    return given


def shape_of(given: Any, channels_last: bool, input_shape: Sequence[int] | None) -> tuple[int | None, Shape]:
    """The size of the batch (None: any), and the shape of one input, (H, W, C) or (K,).

    Raises ValueError if the file leaves the shape open and `input_shape` does not say it, or the two differ.
    """
    batch, *one = axes_of(given)
    if len(one) not in (1, 3):
        raise ValueError(f"expected an input {given.name} of 2 or 4 axes: rows, or images; got {len(one) + 1}")
    if len(one) == 3 and not channels_last:
        one = [*one[1:], one[0]]
    shape = tuple(one if input_shape is None else input_shape)
    if len(shape) != len(one) or any(known not in (None, size) for known, size in zip(one, shape, strict=True)):
        raise ValueError(f"expected the input_shape of the file, {tuple(one)}, got {shape}")
    if None in shape:
        raise ValueError(f"the file leaves the input's shape open: {shape}; give it, as in input_shape=(28, 28, 1)")
    return batch, tuple(size for size in shape if size is not None)


def axes_of(given: Any) -> list[int | None]:
    """The sizes of an input's axes; None for those that are open."""
    return [dim.dim_value or None for dim in given.type.tensor_type.shape.dim] or [None]


# ---------------------------------------------------------------- the nodes in a row


def steps_of(onnx: Any, model: Any, given: Any) -> Iterator[OnnxStep]:
    """The nodes from the input to the output, each with its constants. Raises ValueError unless they are in a row."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    now, batch = given.name, axes_of(given)[0]
    for i, node in enumerate(model.graph.node):
        name = f"{node.name or f'node {i}'} ({node.op_type})"
        if node.op_type == "Constant" and not node.domain:
            constants[node.output[0]] = constant(onnx, name, node)
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        else:
            _require_known(name, node)
            _require_next(name, node, now, constants)
            attributes = attributes_of(onnx, node, opset_of(model))
            others = [constants.get(held) for held in node.input if held != now]
            yield OnnxStep(name, node.op_type, others, attributes, batch)
            now = node.output[0]
    output = model.graph.output[0].name
    if output != now:
        raise ValueError(
            f"expected the result of the last node, {now}, as the output, got {output}; cut off what follows"
        )


def attributes_of(onnx: Any, node: Any, opset: int) -> dict[str, Any]:
    """The attributes of a node, with the operator's defaults for those that are not given."""
    values = {}
    if onnx.defs.has(node.op_type, opset, node.domain):
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        defaults = ((name, attribute.default_value) for name, attribute in schema.attributes.items())
        values = {name: onnx.helper.get_attribute_value(default) for name, default in defaults if default.type}
    values |= {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def constant(onnx: Any, name: str, node: Any) -> np.ndarray:
    """The array of a Constant node."""
    (attribute,) = node.attribute
    key, value = attribute.name, onnx.helper.get_attribute_value(attribute)
    if key == "value" and value.data_location != onnx.TensorProto.EXTERNAL:
        return onnx.numpy_helper.to_array(value)
    if key in ("value_float", "value_floats", "value_int", "value_ints"):
        return np.array(value, np.float32 if "float" in key else np.int64)
    raise ValueError(f"{name}: expected numbers in this file, got {key}")


def _require_known(name: str, node: Any) -> None:
    """A ValueError for an operator that is not here."""
    known = {*OPERATORS, *SOMEWHERE}
    own = node.domain in ("", "ai.onnx")
    if own and node.op_type in known:
        return
    kind = node.op_type if own else f"{node.domain}.{node.op_type}"
    advice = ADVICE.get(kind, "take it out of the model")
    raise ValueError(f"{name}: {kind} has no equivalent here; {advice}. These have one: {', '.join(sorted(known))}")


def _require_next(name: str, node: Any, now: str, constants: dict[str, np.ndarray]) -> None:
    """A ValueError unless a node takes the result of the node before, and constants."""
    taken = [held for held in node.input if held and held not in constants]
    first = node.input[0] == now or node.op_type == "Add"
    if taken != [now] or not first:
        raise ValueError(
            f"{name}: expected nodes in a row, without branches: its first input the result of the node before, {now}, "
            f"and the others constants; got {', '.join(node.input)}"
        )


def joined(steps: Iterator[OnnxStep]) -> Iterator[OnnxStep]:
    """The same steps, with each MatMul and the Add behind it as one Gemm."""
    row = list(steps)
    operators = ["", *(step.op for step in row), ""]
    for i, step in enumerate(row):
        before, after = operators[i], operators[i + 2]
        if step.op == "MatMul":
            biases = row[i + 1].arrays if after == "Add" else []
            settings = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
            yield OnnxStep(step.name, "Gemm", [*step.arrays, *biases], settings)
        elif (before, step.op) != ("MatMul", "Add"):
            yield step


def is_to_channels_first(step: OnnxStep) -> bool:
    """Whether a step makes images (N, C, H, W) from (N, H, W, C)."""
    return step.op == "Transpose" and tuple(step.attributes.get("perm", ())) == TO_CHANNELS_FIRST


# ---------------------------------------------------------------- layers


def _check(step: OnnxStep) -> None:
    """A ValueError if a step has a setting that no layer has."""
    if step.op not in OPERATORS:
        raise ValueError(f"{step.name}: has no equivalent here; {SOMEWHERE[step.op]}")
    try:
        OPERATORS[step.op].check(step)
    except Refused as refused:
        raise ValueError(f"{step.name}: {refused}; nothing else has an equivalent here") from None


def layers_of(steps: list[OnnxStep], shape: Shape) -> Iterator[tuple[Layer, OnnxStep]]:
    """Each layer, with initial weights, and the step that it comes from."""
    for step in steps:
        try:
            layer = OPERATORS[step.op].make(step, shape)
            if layer is not None:
                shape = layer.shape_after((1, *shape))[1:]
                yield layer, step
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{step.name}: {error}") from None


def _fill(layer: Layer, step: OnnxStep, flattened: Shape | None) -> None:
    """Copy a step's arrays into its layer."""
    try:
        values = OPERATORS[step.op].values(step, layer, flattened)
        state = {name: values.pop(name) for name in list(values) if name in layer.state()}
        for name, value in values.items():
            getattr(layer, name).value = value
        layer.set_state(state)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{step.name}: {error}") from None


# ---------------------------------------------------------------- the proof


def _require_the_same(model: Any, net: Network, channels_last: bool, batch: int | None) -> None:
    """A ValueError unless the network gives the graph's outputs for random inputs, in float64."""
    x, ours = trial(net, batch or BATCH)
    theirs = reference_outputs(model, x if channels_last or x.ndim == 2 else x.transpose(TO_CHANNELS_FIRST))
    apart = difference(in_our_order(theirs, net), ours, tolerance(net))
    if apart is not None:
        raise ValueError(f"onnx's reference evaluator computes something else than the network: {apart}")
