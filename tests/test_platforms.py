"""scratchnet where something is missing that Linux has: other systems, consoles, users and packages.

What is missing is taken away in child processes (`elsewhere/sitecustomize.py`), one thing at a time. That finds a call
of it. It does not replace a run on that system; `.github/workflows/test.yml` has those.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from scratchnet import console
from scratchnet.fast import threads
from scratchnet.fast.register import plain, vector, width

ELSEWHERE = Path(__file__).parent / "elsewhere"
NAMES = "Größe 1"  # a folder's name with a space and umlauts, on each of them

# What a user does: train, resume to the weights of an uninterrupted run, and every other command that is quick.
USE = """
    import sys
    import numpy as np, my_things, scratchnet as sn
    from scratchnet.cli import main

    def must(be, *what):  # python -OO leaves asserts out
        if not be:
            raise SystemExit(f"not so: {what}")

    def weights(folder, *lengths):
        for number, steps in enumerate(lengths):
            net = my_things.tiny_cnn()
            optimizer = sn.Adam(net.parameters(), lr=0.01)
            train, test = sn.data.load("stripes")
            sn.fit(net, train, test, optimizer=optimizer, steps=steps, batch_size=20, folder=folder,
                   resume=number > 0, checkpoint_every=1)
        sn.save(net, f"{folder}/model.safetensors")
        return sn.load(f"{folder}/model.safetensors").predict(test.images)

    must(np.array_equal(weights("whole", 6), weights("in parts", 2, 4, 6)), "resumed as uninterrupted")
    out = sys.argv[1]
    train = ["train", "tiny_cnn", "--data", "stripes", "--steps", "4", "--batch-size", "20", "--out", out]
    for command in (
        train,
        [*train[:4], "--out", out, "--resume"],
        [*train, "--overwrite"],
        ["evaluate", f"{out}/model.safetensors", "--data", "stripes"],
        ["summary", f"{out}/model.safetensors"],
        ["step", "tiny_cnn", "--data", "stripes"],
        ["check", "03", "--folder", sys.argv[2]],
        ["hint", "03"],
        ["info"],
    ):
        must(main(command) == 0, command)
"""

# A worker of the benchmark, and the process that measures the start.
BENCHMARK = """
    import my_things
    from benchmarks import machine, measure
    from benchmarks.__main__ import parse

    def must(be, *what):  # python -OO leaves asserts out
        if not be:
            raise SystemExit(f"not so: {what}")

    peer = "scratchnet, NumPy engine"
    must(parse([]).threads == len(machine.cores()))
    session = measure.Session(threads=1, rounds=1, seconds=0.01, modules=["my_things"])
    with measure.running(session.start([peer])) as workers:
        must(workers[peer].ask("memory") > 10)
        timing = measure.timings(session, workers, "tiny_cnn", "training", 20)
        must(timing["rounds"][peer][0] > 0)
    seconds, memory = measure._first_step(session, peer, "tiny_cnn", {})
    must(seconds > 0 and memory > 10)
    print(memory)
"""

# What is taken away, the variables of a process, and options of Python; "" is this system as it is.
PLACES: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "here": ("", {}, []),
    "without resource": ("resource", {}, []),
    "without the modules of Unix": ("unix_modules", {}, []),
    "without affinity": ("affinity", {}, []),
    "without fork": ("fork", {}, []),
    "without the signals of Unix": ("signals", {}, []),
    "where open files stay": ("open_files", {}, []),
    "where text is cp1252": ("utf8_text", {}, []),
    "without a home": ("home", {}, []),
    "without docstrings": ("", {}, ["-OO"]),
    "in a terminal of ASCII": ("", {"PYTHONIOENCODING": "ascii"}, []),
    "in a terminal of cp437": ("", {"PYTHONIOENCODING": "cp437"}, []),
    "in the locale C": ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, []),
}
BENCHMARKED = ["without resource", "without affinity", "without the signals of Unix", "where text is cp1252"]


def run(code, folder, place="here", *arguments):
    """Run code in a child process at a place; its folder holds CONTRIBUTING's module."""
    taken, variables, options = PLACES[place]
    folder.mkdir(parents=True)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(\"\"\"my_things\.py.*?)```", text, re.S)
    (folder / "my_things.py").write_text(module, encoding="utf-8")
    path = os.pathsep.join(map(str, (ELSEWHERE, ROOT, folder)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE"))}
    environment |= {"PYTHONPATH": path, "SCRATCHNET_ENGINE": "numpy", "TAKEN_AWAY": taken, "TERM": "dumb"} | variables
    command = [sys.executable, *options, "-c", "if 1:" + code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, request):
    """The run at each place that a test asks for: {(code, place): (folder, result)}. Two run at a time."""
    tests = [item for item in request.session.items if "runs" in item.fixturenames]
    wanted = [(item.function.code, item.callspec.params["place"]) for item in tests]
    base = tmp_path_factory.mktemp("places")
    folders = {key: base / str(number) for number, key in enumerate(wanted)}
    with ThreadPoolExecutor(2) as pool:
        answers = ROOT / "lessons" / "solutions"
        made = {key: pool.submit(run, key[0], folders[key], key[1], NAMES, answers) for key in wanted}
    return {key: (folders[key], future.result()) for key, future in made.items()}


def runs_code(code):
    """Mark a test as one that looks at the run of this code."""

    def mark(test):
        test.code = code
        return pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has")(test)

    return mark


@runs_code(USE)
@pytest.mark.parametrize("place", list(PLACES))
def test_training_resuming_and_the_commands_work(runs, place):
    folder, result = runs[USE, place]
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert b"Traceback" not in result.stderr
    assert b"03 backward of ReLU: done" in result.stdout
    assert result.stdout.count(b"accuracy on 100 test stripes") == 3
    assert (folder / NAMES / "training_curves.png").exists()
    assert not list(folder.rglob("~*")), "a path that begins with ~ was taken as a folder's name"
    assert not list(folder.rglob("*.partial"))


@runs_code(BENCHMARK)
@pytest.mark.parametrize("place", BENCHMARKED)
def test_the_benchmark_works(runs, place):
    _, result = runs[BENCHMARK, place]
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    if place == "without resource":
        assert result.stdout.split() == [b"123.0"]


# ---------------------------------------------------------------- what one process can try


def test_a_numba_without_openmp_is_taken_as_it_is(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "numba.np.ufunc.omppool", None)
    threads.load_openmp()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("compresses", [vector.COMPRESSES, False], ids=["this LLVM", "an LLVM without compress"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nonzeros_are_appended_by_any_llvm(monkeypatch, rng, dtype, compresses):
    """With every pattern of zeros in four lanes, NaN and -0 among the numbers, and two numbers of room before them."""
    import numba

    monkeypatch.setattr(vector, "COMPRESSES", compresses)

    @numba.njit
    def appended(x, numbers, values, places):
        count = 2
        for i in range(0, x.size, vector.lanes_of(x)):
            count += vector.append_nonzero(vector.load(x, i), numbers, i, values, places, count)
        return count

    lanes = width.lanes(dtype)
    patterns = (np.arange(16)[:, None] >> np.arange(4)) & 1
    x = (rng.standard_normal(64 * lanes) * np.resize(patterns, 64 * lanes)).astype(dtype)
    x[rng.choice(x.size, 20, replace=False)] = np.resize([np.nan, -0.0, np.inf], 20)
    numbers = rng.permutation(x.size).astype(np.int32)
    values, places = np.zeros(x.size + lanes + 2, dtype), np.zeros(x.size + lanes + 2, np.int32)
    end = appended(x, numbers, values, places)
    expected = np.zeros_like(values), np.zeros_like(places)
    assert end == 2 + plain.append_nonzero(x, numbers, 0, *expected, 2)
    for ours, right in zip((values, places), expected, strict=True):
        np.testing.assert_array_equal(ours[:end], right[:end])


@pytest.mark.parametrize(
    ("named", "bits"),
    [
        ("+avx512f,+avx2,+fma", 512),
        ("+avx2,+fma,-avx512f", 256),
        ("+avx2,-fma", 128),
        ("+neon,+fp-armv8", 128),
        ("", 128),
    ],
)
def test_the_width_follows_what_numba_compiles_for(monkeypatch, named, bits):
    """NUMBA_CPU_FEATURES, or NUMBA_CPU_NAME=generic: a register that the code may not use is no register."""
    monkeypatch.setattr(width.config, "CPU_FEATURES", named)
    assert width.register_bits() == bits


def test_without_a_home_compiled_code_is_not_kept(tmp_path):
    """And no folder of the name ~ is made."""
    code = """
        from scratchnet.fast.code_cache import code_folder
        print(code_folder().is_dir(), code_folder().parent)
    """
    result = run(code, tmp_path / "here", "without a home")
    existed, folder = result.stdout.decode().split()
    assert existed == "True", result.stderr
    assert not Path(folder).exists()
    assert b"compiled code cannot be kept (this user has no home" in result.stderr
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"my_things.py"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_every_sign_can_be_printed(encoding):
    """Also names of files that are no text: their bytes go through, so that the name can be copied."""
    code = f"from scratchnet.console import never_refuse as f; f(); print({'97.5 % ± 3 × – ▀ 数'!r}, 'na\\udce9me')"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = {
        "ascii": b"97.5 % +- 3 x - ? ? na\xe9me",
        "cp1252": "97.5 % ± 3 × – ? ? na".encode("cp1252") + b"\xe9me",
        "cp437": "97.5 % ± 3 x - ▀ ? na".encode("cp437") + b"\xe9me",
        "utf-8": "97.5 % ± 3 × – ▀ 数 na".encode() + b"\xe9me",
    }
    assert result.stdout.strip() == lines[encoding]


def test_an_error_that_is_not_about_printing_stays_one():
    with pytest.raises(UnicodeDecodeError):
        console.in_other_signs(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))


# ---------------------------------------------------------------- the project's own files

SOURCES = [path for part in ("scratchnet", "benchmarks", "lessons", "scripts") for path in (ROOT / part).rglob("*.py")]

# What only some systems have, and the files that ask first whether it is there.
UNIX = re.compile(
    r"\bpreexec_fn\b|\bos\.(fork|forkpty|killpg|setsid|getuid|geteuid|uname|mkfifo|getloadavg|nice|sched_\w+)\b"
    r"|\bimport (resource|fcntl|termios|tty|pty|pwd|grp)\b|\bsignal\.SIG(HUP|KILL|QUIT|ALRM|USR1|USR2|PIPE)\b"
    r"|\btime\.tzset\b|%-[dHIjm]"
)
ASKS_FIRST = {
    "benchmarks/machine.py", "scratchnet/exercises/running.py", "scratchnet/show/terminal.py",
    "scratchnet/study/experiments.py", "scratchnet/parallel/cores.py",
}  # fmt: skip


def test_what_only_unix_has_is_asked_for_first():
    found = {path.relative_to(ROOT).as_posix() for path in SOURCES if UNIX.search(path.read_text(encoding="utf-8"))}
    assert found <= ASKS_FIRST, "ask whether the system has it (hasattr, ImportError), then list the file here"


def test_no_file_has_a_name_that_some_system_refuses():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name] or [str(path.relative_to(ROOT)) for path in SOURCES]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9 ._/-]+", name), name
        assert len(name) <= 150, f"{name}: with the path to the project, longer than Windows takes"
        for part in name.split("/"):
            assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[. ]", part, re.I), name


# ---------------------------------------------------------------- the oldest packages


def test_every_dependency_declares_a_minimum(tmp_path):
    oldest = runpy.run_path(str(ROOT / "scripts" / "oldest.py"))["oldest"]
    pinned = oldest()
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", requirement) for requirement in pinned), pinned
    assert {"numpy", "numba", "matplotlib", "pytest"} <= {requirement.split("==")[0] for requirement in pinned}
    settings = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (tmp_path / "setup.cfg").write_text(settings.replace("numba>=0.61", "numba"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"setup.cfg: expected a minimum, as in numba>=1.0, got 'numba'"):
        oldest(tmp_path / "setup.cfg")
