"""Figures: what the data looks like, how training went, what the network gets wrong, and what it sees.

Every function returns a matplotlib Figure; `save_figure` writes it to a file. No figure depends on colour alone: lines
also differ by their dashes, and a wrong prediction is marked by a cross and a frame.
"""

from __future__ import annotations

import atexit
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet.data import Dataset
from scratchnet.layers.conv import Conv2D
from scratchnet.layers.depthwise import DepthwiseConv2D
from scratchnet.network import Network
from scratchnet.progress import progress_bar
from scratchnet.reading import user_path
from scratchnet.runs.metrics import History
from scratchnet.writing import written_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scratchnet.data.photographs import Reading

WRONG = "#b2182b"  # a dark red, which is dark in greyscale too
DASHES = ("-", "--", "-.", ":")
COLOURS = ("#0072b2", "#d55e00", "#000000", "#009e73")  # of Okabe and Ito, which colour-blind readers can tell apart


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as a PNG file; returns the path, with ~ replaced by the home folder."""
    path = user_path(path)
    with written_atomically(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
    return path


def training_curves(histories: Mapping[str, History]) -> Figure:
    """Loss of the training batches, and accuracy on the test set after each epoch, for one or more runs by name."""
    figure, (left, right) = _figure(1, 2, width=9, height=3.8)
    for i, (name, history) in enumerate(histories.items()):
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "linestyle": DASHES[i % len(DASHES)],
            "label": name,
        }
        steps = np.array([s["step"] for s in history.steps])
        left.plot(steps, _smooth(np.array([s["loss"] for s in history.steps])), **style)
        tested = [e for e in history.epochs if "test_accuracy" in e]
        right.plot([e["epoch"] for e in tested], [100 * e["test_accuracy"] for e in tested], marker="o", ms=4, **style)
    left.set(xlabel="step", ylabel="cross-entropy (nats)", title="Training loss, mean of 10 steps", yscale="log")
    test_sets = {e["test_set"] for history in histories.values() for e in history.epochs if "test_set" in e}
    right.set(
        xlabel="epoch", ylabel="accuracy (%)", title=f"Accuracy on {', '.join(sorted(test_sets)) or 'no test set'}"
    )
    epochs = max((e["epoch"] for history in histories.values() for e in history.epochs), default=1)
    right.set_xticks(range(1, epochs + 1, -(-epochs // 10)))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if histories:
            axes.legend()
    return figure


def digit_grid(data: Dataset, rows: int = 4, columns: int = 4) -> Figure:
    """The first rows x columns images with their labels."""

    def describe(axes: Axes, i: int) -> None:
        axes.set_title(f"Label: {data.class_name(data.labels[i])}", fontsize=_font(data))

    return _grid(data, rows, columns, describe)


def prediction_grid(data: Dataset, predicted: np.ndarray, title: str = "", rows: int = 4, columns: int = 4) -> Figure:
    """The first rows x columns images with label and predicted class (N,); wrong ones have a cross and a frame."""

    def describe(axes: Axes, i: int) -> None:
        right = data.labels[i] == predicted[i]
        label, answer = data.class_name(data.labels[i]), data.class_name(predicted[i])
        text = f"Label: {label}\nPredicted: {answer}{'' if right else '  ✗'}"
        axes.set_title(
            text, fontsize=_font(data), color="black" if right else WRONG, weight="normal" if right else "bold"
        )
        if not right:
            for spine in axes.spines.values():
                spine.set(visible=True, color=WRONG, linewidth=3)

    figure = _grid(data, rows, columns, describe, height_each=1.7)
    figure.suptitle(title, fontsize=11)
    return figure


def prediction(reading: Reading, answers: np.ndarray, names: Sequence[str], title: str = "") -> Figure:
    """What a network reads in a picture: where each digit was found, the image it got of it, and the probabilities.

    answers : (digits, classes), probabilities. names : of the classes.
    """
    count = len(reading.digits)
    figure, grid = _figure(count, 3, width=8, height=0.6 + 2.2 * count, squeeze=False)
    figure.suptitle(title, fontsize=11)
    for (picture, image, bars), digit, probabilities in zip(grid, reading.digits, answers, strict=True):
        picture.imshow(reading.picture, cmap="gray", vmin=0, vmax=255)
        corner = digit.columns.start, digit.rows.start
        size = digit.columns.stop - digit.columns.start, digit.rows.stop - digit.rows.start
        for colour, width in (("white", 4), ("black", 1.5)):  # seen on any picture
            picture.add_patch(_rectangle(corner, size, edgecolor=colour, linewidth=width))
        image.imshow(digit.image.squeeze(), cmap="gray", vmin=0, vmax=1)  # in its colours, if it has three channels
        for axes, text in ((picture, "The picture"), (image, "The network's input")):
            axes.set(xticks=[], yticks=[])
            axes.set_title(text, fontsize=9)
        likeliest = int(probabilities.argmax())
        colours = [COLOURS[0] if i == likeliest else "#999999" for i in range(len(names))]
        bars.barh(range(len(names)), probabilities, color=colours)
        bars.set(xlim=(0, 1), yticks=range(len(names)), yticklabels=names, xlabel="probability")
        bars.tick_params(labelsize=8)
        bars.invert_yaxis()
        bars.set_title(f"{names[likeliest]}, {probabilities[likeliest]:.1%}", fontsize=9)
    return figure


def confusion_matrix(data: Dataset, predicted: np.ndarray, name: str, classes: int | None = None) -> Figure:
    """How often the network `name` took each class (row) for each class (column), from its predictions (N,).

    `classes` is the number of classes; if not given, as many as the data and the predictions show.
    """
    classes = classes or max(data.class_count(), int(predicted.max(initial=-1)) + 1)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (data.labels, predicted), 1)
    figure, axes = _figure(1, 1, width=6, height=5.6)
    mistakes = counts * ~np.eye(classes, dtype=bool)
    axes.imshow(mistakes, cmap="Blues", vmin=0, vmax=max(mistakes.max() * 1.6, 1))
    for row, column in np.ndindex(classes, classes):
        if counts[row, column]:
            weight = "bold" if row == column else "normal"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=9, weight=weight)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    names = [data.class_name(k) for k in range(classes)]
    axes.set(xlabel="predicted", ylabel="label")
    axes.set_xticks(range(classes), names, rotation=0 if max(map(len, names)) < 3 else 90)
    axes.set_yticks(range(classes), names)
    axes.set_title(
        f"{name}: {accuracy:.2%} of {len(data):,} {data.name} right\n(bold: right; shaded: mistakes)", fontsize=11
    )
    return figure


def first_filters(net: Network) -> Figure:
    """The weights of the first convolution with a window, one picture a filter: white is positive, black negative.

    Raises ValueError if the network has no convolution.
    """
    layer = _first_convolution(net)
    if layer is None:
        raise ValueError(f"{net.name}: expected a convolution to draw, but it has none")
    KH, KW = layer.w.value.shape[:2]
    filters = layer.w.value[:, :, 0].reshape(KH, KW, -1).transpose(2, 0, 1)  # of the first channel
    scale = np.abs(filters).max()
    return _pictures(
        list(filters), f"{net.name}: the filters of {layer.name}, black -{scale:.2f} to white +{scale:.2f}", scale
    )


def _first_convolution(net: Network) -> Conv2D | DepthwiseConv2D | None:
    return next((layer for layer in net.layers if isinstance(layer, (Conv2D, DepthwiseConv2D))), None)


def feature_maps(net: Network, image: np.ndarray, most: int = 8) -> Figure:
    """One image (H, W, C) on its way through the network: the first `most` channels after each layer with pixels."""
    stages: list[tuple[str, np.ndarray]] = [("input", image)]
    x = image[None]
    for layer in net.layers:
        x = layer.forward(x)
        if x.ndim == 4:
            stages.append((layer.name, x[0]))
    columns = min(most, max(stage.shape[-1] for _, stage in stages))
    figure, grid = _figure(
        len(stages), columns, width=1.05 * columns + 1.3, height=1.08 * len(stages) + 0.5, squeeze=False
    )
    for row, (name, stage) in zip(grid, stages, strict=True):
        for channel, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            axes.axis("on" if channel < stage.shape[-1] else "off")
            if channel < stage.shape[-1]:
                axes.imshow(stage[..., channel], cmap="gray")
        H, W, C = stage.shape
        row[0].set_ylabel(f"{name}\n{H}x{W}x{C}", rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(f"{net.name}: the first {columns} channels after each layer", fontsize=11)
    return figure


def draw_all(
    folder: str | Path,
    train: Dataset,
    test: Dataset,
    nets: Sequence[Network],
    histories: Mapping[str, History],
    progress: bool = False,
) -> list[Path]:
    """Draw every figure of this file for trained networks, as PNG files in a folder; returns their paths.

    A network without convolutions has no figure of its filters.
    """
    folder = user_path(folder)
    paths = [
        save_figure(digit_grid(train), folder / "digits.png"),
        save_figure(training_curves(histories), folder / "training_curves.png"),
    ]
    for net in progress_bar(nets, "drawing", progress, unit=" networks"):
        predicted = net.predict(test.images).argmax(axis=1)
        shown, title = _some_with_mistakes(test.labels, predicted)
        figures = {
            "predictions": prediction_grid(test[shown], predicted[shown], f"{net.name}: {title}"),
            "confusion": confusion_matrix(test, predicted, net.name),
            "feature_maps": feature_maps(net, test.images[0]),
        }
        if _first_convolution(net) is not None:
            figures["filters"] = first_filters(net)
        paths += [save_figure(figure, folder / f"{net.name}_{what}.png") for what, figure in figures.items()]
    return paths


def _some_with_mistakes(
    labels: np.ndarray, predicted: np.ndarray, count: int = 16, mistakes: int = 3
) -> tuple[np.ndarray, str]:
    """Indices of `count` examples in ascending order, up to `mistakes` of them wrong, and a title that counts these.

    Mistakes are rare: the first 16 images would seldom show one.
    """
    wrong, right = np.flatnonzero(labels != predicted), np.flatnonzero(labels == predicted)
    shown = np.sort(np.concatenate([wrong[:mistakes], right[: count - len(wrong[:mistakes])]]))
    return shown, f"{len(wrong[:mistakes])} of its {len(wrong)} mistakes in {len(labels):,}"


# ---------------------------------------------------------------- drawing


def _figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure that opens no window: it needs no screen and does not change pyplot's state."""
    _give_matplotlib_a_folder()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _rectangle(corner: tuple[int, int], size: tuple[int, int], **options: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, *size, fill=False, **options)


def _give_matplotlib_a_folder() -> None:
    """Let matplotlib keep its settings in a temporary folder if the user has no home; before 3.11 it fails there."""
    try:
        Path.home()
    except RuntimeError:
        if "MPLCONFIGDIR" not in os.environ:
            folder = os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="scratchnet-matplotlib-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _font(data: Dataset) -> float:
    """The font size of titles over small pictures: smaller if classes have names."""
    longest = max((len(data.class_name(k)) for k in range(data.class_count())), default=1)
    return 11 if longest < 3 else 8


def _grid(data: Dataset, rows: int, columns: int, describe: Any, height_each: float = 1.45) -> Figure:
    figure, grid = _figure(rows, columns, width=1.5 * columns, height=height_each * rows, squeeze=False)
    for i, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        if i < len(data):
            colours = data.images.shape[-1] == 3
            axes.imshow(data.images[i] if colours else data.images[i, :, :, 0], cmap="gray_r", vmin=0, vmax=1)
            describe(axes, i)
        else:
            axes.axis("off")
    return figure


def _pictures(pictures: list[np.ndarray], title: str, scale: float) -> Figure:
    columns = min(8, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure, grid = _figure(rows, columns, width=max(1.0 * columns, 5.5), height=1.0 * rows + 0.6, squeeze=False)
    for i, axes in enumerate(grid.flat):
        axes.axis("off")
        if i < len(pictures):
            axes.imshow(pictures[i], cmap="gray", vmin=-scale, vmax=scale)
    figure.suptitle(title, fontsize=10)
    return figure


def _smooth(values: np.ndarray, width: int = 10) -> np.ndarray:
    """The moving mean of the last `width` values; of fewer at the start."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    first = np.maximum(np.arange(len(values)) - width + 1, 0)
    return (sums[1:] - sums[first]) / (np.arange(len(values)) - first + 1)
