"""Where a random generator stands in its stream, and how it gets elsewhere without drawing what lies between.

A Philox computes the numbers of block c of its stream from c alone (`fast/dropout.py` has the formulas), so it can skip
blocks. Any other generator has to draw the numbers.
"""

from __future__ import annotations

import numpy as np

IN_BLOCK = 8  # numbers of 32 bits in a block of Philox
PART = 2**16  # numbers that are drawn at a time to be thrown away


def can_count(source: np.random.BitGenerator, count: int) -> bool:
    """Whether the next `count` numbers of 32 bits are counted blocks of a Philox: they follow each other in the stream,
    and the first word of the counter suffices."""
    if not isinstance(source, np.random.Philox):
        return False
    state = source.state
    last_word = state["buffer"][state["buffer_pos"] - 1]
    in_order = not state["has_uint32"] or state["uinteger"] == last_word >> np.uint64(32)  # else 64 bits came between
    return bool(in_order) and int(state["state"]["counter"][0]) + count // IN_BLOCK < 2**64 - 2


def skip(rng: np.random.Generator, count: int) -> None:
    """Leave a generator as if `rng.random(count, dtype=np.float32)` had been called."""
    if can_count(rng.bit_generator, count):
        count = _skip_blocks(rng.bit_generator, count)
    for start in range(0, count, PART):
        rng.random(min(PART, count - start), dtype=np.float32)


def _skip_blocks(source: np.random.BitGenerator, count: int) -> int:
    """Skip as many whole blocks as there are among the next `count` numbers; returns how many numbers are left."""
    state = source.state
    total = 2 * state["buffer_pos"] - state["has_uint32"] + count
    blocks = (total - 1) // IN_BLOCK
    if blocks <= 0:
        return count
    state["state"]["counter"][0] += np.uint64(blocks - 1)  # the last whole block, of which nothing is left
    source.state = dict(state, buffer_pos=4, has_uint32=0)
    return total - blocks * IN_BLOCK
