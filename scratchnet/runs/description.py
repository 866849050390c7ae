"""Networks in words, as files hold them: described by the settings of their layers, and built again from these.

A description comes from a file, so its claims are checked before any array is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scratchnet import layers as book
from scratchnet.layers.base import Layer, snapshot, state_arrays
from scratchnet.layers.initial import drawing_at_most
from scratchnet.network import Network
from scratchnet.optim import Optimizer
from scratchnet.reading import FileFault
from scratchnet.runs.container import as_json

# What a file may claim without having as many numbers itself: a size in a layer's description (pixels to scale to, an
# array that a layer of one's own makes), and the numbers of one example anywhere in the network.
LARGEST_SIZE = 2**20
LARGEST_EXAMPLE = 2**26


def describe(net: Network) -> dict[str, Any]:
    """The name of a network, the shape of its input, and its layers with their settings.

    The shape may just be that of the first images that the network saw; then a key says that it takes others, too.
    """
    layers = [{"layer": layer_name(type(layer)), **layer.config()} for layer in net.layers]
    any_shape = {"takes_any_shape": True} if net.takes_any_shape else {}
    return as_json({"name": net.name, "input_shape": net.input_shape, **any_shape, "layers": layers})


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """The class of an optimiser, its settings, and the names of the parameters that it changes."""
    return as_json(optimizer.settings() | {"parameters": [p.name for p in optimizer.parameters]})


def generators(net: Network) -> dict[str, Any]:
    """The states of the network's random generators, by name."""
    state = net.state()
    return as_json({name: kept for name, kept in snapshot(state).items() if name not in state_arrays(state)})


def build(path: str | Path, description: dict[str, Any], numbers: int) -> Network:
    """The network of a description, whose file holds so many numbers: it may not claim more than these."""
    layers = []
    with drawing_at_most(numbers):
        for i, layer in enumerate(description["layers"]):
            _check_sizes(path, layer, max(numbers, LARGEST_SIZE), f"network.layers[{i}]")
            layers.append(_build_layer(path, i, layer))
    with faults_of(path):
        net = Network(layers, description["input_shape"], description["name"])
    net.takes_any_shape = description.get("takes_any_shape", False)
    if net.input_shape:
        largest = max(math.prod(shape) for shape in net.output_shapes())
        if largest > LARGEST_EXAMPLE:
            raise FileFault(
                f"{path}: expected a network whose layers make at most {LARGEST_EXAMPLE:,} numbers of one example, "
                f"got {largest:,}"
            )
    return net


def _check_sizes(path: str | Path, value: Any, largest: int, key: str) -> None:
    """A FileFault that names the key, if a number in a layer's description is larger than any array of its could be."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, held in inner:
        _check_sizes(path, held, largest, f"{key}.{name}" if isinstance(value, dict) else f"{key}[{name}]")
    if isinstance(value, int) and abs(value) > largest:
        raise FileFault(
            f"{path}: expected {key} to be at most {largest:,}, got {value:,}. If that is right, make the network "
            "yourself, and restore its weights with load_weights(net, path)"
        )


def layer_name(kind: type[Layer]) -> str:
    """What a file calls a class of layers: its name alone if scratchnet defines it, else its module and name."""
    return kind.__name__ if getattr(book, kind.__name__, None) is kind else f"{kind.__module__}.{kind.__qualname__}"


def layer_class(path: str | Path, name: str) -> type[Layer]:
    """The class of layers that a file calls by this name, defined anywhere in this process; if several, the newest."""
    found = [kind for kind in _subclasses(Layer) if layer_name(kind) == name]
    if not found:
        raise FileFault(
            f"{path}: it has a layer {name!r} that scratchnet does not know. Import the module that defines it first; "
            "or make the network yourself, and restore its weights with load_weights(net, path)"
        )
    return found[-1]


def _subclasses(kind: type[Layer]) -> list[type[Layer]]:
    return [found for child in kind.__subclasses__() for found in (child, *_subclasses(child))]


def _build_layer(path: str | Path, number: int, described: dict[str, Any]) -> Layer:
    name = described["layer"]
    kind = layer_class(path, name)
    config = {key: tuple(v) if isinstance(v, list) else v for key, v in described.items() if key != "layer"}
    try:
        return kind(**config)
    except Exception as error:  # a constructor, perhaps of a user's own class, may raise anything for wrong values
        raise FileFault(f"{path}: network.layers[{number}] is a {name} that cannot be built: {error}") from error


@contextmanager
def faults_of(path: str | Path) -> Iterator[None]:
    """What a network or layer finds wrong with values of a file becomes a FileFault that names the file."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise FileFault(f"{path}: {error}") from None
