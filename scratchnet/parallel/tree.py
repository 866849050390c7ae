"""The one tree in which the shards' vectors are added, and who adds which part of it.

Floating-point addition is not associative: (a + b) + c and a + (b + c) differ in the last bits. So which numbers are
added to which is fixed by the number of shards alone. Node [first, last) of the tree is the sum of these shards:

    sum[k, k + 1)       = shard k
    sum[first, last)    = sum[first, middle) + sum[middle, last)        middle: half of the shards, rounded up

Each rank holds shards that follow each other. What lies below a node of its own shards, it adds alone. At the nodes
above, several ranks share the work: the vector is cut into as many pieces as there are ranks, and each piece of the sum
is added by one of the node's ranks [a, b):

    owner of piece p    = a + (p - a) mod (b - a)

At the root, rank p owns piece p. For a power of two of ranks this is recursive halving: at each level two ranks
exchange half of what they still have. Every rank then sends 1/2 + 1/4 + ... of a vector, as much as in a ring, but in
log2(ranks) messages instead of ranks - 1.

Nothing here sends anything. So `benchmarks/scaling_model.py` can run the tree of 1,024 ranks in one process.

Source: Rabenseifner, "Optimization of Collective Reduction Operations", 2004, section 4 (recursive halving).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scratchnet.parallel.shards import cut


class Node(NamedTuple):
    """A node of the tree: the sum of the shards from `first` up to, but not including, `last`."""

    first: int
    last: int

    def is_shard(self) -> bool:
        """Whether it is a single shard, and no sum."""
        return self.last - self.first == 1

    def halves(self) -> tuple[Node, Node]:
        """The two nodes whose sum it is."""
        middle = (self.first + self.last + 1) // 2
        return Node(self.first, middle), Node(middle, self.last)


class Move(NamedTuple):
    """A message: pieces of a node's sum, which `sender` owns and `receiver` needs for the node above."""

    node: Node
    sender: int
    receiver: int
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """The tree of so many shards, divided among so many ranks: 1 <= ranks <= shards."""

    shards: int
    ranks: int

    @property
    def root(self) -> Node:
        """The sum of all shards."""
        return Node(0, self.shards)

    def held_by(self, rank: int) -> range:
        """The shards of a rank."""
        return cut(self.shards, self.ranks)[rank]

    def holder(self, shard: int) -> int:
        """The rank of a shard."""
        return ((shard + 1) * self.ranks - 1) // self.shards

    def ranks_of(self, node: Node) -> range:
        """The ranks that hold shards of a node."""
        return range(self.holder(node.first), self.holder(node.last - 1) + 1)

    def owner(self, node: Node, piece: int) -> int:
        """The rank that adds a piece of a node's sum."""
        ranks = self.ranks_of(node)
        return ranks.start + (piece - ranks.start) % len(ranks)

    def nodes(self, rank: int | None = None, below: Node | None = None) -> Iterator[Node]:
        """The nodes of a rank, or of all, each after the two that it adds; without the leaves, which are shards."""
        node = below or self.root
        if node.is_shard() or (rank is not None and rank not in self.ranks_of(node)):
            return
        for half in node.halves():
            yield from self.nodes(rank, half)
        yield node

    def shared_nodes(self, rank: int | None = None) -> Iterator[Node]:
        """Those for which several ranks work together."""
        return (node for node in self.nodes(rank) if len(self.ranks_of(node)) > 1)

    def moves(self, node: Node) -> list[Move]:
        """The messages before a shared node can be added: pieces of both halves that another rank will own."""
        wanted: dict[tuple[Node, int, int], list[int]] = {}
        for half in node.halves():
            for piece in range(self.ranks):
                sender, receiver = self.owner(half, piece), self.owner(node, piece)
                if sender != receiver:
                    wanted.setdefault((half, sender, receiver), []).append(piece)
        return [Move(*ends, tuple(pieces)) for ends, pieces in wanted.items()]

    def owned(self, node: Node, rank: int) -> list[int]:
        """The pieces of a node's sum that a rank adds."""
        return [piece for piece in range(self.ranks) if self.owner(node, piece) == rank]


@dataclass(frozen=True)
class Pieces:
    """Where the pieces of a vector lie: the pieces of a message side by side, if the ranks are a power of two."""

    places: tuple[slice, ...]  #: of each piece, by its number

    @classmethod
    def of(cls, size: int, ranks: int) -> Pieces:
        """A vector of `size` numbers in as many pieces as there are ranks."""
        bits = (ranks - 1).bit_length()
        order = sorted(range(ranks), key=lambda piece: f"{piece:0{bits}b}"[::-1])  # pieces that differ by 2^k: together
        parts = cut(size, ranks)
        places = {piece: slice(part.start, part.stop) for piece, part in zip(order, parts, strict=True)}
        return cls(tuple(places[piece] for piece in range(ranks)))

    def runs(self, pieces: tuple[int, ...] | list[int]) -> list[slice]:
        """The parts of the vector that some pieces take up, as few as possible, in order."""
        found: list[slice] = []
        for place in sorted((self.places[piece] for piece in pieces), key=lambda place: place.start):
            if found and found[-1].stop == place.start:
                found[-1] = slice(found[-1].start, place.stop)
            else:
                found.append(place)
        return found


Sums = dict[Node, np.ndarray]
Shard = Callable[[int, np.ndarray, bool], None]  # see `own_sums`
Message = tuple[np.ndarray, int]  # numbers, and the rank to which or from which they go
Exchange = Callable[[list[Message], list[Message]], None]  # sends the first, fills the second; returns when all is done


class Vectors:
    """Vectors of one size and dtype, used again and again: new memory costs as much time as adding."""

    def __init__(self, size: int, dtype: np.dtype) -> None:
        self.size, self.dtype = size, dtype
        self.free: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """A vector that holds anything."""
        return self.free.pop() if self.free else np.empty(self.size, self.dtype)

    def give_back(self, vector: np.ndarray) -> None:
        """Let others have it."""
        self.free.append(vector)


def own_sums(tree: Tree, rank: int, shard: Shard, vectors: Vectors) -> Sums:
    """Compute a rank's shards, and add what it can add alone.

    Parameters
    ----------
    shard : function of k, a vector, and whether to add
        Writes shard k to the vector, or adds it to what the vector holds, which saves a way through memory. It is
        called for one shard after the other, in their order.

    Returns
    -------
    dict of Node to ndarray : the sums of the largest nodes that only have shards of this rank.
    """

    def total(node: Node) -> np.ndarray:
        if node.is_shard():
            vector = vectors.take()
            shard(node.first, vector, False)
            return vector
        left, right = node.halves()
        vector = total(left)
        if right.is_shard():
            shard(right.first, vector, True)
        else:
            other = total(right)
            vector += other
            vectors.give_back(other)
        return vector

    def largest(node: Node) -> Iterator[Node]:
        ranks = tree.ranks_of(node)
        if ranks == range(rank, rank + 1):
            yield node
        elif rank in ranks:
            for half in node.halves():
                yield from largest(half)

    return {node: total(node) for node in largest(tree.root)}


class Join(NamedTuple):
    """What a rank does at a shared node: what it sends, where it receives, and what it then adds."""

    node: Node
    sends: list[tuple[Node, slice, int]]  #: a part of a half's vector, and to whom
    receives: list[tuple[Node, slice, int]]  #: a part of a half's vector, and from whom
    adds: list[slice]


def joins(tree: Tree, rank: int, size: int) -> list[Join]:
    """What a rank does at all shared nodes, in order, for vectors of so many numbers."""
    pieces, found = Pieces.of(size, tree.ranks), []
    for node in tree.shared_nodes(rank):
        moves = [(move, run) for move in tree.moves(node) for run in pieces.runs(move.pieces)]
        sends = [(move.node, run, move.receiver) for move, run in moves if move.sender == rank]
        receives = [(move.node, run, move.sender) for move, run in moves if move.receiver == rank]
        found.append(Join(node, sends, receives, pieces.runs(tree.owned(node, rank))))
    return found


def join(sums: Sums, step: Join, vectors: Vectors, exchange: Exchange) -> None:
    """Add one shared node: put its sum, of which this rank owns some pieces, in the place of its halves'.

    A rank's vector of a half holds numbers in the pieces that it owns. What it receives goes into the others.
    """
    left, right = (sums.pop(half) if half in sums else vectors.take() for half in step.node.halves())
    halves = dict(zip(step.node.halves(), (left, right), strict=True))
    exchange(
        [(halves[half][run], rank) for half, run, rank in step.sends],
        [(halves[half][run], rank) for half, run, rank in step.receives],
    )
    for run in step.adds:
        left[run] += right[run]
    vectors.give_back(right)
    sums[step.node] = left
