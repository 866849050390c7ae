"""Batch normalisation with its neighbours in one pass: what comes out, and what the layers hold, is what each would."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import assert_close

import scratchnet as sn
from scratchnet.fast.fused import NormReLU, NormReLUMaxPool, OneChannelNormReLUMaxPool, ReLUMaxPool, stages

TOLERANCE = {np.float64: 1e-10, np.float32: 2e-5}


def norm_and_relu():
    return [sn.Conv2D(3, 4, 3, rng=1), sn.BatchNorm(4), sn.ReLU()]


def norm_and_relu_of_rows():
    """In rows, the first of all, and so many channels that a row is long."""
    return [sn.Flatten(), sn.BatchNorm(7 * 8 * 3), sn.ReLU(), sn.Dense(7 * 8 * 3, 4, rng=1), sn.BatchNorm(4), sn.ReLU()]


def norm_relu_and_pool():
    return [sn.PointwiseConv2D(3, 5, bias=False, rng=1), sn.BatchNorm(5), sn.ReLU(), sn.MaxPool2D(2)]


def norm_relu_and_overlapping_windows():
    return [sn.BatchNorm(3), sn.ReLU(), sn.MaxPool2D((3, 2), (2, 1), padding=1)]


def norm_relu_and_same_padding():
    return [sn.BatchNorm(3), sn.ReLU(), sn.MaxPool2D(3, padding="same")]


def one_channel():
    """More filters than a register has lanes, windows that are not square, and pixels that are in no window."""
    return [sn.PointwiseConv2D(1, 21, rng=1), sn.BatchNorm(21), sn.ReLU(), sn.MaxPool2D((2, 3)), sn.ReLU()]


def one_channel_without_bias():
    layers = [sn.DepthwiseConv2D(1, 3, padding=1, rng=1), sn.PointwiseConv2D(1, 4, bias=False, rng=1)]
    return [*layers, sn.BatchNorm(4, eps=0.1), sn.ReLU(), sn.MaxPool2D(2)]


def one_channel_and_overlapping_windows():
    return [sn.PointwiseConv2D(1, 6), sn.BatchNorm(6), sn.ReLU(), sn.MaxPool2D(3, 2)]


NETWORKS = {
    norm_and_relu: [sn.Conv2D, NormReLU],
    norm_and_relu_of_rows: [sn.Flatten, NormReLU, sn.Dense, NormReLU],
    norm_relu_and_pool: [sn.PointwiseConv2D, NormReLUMaxPool],
    norm_relu_and_overlapping_windows: [NormReLUMaxPool],
    norm_relu_and_same_padding: [NormReLUMaxPool],
    one_channel: [OneChannelNormReLUMaxPool, sn.ReLU],
    one_channel_without_bias: [sn.DepthwiseConv2D, OneChannelNormReLUMaxPool],
    one_channel_and_overlapping_windows: [sn.PointwiseConv2D, NormReLUMaxPool],
}
every_network = pytest.mark.parametrize("make", NETWORKS)
both_modes = pytest.mark.parametrize("training", [True, False])


@pytest.fixture(autouse=True)
def compiled():
    with sn.use_engine("numba"):
        yield


def channels(make):
    return 1 if "one_channel" in make.__name__ else 3


def images(make, dtype, N=5):
    """Not around zero, with ties and with a region that is constant."""
    x = np.round(np.random.default_rng(0).standard_normal((N, 7, 8, channels(make))), 1) + 2
    x[: N // 2, :3] = 0
    return x.astype(dtype)


def network(make, dtype):
    """Of these layers, whose normalisations scale by numbers of either sign and have seen other images before."""
    net, rng = sn.Network(make()), np.random.default_rng(1)
    for p in net.parameters():
        p.value = rng.standard_normal(p.value.shape).astype(np.float32)
    net.astype(dtype)
    for _ in range(2):
        one_by_one(net, images(make, dtype) + rng.standard_normal(), True)
    return net


def one_by_one(net, x, training):
    for layer in net.layers:
        x = layer.forward(x, training)
    return x


def back_one_by_one(net, dout):
    for layer in reversed(net.layers):
        dout = layer.backward(dout)
    return dout


def results(net, forward, backward, make, dtype, training):
    """Everything that a step leaves: output, dx, and all that the layers hold, by name."""
    for p in net.parameters():
        p.grad = None
    out = forward(net, images(make, dtype), training)
    dout = np.random.default_rng(2).standard_normal(out.shape).astype(dtype)
    found = {"out": out, "dx": backward(net, dout)}
    found |= {f"d{p.name}": p.grad for p in net.parameters()}
    for layer in net.layers:
        names = {name.removeprefix("_make_") for name in vars(layer)}
        held = {name: getattr(layer, name) for name in names}
        found |= {f"{layer.name}.{name}": value for name, value in held.items() if isinstance(value, np.ndarray)}
    return found


def assert_all_close(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert (ours[name].shape, ours[name].dtype) == (expected.shape, expected.dtype), name
        # A convolution before a normalisation has next to no gradient; one by one, it is what is left of large terms.
        scale = max(1, np.abs(expected).max(), 100 * name.startswith(("dpointwise", "dconv", "ddense")))
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=tolerance * scale, err_msg=name)


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize(("make", "kinds"), NETWORKS.items())
def test_which_layers_go_in_one_pass(make, kinds):
    assert [type(stage) for stage in stages(make())] == kinds


def test_a_network_of_mobilenets_blocks_is_made_of_them():
    kinds = [type(stage) for stage in stages(sn.models.separable_cnn(batch_norm=True).layers)]
    assert [kinds.count(kind) for kind in (NormReLU, NormReLUMaxPool, OneChannelNormReLUMaxPool)] == [2, 1, 1]
    assert not {sn.BatchNorm, ReLUMaxPool} & set(kinds)


@every_network
@both_modes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_in_one_pass_leave_what_they_would_one_by_one(make, training, dtype):
    """Also the running statistics, the arrays that were not written, and the winners of the pools."""
    together, apart = network(make, dtype), network(make, dtype)
    ours = results(together, sn.Network.forward, sn.Network.backward, make, dtype, training)
    theirs = results(apart, one_by_one, back_one_by_one, make, dtype, training)
    assert_all_close(ours, theirs, TOLERANCE[dtype])
    assert together.backward(np.ones_like(ours["out"]), need_dx=False) is None or "relu" in make.__name__


@every_network
@both_modes
def test_so_they_do_on_the_readable_engine(make, training):
    ours = results(network(make, np.float64), sn.Network.forward, sn.Network.backward, make, np.float64, training)
    with sn.use_engine("numpy"):
        book = network(make, np.float64)
        theirs = results(book, sn.Network.forward, sn.Network.backward, make, np.float64, training)
    assert_all_close(ours, theirs, 1e-10)


@every_network
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_made_between_forward_and_backward_goes_on_alone(make, duplicate):
    net = network(make, np.float32)
    dout = np.ones_like(net.forward(images(make, np.float32), training=True))
    twin = duplicate(net)
    assert np.array_equal(twin.backward(dout), net.backward(dout))


# ---------------------------------------------------------------- images that leave nothing to normalise


@every_network
@pytest.mark.parametrize("value", [0, 0.3])
def test_a_batch_that_is_constant(make, value):
    """Its variance is 0, and each channel gives the normalisation's own shift."""
    x = np.full((4, 7, 8, channels(make)), value, np.float32)
    together, apart = network(make, np.float32), network(make, np.float32)
    out, expected = together.forward(x, training=True), one_by_one(apart, x, True)
    assert_close(out, expected, 1e-3)
    dx, wanted = together.backward(np.ones_like(out)), back_one_by_one(apart, np.ones_like(out))
    assert np.isfinite(dx).all()
    assert np.isfinite(wanted).all()


@every_network
def test_an_empty_batch(make):
    net = network(make, np.float32)
    before = repr(sn.layers.base.snapshot(net.state()))
    for training in (True, False):
        out = net.forward(images(make, np.float32, N=0), training)
        assert out.shape[0] == 0
        assert net.backward(out).shape == (0, 7, 8, channels(make))
        assert all(not p.grad.any() for p in net.parameters())
    assert repr(sn.layers.base.snapshot(net.state())) == before


@pytest.mark.parametrize("make", [norm_relu_and_pool, norm_relu_and_overlapping_windows, one_channel])
def test_nan_is_not_hidden(make):
    """A pool takes NaN for the largest number; in training, it is in the mean of its whole channel."""
    x = images(make, np.float32)
    x[1, 2, 3] = np.nan
    net = network(make, np.float32)
    assert np.isnan(net.forward(x)[1]).any()
    assert np.isfinite(net.forward(x)[[0, 2, 3, 4]]).all()
    out = net.forward(x, training=True)
    assert np.isnan(out).all()
    assert np.isnan(net.backward(np.ones_like(out))).any()


def test_weights_that_change_between_forward_and_a_look_do_not_show():
    """What the layers hold belongs to the weights of the forward, as training changes these in place."""
    for make in (norm_relu_and_pool, one_channel):
        net, apart = network(make, np.float32), network(make, np.float32)
        x = images(make, np.float32)
        net.forward(x, training=True)
        one_by_one(apart, x, True)
        for p in net.parameters():
            p.value += 1
        for ours, theirs in zip(net.layers, apart.layers, strict=True):
            if hasattr(theirs, "x"):
                assert_close(ours.x, theirs.x, 1e-4, theirs.name)
