"""Run code that a learner wrote. It may run forever, print, plot, exit, ask for input, or open the debugger.

`limited` calls a function and stops it after LIMIT seconds. `watched` goes around everything that runs such code.
"""

from __future__ import annotations

import bdb
import contextlib
import functools
import io
import os
import pdb
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np

LIMIT = 10.0  # seconds for each call; an answer needs a few milliseconds
LARGE = 1 << 26  # bytes: no answer to a case needs as much
AGAIN = 0.001  # seconds until the next attempt: a loop with `except: pass` can be left only between its rounds


class TookTooLong(BaseException):
    """A call was stopped. No `except Exception` in an answer catches it."""


def limited(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """`function(*arguments, **named)`; TookTooLong is raised inside it if it takes longer than LIMIT.

    There is no limit while a debugger is open.
    """
    return within(LIMIT, function, *arguments, **named)


def within(seconds: float, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """As `limited`, with another limit."""
    if debugged():
        return function(*arguments, **named)
    # Python runs signal handlers in the main thread only, and Windows has no SIGALRM.
    by_signal = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    return (_stopped_by_signal if by_signal else _stopped_by_trace)(seconds, function, arguments, named)


def _stopped_by_signal(seconds: float, function: Callable[..., Any], arguments: Any, named: Any) -> Any:
    here = sys._getframe()

    def stop(signum: int, frame: FrameType | None) -> None:
        if frame is here or debugged():  # the function has just ended, or its author is looking at it
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise TookTooLong

    def report(unraisable: Any) -> None:
        if unraisable.exc_type is not TookTooLong:
            usual(unraisable)

    before = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # of a call that this one is a part of
    # Python ignores an error in a destructor, and says so. The next attempt stops the call, so there is nothing to say.
    usual, sys.unraisablehook = sys.unraisablehook, report
    try:
        return function(*arguments, **named)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)
        sys.unraisablehook = usual


def _stopped_by_trace(seconds: float, function: Callable[..., Any], arguments: Any, named: Any) -> Any:
    """Look at the clock at each line. This is slower, and cannot stop a single call into C such as `time.sleep`."""
    end = time.monotonic() + seconds

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TookTooLong
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        return function(*arguments, **named)
    finally:
        sys.settrace(before)


def debugged() -> bool:
    """Whether a debugger is open: pdb, or that of an editor."""
    return isinstance(getattr(sys.gettrace(), "__self__", None), bdb.Bdb) or "pydevd" in sys.modules


@contextlib.contextmanager
def watched(quiet: bool) -> Iterator[list[str]]:
    """Keep what a learner's code does from disturbing the check; gives a list of notes, about what was left out.

    quiet : show nothing that it prints, and open no debugger.
    """
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(os, "_exit", _exit))
        stack.enter_context(_no_plots(notes))
        if quiet:
            stack.enter_context(hidden_prints())
        if not quiet and _at_terminal():
            if sys.breakpointhook is sys.__breakpointhook__ and "PYTHONBREAKPOINT" not in os.environ:
                stack.enter_context(_replaced(sys, "breakpointhook", _open_debugger))
        else:
            stack.enter_context(_replaced(sys, "stdin", io.StringIO()))  # input() raises EOFError: nobody can answer
            skip = _noting(notes, "breakpoint() was skipped: it opens the debugger if you run the file at a terminal")
            stack.enter_context(_replaced(sys, "breakpointhook", skip))
        yield notes


@contextlib.contextmanager
def uninitialised_as_nan() -> Iterator[list[str]]:
    """Inside, np.empty gives NaN, and not zeros now and then by chance; gives a list that is empty if none was made."""
    made: list[str] = []

    def poisoned(name: str) -> Any:
        make = getattr(np, name)

        @functools.wraps(make)
        def empty(*arguments: Any, **named: Any) -> Any:
            array = make(*arguments, **named)
            if array.dtype.kind == "f" and array.nbytes < LARGE:
                made.append(name)
                array.fill(np.nan)
            return array

        return _replaced(np, name, empty)

    with poisoned("empty"), poisoned("empty_like"):
        yield made


@contextlib.contextmanager
def hidden_prints() -> Iterator[None]:
    """Inside, what is printed is not shown."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def unattended() -> Iterator[None]:
    """Inside, code runs that nobody asked for: it shows nothing, asks nothing and opens no debugger."""
    with (
        hidden_prints(),
        _replaced(sys, "stdin", io.StringIO()),
        _replaced(sys, "breakpointhook", lambda *_, **__: None),
    ):
        yield


def _open_debugger(*_: Any, **__: Any) -> None:
    assert sys.__stdout__ is not None
    sys.stdout = sys.__stdout__  # prints are hidden after the first case, but the debugger has to be seen
    pdb.Pdb().set_trace(sys._getframe(1))


def _exit(status: int = 0) -> None:
    """For os._exit, which would end the checker without a word."""
    raise SystemExit(status)


def _at_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _noting(notes: list[str], text: str) -> Callable[..., None]:
    """A function that does nothing but add `text` to the notes, once."""

    def note(*_: Any, **__: Any) -> None:
        if text not in notes:
            notes.append(text)

    return note


@contextlib.contextmanager
def _no_plots(notes: list[str]) -> Iterator[None]:
    """Open no windows. An answer is called some 20 times, and each plt.show() would wait until its window is closed."""
    note = _noting(notes, "figures are not shown by the checker")
    before = sys.modules.get("matplotlib.pyplot")
    figures = before.get_fignums() if before else []
    with _environment("MPLBACKEND", "Agg"), _replaced(before, "show", note) if before else contextlib.nullcontext():
        yield
    plt = sys.modules.get("matplotlib.pyplot")
    new = [number for number in plt.get_fignums() if number not in figures] if plt else []
    for number in new:
        note()
        plt.close(number)  # type: ignore[union-attr]


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
