"""Compiling ahead: all kernels that a network needs, at once, by as many processes as there are cores.

Numba compiles a kernel when it is first called, and one after the other: a lock around its compiler lets no second
thread in. Processes have a lock each. So before a network's first step, `prepare` finds out which kernels the step will
call, and has other processes compile those that are not on disk yet (`compile_worker.py`). This process then loads
their code from there.

No list of kernels has to be kept. A copy of the network goes forward and backward while kernels only note their calls
(`compiled.noted`). Some ways depend on how many zeros a gradient has. So each stage goes backward twice, from zeros
alone and from none.

If no process can be started, as in a frozen program, or if there is one core, the kernels are compiled here. What
nothing foresees is compiled when it is called, and a line says so.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba.core import config

from scratchnet.console import is_terminal, say
from scratchnet.engine import Planned
from scratchnet.fast.code_cache import code_folder, is_there
from scratchnet.fast.compile_worker import types_of
from scratchnet.fast.compiled import ANNOUNCER, Call, noted
from scratchnet.fast.fused import stages
from scratchnet.fast.update import average_update
from scratchnet.layers.base import state_arrays
from scratchnet.progress import progress_bar

MEMORY = 500 << 20  # bytes: twice what a process that compiles was seen to take
MOST_PROCESSES = 8
WORTH_PROCESSES = 3  # kernels: fewer are compiled here, before another process would have started
LEAST_WORK = 2000  # measured: what a kernel takes to compile besides its code, as if it were bytes of code
SECONDS = 2.4e-4  # measured: time for a byte
START_UP = 2.5  # measured: seconds until a process has read its first kernel and compiled what all of them share
EXACT_SIZES = 8  # rules ask whether a batch has a handful of examples; above that, only for its order of size


class Missing(NamedTuple):
    """A kernel that is to be compiled."""

    module: str
    name: str
    arguments: list[Any]  #: as in a `Call`
    dispatcher: Any
    types: tuple[Any, ...]
    work: float  #: as `work_of` has it


def prepare(plans: Sequence[Planned], stop: Callable[[], Any] = lambda: False) -> None:
    """Compile the kernels that these plans need and that are not on disk, with a progress bar.

    The networks and their optimisers are not changed. `stop` is asked again and again: if it is true, the rest is left
    to be compiled when it is called.
    """
    if config.DISABLE_JIT:
        return
    try:
        calls = [call for plan in plans if is_new(plan) for call in calls_of(plan)]
    except Exception:  # something does not fit, or cannot be copied: the run itself will say so, or do without this
        return
    compile_all(missing(calls), stop)


_planned: WeakKeyDictionary[Any, set[Any]] = WeakKeyDictionary()
_prepared: WeakKeyDictionary[Any, set[Any]] = WeakKeyDictionary()


def is_new(plan: Planned) -> bool:
    """Whether this process has not yet seen this plan for this network: a lesson may call `fit` for each epoch.

    What the key does not tell apart, as another setting of a layer, is compiled when it is called.
    """
    optimizers = tuple((type(each), tuple(each.state_names() or ())) for each in filter(is_ours, plan.optimizers))
    passes = tuple((shape, np.dtype(dtype), training) for shape, dtype, training in plan.passes)
    rest = (type(plan.augment), plan.average is None, len(plan.besides))
    key = (passes, tuple(map(type, plan.net.layers)), optimizers, *rest)
    known = _planned.setdefault(plan.net, set())
    if key in known:
        return False
    known.add(key)
    return True


def before_forward(net: Any, x: np.ndarray, training: bool) -> None:
    """`prepare` a network for a batch of this size, if that has not been done in this process."""
    if not isinstance(x, np.ndarray) or not x.ndim:
        return  # the first layer has an error for it
    try:
        done = _prepared[net]
    except KeyError:
        done = _prepared[net] = set()
    N = len(x)
    key = (N if N <= EXACT_SIZES else -N.bit_length(), x.shape[1:], x.dtype, training)
    if key not in done:
        done.add(key)
        prepare([Planned(net, [(x.shape, x.dtype, training)])])


# ---------------------------------------------------------------- which kernels


def calls_of(plan: Planned) -> list[Call]:
    """The kernels that a plan calls, in order, each as often as it is called."""
    with noted() as calls, np.errstate(all="ignore"):  # arrays that no kernel fills hold anything
        net, optimizers = copy_of(plan)
        for shape, dtype, training in plan.passes:
            x = np.zeros(shape, dtype)
            if plan.augment is not None and training:
                plan.augment(x, np.random.default_rng(0))
            _go_through(net, x, training)
        for optimizer in filter(is_ours, optimizers):
            optimizer.steps = 1
            for p in optimizer.parameters:
                optimizer.update(p.value, np.zeros_like(p.value), {})
        if plan.average is not None:
            for array in plan.average.averaged().values():
                average_update(np.zeros_like(array), array, plan.average.decay)
        for work in plan.besides:
            work()
    return calls


def copy_of(plan: Planned) -> tuple[Any, Sequence[Any]]:
    """A plan's network and its optimisers, which have the copy's parameters.

    What the last forward left in the layers is not copied: these arrays may be large, and nothing here changes them.
    """
    net = plan.net
    changed = {id(array) for array in state_arrays(net.state()).values()}
    holders = [vars(holder).values() for holder in (*net.layers, *net._stages)]
    left = [value for values in holders for value in values if isinstance(value, np.ndarray)]
    return copy.deepcopy((net, plan.optimizers), {id(array): array for array in left if id(array) not in changed})


def is_ours(thing: Any) -> bool:
    """Whether it is scratchnet's own: what comes from outside may do anything, and is not run for a plan."""
    return type(thing).__module__.startswith("scratchnet.")


def _go_through(net: Any, x: np.ndarray, training: bool) -> None:
    """Forward and, in training, backward through each stage."""
    there = []
    for stage in stages(net.layers):
        if is_ours(stage):
            x = stage.forward(x, training)
            there.append((stage, x))
        else:
            x = np.zeros(stage.shape_after(x.shape), x.dtype)  # type: ignore[union-attr]
    for stage, out in reversed(there if training else []):
        for dout in (np.zeros_like(out), np.ones_like(out)):
            stage.backward(dout, need_dx=stage is not there[0][0])


def missing(calls: Iterable[Call]) -> list[Missing]:
    """Those kernels whose code is neither in this process nor on disk: what takes longest first."""
    found: dict[Any, Missing] = {}
    for kernel, described in calls:
        dispatcher: Any = kernel.dispatcher  # type: ignore[attr-defined]
        types = known_types_of(json.dumps(described))
        if (dispatcher, types) not in found and not is_there(dispatcher, types):
            function = dispatcher.py_func
            found[dispatcher, types] = Missing(
                function.__module__, function.__name__, described, dispatcher, types, work_of(function)
            )
    return sorted(found.values(), key=lambda each: -each.work)


@functools.cache
def known_types_of(described: str) -> tuple[Any, ...]:
    """As `types_of`, from JSON. Every `fit` asks for the same few types again, and Numba takes long to find them."""
    return types_of(json.loads(described))


def work_of(function: Any) -> float:
    """How long it takes to compile a kernel, roughly: in bytes of its code and of what is inlined into it."""
    return LEAST_WORK + bytes_of(function)


def bytes_of(function: Any) -> int:
    """Bytes of a function's code, and of the code of all that is inlined into it."""
    callees = (function.__globals__.get(name) for name in function.__code__.co_names)
    return len(function.__code__.co_code) + sum(bytes_of(f.py_func) for f in callees if hasattr(f, "py_func"))


# ---------------------------------------------------------------- compiling them


def compile_all(wanted: Sequence[Missing], stop: Callable[[], Any]) -> None:
    """Compile kernels, with a progress bar: by other processes, and what they leave here."""
    if not wanted:
        return
    count = min(processes(), len(wanted))
    progress = Progress(wanted, count)
    with ANNOUNCER.silenced(), progress:
        if count > 1 and len(wanted) >= WORTH_PROCESSES:
            elsewhere(wanted, count, progress, stop)
        for each in wanted:
            if stop():
                return
            if not is_there(each.dispatcher, each.types):
                each.dispatcher.compile(each.types)
            progress.finished(each)


def processes() -> int:
    """How many processes may compile at once: one for each core, as far as the memory goes; 1 for this one alone."""
    import psutil

    if getattr(sys, "frozen", False) or "python" not in Path(sys.executable or "").name:
        return 1  # sys.executable is no interpreter, and would start the whole program anew
    return max(1, min(config.NUMBA_NUM_THREADS, MOST_PROCESSES, psutil.virtual_memory().available // MEMORY))


def elsewhere(wanted: Sequence[Missing], count: int, progress: Progress, stop: Callable[[], Any]) -> None:
    """Have so many processes compile the kernels. Gives up as soon as one of these fails."""
    workers: list[subprocess.Popen[str]] = []
    idle: SimpleQueue[Any] = SimpleQueue()

    def let_compile(each: Missing) -> Missing:
        worker = idle.get()
        try:
            worker.stdin.write(json.dumps([each.module, each.name, each.arguments]) + "\n")
            worker.stdin.flush()
            worker.stdout.readline()
        finally:
            idle.put(worker)
        return each

    threads = ThreadPoolExecutor(count)  # each waits for one process
    try:
        for _ in range(count):
            workers.append(start_worker())
            idle.put(workers[-1])
        pending = {threads.submit(let_compile, each) for each in wanted}
        while pending and not stop():
            done, pending = wait(pending, timeout=0.2)
            for each in [task.result() for task in done]:
                if not is_there(each.dispatcher, each.types):
                    return  # the process has ended, or its code cannot be kept
                progress.finished(each)
            progress.show()
    except (OSError, RuntimeError):  # no process can be started here, or no thread
        return
    finally:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.communicate()


def start_worker() -> subprocess.Popen[str]:
    """A process that runs `compile_worker.main`, on the same sources and with the same cache as this one."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path[:] = {sys.path!r}; from scratchnet.fast.compile_worker import main; main()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(code_folder().parent)},
    )


class Progress:
    """What is shown meanwhile: a line that counts the kernels on a terminal, and a single line where there is none."""

    def __init__(self, wanted: Sequence[Missing], processes: int) -> None:
        self.left = list(wanted)
        self.total = len(wanted)
        self.work = sum(each.work for each in wanted)
        self.began = time.perf_counter()
        self.seconds = START_UP + self.work * SECONDS / processes  # as long as nothing is known of this machine
        self.kernels = "1 kernel" if self.total == 1 else f"{self.total} kernels"
        self.text = f"scratchnet: compiling {self.kernels} for this processor, once"
        on_terminal = is_terminal(sys.stderr)
        if not on_terminal:
            say(f"{self.text}; the code is kept for later runs")
        self.bar = progress_bar(None, str(self), on_terminal, total=self.total, bar_format="{desc} |{bar}|")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.left:
            seconds = time.perf_counter() - self.began
            self.bar.set_description_str(f"scratchnet: compiled {self.kernels} for this processor, in {seconds:.0f} s")
        self.bar.close()

    def finished(self, each: Missing) -> None:
        """Count a kernel; one that was counted already is not counted again."""
        if each in self.left:
            self.left.remove(each)
            self.bar.update()
            done = self.work - sum(one.work for one in self.left)
            compiling = max(0, time.perf_counter() - self.began - START_UP)
            self.seconds = START_UP + compiling * self.work / done
            self.show()

    def show(self) -> None:
        """Write the line anew."""
        self.bar.set_description_str(str(self))

    def __str__(self) -> str:
        seconds = max(1, self.seconds - (time.perf_counter() - self.began))
        return f"{self.text}: {self.total - len(self.left)} of {self.total}, about {seconds:.0f} s left"
