"""The settings of a training command: where they come from, and the folder that keeps them.

A run's folder holds `settings.json` beside the checkpoint and the metrics. A new run writes it from the command line
and the defaults. A resumed run reads it, so that it goes on with the settings that it was started with.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from scratchnet.data import DATASETS
from scratchnet.data.sources import TRAIN_SIZES
from scratchnet.engine import ENGINES, current_engine
from scratchnet.layers.initial import RULES
from scratchnet.models import ARCHITECTURES
from scratchnet.parallel.shards import DEFAULT_SHARDS, check_shards
from scratchnet.parallel.team import under_mpiexec
from scratchnet.reading import (
    BELOW_ONE,
    COUNT,
    FLAG,
    NOT_NEGATIVE,
    OBJECT,
    POSITIVE,
    TEXT,
    FileFault,
    Kind,
    check,
    one_of,
    or_null,
    parse_json,
    read_text,
    user_path,
)
from scratchnet.runs.identity import difference
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.recipes import SAMPLE, SCHEDULES, Recipe
from scratchnet.runs.run import CHECKPOINT
from scratchnet.writing import write_text_atomically

SETTINGS = "settings.json"
MODEL = "model.safetensors"


DEFAULT_LR = {"adam": SAMPLE.lr, "sgd": 0.05}

TRAIN_DEFAULTS: dict[str, Any] = {
    "data": "sample",
    "data_dir": None,
    "transpose": False,
    "train_images": 60_000,
    "epochs": None,
    "steps": None,
    "batch_size": SAMPLE.batch_size,
    "optimizer": "adam",
    "lr": None,
    "momentum": 0.9,
    "schedule": "one-cycle",
    "init": SAMPLE.init,
    "seed": 0,
    "shards": None,
}


# Settings that files of earlier versions lack: what was done then.
NEWER = {"transpose": False, "shards": None}


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """A FileFault that names the first setting which no run can have, in the settings that a file holds."""
    expected = {
        "model": one_of(*ARCHITECTURES),
        "engine": one_of(*ENGINES),
        "data": Kind(f"{one_of(*DATASETS).text}, or a whole path", _is_data),
        "data_dir": or_null(TEXT),
        "transpose": FLAG,
        "train_images": one_of(*TRAIN_SIZES),
        "epochs": or_null(POSITIVE) if settings.get("steps") is not None else POSITIVE,
        "steps": or_null(POSITIVE) if settings.get("epochs") is None else one_of(None),
        "batch_size": POSITIVE,
        "optimizer": one_of(*DEFAULT_LR),
        "lr": NOT_NEGATIVE,
        "momentum": BELOW_ONE,
        "schedule": one_of(*SCHEDULES),
        "init": one_of(*RULES),
        "seed": Kind(COUNT.text, lambda value: type(value) is int and value >= 0),  # of any size
        "shards": or_null(POSITIVE),
    }
    if settings.keys() != expected.keys():
        raise FileFault(
            f"{path}: damaged, or of another version: expected the settings {', '.join(expected)}, got "
            f"{', '.join(settings) or 'none'}; start a new run"
        )
    check(path, settings, expected)


def new_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a new run: the given ones, and defaults for the rest.

    Raises ValueError for an option that would have no effect beside the others.
    """
    given = given_settings(options)
    settings = complete(TRAIN_DEFAULTS | given) | {"engine": current_engine()}
    check_data_dir(settings["data"], settings["data_dir"])
    if settings["data"] != "mnist" and "train_images" in given:
        raise ValueError("--train-images chooses among MNIST's images: add --data mnist, or leave it out")
    if settings["optimizer"] != "sgd" and "momentum" in given:
        raise ValueError("--momentum is for sgd: add --optimizer sgd, or leave it out")
    return settings


def check_data_dir(data: str, data_dir: str | None) -> None:
    """A ValueError if a folder is named for a data set that is not read from one."""
    if data_dir is not None and data not in DATASETS:
        raise ValueError(f"--data-dir says where a data set's files are, and {data} is a path itself: leave it out")
    if data_dir is not None and not DATASETS[data].files:
        raise ValueError(
            f"--data-dir says where a data set's files are, and {DATASETS[data].title} has none: add --data mnist, or "
            "leave it out"
        )


def resumed_settings(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the run in the folder was started with.

    Raises
    ------
    FileNotFoundError
        If there is no run to resume.
    ValueError
        If an option contradicts that run's settings, or the settings are damaged.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: no run to resume here ({SETTINGS} is missing); leave --resume out to start one"
        )
    settings = NEWER | read_settings(path)
    check_settings(path, settings)
    if _moved(settings, given_settings(options)):
        settings["data"] = given_settings(options)["data"]
    for name, value in given_settings(options).items():
        if settings[name] != value:
            raise ValueError(
                f"{folder}: the run was started with {name} = {settings[name]!r}, not {value!r}; "
                "a resumed run keeps its settings, so leave the option out, or start a new run in another folder"
            )
    return settings


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Only those settings that the command line gave."""
    given = {name: getattr(options, name) for name in TRAIN_DEFAULTS if hasattr(options, name)}
    if given.get("data", "sample") not in DATASETS:
        given["data"] = str(user_path(given["data"]).absolute())  # a run can be resumed from another folder
    return given | {"model": options.model}


def _is_data(value: Any) -> bool:
    """Whether this is a data set, or a path from the root, here or on another system: data may move with its run."""
    if not isinstance(value, str):
        return False
    return value in DATASETS or any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))


def _moved(settings: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether one's own data has another path now. The checkpoint knows whether the images are the same."""
    return "data" in given and not {settings["data"], given["data"]} & {*DATASETS}


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on other settings."""
    if settings["epochs"] is None and settings["steps"] is None:
        settings["epochs"] = SAMPLE.epochs
    if settings["shards"] is None and under_mpiexec():
        settings["shards"] = DEFAULT_SHARDS
    if settings["lr"] is None:
        settings["lr"] = DEFAULT_LR[settings["optimizer"]]
    return settings


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in a file; a FileFault that names the file if it holds none."""
    settings: dict[str, Any] = parse_json(path, read_text(path, "the settings of a run"))
    check(path, settings, OBJECT)
    return settings


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings into the run's folder."""
    write_text_atomically(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")


def check_same_settings(folder: Path, settings: dict[str, Any], command: str) -> None:
    """Raise an error unless the run in a folder can be resumed with these settings. `command` is for the message.

    Raises
    ------
    FileNotFoundError
        If there is no run in the folder.
    ValueError
        If the run was begun with other settings; the message names the first that differs.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise FileNotFoundError(f"{folder}: nothing to resume here; leave --resume out to start anew")
    begun = read_settings(path)
    check_same_engine(folder, begun, command)
    found = difference(begun, settings)
    if found is not None:
        raise ValueError(
            f"{folder}: was begun with {found}; resume it with what it was begun with, or name another folder "
            "with --out"
        )


def check_same_engine(folder: Path, begun: dict[str, Any], command: str) -> None:
    """A ValueError, with the command that works, if a run was begun on another engine than the present one."""
    if "engine" not in begun:
        raise ValueError(
            f"{folder}: was begun by an earlier version of scratchnet, which did not record the engine; "
            "finish it with that version, or name another folder with --out"
        )
    if begun["engine"] != current_engine():
        raise ValueError(
            f"{folder}: was begun on the engine {begun['engine']}; on {current_engine()} it would end with other "
            f"weights. To go on:  {resume_command(command, begun['engine'])}"
        )


def check_ranks(folder: Path, settings: dict[str, Any], ranks: int) -> None:
    """A ValueError if a run cannot be shared by so many ranks."""
    if settings["shards"] is None and ranks > 1:
        raise ValueError(
            f"{folder}: the run was begun without shards, and so by one process; resume it without mpiexec, or start a "
            "new run in another folder"
        )
    if settings["shards"] is not None:
        check_shards(settings["shards"], settings["batch_size"], ranks)


def with_ranks(command: str, ranks: int) -> str:
    """A command as it has to be started for so many ranks."""
    return f"mpiexec -n {ranks} {command}" if ranks > 1 else command


def resume_command(command: str, engine: str) -> str:
    """The command that resumes what `command` began. It names the engine, even if the first one did not."""
    return f"{command} --engine {engine} --resume"


def output_folder(folder: Path) -> Path:
    """The folder itself, if it is one or can be made one; called first of all, so that nothing is done in vain.

    Raises
    ------
    NotADirectoryError, PermissionError
        If it, or what it would be made in, is a file or cannot be written to.
    """
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder to write to, but {place} is a file; name one with --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: expected a folder to write to, but {place} is read-only; name one with --out")
    return folder


def make_room(folder: Path, overwrite: bool, results: Sequence[str] = ()) -> None:
    """Refuse a folder that holds an earlier run; with `overwrite`, delete that run's files instead.

    A run's files are those that training writes, and those named in `results`.
    """
    held = [folder / name for name in (SETTINGS, CHECKPOINT, METRICS, MODEL, *results) if (folder / name).exists()]
    if held and not overwrite:
        raise FileExistsError(
            f"{folder}: holds an earlier run; resume it with --resume, replace it with --overwrite, "
            "or name another folder with --out"
        )
    for path in held:
        path.unlink()


def as_recipe(settings: dict[str, Any]) -> Recipe:
    """The recipe that the settings describe."""
    names = ("init", "optimizer", "lr", "schedule", "epochs", "steps", "batch_size")
    momentum = settings["momentum"] if settings["optimizer"] == "sgd" else 0.0
    return Recipe("train", momentum=momentum, **{name: settings[name] for name in names})
