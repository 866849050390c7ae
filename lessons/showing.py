"""What the lessons use to show something: figures, which go to `lessons/output/`, and the library's own code.

A lesson runs as it is (`python lessons/01_look_at_the_data.py`), cell by cell in an editor that knows `# %%`, and as a
page of the documentation. `keep` works in all three: it writes the figure, says where, and shows it in a notebook.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

import scratchnet as sn

OUTPUT = Path(__file__).parent / "output"


def keep(figure: Figure, name: str) -> None:
    """Write a figure to lessons/output/NAME.png, and show it if this runs in a notebook."""
    path = sn.plots.save_figure(figure, OUTPUT / f"{name}.png")
    print(f"figure: lessons/output/{path.name}")
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(path))


def code(function: Callable) -> None:
    """Print the source of one of the library's functions, without its docstring."""
    function = getattr(function, "py_func", function)  # a compiled kernel's Python source
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    definition = next(node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.FunctionDef))
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    print(f"# {function.__module__.replace('.', '/')}.py, line {inspect.getsourcelines(function)[1]}")
    print("\n".join(lines))


def figure(rows: int = 1, columns: int = 1, width: float = 8, height: float = 3.6, **options):
    """A figure that needs no window, and its axes; `options` go to matplotlib's `subplots`."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, **options)


def numbers(axes, matrix, title: str = "", form: str = "{:g}", shade=None) -> None:
    """Draw a small matrix as a table of numbers; `shade`, of its shape, sets how dark each field is, from 0 to 1."""
    rows, columns = matrix.shape
    shade = 0 * matrix if shade is None else shade
    axes.imshow(shade, cmap="Greys", vmin=0, vmax=2.5)  # light enough for black text
    for (row, column), value in zip(((r, c) for r in range(rows) for c in range(columns)), matrix.flat, strict=True):
        axes.text(column, row, form.format(value), ha="center", va="center")
    axes.set(xticks=[i - 0.5 for i in range(1, columns)], yticks=[i - 0.5 for i in range(1, rows)])
    axes.grid(color="0.6")
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.set_title(title, fontsize=11)
