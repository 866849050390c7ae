"""The order of the numbers that a layer gets, where other frameworks have channels first.

Flatten makes rows in the order (h, w, c) here, and (c, h, w) in PyTorch and ONNX. Layers that look at each number by
itself keep that order, so what it is for a dense layer may have been decided several layers before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scratchnet import layers as book
from scratchnet.layers.base import Layer, Shape
from scratchnet.network import Network


def walk(net: Network) -> Iterator[tuple[Layer, Shape, Shape | None]]:
    """Each layer with the shape of its input, and, if Flatten made that from images, the shape of these; else None."""
    flattened: Shape | None = None
    shapes = net.output_shapes()
    for layer, input_shape in zip(net.layers, shapes, strict=False):
        if isinstance(layer, book.Flatten) and len(input_shape) == 3:  # what is flat stays in the order that it has
            flattened = input_shape
        yield layer, input_shape, flattened
        if isinstance(layer, book.Dense):
            flattened = None  # a dense layer's outputs are no pixels


def channels_first(rows: np.ndarray, flattened: Shape | None) -> np.ndarray:
    """Rows from the order (h, w, c) to (c, h, w); as they are if they are no pixels.

    Parameters
    ----------
    rows : (H*W*C, ...).
    flattened : (H, W, C) or None
    """
    if flattened is None:
        return rows
    return np.moveaxis(rows.reshape(*flattened, -1), 2, 0).reshape(rows.shape)


def channels_last(rows: np.ndarray, flattened: Shape | None) -> np.ndarray:
    """Reverses `channels_first`: rows (C*H*W, ...) from the order (c, h, w) to (h, w, c)."""
    if flattened is None:
        return rows
    H, W, C = flattened
    return np.moveaxis(rows.reshape(C, H, W, -1), 0, 2).reshape(rows.shape)
