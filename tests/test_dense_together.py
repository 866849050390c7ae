"""A dense layer on several shards at once: the bits of one shard after the other, and when it is left to them."""

from __future__ import annotations

import numpy as np
import pytest
from passes import merges_of
from test_train import same, weights

import scratchnet as sn
from scratchnet.engine import Planned, dense_backward_together, dense_forward_together, ops
from scratchnet.fast import dense_together
from scratchnet.fast.ahead import calls_of
from scratchnet.fast.choose import DENSE_ROWS, FEW, SLAB
from scratchnet.parallel import stagewise
from scratchnet.parallel.stagewise import rehearse_together

pytestmark = pytest.mark.usefixtures("mirror")


@pytest.fixture
def mirror():
    with sn.use_engine("numba"):
        yield


def drawn(rng, sizes, D, F, dtype, kept=0.5):
    """Shards, weights, and gradients of which this share is not zero."""
    w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((D, F), (F,)))
    xs = [rng.standard_normal((n, D)).astype(dtype) for n in sizes]
    douts = [(rng.standard_normal((n, F)) * (rng.random((n, F)) < kept)).astype(dtype) for n in sizes]
    return xs, w, b, douts


def in_a_tree(arrays):
    if len(arrays) == 1:
        return arrays[0]
    middle = (len(arrays) + 1) // 2
    return in_a_tree(arrays[:middle]) + in_a_tree(arrays[middle:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw", range(12))
def test_all_shards_have_the_bits_of_each_by_itself(draw, dtype):
    """Of any sizes, into one or more sums; those of the sparse columns are -0 where a shard has nothing but zeros."""
    rng = np.random.default_rng(draw)
    sizes = rng.integers(FEW + 1, 20, rng.integers(2, 11)).tolist()
    D, F = (int(rng.integers(1, 400)) for _ in range(2))
    xs, w, b, douts = drawn(rng, sizes, D, F, dtype, kept=rng.choice([0.05, 0.5, 1.0]))
    for one, x in zip(ops.dense_forward_together(xs, w, b), xs, strict=True):
        assert same([one], [ops.dense_forward(x, w, b)])
    alone = [ops.dense_backward(dout, x, w) for dout, x in zip(douts, xs, strict=True)]
    first = int(rng.integers(1, len(sizes)))
    parts = [slice(0, first), slice(first, None)] if draw % 2 else [slice(0, None)]
    sums = [(merges_of(len(sizes[part])), np.full((D, F), np.nan, dtype)) for part in parts]
    dxs, dbs = ops.dense_backward_together(douts, xs, w, sums)
    for dx, db, (right, _, right_db) in zip(dxs, dbs, alone, strict=True):
        assert same([dx, db], [right, right_db])
    for part, (_, total) in zip(parts, sums, strict=True):
        assert total.tobytes() == in_a_tree([dw for _, dw, _ in alone[part]]).tobytes()
    without, _ = ops.dense_backward_together(douts, xs, w, sums, need_dx=False)
    assert without == [None] * len(sizes)


def test_the_order_of_the_sum_decides_its_bits(rng):
    """So the comparison above can fail."""
    xs, w, _, douts = drawn(rng, [6] * 4, 50, 40, np.float32)
    found = []
    for merges in ([0, 1, 0, 2], [0, 1, 1, 1]):
        found.append(np.empty_like(w))
        ops.dense_backward_together(douts, xs, w, [(merges, found[-1])])
    assert not same(found[:1], found[1:])


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [([8, FEW], 1.0), ([DENSE_ROWS, 8], 0.1), ([DENSE_ROWS] * (SLAB // DENSE_ROWS + 1), 1.0)],
    ids=["a handful of rows", "mostly zeros", "many rows"],
)
def test_what_goes_another_way_by_itself_is_left_to_itself(sizes, kept, rng):
    xs, w, _, douts = drawn(rng, sizes, 30, 20, np.float32, kept)
    untouched = np.full_like(w, 7)
    assert ops.dense_backward_together(douts, xs, w, [(merges_of(len(sizes)), untouched)]) is None
    assert (untouched == 7).all()


def test_a_handful_of_rows_goes_forward_by_itself(rng):
    xs, w, b, _ = drawn(rng, [8, FEW], 30, 20, np.float32)
    assert ops.dense_forward_together(xs, w, b) is None


@pytest.mark.parametrize("engine", ["numpy", "mine"])
def test_other_engines_take_one_shard_after_the_other(engine):
    """A library for matrix products may add in another order for each number of rows."""
    with sn.use_engine(engine):
        assert (ops.dense_forward_together, ops.dense_backward_together) == (
            dense_forward_together, dense_backward_together,
        )  # fmt: skip
    assert dense_forward_together([], None, None) is None
    assert dense_backward_together([], [], None, []) is None


def trained(sample, shards):
    net = sn.Network(
        [sn.Flatten(), sn.Dense(784, 33, rng=1), sn.ReLU(), sn.Dropout(0.3, rng=2), sn.Dense(33, 10, rng=3)],
        (28, 28, 1),
    )
    sn.fit(
        net, sample[0][:100], optimizer=sn.SGD(net.parameters(), lr=0.05, momentum=0.9), epochs=1, batch_size=48,
        shards=shards, progress=False,
    )  # fmt: skip
    return net


@pytest.mark.parametrize("shards", [3, 4, 8])
def test_a_run_has_the_bits_of_one_shard_after_the_other(shards, sample, monkeypatch):
    """Two batches of 48 images, and one of 4, which leaves some shards empty."""
    calls = []
    real = dense_together.sum_of_shards
    monkeypatch.setattr(dense_together, "sum_of_shards", lambda *given: calls.append(given) or real(*given))
    together = trained(sample, shards)
    assert len(calls) == 6, "two layers, when the run is planned and in two of its batches"
    monkeypatch.setattr(stagewise, "DenseStage", stagewise.Stage)
    assert same(weights(together), weights(trained(sample, shards)))
    assert len(calls) == 8, "planned again"


def test_what_is_called_together_is_compiled_ahead():
    layer = sn.Dense(40, 30)
    net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
    plan = Planned(net, [], besides=[lambda: rehearse_together(layer, [8, 9], np.dtype(np.float32))])
    assert {"product_rows", "sums_of_shards_kernel"} <= {call.kernel.__name__ for call in calls_of(plan)}
