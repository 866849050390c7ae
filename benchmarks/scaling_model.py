"""How many ranks pay, by a model: a step of 1 to 1,024 ranks, from measured times and a given network between them.

    python -m benchmarks.scaling --ranks 1 2            # measures; writes build/scaling/strong.json
    python -m benchmarks.scaling_model                  # reads that, and prints the tables

A step of a rank is what it computes, and then the tree. It is simulated, not put into a formula: the moves are those
that `scratchnet/parallel/tree.py` makes for so many ranks, each takes

    latency + bytes / bandwidth

and a rank can only add what has come. Two ranks of a pair send to each other at the same time. The seconds that each
rank computes are drawn from those that were recorded, so that the slowest of many is waited for, as it is in truth.
After the tree the pieces go round, in log2(ranks) messages that double in size; before it the ranks meet, in two
messages of no size to each level.

The model knows nothing of the traffic of other programs, nor of switches that more ranks fill than they have lines for.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import scratchnet as sn
from benchmarks.scaling import OURS, OUTPUT, seconds
from scratchnet.console import never_refuse
from scratchnet.parallel.tree import Pieces, Tree
from scratchnet.progress import progress_bar
from scratchnet.tables import table

MOST_RANKS = 1024
WORTH = 0.5  # of the speed that as many ranks would have without any message: less does not pay


class Link(NamedTuple):
    """What connects two ranks."""

    bandwidth: float  #: bytes a second, in each direction
    latency: float  #: seconds until the first byte has come


class Rank(NamedTuple):
    """What one rank was measured to do."""

    computing: np.ndarray  #: seconds of a step for a shard, as recorded: (n,)
    adding: float  #: seconds to add a byte to another


def tree_seconds(tree: Tree, size: int, ready: np.ndarray, link: Link, adding: float) -> np.ndarray:
    """When each rank has its piece of the sum, if it has its own shards' sum at `ready` (ranks,); in seconds.

    Parameters
    ----------
    size : bytes of a vector.
    """
    pieces = Pieces.of(size, tree.ranks)
    length = [place.stop - place.start for place in pieces.places]
    done = ready.astype(float)
    for node in tree.shared_nodes():
        sent, came = done.copy(), done.copy()
        for move in tree.moves(node):
            sent[move.sender] += sum(length[piece] for piece in move.pieces) / link.bandwidth
            came[move.receiver] = max(came[move.receiver], sent[move.sender] + link.latency)
        for rank in tree.ranks_of(node):
            own = sum(length[piece] for piece in tree.owned(node, rank))
            done[rank] = max(sent[rank], came[rank]) + own * adding
    return done


def step_seconds(
    ranks: int, size: int, measured: Rank, link: Link, rng: np.random.Generator, shards: int | None = None
) -> float:
    """The mean seconds of a step, without the optimiser's, on so many ranks with as many shards, or with more."""
    shards = shards or ranks
    tree = Tree(shards, ranks)
    computing = np.array([rng.choice(measured.computing, len(tree.held_by(rank))).sum() for rank in range(ranks)])
    levels = math.ceil(math.log2(ranks)) if ranks > 1 else 0
    meeting = 2 * levels * link.latency
    ready = np.full(ranks, computing.max() + meeting)  # the meeting lets nobody go on before the slowest has come
    added = tree_seconds(tree, size, ready, link, measured.adding).max()
    round_trip = levels * link.latency + (ranks - 1) / ranks * size / link.bandwidth
    return float(added + round_trip)


def adding_seconds(size: int = 1 << 24) -> float:
    """Seconds to add a byte of a float32 vector to another on this machine: the median of some rounds."""
    one, other = (np.ones(size // 4, np.float32) for _ in range(2))
    rounds = []
    for _ in range(9):
        began = time.perf_counter()
        one += other
        rounds.append((time.perf_counter() - began) / size)
    return float(np.median(rounds))


def predictions(records: list[dict[str, Any]], links: dict[str, Link], most: int) -> list[list[str]]:
    """Rows: network, link, and for each power of two of ranks the share of the speed without messages.

    Each rank has the shard that one rank alone had in the measured run with the fewest ranks: weak scaling.
    """
    rng, adding, rows = np.random.default_rng(0), adding_seconds(), []
    counts = [2**k for k in range(1, int(math.log2(most)) + 1)]
    alone = [r for r in records if r["program"] == OURS and r["ranks"] == min(each["ranks"] for each in records)]
    for record in alone:
        steps = np.concatenate([each["computing"] for each in record["rounds"]])
        shard = steps * record["ranks"] / record["shards"]
        size = record["rounds"][0]["bytes"]
        for name, link in links.items():
            measured = Rank(shard, adding)
            shares = [
                float(shard.mean()) / step_seconds(ranks, size, measured, link, rng)
                for ranks in progress_bar(counts, f"{record['model']}, {name}", True)
            ]
            pays = [ranks for ranks, share in zip(counts, shares, strict=True) if share >= WORTH]
            rows.append(
                [record["model"], f"{size / 1e6:.1f}", f"{1000 * seconds(record) / record['shards']:.1f}", name]
                + [f"{share:.0%}" for share in shares] + [str(max(pays, default=1))]
            )  # fmt: skip
    header = ["network", "MB", "ms a shard", "link", *map(str, counts), f"ranks with at least {WORTH:.0%}"]
    return [header, *rows]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    never_refuse()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling_model", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--measured", type=Path, default=OUTPUT / "strong.json", help="(default: %(default)s)")
    parser.add_argument(
        "--gigabits", nargs="+", type=float, default=[10, 25, 100], help="a second (default: 10 25 100)"
    )
    parser.add_argument("--microseconds", type=float, default=20, help="of latency (default: 20)")
    parser.add_argument("--most", type=int, default=MOST_RANKS, help="ranks (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.measured.exists():
        parser.error(f"{options.measured}: no measurements here; make them with: python -m benchmarks.scaling")
    results = json.loads(options.measured.read_text(encoding="utf-8"))
    links = {f"{g:g} Gbit/s": Link(g * 1e9 / 8, options.microseconds * 1e-6) for g in options.gigabits}
    header, *rows = predictions(results["records"], links, options.most)
    print(
        f"share of the speed without messages, one shard a rank; {results['machine']['processor']}; sn {sn.__version__}"
    )
    print(table(header, rows))


if __name__ == "__main__":
    main()
