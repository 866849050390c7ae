"""All that the shards of a batch make, in one vector: the gradients, and what layers keep beside their weights.

The running mean and variance of batch normalisation are such numbers. Each shard begins with those of the step before,
and moves them towards its own images. The weighted mean of what the shards end with is where the running numbers are
moved by the weighted mean of the shards' statistics: so they are added like the gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet.layers.base import state_arrays
from scratchnet.network import Network


class Packing:
    """Where the gradients and the state of a network lie in a vector.

    Parameters
    ----------
    net : Network
    dtype : of the images, in which the gradients are computed.

    Raises
    ------
    ValueError
        If a layer keeps whole numbers: a mean of these is none.
    """

    def __init__(self, net: Network, dtype: np.dtype) -> None:
        self.net, self.grad_dtype = net, dtype
        self.parameters = net.parameters()
        state = state_arrays(net.state())
        counts = [name for name, array in state.items() if array.dtype.kind != "f"]
        if counts:
            raise ValueError(
                f"{net.name}: {counts[0]} holds whole numbers, of which the shards have no mean; train without shards"
            )
        self.names = list(state)
        shapes = [p.value.shape for p in self.parameters] + [state[name].shape for name in self.names]
        ends = np.cumsum([0, *(np.prod(shape, dtype=int) for shape in shapes)]).tolist()
        self.places = [slice(*ends[i : i + 2]) for i in range(len(shapes))]
        self.size = ends[-1]
        self.dtype = np.result_type(dtype, *(state[name].dtype for name in self.names))

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the state's arrays, for `Network.set_state`."""
        state = state_arrays(self.net.state())
        return {name: state[name].copy() for name in self.names}

    def pack(self, vector: np.ndarray, share: float, add: bool) -> None:
        """Write what a shard has made to the vector, or add it.

        Its gradients carry its share of the batch already; the state gets it here.
        """
        state = state_arrays(self.net.state())
        arrays: list[Any] = [p.grad for p in self.parameters] + [state[name] * share for name in self.names]
        for place, array in zip(self.places, arrays, strict=True):
            if add:
                vector[place] += array.reshape(-1)
            else:
                vector[place] = array.reshape(-1)

    def unpack(self, vector: np.ndarray) -> None:
        """Give the network the sums: its gradients are then parts of the vector, and its state is a copy."""
        for p, place in zip(self.parameters, self.places, strict=False):
            p.grad = vector[place].reshape(p.value.shape).astype(self.grad_dtype, copy=False)
        self.set_state(vector)

    def set_state(self, vector: np.ndarray) -> None:
        """Set the state's arrays to a copy of what the vector has for them."""
        places = iter(self.places[len(self.parameters) :])
        for name, held in state_arrays(self.net.state()).items():
            self.net.set_state({name: vector[next(places)].reshape(held.shape).astype(held.dtype)})
