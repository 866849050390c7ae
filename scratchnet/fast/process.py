"""What the mirror sets for its whole process, once, when it is loaded; what the environment says already, stays.

How threads wait for each other, and what happens to memory that is not needed any more, is decided by libraries that
every program shares. Their defaults suit programs that seldom compute; both cost a training step more than a kernel can
win.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys

# How often a thread of GNU OpenMP looks for work before it sleeps. Its own default is about a millisecond of looking,
# which, wherever other programs want the cores too, keeps the thread that it waits for from running.
SPINS = "5000"

# Of glibc's malloc.h: parameters of mallopt, and the environment's names for them.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NAMES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = 2**31 - 1  # bytes, and the largest that mallopt takes


def load_openmp() -> None:
    """Load GNU OpenMP, if Numba has it here, with SPINS in place of its default.

    It reads the environment only now, so that nothing is left there for child processes.
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
    """Have glibc keep freed memory for the next array, instead of giving it back to the system.

    A network makes the same arrays at every step. The system hands memory out page by page and full of zeros: with
    batches of 512, an eighth of a step went into getting back what had been given away a moment ago.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in NAMES):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries than glibc have none
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, NEVER)
            mallopt(M_TRIM_THRESHOLD, NEVER)
