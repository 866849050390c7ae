"""What is said beside a result: on stderr, and without an error if nobody can read it any more.

Training goes on, and saves, after the pipe or the terminal on which it reports was closed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any


def say(text: str, end: str = "\n") -> None:
    """Print on stderr, even from a signal's handler."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except (OSError, ValueError, RuntimeError):  # a closed pipe or terminal; or a signal in the middle of a print
        with suppress(OSError):
            os.write(2, f"{text}{end}".encode())


class Unbreakable:
    """A stream for a progress bar that takes everything, whether the stream behind it can or not."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
