"""The progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from scratchnet.console import Unbreakable, is_terminal


def progress_bar(items: Iterable | None, name: str, progress: bool, **options: Any) -> Any:
    """tqdm over some items. Where stderr is not a terminal, the bar is drawn only every ten seconds."""
    from tqdm import tqdm

    progress = progress and sys.stderr is not None
    interval = 0.1 if is_terminal(sys.stderr) else 10
    file = Unbreakable(sys.stderr)
    return tqdm(items, name, disable=not progress, file=file, dynamic_ncols=True, mininterval=interval, **options)
