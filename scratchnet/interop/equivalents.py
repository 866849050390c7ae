"""What each layer is in the other frameworks: one record for each class of layers.

`to_torch`, `from_torch`, `to_onnx` and the benchmark's peers read the records. PyTorch, Keras and JAX are imported only
by the functions that need them.

Where PyTorch differs from scratchnet, and what is done about it:

    images                (N, H, W, C) here, (N, C, H, W) in PyTorch      torch's network takes images in its own layout
    convolution weights   (KH, KW, C, F), in PyTorch (F, C, KH, KW)       transposed
    depthwise weights     (KH, KW, C, M), in PyTorch (C*M, 1, KH, KW)     transposed, then c and m made one axis
    dense weights         (in, out), in PyTorch (out, in)                 transposed
    the first dense layer after Flatten: its inputs are in the order (h, w, c) here and (c, h, w) in PyTorch, so its
    rows are reordered

ONNX has PyTorch's layouts, and the same order after Flatten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchnet import layers as book
from scratchnet.interop.order import channels_first, channels_last
from scratchnet.layers.base import Layer, Shape, state_arrays
from scratchnet.layers.shapes import IntOrPair, Pads, Window


class NoEquivalent(ValueError):
    """A framework has nothing that computes the same as a layer."""


def unchanged(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    """For layers whose parameters have the same layout in both frameworks."""
    return values


@dataclass(frozen=True)
class OnnxNode:
    """One node of an ONNX graph. Its first input is the result of the node before.

    Attributes
    ----------
    op : str
        The operator, "Conv".
    arrays : dict of str to ndarray or None
        Its other inputs, in the operator's order, by the names that they get behind the layer's: {"w": ..., "b": ...}.
        None leaves an input out.
    attributes : dict
        The operator's attributes: {"strides": (1, 1)}.
    """

    op: str
    arrays: dict[str, np.ndarray | None] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Equivalent:
    """A layer in the other frameworks. A framework that is left out has no equivalent.

    Attributes
    ----------
    torch : function (layer, input_shape) -> list of torch.nn.Module
        The modules that together compute the same; the last one holds the parameters. `input_shape` is (H, W, C) or
        (K,).
    to_torch : function (layer, values, flattened) -> list of ndarray
        Convert the layer's parameters, or their gradients, to PyTorch's layout, in the order of the module's
        parameters. For a dense layer whose input Flatten made from images, `flattened` is their shape (H, W, C); else
        it is None.
    from_torch : function (layer, values, flattened) -> list of ndarray
        The reverse: from PyTorch's layout to scratchnet's.
    torch_state : names
        Arrays of the layer's state that the module keeps under the same names.
    keras : function (layer, input_shape) -> list of keras.layers.Layer
        Their weights are the layer's parameters, and then the arrays of its state, in the same order. A shape may
        differ, but not the order of the numbers.
    jax : function (layer, x, weights, key) -> array
        The forward pass. `weights` are the layer's by name, {"w": ..., "b": ...}. `key` is for random numbers, and None
        outside of training.
    onnx : function (layer, input_shape, flattened) -> list of OnnxNode
        The nodes that together compute the same outside of training, on images (N, C, H, W); none for a layer that
        does nothing then. `input_shape` is (H, W, C) or (K,), and `flattened` as above.
    """

    torch: Callable[[Any, Shape], list[Any]] | None = None
    to_torch: Callable[[Any, list[np.ndarray], Shape | None], list[np.ndarray]] = unchanged
    from_torch: Callable[[Any, list[np.ndarray], Shape | None], list[np.ndarray]] = unchanged
    torch_state: tuple[str, ...] = ()
    keras: Callable[[Any, Shape], list[Any]] | None = None
    jax: Callable[[Any, Any, dict[str, Any], Any], Any] | None = None
    onnx: Callable[[Any, Shape, Shape | None], list[OnnxNode]] | None = None


EQUIVALENTS: dict[type[Layer], Equivalent] = {}


def register(layer: type[Layer], equivalent: Equivalent) -> None:
    """Register what a class of layers is in the other frameworks. Subclasses do not inherit it: they may differ."""
    EQUIVALENTS[layer] = equivalent


def equivalent(layer: Layer, framework: str) -> Any:
    """The function that makes a layer in "torch", "keras" or "onnx", or computes it in "jax".

    Raises NoEquivalent, which names the layer, if there is none.
    """
    function = getattr(record_of(layer), framework)
    if function is None:
        name = {"torch": "PyTorch", "keras": "Keras", "jax": "JAX", "onnx": "ONNX"}[framework]
        raise NoEquivalent(f"{layer.name}: a {type(layer).__name__} has no equivalent in {name}")
    return function


def record_of(layer: Layer) -> Equivalent:
    """The record of a layer's class; an empty record if there is none."""
    return EQUIVALENTS.get(type(layer), Equivalent())


# ---------------------------------------------------------------- parts of the records


def torch_layer(kind: str, *arguments: Any, **options: Any) -> list[Any]:
    """A module of torch.nn by its name, as a list of one."""
    import torch

    return [getattr(torch.nn, kind)(*arguments, **options)]


def keras_layer(kind: str, *arguments: Any, **options: Any) -> list[Any]:
    """A layer of Keras by its name, as a list of one."""
    import keras

    return [getattr(keras.layers, kind)(*arguments, **options)]


def pads_of(layer: Any, image: Shape, size: IntOrPair) -> Pads:
    """The padding of an image (H, W, C): ((top, bottom), (left, right))."""
    return Window.on(image[:2], size, layer.stride, layer.padding).pads


def symmetric(pads: Pads) -> bool:
    return all(before == after for before, after in pads)


def torch_pads(pads: Pads) -> tuple[int, int, int, int]:
    """((top, bottom), (left, right)) in torch's order: left, right, top, bottom."""
    (top, bottom), (left, right) = pads
    return (left, right, top, bottom)


def onnx_node(op: str, layer: Any, flattened: Shape | None = None, **attributes: Any) -> list[OnnxNode]:
    """A node with the layer's parameters, as a list of one. They have the layout that PyTorch gives them."""
    values = record_of(layer).to_torch(layer, [p.value for p in layer.parameters()], flattened)
    return [OnnxNode(op, dict(zip(("w", "b"), values, strict=False)), attributes)]


def onnx_window(layer: Any, image: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """The attributes of a window. Its pads are given as numbers: "SAME_UPPER" is read in more than one way."""
    (top, bottom), (left, right) = pads_of(layer, image, size)
    return {"kernel_shape": size, "strides": layer.stride, "pads": (top, left, bottom, right)}


# ---------------------------------------------------------------- convolutions


def torch_conv(layer: Any, image: Shape, channels: int, filters: int, groups: int = 1) -> list[Any]:
    """A Conv2d. If torch's own padding cannot do the same, a layer that pads comes before it."""
    pads, options = pads_of(layer, image, layer.kernel_size), {"groups": groups, "bias": layer.bias}
    (conv,) = torch_layer("Conv2d", channels, filters, layer.kernel_size, layer.stride, **options)
    if symmetric(pads):
        conv.padding = (pads[0][0], pads[1][0])
        conv._reversed_padding_repeated_twice = torch_pads(pads)
        return [conv]
    return [*torch_layer("ZeroPad2d", torch_pads(pads)), conv]


def conv_to_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    return [values[0].transpose(3, 2, 0, 1), *values[1:]]


def conv_from_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    return [values[0].transpose(2, 3, 1, 0), *values[1:]]


def keras_conv(kind: str, layer: Any, image: Shape, *arguments: Any, **options: Any) -> list[Any]:
    """A Keras convolution. If the padding is neither "same" nor "valid", a layer that pads comes before it."""
    pads = pads_of(layer, image, layer.kernel_size)
    padding = "same" if layer.padding == "same" else "valid"
    before = keras_layer("ZeroPadding2D", pads) if padding == "valid" and any(map(any, pads)) else []
    options |= {"strides": layer.stride, "padding": padding, "use_bias": layer.bias}
    return [*before, *keras_layer(kind, *arguments, layer.kernel_size, **options)]


def jax_conv(x: Any, w: Any, weights: dict[str, Any], stride: Shape, pads: Any, groups: int = 1) -> Any:
    """A convolution with weights (KH, KW, C / groups, F)."""
    import jax

    layout = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(x, w, stride, pads, dimension_numbers=layout, feature_group_count=groups)
    return out + weights["b"] if "b" in weights else out


register(
    book.Conv2D,
    Equivalent(
        torch=lambda layer, image: torch_conv(layer, image, layer.in_channels, layer.filters),
        to_torch=conv_to_torch,
        from_torch=conv_from_torch,
        keras=lambda layer, image: keras_conv("Conv2D", layer, image, layer.filters),
        jax=lambda layer, x, weights, key: jax_conv(
            x, weights["w"], weights, layer.stride, pads_of(layer, x.shape[1:], layer.kernel_size)
        ),
        onnx=lambda layer, image, flattened: onnx_node("Conv", layer, **onnx_window(layer, image, layer.kernel_size)),
    ),
)


def depthwise_to_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    KH, KW, C, M = values[0].shape
    return [values[0].transpose(2, 3, 0, 1).reshape(C * M, 1, KH, KW), *values[1:]]


def depthwise_from_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    KH, KW, C, M = layer.w.value.shape
    return [values[0].reshape(C, M, KH, KW).transpose(2, 3, 0, 1), *values[1:]]


def depthwise_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    w = weights["w"].reshape(*layer.kernel_size, 1, -1)
    pads = pads_of(layer, x.shape[1:], layer.kernel_size)
    return jax_conv(x, w, weights, layer.stride, pads, groups=layer.channels)


register(
    book.DepthwiseConv2D,
    Equivalent(
        torch=lambda layer, image: torch_conv(
            layer, image, layer.channels, layer.channels * layer.multiplier, groups=layer.channels
        ),
        to_torch=depthwise_to_torch,
        from_torch=depthwise_from_torch,
        keras=lambda layer, image: keras_conv("DepthwiseConv2D", layer, image, depth_multiplier=layer.multiplier),
        jax=depthwise_in_jax,
        onnx=lambda layer, image, flattened: onnx_node(
            "Conv", layer, group=layer.channels, **onnx_window(layer, image, layer.kernel_size)
        ),
    ),
)


register(
    book.PointwiseConv2D,
    Equivalent(
        torch=lambda layer, image: torch_layer("Conv2d", layer.in_channels, layer.filters, 1, bias=layer.bias),
        to_torch=conv_to_torch,
        from_torch=conv_from_torch,
        keras=lambda layer, image: keras_layer("Conv2D", layer.filters, 1, use_bias=layer.bias),
        jax=lambda layer, x, weights, key: jax_conv(x, weights["w"], weights, (1, 1), "VALID"),
        onnx=lambda layer, image, flattened: onnx_node("Conv", layer, kernel_shape=(1, 1)),
    ),
)

# ---------------------------------------------------------------- pooling


def max_pool_in_torch(layer: Any, image: Shape) -> list[Any]:
    pads = pads_of(layer, image, layer.pool_size)
    # torch's own padding is at most half a window, and the same on both sides
    before = torch_layer("ConstantPad2d", torch_pads(pads), -np.inf) if any(map(any, pads)) else []
    return [*before, *torch_layer("MaxPool2d", layer.pool_size, layer.stride)]


def max_pool_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    import jax

    pads = ((0, 0), *pads_of(layer, x.shape[1:], layer.pool_size), (0, 0))
    window, stride = (1, *layer.pool_size, 1), (1, *layer.stride, 1)
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, stride, pads)


def keras_pool(kind: str, layer: Any, image: Shape) -> list[Any]:
    if layer.padding not in ("same", "valid") and any(map(any, pads_of(layer, image, layer.pool_size))):
        raise NoEquivalent(f"{layer.name}: pooling with padding {layer.padding} has no equivalent in Keras")
    padding = "same" if layer.padding == "same" else "valid"
    return keras_layer(kind, layer.pool_size, layer.stride, padding)


register(
    book.MaxPool2D,
    Equivalent(
        torch=max_pool_in_torch,
        keras=lambda layer, image: keras_pool("MaxPool2D", layer, image),
        jax=max_pool_in_jax,
        onnx=lambda layer, image, flattened: onnx_node("MaxPool", layer, **onnx_window(layer, image, layer.pool_size)),
    ),
)


def avg_pool_in_torch(layer: Any, image: Shape) -> list[Any]:
    pads = pads_of(layer, image, layer.pool_size)
    half = tuple(size // 2 for size in layer.pool_size)
    if not symmetric(pads) or pads[0][0] > half[0] or pads[1][0] > half[1]:
        raise NoEquivalent(
            f"{layer.name}: average pooling with padding {pads} has no equivalent in PyTorch, which pads both sides "
            "alike and by at most half a window"
        )
    padding = (pads[0][0], pads[1][0])
    return torch_layer("AvgPool2d", layer.pool_size, layer.stride, padding, count_include_pad=False)


def avg_pool_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    """The sum of each window, divided by the number of its pixels that lie in the image."""
    import jax

    pads = ((0, 0), *pads_of(layer, x.shape[1:], layer.pool_size), (0, 0))
    window, stride = (1, *layer.pool_size, 1), (1, *layer.stride, 1)
    sums = [jax.lax.reduce_window(y, 0.0, jax.lax.add, window, stride, pads) for y in (x, np.ones_like(x[:1, ..., :1]))]
    return sums[0] / sums[1]


register(
    book.AvgPool2D,
    Equivalent(
        torch=avg_pool_in_torch,
        keras=lambda layer, image: keras_pool("AveragePooling2D", layer, image),
        jax=avg_pool_in_jax,
        onnx=lambda layer, image, flattened: onnx_node(
            "AveragePool", layer, count_include_pad=0, **onnx_window(layer, image, layer.pool_size)
        ),
    ),
)

# ---------------------------------------------------------------- dense


def dense_to_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    return [channels_first(values[0], flattened).T, *values[1:]]


def dense_from_torch(layer: Any, values: list[np.ndarray], flattened: Shape | None) -> list[np.ndarray]:
    return [channels_last(values[0].T, flattened), *values[1:]]


register(
    book.Dense,
    Equivalent(
        torch=lambda layer, shape: torch_layer("Linear", layer.in_features, layer.out_features, bias=layer.bias),
        to_torch=dense_to_torch,
        from_torch=dense_from_torch,
        keras=lambda layer, shape: keras_layer("Dense", layer.out_features, use_bias=layer.bias),
        jax=lambda layer, x, weights, key: x @ weights["w"] + weights.get("b", 0.0),
        onnx=lambda layer, shape, flattened: onnx_node("Gemm", layer, flattened, transB=1),
    ),
)

# ---------------------------------------------------------------- layers without weights


def relu_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    import jax

    return jax.nn.relu(x)


register(
    book.ReLU,
    Equivalent(
        torch=lambda layer, shape: torch_layer("ReLU"),
        keras=lambda layer, shape: keras_layer("ReLU"),
        jax=relu_in_jax,
        onnx=lambda layer, shape, flattened: onnx_node("Relu", layer),
    ),
)


register(
    book.Flatten,
    Equivalent(
        torch=lambda layer, shape: torch_layer("Flatten"),
        keras=lambda layer, shape: keras_layer("Flatten"),
        jax=lambda layer, x, weights, key: x.reshape(len(x), -1),
        onnx=lambda layer, shape, flattened: onnx_node("Flatten", layer, axis=1),
    ),
)


def dropout_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    import jax

    if key is None:
        return x
    kept = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
    return jax.numpy.where(kept, x / (1 - layer.rate), 0)


register(
    book.Dropout,
    Equivalent(
        torch=lambda layer, shape: torch_layer("Dropout", layer.rate),
        keras=lambda layer, shape: keras_layer("Dropout", layer.rate),
        jax=dropout_in_jax,
        onnx=lambda layer, shape, flattened: [],
    ),
)


def resize_in_jax(layer: Any, x: Any, weights: dict[str, Any], key: Any) -> Any:
    import jax

    return jax.image.resize(x, (len(x), *layer.size, x.shape[-1]), "bilinear", antialias=False)


def resize_in_onnx(layer: Any, image: Shape, flattened: Shape | None) -> list[OnnxNode]:
    """By factors, not by sizes: these would have to name the size of the batch."""
    factors = [np.float32(out / size) for size, out in zip(image, layer.size, strict=False)]
    for axis, (size, out) in enumerate(zip(image, layer.size, strict=False)):
        if float(factors[axis]) * size < out:  # a runtime rounds the product down
            factors[axis] = np.nextafter(factors[axis], np.float32(np.inf))
    scales = np.array([1, 1, *factors], np.float32)
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [OnnxNode("Resize", {"roi": None, "scales": scales}, attributes)]


register(
    book.Resize,
    Equivalent(
        torch=lambda layer, image: torch_layer("Upsample", layer.size, mode="bilinear", align_corners=False),
        keras=lambda layer, image: keras_layer("Resizing", *layer.size, interpolation="bilinear"),
        jax=resize_in_jax,
        onnx=resize_in_onnx,
    ),
)


# ---------------------------------------------------------------- layers with state


def batch_norm_in_onnx(layer: Any, shape: Shape, flattened: Shape | None) -> list[OnnxNode]:
    """ONNX's momentum is the weight of the mean so far, not of the newest batch."""
    held = {"w": layer.w.value, "b": layer.b.value, **state_arrays(layer.state())}
    arrays: dict[str, np.ndarray | None] = {name: channels_first(array, flattened) for name, array in held.items()}
    return [OnnxNode("BatchNormalization", arrays, {"epsilon": layer.eps, "momentum": 1 - layer.momentum})]


register(
    book.BatchNorm,
    Equivalent(
        torch=lambda layer, shape: torch_layer(
            "BatchNorm2d" if len(shape) == 3 else "BatchNorm1d", layer.channels, layer.eps, layer.momentum
        ),
        torch_state=("running_mean", "running_var"),
        keras=lambda layer, shape: keras_layer("BatchNormalization", momentum=1 - layer.momentum, epsilon=layer.eps),
        onnx=batch_norm_in_onnx,
    ),
)
