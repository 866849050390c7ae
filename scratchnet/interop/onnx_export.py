"""A network as an ONNX file, for other runtimes.

`equivalents.py` says what each layer is in ONNX. ONNX has channels first, so a file that takes images (N, H, W, C)
begins with a Transpose. Before the file is written, onnx's checker reads the graph, and its reference evaluator has to
compute the same numbers from it as the network: neither notices by itself that the rows of a dense layer are in another
order.

Source: the ONNX operators, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.interop.equivalents import OnnxNode, equivalent
from scratchnet.interop.onnx_reference import TO_CHANNELS_FIRST, onnx_package, reference_outputs, tolerance
from scratchnet.interop.order import walk
from scratchnet.interop.proof import difference, in_our_order, trial
from scratchnet.layers.base import Shape
from scratchnet.network import Network
from scratchnet.settings import instance, shown
from scratchnet.version import __version__
from scratchnet.writing import written_atomically

LAYOUTS = ("NCHW", "NHWC")

# The package's own defaults are the newest (opset 28 and IR 14 in onnx 1.23). Runtimes lag behind, and refuse what is
# newer than they are. Opset 17 has all that the layers need. It came in 2022 with ONNX 1.12, whose files are of IR 8:
# whatever was made since then reads these.
OPSET, IR_VERSION = 17, 8

BATCH_AXIS = "N"
INPUT, OUTPUT = "input", "output"


def to_onnx(net: Network, path: str | Path, *, layout: str = "NCHW") -> None:
    """Write a network to an ONNX file. The file is replaced as a whole or not at all.

    The file computes what `net.forward(x)` computes outside of training: logits for a classifier. It takes batches of
    any size. The size of the images is fixed, since the padding may depend on it. The weights keep their dtype, but
    many runtimes have convolutions in float32 only. Dropout is left out. A `BatchNorm` stays one; `fold_batch_norm`
    takes it out before.

    Graph and network are compared before on a random batch, as `from_onnx` does.

    Parameters
    ----------
    net : Network
        Its input's shape has to be known.
    path : str or Path
        Where to write the file, such as "net.onnx".
    layout : "NCHW" or "NHWC"
        Which images the file takes, as its input "input": (N, C, H, W), or (N, H, W, C) as here. Its output "output" is
        (N, K). If that is images, they are (N, C, H, W) in both layouts, and flattened ones are in the order (c, h, w).

    Raises
    ------
    ImportError
        If the package onnx is not installed: ``pip install "scratchnet[onnx]"``.
    TypeError
        If net is no Network.
    ValueError
        If the layout is another, the input's shape is not known, or a layer has no equivalent in ONNX; or if the file
        would not compute the same numbers. Nothing is written then.
    OSError
        If the file cannot be written.
    """
    instance("to_onnx", "net", net, Network)
    if layout not in LAYOUTS:
        raise ValueError(f"to_onnx: expected layout to be {' or '.join(LAYOUTS)}, got {shown(layout)}")
    onnx = onnx_package("to_onnx")
    model = model_of(net, layout)
    onnx.checker.check_model(model, full_check=True)
    _require_the_same(model, net, layout)
    with written_atomically(path) as partial:
        partial.write_bytes(model.SerializeToString())


# ---------------------------------------------------------------- the graph


def model_of(net: Network, layout: str) -> Any:
    """The network as an onnx.ModelProto."""
    onnx = onnx_package("to_onnx")
    dtype = dtype_of(net)
    # A copy has names of its own: a layer that was put into a second network may be named like another one here.
    named = Network(copy.deepcopy(net.layers), net.input_shape, net.name).astype(dtype)
    shapes = named.output_shapes()
    nodes, arrays = graph_parts(named, layout)
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    given = onnx.helper.make_tensor_value_info(INPUT, kind, [BATCH_AXIS, *in_layout(shapes[0], layout)])
    made = onnx.helper.make_tensor_value_info(OUTPUT, kind, [BATCH_AXIS, *in_layout(shapes[-1], "NCHW")])
    weights = [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, net.name, [given], [made], weights),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="scratchnet",
        producer_version=__version__,
    )


def graph_parts(net: Network, layout: str) -> tuple[list[Any], dict[str, np.ndarray]]:
    """The nodes of the graph in a row, and the arrays that they take, by name."""
    onnx = onnx_package("to_onnx")
    named = list(named_nodes(net, layout)) or [("identity", OnnxNode("Identity"))]
    nodes, before = [], INPUT
    arrays: dict[str, np.ndarray] = {}
    for i, (name, node) in enumerate(named):
        inputs = ["" if array is None else f"{name}.{key}" for key, array in node.arrays.items()]
        arrays |= {f"{name}.{key}": array for key, array in node.arrays.items() if array is not None}
        after = OUTPUT if i == len(named) - 1 else name
        nodes.append(onnx.helper.make_node(node.op, [before, *inputs], [after], name, **node.attributes))
        before = after
    return nodes, arrays


def named_nodes(net: Network, layout: str) -> Iterator[tuple[str, OnnxNode]]:
    """Each node with a name: the layer's, with a number if the layer has several."""
    if layout == "NHWC" and len(net.output_shapes()[0]) == 3:
        yield "to_channels_first", OnnxNode("Transpose", attributes={"perm": TO_CHANNELS_FIRST})
    for layer, input_shape, flattened in walk(net):
        nodes = equivalent(layer, "onnx")(layer, input_shape, flattened)
        for i, node in enumerate(nodes):
            yield layer.name if len(nodes) == 1 else f"{layer.name}.{i + 1}", node


def dtype_of(net: Network) -> Any:
    """float64 if any weight is, else float32."""
    return np.result_type(np.float32, *(p.value.dtype for p in net.parameters()))


def in_layout(shape: Shape, layout: str) -> Shape:
    """The shape of one example, (H, W, C) or (K,), in a layout of images."""
    return (shape[2], *shape[:2]) if layout == "NCHW" and len(shape) == 3 else shape


# ---------------------------------------------------------------- the proof


def _require_the_same(model: Any, net: Network, layout: str) -> None:
    """A ValueError unless the graph gives the network's outputs for random inputs, in float64."""
    x, ours = trial(net)
    theirs = reference_outputs(model, x.transpose(TO_CHANNELS_FIRST) if layout == "NCHW" and x.ndim == 4 else x)
    apart = difference(in_our_order(theirs, net), ours, tolerance(net))
    if apart is not None:
        raise ValueError(
            f"{net.name}: ONNX's graph computes something else: {apart}; nothing was written. A layer's record in "
            "scratchnet.interop is wrong"
        )
