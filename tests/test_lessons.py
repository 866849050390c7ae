"""The lessons run as they are, from any folder, offline and without a window. They assert what their prose says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

LESSONS = Path(__file__).parent.parent / "lessons"
FILES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
LIMIT = 60  # seconds that a lesson may take, without compilation

# These train for a while, so they run only when the site is built. The others also run as plain scripts.
LONG = ("09", "10", "11", "12", "13", "14", "18")


def test_they_are_numbered_in_order():
    assert [path.name[:2] for path in FILES] == [f"{i:02}" for i in range(1, 20)]


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in FILES if path.name[:2] not in LONG], ids=lambda path: path.stem)
def test_a_lesson_runs(path, tmp_path):
    started = time.time()
    environment = os.environ | {"PYTHONWARNINGS": "error", "MPLBACKEND": "agg"}
    result = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    figures = re.findall(r"figure: lessons/output/(\S+)", result.stdout)
    assert figures, "every lesson has a picture"
    for name in figures:
        assert (LESSONS / "output" / name).stat().st_mtime > started - 1


@pytest.mark.slow
def test_no_lesson_takes_long(site):
    """The pages give the time of each lesson, and the seconds spent on compilation by its end."""
    compiled = 0.0
    for path in FILES:
        page = (site / "lessons" / f"{path.stem}.html").read_text(encoding="utf-8")
        minutes, seconds = re.search(r"Total running time of the script:\D+(\d+) minutes (\d+\.\d+)", page).groups()
        before, compiled = compiled, max([compiled, *map(float, re.findall(r"done \((\d+\.\d+) s so far", page))])
        assert 60 * int(minutes) + float(seconds) - (compiled - before) < LIMIT, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_lesson_says_what_it_is_for_and_where_to_go_on(path):
    text = path.read_text()
    assert "*After this lesson you can*" in text
    assert "*Needs:*" in text
    assert re.search(r"# (Try it|Exercises?)\n# -+\n", text)
    following = FILES[FILES.index(path) + 1 :]
    if following:
        assert f"*Next:* ``{following[0].name}``" in text


def test_files_that_lessons_name_exist():
    for path in FILES:
        for name in re.findall(r"``((?:lessons|scratchnet|benchmarks)/[\w/]+\.py)``", path.read_text()):
            assert (LESSONS.parent / name).is_file(), f"{path.name} names {name}"


def test_the_readme_lists_every_lesson_with_a_picture():
    text = (LESSONS / "README.md").read_text()
    for path in FILES:
        assert f"]({path.name})" in text
        assert (LESSONS / "pictures" / f"{path.name[:2]}.png").is_file()
