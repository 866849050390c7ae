"""The parts of an exercise: a function to write, cases to try it on, the right answer, and known wrong answers.

A known wrong answer (`Mistake`) is also a function: the reference with one error put in. The checker runs it beside the
learner's function. If both give the same numbers on every case, the learner has made this mistake. So a new diagnosis
takes five lines, and it is not a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """Arguments to try a function on, by name, and the traits of the case, such as {"stride above 1", "padding"}."""

    arguments: dict[str, Any]
    traits: frozenset[str] = frozenset()

    def sizes(self) -> dict[str, int]:
        """The sizes that a mean may be taken over, by name: the number of examples and of places in the first array."""
        first = next(v for v in self.arguments.values() if isinstance(v, np.ndarray))
        N, places = len(first), int(np.prod(first.shape[1:-1]))
        return {"N": N, "OH*OW": places, "N*OH*OW": N * places} if first.ndim == 4 else {"N": N}

    def copy(self, dtype: Any = None) -> dict[str, Any]:
        """The arguments, with arrays copied; arrays of floats are cast to `dtype` if one is given."""

        def copied(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            return value.astype(dtype) if dtype and value.dtype.kind == "f" else value.copy()

        return {name: copied(value) for name, value in self.arguments.items()}

    def __str__(self) -> str:
        return ", ".join(f"{k} {v.shape if isinstance(v, np.ndarray) else v}" for k, v in self.arguments.items())


@dataclass(frozen=True)
class Mistake:
    """A wrong version of a function, and what to tell a learner whose function gives the same numbers."""

    what: str
    function: Function


@dataclass
class Task:
    """One function that the learner writes.

    Attributes
    ----------
    name : str
        What it is called in the learner's file.
    outputs : tuple of str
        What it returns, in order.
    reference : function
        The right answer.
    cases : list of Case
        Cases in which mistakes show: non-square, N = 1, stride above 1, overlapping windows, ties.
    mistakes : list of Mistake
        The known mistakes; the decorator `mistake` adds one.
    """

    name: str
    outputs: tuple[str, ...]
    reference: Function
    cases: list[Case]
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, what: str) -> Callable[[Function], Function]:
        """A decorator that adds a wrong version of the function; `what` says what is wrong with it."""

        def remember(function: Function) -> Function:
            self.mistakes.append(Mistake(what, function))
            return function

        return remember


@dataclass(frozen=True)
class Exercise:
    """A file in lessons/exercises: the functions to write there, and hints, from a first idea to nearly the answer."""

    name: str  # the file's, without .py: "02_dense_backward"
    title: str
    lesson: int
    tasks: tuple[Task, ...]
    hints: tuple[str, ...]
    check: Callable[[ModuleType], list[str]] | None = None  # instead of tasks, for an exercise with many right answers

    @property
    def number(self) -> str:
        return self.name[:2]


def traits(**present: bool) -> frozenset[str]:
    """The names of the arguments that are true, with spaces for underscores: traits(stride_above_1=True)."""
    return frozenset(name.replace("_", " ") for name, here in present.items() if here)


def as_tuple(result: Any) -> tuple[Any, ...]:
    """What a function returned, as a tuple: one result as a tuple of one, `return [dx, dw]` as a tuple of two."""
    several = isinstance(result, tuple) or (isinstance(result, list) and any(np.ndim(part) for part in result))
    return tuple(result) if several else (result,)


def random_arrays(seed: int, *shapes: Iterable[int]) -> list[np.ndarray]:
    """Float64 arrays of these shapes, normally distributed."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(tuple(shape)) for shape in shapes]
