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
from scratchnet.parallel.team import Team


class DividedUpdate:
    """A rank's part of an optimiser's step.

    Parameters
    ----------
    optimizer : SGD or Adam
        See `can_divide`.
    packing : Packing
        Where the gradients lie in a vector.
    places : of the ranks' pieces in it.
    """

    def __init__(self, optimizer: Optimizer, packing: Packing, team: Team, places: tuple[slice, ...]) -> None:
        self.optimizer, self.packing, self.team, self.places = optimizer, packing, team, places
        numbers = {id(p): i for i, p in enumerate(packing.parameters)}
        self.parameters = [(p, packing.places[numbers[id(p)]]) for p in optimizer.parameters]
        self.whole = True  # whether every rank has all of the optimiser's arrays up to date

    def step(self, vector: np.ndarray) -> None:
        """Take the optimiser's step.

        vector : holds the sums in this rank's piece; afterwards all of the new weights, and of the layers' state.
        """
        optimizer = self.optimizer
        optimizer.steps += 1
        for i, p, mine, inside in self._own_parts():
            value = p.value.reshape(-1)[inside]  # a view: what is changed here is the weight itself
            g = vector[mine].astype(self.packing.grad_dtype, copy=False)
            g = g if optimizer.weight_decay == 0 else g + optimizer.weight_decay * value
            arrays = self._arrays(i, p)
            optimizer.update(value, g, {name: array.reshape(-1)[inside] for name, array in arrays.items()})
            vector[mine] = value
        self.whole = self.team.size == 1
        self.team.gather_pieces(vector, self.places)
        for p, place in self.parameters:
            p.value.reshape(-1)[:] = vector[place]
        self.packing.set_state(vector)

    def put_together(self, vector: np.ndarray) -> None:
        """Bring all of the optimiser's arrays up to date; `vector` is overwritten. All ranks have to call it."""
        for name in self.optimizer.state_names() or ():
            for i, p, mine, inside in self._own_parts():
                vector[mine] = self._arrays(i, p)[name].reshape(-1)[inside]
            self.team.gather_pieces(vector, self.places)
            for i, (p, place) in enumerate(self.parameters):
                self._arrays(i, p)[name].reshape(-1)[:] = vector[place]
        self.whole = True

    def _own_parts(self) -> Iterator[tuple[int, Parameter, slice, slice]]:
        """The parameters of which this rank changes a part: number, parameter, its place in the vector, and in it."""
        piece = self.places[self.team.rank]
        for i, (p, place) in enumerate(self.parameters):
            start, stop = max(place.start, piece.start), min(place.stop, piece.stop)
            if start < stop:
                yield i, p, slice(start, stop), slice(start - place.start, stop - place.start)

    def _arrays(self, number: int, p: Parameter) -> dict[str, np.ndarray]:
        """The optimiser's arrays for a parameter: whole ones, of which this rank keeps its part up to date."""
        arrays = self.optimizer.state[number]
        for name in self.optimizer.state_names() or ():
            arrays.setdefault(name, np.zeros_like(p.value))
        return arrays


def can_divide(optimizer: Optimizer, packing: Packing) -> bool:
    """Whether each number can be changed by itself: not so if the optimiser is another than ours, or if the weights
    have another dtype than the sums, or another layout than the vector."""
    known = type(optimizer) in (SGD, Adam)
    return known and all(p.value.dtype == packing.dtype and p.value.flags.c_contiguous for p in packing.parameters)
