"""Files that are either complete or absent: a file gets its name only when all of it has been written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchnet.reading import user_path


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; that file is renamed to `path` when the block ends without an error.

    A ~ at the start of `path` is the home folder.
    If the process is killed before that, `path` is as it was. A file that ends in `.partial` is left beside it, and the
    next write replaces that.
    """
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.touch()
    mode = partial.stat().st_mode  # what the user's umask asks for; some libraries would make it stricter
    try:
        yield partial
        partial.chmod(mode)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a text file as `written_atomically` does."""
    with written_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")
