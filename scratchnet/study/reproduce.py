"""Train the three architectures one after another, and set the result beside what the seed reports.

"The seed" is the public README that scratchnet reproduces: three MNIST networks in two frameworks. `reproduce` trains
on the sample, in a minute; `reproduce_on_mnist` on all of MNIST, with several random seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data import Dataset
from scratchnet.models import MODELS
from scratchnet.network import Network
from scratchnet.runs.checkpoint import load, save
from scratchnet.runs.options import MODEL
from scratchnet.runs.recipes import Recipe
from scratchnet.runs.run import CHECKPOINT, METRICS, History, read_metrics
from scratchnet.show.plots import draw_all
from scratchnet.study.experiments import Experiment, by_network, keep, kept, mean_and_deviation, planned, train_and_test
from scratchnet.tables import table
from scratchnet.train import fit


@dataclass(frozen=True)
class Published:
    """What the seed's README states of an architecture, for the MNIST test set; None where it states nothing."""

    accuracy: str
    steps_per_second: str


PUBLISHED = {
    "four_conv_cnn": Published("98.12%", "not stated"),
    "standard_cnn": Published("97.99%", "2"),
    "separable_cnn": Published("96.5%", "6"),
}


def reproduce(
    folder: Path, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, resume: bool = False
) -> tuple[str, list[Path]]:
    """Train all three networks, each in a folder of its own below `folder`; returns the table and what was written.

    With `resume`, networks that are finished are not trained again, and the one that was interrupted goes on.
    """
    nets, histories, written = [], {}, []
    for name in MODELS:
        place = folder / name
        nets.append(train_one(name, place, train, test, recipe, seed, resume))
        histories[name] = read_metrics(place / METRICS)
        written += [place / MODEL, place / METRICS]
    figures = draw_all(folder / "figures", train, test, nets, histories, progress=True)
    return results_table(nets, histories, test, recipe), written + figures


def train_one(
    name: str, place: Path, train: Dataset, test: Dataset, recipe: Recipe, seed: int, resume: bool
) -> Network:
    """Train one network by the recipe, or load it if `resume` finds it finished."""
    if resume and (place / MODEL).exists():
        return load(place / MODEL)
    net = MODELS[name](seed=seed, init=recipe.init)
    fit(
        net,
        train,
        test,
        **recipe.fit_arguments(net, len(train)),
        seed=seed,
        folder=place,
        resume=resume,
    )
    save(net, place / MODEL)
    (place / CHECKPOINT).unlink(missing_ok=True)  # the run is over, and the model holds its weights
    return net


def results_table(nets: list[Network], histories: dict[str, History], test: Dataset, recipe: Recipe) -> str:
    """Ours beside the seed's, and why the two accuracies are not the same test."""
    header = ["architecture", "parameters", "accuracy", "steps/s", "seed's accuracy", "seed's steps/s"]
    rows = []
    for net in nets:
        epochs = histories[net.name].epochs
        rows.append([
            net.name,
            net.parameter_count(),
            f"{epochs[-1]['test_accuracy']:.2%}",
            f"{sorted(e['steps_per_second'] for e in epochs)[len(epochs) // 2]:.1f}",
            PUBLISHED[net.name].accuracy,
            PUBLISHED[net.name].steps_per_second,
        ])  # fmt: skip
    return (
        f"{table(header, rows)}\n\n"
        f"Ours is the accuracy on {len(test):,} {test.name}; the seed's is on MNIST's own test set, after training on\n"
        "55,000 or 60,000 digits. These are different tests: compare the two columns for their order of size only.\n"
        f"Steps/s are the median epoch's: batches of {recipe.batch_size} here, of 128 and on another machine there."
    )


# ---------------------------------------------------------------- on the whole of MNIST


def reproduce_on_mnist(
    folder: Path, recipe: str, seeds: Sequence[int], data_dir: str | None = None
) -> tuple[str, list[Path]]:
    """Make the runs of a recipe that the folder lacks, each kept when it is done; returns the table and all files."""
    experiments = planned(recipe, seeds)
    for i, experiment in enumerate(experiments, 1):
        path = folder / f"{experiment.name}.json"
        if path.exists():
            continue
        result = train_and_test(experiment, data_dir)
        result["made"]["command"] = (
            f"scratchnet reproduce --recipe {recipe} --data mnist --seed {experiment.seed} --seeds 1"
        )
        keep(result, path)
        accuracy, loss = result["test"]["accuracy"], result["test"]["loss"]
        print(
            f"run {i} of {len(experiments)}, {experiment.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats "
            f"on {result['test']['images']:,} {result['test']['name']}, in {result['seconds']:.0f} s",
            flush=True,
        )
    return mnist_table(kept(experiments, folder)), [folder / f"{e.name}.json" for e in experiments]


def published_accuracy(experiment: Experiment) -> str:
    """What the seed reports of a network; it reports nothing of `separable_cnn` as its README describes it."""
    small = experiment.options == {"dense_units": 128}
    return PUBLISHED[experiment.model].accuracy if small or experiment.model != "separable_cnn" else "not stated"


def mnist_table(results: Sequence[dict[str, Any]]) -> str:
    """Each network's accuracy over the random seeds, beside what the seed reports."""
    header = ["network", "parameters", "runs", "accuracy", "lowest", "highest", "seed's accuracy", "seconds a run"]
    rows = []
    for name, runs in by_network(results).items():
        accuracies = [r["test"]["accuracy"] for r in runs]
        mean, deviation = mean_and_deviation(accuracies)
        rows.append([
            name,
            runs[0]["experiment"].network().parameter_count(),
            len(runs),
            f"{mean:.2%}" + (f" ± {deviation:.2%}" if len(runs) > 1 else ""),
            f"{min(accuracies):.2%}",
            f"{max(accuracies):.2%}",
            published_accuracy(runs[0]["experiment"]),
            f"{np.median([r['seconds'] for r in runs]):.0f}",
        ])  # fmt: skip
    return (
        f"{table(header, rows)}\n\n"
        "Mean and standard deviation over the runs, on the 10,000 test images of MNIST, as the seed's figures are.\n"
        "Its README describes separable_cnn with 1024 dense units; its 96.5% is of one with 128."
    )
