"""What the lessons use to show something: figures, which go to `lessons/output/`, and the library's own code.

A lesson runs as it is (`python lessons/01_look_at_the_data.py`), cell by cell in an editor that knows `# %%`, and as a
page of the documentation. `keep`, `movie` and `code` work in all three: a script says where a figure is, a notebook and
a page show it. The same holds for code that answers an exercise.
"""

from __future__ import annotations

import ast
import html
import inspect
import io
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Rectangle

import scratchnet as sn
from scratchnet.writing import written_atomically

OUTPUT = Path(__file__).parent / "output"

# A page of the documentation sets this. It takes a title and the code that the page is to fold under it.
fold: Callable[[str, str], None] | None = None

# ---------------------------------------------------------------- figures


def keep(figure: Figure, name: str) -> None:
    """Write a figure to lessons/output/NAME.png, and show it if this runs in a notebook."""
    say_where(sn.plots.save_figure(figure, OUTPUT / f"{name}.png"))


def say_where(path: Path) -> None:
    print(f"figure: lessons/output/{path.name}")
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(path))


def movie(
    name: str,
    steps: Sequence,
    draw: Callable[[FigureBase, object], None],
    width: float,
    height: float,
    seconds: float = 2.0,
) -> None:
    """Show a movement: lessons/output/NAME.gif moves, and NAME.png has all of its steps, in two columns.

    `draw(part, step)` draws a step on a figure, or on a part of one, of this width and height in inches. Each step is
    shown for some seconds. The GIF runs three times, and stays on the last step: nothing moves for ever beside a text.
    """
    frames = []
    for step in steps:
        frame = Figure(figsize=(width, height), layout="constrained")
        draw(frame, step)
        drawn = io.BytesIO()
        frame.savefig(drawn, dpi=150, format="png")
        frames.append(PIL.Image.open(drawn).convert("L").quantize(16))  # grey, and few tones: a small file
    times = [round(1000 * seconds)] * (len(frames) - 1) + [round(2500 * seconds)]
    with written_atomically(OUTPUT / f"{name}.gif") as partial:
        frames[0].save(partial, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=2)
    say_where(OUTPUT / f"{name}.gif")

    rows = -(-len(frames) // 2)
    sheet = Figure(figsize=(2 * width, rows * height), layout="constrained")
    for part, step in zip(sheet.subfigures(rows, 2).flat, steps, strict=False):
        draw(part, step)
    keep(sheet, name)


# ---------------------------------------------------------------- code


def code(*functions: Callable, exercise: str = "") -> None:
    """Print the source of the library's functions, without their docstrings.

    If they answer an exercise, give its number: a page and a notebook fold them, and a script says only where they are.
    """
    sources = "\n\n".join(source(function) for function in functions)
    title = f"The library's own code for exercise {exercise}: open it when your answer passes"
    if not exercise:
        print(sources)
    elif fold is not None:
        fold(title, sources)
    elif "ipykernel" in sys.modules:
        from IPython.display import HTML, display

        display(HTML(f"<details><summary>{title}</summary><pre>{html.escape(sources)}</pre></details>"))
    else:
        places = "; ".join(place(function) for function in functions)
        print(f"The library's own code for exercise {exercise}: {places}. Look at it when your answer passes.")


def place(function: Callable) -> str:
    """The file of a function, from the project's folder, and its first line."""
    function = getattr(function, "py_func", function)  # a compiled kernel's Python source
    return f"{function.__module__.replace('.', '/')}.py, line {inspect.getsourcelines(function)[1]}"


def source(function: Callable) -> str:
    """Where a function is, and its source without the docstring."""
    function = getattr(function, "py_func", function)  # a compiled kernel's Python source
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    definition = next(node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.FunctionDef))
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join([f"# {place(function)}", *lines])


# ---------------------------------------------------------------- drawing


def figure(rows: int = 1, columns: int = 1, width: float = 8, height: float = 3.6, **options):
    """A figure that needs no window, and its axes; `options` go to matplotlib's `subplots`."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, **options)


def numbers(axes, matrix, title: str = "", form: str = "{:g}", shade=None, size: float = 10) -> None:
    """Draw a small matrix as a table of numbers, or of texts with the form "{}".

    `shade`, of its shape, sets how dark each field is, from 0 to 1; `size` is the size of the numbers, in points.
    """
    rows, columns = matrix.shape
    shade = np.zeros(matrix.shape) if shade is None else shade
    axes.imshow(shade, cmap="Greys", vmin=0, vmax=2.5)  # light enough for black text
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, form.format(value), ha="center", va="center", fontsize=size)
    axes.set(xticks=[i - 0.5 for i in range(1, columns)], yticks=[i - 0.5 for i in range(1, rows)])
    axes.grid(color="0.6")
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.set_title(title, fontsize=size + 1)


def products(axes, image, kernel, place: tuple[int, int], title: str = "", gap: int = 1, size: float = 10) -> None:
    """Draw an image with a kernel that lies on it, and the product in each field that it covers.

    `place` is where the kernel's upper left number lies. A `gap` of 2 lays its numbers on every second pixel.
    """
    texts, shade = np.array([[f"{value:g}" for value in row] for row in image], object), np.zeros(image.shape)
    for (kh, kw), value in np.ndenumerate(kernel):
        pixel = place[0] + gap * kh, place[1] + gap * kw
        texts[pixel] += f"*{value:g}"
        shade[pixel] = 0.6
    numbers(axes, texts, title, "{}", shade, size)


def put(values, shape: tuple[int, int], place: tuple[int, int]) -> np.ndarray:
    """A matrix of this shape with `values` at a place, and 0 elsewhere."""
    matrix = np.zeros(shape)
    matrix[place[0] :, place[1] :][: values.shape[0], : values.shape[1]] = values
    return matrix


Edge = tuple[str, np.ndarray, np.ndarray]  # the name of a matrix, the matrix, and its gradient


def there_and_back(edges: Sequence[Edge], operations: Sequence[tuple[str, Sequence[Edge]]]) -> Figure:
    """Draw a chain of operations with its numbers: forward goes down on the left, backward comes up on the right.

    `edges` are the matrices before, between and after the operations. An operation is its name and its weights.
    """
    cell, gap, box = 0.32, 0.44, 0.4  # inches, as is everything here
    width, height = 5.0, sum(len(matrix) for _, matrix, _ in edges) * cell + len(operations) * (2 * gap + box) + 0.4
    drawn = Figure(figsize=(width, height))
    canvas = drawn.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    canvas.axis("off")

    def table(matrix: np.ndarray, title: str, middle: float, top: float, shade: float) -> None:
        """Draw a matrix below `top`."""
        rows, columns = (cell * size for size in matrix.shape)
        place = (middle - columns / 2) / width, 1 - (top + rows) / height, columns / width, rows / height
        numbers(drawn.add_axes(place), matrix, title, shade=np.full(matrix.shape, shade))

    def arrow(start: tuple[float, float], end: tuple[float, float], style: str) -> None:
        canvas.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linestyle": style, "color": "black"})

    top = 0.3
    for (name, matrix, gradient), operation in zip(edges, [*operations, None], strict=True):
        table(matrix, name, 1.75, top, 0)
        table(gradient, f"d{name}", 3.25, top, 0.6)
        bottom = top + len(matrix) * cell
        if operation is None:
            break
        title, weights = operation
        upper, lower = bottom + gap / 2, bottom + gap / 2 + box
        canvas.add_patch(Rectangle((1.1, upper), 2.8, box, facecolor="0.93", edgecolor="black"))
        canvas.text(2.5, upper + box / 2, title, ha="center", va="center", fontsize=11)
        top = lower + 1.5 * gap
        for start, end in ((bottom, upper), (lower, top - 0.25)):
            arrow((1.75, start), (1.75, end), "-")
            arrow((3.25, end), (3.25, start), "--")
        beside = upper + box / 2 - sum(len(weight) * cell + 0.3 for _, weight, _ in weights) / 2
        for weight_name, weight, weight_gradient in weights:
            beside += 0.3
            table(weight, weight_name, 0.4, beside, 0)
            table(weight_gradient, f"d{weight_name}", 4.6, beside, 0.6)
            beside += len(weight) * cell
        if weights:
            arrow((0.72, upper + box / 2), (1.1, upper + box / 2), "-")
            arrow((3.9, upper + box / 2), (4.28, upper + box / 2), "--")
    return drawn
