"""The same network in PyTorch: for comparing the two, and for taking weights from one to the other.

Where the two differ, and what is done about it:

    images                (N, H, W, C) here, (N, C, H, W) there         torch's network takes images in its own layout
    convolution weights   (KH, KW, C, F), there (F, C, KH, KW)          transposed
    depthwise weights     (KH, KW, C, M), there (C*M, 1, KH, KW)        transposed, then c and m made one axis
    dense weights         (in, out), there (out, in)                    transposed
    the first dense layer after Flatten: its inputs come in the order (h, w, c) here and (c, h, w) there, so its rows
    are reordered
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet import layers as book
from scratchnet.layers.base import Layer, Shape, WeightedLayer, state_arrays
from scratchnet.layers.shapes import Pads, window_grid
from scratchnet.network import Network

if TYPE_CHECKING:
    import torch


def to_torch(net: Network) -> torch.nn.Sequential:
    """A torch.nn.Sequential that computes the same function, with copies of the weights, in their dtype.

    It takes images (N, C, H, W). Dropout draws other masks there, so call `.eval()` to compare outputs.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If the input's shape is not known, or a layer or its state has no equivalent in PyTorch.
    """
    import torch

    modules: list[torch.nn.Module] = []
    with torch.no_grad():
        for layer, input_shape, flattened in _walk(net):
            made = _modules(layer, input_shape)
            modules += made
            if isinstance(layer, WeightedLayer):
                _copy_to_torch(layer, made[-1], flattened)
    return torch.nn.Sequential(*modules)


def from_torch(torch_net: torch.nn.Module, net: Network) -> Network:
    """Fill `net` with copies of the weights of a PyTorch network of the same layers; returns `net`.

    The n-th layer with weights there (Conv2d or Linear, in the order of `torch_net.modules()`) fills the n-th here.

    Raises
    ------
    ValueError
        If the numbers of layers or the shapes do not match, or either network keeps arrays that are not trained;
        nothing is changed then.
    """
    import torch

    for layer in net.layers:
        _require_no_state(layer)
    kept = [name for name, _ in torch_net.named_buffers()]
    if kept:
        raise ValueError(
            f"the PyTorch network keeps {', '.join(kept)}, which are not trained and have no equivalent in {net.name}"
        )
    theirs = [m for m in torch_net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    ours = [(layer, flattened) for layer, _, flattened in _walk(net) if isinstance(layer, WeightedLayer)]
    if len(theirs) != len(ours):
        raise ValueError(f"{net.name} has {len(ours)} layers with weights, but the PyTorch network has {len(theirs)}")
    values = [
        _weights_from_torch(layer, module, flattened) for (layer, flattened), module in zip(ours, theirs, strict=True)
    ]
    for (layer, _), layer_values in zip(ours, values, strict=True):
        for p, value in zip(layer.parameters(), layer_values, strict=True):
            p.value = value
    return net


def images_to_torch(x: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, C) as a tensor (N, C, H, W)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _walk(net: Network) -> Iterator[tuple[Layer, Shape, Shape | None]]:
    """Each layer with its input's shape, and for a dense layer the image shape that was flattened into its input."""
    flattened: Shape | None = None
    shapes = net.output_shapes()
    for layer, input_shape in zip(net.layers, shapes, strict=False):
        if isinstance(layer, book.Flatten):
            flattened = input_shape if len(input_shape) == 3 else None
        yield layer, input_shape, flattened
        if isinstance(layer, book.Dense):
            flattened = None  # its outputs have no pixels any more


# ---------------------------------------------------------------- layers to modules


def _require_no_state(layer: Layer) -> None:
    """A ValueError for a layer with arrays that no module would hold. A generator is left behind, as the masks are."""
    kept = state_arrays(layer.state())
    if kept:
        raise ValueError(
            f"{layer.name}: a {type(layer).__name__} keeps {', '.join(kept)}, which has no equivalent in PyTorch"
        )


def _modules(layer: Layer, input_shape: Shape) -> list[torch.nn.Module]:
    _require_no_state(layer)
    for kind, make in _MAKERS.items():
        if isinstance(layer, kind):
            return make(layer, input_shape)
    raise ValueError(f"{layer.name}: a {type(layer).__name__} has no equivalent in PyTorch")


def _conv(layer: Any, input_shape: Shape) -> list[torch.nn.Module]:
    import torch

    if isinstance(layer, book.PointwiseConv2D):
        return [torch.nn.Conv2d(layer.in_channels, layer.filters, 1, bias=layer.bias)]
    if isinstance(layer, book.DepthwiseConv2D):
        channels, filters, groups = layer.channels, layer.channels * layer.multiplier, layer.channels
    else:
        channels, filters, groups = layer.in_channels, layer.filters, 1
    _, pads = window_grid(input_shape[:2], layer.kernel_size, layer.stride, layer.padding)
    conv = torch.nn.Conv2d(channels, filters, layer.kernel_size, layer.stride, groups=groups, bias=layer.bias)
    if _symmetric(pads):
        conv.padding = (pads[0][0], pads[1][0])
        conv._reversed_padding_repeated_twice = _torch_pads(pads)
        return [conv]
    return [torch.nn.ZeroPad2d(_torch_pads(pads)), conv]


def _max_pool(layer: Any, input_shape: Shape) -> list[torch.nn.Module]:
    import torch

    _, pads = window_grid(input_shape[:2], layer.pool_size, layer.stride, layer.padding)
    if any(map(any, pads)):  # torch pads its own way at most half a window, and alike on both sides
        before: list[torch.nn.Module] = [torch.nn.ConstantPad2d(_torch_pads(pads), -np.inf)]
    else:
        before = []
    return [*before, torch.nn.MaxPool2d(layer.pool_size, layer.stride)]


def _avg_pool(layer: Any, input_shape: Shape) -> list[torch.nn.Module]:
    import torch

    _, pads = window_grid(input_shape[:2], layer.pool_size, layer.stride, layer.padding)
    half = tuple(size // 2 for size in layer.pool_size)
    if not _symmetric(pads) or pads[0][0] > half[0] or pads[1][0] > half[1]:
        raise ValueError(
            f"{layer.name}: average pooling with padding {pads} has no equivalent in PyTorch, which pads alike on both "
            "sides and by at most half a window"
        )
    padding = (pads[0][0], pads[1][0])
    return [torch.nn.AvgPool2d(layer.pool_size, layer.stride, padding, count_include_pad=False)]


def _dense(layer: Any, input_shape: Shape) -> list[torch.nn.Module]:
    import torch

    return [torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)]


def _simple(layer: Any, input_shape: Shape) -> list[torch.nn.Module]:
    import torch

    if isinstance(layer, book.ReLU):
        return [torch.nn.ReLU()]
    if isinstance(layer, book.Flatten):
        return [torch.nn.Flatten()]
    if isinstance(layer, book.Dropout):
        return [torch.nn.Dropout(layer.rate)]
    return [torch.nn.Upsample(size=layer.size, mode="bilinear", align_corners=False)]


_MAKERS: dict[Any, Callable[[Any, Shape], list[torch.nn.Module]]] = {
    (book.Conv2D, book.DepthwiseConv2D, book.PointwiseConv2D): _conv,
    book.MaxPool2D: _max_pool,
    book.AvgPool2D: _avg_pool,
    book.Dense: _dense,
    (book.ReLU, book.Flatten, book.Dropout, book.Resize): _simple,
}


def _symmetric(pads: Pads) -> bool:
    return all(before == after for before, after in pads)


def _torch_pads(pads: Pads) -> tuple[int, int, int, int]:
    """((top, bottom), (left, right)) in torch's order: left, right, top, bottom."""
    (top, bottom), (left, right) = pads
    return (left, right, top, bottom)


# ---------------------------------------------------------------- weights


def _copy_to_torch(layer: WeightedLayer, module: Any, flattened: Shape | None) -> None:
    import torch

    w = layer.w.value
    if isinstance(layer, book.Dense):
        if flattened is not None:
            w = w.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(w.shape)  # rows from (h, w, c) to (c, h, w)
        theirs = w.T
    elif isinstance(layer, book.DepthwiseConv2D):
        KH, KW, C, M = w.shape
        theirs = w.transpose(2, 3, 0, 1).reshape(C * M, 1, KH, KW)
    else:
        theirs = w.transpose(3, 2, 0, 1)
    module.weight = torch.nn.Parameter(torch.from_numpy(theirs.copy()))
    if layer.b is not None:
        module.bias = torch.nn.Parameter(torch.from_numpy(layer.b.value.copy()))


def _weights_from_torch(layer: WeightedLayer, module: Any, flattened: Shape | None) -> list[np.ndarray]:
    """The layer's new values, from a torch module's weights; checked, and not yet set."""
    theirs = module.weight.detach().cpu().numpy()
    if theirs.size != layer.w.value.size or (module.bias is None) != (layer.b is None):
        raise ValueError(
            f"{layer.name}: expected weights for {layer.w.value.shape} {'with' if layer.b else 'without'} bias, "
            f"but PyTorch's {module} has {theirs.shape}"
        )
    shape = layer.w.value.shape
    if isinstance(layer, book.Dense):
        w = theirs.T
        if flattened is not None:
            H, W, C = flattened
            w = w.reshape(C, H, W, -1).transpose(1, 2, 0, 3).reshape(shape)  # rows from (c, h, w) to (h, w, c)
    elif isinstance(layer, book.DepthwiseConv2D):
        KH, KW, C, M = shape
        w = theirs.reshape(C, M, KH, KW).transpose(2, 3, 0, 1)
    else:
        w = theirs.transpose(2, 3, 1, 0)
    values = [np.ascontiguousarray(w), *([] if module.bias is None else [module.bias.detach().cpu().numpy().copy()])]
    for p, value in zip(layer.parameters(), values, strict=True):
        if p.value.shape != value.shape:
            raise ValueError(f"{p.name}: expected shape {p.value.shape}, but PyTorch's {module} gives {value.shape}")
    return values
