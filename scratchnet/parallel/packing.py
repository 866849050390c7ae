"""What the shards of a batch make, in a few vectors: the gradients, and what layers keep beside their weights.

The running mean and variance of batch normalisation are such numbers. Each shard begins with those of the step before,
and moves them towards its own images. The weighted mean of what the shards end with is where the running numbers are
moved by the weighted mean of the shards' statistics: so they are added like the gradients.

Layers that follow each other share a vector, until it is long enough to be worth a message. The vectors begin at the
network's end, where the gradients come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from scratchnet.layers import Layer
from scratchnet.layers.base import Parameter, state_arrays
from scratchnet.network import Network

ENOUGH = 1 << 20  # bytes: at 10 Gbit/s 0.8 ms, some forty times a latency of 20 microseconds; not tuned


class Packing:
    """Where the gradients and the state of some layers lie in a vector.

    Parameters
    ----------
    layers : range
        The layers' places in the network.
    dtype : of the images, in which the gradients are computed.
    """

    def __init__(self, net: Network, layers: range, dtype: np.dtype) -> None:
        self.net, self.layers, self.grad_dtype = net, layers, dtype
        arrays = [array for number in layers for array in _made_by(net.layers[number])]
        ends = np.cumsum([0, *(array.size for array in arrays)]).tolist()
        self.size = ends[-1]
        self.dtype = np.result_type(dtype, *(a.dtype for n in layers for a in _state(net.layers[n]).values()))
        place = (slice(*pair) for pair in pairwise(ends))
        places = {number: [next(place) for _ in _made_by(net.layers[number])] for number in layers}
        self.places = {number: of_layer for number, of_layer in places.items() if of_layer}

    @property
    def nbytes(self) -> int:
        """Bytes of the vector."""
        return self.size * self.dtype.itemsize

    def parts(self, number: int, layer: Layer, share: float) -> Iterator[tuple[slice, np.ndarray]]:
        """What a shard's copy of a layer has made, and where it goes; nothing for a parameter without a gradient.

        Its gradients carry the shard's share of the batch already; the state gets it here.
        """
        arrays = [p.grad for p in layer.parameters()] + [array * share for array in _state(layer).values()]
        for place, array in zip(self.places[number], arrays, strict=True):
            if array is not None:
                yield place, array.reshape(-1)

    def parameters(self) -> Iterator[tuple[slice, Parameter]]:
        """The parameters of the layers, each with the place of its gradient."""
        for number, places in self.places.items():
            yield from zip(places, self.net.layers[number].parameters(), strict=False)

    def set_gradients(self, vector: np.ndarray) -> None:
        """Give the network the sums: its gradients are then parts of the vector."""
        for place, p in self.parameters():
            p.grad = vector[place].reshape(p.value.shape).astype(self.grad_dtype, copy=False)

    def set_state(self, vector: np.ndarray) -> None:
        """Set the state's arrays to a copy of what the vector has for them."""
        for number, places in self.places.items():
            layer = self.net.layers[number]
            held = _state(layer)
            found = zip(held.items(), places[len(places) - len(held) :], strict=True)
            layer.set_state({name: vector[p].reshape(a.shape).astype(a.dtype) for (name, a), p in found})


def packings(net: Network, dtype: np.dtype, enough: int = ENOUGH) -> list[Packing]:
    """The vectors of a network, from its end to its beginning.

    Raises ValueError if a layer keeps whole numbers: a mean of these is none.
    """
    counts = [name for name, array in state_arrays(net.state()).items() if array.dtype.kind != "f"]
    if counts:
        raise ValueError(
            f"{net.name}: {counts[0]} holds whole numbers, of which the shards have no mean; train without shards"
        )
    found, end = [], len(net.layers)
    for begin in reversed(range(end)):
        packing = Packing(net, range(begin, end), dtype)
        if packing.nbytes >= enough or (begin == 0 and packing.size):
            found.append(packing)
            end = begin
    return found


def _state(layer: Layer) -> dict[str, np.ndarray]:
    return state_arrays(layer.state())


def _made_by(layer: Layer) -> list[np.ndarray]:
    """Arrays of the shapes that a layer's gradients and state have."""
    return [p.value for p in layer.parameters()] + list(_state(layer).values())
