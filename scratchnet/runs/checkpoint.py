"""Networks and interrupted training runs as files, in the safetensors format: plain arrays and text, never pickle.

A model file holds the weights and the arrays of the layers' state, each under its name, and a description of every
layer. A checkpoint also holds what training needs to go on as if it had not stopped: the optimiser's arrays and step
count, the states of the random generators, the position in the epoch, and the arguments that the run was begun with
(`Run.describe_arguments` in `run.py` says which; `Run.history_until` compares the learning rates as well).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.average import WeightAverage
from scratchnet.data import Dataset
from scratchnet.layers.base import check_generator_state, state_arrays
from scratchnet.network import Network
from scratchnet.optim import Optimizer
from scratchnet.reading import FileFault
from scratchnet.runs.container import as_json, check_array, read, write
from scratchnet.runs.description import build, describe, describe_optimizer, faults_of, generators
from scratchnet.runs.identity import defaults, difference, with_newer_arguments

# What to do about an argument that differs, where the message alone does not make it clear.
ADVICE = {
    "engine": "Choose the first one with sn.use_engine before you resume",
    "answers": "Resume with the answers to the exercises that it was begun with (comments may differ)",
    "train_images": "Resume with the images that it was begun with, in that order and dtype",
    "train_labels": "Resume with the labels that it was begun with, in that order and dtype",
    "average": "Resume with a WeightAverage of that decay, or without one if there was none",
    "shards": "Resume with shards= of that number, or without it if there were none",
    "synchronised": "Resume with synchronised= as it was begun",
    "augment": "Resume with the augmentation that it was begun with: what it makes of the first images is compared",
}


AVERAGE = "average/"  # before the names of a `WeightAverage`'s arrays

# Arguments that checkpoints of earlier versions lack: what was done then.
NEWER: dict[str, Any] = {"average": None, "shards": None, "synchronised": False, "answers": {}}


def save(net: Network, path: str | Path, trained_on: Dataset | None = None) -> None:
    """Write a network to a safetensors file: layers, weights and state. The file is replaced as a whole or not at all.

    Of the state, only the arrays are written. Random generators decide how training goes on, not what the network
    computes, so they are in checkpoints only.

    Of `trained_on`, the file keeps the name of the data set, so that a reader of the file can name the classes. Of your
    own data, which has no name, it keeps the names of the classes.

    Raises
    ------
    ValueError
        If a weight or a state array is NaN or infinite, or if two arrays have the same name. (A layer that was put
        into a second network has been renamed.)
    OSError
        If the file cannot be written.
    """
    description: dict[str, Any] = {"kind": "model", "network": describe(net)}
    if trained_on is not None and trained_on.info:
        info = trained_on.info
        description |= {"classes": info.classes} if info.own else {"data": info.name}
    write(path, _arrays(path, net), description)


def load(path: str | Path) -> Network:
    """The network that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFault
        If the file is not complete or not of this format, or if its arrays do not fit its layers; the message says
        which. It is a ValueError.
    """
    arrays, description = read(path, "model")
    net = build(path, description["network"], sum(array.size for array in arrays.values()))
    _check_arrays(path, net, arrays)
    _set_arrays(net, arrays)
    return net


def load_weights(net: Network, path: str | Path) -> Network:
    """Fill a network of the same layers with the weights and state that `save` wrote; returns the network.

    Raises the errors of `load`. After an error, nothing has changed.
    """
    arrays, _ = read(path, "model")
    _check_arrays(path, net, arrays)
    _set_arrays(net, arrays)
    return net


def trained_on(path: str | Path) -> str | None:
    """The name of the data set that a model was trained on; None if its file does not say. Raises as `load`."""
    _, description = read(path, "model")
    name: str | None = description.get("data")
    return name


def trained_classes(path: str | Path) -> tuple[str, ...]:
    """The classes of the user's own data that a model was trained on; none if its file has no such names."""
    _, description = read(path, "model")
    return tuple(description.get("classes", ()))


def save_checkpoint(
    path: str | Path,
    net: Network,
    optimizer: Optimizer,
    arguments: dict[str, Any],
    position: dict[str, Any],
    average: WeightAverage | None = None,
) -> None:
    """Write everything that a training run needs to go on.

    `arguments` are what the run was begun with. `position` says how far it has come. JSON must be able to hold both.
    """
    arrays = _arrays(path, net)
    for p, state in zip(optimizer.parameters, optimizer.state, strict=True):
        arrays |= {f"optimizer/{p.name}/{key}": array for key, array in state.items()}
    description: dict[str, Any] = {
        "kind": "checkpoint",
        "network": describe(net),
        "optimizer": describe_optimizer(optimizer),
        "lr": optimizer.lr,
        "steps": optimizer.steps,
        "generators": generators(net),
        "arguments": arguments,
        "position": position,
    }
    if average is not None:
        arrays |= {AVERAGE + name: array for name, array in average.arrays.items()}
        description["averaged_steps"] = average.steps
    write(path, arrays, description)


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
    averaged: dict[str, np.ndarray]
    averaged_steps: int

    def restore(self, net: Network, optimizer: Optimizer, average: WeightAverage | None = None) -> None:
        """Change the network, the optimiser and the average that the checkpoint was read for."""
        net.input_shape = tuple(self.input_shape)
        _set_arrays(net, self.arrays)
        net.set_state(self.generators)
        optimizer.state, optimizer.lr, optimizer.steps = self.optimizer_state, self.lr, self.steps
        if average is not None:
            average.arrays, average.steps = self.averaged, self.averaged_steps


def load_checkpoint(
    path: str | Path,
    net: Network,
    optimizer: Optimizer,
    arguments: dict[str, Any],
    average: WeightAverage | None = None,
) -> Checkpoint:
    """The checkpoint that `save_checkpoint` wrote, if it belongs to the same run. Only `restore` changes anything.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFault
        If the file is damaged, or was written with another network, optimiser or other arguments; the message says
        what differs and what to do. It is a ValueError.
    """
    arrays, description = read(path, "checkpoint")
    _require_same_run(path, description, net, optimizer, arguments)
    with faults_of(path):
        net.output_shapes(tuple(description["network"]["input_shape"]))
        net.check_state(description["generators"])
        check_generator_state("position.order", np.random.default_rng(0), description["position"]["order"])
    if description["steps"] < description["position"]["step"]:
        raise FileFault(
            f"{path}: expected steps, the optimiser's count, to be at least position.step, "
            f"{description['position']['step']}; got {description['steps']}"
        )
    averaged = {name.removeprefix(AVERAGE): array for name, array in arrays.items() if name.startswith(AVERAGE)}
    arrays = {name: array for name, array in arrays.items() if not name.startswith(AVERAGE)}
    _check_average(path, average, averaged)
    ours = {name: array for name, array in arrays.items() if not name.startswith("optimizer/")}
    _check_arrays(path, net, ours)
    theirs = {name: array for name, array in arrays.items() if name not in ours}
    return Checkpoint(
        ours,
        description["generators"],
        _optimizer_state(path, theirs, optimizer, description["steps"]),
        description["lr"],
        description["steps"],
        description["network"]["input_shape"],
        description["position"],
        averaged,
        description.get("averaged_steps", 0),
    )


def _require_same_run(
    path: str | Path, description: dict[str, Any], net: Network, optimizer: Optimizer, arguments: dict[str, Any]
) -> None:
    """A FileFault that says what differs, unless a checkpoint's description is that of this run."""
    begun = NEWER | description["arguments"]
    if arguments.keys() - begun.keys():
        raise FileFault(
            f"{path}: was written by an earlier version of scratchnet, which did not record the engine and the data of "
            "a run; finish the run with that version, or start a new one in another folder"
        )
    for name, value in as_json(arguments).items():
        _require_same(path, name, begun[name], value)
    network = describe(net)
    if net.input_shape is None:
        network["input_shape"] = description["network"]["input_shape"]
    _require_same(path, "network", with_newer_arguments(description["network"], network, net), network)
    settings = describe_optimizer(optimizer)
    _require_same(path, "optimizer", defaults(type(optimizer), settings) | description["optimizer"], settings)
    _require_same(path, "generators", [*description["generators"]], [*generators(net)])


def _require_same(path: str | Path, what: str, begun: Any, given: Any) -> None:
    found = difference(begun, given, what)
    if found is not None:
        advice = ADVICE.get(what, "Resume with what it was begun with")
        raise FileFault(f"{path}: the run was begun with {found}. {advice}, or start a new run in another folder")


# ---------------------------------------------------------------- arrays


def _arrays(path: str | Path, net: Network) -> dict[str, np.ndarray]:
    """The weights and the arrays of the state, by name. A ValueError if two share a name."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in [*((p.name, p.value) for p in net.parameters()), *state_arrays(net.state()).items()]:
        if name in arrays:
            raise ValueError(f"{path}: two arrays of {net.name} are named {name}; is a layer part of two networks?")
        arrays[name] = array
    return arrays


def _check_arrays(path: str | Path, net: Network, arrays: dict[str, np.ndarray]) -> None:
    """A FileFault that names the array, unless these arrays are those that the network needs."""
    held = _arrays(path, net)
    _check_names(path, net.name, held.keys(), arrays.keys())
    for name, expected in held.items():  # in the network's order, so that the first layer that does not fit is named
        check_array(path, name, arrays[name], expected)


def _check_names(path: str | Path, owner: str, needed: Set[str], given: Set[str]) -> None:
    missing, foreign = sorted(needed - given), sorted(given - needed)
    if missing or foreign:
        raise FileFault(f"{path}: the arrays do not fit {owner}: missing {missing}, not part of it {foreign}")


def _check_average(path: str | Path, average: WeightAverage | None, arrays: dict[str, np.ndarray]) -> None:
    """A FileFault that names the array, unless these arrays are those of the average."""
    held = {} if average is None else average.averaged()
    _check_names(path, "the average of the weights", held.keys(), arrays.keys())
    for name, expected in held.items():
        check_array(path, AVERAGE + name, arrays[name], expected)


def _set_arrays(net: Network, arrays: dict[str, np.ndarray]) -> None:
    """Set weights and state to arrays that have been checked."""
    for p in net.parameters():
        p.value = arrays[p.name]
    net.set_state({name: arrays[name] for name in state_arrays(net.state())})


def _optimizer_state(
    path: str | Path, arrays: dict[str, np.ndarray], optimizer: Optimizer, steps: int
) -> list[dict[str, np.ndarray]]:
    """The optimiser's state after so many steps, a dict for each parameter, from the arrays of a checkpoint."""
    prefixes = [f"optimizer/{p.name}/" for p in optimizer.parameters]
    names = optimizer.state_names() if steps else ()
    if names is None:  # an optimiser that does not say keeps what the file has
        needed = {name for name in arrays if name.startswith(tuple(prefixes))}
    else:
        needed = {prefix + name for prefix in prefixes for name in names}
    _check_names(path, type(optimizer).__name__, needed, arrays.keys())
    state: list[dict[str, np.ndarray]] = []
    for p, prefix in zip(optimizer.parameters, prefixes, strict=True):
        state.append({name.removeprefix(prefix): arrays[name] for name in sorted(needed) if name.startswith(prefix)})
        for key, array in state[-1].items():
            check_array(path, prefix + key, array, p.value)
    return state
