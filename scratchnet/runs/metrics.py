"""The metrics file of a run under way: a line is added for each record, and a folder that is gone is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scratchnet.runs.files import write_text_atomically


class MetricsFile:
    """`metrics.jsonl`, written anew from the records so far and kept open for more; a context manager.

    An open file can be written to after its folder was deleted or moved, and nobody would find the lines. So each line
    is written only if the path still leads to this file.

    Raises
    ------
    OSError
        From every method but `close`, if the file cannot be written, or was deleted, moved or replaced.
    """

    def __init__(self, path: Path, records: Iterable[dict[str, Any]]) -> None:
        self.path = path
        write_text_atomically(path, "".join(map(as_line, records)))
        # Without a buffer: a line that fails is not tried again on closing.
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 (`__exit__` closes it)

    def append(self, record: dict[str, Any]) -> None:
        """Add a line."""
        self.require_in_place()
        line = as_line(record).encode()
        if self.file.write(line) != len(line):
            raise OSError(f"{self.path}: a line could not be written to its end; is the disk full?")

    def require_in_place(self) -> None:
        """Raise an OSError if the file was deleted, moved or replaced, alone or with its folder."""
        try:
            in_place = os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{self.path} was deleted or moved") from None
        if not in_place:
            raise FileExistsError(f"another file was put in the place of {self.path}")

    def sync(self) -> None:
        """Have all lines so far on the disk, before a checkpoint that counts on them: the power may fail."""
        self.require_in_place()
        os.fsync(self.file.fileno())

    def replace(self, records: Iterable[dict[str, Any]]) -> None:
        """Close the file, and write another one with these records."""
        self.file.close()
        write_text_atomically(self.path, "".join(map(as_line, records)))

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


def as_line(record: dict[str, Any]) -> str:
    """A record as a line of the file."""
    return json.dumps(record) + "\n"
