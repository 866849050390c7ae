"""The same network in PyTorch: to compare the two, and to take weights from one to the other.

`equivalents.py` says what each layer is in PyTorch, and how the layout of its weights changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scratchnet import layers as book
from scratchnet.interop.equivalents import equivalent, record_of
from scratchnet.layers.base import Layer, Shape, state_arrays
from scratchnet.network import Network

if TYPE_CHECKING:
    import torch


def to_torch(net: Network) -> torch.nn.Sequential:
    """A torch.nn.Sequential that computes the same function, with copies of the weights in the same dtype.

    It takes images (N, C, H, W). Its dropout draws other masks, so call `.eval()` to compare outputs.

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
            _require_no_state(layer)
            made = equivalent(layer, "torch")(layer, input_shape)
            modules += made
            if layer.parameters():
                _set_values(layer, made[-1], flattened)
    return torch.nn.Sequential(*modules)


def from_torch(torch_net: torch.nn.Module, net: Network) -> Network:
    """Fill `net` with copies of the weights of a PyTorch network that has the same layers; returns `net`.

    The n-th module with parameters, in the order of `torch_net.modules()`, fills the n-th layer with parameters.

    Raises
    ------
    ValueError
        If the numbers of layers, the shapes or the dtypes do not match, or if either network has arrays that are not
        trained. Nothing is changed then.
    """
    for layer in net.layers:
        _require_no_state(layer)
    kept = [name for name, _ in torch_net.named_buffers()]
    if kept:
        raise ValueError(
            f"the PyTorch network keeps {', '.join(kept)}, which are not trained and have no equivalent in {net.name}"
        )
    theirs = [m for m in torch_net.modules() if list(m.parameters(recurse=False))]
    ours = [(layer, flattened) for layer, _, flattened in _walk(net) if layer.parameters()]
    if len(theirs) != len(ours):
        raise ValueError(f"{net.name} has {len(ours)} layers with weights, but the PyTorch network has {len(theirs)}")
    values = [_values_from(layer, module, flattened) for (layer, flattened), module in zip(ours, theirs, strict=True)]
    for (layer, _), layer_values in zip(ours, values, strict=True):
        for p, value in zip(layer.parameters(), layer_values, strict=True):
            p.value = value
    return net


def images_to_torch(x: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, C) as a tensor (N, C, H, W)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _walk(net: Network) -> Iterator[tuple[Layer, Shape, Shape | None]]:
    """Each layer with the shape of its input, and, if Flatten made that from images, the shape of these; else None."""
    flattened: Shape | None = None
    shapes = net.output_shapes()
    for layer, input_shape in zip(net.layers, shapes, strict=False):
        if isinstance(layer, book.Flatten):
            flattened = input_shape if len(input_shape) == 3 else None
        yield layer, input_shape, flattened
        if isinstance(layer, book.Dense):
            flattened = None  # a dense layer's outputs are no pixels


def _require_no_state(layer: Layer) -> None:
    """A ValueError for a layer with arrays of state, which would be lost. Random generators need not be converted."""
    kept = state_arrays(layer.state())
    if kept:
        raise ValueError(
            f"{layer.name}: a {type(layer).__name__} keeps {', '.join(kept)}, which has no equivalent in PyTorch"
        )


# ---------------------------------------------------------------- weights


def _set_values(layer: Layer, module: torch.nn.Module, flattened: Shape | None) -> None:
    """Copy a layer's parameters into the parameters of a module."""
    import torch

    values = record_of(layer).to_torch(layer, [p.value for p in layer.parameters()], flattened)
    for (name, _), value in zip(module.named_parameters(recurse=False), values, strict=True):
        setattr(module, name, torch.nn.Parameter(torch.from_numpy(value.copy())))


def _values_from(layer: Layer, module: torch.nn.Module, flattened: Shape | None) -> list[np.ndarray]:
    """The layer's new values, from a torch module's parameters: checked, but not yet set."""
    import torch

    for name, p in module.named_parameters(recurse=False):
        if p.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{layer.name}: expected weights of torch.float32 or torch.float64, but {name} of PyTorch's {module} "
                f"has {p.dtype}; convert the network with .float()"
            )
    theirs = [p.detach().cpu().numpy() for p in module.parameters(recurse=False)]
    ours = layer.parameters()
    if len(theirs) != len(ours) or theirs[0].size != ours[0].value.size:
        raise ValueError(
            f"{layer.name}: expected weights for {ours[0].value.shape} {'with' if len(ours) > 1 else 'without'} bias, "
            f"but PyTorch's {module} has {theirs[0].shape}"
        )
    values = [np.array(value) for value in record_of(layer).from_torch(layer, theirs, flattened)]
    for p, value in zip(ours, values, strict=True):
        if p.value.shape != value.shape:
            raise ValueError(f"{p.name}: expected shape {p.value.shape}, but PyTorch's {module} gives {value.shape}")
    return values
