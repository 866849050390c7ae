"""Train the architectures one after another, and compare the results with those that the original reports.

`reproduce` trains each once, on a sample, in a minute or two. `reproduce_whole` trains on a whole data set, with
several random seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data import Dataset
from scratchnet.engine import ops
from scratchnet.models import ARCHITECTURES, Architecture, Published
from scratchnet.network import Network
from scratchnet.runs.checkpoint import load, save
from scratchnet.runs.interrupt import Stopped
from scratchnet.runs.metrics import METRICS, History, read_metrics
from scratchnet.runs.options import MODEL
from scratchnet.runs.recipes import Recipe
from scratchnet.runs.run import CHECKPOINT
from scratchnet.runs.run import planned as planned_fit
from scratchnet.show.plots import draw_all
from scratchnet.study.experiments import (
    Experiment,
    by_network,
    keep,
    kept,
    mean_and_deviation,
    network_name,
    planned,
    train_and_test,
)
from scratchnet.tables import table
from scratchnet.train import fit


def reproduce(
    folder: Path, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, resume: bool = False
) -> tuple[str, list[Path]]:
    """Train all networks that take such images, each in its own folder below `folder`.

    With `resume`, finished networks are not trained again, and the interrupted one goes on. Returns the table and the
    files that were written.
    """
    prepare(architectures_for(train), train, test, recipe)
    nets, histories, written = [], {}, []
    for architecture in architectures_for(train):
        place = folder / architecture.name
        nets.append(train_one(architecture, place, train, test, recipe, seed, resume))
        histories[architecture.name] = read_metrics(place / METRICS)
        written += [place / MODEL, place / METRICS]
    figures = draw_all(folder / "figures", train, test, nets, histories, progress=True)
    return results_table(nets, histories, test, recipe), written + figures


def architectures_for(data: Dataset) -> list[Architecture]:
    """The architectures that take a data set's images and have an output for each of its classes."""
    shape, classes = data.images.shape[1:], data.class_count()
    return [architecture for architecture in ARCHITECTURES.values() if architecture.takes(shape, classes)]


def prepare(architectures: Sequence[Architecture], train: Dataset, test: Dataset, recipe: Recipe) -> None:
    """Have the engine compile what all these networks need at once: many of their kernels are the same."""
    plans = []
    for architecture in architectures:
        net = architecture.make()
        optimizer, augment = recipe.make_optimizer(net), recipe.make_augment()
        plan = planned_fit(net, train, test, recipe.batch_size, optimizer, augment)
        one_at_a_time = (1, *train.images.shape[1:]), train.images.dtype, False  # as the figures have them
        plans.append(plan._replace(passes=[*plan.passes, one_at_a_time]))
    ops.prepare(plans)


def train_one(
    architecture: Architecture, place: Path, train: Dataset, test: Dataset, recipe: Recipe, seed: int, resume: bool
) -> Network:
    """Train one network by the recipe; with `resume`, load it if it is finished."""
    if resume and (place / MODEL).exists() and (place / METRICS).exists():
        return load(place / MODEL)
    net = architecture.make(seed=seed, init=recipe.init)
    fit(
        net,
        train,
        test,
        **recipe.fit_arguments(net, len(train)),
        seed=seed,
        folder=place,
        resume=resume,
    )
    save(net, place / MODEL, trained_on=train)
    (place / CHECKPOINT).unlink(missing_ok=True)  # the run is over, and the model holds its weights
    return net


def results_table(nets: list[Network], histories: dict[str, History], test: Dataset, recipe: Recipe) -> str:
    """Our figures beside the original's, and a note on why the two accuracies come from different tests."""
    header = ["architecture", "parameters", "accuracy", "steps/s", "original's accuracy", "original's steps/s"]
    rows = []
    for net in nets:
        rows.append([
            net.name,
            net.parameter_count(),
            f"{histories[net.name].epochs[-1]['test_accuracy']:.2%}",
            f"{histories[net.name].steps_per_second():.1f}",
            *published_texts(ARCHITECTURES[net.name].published),
        ])  # fmt: skip
    return "\n".join([
        f"{table(header, rows)}\n",
        f"Ours is the accuracy on {len(test):,} {test.name}; the original's is on MNIST's own test set, after training",
        "on 55,000 or 60,000 digits. These are different tests: compare the two columns for their order of size only.",
        "Steps/s leave out compiling and evaluation, as the bars do: the median step's of the median epoch. Batches of",
        f"{recipe.batch_size} here, of 128 and on another machine there.",
        *(f"The original's {name} reached {published}." for name, published in published_variants(nets)),
    ])  # fmt: skip


NOT_STATED, NOT_PUBLISHED = "not stated", "–"


def published_texts(published: Published | None) -> tuple[str, str]:
    """The original's accuracy and steps a second, as text for a table; dashes for a network that it does not have."""
    if published is None:
        return NOT_PUBLISHED, NOT_PUBLISHED
    accuracy, speed = published.accuracy, published.steps_per_second
    return NOT_STATED if accuracy is None else f"{accuracy:g}%", NOT_STATED if speed is None else f"{speed:g}"


def published_variants(nets: list[Network]) -> list[tuple[str, str]]:
    """The variants of these networks for which the original has figures: the name and the figures of each."""
    found = []
    for net in nets:
        for variant in ARCHITECTURES[net.name].variants:
            accuracy, speed = published_texts(variant.published)
            if variant.published:
                found.append((network_name(net.name, variant.options), f"{accuracy}, at {speed} steps/s"))
    return found


# ---------------------------------------------------------------- on a whole data set


def reproduce_whole(
    folder: Path, recipe: str, seeds: Sequence[int], data: str = "mnist", data_dir: str | None = None
) -> tuple[str, list[Path]]:
    """Make those runs of a recipe that the folder lacks, and save each at its end; returns the table and all files."""
    experiments = planned(recipe, seeds, data)
    for i, experiment in enumerate(experiments, 1):
        path = folder / f"{experiment.name}.json"
        if path.exists():
            continue
        try:
            result = train_and_test(experiment, data_dir)
        except Stopped as stop:
            outcome = f"stopped in run {i} of {len(experiments)}, which begins anew; the runs before it are in {folder}"
            raise Stopped(outcome, signal=stop.signal) from None
        result["made"]["command"] = (
            f"scratchnet reproduce --recipe {recipe} --data {data} --seed {experiment.seed} --seeds 1"
        )
        accuracy, loss = result["test"]["accuracy"], result["test"]["loss"]
        print(
            f"run {i} of {len(experiments)}, {experiment.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats "
            f"on {result['test']['images']:,} {result['test']['name']}, in {result['seconds']:.0f} s",
            flush=True,
        )
        keep(result, path)
    return whole_table(kept(experiments, folder)), [folder / f"{e.name}.json" for e in experiments]


def published_for(experiment: Experiment) -> Published | None:
    """The figures that the original reports of an experiment's network; None if there are none."""
    return ARCHITECTURES[experiment.model].published_for(experiment.options)


def whole_table(results: Sequence[dict[str, Any]]) -> str:
    """Each network's accuracy over the random seeds, beside the original's."""
    header = ["network", "parameters", "runs", "accuracy", "lowest", "highest", "original's accuracy", "seconds a run"]
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
            published_texts(published_for(runs[0]["experiment"]))[0],
            f"{np.median([r['seconds'] for r in runs]):.0f}",
        ])  # fmt: skip
    tests = sorted({f"{r['test']['images']:,} {r['test']['name']}" for r in results})
    return (
        f"{table(header, rows)}\n\n"
        f"Mean and standard deviation over the runs, on {' and '.join(tests)}. The original's figures\n"
        "are on MNIST's own test set; a dash stands beside a network that it does not have."
    )
