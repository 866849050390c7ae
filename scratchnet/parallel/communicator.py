"""A team of processes that talk by MPI, through mpi4py. No other file imports it.

Nothing is pickled: what is sent is numbers, and text in UTF-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from scratchnet.parallel.team import IsDone, Team, until
from scratchnet.parallel.tree import Message


class Ranks(Team):
    """All processes that mpiexec has started."""

    def __init__(self) -> None:
        self.world = MPI.COMM_WORLD.Dup()  # our messages cannot be mixed up with those of the user's own program
        self.meetings = MPI.COMM_WORLD.Dup()  # nor what a rank says that has an error, with what others are sending
        self.pieces = MPI.COMM_WORLD.Dup()  # these go round while others are gathered
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()
        self.on_this_machine = self._neighbours()

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        return self._gather(self.world, numbers)

    def meet(self, numbers: np.ndarray, patience: float | None = None) -> np.ndarray:
        return self._gather(self.meetings, numbers, patience)

    def _gather(self, communicator: Any, numbers: np.ndarray, patience: float | None = None) -> np.ndarray:
        mine = np.ascontiguousarray(numbers, np.float64)
        every = np.empty((self.size, *mine.shape))
        wait([communicator.Iallgather(mine, every)], patience)
        return every

    def texts(self, text: str) -> list[str]:
        mine = np.frombuffer(text.encode(), np.uint8)
        lengths = self.gather(np.array([mine.size]))[:, 0].astype(int)
        ends = np.cumsum(lengths)
        every = np.empty(ends[-1], np.uint8)
        wait([self.world.Iallgatherv(mine, [every, lengths, ends - lengths, MPI.BYTE])])
        return [every[end - length : end].tobytes().decode() for end, length in zip(ends, lengths, strict=True)]

    def from_first(self, content: bytes) -> bytes:
        size = int(self.gather(np.array([len(content)]))[0, 0])
        held = np.frombuffer(content, np.uint8) if self.rank == 0 else np.empty(size, np.uint8)
        wait([self.world.Ibcast(held, root=0)])
        return held.tobytes()

    def exchange(self, sends: list[Message], receives: list[Message], number: int) -> IsDone:
        requests = [self.world.Irecv(numbers, source=rank, tag=number) for numbers, rank in receives]
        requests += [self.world.Isend(numbers, dest=rank, tag=number) for numbers, rank in sends]
        return lambda: MPI.Request.Testall(requests)

    def gather_pieces(self, vector: np.ndarray, places: tuple[slice, ...]) -> IsDone:
        starts = [place.start for place in places]
        lengths = [place.stop - place.start for place in places]
        kind = MPI.Datatype.fromcode(vector.dtype.char)
        requests = [self.pieces.Iallgatherv(MPI.IN_PLACE, [vector, lengths, starts, kind])]
        return lambda: MPI.Request.Testall(requests)

    def neighbours(self) -> list[int]:
        return self.on_this_machine

    def _neighbours(self) -> list[int]:
        here = self.world.Split_type(MPI.COMM_TYPE_SHARED)
        ranks = np.empty(here.Get_size(), np.int64)
        here.Allgather(np.array([self.rank]), ranks)
        here.Free()
        return [int(rank) for rank in ranks]

    def library(self) -> str:
        first_line = MPI.Get_library_version().strip("\0").split("\n")[0]
        return " ".join(first_line.split(",")[0].replace("Version:", "").split())

    def end(self, code: int) -> None:
        self.world.Abort(code)


def wait(requests: list[Any], patience: float | None = None) -> None:
    """Return when all messages have come and gone; TimeoutError if they have not after `patience` seconds."""
    until(lambda: MPI.Request.Testall(requests), patience)
