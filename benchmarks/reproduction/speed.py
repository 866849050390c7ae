"""Measure how long a training step of each network of the study takes. Nothing else should run at the same time.

`python -m benchmarks.reproduction.speed` writes `results/speed.json`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

import scratchnet as sn
from benchmarks.reproduction.frameworks import Scratchnet
from benchmarks.reproduction.jobs import OUTPUT, RESULTS, causes_jobs, multipliers_jobs, original_jobs
from scratchnet.runs.recipes import AUGMENTED
from scratchnet.study.experiments import Experiment, circumstances, keep

SPEED = "speed.json"
ROUNDS = 7
SECONDS = 1.5  # of timing for each network in each round
BATCH = 128


def networks() -> list[Experiment]:
    """Each network of the study once, even if several recipes train it."""
    experiments = [job.experiment for part in (original_jobs, causes_jobs, multipliers_jobs) for job in part(1)]
    return list({e.network_name: e for e in experiments}.values())


def times(work: Callable[[], Any], seconds: float) -> float:
    """The median time of as many runs as fit into `seconds`, after one that is not counted."""
    work()
    found = []
    end = time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    """Seconds of a training step of every network in each round. In a round, one network follows the other."""
    train, _ = sn.data.load("sample")
    x, labels = train.images[:BATCH], train.labels[:BATCH]
    augment, rng = AUGMENTED.make_augment(), np.random.default_rng(0)
    experiments = networks()
    trainers = [Scratchnet(e) for e in experiments]
    results: list[dict[str, Any]] = [{"model": e.model, "options": e.options, "step": []} for e in experiments]
    for result in results:
        if not result["options"]:
            result["augment"] = []
    for _ in tqdm(range(rounds), "rounds"):
        for trainer, result in zip(trainers, results, strict=True):
            result["step"].append(times(lambda: trainer.step(x, labels, 0.01), seconds))  # noqa: B023
            if "augment" in result:
                result["augment"].append(times(lambda: augment(x, rng), seconds / 4))
    return {"batch": BATCH, "networks": results, "made": circumstances()}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and keep the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduction.speed", description=__doc__)
    parser.add_argument(
        "--publish", action="store_const", const=RESULTS, default=OUTPUT, dest="output",
        help="replace the times that the study shows",
    )  # fmt: skip
    output = parser.parse_args(arguments).output
    keep(measure(), output / SPEED)
    print(f"written: {output / SPEED}")


if __name__ == "__main__":
    main()
