"""The engine that is the learner's: right answers compute, wrong ones never do, and the results are the library's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import assert_close

import scratchnet as sn
from scratchnet import engine, layers
from scratchnet.exercises import mine

LESSONS = Path(__file__).parents[1] / "lessons"
SOLUTIONS = sorted(LESSONS.glob("solutions/*.py"))
MILESTONES = sorted(LESSONS.glob("milestones/*.py"))
ODD = {"02", "04", "06", "08", "10", "12", "14"}  # half of the exercises


def learner(folder, done):
    """A learner's folder in which these exercises are answered; returns that of the exercises."""
    place = folder / "lessons" / "exercises"
    shutil.copytree(LESSONS / "exercises", place, dirs_exist_ok=True)
    for solution in SOLUTIONS:
        if solution.name[:2] in done:
            shutil.copy(solution, place)
    return place


EVERY = {solution.name[:2] for solution in SOLUTIONS}


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """A folder in which every exercise is answered; the current one."""
    monkeypatch.chdir(tmp_path)
    return learner(tmp_path, EVERY)


# ---------------------------------------------------------------- whose kernels


def test_which_are_whose(answered, capsys):
    """Every answer is used, and a line says so; what no exercise asks for is the library's."""
    with sn.use_engine("mine"):
        for name in {kernel for kernel, _ in mine.ADAPTERS.values()}:
            function = getattr(engine.ops, name)
            yours = function.args[0] if hasattr(function, "args") else function
            assert yours.__code__.co_filename.startswith(str(answered)), name
        assert engine.ops.conv2d_forward.func is mine.conv2d_forward
        assert engine.ops.avg_pool2d_forward is layers.avg_pool2d_forward
        assert not engine.is_compiled()
    said = capsys.readouterr().err
    assert "engine mine. yours: softmax gradient, dense backward, relu backward, im2col, conv forward" in said
    assert "the library's: all the rest" in said
    with sn.use_engine("numpy"):
        assert engine.ops.relu_backward is layers.relu_backward
        assert engine.ops.max_pool2d_forward is layers.max_pool2d_forward


def test_an_answer_that_is_wrong_is_not_used_and_is_named(answered, capsys):
    path = answered / "03_relu_backward.py"
    path.write_text(path.read_text(encoding="utf-8").replace("x > 0", "dout > 0"), encoding="utf-8")
    (answered / "02_dense_backward.py").write_text("def dense_backward(", encoding="utf-8")
    with sn.use_engine("mine"):
        assert engine.ops.relu_backward is layers.relu_backward
        assert engine.ops.dense_backward is layers.dense_backward
    said = capsys.readouterr().err
    assert "the library's: dense backward (02), relu backward (03)" in said
    for number in ("02", "03"):
        assert f"exercise {number} is not right yet, and not used: " in said
        assert f"check {number}" in said


def test_an_answer_counts_as_soon_as_it_is_right(tmp_path, monkeypatch, capsys):
    """The exercises are read again whenever the engine is chosen."""
    monkeypatch.chdir(tmp_path)
    place = learner(tmp_path, set())
    with sn.use_engine("mine"):
        assert engine.ops.relu_backward is layers.relu_backward
    assert "yours: nothing yet; the library's: softmax gradient (01), dense" in capsys.readouterr().err
    learner(tmp_path, {"03"})
    with sn.use_engine("mine"):
        assert engine.ops.relu_backward.__code__.co_filename == str(place / "03_relu_backward.py")
    assert "yours: relu backward; the library's: softmax gradient (01)" in capsys.readouterr().err


def test_a_slow_answer_is_not_used_silently(answered, capsys):
    path = answered / "03_relu_backward.py"
    path.write_text(
        "import numpy as np\n\n\ndef relu_backward(dout, x):\n    dx = np.zeros_like(dout)\n"
        "    for i in np.ndindex(x.shape):\n        dx[i] = dout[i] * (x[i] > 0)\n    return dx\n",
        encoding="utf-8",
    )
    with sn.use_engine("mine"):
        assert engine.ops.relu_backward.__code__.co_filename == str(path)
    assert "scratchnet: your relu backward takes " in capsys.readouterr().err


def test_without_exercises_it_says_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(mine, "find_folder", lambda: mine.check_file.__globals__["find_folder"](tmp_path))
    with pytest.raises(FileNotFoundError, match="expected exercises in .*, found none"):
        sn.use_engine("mine")
    assert sn.current_engine() != "mine"


# ---------------------------------------------------------------- the same numbers


def network(rng):
    """Every kernel that an answer computes, and what the exercises do not ask for: strides, multipliers, paddings."""
    return sn.Network(
        [
            sn.Conv2D(2, 3, 3, rng=rng),
            sn.ReLU(),
            sn.BatchNorm(3),
            sn.Conv2D(3, 4, (3, 2), stride=2, padding=(1, 0), bias=False, rng=rng),
            sn.Conv2D(4, 4, 3, stride=(1, 2), rng=rng),
            sn.DepthwiseConv2D(4, 3, multiplier=2, bias=True, rng=rng),
            sn.DepthwiseConv2D(8, (2, 3), stride=(2, 1), rng=rng),
            sn.MaxPool2D(3, 2, padding=1),
            sn.MaxPool2D(2, 1, padding="same"),
            sn.MaxPool2D((2, 1)),
            sn.Dropout(0.3, rng=3),
            sn.Flatten(),
            sn.BatchNorm(16),
            sn.Dense(16, 10, bias=False, rng=rng),
        ],
        input_shape=(13, 14, 2),
    ).astype(np.float64)


def trained(make_optimizer):
    """The weights after three steps, and what the first one left in the layers."""
    rng = np.random.default_rng(0)
    net = network(rng)
    optimizer, found = make_optimizer(net.parameters()), []
    for _ in range(3):
        x, labels = rng.standard_normal((4, 13, 14, 2)), rng.integers(0, 10, 4)
        _, dlogits = sn.softmax_cross_entropy(net.forward(x, training=True), labels)
        found.append(net.backward(dlogits))
        optimizer.step()
    return [*found, *(p.value for p in net.parameters())]


@pytest.mark.parametrize("done", [EVERY, ODD, EVERY - ODD, EVERY - {"05", "07"}], ids=["all", "even", "odd", "patches"])
@pytest.mark.parametrize(
    "make",
    [lambda p: sn.SGD(p, 0.1, 0.9), lambda p: sn.SGD(p, 0.1, 0.9, nesterov=True), lambda p: sn.Adam(p, 0.01)],
    ids=["momentum", "Nesterov", "Adam"],
)
def test_a_network_trains_as_on_the_book(done, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learner(tmp_path, done)
    with sn.use_engine("numpy"):
        expected = trained(make)
    with sn.use_engine("mine"):
        ours = trained(make)
    for one, other in zip(ours, expected, strict=True):
        assert_close(one, other, 1e-10)


def test_a_float32_network_stays_one(answered, sample):
    with sn.use_engine("mine"):
        net = sn.Network([sn.Conv2D(1, 2, 5), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(392, 10)], (28, 28, 1))
        sn.fit(net, sample[0][:64], optimizer=sn.Adam(net.parameters()), epochs=1, batch_size=32, progress=False)
    assert {p.value.dtype for p in net.parameters()} == {np.dtype(np.float32)}


def test_convolution_goes_by_the_learners_patches_if_that_is_all_there_is(tmp_path):
    kernels = mine.answers(learner(tmp_path, {"04", "06"})).kernels
    assert kernels["conv2d_forward"].func is mine.conv2d_forward_by_patches
    assert kernels["conv2d_backward"].args == (kernels["im2col"], kernels["col2im"])
    assert "conv2d_backward" not in mine.answers(learner(tmp_path / "other", {"05"})).kernels


def test_a_run_is_resumed_with_the_answers_that_it_was_begun_with(answered, sample, tmp_path):
    """A comment makes no difference; another code of an answer, or one answer fewer, may change the bits."""
    path = answered / "03_relu_backward.py"
    text = path.read_text(encoding="utf-8")

    def trained(answer, **arguments):
        path.write_text(answer, encoding="utf-8")
        net = sn.Network([sn.Flatten(), sn.Dense(784, 10, rng=0), sn.ReLU()], (28, 28, 1))
        with sn.use_engine("mine"):
            sn.fit(
                net, sample[0][:64], optimizer=sn.SGD(net.parameters()), batch_size=32, progress=False,
                folder=tmp_path / "run", **arguments,
            )  # fmt: skip

    trained(text, epochs=1)
    trained(text.replace("return", "# a comment\n    return"), epochs=2, resume=True)
    for other in (text.replace("(x > 0)", "(0 < x)"), "def relu_backward(dout, x):\n    return dout"):
        with pytest.raises(ValueError, match=r"begun with answers.03 = '\w{8}', not .*Resume with the answers"):
            trained(other, epochs=3, resume=True)


# ---------------------------------------------------------------- milestones


@pytest.mark.slow
@pytest.mark.parametrize("done", [EVERY, ODD], ids=["all", "half"])
@pytest.mark.parametrize("script", MILESTONES, ids=lambda path: path.stem)
def test_a_milestone_is_reached(script, done, tmp_path):
    """With every exercise answered and with half of them; each asserts its own accuracy."""
    learner(tmp_path, done)
    run = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"PYTHONPATH": str(LESSONS.parent)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "new digits" in run.stdout
    assert run.stderr.startswith("scratchnet: engine mine. yours: ")


@pytest.mark.parametrize("script", MILESTONES, ids=lambda path: path.stem)
def test_a_milestone_says_what_it_needs(script):
    text = script.read_text(encoding="utf-8")
    assert 'sn.use_engine("mine")' in text
    needed = text.split("Needs exercise")[1].split("Must reach")[0]
    assert {number for number in EVERY if number in needed} - {"13"}
    reached = float(text.split("accuracy >= ")[1].split()[0])
    assert f"Must reach {reached:.0%}".replace("%", " %") in " ".join(text.split())
