"""The network and the three architectures: counts, names, summaries, steps, predictions, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.layers.initial import drawing_at_most
from scratchnet.models import ARCHITECTURES

every_model = pytest.mark.parametrize("name", list(ARCHITECTURES))


@pytest.mark.parametrize(
    ("make", "parameters", "multiply_adds"),
    [
        (sn.models.four_conv_cnn, 1_595_970, 5_419_600),
        (sn.models.standard_cnn, 3_274_634, 13_883_904),
        (sn.models.separable_cnn, 3_225_539, 3_824_400),
        (lambda: sn.models.separable_cnn(dense_units=128), 405_827, 1_005_584),
    ],
)
def test_counts_are_the_published_ones(make, parameters, multiply_adds):
    net = make()
    assert sum(p.value.size for p in net.parameters()) == parameters
    last = net.summary().splitlines()[-1].split()
    assert last == ["total", f"{parameters:,}", f"{multiply_adds:,}"]


def test_layers_are_the_published_ones():
    assert [layer.name for layer in sn.models.four_conv_cnn().layers] == (
        [
            "conv1",
            "relu1",
            "conv2",
            "relu2",
            "pool1",
            "conv3",
            "relu3",
            "conv4",
            "relu4",
            "pool2",
            "flatten1",
            "dense1",
            "relu5",
            "dense2",
        ]
    )
    assert [layer.name for layer in sn.models.standard_cnn().layers] == (
        ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten1", "dense1", "relu3", "dropout1", "dense2"]
    )
    assert [layer.name for layer in sn.models.separable_cnn().layers] == (
        [
            "depthwise1",
            "pointwise1",
            "relu1",
            "pool1",
            "depthwise2",
            "pointwise2",
            "relu2",
            "pool2",
            "flatten1",
            "dense1",
            "relu3",
            "dropout1",
            "dense2",
        ]
    )
    dropout = sn.models.standard_cnn().layers[-2]
    assert dropout.rate == 0.4


def test_parameters_are_named_after_their_layers():
    names = [p.name for p in sn.models.separable_cnn().parameters()]
    assert names == [
        "depthwise1.w", "pointwise1.w", "pointwise1.b", "depthwise2.w", "pointwise2.w", "pointwise2.b",
        "dense1.w", "dense1.b", "dense2.w", "dense2.b",
    ]  # fmt: skip


@every_model
def test_the_seed_decides_the_weights(name):
    one, same, other = (ARCHITECTURES[name].make(seed=seed) for seed in (1, 1, 2))
    for p, q, r in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert np.array_equal(p.value, q.value)
        assert p.name.endswith(".b") or not np.array_equal(p.value, r.value)


@pytest.mark.parametrize(("multiplier", "filters"), [(0.25, (8, 16)), (0.5, (16, 32)), (2, (64, 128)), (0.01, (1, 1))])
def test_the_width_multiplier_scales_the_filters(multiplier, filters, sample):
    net = sn.models.separable_cnn(width_multiplier=multiplier, dense_units=16)
    assert (net.layers[1].filters, net.layers[5].filters) == filters
    assert net.forward(sample[0].images[:2]).shape == (2, 10)


@pytest.mark.parametrize(("multiplier", "side"), [(0.5, 14), (0.75, 21), (1.0, 28), (2.0, 56)])
def test_the_resolution_multiplier_resizes_the_input(multiplier, side, sample):
    net = sn.models.separable_cnn(resolution_multiplier=multiplier, dense_units=16)
    shapes = net.output_shapes()
    assert shapes[0] == (28, 28, 1)
    assert (side, side, 1) in shapes[:2]
    assert net.forward(sample[0].images[:2]).shape == (2, 10)


@pytest.mark.parametrize("options", [{"width_multiplier": 0}, {"resolution_multiplier": -1}])
def test_a_multiplier_must_be_positive(options):
    with pytest.raises(ValueError, match="separable_cnn: expected (width|resolution)_multiplier to be a"):
        sn.models.separable_cnn(**options)


def test_a_resolution_that_leaves_too_little_is_refused():
    with pytest.raises(ValueError, match=r"at least 4 pixels a side, got 0.1, which leaves 3"):
        sn.models.separable_cnn(resolution_multiplier=0.1)


# ---------------------------------------------------------------- step by step


@every_model
def test_steps_leave_exactly_what_forward_and_backward_leave(name, sample):
    x, labels = sample[0].images[:3], sample[0].labels[:3]
    whole, stepped = ARCHITECTURES[name].make(), ARCHITECTURES[name].make()
    loss, dlogits = sn.softmax_cross_entropy(whole.forward(x, training=True), labels)
    dx = whole.backward(dlogits)

    steps = list(stepped.steps(x, labels))
    for p, q in zip(whole.parameters(), stepped.parameters(), strict=True):
        assert np.array_equal(p.grad, q.grad), p.name
    assert np.array_equal(steps[-1].output, dx)
    assert next(s.output for s in steps if s.layer.name == "softmax_cross_entropy") == loss

    names = [layer.name for layer in whole.layers]
    assert [s.layer.name for s in steps if s.direction == "forward"] == [*names, "softmax_cross_entropy"]
    assert [s.layer.name for s in steps if s.direction == "backward"] == ["softmax_cross_entropy", *reversed(names)]


def test_each_step_is_done_when_it_is_asked_for(sample):
    net = sn.models.standard_cnn()
    steps = net.steps(sample[0].images[:2], sample[0].labels[:2])
    made = {}
    for step in steps:
        made |= step.grads
        done = {p.name for p in net.parameters() if p.grad is not None}
        assert done == set(made), f"after {step}"
    assert all(made[p.name] is p.grad for p in net.parameters())
    assert "backward conv1: (2, 28, 28, 32) -> (2, 28, 28, 1), conv1.w (5, 5, 1, 32), conv1.b (32,)" in str(step)


def test_a_steps_input_is_the_last_ones_output(sample):
    steps = list(sn.models.separable_cnn().steps(sample[0].images[:2], sample[0].labels[:2]))
    half = len(steps) // 2
    for before, after in itertools.chain(itertools.pairwise(steps[:half]), itertools.pairwise(steps[half:])):
        assert after.input is before.output


# ---------------------------------------------------------------- prediction


def test_predict_gives_probabilities_in_batches_of_any_size(sample):
    net = sn.models.four_conv_cnn()
    images = sample[0].images[:7]
    at_once = net.predict(images)
    assert at_once.shape == (7, 10)
    assert np.allclose(at_once.sum(axis=1), 1)
    assert np.allclose(net.predict(images, batch_size=3), at_once, atol=1e-6)
    assert net.predict(images[:0]).shape == (0, 10)


def test_predict_needs_a_sensible_batch_size_and_one_row_an_image():
    with pytest.raises(ValueError, match="four_conv_cnn: expected batch_size to be a positive integer, got -1"):
        sn.models.four_conv_cnn().predict(np.zeros((1, 28, 28, 1)), batch_size=-1)
    with pytest.raises(ValueError, match=r"network: expected logits of shape \(N, K\), got \(1, 4, 4, 1\)"):
        sn.Network([sn.ReLU()]).predict(np.zeros((1, 4, 4, 1)))


def test_predict_leaves_dropout_off(sample):
    net = sn.models.standard_cnn()
    assert np.array_equal(net.predict(sample[0].images[:2]), net.predict(sample[0].images[:2]))


def test_bytes_are_refused_with_what_to_do():
    with pytest.raises(
        TypeError, match=r"standard_cnn: expected images of dtype float32 or float64, got uint8; .*/ 255"
    ):
        sn.models.standard_cnn().predict(np.zeros((1, 28, 28, 1), np.uint8))


# ---------------------------------------------------------------- the rest


def test_a_network_computes_in_the_dtype_of_its_input(sample):
    net = sn.models.four_conv_cnn()
    x = sample[0].images[:2]
    in32, in64 = net.forward(x), net.forward(x.astype(np.float64))
    assert in32.dtype == np.float32
    assert in64.dtype == np.float64
    assert np.allclose(in32, in64, atol=1e-5)
    assert net.astype(np.float64) is net
    assert all(p.value.dtype == np.float64 for p in net.parameters())


def test_layers_that_do_not_fit_each_other_are_noticed_when_the_network_is_made():
    with pytest.raises(ValueError, match=r"dense1: expected input of shape \(N, 100\), got \(1, 196\)"):
        sn.Network([sn.MaxPool2D(2), sn.Flatten(), sn.Dense(100, 10)], input_shape=(28, 28, 1))


def test_an_empty_network_and_a_layer_used_twice_are_refused():
    with pytest.raises(ValueError, match="expected at least one layer"):
        sn.Network([])
    with pytest.raises(TypeError, match="expected layers, got a Network"):
        sn.Network([sn.Network([sn.ReLU()])])
    tied = [sn.Dense(3, 3), sn.Dense(3, 3)]
    tied[1].w = tied[0].w
    with pytest.raises(ValueError, match="two layers share a Parameter"):
        sn.Network(tied)
    relu = sn.ReLU()
    with pytest.raises(ValueError, match="the same layer object is in the list twice"):
        sn.Network([relu, relu])


def test_the_input_shape_is_learnt_from_the_first_forward():
    net = sn.Network([sn.Flatten(), sn.Dense(12, 2)])
    with pytest.raises(ValueError, match="the input's shape is not known yet"):
        net.summary()
    net.forward(np.zeros((1, 3, 4, 1), np.float32))
    assert "12 " in net.summary()
    assert "Flatten()" in repr(net)


def test_a_first_forward_that_fails_leaves_no_shape_behind():
    net = sn.Network([sn.Flatten(), sn.Dense(12, 2)])
    with pytest.raises(ValueError, match="dense1: expected input"):
        net.forward(np.zeros((1, 5, 5, 1), np.float32))
    assert net.input_shape is None
    list(net.steps(np.zeros((1, 3, 4, 1), np.float32), np.array([0])))
    assert net.input_shape == (3, 4, 1)


def test_summary_does_not_disturb_a_backward_under_way(sample):
    net = sn.models.four_conv_cnn()
    logits = net.forward(sample[0].images[:2])
    net.summary()
    assert net.backward(np.ones_like(logits)).shape == (2, 28, 28, 1)


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (
            np.zeros((2, 3)),
            np.array([0, 3]),
            ValueError,
            "expected labels from 0 to 2 for 3 classes, got labels from 0 to 3",
        ),
        (np.zeros((2, 3)), np.array([-1, 0]), ValueError, "got labels from -1 to 0"),
        (np.zeros((2, 3)), np.array([0, 1, 2]), ValueError, r"expected labels of shape \(2,\), got \(3,\)"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), TypeError, "expected integer labels, got float64"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, "the batch is empty"),
        (np.zeros(3), np.array([1]), ValueError, r"expected logits of shape \(N, K\)"),
        (np.zeros((1, 3), int), np.array([1]), TypeError, "expected logits of dtype float32 or float64"),
    ],
)
def test_the_loss_refuses_what_it_cannot_judge(logits, labels, error, message):
    with pytest.raises(error, match=message):
        sn.softmax_cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("layer", "image", "products"),
    [
        # out has (OH, OW, F) numbers, and each is a sum of KH * KW * C products
        (sn.Conv2D(3, 5, (3, 2), padding="valid"), (9, 7, 3), 7 * 6 * 5 * 3 * 2 * 3),
        (sn.Conv2D(3, 5, (3, 2), stride=(2, 3), padding=0), (9, 7, 3), 4 * 2 * 5 * 3 * 2 * 3),
        (sn.Conv2D(2, 4, (1, 5), stride=(1, 2)), (4, 11, 2), 4 * 6 * 4 * 1 * 5 * 2),
        (sn.DepthwiseConv2D(3, (3, 2), padding="valid", multiplier=2), (9, 7, 3), 7 * 6 * 6 * 3 * 2),
        (sn.DepthwiseConv2D(3, (4, 1), stride=(2, 3), padding=(0, 1)), (8, 5, 3), 3 * 3 * 3 * 4 * 1),
        (sn.PointwiseConv2D(3, 5), (9, 7, 3), 9 * 7 * 3 * 5),
        (sn.Dense(7, 5), (7,), 7 * 5),
        (sn.MaxPool2D((2, 3)), (9, 7, 3), 0),
    ],
    ids=repr,
)
def test_multiply_adds_of_what_is_not_square(layer, image, products):
    """Height and width, kernel and stride all differ, so that none can be taken for another."""
    assert layer.multiply_adds(image) == products
    net = sn.Network([layer], image)
    assert net.multiply_adds() == products
    assert f"{products:,}" in net.summary().splitlines()[-1]


def test_layers_share_what_a_file_lets_them_draw():
    """Each takes from what is left: two of 90 and of 20 numbers are more than 100."""
    with drawing_at_most(100):
        sn.Dense(9, 9)
        with pytest.raises(ValueError, match=r"weights of shape \(4, 4\) are more than the 10 numbers"):
            sn.Dense(4, 4)


def test_large_logits_have_a_loss_and_slopes():
    """exp(1000) is infinite; of the largest logit only the distances count."""
    logits = np.array([[1000.0, 0.0], [0.0, -1000.0]])
    loss, dlogits = sn.softmax_cross_entropy(logits, np.array([1, 0]))
    assert loss == 500
    assert np.array_equal(dlogits, [[0.5, -0.5], [0, 0]])
