"""What `scratchnet step` shows: one digit's way through a network and back, a stage at a time.

`walk` runs `Network.steps` to its end and keeps every stage. `run_again` runs one stage under pdb. The functions after
them make what a stage shows: its math, a table of its arrays, two pictures and the notes beside them. `as_text` puts
all of it on a page of 80 x 23 characters. `terminal.py` shows the same in the terminal, with colours and keys.
"""

from __future__ import annotations

import pdb
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from scratchnet.layers.base import snapshot
from scratchnet.loss import softmax, softmax_cross_entropy
from scratchnet.network import Loss, Network, Step
from scratchnet.tables import table

WIDTH = 80
SIDE = 28  # pixels along a side of a picture, which is 28 characters wide and 14 lines high
BARS = 10  # a vector of up to 10 numbers is drawn as bars, a longer one as pixels


class Stage(NamedTuple):
    """One stage of the walk: the step that `Network.steps` yielded, and what is needed to show it and run it again."""

    number: int  # from 1 to total
    total: int
    step: Step
    forward: Step  # the forward step of the same layer: `step` itself, or the one that it reverses
    labels: np.ndarray  # (1,)
    net: Network
    state: dict[str, Any]  # the network's state before this stage, random generators included
    training: bool = True  # whether dropout is on

    @property
    def name(self) -> str:
        return f"{self.step.layer.name} {self.step.direction}"


def walk(net: Network, x: np.ndarray, labels: np.ndarray, training: bool = True) -> list[Stage]:
    """Every stage of backprop for one digit x (1, H, W, C) with its label (1,); in training, dropout is on."""
    running = net.steps(x, labels, training)
    steps, states = [], []
    while True:
        before = snapshot(net.state())
        step = next(running, None)
        if step is None:
            break
        steps.append(step)
        states.append(before)
    last = len(steps) - 1  # backward goes the other way: stage i of it reverses stage last - i
    return [
        Stage(i + 1, last + 1, step, steps[min(i, last - i)], labels, net, states[i], training)
        for i, step in enumerate(steps)
    ]


def run_again(stage: Stage) -> None:
    """Run the stage's own code once more under pdb, which stops at its first line.

    It starts from the same state as the first time, so dropout draws the same mask again.
    """
    debugger = pdb.Pdb(nosigint=True)  # else pdb would still handle Ctrl-C after it has ended
    layer, given = stage.step.layer, stage.step.input
    state = snapshot(stage.net.state())
    stage.net.set_state(stage.state)
    try:
        if isinstance(layer, Loss):
            debugger.runcall(softmax_cross_entropy, stage.forward.input, stage.labels)
        elif stage.step.direction == "forward":
            debugger.runcall(layer.forward, given, stage.training)
        else:
            debugger.runcall(layer.backward, given)
    finally:
        stage.net.set_state(state)


# ---------------------------------------------------------------- what a stage says


def describe(stage: Stage) -> str:
    """The call that makes the layer (the loss has none), and the math of this stage, at most 80 characters wide."""
    layer = stage.step.layer
    made = [] if isinstance(layer, Loss) else textwrap.wrap(repr(layer), WIDTH)
    return "\n".join([*made, in_rows(math(stage.step))])


def math(step: Step) -> list[str]:
    """The formulas of this step; the one for db only if there are biases."""
    layer = type(step.layer)
    formulas = vars(layer).get("formulas")  # not inherited: a subclass may compute something else
    if formulas is None:
        return [f"(the math of {layer.__name__} is in {layer.__module__})"]
    lines: list[str] = getattr(formulas, step.direction)
    return [line for line in lines if not line.startswith("db") or "db" in arrays(step)]


def arrays(step: Step) -> dict[str, Any]:
    """The step's arrays by their names in the math: input, output, and the gradients of parameters."""
    names = {"forward": ("x", "out"), "backward": ("dout", "dx")}[step.direction]
    if isinstance(step.layer, Loss):
        names = {"forward": ("logits z", "loss"), "backward": ("dloss", "dlogits")}[step.direction]
    grads = {"d" + name.split(".")[-1]: grad for name, grad in step.grads.items()}
    return {names[0]: step.input, names[1]: step.output, **grads}


def array_table(stage: Stage) -> str:
    """A table of the arrays: name, shape, and the smallest, mean and largest number."""
    head, _, *lines = table(*array_rows(stage.step)).splitlines()
    return "\n".join([head, *lines])


def array_rows(step: Step) -> tuple[list[str], list[list[str]]]:
    """The names of the columns of that table, and its rows."""
    rows = [
        [name, str(np.shape(array)), *(f"{f(array):>10.3g}" for f in (np.min, np.mean, np.max))]
        for name, array in arrays(step).items()
    ]
    return ["array", "shape", *(f"{name:>10}" for name in ("min", "mean", "max"))], rows


def in_rows(formulas: list[str]) -> str:
    """The formulas side by side, in as many rows of at most 80 characters as they need."""
    rows = [formulas[0]]
    for formula in formulas[1:]:
        if len(rows[-1]) + len(formula) + 3 > WIDTH:
            rows.append(formula)
        else:
            rows[-1] += f"   {formula}"
    return "\n".join(rows)


# ---------------------------------------------------------------- what a stage draws


class Picture(NamedTuple):
    """An array drawn in 28 x 14 characters: as bars, or as pixels, which can be shown with colours or without."""

    notes: list[str]  # the array's name, the channel, the range of its numbers
    bars: list[str]
    pixels: np.ndarray  # (28, 28), from -1 to 1; empty where there are bars
    signed: bool  # whether there are negative numbers in it

    def lines(self) -> list[str]:
        return self.bars or in_characters(self.pixels, self.signed)


def pictures(stage: Stage, turn: int = 0) -> tuple[Picture, Picture]:
    """The stage's input and output. `turn` is how many channels after the strongest one to show."""
    (left, x), (right, out) = drawn_arrays(stage).items()
    label, strongest = int(stage.labels[0]), strongest_channel(out)
    alike = np.shape(x)[-1] == np.shape(out)[-1]  # then both sides show the same channel
    first = strongest if alike else strongest_channel(x)
    return draw(left, x, first + turn, label), draw(right, out, strongest + turn, label)


def drawn_arrays(stage: Stage) -> dict[str, np.ndarray]:
    """The two arrays to draw. The loss shows its probabilities, and the last stage the digit beside its gradient."""
    given, made = list(arrays(stage.step).items())[:2]
    if isinstance(stage.step.layer, Loss):
        probabilities = ("p", softmax(stage.forward.input))
        return dict([given, probabilities] if stage.step.direction == "forward" else [probabilities, made])
    if stage.number == stage.total:
        given = ("x, the digit", stage.forward.input)
    return dict([given, made])


def strongest_channel(array: np.ndarray) -> int:
    """The channel of images (N, H, W, C) with the largest absolute values; 0 for a vector."""
    return int(np.abs(array).mean(axis=(0, 1, 2)).argmax()) if array.ndim == 4 else 0


def draw(name: str, array: np.ndarray, channel: int, label: int) -> Picture:
    """One channel of an image (1, H, W, C), or a vector (1, K): up to 10 numbers as bars, more as rows of pixels."""
    values = array[0]
    if values.ndim == 1 and len(values) <= BARS:
        return Picture([name, f"> marks the label, {label}"], bars(values, label), np.empty((0, 0)), False)
    if values.ndim == 1:
        shown = values[: SIDE * SIDE]
        image = np.pad(shown, (0, SIDE * SIDE - len(shown))).reshape(SIDE, SIDE)
        what = [f"{len(shown)} of {len(values):,} numbers", f"{SIDE} a row"]
    else:
        H, W, C = values.shape
        skip = -(-max(H, W) // SIDE)  # a large image shows every 2nd or 3rd pixel
        image = values[::skip, ::skip, channel % C]
        thinned = [f"shown: {len(image)} x {len(image[0])}"] if skip > 1 else []
        what = [f"channel {channel % C} of {C}", f"{H} x {W} pixels", *thinned]
    lowest, highest = image.min(), image.max()
    return Picture([name, *what, f"{lowest:.3g} to {highest:.3g}"], [], to_pixels(image), bool(lowest < 0))


def to_pixels(image: np.ndarray) -> np.ndarray:
    """An image (H, W) of at most 28 x 28, scaled to -1 to 1, on 28 x 28 pixels; small images are enlarged."""
    enlarged = np.kron(image, np.ones((SIDE // max(image.shape),) * 2))
    pixels = np.zeros((SIDE, SIDE))
    pixels[: enlarged.shape[0], : enlarged.shape[1]] = enlarged / (np.abs(image).max() or 1)
    return pixels


def in_characters(pixels: np.ndarray, signed: bool) -> list[str]:
    """Pixels (28, 28) as 14 lines of 28 characters; each shows the stronger of two pixels, one above the other."""
    upper, lower = pixels[0::2], pixels[1::2]
    values = np.where(np.abs(upper) >= np.abs(lower), upper, lower)
    if signed:  # - and = are negative, + and # positive: no colour is needed
        levels = np.digitize(values, [-0.4, -0.05, 0.05, 0.4])
        return ["".join("=- +#"[level] for level in row) for row in levels]
    shades = " .:-=+*#%@"
    levels = np.minimum(values * len(shades), len(shades) - 1).astype(int)
    return ["".join(shades[level] for level in row) for row in levels]


def bars(values: np.ndarray, label: int) -> list[str]:
    """A bar for each number, in lines of 28 characters; bars of negative numbers go to the left of a middle line."""
    scale = np.abs(values).max() or 1
    lines = []
    for k, value in enumerate(values):
        if values.min() < 0:
            bar = "#" * round(7 * abs(value) / scale)
            bar = f"{bar:>7}|{'':7}" if value < 0 else f"{'':7}|{bar:7}"
        else:
            bar = "#" * round(15 * value / scale)
        lines.append(f"{'>' if k == label else ' '}{k} {bar:15} {value:>9.3g}")
    return lines


def as_text(stage: Stage, turn: int = 0) -> str:
    """The whole stage in plain characters, at most 80 wide."""
    left, right = pictures(stage, turn)
    rows = zip_longest(left.lines(), right.lines(), notes(left, right, SIGNS), fillvalue="")
    drawn = [f"{a:{SIDE}}|{b:{SIDE}}| {note}".rstrip() for a, b, note in rows]
    return "\n".join(
        [f"stage {stage.number} of {stage.total}: {stage.name}", describe(stage), array_table(stage), *drawn]
    )


SIGNS = ["- or = negative", "+ or # positive"]


def notes(left: Picture, right: Picture, signs: Sequence[str]) -> list[str]:
    """The lines beside the pictures, at most 21 wide: what these show, and how to read signs if there are any."""
    lines = ["left: " + left.notes[0], *left.notes[1:], "", "right: " + right.notes[0], *right.notes[1:], ""]
    return [*lines, *signs] if left.signed or right.signed else lines
