"""Exercise 13: a layer of the learner's own. There is no reference to compare with, so its behaviour is checked.

It has to do what every layer of the library does. Its gradients agree with measured slopes. It keeps the dtype and does
not change its inputs. Its backward may be called twice. Its output shape is known before anything runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from scratchnet.exercises.diagnose import NotBegun, learners_frames, learners_line, too_long
from scratchnet.exercises.exercise import Exercise
from scratchnet.exercises.running import TookTooLong, limited
from scratchnet.gradcheck import Comparison, Report, gradcheck
from scratchnet.layers.base import Layer, Parameter


def check_own_layer(module: ModuleType, notes: list[str] | None = None) -> list[str]:
    """What is wrong with the class MyLayer of a learner's module, tried on its `example()`; empty if it is right.

    All that is wrong is told at once. What is wrong in one place is repaired for the checks of the others.

    Raises
    ------
    NotBegun
        If MyLayer still raises the NotImplementedError that it came with.
    """
    notes = [] if notes is None else notes
    make: Any = getattr(module, "MyLayer", None)
    if not (isinstance(make, type) and issubclass(make, Layer)):
        return ["expected a class MyLayer(sn.Layer) in the file; there is none"]
    findings: list[str] = []
    try:
        findings += _construction(make)
        if findings:
            return findings
        x = np.asarray(limited(module.example), np.float64)
        made = _changed(make)
        for check, maker in ((_forward, made), (_description, made), (_backward, _repaired(made)), (_errors, made)):
            findings += _found(check, module, maker, x)
        findings += _found(partial(_gradients, notes=notes, others=bool(findings)), module, _repaired(made), x)
    except NotImplementedError as error:
        raise NotBegun(str(error)) from None
    except TookTooLong as error:
        findings.append(too_long(error, module.__file__))
    except Exception as error:
        findings.append(_raised(error, module))
    return list(dict.fromkeys(findings))  # an error of forward comes up in each check


def _found(check: Callable[..., list[str]], module: ModuleType, make: Any, x: np.ndarray) -> list[str]:
    """The findings of one check; the error that it raised, if it did."""
    try:
        return check(make, x)
    except NotImplementedError:
        raise
    except Exception as error:
        return [_raised(error, module)]


def _raised(error: Exception, module: ModuleType) -> str:
    line = learners_line(error, module.__file__)
    frames = learners_frames(error, module.__file__)
    meaning = ""
    if frames and frames[-1].name == "output_shape":
        meaning = ". output_shape is given the shape of one example, without N, and returns one without N"
    elif isinstance(error, TypeError) and "NoneType" in str(error) and ".grad" in line:
        meaning = ". Before the first backward, grad is None: set it (=), do not add to it (+=)"
    elif isinstance(error, AttributeError) and error.name and isinstance(error.obj, Layer):
        meaning = f". Nothing has set self.{error.name} yet: forward has to keep what backward needs"
    return f"{type(error).__name__}: {error}{meaning}" + (f"\n({line.rstrip(', ')})" if line else "")


def _changed(make: Any) -> Any:
    """`make`, but with random weights: many mistakes do not show with weights of 1 and 0. Its methods have a limit."""

    def made() -> Any:
        layer = make()
        for name in ("forward", "backward", "output_shape"):
            setattr(layer, name, partial(limited, getattr(layer, name)))
        for i, p in enumerate(layer.parameters()):
            noise = np.random.default_rng([i, 3]).standard_normal(p.value.shape)
            p.value = p.value + (0.5 * noise).astype(p.value.dtype)
        return layer

    made.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    return made


def _repaired(make: Any) -> Any:
    """`make`, but its layers know their input and their output's shape also if the class does not say them."""

    def made() -> Any:
        layer = make()
        forward = layer.forward

        def repaired(x: np.ndarray, training: bool = False) -> Any:
            out = forward(x, training)
            layer.seen = layer.seen or (x.shape, x.dtype)
            layer.output_shape = lambda shape: np.shape(out)[1:]
            return out

        layer.forward = repaired
        return layer

    return made


def _construction(make: Any) -> list[str]:
    needed = [p.name for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    if needed:
        return [f"the checker makes the layer as MyLayer(): give {', '.join(needed)} a default"]
    other = [
        f"{name} has to take {expected}: a network calls it so"
        for name, expected, option in (
            ("forward", "(self, x, training=False)", "training"),
            ("backward", "(self, dout, need_dx=True)", "need_dx"),
        )
        if not _takes(getattr(make, name), option)
    ]
    if other:
        return other
    layer = limited(make)
    if not hasattr(layer, "name"):
        return ["__init__ has to begin with super().__init__(): it gives the layer its name"]
    listed = [id(p) for p in layer.parameters()]
    lost = [name for name, value in vars(layer).items() if isinstance(value, Parameter) and id(value) not in listed]
    return [
        f"self.{name} is a Parameter, but parameters() does not list it: no optimiser would ever train it"
        for name in lost
    ]


def _takes(method: Callable[..., Any], option: str) -> bool:
    """Whether a method can be called with an array and this option."""
    try:
        inspect.signature(method).bind("self", "an array", **{option: True})
    except TypeError:
        return False
    return True


def _forward(make: Any, x: np.ndarray) -> list[str]:
    findings = []
    given = x.copy()
    for dtype in (np.float64, np.float32):
        layer = make()
        out = layer.forward(given.astype(dtype))
        if not isinstance(out, np.ndarray):
            return [f"forward: expected an array, got {'None' if out is None else type(out).__name__}"]
        if layer.seen is None:
            findings.append("forward has to begin with x = self.check_input(x): backward checks dout against it")
        if out.dtype != dtype:
            findings.append(f"forward: the dtype changed: {np.dtype(dtype)} went in and {out.dtype} came out")
    make().forward(given)
    if not np.array_equal(given, x):
        findings.append("forward: the input x was modified; it belongs to the caller")
    one, all_of_them = make().forward(x[:1]), make().forward(x)
    if len(one) != 1 or not np.allclose(one[0], all_of_them[0]):
        findings.append("forward: the first example alone gives another result than in its batch")
    return findings


def _backward(make: Any, x: np.ndarray) -> list[str]:
    layer = make()
    dout = np.random.default_rng(1).standard_normal(layer.forward(x).shape)
    given = dout.copy()
    first = layer.backward(given)
    grads = [None if p.grad is None else p.grad.copy() for p in layer.parameters()]
    findings = []
    if not np.array_equal(given, dout):
        findings.append("backward: the input dout was modified; it belongs to the layer after this one")
    if first is None:
        return [*findings, "backward: nothing was returned (None); end it with: return dx"]
    if np.shape(first) != x.shape:
        return [*findings, f"backward: wrong shape: expected dx {x.shape}, got {np.shape(first)}"]
    first = first.copy()
    again = layer.backward(dout)
    if not np.allclose(first, again):
        findings.append("backward: called twice, it gives another dx; it may not change what forward kept")
    for p, grad in zip(layer.parameters(), grads, strict=True):
        if grad is None:
            findings.append(f"backward: {p.name}.grad was not filled")
        elif grad.shape != p.value.shape:
            findings.append(
                f"backward: {p.name}.grad has the shape {grad.shape}, expected {p.value.shape}, the shape of {p.name}: "
                "sum over everything that shares it, above all the batch"
            )
        elif not np.allclose(grad, p.grad):
            findings.append(f"backward: called twice, {p.name}.grad changed: overwrite it (=), do not add to it (+=)")
    return findings + _gradient_dtypes(make, x)


def _gradient_dtypes(make: Any, x: np.ndarray) -> list[str]:
    layer = make()
    dx = layer.backward(np.ones_like(layer.forward(x.astype(np.float32))))
    gradients = {"dx": dx, **{f"{p.name}.grad": p.grad for p in layer.parameters()}}
    return [
        f"backward: the dtype changed: x was float32, and {name} is {gradient.dtype}"
        for name, gradient in gradients.items()
        if isinstance(gradient, np.ndarray) and gradient.dtype != np.float32
    ]


def _gradients(make: Any, x: np.ndarray, notes: list[str], others: bool) -> list[str]:
    """`others`: whether something else is wrong already, which may be why the gradients cannot be compared."""
    for training in (False, True):
        try:
            report = _measured(make, x, training, [] if others else notes)  # what else is wrong may look like a kink
        except ValueError:
            if others:
                return []
            raise
        wrong = [_explained(c) for c in report.comparisons if c.wrong]
        if wrong or not (report or others):
            right = [c.name for c in report.comparisons if c.passed]
            return [*wrong, *([f"right: the gradient for {', '.join(right)}"] if right else []), str(report)]
    return []


def _measured(make: Any, x: np.ndarray, training: bool, notes: list[str]) -> Report:
    """The comparison with measured slopes; not at a kink, where the slopes to the left and to the right differ."""
    report = gradcheck(make(), x, training=training)
    if not any(c.kinks for c in report.comparisons):
        return report
    noise = np.random.default_rng(2).standard_normal(x.shape)
    try:
        beside = gradcheck(make(), x + 0.1 * (np.abs(x).mean() or 1.0) * noise, training=training)
    except ValueError:  # the layer does not take such numbers, as a logarithm does not take those below 0
        return report
    note = (
        "example() lies on a kink, such as ReLU's at 0, where no slope can be measured: the gradients were compared "
        "on numbers moved a little, at random"
    )
    if note not in notes:
        notes.append(note)
    return beside


def _explained(c: Comparison) -> str:
    factor = c.gradient / c.slope if c.slope else 0.0
    return (
        f"the gradient for {c.name} is wrong; the worst at {list(c.index)}: backward says {c.gradient:.6g}, the "
        f"measured slope is {c.slope:.6g}" + (f" (a factor of {factor:.4g})" if factor else "")
    )


def _description(make: Any, x: np.ndarray) -> list[str]:
    layer = make()
    out = np.shape(layer.forward(x))[1:]
    said = layer.output_shape(x.shape[1:])
    findings = []
    if not isinstance(said, tuple):
        findings.append(f"output_shape: expected a tuple, one example's shape, got {said!r}")
    elif said != out and type(layer).output_shape is Layer.output_shape:
        findings.append(
            f"output_shape is missing: forward makes {out} of an example of shape {x.shape[1:]}, and a layer without "
            "output_shape(self, input_shape) is taken to keep the shape"
        )
    elif said != out:
        findings.append(f"output_shape says {said} for one example; forward makes {out}")
    kept = [name for name in inspect.signature(make).parameters if name not in ("init", "rng")]
    lost = [name for name in kept if not hasattr(layer, name)]
    if lost:
        findings.append(f"the constructor's {', '.join(lost)} is not kept in an attribute of that name: self.{lost[0]}")
    return findings


def _errors(make: Any, x: np.ndarray) -> list[str]:
    layer = _repaired(make)()
    out = layer.forward(x)
    # The second one NumPy would stretch to the batch, without a word.
    for dout in (np.ones((*out.shape, 2)), np.ones((1, *out.shape[1:]))):
        if dout.shape != out.shape and not _refused(layer, dout):
            return ["backward took a dout of the wrong shape without an error: begin with dout = self.check_dout(dout)"]
    return []


def _refused(layer: Any, dout: np.ndarray) -> bool:
    try:
        layer.backward(dout)
    except (ValueError, TypeError):
        return True
    return False


EXERCISES = (
    Exercise(
        "13_own_layer",
        "a layer of your own",
        lesson=15,
        tasks=(),
        hints=(
            "Begin with the formula on paper: out as a function of x, entry by entry. Then its slope.",
            "forward keeps what backward will need: self.x = self.check_input(x). backward begins with "
            "dout = self.check_dout(dout), and returns dout times the slope.",
            "Look at scratchnet/layers/relu.py: a complete layer in fewer than 50 lines, docstrings included. One with "
            "weights is lessons/solutions/13_own_layer_with_weights.py.",
        ),
        check=check_own_layer,
    ),
)
