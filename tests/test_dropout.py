"""Dropout's masks: the same on both engines, for any number of threads, wherever the generator stands in its stream."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from test_fast import python

import scratchnet as sn
from scratchnet.engine import ops
from scratchnet.layers import dropout

KINDS = ["Philox", "PCG64"]


def generator(kind, seed=5):
    return np.random.Generator(getattr(np.random, kind)(seed))


def same_draw(x, rate, mine, books):
    """Both engines' dropout, from generators in the same state, give the same, and leave them in the same state."""
    with sn.use_engine("numba"):
        results = ops.dropout_forward(x, rate, mine)
    for got, right in zip(results, dropout.dropout_forward(x, rate, books), strict=True):
        assert got.dtype == right.dtype
        assert got.shape == right.shape
        assert got.tobytes() == right.tobytes()
    if x.size:
        assert repr(mine.bit_generator.state) == repr(books.bit_generator.state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_both_engines_draw_the_same_masks(kind, dtype, rng):
    """Draws of other kinds come between them, so that they begin anywhere in a block."""
    mine, books = generator(kind), generator(kind)
    for size in [0, 1, 2, 7, 8, 9, 31, *rng.integers(0, 40, 60), 4096, 5000]:
        same_draw(rng.standard_normal(size).astype(dtype), rng.choice([0.0, 0.3, 0.5, 0.9]), mine, books)
        for between in rng.integers(0, 3, 2):
            draw = [lambda g: g.random(dtype=np.float32), lambda g: g.random(), lambda g: None][between]
            assert draw(mine) == draw(books)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_not_finite_are_dropped_as_in_the_book(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -0.0] * 50, dtype).reshape(2, 10, 10)
    with np.errstate(invalid="ignore"):
        same_draw(x, 0.5, generator("Philox"), generator("Philox"))


def test_any_array_can_be_dropped():
    x = np.arange(24.0).reshape(2, 3, 4)
    for view in (x[:, ::2], x.T, x[::-1], np.broadcast_to(x[0], (5, 3, 4))):
        same_draw(view, 0.4, generator("Philox"), generator("Philox"))


def test_at_the_end_of_the_counters_first_word_numpy_draws():
    bits = np.random.Philox(counter=np.array([2**64 - 3, 0, 0, 0], np.uint64), key=1)
    mine, books = np.random.Generator(bits), np.random.Generator(copy.deepcopy(bits))
    for _ in range(4):
        same_draw(np.ones(20), 0.5, mine, books)


def test_the_number_of_threads_changes_no_mask():
    code = """
        import numba, numpy as np, scratchnet as sn
        x = np.ones(10_007, np.float32)
        for threads in (1, 2, 3):
            numba.set_num_threads(threads)
            layer = sn.Dropout(0.4, rng=5)
            layer.forward(x, training=True)
            kept = np.flatnonzero(layer.mask)
            print(len(kept), hash(kept.tobytes()))
    """
    counts = [line.split() for line in python(code, NUMBA_NUM_THREADS="3")[0].splitlines()]
    assert len(counts) == 3
    assert counts[0] == counts[1] == counts[2]
    assert int(counts[0][0]) == pytest.approx(6000, rel=0.05)


def test_a_seed_makes_a_generator_whose_parts_can_be_drawn_in_parallel():
    layers = [sn.Dropout(0.4), sn.Dropout(0.4, rng=3), sn.models.standard_cnn(seed=1).layers[9]]
    assert all(isinstance(layer.rng.bit_generator, np.random.Philox) for layer in layers)
    mine = np.random.default_rng(1)
    assert sn.Dropout(0.4, rng=mine).rng is mine
