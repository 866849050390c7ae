"""The moving average of a network's weights: what it is, what `fit` does with it, and that a run resumes with it."""

from __future__ import annotations

import numpy as np
import pytest
from cases import assert_close
from test_resume import STEPS, STOPPED_AFTER, arguments, digits, sgd

import scratchnet as sn
from scratchnet.layers.base import snapshot
from scratchnet.reading import FileFault
from scratchnet.runs import container
from scratchnet.runs.run import CHECKPOINT

pytestmark = pytest.mark.usefixtures("engine")


def norm_net():
    """With weights, running statistics and masks."""
    layers = [sn.Flatten(), sn.Dense(784, 12, rng=0), sn.BatchNorm(12), sn.ReLU(), sn.Dropout(0.5, rng=1)]
    return sn.Network([*layers, sn.Dense(12, 10, rng=2)], (28, 28, 1), "normalised")


def held(net):
    return {p.name: p.value.copy() for p in net.parameters()} | snapshot(net.state())


def same(one, other):
    """Whether the arrays are the same; generators, which go on drawing, are left out."""
    one, other = ({n: a for n, a in some.items() if isinstance(a, np.ndarray)} for some in (one, other))
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def trained(**changes):
    """The network that a run ends with, and its average."""
    given = arguments(net=norm_net, optimizer=sgd(0.05), **changes)
    sn.fit(**given)
    return given["net"], given.get("average")


# ---------------------------------------------------------------- what it is


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_it_is_the_recursion_of_its_definition(decay, dtype, rng):
    net = norm_net().astype(dtype)
    average, expected = sn.WeightAverage(net, decay), {}
    for t in range(1, 40):
        for p in net.parameters():
            p.value = rng.standard_normal(p.value.shape).astype(dtype)
        net.set_state({"batch_norm1.running_mean": rng.standard_normal(12).astype(dtype)})
        average.update()
        present = {name: a.astype(np.float64) for name, a in held(net).items() if name != "dropout1.rng"}
        d = min(decay, (1 + t) / (10 + t))
        expected = {name: d * expected.get(name, a) + (1 - d) * a for name, a in present.items()}
    assert average.steps == 39
    assert average.arrays.keys() == expected.keys()
    for name, array in average.arrays.items():
        assert array.dtype == dtype
        assert_close(array, expected[name], 1e-12 if dtype == np.float64 else 1e-6, name)


def test_its_own_use_leaves_the_network_as_it_was(rng):
    """Also if the block ends with an error; masks are drawn on, since no average is kept of generators."""
    net = norm_net()
    average = sn.WeightAverage(net, 0.9)
    with average.used():
        assert same(held(net), held(norm_net())), "before the first update there is nothing to use"
    average.update()
    for p in net.parameters():
        p.value += 1
    before, x = held(net), digits().images[:4]
    with pytest.raises(KeyError), average.used():
        assert same(held(net), held(norm_net()))
        inside = net.forward(x)
        raise KeyError
    assert same(held(net), before)
    assert not np.array_equal(net.forward(x), inside)
    average.put_into_network()
    assert np.array_equal(net.forward(x), inside)
    for p in net.parameters():
        p.value += 1
    with average.used():
        assert np.array_equal(net.forward(x), inside), "the network got copies"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sn.WeightAverage([], 0.9), TypeError, "WeightAverage: expected net to be a Network, got list"),
        (lambda: sn.WeightAverage(norm_net(), 1), ValueError, "WeightAverage: expected decay .* got 1"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------- in fit


def test_fit_trains_as_without_it_and_ends_with_it():
    plain, _ = trained()
    given = arguments(net=norm_net, optimizer=sgd(0.05), average=0.9, test=digits()[:30])
    net, average = given["net"], given["average"]
    history = sn.fit(**given)
    assert average.steps == STEPS
    assert same(held(net), average.arrays)
    assert not same(held(net), held(plain))
    assert history.epochs[-1]["test_accuracy"] == sn.evaluate(net, digits()[:30])[1]
    assert history.epochs[-1]["test_loss"] == sn.evaluate(net, digits()[:30])[0]
    assert history.steps == sn.fit(**arguments(net=norm_net, optimizer=sgd(0.05))).steps


@pytest.mark.parametrize("stops", [[1], [STOPPED_AFTER], [3, 5, STEPS]])
def test_a_resumed_run_ends_with_the_same_average(stops, tmp_path):
    whole, _ = trained(average=0.9)
    for steps in [*stops, STEPS]:
        net, _ = trained(average=0.9, steps=steps, folder=tmp_path, resume=(tmp_path / CHECKPOINT).exists())
    assert same(held(net), held(whole))


def test_the_checkpoint_has_the_weights_themselves(tmp_path):
    trained(average=0.9, folder=tmp_path)
    plain, _ = trained()
    arrays, _ = container.read(tmp_path / CHECKPOINT, "checkpoint")
    assert all(np.array_equal(arrays[p.name], p.value) for p in plain.parameters())


def test_a_run_without_it_does_not_go_on_with_it_nor_the_other_way_round(tmp_path):
    trained(steps=STOPPED_AFTER, folder=tmp_path / "without")
    with pytest.raises(FileFault, match=r"begun with average = None, not .* Resume with a WeightAverage of that decay"):
        trained(average=0.9, folder=tmp_path / "without", resume=True)
    trained(average=0.9, steps=STOPPED_AFTER, folder=tmp_path / "with")
    with pytest.raises(FileFault, match=r"begun with average = .* not None"):
        trained(folder=tmp_path / "with", resume=True)
    with pytest.raises(FileFault, match=r"begun with average\.decay = 0.9, not 0.8\."):
        trained(average=0.8, folder=tmp_path / "with", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("average/dense1.w"), r"missing \['dense1.w'\]"),
        (lambda arrays: arrays.update({"average/dense9.w": np.zeros(2)}), r"not part of it \['dense9.w'\]"),
        (
            lambda arrays: arrays.update({"average/dense1.b": np.zeros(2)}),
            r"average/dense1.b of shape \(12,\), got \(2",
        ),
    ],
)
def test_a_checkpoint_whose_average_does_not_fit_changes_nothing(change, message, tmp_path):
    trained(average=0.9, steps=STOPPED_AFTER, folder=tmp_path)
    arrays, description = container.read(tmp_path / CHECKPOINT, "checkpoint")
    change(arrays)
    container.write(tmp_path / CHECKPOINT, arrays, description)
    given = arguments(net=norm_net, optimizer=sgd(0.05), average=0.9, folder=tmp_path, resume=True)
    before = held(given["net"])
    with pytest.raises(FileFault, match=message):
        sn.fit(**given)
    assert same(held(given["net"]), before)
    assert given["average"].steps == 0


def test_the_average_of_another_network_is_refused():
    given = arguments(net=norm_net)
    with pytest.raises(ValueError, match="the average is of another network than normalised; make one for it"):
        sn.fit(**given | {"average": sn.WeightAverage(norm_net())})
    with pytest.raises(TypeError, match=r"fit: expected average to be a WeightAverage, got float"):
        sn.fit(**given | {"average": 0.9})
