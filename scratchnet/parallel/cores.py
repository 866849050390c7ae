"""How the ranks of a machine share its cores: threads times ranks are never more than the cores, unless asked for.

mpiexec may bind a rank to some cores, and then these are its own. Else all ranks of the machine may use all of them,
and each gets its part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from scratchnet.engine import is_compiled
from scratchnet.parallel.team import Team

MOST_CORES = 4096  # of a machine, by their highest number


def allowed_cores() -> set[int]:
    """The cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return {core for core in os.sched_getaffinity(0) if core < MOST_CORES}
    return set(range(os.cpu_count() or 1))


def threads_of(rank: int, allowed: Sequence[set[int]]) -> int:
    """How many threads a rank starts, if each rank of the machine may run on the `allowed` cores.

    It gets all cores that it has to itself, and its part of those that it shares; at least 1.
    """
    part = sum(1 / sum(core in others for others in allowed) for core in allowed[rank])
    return max(1, int(part + 1e-9))


def threads_for(team: Team) -> int:
    """How many threads this rank starts; all ranks have to ask. NUMBA_NUM_THREADS, if it is set, says it."""
    mine = np.zeros(MOST_CORES)
    mine[list(allowed_cores())] = 1
    every = team.gather(mine)
    neighbours = team.neighbours()
    allowed = [set(np.flatnonzero(every[rank]).tolist()) for rank in neighbours]
    named = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(named) if named.isdecimal() else threads_of(neighbours.index(team.rank), allowed)


@contextmanager
def shared_cores(team: Team) -> Iterator[None]:
    """Inside the block, run on this rank's part of the machine's cores; and matrix products of NumPy on one thread.

    Compiled kernels give the same bits on any number of threads, but BLAS may add in another order: so it has one, even
    in a team of one.
    """
    import threadpoolctl

    threads = threads_for(team)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        if not is_compiled():
            yield
            return
        import numba

        before = numba.get_num_threads()
        if team.size > 1:
            numba.set_num_threads(min(threads, before))
        try:
            yield
        finally:
            numba.set_num_threads(before)
