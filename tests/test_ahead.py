"""Compiling ahead: one line for all that a network needs, and then nothing is left to compile. Forked processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from test_compiled import kept
from test_fast import TWO_THREADS, python

import scratchnet as sn
from scratchnet.engine import Planned
from scratchnet.fast import ahead, compile_worker, compiled
from scratchnet.fast.compiled import noted
from scratchnet.models import ARCHITECTURES

ONE = (28, 28, 1)

# A small network that compiles in seconds, with a kernel of each sort: a product, a fused stage, an update.
SMALL = """
    import numpy as np, scratchnet as sn
    net = sn.Network([sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(196, 3)])
    x = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
    labels = np.arange(8) % 3
    data = sn.Dataset(x, labels, "noise")
    optimizer = sn.SGD(net.parameters(), 0.1, momentum=0.9)
"""
STEP = """
    logits = net.forward(x, training=True)
    net.backward(sn.softmax_cross_entropy(logits, labels)[1])
    optimizer.step()
    print(float(net.predict(x).sum()))
"""
FIT = """
    sn.fit(net, data, data, optimizer=optimizer, epochs=1, batch_size=3, progress=True)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with all that `warm-up` compiles for the networks, and what it printed."""
    folder = tmp_path_factory.mktemp("warm")
    environment = os.environ | TWO_THREADS | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "scratchnet", "warm-up"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder, ran


@pytest.mark.slow
def test_warm_up_says_one_line_where_there_is_no_terminal(warm):
    folder, ran = warm
    count = len(kept(folder))
    assert ran.stderr == (
        f"scratchnet: compiling {count} kernels for this processor, once; the code is kept for later runs\n"
    )
    assert ran.stdout.startswith(f"all is compiled for {', '.join(ARCHITECTURES)}; the code is in {folder}")


@pytest.mark.slow
@pytest.mark.parametrize("model", ARCHITECTURES)
@pytest.mark.parametrize("size", [32, 128])
def test_after_a_warm_up_nothing_is_left_to_compile(model, size, warm):
    """A step with each optimiser, the evaluation of a test set and the recognition of one digit."""
    code = f"""
        import numpy as np, scratchnet as sn
        train, test = sn.data.load("sample")
        for make in (lambda p: sn.SGD(p, 0.01), lambda p: sn.SGD(p, 0.01, momentum=0.9), lambda p: sn.Adam(p, 0.01)):
            net = sn.models.{model}(seed=0)
            sn.fit(net, train, test, optimizer=make(net.parameters()), steps=2, batch_size={size}, progress=False,
                   augment=sn.data.RandomAffine())
        net.predict(test.images[:1]), net.predict(test.images)
    """
    before = sorted(kept(warm[0]))
    assert python(code, NUMBA_CACHE_DIR=str(warm[0]))[1] == ""
    assert sorted(kept(warm[0])) == before


@pytest.mark.slow
def test_gradients_with_and_without_zeros_need_nothing_more(warm):
    """Which kernels a step calls depends on the gradients' zeros. A second network of the same kind finds them all."""
    code = """
        import numpy as np, scratchnet as sn
        for share in (0, 0.05, 1):
            net = sn.models.four_conv_cnn(seed=0)
            x = np.random.default_rng(0).random((128, 28, 28, 1), np.float32)
            for layer in net.layers:
                x = layer.forward(x, training=True)
                dout = np.random.default_rng(0).random(x.shape, np.float32)
                layer.backward(dout * (np.random.default_rng(1).random(x.shape, np.float32) < share))
    """
    assert python(code, NUMBA_CACHE_DIR=str(warm[0]))[1] == ""


@pytest.mark.slow
def test_a_step_by_hand_is_compiled_ahead_too(tmp_path):
    out, err = python(SMALL + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    lines = err.splitlines()
    assert lines[0].startswith("scratchnet: compiling ")
    assert "momentum_kernel" in lines[1], "the optimiser of a step by hand is not known before"
    assert len(lines) == 2, err
    assert python(SMALL + STEP, NUMBA_CACHE_DIR=str(tmp_path)) == (out, "")


@pytest.mark.slow
def test_the_line_stands_before_the_training_bar(tmp_path):
    err = python(SMALL + FIT, NUMBA_CACHE_DIR=str(tmp_path))[1]
    lines = err.replace("\r", "\n").splitlines()
    assert [line for line in lines if "compiling" in line] == lines[:1]
    assert "0/3" in "".join(lines[1:3])


@pytest.mark.slow
def test_on_a_terminal_a_bar_counts_before_the_training_bar(tmp_path):
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    import fcntl
    import termios

    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SMALL + FIT)],
        env=os.environ | TWO_THREADS | {"NUMBA_CACHE_DIR": str(tmp_path), "SCRATCHNET_ENGINE": "numba"},
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody holds any more
        while part := os.read(master, 1000):
            shown += part
    os.close(master)
    assert child.wait() == 0
    lines = [line for line in shown.decode().replace("\r", "\n").splitlines() if line]
    compiling = [line for line in lines if "compil" in line]
    count = len(kept(tmp_path))
    assert lines[: len(compiling)] == compiling
    assert f"compiling {count} kernels for this processor, once: 0 of {count}, about " in compiling[0]
    assert f"compiled {count} kernels for this processor, in " in compiling[-1]
    assert "0/3" in lines[len(compiling)]


# ---------------------------------------------------------------- where something is missing

FORBIDDEN = """
    import subprocess
    def refuse(*arguments, **options):
        raise OSError("no process may be started here")
    subprocess.Popen = refuse
"""
FROZEN = "\n    import sys\n    sys.frozen = True\n"
NO_PYTHON = "\n    import sys\n    sys.executable = '/bin/false'\n"
ONE_CORE = "\n    import os\n    os.environ['NUMBA_NUM_THREADS'] = '1'\n"
DYING = """
    from scratchnet.fast import ahead
    start = ahead.start_worker
    def dying():
        worker = start()
        worker.kill()
        return worker
    ahead.start_worker = dying
"""
NO_STDERR = "\n    import sys\n    sys.stderr = None\n"
FULL = """
    import pathlib
    def refuse(*arguments):
        raise OSError(28, "No space left on device")
    pathlib.Path.write_bytes = refuse
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "obstacle",
    [FORBIDDEN, FROZEN, NO_PYTHON, ONE_CORE, DYING],
    ids=["forbidden", "frozen", "no-python", "one-core", "dying"],
)
def test_where_no_process_helps_it_compiles_here(obstacle, tmp_path):
    out, err = python(obstacle + SMALL + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert err.startswith("scratchnet: compiling ")
    assert len(err.splitlines()) == 2, err
    assert python(SMALL + STEP, NUMBA_CACHE_DIR=str(tmp_path)) == (out, "")


@pytest.mark.slow
def test_without_a_folder_for_the_code_it_trains_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    where = {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary")}
    _, err = python(SMALL + STEP, **where)
    assert err.count("compiled code cannot be kept") == 1
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_a_program_without_a_stderr_trains_all_the_same(tmp_path):
    out, _ = python(NO_STDERR + SMALL + FIT + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert out


@pytest.mark.slow
def test_on_a_full_disk_it_trains_all_the_same(tmp_path):
    _, err = python(FULL + SMALL + STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert err.count("compiled code cannot be kept") == 1
    assert "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches all processes of a console there")
@pytest.mark.slow
def test_ctrl_c_ends_all_processes(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "scratchnet", "warm-up"],
        env=os.environ | TWO_THREADS | {"NUMBA_CACHE_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert "compiling" in child.stderr.readline()
    import psutil

    workers = []
    while child.poll() is None and not workers:
        workers = psutil.Process(child.pid).children()
    child.send_signal(signal.SIGINT)
    assert "interrupted" in child.communicate(timeout=30)[1]
    assert child.returncode == 130
    assert psutil.wait_procs(workers, timeout=30)[1] == []


# ---------------------------------------------------------------- planning changes nothing


def planned(net, training=True):
    return Planned(net, [((8, *ONE), np.dtype(np.float32), training)], [sn.Adam(net.parameters(), 0.1)])


def test_a_plan_changes_neither_network_nor_optimiser():
    net = sn.models.standard_cnn(seed=0)
    optimizer = sn.Adam(net.parameters(), 0.1)
    before = [p.value.copy() for p in net.parameters()], json.dumps(str(sn.layers.base.snapshot(net.state())))
    with sn.use_engine("numba"):
        ahead.calls_of(planned(net)._replace(optimizers=[optimizer]))
    assert all((p.value == value).all() for p, value in zip(net.parameters(), before[0], strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert json.dumps(str(sn.layers.base.snapshot(net.state()))) == before[1]
    assert optimizer.steps == 0


def test_the_same_plan_is_made_once(monkeypatch):
    seen = []
    monkeypatch.setattr(ahead, "calls_of", lambda plan: seen.append(plan) or [])
    net = sn.Network([sn.Flatten(), sn.Dense(784, 3)])
    for plan in (planned(net), planned(net), planned(net, training=False)):
        ahead.prepare([plan])
    net.layers.insert(1, sn.ReLU())
    ahead.prepare([planned(net)])
    ahead.prepare([planned(net)._replace(optimizers=[sn.SGD(net.parameters(), 0.1, momentum=0.9)])])
    ahead.prepare([planned(sn.Network([sn.Flatten(), sn.Dense(784, 3)]))])
    assert len(seen) == 5, "all but the second"


def test_kernels_do_nothing_while_their_calls_are_noted():
    x = np.array([[-1.0, 2.0]], np.float32)
    with sn.use_engine("numba"):
        right = sn.ReLU().forward(x)
        with noted() as calls:
            out = sn.ReLU().forward(x)
        again = sn.ReLU().forward(x)
    assert [call.kernel.__name__ for call in calls] == ["forward_kernel"]
    assert out.shape == right.shape
    assert (again == right).all()


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_arguments_described_and_made_again_have_the_same_types(model, monkeypatch):
    from numba import typeof

    real = []
    monkeypatch.setattr(compiled, "describe", lambda arguments: real.append(arguments) or arguments)
    with sn.use_engine("numba"):
        calls = ahead.calls_of(planned(ARCHITECTURES[model].make()))
    assert len({call.kernel.__name__ for call in calls}) > 9
    for arguments in real:
        described = json.loads(json.dumps(compile_worker.describe(arguments)))
        assert compile_worker.types_of(described) == tuple(map(typeof, arguments))


def test_a_plan_does_not_copy_what_the_last_forward_left(sample):
    """These arrays are as large as a batch; the weights and what training changes are copied."""
    net = sn.models.standard_cnn(seed=0)
    with sn.use_engine("numba"):
        net.forward(sample[0].images[:4], training=True)
        copied, (optimizer,) = ahead.copy_of(planned(net))
    assert optimizer.parameters[0] is copied.parameters()[0]
    for ours, theirs in zip(net.layers, copied.layers, strict=True):
        for name, value in vars(ours).items():
            other = vars(theirs)[name]
            if isinstance(value, np.ndarray):
                assert other is value
            elif isinstance(value, (sn.Parameter, np.random.Generator)):
                assert other is not value


@pytest.mark.parametrize("x", [[[1.0]], np.float32(1), "digit", None], ids=repr)
def test_what_is_no_batch_is_left_to_the_first_layers_error(x):
    net = sn.Network([sn.Flatten(), sn.Dense(784, 10)])
    with sn.use_engine("numba"), pytest.raises((TypeError, ValueError), match="flatten1: expected"):
        net.forward(x)


class Loud(sn.Layer):
    """A layer from outside, which is not to be run for a plan."""

    kind = "loud"

    def forward(self, x, training=False):
        raise AssertionError("run for a plan")


def test_a_layer_from_outside_is_not_run_for_a_plan():
    net = sn.Network([sn.Conv2D(1, 2, 3), Loud(), sn.Flatten(), sn.Dense(1568, 3)])
    with sn.use_engine("numba"):
        calls = ahead.calls_of(planned(net))
    assert {"product_rows", "product_over_images"} <= {call.kernel.__name__ for call in calls}


def test_what_does_not_fit_is_said_by_the_step_itself():
    net = sn.Network([sn.Conv2D(1, 2, 3)])
    with sn.use_engine("numba"), pytest.raises(ValueError, match="conv1: expected"):
        net.forward(np.zeros((2, 28, 28, 3), np.float32), training=True)


# ---------------------------------------------------------------- forked children

FORK = """
    import multiprocessing, os, sys
    import numpy as np
    import scratchnet as sn
    net = sn.Network([sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(196, 3)])
    x = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
    before = net.predict(x)
    context = multiprocessing.get_context("fork")
    def same(i):
        return bool((net.predict(x) == before).all())
    def in_a_child_of_a_child(i):
        child = os.fork()
        if not child:
            os._exit(0 if same(0) else 3)
        return os.waitpid(child, 0)[1] == 0 and same(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_child_computes_the_same_bits(layer):
    code = """
    child = context.Process(target=lambda: sys.exit(0 if same(0) else 3))
    child.start()
    child.join(60)
    with context.Pool(2) as pool:
        print(child.exitcode, pool.map_async(same, range(6)).get(60))
    child = os.fork()
    if not child:
        os._exit(0 if in_a_child_of_a_child(0) else 3)
    print(os.waitpid(child, 0)[1], same(0))
    """
    out, _ = python(FORK + code, NUMBA_THREADING_LAYER=layer)
    assert out == f"0 {[True] * 6}\n0 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_fork_while_another_thread_runs_kernels_ends():
    code = """
    import threading
    stop = threading.Event()
    def work():
        while not stop.is_set():
            net.predict(x)
    thread = threading.Thread(target=work)
    thread.start()
    codes = []
    for _ in range(20):
        child = context.Process(target=lambda: os._exit(0 if same(0) else 3))
        child.start()
        child.join(60)
        codes.append(child.exitcode)
    stop.set()
    thread.join()
    print(codes)
    """
    assert python(FORK + code)[0] == f"{[0] * 20}\n"
