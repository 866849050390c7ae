"""A resumed run is the same run: what decides the bits is compared, and all other arguments have a defined effect."""

from __future__ import annotations

import functools
import inspect
import json
import re
import time
from dataclasses import fields

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from test_checkpoint import change_metadata
from test_state import dropout_net, everything

import scratchnet as sn
from scratchnet.runs.identity import difference, fingerprint
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.run import CHECKPOINT

pytestmark = pytest.mark.usefixtures("engine")

STEPS, STOPPED_AFTER = 12, 7  # of 5 in an epoch: in the middle of the second
SAME = "ends as the run that was begun"
AS_GIVEN = "ends as a run with the new arguments"


def digits(change=None):
    """90 digits, with one of the attributes changed if asked for."""
    train, _ = sn.data.load("sample")
    kept = {"images": train.images[:90], "labels": train.labels[:90], "name": "digits", "info": train.info}
    for name, function in (change or {}).items():
        kept[name] = function(kept[name])
    return sn.Dataset(**kept)


def changed_pixel(images):
    images = images.copy()
    images[-1, -1, -1] += np.float32(1e-3)
    return images


def brighter(factor):
    """An augmentation. The name is the same for every factor."""
    return lambda images, rng: images * np.float32(factor)


def with_rate(rate):
    net = dropout_net()
    return sn.Network([*net.layers[:2], sn.Dropout(rate), net.layers[3]], net.input_shape, net.name)


def arguments(**changes):
    """Arguments of `fit`; functions make those objects that training changes."""
    make_net = changes.pop("net", dropout_net)
    make_optimizer = changes.pop("optimizer", sgd())
    net = make_net()
    if changes.get("average") is not None:
        changes["average"] = sn.WeightAverage(net, changes["average"])
    defaults = {"train": digits(), "test": None, "steps": STEPS, "batch_size": 20, "progress": False}
    return {"net": net, "optimizer": make_optimizer(net), **defaults, **changes}


def sgd(lr=0.05, momentum=0.9, parameters=slice(None), **settings):
    return lambda net: sn.SGD(net.parameters()[parameters], lr, momentum, **settings)


def adam(lr=0.05, **settings):
    return lambda net: sn.Adam(net.parameters(), lr, **settings)


def run(**changes):
    """Everything that a run ends with."""
    given = arguments(**changes)
    sn.fit(**given)
    return everything(given["net"])


# name: (arguments at the start, arguments changed on resuming, outcome). A name begins with that of the argument.
CASES = {
    "net, other first weights and masks": ({}, {"net": lambda: dropout_net(seed=9)}, SAME),
    "net, other dtype": ({}, {"net": lambda: dropout_net().astype(np.float64)}, SAME),
    "net, other layer": (
        {},
        {"net": lambda: with_rate(0.4)},
        r"begun with network\.layers\[2\]\.rate = 0.5, not 0.4\.",
    ),
    "net, fewer layers": (
        {},
        {"net": lambda: sn.Network([sn.Flatten(), sn.Dense(784, 10)], (28, 28, 1), "masks")},
        r"begun with network\.layers\[1\]\.out_features = 12, not 10\.",
    ),
    "net, other name": (
        {},
        {"net": lambda: sn.Network(dropout_net().layers, (28, 28, 1), "other")},
        r"begun with network\.name = 'masks', not 'other'\.",
    ),
    "train, one pixel": (
        {},
        {"train": digits({"images": changed_pixel})},
        r"begun with train_images = 'float32 of shape \(90, 28, 28, 1\), checksum \w{8}', not 'float32 of shape .*'\. "
        "Resume with the images that it was begun with, in that order and dtype, or start a new run in another folder",
    ),
    "train, other order": ({}, {"train": digits()[::-1]}, "begun with train_images = "),
    "train, other images": ({}, {"train": digits({"images": lambda x: 1 - x})}, "begun with train_images = "),
    "train, fewer images": ({}, {"train": digits()[:89]}, r"shape \(90, 28, 28, 1\), .*not .*shape \(89, 28, 28, 1\)"),
    "train, other dtype": (
        {},
        {"train": digits({"images": np.float64})},
        r"begun with train_images = 'float32 of .*', not 'float64 of",
    ),
    "train, other labels": (
        {},
        {"train": digits({"labels": lambda labels: labels[::-1]})},
        r"begun with train_labels = 'int64 of shape \(90,\), checksum \w{8}', not .* Resume with the labels",
    ),
    "train, labels of another dtype": ({}, {"train": digits({"labels": np.int32})}, "begun with train_labels = "),
    "train, in another layout": ({}, {"train": digits({"images": np.asfortranarray})}, SAME),
    "train, other name": ({}, {"train": digits({"name": lambda name: "others"})}, SAME),
    "train, no info": ({}, {"train": digits({"info": lambda info: None})}, SAME),
    "test": ({"test": digits()[:9]}, {"test": digits()[9:20]}, SAME),
    "test, none": ({"test": digits()[:9]}, {"test": None}, SAME),
    "optimizer, another": ({}, {"optimizer": adam()}, r"begun with optimizer\.optimizer = 'SGD', not 'Adam'\."),
    "optimizer, lr": (
        {},
        {"optimizer": sgd(lr=0.06)},
        "step 1 was taken with the learning rate 0.05, but the optimizer or schedule given has 0.06 there; resume",
    ),
    "optimizer, fewer parameters": (
        {},
        {"optimizer": sgd(parameters=slice(2, None))},
        r"begun with optimizer\.parameters\[0\] = 'dense1\.w', not 'dense2\.w'\.",
    ),
    "optimizer, momentum": ({}, {"optimizer": sgd(momentum=0.8)}, r"begun with optimizer\.momentum = 0.9, not 0.8\."),
    "optimizer, nesterov": ({}, {"optimizer": sgd(nesterov=True)}, r"optimizer\.nesterov = False, not True\."),
    "optimizer, weight_decay": (
        {},
        {"optimizer": sgd(weight_decay=1e-3)},
        r"optimizer\.weight_decay = 0.0, not 0.001\.",
    ),
    "optimizer, betas": (
        {"optimizer": adam()},
        {"optimizer": adam(betas=(0.9, 0.99))},
        r"optimizer\.betas\[1\] = 0.999, not 0.99\.",
    ),
    "optimizer, eps": ({"optimizer": adam()}, {"optimizer": adam(eps=1e-3)}, r"optimizer\.eps = 1e-08, not 0.001\."),
    "optimizer, settings of NumPy": (
        {"optimizer": sgd(momentum=np.float32(0.5))},
        {"optimizer": sgd(momentum=np.float64(0.5))},
        SAME,
    ),
    "epochs in place of steps": ({}, {"steps": None, "epochs": 3}, AS_GIVEN),
    "steps, more": ({}, {"steps": 16}, AS_GIVEN),
    "steps, as many as were taken": ({}, {"steps": STOPPED_AFTER}, AS_GIVEN),
    "steps, fewer than were taken": (
        {},
        {"steps": 6},
        "has taken 7 steps already, more than the 6 that epochs=None and steps=6 ask for; resume with more",
    ),
    "batch_size": ({}, {"batch_size": 18}, r"begun with batch_size = 20, not 18\. Resume with what it was begun with,"),
    "seed": ({}, {"seed": 1}, r"begun with seed = 0, not 1\."),
    "schedule, one that was not there": (
        {},
        {"schedule": sn.cosine(0.05, STEPS)},
        "step 2 was taken with the learning",
    ),
    "schedule, no longer there": (
        {"schedule": sn.cosine(0.05, STEPS)},
        {"schedule": None},
        "step 2 was taken with the learning rate 0.04",
    ),
    "schedule, other in a step that was taken": (
        {"schedule": sn.step_decay(0.05, 6)},
        {"schedule": sn.step_decay(0.05, 5)},
        "step 6 was taken with the learning rate 0.05, but .* has 0.005",
    ),
    "schedule, other in the steps to come": (
        {"schedule": sn.step_decay(0.05, 8)},
        {"schedule": sn.step_decay(0.05, 9)},
        AS_GIVEN,
    ),
    "schedule, the same rate": ({}, {"schedule": sn.constant(0.05)}, SAME),
    "augment, one that was not there": ({}, {"augment": brighter(0.9)}, r"begun with augment = None, not '.*lambda"),
    "augment, no longer there": ({"augment": brighter(0.9)}, {"augment": None}, r"augment = '.*lambda.*, not None\."),
    "augment, of the same name": ({"augment": brighter(0.9)}, {"augment": brighter(0.8)}, "begun with augment = "),
    "augment, the same made again": ({"augment": brighter(0.9)}, {"augment": brighter(0.9)}, SAME),
    "augment, a partial function": (
        {"augment": functools.partial(lambda factor, images, rng: images * factor, np.float32(0.9))},
        {"augment": functools.partial(lambda factor, images, rng: images * factor, np.float32(0.9))},
        SAME,
    ),
    "augment, that draws": (
        {"augment": lambda images, rng: images * rng.random(dtype=np.float32)},
        {"augment": lambda images, rng: images * rng.random(dtype=np.float32)},
        SAME,
    ),
    "average, one that was not there": ({}, {"average": 0.9}, r"begun with average = None, not "),
    "average, no longer there": ({"average": 0.9}, {"average": None}, r"begun with average = .*, not None\."),
    "average, of another decay": ({"average": 0.9}, {"average": 0.8}, r"begun with average\.decay = 0.9, not 0.8\."),
    "average, the same made again": ({"average": 0.9}, {"average": 0.9}, SAME),
    "shards, where there were none": ({}, {"shards": 4}, r"begun with shards = None, not 4\. Resume with shards= of"),
    "shards, no longer there": ({"shards": 4}, {"shards": None}, r"begun with shards = 4, not None\."),
    "shards, of another number": ({"shards": 4}, {"shards": 3}, r"begun with shards = 4, not 3\."),
    "shards, the same": ({"shards": 4}, {"shards": 4}, SAME),
    "synchronised, or not": (
        {"shards": 4},
        {"shards": 4, "synchronised": True},
        r"begun with synchronised = False, not True\. Resume with synchronised= as it was begun",
    ),
    "folder": ({}, {"folder": None}, "expected a folder to resume from, got none"),
    "resume": ({}, {"resume": False}, "holds an earlier run; resume it"),
    "checkpoint_every": ({"checkpoint_every": 2}, {"checkpoint_every": 3}, SAME),
    "progress": ({}, {"progress": True}, SAME),
}


@pytest.mark.parametrize(("begun", "changed", "outcome"), list(CASES.values()), ids=list(CASES))
def test_each_setting_is_refused_by_name_or_has_a_defined_effect(begun, changed, outcome, tmp_path):
    sn.fit(**arguments(**begun | {"steps": STOPPED_AFTER, "folder": tmp_path}))
    given = arguments(**begun | {"folder": tmp_path, "resume": True} | changed)
    net, optimizer = given["net"], given["optimizer"]
    if outcome in (SAME, AS_GIVEN):
        sn.fit(**given)
        assert everything(net) == run(**begun | (changed if outcome == AS_GIVEN else {}))
        return
    before = everything(net)
    with pytest.raises((ValueError, FileExistsError), match=outcome):
        sn.fit(**given)
    assert everything(net) == before
    assert (optimizer.steps, optimizer.state) == (0, [{} for _ in optimizer.parameters])


def test_no_setting_is_left_out():
    """Every argument of `fit`, an optimiser or a data set has a case above; this fails if one has not."""
    tried = " ".join(CASES)
    for name in inspect.signature(sn.fit).parameters:
        assert any(case.startswith(name) for case in CASES), name
    for optimizer in (sn.SGD, sn.Adam):
        for name in inspect.signature(optimizer).parameters:
            assert f"optimizer, {name}" in tried.replace("fewer ", ""), name
    for field in fields(sn.Dataset):
        assert re.search(f"train, .*{field.name}", tried), field.name


def test_another_engine_is_refused(engine, tmp_path):
    sn.fit(**arguments(steps=STOPPED_AFTER, folder=tmp_path))
    other = {"numpy": "numba", "numba": "numpy"}[engine]
    given = arguments(folder=tmp_path, resume=True)
    before = everything(given["net"])
    with (
        sn.use_engine(other),
        pytest.raises(
            ValueError,
            match=f"the run was begun with engine = '{engine}', not '{other}'. "
            "Choose the first one with sn.use_engine before you resume, or start a new run in another folder",
        ),
    ):
        sn.fit(**given)
    assert everything(given["net"]) == before
    sn.fit(**given)
    assert everything(given["net"]) == run()


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    sn.fit(**arguments(steps=STOPPED_AFTER, folder=tmp_path))
    with safetensors.safe_open(tmp_path / CHECKPOINT, framework="numpy") as file:
        description = json.loads(file.metadata()["description"])
    del description["arguments"]["engine"]
    change_metadata(tmp_path / CHECKPOINT, description=json.dumps(description))
    with pytest.raises(ValueError, match="was written by an earlier version of scratchnet, which did not record"):
        sn.fit(**arguments(folder=tmp_path, resume=True))


def test_a_metrics_file_that_does_not_belong_changes_nothing(tmp_path):
    sn.fit(**arguments(steps=STOPPED_AFTER, folder=tmp_path))
    (tmp_path / METRICS).unlink()
    given = arguments(folder=tmp_path, resume=True)
    before = everything(given["net"])
    with pytest.raises(ValueError, match=r"metrics\.jsonl: expected the records of 7 steps, got 0"):
        sn.fit(**given)
    assert everything(given["net"]) == before
    assert given["optimizer"].state[0] == {}


def test_a_run_that_goes_on_longer_has_the_history_of_a_long_one(tmp_path):
    """The evaluation at the end of the short run, within an epoch, is not in the history of the long one."""
    sn.fit(**arguments(steps=STOPPED_AFTER, folder=tmp_path))
    resumed = sn.fit(**arguments(folder=tmp_path, resume=True))
    whole = sn.fit(**arguments())
    assert resumed.steps == whole.steps
    assert [e["step"] for e in resumed.epochs] == [e["step"] for e in whole.epochs] == [5, 10, 12]


def test_the_data_is_looked_at_once_and_only_for_a_folder(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("scratchnet.runs.run.fingerprint", lambda array: seen.append(array.shape) or "x")
    sn.fit(**arguments())
    assert seen == []
    sn.fit(**arguments(folder=tmp_path, checkpoint_every=1))
    assert seen == [(90, 28, 28, 1), (90,)]


# ---------------------------------------------------------------- fingerprints and differences


ARRAY = np.random.default_rng(0).random((9000, 3, 4), dtype=np.float32)  # more than two parts of the checksum


def with_gaps(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("stored", [np.copy, np.asfortranarray, with_gaps, read_only, lambda a: a[::-1].copy()[::-1]])
def test_a_fingerprint_does_not_depend_on_how_an_array_is_stored(stored):
    assert fingerprint(stored(ARRAY)) == fingerprint(ARRAY)


def swapped(array, i, j):
    array = array.copy()
    array[[i, j]] = array[[j, i]]
    return array


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(np.float64),
        lambda a: a.view(np.int32),
        lambda a: a.astype(">f4"),
        lambda a: a.reshape(9000, 4, 3),
        lambda a: a[:-1],
        lambda a: a[1:],
        lambda a: a[::-1],
        lambda a: np.concatenate([a, a[:1]]),
        *(lambda a, i=i: swapped(a, i, (i + 1) % 9000) for i in (0, 4095, 4096, 8191, 8999)),
        *(lambda a, i=i: swapped(a, i, (i + 4096) % 9000) for i in (0, 4095, 8999)),
    ],
)
def test_a_fingerprint_changes_with_the_content(change):
    assert fingerprint(change(ARRAY)) != fingerprint(ARRAY)


def test_one_number_anywhere_changes_a_fingerprint(rng):
    before = fingerprint(ARRAY)
    for position in rng.integers(0, ARRAY.size, 20):
        array = ARRAY.copy()
        array.flat[position] = np.nextafter(array.flat[position], np.float32(2))
        assert fingerprint(array) != before, position


def test_a_fingerprint_of_nothing_and_of_lists():
    assert fingerprint(np.zeros((0, 3))) == "float64 of shape (0, 3), checksum 00000000"
    assert fingerprint([1, 2]) == fingerprint(np.array([1, 2]))


def test_a_fingerprint_of_as_many_digits_as_mnist_has_is_fast():
    images = np.zeros((60_000, 28, 28, 1), np.float32)
    fingerprint(images[:100])
    started = time.process_time()
    fingerprint(images)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    ("begun", "given", "expected"),
    [
        (1, 1, None),
        ({"a": 1, "b": [1, {"c": 2}]}, {"b": [1, {"c": 2}], "a": 1}, None),
        ({"a": 1}, {"a": 2}, "a = 1, not 2"),
        ({"a": {"b": [0, {"c": "x"}]}}, {"a": {"b": [0, {"c": "y"}]}}, "a.b[1].c = 'x', not 'y'"),
        ({"a": [1]}, {"a": [1, 2]}, "a[1] = None, not 2"),
        ({"a": [1, 2]}, {"a": [1]}, "a[1] = 2, not None"),
        ({"a": 1, "b": 2}, {"a": 1}, "b = 2, not None"),
        ({"a": 1}, {"a": 1, "b": 2}, "b = None, not 2"),
        ({"a": 1}, {"a": {"b": 1, "c": 2}}, "a = 1, not settings of b, c"),
        ({"a": {"name": "x", "b": 1}}, {"a": "y"}, "a = 'x', not 'y'"),
        ({"a": {"name": "x", "b": 1}}, {}, "a = 'x', not None"),
        ({"a": [1, 2]}, {"a": 1}, "a = a list of 2, not 1"),
        ({"seed": 0, "a": 1}, {"networks": {"b": 1}, "a": 2}, "a = 1, not 2"),
        ({"a": 0, "b": 0}, {"a": 1, "b": 1}, "a = 0, not 1"),
    ],
)
def test_the_first_difference_is_named(begun, given, expected):
    assert difference(begun, given) == expected
    assert difference(begun, given, "run") == (expected and f"run.{expected}")
