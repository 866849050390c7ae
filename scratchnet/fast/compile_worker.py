"""A process that compiles kernels for another one: it reads what to compile from stdin, and keeps the code on disk.

Each line that comes in names a kernel and describes its arguments, in JSON. Each line that goes out says that one has
been seen to. `ahead.py` is the other side. It also uses the descriptions: what is compiled is what they say.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import typeof


def describe(arguments: Sequence[Any]) -> list[Any]:
    """A kernel's arguments in JSON, so that arguments of the same types can be made of it."""
    return [_describe_one(argument) for argument in arguments]


def _describe_one(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.dtype.str, "ndim": value.ndim}
    if isinstance(value, np.generic):
        return {"scalar": value.dtype.str}
    if isinstance(value, tuple):
        kind = type(value)
        return {"tuple": None if kind is tuple else [kind.__module__, kind.__qualname__], "of": describe(value)}
    return value  # an integer, a float, a bool or None


def made_of(described: Any) -> Any:
    """An argument of the type that `describe` was given."""
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return np.zeros((1,) * described["ndim"], described["array"])
    if "scalar" in described:
        return np.dtype(described["scalar"]).type(0)
    values = [made_of(one) for one in described["of"]]
    if described["tuple"] is None:
        return tuple(values)
    module, name = described["tuple"]
    return getattr(importlib.import_module(module), name)(*values)


def types_of(described: Sequence[Any]) -> tuple[Any, ...]:
    """Numba's types of arguments so described."""
    return tuple(typeof(made_of(one)) for one in described)


def main() -> None:
    """Compile until stdin ends."""
    for line in sys.stdin:
        module, name, described = json.loads(line)
        kernel = getattr(importlib.import_module(module), name)
        try:
            kernel.dispatcher.compile(types_of(described))
        finally:
            print(flush=True)
