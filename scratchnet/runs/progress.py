"""The progress bar. What it is drawn on may go away, and training goes on all the same."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def progress_bar(items: Iterable | None, name: str, progress: bool, **options: Any) -> Any:
    """tqdm over some items. Where stderr is not a terminal, the bar is drawn only every ten seconds."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 10
    file = Unbreakable(sys.stderr)
    return tqdm(items, name, disable=not progress, file=file, dynamic_ncols=True, mininterval=interval, **options)


class Unbreakable:
    """A stream that can be written to without an error after its pipe or terminal was closed."""

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
