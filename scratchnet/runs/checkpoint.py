"""Networks and interrupted training runs as files, in the safetensors format: plain arrays and text, never pickle.

A model file holds the weights under their names, and the layers' descriptions. A checkpoint holds besides what training
needs to go on as if nothing had happened: the optimiser's arrays, its step count, the random generators' states, and
where in which epoch the run was.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet import layers as book
from scratchnet.data import Dataset
from scratchnet.layers.base import Layer
from scratchnet.network import Network
from scratchnet.optim import Optimizer
from scratchnet.runs.files import written_atomically

FORMAT = "scratchnet 1"


def save(net: Network, path: str | Path, trained_on: Dataset | None = None) -> None:
    """Write a network, layers and weights, to a safetensors file. The file is replaced as a whole or not at all.

    Of `trained_on`, the name of its data set is kept, so that whoever uses the file knows what its classes are called.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite, or two have the same name (a layer that was put into another network since).
    OSError
        If the file cannot be written.
    """
    data = trained_on.info.name if trained_on is not None and trained_on.info else None
    _write(path, _weights(path, net), {"kind": "model", "network": _describe(net), "data": data})


def load(path: str | Path) -> Network:
    """The network that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole file of this format, or its weights are not what its layers need; the message says which.
    """
    arrays, description = _read(path, "model")
    net = _build(path, description["network"])
    _set_weights(path, net, arrays)
    return net


def trained_on(path: str | Path) -> str | None:
    """The name of the data set that a model was trained on; None if its file does not say. Errors as of `load`."""
    _, description = _read(path, "model")
    name: str | None = description.get("data")
    return name


def save_checkpoint(
    path: str | Path, net: Network, optimizer: Optimizer, arguments: dict[str, Any], position: dict[str, Any]
) -> None:
    """Write all that a training run needs to go on.

    `arguments` are what the run was started with, and `position` is its own note of where it is; both as JSON can hold
    it.
    """
    arrays = _weights(path, net)
    for p, state in zip(optimizer.parameters, optimizer.state, strict=True):
        arrays |= {f"optimizer/{p.name}/{key}": array for key, array in state.items()}
    description = {
        "kind": "checkpoint",
        "network": _describe(net),
        "optimizer": {"settings": optimizer.settings(), "lr": optimizer.lr, "steps": optimizer.steps},
        "generators": [rng.bit_generator.state for rng in net.generators()],
        "arguments": arguments,
        "position": position,
    }
    _write(path, arrays, description)


def load_checkpoint(path: str | Path, net: Network, optimizer: Optimizer, arguments: dict[str, Any]) -> dict[str, Any]:
    """Put a network and its optimiser back into the state that `save_checkpoint` wrote; returns the `position`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or was made with another network, other optimiser settings or other arguments; the
        message says which. Nothing is changed then.
    """
    arrays, description = _read(path, "checkpoint")
    _require_same(path, "network", description["network"], _describe(net))
    _require_same(path, "optimizer", description["optimizer"]["settings"], _as_json(optimizer.settings()))
    for name, value in _as_json(arguments).items():
        _require_same(path, name, description["arguments"].get(name), value)
    states = [_optimizer_state(path, arrays, p.name, p.value) for p in optimizer.parameters]
    _set_weights(path, net, {name: array for name, array in arrays.items() if not name.startswith("optimizer/")})
    optimizer.state = states
    optimizer.lr = description["optimizer"]["lr"]
    optimizer.steps = description["optimizer"]["steps"]
    for rng, state in zip(net.generators(), description["generators"], strict=True):
        rng.bit_generator.state = state
    position: dict[str, Any] = description["position"]
    return position


# ---------------------------------------------------------------- descriptions


def _describe(net: Network) -> dict[str, Any]:
    layers = [{"layer": _layer_name(type(layer)), **layer.config()} for layer in net.layers]
    return _as_json({"name": net.name, "input_shape": net.input_shape, "layers": layers})


def _as_json(value: Any) -> Any:
    """The value as it comes back from a file: tuples become lists."""
    return json.loads(json.dumps(value))


def _build(path: str | Path, description: dict[str, Any]) -> Network:
    try:
        layers = [_build_layer(**layer) for layer in description["layers"]]
        return Network(layers, description["input_shape"], description["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: describes a network that cannot be built: {error}") from None


def _layer_name(kind: type[Layer]) -> str:
    """What a file calls a class of layers: by its name alone if it is scratchnet's, else with its module."""
    return kind.__name__ if getattr(book, kind.__name__, None) is kind else f"{kind.__module__}.{kind.__qualname__}"


def _layer_class(name: str) -> type[Layer]:
    """The class that a file calls by this name, among all that are defined in this process; the newest, if several."""
    found = [kind for kind in _subclasses(Layer) if _layer_name(kind) == name]
    if not found:
        raise ValueError(
            f"it has a layer {name!r} that scratchnet does not know. Import the module that defines it first; or make "
            "the network yourself, and restore its weights with load_weights(net, path)"
        )
    return found[-1]


def _subclasses(kind: type[Layer]) -> list[type[Layer]]:
    return [found for child in kind.__subclasses__() for found in (child, *_subclasses(child))]


def _build_layer(layer: str, **config: Any) -> Layer:
    kind = _layer_class(layer)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in config.items()})


def load_weights(net: Network, path: str | Path) -> Network:
    """Fill a network of the same layers with the weights that `save` wrote; returns it. Errors as for `load`."""
    arrays, _ = _read(path, "model")
    _set_weights(path, net, arrays)
    return net


def _require_same(path: str | Path, what: str, in_file: Any, given: Any) -> None:
    if in_file != given:
        raise ValueError(f"{path}: was made with another {what}.\n  in the file: {in_file}\n  given:       {given}")


# ---------------------------------------------------------------- arrays


def _weights(path: str | Path, net: Network) -> dict[str, np.ndarray]:
    """The weights by their names, if they can be told apart and used again."""
    arrays: dict[str, np.ndarray] = {}
    for p in net.parameters():
        if p.name in arrays:
            raise ValueError(f"{path}: two weights of {net.name} are named {p.name}; is a layer part of two networks?")
        _check_array(path, p.name, p.value, p.value.shape)
        arrays[p.name] = p.value
    return arrays


def _set_weights(path: str | Path, net: Network, arrays: dict[str, np.ndarray]) -> None:
    """Check every weight first, then set them all: nothing is loaded half."""
    parameters = {p.name: p for p in net.parameters()}
    missing, foreign = sorted(parameters.keys() - arrays.keys()), sorted(arrays.keys() - parameters.keys())
    if missing or foreign:
        raise ValueError(f"{path}: the weights do not fit {net.name}: missing {missing}, not part of it {foreign}")
    for name, p in parameters.items():
        _check_array(path, name, arrays[name], p.value.shape)
    for name, p in parameters.items():
        p.value = arrays[name]


def _optimizer_state(
    path: str | Path, arrays: dict[str, np.ndarray], name: str, value: np.ndarray
) -> dict[str, np.ndarray]:
    prefix = f"optimizer/{name}/"
    state = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    for key, array in state.items():
        _check_array(path, prefix + key, array, value.shape)
    return state


def _check_array(path: str | Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{path}: expected {name} of shape {shape}, got {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{path}: expected {name} of dtype float32 or float64, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name} holds NaN or infinite values: the training that made it has diverged")


def _write(path: str | Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(description)
    metadata = {"format": FORMAT, "description": text, "sha256": _digest(arrays, text)}
    with written_atomically(path) as partial:
        try:
            save_file(arrays, partial, metadata)
        except SafetensorError as error:
            raise OSError(f"{path}: could not be written ({error})") from None


def _read(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path}: not written by scratchnet: expected the format {FORMAT!r}, got {metadata.get('format')!r}"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a whole safetensors file ({error}); it is damaged or of another format"
        ) from None
    if metadata.get("sha256") != _digest(arrays, metadata.get("description", "")):
        raise ValueError(f"{path}: the content does not match its SHA-256; the file was damaged after it was written")
    description: dict[str, Any] = json.loads(metadata["description"])
    if description["kind"] != kind:
        raise ValueError(f"{path}: expected a {kind}, got a {description['kind']}")
    return arrays, description


def _digest(arrays: dict[str, np.ndarray], text: str) -> str:
    """SHA-256 of all arrays, by name, and the text: safetensors itself would not notice a flipped bit."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
