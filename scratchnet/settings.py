"""Checks of single settings: each returns a plain Python value, or raises a ValueError that names the setting.

NumPy's numbers are taken and become Python's, since a checkpoint is compared with what JSON can hold.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np


def integer(owner: str, what: str, value: Any, least: int = 1) -> int:
    """`value` as an int, if it is one and at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        expected = {1: "a positive integer", 0: "an integer of at least 0"}.get(
            least, f"an integer of at least {least}"
        )
        raise ValueError(f"{_name(owner, what)} to be {expected}, got {shown(value)}")
    return int(value)


def positive(owner: str, what: str, value: Any) -> int:
    """`value` as an int, if it is one and at least 1."""
    return integer(owner, what, value)


def at_least_zero(owner: str, what: str, value: Any) -> float:
    """`value` as a float, if it is a finite number of at least 0."""
    if not (_is_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{_name(owner, what)} to be a finite number of at least 0, got {shown(value)}")
    return float(value)


def above_zero(owner: str, what: str, value: Any) -> float:
    """`value` as a float, if it is a finite number above 0."""
    if not (_is_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(f"{_name(owner, what)} to be a finite number above 0, got {shown(value)}")
    return float(value)


def below_one(owner: str, what: str, value: Any) -> float:
    """`value` as a float, if it is at least 0 and below 1, as a float too."""
    if not (_is_number(value) and 0 <= float(value) < 1):
        raise ValueError(f"{_name(owner, what)} to be at least 0 and below 1, got {shown(value)}")
    return float(value)


def flag(owner: str, what: str, value: Any) -> bool:
    """`value` as a bool, if it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{_name(owner, what)} to be True or False, got {shown(value)}")
    return bool(value)


def text(owner: str, what: str, value: Any) -> str:
    """`value` as a str, if it is one."""
    if not isinstance(value, str):
        raise ValueError(f"{_name(owner, what)} to be a string, got {shown(value)}")
    return str(value)


def generator(
    owner: str, what: str, value: Any, kind: type[np.random.BitGenerator] = np.random.PCG64
) -> np.random.Generator:
    """The generator itself, or a new one of a kind for a seed."""
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(value, (np.random.Generator, np.random.BitGenerator)):
            return np.random.default_rng(value)
        if not isinstance(value, (bool, np.bool_, str)):
            return np.random.Generator(kind(value))
    raise ValueError(f"{_name(owner, what)} to be a numpy.random.Generator or a seed of at least 0, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in one line of an error, shortened if it is long."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def instance(owner: str, what: str, value: Any, kind: type) -> None:
    """A TypeError that names the setting, unless `value` is of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{_name(owner, what)} to be a {kind.__name__}, got {type(value).__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _name(owner: str, what: str) -> str:
    return f"{owner}: expected {what}" if owner else f"expected {what}"
