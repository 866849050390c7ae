"""Signals that ask a run to stop: it finishes its step and saves. A second Ctrl-C stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from scratchnet.console import say

# Ctrl-C, the end that a system or a job scheduler asks for, and a terminal that is closed (Windows has no such signal).
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop has done so, between two steps.

    Attributes
    ----------
    outcome : str
        After which step it stopped, and where it was saved. The message also says how to go on in Python.
    signal : int
        The signal that asked.
    """

    def __init__(self, outcome: str, advice: str = "", signal: int = signal.SIGINT) -> None:
        super().__init__(outcome + advice)
        self.outcome = outcome
        self.signal = int(signal)


@dataclass
class Interrupt:
    """Whether someone asked the run to stop: the number of the signal, or None."""

    signal: int | None = None


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn a signal into a request to stop, so that the step is finished; a second Ctrl-C stops at once.

    Only Ctrl-C does so: a closed terminal or a scheduler may well send the other signals twice. These are left alone if
    the program ignores them, as under `nohup`, or handles them itself.

    Only the main thread gets signals; in any other thread this does nothing.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def request(number: int, frame: FrameType | None) -> None:
        if interrupt.signal is None:
            interrupt.signal = number
            say("\nstopping after this step ... (Ctrl-C stops at once)")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt("stopped at once, in the middle of a step")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [
        n for n, handler in before.items() if handler is signal.SIG_DFL or (n == signal.SIGINT and handler is not None)
    ]
    try:
        for number in ours:
            signal.signal(number, request)
        yield interrupt
    finally:
        for number in ours:
            signal.signal(number, before[number])
