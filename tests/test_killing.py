"""Runs on the compiled engine that are killed again and again end with the weights of a run that was left alone.

A trial trains a network in processes that are ended at random moments, until one comes to its end; then the weights are
compared bit for bit. The moments are drawn so that they hit every phase: one in four is somewhere in the whole run, the
others are shortly after a checkpoint was begun (there is one after each step). In one test, nothing is compiled at
first, and the moments lie in the compilation.

    SCRATCHNET_KILLS=200 python -m pytest -s tests/test_killing.py

makes 200 kills with SIGKILL, 50 each with SIGTERM and SIGINT, and those while it compiles, which a run without the
variable leaves out.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from test_fast import TWO_THREADS

import scratchnet as sn
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.run import CHECKPOINT
from scratchnet.writing import remove_abandoned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has none of these signals"),
]

KILLS = int(os.environ.get("SCRATCHNET_KILLS", "3"))
STEPS = 24
OPTIONS = {"four_conv_cnn": {}, "standard_cnn": {}, "separable_cnn": {"dense_units": 128}}

CHILD = """
import sys
from pathlib import Path
import scratchnet as sn
model, folder = sys.argv[1], Path(sys.argv[2])
net = sn.models.ARCHITECTURES[model].make(seed=3, init="he_normal", **OPTIONS)
train, test = sn.data.load("sample")
print("ready", flush=True)
sn.fit(net, train[:80], test[:20], optimizer=sn.SGD(net.parameters(), lr=0.01, momentum=0.9), steps=STEPS, batch_size=8,
       schedule=sn.cosine(0.01, STEPS), folder=folder, resume=True, checkpoint_every=1, progress=False)
sn.save(net, folder / "model.safetensors")
"""


def start(model, folder, cache=None):
    script = CHILD.replace("OPTIONS", repr(OPTIONS[model])).replace("STEPS", str(STEPS))
    environment = os.environ | {"SCRATCHNET_ENGINE": "numba"}
    if cache:  # it compiles, in processes of its own if there are several threads
        environment |= TWO_THREADS | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", script, model, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A function that gives, for a network, the folder of a run that nothing stopped, and the seconds that it took."""

    @functools.cache
    def finish(model):
        for _ in range(2):  # the first fills the cache, the second is timed
            folder = tmp_path_factory.mktemp(model) / "run"
            child = start(model, folder)
            child.stdout.readline()
            started = time.monotonic()
            _, errors = child.communicate(timeout=900)
            assert child.returncode == 0, errors
        return folder, time.monotonic() - started

    return finish


def wait_for_a_checkpoint(child, folder):
    """Return when the process begins to write one, or has ended."""
    while child.poll() is None and not list(folder.glob(f".{CHECKPOINT}.*.partial")):
        time.sleep(0.001)


def kill_until_finished(model, folder, number, draw, cache=None):
    """Start the run again until it ends by itself; each process before that gets the signal. Counts what was hit.

    `draw` gives, for each process, the seconds to wait, and whether they count from the beginning of a checkpoint.
    """
    hits = Counter()
    while True:
        child = start(model, folder, cache)
        child.stdout.readline()
        seconds, from_a_checkpoint = draw()
        if from_a_checkpoint:
            remove_abandoned(folder)
            wait_for_a_checkpoint(child, folder)
        try:
            _, errors = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(number)
            _, errors = child.communicate(timeout=120)
        if child.returncode == 0:
            return hits
        hits["kills"] += 1
        if number == signal.SIGKILL:
            assert child.returncode == -number, errors
            hits["in a checkpoint"] += bool(list(folder.glob(f".{CHECKPOINT}.*.partial")))
            hits["before the first step"] += not (folder / CHECKPOINT).exists()
        elif "stopping after this step ..." in errors:  # else it ended before it began to train
            saved = re.search(rf"stopped after step (\d+) and saved in {re.escape(str(folder))}; go on", errors)
            assert saved, errors
            assert len(sn.read_metrics(folder / METRICS).steps) == int(saved[1])
            hits["saved"] += 1


def check_same_run(one, other):
    nets = [sn.load(folder / "model.safetensors") for folder in (one, other)]
    for p, q in zip(*(net.parameters() for net in nets), strict=True):
        assert p.value.tobytes() == q.value.tobytes(), p.name
    logs = [sn.read_metrics(folder / METRICS) for folder in (one, other)]
    assert logs[0].steps == logs[1].steps
    assert [e["test_loss"] for e in logs[0].epochs] == [e["test_loss"] for e in logs[1].epochs]
    assert sorted(path.name for path in other.iterdir()) == sorted(path.name for path in one.iterdir()), "leftovers"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("model", list(OPTIONS))
def test_a_killed_run_ends_with_the_same_bits(model, number, undisturbed, tmp_path):
    whole, seconds = undisturbed(model)
    rng = np.random.default_rng([len(model), number])
    wanted = -(-KILLS // (3 if number == signal.SIGKILL else 12))  # most are SIGKILL: nothing can be done then
    hits, trials = Counter(), 0

    def draw():
        anywhere = rng.random() < 0.25
        return (rng.uniform(0, 0.5 * seconds), False) if anywhere else (rng.uniform(0, 3 * seconds / STEPS), True)

    while hits["kills"] < wanted:
        hits += kill_until_finished(model, tmp_path / f"{trials}", number, draw)
        check_same_run(whole, tmp_path / f"{trials}")
        trials += 1
    assert number == signal.SIGKILL or hits["saved"] >= hits["kills"] // 2
    print(f"\n{model}, {number.name}: {trials} runs, {dict(hits)}")


@pytest.mark.skipif(KILLS < 20, reason="compiles everything anew, which takes minutes; SCRATCHNET_KILLS=200 does it")
def test_killed_while_it_compiles_it_ends_with_the_same_bits(undisturbed, tmp_path):
    """Each network starts with an empty cache, and is killed until all its kernels are compiled."""
    rng = np.random.default_rng(1)
    for model in reversed(list(OPTIONS)[-max(1, min(3, KILLS // 20)) :]):
        hits = kill_until_finished(
            model, tmp_path / model, signal.SIGKILL, lambda: (rng.uniform(1, 8), False), tmp_path / f"cache of {model}"
        )
        check_same_run(undisturbed(model)[0], tmp_path / model)
        assert hits["kills"] > 0
        print(f"\n{model}, SIGKILL while compiling: {dict(hits)}")


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_is_answered_at_once_while_kernels_are_compiled(presses, tmp_path):
    """The first one is answered; the second one ends the process without waiting for the other kernels."""
    child = start("separable_cnn", tmp_path / "run", tmp_path / "cache")
    try:
        assert "compiling" in child.stderr.readline()
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        started = time.monotonic()
        while "stopping after this step" not in child.stderr.readline():
            pass
        assert time.monotonic() - started < 5, "usually 0.02 s; at most one call into LLVM"
        if presses == 2:
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=20)
            assert "KeyboardInterrupt: stopped at once" in errors
    finally:
        child.kill()
        child.communicate()
