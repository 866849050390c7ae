"""What a notebook shows of a network, a step of backprop and a gradient check: tables in HTML.

Text from outside, such as a network's name, is escaped. No colours are set, so that the notebook's own hold, light or
dark, and nothing needs JavaScript.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from scratchnet.show.stages import array_rows, math

if TYPE_CHECKING:
    from scratchnet.gradcheck import Report
    from scratchnet.network import Network, Step

LEFT, RIGHT, TOTAL = "text-align: left", "text-align: right", "border-top: 1px solid"


def network_html(net: Network) -> str | None:
    """The summary of a network as a table; None, for the plain text, as long as its input's shape is not known."""
    if net.input_shape is None:
        return None
    title, header, rows = net.summary_rows()
    return html_table(title, header, rows, total=True)


def step_html(step: Step) -> str:
    """A stage of backprop: its math, and the shape, the smallest, mean and largest number of each array."""
    lines = "<br>".join(map(escape, math(step)))
    table = html_table(f"{step.layer.name} {step.direction}", *array_rows(step))
    return f"{table}\n<p><code>{lines}</code></p>"


def report_html(report: Report) -> str:
    """The report of `gradcheck`: what is wrong is bold."""
    table = html_table(report.outcome(), *report.rows(), bold="WRONG")
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes())
    return f"{table}\n<ul>{notes}</ul>" if notes else table


def html_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], total: bool = False, bold: str = ""
) -> str:
    """A table under its title: the first column to the left, the others to the right; commas between thousands.

    With `total`, a line separates the last row from the others. Cells that hold the text `bold` are in bold type.
    """
    lines = [row_html("th", header, "")]
    for number, row in enumerate(rows, 1):
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        lines.append(row_html("td", cells, TOTAL if total and number == len(rows) else "", bold))
    caption = f'<caption style="{LEFT}; color: inherit">{escape(title)}</caption>'
    return "\n".join(['<table style="color: inherit">', caption, *lines, "</table>"])


def row_html(tag: str, cells: Sequence[str], style: str, bold: str = "") -> str:
    """One row of a table."""
    parts = []
    for place, cell in enumerate(cells):
        text = f"<b>{escape(cell)}</b>" if bold and cell == bold else escape(cell)
        parts.append(f'<{tag} style="{"; ".join(filter(None, [RIGHT if place else LEFT, style]))}">{text}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"
