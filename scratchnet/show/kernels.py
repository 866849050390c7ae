"""Which kernels a network runs: one training step, with every choice of the engine written down.

Nothing is worked out a second time for the report. A copy of the network does a step, and the rules of
`scratchnet/fast/choose.py` note what they answer. So the table says what runs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from scratchnet.data import load
from scratchnet.engine import current_engine, is_compiled, ops
from scratchnet.info import vector_width
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.settings import positive
from scratchnet.tables import table

HEADER = ["layer", "computes", "way", "multiply-adds", "why"]


def explain(net: Network, batch_size: int = 128) -> str:
    """Which kernels of the compiled engine a training step of a network runs, and why.

    Parameters
    ----------
    net : Network
        It is not changed: a copy does one step, on digits if it takes images of their shape, else on random images.
    batch_size : int

    Returns
    -------
    str
        A table with a row for each layer and pass: the method that was chosen, its multiply-adds as a share of those of
        the definition, and the reason. A share above 100 % is due to padding: rows and columns that fill up a tile.

    Raises
    ------
    ValueError
        If the engine in use is not compiled, or the shape of the network's input is not known.
    """
    if not is_compiled():
        raise ValueError(
            f"explain: expected a compiled engine, got {current_engine()}, on which each pass is one function in "
            "scratchnet/layers; choose another with sn.use_engine, --engine or SCRATCHNET_ENGINE"
        )
    positive("explain", "batch_size", batch_size)
    net = copy.deepcopy(net)  # its gradients and its random generators stay as they are
    x, labels, data = _batch(net, batch_size)
    rows: list[list[str]] = []
    stages = ops.stages(net.layers)
    given = x
    for stage in stages:
        with ops.recorded() as choices:
            given = stage.forward(given, training=True)
        rows += _rows(stage, "forward", choices)
    dout = softmax_cross_entropy(given, labels)[1]
    for stage in reversed(stages):
        with ops.recorded() as choices:
            dout = stage.backward(dout, need_dx=stage is not stages[0])
        rows += _rows(stage, "backward", choices)
    return (
        f"{net.name}, a training step of {batch_size} {data}, registers of {vector_width()} bits\n"
        f"{table(HEADER, rows)}\n"
        "Multiply-adds as a share of those that the definition has. More than 100% is padding, which fills up a tile."
    )


def _batch(net: Network, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Images for the network and labels: digits where they fit, since how many zeros a gradient has depends on them."""
    shape, classes = net.output_shapes()[0], net.output_shapes()[-1][-1]
    digits, _ = load("sample")
    if shape == digits.images.shape[1:] and classes > digits.labels.max():
        chosen = np.arange(size) % len(digits)
        return digits.images[chosen], digits.labels[chosen], "digits"
    rng = np.random.default_rng(0)
    return rng.random((size, *shape), np.float32), rng.integers(0, classes, size), "random images"


def _rows(stage: Any, direction: str, choices: list[Any]) -> list[list[str]]:
    """The table's rows for one pass of a stage."""
    name = "+".join(layer.name for layer in getattr(stage, "layers", [stage]))
    if not choices:
        return [[name, direction, "one pass", "", ""]]
    return [[name, c.computes, c.way, f"{c.done / max(1, c.defined):4.0%} of {c.defined:,}", c.why] for c in choices]
