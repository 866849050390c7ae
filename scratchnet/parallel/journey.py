"""The gradient on its way from rank to rank, and the new weights on their way back, while the backward pass goes on.

Each vector of a `Packing` goes its own way, as soon as the shards of this rank are in it: up the tree, then the
optimiser's step for this rank's piece, then the pieces round. It only moves when it is asked to (`go_on`): messages
begin and end in this thread, between two stages of the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scratchnet.layers import Layer
from scratchnet.network import Network
from scratchnet.optim import Optimizer
from scratchnet.parallel.packing import ENOUGH, Packing, packings
from scratchnet.parallel.team import Team, until
from scratchnet.parallel.tree import Pieces, Tree, TreeSum
from scratchnet.parallel.update import DividedUpdate, can_divide


class Journey:
    """The vector of some layers, on its way for one batch after the other.

    Parameters
    ----------
    number : int
        Tells its messages from those of other vectors.
    update : DividedUpdate or None
        None: the sums themselves go round, and the network gets them as its gradients.
    """

    def __init__(self, number: int, packing: Packing, tree: Tree, team: Team, update: DividedUpdate | None) -> None:
        self.number, self.packing, self.team, self.update = number, packing, team, update
        self.sum = TreeSum(tree, team.rank, packing.size, packing.dtype)
        self.places = Pieces.of(packing.size, team.size).places
        self.came: dict[int, int] = {}

    def begin(self) -> None:
        """Get ready for a batch: of each layer, no shard has come."""
        self.came = dict.fromkeys(self.packing.places, 0)

    def take(self, shard: int, number: int, layer: Layer, share: float) -> None:
        """Take what a copy of layer `number` has made of one of this rank's shards, which is `share` of the batch."""
        self.take_nothing(number, shard)
        for place, numbers in self.packing.parts(number, layer, share):
            self.sum.take(shard, place, numbers)
        self.came[number] = shard + 1

    def sums(self, number: int) -> list[tuple[list[int], np.ndarray]]:
        """For the sums of this rank's shards for the first parameter of a layer: see `TreeSum.rooms`."""
        shape = self.packing.net.layers[number].parameters()[0].value.shape
        rooms = self.sum.rooms(self.packing.places[number][0])
        return [(merges, numbers.reshape(shape)) for merges, numbers in rooms]

    def take_nothing(self, number: int, end: int) -> None:
        """Take zeros for those shards before `end` that have no image."""
        for shard in range(self.came[number], end):
            for place in self.packing.places[number]:
                self.sum.take(shard, place, 0)  # this makes 0 of -0, as it does where another rank has the images
        self.came[number] = end

    def go(self, turn: Iterator[None]) -> Iterator[None]:
        """Go all the way, when the rank's shards are in the vector; yields while it has to wait.

        turn : ends when the vectors before this one have begun to go round: all ranks do this in the same order.
        """
        for number in self.came:
            self.take_nothing(number, len(self.sum.turns))
        vector = yield from self.sum.climb(lambda sends, receives: self.team.exchange(sends, receives, self.number))
        if self.update is not None:
            self.update.change(self.packing, vector, self.places[self.team.rank])
        yield from turn
        has_gone_round = self.team.gather_pieces(vector, self.places)
        while not has_gone_round():
            yield
        if self.update is None:
            self.packing.set_gradients(vector)
        else:
            self.update.set_weights(self.packing, vector)
        self.packing.set_state(vector)


class Traffic:
    """The vectors of a network, each on its journey. enough : bytes of a vector that are worth a message."""

    def __init__(
        self, net: Network, dtype: np.dtype, tree: Tree, team: Team, optimizer: Optimizer, enough: int = ENOUGH
    ) -> None:
        vectors = packings(net, dtype, enough)
        divide = team.size > 1 and can_divide(optimizer, vectors)
        self.update = DividedUpdate(optimizer, team) if divide else None
        self.journeys = [Journey(i, packing, tree, team, self.update) for i, packing in enumerate(vectors)]
        self.of_layer = {number: journey for journey in self.journeys for number in journey.packing.places}
        self.waiting: list[Journey] = []
        self.under_way: list[Iterator[None]] = []
        self.going_round = 0

    def begin(self) -> None:
        """Get ready for a batch."""
        self.waiting, self.going_round = list(self.journeys), 0
        for journey in self.journeys:
            journey.begin()
        if self.update is not None:
            self.update.begin()

    def take(self, shard: int, number: int, layer: Layer, share: float) -> None:
        """As `Journey.take`, for any layer."""
        journey = self.of_layer.get(number)
        if journey is not None:
            journey.take(shard, number, layer, share)

    def set_out(self, number: int) -> None:
        """All layers from `number` on have gone backward: what is complete may go. The rest goes on."""
        while self.waiting and self.waiting[0].packing.layers.start >= number:
            journey = self.waiting.pop(0)
            self.under_way.append(journey.go(self._turn(journey.number)))
        self.go_on()

    def go_on(self) -> bool:
        """Go as far as the messages that have come allow; whether all is done."""
        self.under_way = [journey for journey in self.under_way if next(journey, self) is not self]
        return not self.under_way

    def finish(self) -> None:
        """Wait until all vectors have gone round."""
        until(self.go_on)

    def put_together(self) -> None:
        """Bring all of the optimiser's arrays up to date, on all ranks."""
        if self.update is not None:
            for journey in self.journeys:
                self.update.put_together(journey.packing, journey.sum.vectors[0], journey.places)
            self.update.whole = True

    def _turn(self, number: int) -> Iterator[None]:
        """Ends when the vectors before this one have begun to go round; `going_round` counts those."""
        while self.going_round < number:
            yield
        self.going_round += 1
