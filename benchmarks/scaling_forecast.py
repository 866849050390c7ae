"""How many machines pay, what sets the limit, and what 99 % takes and costs: the model's answers, from measured runs.

A *machine* is a rank with as many threads as were measured.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

import scratchnet as sn
from benchmarks.scaling import OURS, seconds
from benchmarks.scaling_model import Link, Part, Rank, by_layers, losses, one_rank, step_seconds, whole

WORTH = 0.5  # of the speed that as many ranks would have without losses: less does not pay
BATCHES = (128, 1024, 8192)
STEPS = Path(__file__).parent / "scaling_steps.json"  # until a recorded run had 99 % of the test set right
THOUSAND = 1000
SETS = {
    "latency": "the tree's latency",
    "traffic": "the traffic",
    "shard": "the shard's size",
}

Records = list[dict[str, Any]]
Steps = dict[str, dict[str, int]]  # by network and batch size


class Question(NamedTuple):
    """What is asked of the model: a network on measured ranks, with batches of so many images."""

    model: str
    threads: int
    batch: int
    rank: Rank
    whole: list[Part]
    layers: list[Part]

    def seconds(self, ranks: int, link: Link, overlap: bool = False) -> float:
        """Of a step."""
        return step_seconds(ranks, self.batch, self.layers if overlap else self.whole, self.rank, link)

    def share(self, ranks: int, link: Link, overlap: bool = False) -> float:
        """Of the speed that so many ranks would have without losses."""
        return one_rank(self.batch, self.rank) / ranks / self.seconds(ranks, link, overlap)


# ---------------------------------------------------------------- from measured runs


def calibrated(records: Records, model: str, threads: int, adding: float) -> Rank:
    """What a rank does, from the runs of a network with the fewest ranks, by `fitted`."""
    found = [r for r in records if (r["program"], r["model"], r["threads"]) == (OURS, model, threads)]
    fewest = [r for r in found if r["ranks"] == min(each["ranks"] for each in found)]
    steps = [np.array(each["computing"]) for record in fewest for each in record["rounds"]]
    shards, images = (np.array([r[name] / r["ranks"] for r in fewest]) for name in ("shards", "batch_size"))
    once, shard, image = fitted(shards, images, np.array([computing(r) for r in fewest]))
    rest = [max(0.0, seconds(r) - computing(r) - seconds(r, "between")) * r["ranks"] for r in fewest]
    scatter = np.concatenate([each / np.median(each) for each in steps])
    return Rank(once, shard, image, statistics.median(rest), adding, scatter)


def computing(record: dict[str, Any]) -> float:
    """The seconds that a rank computes in the median step of the median round."""
    return statistics.median(float(np.median(each["computing"])) for each in record["rounds"])


def fitted(shards: np.ndarray, images: np.ndarray, computing: np.ndarray) -> list[float]:
    """The seconds for a step, for a shard and for an image, none below 0, that come nearest to measured ones: (runs,).

    Nearest in relative terms, by least squares. What the runs do not tell apart counts as the images', or else as the
    shards': with one batch size and one number of shards, all of the time is that of the images.
    """
    columns = np.stack([np.ones_like(shards), shards, images], axis=1) / computing[:, None]
    told: list[int] = []
    for column in (2, 1, 0):
        if np.linalg.matrix_rank(columns[:, [*told, column]]) > len(told):
            told.append(column)
    found = np.zeros(3)
    found[told], _ = nnls(columns[:, told], np.ones_like(computing))
    return [float(each) for each in found]


def questions(results: dict[str, Any]) -> list[Question]:
    """For each measured network and each batch size, on ranks with the most threads that were measured."""
    ours = [r for r in results["records"] if r["program"] == OURS]
    found = []
    for model in dict.fromkeys(r["model"] for r in ours):
        threads = max(r["threads"] for r in ours if r["model"] == model)
        rank = calibrated(ours, model, threads, results["adding"])
        layers = by_layers(sn.models.ARCHITECTURES[model].make())
        size = sum(part.size for part in layers)
        found += [Question(model, threads, batch, rank, whole(size), layers) for batch in BATCHES]
    return found


def thousandfold(question: Question) -> Question:
    """A network with a thousand times as many weights and multiply-adds for an image, on the same machine."""
    rank = question.rank
    return question._replace(
        rank=rank._replace(**{name: THOUSAND * getattr(rank, name) for name in ("once", "shard", "image", "rest")}),
        whole=[part._replace(size=THOUSAND * part.size) for part in question.whole],
        layers=[part._replace(size=THOUSAND * part.size) for part in question.layers],
    )


# ---------------------------------------------------------------- how many machines pay


def counts(batch: int, most: int) -> list[int]:
    """Powers of two: a rank has one image at least."""
    return [2**k for k in range(int(math.log2(min(batch, most))) + 1)]


def paying(question: Question, link: Link, most: int, overlap: bool = False) -> int:
    """The largest number of ranks for which this one and all smaller ones pay."""
    pays = 1
    for ranks in counts(question.batch, most):
        if question.share(ranks, link, overlap) < WORTH:
            break
        pays = ranks
    return pays


def limit(question: Question, link: Link, pays: int, most: int) -> str:
    """What takes the most time where twice as many ranks do not pay."""
    ranks = 2 * pays
    if ranks > min(question.batch, most):
        return "the number of images" if question.batch <= most else f"none up to {most:,}"
    lost = losses(ranks, question.batch, question.whole, question.rank, link)
    return SETS[max(lost._fields, key=lambda name: getattr(lost, name))]


def machines_that_pay(asked: Sequence[Question], links: dict[str, Link], most: int) -> list[list[str]]:
    """A row for each network, batch size and link."""
    header = ["network", "images", "link", "a step of 1 machine", "machines that pay", "their step", "limit"]
    rows = [[*header, "with overlap"]]
    for question in asked:
        for name, link in links.items():
            pays = paying(question, link, most)
            rows.append([
                question.model, f"{question.batch:,}", name, duration(one_rank(question.batch, question.rank)),
                f"{pays:,}", duration(question.seconds(pays, link)), limit(question, link, pays, most),
                f"{paying(question, link, most, overlap=True):,}",
            ])  # fmt: skip
    return rows


def shares(asked: Sequence[Question], link: Link, most: int) -> list[list[str]]:
    """A row for each network and batch size, a column for each number of ranks: the share of the speed."""
    numbers = counts(max(q.batch for q in asked), most)[1:]
    rows = [["network", "images", *(f"{ranks:,}" for ranks in numbers)]]
    for question in asked:
        cells = [f"{question.share(n, link):.0%}" if n <= question.batch else "" for n in numbers]
        rows.append([question.model, f"{question.batch:,}", *cells])
    return rows


# ---------------------------------------------------------------- time and cost


def until_99(asked: Sequence[Question], steps: Steps) -> list[tuple[Question, int]]:
    """The questions for which a run was recorded, and its steps until 99 %."""
    known = [(question, steps.get(question.model, {}).get(str(question.batch))) for question in asked]
    return [(question, count) for question, count in known if count]


def as_many_epochs(asked: Sequence[Question], steps: Steps) -> list[tuple[Question, int]]:
    """The questions of the networks that have a recorded run with the smallest batch, and the steps until 99 % on a
    thousand times as many images: of as many epochs, whatever the batch size."""
    smallest = BATCHES[0]
    known = [(question, steps.get(question.model, {}).get(str(smallest))) for question in asked]
    return [(question, THOUSAND * count * smallest // question.batch) for question, count in known if count]


def time_and_cost(
    asked: Sequence[tuple[Question, int]], links: dict[str, Link], most: int, price: float
) -> list[list[str]]:
    """A row for each network, batch size and link: on one machine, on as many as pay, and on the fastest number."""
    header = ["network", "images", "steps", "link"]
    rows = [header + [f"{on}, {what}" for on in ("1", "paying", "fastest") for what in ("time", "cost")]]
    for question, steps in asked:
        for name, link in links.items():
            fastest = min(counts(question.batch, most), key=lambda ranks: question.seconds(ranks, link))
            row = [question.model, f"{question.batch:,}", f"{steps:,}", name]
            for ranks in (1, paying(question, link, most), fastest):
                taken = steps * question.seconds(ranks, link)
                cost = taken / 3600 * ranks * question.threads * price
                row += [duration(taken) + (f" ({ranks:,})" if len(row) > len(header) else ""), in_money(cost)]
            rows.append(row)
    return rows


def duration(taken: float) -> str:
    """Seconds as a text, in a unit that suits them."""
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("h", 3600), ("min", 60)):
        if taken >= 2 * length:
            return f"{taken / length:,.1f} {unit}"
    return f"{taken:.1f} s" if taken >= 1 else f"{1e3 * taken:.1f} ms"


def in_money(cost: float) -> str:
    """Two digits that count, or whole units."""
    return f"{cost:,.0f}" if cost >= 10 else f"{cost:.2g}"


# ---------------------------------------------------------------- the check


def check(results: dict[str, Any], here: Link) -> list[list[str]]:
    """A row for each measured run of ours: what the model says of it, from the run with the fewest ranks."""
    rows = [["network", "images", "ranks x threads", "shards", "ms, predicted", "ms, measured", "predicted / measured"]]
    ours = [r for r in results["records"] if r["program"] == OURS]
    for record in ours:
        rank = calibrated(ours, record["model"], record["threads"], results["adding"])
        parts = whole(record["rounds"][0]["bytes"])
        predicted = step_seconds(record["ranks"], record["batch_size"], parts, rank, here, record["shards"])
        rows.append([
            record["model"], f"{record['batch_size']:,}", f"{record['ranks']} x {record['threads']}",
            str(record["shards"]), f"{1e3 * predicted:.1f}", f"{1e3 * seconds(record):.1f}",
            f"{predicted / seconds(record):.2f}",
        ])  # fmt: skip
    return rows


def read_steps(path: Path = STEPS) -> Steps:
    """The steps until 99 %."""
    steps: Steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    return steps
