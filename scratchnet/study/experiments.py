"""One run of the study of MNIST: an architecture trained by a recipe from a seed, tested once, and kept as JSON.

`scratchnet reproduce --recipe seed --data mnist` makes the runs of all architectures and seeds one after another;
`benchmarks/reproduction` adds PyTorch's and TensorFlow's, and draws the conclusions.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data import Dataset, load
from scratchnet.engine import current_engine
from scratchnet.info import processor_name, vector_width
from scratchnet.models import MODELS
from scratchnet.network import Network
from scratchnet.runs.files import write_text_atomically
from scratchnet.runs.recipes import RECIPES, Recipe
from scratchnet.train import evaluate, fit

VALIDATION_IMAGES = 5000  # the last of the training set
LOSS_EVERY = 10  # steps, of which the mean loss is kept


# The three architectures as the README behind the seed describes them, and the separable one as its notebook ran it.
NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("four_conv_cnn", {}),
    ("standard_cnn", {}),
    ("separable_cnn", {}),
    ("separable_cnn", {"dense_units": 128}),
)


@dataclass(frozen=True)
class Experiment:
    """What decides a run's result.

    Attributes
    ----------
    model : str
        The architecture, a name in `MODELS`.
    recipe : Recipe
    seed : int
        Of the weights, the dropout masks and the batches.
    options : dict
        Of the architecture: dense_units, width_multiplier, resolution_multiplier.
    validate : bool
        Leave out the last 5,000 training images and test on them: to choose a recipe without the test set.
    """

    model: str
    recipe: Recipe
    seed: int
    options: dict[str, Any] = field(default_factory=dict)
    validate: bool = False

    @property
    def name(self) -> str:
        """Of the run's file."""
        options = [f"{key.removesuffix('_multiplier')}_{value:g}" for key, value in self.options.items()]
        return "-".join([self.recipe.name, self.model, *options, f"seed_{self.seed}"])

    @property
    def network_name(self) -> str:
        """The model, and what of it is not as usual."""
        return ", ".join([self.model, *(f"{key.replace('_', ' ')} {value:g}" for key, value in self.options.items())])

    def network(self) -> Network:
        """The network before training."""
        return MODELS[self.model](seed=self.seed, init=self.recipe.init, **self.options)

    def digits(self, data_dir: str | Path | None) -> tuple[Dataset, Dataset]:
        """What to train with and what to test with; errors as of `scratchnet.data.load`."""
        train, test = load("mnist", data_dir)
        train = train[self.recipe.left_out :]
        if self.validate:
            last = train[-VALIDATION_IMAGES:]
            test = Dataset(last.images, last.labels, f"last {VALIDATION_IMAGES:,} images of the MNIST training set")
            train = train[:-VALIDATION_IMAGES]
        return train, test


def planned(recipe: str, seeds: Iterable[int]) -> list[Experiment]:
    """The runs of a recipe in `RECIPES`: of all networks with one seed, before those with the next."""
    return [Experiment(model, RECIPES[recipe][model], seed, options) for seed in seeds for model, options in NETWORKS]


def train_and_test(experiment: Experiment, data_dir: str | Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Train the experiment's network with scratchnet and test it once: what `record` keeps of it."""
    net, recipe = experiment.network(), experiment.recipe
    train, test = experiment.digits(data_dir)
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
