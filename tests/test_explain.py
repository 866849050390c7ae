"""`sn.explain` and `scratchnet explain`: the table says what runs, and the network is not changed."""

from __future__ import annotations

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.layers.base import snapshot


def small():
    rng = np.random.default_rng(0)
    layers = [sn.DepthwiseConv2D(1, 3, rng=rng), sn.PointwiseConv2D(1, 4, rng=rng), sn.ReLU(), sn.MaxPool2D(2)]
    layers += [sn.Conv2D(4, 4, 3, rng=rng), sn.Flatten(), sn.Dropout(0.3), sn.Dense(196 * 4, 10, rng=rng)]
    return sn.Network(layers, (28, 28, 1), "small")


def test_every_pass_of_every_layer_is_in_the_table():
    with sn.use_engine("numba"):
        text = sn.explain(small(), 3)
    assert text.startswith("small, a training step of 3 digits, registers of ")
    rows = [line.split()[:3] for line in text.splitlines()[3:-1]]
    of_products = [row[:2] for row in rows if row[1] not in ("forward", "backward")]
    assert of_products[:4] == [
        ["depthwise1", "out"],
        ["pointwise1+relu1+pool1", "out"],
        ["conv1", "out"],
        ["dense1", "out"],
    ]
    assert of_products[4:] == [
        ["dense1", "dw"],
        ["dense1", "dx"],
        ["conv1", "dw"],
        ["conv1", "dx"],
        ["pointwise1+relu1+pool1", "dw"],
        ["pointwise1+relu1+pool1", "dx"],
        ["depthwise1", "dw"],
    ]
    assert [row[0] for row in rows if row[1] == "forward"] == ["flatten1", "dropout1"]


def test_the_definitions_multiply_adds_are_the_summarys():
    net = small()
    with sn.use_engine("numba"):
        lines = sn.explain(net, 2).splitlines()
    made = {
        line.split()[0]: int(line.split(" of ")[1].split()[0].replace(",", "")) for line in lines if " out " in line
    }
    shapes = net.output_shapes()
    for layer, shape in zip(net.layers, shapes, strict=False):
        if layer.multiply_adds(shape) and layer.kind != "pointwise":
            assert made[layer.name] == 2 * layer.multiply_adds(shape), layer.name


def test_the_network_is_as_it_was():
    net = small()
    before = snapshot(net.state())
    with sn.use_engine("numba"):
        sn.explain(net, 2)
    assert all(p.grad is None for p in net.parameters())
    assert repr(snapshot(net.state())) == repr(before) != "{}"


def test_the_readable_engine_has_nothing_to_choose(capsys):
    assert main(["explain", "four_conv_cnn", "--engine", "numpy"]) == 1
    assert "explain: expected a compiled engine, got numpy" in capsys.readouterr().err


def test_other_images_than_digits(capsys):
    net = sn.Network([sn.Conv2D(3, 4, 3), sn.Flatten(), sn.Dense(8 * 6 * 4, 5)], (8, 6, 3), "coloured")
    with sn.use_engine("numba"):
        assert "a training step of 4 random images" in sn.explain(net, 4)
        with pytest.raises(ValueError, match="explain: expected batch_size to be a positive integer, got 0"):
            sn.explain(net, 0)
