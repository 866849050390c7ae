"""From a learner's file to a report: `check` for one exercise, `progress_table` and `as_json` for several."""

from __future__ import annotations

import bdb
import importlib.util
import json
import sys
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import scratchnet
from scratchnet.exercises import batch_norm, conv, dense, optim, own_layer, pool
from scratchnet.exercises.diagnose import NotBegun, diagnose, too_long
from scratchnet.exercises.exercise import Exercise, Task
from scratchnet.exercises.running import TookTooLong, limited, watched
from scratchnet.program import command_line
from scratchnet.reading import user_path
from scratchnet.tables import table

EXERCISES = {
    exercise.number: exercise
    for exercise in sorted(
        (e for module in (dense, conv, pool, optim, own_layer, batch_norm) for e in module.EXERCISES),
        key=lambda e: e.name,
    )
}
FOLDER = Path("lessons/exercises")


@dataclass(frozen=True)
class Result:
    """The state of an exercise ("done", "not begun" or "wrong"), what was found, and notes about the check itself."""

    exercise: Exercise
    status: str
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self._report(), *(f"  ({note})" for note in self.notes)])

    def _report(self) -> str:
        e = self.exercise
        hints = command_line("hint", e.number)
        if self.status == "done":
            from scratchnet.exercises.mine import powers  # which imports this module

            right = "right on every case" if e.tasks else "every check passed"
            computes = f" On the engine mine it computes from now on: {powers(e.number)}." if powers(e.number) else ""
            return f"{e.number} {e.title}: done, {right}.{computes}"
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


def check_file(path: Path, quiet: bool = False, search: bool = True) -> Result:
    """Check the exercise in a file, without printing. Raises the errors of `check`.

    quiet : show nothing that the file prints, and open no debugger where it calls breakpoint().
    search : try changes of a wrong answer for some seconds, to say where it is wrong.
    """
    exercise = EXERCISES.get(path.name[:2])
    if exercise is None or path.stem != exercise.name:
        names = ", ".join(e.name for e in EXERCISES.values())
        raise ValueError(f"expected the file of an exercise ({names}), got {path.name}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; git restore {path} brings the original back")
    with watched(quiet) as notes:
        status, findings = _checked(exercise, path, notes, search)
    return Result(exercise, status, findings, tuple(notes))


def _checked(exercise: Exercise, path: Path, notes: list[str], search: bool) -> tuple[str, tuple[str, ...]]:
    """The status and the findings of an exercise in a file."""
    try:
        module = limited(load_module, path)
        return _judged(exercise, module, path.read_text(encoding="utf-8") if search else None, notes)
    except NotBegun:
        return "not begun", ()
    except bdb.BdbQuit:
        return "wrong", ("the debugger was left before every case had been tried",)
    except TookTooLong as error:
        return "wrong", (too_long(error, str(path)),)
    except (Exception, SystemExit) as error:  # anything that the learner's file raises when it runs
        return "wrong", (_reading_error(path, error),)


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


def check_folder(folder: Path) -> list[Result]:
    """Check all exercises in a folder, without printing."""
    return [check_file(folder / f"{e.name}.py", quiet=True) for e in EXERCISES.values()]


def progress_table(results: Sequence[Result]) -> str:
    """A table of exercises and their state."""
    rows: list[list[object]] = [
        [r.exercise.number, r.exercise.title, r.exercise.lesson, r.status, _shortened(r.findings)] for r in results
    ]
    text = table(["", "exercise", "lesson", "", ""], rows)
    return f"{text}\n{_count_done(results)} of {len(results)} done"


def as_json(results: Sequence[Result]) -> str:
    """Results for a program to read, such as one that collects those of a class."""
    exercises = [
        {
            "number": r.exercise.number,
            "name": r.exercise.name,
            "title": r.exercise.title,
            "lesson": r.exercise.lesson,
            "status": r.status,
            "findings": r.findings,
            "notes": r.notes,
        }
        for r in results
    ]
    return json.dumps({"done": _count_done(results), "of": len(results), "exercises": exercises}, indent=2)


def _count_done(results: Sequence[Result]) -> int:
    return sum(r.status == "done" for r in results)


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


def _judged(
    exercise: Exercise, module: ModuleType, source: str | None, notes: list[str]
) -> tuple[str, tuple[str, ...]]:
    """ "done" or "wrong", and the findings for every function that the exercise asks for."""
    if exercise.check is not None:
        findings = exercise.check(module, notes)
        return ("wrong", tuple(findings)) if findings else ("done", ())
    findings, missing = [], []
    for task in exercise.tasks:
        try:
            found = _task_findings(task, module, source)
        except NotBegun:
            missing.append(task.name)
            continue
        findings += [f"{task.name}: {f}" for f in found] if len(exercise.tasks) > 1 else found
    if len(missing) == len(exercise.tasks):
        raise NotBegun
    findings += [f"{name} is not written yet" for name in missing]
    return ("wrong", tuple(findings)) if findings else ("done", ())


def _task_findings(task: Task, module: ModuleType, source: str | None) -> list[str]:
    function = getattr(module, task.name, None)
    if not callable(function):
        return [f"expected a function {task.name} in the file; there is none"]
    return diagnose(task, function, source)


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
