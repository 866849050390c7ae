"""What all tests share: the engines, the digits, and the complete MNIST where it lies beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scratchnet as sn

ROOT = Path(__file__).parent.parent
MNIST_FOLDER = ROOT.parent / "shared" / "data" / "mnist"
ENGINES = ["numpy", "numba"]


@pytest.fixture(params=ENGINES)
def engine(request):
    """Run the test once on every engine."""
    with sn.use_engine(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def no_outside_settings(monkeypatch, tmp_path_factory):
    """Neither the caller's variables nor the caller's cache folder decide a test."""
    monkeypatch.delenv("SCRATCHNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def sample():
    """(train, held out) of the embedded sample."""
    return sn.data.load("sample")


@pytest.fixture(scope="session")
def mnist_folder():
    """The complete MNIST, where it lies beside the project."""
    if not MNIST_FOLDER.exists():
        pytest.skip("the complete MNIST is not in ../shared/data/mnist; nothing is downloaded for a test")
    return MNIST_FOLDER
