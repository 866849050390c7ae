"""Tables for the terminal, shared by the commands and reports."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], total: bool = False) -> str:
    """Rows under a header, in columns: numbers to the right, with commas between thousands; the rest to the left.

    With `total`, a line separates the last row from the others.
    """
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    numeric = [bool(rows) and isinstance(rows[0][i], (int, float)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        places = zip(row, widths, numeric, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in places).rstrip()

    rule = "  ".join("-" * width for width in widths)
    lines = [line(header), rule, *map(line, cells)]
    if total:
        lines.insert(-1, rule)
    return "\n".join(lines)


def beside(left: str, right: str) -> str:
    """Two texts beside each other, each line of the left one filled to the same width."""
    one, other = left.splitlines(), right.splitlines()
    width = max(map(len, one))
    return "\n".join(f"{a:{width}}  {b}".rstrip() for a, b in zip_longest(one, other, fillvalue=""))
