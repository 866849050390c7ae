"""One run of the study: an architecture trained by a recipe from a random seed, tested once, and kept as JSON.

`scratchnet reproduce --recipe original --data mnist` makes the runs of all architectures and seeds one after another;
`benchmarks/reproduction` adds PyTorch's and TensorFlow's, and draws the conclusions.
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
from scratchnet.runs.files import write_text_atomically
from scratchnet.runs.recipes import Recipe
from scratchnet.train import evaluate, fit

VALIDATION_IMAGES = 5000  # the last of the training set
LOSS_EVERY = 10  # steps, of which the mean loss is kept


@dataclass(frozen=True)
class Experiment:
    """What decides a run's result.

    Attributes
    ----------
    model : str
        The architecture, a name in `ARCHITECTURES`.
    recipe : Recipe
    seed : int
        Of the weights, the dropout masks and the batches.
    options : dict
        Of the architecture: dense_units, width_multiplier, resolution_multiplier.
    data : str
        The data set, a name in `DATASETS`.
    validate : bool
        Leave out the last 5,000 training images and test on them: to choose a recipe without the test set.
    """

    model: str
    recipe: Recipe
    seed: int
    options: dict[str, Any] = field(default_factory=dict)
    validate: bool = False
    data: str = "mnist"

    @property
    def name(self) -> str:
        """Of the run's file."""
        options = [f"{key.removesuffix('_multiplier')}_{in_short(value)}" for key, value in self.options.items()]
        return "-".join([self.recipe.name, self.model, *options, f"seed_{self.seed}"])

    @property
    def network_name(self) -> str:
        """The model, and what of it is not as usual."""
        return network_name(self.model, self.options)

    def network(self) -> Network:
        """The network before training."""
        return ARCHITECTURES[self.model].make(seed=self.seed, init=self.recipe.init, **self.options)

    def images(self, data_dir: str | Path | None) -> tuple[Dataset, Dataset]:
        """What to train with and what to test with; errors as of `scratchnet.data.load`."""
        train, test = load(self.data, data_dir)
        train = train[self.recipe.left_out :]
        if self.validate:
            last = train[-VALIDATION_IMAGES:]
            test = replace(last, name=f"last {VALIDATION_IMAGES:,} images of the {train.name}")
            train = train[:-VALIDATION_IMAGES]
        return train, test


def planned(recipe: str, seeds: Iterable[int], data: str = "mnist") -> list[Experiment]:
    """The runs of a recipe, by its name, on a data set: of all networks with one seed, before those with the next.

    The networks are the architectures that take such images, and after each its variants.
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
    """Train the experiment's network with scratchnet and test it once: what `record` keeps of it."""
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
    """All that a report needs to know of a run."""
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
    """When and with what a result was made; nothing that names the machine."""
    return {
        "date": date.today().isoformat(),
        "processor": processor_name(),
        "vector_bits": vector_width(),
        "engine": current_engine(),
        "threads": threads(),
        "versions": versions("scratchnet", "numpy", "numba"),
    }


def threads() -> int:
    """How many threads this process computes with."""
    given = os.environ.get("NUMBA_NUM_THREADS")
    if given:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def keep(result: dict[str, Any], path: Path) -> None:
    """Write a run as JSON, a line for each of its parts: all of it, or nothing."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    write_text_atomically(path, f"{{\n{lines}\n}}\n")


def kept(experiments: Iterable[Experiment], folder: Path) -> list[dict[str, Any]]:
    """Those runs that the folder holds, as `keep` wrote them."""
    paths = [folder / f"{e.name}.json" for e in experiments]
    return [read(path) for path in paths if path.exists()]


def read(path: Path) -> dict[str, Any]:
    """A run's JSON; a ValueError that names the file if it is damaged."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        result["experiment"] = as_experiment(result["experiment"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it, and the run will be made again") from None
    return result


def as_experiment(described: dict[str, Any]) -> Experiment:
    """An experiment from what `asdict` made of it."""
    return Experiment(**described | {"recipe": Recipe(**described["recipe"])})


def network_name(model: str, options: Mapping[str, Any]) -> str:
    """What tables call a network that was made with options: "separable_cnn, dense units 128"."""
    return ", ".join([model, *(f"{key.replace('_', ' ')} {in_short(value)}" for key, value in options.items())])


def in_short(value: Any) -> str:
    """An option's value as part of a name: 1.0 is 1."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def by_network(results: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results by the name of their network."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["experiment"].network_name, []).append(result)
    return groups


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Mean, and the standard deviation of a sample (divided by n - 1); NaN for a single value."""
    values = list(values)
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
