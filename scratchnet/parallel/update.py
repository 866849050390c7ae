"""The optimiser's step, divided among the ranks: each changes the weights of its own piece, and the pieces go round.

When the tree has been added, rank p has piece p of the gradient. To send the gradients round, and have every rank
change all weights, would take each of them as long as one process alone. So each changes those of its piece, and what
goes round is the new weights: as many bytes. Of the optimiser's arrays, a rank then has only its piece up to date. They
are put together when a checkpoint needs them, and at the end.

Source: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 2020, arXiv
1910.02054, section 5.1 (the optimiser's state in parts).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scratchnet.layers.base import Parameter
from scratchnet.optim import SGD, Adam, Optimizer
from scratchnet.parallel.packing import Packing
from scratchnet.parallel.team import Team, until


class DividedUpdate:
    """A rank's part of an optimiser's step.

    Parameters
    ----------
    optimizer : SGD or Adam
        See `can_divide`.
    """

    def __init__(self, optimizer: Optimizer, team: Team) -> None:
        self.optimizer, self.team = optimizer, team
        self.numbers = {id(p): i for i, p in enumerate(optimizer.parameters)}
        self.whole = True  # whether every rank has all of the optimiser's arrays up to date

    def begin(self) -> None:
        """Begin a step."""
        self.optimizer.steps += 1
        self.whole = self.team.size == 1

    def change(self, packing: Packing, vector: np.ndarray, piece: slice) -> None:
        """Change the weights of this rank's piece of a vector: it holds their gradients, and then the new weights."""
        optimizer = self.optimizer
        for i, p, mine, inside in self._own_parts(packing, piece):
            value = p.value.reshape(-1)[inside]  # a view: what is changed here is the weight itself
            g = vector[mine].astype(packing.grad_dtype, copy=False)
            g = g if optimizer.weight_decay == 0 else g + optimizer.weight_decay * value
            arrays = self._arrays(i, p)
            optimizer.update(value, g, {name: array.reshape(-1)[inside] for name, array in arrays.items()})
            vector[mine] = value

    def set_weights(self, packing: Packing, vector: np.ndarray) -> None:
        """Give the network the new weights of all ranks' pieces."""
        for _, p, place in self._parameters(packing):
            p.value.reshape(-1)[:] = vector[place]

    def put_together(self, packing: Packing, vector: np.ndarray, places: tuple[slice, ...]) -> None:
        """Bring the optimiser's arrays for a vector's layers up to date; `vector` is overwritten. All ranks call it."""
        for name in self.optimizer.state_names() or ():
            for i, p, mine, inside in self._own_parts(packing, places[self.team.rank]):
                vector[mine] = self._arrays(i, p)[name].reshape(-1)[inside]
            until(self.team.gather_pieces(vector, places))
            for i, p, place in self._parameters(packing):
                self._arrays(i, p)[name].reshape(-1)[:] = vector[place]

    def _parameters(self, packing: Packing) -> Iterator[tuple[int, Parameter, slice]]:
        """The parameters in a vector that the optimiser changes: number, parameter, place."""
        return ((self.numbers[id(p)], p, place) for place, p in packing.parameters() if id(p) in self.numbers)

    def _own_parts(self, packing: Packing, piece: slice) -> Iterator[tuple[int, Parameter, slice, slice]]:
        """Those of which this rank changes a part: number, parameter, its place in the vector, and in it."""
        for i, p, place in self._parameters(packing):
            start, stop = max(place.start, piece.start), min(place.stop, piece.stop)
            if start < stop:
                yield i, p, slice(start, stop), slice(start - place.start, stop - place.start)

    def _arrays(self, number: int, p: Parameter) -> dict[str, np.ndarray]:
        """The optimiser's arrays for a parameter: whole ones, of which this rank keeps its part up to date."""
        arrays = self.optimizer.state[number]
        for name in self.optimizer.state_names() or ():
            arrays.setdefault(name, np.zeros_like(p.value))
        return arrays


def can_divide(optimizer: Optimizer, packings: list[Packing]) -> bool:
    """Whether each number can be changed by itself: not so if the optimiser is another than ours, or if the weights
    have another dtype than the sums, or another layout than the vectors."""
    return type(optimizer) in (SGD, Adam) and all(
        p.value.dtype == packing.dtype and p.value.flags.c_contiguous
        for packing in packings
        for _, p in packing.parameters()
    )
