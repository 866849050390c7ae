"""Try a learner's function on the cases of its task, and compare numbers."""

from __future__ import annotations

import bdb
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchnet.exercises.exercise import Case, Function, Task, as_tuple
from scratchnet.exercises.running import limited, uninitialised_as_nan

RTOL = 1e-7  # of the largest entry; in float64, another order of sums changes a right answer by less than 1e-14


class NotBegun(Exception):
    """The function still raises the NotImplementedError that it came with."""


@dataclass(frozen=True)
class Attempt:
    """A case, the right outputs, and what the learner's function gave: outputs, or an error."""

    case: Case
    want: tuple[np.ndarray, ...]
    got: tuple[Any, ...] = ()
    error: BaseException | None = None
    changed: tuple[str, ...] = ()  # the names of arguments that the function changed
    uninitialised: bool = False  # whether it made an array with np.empty

    def right(self, i: int) -> bool:
        """Whether there is an output i, and its numbers are right."""
        return self.error is None and len(self.got) > i and same(self.got[i], self.want[i])


def attempt(task: Task, function: Function, case: Case, dtype: Any = None) -> Attempt:
    """Run the learner's function on copies of a case's arguments, cast to `dtype` if one is given."""
    want = as_tuple(task.reference(**case.copy(dtype)))
    arguments = case.copy(dtype)
    try:
        with np.errstate(all="ignore"), uninitialised_as_nan() as made:
            got = as_tuple(limited(function, **arguments), len(task.outputs))
    except bdb.BdbQuit:
        raise
    except NotImplementedError as error:
        raise NotBegun(str(error)) from None
    except (Exception, SystemExit) as error:
        return Attempt(case, want, error=error)
    before = case.copy(dtype)
    changed = [k for k, v in arguments.items() if isinstance(v, np.ndarray) and not np.array_equal(v, before[k])]
    return Attempt(case, want, got, changed=tuple(changed), uninitialised=bool(made))


def same(got: Any, want: Any, rtol: float = RTOL) -> bool:
    """Whether two outputs agree in shape and, up to rounding, in every number; True is no number."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or (got.dtype == bool) != (want.dtype == bool):
        return False
    finite = np.abs(want[np.isfinite(want)])
    return np.allclose(got, want, rtol=rtol, atol=rtol * finite.max(initial=0), equal_nan=True)


def which_cases(failing: Sequence[Attempt], attempts: Sequence[Attempt], fail: str, fine: str) -> str:
    """A sentence on which cases fail: the traits that only these have, or else their number."""
    others = [a for a in attempts if not any(a is f for f in failing)]
    if not others:
        return ""
    common = frozenset.intersection(*(a.case.traits for a in failing))
    telling = sorted(t for t in common if not any(t in a.case.traits for a in others))
    if telling:
        return f"\nAll cases with {', with '.join(telling)} {fail}, all others {fine}."
    return f"\n{len(failing)} of {len(attempts)} cases {fail}; the others {fine}."


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
