"""A walk through a network as the page gets it: every stage with its arrays, as `Network.steps` yielded them.

A recording is a header, which JSON can hold, and one row of float32 numbers. In the header, an array is its shape and
where it begins in that row. An array that is longer than `LONGEST` is not in it: the weights of a dense layer have
millions of numbers. The page asks for single ones.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.explorer.kinds import Numbers, is_off, kind_of, loss_extras
from scratchnet.explorer.source import source_of
from scratchnet.explorer.sums import as_data, take_apart, total
from scratchnet.network import Loss, Network
from scratchnet.show.stages import Stage, arrays, math, walk

LONGEST = 120_000
HIDDEN = ("window",)  # used in sums, and nothing to look at


class Recording:
    """One digit's walk through a network, forward and backward.

    Attributes
    ----------
    stages : list of Stage
    arrays : list of dict
        Of each stage: its arrays by their names in the code, without the axis of the batch.
    numbers : list of dict
        Of each stage: what the numbers of its arrays are sums of; empty for a layer that is not known.
    sources : list of dict
        Of each stage: the function that computed it, see `source_of`.
    formulas : list of list of str
        Of each stage: its math.
    loss : float
    """

    def __init__(self, net: Network, x: np.ndarray, label: int, training: bool) -> None:
        self.label = label
        self.stages = walk(net, x, np.array([label]), training)
        self.loss = float(next(stage.step.output for stage in self.stages if isinstance(stage.step.layer, Loss)))
        extras: dict[int, dict[str, np.ndarray]] = {}
        self.arrays: list[dict[str, np.ndarray]] = []
        self.numbers: list[Numbers] = []
        self.sources: list[dict[str, Any]] = []
        self.formulas: list[list[str]] = []
        for stage in self.stages:
            layer = stage.step.layer
            if id(stage.forward) not in extras:  # after the walk, so that a layer has all that it keeps
                extras[id(stage.forward)] = _extras(stage)
            self.arrays.append(_arrays(stage) | extras[id(stage.forward)])
            kind = kind_of(layer)
            x_shape, out_shape = np.shape(stage.forward.input)[1:], np.shape(stage.forward.output)[1:]
            both = kind.numbers(layer, x_shape, out_shape) if kind else ({}, {})
            numbers = both[stage.step.direction == "backward"]
            self.numbers.append({name: number for name, number in numbers.items() if name in self.arrays[-1]})
            self.sources.append(source_of(layer, stage.step.direction))
            self.formulas.append(_formulas(stage))

    def explain(self, stage: int, array: str, index: Sequence[int], layer: int | None = None) -> dict[str, Any]:
        """One number of a stage, counted from 0: its value, and the sums that it is made of (none if not known).

        Raises
        ------
        ValueError
            If there is no such stage, array or number.
        """
        if not 0 <= stage < len(self.stages):
            raise ValueError(f"stage: expected one from 0 to {len(self.stages) - 1}, got {stage}")
        held = self.arrays[stage]
        if array not in held:
            raise ValueError(f"array: expected one of {', '.join(held)} at this stage, got {array!r}")
        shape = held[array].shape
        if len(index) != len(shape) or not all(0 <= k < size for k, size in zip(index, shape, strict=True)):
            raise ValueError(f"{array}: expected an index in its shape {shape}, got {tuple(index)}")
        value = {"value": float(f"{float(held[array][tuple(index)]):.9g}")}
        number = self.numbers[stage].get(array)
        if number is None:
            return value
        sums = take_apart(number, held, index, layer)
        return value | {"sums": sums, "total": total(sums), "named": number.named(index)}

    def header(self, row: Row) -> dict[str, Any]:
        """All that a page shows of the walk, with the arrays in `row`."""
        stages = []
        every = zip(self.stages, self.arrays, self.numbers, self.sources, self.formulas, strict=True)
        for stage, held, numbers, source, formulas in every:
            layer = stage.step.layer
            stages.append(
                {
                    "name": stage.name,
                    "layer": layer.name,
                    "kind": type(layer).__name__,
                    "direction": stage.step.direction,
                    "made": "" if isinstance(layer, Loss) else repr(layer),
                    "math": formulas,
                    "source": source,
                    "arrays": {name: row.add(array) for name, array in held.items()},
                    "named": {name: number.letters for name, number in numbers.items()},
                    "over": sorted({name for number in numbers.values() for part in number.sums for name in part.over}),
                    "shown": [*held] if isinstance(layer, Loss) else _shown(held, numbers),
                }
            )
        return {
            "stages": stages,
            "label": self.label,
            "loss": self.loss if np.isfinite(self.loss) else None,  # JSON has no other numbers
        }

    def packed(self) -> bytes:
        """The recording in bytes: the length of the header, the header, and the numbers, on a border of four bytes."""
        row = Row()
        return pack(self.header(row), row)

    def as_data(self) -> list[dict[str, Any]]:
        """What the numbers of each stage are sums of, for a page without Python."""
        return [{name: as_data(number) for name, number in numbers.items()} for numbers in self.numbers]


class Row:
    """Arrays one after the other, each once."""

    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        self.parts: list[np.ndarray] = []
        self.length = 0
        self._places: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """The shape of an array and where it begins; -1 if it is too long to be in the row."""
        key = array.__array_interface__["data"][0], array.shape  # the out of a stage is the x of the next
        known = self._places.get(key)
        if known is not None:
            return known
        place: dict[str, Any] = {"shape": array.shape, "at": self.length if array.size <= self.longest else -1}
        if place["at"] >= 0:
            self.parts.append(np.ascontiguousarray(array, np.float32).ravel())
            self.length += array.size
        self._places[key] = place
        return place

    def to_bytes(self) -> bytes:
        return b"".join(part.astype("<f4", copy=False).tobytes() for part in self.parts)


def pack(header: dict[str, Any], row: Row) -> bytes:
    """A header and a row of numbers in bytes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + row.to_bytes()


def _arrays(stage: Stage) -> dict[str, np.ndarray]:
    """The stage's arrays by name: what goes in and comes out, weights and their gradients."""
    held = {
        name.split()[-1] if name.startswith("logits") else name: array for name, array in arrays(stage.step).items()
    }
    layer = stage.step.layer
    if not isinstance(layer, Loss):
        names = ("x", "out") if stage.step.direction == "backward" else ()
        beside = dict(zip(names, (stage.forward.input, stage.forward.output), strict=False))
        held |= beside
    single = {name: _without_batch(array) for name, array in held.items() if not name.startswith(("dw", "db"))}
    grads = {name: array for name, array in held.items() if name not in single}
    # Copies: training changes weights in place, and this walk is to stay what it was.
    weights = {} if isinstance(layer, Loss) else {p.name.split(".")[-1]: p.value.copy() for p in layer.parameters()}
    order = ("x", "dout", "w", "b", "out", "dx", "dw", "db")
    every = single | grads | {name: value for name, value in weights.items() if name not in single}
    return {name: every[name] for name in (*[n for n in order if n in every], *[n for n in every if n not in order])}


def _formulas(stage: Stage) -> list[str]:
    if is_off(stage.step.layer):
        return ["out = x (no dropout)" if stage.step.direction == "forward" else "dx = dout (no dropout)"]
    return math(stage.step)


def _extras(stage: Stage) -> dict[str, np.ndarray]:
    layer, x = stage.step.layer, stage.forward.input
    if isinstance(layer, Loss):
        made = loss_extras(x, int(stage.labels[0]))
    else:
        kind = kind_of(layer)
        made = kind.extras(layer, x) if kind else {}
    return {name: _without_batch(array) for name, array in made.items()}


def _shown(held: dict[str, np.ndarray], numbers: Numbers) -> list[str]:
    """The arrays to look at: those that the stage makes, then those that they are made of; all of an unknown layer."""
    if not numbers:
        return list(held)
    used = {factor.array for number in numbers.values() for part in number.sums for factor in part.factors}
    return [*numbers, *(name for name in held if name in used and name not in numbers and name not in HIDDEN)]


def _without_batch(array: Any) -> np.ndarray:
    """An array without its first axis; a number as it is."""
    return np.asarray(array)[0] if np.ndim(array) else np.asarray(array)
