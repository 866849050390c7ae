"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.data.photographs import as_text, read_digit, read_object
from scratchnet.engine import ops
from scratchnet.program import command_line
from scratchnet.runs.recipes import SAMPLE
from scratchnet.study.reproduce import reproduce

FAST = ["--steps", "3", "--batch-size", "16"]
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, SIGTERM to a process ends it at once as well


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory for each test: commands write to runs/ in it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def good_model(sample, tmp_path_factory):
    """A small network that reads digits well enough to test with."""
    rng = np.random.default_rng(0)
    net = sn.Network(
        [
            sn.Conv2D(1, 8, 5, stride=2, init="he_normal", rng=rng),
            sn.ReLU(),
            sn.Conv2D(8, 16, 5, stride=2, init="he_normal", rng=rng),
            sn.ReLU(),
            sn.Flatten(),
            sn.Dense(784, 10, rng=rng),
        ],
        input_shape=(28, 28, 1),
        name="small_reader",
    )
    sn.fit(net, sample[0], optimizer=sn.Adam(net.parameters(), 3e-3), epochs=3, batch_size=64, progress=False)
    path = tmp_path_factory.mktemp("model") / "reader.safetensors"
    sn.save(net, path)
    return path


# ---------------------------------------------------------------- train


def test_train_writes_a_model_metrics_and_curves(capsys):
    assert main(["train", "separable_cnn", *FAST]) == 0
    out, err = capsys.readouterr()
    assert "accuracy on 2,000 held-out digits of the sample:" in out
    assert "separable_cnn: 100%" in err
    for name in ("model.safetensors", "metrics.jsonl", "training_curves.png"):
        assert f"runs/separable_cnn/{name}" in out
        assert Path("runs/separable_cnn", name).stat().st_size > 0
    assert len(sn.read_metrics("runs/separable_cnn/metrics.jsonl").steps) == 3
    assert sn.load("runs/separable_cnn/model.safetensors").name == "separable_cnn"


def test_train_uses_what_it_is_told(capsys):
    arguments = [
        "--optimizer",
        "sgd",
        "--lr",
        "0.5",
        "--momentum",
        "0",
        "--schedule",
        "constant",
        "--init",
        "pytorch",
        "--seed",
        "7",
        "--out",
        "here",
    ]
    assert main(["train", "four_conv_cnn", *FAST, *arguments]) == 0
    steps = sn.read_metrics("here/metrics.jsonl").steps
    assert [s["lr"] for s in steps] == [0.5] * 3
    net = sn.models.four_conv_cnn(seed=7, init="pytorch")
    train, _ = sn.data.load("sample")
    history = sn.fit(
        net, train, optimizer=sn.SGD(net.parameters(), 0.5), steps=3, batch_size=16, seed=7, progress=False
    )
    assert [s["loss"] for s in history.steps] == [s["loss"] for s in steps]


@pytest.mark.parametrize("schedule", ["step", "cosine", "one-cycle"])
def test_every_schedule_can_be_chosen(schedule, capsys):
    assert main(["train", "separable_cnn", *FAST, "--schedule", schedule]) == 0
    assert len({s["lr"] for s in sn.read_metrics("runs/separable_cnn/metrics.jsonl").steps}) > 1


def test_train_refuses_to_overwrite_unless_told(capsys):
    assert main(["train", "separable_cnn", *FAST]) == 0
    before = Path("runs/separable_cnn/model.safetensors").read_bytes()
    assert main(["train", "separable_cnn", *FAST, "--seed", "1"]) == 1
    assert "holds an earlier run; resume it with --resume, replace it with --overwrite" in capsys.readouterr().err
    assert Path("runs/separable_cnn/model.safetensors").read_bytes() == before
    assert main(["train", "separable_cnn", *FAST, "--seed", "1", "--overwrite"]) == 0
    assert Path("runs/separable_cnn/model.safetensors").read_bytes() != before


MISTAKES = {
    "a folder that is not there": (
        ["--data", "mnist", "--data-dir", "nowhere"],
        "nowhere: expected a folder with the four MNIST files, but it does not exist",
    ),
    "a learning rate below 0": (["--lr", "-1"], "expected lr to be a finite number of at least 0, got -1.0"),
    "a folder without its data set": (["--data-dir", "nowhere"], "add --data mnist, or leave it out"),
    "images of another data set": (["--train-images", "55000"], "chooses among MNIST's images: add --data mnist"),
    "more shards than images": (["--shards", "17"], "expected at most as many shards as images in a batch, 16, got 17"),
    "momentum without sgd": (["--momentum", "0.5"], "--momentum is for sgd"),
}


@pytest.mark.parametrize(("options", "message"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_a_mistake_costs_nothing(options, message, capsys):
    """The old run is still there, and no new one is left behind that would block the next attempt."""
    Path("here").mkdir()
    Path("here/model.safetensors").write_text("an old model")
    assert main(["train", "separable_cnn", *FAST, "--out", "here", "--overwrite", *options]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in Path("here").iterdir()] == ["model.safetensors"]


def test_damaged_settings_are_named(capsys):
    Path("runs/separable_cnn").mkdir(parents=True)
    for content, message in (
        ("{}", "damaged, or of"),
        ("", "damaged: expected JSON"),
        ("[1]", "expected the content to"),
    ):
        Path("runs/separable_cnn/settings.json").write_text(content)
        assert main(["train", "separable_cnn", "--resume"]) == 1
        assert f"scratchnet: runs/separable_cnn/settings.json: {message}" in capsys.readouterr().err


def test_overwrite_leaves_foreign_files_alone(capsys):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    assert main(["train", "separable_cnn", *FAST, "--out", "mine", "--overwrite"]) == 0
    assert Path("mine/notes.txt").read_text() == "keep me"


def test_resume_keeps_the_settings_and_refuses_others(capsys):
    assert main(["train", "separable_cnn", "--resume"]) == 1
    assert "runs/separable_cnn: no run to resume here" in capsys.readouterr().err
    assert main(["train", "separable_cnn", *FAST]) == 0
    assert main(["train", "separable_cnn", "--resume", "--batch-size", "8"]) == 1
    assert "the run was started with batch_size = 16, not 8" in capsys.readouterr().err
    assert main(["train", "separable_cnn", "--resume"]) == 0
    assert json.loads(Path("runs/separable_cnn/settings.json").read_text())["steps"] == 3


@pytest.fixture
def fresh_engine(monkeypatch):
    """No engine is in use yet, as at the start of a process."""
    with sn.use_engine(sn.current_engine()):
        monkeypatch.setattr(ops, "engine", None)
        monkeypatch.delenv("SCRATCHNET_ENGINE", raising=False)
        yield
        monkeypatch.undo()


LONG_COMMANDS = {
    "train": ["train", "separable_cnn", "--out", "a run"],
    "reproduce": ["reproduce", "--out", "a run", "--seed", "3"],
    "reproduce on mnist": ["reproduce", "--data", "mnist", "--data-dir", "my data", "--out", "a run", "--seeds", "2"],
}


@pytest.mark.parametrize("source", ["flag", "variable", "default"])
@pytest.mark.parametrize("arguments", list(LONG_COMMANDS.values()), ids=list(LONG_COMMANDS))
def test_what_was_interrupted_is_resumed_by_the_command_printed_and_on_no_other_engine(
    arguments, source, sample, fresh_engine, monkeypatch, capsys
):
    def interrupted(*given, **options):
        began_on.append(sn.current_engine())
        raise KeyboardInterrupt

    def in_a_new_process(arguments, variable=None):
        monkeypatch.setattr(ops, "engine", None)
        if variable:
            monkeypatch.setenv("SCRATCHNET_ENGINE", variable)
        return main(arguments), capsys.readouterr().err

    began_on = []
    small = sample[0][:50], sample[1][:50]
    monkeypatch.setattr(sn.data, "load", lambda *given: small)
    for place in (
        "scratchnet.fit",
        "scratchnet.study.reproduce.fit",
        "scratchnet.study.reproduce.train_and_test",
    ):
        monkeypatch.setattr(place, interrupted)
    engine = "numba" if source == "default" else "numpy"
    flag, variable = ["--engine", engine] if source == "flag" else [], engine if source == "variable" else None
    code, errors = in_a_new_process([*arguments, *flag], variable)
    assert (code, began_on) == (130, [engine])
    printed = re.search("To go on:  (.*)\n", errors)[1]
    assert printed.endswith(f"--engine {engine} --resume")

    other = {"numpy": "numba", "numba": "numpy"}[engine]
    code, errors = in_a_new_process([*arguments, "--resume"], other)
    assert (code, began_on) == (1, [engine]), "nothing was trained"
    assert f"a run: was begun on the engine {engine}; on {other} it would end with other weights" in errors
    assert f"To go on:  {printed}\n" in errors
    code, _ = in_a_new_process(shlex.split(printed.removeprefix(command_line())), other)
    assert (code, began_on) == (130, [engine, engine])


@pytest.mark.parametrize("arguments", list(LONG_COMMANDS.values()), ids=list(LONG_COMMANDS))
def test_a_run_of_an_earlier_version_is_not_resumed(arguments, sample, monkeypatch, capsys):
    monkeypatch.setattr(sn.data, "load", lambda *given: (sample[0][:50], sample[1][:50]))
    Path("a run").mkdir()
    Path("a run/settings.json").write_text('{"seed": 0}')
    assert main([*arguments, "--resume"]) == 1
    assert re.search(
        "a run.*: (was begun by an earlier version|damaged, or of another version)", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(command, part) for name, command in LONG_COMMANDS.items() if name != "train" for part in (0, 1)],
)
def test_other_digits_are_no_part_of_the_same_table(arguments, part, sample, monkeypatch, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    for place in ("scratchnet.study.reproduce.fit", "scratchnet.study.reproduce.train_and_test"):
        monkeypatch.setattr(place, interrupted)
    digits = [sample[0][:50], sample[1][:50]]
    monkeypatch.setattr(sn.data, "load", lambda *given: digits)
    assert main(arguments) == 130
    assert main([*arguments, "--resume"]) == 130
    capsys.readouterr()
    digits[part] = digits[part][::-1]
    assert main([*arguments, "--resume"]) == 1
    name = ["training images", "test images"][part]
    assert f"a run: was begun with data.{name} = 'float32 of shape (50, 28, 28, 1), checksum" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("send", [signal.SIGINT, KILL], ids=["Ctrl-C", "SIGKILL"])
def test_a_stopped_command_is_resumed_to_the_same_bits(send, tmp_path):
    command = [sys.executable, "-m", "scratchnet", "train", "separable_cnn", "--steps", "40", "--batch-size", "16"]
    subprocess.run([*command, "--out", "whole"], check=True, capture_output=True)
    options = ["--out", "stopped", "--checkpoint-every", "1"]
    child = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(sn.read_metrics("stopped/metrics.jsonl").steps) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(send)
    _, errors = child.communicate()
    if send == signal.SIGINT:
        assert child.returncode == 130, errors
        again = shlex.join([*command[:4], "separable_cnn", "--out", "stopped", "--engine", "numba", "--resume"])
        assert f"To go on:  {again}" in errors
        assert "Traceback" not in errors
    assert not Path("stopped/model.safetensors").exists(), "it was to be stopped in the middle"
    resume = [sys.executable, "-m", "scratchnet", "train", "separable_cnn", "--out", "stopped", "--resume"]
    subprocess.run(resume, check=True, capture_output=True)
    whole, resumed = (sn.load(f"{place}/model.safetensors").parameters() for place in ("whole", "stopped"))
    assert all(np.array_equal(p.value, q.value) for p, q in zip(whole, resumed, strict=True))
    logs = [sn.read_metrics(f"{place}/metrics.jsonl").steps for place in ("whole", "stopped")]
    assert logs[0] == logs[1]


# ---------------------------------------------------------------- reproduce


SHORT = replace(SAMPLE, epochs=1)


@pytest.fixture
def no_figures():
    """Make `reproduce` draw no figures: that would take longer than the few steps of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scratchnet.study.reproduce.draw_all", lambda *arguments, **options: [])
        yield


def test_reproduce_trains_three_networks_and_sets_them_beside_the_original(sample, tmp_path, monkeypatch, capsys):
    train, test = sample[0][:64], sample[1][:50]
    monkeypatch.setattr("scratchnet.commands.reproduce.SAMPLE", SHORT)
    monkeypatch.setattr(sn.data, "load", lambda name: (train, test))
    assert main(["reproduce", "--out", "r"]) == 0
    printed = capsys.readouterr()
    out = printed.out
    rows = {
        line.split()[0]: line
        for line in out.splitlines()
        if line.split()[:1] and line.split()[0] in sn.models.ARCHITECTURES
    }
    for name, parameters, published in [
        ("four_conv_cnn", "1,595,970", "98.12%"),
        ("standard_cnn", "3,274,634", "97.99%"),
        ("separable_cnn", "3,225,539", "not stated"),
    ]:
        assert parameters in rows[name]
        assert published in rows[name]
        assert f"r/{name}/model.safetensors" in out
        assert f"r/{name}/metrics.jsonl" in out
    assert "These are different tests" in out
    assert "The original's separable_cnn, dense units 128 reached 96.5%, at 6 steps/s." in out
    assert "r/figures/training_curves.png" in out
    accuracy = sn.evaluate(sn.load("r/standard_cnn/model.safetensors"), test)[1]
    assert f"{accuracy:.2%}" in rows["standard_cnn"]
    for name, row in rows.items():
        bar = re.findall(rf"{name}: 100%.*, ([\d.]+) steps/s, loss", printed.err)[-1]
        assert bar in row.split(), "the bar ends with the speed that the table says"


@pytest.mark.usefixtures("no_figures")
def test_reproduce_overwrites_and_resumes_only_what_it_is_told_to(sample, monkeypatch, capsys):
    train, test = sample[0][:64], sample[1][:50]
    monkeypatch.setattr("scratchnet.commands.reproduce.SAMPLE", SHORT)
    monkeypatch.setattr(sn.data, "load", lambda name: (train, test))
    assert main(["reproduce", "--out", "r"]) == 0
    capsys.readouterr()
    assert main(["reproduce", "--out", "r"]) == 1
    assert "holds an earlier run" in capsys.readouterr().err
    assert main(["reproduce", "--out", "r", "--overwrite"]) == 0
    assert main(["reproduce", "--out", "r", "--resume", "--seed", "5"]) == 1
    assert "r: was begun with seed = 0, not 5; resume it with what it was begun with" in capsys.readouterr().err
    assert main(["reproduce", "--out", "elsewhere", "--resume"]) == 1
    assert "elsewhere: nothing to resume here" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_an_interrupted_reproduction_goes_on_where_it_was(sample, tmp_path, monkeypatch):
    train, test = sample[0][:64], sample[1][:50]
    reproduce(tmp_path / "whole", train, test, SHORT)
    calls = []
    original = sn.Adam.step

    def stopping(self):
        calls.append(1)
        if len(calls) == 4:  # the second step of the second network
            raise KeyboardInterrupt
        original(self)

    monkeypatch.setattr(sn.Adam, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        reproduce(tmp_path / "stopped", train, test, SHORT)
    monkeypatch.undo()
    trained = []
    monkeypatch.setattr(sn.models.Network, "backward", counted(sn.models.Network.backward, trained))
    reproduce(tmp_path / "stopped", train, test, SHORT, resume=True)
    assert {net.name for net in trained} == {"standard_cnn", "separable_cnn"}, "the first was finished"
    for name in sn.models.ARCHITECTURES:
        one, other = (sn.load(tmp_path / place / name / "model.safetensors") for place in ("whole", "stopped"))
        assert all(np.array_equal(p.value, q.value) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def counted(method, calls):
    def wrapper(self, *arguments, **options):
        calls.append(self)
        return method(self, *arguments, **options)

    return wrapper


# ---------------------------------------------------------------- evaluate, summary, info


def test_evaluate_names_what_it_was_tested_on(good_model, sample, capsys):
    assert main(["evaluate", str(good_model)]) == 0
    out = capsys.readouterr().out
    loss, accuracy = sn.evaluate(sn.load(good_model), sample[1])
    assert accuracy > 0.93
    assert (
        f"small_reader on 2,000 held-out digits of the sample: accuracy {accuracy:.2%}, cross-entropy {loss:.4f}" in out
    )


def test_evaluate_on_the_complete_test_set(good_model, mnist_folder, capsys):
    assert main(["evaluate", str(good_model), "--data", "mnist", "--data-dir", str(mnist_folder)]) == 0
    assert "on 10,000 MNIST test set: accuracy 9" in capsys.readouterr().out


def test_summary_of_an_architecture_and_of_a_file(good_model, capsys):
    assert main(["summary", "standard_cnn"]) == 0
    assert "3,274,634" in capsys.readouterr().out
    assert main(["summary", str(good_model)]) == 0
    assert "small_reader, input 28 x 28 x 1" in capsys.readouterr().out


def test_info_describes_the_machine(capsys, monkeypatch, mnist_folder):
    monkeypatch.setenv("SCRATCHNET_DATA", str(mnist_folder))
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for line in (
        "scratchnet",
        "processor",
        "vector width",
        "engine",
        "threads",
        "threading layer",
        "BLAS",
        "cache folder",
    ):
        assert f"\n{line}" in f"\n{out}"
    assert f"mnist: {mnist_folder}" in out


def test_an_engine_that_does_not_exist_is_not_described(fresh_engine, capsys, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_ENGINE", "abacus")
    assert main(["info"]) == 1
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="engine: expected one of numpy, numba, mine, got 'abacus'"):
        sn.current_engine()
    assert main(["info", "--engine", "numpy"]) == 0, "the option counts, not the variable"
    assert "engine           numpy" in capsys.readouterr().out


def test_info_says_where_data_would_come_from_or_why_not(capsys, monkeypatch):
    main(["info"])
    assert "mnist: not found; would be downloaded to" in capsys.readouterr().out
    monkeypatch.setenv("SCRATCHNET_DATA", "nowhere")
    main(["info"])
    assert "nowhere: expected a folder with the four MNIST files, but it does not exist" in capsys.readouterr().out


# ---------------------------------------------------------------- predict


def draw(digit, size, ink, paper, path, mode="L"):
    """One of the sample's digits as in a photograph: large, off centre, in other colours."""
    small = Image.fromarray((255 * digit[..., 0]).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    strength = np.asarray(small, float) / 255
    page = np.full((2 * size, 3 * size), float(paper))
    page[size // 3 : size // 3 + size, size : 2 * size] += (ink - paper) * strength
    picture = Image.fromarray(page.clip(0, 255).astype(np.uint8))
    if mode == "I;16":
        picture = Image.fromarray((2000 + 100 * np.asarray(picture, np.uint16)).astype(np.uint16))
    else:
        picture = picture.convert(mode)
    picture.save(path)
    return path


STYLES = {
    "black on white": (0, 255, "png", "L"),
    "white on black": (255, 0, "png", "L"),
    "grey on grey, JPEG": (60, 170, "jpg", "RGB"),
    "palette": (0, 255, "png", "P"),
    "16 bits": (0, 255, "png", "I;16"),
}


@pytest.mark.parametrize(("ink", "paper", "ending", "mode"), list(STYLES.values()), ids=list(STYLES))
def test_predict_reads_any_size_and_either_polarity(good_model, sample, capsys, ink, paper, ending, mode):
    net = sn.load(good_model)
    right = np.flatnonzero(net.predict(sample[1].images[:60]).argmax(1) == sample[1].labels[:60])[:12]
    paths = [draw(sample[1].images[i], 90, ink, paper, f"{i}.{ending}", mode) for i in right]
    assert main(["predict", *paths, "--model", str(good_model)]) == 0
    out = capsys.readouterr().out
    read = [f"{path}: {sample[1].labels[i]}, with probability" in out for path, i in zip(paths, right, strict=True)]
    assert sum(read) >= 11
    assert out.count("+" + "-" * 28 + "+") == 24, "what it saw of each"


DISTURBANCES = {
    "noise": lambda page, rng: page + rng.normal(0, 10, page.shape),
    "vignette": lambda page, rng: page * (1 - 0.25 * np.add.outer(*(np.linspace(-1, 1, n) ** 2 for n in page.shape))),
    "shadow from one side": lambda page, rng: page * np.linspace(1, 0.6, page.shape[1]),
    "a speck in the corner": lambda page, rng: np.where(np.add.outer(*map(np.arange, page.shape)) == 1, 0, page),
}


@pytest.mark.parametrize("disturb", list(DISTURBANCES.values()), ids=list(DISTURBANCES))
def test_predict_reads_photographs(good_model, sample, disturb, tmp_path):
    """Grey ink on grey paper, as in a picture from a phone."""
    net, rng = sn.load(good_model), np.random.default_rng(0)
    right = np.flatnonzero(net.predict(sample[1].images[:60]).argmax(1) == sample[1].labels[:60])[:15]
    read = 0
    for i in right:
        draw(sample[1].images[i], 200, 60, 210, "page.png")
        page = disturb(np.asarray(Image.open("page.png"), float), rng)
        Image.fromarray(page.clip(0, 255).astype(np.uint8)).save("photo.jpg")
        read += net.predict(read_digit("photo.jpg")[None]).argmax() == sample[1].labels[i]
    assert read >= 13, f"{read} of {len(right)}"


def test_white_ink_on_nothing_is_seen_by_its_transparency():
    picture = Image.new("RGBA", (60, 80), (255, 255, 255, 0))
    ImageDraw.Draw(picture).line([(30, 10), (30, 70)], fill=(255, 255, 255, 255), width=6)
    picture.save("one.png")
    assert read_digit("one.png").sum() > 20


@pytest.mark.parametrize("ink", [40, 220], ids=["dark on light", "light on dark"])
def test_things_are_cut_out_whole_and_called_by_their_names(ink, capsys):
    """A model of Fashion-MNIST: the object fills the picture, and the model's file names the data set."""
    page = np.full((90, 70), 255 - ink, np.uint8)
    page[20:76, 30:58] = ink
    page[40:50, 40:48] = 128  # a pattern printed on the object
    Image.fromarray(page).save("dress.png")
    seen = read_object("dress.png")
    rows, columns = (np.flatnonzero(seen[..., 0].any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (28, 14), "as large as fits"
    assert columns[0] == 7, "in the middle"
    assert 0.4 < seen[12, 14, 0] < 0.6, "its shades are kept"

    things = sn.Dataset(np.zeros((1, 28, 28, 1)), np.zeros(1, int), "things", sn.data.DATASETS["fashion-mnist"])
    sn.save(sn.models.four_conv_cnn(), "things.safetensors", trained_on=things)
    assert main(["predict", "dress.png", "--model", "things.safetensors"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"dress\.png: (\w|[-/ ])+, with probability", out)
    assert re.search(r"\nAnkle boot +\d", out)
    assert "does the picture below look like one thing" in out
    assert as_text(seen) in out
    assert main(["predict", "dress.png", "--model", "things.safetensors", "--data", "mnist"]) == 0
    assert re.search(r"\n9 +\d", capsys.readouterr().out), "another data set can be named"


def test_an_unsure_answer_is_called_so(good_model, capsys):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (28, 28)).astype(np.uint8)).save("noise.png")
    untrained = sn.models.four_conv_cnn()
    sn.save(untrained, "untrained.safetensors")
    assert main(["predict", "noise.png", "--model", "untrained.safetensors"]) == 0
    assert "(unsure: does the picture below look like one digit" in capsys.readouterr().out


def test_a_digit_of_mnist_comes_out_as_it_went_in(sample, tmp_path):
    """Repeating MNIST's preparation moves a digit by at most one pixel and keeps its shape."""
    differences = []
    for image in sample[1].images[:30]:
        Image.fromarray((255 * image[..., 0]).astype(np.uint8)).save("d.png")
        seen = read_digit("d.png")
        assert seen.shape == image.shape
        assert seen.dtype == np.float32
        shifts = [np.roll(seen, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        differences.append(min(np.abs(s - image).mean() for s in shifts))
    assert np.median(differences) < 0.03


def test_transparency_is_paper():
    picture = Image.new("RGBA", (60, 80), (0, 0, 0, 0))
    ImageDraw.Draw(picture).line([(30, 10), (30, 70)], fill=(0, 0, 0, 255), width=6)
    picture.save("one.png")
    seen = read_digit("one.png")
    assert seen.max() == 1
    rows = np.flatnonzero(seen[..., 0].any(axis=1))
    assert rows[-1] - rows[0] + 1 == 20, "the longer side fills MNIST's box"


def test_the_text_picture_has_a_frame_and_shades():
    image = np.zeros((28, 28, 1), np.float32)
    image[10:12] = 1
    lines = as_text(image).splitlines()
    assert len(lines) == 16
    assert lines[6] == f"|{'@' * 28}|"
    assert lines[1] == f"|{' ' * 28}|"


def test_pictures_that_cannot_be_read_are_named(good_model, capsys):
    model = ["--model", str(good_model)]
    assert main(["predict", "nowhere.png", *model]) == 1
    assert "scratchnet: nowhere.png: no such file" in capsys.readouterr().err
    Path("text.png").write_text("not a picture")
    assert main(["predict", "text.png", *model]) == 1
    assert "text.png: not a picture that can be read" in capsys.readouterr().err
    whole = draw(np.ones((28, 28, 1)), 50, 0, 255, "whole.png")
    content = bytearray(Path(whole).read_bytes())
    content[-30:] = bytes(30)
    content[40] ^= 255
    Path("broken.png").write_bytes(content)
    assert main(["predict", "broken.png", *model]) == 1
    assert "broken.png: not a picture that can be read" in capsys.readouterr().err
    Image.new("L", (50, 50), 200).save("empty.png")
    assert main(["predict", "empty.png", *model]) == 1
    assert "empty.png: expected a digit, but the picture is all of one colour" in capsys.readouterr().err


def test_predict_without_a_model_says_how_to_get_one(capsys):
    assert main(["predict", "x.png"]) == 1
    assert (
        f"no trained model here; train all with '{command_line('reproduce')}', or name one with --model"
        in capsys.readouterr().err
    )


# ---------------------------------------------------------------- exit codes


def test_wrong_usage_is_2_and_shows_the_usage(capsys):
    for arguments in ([], ["fly"], ["train"], ["train", "alexnet"], ["train", "standard_cnn", "--epochs", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        assert f"usage: {command_line()}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["", "train", "evaluate", "predict", "reproduce", "info", "summary", "step", "check", "hint"]
)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "example" in out
    assert f"  {command_line(*command.split())}" in out


ODD_OPTIONS = {
    "train standard_cnn --out notes.txt": "notes.txt: expected a folder to write to, but notes.txt is a file",
    "train standard_cnn --out notes.txt/run --resume": "but {here}/notes.txt is a file; name one with --out",
    "train standard_cnn --data-dir nowhere": "--data-dir says where a data set's files are, and the sample has none",
    "train standard_cnn --data mnist --data-dir notes.txt": "expected a folder with the four MNIST files, but it is a",
    "train standard_cnn --lr nan": "expected lr to be a finite number of at least 0, got nan",
    "train standard_cnn --optimizer sgd --momentum 1": "expected momentum to be at least 0 and below 1, got 1.0",
    "reproduce --out notes.txt": "notes.txt: expected a folder to write to, but notes.txt is a file",
    "reproduce --data mnist --out notes.txt": "notes.txt: expected a folder to write to, but notes.txt is a file",
    "reproduce --seeds 2": "--seeds 2: expected a whole data set to train on, got the sample; add --data mnist",
    "reproduce --data-dir nowhere": "--data-dir nowhere: expected a whole data set to train on, got the sample",
    "reproduce --recipe modern --data sample": "--recipe modern: expected --data mnist or fashion-mnist, got --data",
    "evaluate standard_cnn.safetensors --data-dir nowhere": "--data-dir says where a data set's files are, and the",
    "step standard_cnn --data-dir nowhere": "--data-dir says where a data set's files are, and the sample has none",
    "step standard_cnn --digit 2000": "--digit: expected 0 to 1999, one of the held-out digits of the sample; got 2000",
    "check --folder notes.txt": "expected exercises in notes.txt, found none; run this inside a clone",
    "check 15": "expected an exercise from 01 to 14, got 15",
    "check \N{SUPERSCRIPT TWO}": "expected an exercise from 01 to 14, got \N{SUPERSCRIPT TWO}",
    "hint 05 0": "exercise 05 has hints 1 to 3, got 0",
    "predict notes.txt --model nowhere": "nowhere: no trained model here; train all with",
}


@pytest.mark.parametrize(("arguments", "message"), ODD_OPTIONS.items(), ids=list(ODD_OPTIONS))
def test_an_odd_option_is_one_clear_line(arguments, message, tmp_path, capsys):
    """It is said before anything is loaded, trained or written."""
    Path("notes.txt").write_text("keep me")
    assert main([*arguments.split(), "--engine", "numpy"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("scratchnet: ")
    assert err.count("\n") == 1
    assert message.format(here=tmp_path) in err
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("notes.txt", "keep me")]


WHOLE_NUMBERS = [
    "train standard_cnn --epochs", "train standard_cnn --steps", "train standard_cnn --batch-size",
    "train standard_cnn --seed", "train standard_cnn --checkpoint-every", "reproduce --seed", "reproduce --seeds",
    "explain standard_cnn --batch-size", "step standard_cnn --digit",
]  # fmt: skip


@pytest.mark.parametrize("number", ["-1", "1.5", "", "ten", "9" * 400, "1e3"])
@pytest.mark.parametrize("option", WHOLE_NUMBERS)
def test_a_whole_number_is_one_within_limits(option, number, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*option.split(), number])
    assert stop.value.code == 2
    assert f"{option.split()[-1]}: expected one whole number from " in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_exercises_are_named_or_all_of_them(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["check", "05", "--all"])
    assert stop.value.code == 2
    assert "--all: not allowed with argument NUMBER" in capsys.readouterr().err


@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
@pytest.mark.parametrize("arguments", ["summary standard_cnn", "step --untrained", "check --all", "evaluate nowhere"])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(arguments, closed, buffered):
    """As with `| head`, or `2>&1 | head`: no traceback, and the exit code that others have: 128 + SIGPIPE."""
    with subprocess.Popen(
        [sys.executable, "-m", "scratchnet", *arguments.split(), "--engine", "numpy"],
        env=os.environ | {"PYTHONUNBUFFERED": buffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        getattr(child, closed).close()
        other = (child.stderr if closed == "stdout" else child.stdout).read()
    fails = arguments.startswith("evaluate")
    writes = fails if closed == "stderr" else not fails
    assert child.wait() == (141 if writes else 1 if fails or arguments.startswith("check") else 0)
    assert b"Traceback" not in other
    assert b"Exception ignored" not in other


def test_a_failure_is_1_with_a_message_and_no_traceback():
    run = subprocess.run(
        [sys.executable, "-m", "scratchnet", "evaluate", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "scratchnet: nowhere: no such file\n"


def test_the_engine_can_be_chosen(good_model, capsys):
    assert main(["evaluate", str(good_model), "--engine", "numpy"]) == 0
    numpy_says = capsys.readouterr().out
    assert main(["evaluate", str(good_model), "--engine", "numba"]) == 0
    assert capsys.readouterr().out == numpy_says


def test_a_bad_engine_variable_is_a_message(good_model):
    run = subprocess.run(
        [sys.executable, "-m", "scratchnet", "evaluate", good_model],
        env=os.environ | {"SCRATCHNET_ENGINE": "abacus"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    said = run.stderr.splitlines()[-1]
    assert said.startswith("scratchnet: engine: expected one of numpy, numba, mine, got 'abacus'")
    assert "Traceback" not in run.stderr
