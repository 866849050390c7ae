"""Batch normalisation: PyTorch's, in both modes and both dtypes; its state; and what a single number or none gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import assert_close
from torch import nn

import scratchnet as sn
from scratchnet.engine import ops
from scratchnet.layers.base import snapshot

pytestmark = pytest.mark.usefixtures("engine")

SHAPES = [(8, 5, 4, 3), (7, 6), (2, 9, 1, 17), (40, 3, 3, 32), (5, 1)]
TOLERANCE = {np.float64: 1e-12, np.float32: 3e-6}


def images(x):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def channels_last(t):
    return np.moveaxis(t.detach().numpy(), 1, -1)


def pair_of(C, dtype, rng, **options):
    """Our layer and PyTorch's module with the same weights and state."""
    ours = sn.BatchNorm(C, **options)
    theirs = nn.BatchNorm1d(C, **options).to(torch.float64)
    for p in ours.parameters():
        p.value = rng.standard_normal(C).astype(dtype)
    ours.running_mean = rng.standard_normal(C).astype(dtype)
    ours.running_var = rng.random(C).astype(dtype) + dtype(0.1)
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = (torch.from_numpy(p.value.astype(np.float64)) for p in ours.parameters())
        theirs.running_mean[:] = torch.from_numpy(ours.running_mean.astype(np.float64))
        theirs.running_var[:] = torch.from_numpy(ours.running_var.astype(np.float64))
    return ours, theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_pytorchs(shape, training, dtype, rng):
    """Outputs, gradients and running statistics, over three steps; numbers far from 0, too."""
    options = {"momentum": 0.3, "eps": 1e-3}
    ours, theirs = pair_of(shape[-1], dtype, rng, **options)
    theirs.train(training)
    for step in range(3):
        x = (rng.standard_normal(shape) * rng.uniform(0.1, 3, shape[-1]) + 5 * step).astype(dtype)
        dout = rng.standard_normal(shape).astype(dtype)
        flat = torch.from_numpy(x.astype(np.float64).reshape(-1, shape[-1])).requires_grad_()
        tout = theirs(flat)
        theirs.zero_grad()
        tout.backward(torch.from_numpy(dout.astype(np.float64).reshape(tout.shape)))
        out = ours.forward(x, training)
        dx = ours.backward(dout)
        results = {
            "out": (out, tout), "dx": (dx, flat.grad), "dw": (ours.w.grad, theirs.weight.grad),
            "db": (ours.b.grad, theirs.bias.grad), "running_mean": (ours.running_mean, theirs.running_mean),
            "running_var": (ours.running_var, theirs.running_var),
        }  # fmt: skip
        for name, (mine, other) in results.items():
            assert mine.dtype == dtype, name
            other = other.detach().numpy().reshape(mine.shape)
            assert_close(mine, other, TOLERANCE[dtype] * (1 + 5 * step), f"{name} in step {step}")


def test_gradcheck_in_both_modes(rng):
    layer = sn.BatchNorm(3)
    x = rng.standard_normal((4, 3, 2, 3)) + 2
    layer.forward(x, training=True)
    before = snapshot(layer.state())
    for training in (True, False):
        report = sn.gradcheck(layer, x, training=training)
        assert report, str(report)
    assert repr(snapshot(layer.state())) == repr(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_single_number_gives_b_and_none_gives_none(dtype, rng):
    layer = sn.BatchNorm(4)
    layer.b.value = rng.standard_normal(4)
    x = rng.standard_normal((1, 4)).astype(dtype)
    assert_close(layer.forward(x, training=True), layer.b.value[None], 1e-6, "out")
    assert not layer.backward(np.ones_like(x)).any()
    assert_close(layer.running_mean, 0.1 * x[0], 1e-6, "running mean")
    assert_close(layer.running_var, np.full(4, 0.9), 1e-6, "running variance: that of a single number is 0")

    before = snapshot(layer.state())
    for shape in ((0, 4), (0, 3, 3, 4), (2, 0, 3, 4)):
        empty = np.zeros(shape, dtype)
        for training in (True, False):
            assert layer.forward(empty, training).shape == shape
            assert layer.backward(empty).shape == shape
            assert not layer.w.grad.any()
    assert repr(snapshot(layer.state())) == repr(before)


def test_the_variance_of_numbers_far_from_zero_keeps_its_digits(rng):
    """Also if the first number of all is far from the others."""
    x = rng.standard_normal((5000, 2)) + 1e6
    x[0] = 1e8
    mean, var = ops.batch_norm_statistics(x)
    assert_close(mean, x.mean(axis=0), 1e-12, "mean")
    assert_close(var, x.var(axis=0), 1e-9, "var")
    constant = np.full((70, 3), 0.1, np.float32)
    assert not ops.batch_norm_statistics(constant)[1].any()


def test_a_network_with_it_is_saved_resumed_and_converted_to_float64(sample, tmp_path):
    def net(seed):
        layers = [sn.Conv2D(1, 4, 3, stride=2, bias=False, rng=seed), sn.BatchNorm(4), sn.ReLU(), sn.Flatten()]
        return sn.Network([*layers, sn.Dense(784, 10, rng=seed)], (28, 28, 1))

    def fit(net, steps, **options):
        sn.fit(
            net, sample[0][:200], optimizer=sn.SGD(net.parameters(), 0.05, 0.9), steps=steps, batch_size=50,
            progress=False, **options,
        )  # fmt: skip
        return net

    whole = fit(net(1), 6)
    fit(net(1), 3, folder=tmp_path)
    resumed = fit(net(2), 6, folder=tmp_path, resume=True)
    x = sample[1].images[:20]
    assert np.array_equal(whole.forward(x), resumed.forward(x))
    sn.save(whole, tmp_path / "net.safetensors")
    assert np.array_equal(sn.load(tmp_path / "net.safetensors").forward(x), whole.forward(x))
    expected = whole.forward(x)
    assert_close(whole.astype(np.float64).forward(x.astype(np.float64)), expected, 1e-5, "in float64")
    assert whole.layers[1].running_var.dtype == np.float64


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 3, 1), (3,)])
def test_another_number_of_channels_is_refused(shape):
    with pytest.raises(ValueError, match="batch_norm: expected 3 channels on the last axis"):
        sn.BatchNorm(3).forward(np.zeros(shape))


def test_it_learns_faster_with_large_steps(sample):
    """The use of it: a rate at which the plain network does not learn."""

    def loss_after(normalised):
        layers = [
            sn.Flatten(),
            sn.Dense(784, 60, bias=False),
            *[sn.BatchNorm(60)] * normalised,
            sn.ReLU(),
            sn.Dense(60, 10),
        ]
        net = sn.Network(layers, (28, 28, 1))
        history = sn.fit(
            net, sample[0][:1000], optimizer=sn.SGD(net.parameters(), 3.0), epochs=2, batch_size=50, progress=False
        )
        return np.mean([step["loss"] for step in history.steps[-10:]])

    assert loss_after(True) < 1 < loss_after(False)


# ---------------------------------------------------------------- in a network, and out of it again


def with_statistics(net, x, rng):
    """The network after a forward of training, with random weights of its normalisations."""
    for layer in net.layers:
        if isinstance(layer, sn.BatchNorm):
            layer.w.value, layer.b.value = rng.uniform(0.5, 2, (2, layer.channels)).astype(np.float32)
    for _ in range(20):
        net.forward(x, training=True)
    return net


def test_the_block_of_mobilenet(sample, rng):
    net = sn.models.separable_cnn(batch_norm=True, dense_units=32)
    kinds = [type(layer).__name__ for layer in net.layers[:6]]
    assert kinds == ["DepthwiseConv2D", "BatchNorm", "ReLU", "PointwiseConv2D", "BatchNorm", "ReLU"]
    assert net.layers[3].b is None
    plain = sn.models.separable_cnn(dense_units=32)
    assert np.array_equal(plain.layers[0].w.value, net.layers[0].w.value)
    assert sn.gradcheck(net.astype(np.float64), sample[0].images[:3].astype(np.float64), training=True, max_entries=5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folded_it_computes_the_same(dtype, sample, rng):
    x = sample[0].images[:40]
    nets = {
        "mobilenet": sn.models.separable_cnn(batch_norm=True, dense_units=32),
        "others": sn.Network(
            [
                sn.Conv2D(1, 4, 3, stride=2, padding=1), sn.BatchNorm(4), sn.DepthwiseConv2D(4, 3, multiplier=3),
                sn.BatchNorm(12, eps=0.1), sn.ReLU(), sn.BatchNorm(12), sn.Flatten(), sn.Dense(14 * 14 * 12, 6),
                sn.BatchNorm(6),
            ],
            (28, 28, 1),
        ),
    }  # fmt: skip
    for name, net in nets.items():
        with_statistics(net, x, rng).astype(dtype)
        given = x.astype(dtype)
        before = [p.value.copy() for p in net.parameters()]
        folded = sn.fold_batch_norm(net)
        kept = [layer for layer in folded.layers if isinstance(layer, sn.BatchNorm)]
        assert len(kept) == {"mobilenet": 0, "others": 1}[name], "one stands behind a ReLU"
        expected = net.forward(given)
        assert_close(folded.forward(given), expected, 1e-5 if dtype == np.float32 else 1e-12, name)
        assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))
        assert all(p.value.dtype == dtype for p in folded.parameters())


def test_a_network_without_it_is_copied(sample):
    net = sn.models.four_conv_cnn()
    folded = sn.fold_batch_norm(net)
    assert np.array_equal(folded.forward(sample[0].images[:2]), net.forward(sample[0].images[:2]))
    assert not np.shares_memory(folded.layers[0].w.value, net.layers[0].w.value)
    with pytest.raises(TypeError, match="fold_batch_norm: expected net"):
        sn.fold_batch_norm([])
