"""What all tests share: the engines, the digits, the complete MNIST, and one folder for compiled code."""

from __future__ import annotations

import os

# Of several test processes, each takes its part of the cores, and so do the processes that it starts: where threads
# wait for one another while others have the cores, a step takes several times as long. Tests that are about threads
# ask for them. These variables are read when NumPy, Numba and PyTorch are imported.
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if PROCESSES > 1:
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // PROCESSES)))

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.data import sources
from scratchnet.data.registry import MNIST
from scratchnet.engine import ops

ROOT = Path(__file__).parent.parent
ENGINES = ["numpy", "numba"]

INSTALL = "install what the site needs with: pip install --editable '.[test]'"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# What is made in the project by building, running and testing, and is in no copy of it.
MADE = {
    ROOT / place
    for place in ("runs", "build", "dist", "docs/lessons", "docs/reference", "lessons/output", "lessons/notebooks")
}
NOT_COPIED = shutil.ignore_patterns(".venv", ".git", "*.egg-info", ".*cache", "__pycache__")

BESIDE_THE_PROJECT = ROOT.parent / "shared" / "data" / "mnist"

# Tests spend most of their time compiling. Compiled code is kept in one folder, here and in every child process, so
# that nothing is compiled twice. A test that is about this folder sets another one.
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "compiled"))


@pytest.fixture(params=ENGINES)
def engine(request):
    """Run the test once on every engine."""
    with sn.use_engine(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def same_engine_for_all():
    """A test that chooses an engine, as a command with --engine does, chooses it for itself only."""
    held = vars(ops).copy()
    yield
    vars(ops).clear()
    vars(ops).update(held)


@pytest.fixture(autouse=True)
def no_outside_settings(monkeypatch, tmp_path_factory):
    """No test depends on the caller's environment variables or cache folder."""
    monkeypatch.delenv("SCRATCHNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def sample():
    """(train, held out) of the embedded sample."""
    return sn.data.load("sample")


def find_mnist():
    """The folder of the complete MNIST: where the library looks for it, or beside the project.

    The library looks where SCRATCHNET_DATA points, else in the user's cache. If no place has it, the test is skipped,
    and the reason says how to get it.
    """
    reason = "It is in neither of the two"
    try:
        folder = sources.find(MNIST)
    except FileNotFoundError as error:  # SCRATCHNET_DATA names a folder without them
        folder, reason = None, str(error)
    if folder is None and not sources.missing_files(MNIST, BESIDE_THE_PROJECT):
        folder = BESIDE_THE_PROJECT
    if folder is None:
        pytest.skip(
            "this needs the complete MNIST, and no test downloads it. "
            f"`scratchnet reproduce --data mnist` downloads it into {sources.data_folder(MNIST)}; or name a folder "
            f"that has it with SCRATCHNET_DATA. {reason}"
        )
    return folder


# Looked for before a test runs: `no_outside_settings` then hides the caller's variables and cache folder.
@pytest.fixture(scope="session")
def mnist_folder():
    """The folder of the complete MNIST; a test that needs it is skipped where there is none."""
    return find_mnist()


def copy_project(to):
    """Copy the project as it would be in a fresh clone."""

    def left_out(folder, names):
        return NOT_COPIED(folder, names) | {name for name in names if Path(folder, name) in MADE}

    shutil.copytree(ROOT, to, ignore=left_out)


def pytest_configure(config):
    """SIGTERM ends the tests as an error would, so that processes are ended and temporary folders removed."""

    def end(number, frame):
        pytest.exit("ended by SIGTERM", returncode=128 + number)

    before = signal.signal(signal.SIGTERM, end)
    config.add_cleanup(lambda: signal.signal(signal.SIGTERM, before))


def pytest_collection_modifyitems(items):
    """The site's tests first: its build takes minutes, in which another process can run the tests of other files."""
    items.sort(key=lambda item: "site" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, without a window; no browser is downloaded."""
    sync_api = pytest.importorskip("playwright.sync_api", reason=INSTALL)
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium was found; install it with: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()
