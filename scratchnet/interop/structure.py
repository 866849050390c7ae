"""A network from the structure of a PyTorch one: the modules in the order in which they run, each as a layer.

PyTorch's tracer (`torch.fx`) finds the order, also where a class has its own `forward`. What cannot be a layer is
refused by name. `from_torch` then compares both networks on numbers, so nothing rests on this file alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from scratchnet import layers as book
from scratchnet.layers.base import Layer, Shape
from scratchnet.network import Network

if TYPE_CHECKING:
    import torch

Maker = Callable[[Any, Shape], list[Layer]]


def network_like(torch_net: torch.nn.Module, input_shape: Shape) -> Network:
    """A network of the same layers, with initial weights. input_shape : (H, W, C) or (K,), without N.

    Raises ValueError, which names the module, if something in it has no equivalent.
    """
    layers: list[Layer] = []
    shape = tuple(input_shape)
    for name, module in chain(torch_net):
        for layer in layers_like(name, module, shape):
            layers.append(layer)
            shape = layer.output_shape(shape)
    return Network(layers, input_shape, name=type(torch_net).__name__)


def layers_like(name: str, module: torch.nn.Module, shape: Shape) -> list[Layer]:
    """The layers that do what a module does; none for one that does nothing."""
    maker = makers().get(type(module))
    if maker is None:
        known = ", ".join(kind.__name__ for kind in makers())
        raise ValueError(f"{name}: PyTorch's {module} has no equivalent in scratchnet; these have one: {known}")
    try:
        return maker(module, shape)
    except Refused as refused:
        raise ValueError(f"{name}: PyTorch's {module} has {refused}, which has no equivalent in scratchnet") from None


def refusals(torch_net: torch.nn.Module) -> list[str]:
    """What in a network has no equivalent, as far as its modules show."""
    reasons = []
    for name, module in torch_net.named_modules():
        if not list(module.children()):
            try:
                layers_like(name or "the network", module, (9, 9, 1))
            except ValueError as error:
                reasons.append(str(error))
    return reasons


# ---------------------------------------------------------------- the order of the modules


def chain(torch_net: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Each module with its name, in the order of the forward pass; functions as the modules that do the same."""
    import torch

    owner = type(torch_net).__name__
    if type(torch_net) in makers():  # a module by itself
        yield owner, torch_net
        return
    try:
        traced = torch.fx.symbolic_trace(torch_net)
    except Exception as error:  # whatever the network's own forward raises when it gets no numbers
        raise ValueError(
            f"{owner}: its forward depends on more than its modules ({error}); make the network in scratchnet, and "
            "give it as net"
        ) from None
    last = None
    for node in traced.graph.nodes:
        if node.op == "placeholder" and last is None:
            last = node
        elif node.op == "output" and node.args == (last,):
            return
        elif is_of_shape(node):  # as in x.view(x.size(0), -1)
            continue
        elif node.op in ("call_module", "call_function", "call_method") and node.args[:1] == (last,):
            last = node
            yield (str(node.target), traced.get_submodule(node.target)) if node.op == "call_module" else called(node)
        else:
            raise ValueError(f"{owner}: expected modules in a row, but {node.format_node()} is not the next in one")


def is_of_shape(node: Any) -> bool:
    """Whether a step of the trace asks for an array's shape, or for a part of that."""
    return node.target in ("size", getattr) or getattr(node.target, "__name__", "") == "getitem"


def called(node: Any) -> tuple[str, torch.nn.Module]:
    """The module that does what a function or a method of a tensor does."""
    import torch
    from torch.nn import functional as F

    modules: dict[Any, tuple[type[torch.nn.Module], list[str]]] = {
        **dict.fromkeys((F.relu, torch.relu, "relu"), (torch.nn.ReLU, [])),
        **dict.fromkeys((torch.flatten, "flatten"), (torch.nn.Flatten, ["start_dim", "end_dim"])),
        F.max_pool2d: (
            torch.nn.MaxPool2d,
            ["kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"],
        ),
        F.avg_pool2d: (
            torch.nn.AvgPool2d,
            ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"],
        ),
        F.dropout: (torch.nn.Dropout, ["p"]),
    }
    if node.target in ("view", "reshape") and node.args[2:] == (-1,):
        return node.name, torch.nn.Flatten()
    if node.target not in modules:
        raise ValueError(f"{node.name}: PyTorch's {node.format_node()} has no equivalent in scratchnet")
    kind, names = modules[node.target]
    given = dict(zip(names, node.args[1:], strict=False)) | {k: v for k, v in node.kwargs.items() if k in names}
    if kind is torch.nn.Flatten:
        given.setdefault("start_dim", 0)  # the function's default; the module's is 1
    return node.name, kind(**given)


# ---------------------------------------------------------------- each module


class Refused(Exception):
    """A setting that no layer has."""


def refuse(module: Any, **only: Any) -> None:
    """Raise Refused unless each of these attributes has the value given here."""
    for name, value in only.items():
        if getattr(module, name) not in (value, (value, value)):
            raise Refused(f"{name}={getattr(module, name)}")


def conv_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, dilation=1, padding_mode="zeros", output_padding=0)
    C, F, bias = module.in_channels, module.out_channels, module.bias is not None
    window = {"stride": module.stride, "padding": module.padding, "bias": bias}
    if module.groups == C > 1:
        return [book.DepthwiseConv2D(C, module.kernel_size, multiplier=F // C, **window)]
    refuse(module, groups=1)
    if (module.kernel_size, module.stride) == ((1, 1), (1, 1)) and module.padding in ((0, 0), "same", "valid"):
        return [book.PointwiseConv2D(C, F, bias=bias)]
    return [book.Conv2D(C, F, module.kernel_size, **window)]


def batch_norm_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, affine=True, track_running_stats=True)
    if module.momentum is None:
        raise Refused("momentum=None")
    return [book.BatchNorm(module.num_features, module.momentum, module.eps)]


def max_pool_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, dilation=1, ceil_mode=False, return_indices=False)
    return [book.MaxPool2D(module.kernel_size, module.stride, module.padding)]


def avg_pool_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, ceil_mode=False, divisor_override=None)
    if module.padding not in (0, (0, 0)):
        refuse(module, count_include_pad=False)
    return [book.AvgPool2D(module.kernel_size, module.stride, module.padding)]


def global_pool_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, output_size=1)
    H, W, _ = shape
    return [book.AvgPool2D((H, W))]


def dense_like(module: Any, shape: Shape) -> list[Layer]:
    return [book.Dense(module.in_features, module.out_features, bias=module.bias is not None)]


def flatten_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, start_dim=1, end_dim=-1)
    return [book.Flatten()]


def resize_like(module: Any, shape: Shape) -> list[Layer]:
    refuse(module, mode="bilinear")
    if module.align_corners:  # None, the default, means False
        raise Refused("align_corners=True")
    if module.size is None:
        raise Refused(f"scale_factor={module.scale_factor} in place of a size")
    return [book.Resize(module.size)]


@functools.cache
def makers() -> dict[type, Maker]:
    """What makes the layers of each kind of module. Subclasses are other kinds: they may compute something else."""
    from torch import nn

    return {
        nn.Conv2d: conv_like,
        nn.BatchNorm2d: batch_norm_like,
        nn.BatchNorm1d: batch_norm_like,
        nn.MaxPool2d: max_pool_like,
        nn.AvgPool2d: avg_pool_like,
        nn.AdaptiveAvgPool2d: global_pool_like,
        nn.Linear: dense_like,
        nn.ReLU: lambda module, shape: [book.ReLU()],
        nn.Dropout: lambda module, shape: [book.Dropout(module.p)],
        nn.Flatten: flatten_like,
        nn.Identity: lambda module, shape: [],
        nn.Upsample: resize_like,
    }
