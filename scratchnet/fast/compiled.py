"""How the mirror's kernels are compiled: for this processor, once, and cached on disk.

`kernel` compiles a function whose `prange` loops are shared by all threads. `inlined` compiles a function that kernels
call. While something is compiled, a line on stderr says so. `for_kernel` prepares the arrays that a user gives.

The cache is below NUMBA_CACHE_DIR or the user's cache folder. Numba itself compiles a kernel again if its arguments'
types, its own file or the processor change. It does not notice when a function changes that the kernel calls. So each
version of the sources below `scratchnet/fast/` has a cache folder of its own.

Nothing here reorders sums (no `fastmath`): a result depends on the arguments, and on the width of the registers.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import config, event

from scratchnet.cache import cache_folder
from scratchnet.console import say
from scratchnet.fast.threads import load_openmp, survive_forks
from scratchnet.layers import shapes

# Numba's simplest threading layer aborts the process if two Python threads start kernels at once. With any other layer,
# the two kernels would compete for the same cores. So kernels take turns.
ONE_KERNEL_AT_A_TIME = threading.RLock()


load_openmp()
survive_forks()


def sources_digest() -> str:
    """A digest of what compiled code depends on: the mirror's sources, `Window`, the versions of Numba and Python."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for path in [*sorted(Path(__file__).parent.rglob("*.py")), Path(shapes.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def code_folder() -> Path | None:
    """Where compiled code is kept; None, after a message on stderr, if that folder cannot be written."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = (Path(named) if named else cache_folder() / "compiled") / sources_digest()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        print(
            f"scratchnet: compiled code cannot be kept ({error}), so it will be compiled anew in the next process. Set "
            "NUMBA_CACHE_DIR to a folder that can be written",
            file=sys.stderr,
        )
        return None


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    before = config.CACHE_DIR  # read when a function is decorated; the user's own functions keep theirs
    config.CACHE_DIR = str(code_folder() or "")
    try:
        compiled: Callable[..., Any] = numba.njit(error_model="numpy", nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = before
    return compiled


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only kernels call, and inline it into them.

    Without `forceinline`, LLVM leaves calls to the larger functions. A tile then returns its accumulators through
    memory, and a tile that sums 16 products takes half as long again.
    """
    return _compile(function, forceinline=True)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose `prange` loops run on all threads, and cache the compiled code in `code_folder`."""
    compiled = _compile(function, parallel=True, cache=code_folder() is not None)
    if config.DISABLE_JIT:
        return function  # plain Python, to step through

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        with ONE_KERNEL_AT_A_TIME:
            compiled(*arguments)

    return run


def for_kernel(a: np.ndarray) -> np.ndarray:
    """The array a as a kernel takes it: contiguous, aligned and writable. Only an array that is not so is copied.

    Numba would take most of the others, but compile each kernel once more for them.
    """
    a = np.ascontiguousarray(a)
    return a if a.flags.behaved else a.copy()


class Announcer(event.Listener):
    """Says on stderr which kernel is being compiled, and then how long all compilation took so far."""

    def __init__(self) -> None:
        self.depth = 0  # compiling a kernel also compiles the functions that it calls
        self.seconds = 0.0

    def on_start(self, event: event.Event) -> None:
        self.depth += 1
        if self.depth == 1 and self.is_ours(event):
            self.started = time.perf_counter()
            name = event.data["dispatcher"].py_func.__name__
            say(f"scratchnet: compiling {name} for this processor ...", end="")

    def on_end(self, event: event.Event) -> None:
        self.depth -= 1
        if self.depth == 0 and self.is_ours(event):
            self.seconds += time.perf_counter() - self.started
            say(f" done ({self.seconds:.1f} s so far; kept for later runs)")

    @staticmethod
    def is_ours(event: event.Event) -> bool:
        """Whether the event is about one of scratchnet's kernels, not about a function of the user's own."""
        return event.data["dispatcher"].py_func.__module__.startswith("scratchnet.fast")


event.register("numba:compile", Announcer())
