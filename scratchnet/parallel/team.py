"""What a rank can ask of the others; and a team of one, where nothing has to be asked.

All ranks call the same methods in the same order. `Ranks` in `communicator.py` is the team that `mpiexec` starts.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np

from scratchnet.parallel.tree import Message

# How mpiexec tells its processes how many there are: MPICH's, and those made from it; Open MPI's.
COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")

EAGER = 0.1  # seconds to ask without a pause: no step of a run waits longer, unless another rank is busy
PAUSE = 50e-6  # seconds between the questions after that

IsDone = Callable[[], bool]  # asked again and again, whether messages have come and gone

KNOWN = "known_to_all_ranks"  # an attribute of errors of which the other ranks have been told


def until(is_done: IsDone, patience: float | None = None) -> None:
    """Ask until it is so; TimeoutError if it is not after `patience` seconds.

    So no call waits inside MPI: Ctrl-C is noticed while a rank waits, and others can have the core meanwhile. While
    messages are coming there is no pause. A question may move only a small part of a long message: with a pause after
    each, a step that exchanges 13 MB was measured to take 131 ms instead of 115.
    """
    began = time.monotonic()
    while not is_done():
        waited = time.monotonic() - began
        if patience is not None and waited > patience:
            raise TimeoutError(f"no answer from the other ranks within {patience:g} seconds")
        if waited > EAGER:
            time.sleep(PAUSE)
        else:
            give_way()


# Another process that wants this core gets it, if there is one. (Windows has no such call: it asks again at once.)
give_way = getattr(os, "sched_yield", lambda: None)


def always() -> bool:
    """What one process alone is told: there is nothing to wait for."""
    return True


class Team:
    """One process alone. A team of several overrides every method.

    Attributes
    ----------
    rank, size : int
        The number of this process, and how many there are.
    """

    rank = 0
    size = 1

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers (...) of all ranks, float64, in one array (size, ...). Each rank gives as many."""
        return np.array(numbers, np.float64)[None]

    def meet(self, numbers: np.ndarray, patience: float | None = None) -> np.ndarray:
        """As `gather`, apart from all other messages: for what ranks tell each other when something may be wrong.

        Raises TimeoutError if some rank does not come within `patience` seconds; None: waits for ever.
        """
        return self.gather(numbers)

    def texts(self, text: str) -> list[str]:
        """The texts of all ranks, by rank."""
        return [text]

    def from_first(self, content: bytes) -> bytes:
        """What rank 0 gives, for all ranks."""
        return content

    def exchange(self, sends: list[Message], receives: list[Message], number: int) -> IsDone:
        """Begin to send numbers to other ranks, and to fill arrays with what they send under the same number."""
        return always

    def gather_pieces(self, vector: np.ndarray, places: tuple[slice, ...]) -> IsDone:
        """Begin to fill a vector of which each rank has one piece, in place: `places[rank]`."""
        return always

    def neighbours(self) -> list[int]:
        """The ranks on this machine, in order."""
        return [0]

    def library(self) -> str:
        """What carries the messages: "MPICH 5.0.2"."""
        return "no MPI"

    def end(self, code: int) -> None:
        """End all ranks at once, wherever they are."""
        raise SystemExit(code)


ALONE = Team()


def started_together(variables: Mapping[str, str] = os.environ) -> int:
    """How many processes mpiexec has started together; 0 if this process was not started by it."""
    return next((int(variables[name]) for name in COUNTS if variables.get(name, "").isdecimal()), 0)


def under_mpiexec() -> bool:
    """Whether mpiexec has started this process, even as the only one. Imports nothing."""
    return started_together() > 0


@functools.cache
def whole_team() -> Team:
    """All processes that mpiexec has started, or this one alone.

    Raises
    ------
    RuntimeError
        If mpiexec has started this process, and mpi4py or the library that it needs is missing or another one.
    """
    expected = started_together()
    if not expected:
        return ALONE
    try:
        from scratchnet.parallel.communicator import Ranks
    except (ImportError, RuntimeError) as error:  # mpi4py has a RuntimeError where it finds no MPI library
        raise RuntimeError(
            f"started by mpiexec, but MPI cannot be used: {error}. Install it with: pip install 'scratchnet[mpi]'; or "
            "start without mpiexec"
        ) from error
    ranks = Ranks()
    if ranks.size != expected:
        raise RuntimeError(
            f"mpiexec has started {expected} processes, but mpi4py counts {ranks.size}: the two belong to different "
            f"MPI libraries. mpi4py uses {ranks.library()}; start with the mpiexec of that library"
        )
    end_all_at_an_uncaught_error(ranks)
    return ranks


def end_all_at_an_uncaught_error(team: Team) -> None:
    """Have an error that nobody catches end all ranks, in a program of one's own too. Without this, Python would wait
    for the other ranks before it exits, and they for this one."""
    usual = sys.excepthook

    def show_and_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        usual(kind, error, trace)
        if not hasattr(error, KNOWN):
            sys.stderr.flush()
            team.end(1)

    sys.excepthook = show_and_end
