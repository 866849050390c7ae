"""Every setting, given odd values: an error that names it, or a plain value that a checkpoint can hold."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.runs.checkpoint import load_checkpoint, save_checkpoint

ODD = [
    np.float32(0.5), np.float64(0.25), np.float16(0.5), np.int64(2), np.uint8(3), np.int32(0), np.bool_(True),
    np.array(0.5), True, False, "1", "", "same", np.str_("valid"), b"1", None, float("nan"), float("inf"), -1, -0.5,
    0, 1, 2, 0.5, 2.5, [], [1], [2, 2], (2, 3), (np.int64(2), np.int32(2)), (2, True), (0.9,), (0.9, np.float32(0.5)),
    (0.9, "0.5"), {}, {1: 2}, np.array([2, 2]), np.array([0.5, 0.5]), np.zeros((2, 2)), 1j, object(), int, len,
]  # fmt: skip


START = {"step": 0, "order": np.random.default_rng(0).bit_generator.state}  # a position


def network():
    return sn.Network([sn.Flatten(), sn.Dense(12, 3)], (3, 4, 1))


def digits():
    rng = np.random.default_rng(0)
    return sn.Dataset(rng.random((8, 3, 4, 1), dtype=np.float32), rng.integers(0, 3, 8), "drawn")


def fitted(path, net=None, train=None, optimizer=None, **settings):
    """A run of two steps that is resumed from its checkpoint."""
    whole = network() if net is None else net
    optimizer = (
        sn.SGD(network().parameters() if net is not None else whole.parameters()) if optimizer is None else optimizer
    )
    train = digits() if train is None else train
    settings = {"batch_size": 4, "progress": False, "folder": path / "run"} | settings
    if "epochs" not in settings:
        settings.setdefault("steps", 2)
    sn.fit(whole, train, optimizer=optimizer, **settings)
    return sn.fit(whole, train, optimizer=optimizer, resume=True, **settings)


def layer_saved(layer, path):
    sn.save(sn.Network([layer]), path / "model")
    again = sn.load(path / "model")
    assert repr(again.layers[0]) == repr(layer)
    assert json.dumps(layer.config()), "plain values only"


def optimizer_saved(optimizer, path):
    net = network()
    made = type(optimizer)(net.parameters(), lr=optimizer.lr)
    vars(made).update({k: v for k, v in vars(optimizer).items() if k not in ("parameters", "state")})
    save_checkpoint(path / "checkpoint", net, made, {}, START)
    load_checkpoint(path / "checkpoint", net, made, {}).restore(net, made)
    assert json.dumps(made.settings())


def plain_rates(schedule, path):
    assert all(type(schedule(step)) is float for step in range(3))


def network_saved(net, path):
    sn.save(net, path / "model")
    assert json.dumps([net.input_shape, net.name])


def parameters():
    return network().parameters()


RIGHT = {"images": np.zeros((2, 3, 4, 1)), "labels": np.zeros(2, int), "name": "x"}

# what makes it, right arguments, and what a success has to go through
MAKERS = {
    "Conv2D": (sn.Conv2D, {"in_channels": 2, "filters": 3, "kernel_size": 3}, layer_saved),
    "DepthwiseConv2D": (sn.DepthwiseConv2D, {"channels": 2, "kernel_size": 3}, layer_saved),
    "PointwiseConv2D": (sn.PointwiseConv2D, {"in_channels": 2, "filters": 3}, layer_saved),
    "Dense": (sn.Dense, {"in_features": 4, "out_features": 3}, layer_saved),
    "Dropout": (sn.Dropout, {"rate": 0.5}, layer_saved),
    "MaxPool2D": (sn.MaxPool2D, {"pool_size": 2}, layer_saved),
    "AvgPool2D": (sn.AvgPool2D, {"pool_size": 2}, layer_saved),
    "Resize": (sn.Resize, {"size": 5}, layer_saved),
    "BatchNorm": (sn.BatchNorm, {"channels": 3}, layer_saved),
    "SGD": (sn.SGD, {"parameters": parameters, "momentum": 0.5}, optimizer_saved),
    "Adam": (sn.Adam, {"parameters": parameters}, optimizer_saved),
    "constant": (sn.constant, {"lr": 0.1}, plain_rates),
    "step_decay": (sn.step_decay, {"lr": 0.1, "every": 2}, plain_rates),
    "cosine": (sn.cosine, {"lr": 0.1, "steps": 5}, plain_rates),
    "one_cycle": (sn.one_cycle, {"max_lr": 0.1, "steps": 5}, plain_rates),
    "RandomAffine": (sn.data.RandomAffine, {}, lambda made, path: json.dumps(vars(made))),
    "Network": (sn.Network, {"layers": lambda: [sn.Flatten(), sn.Dense(12, 3)]}, network_saved),
    "Dataset": (sn.Dataset, RIGHT, lambda *_: None),
    "separable_cnn": (sn.models.separable_cnn, {"dense_units": 2}, network_saved),
    "standard_cnn": (sn.models.standard_cnn, {"dense_units": 2}, network_saved),
}  # fmt: skip
NOT_SETTINGS = {("Dataset", "info")}


def test_every_constructor_is_here():
    layers = {n for n in sn.__all__ if isinstance(getattr(sn, n), type) and issubclass(getattr(sn, n), sn.Layer)}
    no_settings = {"Layer", "ReLU", "Flatten"}
    assert layers - no_settings <= MAKERS.keys()
    assert {
        n for n, made in vars(sn.optim).items() if n in sn.__all__ and made.__module__ == "scratchnet.optim"
    } <= MAKERS.keys()


def says_which(error, what, odd):
    named = {"parameters": "parameter", "layers": "layer", "input_shape": "input"}.get(what, what)
    assert named in str(error), f"{what}={odd!r}: {error}"
    assert "\n" not in str(error)


def made(make, arguments):
    return make(**{name: value() if name in ("parameters", "layers") and callable(value) else value
                   for name, value in arguments.items()})  # fmt: skip


@pytest.mark.parametrize("name", list(MAKERS))
def test_an_odd_setting_is_refused_by_name_or_survives_a_checkpoint(name, tmp_path):
    make, right, check = MAKERS[name]
    for what in inspect.signature(make).parameters:
        if (name, what) in NOT_SETTINGS:
            continue
        for odd in ODD:
            if what in ("parameters", "layers") and callable(odd):
                continue
            try:
                result = made(make, right | {what: odd})
            except (TypeError, ValueError) as error:
                says_which(error, what, odd)
            else:
                check(result, tmp_path)


@pytest.mark.parametrize("what", ["net", "train", "test", "optimizer", "epochs", "steps", "batch_size", "seed",
                                  "schedule", "augment", "checkpoint_every"])  # fmt: skip
def test_an_odd_argument_of_fit_is_refused_by_name_or_survives_a_checkpoint(what, tmp_path):
    for i, odd in enumerate(ODD):
        if callable(odd):
            continue  # a function that cannot be called so tells that itself
        path = tmp_path / str(i)
        path.mkdir()
        with sn.use_engine("numpy"):
            try:
                fitted(path, **{what: odd})
            except (TypeError, ValueError) as error:
                says_which(error, what, odd)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_numpys_numbers_train_and_are_resumed(kind, tmp_path):
    net = network()
    optimizer = sn.Adam(net.parameters(), lr=kind(0.01), betas=(kind(0.5), kind(0.75)), eps=kind(0.001))
    optimizer.lr = kind(0.5)
    with sn.use_engine("numpy"):
        history = fitted(
            tmp_path, net, optimizer=optimizer, schedule=lambda step: kind(0.25), seed=np.int64(3), steps=np.int32(2)
        )
    assert [record["lr"] for record in history.steps] == [0.25, 0.25]
    assert type(optimizer.lr) is float


@pytest.mark.parametrize("lr", ["1", None, float("nan"), -1, True])
def test_a_learning_rate_is_checked_whenever_it_is_set(lr):
    optimizer = sn.SGD(network().parameters())
    with pytest.raises(ValueError, match="SGD: expected lr to be a finite number of at least 0, got"):
        optimizer.lr = lr
    assert optimizer.lr == 0.01


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": [[0.0]]}, TypeError, "x: expected images to be a NumPy array, got list"),
        ({"images": np.zeros((2, 3, 4, 1), np.uint8)}, TypeError, "x: expected images of dtype float32"),
        ({"images": np.zeros(2)}, ValueError, r"x: expected images of shape \(N, H, \.\.\.\), got \(2,\)"),
        ({"labels": "01"}, TypeError, "x: expected labels to be a NumPy array, got str"),
        ({"labels": [0, 1, 2]}, ValueError, "x: expected a label for each image, got 2 images and 3 labels"),
        ({"labels": [0, 1.5]}, TypeError, "x: expected integer labels, got float64"),
        ({"labels": ["cat", "dog"]}, TypeError, "x: expected integer labels, got <U3"),
        ({"labels": np.zeros(2)}, TypeError, "x: expected integer labels, got float64"),
        ({"labels": np.array([True, False])}, TypeError, "x: expected integer labels, got bool"),
        ({"labels": np.zeros((2, 1), int)}, ValueError, r"x: expected labels of shape \(N,\), got \(2, 1\)"),
        ({"labels": np.array([0, -1])}, ValueError, "x: expected labels of at least 0, got labels from -1 to 0"),
        ({"labels": np.array([0, 10]), "info": sn.data.DATASETS["mnist"]}, ValueError, "x: expected labels from 0 to"),
        ({"name": 5}, ValueError, "Dataset: expected name to be a string, got 5"),
    ],
)  # fmt: skip
def test_a_dataset_says_what_is_wrong_with_it(change, error, message):
    with pytest.raises(error, match=message):
        sn.Dataset(**(RIGHT | change))


def test_a_dataset_is_a_sequence_of_pairs():
    data = digits()
    image, label = data[3]
    assert np.array_equal(image, data.images[3])
    assert type(label) is int
    assert label == data.labels[3]
    assert data[-1][1] == data[np.int64(7)][1] == data.labels[7]
    pairs = list(data)
    assert len(pairs) == len(data)
    assert all(np.array_equal(x, y) for (x, _), y in zip(pairs, data.images, strict=True))
    assert [label for _, label in pairs] == data.labels.tolist()
    assert len(data[2:4]) == len(data[[0, 1]]) == len(data[np.arange(8) < 2]) == 2
    with pytest.raises(IndexError):
        data[8]
    for odd in (True, 1.5, "a", (0, 1), None):
        with pytest.raises(TypeError, match="drawn: expected an index, a slice or an array of indices, got"):
            data[odd]


@pytest.mark.parametrize("make", [lambda: sn.ReLU(), lambda: sn.Conv2D(1, 2, 3), lambda: sn.MaxPool2D(2)])
@pytest.mark.usefixtures("engine")
def test_a_declared_shape_binds_and_a_remembered_one_does_not(make):
    free, bound = sn.Network([make()]), sn.Network([make()], (28, 28, 1))
    bound.forward(np.zeros((1, 28, 28, 1), np.float32))
    for shape in [(1, 28, 28, 1), (2, 29, 29, 1), (1, 27, 28, 1)]:
        assert len(free.forward(np.zeros(shape, np.float32))) == shape[0]
    assert free.input_shape == (28, 28, 1)
    for shape in [(1, 29, 29, 1), (28, 28, 1), (1, 1, 28, 28), (0, 28, 29, 1)]:
        x = np.zeros(shape, np.float32)
        for call in (bound.forward, bound.predict, lambda x: next(bound.steps(x, np.zeros(len(x), int)))):
            with pytest.raises(ValueError, match=r"network: expected input of shape \(N, 28, 28, 1\), got \("):
                call(x)
