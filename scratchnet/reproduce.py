"""Train the three architectures one after another, and set the result beside what the seed reports.

"The seed" is the public README that scratchnet reproduces: three MNIST networks in two frameworks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scratchnet.checkpoint import load, save
from scratchnet.data import Dataset
from scratchnet.models import MODELS
from scratchnet.network import Network
from scratchnet.plots import draw_all
from scratchnet.recipes import Recipe
from scratchnet.run import CHECKPOINT, METRICS, History, read_metrics
from scratchnet.settings import MODEL
from scratchnet.text import table
from scratchnet.train import fit


@dataclass(frozen=True)
class Published:
    """What the seed's README states of an architecture, for the MNIST test set; None where it states nothing."""

    accuracy: str
    steps_per_second: str


SEED = {
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
            sum(p.value.size for p in net.parameters()),
            f"{epochs[-1]['test_accuracy']:.2%}",
            f"{sorted(e['steps_per_second'] for e in epochs)[len(epochs) // 2]:.1f}",
            SEED[net.name].accuracy,
            SEED[net.name].steps_per_second,
        ])  # fmt: skip
    return (
        f"{table(header, rows)}\n\n"
        f"Ours is the accuracy on {len(test):,} {test.name}; the seed's is on MNIST's own test set, after training on\n"
        "55,000 or 60,000 digits. These are different tests: compare the two columns for their order of size only.\n"
        f"Steps/s are the median epoch's: batches of {recipe.batch_size} here, of 128 and on another machine there."
    )
