"""Training learns, can be repeated bit for bit, and can be resumed after any interruption with the same result."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.runs.metrics import METRICS

pytestmark = pytest.mark.usefixtures("engine")


def small_net(seed=0):
    """A small network with dropout, whose generator has to be restored too."""
    rng = np.random.default_rng(seed)
    return sn.Network(
        [
            sn.Conv2D(1, 4, 3, stride=2, init="he_normal", rng=rng),
            sn.ReLU(),
            sn.MaxPool2D(2),
            sn.Flatten(),
            sn.Dense(196, 32, init="he_normal", rng=rng),
            sn.ReLU(),
            sn.Dropout(0.3, rng=rng),
            sn.Dense(32, 10, init="he_normal", rng=rng),
        ],
        input_shape=(28, 28, 1),
        name="small",
    )


def weights(net):
    return [p.value.copy() for p in net.parameters()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def train_small(data, folder=None, seed=0, momentum=0.9, **options):
    net = small_net()
    optimizer = sn.SGD(net.parameters(), lr=0.05, momentum=momentum)
    arguments = {"epochs": 3, "batch_size": 50, "progress": False} | options
    history = sn.fit(net, data[:320], data[320:420], optimizer=optimizer, folder=folder, seed=seed, **arguments)
    return net, history


def test_it_learns(sample):
    _, history = train_small(sample[0], epochs=12)
    assert history.epochs[-1]["test_accuracy"] > 0.6
    assert history.steps[-1]["loss"] < history.steps[0]["loss"] / 2


def test_the_history_holds_every_step_and_epoch(sample):
    _, history = train_small(sample[0], schedule=sn.step_decay(0.1, 7))
    assert [s["step"] for s in history.steps] == list(range(1, 22))  # 320 images in batches of 50: 7 steps an epoch
    assert [s["epoch"] for s in history.steps] == [1] * 7 + [2] * 7 + [3] * 7
    assert [s["lr"] for s in history.steps] == pytest.approx([0.1] * 7 + [0.01] * 7 + [0.001] * 7)
    assert [e["step"] for e in history.epochs] == [7, 14, 21]
    assert all(e["test_set"] == sample[0].name and e["steps_per_second"] > 0 for e in history.epochs)


@pytest.mark.parametrize("place", ["compiling", "evaluation", "a checkpoint"])
def test_the_speed_leaves_out_what_is_no_step(place, sample, monkeypatch, tmp_path, capsys):
    """A second is lost in one of three places. The bar and the history still say how fast the steps are."""
    lose_a_second = iter([True]).__next__

    def slow(function):
        def run(*arguments, **options):
            try:
                lose_a_second()
                time.sleep(1)
            except StopIteration:
                pass
            return function(*arguments, **options)

        return run

    target = {
        "compiling": "scratchnet.network.Network.backward",
        "evaluation": "scratchnet.train.evaluate",
        "a checkpoint": "scratchnet.runs.run.save_checkpoint",
    }[place]
    monkeypatch.setattr(target, slow(pkgutil.resolve_name(target)))
    with sn.use_engine("numpy"):
        _, history = train_small(sample[0], tmp_path, progress=True, epochs=None, steps=16, checkpoint_every=2)
    assert all(epoch["steps_per_second"] > 20 for epoch in history.epochs)
    assert f", {history.steps_per_second():.1f} steps/s, loss" in capsys.readouterr().err.splitlines()[-1]


def test_steps_in_place_of_epochs_end_anywhere(sample):
    _, history = train_small(sample[0], epochs=None, steps=10)
    assert len(history.steps) == 10
    assert [e["step"] for e in history.epochs] == [7, 10]


def test_the_test_set_does_not_matter_to_training(sample):
    with_test, _ = train_small(sample[0])
    net = small_net()
    optimizer = sn.SGD(net.parameters(), lr=0.05, momentum=0.9)
    history = sn.fit(net, sample[0][:320], optimizer=optimizer, epochs=3, batch_size=50, progress=False)
    assert same(weights(with_test), weights(net))
    assert "test_accuracy" not in history.epochs[0]


def test_one_seed_one_result_to_the_last_bit(sample):
    first, again = (weights(train_small(sample[0])[0]) for _ in range(2))
    other = weights(train_small(sample[0], seed=1)[0])
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.slow
@pytest.mark.parametrize("model", list(sn.models.ARCHITECTURES))
def test_one_seed_one_result_in_another_process(model, engine, tmp_path):
    """The result does not depend on memory layout, on the order of sets or on what ran before."""
    script = (
        "import sys, scratchnet as sn\n"
        "train, test = sn.data.load('sample')\n"
        f"net = sn.models.{model}(seed=0)\n"
        "sn.fit(net, train, optimizer=sn.SGD(net.parameters(), lr=0.05), steps=4, batch_size=128, progress=False)\n"
        "sn.save(net, sys.argv[1])\n"
    )
    for place in ("one", "two"):
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / place], env=os.environ | {"SCRATCHNET_ENGINE": engine}, check=True
        )
    assert same(weights(sn.load(tmp_path / "one")), weights(sn.load(tmp_path / "two")))


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize("checkpoint_every", [None, 1, 4, 5], ids=str)
@pytest.mark.parametrize("stop_after", [3, 7, 11])
def test_a_resumed_run_ends_with_the_same_bits(sample, tmp_path, monkeypatch, checkpoint_every, stop_after):
    whole, whole_history = train_small(sample[0], schedule=sn.cosine(0.1, 21))
    stop_in_step(monkeypatch, stop_after + 1, RuntimeError("power cut"))
    options = {"schedule": sn.cosine(0.1, 21), "checkpoint_every": checkpoint_every}
    with pytest.raises(RuntimeError, match="power cut"):
        train_small(sample[0], tmp_path, **options)
    monkeypatch.undo()
    resumed, history = train_small(sample[0], tmp_path, resume=True, **options)
    assert same(weights(whole), weights(resumed))
    assert history.steps == whole_history.steps
    assert sn.read_metrics(tmp_path / METRICS).steps == whole_history.steps
    assert [e["test_accuracy"] for e in history.epochs] == [e["test_accuracy"] for e in whole_history.epochs]


def stop_in_step(monkeypatch, step, error):
    """Raise an error in the n-th call of SGD.step."""
    calls = []
    original = sn.SGD.step

    def stopping(self):
        calls.append(1)
        if len(calls) == step:
            raise error
        original(self)

    monkeypatch.setattr(sn.SGD, "step", stopping)


def test_adam_and_its_step_count_are_resumed(sample, tmp_path):
    def adam(folder=None, resume=False, steps=6):
        net = small_net()
        optimizer = sn.Adam(net.parameters(), lr=0.01)
        sn.fit(net, sample[0][:320], optimizer=optimizer, steps=steps, folder=folder, resume=resume, progress=False)
        return weights(net), optimizer

    whole, _ = adam()
    adam(tmp_path, steps=4)
    resumed, optimizer = adam(tmp_path, resume=True)
    assert same(whole, resumed)
    assert optimizer.steps == 6


def test_a_finished_run_resumed_does_nothing(sample, tmp_path):
    net, _ = train_small(sample[0], tmp_path)
    again, history = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(net), weights(again))
    assert len(history.steps) == 21


def test_a_new_run_does_not_overwrite_an_old_one(sample, tmp_path):
    train_small(sample[0], tmp_path)
    with pytest.raises(FileExistsError, match="holds an earlier run; resume it, choose another folder"):
        train_small(sample[0], tmp_path)


def test_resuming_without_a_folder_says_so(sample):
    with pytest.raises(ValueError, match="expected a folder to resume from, got none"):
        train_small(sample[0], resume=True)


def test_a_metrics_line_that_was_cut_off_is_left_out(sample, tmp_path):
    train_small(sample[0], tmp_path, epochs=1)
    path = tmp_path / METRICS
    lines = path.read_text().splitlines()
    assert all(json.loads(line)["step"] for line in lines)
    path.write_text("\n".join([*lines, '{"event": "st']))
    assert len(sn.read_metrics(path).steps) == 7
    resumed, _ = train_small(sample[0], tmp_path, epochs=3, resume=True)
    assert same(weights(resumed), weights(train_small(sample[0])[0]))
    path.write_text("\n".join([lines[0], "{garbage", *lines[2:], ""]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 is damaged"):
        train_small(sample[0], tmp_path, resume=True)
    path.unlink()
    with pytest.raises(ValueError, match=r"metrics\.jsonl: expected the records of 21 steps, got 0"):
        train_small(sample[0], tmp_path, resume=True)


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import scratchnet as sn
from test_train import small_net
train, test = sn.data.load("sample")
warm = small_net()  # whatever is compiled, is compiled before the clock starts
sn.fit(warm, train[:20], test[:100], optimizer=sn.Adam(warm.parameters()), steps=1, batch_size=20, progress=False)
net = small_net()
print("ready", flush=True)
sn.fit(net, train, test[:100], optimizer=sn.Adam(net.parameters(), 0.01), steps=900, batch_size=20,
       folder=sys.argv[1], resume=True, checkpoint_every=int(sys.argv[2]), progress=False)
sn.save(net, Path(sys.argv[1]) / "model.safetensors")
"""


def start_child(folder, engine, checkpoint_every):
    script = CHILD.format(tests=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", script, folder, str(checkpoint_every)],
        env=os.environ | {"SCRATCHNET_ENGINE": engine},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [1, 37], ids=["a checkpoint a step", "a checkpoint now and then"])
def test_killed_again_and_again_it_ends_with_the_same_bits(engine, tmp_path, checkpoint_every):
    """With a checkpoint after every step, most kills happen while one is being written."""
    whole = start_child(tmp_path / "whole", engine, 1000)
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    kills = 0
    moments = np.random.default_rng(checkpoint_every).uniform(0.02, 0.12, 6)
    for moment in moments:
        child = start_child(tmp_path / "killed", engine, checkpoint_every)
        assert child.stdout.readline() == "ready\n"
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        kills += child.returncode == -signal.SIGKILL
    assert kills >= 3, "it was to be killed in the middle of its work"
    last = start_child(tmp_path / "killed", engine, checkpoint_every)
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    nets = [sn.load(tmp_path / place / "model.safetensors") for place in ("whole", "killed")]
    assert same(weights(nets[0]), weights(nets[1]))
    logs = [sn.read_metrics(tmp_path / place / METRICS).steps for place in ("whole", "killed")]
    assert logs[0] == logs[1]


# ---------------------------------------------------------------- interruption


def test_ctrl_c_finishes_the_step_saves_and_can_be_resumed(sample, tmp_path, monkeypatch):
    whole, _ = train_small(sample[0])
    calls = []
    original = sn.SGD.step

    def interrupted(self):
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)  # arrives before half of the weights have been updated
        original(self)

    monkeypatch.setattr(sn.SGD, "step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    message = f"stopped after step 5 and saved in .*; go on with resume=True on the engine {sn.current_engine()}$"
    with pytest.raises(KeyboardInterrupt, match=message):
        train_small(sample[0], tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler, "put back"
    assert len(sn.read_metrics(tmp_path / METRICS).steps) == 5
    resumed, _ = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))


PLACES = [  # where a run is when it is asked to stop
    "scratchnet.runs.run.planned",
    "scratchnet.data.dataset.Dataset.batches",
    "scratchnet.network.Network.forward",
    "scratchnet.network.Network.backward",
    "scratchnet.optim.SGD.step",
    "scratchnet.train.evaluate",
    "scratchnet.runs.run.save_checkpoint",
]


@pytest.mark.parametrize("seed", range(3))
def test_stopped_at_any_place_it_ends_with_the_same_bits(seed, sample, tmp_path, monkeypatch):
    """Each process is stopped before a part of the run; the parts come in an order that is drawn."""
    whole, history = train_small(sample[0], epochs=8)
    for place in np.random.default_rng(seed).permutation(PLACES * 3):
        press_ctrl_c_before(place, monkeypatch)
        with pytest.raises(KeyboardInterrupt, match="stopped after step"):
            train_small(sample[0], tmp_path, epochs=8, resume=True)
        monkeypatch.undo()
    resumed, its_history = train_small(sample[0], tmp_path, epochs=8, resume=True)
    assert same(weights(whole), weights(resumed))
    assert [step["loss"] for step in its_history.steps] == [step["loss"] for step in history.steps]


def press_ctrl_c_before(place, monkeypatch):
    """Once, before the next call of a function."""
    function, presses = pkgutil.resolve_name(place), iter([signal.SIGINT])

    def interrupted(*arguments, **options):
        for number in presses:
            signal.raise_signal(number)
        return function(*arguments, **options)

    monkeypatch.setattr(place, interrupted)


def test_ctrl_c_without_a_folder_says_that_nothing_was_saved(sample, monkeypatch):
    original = sn.SGD.step
    monkeypatch.setattr(sn.SGD, "step", lambda self: (signal.raise_signal(signal.SIGINT), original(self)))
    with pytest.raises(
        KeyboardInterrupt, match="stopped after step 1; nothing was saved, since fit was given no folder"
    ):
        train_small(sample[0])


def test_a_second_ctrl_c_stops_at_once(sample, monkeypatch):
    def twice(self):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        time.sleep(5)
        pytest.fail("went on")

    monkeypatch.setattr(sn.SGD, "step", twice)
    with pytest.raises(KeyboardInterrupt):
        train_small(sample[0])


def test_it_trains_in_a_thread_where_there_are_no_signals(sample):
    expected, _ = train_small(sample[0])
    results = []
    thread = threading.Thread(target=lambda: results.append(train_small(sample[0])[0]))
    thread.start()
    thread.join()
    assert same(weights(expected), weights(results[0]))


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite_stops_and_names_step_and_cause(sample):
    net = small_net()
    optimizer = sn.SGD(net.parameters(), lr=1e30)
    with (
        pytest.raises(sn.TrainingDiverged, match=r"step 2: the loss is (nan|inf): .* learning rate 1e\+30 is too high"),
        np.errstate(all="ignore"),
    ):
        sn.fit(net, sample[0][:100], optimizer=optimizer, epochs=2, batch_size=50, progress=False)
    x = sample[0].images[:50].copy()
    x[0, 0, 0] = np.nan
    net = small_net()
    with pytest.raises(sn.TrainingDiverged, match="step 1: .* the batch holds NaN or infinite pixels"):
        sn.fit(
            net, sn.Dataset(x, sample[0].labels[:50], "x"), optimizer=sn.SGD(net.parameters()), steps=1, progress=False
        )
    net = small_net()
    net.parameters()[0].value[0] = np.nan
    with pytest.raises(sn.TrainingDiverged, match="step 0: NaN or infinite weights in conv1.w"):
        sn.fit(net, sample[0][:50], optimizer=sn.SGD(net.parameters()), steps=1, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": None}, "expected either epochs or steps, got epochs=None and steps=None"),
        ({"epochs": 1.5}, "fit: expected epochs to be a positive integer, got 1.5"),
        ({"epochs": 1, "steps": 1}, "expected either epochs or steps"),
        ({"epochs": 0}, "fit: expected epochs to be a positive integer, got 0"),
        ({"batch_size": 0}, "expected batch_size to be a positive integer, got 0"),
        ({"checkpoint_every": 0}, "expected checkpoint_every to be a positive integer"),
    ],
)
def test_a_bad_argument_is_named(sample, options, message):
    with pytest.raises(ValueError, match=message):
        train_small(sample[0], **options)


def test_weights_that_diverge_in_the_last_step_are_not_taken_for_a_result(sample, tmp_path):
    net = small_net()
    with (
        np.errstate(all="ignore"),
        pytest.raises(sn.TrainingDiverged, match="step 1: NaN or infinite weights in conv1.w"),
    ):
        sn.fit(
            net, sample[0][:50], optimizer=sn.SGD(net.parameters(), lr=1e39), steps=1, folder=tmp_path, progress=False
        )
    assert not (tmp_path / "checkpoint.safetensors").exists()
    with pytest.raises(ValueError, match="expected the schedule's lr to be a finite number"):
        train_small(sample[0], schedule=lambda step: float("nan"))


def test_another_networks_optimizer_is_refused(sample):
    mine, other = small_net(), small_net()
    with pytest.raises(ValueError, match="the optimizer is over parameters that are not small's"):
        sn.fit(mine, sample[0], optimizer=sn.SGD(other.parameters()), steps=1, progress=False)


def test_a_network_that_learns_its_input_shape_can_be_resumed(sample, tmp_path):
    def run(resume, steps):
        net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
        options = {"batch_size": np.int64(20), "seed": np.int64(3), "schedule": lambda step: np.float32(0.1)}
        sn.fit(
            net, sample[0][:80], optimizer=sn.SGD(net.parameters()), epochs=steps, folder=tmp_path, resume=resume,
            progress=False, **options,
        )  # fmt: skip

    run(False, 1)
    run(True, 1)


def test_empty_data_is_refused(sample):
    net = small_net()
    with pytest.raises(ValueError, match="expected at least one image to train on, got none"):
        sn.fit(net, sample[0][:0], optimizer=sn.SGD(net.parameters()), epochs=1)
    with pytest.raises(ValueError, match="expected at least one image to evaluate on, got none"):
        sn.evaluate(net, sample[0][:0])
    with pytest.raises(ValueError, match="evaluate: expected batch_size to be a positive integer, got -1"):
        sn.evaluate(net, sample[0], batch_size=-1)


def test_evaluate_shows_a_bar_only_if_it_is_asked_to(sample, capsys):
    net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
    for progress in ({}, {"progress": True}):
        sn.evaluate(net, sample[0][:8], **progress)
        assert ("evaluating" in capsys.readouterr().err) is bool(progress)


def test_evaluate_is_the_mean_over_all_images_whatever_the_batches(sample):
    net, data = small_net(), sample[1][:70]
    loss, accuracy = sn.evaluate(net, data, batch_size=32)
    logits = net.forward(data.images)
    assert loss == pytest.approx(sn.softmax_cross_entropy(logits, data.labels)[0], rel=1e-6)
    assert accuracy == (logits.argmax(axis=1) == data.labels).mean()


def test_progress_is_shown_on_stderr(sample, capfd):
    train_small(sample[0], progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "small: 100%" in err
    assert "21/21" in err
    assert "loss" in err
    assert "after epoch 3" in err
