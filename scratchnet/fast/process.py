"""Settings of two shared libraries, made once for the whole process, when the mirror is loaded.

GNU OpenMP decides how threads wait for each other. glibc decides what happens to freed memory. Every program shares
them, and their defaults suit programs that seldom compute: each default costs a training step more than a kernel can
win. A setting that the environment already makes is left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys

# How often a thread of GNU OpenMP polls for work before it sleeps. The default is about a millisecond of polling. Where
# other programs want the cores too, a polling thread keeps the thread that it waits for from running.
SPINS = "5000"

# From glibc's malloc.h: parameters of mallopt, and the environment variables for the same settings.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NAMES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = 2**31 - 1  # bytes: the largest value that mallopt takes


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


def keep_memory() -> None:
    """Make glibc keep freed memory for the next array, instead of returning it to the system.

    A network allocates the same arrays at every step. The system hands out memory page by page, and fills each page
    with zeros. With batches of 512, an eighth of a step was spent on memory that had been freed a moment before.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in NAMES):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has this function
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, NEVER)
            mallopt(M_TRIM_THRESHOLD, NEVER)
