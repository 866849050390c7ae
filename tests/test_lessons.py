"""The lessons run as they are, from any folder, offline and without a window. They assert what their prose says."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from scratchnet.exercises.mine import ADAPTERS
from scratchnet.layers import relu_backward, relu_forward

LESSONS = Path(__file__).parent.parent / "lessons"
FILES = sorted(LESSONS.glob("[0-9][0-9]_*.py"))

# These train for a while, so they run only when the site is built. The others also run as plain scripts.
LONG = ("09", "10", "11", "12", "13", "14", "18", "19")


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
        if name.endswith(".gif"):
            check_movement(LESSONS / "output" / name)


def check_movement(path):
    """It is small, slow enough to follow and stops after three rounds; a figure with all of its steps is beside it."""
    assert path.stat().st_size < 150_000
    assert path.with_suffix(".png").is_file()
    with Image.open(path) as movement:
        assert movement.info["loop"] == 2, "twice more, and no longer"
        for step in range(movement.n_frames):
            movement.seek(step)
            assert movement.info["duration"] >= 2000, "milliseconds"
        assert movement.n_frames > 2


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


# ---------------------------------------------------------------- the exercise first

EXERCISES = sorted((LESSONS / "exercises").glob("[0-9][0-9]_*.py"))

# What must not stand in a lesson above the exercise, in code or in prose: the line that answers it.
GIVEAWAYS = {
    "01": r"labels\] -= 1",
    "02": r"\.T @|@ \w+\.T",
    "03": r"\* \(\w+ > 0\)|where\(\w+ > 0",
    "04": r"sliding_window_view",
    "05": r"in range\(KH\)|tensordot|@ w\.reshape",
    "06": r"\+= patch|\+= d\w+\[.*\] \* w",
    "07": r"columns\.T @|\+= d\w+\[.*\] \* w",
    "08": r"\w\] \+= ",
    "09": r">= rate|< rate",
    "10": r"m \*= |value -= ",
    "11": r"m \*= |value -= ",
    "12": r"einsum|\+= dout \* w",
}


def code_shown(path):
    """The library's functions that a lesson shows with `code(...)`: line, name, and the exercise that they answer."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for call in (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "code"):
        exercise = next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "exercise"), None)
        for shown in call.args:
            yield call.lineno, ast.unparse(shown).split(".")[-1], exercise


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda path: path.stem)
def test_an_exercise_comes_before_the_code_that_answers_it(exercise):
    number = exercise.name[:2]
    of_lesson = int(re.search(r"lesson (\d+)", exercise.read_text())[1])
    lesson = next(LESSONS.glob(f"{of_lesson:02}_*.py"))
    lines = lesson.read_text().splitlines()
    asked = next(i for i, line in enumerate(lines, 1) if f"scratchnet check {number}" in line)
    answers = {kernel for (of, _), (kernel, _) in ADAPTERS.items() if of == number}
    folded = set()
    for path in FILES:
        for line, name, folded_for in code_shown(path):
            if name in answers or folded_for == number:
                assert (path.name, line) > (lesson.name, asked), f"{path.name}, line {line} shows {name}"
            if path == lesson and name in answers:
                assert folded_for == number, f"{path.name}, line {line}: code({name}) without exercise={number!r}"
                folded.add(name)
    assert folded == answers, "the library's code is there to compare with"
    if number in GIVEAWAYS:
        above = "\n".join(lines[: asked - 1])
        assert not re.findall(GIVEAWAYS[number], above), "this line answers the exercise"


@pytest.fixture
def showing(monkeypatch):
    monkeypatch.syspath_prepend(LESSONS)
    import showing

    monkeypatch.setattr(showing, "fold", None)
    return showing


TITLE = "The library's own code for exercise 03: open it when your answer passes"


def test_a_script_says_only_where_the_code_is_that_answers_an_exercise(showing, capsys):
    showing.code(relu_forward)
    shown = capsys.readouterr().out
    assert shown.startswith("# scratchnet/layers/relu.py, line ")
    assert "def relu_forward(" in shown
    showing.code(relu_forward, relu_backward, exercise="03")
    said = capsys.readouterr().out
    found = re.fullmatch(
        r"The library's own code for exercise 03: scratchnet/layers/relu.py, line (\d+); "
        r"scratchnet/layers/relu.py, line (\d+). Look at it when your answer passes.\n",
        said,
    )
    lines = Path(inspect.getfile(relu_forward)).read_text().splitlines()
    assert [lines[int(n) - 1].split("(")[0] for n in found.groups()] == ["def relu_forward", "def relu_backward"]


def test_code_that_answers_an_exercise_is_folded_on_a_page_and_in_a_notebook(showing, capsys, monkeypatch):
    folded = []
    monkeypatch.setattr(showing, "fold", lambda title, code: folded.append((title, code)))
    showing.code(relu_backward, exercise="03")
    assert [title for title, _ in folded] == [TITLE]
    assert "np.where(x > 0, dout, 0)" in folded[0][1]

    monkeypatch.setattr(showing, "fold", None)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    cells = []
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=cells.append))
    showing.code(relu_backward, exercise="03")
    assert cells[0].startswith(f"<details><summary>{TITLE}</summary>")
    assert "np.where(x &gt; 0, dout, 0)" in cells[0]
    assert capsys.readouterr().out == ""
