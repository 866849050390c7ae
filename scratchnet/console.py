"""Printing that nothing stops: no terminal refuses it for its encoding, and nobody has to read it.

A console of Windows may be cp1252 or cp437, a pipe ASCII. There, printing a sign such as ± ends a program with
UnicodeEncodeError, and it would do so after hours of training, when the table is printed: see `never_refuse`.

What is said beside a result goes to stderr. Training goes on, and saves, after the pipe or the terminal on which it
reports was closed: see `say` and `Unbreakable`.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any

# What scratchnet prints beyond ASCII; all other signs become a question mark.
PLAIN = str.maketrans({"±": "+-", "×": "x", "−": "-", "–": "-", "°": " degrees", "µ": "u", "…": "..."})


def in_other_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    """For `codecs`: what to write in place of signs that cannot be encoded, and where to go on.

    A file's name that is not valid in the system's encoding reaches Python with surrogates in it. They are written as
    the bytes that they stand for.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return sign.translate(PLAIN).encode("ascii", "replace").decode(), error.start + 1


def never_refuse() -> None:
    """Make stdout and stderr of this process take every text."""
    codecs.register_error("scratchnet", in_other_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so in some notebooks, which take everything
            stream.reconfigure(errors="scratchnet")


def finish_printing() -> None:
    """Print what is still kept in memory, here, where an error can be caught: at the exit, Python would end with 120.

    Raises BrokenPipeError if the reader stopped early. A terminal that was closed is nobody's mistake.
    """
    broken = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            broken = broken or error
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if isinstance(broken, BrokenPipeError):
        raise broken


def say(text: str, end: str = "\n") -> None:
    """Print on stderr, if there is one, even from a signal's handler."""
    if sys.stderr is None:
        return
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except (OSError, ValueError, RuntimeError):  # a closed pipe or terminal; or a signal in the middle of a print
        with suppress(OSError):
            os.write(2, f"{text}{end}".encode())


def is_terminal(stream: Any) -> bool:
    """Whether lines on this stream can be overwritten: on a terminal, and in a notebook, below the cell.

    The stream may be closed, or None, as in a program with windows only.
    """
    if type(stream).__module__ == "ipykernel.iostream":
        return True
    with suppress(AttributeError, ValueError):
        return bool(stream.isatty())
    return False


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
