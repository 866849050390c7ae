"""Networks and interrupted training runs as files, in the safetensors format: plain arrays and text, never pickle.

A model file holds the weights and the arrays of the layers' state, each under its name, and a description of every
layer. A checkpoint also holds what training needs to go on as if it had not stopped: the optimiser's arrays and step
count, the states of the random generators, the position in the epoch, and the arguments that the run was begun with
(`Run.describe_arguments` in `run.py` says which; `Run.history_until` compares the learning rates as well).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet import layers as book
from scratchnet.data import Dataset
from scratchnet.layers.base import Layer, Parameter, snapshot, state_arrays
from scratchnet.network import Network
from scratchnet.optim import Optimizer
from scratchnet.runs.files import written_atomically
from scratchnet.runs.identity import defaults, difference, with_newer_arguments

FORMAT = "scratchnet 1"

# What to do about an argument that differs, where the message alone does not make it clear.
ADVICE = {
    "engine": "Choose the first one with sn.use_engine before you resume",
    "train_images": "Resume with the images that it was begun with, in that order and dtype",
    "train_labels": "Resume with the labels that it was begun with, in that order and dtype",
    "augment": "Resume with the augmentation that it was begun with: what it makes of the first images is compared",
}


def save(net: Network, path: str | Path, trained_on: Dataset | None = None) -> None:
    """Write a network to a safetensors file: layers, weights and state. The file is replaced as a whole or not at all.

    Of the state, only the arrays are written. Random generators decide how training goes on, not what the network
    computes, so they are in checkpoints only.

    Of `trained_on`, the file keeps the name of the data set, so that a reader of the file can name the classes.

    Raises
    ------
    ValueError
        If a weight or a state array is NaN or infinite, or if two arrays have the same name. (A layer that was put
        into a second network has been renamed.)
    OSError
        If the file cannot be written.
    """
    description = {"kind": "model", "network": _describe(net)}
    if trained_on is not None and trained_on.info:
        description["data"] = trained_on.info.name
    _write(path, _arrays(path, net), description)


def load(path: str | Path) -> Network:
    """The network that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not complete or not of this format, or if its arrays do not fit its layers; the message says
        which.
    """
    arrays, description = _read(path, "model")
    net = _build(path, description["network"])
    _check_arrays(path, net, arrays)
    _set_arrays(net, arrays)
    return net


def trained_on(path: str | Path) -> str | None:
    """The name of the data set that a model was trained on; None if its file does not say. Raises as `load`."""
    _, description = _read(path, "model")
    name: str | None = description.get("data")
    return name


def save_checkpoint(
    path: str | Path, net: Network, optimizer: Optimizer, arguments: dict[str, Any], position: dict[str, Any]
) -> None:
    """Write everything that a training run needs to go on.

    `arguments` are what the run was begun with. `position` says how far it has come. JSON must be able to hold both.
    """
    arrays = _arrays(path, net)
    for p, state in zip(optimizer.parameters, optimizer.state, strict=True):
        arrays |= {f"optimizer/{p.name}/{key}": array for key, array in state.items()}
    description = {
        "kind": "checkpoint",
        "network": _describe(net),
        "optimizer": _describe_optimizer(optimizer),
        "lr": optimizer.lr,
        "steps": optimizer.steps,
        "generators": _generators(net),
        "arguments": arguments,
        "position": position,
    }
    _write(path, arrays, description)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and fits the run. `restore` puts the network and the optimiser into its state."""

    arrays: dict[str, np.ndarray]
    generators: dict[str, Any]
    optimizer_state: list[dict[str, np.ndarray]]
    lr: float
    steps: int
    input_shape: list[int]
    position: dict[str, Any]

    def restore(self, net: Network, optimizer: Optimizer) -> None:
        """Change the network and the optimiser that the checkpoint was read for."""
        net.input_shape = tuple(self.input_shape)
        _set_arrays(net, self.arrays)
        net.set_state(self.generators)
        optimizer.state, optimizer.lr, optimizer.steps = self.optimizer_state, self.lr, self.steps


def load_checkpoint(path: str | Path, net: Network, optimizer: Optimizer, arguments: dict[str, Any]) -> Checkpoint:
    """The checkpoint that `save_checkpoint` wrote, if it belongs to the same run. Only `restore` changes anything.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or was written with another network, optimiser or other arguments; the message says
        what differs and what to do.
    """
    arrays, description = _read(path, "checkpoint")
    if arguments.keys() - description["arguments"].keys():
        raise ValueError(
            f"{path}: was written by an earlier version of scratchnet, which did not record the engine and the data of "
            "a run; finish the run with that version, or start a new one in another folder"
        )
    for name, value in _as_json(arguments).items():
        _require_same(path, name, description["arguments"][name], value)
    network = (
        _describe(net) if net.input_shape else _describe(net) | {"input_shape": description["network"]["input_shape"]}
    )
    _require_same(path, "network", with_newer_arguments(description["network"], network, net), network)
    settings = _describe_optimizer(optimizer)
    _require_same(path, "optimizer", defaults(type(optimizer), settings) | description["optimizer"], settings)
    _require_same(path, "generators", [*description["generators"]], [*_generators(net)])
    try:
        net.check_state(description["generators"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    ours = {name: array for name, array in arrays.items() if not name.startswith("optimizer/")}
    _check_arrays(path, net, ours)
    return Checkpoint(
        ours,
        description["generators"],
        [_optimizer_state(path, arrays, p) for p in optimizer.parameters],
        description["lr"],
        description["steps"],
        description["network"]["input_shape"],
        description["position"],
    )


# ---------------------------------------------------------------- descriptions


def _describe(net: Network) -> dict[str, Any]:
    layers = [{"layer": _layer_name(type(layer)), **layer.config()} for layer in net.layers]
    return _as_json({"name": net.name, "input_shape": net.input_shape, "layers": layers})


def _describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    return _as_json(optimizer.settings() | {"parameters": [p.name for p in optimizer.parameters]})


def _generators(net: Network) -> dict[str, Any]:
    """The states of the network's random generators, by name."""
    state = net.state()
    return _as_json({name: kept for name, kept in snapshot(state).items() if name not in state_arrays(state)})


def _as_json(value: Any) -> Any:
    """The value as JSON gives it back: tuples and arrays become lists, and NumPy's numbers become Python's."""
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))


def _build(path: str | Path, description: dict[str, Any]) -> Network:
    try:
        layers = [_build_layer(**layer) for layer in description["layers"]]
        return Network(layers, description["input_shape"], description["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: describes a network that cannot be built: {error}") from None


def _layer_name(kind: type[Layer]) -> str:
    """What a file calls a class of layers: its name alone if scratchnet defines it, else its module and name."""
    return kind.__name__ if getattr(book, kind.__name__, None) is kind else f"{kind.__module__}.{kind.__qualname__}"


def _layer_class(name: str) -> type[Layer]:
    """The class of layers that a file calls by this name, defined anywhere in this process; if several, the newest."""
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
    """Fill a network of the same layers with the weights and state that `save` wrote; returns the network.

    Raises the errors of `load`. After an error, nothing has changed.
    """
    arrays, _ = _read(path, "model")
    _check_arrays(path, net, arrays)
    _set_arrays(net, arrays)
    return net


def _require_same(path: str | Path, what: str, begun: Any, given: Any) -> None:
    found = difference(begun, given, what)
    if found is not None:
        advice = ADVICE.get(what, "Resume with what it was begun with")
        raise ValueError(f"{path}: the run was begun with {found}. {advice}, or start a new run in another folder")


# ---------------------------------------------------------------- arrays


def _arrays(path: str | Path, net: Network) -> dict[str, np.ndarray]:
    """The weights and the arrays of the state, by name. A ValueError if two share a name or one could not be loaded."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in [*((p.name, p.value) for p in net.parameters()), *state_arrays(net.state()).items()]:
        if name in arrays:
            raise ValueError(f"{path}: two arrays of {net.name} are named {name}; is a layer part of two networks?")
        _check_array(path, name, array, array)
        arrays[name] = array
    return arrays


def _check_arrays(path: str | Path, net: Network, arrays: dict[str, np.ndarray]) -> None:
    """A ValueError that names the array, unless these arrays are those that the network needs."""
    held = {p.name: p.value for p in net.parameters()} | state_arrays(net.state())
    missing, foreign = sorted(held.keys() - arrays.keys()), sorted(arrays.keys() - held.keys())
    if missing or foreign:
        raise ValueError(f"{path}: the arrays do not fit {net.name}: missing {missing}, not part of it {foreign}")
    for name, expected in held.items():  # in the network's order, so that the first layer that does not fit is named
        _check_array(path, name, arrays[name], expected)


def _set_arrays(net: Network, arrays: dict[str, np.ndarray]) -> None:
    """Set weights and state to arrays that have been checked."""
    for p in net.parameters():
        p.value = arrays[p.name]
    net.set_state({name: arrays[name] for name in state_arrays(net.state())})


def _optimizer_state(path: str | Path, arrays: dict[str, np.ndarray], p: Parameter) -> dict[str, np.ndarray]:
    prefix = f"optimizer/{p.name}/"
    state = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    for key, array in state.items():
        _check_array(path, prefix + key, array, p.value)
    return state


def _check_array(path: str | Path, name: str, array: np.ndarray, held: np.ndarray) -> None:
    """A ValueError, unless the array is finite and can take the place of `held`."""
    if array.shape != held.shape:
        raise ValueError(f"{path}: expected {name} of shape {held.shape}, got {array.shape}")
    dtypes = ("float32", "float64") if held.dtype.kind == "f" else (held.dtype.name,)
    if array.dtype not in dtypes:
        raise ValueError(f"{path}: expected {name} of dtype {' or '.join(dtypes)}, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name} holds NaN or infinite values: the training that made it has diverged")


def _write(path: str | Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(_as_json(description))
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
    """SHA-256 of the text and of all arrays with their names. safetensors itself would not notice a flipped bit."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
