"""The progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from scratchnet.console import Unbreakable


def progress_bar(items: Iterable | None, name: str, progress: bool, **options: Any) -> Any:
    """tqdm over some items. Where stderr is not a terminal, the bar is drawn only every ten seconds."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 10
    file = Unbreakable(sys.stderr)
    return tqdm(items, name, disable=not progress, file=file, dynamic_ncols=True, mininterval=interval, **options)
