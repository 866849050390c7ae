"""Runs that are stopped from outside: signals, two processes in one folder, folders that go away, files left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import filelock
import numpy as np
import pytest
import safetensors
from test_train import same, train_small, weights

import scratchnet as sn
from scratchnet import writing
from scratchnet.cli import main
from scratchnet.runs import interrupt, run
from scratchnet.runs.interrupt import Stopped, interruptible
from scratchnet.runs.lock import LOCK, OWNER, FolderInUse, locked
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.run import CHECKPOINT, RunNotKept
from scratchnet.writing import written_atomically

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once, and has no SIGHUP")


@pytest.fixture(autouse=True)
def numpy_engine():
    """Nothing here depends on the kernels; test_killing.py is about the compiled ones."""
    with sn.use_engine("numpy"):
        yield


@pytest.fixture(autouse=True)
def handlers_of_a_program():
    """The handlers that Python starts with: pytest's own for SIGTERM, and nohup's for SIGHUP, would be left alone."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def at_step(monkeypatch, step, action):
    """Call `action` within the n-th step of SGD, before the weights are changed."""
    calls = []
    original = sn.SGD.step

    def acting(self):
        calls.append(1)
        if len(calls) == step:
            action()
        original(self)

    monkeypatch.setattr(sn.SGD, "step", acting)


def process(script, *arguments, **options):
    """Python in a process of its own, on the readable engine."""
    environment = os.environ | {"SCRATCHNET_ENGINE": "numpy"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, *script, *map(str, arguments)], env=environment, **pipes)


TRAIN = ["-m", "scratchnet", "train", "separable_cnn", "--steps", "400", "--batch-size", "4", "--checkpoint-every", "1"]


@contextlib.contextmanager
def training(folder, script=TRAIN, **options):
    """The command, training in a process of its own, with some checkpoints written already."""
    child = process([*script, "--out", str(folder)], **options)
    try:
        deadline = time.monotonic() + 60
        while not (folder / CHECKPOINT).exists():
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield child
    finally:
        child.kill()
        child.communicate()


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_saves_after_the_step_and_the_run_goes_on(number, sample, tmp_path, monkeypatch, capsys):
    whole, _ = train_small(sample[0])
    at_step(monkeypatch, 5, lambda: signal.raise_signal(number))
    handlers = {n: signal.getsignal(n) for n in SIGNALS}
    with pytest.raises(Stopped, match=f"^stopped after step 5 and saved in {re.escape(str(tmp_path))}; go on") as stop:
        train_small(sample[0], tmp_path)
    assert stop.value.signal == number
    assert "\nstopping after this step ... (Ctrl-C stops at once)\n" in capsys.readouterr().err
    assert handlers == {n: signal.getsignal(n) for n in SIGNALS}, "put back"
    monkeypatch.undo()
    resumed, history = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))
    assert [s["step"] for s in history.steps] == list(range(1, 22))


@pytest.mark.parametrize("number", SIGNALS[1:])
def test_what_comes_twice_does_not_lose_the_step(number, sample, tmp_path, monkeypatch):
    at_step(monkeypatch, 2, lambda: [signal.raise_signal(number) for _ in range(3)])
    with pytest.raises(Stopped, match="stopped after step 2 and saved"):
        train_small(sample[0], tmp_path)


@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_after_any_signal_stops_at_once(first, sample, tmp_path, monkeypatch):
    def twice():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")

    at_step(monkeypatch, 1, twice)
    with pytest.raises(KeyboardInterrupt, match="stopped at once, in the middle of a step"):
        train_small(sample[0], tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("number", SIGNALS[1:])
def test_a_signal_that_the_program_ignores_or_handles_is_left_alone(number, sample, tmp_path, monkeypatch):
    """Under nohup, SIGHUP is ignored, and training goes on without the terminal."""
    seen = []
    at_step(monkeypatch, 2, lambda: signal.raise_signal(number))
    for handler in (signal.SIG_IGN, lambda number, frame: seen.append(number)):
        before = signal.signal(number, handler)
        try:
            train_small(sample[0], epochs=1)
        finally:
            signal.signal(number, before)
        monkeypatch.undo()
        at_step(monkeypatch, 2, lambda: signal.raise_signal(number))
    assert seen == [number]


def test_a_system_without_a_signal_trains(sample, monkeypatch):
    """Windows has no SIGHUP."""
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    source = Path(interrupt.__file__).read_text(encoding="utf-8")
    module = {"__name__": interrupt.__name__}
    exec(compile(source, interrupt.__file__, "exec", dont_inherit=True), module)
    assert module["SIGNALS"] == SIGNALS[:2]
    monkeypatch.setattr("scratchnet.train.interruptible", module["interruptible"])
    train_small(sample[0], epochs=1)


def test_other_threads_leave_the_signals_alone():
    def look():
        with interruptible() as request:
            seen.append((request.signal, signal.getsignal(signal.SIGTERM)))

    seen = []
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(None, signal.getsignal(signal.SIGTERM))]


class Broken:
    """A stream whose reader has gone, or which is in the middle of another write."""

    encoding = "utf-8"

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error

    flush = isatty = lambda self: self.write("")


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(), OSError(errno.EIO, "no terminal"), ValueError("closed"), RuntimeError("reentrant call")],
    ids=repr,
)
def test_a_message_that_nobody_can_read_does_not_stop_the_saving(error, sample, tmp_path, monkeypatch):
    at_step(monkeypatch, 3, lambda: (monkeypatch.setattr(sys, "stderr", Broken(error)), signal.raise_signal(2)))
    with pytest.raises(Stopped, match="stopped after step 3 and saved"):
        train_small(sample[0], tmp_path)


def test_compiling_goes_on_without_anyone_to_read_of_it(monkeypatch):
    kernel = types.SimpleNamespace(py_func=pytest.importorskip("scratchnet.fast.relu").forward_kernel)
    monkeypatch.setattr(sys, "stderr", Broken(OSError(errno.EIO, "no terminal")))
    announcer = sys.modules["scratchnet.fast.compiled"].Announcer()
    for listen in (announcer.on_start, announcer.on_end):
        listen(types.SimpleNamespace(data={"dispatcher": kernel}))


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.EIO, "no terminal")], ids=repr)
def test_training_goes_on_without_anyone_to_look_at_the_bar(error, sample, tmp_path, monkeypatch):
    stream = Broken(error)
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    _, history = train_small(sample[0], tmp_path, progress=True)
    assert len(history.steps) == 21


@posix
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_command_saves_says_where_and_ends_with_its_number(number, tmp_path):
    with training(tmp_path / "run") as child:
        child.send_signal(number)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "stopping after this step ..." in errors
    saved = re.search(rf"stopped after step (\d+) and saved in {re.escape(str(tmp_path))}/run\n", errors)
    assert len(sn.read_metrics(tmp_path / "run" / METRICS).steps) == int(saved[1])
    assert re.search(r"To go on:  .* train separable_cnn --out .*run --engine numpy --resume\n", errors)


@posix
def test_a_closed_terminal_saves(tmp_path):
    """The terminal's end of the line is closed: SIGHUP comes, and every later print fails."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with training(tmp_path / "run", stdout=theirs, stderr=theirs, start_new_session=True) as child:
        os.close(theirs)
        os.close(ours)
        child.send_signal(signal.SIGHUP)
        child.wait(timeout=60)
    assert child.returncode == 128 + signal.SIGHUP
    with safetensors.safe_open(tmp_path / "run" / CHECKPOINT, framework="numpy") as file:
        step = json.loads(file.metadata()["description"])["position"]["step"]
    assert step == len(sn.read_metrics(tmp_path / "run" / METRICS).steps)


def test_interrupted_on_a_whole_data_set_it_says_which_runs_there_are(sample, tmp_path, monkeypatch, capsys):
    def stopped(experiment, data_dir):
        raise Stopped("stopped after step 9; nothing was saved", signal=signal.SIGTERM)

    monkeypatch.setattr("scratchnet.study.reproduce.train_and_test", stopped)
    monkeypatch.setattr(sn.data, "load", lambda *given: (sample[0][:50], sample[1][:50]))
    assert main(["reproduce", "--data", "mnist", "--out", str(tmp_path)]) == 128 + signal.SIGTERM
    errors = capsys.readouterr().err
    assert f"stopped in run 1 of 20, which begins anew; the runs before it are in {tmp_path}\n" in errors
    assert "To go on:  " in errors


# ---------------------------------------------------------------- one process in a folder


HOLD = """
import sys, time
from scratchnet.runs.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def held_elsewhere(folder):
    child = process(["-c", HOLD], folder)
    try:
        assert child.stdout.readline() == "held\n", child.communicate()
        yield child
    finally:
        child.kill()
        child.communicate()


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_in_use_is_refused_and_its_owner_named(sample, tmp_path):
    with held_elsewhere(tmp_path) as child:
        before = content(tmp_path)
        expected = rf"in use by process {child.pid} on \S+, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d; wait until that has"
        with pytest.raises(FolderInUse, match=expected):
            train_small(sample[0], tmp_path)
        assert content(tmp_path) == before, "nothing was touched"
        (tmp_path / OWNER).write_text("{")
        with pytest.raises(FolderInUse, match="in use by another process; wait"):
            train_small(sample[0], tmp_path)
    train_small(sample[0], tmp_path)  # the owner was killed, and its lock went with it
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, METRICS]


COMMANDS = {
    "train": (["train", "separable_cnn", "--steps", "1", "--out"], "."),
    "reproduce": (["reproduce", "--out"], "."),
    "reproduce, in a network's folder": (["reproduce", "--out"], "separable_cnn"),
    "reproduce on mnist": (["reproduce", "--data", "mnist", "--out"], "."),
}


@pytest.mark.parametrize("option", [[], ["--resume"], ["--overwrite"]], ids=str)
@pytest.mark.parametrize(("command", "place"), list(COMMANDS.values()), ids=list(COMMANDS))
def test_no_command_touches_a_folder_in_use(command, place, option, sample, tmp_path, monkeypatch, capsys):
    """Nor does --overwrite delete the files of a run that is under way."""
    monkeypatch.setattr(sn.data, "load", lambda *given: (sample[0][:50], sample[1][:50]))
    for name in (
        "scratchnet.fit",
        "scratchnet.study.reproduce.fit",
        "scratchnet.study.reproduce.train_and_test",
    ):
        monkeypatch.setattr(name, lambda *given, **options: pytest.fail("trained"))
    for name in ("settings.json", CHECKPOINT, METRICS, "model.safetensors"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / name).write_text("of the run under way")
    in_a_thread = threading.Event(), threading.Event()

    def hold():
        with locked(tmp_path / place):
            in_a_thread[0].set()
            in_a_thread[1].wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    in_a_thread[0].wait(60)
    before = content(tmp_path)
    try:
        assert main([*command, str(tmp_path), *option]) == 1
    finally:
        in_a_thread[1].set()
        holder.join()
    assert f"in use by process {os.getpid()} on" in capsys.readouterr().err
    assert {p: c for p, c in before.items() if p.name not in (LOCK, OWNER)} == content(tmp_path)


def test_a_lock_is_taken_once_by_one_thread_and_leaves_nothing(tmp_path):
    folder = tmp_path / "made" / "for it"
    with locked(folder):
        with locked(folder):
            assert {path.name for path in folder.iterdir()} == {LOCK, OWNER}
        with held_by_another_thread(folder) as refused:
            assert refused, "the inner block has not let go of it"
    assert not (tmp_path / "made").exists(), "it was made for the lock, and nothing came into it"
    (tmp_path / "there").mkdir()
    with locked(tmp_path / "there"):
        pass
    assert not list((tmp_path / "there").iterdir())


@contextlib.contextmanager
def held_by_another_thread(folder):
    """Whether another thread is refused."""
    refused = []

    def attempt():
        try:
            with locked(folder):
                pass
        except FolderInUse:
            refused.append(folder)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    yield refused


def test_a_copy_of_a_folder_in_use_can_be_used(sample, tmp_path):
    with locked(tmp_path / "run"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert {path.name for path in (tmp_path / "copy").iterdir()} == {LOCK, OWNER}
        train_small(sample[0], tmp_path / "copy", epochs=1)


def test_another_run_in_the_place_of_a_moved_folder_keeps_its_lock(tmp_path):
    with locked(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "moved")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / LOCK).write_text("")
        (tmp_path / "run" / OWNER).write_text("{}")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {LOCK, OWNER}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")], ids=repr
)
def test_a_place_without_locks_is_named(error, sample, tmp_path, monkeypatch):
    def acquire(self, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(OSError, match=f"cannot be locked for a run .*{error.args[-1]}.*; choose a folder that can be"):
        train_small(sample[0], tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_named(sample, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match=f"^{re.escape(str(folder))}: cannot be locked for a run"):
            train_small(sample[0], folder)
        assert main(["train", "separable_cnn", "--out", str(folder)]) == 1


@pytest.mark.slow
def test_two_processes_that_start_at_once_leave_one_whole_run(tmp_path):
    command = [*TRAIN[:5], "20", *TRAIN[6:]]
    children = [process([*command, "--out", str(tmp_path / "run")]) for _ in range(3)]
    errors = [child.communicate()[1] for child in children]
    codes = sorted(child.returncode for child in children)
    assert codes == [0, 1, 1], errors
    for text in errors:
        assert "written" in text or "in use by process" in text or "holds an earlier run" in text or "100%" in text
    assert len(sn.read_metrics(tmp_path / "run" / METRICS).steps) == 20


# ---------------------------------------------------------------- folders that go away


def deleted(folder):
    shutil.rmtree(folder)


def moved(folder):
    folder.rename(folder.with_name("moved"))


def replaced_by_a_file(folder):
    moved(folder)
    folder.write_text("")


def replaced_by_another_run(folder):
    moved(folder)
    folder.mkdir()
    (folder / METRICS).write_text("another")


def metrics_deleted(folder):
    (folder / METRICS).unlink()


def metrics_replaced(folder):
    (folder / METRICS).rename(folder / "old")
    (folder / METRICS).write_text("another")


AGAIN = "all that it needs to go on was written there once more"
GONE = {
    deleted: ("was deleted or moved; " + AGAIN, "run"),
    moved: ("was deleted or moved; " + AGAIN, "run"),
    metrics_deleted: ("was deleted or moved; " + AGAIN, "run"),
    replaced_by_a_file: ("was deleted or moved; the last checkpoint is of step 3", "moved"),
    replaced_by_another_run: ("another file was put in the place of .*; the last checkpoint is of step 3", "moved"),
    metrics_replaced: ("another file was put in the place of .*; the last checkpoint is of step 3", None),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is open where it is")
@pytest.mark.parametrize("change", list(GONE), ids=lambda change: change.__name__)
def test_a_folder_that_goes_away_stops_the_run_and_what_can_be_is_kept(change, sample, tmp_path, monkeypatch):
    """`place` is where the run can be resumed from."""
    whole, _ = train_small(sample[0])
    message, place = GONE[change]
    folder = tmp_path / "run"
    at_step(monkeypatch, 5, lambda: change(folder))
    with pytest.raises(RunNotKept, match=f"run: stopped after step 5, since .*{message}"):
        train_small(sample[0], folder, checkpoint_every=3)
    monkeypatch.undo()
    if "another" in message:
        assert (folder / METRICS).read_text() == "another", "left as it is"
    if place is not None:
        resumed, history = train_small(sample[0], tmp_path / place, resume=True)
        assert same(weights(whole), weights(resumed))
        assert [s["step"] for s in history.steps] == list(range(1, 22))
        assert [e["step"] for e in history.epochs] == [7, 14, 21]


class FullDisk:
    """From now on, nothing can be written: what is replaced here fails as it does on a disk that is full."""

    def __init__(self, monkeypatch):
        self.patch = monkeypatch
        self.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def checkpoints(self):
        self.patch.setattr(run, "save_checkpoint", self.fail)

    def metrics(self):
        self.patch.setattr(run.MetricsFile, "append", self.fail)

    def everything(self):
        self.checkpoints()
        self.metrics()
        self.patch.setattr("scratchnet.runs.metrics.write_text_atomically", self.fail)

    def fail(self, *given):
        raise self.error


@pytest.mark.parametrize("what", ["checkpoints", "metrics", "everything"])
@pytest.mark.parametrize("step", [1, 5, 7, 21])
def test_a_full_disk_stops_the_run_with_what_there_is_to_go_on_from(what, step, sample, tmp_path, monkeypatch):
    """Step 7 ends an epoch, and step 21 the run."""
    whole, whole_history = train_small(sample[0])
    with monkeypatch.context() as patch:
        at_step(patch, step, getattr(FullDisk(patch), what))
        with pytest.raises(RunNotKept) as stop:
            train_small(sample[0], tmp_path, checkpoint_every=1)
    message = str(stop.value)
    assert f"{tmp_path}: stopped after step {step}, since [Errno {errno.ENOSPC}] No space left on device; " in message
    kept = AGAIN if what == "metrics" else f"the last checkpoint is of step {step - 1}"
    assert message.endswith(kept if what == "metrics" or step > 1 else "there is no checkpoint yet")
    resumed, history = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))
    assert sn.read_metrics(tmp_path / METRICS).records() == history.records()
    assert history.steps == whole_history.steps
    assert [e["step"] for e in history.epochs] == [7, 14, 21]


def test_when_the_power_fails_the_metrics_are_not_behind_the_checkpoint(sample, tmp_path, monkeypatch):
    """What a checkpoint counts on is on the disk before it."""
    synced, real_fsync, real_save = {}, os.fsync, run.save_checkpoint

    def fsync(descriptor):
        synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size
        real_fsync(descriptor)

    def save(*given):
        lines = (tmp_path / METRICS).stat()
        checked.append(synced[lines.st_ino] == lines.st_size)
        real_save(*given)

    checked = []
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(run, "save_checkpoint", save)
    train_small(sample[0], tmp_path, checkpoint_every=4)
    assert checked == [True] * 5


def test_a_full_disk_after_resuming_leaves_the_checkpoint_that_was_resumed(sample, tmp_path, monkeypatch):
    train_small(sample[0], tmp_path, epochs=1)
    at_step(monkeypatch, 1, FullDisk(monkeypatch).checkpoints)
    with pytest.raises(RunNotKept, match="stopped after step 8, since .*; the last checkpoint is of step 7$"):
        train_small(sample[0], tmp_path, resume=True, checkpoint_every=1)


def test_a_full_disk_when_asked_to_stop_is_not_called_saved(sample, tmp_path, monkeypatch):
    at_step(monkeypatch, 2, lambda: (FullDisk(monkeypatch).checkpoints(), signal.raise_signal(signal.SIGINT)))
    with pytest.raises(RunNotKept, match="stopped after step 2, since .*; there is no checkpoint yet"):
        train_small(sample[0], tmp_path)


def test_the_command_puts_the_settings_back_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    monkeypatch.setattr(sn.Adam, "step", counted_step(3, lambda: deleted(folder)))
    command = ["train", "separable_cnn", "--steps", "5", "--batch-size", "4", "--out", str(folder)]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "written:" not in captured.out
    assert f"{folder}: stopped after step 3, since" in captured.err
    assert re.search("To go on:  .*--resume\n", captured.err)
    monkeypatch.undo()
    assert main([*command, "--resume"]) == 0
    assert len(sn.read_metrics(folder / METRICS).steps) == 5


def counted_step(step, action):
    original, calls = sn.Adam.step, []

    def acting(self):
        calls.append(1)
        if len(calls) == step:
            action()
        original(self)

    return acting


def test_what_is_gone_is_not_called_written(tmp_path, monkeypatch, capsys):
    """The folder is deleted after training, while the curves are drawn."""
    folder = tmp_path / "run"
    save_figure = sn.plots.save_figure
    monkeypatch.setattr(sn.plots, "save_figure", lambda *given: (deleted(folder), save_figure(*given))[1])
    assert main(["train", "separable_cnn", "--steps", "1", "--batch-size", "4", "--out", str(folder)]) == 1
    captured = capsys.readouterr()
    assert re.findall(r"  (.*)\n", captured.out) == [str(folder / "training_curves.png")]
    for name in ("model.safetensors", METRICS):
        assert str(folder / name) in captured.err
    assert "deleted or moved since they were written" in captured.err


# ---------------------------------------------------------------- files that a killed process left


def test_the_next_run_removes_what_a_killed_one_left(sample, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = writing._host()
    leftovers = [f".{name}.{host}.{dead.pid}.0.partial" for name in (CHECKPOINT, METRICS, "settings.json", "a.b.png")]
    leftovers += [f".{METRICS}.{host}.{os.getpid()}.999999.partial"]  # of an earlier process with our number
    leftovers += [f".{METRICS}.elsewhere.1.0.partial"]
    alive = [f".{METRICS}.{host}.{os.getppid()}.0.partial", f".{CHECKPOINT}.elsewhere.2.0.partial", ".mine.partial"]
    for name in leftovers + alive:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".tmpX1").write_text("part of a file")  # as safetensors does
    os.utime(tmp_path / leftovers[-1], (time.time() - 2 * writing.DAY,) * 2)
    train_small(sample[0], tmp_path, epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, METRICS, *alive}


def test_what_a_library_writes_beside_a_file_goes_with_it(tmp_path):
    with written_atomically(tmp_path / "file") as partial:
        partial.write_text("all of it")
        partial.with_name(".tmpX1").write_text("part of it")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    with written_atomically(tmp_path / "file") as one, written_atomically(tmp_path / "file") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file").read_text() == "one", "the outer block ended last"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_ctrl_c_in_the_middle_of_a_checkpoint_leaves_the_one_before(sample, tmp_path, monkeypatch):
    """The second one: it may come anywhere."""
    whole, _ = train_small(sample[0])
    real_fsync, calls = os.fsync, []

    def interrupted(descriptor):
        calls.append(1)
        if len(calls) == 7:  # the metrics at the start; the metrics and a checkpoint for each step
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped at once"):
        train_small(sample[0], tmp_path, checkpoint_every=1)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, METRICS}
    resumed, _ = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))


def test_a_folder_that_was_moved_or_copied_is_resumed(sample, tmp_path, monkeypatch):
    whole, _ = train_small(sample[0])
    train_small(sample[0], tmp_path / "a", epochs=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").rename(tmp_path / "c")
    for name in "bc":
        resumed, _ = train_small(sample[0], tmp_path / name, resume=True)
        assert same(weights(whole), weights(resumed))


def test_a_clock_that_jumps_back_changes_nothing(sample, tmp_path, monkeypatch):
    whole, _ = train_small(sample[0])
    now = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: next(now))
    train_small(sample[0], tmp_path, epochs=1)
    resumed, history = train_small(sample[0], tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))
    assert all(0 < e["steps_per_second"] < np.inf for e in history.epochs)
