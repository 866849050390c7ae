"""The parts of an exercise: a function to write, cases to try it on, the right answer, and known wrong answers.

A known wrong answer (`Mistake`) is also a function: the reference with one error put in. The checker runs it beside the
learner's function. If both give the same numbers on every case, the learner has made this mistake. So a new diagnosis
takes a few lines, and it is not a guess.

Most mistakes are edits of the reference's source: `relu.slip("...", ("x > 0", "x >= 0"))`. Two edits can be made at
once, so the checker knows every pair of them as well.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

Function = Callable[..., Any]
Edit = tuple[str, str]  # the text to replace, wherever it stands, and what to write there


@dataclass(frozen=True)
class Case:
    """Arguments to try a function on, by name, and the traits of the case, such as {"stride above 1", "padding"}."""

    arguments: dict[str, Any]
    traits: frozenset[str] = frozenset()

    def sizes(self) -> dict[str, int]:
        """The sizes that a mean may be taken over, by name: of the batch, the first array's places, and the kernel."""
        first = next(v for v in self.arguments.values() if isinstance(v, np.ndarray))
        N, places = len(first), int(np.prod(first.shape[1:-1]))
        sizes = {"N": N, "OH*OW": places, "N*OH*OW": N * places} if first.ndim == 4 else {"N": N}
        kernel = self.arguments.get("kernel_size", np.shape(self.arguments.get("w", ()))[:-1])
        return sizes | {"KH*KW": kernel[0] * kernel[1]} if len(kernel) > 1 else sizes

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
    edits: tuple[Edit, ...] = ()  # of the reference's source, if it is made by edits


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
    axes : dict
        A letter for each axis of an output, or of an input that may be left out in part, such as {"dx": "nhwc"}; h and
        w are rows and columns of images or kernels.
    mistakes : list of Mistake
        The known mistakes; `slip` adds one as edits of the reference, the decorator `mistake` one that is written out.
    """

    name: str
    outputs: tuple[str, ...]
    reference: Function
    cases: list[Case]
    axes: dict[str, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, what: str) -> Callable[[Function], Function]:
        """A decorator that adds a wrong version of the function; `what` says what is wrong with it."""

        def remember(function: Function) -> Function:
            self.mistakes.append(Mistake(what, function))
            return function

        return remember

    def slip(self, what: str, *edits: Edit) -> None:
        """Add the mistake that these edits make of the reference."""
        source = edited(inspect.getsource(self.reference), edits)
        if source is None:
            raise ValueError(f"{self.name}: the reference does not hold the text to replace: {edits}")
        self.mistakes.append(Mistake(what, self._compiled(source), edits))

    def pairs(self) -> Iterator[Mistake]:
        """All pairs of the mistakes that are edits, except those where one edit leaves no room for the other."""
        reference = inspect.getsource(self.reference)
        for a, b in itertools.combinations([m for m in self.mistakes if m.edits], 2):
            source = edited(reference, a.edits + b.edits) or edited(reference, b.edits + a.edits)
            if source and a.what != b.what:  # two forms of one mistake have one text
                yield Mistake(both(a.what, b.what), self._compiled(source), a.edits + b.edits)

    def parts(self) -> Iterator[Mistake]:
        """An input used in part only: its first or last entry along an axis, or all but this one."""
        for name, letters in self.axes.items():
            for axis, letter in enumerate(letters if name in self.cases[0].arguments else ""):
                entry = ENTRIES[letter] if letter != "n" or len(letters) > 2 else "example"
                for what, used in PARTS.items():
                    where = (slice(None),) * axis + (used,)
                    yield Mistake(what.format(f"{entry} of {name}"), partial(_in_part, self.reference, name, where))

    def _compiled(self, source: str) -> Function:
        """The function that an edited source of the reference defines."""
        names = dict(self.reference.__globals__)
        exec(compile(source, f"<a mistake in {self.name}>", "exec"), names)
        return names[self.reference.__name__]


# The entries along an axis, by its letter; "n" counts examples where there are no images.
ENTRIES = {
    "n": "image",
    "h": "row",
    "w": "column",
    "c": "channel",
    "f": "filter",
    "i": "input",
    "o": "output",
}
PARTS = {
    "only the first {} is used: is there a 0 where the index of a loop belongs, or a return in the loop?": slice(1),
    "only the last {} is used: is there `=` for `+=` in a loop, or zeros made in each round?": slice(-1, None),
    "the first {} is left out: does a range or a slice begin one late?": slice(1, None),
    "the last {} is left out: does a range or a slice end one early?": slice(-1),
}


def _in_part(function: Function, name: str, used: tuple[slice, ...], **arguments: Any) -> Any:
    """The function's result if all of an argument but the part that is used were 0."""
    part = np.zeros_like(arguments[name])
    part[used] = arguments[name][used]
    return function(**arguments | {name: part})


@dataclass(frozen=True)
class Exercise:
    """A file in lessons/exercises: the functions to write there, and hints, from a first idea to nearly the answer."""

    name: str  # the file's, without .py: "02_dense_backward"
    title: str
    lesson: int
    tasks: tuple[Task, ...]
    hints: tuple[str, ...]
    # Instead of tasks, for an exercise with many right answers: from the learner's module, and a list for notes.
    check: Callable[[ModuleType, list[str]], list[str]] | None = None

    @property
    def number(self) -> str:
        return self.name[:2]


def traits(**present: bool) -> frozenset[str]:
    """The names of the arguments that are true, with spaces for underscores: traits(stride_above_1=True)."""
    return frozenset(name.replace("_", " ") for name, here in present.items() if here)


def edited(source: str, edits: Iterable[Edit]) -> str | None:
    """The source with all of the edits; None if the text that one of them replaces is not there."""
    for old, new in edits:
        if old not in source:
            return None
        source = source.replace(old, new)
    return source


def both(first: str, second: str) -> str:
    """A finding about two mistakes."""
    return f"two mistakes at once:\n1. {first}\n2. {second}"


def as_tuple(result: Any, count: int = 1) -> tuple[Any, ...]:
    """What a function of `count` results returned, as a tuple. `return [dx, dw]` is a tuple of two if count is 2."""
    several = isinstance(result, tuple) or (isinstance(result, list) and len(result) == count > 1)
    return tuple(result) if several else (result,)


def random_arrays(seed: int, *shapes: Iterable[int]) -> list[np.ndarray]:
    """Float64 arrays of these shapes, normally distributed."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(tuple(shape)) for shape in shapes]
