"""The same network in PyTorch: for comparing the two, and for taking weights from one to the other.

What each layer is there, and how its weights change, is in `equivalents.py`.
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
            _require_no_state(layer)
            made = equivalent(layer, "torch")(layer, input_shape)
            modules += made
            if layer.parameters():
                _set_values(layer, made[-1], flattened)
    return torch.nn.Sequential(*modules)


def from_torch(torch_net: torch.nn.Module, net: Network) -> Network:
    """Fill `net` with copies of the weights of a PyTorch network of the same layers; returns `net`.

    The n-th module with parameters there (in the order of `torch_net.modules()`) fills the n-th such layer here.

    Raises
    ------
    ValueError
        If the numbers of layers or the shapes do not match, or either network keeps arrays that are not trained;
        nothing is changed then.
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
    """Each layer with its input's shape, and for a dense layer the image shape that was flattened into its input."""
    flattened: Shape | None = None
    shapes = net.output_shapes()
    for layer, input_shape in zip(net.layers, shapes, strict=False):
        if isinstance(layer, book.Flatten):
            flattened = input_shape if len(input_shape) == 3 else None
        yield layer, input_shape, flattened
        if isinstance(layer, book.Dense):
            flattened = None  # its outputs have no pixels any more


def _require_no_state(layer: Layer) -> None:
    """A ValueError for a layer with arrays that no module would hold. A generator is left behind, as the masks are."""
    kept = state_arrays(layer.state())
    if kept:
        raise ValueError(
            f"{layer.name}: a {type(layer).__name__} keeps {', '.join(kept)}, which has no equivalent in PyTorch"
        )


# ---------------------------------------------------------------- weights


def _set_values(layer: Layer, module: torch.nn.Module, flattened: Shape | None) -> None:
    """Copy a layer's parameters into a module's own."""
    import torch

    values = record_of(layer).to_torch(layer, [p.value for p in layer.parameters()], flattened)
    for (name, _), value in zip(module.named_parameters(recurse=False), values, strict=True):
        setattr(module, name, torch.nn.Parameter(torch.from_numpy(value.copy())))


def _values_from(layer: Layer, module: torch.nn.Module, flattened: Shape | None) -> list[np.ndarray]:
    """The layer's new values, from a torch module's parameters; checked, and not yet set."""
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
