"""Every value that a file says of a run is compared; what it cannot say, since it is older, is the default."""

from __future__ import annotations

import inspect
import json
import re

import pytest
import safetensors
from test_checkpoint import change_metadata
from test_resume import adam, arguments, brighter, sgd
from test_state import everything

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.runs.options import SETTINGS, TRAIN_DEFAULTS
from scratchnet.runs.run import CHECKPOINT


@pytest.fixture(autouse=True)
def numpy_engine():
    """What is compared does not depend on the kernels."""
    with sn.use_engine("numpy"):
        yield


def leaves(value, path=()):
    """The paths to everything in a description that is no dictionary or list, and to empty ones."""
    if isinstance(value, (dict, list)) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, inner in pairs for leaf in leaves(inner, (*path, key))]
    return [path]


def changed_at(description, path):
    """A copy with something else in one place: another number for a number, so that it passes as one."""
    if not path:
        return description + 1 if type(description) in (int, float) else "something else"
    copy = description.copy()
    copy[path[0]] = changed_at(copy[path[0]], path[1:])
    return copy


def named(path):
    """As a message names a place in a description."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def every_layer():
    layers = [
        sn.Resize(12), sn.Conv2D(1, 2, 3), sn.ReLU(), sn.DepthwiseConv2D(2, 3), sn.PointwiseConv2D(2, 2),
        sn.MaxPool2D(2), sn.AvgPool2D(2), sn.Dropout(0.5), sn.Flatten(), sn.Dense(18, 10),
    ]  # fmt: skip
    return sn.Network(layers, (28, 28, 1), "all layers")


def described(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["description"])


# What does not decide what is to come is not compared: it is restored, or the metrics show it.
NOT_COMPARED = {"kind", "lr", "steps", "position", "averaged_steps"}


@pytest.mark.parametrize("optimizer", [sgd(), adam()], ids=["SGD", "Adam"])
def test_whatever_a_checkpoint_says_of_the_run_is_compared(optimizer, tmp_path):
    """Each single value in the description of a checkpoint is changed in turn, so that a new one is covered at once."""
    given = {"net": every_layer, "optimizer": optimizer, "augment": brighter(0.9), "average": 0.9, "folder": tmp_path}
    sn.fit(**arguments(**given, steps=1))
    path = tmp_path / CHECKPOINT
    content, description = path.read_bytes(), described(path)
    assert set(description) - NOT_COMPARED == {"network", "optimizer", "generators", "arguments"}
    places = [leaf for leaf in leaves(description) if leaf[0] not in {*NOT_COMPARED, "generators"}]
    assert len(places) > 50
    resumed = arguments(**given, resume=True)
    before = everything(resumed["net"])
    for place in places:
        path.write_bytes(content)
        change_metadata(path, description=json.dumps(changed_at(description, place)))
        name = named(place[1:] if place[0] == "arguments" else place)
        differs = re.escape(f"begun with {name} = ") + "('something else'|[0-9.]+), not "
        cannot_be_read = re.escape(f"expected {name} to be ")  # text, where there can never be any
        with pytest.raises(ValueError, match=f"{differs}|{cannot_be_read}"):
            sn.fit(**resumed)
    assert everything(resumed["net"]) == before


def test_a_checkpoint_that_is_older_than_an_argument_was_begun_with_the_default(tmp_path):
    """Each argument with a default is taken out of the file in turn, as if the constructor had got it later."""
    sn.fit(**arguments(net=every_layer, optimizer=sgd(0.1, 0.0), folder=tmp_path, steps=1))
    path = tmp_path / CHECKPOINT
    content, description = path.read_bytes(), described(path)
    taken = 0
    for layer, kept in zip(every_layer().layers, description["network"]["layers"], strict=True):
        for name, parameter in inspect.signature(type(layer)).parameters.items():
            if name in kept:
                old = json.loads(json.dumps(description))
                del old["network"]["layers"][description["network"]["layers"].index(kept)][name]
                taken += resumes(path, content, old, parameter.default is not parameter.empty)
    for name in ("momentum", "nesterov", "weight_decay"):
        old = json.loads(json.dumps(description))
        del old["optimizer"][name]
        taken += resumes(path, content, old, True)
    assert taken > 20
    old["optimizer"]["momentum"] = 0.5
    path.write_bytes(content)
    change_metadata(path, description=json.dumps(old))
    with pytest.raises(ValueError, match=r"begun with optimizer\.momentum = 0.5, not 0.0"):
        sn.fit(**arguments(net=every_layer, optimizer=sgd(0.1, 0.0), folder=tmp_path, steps=1, resume=True))


def resumes(path, content, description, expected):
    path.write_bytes(content)
    change_metadata(path, description=json.dumps(description))
    given = arguments(net=every_layer, optimizer=sgd(0.1, 0.0), folder=path.parent, steps=1, resume=True)
    if expected:
        sn.fit(**given)
        return True
    with pytest.raises(ValueError, match=r"begun with network\.layers\[\d\]\.\w+ = None, not "):
        sn.fit(**given)
    return True


def test_a_newer_argument_that_is_not_at_its_default_is_named(tmp_path):
    """The layer may keep an argument in another form than it is given: 3 as (3, 3)."""

    def make(stride):
        return lambda: sn.Network([sn.MaxPool2D(2, stride), sn.Flatten(), sn.Dense(196, 10)], (28, 28, 1))

    given = {"optimizer": sgd(), "folder": tmp_path, "steps": 1}
    sn.fit(**arguments(net=make(2), **given))
    path = tmp_path / CHECKPOINT
    description = described(path)
    del description["network"]["layers"][0]["stride"]
    change_metadata(path, description=json.dumps(description))
    sn.fit(**arguments(net=make(2), **given, resume=True))
    change_metadata(path, description=json.dumps(description))
    other = lambda: sn.Network([sn.MaxPool2D(2, (2, 1)), sn.Flatten(), sn.Dense(378, 10)], (28, 28, 1))  # noqa: E731
    with pytest.raises(ValueError, match=r"begun with network\.layers\[0\]\.stride\[1\] = 2, not 1"):
        sn.fit(**arguments(net=other, **given, resume=True))


# ---------------------------------------------------------------- the settings of a command

OTHER = {
    "model": "four_conv_cnn", "data": "mnist", "data_dir": "elsewhere", "train_images": "55000", "epochs": "4",
    "steps": "9", "batch_size": "7", "optimizer": "sgd", "lr": "0.5", "momentum": "0.1", "schedule": "cosine",
    "init": "pytorch", "seed": "8", "transpose": None, "shards": "4",
}  # fmt: skip
FLAGS = {"transpose": "True"}  # an option without a value, and what it sets


@pytest.fixture
def stopped_at_once(sample, monkeypatch):
    """Commands on little data that are stopped before they train."""

    def stopped(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sn.data, "load", lambda *given: (sample[0][:50], sample[1][:50]))
    for name in (
        "scratchnet.fit",
        "scratchnet.study.reproduce.fit",
        "scratchnet.study.reproduce.train_and_test",
    ):
        monkeypatch.setattr(name, stopped)


@pytest.mark.usefixtures("stopped_at_once")
@pytest.mark.parametrize("name", [*TRAIN_DEFAULTS, "model"])
def test_each_other_setting_of_train_is_named(name, tmp_path, capsys):
    command = ["train", "separable_cnn", "--out", str(tmp_path)]
    assert main(command) == 130
    begun = json.loads((tmp_path / SETTINGS).read_text())[name]
    assert main([*command, "--resume"]) == 130
    capsys.readouterr()
    if name == "model":
        command[1] = OTHER[name]
    else:
        command += [f"--{name.replace('_', '-')}", *([] if name in FLAGS else [OTHER[name]])]
    assert main([*command, "--resume"]) == 1
    given = re.search(rf"the run was started with {name} = (.*), not (.*); a resumed", capsys.readouterr().err)
    assert given[1] == repr(begun)
    assert given[2] in (repr(OTHER[name]), FLAGS.get(name, OTHER[name]))


REPRODUCE = {
    "sample": ["reproduce", "--seed", "3"],
    "original": ["reproduce", "--data", "mnist"],
    "modern": ["reproduce", "--data", "mnist", "--recipe", "modern"],
}


@pytest.mark.usefixtures("stopped_at_once")
@pytest.mark.parametrize("command", list(REPRODUCE.values()), ids=list(REPRODUCE))
def test_each_other_setting_of_reproduce_is_named(command, tmp_path, capsys):
    """Each value in the file of settings is changed in turn, so that a new one is covered at once."""
    command = [*command, "--out", str(tmp_path)]
    assert main(command) == 130
    settings = json.loads((tmp_path / SETTINGS).read_text())
    places = leaves(settings)
    assert len(places) > 20
    for place in places:
        (tmp_path / SETTINGS).write_text(json.dumps(changed_at(settings, place)))
        capsys.readouterr()
        assert main([*command, "--resume"]) == 1
        errors = capsys.readouterr().err
        expected = "on the engine something else; on numpy " if place == ("engine",) else (
            f"with {named(place)} = "
        )  # fmt: skip
        assert f"{tmp_path}: was begun {expected}" in errors
        assert "{" not in errors


@pytest.mark.usefixtures("stopped_at_once")
@pytest.mark.parametrize("begun", list(REPRODUCE))
@pytest.mark.parametrize("given", list(REPRODUCE))
def test_another_recipe_in_the_same_folder_is_named(begun, given, tmp_path, capsys):
    assert main([*REPRODUCE[begun], "--out", str(tmp_path)]) == 130
    code = main([*REPRODUCE[given], "--out", str(tmp_path), "--resume"])
    assert code == (130 if begun == given else 1)
    if begun != given:
        assert f"{tmp_path}: was begun with recipe = '{begun}', not '{given}'; resume" in capsys.readouterr().err
