"""The kernels' threads, which are GNU OpenMP's where Numba has it: how they wait, and what becomes of them in a fork.

How they wait is decided once for the whole process, when the library is loaded. Its default suits programs that seldom
compute, and costs a training step more than a kernel can win. A setting that the environment makes is left alone.

They do not survive a fork, which is how `multiprocessing` starts processes on Linux up to Python 3.13, and so
`Pool.map`: Numba ends a child that starts a parallel loop. Numba's own work queue does survive, but takes ten times as
long to start each loop. So a process begins with OpenMP, and its forked children go on with the work queue. The results
are the same bits, since they do not depend on who runs which part of a loop.

Compiled code jumps to a fixed address for its parallel loops, `numba_parallel_for`. Here a function is put there that
jumps on, to whatever an address in memory says:

                                         +->  parallel_for of OpenMP
    kernel --> numba_parallel_for --> target
                                         +->  parallel_for of the work queue, in a forked child
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import config

# How often a thread of GNU OpenMP polls for work before it sleeps. The default is about a millisecond of polling. Where
# other programs want the cores too, a polling thread keeps the thread that it waits for from running.
SPINS = "5000"

PARALLEL_FOR = "numba_parallel_for"
PARAMETERS = 8  # of that function, all pointers or integers: see Numba's `omppool.cpp`


def load_openmp() -> None:
    """Load GNU OpenMP, if this build of Numba has it, with SPINS in place of its default.

    The library reads the variable only while it is loaded. So the variable is removed again, and child processes do not
    inherit it.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("numba.np.ufunc.omppool")
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def survive_forks() -> None:
    """Let kernels that are loaded from now on run in forked children too."""
    numba.get_num_threads()  # has Numba choose a library for the threads
    if sys.platform != "linux" or numba.threading_layer() != "omp":
        return
    omppool, workqueue = (importlib.import_module(f"numba.np.ufunc.{name}") for name in ("omppool", "workqueue"))
    jump = Jump(omppool.parallel_for)
    llvm.add_symbol(PARALLEL_FOR, jump.address)

    def go_on_with_work_queue() -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_int)(workqueue.launch_threads)(config.NUMBA_NUM_THREADS)
        jump.target.value = workqueue.parallel_for

    os.register_at_fork(after_in_child=go_on_with_work_queue)


class Jump:
    """A compiled function of PARAMETERS arguments that passes them on to the function whose address is in `target`."""

    def __init__(self, target: int) -> None:
        number = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [number] * PARAMETERS)
        module = ir.Module("scratchnet_fork")
        place = ir.GlobalVariable(module, number, "target")
        place.initializer = ir.Constant(number, target)
        function = ir.Function(module, kind, "jump")
        builder = ir.IRBuilder(function.append_basic_block())
        to: Any = builder.inttoptr(builder.load(place), kind.as_pointer())
        builder.call(to, function.args, tail=True)
        builder.ret_void()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)  # owns the code
        self.engine.finalize_object()
        self.address = self.engine.get_function_address("jump")
        self.target = ctypes.c_int64.from_address(self.engine.get_global_value_address("target"))
