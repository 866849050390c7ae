"""Exercise 13: a layer of the learner's own. There is no reference to compare with, so its behaviour is checked.

It has to do what every layer of the library does. Its gradients agree with measured slopes. It keeps the dtype and does
not change its inputs. Its backward may be called twice. Its output shape is known before anything runs.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np

from scratchnet.exercises.diagnose import NotBegun, learners_line
from scratchnet.exercises.exercise import Exercise
from scratchnet.gradcheck import Comparison, gradcheck
from scratchnet.layers.base import Layer, Parameter


def check_own_layer(module: ModuleType) -> list[str]:
    """What is wrong with the class MyLayer of a learner's module, tried on its `example()`; empty if it is right.

    Raises
    ------
    NotBegun
        If MyLayer still raises the NotImplementedError that it came with.
    """
    make: Any = getattr(module, "MyLayer", None)
    if not (isinstance(make, type) and issubclass(make, Layer)):
        return ["expected a class MyLayer(sn.Layer) in the file; there is none"]
    x = np.asarray(module.example(), np.float64)
    try:
        for check in (_construction, _forward, _description, _backward, _gradients, _errors):
            findings = check(_changed(make), x)
            if findings:
                return findings
    except NotImplementedError as error:
        raise NotBegun(str(error)) from None
    except Exception as error:
        line = learners_line(error, module.__file__)
        return [f"{type(error).__name__}: {error}" + (f"\n({line.rstrip(', ')})" if line else "")]
    return []


def _changed(make: Any) -> Any:
    """`make`, but with random weights: many mistakes do not show with weights of 1 and 0."""

    def made() -> Any:
        layer = make()
        for i, p in enumerate(layer.parameters()):
            noise = np.random.default_rng([i, 3]).standard_normal(p.value.shape)
            p.value = p.value + (0.5 * noise).astype(p.value.dtype)
        return layer

    made.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    return made


def _construction(make: Any, x: np.ndarray) -> list[str]:
    needed = [p.name for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    if needed:
        return [f"the checker makes the layer as MyLayer(): give {', '.join(needed)} a default"]
    layer = make()
    if not hasattr(layer, "name"):
        return ["__init__ has to begin with super().__init__(): it gives the layer its name"]
    listed = [id(p) for p in layer.parameters()]
    lost = [name for name, value in vars(layer).items() if isinstance(value, Parameter) and id(value) not in listed]
    return [
        f"self.{name} is a Parameter, but parameters() does not list it: no optimiser would ever train it"
        for name in lost
    ]


def _forward(make: Any, x: np.ndarray) -> list[str]:
    findings = []
    given = x.copy()
    for dtype in (np.float64, np.float32):
        layer = make()
        out = layer.forward(given.astype(dtype))
        if not isinstance(out, np.ndarray):
            return [f"forward: expected an array, got {'None' if out is None else type(out).__name__}"]
        if layer.seen is None:
            return ["forward has to begin with x = self.check_input(x): backward checks dout against it"]
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
    return findings


def _gradients(make: Any, x: np.ndarray) -> list[str]:
    for training in (False, True):
        report = gradcheck(make(), x, training=training)
        wrong = [_explained(c) for c in report.comparisons if c.wrong]
        if wrong or not report:
            right = [c.name for c in report.comparisons if c.passed]
            return [*wrong, *([f"right: the gradient for {', '.join(right)}"] if right else []), str(report)]
    return []


def _explained(c: Comparison) -> str:
    factor = c.gradient / c.slope if c.slope else 0.0
    return (
        f"the gradient for {c.name} is wrong; the worst at {list(c.index)}: backward says {c.gradient:.6g}, the "
        f"measured slope is {c.slope:.6g}" + (f" (a factor of {factor:.4g})" if factor else "")
    )


def _description(make: Any, x: np.ndarray) -> list[str]:
    layer = make()
    findings = []
    out = layer.forward(x)
    if not isinstance(layer.output_shape(x.shape[1:]), tuple):
        return [f"output_shape: expected a tuple, one example's shape, got {layer.output_shape(x.shape[1:])!r}"]
    if layer.output_shape(x.shape[1:]) != out.shape[1:]:
        findings.append(
            f"output_shape says {layer.output_shape(x.shape[1:])} for one example; forward makes {out.shape[1:]}"
        )
    kept = [name for name in inspect.signature(make).parameters if name not in ("init", "rng")]
    lost = [name for name in kept if not hasattr(layer, name)]
    if lost:
        findings.append(f"the constructor's {', '.join(lost)} is not kept in an attribute of that name: self.{lost[0]}")
    return findings


def _errors(make: Any, x: np.ndarray) -> list[str]:
    layer = make()
    out = layer.forward(x)
    try:
        layer.backward(np.ones((*out.shape, 2)))
    except (ValueError, TypeError):
        return []
    return ["backward took a dout of the wrong shape without an error: begin with dout = self.check_dout(dout)"]


EXERCISES = (
    Exercise(
        "13_own_layer",
        "a layer of your own",
        lesson=10,
        tasks=(),
        hints=(
            "Begin with the formula on paper: out as a function of x, entry by entry. Then its slope.",
            "forward keeps what backward will need: self.x = self.check_input(x). backward begins with "
            "dout = self.check_dout(dout), and returns dout times the slope.",
            "Look at scratchnet/layers/relu.py: a complete layer in fewer than 50 lines, docstrings included.",
        ),
        check=check_own_layer,
    ),
)
