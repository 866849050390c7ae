"""Files that are either complete or absent: a file gets its name only when all of it has been written."""

from __future__ import annotations

import itertools
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

DAY = 24 * 3600.0
_count = itertools.count()
_being_written: set[Path] = set()  # by this process


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; that file is renamed to `path` when the block ends without an error.

    If the process is killed before that, `path` is as it was. A file that ends in `.partial` is left beside it, which
    is removed by the next process that writes a file to this folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    partial = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{next(_count)}.partial")
    _being_written.add(partial)
    try:
        partial.touch()
        mode = partial.stat().st_mode  # what the user's umask asks for; some libraries would make it stricter
        yield partial
        partial.chmod(mode)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        partial.replace(path)
    finally:
        with suppress(OSError):  # the folder may have been deleted or replaced; that error is the one to raise
            partial.unlink(missing_ok=True)
        _being_written.discard(partial)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a text file as `written_atomically` does."""
    with written_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_abandoned(folder: Path) -> None:
    """Remove the partial files of processes that were killed, never those of a process that still writes."""
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):  # another process may be removing it, too
            if is_abandoned(partial):
                partial.unlink()


def is_abandoned(partial: Path) -> bool:
    """Whether the process that wrote a partial file is dead. On another machine, that is assumed after a day."""
    named = re.fullmatch(r"\..+\.(\w*)\.(\d+)\.\d+\.partial", partial.name)
    if named is None:
        return False
    host, process = named[1], int(named[2])
    if host != _host():
        return time.time() - partial.stat().st_mtime > DAY
    return partial not in _being_written if process == os.getpid() else not psutil.pid_exists(process)


def _host() -> str:
    """The name of this machine as part of a file's name."""
    return re.sub(r"\W", "_", platform.node())
