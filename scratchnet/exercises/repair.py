"""Search for one small change of a learner's code that makes it right.

The lists of known mistakes start from the reference, and hold what somebody has thought of. This search starts from the
learner's own code. It tries small changes one after the other: another name, operator, number or axis, a line moved
into a loop or out of it. If with one of them all numbers are right on every case, it is told, with its line. It may not
be the change that its author would make, but it has been tried, and it is a place where the code can be mended.

If no change is enough, there may be two mistakes. Then a change is looked for that leads to a known mistake, and a
second change that mends that one, too.

Such searches are known as mutation-based program repair: Debroy and Wong, "Using Mutation to Automatically Suggest
Fixes for Faulty Programs", 2010.
"""

from __future__ import annotations

import ast
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchnet.console import is_terminal
from scratchnet.exercises.attempts import Attempt, same
from scratchnet.exercises.changes import Change, changes
from scratchnet.exercises.exercise import Function, Mistake, Task, as_tuple, both
from scratchnet.exercises.running import TookTooLong, debugged, unattended, uninitialised_as_nan, within
from scratchnet.progress import progress_bar

Outputs = Sequence[tuple[Any, ...]]  # of a function, for each case
SECONDS = 5.0  # of computing, for one search; most end in one
CALL = 0.5  # seconds for one call of a changed function


class Search:
    """Looks for changes of `source` that make outputs of a task right."""

    def __init__(self, task: Task, source: str, attempts: Sequence[Attempt]) -> None:
        self.task = task
        self.source = source
        self.tree = ast.parse(source)
        # First the cases that are wrong, and of these the small ones: most changes are given up after one call.
        self.attempts = sorted(attempts, key=lambda a: (all(map(a.right, range(len(task.outputs)))), _work(a)))
        self.wrong = [i for i in range(len(task.outputs)) if not all(a.right(i) for a in attempts)]
        self.right = [a.want for a in self.attempts]
        self.raises = any(a.error is not None for a in attempts)

    def repairs(self) -> dict[int, str]:
        """For each wrong output the change that makes it right, where one was found.

        If the function raises an error, only a change that makes all outputs right counts.
        """
        if debugged():
            return {}
        with unattended():
            found = self._one_change()
            return found if self.raises or len(found) == len(self.wrong) else self._two_changes() | found

    def _one_change(self) -> dict[int, str]:
        """Also remembers changes that lead to a known mistake: their numbers, and the mistake's."""
        found: dict[int, str] = {}
        known = self._known()
        self.towards: dict[int, tuple[int, Mistake]] = {}  # by output: the number of a change, and where it leads
        over = _time_limit()
        for number, change in enumerate(_shown(changes(self.tree))):
            if over():
                break
            reached = self._reached(self.wrong, [(None, self.right), *known])
            mended = [i for i, mistake in reached if mistake is None]
            finding = f"one change makes every case right. {_sentence(change.what())}" if mended else ""
            if len(mended) == len(self.wrong):
                return dict.fromkeys(mended, finding)
            found = dict.fromkeys(mended, finding) | found
            for i, mistake in reached:
                if mistake is not None and i not in found:
                    self.towards.setdefault(i, (number, mistake))
            if len(found) == len(self.wrong) and not self.raises:
                break
        return {} if self.raises else found

    def _two_changes(self) -> dict[int, str]:
        """For outputs that one change leads to a known mistake: whether a second one elsewhere makes them right."""
        found: dict[int, str] = {}
        for i, (number, mistake) in self.towards.items():
            over = _time_limit()
            at_number = changes(self.tree)
            first = next(itertools.islice(at_number, number, None))
            what = _sentence(first.what())
            for second in _shown(changes(self.tree)):
                if over():
                    break
                if not first.touched & second.touched and self._reached([i], [(None, self.right)]):
                    found[i] = both(mistake.what, what)
                    break
            self.tree = ast.parse(self.source)
        return found

    def _known(self) -> list[tuple[Mistake | None, Outputs]]:
        """The known mistakes, and their outputs on every case; not those that raise an error.

        An output that the mistake leaves right is None: it says nothing about the mistake.
        """
        known: list[tuple[Mistake | None, Outputs]] = []
        for mistake in self.task.mistakes:
            try:
                with np.errstate(all="ignore"):
                    made = [as_tuple(mistake.function(**a.case.copy())) for a in self.attempts]
            except Exception:
                continue
            harmed = [
                not all(same(outputs[i], a.want[i]) for outputs, a in zip(made, self.attempts, strict=True))
                for i in range(len(self.task.outputs))
            ]
            known.append((mistake, [tuple(o if h else None for o, h in zip(one, harmed, strict=True)) for one in made]))
        return known

    def _reached(
        self, wanted: Sequence[int], targets: Sequence[tuple[Mistake | None, Outputs]]
    ) -> list[tuple[int, Mistake | None]]:
        """Which of these outputs the changed code makes as a target has them, on every case."""
        function = self._function()
        if function is None:
            return []
        left = [(i, mistake, outputs) for i in wanted for mistake, outputs in targets]
        for k, a in enumerate(self.attempts):
            got = _called(function, a, len(self.task.outputs))
            if got is None or not all(same(got[i], a.want[i]) for i in range(len(got)) if i not in self.wrong):
                return []
            left = [(i, mistake, outputs) for i, mistake, outputs in left if _alike(got[i], outputs[k][i])]
            if not left:
                return []
        return [(i, mistake) for i, mistake, _ in left]

    def _function(self) -> Function | None:
        names: dict[str, Any] = {"__name__": "a changed answer"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as that 3[0] cannot work
                exec(compile(self.tree, "<a change>", "exec"), names)
        except Exception:
            return None
        return names.get(self.task.name)


def _time_limit() -> Callable[[], bool]:
    """A function that says whether SECONDS of computing, or on a busy machine three times as many, are over."""
    computing, waiting = time.process_time() + SECONDS, time.monotonic() + 3 * SECONDS
    return lambda: time.process_time() > computing or time.monotonic() > waiting


def _shown(all_changes: Iterator[Change]) -> Iterator[Change]:
    """The changes, with a progress bar at a terminal if they take longer than a second."""
    if not is_terminal(sys.stderr):
        return all_changes
    return iter(progress_bar(all_changes, "trying changes of your code", True, unit="", delay=1, leave=False))


def _sentence(change: str) -> str:
    return change[0].upper() + change[1:]


def _work(attempt: Attempt) -> int:
    return sum(v.size for v in attempt.case.arguments.values() if isinstance(v, np.ndarray))


def _alike(got: Any, want: Any) -> bool:
    """As `same`, but with a look at one entry first: most are not alike, and `same` takes its time."""
    if want is None:
        return False
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or not want.size or got.dtype.kind not in "fiu":
        return False
    at = np.unravel_index(np.abs(want).argmax(), want.shape)
    return not abs(got[at] - want[at]) > 1e-3 * abs(want[at]) and same(got, want)


def _called(function: Any, attempt: Attempt, count: int) -> tuple[Any, ...] | None:
    """The outputs, or None if there are not as many as there should be, or an argument was changed."""
    arguments = attempt.case.copy()
    try:
        with np.errstate(all="ignore"), uninitialised_as_nan():
            got = as_tuple(within(CALL, function, **arguments), count)
    except (Exception, SystemExit, TookTooLong):
        return None
    if len(got) != count or not all(isinstance(g, (np.ndarray, np.generic, float, int)) for g in got):
        return None
    unchanged = all(
        np.array_equal(arguments[k], v) for k, v in attempt.case.arguments.items() if isinstance(v, np.ndarray)
    )
    return got if unchanged else None
