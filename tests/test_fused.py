"""Fused layers on the compiled engine: which ones are fused, that the bits are the same, and what the layers hold."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import assert_close

import scratchnet as sn
from scratchnet.fast.fused import FUSIONS, Fused, OneChannelReLUMaxPool, ReLUMaxPool, stages
from scratchnet.models import ARCHITECTURES


def relu_and_pool():
    return sn.Network([sn.Conv2D(5, 4, 3, rng=1), sn.ReLU(), sn.MaxPool2D(3, 2, padding=1)])


def one_channel_relu_and_pool():
    """More filters than a register has lanes, windows that are not square, and pixels that are in no window."""
    pointwise = sn.PointwiseConv2D(1, 21, rng=1)
    return sn.Network(
        [sn.DepthwiseConv2D(1, 3, padding=1), pointwise, sn.ReLU(), sn.MaxPool2D((2, 3)), sn.Dropout(0.4)]
    )


def one_channel_relu_and_pool_first():
    return sn.Network([sn.PointwiseConv2D(1, 3, rng=1), sn.ReLU(), sn.MaxPool2D((3, 2)), sn.ReLU()])


def one_channel_and_overlapping_windows():
    return sn.Network([sn.PointwiseConv2D(1, 6, bias=False), sn.ReLU(), sn.MaxPool2D(3, 2)])


def one_channel_and_padding():
    """The windows would lie side by side, but the first ones begin on padding: the one-channel pass has none."""
    return sn.Network([sn.PointwiseConv2D(1, 5, rng=1), sn.ReLU(), sn.MaxPool2D(2, padding=1)])


def one_channel_and_same_padding():
    return sn.Network([sn.PointwiseConv2D(1, 5, rng=1), sn.ReLU(), sn.MaxPool2D(3, padding="same")])


NETWORKS = {
    relu_and_pool: 5,  # and the channels of its input
    one_channel_relu_and_pool: 1,
    one_channel_relu_and_pool_first: 1,
    one_channel_and_overlapping_windows: 1,
    one_channel_and_padding: 1,
    one_channel_and_same_padding: 1,
}
every_network = pytest.mark.parametrize(("make", "channels"), list(NETWORKS.items()))


@pytest.fixture
def compiled():
    with sn.use_engine("numba"):
        yield


def images(rng, channels):
    """With ties, and with zeros."""
    x = np.round(rng.standard_normal((3, 7, 8, channels)), 1).astype(np.float32)
    x[0, :3] = 0
    return x


def one_by_one(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def gradients(net, backward, dout):
    """dx and the gradient of every parameter, from `backward(dout)`."""
    for p in net.parameters():
        p.grad = None
    return [backward(dout), *(p.grad for p in net.parameters())]


def backward_one_by_one(net, dout):
    for layer in reversed(net.layers):
        dout = layer.backward(dout)
    return dout


# ---------------------------------------------------------------- which layers


def kinds(layers):
    return [type(stage) for stage in stages(layers)]


def test_which_layers_go_in_one_pass():
    assert kinds(relu_and_pool().layers) == [sn.Conv2D, ReLUMaxPool]
    assert kinds(one_channel_relu_and_pool().layers) == [sn.DepthwiseConv2D, OneChannelReLUMaxPool, sn.Dropout]
    for make in (one_channel_and_overlapping_windows, one_channel_and_padding, one_channel_and_same_padding):
        assert kinds(make().layers) == [sn.PointwiseConv2D, ReLUMaxPool]
    assert OneChannelReLUMaxPool in kinds(sn.models.separable_cnn().layers)
    twice = [sn.ReLU(), sn.ReLU(), sn.MaxPool2D(2), sn.MaxPool2D(2), sn.ReLU()]
    assert kinds(twice) == [sn.ReLU, ReLUMaxPool, sn.MaxPool2D, sn.ReLU]
    assert kinds([]) == []


@pytest.mark.parametrize("rule", FUSIONS, ids=lambda rule: rule.make.__name__)
def test_a_subclass_may_compute_something_else_and_stays_alone(rule):
    layers = {type(layer): layer for layer in (sn.PointwiseConv2D(1, 2), sn.BatchNorm(2), sn.ReLU(), sn.MaxPool2D(2))}
    assert kinds([layers[kind] for kind in rule.kinds]) == [rule.make]
    for i, kind in enumerate(rule.kinds):
        row = [copy.copy(layers[kind]) for kind in rule.kinds]
        row[i].__class__ = type("Own", (kind,), {})
        assert rule.make not in kinds(row)


@pytest.mark.parametrize("kind", [sn.PointwiseConv2D, sn.ReLU, sn.MaxPool2D])
def test_what_a_subclass_computes_is_what_the_network_gives(kind, rng, compiled):
    class Own(kind):
        def forward(self, x, training=False):
            return super().forward(x, training) - 3

        def backward(self, dout, need_dx=True):
            return 2 * super().backward(dout)

    def make():
        layers = [sn.PointwiseConv2D(1, 3, rng=1), sn.ReLU(), sn.MaxPool2D(2)]
        own = next(layer for layer in layers if type(layer) is kind)
        own.__class__ = Own
        return sn.Network(layers)

    x, net, apart = images(rng, 1), make(), make()
    out = one_by_one(apart.layers, x)
    assert np.array_equal(net.forward(x), out)
    assert np.array_equal(net.backward(out), backward_one_by_one(apart, out))


def test_longer_rows_come_first_in_the_table():
    lengths = [len(rule.kinds) for rule in FUSIONS]
    assert lengths == sorted(lengths, reverse=True)


# ---------------------------------------------------------------- the same bits


@every_network
def test_layers_in_one_pass_leave_what_they_would_one_by_one(make, channels, rng, engine):
    """Output, gradients and what the layers hold are equal bit for bit, also at ties and at 0."""
    x, together, apart = images(rng, channels), make(), make()
    out = together.forward(x)
    assert np.array_equal(out, one_by_one(apart.layers, x))
    dout = rng.standard_normal(out.shape).astype(np.float32)
    ours, theirs = (
        gradients(together, together.backward, dout),
        gradients(apart, lambda d: backward_one_by_one(apart, d), dout),
    )
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one, other)
    for ours, theirs in zip(together.layers, apart.layers, strict=True):
        assert_same_attributes(ours, theirs, np.testing.assert_array_equal)
    again = gradients(together, together.backward, dout)
    assert np.array_equal(again[0], backward_one_by_one(apart, dout))
    assert together.backward(dout, need_dx=False) is None


@every_network
def test_backward_follows_layers_that_were_called_one_by_one(make, channels, rng, engine):
    """Some layers in a row, with another input, after a forward of the whole network."""
    x, net, apart = images(rng, channels), make(), make()
    others = [rng.standard_normal(x.shape).astype(np.float32)]
    for layer in apart.layers:
        others.append(layer.forward(others[-1]))
    dout = rng.standard_normal(others[-1].shape).astype(np.float32)
    for first in range(len(net.layers)):
        for end in range(first + 1, len(net.layers) + 1):
            one_by_one(apart.layers, x)
            net.forward(x)
            for some in (net, apart):
                one_by_one(some.layers[first:end], others[first])
            expected = gradients(apart, lambda d: backward_one_by_one(apart, d), dout)
            for ours, theirs in zip(gradients(net, net.backward, dout), expected, strict=True):
                assert np.array_equal(ours, theirs), f"layers {first} to {end}"
            assert net.backward(dout, need_dx=False) is None


@pytest.mark.parametrize("size", [2, 28])  # few pixels use another kernel than many
def test_layers_in_one_pass_do_so_for_few_pixels_and_many(size, rng, engine):
    x = rng.standard_normal((1, size, size, 1)).astype(np.float32)
    layers = [sn.PointwiseConv2D(1, 8, init="pytorch"), sn.ReLU(), sn.MaxPool2D(2)]
    expected = one_by_one(layers, x)
    assert np.array_equal(sn.Network(layers).forward(x), expected)


@every_network
@pytest.mark.parametrize("engines", [("numba", "numpy"), ("numpy", "numba")])
def test_the_engine_may_change_between_forward_and_backward(make, channels, engines, rng):
    """Backward runs on the engine that is in use then, layer by layer."""
    first, then = engines
    x, net, expected = images(rng, channels), make(), make()
    with sn.use_engine(then):
        dout = rng.standard_normal(expected.forward(x).shape).astype(np.float32)
        wanted = gradients(expected, expected.backward, dout)
    with sn.use_engine(first):
        net.forward(x)
    with sn.use_engine(then):
        for ours, theirs in zip(gradients(net, net.backward, dout), wanted, strict=True):
            assert_close(ours, theirs, 1e-5)
        assert net.backward(dout, need_dx=False) is None
    with sn.use_engine(first):  # and back again
        for ours, theirs in zip(gradients(net, net.backward, dout), wanted, strict=True):
            assert_close(ours, theirs, 1e-5)


def test_on_the_readable_engine_backward_stays_in_the_book(rng, monkeypatch):
    """After a switch of the engine, stepping through backward does not enter the compiled engine."""
    net = one_channel_relu_and_pool()
    with sn.use_engine("numba"):
        dout = np.ones_like(net.forward(images(rng, 1)))
    monkeypatch.setattr(Fused, "backward", None)
    with sn.use_engine("numpy"):
        assert net.backward(dout).shape == (3, 7, 8, 1)
    with sn.use_engine("numba"), pytest.raises(TypeError):
        net.backward(dout)


def test_steps_after_a_forward_are_what_backward_belongs_to(rng, compiled):
    x = images(rng, 1)
    layers = [sn.PointwiseConv2D(1, 3, rng=1), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(36, 2)]
    net, apart = sn.Network(layers), sn.Network(copy.deepcopy(layers))
    for some in (net, apart):
        if some is net:
            some.forward(x + 1)
        list(some.steps(x, np.array([0, 1, 0])))
    dout = rng.standard_normal((3, 2)).astype(np.float32)
    expected = gradients(apart, lambda d: backward_one_by_one(apart, d), dout)
    for ours, theirs in zip(gradients(net, net.backward, dout), expected, strict=True):
        assert np.array_equal(ours, theirs)


@every_network
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_made_between_forward_and_backward_goes_on_alone(make, channels, duplicate, rng, compiled):
    x, net = images(rng, channels), make()
    dout = rng.standard_normal(net.forward(x).shape).astype(np.float32)
    twin = duplicate(net)
    for p in twin.parameters():
        assert p.value is not next(q.value for q in net.parameters() if q.name == p.name)
    expected = gradients(net, net.backward, dout)
    for ours, theirs in zip(gradients(twin, twin.backward, dout), expected, strict=True):
        assert np.array_equal(ours, theirs)
    one_by_one(net.layers, x + 1)  # the copy's layers were not called
    assert np.array_equal(twin.backward(dout), expected[0])


def test_a_forward_that_fails_leaves_the_layers_usable(rng, compiled):
    net = one_channel_relu_and_pool_first()
    with pytest.raises(ValueError, match="pool1: "):
        net.forward(np.zeros((1, 1, 1, 1), np.float32))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        net.backward(np.zeros((1, 1, 1, 3), np.float32))
    assert net.forward(images(rng, 1)).shape == (3, 2, 4, 3)


# ---------------------------------------------------------------- what the layers hold


def assert_same_attributes(ours, theirs, compare):
    """Assert that `ours` holds everything that `theirs` holds; arrays with the same shape, dtype and numbers."""
    for name, expected in vars(theirs).items():
        value = getattr(ours, name)
        assert type(value) is type(expected), f"{theirs.name}.{name}"
        if isinstance(expected, sn.Parameter):
            compare(value.value, expected.value)
            compare(value.grad, expected.grad)
        elif isinstance(expected, np.random.Generator):
            assert repr(value.bit_generator.state) == repr(expected.bit_generator.state)
        elif isinstance(expected, np.ndarray):
            assert (value.shape, value.dtype) == (expected.shape, expected.dtype), f"{theirs.name}.{name}"
            compare(value, expected)
        else:
            assert value == expected, f"{theirs.name}.{name}"


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_after_a_step_the_layers_hold_the_same_arrays_on_both_engines(name, sample):
    x, labels = sample[0].images[:4].astype(np.float64), sample[0].labels[:4]
    nets = {}
    for engine in ("numpy", "numba"):
        with sn.use_engine(engine):
            net = nets[engine] = ARCHITECTURES[name].make(seed=1).astype(np.float64)
            _, dlogits = sn.softmax_cross_entropy(net.forward(x, training=True), labels)
            net.backward(dlogits)
            sn.SGD(net.parameters(), lr=0.1).step()
    arrays = 0
    for ours, theirs in zip(nets["numba"].layers, nets["numpy"].layers, strict=True):
        assert_same_attributes(ours, theirs, lambda a, b: assert_close(a, b, 1e-9))
        arrays += sum(isinstance(value, np.ndarray) for value in vars(theirs).values())
    assert arrays > len(nets["numpy"].layers) / 2


def test_what_a_relu_holds_is_an_array_to_whoever_looks(rng, compiled):
    net = one_channel_relu_and_pool_first()
    x = images(rng, 1)
    net.forward(x)
    relu, expected = net.layers[1], net.layers[0].forward(x)
    assert "x" not in vars(relu), "the training step has written it"
    assert type(relu.x) is np.ndarray
    assert relu.x.shape == expected.shape
    assert len(relu.x) == 3
    assert relu.x.mean() == expected.mean()
    assert np.array_equal(relu.x[0], expected[0])
    assert np.array_equal(2 * relu.x - 1, 2 * expected - 1)
    assert repr(relu.x) == repr(expected)
    assert relu.x is relu.x, "it is made once"


def test_looking_at_an_array_does_not_change_what_backward_does(rng, compiled, monkeypatch):
    x, net, looked = images(rng, 1), one_channel_relu_and_pool_first(), one_channel_relu_and_pool_first()
    dout = rng.standard_normal(net.forward(x).shape).astype(np.float32)
    looked.forward(x)
    assert looked.layers[1].x.any()
    monkeypatch.setattr(sn.ReLU, "backward", None)  # the stages stay fused: only the last layer is a ReLU by itself
    monkeypatch.setattr(looked.layers[-1], "backward", lambda dout, need_dx: dout, raising=False)
    monkeypatch.setattr(net.layers[-1], "backward", lambda dout, need_dx: dout, raising=False)
    assert np.array_equal(looked.backward(dout), net.backward(dout))


@pytest.mark.parametrize("engine_of_backward", ["numba", "numpy"])
def test_what_a_relu_holds_belongs_to_the_weights_of_the_forward(engine_of_backward, rng):
    net = one_channel_relu_and_pool_first()
    relu, x = net.layers[1], images(rng, 1)
    with sn.use_engine("numba"):
        expected = net.layers[0].forward(x)
        net.forward(x)
    for p in net.parameters():
        p.value *= -2  # in place, as an optimiser does
    dout = rng.standard_normal(expected.shape).astype(np.float32)
    with sn.use_engine(engine_of_backward):
        assert np.array_equal(relu.backward(dout), dout * (expected > 0))
    assert np.array_equal(relu.x, expected)


def test_the_next_forward_replaces_what_was_looked_at(rng, compiled):
    net = one_channel_relu_and_pool_first()
    for x in (images(rng, 1), images(rng, 1) + 1):
        expected = net.layers[0].forward(x)
        net.forward(x)
        assert np.array_equal(net.layers[1].x, expected)
