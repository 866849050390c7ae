"""Ranks begin alike and end together: an error of one is the end of all, and is shown once.

Ranks *meet* after each part of the work that can fail, and before they exchange anything: at the start, at each step
after the forward pass, and at the end. Each says whether it has an error, and whether it was asked to stop.
A rank that has an error goes to the next meeting at once. So the others, who are on their way to it, hear of the error
there, and nobody waits for a message that will never come.

An error where no meeting follows, in a backward pass or between two messages, is rare. Then the others do not come;
after `PATIENCE` seconds the rank shows its error and ends all of them. If a rank is killed, mpiexec ends the others.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from scratchnet.console import say
from scratchnet.parallel.cores import threads_for
from scratchnet.parallel.team import KNOWN, Team
from scratchnet.runs.identity import difference

PATIENCE = 10.0  # seconds; a step of the slowest rank takes less, or its error is not worth waiting for


class EndedElsewhere(SystemExit):
    """This rank ends since another one does, which says why. It has an exit code and no message."""

    def __init__(self, code: Any = 1) -> None:
        super().__init__(code)


class Heard(NamedTuple):
    """What the ranks tell each other at a meeting: the same on all of them."""

    signal: int | None  #: that asked one of them to stop
    must_save: bool  #: whether one of them has to write a checkpoint out of turn


def meet(team: Team, signal: int | None = None, must_save: bool = False) -> Heard:
    """Meet the other ranks, with no error of one's own.

    Raises EndedElsewhere if a rank has an error.
    """
    failed, signals, saves = team.meet(np.array([0, signal or 0, must_save])).T
    if failed.any():
        raise EndedElsewhere
    return Heard(int(signals.max()) or None, bool(saves.any()))


@contextmanager
def ending_together(team: Team) -> Iterator[None]:
    """An error inside the block ends the others' blocks, too; without one, the block ends when all have come so far.

    The error is raised on the first rank that has it. If others have one as well, it is nearly always the same.
    """
    try:
        yield
        meet(team)
    except EndedElsewhere:
        raise
    except BaseException as error:
        if team.size > 1 and not hasattr(error, KNOWN):
            _tell_others(team, error)
            setattr(error, KNOWN, True)  # blocks may be inside one another
        raise


@contextmanager
def known_to_all() -> Iterator[None]:
    """Mark an error of the block as one of which the other ranks need not be told."""
    try:
        yield
    except BaseException as error:
        setattr(error, KNOWN, True)
        raise


def _tell_others(team: Team, error: BaseException) -> None:
    """Meet the other ranks with an error; EndedElsewhere if an earlier rank has one."""
    try:
        failed = team.meet(np.array([1, 0, 0]), PATIENCE)[:, 0]
    except BaseException:  # nobody came; or a second Ctrl-C, in which case nobody should be waited for
        speak()
        say(f"rank {team.rank} of {team.size} has an error, and ends all ranks:")
        say("".join(traceback.format_exception(error)))
        team.end(1)
        raise
    first = int(failed.argmax())
    if first != team.rank:
        raise EndedElsewhere(error.code if isinstance(error, SystemExit) else 1) from error
    if team.rank != 0:
        say(f"rank {team.rank} of {team.size} has an error, and so all ranks end:")
        speak()


T = TypeVar("T")


def one_first(team: Team, function: Callable[[], T]) -> T:
    """Call a function on one rank of each machine, and when all of these are done, on the others: what the first ones
    download, compile or unpack is then there."""
    first = team.neighbours()[0] == team.rank
    result = function() if first else None
    meet(team)
    if not first:
        result = function()
    meet(team)
    return cast("T", result)


# ---------------------------------------------------------------- who speaks


class KeptBack(io.StringIO):
    """What a rank would have printed."""


@contextmanager
def speaking_as_one(team: Team) -> Iterator[None]:
    """Let only rank 0 print. The others may `speak` when they have something to say that it does not say."""
    if team.rank == 0:
        yield
        return
    with redirect_stdout(KeptBack()), redirect_stderr(KeptBack()):
        yield


def speak() -> None:
    """Let this rank print, beginning with the notes and errors that it has kept to itself."""
    if isinstance(sys.stderr, KeptBack):
        kept, sys.stdout, sys.stderr = sys.stderr, sys.__stdout__, sys.__stderr__
        say(kept.getvalue(), end="")


def describe_ranks(team: Team, resume: str) -> str:
    """Who takes part, in words: mpiexec names only the process if one is killed, so this says which rank it is.

    All ranks have to ask. `resume` is the command that goes on with the run.
    """
    meet(team)
    threads = threads_for(team)
    processes = team.gather(np.array([os.getpid()]))[:, 0].astype(int)
    named = ", ".join(f"{rank}: {process}" for rank, process in enumerate(processes))
    return (
        f"{team.size} ranks, {threads} thread{'s' * (threads > 1)} each, {team.library()}; the processes are {named}\n"
        f"if one of them is killed, all end; to go on:  {resume}"
    )


# ---------------------------------------------------------------- whether all do the same


def from_first(team: Team, value: Any) -> Any:
    """What rank 0 gives, for all ranks, as JSON has it."""
    meet(team)
    return json.loads(team.from_first(json.dumps(value).encode()))


def require_alike(team: Team, described: dict[str, Any]) -> None:
    """A ValueError on all ranks that names the first difference, unless all ranks describe what they do alike.

    Parameters
    ----------
    described : dict
        All that decides the bits, as JSON can hold it.
    """
    meet(team)
    first, *others = map(json.loads, team.texts(json.dumps(described)))
    for rank, other in enumerate(others, 1):
        found = difference(first, other)
        if found is not None:
            raise ValueError(
                f"rank 0 was started with {found}, as rank {rank} was; start all ranks with the same command, the same "
                "data and the same installation"
            )
