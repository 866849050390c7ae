"""From a learner's file to a report: `check` for one exercise, `progress_table` for all of them."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import scratchnet
from scratchnet.exercises import conv, dense, optim, own_layer, pool
from scratchnet.exercises.diagnose import NotBegun, diagnose
from scratchnet.exercises.exercise import Exercise, Task
from scratchnet.program import command_line
from scratchnet.reading import user_path
from scratchnet.tables import table

EXERCISES = {
    exercise.number: exercise
    for exercise in sorted(
        (e for module in (dense, conv, pool, optim, own_layer) for e in module.EXERCISES), key=lambda e: e.name
    )
}
FOLDER = Path("lessons/exercises")


@dataclass(frozen=True)
class Result:
    """The state of an exercise ("done", "not begun" or "wrong"), and what was found."""

    exercise: Exercise
    status: str
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        e = self.exercise
        hints = command_line("hint", e.number)
        if self.status == "done":
            return f"{e.number} {e.title}: done, {'right on every case' if e.tasks else 'every check passed'}."
        if self.status == "not begun":
            return (
                f"{e.number} {e.title}: not begun. Write it in {e.name}.py, in place of the line that "
                f"raises NotImplementedError, then check again; hints: {hints}"
            )
        listed = "\n".join(textwrap.indent(f"- {f}", "  ").replace("\n", "\n  ") for f in map(_wrapped, self.findings))
        return f"{e.number} {e.title}: not right yet.\n{listed}\n  (lesson {e.lesson}; hints: {hints})"


def check(path: str | Path) -> bool:
    """Check the exercise in a file and print the report. The last lines of every exercise file call this.

    Returns
    -------
    bool
        Whether the answer is right.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not one of the exercises.
    """
    result = check_file(user_path(path))
    print(result)
    return result.status == "done"


def check_file(path: Path) -> Result:
    """Check the exercise in a file, without printing. Raises the errors of `check`."""
    exercise = EXERCISES.get(path.name[:2])
    if exercise is None or path.stem != exercise.name:
        names = ", ".join(e.name for e in EXERCISES.values())
        raise ValueError(f"expected the file of an exercise ({names}), got {path.name}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; git restore {path} brings the original back")
    try:
        return Result(exercise, *_judged(exercise, load_module(path)))
    except NotBegun:
        return Result(exercise, "not begun")
    except (Exception, SystemExit) as error:  # anything that the learner's file raises when it runs
        return Result(exercise, "wrong", (_reading_error(path, error),))


def load_module(path: Path) -> ModuleType:
    """A learner's file, imported as a module: its code runs, except what is under `if __name__ == "__main__"`."""
    spec = importlib.util.spec_from_file_location(f"exercise_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # leave no __pycache__ among the exercises
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def progress_table(folder: Path) -> tuple[str, bool]:
    """A table of all exercises in a folder, and whether all are done."""
    results = [check_file(folder / f"{e.name}.py") for e in EXERCISES.values()]
    rows: list[list[object]] = [
        [r.exercise.number, r.exercise.title, r.exercise.lesson, r.status, _shortened(r.findings)] for r in results
    ]
    done = sum(r.status == "done" for r in results)
    text = table(["", "exercise", "lesson", "", ""], rows)
    return f"{text}\n{done} of {len(results)} done", done == len(results)


def find_folder(given: str | None = None) -> Path:
    """The exercises' folder: the given one, or `lessons/exercises` here, in a folder above, or beside the package.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    here = Path.cwd()
    beside = Path(scratchnet.__file__).parent.parent
    places = [user_path(given)] if given else [p / FOLDER for p in (here, *here.parents, beside)]
    for place in places:
        if any((place / f"{e.name}.py").is_file() for e in EXERCISES.values()):
            return place
    raise FileNotFoundError(
        f"expected exercises in {given or f'{FOLDER}, here or in a folder above'}, found none; run this inside a "
        "clone of the project, or name the folder with --folder"
    )


def find_exercise(number: str) -> Exercise:
    """The exercise with this number: "5", "05" or the file's name.

    Raises
    ------
    ValueError
        If there is none.
    """
    key = Path(number).name[:2] if not number.isdecimal() else f"{int(number):02}"
    if key not in EXERCISES:
        raise ValueError(f"expected an exercise from 01 to {max(EXERCISES)}, got {number}")
    return EXERCISES[key]


def hint(exercise: Exercise, level: int) -> str:
    """A hint. Hint 1 is a first idea; the last hint is nearly the answer.

    Raises
    ------
    ValueError
        If there is no hint of that level.
    """
    count = len(exercise.hints)
    if not 1 <= level <= count:
        raise ValueError(f"exercise {exercise.number} has hints 1 to {count}, got {level}")
    more = f"the next: {command_line('hint', exercise.number, level + 1)}"
    last = f"the last one; an answer is in lessons/solutions/{exercise.name}.py"
    return f"hint {level} of {count}: {_wrapped(exercise.hints[level - 1])}\n({more if level < count else last})"


def _judged(exercise: Exercise, module: ModuleType) -> tuple[str, tuple[str, ...]]:
    """ "done" or "wrong", and the findings for every function that the exercise asks for."""
    if exercise.check is not None:
        findings = exercise.check(module)
        return ("wrong", tuple(findings)) if findings else ("done", ())
    findings, missing = [], []
    for task in exercise.tasks:
        try:
            found = _task_findings(task, module)
        except NotBegun:
            missing.append(task.name)
            continue
        findings += [f"{task.name}: {f}" for f in found] if len(exercise.tasks) > 1 else found
    if len(missing) == len(exercise.tasks):
        raise NotBegun
    findings += [f"{name} is not written yet" for name in missing]
    return ("wrong", tuple(findings)) if findings else ("done", ())


def _task_findings(task: Task, module: ModuleType) -> list[str]:
    function = getattr(module, task.name, None)
    if not callable(function):
        return [f"expected a function {task.name} in the file; there is none"]
    return diagnose(task, function)


def _reading_error(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{path.name}, line {error.lineno}: {error.msg}"
    line = traceback.extract_tb(error.__traceback__)[-1].lineno
    return f"{path.name} cannot be read: {type(error).__name__}: {error} (line {line})"


def _shortened(findings: tuple[str, ...], width: int = 60) -> str:
    return textwrap.shorten(findings[0], width, placeholder=" ...") if findings else ""


def _wrapped(text: str, width: int = 92) -> str:
    """Text wrapped to `width`; indented lines (pictures, tables) stay as they are."""
    lines = (line if line.startswith(" ") else textwrap.fill(line, width) for line in text.splitlines())
    return "\n".join(lines)
