"""One run of the study: an architecture trained by a recipe with a random seed, tested once, and saved as JSON.

`scratchnet reproduce --recipe original --data mnist` makes the runs of all architectures and seeds one after another;
`benchmarks/reproduction` adds runs in PyTorch and TensorFlow, and reports the results.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data import DATASETS, Dataset, load
from scratchnet.engine import current_engine
from scratchnet.info import processor_name, vector_width
from scratchnet.models import ARCHITECTURES
from scratchnet.network import Network
from scratchnet.runs.recipes import Recipe
from scratchnet.train import evaluate, fit
from scratchnet.writing import write_text_atomically

VALIDATION_IMAGES = 5000  # the last of the training set
LOSS_EVERY = 10  # steps whose mean loss is kept as one number


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run's result.

    Attributes
    ----------
    model : str
        The architecture, a name in `ARCHITECTURES`.
    recipe : Recipe
    seed : int
        Of the weights, the dropout masks and the batches.
    options : dict
        Of the architecture: dense_units, width_multiplier, resolution_multiplier, batch_norm.
    data : str
        The data set, a name in `DATASETS`.
    validate : bool
        Leave out the last 5,000 training images and test on them, to choose a recipe without the test set.
    """

    model: str
    recipe: Recipe
    seed: int
    options: dict[str, Any] = field(default_factory=dict)
    validate: bool = False
    data: str = "mnist"

    @property
    def name(self) -> str:
        """The name of the run's file."""
        options = [in_short(key.removesuffix("_multiplier"), value) for key, value in self.options.items()]
        return "-".join([self.recipe.name, self.model, *options, f"seed_{self.seed}"]).replace(" ", "_")

    @property
    def network_name(self) -> str:
        """The model, and the options that differ from its defaults."""
        return network_name(self.model, self.options)

    def network(self) -> Network:
        """The network before training."""
        return ARCHITECTURES[self.model].make(seed=self.seed, init=self.recipe.init, **self.options)

    def images(self, data_dir: str | Path | None) -> tuple[Dataset, Dataset]:
        """The images to train on and those to test on. Raises the errors of `scratchnet.data.load`."""
        train, test = load(self.data, data_dir)
        train = train[self.recipe.left_out :]
        if self.validate:
            last = train[-VALIDATION_IMAGES:]
            test = replace(last, name=f"last {VALIDATION_IMAGES:,} images of the {train.name}")
            train = train[:-VALIDATION_IMAGES]
        return train, test


def planned(recipe: str, seeds: Iterable[int], data: str = "mnist") -> list[Experiment]:
    """The runs of a recipe on a data set: first all networks with the first seed, then all with the next.

    The networks are the architectures that take such images, each followed by its variants.
    """
    info = DATASETS[data]
    networks = [
        (architecture, dict(options))
        for architecture in ARCHITECTURES.values()
        if architecture.takes(info.image_shape, len(info.classes))
        for options in ({}, *(variant.options for variant in architecture.variants))
    ]
    return [
        Experiment(architecture.name, architecture.recipe_named(recipe), seed, options, data=data)
        for seed in seeds
        for architecture, options in networks
    ]


def train_and_test(experiment: Experiment, data_dir: str | Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Train the experiment's network with scratchnet and test it once; returns what `record` makes of it."""
    net, recipe = experiment.network(), experiment.recipe
    train, test = experiment.images(data_dir)
    started = time.perf_counter()
    history = fit(net, train, **recipe.fit_arguments(net, len(train)), seed=experiment.seed, progress=progress)
    seconds = time.perf_counter() - started
    return record(experiment, [s["loss"] for s in history.steps], seconds, evaluate(net, test), train, test)


def record(
    experiment: Experiment,
    losses: list[float],
    seconds: float,
    loss_accuracy: tuple[float, float],
    train: Dataset,
    test: Dataset,
) -> dict[str, Any]:
    """Everything that a report needs to know about a run."""
    whole = len(losses) - len(losses) % LOSS_EVERY
    return {
        "experiment": asdict(experiment),
        "train": {"name": train.name, "images": len(train)},
        "test": {"name": test.name, "images": len(test), "loss": loss_accuracy[0], "accuracy": loss_accuracy[1]},
        "steps": len(losses),
        "seconds": round(seconds, 2),
        "losses": np.reshape(losses[:whole], (-1, LOSS_EVERY)).mean(axis=1).round(4).tolist(),
        "made": circumstances(),
    }


def circumstances() -> dict[str, Any]:
    """When and with what a result was made. Nothing in it names the machine."""
    return {
        "date": date.today().isoformat(),
        "processor": processor_name(),
        "vector_bits": vector_width(),
        "engine": current_engine(),
        "threads": threads(),
        "versions": versions("scratchnet", "numpy", "numba"),
    }


def threads() -> int:
    """The number of threads that this process computes with."""
    given = os.environ.get("NUMBA_NUM_THREADS")
    if given:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def keep(result: dict[str, Any], path: Path) -> None:
    """Write a run as JSON, one line for each entry. The file is written as a whole or not at all."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    write_text_atomically(path, f"{{\n{lines}\n}}\n")


def kept(experiments: Iterable[Experiment], folder: Path) -> list[dict[str, Any]]:
    """The results of those experiments that the folder holds, as `keep` wrote them."""
    paths = [folder / f"{e.name}.json" for e in experiments]
    return [read(path) for path in paths if path.exists()]


def read(path: Path) -> dict[str, Any]:
    """The result in a run's JSON file; a ValueError that names the file if it is damaged."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        result["experiment"] = as_experiment(result["experiment"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it, and the run will be made again") from None
    return result


def as_experiment(described: dict[str, Any]) -> Experiment:
    """The experiment that `asdict` described."""
    return Experiment(**described | {"recipe": Recipe(**described["recipe"])})


def network_name(model: str, options: Mapping[str, Any]) -> str:
    """The name of a network with options in tables: "separable_cnn, dense units 128"."""
    return ", ".join([model, *(in_short(key.replace("_", " "), value) for key, value in options.items())])


def in_short(name: str, value: Any) -> str:
    """An option as part of a name: "dense units 128", "width 1" for 1.0, "batch norm" if it is True."""
    if value is True:
        return name
    return f"{name} {value:g}" if isinstance(value, (int, float)) else f"{name} {value}"


def by_network(results: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The results, grouped by the name of their network."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["experiment"].network_name, []).append(result)
    return groups


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """The mean, and the standard deviation of a sample (divided by n - 1), which is NaN for a single value."""
    values = list(values)
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
