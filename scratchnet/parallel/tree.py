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

from collections.abc import Callable, Generator, Iterator
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


Message = tuple[np.ndarray, int]  # numbers, and the rank to which or from which they go
Exchange = Callable[[list[Message], list[Message]], Callable[[], bool]]  # begins both; returns whether all is done


class Turn(NamedTuple):
    """What a rank does with one of its shards: where it puts it, and which sums are then complete."""

    vector: int  #: of the rank's vectors
    adds: bool  #: whether the vector holds a sum already, to which the shard is the other half
    merges: int  #: how often the last vector is then added to the one before it


def turns(tree: Tree, rank: int) -> tuple[list[Turn], list[Node]]:
    """What a rank does with its shards, in their order, to add what it can add alone; and the sums that it then has.

    The vectors are a stack. It never holds more than a sum for each level of the tree.
    """
    halves = {node.halves() for node in tree.nodes(rank) if len(tree.ranks_of(node)) == 1}
    found: list[Turn] = []
    stack: list[Node] = []
    for shard in tree.held_by(rank):
        node, merges = Node(shard, shard + 1), 0
        adds = bool(stack) and (stack[-1], node) in halves
        if adds:
            node = Node(stack.pop().first, node.last)
        vector = len(stack)
        while stack and (stack[-1], node) in halves:
            node = Node(stack.pop().first, node.last)
            merges += 1
        stack.append(node)
        found.append(Turn(vector, adds, merges))
    return found, stack


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


class TreeSum:
    """A sum over all shards on its way up the tree, as one rank sees it: its own shards first, then the shared nodes.

    The memory is used again for each batch: new memory costs as much time as adding.
    """

    def __init__(self, tree: Tree, rank: int, size: int, dtype: np.dtype) -> None:
        self.turns, self.own = turns(tree, rank)
        self.joins = joins(tree, rank, size)
        self.vectors = [np.zeros(size, dtype) for _ in range(1 + max(turn.vector for turn in self.turns))]
        self.received = np.empty(size if self.joins else 0, dtype)

    def take(self, shard: int, place: slice, numbers: np.ndarray | float) -> None:
        """Take a part of a shard: `shard` counts those of this rank from 0, and all have to come, in this order."""
        vector, adds, merges = self.turns[shard]
        if adds:
            self.vectors[vector][place] += numbers
        else:
            self.vectors[vector][place] = numbers
        for last in range(vector, vector - merges, -1):
            self.vectors[last - 1][place] += self.vectors[last][place]

    def rooms(self, place: slice) -> list[tuple[list[int], np.ndarray]]:
        """A part of the vector in each sum that this rank can add alone, for a caller that adds there by itself.

        With each, for its shards in their order, how often the last two sums are added after the shard.
        """
        merges = [turn.adds + turn.merges for turn in self.turns]
        rooms, begin = [], 0
        for vector, node in zip(self.vectors, self.own, strict=False):
            end = begin + node.last - node.first
            rooms.append((merges[begin:end], vector[place]))
            begin = end
        return rooms

    def climb(self, exchange: Exchange) -> Generator[None, None, np.ndarray]:
        """Add the shared nodes; yields while messages are under way. Returns the vector whose own piece is the sum's.

        A rank's vector of a half holds numbers in the pieces that it owns. What it receives goes into the others.
        """
        sums = dict(zip(self.own, self.vectors, strict=False))
        for step in self.joins:
            halves = {half: sums.pop(half, self.received) for half in step.node.halves()}
            is_done = exchange(
                [(halves[half][run], rank) for half, run, rank in step.sends],
                [(halves[half][run], rank) for half, run, rank in step.receives],
            )
            while not is_done():
                yield
            total, other = sorted(halves.values(), key=lambda vector: vector is self.received)
            for run in step.adds:
                total[run] += other[run]  # a + b and b + a have the same bits
            sums[step.node] = total
        (total,) = sums.values()
        return total
