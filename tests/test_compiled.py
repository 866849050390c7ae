"""Compiled code on disk: it is saved and found again, in a folder that can be chosen, for each processor apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_fast import python

RELU = "import numpy as np, scratchnet as sn; print(sn.ReLU().forward(np.array([-1.0, 2.0])))"

# The child process sees a processor with only the oldest vector registers. It compiles ReLU and prints the width of a
# register.
NARROW = f"""
    import llvmlite.binding
    features = type(llvmlite.binding.get_host_cpu_features())({{}})
    llvmlite.binding.get_host_cpu_features = lambda: features
    {RELU}
"""


def kept(folder):
    """The number of kernels whose code a folder holds."""
    return len(list(Path(folder).rglob("*.nbc")))


@pytest.mark.slow
def test_compiling_is_announced_and_kept(tmp_path):
    announced = "scratchnet: compiling forward_kernel for this processor ... done"
    out, err = python(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    assert out == "[0. 2.]\n"
    assert announced in err
    assert kept(tmp_path) == 1
    assert python(RELU, NUMBA_CACHE_DIR=str(tmp_path)) == (out, "")


@pytest.mark.slow
def test_one_folder_serves_processors_of_any_width(tmp_path):
    """Each processor finds its own code there, and none loads another's."""
    for code in (RELU, NARROW):
        before = kept(tmp_path)
        assert "compiling" in python(code, NUMBA_CACHE_DIR=str(tmp_path))[1]
        assert kept(tmp_path) == before + 1
    for code in (RELU, NARROW):
        assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == ("[0. 2.]\n", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only there a variable says where the user's cache folder is")
def test_without_a_name_it_is_kept_in_the_users_cache_folder(tmp_path):
    code = "import os; del os.environ['NUMBA_CACHE_DIR']; " + RELU
    python(code, XDG_CACHE_HOME=str(tmp_path))
    assert kept(tmp_path / "scratchnet" / "compiled") == 1


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_named_and_does_not_stop_anything(tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    out, err = python(RELU, NUMBA_CACHE_DIR=str(tmp_path / "file"))
    assert out == "[0. 2.]\n"
    assert "compiled code cannot be kept ([Errno 20] Not a directory" in err
    assert "Set NUMBA_CACHE_DIR" in err
