"""Find out what is wrong with a learner's function, and say it in a sentence.

The function is run on every case of its task. The checks come in the order in which a teacher would ask. First: did it
run, did it return what was asked for, did it leave its inputs as they were, does it always give the same result? Then,
for each output ("dx is right, dw is not"): are its numbers those of a known mistake? Are they right but transposed, not
summed, or times a factor? Are they those of two mistakes at once? Is the dtype kept? If nothing is recognised, the
finding is a list of facts: which cases fail, the worst entry, and a small picture of where the wrong entries are.
"""

from __future__ import annotations

import bdb
import inspect
import itertools
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scratchnet.exercises import running
from scratchnet.exercises.exercise import Case, Function, Mistake, Task, as_tuple, both
from scratchnet.exercises.running import TookTooLong, hidden_prints, limited

WHOLE_NUMBERS = (
    "An array of whole numbers, such as np.zeros(shape, int) or np.array([0, 0]), cuts off what is written into it; "
    "use dtype=x.dtype"
)
FROM_LISTS = "np.stack(rows) or np.array(rows, x.dtype) makes an array of a list"
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


def diagnose(task: Task, function: Function) -> list[str]:
    """The findings about what is wrong with `function`, each a string; an empty list if it is right.

    Raises
    ------
    NotBegun
        If the function raises NotImplementedError.
    """
    other_names = other_arguments(task, function)
    if other_names:
        return other_names
    try:
        attempts = [attempt(task, function, case) for case in task.cases[:1]]
        with hidden_prints():  # show what the function prints for the first case only
            attempts += [attempt(task, function, case) for case in task.cases[1:]]
            again = attempt(task, function, task.cases[0])
            in_float32 = [attempt(task, function, case, np.float32) for case in task.cases]
    except TookTooLong as error:  # the other cases would take as long
        return [too_long(error, _file(function))]
    return (
        errors(task, function, attempts)
        or not_arrays(task, attempts)
        or changed_inputs(attempts)
        or not_repeated(attempts[0], again)
        or other_order(task, attempts)
        or other_order_and_mistake(task, attempts)
        or wrong_outputs(task, attempts, in_float32)
    )


def attempt(task: Task, function: Function, case: Case, dtype: Any = None) -> Attempt:
    """Run the learner's function on copies of a case's arguments, cast to `dtype` if one is given."""
    want = as_tuple(task.reference(**case.copy(dtype)))
    arguments = case.copy(dtype)
    try:
        with np.errstate(all="ignore"):
            got = as_tuple(limited(function, **arguments), len(task.outputs))
    except bdb.BdbQuit:
        raise
    except NotImplementedError as error:
        raise NotBegun(str(error)) from None
    except (Exception, SystemExit) as error:
        return Attempt(case, want, error=error)
    before = case.copy(dtype)
    changed = [k for k, v in arguments.items() if isinstance(v, np.ndarray) and not np.array_equal(v, before[k])]
    return Attempt(case, want, got, changed=tuple(changed))


# ---------------------------------------------------------------- did it do what was asked for?


def other_arguments(task: Task, function: Function) -> list[str]:
    """A finding if the function has arguments of other names, or more or fewer of them."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function that is not written in Python
        return []
    asked = task.cases[0].arguments
    try:
        signature.bind(**asked)
    except TypeError:
        return [
            f"the arguments have other names: expected ({', '.join(asked)}), got ({', '.join(signature.parameters)}). "
            "The checker passes them by name, so keep the first line of the function as it was"
        ]
    return []


def too_long(error: BaseException, file: str | None) -> str:
    """The finding about a call that was stopped."""
    where = learners_line(error, file).rstrip(", ")
    return (
        f"it took too long and was stopped after {running.LIMIT:g} seconds{f', at {where}' if where else ''}. Does a "
        "loop never end? Each case is small: an answer takes a few milliseconds"
    )


def errors(task: Task, function: Function, attempts: Sequence[Attempt]) -> list[str]:
    """A finding if the function raised an error: the first one, its line, and the cases that raise it."""
    failed = [a for a in attempts if a.error is not None]
    if not failed:
        return []
    error = failed[0].error
    assert error is not None
    where = learners_line(error, _file(function))
    known = (m.what for m in itertools.chain(task.mistakes, task.pairs()) if _same_everywhere(task, m, attempts, None))
    sentence = f"{_said(error)}\n({where}called with {failed[0].case})"
    return [*itertools.islice(known, 1), sentence + _which_cases(failed, attempts, "raise this", "run")]


def _file(function: Function) -> str | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code else None


def _said(error: BaseException) -> str:
    """An error, and what it means if Python's own words do not say it."""
    meaning = ""
    if isinstance(error, SystemExit):
        meaning = " (the function ended the program: take exit() out, and return the result)"
    elif isinstance(error, EOFError):
        meaning = " (does it call input()? Everything that it needs is in its arguments)"
    elif isinstance(error, TypeError) and "Cannot cast ufunc" in str(error):
        meaning = f". {WHOLE_NUMBERS}"
    return f"{type(error).__name__}: {error}{meaning}"


def learners_line(error: BaseException, file: str | None) -> str:
    """The last line of the learner's file on the way to an error, followed by a comma; "" if there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"line {frames[-1].lineno}, `{frames[-1].line}`, " if frames else ""


def not_arrays(task: Task, attempts: Sequence[Attempt]) -> list[str]:
    """A finding if the function returned nothing, something other than arrays, or another number of them."""
    asked = ", ".join(task.outputs)
    for a in attempts:
        if len(a.got) == 1 and a.got[0] is None:
            return [f"nothing was returned (None); end the function with: return {asked}"]
        if len(a.got) == 1 and isinstance(a.got[0], list):
            return [f"a list was returned, expected {'an array' if len(task.outputs) == 1 else asked}: {FROM_LISTS}"]
        if len(a.got) != len(task.outputs):
            return [f"expected {_count(len(task.outputs), 'result')}, {asked}; got {len(a.got)}"]
        strange = [
            f"{name}: expected an array, got {'None' if got is None else type(got).__name__}"
            + (f": {FROM_LISTS}" if isinstance(got, list) else "")
            for name, got in zip(task.outputs, a.got, strict=True)
            if not isinstance(got, (np.ndarray, np.generic, float, int))
        ]
        if strange:
            return strange
    return []


def changed_inputs(attempts: Sequence[Attempt]) -> list[str]:
    """A finding if the function wrote into an array that it was given."""
    names = sorted({name for a in attempts for name in a.changed})
    if not names:
        return []
    return [
        f"the input {' and '.join(names)} {'was' if len(names) == 1 else 'were'} modified: inputs belong to the "
        f"caller, who may need them again. Operations like `{names[0]} *= ...` or `{names[0]}[...] = ...` write into "
        f"it; make a new array, or begin with {names[0]}.copy()"
    ]


def not_repeated(once: Attempt, again: Attempt) -> list[str]:
    """A finding if the same arguments gave two different results."""
    if len(again.got) == len(once.got) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(once.got, again.got, strict=True)
    ):
        return []
    return [
        "two calls with the same arguments gave different results: does it draw random numbers of its own, or keep "
        "something from call to call? Its result may depend on its arguments only"
    ]


def other_order(task: Task, attempts: Sequence[Attempt]) -> list[str]:
    """A finding if all results are right, but not in the order asked for."""
    outputs = range(len(task.outputs))
    for order in itertools.permutations(outputs):
        if order != tuple(outputs) and all(same(a.got[k], a.want[order[k]]) for a in attempts for k in outputs):
            returned = ", ".join(task.outputs[k] for k in order)
            return [f"all are right, but in another order: you return {returned}; return {', '.join(task.outputs)}"]
    return []


def other_order_and_mistake(task: Task, attempts: Sequence[Attempt]) -> list[str]:
    """A finding if the results are those of a known mistake, in another order."""
    if len(task.outputs) == 1:
        return []
    for mistake in task.mistakes:
        instead = _with_mistake(task, mistake, attempts)
        order = other_order(task, instead) if instead else []
        if order and not _same_everywhere(task, mistake, attempts, None):
            return [both(order[0].removeprefix("all are right, but "), mistake.what)]
    return []


# ---------------------------------------------------------------- are the numbers right?


def wrong_outputs(task: Task, attempts: Sequence[Attempt], in_float32: Sequence[Attempt]) -> list[str]:
    """A finding for each output that is not right on every case, and the names of those that are."""
    findings, right = [], []
    for i, name in enumerate(task.outputs):
        reason = wrong_numbers(task, attempts, i) or wrong_dtype(name, attempts, i, in_float32)
        if reason:
            findings.append(f"{name}: {reason}")
        else:
            right.append(name)
    if findings and right:
        findings.append(f"{' and '.join(right)} {'is' if len(right) == 1 else 'are'} right")
    return findings


def wrong_numbers(task: Task, attempts: Sequence[Attempt], i: int) -> str | None:
    """What is wrong with the numbers of output i, if anything is."""
    wrong = [a for a in attempts if not same(a.got[i], a.want[i])]
    if not wrong:
        return None
    return (
        _known(task, task.mistakes, attempts, i)
        or _not_numbers(wrong, i)
        or _rounded(wrong, i)
        or _in_another_form(wrong, attempts, i)
        or _known(task, task.pairs(), attempts, i)
        or _known_in_another_form(task, attempts, i)
        or _wrong_shape(wrong, i)
        or _facts(task.outputs[i], wrong, attempts, i)
    )


def _known(task: Task, mistakes: Iterable[Mistake], attempts: Sequence[Attempt], i: int) -> str | None:
    """The known mistake that explains all outputs, if there is one; else one that explains output i."""
    explains_i = None
    for mistake in mistakes:
        if _same_everywhere(task, mistake, attempts, None):
            return mistake.what
        if explains_i is None and _same_everywhere(task, mistake, attempts, i):
            explains_i = mistake.what
    return explains_i


def _known_in_another_form(task: Task, attempts: Sequence[Attempt], i: int) -> str | None:
    """Two mistakes: a known one, and its numbers transposed, not summed, or times a factor."""
    for mistake in task.mistakes:
        instead = _with_mistake(task, mistake, attempts)
        wrong = [a for a in instead if not same(a.got[i], a.want[i])]
        also = _in_another_form(wrong, instead, i) if wrong else None
        if also:
            return both(mistake.what, also)
    return None


def _with_mistake(task: Task, mistake: Mistake, attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts, as if the mistake's outputs were the right ones; empty if it raises an error somewhere."""
    try:
        with np.errstate(all="ignore"):
            return [replace(a, want=_arrays(mistake.function(**a.case.copy()))) for a in attempts]
    except Exception:
        return []


def _arrays(result: Any) -> tuple[np.ndarray, ...]:
    return tuple(map(np.asarray, as_tuple(result)))


def _in_another_form(wrong: Sequence[Attempt], attempts: Sequence[Attempt], i: int) -> str | None:
    """A finding if the numbers are right, but for a sum, the order of axes, or a factor."""
    return _not_summed(wrong, i) or _transposed(wrong, i) or _factor(wrong, attempts, i)


def _not_numbers(wrong: Sequence[Attempt], i: int) -> str | None:
    """A finding if the output holds whole numbers, or True and False."""
    kinds = {np.asarray(a.got[i]).dtype.kind for a in wrong}
    if kinds == {"b"}:
        return (
            "it holds True and False, expected numbers: a comparison came last. `a * x > 0` means (a * x) > 0; write "
            "brackets around the comparison"
        )
    return f"it holds whole numbers ({np.asarray(wrong[0].got[i]).dtype}). {WHOLE_NUMBERS}" if kinds == {"i"} else None


def wrong_dtype(name: str, attempts: Sequence[Attempt], i: int, in_float32: Sequence[Attempt]) -> str | None:
    """Whether output i has another dtype than the inputs; `in_float32` has the attempts with float32 inputs."""
    errors = [a for a in in_float32 if a.error is not None]
    if errors:
        return f"with float32 inputs it raises {type(errors[0].error).__name__}: {errors[0].error}"
    wide = [a for a in in_float32 if np.asarray(a.got[i]).dtype != np.float32]
    if wide:
        return (
            f"the dtype changed: the inputs are float32, and {name} came back as {np.asarray(wide[0].got[i]).dtype}. "
            "np.zeros(shape), np.ones(shape) and np.array make float64; np.zeros_like(x), or dtype=x.dtype, keep it"
            f"{_which_cases(wide, in_float32, 'come back so', 'are right')}"
        )
    narrow = next((np.asarray(a.got[i]).dtype for a in attempts if np.asarray(a.got[i]).dtype != np.float64), None)
    return f"the dtype changed: the inputs are float64, and {name} came back as {narrow}" if narrow else None


def same(got: Any, want: Any, rtol: float = RTOL) -> bool:
    """Whether two outputs agree in shape and, up to rounding, in every number; True is no number."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or (got.dtype == bool) != (want.dtype == bool):
        return False
    finite = np.abs(want[np.isfinite(want)])
    return np.allclose(got, want, rtol=rtol, atol=rtol * finite.max(initial=0), equal_nan=True)


def _same_everywhere(task: Task, mistake: Mistake, attempts: Sequence[Attempt], i: int | None) -> bool:
    """Whether the mistake does the same as the learner's function on every case, in output i or, if None, in all."""
    different = False
    if all(a.error is not None for a in attempts):
        return False  # there are no numbers to compare
    for a in attempts:
        try:
            with np.errstate(all="ignore"):
                made = as_tuple(mistake.function(**a.case.copy()))
        except Exception:
            if a.error is None:
                return False
            different = True
            continue
        which = range(len(task.outputs)) if i is None else [i]
        if a.error is not None or not all(same(a.got[k], made[k]) for k in which):
            return False
        different = different or not all(same(made[k], a.want[k]) for k in which)
    return different


def _rounded(wrong: Sequence[Attempt], i: int) -> str | None:
    """A finding if the numbers are right only to about as many digits as float32 has."""
    if not all(np.shape(a.got[i]) == a.want[i].shape and same(a.got[i], a.want[i], rtol=1e-5) for a in wrong):
        return None
    if all(np.array_equal(a.got[i], np.float32(a.got[i]), equal_nan=True) for a in wrong):
        return "right to about six digits only: computed in float32, though the inputs are float64"
    return (
        "right to about six digits only: a part of it was rounded (float32 somewhere?), or a small number was added, "
        "such as an epsilon"
    )


def _not_summed(wrong: Sequence[Attempt], i: int) -> str | None:
    """A finding if the numbers are right, but a sum over some axes is missing or the shape is wrong."""
    shapes = f"its shape is {np.shape(wrong[0].got[i])}, expected {wrong[0].want[i].shape}"
    if all(np.size(a.got[i]) == a.want[i].size and _reshaped(a.got[i], a.want[i]) for a in wrong):
        return f"the numbers are right but {shapes}"
    for axes in ((0,), (0, 1), (0, 1, 2), (1,), (-1,)):
        if all(_sums_to(a.got[i], a.want[i], axes) for a in wrong):
            batch = axes == (0,) and all(len(a.got[i]) == a.case.sizes()["N"] for a in wrong)
            what = "over the batch" if batch else "over everything that has to be summed"
            return (
                f"not summed {what}: {shapes}. Each example and each place acted on the loss, so their gradients add up"
            )
    return None


def _sums_to(got: Any, want: np.ndarray, axes: tuple[int, ...]) -> bool:
    got = np.asarray(got)
    return got.ndim == want.ndim + len(axes) > max(axes) and same(got.sum(axis=axes), want)


def _reshaped(got: Any, want: np.ndarray) -> bool:
    return np.shape(got) != want.shape and same(np.reshape(got, want.shape), want)


def _transposed(wrong: Sequence[Attempt], i: int) -> str | None:
    """A finding if the numbers are right, but along other axes."""
    ndim = wrong[0].want[i].ndim
    if any(np.ndim(a.got[i]) != ndim for a in wrong):
        return None
    for order in itertools.permutations(range(ndim)):
        if order != tuple(range(ndim)) and all(same(np.transpose(a.got[i], order), a.want[i]) for a in wrong):
            how = "use .T" if ndim == 2 else f"use .transpose{order}"
            return f"transposed: the right numbers along other axes ({how})"
    return None


def _wrong_shape(wrong: Sequence[Attempt], i: int) -> str | None:
    a = next((a for a in wrong if np.shape(a.got[i]) != a.want[i].shape), None)
    if a is None:
        return None
    return f"wrong shape: expected {a.want[i].shape}, got {np.shape(a.got[i])}\n(called with {a.case})"


def _factor(wrong: Sequence[Attempt], attempts: Sequence[Attempt], i: int) -> str | None:
    """A finding if the wrong numbers are the right ones times a factor: a size of each case, or one number for all."""
    if any(np.shape(a.got[i]) != a.want[i].shape for a in wrong):
        return None
    factors = [_ratio(np.asarray(a.got[i]), a.want[i]) for a in wrong]
    if None in factors:
        return None
    for name in wrong[0].case.sizes():
        sizes = [a.case.sizes()[name] for a in wrong]
        if not all(a.case.sizes()[name] == 1 for a in attempts if not any(a is w for w in wrong)):
            continue  # a case is right in which this factor would show
        if np.allclose(factors, sizes):  # type: ignore[arg-type]
            return f"an extra factor {name}: was a sum added {name} times, or a division by {name} left out?"
        if np.allclose(factors, [1 / size for size in sizes]):  # type: ignore[arg-type]
            return f"an extra factor 1/{name if '*' not in name else f'({name})'}: a sum is asked for, not a mean"
    first = factors[0]
    if not np.allclose(factors, first):  # type: ignore[arg-type]
        return None
    where = _which_cases(wrong, attempts, "are so", "are right")
    if np.isclose(first, -1):  # type: ignore[arg-type]
        return f"the sign is reversed: an extra factor -1{where}"
    return f"an extra factor {first:.6g}: the numbers are the right ones times {first:.6g}{where}"


def _ratio(got: np.ndarray, want: np.ndarray) -> float | None:
    """The one number c with got = c * want; None if there is none, or if it is 0."""
    if not np.isfinite(got).all() or not want.any():
        return None
    at = np.unravel_index(np.abs(want).argmax(), want.shape)
    ratio = float(got[at] / want[at])
    return ratio if ratio != 0 and same(got, ratio * want) else None


# ---------------------------------------------------------------- if nothing is recognised


def _facts(name: str, wrong: Sequence[Attempt], attempts: Sequence[Attempt], i: int) -> str:
    a = wrong[0]
    got, want = np.asarray(a.got[i]), a.want[i] + 0.0  # no -0
    far = np.where(np.isfinite(got), np.abs(got - want), np.inf)
    worst = tuple(int(k) for k in np.unravel_index(far.argmax(), far.shape))
    bad = np.asarray(far > RTOL * np.abs(want).max(initial=0))
    drawn = "" if bad.all() else "\n" + picture(bad, 0 if name == "dw" else 1)
    return (
        f"{bad.sum()} of {_count(bad.size, 'number')} {'is' if bad.sum() == 1 else 'are'} wrong; the worst at "
        f"{list(worst)}: expected {want[worst]:.6g}, got {got[worst]:.6g}\n(called with {a.case})"
        f"{_which_cases(wrong, attempts, 'are wrong', 'are right')}{drawn}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _which_cases(failing: Sequence[Attempt], attempts: Sequence[Attempt], fail: str, fine: str) -> str:
    """A sentence on which cases fail: the traits that only these have, or else their number."""
    others = [a for a in attempts if not any(a is f for f in failing)]
    if not others:
        return ""
    common = frozenset.intersection(*(a.case.traits for a in failing))
    telling = sorted(t for t in common if not any(t in a.case.traits for a in others))
    if telling:
        return f"\nAll cases with {', with '.join(telling)} {fail}, all others {fine}."
    return f"\n{len(failing)} of {len(attempts)} cases {fail}; the others {fine}."


def picture(bad: Any, first: int = 1, most: int = 40) -> str:
    """Where wrong entries are: `#` wrong, `.` right. Of more than two axes, `first` and the next one are drawn.

    For images (N, H, W, C) `first` is 1, for filters (KH, KW, C, F) it is 0.
    """
    bad = bad.reshape(1, -1) if bad.ndim < 2 else bad
    first = first if bad.ndim > 2 else 0
    flat = bad.any(axis=tuple(k for k in range(bad.ndim) if k not in (first, first + 1)))[:most, :most]
    rows = "\n".join("    " + "".join("#" if field else "." for field in row) for row in flat)
    axes = f", axes {first} and {first + 1}" if bad.ndim > 2 else ""
    return f"where (# wrong, . right{axes}):\n{rows}"
