"""Compiled code on disk: kept and found again for each processor, and whatever becomes of the files, the right code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_fast import python

from scratchnet.fast import code_cache

RELU = "import numpy as np, scratchnet as sn; print(sn.ReLU().forward(np.array([-1.0, 2.0])))"
RIGHT = "[0. 2.]\n"

# The child process sees a processor with only the oldest vector registers. It compiles ReLU.
NARROW = f"""
    import llvmlite.binding
    features = type(llvmlite.binding.get_host_cpu_features())({{}})
    llvmlite.binding.get_host_cpu_features = lambda: features
    {RELU}
"""


def kept(folder):
    """The files that hold compiled code, those apart that are only partly written."""
    return [path for path in Path(folder).rglob("*.code") if not path.parent.name.endswith(".partial")]


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """A folder with ReLU's compiled code, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("compiled")
    out, err = python(RELU, NUMBA_CACHE_DIR=str(folder))
    assert out == RIGHT
    return folder, err


@pytest.fixture
def cache(compiled_once, tmp_path):
    """A copy of that folder."""
    folder = tmp_path / "compiled"
    for path in kept(compiled_once[0]):
        copy = folder / path.relative_to(compiled_once[0])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return folder


def test_compiling_is_announced_and_kept(compiled_once, cache):
    assert "scratchnet: compiling forward_kernel for this processor ... done" in compiled_once[1]
    assert len(kept(cache)) == 1
    assert python(RELU, NUMBA_CACHE_DIR=str(cache)) == (RIGHT, "")


def test_one_folder_serves_processors_of_any_width(cache):
    """Each processor finds its own code there, and none loads another's."""
    assert "compiling" in python(NARROW, NUMBA_CACHE_DIR=str(cache))[1]
    assert len(kept(cache)) == 2
    for code in (RELU, NARROW):
        assert python(code, NUMBA_CACHE_DIR=str(cache)) == (RIGHT, "")


def test_a_setting_of_numba_that_changes_code_has_code_of_its_own(cache):
    assert "compiling" in python(RELU, NUMBA_CACHE_DIR=str(cache), NUMBA_BOUNDSCHECK="1")[1]
    assert python(RELU, NUMBA_CACHE_DIR=str(cache)) == (RIGHT, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only there a variable says where the user's cache folder is")
def test_without_a_name_it_is_kept_in_the_users_cache_folder(tmp_path):
    code = "import os; del os.environ['NUMBA_CACHE_DIR']; " + RELU
    python(code, XDG_CACHE_HOME=str(tmp_path))
    assert len(kept(tmp_path / "scratchnet" / "compiled")) == 1


# ---------------------------------------------------------------- what happens to files

DAMAGE = {
    "emptied": lambda code: b"",
    "cut off in its digest": lambda code: code[:10],
    "cut off": lambda code: code[: len(code) // 2],
    "its last byte lost": lambda code: code[:-1],
    "garbled": lambda code: code[:3000] + bytes([code[3000] ^ 1]) + code[3001:],
    "zeros": lambda code: bytes(len(code)),
    "another file": lambda code: b"#!/bin/sh\nrm -rf /\n" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_compiled_again(damage, cache):
    (path,) = kept(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    out, err = python(RELU, NUMBA_CACHE_DIR=str(cache))
    assert out == RIGHT
    assert err.count(f"scratchnet: {path} is damaged, so forward_kernel is compiled again\n") == 1
    assert python(RELU, NUMBA_CACHE_DIR=str(cache)) == (RIGHT, "")
    assert len(path.read_bytes()) > 3000


def test_a_folder_in_the_place_of_a_file_stops_nothing(cache):
    (path,) = kept(cache)
    path.unlink()
    path.mkdir()
    out, err = python(RELU, NUMBA_CACHE_DIR=str(cache))
    assert out == RIGHT
    assert err.count("compiled code cannot be kept") == 1
    assert "Traceback" not in err


# The disk is full, or the folder becomes one that can only be read, after the engine was loaded.
NOT_WRITTEN = """
    import errno, os, pathlib
    import scratchnet.fast.code_cache as cache
    cache.code_folder()
    def refuse(*arguments):
        raise OSError(errno.{0}, os.strerror(errno.{0}))
    pathlib.Path.write_bytes = refuse
    import numpy as np, scratchnet as sn
    x = np.array([-1.0, 2.0])
    print(sn.ReLU().forward(x))
    sn.ReLU().forward(x.astype(np.float32))
"""


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EACCES"])
def test_a_disk_that_takes_no_more_is_said_once_and_stops_nothing(error, tmp_path):
    out, err = python(NOT_WRITTEN.format(error), NUMBA_CACHE_DIR=str(tmp_path))
    assert out == RIGHT
    assert err.count("compiled code cannot be kept") == 1
    assert "Set NUMBA_CACHE_DIR to a folder that can be written" in err
    assert not kept(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".partial")]


def test_where_nothing_can_be_written_code_is_in_a_temporary_folder_as_long_as_the_process(tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    (tmp_path / "temporary").mkdir()
    code = RELU + "; from scratchnet.fast.code_cache import code_folder; print(code_folder())"
    out, err = python(code, NUMBA_CACHE_DIR=str(tmp_path / "file"), TMPDIR=str(tmp_path / "temporary"))
    assert out.startswith(RIGHT + str(tmp_path / "temporary" / "scratchnet-compiled-"))
    assert "compiled code cannot be kept ([Errno 20] Not a directory" in err
    assert "Set NUMBA_CACHE_DIR" in err
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_forked_child_leaves_the_temporary_folder_to_its_parent(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache.tempfile, "tempdir", str(tmp_path))
    code = """
        import os, sys, scratchnet.fast.code_cache as cache
        folder = cache.temporary_folder()
        child = os.fork()
        if not child:
            sys.exit()
        os.waitpid(child, 0)
        print(folder.exists())
    """
    assert python(code, TMPDIR=str(tmp_path))[0] == "True\n"
    assert not list(tmp_path.iterdir())


# Different kernels and types, so that each process writes files of the same kernels that the others write.
SEVERAL = """
    import sys, time
    import numpy as np, scratchnet as sn
    from scratchnet.fast import code_cache
    sn.use_engine("numba")
    while time.time() < float(sys.argv[1]):
        pass
    for dtype in sys.argv[2].split(","):
        x = np.arange(-4, 4, dtype=dtype)
        relu = sn.ReLU()
        assert (relu.forward(x) == np.maximum(x, 0)).all()
        assert (relu.backward(x) == np.where(x > 0, x, 0)).all()
"""


def test_processes_that_start_at_once_on_an_empty_cache_get_the_right_code(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    script = tmp_path / "several.py"
    script.write_text("\n".join(line[4:] for line in SEVERAL.splitlines()))

    def run(*orders):
        start = str(time.time() + 2)
        children = [
            subprocess.Popen([sys.executable, script, start, order], env=environment, stderr=subprocess.PIPE, text=True)
            for order in orders
        ]
        said = [child.communicate(timeout=120)[1] for child in children]
        assert [child.returncode for child in children] == [0] * len(children), said
        return said

    run("float32,float64", "float64,float32", "float32,float64", "float64,float32")
    assert len(kept(tmp_path)) == 4
    assert run("float32,float64") == [""]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_while_it_writes_it_leaves_nothing_that_harms(tmp_path):
    """The process dies with the file half written, as at a power cut; the next one removes what is left."""
    code = """
        import os, signal, pathlib
        write = pathlib.Path.write_bytes
        def half(path, content):
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        pathlib.Path.write_bytes = half
        import numpy as np, scratchnet as sn
        sn.ReLU().forward(np.array([-1.0, 2.0]))
    """
    script = tmp_path / "killed.py"
    script.write_text("\n".join(line[8:] for line in code.splitlines()))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    assert subprocess.run([sys.executable, script], env=environment, capture_output=True).returncode < 0
    assert not kept(tmp_path)
    assert list((tmp_path / "compiled").rglob("*.partial"))
    out, err = python(RELU, NUMBA_CACHE_DIR=str(tmp_path / "compiled"))
    assert (out, "Traceback" in err) == (RIGHT, False)
    assert not list((tmp_path / "compiled").rglob("*.partial"))
    assert python(RELU, NUMBA_CACHE_DIR=str(tmp_path / "compiled")) == (RIGHT, "")


# ---------------------------------------------------------------- kernels of others

OTHERS = """
import numpy as np
from numba import prange
from scratchnet.fast.compiled import kernel

@kernel
def fill(out):
    for i in prange(out.size):
        out[i] = NUMBER

out = np.zeros(3)
fill(out)
print(out[0])
"""


def test_a_kernel_from_outside_is_compiled_again_when_its_file_changes(tmp_path):
    """Its file is not part of what names the folder."""
    script = tmp_path / "others.py"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for number in ("1.0", "2.0", "1.0"):
        script.write_text(OTHERS.replace("NUMBER", number))
        out = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
        assert out.stdout == f"{number}\n"
    assert len(kept(tmp_path)) == 2


def test_a_kernel_that_has_no_file_is_compiled_all_the_same(tmp_path):
    code = OTHERS.replace("NUMBER", "3.0")
    ran = subprocess.run(
        [sys.executable, "-"],
        input=code,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "3.0\n"
    assert not kept(tmp_path)
