"""How a batch is cut: into a fixed number of shards, each with the share of the batch that its images are.

The gradient of a batch is the mean over its images. Shard k of n_k images gives the mean over these, g_k. So

    g = sum over k of  n_k / N * g_k

The mean of the g_k without these weights is another number as soon as the shards differ in size.
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_SHARDS = 8  # under mpiexec: for 1, 2, 4 or 8 ranks with the same work for each


def cut(count: int, parts: int) -> list[range]:
    """`range(count)` in so many parts that follow each other, and whose sizes differ by at most 1."""
    return [range(k * count // parts, (k + 1) * count // parts) for k in range(parts)]


class Shards(NamedTuple):
    """The shards of a batch that a rank has."""

    batch: int  #: images in the batch
    images: range  #: the rank's part of them
    filled: dict[int, range]  #: for each of its shards that has any: the images, as places in the batch

    @classmethod
    def of(cls, count: int, shards: int, held: range) -> Shards:
        """For a batch of so many images, cut into so many shards, of which the rank holds some."""
        parts = cut(count, shards)
        images = range(parts[held.start].start, parts[held.stop - 1].stop)
        return cls(count, images, {k: parts[k] for k in held if parts[k]})

    def share(self, shard: int) -> float:
        """A shard's share of the batch."""
        return len(self.filled[shard]) / self.batch


def check_shards(shards: int, batch_size: int, ranks: int) -> None:
    """ValueError if there are more shards than images, or more ranks than shards; it names the numbers that work."""
    if shards > batch_size:
        raise ValueError(f"expected at most as many shards as images in a batch, {batch_size}, got {shards}")
    if ranks > shards:
        raise ValueError(
            f"{ranks} ranks were started for {shards} shards: expected from 1 to {shards} ranks, best a number that "
            f"divides {shards}. (With --shards {ranks}, or shards= in Python, all have work, but the result is another)"
        )


def sizes(batch_sizes: set[int], shards: int) -> set[int]:
    """How many images the shards of such batches have."""
    return {len(part) for count in batch_sizes for part in cut(count, shards)} - {0}
