"""A stage: layers that the mirror computes together, with the forward and the backward of a single layer.

A stage leaves in its layers what they would hold after a forward pass of their own. An array that it did not write is
left as a function (`Layer.remember_later`), which makes the array when somebody looks at it. So `Network.layers` and
`Network.steps` show the same arrays as on the other engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers import Layer


class Fused:
    """Layers that go together as one stage, with a layer's forward and backward.

    A subclass writes `forward_together` and `backward_together`.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers
        self.seen: list[Any] = []

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The last layer's output for the first one's input."""
        out = self.forward_together(x, training)
        self.seen = [layer.seen for layer in self.layers]
        return out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the first layer's input, from that for the last one's output."""
        if self.is_current() and self.goes_back_together():
            return self.backward_together(dout, need_dx)
        for layer in reversed(self.layers):
            dout = layer.backward(dout, need_dx or layer is not self.layers[0])  # type: ignore[assignment]
        return dout

    def is_current(self) -> bool:
        """Whether none of the layers has been called by itself since the last forward."""
        # Each forward of a layer makes a new `seen`, so it is the object that counts, and not what it says.
        return [id(seen) for seen in self.seen] == [id(layer.seen) for layer in self.layers]

    def goes_back_together(self) -> bool:
        """Whether there is a `backward_together` for what the last forward did."""
        return True

    def forward_together(self, x: np.ndarray, training: bool) -> np.ndarray:
        """As `forward`; leaves in the layers what their own forward passes would."""
        raise NotImplementedError

    def backward_together(self, dout: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """As `backward`, after a `forward_together`; fills the parameters' `grad`."""
        raise NotImplementedError
