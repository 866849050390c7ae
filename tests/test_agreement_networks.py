"""The engines agree on whole networks: on layers that go together, on empty batches and on what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from cases import assert_close
from drawn import laid_out, numbers, one_or_two, padding
from test_agreement import DRAWS, ENGINES, assert_sums, contents, gradients, on

import scratchnet as sn
from scratchnet.models import ARCHITECTURES

each_model = pytest.mark.parametrize("name", list(ARCHITECTURES))


# ---------------------------------------------------------------- layers that go together


def draw(number, special):
    """A network whose last two or three layers may go together, an input, and the gradient of the output.

    All finite numbers are whole, so that every engine gets the same sums.
    """
    rng = np.random.default_rng([number, special])
    C, dtype = int(rng.choice([1, 3])), rng.choice([np.float32, np.float64])
    F = int(rng.choice([1, 3, 16, 21]))
    first = sn.PointwiseConv2D(C, F) if rng.random() < 0.6 else sn.Conv2D(C, F, 3)
    stride, pads = (None, 0) if rng.random() < 0.5 else (one_or_two(rng, 3), padding(rng))
    net = sn.Network([first, sn.ReLU(), sn.MaxPool2D(one_or_two(rng, 3), stride, pads)])
    in_x, in_dout, in_weights = rng.random(3) < 0.6 if special else (False,) * 3
    for p in first.parameters():
        p.value = np.round(numbers(rng, p.value.shape, dtype, in_weights))
    H, W = map(int, rng.integers(1, 9, 2))
    x = laid_out(rng, np.round(numbers(rng, (int(rng.choice([0, 1, 3, 17])), H, W, C), dtype, in_x)))
    try:
        shape = (len(x), *net.output_shapes(x.shape[1:])[-1])
    except ValueError:
        shape = x.shape
    return net, x, laid_out(rng, np.round(numbers(rng, shape, dtype, in_dout)))


def one_by_one(engine, net, x, dout):
    """The results of a network's layers, each by itself; and the gradient of the first layer's output."""
    with sn.use_engine(engine), np.errstate(all="ignore"):
        try:
            for layer in net.layers:
                x = layer.forward(x)
            for layer in reversed(net.layers[1:]):
                dout = layer.backward(dout)
            dx = net.layers[0].backward(dout)
        except ValueError as error:
            return {"error": f"ValueError: {error}"}, None
    return {"out": x, "dx": dx} | gradients(net), dout


@pytest.mark.parametrize("special", [False, True], ids=["finite", "not finite"])
def test_layers_that_go_together(special):
    """They have the bits of the layers one by one; and those of the book, unless numbers are not finite."""
    for number in range(DRAWS // 4):
        net, x, dout = draw(number, special)
        before = contents(x, dout)
        together = on("numba", net, x, dout)
        apart, of_first = one_by_one("numba", draw(number, special)[0], x, dout)
        assert contents(x, dout) == before
        try:
            if "error" in apart or not special:
                assert_equal(together, apart)
                assert_equal(on("numpy", draw(number, special)[0], x, dout), apart)
            else:
                np.testing.assert_array_equal(together["out"], apart["out"])
                first = {engine: of_the_first(found) for engine, found in (("numpy", apart), ("numba", together))}
                assert_sums(first, net.layers[0], x, of_first)
        except AssertionError as error:
            raise AssertionError(f"draw({number}, {special}): {error}") from error


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def of_the_first(found):
    """What the first layer's backward gave."""
    return {name: found[name] for name in found if name != "out"}


# ---------------------------------------------------------------- no examples, and examples that are not finite


@each_model
@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_batch_trains_nothing(name, engine):
    with sn.use_engine(engine):
        net = ARCHITECTURES[name].make(seed=0)
        before = contents(*(p.value for p in net.parameters()))
        x = np.zeros((0, 28, 28, 1), np.float32)
        logits = net.forward(x, training=True)
        assert (logits.shape, net.predict(x).shape) == ((0, 10), (0, 10))
        with pytest.raises(ValueError, match="softmax_cross_entropy: the batch is empty, and the mean of no losses"):
            sn.softmax_cross_entropy(logits, np.zeros(0, np.int64))
        assert net.backward(logits).shape == x.shape
        for optimizer in (sn.SGD(net.parameters()), sn.SGD(net.parameters(), momentum=0.9), sn.Adam(net.parameters())):
            optimizer.step()
        assert contents(*(p.value for p in net.parameters())) == before


@each_model
def test_one_image_that_is_not_finite(name, sample):
    """Its logits are NaN on every engine. Those of all other images are what they would be without it."""
    x = sample[0].images[:20].copy()
    x[7, 14, 14] = np.nan
    found = {}
    for engine in ENGINES:
        with sn.use_engine(engine), np.errstate(invalid="ignore"):
            found[engine] = ARCHITECTURES[name].make(seed=0).forward(x)
        assert np.isnan(found[engine][7]).all()
    others = np.arange(20) != 7
    assert_close(found["numba"][others], found["numpy"][others], 1e-4)


@each_model
def test_training_stops_in_the_same_words(name, sample):
    data = sn.Dataset(sample[0].images[:8].copy(), sample[0].labels[:8], "eight digits")
    data.images[3, 14, 14] = np.nan
    said = []
    for engine in ENGINES:
        with sn.use_engine(engine), np.errstate(invalid="ignore"), pytest.raises(sn.TrainingDiverged) as error:
            net = ARCHITECTURES[name].make(seed=0)
            sn.fit(net, data, optimizer=sn.SGD(net.parameters(), 0.1), steps=1, batch_size=8, progress=False)
        said.append(str(error.value))
    assert said[0] == said[1]
