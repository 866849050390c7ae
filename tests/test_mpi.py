"""Training on several ranks, under the real mpiexec: the bits of one process, whatever happens to a rank.

`ranks.py` is what the ranks run. A start of mpiexec takes a second, so one start tries many things.

    SCRATCHNET_KILLS=20 python -m pytest -s tests/test_mpi.py

makes 20 kills in place of 3.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import ranks
from conftest import ROOT

import scratchnet as sn
from benchmarks.scaling import mpiexec
from scratchnet.parallel.together import PATIENCE
from scratchnet.runs import container
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.run import CHECKPOINT

MPIEXEC = mpiexec()
MISSING = [
    name for name, there in {"mpiexec": MPIEXEC, "mpi4py": importlib.util.find_spec("mpi4py")}.items() if not there
]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{' and '.join(MISSING)} missing: pip install --editable '.[mpi]' brings both"
)

KILLS = int(os.environ.get("SCRATCHNET_KILLS", "3"))
TWO = 2  # ranks
# Open MPI starts no more ranks than cores, and none for root, unless it is told to. MPICH reads none of these.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}  # fmt: skip


def start(count, *command):
    """Start Python with these arguments on so many ranks; on 0: without mpiexec."""
    ranked = [MPIEXEC, "-n", str(count)] if count else []
    environment = os.environ | OPEN_MPI | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*ranked, sys.executable, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )


def listen_to_ctrl_c():
    """A shell has what it starts in the background ignore Ctrl-C, and these tests may be such a thing."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(process, timeout=120):
    """Exit code, stdout and stderr of a process that ends by itself."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        for child in [*psutil.Process().children(recursive=True)]:
            if "ranks.py" in " ".join(cmdline_of(child)):
                child.kill()
    return process.returncode, out, err


def cmdline_of(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def run(count, *command):
    """What a command that works prints."""
    code, out, err = ended(start(count, *command))
    assert code == 0, out + err
    return out, err


def ranks_do(count, function, folder, *arguments):
    return start(count, ROOT / "tests" / "ranks.py", function, folder, *arguments)


def written_by(folder, rank):
    return json.loads((folder / f"{rank}.json").read_text())


# ---------------------------------------------------------------- the bits


@pytest.fixture(scope="module")
def alone():
    """What each case ends with in one process with as many shards."""
    return {name: json.loads(json.dumps(ranks.run(case))) for name, case in ranks.CASES.items()}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_number_of_ranks_ends_with_the_bits_of_one_process(count, alone, tmp_path):
    """Each network, both engines and optimisers, with augmentation and dropout; on every rank."""
    code, out, err = ended(ranks_do(count, "cases", tmp_path))
    assert code == 0, out + err
    for rank in range(count):
        assert written_by(tmp_path, rank) == alone


def test_one_rank_of_mpiexec_is_one_process_with_eight_shards(alone, tmp_path):
    name = "separable_cnn, sgd, numpy"
    code, out, err = ended(ranks_do(1, "cases", tmp_path, name))
    assert code == 0, out + err
    assert written_by(tmp_path, 0) == {name: alone[name]}


# ---------------------------------------------------------------- the command


COMMAND = [
    "-m",
    "scratchnet",
    "train",
    "separable_cnn",
    "--steps",
    "4",
    "--batch-size",
    "16",
    "--checkpoint-every",
    "2",
]


def test_the_command_writes_the_same_files_and_prints_once(tmp_path):
    run(0, *COMMAND, "--shards", "8", "--out", tmp_path / "one")
    out, err = run(TWO, *COMMAND, "--out", tmp_path / "two")
    for name in ("model.safetensors", CHECKPOINT):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    histories = [sn.read_metrics(tmp_path / place / METRICS) for place in ("one", "two")]
    assert histories[0].steps == histories[1].steps
    assert histories[0].epochs[0]["test_loss"] == histories[1].epochs[0]["test_loss"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        CHECKPOINT, METRICS, "model.safetensors", "settings.json", "training_curves.png",
    ]  # fmt: skip
    assert len(re.findall("accuracy on 2,000 held-out digits", out)) == 1
    assert len(re.findall("100%", err)) == 1
    processes = re.search(r"2 ranks, 1 thread each, .+; the processes are 0: (\d+), 1: (\d+)\n", out).groups()
    assert processes[0] != processes[1]
    assert f"mpiexec -n 2 {Path(sys.executable).name}" in re.search("to go on: .*", out)[0].replace(
        str(Path(sys.executable).parent) + "/", ""
    )


def test_info_names_ranks_threads_and_the_library():
    out, _ = run(TWO, "-m", "scratchnet", "info", "--engine", "numpy")
    assert len(re.findall(r"^ranks +2, \d+ threads? each, \w.*\d", out, re.M)) == 1
    out, _ = run(0, "-m", "scratchnet", "info", "--engine", "numpy")
    assert re.search("^ranks +1, not started by mpiexec$", out, re.M)


@pytest.mark.parametrize(
    ("count", "arguments", "code", "message"),
    [
        (3, [*COMMAND, "--shards", "2"], 1, "3 ranks were started for 2 shards: expected from 1 to 2 ranks"),
        (2, ["-m", "scratchnet", "summary", "standard_cnn"], 1, "mpiexec is for the commands train and info"),
        (2, [*COMMAND, "--lr", "fast"], 2, "argument --lr: invalid float value: 'fast'"),
        (2, [*COMMAND, "--lr", "-1"], 1, "expected lr to be a finite number of at least 0"),
    ],
)
def test_a_mistake_is_said_once_and_leaves_nothing(count, arguments, code, message, tmp_path):
    given = [*arguments, "--out", tmp_path / "run"] if "train" in arguments else arguments
    returned, out, err = ended(start(count, *given))
    assert returned == code, out + err
    assert err.count(message) == 1
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_rank_that_was_started_differently_is_noticed(tmp_path):
    """mpiexec can start another program on each rank, with a colon between them."""
    other = [":", "-n", "1", sys.executable, *COMMAND, "--out", tmp_path / "run", "--seed", "5"]
    code, out, err = ended(start(1, *COMMAND, "--out", tmp_path / "run", *other))
    assert code == 1, out + err
    assert "scratchnet: rank 0 was started with seed = None, not '5', as rank 1 was; start all ranks with the" in err
    assert err.count("scratchnet:") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_without_shards_is_not_shared_and_none_is_overwritten(tmp_path):
    run(0, *COMMAND, "--out", tmp_path / "run")
    code, _, err = ended(
        start(TWO, "-m", "scratchnet", "train", "separable_cnn", "--out", tmp_path / "run", "--resume")
    )
    assert code == 1
    assert "the run was begun without shards, and so by one process; resume it without mpiexec" in err
    started = time.monotonic()
    code, _, err = ended(start(TWO, *COMMAND, "--out", tmp_path / "run"))
    assert code == 1
    assert err.count("scratchnet: ") == err.count("holds an earlier run; resume it with --resume, replace it with") == 1
    assert time.monotonic() - started < PATIENCE, "nobody waited for a rank that has ended"


# ---------------------------------------------------------------- faults


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    """For each fault, what each of three ranks raises: class, message, and what it said before. One start for all."""
    folder = tmp_path_factory.mktemp("faults")
    code, out, err = ended(ranks_do(3, "faults", folder))
    assert code == 0, out + err
    every = [written_by(folder, rank) for rank in range(3)]
    found = {name: [of_rank[name] for of_rank in every] for name in ranks.FAULTS}
    return found | {"folder": folder}


EXPECTED = {
    "an error in a step": (1, "MemoryError", "no room for another image"),
    "other arguments": (
        0,
        "ValueError",
        "rank 0 was started with steps = 5, not 6, as rank 2 was; start all ranks with",
    ),
    "other data": (
        0,
        "ValueError",
        "rank 0 was started with train_images = 'float32 of shape (27, 28, 28, 1), checksum",
    ),
    "other test data": (0, "ValueError", "rank 0 was started with test.images = "),
    "other weights": (0, "ValueError", "rank 0 was started with weights.depthwise1.w = "),
    "another schedule": (0, "ValueError", "rank 0 was started with schedule = "),
    "another learning rate": (0, "ValueError", "rank 0 was started with optimizer.lr = 0.02, not 0.04"),
    "another version": (0, "ValueError", f"rank 0 was started with scratchnet = '{sn.__version__}', not '0.0.1'"),
    "another engine": (0, "ValueError", "rank 0 was started with engine = 'numpy', not 'numba'"),
    "a mistake that all make": (0, "ValueError", "fit: expected batch_size to be a positive integer, got 0"),
    "a mistake of one": (2, "ValueError", "fit: expected batch_size to be a positive integer, got 0"),
    "a folder that holds a run": (0, "FileExistsError", "holds an earlier run; resume it"),
    "divergence": (0, "TrainingDiverged", "most likely the learning rate 1e+38 is too high"),
    "a full disk": (
        0,
        "RunNotKept",
        "full: stopped after step 2, since [Errno 28] No space left on device; all that it",
    ),
}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_an_error_of_one_rank_ends_all_and_is_shown_by_one(name, raised):
    who, kind, message = EXPECTED[name]
    for rank, (its_kind, text, said) in enumerate(raised[name]):
        if rank == who:
            assert its_kind == kind
            assert message in text
            assert ("rank 2 of 3 has an error, and so all ranks end:" in said) is (rank == 2)
        else:
            assert (its_kind, text, said) == ("EndedElsewhere", "1", "")


def test_a_slow_rank_is_waited_for(raised):
    assert raised["a slow rank"] == [None, None, None]
    assert EXPECTED.keys() | {"a slow rank"} == set(ranks.FAULTS)


def test_an_error_leaves_the_checkpoint_of_the_step_before(raised):
    """So checkpoints are written as the run goes on, with the optimiser's arrays of all ranks."""
    arrays, description = container.read(raised["folder"] / "stopped" / CHECKPOINT, "checkpoint")
    assert description["position"]["step"] == 3
    momentum = [array for name, array in arrays.items() if name.endswith("/momentum")]
    assert momentum
    assert all(np.any(array) for array in momentum)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("uncaught", "LookupError: nobody catches this"),
        ("between_messages", "rank 1 of 3 has an error, and ends all ranks:\nTraceback"),
    ],
)
def test_an_error_that_no_meeting_follows_ends_all_within_seconds(function, message, tmp_path):
    started = time.monotonic()
    code, out, err = ended(ranks_do(3, function, tmp_path), timeout=30)
    assert code != 0, out + err
    assert time.monotonic() - started < 20
    assert err.count(message) == 1
    assert not (tmp_path / "end.json").exists()


# ---------------------------------------------------------------- resume, kills


STEPS = 30


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run of one process ends with that nothing stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, out, err = ended(ranks_do(0, "until_stopped", folder, STEPS))
    assert code == 0, out + err
    return json.loads((folder / "end.json").read_text())


def test_a_run_goes_on_with_any_number_of_ranks(undisturbed, tmp_path):
    for count, steps in ((2, 4), (0, 9), (3, 17), (1, STEPS)):
        code, out, err = ended(ranks_do(count, "until_stopped", tmp_path, steps, "resume"))
        assert code == 0, out + err
    end = json.loads((tmp_path / "end.json").read_text())
    assert without_short_ends(end) == without_short_ends(undisturbed)


def without_short_ends(end):
    """A run that ended within an epoch was evaluated there; apart from that, the ends are the same."""
    return {name: value for name, value in end.items() if name != "test"} | {"test": end["test"][-1]}


def ranks_of(process):
    """The processes of an mpiexec that run `ranks.py`."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if any("ranks.py" in word for word in cmdline_of(child))]


def steps_taken(folder):
    path = folder / "run" / METRICS
    return path.read_bytes().count(b'"step", ') if path.exists() else 0


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_for_mpiexec_finishes_the_step_and_saves(number, undisturbed, tmp_path):
    process = ranks_do(3, "until_stopped", tmp_path, STEPS)
    wait_until(lambda: steps_taken(tmp_path) >= 2)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code != 0, out + err
    step = int(re.search(rf"stopped after step (\d+) and saved in {re.escape(str(tmp_path / 'run'))}; go on", err)[1])
    assert err.count("stopped after step") == 1
    assert step == len(sn.read_metrics(tmp_path / "run" / METRICS).steps) < STEPS
    code, out, err = ended(ranks_do(2, "until_stopped", tmp_path, STEPS, "resume"))
    assert code == 0, out + err
    assert json.loads((tmp_path / "end.json").read_text()) == undisturbed


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(undisturbed, tmp_path):
    """Any rank, at any moment, of any number of ranks; all others end within seconds."""
    draw = random.Random(KILLS)
    kills = 0
    while kills < KILLS:
        process = ranks_do(draw.choice([2, 3, 4]), "until_stopped", tmp_path, STEPS, "resume")
        wait_until(lambda process=process: len(ranks_of(process)) > 1 or process.poll() is not None)
        before = steps_taken(tmp_path)
        if draw.random() < 0.7:
            wait_until(
                functools.partial(lambda p, b: steps_taken(tmp_path) > b or p.poll() is not None, process, before)
            )
        time.sleep(draw.uniform(0, 0.3))
        alive = ranks_of(process) if process.poll() is None else []
        if not alive:
            shutil.rmtree(tmp_path / "run")  # it came to its end: the next one begins anew
            ended(process)
            continue
        draw.choice(alive).kill()
        kills += 1
        psutil.wait_procs(alive, timeout=10)
        assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in alive)
        code, _, _ = ended(process)
        assert code != 0
    code, out, err = ended(ranks_do(0, "until_stopped", tmp_path, STEPS, "resume"))
    assert code == 0, out + err
    assert json.loads((tmp_path / "end.json").read_text()) == undisturbed
