"""What a step takes on 1 to 1,024 ranks: a simulation that runs the real tree, with recorded times and a given network.

A step of a rank is what it computes, and then the tree. It is simulated, not put into a formula: the moves are those
that `scratchnet/parallel/tree.py` makes for so many ranks, each takes

    latency + bytes / bandwidth

and a rank can only add what has come. Two ranks of a pair send to each other at the same time. What a rank computes is
linear in its images and in its shards, with something that it does once for all of them. Each step also varies as the
recorded ones do, so that the slowest of many ranks is waited for, as it is in truth. Then the ranks meet, in two
messages of no size to each level. After the tree the pieces go round, in log2(ranks) messages that double in size.

With overlap, the gradients of each layer have a tree of their own, which begins when the slowest rank has them. It
takes turns with the trees before it. What a rank adds meanwhile, it computes later. The ranks meet before the weights
change, as without overlap.

The model knows nothing of the traffic of other programs, nor of switches that more ranks fill than they have lines for.
`scaling_forecast.py` asks it how many ranks pay, and `scaling_page.py` writes the tables.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

import scratchnet as sn
from scratchnet.parallel.tree import Tree

DRAWS = 50  # steps whose slowest ranks are averaged


class Link(NamedTuple):
    """What connects two ranks."""

    bandwidth: float  #: bytes a second, in each direction
    latency: float  #: seconds until the first byte has come


class Rank(NamedTuple):
    """What one rank was measured to do for a network; in seconds."""

    once: float  #: for a step, however many shards it has
    shard: float  #: for each shard, however many images it has
    image: float  #: for each image
    rest: float  #: of a step, which the ranks divide: the optimiser's part
    adding: float  #: to add a byte to another
    scatter: np.ndarray  #: what recorded steps took, as multiples of their median: (n,)

    def computing(self, images: float, shards: float = 1) -> float:
        """The forward and backward pass of so many images in so many shards, in the median step."""
        return self.once + self.shard * shards + self.image * images


class Part(NamedTuple):
    """Gradients that are added in one tree."""

    size: int  #: bytes
    ready: float  #: after which share of the computing they are there


def whole(size: int) -> list[Part]:
    """No overlap: all gradients are sent when the last of them is ready."""
    return [Part(size, 1.0)]


def by_layers(net: sn.Network) -> list[Part]:
    """The gradients of each layer, in the order of the backward pass.

    Computing is divided by multiply-adds: as many in the forward pass as in each of the backward pass's two products.
    The first layer needs only one of these, since nobody asks for the gradient of the images.
    """
    counts = [layer.multiply_adds(shape) for layer, shape in zip(net.layers, net.output_shapes(), strict=False)]
    done, parts, total = sum(counts), [], 3 * sum(counts) - counts[0]
    for i in reversed(range(len(net.layers))):
        done += (2 if i else 1) * counts[i]
        size = sum(p.value.nbytes for p in net.layers[i].parameters())
        if size:
            parts.append(Part(size, done / total))
    return parts


# ---------------------------------------------------------------- the tree


class Join(NamedTuple):
    """What happens at a node: who sends which share of the vector to whom, and which share each rank then adds."""

    moves: list[tuple[int, int, float]]
    adds: dict[int, float]


@lru_cache(maxsize=256)
def joins(tree: Tree) -> list[Join]:
    """The nodes of a tree at which ranks work together, in order."""
    found = []
    for node in tree.shared_nodes():
        owned = Counter(tree.owner(node, piece) for piece in range(tree.ranks))
        moves = [(move.sender, move.receiver, len(move.pieces) / tree.ranks) for move in tree.moves(node)]
        found.append(Join(moves, {rank: pieces / tree.ranks for rank, pieces in owned.items()}))
    return found


def tree_seconds(tree: Tree, size: float, ready: np.ndarray, link: Link, adding: float) -> np.ndarray:
    """When each rank has its piece of the sum, if it has its own shards' sum at `ready` (ranks,); in seconds.

    Parameters
    ----------
    size : bytes of a vector.
    """
    done = ready.tolist()
    for join in joins(tree):
        sent, came = {rank: done[rank] for rank in join.adds}, {rank: done[rank] for rank in join.adds}
        for sender, receiver, share in join.moves:
            sent[sender] += share * size / link.bandwidth
            came[receiver] = max(came[receiver], sent[sender] + link.latency)
        for rank, share in join.adds.items():
            done[rank] = max(sent[rank], came[rank]) + share * size * adding
    return np.array(done)


# ---------------------------------------------------------------- a step


def slowest_computing(tree: Tree, batch: int, rank: Rank) -> float:
    """The seconds that the slowest of the ranks computes, in the mean of some steps."""
    rng = np.random.default_rng(0)
    held = max(len(tree.held_by(each)) for each in range(tree.ranks))
    usual = rank.computing(held * math.ceil(batch / tree.shards), held)
    return usual * float(rng.choice(rank.scatter, (DRAWS, tree.ranks)).max(axis=1).mean())


def step_seconds(
    ranks: int, batch: int, parts: Sequence[Part], rank: Rank, link: Link, shards: int | None = None
) -> float:
    """The mean seconds of a step with a batch of so many images, on so many ranks with as many shards, or with more."""
    tree = Tree(shards or ranks, ranks)
    computing, levels = slowest_computing(tree, batch, rank), math.ceil(math.log2(ranks))
    together, late, added = np.zeros(ranks), 0.0, 0.0
    for part in parts:
        begun = max(added, part.ready * computing + late)
        added = begun + tree_seconds(tree, part.size, together, link, rank.adding).max()
        late += (1 - 1 / ranks) * part.size * rank.adding
    size = sum(part.size for part in parts)
    round_trip = levels * link.latency + (1 - 1 / ranks) * size / link.bandwidth
    return float(added + 2 * levels * link.latency + rank.rest / ranks + round_trip)


class Losses(NamedTuple):
    """Seconds of a step that a rank does not have with a part of one rank's work: why it is slower than that."""

    latency: float
    traffic: float  #: sending and adding bytes
    shard: float  #: a shard is not as much faster as it is smaller, and the slowest is waited for


def losses(ranks: int, batch: int, parts: Sequence[Part], rank: Rank, link: Link) -> Losses:
    """Where the time goes: what would be saved without latency, without traffic, and with shards that cost no more."""
    wholly = step_seconds(ranks, batch, parts, rank, link)
    at_once = step_seconds(ranks, batch, parts, rank, link._replace(latency=0.0))
    free = rank._replace(adding=0.0)
    empty = step_seconds(ranks, batch, parts, free, link._replace(bandwidth=math.inf))
    alone = step_seconds(ranks, batch, parts, free, Link(math.inf, 0.0))
    return Losses(wholly - at_once, wholly - empty, alone - one_rank(batch, rank) / ranks)


def one_rank(batch: int, rank: Rank) -> float:
    """The mean seconds of a step on one rank, with one shard."""
    return step_seconds(1, batch, whole(0), rank, Link(math.inf, 0.0))
