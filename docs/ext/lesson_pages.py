"""What sphinx-gallery has to know about the lessons: where their figures are, and that each starts alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

import scratchnet as sn
from scratchnet.engine import DEFAULT_ENGINE

OUTPUT = Path(__file__).parents[2] / "lessons" / "output"

written: dict[Path, int] = {}  # when each figure was written, at the last look
shown: dict[Path, bytes] = {}  # the figures that are on the page of this lesson


def times() -> dict[Path, int]:
    """When each figure of the output folder was written, the oldest first."""
    found = {path: path.stat().st_mtime_ns for path in OUTPUT.glob("*.png")}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def before_lesson(gallery_conf: dict[str, Any], lesson: str) -> None:
    """Start each lesson alike: on the default engine, and with the figures of earlier runs known as old."""
    sn.use_engine(DEFAULT_ENGINE)
    written.clear()
    written.update(times())
    shown.clear()


def as_a_script(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The lesson's arguments: none. And its `__file__`, which Python sets for a script, and sphinx-gallery does not."""
    script_vars["example_globals"]["__file__"] = script_vars["src_file"]
    return []


def figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Put the figures that a block has written below it, in that order, each in its full width.

    One that was written again just as it stands on the page is not shown twice: lesson 10 starts itself in a debugger.
    """
    now = times()
    text = ""
    for path in [path for path, time in now.items() if time != written.get(path)]:
        content = path.read_bytes()
        if content == shown.get(path):
            continue
        shown[path] = content
        copy = next(block_vars["image_path_iterator"])
        shutil.copyfile(path, copy)
        text += figure_rst([copy], gallery_conf["src_dir"], path.stem.replace("_", " "))
    written.update(now)
    return text
