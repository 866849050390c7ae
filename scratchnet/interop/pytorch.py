"""The same network in PyTorch: to compare the two, and to take weights from one to the other.

`equivalents.py` says what each layer is in PyTorch, and how the layout of its weights changes; `structure.py` makes a
network from PyTorch's. Both directions end with a proof: the two networks compute the same numbers, or the result is
not given out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scratchnet.interop.equivalents import equivalent, record_of
from scratchnet.interop.order import walk
from scratchnet.interop.proof import difference, in_our_order, trial
from scratchnet.interop.structure import network_like, refusals
from scratchnet.layers.base import Layer, Shape, state_arrays
from scratchnet.network import Network

if TYPE_CHECKING:
    import torch


COUNTED = "num_batches_tracked"  # by a BatchNorm that is asked for the mean of all batches; it is refused


def to_torch(net: Network) -> torch.nn.Sequential:
    """A torch.nn.Sequential that computes the same function, with copies of the weights in the same dtype.

    It takes images (N, C, H, W). Its dropout draws other masks, so call `.eval()` to compare outputs. Where the network
    ends with images that were flattened, their numbers come in PyTorch's order: (c, h, w).

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If the input's shape is not known, or a layer or its state has no equivalent in PyTorch; or if the two networks
        do not compute the same numbers.
    """
    import torch

    modules: list[torch.nn.Module] = []
    with torch.no_grad():
        for layer, input_shape, flattened in walk(net):
            _require_no_state(layer)
            made = equivalent(layer, "torch")(layer, input_shape)
            modules += made
            if layer.parameters():
                _set_values(layer, made[-1], flattened)
            for name in record_of(layer).torch_state:
                getattr(made[-1], name)[...] = torch.from_numpy(state_arrays(layer.state())[name])
    torch_net = torch.nn.Sequential(*modules)
    _require_the_same(torch_net, net)
    return torch_net


def from_torch(
    torch_net: torch.nn.Module, net: Network | None = None, *, input_shape: Sequence[int] | None = None
) -> Network:
    """The scratchnet network that computes what a PyTorch network computes, with copies of its weights.

    Parameters
    ----------
    torch_net : torch.nn.Module
        Modules in a row: a Sequential, or a class whose `forward` calls one after the other.
    net : Network, optional
        What to fill: the n-th module with parameters, in the order of `torch_net.modules()`, fills the n-th layer with
        parameters. If not given, a new network is made from the modules, in float32 or float64 as their weights.
    input_shape : (H, W, C) or (K,), optional
        The shape of one input, for a new network.

    Returns
    -------
    net, or the new network.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        If torch_net is no module: a state dict, say.
    ValueError
        If a module has no equivalent; if the numbers of layers, the shapes or the dtypes do not match, or either
        network has arrays that are not trained; or if the two networks do not compute the same numbers. Nothing is
        changed then.
    """
    import torch

    if not isinstance(torch_net, torch.nn.Module):
        raise TypeError(
            f"from_torch: expected a torch.nn.Module, got {type(torch_net).__name__}; for a state dict, make the "
            "network in PyTorch and call its load_state_dict first"
        )
    if net is None:
        if input_shape is None:
            raise ValueError("from_torch: expected a net to fill, or the input_shape of a new one: (H, W, C) or (K,)")
        net = network_like(torch_net, tuple(input_shape))
        if any(p.dtype == torch.float64 for p in torch_net.parameters()):
            net = net.astype(np.float64)
    for layer in net.layers:
        _require_no_state(layer)
    theirs = [m for m in torch_net.modules() if list(m.parameters(recurse=False))]
    ours = [(layer, flattened) for layer, _, flattened in walk(net) if layer.parameters()]
    if len(theirs) != len(ours):
        raise ValueError(f"{net.name} has {len(ours)} layers with weights, but the PyTorch network has {len(theirs)}")
    pairs = [(layer, flattened, module) for (layer, flattened), module in zip(ours, theirs, strict=True)]
    _require_no_other_buffers(torch_net, {id(module): record_of(layer).torch_state for layer, _, module in pairs})
    values = [value for layer, flattened, module in pairs for value in _values_from(layer, module, flattened)]
    state = {f"{layer.name}.{name}": value for layer, _, module in pairs for name, value in _state_from(layer, module)}
    filled = copy.deepcopy(net)
    _fill(filled, values, state)
    _require_the_same(torch_net, filled)
    _fill(net, values, state)
    return net


def _fill(net: Network, values: list[np.ndarray], state: dict[str, np.ndarray]) -> None:
    for p, value in zip(net.parameters(), values, strict=True):
        p.value = value
    net.set_state(state)


def _require_no_other_buffers(torch_net: torch.nn.Module, taken: dict[int, tuple[str, ...]]) -> None:
    """A ValueError if a module keeps arrays that its layer does not take. taken : their names, by the module's id."""
    for owner, module in torch_net.named_modules():
        for name, _ in module.named_buffers(recurse=False):
            if name not in (*taken.get(id(module), ()), COUNTED):
                raise ValueError(
                    f"the PyTorch network keeps {f'{owner}.{name}'.lstrip('.')}, which is not trained and has no "
                    "equivalent"
                )


def _state_from(layer: Layer, module: torch.nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of the layer's state that a module keeps, in the dtype of ours."""
    for name in record_of(layer).torch_state:
        theirs = getattr(module, name, None)
        held = state_arrays(layer.state())[name]
        if theirs is None or tuple(theirs.shape) != held.shape:
            raise ValueError(f"{layer.name}: expected {name} of shape {held.shape}, but PyTorch's {module} has none")
        yield name, theirs.detach().cpu().numpy().astype(held.dtype)


# ---------------------------------------------------------------- the proof


def _require_the_same(torch_net: torch.nn.Module, net: Network) -> None:
    """A ValueError unless the two networks give the same outputs for random inputs, in float64 and outside training."""
    import torch

    x, ours = trial(net)
    their_x = images_to_torch(x) if x.ndim == 4 else torch.from_numpy(x)
    try:
        with torch.no_grad():
            theirs = copy.deepcopy(torch_net).cpu().double().eval()(their_x).numpy()
    except RuntimeError as error:
        raise ValueError(
            f"{net.name}: PyTorch's network does not take inputs of {tuple(their_x.shape)}: {error}"
        ) from None
    apart = difference(in_our_order(theirs, net), ours)
    if apart is None:
        return
    reasons = "".join(f"; {reason}" for reason in refusals(torch_net))
    raise ValueError(f"{net.name}: PyTorch's network computes something else: {apart}{reasons}")


def images_to_torch(x: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, C) as a tensor (N, C, H, W)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _require_no_state(layer: Layer) -> None:
    """A ValueError for a layer with arrays of state, which would be lost. Random generators need not be converted."""
    kept = list(state_arrays(layer.state()))
    if kept and not set(kept) <= set(record_of(layer).torch_state):
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
