"""The book's own source for a stage, and which of its lines makes which array."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

from scratchnet.explorer.kinds import kind_of

HERE = Path(__file__).parent.parent.parent


def source_of(layer: Any, direction: str) -> dict[str, Any]:
    """The function that computes a stage: its lines without the docstring, and the line that makes each array.

    Returns
    -------
    dict
        "title", "file" (from the project's folder), "path" (where it is on this machine), "lines": (number, text) of
        each line, and "marks": the number of a line for the name of an array. Of a layer that the explorer does not
        know it is the layer's own method, without marks. "elsewhere" has the same of arrays that other functions make.
    """
    kind = kind_of(layer)
    source = _described(getattr(kind, direction) if kind else getattr(type(layer), direction))
    lines, marks = source["lines"], source["marks"]
    for name, text in (kind.lines if kind else {}).items():
        if name.startswith("d") != (direction == "backward"):
            continue
        found = [number for number, line in lines if text in line]
        if found:
            marks[name] = found[-1] if name == "dx" else found[0]  # the one for need_dx comes first
    source["elsewhere"] = {}
    for name, (function, text) in (kind.elsewhere if kind and direction == "forward" else {}).items():
        other = source["elsewhere"][name] = _described(function)
        other["marks"][name] = next(number for number, line in other["lines"] if text in line)
    return source


def _described(function: Any) -> dict[str, Any]:
    title, path, lines = read(function)
    file = path.relative_to(HERE) if path.is_relative_to(HERE) else path
    return {"title": title, "file": file.as_posix(), "path": str(path), "lines": lines, "marks": {}}


@lru_cache
def read(function: Any) -> tuple[str, Path, list[tuple[int, str]]]:
    """A function's name, its file, and its lines with their numbers, without its docstring."""
    try:
        lines, first = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function) or "")
    except (OSError, TypeError):  # typed into an interpreter
        return function.__qualname__, Path(function.__module__), [(1, "(its source is in no file)")]
    indent = len(lines[0]) - len(lines[0].lstrip())
    body = ast.parse(textwrap.dedent("".join(lines))).body[0].body  # type: ignore[attr-defined]
    docstring = body[0] if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else None
    left_out = range(docstring.lineno, (docstring.end_lineno or 0) + 1) if docstring else range(0)
    kept = [
        (first + number, line[indent:].rstrip() if line.strip() else "")
        for number, line in enumerate(lines)
        if number + 1 not in left_out
    ]
    return function.__qualname__, path, kept
