"""Where the tests look for the complete MNIST, and what they say if it is not there."""

from __future__ import annotations

import conftest
import pytest
from conftest import find_mnist

from scratchnet.data import sources
from scratchnet.data.registry import MNIST


@pytest.fixture(autouse=True)
def nothing_beside_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(conftest, "BESIDE_THE_PROJECT", tmp_path / "beside")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))


def put_files(folder):
    folder.mkdir(parents=True)
    for name in MNIST.files:
        (folder / f"{name}.gz").touch()
    return folder


def test_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "mine"))
    assert put_files(tmp_path / "mine") == find_mnist()


def test_the_users_cache():
    assert put_files(sources.data_folder(MNIST)) == find_mnist()


def test_beside_the_project(tmp_path):
    assert put_files(tmp_path / "beside") == find_mnist()


@pytest.mark.parametrize("named", [False, True])
def test_the_reason_for_skipping_says_how_to_get_it(named, tmp_path, monkeypatch):
    if named:
        monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception) as skipped:
        find_mnist()
    reason = str(skipped.value)
    assert "`scratchnet reproduce --data mnist`" in reason
    assert str(sources.data_folder(MNIST)) in reason
    assert "SCRATCHNET_DATA" in reason
    assert str(tmp_path / "beside") not in reason, "no outsider has that folder"
