"""The explorer without a browser: where numbers come from, what a page may ask, and who is let in."""

from __future__ import annotations

import http.client
import inspect
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.explorer import again, server, training
from scratchnet.explorer.drawing import image_of, strokes_in
from scratchnet.explorer.export import in_one
from scratchnet.explorer.kinds import KINDS
from scratchnet.explorer.opening import Opened, Weights
from scratchnet.explorer.recording import Recording, Row
from scratchnet.explorer.server import Explorer
from scratchnet.explorer.session import ACTIONS, Session, answer
from scratchnet.explorer.source import source_of
from scratchnet.network import Loss
from scratchnet.show.stages import walk
from scratchnet.show.subject import small_cnn

THREE = [[[0.3, 0.2], [0.7, 0.3], [0.45, 0.5], [0.7, 0.7], [0.3, 0.8]]]


def every_layer(rows_normalised=False):
    """A network with every kind of layer, with strides, padding that differs, and windows that overlap.

    A single row that is normalised in training has no gradient: it is its own mean.
    """
    rng = np.random.default_rng(3)
    return sn.Network(
        [
            sn.Resize((19, 23)),
            sn.Conv2D(1, 4, (3, 5), stride=(2, 1), padding=(1, 2), bias=False, rng=rng),
            sn.BatchNorm(4),
            sn.ReLU(),
            sn.AvgPool2D(3, stride=2, padding=1),
            sn.DepthwiseConv2D(4, 3, stride=2, multiplier=2, bias=True, rng=rng),
            sn.MaxPool2D((2, 3), stride=1, padding="same"),
            sn.PointwiseConv2D(8, 6, rng=rng),
            sn.Conv2D(6, 5, 2, rng=rng),
            sn.Flatten(),
            sn.Dense(90, 40, rng=rng),
            *([sn.BatchNorm(40)] if rows_normalised else []),
            sn.Dropout(0.3),
            sn.Dense(40, 10, rng=rng),
        ],
        input_shape=(28, 28, 1),
    )


@pytest.fixture
def numpy_engine():
    with sn.use_engine("numpy"):
        yield


@pytest.fixture
def opened(sample, numpy_engine):
    return Opened(small_cnn(), sample[1][:50], sample[0][:200], None, ["net.safetensors"])


@pytest.fixture
def session(opened):
    return Session(opened)


# ---------------------------------------------------------------- one number


@pytest.mark.parametrize("in_training", [True, False], ids=["in training", "not in training"])
def test_the_terms_of_every_number_add_up_to_it(sample, engine, rng, in_training):
    """Of each array that a stage makes, thirty numbers; sums in float64 beside those of the engine in float32."""
    recording = Recording(every_layer(not in_training), sample[1].images[:1], 3, in_training)
    seen = set()
    for k, (stage, numbers) in enumerate(zip(recording.stages, recording.numbers, strict=True)):
        for name in numbers:
            array = recording.arrays[k][name]
            for _ in range(30):
                index = tuple(int(rng.integers(size)) for size in array.shape)
                found = recording.explain(k, name, index)
                size = sum(abs(part["total"]) for part in found["sums"]) + float(np.abs(array).max())
                assert found["total"] == pytest.approx(float(array[index]), abs=3e-5 * size), (stage.name, name, index)
                assert found["value"] == pytest.approx(float(array[index]), rel=1e-8)
            seen.add((type(stage.step.layer), name))
    assert {kind for kind, _ in seen} == set(KINDS)
    assert {"out", "dx", "dw", "db", "loss", "p", "dlogits"} <= {name for _, name in seen}


def test_a_planted_error_is_seen_in_the_sum(sample, numpy_engine):
    """The test above can fail: with another stride in the layer than in the walk, the terms are others."""
    recording = Recording(every_layer(), sample[1].images[:1], 3, True)
    array = recording.arrays[1]["out"]
    index = tuple(int(k) for k in np.unravel_index(np.abs(array).argmax(), array.shape))
    wrong = Recording(every_layer(), np.roll(sample[1].images[:1], 4, axis=1), 3, True)
    recording.arrays[1] = wrong.arrays[1] | {"out": array}
    found = recording.explain(1, "out", index)
    assert abs(found["total"] - found["value"]) > 0.01 * abs(found["value"])


def test_the_patch_the_kernel_and_the_products_of_a_convolution(sample, numpy_engine):
    net = small_cnn()
    recording = Recording(net, sample[1].images[:1], 3, True)
    found = recording.explain(3, "out", (5, 0, 2), layer=6)  # conv2, at the left edge
    (part, bias) = found["sums"]
    x, w = recording.arrays[3]["x"], net.layers[3].w.value
    patch, kernel = (np.array(grid, float) for grid in part["grid"])
    np.testing.assert_allclose(patch[:, 2:], x[3:8, 0:3, 6], rtol=1e-7)
    assert np.isnan(patch[:, :2]).all(), "padding makes no term"
    np.testing.assert_allclose(kernel[:, 2:], w[:, 2:, 6, 2], rtol=1e-7)
    np.testing.assert_allclose(np.array(part["products"], float)[:, 2:], x[3:8, 0:3, 6] * w[:, 2:, 6, 2], rtol=1e-6)
    assert part["touched"]["x"] == [[3, 7], [0, 2], [0, 7]]
    assert len(part["layers"]) == 8
    assert bias["values"] == [pytest.approx(float(net.layers[3].b.value[2]))]


def test_the_kernel_in_the_gradient_of_the_image_is_turned(sample, numpy_engine):
    recording = Recording(every_layer(), sample[1].images[:1], 3, True)
    names = [stage.name for stage in recording.stages]
    for name in ("conv2 backward", "depthwise1 backward"):
        stage = names.index(name)
        place = tuple(size // 2 for size in recording.arrays[stage]["dx"].shape)
        (part,) = recording.explain(stage, "dx", place)["sums"]
        assert dict(zip(part["factors"], part["turned"], strict=True)) == {"dout": False, "w": True}
        read = [float(v) for row in part["grid"][1] for v in row]
        ranges = part["touched"]["w"]
        kernel = recording.arrays[stage]["w"][tuple(slice(low, high + 1) for low, high in ranges[:2])]
        flipped = kernel[::-1, ::-1, ranges[2][0], part.get("layer", 0)]
        if name == "conv2 backward":  # its stride is 1: every weight is read
            np.testing.assert_allclose(read, flipped.ravel(), rtol=1e-6)
        (dw,) = recording.explain(stage, "dw", (0,) * 4)["sums"]
        assert not any(dw["turned"])


def test_the_winner_of_a_pool_gets_the_gradient(sample, numpy_engine):
    recording = Recording(small_cnn(), sample[1].images[:1], 3, True)
    x, out = recording.arrays[2]["x"], recording.arrays[2]["out"]
    i, j, c = np.unravel_index(out.argmax(), out.shape)
    part = recording.explain(2, "out", (int(i), int(j), int(c)))["sums"][0]
    assert part["factors"] == ["x", "wins"]
    assert np.sum(part["grid"][1]) == 1
    kh, kw = np.argwhere(np.array(part["grid"][1]) == 1)[0]
    assert x[2 * i + kh, 2 * j + kw, c] == out[i, j, c]
    back = len(recording.stages) - 3
    found = recording.explain(back, "dx", (int(2 * i + kh), int(2 * j + kw), int(c)))
    assert found["value"] == pytest.approx(float(recording.arrays[back]["dout"][i, j, c]))


def test_a_long_sum_lists_its_largest_terms(sample, numpy_engine):
    recording = Recording(small_cnn(), sample[1].images[:1], 3, True)
    part = recording.explain(7, "out", (4,))["sums"][0]
    products = [abs(term["product"]) for term in part["terms"]]
    assert len(products) == 24
    assert products == sorted(products, reverse=True)
    assert part["rest"]["count"] == 784 - 24
    everything = sum(term["product"] for term in part["terms"]) + part["rest"]["sum"]
    assert everything == pytest.approx(part["total"], rel=1e-6)
    assert part["terms"][0]["w"] == [part["terms"][0]["at"], 4]


def test_an_unknown_layer_is_shown_as_arrays(sample, numpy_engine):
    class Twice(sn.Layer):
        kind = "twice"

        def forward(self, x, training=False):
            self.check_input(x)
            return 2 * x

        def backward(self, dout, need_dx=True):
            return 2 * self.check_dout(dout)

    recording = Recording(sn.Network([Twice(), *small_cnn().layers]), sample[1].images[:1], 3, True)
    found = recording.explain(0, "out", (14, 14, 0))
    assert found == {"value": pytest.approx(2 * float(sample[1].images[0, 14, 14, 0]))}
    assert source_of(recording.stages[0].step.layer, "backward")["title"].endswith("Twice.backward")
    assert recording.packed()


def test_what_a_stage_makes_beside_its_output_is_explained(sample, numpy_engine):
    """All arrays that are shown are sums, or go in or come out, or have a sentence in number.js."""
    text = (ROOT / "scratchnet/explorer/page/number.js").read_text(encoding="utf-8")
    explained = {quoted or plain for quoted, plain in re.findall(r'^  (?:"(.+?)"|(\w+)): "', text, re.M)}
    recording = Recording(every_layer(), sample[1].images[:1], 3, True)
    found = set()
    for stage, numbers in zip(recording.header(Row())["stages"], recording.numbers, strict=True):
        found |= {*stage["shown"]} - {*numbers} - {"x", "w", "b", "out", "dout", "dw", "db", "z", "p", "loss", "dloss"}
    assert {"argmax", "mask", "is label"} <= found
    assert found == explained


def test_the_line_that_makes_an_array_is_marked(sample, numpy_engine):
    recording = Recording(every_layer(), sample[1].images[:1], 3, True)
    for stage, numbers in zip(recording.stages, recording.numbers, strict=True):
        source = source_of(stage.step.layer, stage.step.direction)
        for each in (source, *source["elsewhere"].values()):
            text = Path(each["path"]).read_text(encoding="utf-8").splitlines()
            assert all(text[number - 1].strip() == line.strip() for number, line in each["lines"])
        for name in numbers:
            maker = source["elsewhere"].get(name, source)
            assert maker["marks"].get(name) in dict(maker["lines"]), f"{stage.name}: no line is marked for {name}"
    marks = source_of(small_cnn().layers[0], "backward")
    assert "col2im(" in dict(marks["lines"])[marks["marks"]["dx"]]
    assert not any('"""' in line for _, line in marks["lines"])
    p = source_of(recording.stages[len(recording.stages) // 2 - 1].step.layer, "forward")["elsewhere"]["p"]
    assert (p["title"], dict(p["lines"])[p["marks"]["p"]].split()[:2]) == ("softmax", ["return", "exponentials"])


def test_a_recording_unpacks_to_the_arrays_of_the_steps(sample, numpy_engine):
    net, x, labels = small_cnn(), sample[1].images[:1], np.array([3])
    packed = Recording(net, x, 3, True).packed()
    (length,) = struct.unpack_from("<I", packed)
    header, row = json.loads(packed[4 : 4 + length]), np.frombuffer(packed[4 + length :], "<f4")
    for step, stage in zip(net.steps(x, labels), header["stages"], strict=True):
        name = {"forward": "out", "backward": "dx"}[step.direction]
        if isinstance(step.layer, Loss):
            name = {"forward": "loss", "backward": "dlogits"}[step.direction]
        place = stage["arrays"][name]
        values = row[place["at"] : place["at"] + int(np.prod(place["shape"]))]
        np.testing.assert_array_equal(values, np.float32(np.ravel(step.output)))
    assert header["loss"] == next(s.output for s in net.steps(x, labels) if isinstance(s.layer, Loss))


def test_a_walk_stays_what_it_was_while_the_network_learns(sample, engine):
    """Weights are changed in place; the terms of a number are those of its own walk."""
    net = small_cnn()
    recording = Recording(net, sample[1].images[:1], 3, True)
    places = [(3, "out", (5, 5, 2)), (7, "out", (4,)), (14, "dx", (6, 6, 1)), (14, "dw", (2, 2, 3, 3))]
    before = [recording.explain(*place) for place in places]
    optimizer = sn.Adam(net.parameters(), 0.1)
    for first in (0, 16):
        part = sample[0][first : first + 16]
        logits = net.forward(part.images, training=True)
        net.backward(sn.softmax_cross_entropy(logits, part.labels)[1])
        optimizer.step()
    Recording(net, sample[1].images[1:2], 5, True)
    assert [recording.explain(*place) for place in places] == before


def test_infinite_weights_are_shown_as_no_numbers(opened):
    opened.net.parameters()[0].value[...] = np.inf
    with np.errstate(all="ignore"):
        explorer = Explorer(opened)
    thread = threading.Thread(target=explorer.serve_forever)
    thread.start()
    page = api(explorer, "open")[1]["page"]
    assert api(explorer, "choose", page=page, digit=0)[1]["probabilities"] == [None] * 10
    status, found = api(explorer, "explain", page=page, stage=0, array="out", index=[14, 14, 0])
    assert (status, found["value"]) == (200, None)
    explorer.end()
    thread.join()


# ---------------------------------------------------------------- what a page may ask


def test_a_drawing_is_centred_and_sized_as_in_mnist():
    small = [np.array(stroke) * 0.2 + 0.05 for stroke in strokes_in(THREE)]
    image = image_of(strokes_in(THREE))
    np.testing.assert_allclose(image_of(small), image, atol=0.05)
    rows, _ = np.nonzero(image > 0.1)
    assert 17 <= rows.max() - rows.min() + 1 <= 22
    centre = (np.indices(image.shape) * image).sum(axis=(1, 2)) / image.sum()
    np.testing.assert_allclose(centre, 13.5, atol=0.3)
    assert image.max() == 1
    assert not image_of([]).any()
    assert image_of(strokes_in([[[0.5, 0.5]]])).sum() > 3, "a dot is seen"


@pytest.mark.parametrize(
    "strokes",
    [None, 3, [3], [[3]], [[[0, 1, 2]]], [[["a", "b"]]], [[[0, 2]]], [[[0, None]]], [[[0, 0]] * 5000], [[[[0], [0]]]]],
)
def test_strokes_that_are_none_get_a_sentence(strokes):
    with pytest.raises(ValueError, match="strokes: expected"):
        strokes_in(strokes)


def test_what_was_drawn_is_what_the_network_predicts(session):
    seen = answer(session, "draw", {"strokes": THREE})
    image = np.array(seen["image"], np.float32).reshape(1, 28, 28, 1)
    np.testing.assert_array_equal(image, session.x)
    np.testing.assert_allclose(seen["probabilities"], session.net.predict(image)[0], rtol=1e-6)
    assert seen["label"] == int(np.argmax(seen["probabilities"]))


@pytest.mark.parametrize(
    "target", [{"kind": "weight", "name": "conv2.w", "index": [1, 2, 3, 4]}, {"kind": "pixel", "index": [13, 14, 0]}]
)
def test_what_if_predicts_by_the_gradient_and_computes_the_loss(session, target):
    answer(session, "choose", {"digit": 1})
    net, x, label = small_cnn().astype(np.float64), session.x.astype(np.float64), np.array([session.label])

    def loss():
        return sn.softmax_cross_entropy(net.forward(x), label)[0]

    *_, last = net.steps(x, label)
    before = loss()
    if target["kind"] == "pixel":
        grad = last.output[0, 13, 14, 0]
        x[0, 13, 14, 0] += 1e-2
    else:
        grad = next(p for p in net.parameters() if p.name == "conv2.w").grad[1, 2, 3, 4]
        net.layers[3].w.value[1, 2, 3, 4] += 1e-2
    found = answer(session, "what-if", {**target, "delta": 1e-2})
    assert found["before"] == pytest.approx(before, rel=1e-6)
    assert found["after"] == pytest.approx(loss(), rel=1e-6)
    assert found["happened"] == pytest.approx(loss() - before, rel=1e-3)
    assert found["predicted"] == pytest.approx(grad * 1e-2, rel=1e-3)
    assert answer(session, "undo", {})["undo"] == 0
    again_found = answer(session, "what-if", {**target, "delta": 1e-2})
    assert again_found["before"] == found["before"], "undone"


def test_reset_takes_all_changes_back(session):
    before = Weights.of(session.net)
    answer(session, "choose", {"digit": 2})
    image, label = session.x.copy(), session.label
    for delta in (0.1, 0.2):
        answer(session, "what-if", {"kind": "weight", "name": "dense1.w", "index": [5, 5], "delta": delta})
        answer(session, "what-if", {"kind": "pixel", "index": [3, 3, 0], "delta": delta})
    answer(session, "label", {"label": (label + 1) % 10})
    last = answer(session, "undo", {})
    assert (last["undone"], last["undo"]) == (["label"], 4)
    rest = answer(session, "undo", {"all": True})
    assert (rest["undone"], rest["undo"]) == (["pixel", "weight"] * 2, 0)
    assert session.label == label
    np.testing.assert_array_equal(session.x, image)
    np.testing.assert_array_equal(session.net.parameters()[4].value, before.values["dense1.w"])
    np.testing.assert_array_equal(session.data.images[2:3], image, "the data set was not changed")


def test_one_step_lowers_the_loss_of_the_digit(session):
    answer(session, "choose", {"digit": 4})
    for optimizer, lr in (("sgd", 0.05), ("momentum", 0.01), ("adam", 0.001)):
        found = answer(session, "learn", {"optimizer": optimizer, "lr": lr})
        assert found["after"] < found["before"]
        assert all(moved > 0 for moved in found["moved"].values())


def test_training_looked_at_rewound_and_the_same_again(session):
    first = Weights.of(session.net)
    histories = []
    for _ in range(2):
        answer(session, "train", {"go": True, "optimizer": "adam", "lr": 0.002})
        wait_for(lambda: answer(session, "progress", {})["step"] >= 26)
        paused = answer(session, "train", {"go": False})
        assert not paused["running"]
        histories.append(paused["losses"][:26])
        assert [step for step, _, _ in paused["tests"][:2]] == [0, 25]
        assert 0 < paused["tests"][1][1] < paused["tests"][0][1]
        assert paused["tested"] == 50
        answer(session, "rewind", {})
        for p in session.net.parameters():
            np.testing.assert_array_equal(p.value, first.values[p.name])
    assert histories[0] == histories[1]
    assert np.mean(histories[0][-5:]) < np.mean(histories[0][:5])


def test_single_steps_are_those_of_a_training(session):
    given = {"go": True, "optimizer": "momentum", "lr": 0.01}
    answer(session, "train", given)
    wait_for(lambda: answer(session, "progress", {})["step"] >= 3)
    expected = answer(session, "train", {"go": False})["losses"][:3]
    answer(session, "rewind", {})
    for step in (1, 2, 3):
        found = answer(session, "train", {**given, "once": True})
        assert (found["step"], found["running"]) == (step, False)
    assert found["losses"] == expected
    step, loss, accuracy = found["tests"][0]
    logits = small_cnn().astype(np.float64).forward(session.data.images[:50].astype(np.float64))
    labels = session.data.labels[:50]
    assert (step, loss) == (0, pytest.approx(sn.softmax_cross_entropy(logits, labels)[0], rel=1e-5))
    assert accuracy == (logits.argmax(axis=1) == labels).mean()


def test_the_gallery_has_the_surest_and_the_least_sure_of_each_class(session):
    found = answer(session, "gallery", {})
    p, labels = session.net.predict(session.data.images), session.data.labels
    digits = [each["digit"] for each in found["images"]]
    for k, (surest, least) in enumerate(zip(digits[::2], digits[1::2], strict=True)):
        of_class = p[labels == k, k]
        assert labels[surest] == labels[least] == k
        assert (p[surest, k], p[least, k]) == (of_class.max(), of_class.min())
    assert [each["read"] for each in found["images"]] == p[digits].argmax(axis=1).tolist()
    right = [k for k in digits if p[k].argmax() == labels[k]]
    assert found["first"] == min(right, key=lambda k: p[k, labels[k]])
    np.testing.assert_allclose(found["images"][3]["image"], session.data.images[digits[3]].ravel(), rtol=1e-7)


def test_pictures_of_large_images_are_made_small(opened):
    net = sn.Network([sn.Conv2D(1, 2, 3), sn.MaxPool2D(50), sn.Flatten(), sn.Dense(50, 2)], (250, 250, 1))
    data = sn.Dataset(np.random.default_rng(0).random((4, 250, 250, 1), np.float32), np.array([0, 1, 0, 1]), "large")
    found = answer(Session(opened._replace(net=net, data=data)), "gallery", {})
    assert found["shape"] == [32, 32, 1]
    first = found["images"][0]
    np.testing.assert_allclose(first["image"], data.images[first["digit"], ::8, ::8].ravel(), rtol=1e-7)


def test_training_ends_when_nobody_asks(session, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 0.2)
    answer(session, "train", {"go": True, "optimizer": "sgd", "lr": 0.01})
    wait_for(lambda: not session.trainer.running)
    assert "did not ask" in session.trainer.fault


def test_training_that_diverges_says_so(session):
    session.net.parameters()[0].value[...] = np.inf
    answer(session, "train", {"go": True, "optimizer": "sgd", "lr": 1})
    wait_for(lambda: not session.trainer.running)
    assert "smaller rate" in session.trainer.fault


def debugged(session, path, typed="q\n", line=None, **place):
    """What pdb prints for the command that the page copies, as a user has it: in a process of its own."""
    sn.save(session.opened.net, path)
    session.opened.opened_as[:] = [str(path)]
    found = answer(session, "debug", place)
    launch = found["vscode"]
    assert launch["module"] in found["pdb"]
    given = [*launch["args"], *([] if line is None else ["--line", str(line)])]
    child = subprocess.run(
        [launch["python"], "-m", launch["module"], *given],
        cwd=launch["cwd"],
        env={**os.environ, "HOME": str(path.parent)},  # whose .pdbrc pdb reads
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_the_debugger_stops_at_the_line_with_the_drawn_image(session, tmp_path):
    answer(session, "draw", {"strokes": THREE})
    session._walk()
    typed = "p dout.shape, round(float(x.sum()), 3)\nq\n"
    printed = debugged(session, tmp_path / "net.safetensors", typed, stage=14, array="dw")  # conv2 backward
    assert "dw = (columns.T @ dout_rows)" in printed
    assert f"((1, 14, 14, 16), {round(float(session.recording.arrays[14]['x'].sum()), 3)})" in printed


def test_the_debugger_gets_a_pixel_that_was_changed(session, tmp_path):
    answer(session, "what-if", {"kind": "pixel", "index": [3, 4, 0], "delta": -0.123456789})
    typed = "p float(x[0, 3, 4, 0]), float(x.sum())\nq\n"
    printed = debugged(session, tmp_path / "net.safetensors", typed, stage=0, array="out")
    assert f"({float(session.x[0, 3, 4, 0])}, {float(session.x.sum())})" in printed


def test_changed_weights_are_not_those_of_the_command(session):
    place = {"stage": 0, "array": "out"}
    changes = [
        ("what-if", {"kind": "weight", "name": "conv1.w", "index": [0, 0, 0, 0], "delta": 0.1}, "undo"),
        ("learn", {"optimizer": "sgd", "lr": 0.1}, "rewind"),
    ]
    for change, how, back in changes:
        answer(session, change, how)
        assert "Rewind or reset first" in answer(session, "debug", place)["why"]
        answer(session, back, {})
        assert answer(session, "debug", place)["why"] == ""


def test_dropout_that_is_off_shows_where_it_returns(opened, tmp_path):
    net = sn.Network([sn.Flatten(), sn.Dropout(0.5), sn.Dense(784, 10)], (28, 28, 1))
    session = Session(opened._replace(net=net))
    for in_training, forward, backward in ((True, "x * mask, mask", "dout * mask"), (False, "x", "dout")):
        answer(session, "walk", {"training": in_training})
        for stage, name, line in ((1, "out", forward), (6, "dx", backward)):
            source = session.recording.sources[stage]
            assert dict(source["lines"])[source["marks"][name]].split("#")[0].strip() == f"return {line}"
            assert ("no dropout" in session.recording.formulas[stage][0]) != in_training
    path = tmp_path / "net.safetensors"
    printed = debugged(session, path, stage=1, array="out")
    assert "-> return x" in printed
    assert "did not reach" not in printed
    line = line_of(sn.layers.dropout_forward, "return x * mask")
    assert "dropout1 forward did not reach line" in debugged(session, path, line=line, stage=1, array="out")


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def test_vs_code_gets_all_that_it_needs(session):
    launch = answer(session, "debug", {"stage": 0, "array": "out"})["vscode"]
    assert (launch["python"], launch["cwd"], launch["console"]) == (
        sys.executable,
        str(Path.cwd()),
        "integratedTerminal",
    )


@pytest.mark.parametrize("connected", [True, False])
def test_breakpoints_of_vs_code_hold_in_the_stage_alone(session, tmp_path, monkeypatch, connected):
    """debugpy that is only imported, as by a notebook, has no breakpoints, and fails if it is asked."""
    sn.save(session.net, tmp_path / "net.safetensors")
    session.opened.opened_as[:] = [str(tmp_path / "net.safetensors")]
    events = []
    debugpy = SimpleNamespace(trace_this_thread=events.append, is_client_connected=lambda: connected)
    monkeypatch.setitem(sys.modules, "debugpy", debugpy)
    monkeypatch.setattr(sys, "breakpointhook", lambda: events.append("breakpoint"))
    monkeypatch.setattr(again, "debugged", lambda: True)
    monkeypatch.setattr(again, "walk", lambda *given: [events.append("walk"), *walk(*given)][1:])
    monkeypatch.setattr(again, "call", lambda *given: events.append("stage"))
    again.main(answer(session, "debug", {"stage": 0, "array": "out"})["vscode"]["args"])
    expected = [False, "walk", True, "breakpoint", "stage"]
    assert events == (expected if connected else [event for event in expected if type(event) is str])


WEIGHT, PIXEL = {"kind": "weight", "name": "conv1.w"}, {"kind": "pixel", "index": [0, 0, 0]}
OUT = {"stage": 0, "array": "out"}
NONSENSE = [
    ("choose", {"digit": -1}), ("choose", {"digit": "../../etc/passwd"}), ("choose", {"digit": True}), ("choose", {}),
    ("label", {"label": 10}), ("explain", {"stage": 99, "array": "out", "index": [0]}),
    ("explain", {"stage": 0, "array": "__class__", "index": [0]}), ("explain", {**OUT, "index": [0, 0, 99]}),
    ("explain", {**OUT, "index": {"a": 1}}), ("explain", {**OUT, "index": [0.5, 0, 0]}),
    ("what-if", {"kind": "weight", "name": "conv1.q", "index": [0], "delta": 1}),
    ("what-if", {**PIXEL, "delta": "1"}), ("what-if", {**PIXEL, "delta": 1e39}),
    ("what-if", {**WEIGHT, "index": [0, 0, 0], "delta": 1}), ("learn", {"optimizer": "magic", "lr": 1}),
    ("learn", {"optimizer": "sgd", "lr": -1}), ("train", {"go": True, "optimizer": ["sgd"], "lr": 1}),
    ("rewind", {"first": True}), ("progress", {"since": -1}), ("draw", {"strokes": "all"}), ("debug", {"stage": None}),
]  # fmt: skip


@pytest.mark.parametrize(("action", "request_"), NONSENSE, ids=lambda value: str(value)[:50])
def test_nonsense_is_answered_with_a_sentence(session, action, request_):
    with pytest.raises(ValueError, match=r"\w+ .*\w"):
        answer(session, action, request_)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# ---------------------------------------------------------------- who is let in


@pytest.fixture
def served(opened):
    explorer = Explorer(opened)
    thread = threading.Thread(target=explorer.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield explorer
    explorer.end()
    thread.join()


def ask(explorer, path, body=None, method=None, **headers):
    """The status, the headers and the body that the server answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", explorer.server_port, timeout=20)
    data = json.dumps(body) if isinstance(body, dict) else body
    connection.request(method or ("GET" if body is None else "POST"), path, data, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def api(explorer, action, **request):
    status, _, content = ask(explorer, f"/{explorer.token}/api/{action}", request)
    return status, json.loads(content)


def test_it_listens_on_this_machine_alone(served):
    assert served.socket.getsockname()[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{24}/", served.address)


def test_the_page_and_its_files(served):
    for name, kind in (("", "text/html"), ("main.js", "text/javascript"), ("style.css", "text/css")):
        status, headers, content = ask(served, f"/{served.token}/{name}")
        assert (status, headers.get_content_type()) == (200, kind)
        assert content
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"http" not in re.sub(rb"http://www\.w3\.org/\S*", b"", content), "nothing from elsewhere"


ATTACKS = {
    "no token": ("/", None, {}),
    "another token": ("/x" * 12 + "/", None, {}),
    "a token that is not ASCII": ("/%C3%A9/", None, {}),
    "no token, a question": ("/api/open", b"{}", {}),
    "another host": ("/{token}/", None, {"Host": "evil.example"}),
    "another port": ("/{token}/", None, {"Host": "127.0.0.1:1"}),
    "a page from elsewhere": ("/{token}/api/open", b"{}", {"Origin": "http://evil.example"}),
    "a page of no origin": ("/{token}/api/open", b"{}", {"Origin": "null"}),
    "a path upwards": ("/{token}/../server.py", None, {}),
    "a path upwards, encoded": ("/{token}/..%2f..%2fsetup.cfg", None, {}),
    "an absolute path": ("/{token}//etc/passwd", None, {}),
    "a file of the package": ("/{token}/session.py", None, {}),
    "an unknown question": ("/{token}/api/__init__", b'{"page": "x"}', {}),
    "an unknown page": ("/{token}/api/walk", b'{"page": "x"}', {}),
    "no JSON": ("/{token}/api/open", b"{", {}),
    "no object": ("/{token}/api/open", b"[1]", {}),
    "deep JSON": ("/{token}/api/open", b"[" * 200_000, {}),
    "no numbers": ("/{token}/api/open", b'{"a": NaN}', {}),
    "no length": ("/{token}/api/open", b"", {"Content-Length": "x"}),
}


@pytest.mark.parametrize(("path", "body", "headers"), list(ATTACKS.values()), ids=list(ATTACKS))
def test_an_attack_is_refused_with_a_sentence(served, path, body, headers):
    status, _, content = ask(served, path.replace("{token}", served.token), body, **headers)
    assert 400 <= status < 500
    assert re.search(r"\w+ .*\.", json.loads(content)["error"])
    assert served.token not in content.decode()
    assert api(served, "open")[0] == 200, "and it serves on"


def test_a_body_of_100_megabytes_is_refused(served):
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=20) as connection:
        host = f"Host: 127.0.0.1:{served.server_port}"
        head = [f"POST /{served.token}/api/draw HTTP/1.1", host, f"Content-Length: {100 << 20}", "", ""]
        connection.sendall("\r\n".join(head).encode())
        received = connection.recv(400)
        assert b"413" in received.split(b"\r\n")[0]
        with pytest.raises(OSError):  # noqa: PT011 (which one depends on the system)
            for _ in range(1600):
                connection.sendall(bytes(1 << 16))
    assert api(served, "open")[0] == 200


def test_other_methods_are_refused(served):
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert ask(served, f"/{served.token}/", method=method)[0] == 501


def test_a_thousand_requests_are_served(served):
    status, made = api(served, "open")
    for _ in range(1000):
        status, _, _ = ask(served, f"/{served.token}/api/progress", {"page": made["page"]})
        assert status == 200


def test_more_connections_than_it_takes_do_not_end_it(served):
    held = [socket.create_connection(("127.0.0.1", served.server_port)) for _ in range(server.MOST_CONNECTIONS + 20)]
    for connection in held:
        connection.close()
    wait_for(lambda: _serves(served))


def _serves(explorer):
    try:
        return api(explorer, "open")[0] == 200
    except OSError:
        return False


def test_two_pages_do_not_mix_their_networks(served):
    one, two = (api(served, "open")[1]["page"] for _ in range(2))
    for page in (one, two):
        api(served, "choose", page=page, digit=3)
    before = api(served, "progress", page=two)[1]["probabilities"]
    assert api(served, "what-if", page=one, kind="weight", name="dense1.b", index=[0], delta=5)[0] == 200
    assert api(served, "progress", page=one)[1]["probabilities"] != before
    assert api(served, "progress", page=two)[1]["probabilities"] == before
    assert not served.opened.net.parameters()[5].value.any(), "nor is the network that was opened changed"


def test_closing_a_page_ends_its_training(served):
    page = api(served, "open")[1]["page"]
    api(served, "train", page=page, go=True, optimizer="sgd", lr=0.01)
    trainer = served.pages[page].trainer
    assert trainer.running
    api(served, "close", page=page)
    assert not trainer.running
    status, found = api(served, "progress", page=page)
    assert (status, found["error"]) == (400, "This page was closed, or too many were opened after it. Load it again.")


def test_the_page_that_was_quiet_longest_makes_room(served):
    pages = [api(served, "open")[1]["page"] for _ in range(server.MOST_PAGES)]
    api(served, "progress", page=pages[0])
    api(served, "open")
    assert pages[0] in served.pages
    assert pages[1] not in served.pages
    assert len(served.pages) == server.MOST_PAGES


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C as a signal")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_command_ends_with_ctrl_c_and_with_its_terminal(tmp_path, number):
    path = tmp_path / "net.safetensors"
    sn.save(small_cnn(), path)
    command = [sys.executable, "-m", "scratchnet", "explore", str(path), "--no-browser", "--engine", "numpy"]
    signalled = getattr(signal, number)
    ours = signal.signal(signalled, signal.SIG_DFL)  # a command inherits what is ignored
    try:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signalled, ours)
    line = process.stdout.readline()
    assert "small_cnn is at http://127.0.0.1:" in line, process.stderr.read() if process.poll() else line
    port = int(re.search(r":(\d+)/", line)[1])
    process.send_signal(signalled)
    _, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert process.returncode == (0 if number == "SIGINT" else -signalled)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_explore_in_an_interpreter_serves_in_the_background(monkeypatch, numpy_engine, sample, capsys):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    explorer = sn.explore(small_cnn(), sample[1][:20], browser=False)
    assert explorer.address in capsys.readouterr().out
    assert api(explorer, "open")[0] == 200
    explorer.end()
    with pytest.raises(ValueError, match="explore: expected port to be an integer of at least 0"):
        sn.explore(small_cnn(), port=-1)
    taken = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(OSError, match=r"port \d+ cannot be used .*; leave it out"):
        sn.explore(small_cnn(), port=taken.getsockname()[1], browser=False)
    taken.close()
    with pytest.raises(ValueError, match="input's shape is not known"):
        sn.explore(sn.Network([sn.Flatten(), sn.Dense(4, 2)]), browser=False)


def test_a_network_for_other_images_gets_random_ones(monkeypatch, numpy_engine):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    net = sn.Network([sn.Conv2D(3, 2, 3), sn.Flatten(), sn.Dense(72, 4)], input_shape=(6, 6, 3))
    explorer = sn.explore(net, browser=False)
    page = api(explorer, "open")[1]["page"]
    assert api(explorer, "describe", page=page)[1]["can_draw"] is False
    status, found = api(explorer, "draw", page=page, strokes=THREE)
    assert status == 400
    assert "takes images of shape (6, 6, 3)" in found["error"]
    explorer.end()


# ---------------------------------------------------------------- the exported page


def test_a_page_is_exported_by_the_command(tmp_path, numpy_engine, capsys):
    path = tmp_path / "net.safetensors"
    sn.save(small_cnn(), path)
    assert (
        main(["explore", str(path), "--export", str(tmp_path / "page.html"), "--digit", "5", "--engine", "numpy"]) == 0
    )
    assert "page.html" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', page), "it needs no other file"
    assert "import {" not in page
    assert (
        main(["explore", str(path), "--export", str(tmp_path / "page.html"), "--digit", "2000", "--engine", "numpy"])
        == 1
    )
    assert "digit: expected a whole number from 0 to 1999" in capsys.readouterr().err


def test_modules_are_written_once_and_names_do_not_meet():
    text = in_one("main.js")
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.M)
    assert len(names) == len(set(names))
    modules = {path.name for path in (ROOT / "scratchnet/explorer/page").glob("*.js")}
    assert len(modules) > 10
    assert all((ROOT / "scratchnet/explorer/page" / name).read_text().splitlines()[0] in text for name in modules)


def test_the_front_end_is_small():
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "scratchnet/explorer/page").iterdir())
    assert lines <= 2500


def test_every_question_of_the_page_has_an_answer():
    text = in_one("main.js")
    asked = set(re.findall(r'ask\("([\w-]+)"', text))
    assert asked <= {*ACTIONS, "open", "close"}
    assert set(ACTIONS) <= asked, "nothing is offered that the page does not use"
