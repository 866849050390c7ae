"""Which kernels a network runs: one training step, with every choice of `choose.py` recorded.

A copy of the network does the step, and the rules of `choose.py` record what they answer. Nothing is worked out a
second time for the report, so the table shows what really runs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.fast.choose import Choice, recorded
from scratchnet.fast.register.width import REGISTER_BITS
from scratchnet.layers.base import positive
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.tables import table

HEADER = ["layer", "computes", "way", "multiply-adds", "why"]


def explain(net: Network, batch_size: int = 128) -> str:
    """A table of the kernels that one training step of a network runs; see `scratchnet.explain`."""
    positive("explain", "batch_size", batch_size)
    net = copy.deepcopy(net)  # its gradients and its random generators stay as they are
    x, labels, data = _batch(net, batch_size)
    rows: list[list[str]] = []
    stages = ops.stages(net.layers)
    given = x
    for stage in stages:
        with recorded() as choices:
            given = stage.forward(given, training=True)
        rows += _rows(stage, "forward", choices)
    dout = softmax_cross_entropy(given, labels)[1]
    for stage in reversed(stages):
        with recorded() as choices:
            dout = stage.backward(dout, need_dx=stage is not stages[0])
        rows += _rows(stage, "backward", choices)
    headline = f"{net.name}, a training step of {batch_size} {data}, registers of {REGISTER_BITS} bits"
    return (
        f"{headline}\n{table(HEADER, rows)}\n"
        "Multiply-adds as a share of those that the definition has. More than 100% is padding, which fills up a tile."
    )


def _batch(net: Network, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Images, labels and their kind: digits where they fit, since the zeros in a gradient depend on the data."""
    from scratchnet.data import load

    shape, classes = net.output_shapes()[0], net.output_shapes()[-1][-1]
    digits, _ = load("sample")
    if shape == digits.images.shape[1:] and classes > digits.labels.max():
        chosen = np.arange(size) % len(digits)
        return digits.images[chosen], digits.labels[chosen], "digits"
    rng = np.random.default_rng(0)
    return rng.random((size, *shape), np.float32), rng.integers(0, classes, size), "random images"


def _rows(stage: Any, direction: str, choices: list[Choice]) -> list[list[str]]:
    """The table's rows for one pass of a stage."""
    name = "+".join(layer.name for layer in getattr(stage, "layers", [stage]))
    if not choices:
        return [[name, direction, "one pass", "", ""]]
    return [[name, c.computes, c.way, f"{c.done / max(1, c.defined):4.0%} of {c.defined:,}", c.why] for c in choices]
