"""Files that are either complete or absent: a file gets its name only when all of it has been written."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scratchnet.reading import user_path

DAY = 24 * 3600.0
_count = itertools.count()
_being_written: set[Path] = set()  # by this process


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; that file is renamed to `path` when the block ends without an error.

    A ~ at the start of `path` is the home folder. What is written to is in a folder of its own beside it, since some
    libraries write to yet another file first. If the process is killed, `path` is as it was, and the next process that
    writes to the same place removes that folder.
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    folder = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{next(_count)}.partial")
    partial = folder / path.name
    _being_written.add(folder)
    try:
        folder.mkdir()
        partial.touch()
        mode = partial.stat().st_mode  # what the user's umask asks for; some libraries would make it stricter
        yield partial
        partial.chmod(mode)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        partial.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _being_written.discard(folder)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a text file as `written_atomically` does."""
    with written_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_abandoned(place: Path) -> None:
    """Remove what processes that were killed have left in a folder, but nothing of a process that still writes."""
    for partial in place.glob(".*.partial"):
        with suppress(OSError):  # another process may be removing it, too
            if is_abandoned(partial):
                shutil.rmtree(partial)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that writes there is dead. On another machine, that is assumed after a day."""
    import psutil

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
