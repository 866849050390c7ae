"""Files that a user names: where they are, and one error for all that can be wrong with their content.

Whoever reads a file checks what it claims before believing it. `as_file` finds the file, `parse_json` reads its text,
and `check` compares the values with what a reader expects of them. Each raises `FileFault` with the file, the key,
what was expected and what came.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LARGEST = 2**63 - 1  # the largest whole number that arrays and compiled code can hold

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class FileFault(ValueError):
    """A file is not what it was taken for: damaged, of another format, or with claims that cannot be true."""


# ---------------------------------------------------------------- paths


def user_path(path: str | Path) -> Path:
    """A path as a user gave it, with ~ for the home folder. The shell replaces only a ~ that begins a word.

    A ~ that is no home folder (a file named ~draft) stays as it is.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises an error for ~draft)


def as_file(path: str | Path, expected: str) -> Path:
    """The path of an ordinary file, with ~ replaced.

    Raises
    ------
    FileNotFoundError
        If there is nothing of that name.
    FileFault
        If it is a folder or a device; `expected` is for the message: "a model file".
    """
    found = user_path(path)
    if found.is_file():
        return found
    if not found.exists():
        raise FileNotFoundError(f"{path}: no such file")
    raise FileFault(f"{path}: is {'a folder' if found.is_dir() else 'no ordinary file'}, expected {expected}")


# ---------------------------------------------------------------- JSON


class Kind(NamedTuple):
    """What a value has to be: in words, and as a test. An object may lack the key of a kind that is not required."""

    text: str
    fits: Callable[[Any], bool]
    required: bool = True


# A kind; or an object with at least these keys; or a list whose items are all of the one kind in it.
Expected = Kind | dict[str, Any] | list[Any]


def _is_number(value: Any) -> bool:
    return math.isfinite(value) if isinstance(value, float) else _is_whole(value, -LARGEST)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


TEXT = Kind("text", lambda value: isinstance(value, str))  # also a path whose bytes are no characters
NAME = Kind("text in UTF-8", _is_name)  # what can be printed
COUNT = Kind("a whole number of at least 0", lambda value: _is_whole(value, 0))
POSITIVE = Kind("a whole number of at least 1", lambda value: _is_whole(value, 1))
NUMBER = Kind("a number", lambda value: isinstance(value, float) or _is_number(value))
NOT_NEGATIVE = Kind("a finite number of at least 0", lambda value: _is_number(value) and value >= 0)
SHARE = Kind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
BELOW_ONE = Kind("a number of at least 0 and below 1", lambda value: _is_number(value) and 0 <= value < 1)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))


def one_of(*choices: Any) -> Kind:
    """One of these values."""
    return Kind(
        f"{'one of ' if len(choices) > 1 else ''}{', '.join(map(repr, choices))}",
        lambda value: any(value == choice and type(value) is type(choice) for choice in choices),
    )


def or_null(kind: Kind) -> Kind:
    """The same, or null."""
    return kind._replace(text=f"{kind.text}, or null", fits=lambda value: value is None or kind.fits(value))


def if_given(kind: Kind) -> Kind:
    """The same, for a key that may be missing."""
    return kind._replace(required=False)


def check(path: str | Path, value: Any, expected: Expected, key: str = "") -> None:
    """Raise FileFault, with the key of the first value that does not fit, unless a file's value is as expected.

    Parameters
    ----------
    path : the file, for the message.
    value : what `parse_json` returned, or a part of it.
    expected : Kind, dict or list
        A dict describes an object: its keys, and what is expected of each. A list of one entry describes a list.
    key : str
        Where in the file the value stands: "line 3", "network.layers[0]".
    """
    if isinstance(expected, Kind):
        if not expected.fits(value):
            raise FileFault(f"{path}: expected {key or 'the content'} to be {expected.text}, got {shown(value)}")
    elif isinstance(expected, list):
        check(path, value, Kind("a list", lambda held: isinstance(held, list)), key)
        for i, item in enumerate(value):
            check(path, item, expected[0], f"{key}[{i}]")
    else:
        check(path, value, OBJECT, key)
        for name, inner in expected.items():
            inner_key = f"{key}.{name}".lstrip(".")
            if name in value:
                check(path, value[name], inner, inner_key)
            elif not isinstance(inner, Kind) or inner.required:
                raise FileFault(f"{path}: expected {inner_key}, but there is none")


def shown(value: Any) -> str:
    """A value for a message, cut short if it is long or deep."""
    return _SHORT.repr(value)


def parse_json(path: str | Path, text: str | bytes, key: str = "") -> Any:
    """The value that a text of a file holds as JSON; FileFault if it holds none. `key` says where it stands."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also too many digits or levels
        raise FileFault(f"{path}: {f'{key} is ' if key else ''}damaged: expected JSON, got {error}") from None


def read_text(path: str | Path, expected: str) -> str:
    """The text of a file in UTF-8; errors as for `as_file`, and FileFault if it is no text."""
    content = as_file(path, expected).read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileFault(f"{path}: damaged: expected text in UTF-8, got {error}") from None
