"""The first cell of a lesson's notebook, for the site and for `scripts/notebooks.py`; its code is `first_cell.py`."""

from __future__ import annotations

from pathlib import Path

CODE = Path(__file__).parent / "first_cell.py"


def first_cell(lesson: str) -> str:
    """A cell that finds the folder of the lessons, and sets `__file__` as in the script of this lesson, a path."""
    return CODE.read_text(encoding="utf-8").replace("LESSON.py", Path(lesson).name)
