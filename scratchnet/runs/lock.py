"""A run's folder belongs to one process at a time, so that two never write one run.

The lock is the operating system's: it takes it back when its owner ends, however that ends. So a folder is never locked
for good, and a copy of a folder is not locked. Beside the lock, a file says who holds it, for the message to others.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

LOCK, OWNER = ".in_use.lock", ".in_use.json"
PATIENCE = 0.5  # seconds in which a process that is ending may still let go


class FolderInUse(OSError):
    """Another process, or another thread of this one, has a run in the folder."""


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep all others out of a run's folder. A block of the same thread may be inside another one for the same folder.

    The folder is made if it is not there, and removed again if it is empty in the end.

    Raises
    ------
    FolderInUse
        If another process or thread holds the lock; the message says which.
    OSError
        If the folder cannot be made or locked.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = _acquired(folder)
    if lock.lock_counter > 1:
        try:
            yield
        finally:
            lock.release()
        return
    path = Path(lock.lock_file)
    try:
        ours = path.stat()
        with suppress(OSError):  # it only helps others to a better message
            (folder / OWNER).write_text(json.dumps(this_process()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            if os.path.samestat(path.stat(), ours):  # else the folder was moved, and another one is in its place
                (folder / OWNER).unlink(missing_ok=True)
                path.unlink()  # before the release: a file that another process has locked is never deleted
        lock.release()
        with suppress(OSError):
            for place in made:
                place.rmdir()


def _acquired(folder: Path) -> FileLock:
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK, is_singleton=True, fallback_to_soft=False)  # a soft one outlives us
        lock.acquire(timeout=PATIENCE)
        return lock
    except Timeout:
        raise FolderInUse(
            f"{folder}: in use by {owner(folder)}; wait until that has ended, or choose another folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise OSError(
            f"{folder}: cannot be locked for a run ({error}); choose a folder that can be written, on a file system "
            "that has locks"
        ) from error


def this_process() -> dict[str, str | int]:
    """What others are told about the owner of a folder."""
    return {"pid": os.getpid(), "host": platform.node(), "since": datetime.now().isoformat(" ", timespec="seconds")}


def owner(folder: Path) -> str:
    """Who has locked a folder, in words."""
    try:
        held = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host'] or 'an unnamed machine'}, since {held['since']}"
    except (OSError, ValueError, TypeError, KeyError):  # not written yet, or the disk is full
        return "another process"
