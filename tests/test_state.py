"""State that is not trained is kept wherever weights are kept, also for layers from outside the package."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.layers.base import snapshot
from scratchnet.models import ARCHITECTURES
from scratchnet.network import Loss
from scratchnet.show.stages import run_again, walk

pytestmark = pytest.mark.usefixtures("engine")


class RunningMean(sn.Layer):
    """x minus a running mean of its columns; in training, the batch updates the mean first.

    In training, dx = dout - 0.1 * the mean of dout, because each x has changed the mean by 0.1 / N of itself.
    """

    kind = "mean"

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.mean = np.zeros(features, np.float32)
        self.batches = np.zeros((), np.int64)

    def state(self):
        return {"mean": self.mean, "batches": self.batches}

    def forward(self, x, training=False):
        x = self.check_input(x)
        self.training = training
        if training:
            self.mean *= 0.9  # in place: a snapshot must not change with it
            self.mean += 0.1 * x.mean(axis=0)
            self.batches += 1
        return x - self.mean.astype(x.dtype)

    def backward(self, dout, need_dx=True):
        dout = self.check_dout(dout)
        return dout - 0.1 * dout.mean(axis=0) if self.training else dout


def running_mean_net(seed=0):
    rng = np.random.default_rng(seed)
    return sn.Network(
        [sn.Flatten(), sn.Dense(784, 12, rng=rng), RunningMean(12), sn.Dense(12, 10, rng=rng)], (28, 28, 1), "means"
    )


def dropout_net(seed=0):
    rng = np.random.default_rng(seed)
    return sn.Network(
        [sn.Flatten(), sn.Dense(784, 12, rng=rng), sn.Dropout(0.5, rng=rng), sn.Dense(12, 10, rng=rng)],
        (28, 28, 1),
        "masks",
    )


def both_net(seed=0):
    """Two masks drawn from one generator, and a mean between them."""
    rng = np.random.default_rng(seed)
    layers = [sn.Flatten(), sn.Dense(784, 12, rng=rng), sn.Dropout(0.3, rng=rng), RunningMean(12)]
    return sn.Network([*layers, sn.Dropout(0.2, rng=rng), sn.Dense(12, 10, rng=rng)], (28, 28, 1), "both")


every_net = pytest.mark.parametrize("make", [running_mean_net, dropout_net, both_net])


def train(net, data, steps, optimizer=None, **options):
    optimizer = optimizer or sn.Adam(net.parameters(), 0.01)
    return sn.fit(net, data[:90], optimizer=optimizer, steps=steps, batch_size=20, progress=False, **options)


def everything(net):
    """Everything that training changes, as JSON: equal texts mean equal bits."""
    kept = {p.name: p.value for p in net.parameters()} | snapshot(net.state())
    return json.dumps(kept, default=lambda array: [str(array.dtype), array.tolist()])


# ---------------------------------------------------------------- in layers and networks


def test_a_networks_state_is_that_of_its_layers():
    net = both_net()
    assert list(net.state()) == ["dropout1.rng", "mean1.mean", "mean1.batches", "dropout2.rng"]
    assert net.state()["mean1.mean"] is net.layers[3].mean
    assert net.state()["dropout1.rng"] is net.layers[2].rng
    assert sn.models.four_conv_cnn().state() == {}


@every_net
def test_a_snapshot_is_put_back(make, sample):
    net = make()
    kept, before = snapshot(net.state()), everything(net)
    for _ in range(2):
        net.forward(sample[0].images[:5], training=True)
        assert everything(net) != before
        net.set_state(kept)
        assert everything(net) == before


def test_generators_that_layers_share_stay_shared():
    net = both_net()
    net.set_state(snapshot(net.state()))
    assert net.layers[2].rng is net.layers[4].rng


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"mean1.meen": np.zeros(12)}, ValueError, "both: no layer has a state named mean1.meen"),
        ({"conv1.mean": np.zeros(12)}, ValueError, "both: no layer has a state named conv1.mean"),
        ({"mean1.mean": np.zeros(11)}, ValueError, r"mean1\.mean: expected shape \(12,\), got \(11,\)"),
        ({"mean1.mean": np.zeros(12, int)}, TypeError, r"mean1\.mean: expected an array of dtype float32 or float64"),
        ({"mean1.mean": [0] * 12}, TypeError, r"mean1\.mean: expected an array to be a NumPy array, got list"),
        ({"mean1.batches": np.zeros(())}, TypeError, r"mean1\.batches: expected an array of dtype int64, got float64"),
        ({"mean1.batches": 3}, TypeError, r"mean1\.batches: expected an array of dtype int64, got 3"),
        ({"dropout2.rng": 3}, ValueError, r"dropout2\.rng: expected the state of a PCG64, got 3"),
        ({"dropout2.rng": {"bit_generator": "MT19937"}}, ValueError, r"dropout2\.rng: expected the state of a PCG64"),
        ({"dropout2.rng": {"bit_generator": "PCG64"}}, ValueError, r"dropout2\.rng: expected the state of a PCG64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(values, error, message):
    net = both_net()
    before = everything(net)
    right = {"mean1.mean": np.ones(12), "dropout1.rng": np.random.PCG64(99).state}
    with pytest.raises(error, match=message):
        net.set_state(right | values)
    assert everything(net) == before
    with pytest.raises(ValueError, match="mean1: expected a state of mean, batches, got meen"):
        net.layers[3].set_state({"meen": np.zeros(12)})
    with pytest.raises(ValueError, match="relu: expected a state of nothing, got mean"):
        sn.ReLU().set_state({"mean": np.zeros(12)})


class Strange(sn.Layer):
    def __init__(self, attribute, held):
        super().__init__()
        setattr(self, attribute, held)
        self.declared = held

    def state(self):
        return {"held": self.declared}


@pytest.mark.parametrize(
    ("attribute", "held", "error", "message"),
    [
        ("other", np.zeros(3), ValueError, r"layer1: state\(\) gives 'held'; expected the name and the value of an"),
        ("held", 3, TypeError, r"layer1\.held: expected state\(\) to give an array of .*; got int"),
        ("held", np.zeros(3, np.float16), TypeError, r"layer1\.held: .*; got an array of float16"),
        ("held", np.zeros(3, bool), TypeError, r"layer1\.held: .*; got an array of bool"),
        ("held", np.array([None]), TypeError, r"layer1\.held: .*; got an array of object"),
    ],
)
def test_a_state_that_could_not_be_kept_is_noticed_when_the_network_is_made(attribute, held, error, message):
    with pytest.raises(error, match=message):
        sn.Network([Strange(attribute, held)])


def test_two_layers_of_one_name_do_not_lose_a_state():
    """This happens when a layer is put into another network."""
    shared = sn.Dropout(0.5)
    net = sn.Network([sn.Dropout(0.5), shared], (3,), "first")
    sn.Network([shared], (3,))
    with pytest.raises(ValueError, match="first: two layers are named dropout1; is a layer part of two networks"):
        net.state()


@every_net
def test_a_copy_goes_on_as_the_original_does_and_apart_from_it(make, sample):
    net = make()
    train(net, sample[0], 3)
    twin = copy.deepcopy(net)
    before = everything(twin)
    train(net, sample[0], 3)
    assert everything(twin) == before
    train(twin, sample[0], 3)
    assert everything(twin) == everything(net)


def test_astype_takes_floats_along_and_leaves_counts_and_generators(sample):
    net = both_net()
    train(net, sample[0], 3)
    mean, count, stream = net.layers[3].mean, net.layers[3].batches, snapshot(net.state())["dropout1.rng"]
    assert net.astype(np.float64) is net
    assert net.layers[3].mean.dtype == np.float64
    assert np.array_equal(net.layers[3].mean, mean)
    assert (net.layers[3].batches.dtype, int(net.layers[3].batches)) == (np.int64, int(count)) == (np.int64, 3)
    assert snapshot(net.state())["dropout1.rng"] == stream
    x = sample[0].images[:5].astype(np.float64)
    assert net.forward(x, training=True).dtype == np.float64


def test_the_summary_counts_what_is_not_trained_if_there_is_any():
    header, *rows = (line.split() for line in running_mean_net().summary().splitlines()[1:])
    assert header[-2:] == ["not", "trained"]
    assert [row[-1] for row in rows if row[0] in ("dense1", "mean1", "total")] == ["0", "13", "13"]
    assert "not trained" not in dropout_net().summary()


# ---------------------------------------------------------------- in files


@every_net
def test_a_model_file_holds_the_arrays(make, sample, tmp_path):
    net = make()
    train(net, sample[0], 4)
    sn.save(net, tmp_path / "m")
    other = sn.load_weights(make(seed=5), tmp_path / "m")
    x = sample[1].images[:7]
    assert np.array_equal(net.predict(x), other.predict(x))
    ours, theirs = snapshot(net.state()), snapshot(other.state())
    for name in ours:
        if name.endswith("rng"):
            assert ours[name] != theirs[name], "where a generator is does not belong to the model"
        else:
            assert ours[name].dtype == theirs[name].dtype
            assert np.array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_model_file_without_state_is_as_it_was(name, tmp_path):
    """The names of arrays and the keys of the description are those of existing files."""
    from scratchnet.runs.container import read

    net = ARCHITECTURES[name].make()
    sn.save(net, tmp_path / "m")
    arrays, description = read(tmp_path / "m", "model")
    assert arrays.keys() == {p.name for p in net.parameters()}
    assert description.keys() == {"kind", "network"}
    assert description["network"].keys() == {"name", "input_shape", "layers"}


def test_a_model_file_whose_state_does_not_fit_changes_nothing(sample, tmp_path):
    net = running_mean_net()
    before = everything(net)
    other = running_mean_net(seed=2)
    other.layers[2] = RunningMean(1)
    other.layers[2].name = "mean1"
    sn.save(other, tmp_path / "m")
    with pytest.raises(ValueError, match=r"m: expected mean1\.mean of shape \(12,\), got \(1,\)"):
        sn.load_weights(net, tmp_path / "m")
    sn.save(dropout_net(), tmp_path / "m")
    with pytest.raises(ValueError, match=r"do not fit means: missing \['mean1\.batches', 'mean1\.mean'\]"):
        sn.load_weights(net, tmp_path / "m")
    sn.save(net, tmp_path / "m")
    with pytest.raises(ValueError, match=r"do not fit masks: missing \[\], not part of it \['mean1\.batches', "):
        sn.load_weights(dropout_net(), tmp_path / "m")
    other = running_mean_net(seed=2)
    other.layers[2].batches = np.zeros((), np.int32)
    sn.save(other, tmp_path / "m")
    with pytest.raises(ValueError, match=r"m: expected mean1\.batches of dtype int64, got int32"):
        sn.load_weights(net, tmp_path / "m")
    assert everything(net) == before


def test_a_state_that_is_not_finite_is_neither_saved_nor_taken_for_a_result(sample, tmp_path):
    net = running_mean_net()
    net.layers[2].mean[3] = np.inf
    with pytest.raises(ValueError, match=r"m: mean1\.mean holds NaN or infinite values"):
        sn.save(net, tmp_path / "m")

    class Sick(RunningMean):
        def forward(self, x, training=False):
            out = super().forward(x, training)
            self.mean[3] = np.nan if training and self.batches == 2 else self.mean[3]
            return out

    net = sn.Network([sn.Flatten(), sn.Dense(784, 10), Sick(10)])
    with pytest.raises(sn.TrainingDiverged, match=r"step 2: NaN or infinite weights in mean1\.mean"):
        train(net, sample[0], 2, folder=tmp_path)


@every_net
@pytest.mark.parametrize("stop_after", [1, 4, 6])
def test_a_resumed_run_ends_with_the_same_state(make, stop_after, sample, tmp_path):
    whole = make()
    train(whole, sample[0], 8)
    train(make(), sample[0], stop_after, folder=tmp_path)
    resumed = make(seed=3)
    train(resumed, sample[0], 8, folder=tmp_path, resume=True)
    assert everything(resumed) == everything(whole)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_kind_of_generator_is_resumed(kind, sample, tmp_path):
    def make():
        rng = np.random.Generator(getattr(np.random, kind)(1))
        return sn.Network([sn.Flatten(), sn.Dropout(0.5, rng=rng), sn.Dense(784, 10)], (28, 28, 1))

    whole, resumed = make(), make()
    train(whole, sample[0], 4)
    train(make(), sample[0], 2, folder=tmp_path)
    train(resumed, sample[0], 4, folder=tmp_path, resume=True)
    assert np.array_equal(resumed.layers[2].w.value, whole.layers[2].w.value)
    assert np.array_equal(resumed.layers[1].rng.random(9), whole.layers[1].rng.random(9))


def test_another_kind_of_generator_is_refused_and_nothing_changed(sample, tmp_path):
    train(dropout_net(), sample[0], 2, folder=tmp_path)
    net = dropout_net()
    net.layers[2].rng = np.random.Generator(np.random.Philox(1))
    weights = net.layers[1].w.value.copy()
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: dropout1\.rng: expected the state of a Philox"):
        train(net, sample[0], 4, folder=tmp_path, resume=True)
    assert np.array_equal(net.layers[1].w.value, weights)


# ---------------------------------------------------------------- where a forward is run again


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("subject", [lambda: RunningMean(4), lambda: sn.Dropout(0.4, rng=3)], ids=["mean", "dropout"])
def test_gradcheck_of_a_layer_with_state(subject, training, rng):
    layer = subject()
    layer.forward(rng.standard_normal((5, 4)).astype(np.float32), training=True)
    before = snapshot(layer.state())
    report = sn.gradcheck(layer, rng.standard_normal((5, 4)), training=training)
    assert report, str(report)
    for name, value in snapshot(layer.state()).items():
        assert repr(value) == repr(before[name])
        assert getattr(value, "dtype", None) == getattr(before[name], "dtype", None)


def test_gradcheck_still_finds_a_gradient_that_forgets_the_state(rng):
    class Forgets(RunningMean):
        def backward(self, dout, need_dx=True):
            return self.check_dout(dout)

    assert sn.gradcheck(Forgets(4), rng.standard_normal((5, 4)))
    assert not sn.gradcheck(Forgets(4), rng.standard_normal((5, 4)), training=True)


def test_gradcheck_of_a_network_puts_its_state_back(rng):
    net = sn.Network([sn.Dense(4, 6), sn.Dropout(0.3), RunningMean(6), sn.Dense(6, 3)])
    before = everything(net)
    assert sn.gradcheck(net, rng.standard_normal((3, 4)), training=True)
    assert everything(net) == before


def test_a_stage_that_is_run_again_starts_from_its_own_state(sample, monkeypatch):
    net = both_net()
    stages = walk(net, sample[0].images[:1], sample[0].labels[:1])
    after, outputs = everything(net), []

    class CallsAtOnce:
        def __init__(self, nosigint):
            pass

        def runcall(self, function, *given):
            outputs.append(function(*given))

    monkeypatch.setattr("pdb.Pdb", CallsAtOnce)
    for stage in stages:
        run_again(stage)
        if not isinstance(stage.step.layer, Loss):
            assert np.array_equal(outputs[-1], stage.step.output), stage.name
        assert everything(net) == after
    assert len(outputs) == len(stages) == 14


# ---------------------------------------------------------------- to and from PyTorch


def test_pytorch_is_not_given_a_network_whose_state_it_would_lose():
    class Counting(sn.Dense):
        """A layer with an equivalent that lacks its state."""

        def __init__(self, in_features, out_features):
            super().__init__(in_features, out_features)
            self.count = np.zeros(1)

        def state(self):
            return {"count": self.count}

    torch_net = sn.interop.to_torch(dropout_net())  # a generator need not be converted: torch draws its own masks
    with pytest.raises(
        ValueError, match="mean1: a RunningMean keeps mean, batches, which has no equivalent in PyTorch"
    ):
        sn.interop.to_torch(running_mean_net())
    counting = sn.Network([sn.Flatten(), Counting(784, 12), sn.Dense(12, 10)], (28, 28, 1))
    with pytest.raises(ValueError, match="dense1: a Counting keeps count, which has no equivalent in PyTorch"):
        sn.interop.to_torch(counting)
    before = everything(counting)
    with pytest.raises(ValueError, match="dense1: a Counting keeps count"):
        sn.interop.from_torch(torch_net, counting)
    assert everything(counting) == before


def test_a_pytorch_network_with_running_statistics_is_not_taken_for_one_without():
    import torch

    torch_net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    net = sn.Network([sn.Dense(3, 2)], (3,))
    before = everything(net)
    with pytest.raises(ValueError, match="network has 1 layers with weights, but the PyTorch network has 2"):
        sn.interop.from_torch(torch_net, net)
    assert everything(net) == before
