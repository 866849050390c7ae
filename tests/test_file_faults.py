"""Files from elsewhere: what they claim is checked before it is believed, and nothing is half loaded."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import tracemalloc
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from PIL import Image, ImageDraw
from test_checkpoint import change_metadata

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.engine import current_engine
from scratchnet.layers.base import snapshot
from scratchnet.reading import FileFault
from scratchnet.runs.checkpoint import load_checkpoint, save_checkpoint
from scratchnet.runs.options import (
    TRAIN_DEFAULTS,
    check_same_settings,
    new_settings,
    resumed_settings,
    write_settings,
)
from scratchnet.runs.recipes import SAMPLE


def small(seed=0):
    rng = np.random.default_rng(seed)
    layers = [sn.Flatten(), sn.Dense(6, 5, rng=rng), sn.Dropout(0.5, rng=rng), sn.Dense(5, 3, rng=rng)]
    return sn.Network(layers, input_shape=(2, 3, 1), name="small")


def description_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["description"])


def put(value, path, description):
    """Set a part of a description, named by the keys that lead to it; `...` removes it."""
    *keys, last = path
    for key in keys:
        description = description[key]
    if value is ...:
        del description[last]
    else:
        description[last] = value


class Vector(sn.Layer):
    """A layer of one's own that makes its array itself."""

    kind = "vector"

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.w = sn.Parameter("w", np.ones(size, np.float32))

    def parameters(self):
        return [self.w]

    def forward(self, x, training=False):
        return self.check_input(x)


HUGE = 2**36
DENSE = {"layer": "Dense", "in_features": 6, "out_features": 5}
CLAIMS = {
    "a dense layer's outputs": ([DENSE | {"out_features": HUGE}], [6], "network.layers[0].out_features to be at most"),
    "many outputs, each a size that may be": ([DENSE | {"out_features": 2**20}], [6], "more than the 53 numbers"),
    "a second layer": ([DENSE, DENSE | {"in_features": 5, "out_features": 4}], [6], "more than the 18 numbers"),
    "a bias that is not there": ([DENSE | {"out_features": 8}], [6], "(8,) are more than the 5 numbers"),
    "a layer of one's own": ([{"layer": f"{__name__}.Vector", "size": HUGE}], [6], "network.layers[0].size to be at"),
    "pixels to scale to": ([{"layer": "Resize", "size": [HUGE, 1]}], [2, 3, 1], "network.layers[0].size[0] to be at"),
    "many pixels to scale to": ([{"layer": "Resize", "size": [2**14, 2**14]}], [2, 3, 1], "got 268,435,456"),
    "the input": ([{"layer": "ReLU"}], [2**14, 2**14, 1], "got 268,435,456"),
    "a padding": ([{"layer": "MaxPool2D", "pool_size": 1, "padding": HUGE}], [2, 3, 1], "network.layers[0].padding to"),
}


@pytest.mark.parametrize(("layers", "input_shape", "message"), list(CLAIMS.values()), ids=list(CLAIMS))
def test_a_claim_that_the_file_cannot_keep_makes_no_array(tmp_path, layers, input_shape, message):
    sn.save(small(), tmp_path / "m")
    description = description_of(tmp_path / "m")
    description["network"] |= {"layers": layers, "input_shape": input_shape}
    change_metadata(tmp_path / "m", description=json.dumps(description))
    tracemalloc.start()
    with pytest.raises(FileFault, match=f"m: .*{re.escape(message)}"):
        sn.load(tmp_path / "m")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


DAMAGE = {
    "no kind": (("kind",), ..., "expected kind, but there is none"),
    "another kind": (("kind",), "picture", "expected kind to be one of 'model', 'checkpoint', got 'picture'"),
    "no network": (("network",), ..., "expected network, but there is none"),
    "a network that is a list": (("network",), [], r"expected network to be an object, got \[\]"),
    "no name": (("network", "name"), ..., r"expected network\.name, but"),
    "a name that is no text": (("network", "name"), 3, r"expected network\.name to be text in UTF-8, got 3"),
    "half a character": (("network", "name"), "\ud800", r"expected network\.name to be text"),
    "no layers": (("network", "layers"), None, r"expected network\.layers to be a list, got None"),
    "an empty list of layers": (("network", "layers"), [], "expected at least one layer"),
    "a layer that is no object": (("network", "layers", 1), 3, r"expected network\.layers\[1\] to be an object, got 3"),
    "a layer without a name": (("network", "layers", 1, "layer"), ..., r"expected network\.layers\[1\]\.layer, but"),
    "an unknown layer": (("network", "layers", 1, "layer"), "os.system", r"layer 'os\.system' that scratchnet does"),
    "an infinite size": (("network", "layers", 1, "out_features"), math.inf, r"network\.layers\[1\] is a Dense that"),
    "a size in words": (("network", "layers", 1, "out_features"), "5", r"network\.layers\[1\] is a Dense that cannot"),
    "an argument too many": (("network", "layers", 1, "path"), 1, r"network\.layers\[1\] is a Dense that cannot be"),
    "infinite pixels": (("network", "input_shape"), [math.inf, 3, 1], r"expected network\.input_shape to be a list of"),
    "pixels that are no list": (("network", "input_shape"), 6, r"expected network\.input_shape to be a list of whole"),
    "an input that does not fit": (("network", "input_shape"), [2, 4, 1], r"dense1: expected input of shape"),
    "data that is no text": (("data",), 3, "expected data to be text in UTF-8, got 3"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), list(DAMAGE.values()), ids=list(DAMAGE))
def test_a_damaged_description_is_a_fault_that_names_the_key(tmp_path, path, value, message):
    sn.save(small(), tmp_path / "m")
    description = description_of(tmp_path / "m")
    put(value, path, description)
    change_metadata(tmp_path / "m", description=json.dumps(description))
    with pytest.raises(FileFault, match=f"m: .*{message}"):
        sn.load(tmp_path / "m")


@pytest.mark.parametrize(("old", "new"), [("F32", "BF16"), ("F64", "F8_E4M3"), ("F64", "F8_E5M2"), ("F32", "F16")])
def test_numbers_that_numpy_does_not_have_are_refused_by_name(tmp_path, old, new):
    array = np.zeros((2, 2), {"F32": np.float32, "F64": np.float64}[old])
    wide = 2 if new.endswith("16") else 1
    header = json.dumps({
        "__metadata__": {"format": "pt", "made_by": "scratchnet 1"},
        "dense1.w": {"dtype": new, "shape": [array.nbytes // wide], "data_offsets": [0, array.nbytes]},
    }).encode()  # fmt: skip
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + array.tobytes())
    with pytest.raises(FileFault, match=rf"m: expected dense1\.w to hold float32, float64 or integers, got {new}"):
        sn.load(tmp_path / "m")


def test_no_byte_of_a_file_can_change_unseen(tmp_path):
    sn.save(small(), tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    for i in range(len(content)):
        (tmp_path / "m").write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(FileFault):
            sn.load(tmp_path / "m")
    for extra in (b"\0", b"x" * 9):
        (tmp_path / "m").write_bytes(content + extra)
        with pytest.raises(FileFault, match="m: not a whole safetensors file"):
            sn.load(tmp_path / "m")


def test_a_folder_or_a_device_is_called_what_it_is(tmp_path):
    with pytest.raises(FileFault, match="is a folder, expected a model"):
        sn.load(tmp_path)
    if Path("/dev/zero").exists():
        with pytest.raises(FileFault, match="/dev/zero: is no ordinary file, expected a model"):
            sn.load("/dev/zero")


SAVE = """
import sys
import numpy as np, scratchnet as sn
rng = np.random.default_rng(0)
net = sn.Network([sn.Dense(3, 4, rng=rng), sn.Dense(4, 2, rng=rng)], input_shape=(3,), name="n")
net.parameters()[0].value = np.asfortranarray(net.parameters()[0].value)
sn.save(net, sys.argv[1])
"""


def test_equal_weights_give_equal_bytes_in_every_process(tmp_path):
    for i in range(4):
        subprocess.run([sys.executable, "-c", SAVE, tmp_path / f"{i}"], check=True)
    contents = {(tmp_path / f"{i}").read_bytes() for i in range(4)}
    assert len(contents) == 1
    content = contents.pop()
    places = [content.index(key) for key in (b'"description"', b'"format"', b'"made_by"', b'"sha256"')]
    assert places == sorted(places)
    sn.save(sn.load(tmp_path / "0"), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "0").read_bytes()


def test_what_could_not_be_read_is_not_written(tmp_path):
    net = sn.Network([sn.Dense(2, 2)], (2,))
    net.name = None
    with pytest.raises(FileFault, match=r"m: expected network\.name to be text in UTF-8, got None"):
        sn.save(net, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_weights_are_not_put_into_a_network_with_two_arrays_of_one_name(tmp_path):
    sn.save(small(), tmp_path / "m")
    shared = sn.Dense(5, 3)
    net = sn.Network([sn.Flatten(), sn.Dense(6, 5), sn.Dropout(0.5), shared], name="first")
    sn.Network([shared])
    before = [p.value.copy() for p in net.parameters()]
    with pytest.raises(ValueError, match=r"two arrays of first are named dense1\.w"):
        sn.load_weights(net, tmp_path / "m")
    assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))


# ---------------------------------------------------------------- checkpoints


ARGUMENTS = {"engine": "numpy"}
OPTIMIZERS = {
    "sgd": lambda net: sn.SGD(net.parameters(), 0.1),
    "momentum": lambda net: sn.SGD(net.parameters(), 0.1, 0.9),
    "adam": lambda net: sn.Adam(net.parameters(), 0.1),
}


def stepped(kind, seed=0, steps=3):
    net = small(seed)
    optimizer = OPTIMIZERS[kind](net)
    for _ in range(steps):
        _, dlogits = sn.softmax_cross_entropy(net.forward(np.ones((2, 2, 3, 1)), training=True), np.array([0, 2]))
        net.backward(dlogits)
        optimizer.step()
    return net, optimizer


def held(net, optimizer):
    kept = {p.name: p.value for p in net.parameters()} | snapshot(net.state())
    return repr((kept, net.input_shape, optimizer.state, optimizer.lr, optimizer.steps))


def checkpoint(path, kind, arrays=None, **changes):
    """A checkpoint after three steps; `arrays` changes its arrays, and each change a part of its description."""
    net, optimizer = stepped(kind)
    position = {"step": 3, "order": np.random.default_rng(0).bit_generator.state}
    save_checkpoint(path, net, optimizer, ARGUMENTS, position)
    description = description_of(path)
    for keys, value in changes.items():
        put(value, [int(key) if key.isdecimal() else key for key in keys.split("__")], description)
    made = safetensors.numpy.load_file(path)
    change_metadata(path, (arrays or (lambda held: held))(made), description=json.dumps(description))


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def replaced(name, change):
    return lambda arrays: arrays | {name: change(arrays[name])}


W, STATE = "optimizer/dense1.w/momentum", np.random.default_rng(0).bit_generator.state
PCG = {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0, "uinteger": 0}
BAD_CHECKPOINTS = {
    "momentum is missing": ({"arrays": without(W)}, rf"do not fit SGD: missing \['{W}'\]"),
    "momentum of no parameter": ({"arrays": lambda a: a | {"optimizer/x/momentum": a[W]}}, r"not part of it \['opti"),
    "other state": ({"arrays": lambda a: a | {"optimizer/dense1.w/m": a[W]}}, "not part of it"),
    "momentum of another shape": ({"arrays": replaced(W, lambda a: a.T.copy())}, rf"{W} of shape \(6, 5\), got \(5,"),
    "momentum in integers": ({"arrays": replaced(W, lambda a: a.astype(int))}, rf"expected {W} of dtype float32 or"),
    "momentum is NaN": ({"arrays": replaced(W, lambda a: a * np.nan)}, f"{W} holds NaN or infinite values"),
    "weights are missing": ({"arrays": without("dense2.b")}, r"do not fit small: missing \['dense2\.b'\]"),
    "weights are infinite": ({"arrays": replaced("dense2.b", lambda a: a + np.inf)}, r"dense2\.b holds NaN or"),
    "lr is infinite": ({"lr": math.inf}, "expected lr to be a finite number of at least 0, got inf"),
    "lr is NaN": ({"lr": math.nan}, "expected lr to be a finite number"),
    "lr is text": ({"lr": "0.1"}, "expected lr to be a finite number of at least 0, got '0.1'"),
    "no lr": ({"lr": ...}, "expected lr, but there is none"),
    "steps are negative": ({"steps": -1}, "expected steps to be a whole number of at least 0, got -1"),
    "steps are too many for a number": ({"steps": 10**30}, "expected steps to be a whole number"),
    "steps are fewer than the run's": ({"steps": 2}, r"expected steps, .* to be at least position\.step, 3; got 2"),
    "steps are true": ({"steps": True}, "expected steps to be a whole number of at least 0, got True"),
    "no steps yet, but state": ({"steps": 0, "position__step": 0}, "do not fit SGD"),
    "no position": ({"position": None}, "expected position to be an object, got None"),
    "no step": ({"position__step": ...}, r"expected position\.step, but there is none"),
    "no order": ({"position__order": ...}, r"expected position\.order, but there is none"),
    "an order of another generator": ({"position__order": {"bit_generator": "MT19937"}}, r"position\.order: expected"),
    "an order that is none": ({"position__order": PCG}, r"position\.order: expected the state of a PCG64"),
    "a generator that is none": ({"generators": {"dropout1.rng": PCG}}, r"dropout1\.rng: expected the state of"),
    "no generators": ({"generators": {}}, "begun with generators"),
    "generators that are a list": ({"generators": []}, r"expected generators to be an object, got \[\]"),
    "no arguments": ({"arguments": {}}, "earlier version"),
    "an input that is not known": ({"network__input_shape": None}, r"expected network\.input_shape to be a list"),
    "another input": ({"network__input_shape": [3, 2, 1]}, r"begun with network\.input_shape\[0\] = 3, not 2"),
    "parameters that are no text": ({"optimizer__parameters": [1]}, r"expected optimizer\.parameters\[0\] to be text"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), list(BAD_CHECKPOINTS.values()), ids=list(BAD_CHECKPOINTS))
def test_a_checkpoint_that_is_half_right_changes_nothing(tmp_path, changes, message):
    checkpoint(tmp_path / "c", "momentum", **changes)
    net, optimizer = stepped("momentum", seed=1, steps=1)
    before = held(net, optimizer)
    with pytest.raises(FileFault, match=f"c: .*{message}"):
        load_checkpoint(tmp_path / "c", net, optimizer, ARGUMENTS)
    assert held(net, optimizer) == before


def test_an_input_that_does_not_fit_a_network_without_one_changes_nothing(tmp_path):
    """A network that has not seen images takes the input's shape from the checkpoint."""
    checkpoint(tmp_path / "c", "sgd", network__input_shape=[2, 4, 1])
    net = small()
    net.input_shape = None
    with pytest.raises(FileFault, match="c: dense1: expected input of shape"):
        load_checkpoint(tmp_path / "c", net, OPTIMIZERS["sgd"](net), ARGUMENTS)
    assert net.input_shape is None


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_checkpoint_is_restored_whole(tmp_path, kind):
    checkpoint(tmp_path / "c", kind)
    net, optimizer = stepped(kind, seed=1, steps=1)
    load_checkpoint(tmp_path / "c", net, optimizer, ARGUMENTS).restore(net, optimizer)
    assert held(net, optimizer) == held(*stepped(kind))


def test_an_optimiser_that_does_not_name_its_state_gets_what_the_file_has(tmp_path, monkeypatch):
    checkpoint(tmp_path / "c", "momentum")
    monkeypatch.setattr(sn.SGD, "state_names", sn.optim.Optimizer.state_names)
    net, optimizer = stepped("momentum", seed=1, steps=1)
    load_checkpoint(tmp_path / "c", net, optimizer, ARGUMENTS).restore(net, optimizer)
    assert held(net, optimizer) == held(*stepped("momentum"))


# ---------------------------------------------------------------- settings and metrics


def settings_file(folder, **changes):
    """The settings of a run with some of them changed; `...` removes one. Returns the settings."""
    settings = new_settings(Namespace(model="standard_cnn")) | changes
    settings = {name: value for name, value in settings.items() if value is not ...}
    write_settings(folder, settings)
    return settings


BAD_SETTINGS = {
    "an unknown schedule": ({"schedule": "cubic"}, "expected schedule to be one of 'constant', .*, got 'cubic'"),
    "an unknown network": ({"model": "alexnet"}, "expected model to be one of .*, got 'alexnet'"),
    "an unknown engine": ({"engine": "cuda"}, "expected engine to be one of .*, got 'cuda'"),
    "unknown data": ({"data": "cifar"}, "expected data to be one of .*, got 'cifar'"),
    "an unknown optimizer": ({"optimizer": "lion"}, "expected optimizer to be one of .*, got 'lion'"),
    "an unknown init": ({"init": "zeros"}, "expected init to be one of .*, got 'zeros'"),
    "a string for a number": ({"lr": "0.1"}, "expected lr to be a finite number of at least 0, got '0.1'"),
    "infinity": ({"lr": math.inf}, "expected lr to be a finite number"),
    "a momentum of 1": ({"momentum": 1.0}, "expected momentum to be a number of at least 0 and below 1, got 1.0"),
    "half a batch": ({"batch_size": 1.5}, "expected batch_size to be a whole number of at least 1, got 1.5"),
    "true": ({"batch_size": True}, "expected batch_size to be a whole number of at least 1, got True"),
    "no images": ({"train_images": 0}, "expected train_images to be one of 60000, 55000, got 0"),
    "a seed below 0": ({"seed": -1}, "expected seed to be a whole number of at least 0, got -1"),
    "a folder that is a list": ({"data_dir": []}, r"expected data_dir to be text, or null, got \[\]"),
    "neither epochs nor steps": ({"epochs": None}, "expected epochs to be a whole number"),
    "epochs and steps": ({"steps": 3}, "expected steps to be None, got 3"),
    "a setting too few": ({"seed": ...}, "damaged, or of another version: expected the settings .*; start a new run"),
    "a setting too many": ({"colour": 1}, "damaged, or of another version: expected the settings .*, colour; start"),
}


@pytest.mark.parametrize(("changes", "message"), list(BAD_SETTINGS.values()), ids=list(BAD_SETTINGS))
def test_settings_that_no_run_can_have_are_named(tmp_path, changes, message):
    settings_file(tmp_path, **changes)
    with pytest.raises(FileFault, match=rf"settings\.json: {message}"):
        resumed_settings(tmp_path, Namespace(model="standard_cnn"))


OTHER = {
    "model": "separable_cnn", "data": "mnist", "data_dir": "x", "train_images": 55_000, "epochs": 4, "steps": 5,
    "batch_size": 33, "optimizer": "sgd", "lr": 0.005, "momentum": 0.8, "schedule": "cosine", "init": "pytorch",
    "seed": 1, "transpose": True, "shards": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", [*TRAIN_DEFAULTS, "model"])
def test_each_setting_that_is_changed_on_resuming_is_named(tmp_path, name):
    settings = settings_file(tmp_path)
    assert resumed_settings(tmp_path, Namespace(**{"model": "standard_cnn", name: settings[name]})) == settings
    with pytest.raises(
        ValueError, match=f"was started with {name} = {settings[name]!r}, not {OTHER[name]!r}; a resumed"
    ):
        resumed_settings(tmp_path, Namespace(**{"model": "standard_cnn", name: OTHER[name]}))


def each_changed(settings):
    """Every value in nested settings, by its path, with the settings that have another one there."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{path}", settings | {key: other}) for path, other in each_changed(value))
        else:
            yield key, settings | {key: "changed"}


def test_each_setting_of_a_reproduction_that_is_changed_is_named(tmp_path):
    begun = {"seed": 0, "engine": current_engine(), "recipe": asdict(SAMPLE), "data": {"training images": "checksum 1"}}
    write_settings(tmp_path, begun)
    check_same_settings(tmp_path, begun, "scratchnet reproduce")
    others = [(path, other) for path, other in each_changed(begun) if path != "engine"]
    assert len(others) == len(asdict(SAMPLE)) + 2
    for path, other in others:
        with pytest.raises(ValueError, match=re.escape(f"was begun with {path} = ")):
            check_same_settings(tmp_path, other, "scratchnet reproduce")


STEP = {"event": "step", "epoch": 1, "step": 1, "loss": 2.5, "accuracy": 0.5, "lr": 0.1}
EPOCH = {"event": "epoch", "epoch": 1, "step": 2, "steps_per_second": 9.5, "test_loss": math.nan, "test_accuracy": 1}
BAD_METRICS = {
    **{f"no {key}": ({key: ...}, 1, rf"expected line 2\.{key}, but there is none") for key in STEP},
    **{f"no {key} of an epoch": ({key: ...}, 2, rf"expected line 3\.{key}, but") for key in list(EPOCH)[:4]},
    "another event": ({"event": "stop"}, 1, r"expected line 2\.event to be one of 'step', 'epoch', got 'stop'"),
    "a loss in words": ({"loss": "low"}, 1, r"expected line 2\.loss to be a number, got 'low'"),
    "an accuracy above 1": ({"accuracy": 1.5}, 1, r"expected line 2\.accuracy to be a number from 0 to 1, got 1\.5"),
    "an infinite lr": ({"lr": math.inf}, 1, r"expected line 2\.lr to be a finite number"),
    "a step left out": ({"step": 3}, 1, r"expected line 2\.step to be 2, got 3"),
    "a step twice": ({"step": 1}, 1, r"expected line 2\.step to be 2, got 1"),
    "an epoch elsewhere": ({"step": 1}, 2, r"expected line 3\.step to be 2, got 1"),
    "a test set that is none": ({"test_set": 3}, 2, r"expected line 3\.test_set to be text, got 3"),
}


@pytest.mark.parametrize(("changes", "line", "message"), list(BAD_METRICS.values()), ids=list(BAD_METRICS))
def test_metrics_that_no_run_writes_are_named(tmp_path, changes, line, message):
    records = [STEP, STEP | {"step": 2}, EPOCH]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert [record["step"] for record in sn.read_metrics(path).steps] == [1, 2]
    records[line] = {key: value for key, value in (records[line] | changes).items() if value is not ...}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(FileFault, match=rf"metrics\.jsonl: {message}"):
        sn.read_metrics(path)


def test_metrics_that_are_no_text_or_a_folder_are_named(tmp_path):
    (tmp_path / "m").write_bytes(b"\xff\n")
    with pytest.raises(FileFault, match="m: damaged: expected text in UTF-8"):
        sn.read_metrics(tmp_path / "m")
    with pytest.raises(FileFault, match="is a folder, expected the metrics of a run"):
        sn.read_metrics(tmp_path)


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize("name", ["~/in the home folder", "~draft", "Übung mit Leerzeichen/Größe ½"])
def test_a_path_is_where_the_user_means_it(tmp_path, monkeypatch, name, sample):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "home" / name[2:] if name.startswith("~/") else tmp_path / name
    net = small()
    sn.save(net, f"{name}/m")
    assert (place / "m").is_file()
    assert repr(sn.load(f"{name}/m")) == repr(net)
    sn.load_weights(net, f"{name}/m")
    sn.plots.save_figure(sn.plots.training_curves({"n": sn.History()}), f"{name}/figure")
    for resume in (False, True):
        net = sn.Network([sn.Flatten(), sn.Dense(784, 10)], (28, 28, 1))
        options = {"optimizer": sn.SGD(net.parameters()), "folder": f"{name}/run", "progress": False}
        sn.fit(net, sample[0][:4], steps=2, resume=resume, **options)
    assert len(sn.read_metrics(f"{name}/run/metrics.jsonl").steps) == 2
    assert {path.name for path in place.iterdir()} == {"m", "figure", "run"}
    assert not (tmp_path / "~").exists()


def test_every_path_of_a_command_may_begin_with_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home ü"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home ü"))
    monkeypatch.chdir(tmp_path)
    sn.save(sn.models.separable_cnn(dense_units=4), "~/m")
    picture = Image.new("L", (40, 40), 255)
    ImageDraw.Draw(picture).line([(20, 5), (20, 35)], width=4)
    picture.save(tmp_path / "home ü" / "p.png")
    shutil.copytree(Path(__file__).parent.parent / "lessons" / "exercises", tmp_path / "home ü" / "exercises")
    assert main(["summary", "~/m"]) == 0
    assert main(["predict", "~/p.png", "--model=~/m"]) == 0
    with pytest.raises(SystemExit):
        main(["check", "--folder=~/exercises", "01"])
    assert "not begun" in capsys.readouterr().out
    assert main(["evaluate", "~/m", "--data=mnist", "--data-dir=~/nowhere"]) == 1
    assert "~/nowhere: expected a folder" in capsys.readouterr().err
    monkeypatch.setattr(sn.data, "load", lambda *given: (SMALL, SMALL))
    train = ["train", "separable_cnn", "--out=~/run"]
    assert main([*train, "--steps=1", "--batch-size=2", f"--seed={2**63 - 1}"]) == 0
    assert main([*train, "--resume"]) == 0, "what was written can be read"
    assert (tmp_path / "home ü" / "run" / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["home ü"]


SMALL = sn.data.load("sample")[1][:4]
