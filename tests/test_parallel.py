"""What training in shards needs no MPI for: the tree, what is drawn for an image, and one process with shards."""

from __future__ import annotations

import math
import os
import queue
import subprocess
import sys
import threading
from itertools import product

import numpy as np
import pytest
import threadpoolctl
from conftest import ROOT
from test_state import both_net, running_mean_net
from test_train import same, small_net, weights

import scratchnet as sn
from benchmarks.scaling import mpiexec
from scratchnet.layers.base import snapshot, state_arrays
from scratchnet.parallel.cores import threads_of
from scratchnet.parallel.draws import Draws, augmented
from scratchnet.parallel.journey import Traffic
from scratchnet.parallel.packing import packings
from scratchnet.parallel.shards import cut, sizes
from scratchnet.parallel.team import Team, started_together
from scratchnet.parallel.tree import Pieces, Tree, TreeSum
from scratchnet.stream import can_count, skip


class Own(sn.SGD):
    """An optimiser of the user's own, whose step might depend on the whole gradient: it is not divided."""


PAIRS = [(shards, ranks) for shards in (*range(1, 10), 16) for ranks in range(1, shards + 1)]

# ---------------------------------------------------------------- shards and the tree


@pytest.mark.parametrize(("count", "parts"), list(product([0, 1, 3, 8, 27, 128], [1, 2, 5, 8])))
def test_a_batch_is_cut_into_equal_parts_that_follow_each_other(count, parts):
    found = cut(count, parts)
    assert [i for part in found for i in part] == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert sizes({count}, parts) == {len(part) for part in found if part}


@pytest.mark.parametrize(("shards", "ranks"), PAIRS)
def test_every_shard_and_every_piece_belongs_to_one_rank(shards, ranks):
    tree = Tree(shards, ranks)
    for rank in range(ranks):
        assert all(tree.holder(k) == rank for k in tree.held_by(rank))
    assert [k for rank in range(ranks) for k in tree.held_by(rank)] == list(range(shards))
    nodes = list(tree.nodes())
    assert len(nodes) == shards - 1
    for node in nodes:
        owners = [tree.owner(node, piece) for piece in range(ranks)]
        assert set(owners) <= set(tree.ranks_of(node))
        assert sorted(piece for rank in range(ranks) for piece in tree.owned(node, rank)) == list(range(ranks))
    assert [tree.owner(tree.root, piece) for piece in range(ranks)] == list(range(ranks)) or shards == 1


class InThreads(Team):
    """A team whose ranks are threads of this process. It counts what each sends."""

    def __init__(self, rank, size, posts):
        self.rank, self.size, self.posts = rank, size, posts
        self.messages = self.numbers = 0

    def exchange(self, sends, receives, number=0):
        for numbers, rank in sends:
            self.posts[self.rank, rank].put(numbers.copy())
            self.messages += 1
            self.numbers += numbers.size
        waiting = list(receives)

        def is_done():
            while waiting:
                numbers, rank = waiting[0]
                try:
                    numbers[:] = self.posts[rank, self.rank].get_nowait()
                except queue.Empty:
                    return False
                del waiting[0]
            return True

        return is_done


def summed(values, ranks):
    """The sum of shards' vectors (shards, size) on so many ranks, put together from the ranks' pieces; and the team."""
    shards, size = values.shape
    tree, places = Tree(shards, ranks), Pieces.of(size, ranks).places
    posts = {ends: queue.Queue() for ends in product(range(ranks), repeat=2)}
    team = [InThreads(rank, ranks, posts) for rank in range(ranks)]
    total = np.full(size, np.nan, values.dtype)

    def work(member):
        tree_sum = TreeSum(tree, member.rank, size, values.dtype)
        for batch in (values[::-1], values):  # the memory is used again
            member.messages = member.numbers = 0
            for i, k in enumerate(tree.held_by(member.rank)):
                for part in (slice(0, size // 3), slice(size // 3, size)):
                    tree_sum.take(i, part, batch[k][part])
            found = end_of(tree_sum.climb(member.exchange))
        total[places[member.rank]] = found[places[member.rank]]

    threads = [threading.Thread(target=work, args=[member]) for member in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total, team


def end_of(generator):
    """Let a generator go on until its end; what it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def by_definition(values):
    """The tree as the module's docstring has it."""
    if len(values) == 1:
        return values[0]
    middle = (len(values) + 1) // 2
    return by_definition(values[:middle]) + by_definition(values[middle:])


@pytest.mark.parametrize(("shards", "ranks"), PAIRS)
@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_sum_has_the_bits_of_the_tree_on_any_number_of_ranks(shards, ranks, size, rng):
    values = rng.standard_normal((shards, size), dtype=np.float32) * 10 ** rng.uniform(-3, 3, (shards, size))
    values = values.astype(np.float32)
    before = values.copy()
    total, _ = summed(values, ranks)
    assert total.tobytes() == by_definition(values).tobytes()
    assert np.array_equal(values, before)


@pytest.mark.parametrize(("shards", "ranks"), PAIRS)
def test_who_adds_a_ranks_shards_by_himself_finds_rooms_for_the_sums(shards, ranks, rng):
    """Of one part of the vector; `merges` says how a stack is added up."""
    values = rng.standard_normal((shards, 6), dtype=np.float32)
    tree, place = Tree(shards, ranks), slice(2, 5)
    for rank in range(ranks):
        taken, given = (TreeSum(tree, rank, 6, values.dtype) for _ in range(2))
        for i, k in enumerate(tree.held_by(rank)):
            taken.take(i, place, values[k, place])
        mine = iter(values[tree.held_by(rank).start : tree.held_by(rank).stop, place])
        for merges, numbers in given.rooms(place):
            stack = []
            for merge in merges:
                stack.append(next(mine))
                for _ in range(merge):
                    last = stack.pop()
                    stack[-1] = stack[-1] + last
            (numbers[:],) = stack
        assert not list(mine)
        sums = len(given.own)
        assert same([v[place] for v in given.vectors[:sums]], [v[place] for v in taken.vectors[:sums]])


def test_another_order_has_other_bits(rng):
    values = rng.standard_normal((8, 1000), dtype=np.float32)
    assert not np.array_equal(by_definition(values), values.sum(axis=0))
    assert not np.array_equal(by_definition(values), by_definition(np.roll(values, 1, axis=0)))


@pytest.mark.parametrize("ranks", [2, 4, 8, 16])
def test_a_power_of_two_of_ranks_sends_as_much_as_a_ring_in_few_messages(ranks, rng):
    size = 64 * ranks
    _, team = summed(rng.standard_normal((16, size), dtype=np.float32), ranks)
    for member in team:
        assert member.numbers == size - size // ranks
        assert member.messages == math.log2(ranks)


def test_a_rank_needs_a_vector_for_each_level_of_its_part_of_the_tree():
    assert len(TreeSum(Tree(8, 1), 0, 10, np.dtype(np.float32)).vectors) == 3
    assert len(TreeSum(Tree(8, 4), 0, 10, np.dtype(np.float32)).vectors) == 1
    assert len(TreeSum(Tree(64, 2), 1, 10, np.dtype(np.float32)).vectors) == 5


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("kind", [np.random.Philox, np.random.PCG64, np.random.MT19937])
def test_a_skipped_stream_goes_on_where_a_drawn_one_does(kind, rng):
    drawn, skipped = (np.random.Generator(kind(7)) for _ in range(2))
    for count in [0, 1, 7, 8, 9, 33, 70_001, *rng.integers(0, 50, 40).tolist()]:
        drawn.random(count, dtype=np.float32)
        skip(skipped, count)
        assert repr(drawn.bit_generator.state) == repr(skipped.bit_generator.state) or count == 0
        assert drawn.random(dtype=np.float32) == skipped.random(dtype=np.float32)


def test_a_philox_skips_a_billion_numbers_at_once():
    rng = np.random.Generator(np.random.Philox(1))
    assert can_count(rng.bit_generator, 10**12)
    skip(rng, 10**12)
    expected = np.random.Generator(np.random.Philox(1).advance(10**12 // 8))
    assert rng.random(dtype=np.float32) == expected.random(dtype=np.float32)


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_a_mask_belongs_to_an_image(parts, rng):
    """Each part of a batch, on a rank of its own, has the masks that it has in the whole batch."""
    x = rng.standard_normal((11, 28, 28, 1)).astype(np.float32)

    def out_of(images, first=0):
        net = sn.models.standard_cnn(seed=4, dense_units=32)
        Draws(net, (28, 28, 1)).skip(first)
        net.forward(images, training=True)
        return net.layers[9].mask

    each = [out_of(x[part.start : part.stop], part.start) for part in cut(11, parts) if part]
    assert np.array_equal(np.concatenate(each), out_of(x))


def test_an_angle_belongs_to_an_image(sample):
    images, affine = sample[0].images[:10], sn.data.RandomAffine(20, 3)
    whole = affine(images, np.random.default_rng([5, 2]))
    each = [augmented(affine, images[p.start : p.stop], p, 10, seed=5, step=2) for p in cut(10, 3)]
    assert np.array_equal(np.concatenate(each), whole)

    def own(images, rng):
        return images * rng.random(dtype=np.float32)

    whole, parts = augmented(own, images, range(10), 10, 5, 2), []
    for part in cut(10, 3):
        parts.append(augmented(own, images[part.start : part.stop], part, 10, 5, 2))
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(np.unique((whole / np.maximum(images, 1e-9)).max(axis=(1, 2, 3)))) == 10, "one draw for each image"
    assert not np.array_equal(whole, augmented(own, images, range(10), 10, 5, 3))


class Noise(sn.Layer):
    kind = "noise"

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def state(self):
        return {"rng": self.rng}


def test_what_cannot_be_given_to_single_images_is_refused():
    net = sn.Network([Noise(), sn.Flatten(), sn.Dense(784, 10)], (28, 28, 1))
    with pytest.raises(ValueError, match="noise1: expected only Dropout to draw .* what a Noise draws cannot be given"):
        Draws(net, (28, 28, 1))
    with pytest.raises(ValueError, match="both: two layers draw from the same generator"):
        Draws(both_net(), (28, 28, 1))
    with pytest.raises(
        ValueError, match=r"means: mean1\.batches holds whole numbers, of which the shards have no mean"
    ):
        packings(running_mean_net(), np.dtype(np.float32))


# ---------------------------------------------------------------- cores


@pytest.mark.parametrize(
    ("allowed", "threads"),
    [
        ([{0, 1, 2, 3}] * 2, [2, 2]),
        ([{0, 1, 2, 3}] * 3, [1, 1, 1]),
        ([{0, 1}] * 4, [1, 1, 1, 1]),
        ([{0, 1, 2, 3}], [4]),
        ([{0, 1}, {2, 3, 4}], [2, 3]),
        ([{0}, {1}], [1, 1]),
        ([set(range(16))] * 4, [4, 4, 4, 4]),
    ],
)
def test_threads_times_ranks_are_no_more_than_the_cores(allowed, threads):
    assert [threads_of(rank, allowed) for rank in range(len(allowed))] == threads


# ---------------------------------------------------------------- one process with shards


@pytest.fixture
def book():
    """The NumPy engine, which needs no compiling."""
    with sn.use_engine("numpy"):
        yield


def train(data, shards, make=small_net, batch_size=12, steps=5, dtype=np.float32, **options):
    net = make().astype(dtype)
    part = sn.Dataset(data.images[:27].astype(dtype), data.labels[:27], "digits")
    arguments = {"optimizer": sn.SGD(net.parameters(), lr=0.05, momentum=0.9), "augment": sn.data.RandomAffine()}
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # as with shards
        history = sn.fit(
            net,
            part,
            part[:9],
            steps=steps,
            batch_size=batch_size,
            progress=False,
            shards=shards,
            **arguments,
            **options,
        )
    return net, history


def normalised_net():
    """Batch normalisation of images, whose input needs a gradient, and of rows."""
    layers = [sn.Conv2D(1, 2, 3, rng=1), sn.BatchNorm(2), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten()]
    return sn.Network([*layers, sn.BatchNorm(392), sn.Dense(392, 10, rng=2)], (28, 28, 1))


class Residual(sn.Layer):
    """x plus what two layers make of it; they keep what their backward needs."""

    kind = "residual"

    def __init__(self, size):
        super().__init__()
        self.size, self.inner = size, [sn.Dense(size, size, rng=3), sn.ReLU()]

    def forward(self, x, training=False):
        out = self.check_input(x)
        for layer in self.inner:
            out = layer.forward(out, training)
        return x + out

    def backward(self, dout, need_dx=True):
        dx = dout
        for layer in reversed(self.inner):
            dx = layer.backward(dx)
        return dout + dx

    def parameters(self):
        return self.inner[0].parameters()


def residual_net():
    return sn.Network([sn.Flatten(), sn.Dense(784, 12, rng=1), Residual(12), sn.Dense(12, 10, rng=2)], (28, 28, 1))


@pytest.mark.usefixtures("book")
def test_gradients_set_out_before_the_backward_pass_is_over(sample):
    """Of two ranks, this one has gone back through the last layer only, and its half of that sum is on the way."""
    net = residual_net()
    posts = {ends: queue.Queue() for ends in product(range(2), repeat=2)}
    traffic = Traffic(net, np.dtype(np.float32), Tree(2, 2), InThreads(0, 2, posts), Own(net.parameters()), enough=1)
    assert [journey.packing.layers for journey in traffic.journeys] == [range(3, 4), range(2, 3), range(1, 2)]
    logits = net.forward(sample[0].images[:4], training=True)
    net.layers[3].backward(np.ones_like(logits))
    traffic.begin()
    traffic.take(0, 3, net.layers[3], share=0.5)
    assert posts[0, 1].empty()
    traffic.set_out(3)
    sent = posts[0, 1].get_nowait()
    assert sent.size == 65, "half of 12 * 10 weights and 10 biases"
    assert set(sent) <= set(net.layers[3].w.grad.reshape(-1)) | set(net.layers[3].b.grad)
    assert not traffic.go_on()


@pytest.mark.parametrize("shards", [2, 5, 8, 12])
def test_the_shards_of_any_batch_give_its_gradient(shards, sample):
    """In float64: 12, 12 and then 3 images, in shards of unequal sizes, some of them empty."""
    with sn.use_engine("numpy"):
        (cut_up, its), (whole, other) = (train(sample[0], s, dtype=np.float64) for s in (shards, None))
    for one, right in zip(weights(cut_up), weights(whole), strict=True):
        np.testing.assert_allclose(one, right, rtol=1e-9, atol=1e-12)
    assert [s["loss"] for s in its.steps] == pytest.approx([s["loss"] for s in other.steps], rel=1e-12)
    assert [s["accuracy"] for s in its.steps] == [s["accuracy"] for s in other.steps]


@pytest.mark.usefixtures("engine")
class TestOneProcess:
    def test_one_shard_is_no_shard(self, sample):
        """The same loop, bit for bit: weights, losses, state, and where the generators stand."""
        (one, its), (none, other) = (train(sample[0], shards) for shards in (1, None))
        assert same(weights(one), weights(none))
        assert repr(snapshot(one.state())) == repr(snapshot(none.state()))
        assert its.steps == other.steps
        assert its.epochs[0]["test_loss"] == other.epochs[0]["test_loss"]

    def test_other_shards_are_another_rounding(self, sample):
        """So a comparison of bits can fail."""
        assert not same(weights(train(sample[0], 4)[0]), weights(train(sample[0], 8)[0]))

    def test_batch_normalisation_takes_a_shard_and_follows_the_mean_of_all(self, sample):
        x, labels = sample[0].images[:10], sample[0].labels[:10]
        net = sn.Network([sn.Flatten(), sn.BatchNorm(784), sn.Dense(784, 10, rng=0)], (28, 28, 1))
        data = sn.Dataset(x, labels, "ten")
        sn.fit(net, data, optimizer=sn.SGD(net.parameters(), lr=0.0), steps=1, batch_size=10, shards=4, progress=False)
        order = np.random.default_rng(0).permutation(10)
        parts = [x[order[part.start : part.stop]].reshape(len(part), -1) for part in cut(10, 4)]
        mean = sum(len(part) * part.mean(axis=0) for part in parts) / 10
        var = sum(len(part) * part.var(axis=0, ddof=1) for part in parts) / 10
        np.testing.assert_allclose(net.layers[1].running_mean, 0.1 * mean, atol=1e-6)
        np.testing.assert_allclose(net.layers[1].running_var, 0.9 + 0.1 * var, atol=1e-6)

    def test_synchronised_batch_normalisation_takes_the_whole_batch(self, sample):
        """In float64: 12, 12 and then 3 images, in shards of unequal sizes, some of them empty."""
        made = [
            train(sample[0], shards, make=normalised_net, dtype=np.float64, synchronised=True) for shards in (5, None)
        ]
        (cut_up, its), (whole, other) = made
        for one, right in zip(weights(cut_up), weights(whole), strict=True):
            np.testing.assert_allclose(
                one, right, rtol=1e-9, atol=1e-10
            )  # a bias before it has no gradient but rounding
        for name, array in state_arrays(whole.state()).items():
            np.testing.assert_allclose(state_arrays(cut_up.state())[name], array, rtol=1e-9)
        assert [s["loss"] for s in its.steps] == pytest.approx([s["loss"] for s in other.steps], rel=1e-10)
        assert not same(weights(cut_up), weights(train(sample[0], 5, make=normalised_net, dtype=np.float64)[0]))

    def test_layers_inside_a_layer_are_copied_for_each_shard(self, sample):
        (cut_up, _), (whole, _) = (train(sample[0], s, make=residual_net, dtype=np.float64) for s in (5, None))
        for one, right in zip(weights(cut_up), weights(whole), strict=True):
            np.testing.assert_allclose(one, right, rtol=1e-9, atol=1e-12)

    def test_the_network_notes_the_shape_of_its_input(self, sample):
        net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
        optimizer = sn.SGD(net.parameters())
        sn.fit(net, sample[0][:20], optimizer=optimizer, steps=1, batch_size=10, shards=2, progress=False)
        assert net.input_shape == (28, 28, 1)
        fixed = sn.Network([sn.ReLU(), sn.Flatten(), sn.Dense(784, 10)], input_shape=(784,))
        with pytest.raises(ValueError, match=r"expected input of shape \(N, 784\), got \(5, 28, 28, 1\)"):
            sn.fit(
                fixed, sample[0][:20], optimizer=sn.SGD(fixed.parameters()), steps=1, batch_size=10, shards=2,
                progress=False,
            )  # fmt: skip

    def test_it_is_interrupted_and_goes_on_as_without_shards(self, sample, tmp_path):
        whole, history = train(sample[0], 8, steps=9)
        train(sample[0], 8, steps=4, folder=tmp_path)
        resumed, its_history = train(sample[0], 8, steps=9, folder=tmp_path, resume=True)
        assert same(weights(whole), weights(resumed))
        assert its_history.steps == history.steps


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (13, "expected at most as many shards as images in a batch, 12, got 13"),
        (0, "fit: expected shards to be a positive integer, got 0"),
        (2.0, r"fit: expected shards to be a positive integer, got 2\.0"),
    ],
)
def test_a_wrong_number_of_shards_is_named(shards, message, sample):
    with pytest.raises(ValueError, match=message):
        train(sample[0], shards)


# ---------------------------------------------------------------- without mpiexec, and without MPI


def test_what_mpiexec_says_is_read():
    assert started_together({}) == 0
    assert started_together({"PMI_SIZE": "4"}) == 4
    assert started_together({"OMPI_COMM_WORLD_SIZE": "1"}) == 1
    assert started_together({"PMI_SIZE": "many"}) == 0


def python(code, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI"))}
    environment |= {"PYTHONPATH": str(ROOT), "SCRATCHNET_ENGINE": "numpy"} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


FIT = """
import sys, numpy as np, scratchnet as sn
{before}
net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
sn.fit(net, sn.data.load("sample")[0][:20], optimizer=sn.SGD(net.parameters()), steps=2, batch_size=10, progress=False,
       shards={shards})
print("mpi4py" in sys.modules, "scratchnet.parallel.communicator" in sys.modules)
"""


@pytest.mark.parametrize("shards", [None, 4])
def test_without_mpiexec_nothing_of_mpi_is_imported(shards):
    result = python(FIT.format(before="", shards=shards))
    assert result.stdout == "False False\n", result.stderr


def test_under_mpiexec_without_mpi4py_the_error_says_what_to_install():
    result = python(FIT.format(before="sys.modules['mpi4py'] = None", shards=None), OMPI_COMM_WORLD_SIZE="2")
    assert result.returncode == 1
    assert "RuntimeError: started by mpiexec, but MPI cannot be used: " in result.stderr
    assert "pip install 'scratchnet[mpi]'; or start without mpiexec" in result.stderr


@pytest.mark.skipif(mpiexec() is None, reason="no MPI: pip install --editable '.[mpi]' brings one")
def test_the_mpiexec_of_another_library_is_noticed():
    pytest.importorskip("mpi4py", reason="pip install --editable '.[mpi]' brings it")
    result = python(FIT.format(before="", shards=None), OMPI_COMM_WORLD_SIZE="3")
    assert result.returncode == 1, result.stdout
    assert "mpiexec has started 3 processes, but mpi4py counts 1: the two belong to different MPI" in result.stderr
