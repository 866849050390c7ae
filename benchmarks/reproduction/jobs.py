"""The runs of the study, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchnet.models import ARCHITECTURES
from scratchnet.runs.recipes import (
    AUGMENTED,
    AVERAGE_CANDIDATES,
    AVERAGED,
    BATCH_NORM_CANDIDATES,
    BATCH_NORMALISED,
    CANDIDATES,
    LARGE_BATCH_EPOCHS,
    LARGE_BATCHES,
    MODERN,
    ORIGINAL,
    SEPARABLE_CANDIDATES,
    Recipe,
)
from scratchnet.study.experiments import Experiment, planned, read

RESULTS = Path(__file__).parent / "results"  # those that this project shows; nothing is written there unless asked for
OUTPUT = Path(__file__).parents[2] / "build" / "reproduction"

BATCH_NORM = {"batch_norm": True}  # the option of `separable_cnn`
WIDTHS, RESOLUTIONS = (0.25, 0.5, 0.75, 1.0, 2.0), (0.5, 0.75, 1.0)
# What the original's first notebook printed during training: step, training loss in nats.
PUBLISHED_LOSSES = ((500, 2.298), (1000, 2.287), (1500, 0.278), (2000, 0.212), (3000, 0.088), (4000, 0.034))

# The accuracies in percent that the modern recipes were to reach, fixed before they ran.
AIMS = {
    "modern": {"four_conv_cnn": 99.3, "standard_cnn": 99.3, "separable_cnn": 99.1},
    "augmented": {"four_conv_cnn": 99.45, "standard_cnn": 99.5, "separable_cnn": 99.4},
    "limit": {"four_conv_cnn": 99.6, "separable_cnn": 99.45},
}

TEST_EVERY = 100  # steps, in the runs that show how accuracy grows with time


@dataclass(frozen=True)
class Job:
    """A run and the framework that trains it. With `test_every`, it is also tested every so many steps."""

    part: str
    framework: str
    experiment: Experiment
    test_every: int | None = None

    @property
    def path(self) -> Path:
        """The path of the result, below the folder of all results."""
        return Path(self.part) / f"{self.framework.lower()}-{self.experiment.name}.json"


def original_jobs(seeds: int) -> list[Job]:
    """The recipe of the original's notebooks, in both frameworks."""
    return [
        Job(ORIGINAL, framework, experiment)
        for experiment in planned(ORIGINAL, range(seeds))
        for framework in ("scratchnet", "PyTorch")
    ]


def choice_jobs(seeds: int) -> list[Job]:
    """The candidates for a modern recipe, on digits held out of the training set; always one random seed."""
    return [
        Job("choice", "scratchnet", Experiment(model, recipe, 0, validate=True))
        for recipe in CANDIDATES
        for model in ARCHITECTURES
    ]


def modern_jobs(seeds: int, recipe: Recipe = MODERN) -> list[Job]:
    """The modern recipe on the networks that the original's README describes."""
    return [
        Job(recipe.name, "scratchnet", Experiment(model, recipe, number))
        for number in range(seeds)
        for model in ARCHITECTURES
    ]


def augmented_jobs(seeds: int) -> list[Job]:
    """The same with augmentation."""
    return modern_jobs(seeds, AUGMENTED)


def separable_choice_jobs(seeds: int) -> list[Job]:
    """More candidates, with augmentation, for the network that missed its aim; held-out digits, at most two seeds."""
    return [
        Job("separable_choice", "scratchnet", Experiment("separable_cnn", recipe, number, validate=True))
        for number in range(min(seeds, 2))
        for recipe in SEPARABLE_CANDIDATES
    ]


def causes_jobs(seeds: int) -> list[Job]:
    """The original's recipe on a network that it does not have: standard convolution with the small dense layer."""
    options, recipe = {"dense_units": 128}, ARCHITECTURES["standard_cnn"].recipe
    return [Job("causes", "scratchnet", Experiment("standard_cnn", recipe, number, options)) for number in range(seeds)]


def multipliers_jobs(seeds: int) -> list[Job]:
    """MobileNet's two multipliers, by the modern recipe; at most one seed."""
    grid = [(width, resolution) for resolution in reversed(RESOLUTIONS) for width in WIDTHS]
    return [
        Job("multipliers", "scratchnet", Experiment("separable_cnn", MODERN, number, options))
        for number in range(min(seeds, 1))
        for width, resolution in grid
        for options in [{"width_multiplier": width, "resolution_multiplier": resolution}]
    ]


def batch_norm_jobs(seeds: int) -> list[Job]:
    """Batch normalisation in the separable network, by each of the three recipes."""
    recipes = [ARCHITECTURES["separable_cnn"].recipe, MODERN, AUGMENTED]
    return [
        Job("batch_norm", "scratchnet", Experiment("separable_cnn", recipe, number, BATCH_NORM))
        for number in range(seeds)
        for recipe in recipes
    ]


def average_choice_jobs(seeds: int) -> list[Job]:
    """Candidates with batch normalisation or an average of the weights; held-out digits, at most two seeds."""
    return [
        Job("average_choice", "scratchnet", Experiment(model, recipe, number, options, validate=True))
        for number in range(min(seeds, 2))
        for model, options, candidates in (
            ("separable_cnn", BATCH_NORM, BATCH_NORM_CANDIDATES),
            ("four_conv_cnn", {}, AVERAGE_CANDIDATES),
        )
        for recipe in candidates
    ]


def limit_jobs(seeds: int) -> list[Job]:
    """What those candidates reach on the test set that the rule chose."""
    return [
        Job("limit", "scratchnet", Experiment(model, recipe, number, options))
        for number in range(seeds)
        for model, options, recipe in (
            ("separable_cnn", BATCH_NORM, BATCH_NORMALISED),
            ("four_conv_cnn", {}, AVERAGED),
        )
    ]


def large_batch_jobs(seeds: int) -> list[Job]:
    """Batches of 128 to 8,192 images, tested after every epoch; at most one seed.

    The network has batch normalisation, as those of the rule's source, and is small, so that an epoch is short.
    """
    options = BATCH_NORM | {"width_multiplier": 0.5, "dense_units": 128}
    experiments = [
        Experiment("separable_cnn", recipe, number, options)
        for number in range(min(seeds, 1))
        for recipe in LARGE_BATCHES
    ]
    return [Job("large_batch", "scratchnet", e, test_every=e.recipe.steps // LARGE_BATCH_EPOCHS) for e in experiments]


def time_jobs(seeds: int) -> list[Job]:
    """Accuracy over time, by the modern recipe in three frameworks; at most one seed. These jobs run one at a time."""
    return [
        Job("time", framework, Experiment(model, MODERN, number), TEST_EVERY)
        for number in range(min(seeds, 1))
        for model in ARCHITECTURES
        for framework in ("scratchnet", "PyTorch", "TensorFlow")
    ]


PARTS: dict[str, Callable[[int], list[Job]]] = {
    ORIGINAL: original_jobs,
    "choice": choice_jobs,
    "modern": modern_jobs,
    "augmented": augmented_jobs,
    "separable_choice": separable_choice_jobs,
    "causes": causes_jobs,
    "multipliers": multipliers_jobs,
    "batch_norm": batch_norm_jobs,
    "average_choice": average_choice_jobs,
    "limit": limit_jobs,
    "large_batch": large_batch_jobs,
    "time": time_jobs,
}


def result_of(job: Job, results: Path) -> dict[str, Any] | None:
    """The result of a job in the folder of all results; None if the job has not been run.

    Raises ValueError if the file is damaged, or is the result of another recipe, framework or network.
    """
    path = results / job.path
    if not path.exists():
        return None
    result = read(path)
    if (result["framework"], result["experiment"]) != (job.framework, job.experiment):
        raise ValueError(
            f"{path}: expected the result of {job.framework} and {job.experiment}, got that of {result['framework']} "
            f"and {result['experiment']}; move the file away, and the run will be made again"
        )
    return result
