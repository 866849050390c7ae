"""Hooks for sphinx-gallery: reset the state before each lesson, time it, collect its figures, begin its notebook.

The library's code that answers an exercise is folded: a reader opens it after the exercise.
"""

from __future__ import annotations

import json
import os
import shutil
from html import escape
from pathlib import Path
from textwrap import indent
from typing import Any

import showing
from notebook_cells import first_cell
from sphinx_gallery.scrapers import figure_rst

import scratchnet as sn
from scratchnet.engine import DEFAULT_ENGINE

OUTPUT = Path(__file__).parents[2] / "lessons" / "output"

written: dict[Path, int] = {}  # when each figure was written, as of the last call
shown: dict[Path, bytes] = {}  # the figures that are already on the page of this lesson
folded: list[tuple[str, str]] = []  # titles and code that are to be folded below the block that runs
seconds: dict[str, float] = {}  # that the processors spent on each lesson

FOLDED = """
.. raw:: html

    <details class="answer"><summary>{title}</summary>

.. code-block:: python

{code}

.. raw:: html

    </details>

"""


def times() -> dict[Path, int]:
    """When each figure in the output folder was written, the oldest first."""
    found = {path: path.stat().st_mtime_ns for path in OUTPUT.glob("*.*") if path.suffix in (".png", ".gif")}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def before_lesson(gallery_conf: dict[str, Any], lesson: str, when: str) -> None:
    """Start each lesson from the same state: on the default engine, with the figures so far marked as old.

    The settings allow one first cell for the notebooks of all lessons; so it is exchanged from here.
    """
    if when == "after":
        return
    gallery_conf["first_notebook_cell"] = first_cell(lesson)
    sn.use_engine(DEFAULT_ENGINE)
    written.clear()
    written.update(times())
    shown.clear()
    folded.clear()
    showing.fold = lambda title, code: folded.append((title, code))


def time_lesson(gallery_conf: dict[str, Any], lesson: str, when: str) -> None:
    """Keep the processors' time, of child processes too: unlike a clock's, other programs hardly change it."""
    now = sum(os.times()[:4])
    seconds[Path(lesson).stem] = now if when == "before" else now - seconds[Path(lesson).stem]
    if when == "after":
        Path(gallery_conf["src_dir"], "lessons", "processor_seconds.json").write_text(json.dumps(seconds))


def as_a_script(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The lesson's arguments (none). Also set its `__file__`: sphinx-gallery does not, but Python does for a script."""
    script_vars["example_globals"]["__file__"] = script_vars["src_file"]
    return []


def below(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """What is shown below a block: the figures that it has written, and the code that it has folded."""
    text = figures(block_vars, gallery_conf)
    text += "".join(FOLDED.format(title=escape(title), code=indent(code, "    ")) for title, code in folded)
    folded.clear()
    return text


def figures(block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures that a block has written, in the order of writing, each at full width.

    A figure that is written again unchanged is not shown twice: lesson 15 runs itself again in a debugger.
    """
    now = times()
    text = ""
    for path in [path for path, time in now.items() if time != written.get(path)]:
        content = path.read_bytes()
        if content == shown.get(path):
            continue
        shown[path] = content
        copy = Path(next(block_vars["image_path_iterator"])).with_suffix(path.suffix)
        shutil.copyfile(path, copy)
        moving = ", moving" if path.suffix == ".gif" else ""
        text += figure_rst([copy], gallery_conf["src_dir"], path.stem.replace("_", " ") + moving)
    written.update(now)
    return text
