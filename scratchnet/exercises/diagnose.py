"""Find out what is wrong with a learner's function, and say it in a sentence.

The function is run on every case of its task. The checks come in the order in which a teacher would ask. First: did it
run, did it return what was asked for, did it leave its inputs as they were, does it always give the same result? Then,
for each output ("dx is right, dw is not"): are its numbers those of a known mistake? Are they right but transposed, not
summed, or times a factor? Are they those of two mistakes at once? Is the dtype kept? If nothing is recognised, a
search in the learner's own code begins (`repair.py`). If it finds nothing either, the finding is a list of facts
(`facts.py`): which cases fail, the worst entry, what the wrong entries share, and a picture of where they are.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import itertools
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scratchnet.exercises import running
from scratchnet.exercises.attempts import Attempt, NotBegun, attempt, counted, same, which_cases
from scratchnet.exercises.exercise import Function, Mistake, Task, as_tuple, both
from scratchnet.exercises.facts import facts
from scratchnet.exercises.repair import Search
from scratchnet.exercises.running import TookTooLong, hidden_prints

__all__ = ["NotBegun", "diagnose", "learners_frames", "learners_line", "never_used", "too_long"]

Repairs = Callable[[], dict[int, str]]  # for an output, the change of the learner's code that makes it right

WHOLE_NUMBERS = (
    "An array of whole numbers, such as np.zeros(shape, int) or np.array([0, 0]), cuts off what is written into it; "
    "use dtype=x.dtype"
)
FROM_LISTS = "np.stack(rows) or np.array(rows, x.dtype) makes an array of a list"


def diagnose(task: Task, function: Function, source: str | None = None) -> list[str]:
    """The findings about what is wrong with `function`, each a string; an empty list if it is right.

    source : the text of the file that holds the function, in which a change that makes it right is looked for.

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

    @functools.cache
    def repairs() -> dict[int, str]:
        return Search(task, source, attempts).repairs() if source else {}

    findings = (
        not_repeated(function, attempts[0], again)
        or errors(task, function, attempts, repairs)
        or not_arrays(task, attempts)
        or changed_inputs(attempts)
        or other_order(task, attempts)
        or other_order_and_mistake(task, attempts)
        or wrong_outputs(task, attempts, in_float32, repairs)
    )
    return findings and [*findings, *never_used(task, source)]


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


def never_used(task: Task, source: str | None) -> list[str]:
    """A finding about arguments that the function does not read anywhere; each is needed."""
    functions = [n for n in ast.walk(ast.parse(source or "")) if isinstance(n, ast.FunctionDef) and n.name == task.name]
    read = {n.id for f in functions for n in ast.walk(f) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    unread = [name for name in task.cases[0].arguments if functions and name not in read]
    return [f"never used: {' and '.join(unread)}. The result depends on every argument"] if unread else []


def too_long(error: BaseException, file: str | None) -> str:
    """The finding about a call that was stopped."""
    where = learners_line(error, file).rstrip(", ")
    return (
        f"it took too long and was stopped after {running.LIMIT:g} seconds{f', at {where}' if where else ''}. Does a "
        "loop never end? Each case is small: an answer takes a few milliseconds"
    )


def errors(task: Task, function: Function, attempts: Sequence[Attempt], repairs: Repairs) -> list[str]:
    """A finding if the function raised an error: the first one, its line, the cases that raise it, and why."""
    failed = [a for a in attempts if a.error is not None]
    if not failed:
        return []
    error = failed[0].error
    assert error is not None
    where = learners_line(error, _file(function))
    sentence = f"{_said(error)}\n({where}called with {failed[0].case})"
    why = (
        _explaining(task, task.mistakes, attempts)
        or list(dict.fromkeys(repairs().values()))
        or _explaining(task, task.pairs(), attempts)
    )
    return [*why, sentence + which_cases(failed, attempts, "raise this", "run")]


def _explaining(task: Task, mistakes: Iterable[Mistake], attempts: Sequence[Attempt]) -> list[str]:
    """The first mistake that does all that the learner's function does, errors included; empty if there is none."""
    known = (m.what for m in mistakes if _same_everywhere(task, m, attempts, None))
    return list(itertools.islice(known, 1))


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
    frames = learners_frames(error, file)
    return f"line {frames[-1].lineno}, `{frames[-1].line}`, " if frames else ""


def learners_frames(error: BaseException, file: str | None) -> list[traceback.FrameSummary]:
    """The learner's lines on the way to an error; of one that the library has told in other words, to the first."""
    while error.__suppress_context__ and error.__context__ is not None:
        error = error.__context__
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]


def not_arrays(task: Task, attempts: Sequence[Attempt]) -> list[str]:
    """A finding if the function returned nothing, something other than arrays, or another number of them."""
    asked = ", ".join(task.outputs)
    nothing = [a for a in attempts if len(a.got) == 1 and a.got[0] is None]
    if nothing:
        return [
            f"nothing was returned (None); end the function with: return {asked}"
            f"{which_cases(nothing, attempts, 'return nothing', 'return something')}"
        ]
    other_count = [a for a in attempts if len(a.got) != len(task.outputs)]
    for a in other_count:
        if len(a.got) == 1 and isinstance(a.got[0], list):
            return [f"a list was returned, expected {asked}: {FROM_LISTS}"]
        expected = counted(len(task.outputs), "result")
        which = which_cases(other_count, attempts, "return so many", "return as many as they should")
        return [f"expected {expected}, {asked}; got {len(a.got)}{which}"]
    for a in attempts:
        if len(task.outputs) == 1 and isinstance(a.got[0], list):
            return [f"a list was returned, expected an array: {FROM_LISTS}"]
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


def not_repeated(function: Function, once: Attempt, again: Attempt) -> list[str]:
    """A finding if the same arguments gave two different results, or an error the second time."""
    if once.error is not None or (again.error is None and _alike(once.got, again.got)):
        return []
    return [f"two calls with the same arguments gave different results: {_memory(function)}"]


def _alike(once: Sequence[Any], again: Sequence[Any]) -> bool:
    numbers = [isinstance(value, (np.ndarray, np.generic, float, int)) for value in (*once, *again)]
    return not all(numbers) or (
        len(once) == len(again) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(once, again, strict=True))
    )


def _memory(function: Function) -> str:
    """Where a function may keep something from call to call, as far as its code shows it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    kept = [str(i.argval) for i in dis.get_instructions(code) if i.opname == "STORE_GLOBAL"] if code else []
    if kept:
        return f"the global {kept[0]} keeps what the last call left in it. Use the arguments only"
    given = inspect.signature(function).parameters.values()
    kept = [p.name for p in given if isinstance(p.default, (list, dict, set, np.ndarray))]
    if kept:
        return (
            f"the default value of {kept[0]} is made once, and every call adds to it. Make it inside the function, new "
            "for each call"
        )
    return (
        "does it draw random numbers of its own, or keep something from call to call? Its result may depend on its "
        "arguments only"
    )


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


def wrong_outputs(
    task: Task, attempts: Sequence[Attempt], in_float32: Sequence[Attempt], repairs: Repairs
) -> list[str]:
    """A finding for each output that is not right on every case, and the names of those that are."""
    findings, right = [], []
    for i, name in enumerate(task.outputs):
        reason = wrong_numbers(task, attempts, i, repairs) or wrong_dtype(name, attempts, i, in_float32)
        if reason:
            findings.append(f"{name}: {reason}")
        else:
            right.append(name)
    if findings and right:
        findings.append(f"{' and '.join(right)} {'is' if len(right) == 1 else 'are'} right")
    return findings


def wrong_numbers(task: Task, attempts: Sequence[Attempt], i: int, repairs: Repairs) -> str | None:
    """What is wrong with the numbers of output i, if anything is."""
    wrong = [a for a in attempts if not same(a.got[i], a.want[i])]
    if not wrong:
        return None
    return (
        _known(task, task.mistakes, attempts, i)
        or _uninitialised(wrong, i)
        or _not_numbers(wrong, i)
        or _rounded(wrong, i)
        or _in_another_form(wrong, attempts, i)
        or _known(task, task.parts(), attempts, i)
        or repairs().get(i)
        or _known(task, task.pairs(), attempts, i)
        or _known_in_another_form(task, attempts, i)
        or _wrong_shape(wrong, attempts, i)
        or facts(task.outputs[i], task.axes.get(task.outputs[i], ""), wrong, attempts, i)
    )


def _uninitialised(wrong: Sequence[Attempt], i: int) -> str | None:
    """A finding if what np.empty left in an array got into the result; the checker has put NaN there."""
    for a in wrong:
        if a.uninitialised and np.isnan(a.got[i]).any() and not np.isnan(a.want[i]).any():
            return (
                "np.empty makes an array that holds whatever was in memory (here NaN, so that it shows): np.zeros "
                "begins with zeros, to which you can add"
            )
    return None


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
            f"the numbers are right, but the dtype changed: the inputs are float32, and {name} came back as "
            f"{np.asarray(wide[0].got[i]).dtype}. np.zeros(shape), np.ones(shape), np.array and functions of a plain "
            "number, such as np.sqrt(2), make float64; np.zeros_like(x), dtype=x.dtype and .astype(x.dtype) keep it"
            f"{which_cases(wide, in_float32, 'come back so', 'are right')}"
        )
    narrow = next((np.asarray(a.got[i]).dtype for a in attempts if np.asarray(a.got[i]).dtype != np.float64), None)
    return f"the dtype changed: the inputs are float64, and {name} came back as {narrow}" if narrow else None


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


def _wrong_shape(wrong: Sequence[Attempt], attempts: Sequence[Attempt], i: int) -> str | None:
    other = [a for a in wrong if np.shape(a.got[i]) != a.want[i].shape]
    if not other:
        return None
    a = other[0]
    which = which_cases(other, attempts, "have a wrong shape", "have the right one")
    return f"wrong shape: expected {a.want[i].shape}, got {np.shape(a.got[i])}\n(called with {a.case}){which}"


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
    where = which_cases(wrong, attempts, "are so", "are right")
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
