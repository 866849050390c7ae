"""Printing that no terminal refuses: a sign that its encoding does not have is written in others.

A console of Windows may be cp1252 or cp437, a pipe ASCII. There, printing a sign such as ± ends a program with
UnicodeEncodeError, and it would do so after hours of training, when the table is printed.
"""

from __future__ import annotations

import codecs
import io
import sys

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
