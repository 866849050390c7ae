"""How the mirror's kernels are compiled: for this processor, once, and kept on disk.

`kernel` compiles a function whose `prange` loops are shared by all threads. `inlined` compiles a function that kernels
call. `for_kernel` prepares the arrays that a user gives. `code_cache.py` keeps the code on disk. `ahead.py` compiles
all that a network needs at once. While a kernel is compiled by itself, a line on stderr says so.

Nothing here reorders sums (no `fastmath`): a result depends on the arguments, and on the width of the registers.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import config, event

from scratchnet.console import say
from scratchnet.fast.code_cache import keep_on_disk
from scratchnet.fast.compile_worker import describe
from scratchnet.fast.ingredients import InlinedCompiler, KernelCompiler
from scratchnet.fast.threads import load_openmp, survive_forks

# Numba's simplest threading layer aborts the process if two Python threads start kernels at once. With any other layer,
# the two kernels would compete for the same cores. So kernels take turns.
ONE_KERNEL_AT_A_TIME = threading.RLock()


if hasattr(os, "register_at_fork"):  # a fork waits for the kernel of another thread, which would never end in the child
    os.register_at_fork(
        before=ONE_KERNEL_AT_A_TIME.acquire,
        after_in_parent=ONE_KERNEL_AT_A_TIME.release,
        after_in_child=ONE_KERNEL_AT_A_TIME.release,
    )


load_openmp()
survive_forks()


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    return numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True, **options)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only kernels call, and inline it into them.

    Without `forceinline`, LLVM leaves calls to the larger functions. A tile then returns its accumulators through
    memory, and a tile that sums 16 products takes half as long again.
    """
    compiled: Callable[..., Any] = _compile(
        function, forceinline=True, pipeline_class=InlinedCompiler, no_cpython_wrapper=True
    )
    return compiled


class Call(NamedTuple):
    """A kernel that was called."""

    kernel: Callable[..., Any]
    arguments: list[Any]  #: as `compile_worker.describe` has them: the arrays themselves may be large


class Noted(threading.local):
    """The calls that this thread notes instead of making them; None if it makes them."""

    calls: list[Call] | None = None


_noted = Noted()
_blocks_noting = 0  # in all threads: if there is none, as nearly always, `_noted` need not be asked


@contextmanager
def noted() -> Iterator[list[Call]]:
    """Inside the `with` block, kernels of this thread do nothing: their calls are put into a list."""
    global _blocks_noting
    before, _noted.calls = _noted.calls, []
    _blocks_noting += 1
    try:
        yield _noted.calls
    finally:
        _noted.calls = before
        _blocks_noting -= 1


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose `prange` loops run on all threads, and keep its code on disk."""
    compiled = _compile(function, parallel=True, pipeline_class=KernelCompiler)
    if config.DISABLE_JIT:
        return function  # plain Python, to step through
    keep_on_disk(compiled)

    @functools.wraps(function)
    def run(*arguments: Any) -> None:
        if _blocks_noting and _noted.calls is not None:
            _noted.calls.append(Call(run, describe(arguments)))
            return
        with ONE_KERNEL_AT_A_TIME:
            compiled(*arguments)

    run.dispatcher = compiled  # type: ignore[attr-defined]
    return run


def for_kernel(a: np.ndarray) -> np.ndarray:
    """The array a as a kernel takes it: contiguous, aligned and writable. Only an array that is not so is copied.

    Numba would take most of the others, but compile each kernel once more for them.
    """
    if type(a) is np.ndarray and a.flags.carray:  # as nearly always, and this is asked for every array of every call
        return a
    a = np.ascontiguousarray(a)
    return a if a.flags.behaved else a.copy()


class Announcer(event.Listener):
    """Says on stderr which kernel is being compiled, and then how long all compilation took so far."""

    def __init__(self) -> None:
        self.depth = 0  # compiling a kernel also compiles the functions that it calls
        self.seconds = 0.0
        self.silent = False

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Say nothing inside the `with` block."""
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    def on_start(self, event: event.Event) -> None:
        self.depth += 1
        if self.depth == 1 and not self.silent and self.is_ours(event):
            self.started = time.perf_counter()
            name = event.data["dispatcher"].py_func.__name__
            say(f"scratchnet: compiling {name} for this processor ...", end="")

    def on_end(self, event: event.Event) -> None:
        self.depth -= 1
        if self.depth == 0 and not self.silent and self.is_ours(event):
            self.seconds += time.perf_counter() - self.started
            say(f" done ({self.seconds:.1f} s so far; kept for later runs)")

    @staticmethod
    def is_ours(event: event.Event) -> bool:
        """Whether the event is about one of scratchnet's kernels, not about a function of the user's own."""
        return event.data["dispatcher"].py_func.__module__.startswith("scratchnet.fast")


ANNOUNCER = Announcer()
event.register("numba:compile", ANNOUNCER)
