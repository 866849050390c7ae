"""The training loop in shards. Beside `scratchnet/train.py` it differs in one thing: who computes a gradient.

Each step goes like this:

    each rank       forward on each of its shards
    all             meet: has one of them an error?
    each rank       backward on each of its shards, stage by stage, and the sum of these
    all             meanwhile: add the ranks' sums, up the tree
    each rank       the optimiser's step for its piece of the weights
    all             send the new weights round

The last three are done for the last layers while the backward pass is at those before: see `journey.py`.

With one shard this is the loop of `scratchnet/train.py`, bit for bit.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from scratchnet.data import Dataset
from scratchnet.engine import Planned, is_compiled, ops
from scratchnet.layers import BatchNorm, Dense, Layer
from scratchnet.layers.base import state_arrays
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Network
from scratchnet.parallel.cores import shared_cores
from scratchnet.parallel.draws import Draws, augmented
from scratchnet.parallel.journey import Traffic
from scratchnet.parallel.shards import DEFAULT_SHARDS, Shards, check_shards, cut, sizes
from scratchnet.parallel.stagewise import (
    Stage,
    SynchronisedNorm,
    copies_of,
    give_state,
    rehearse_together,
    stages_of,
)
from scratchnet.parallel.team import Team, whole_team
from scratchnet.parallel.together import (
    EndedElsewhere,
    Heard,
    ending_together,
    known_to_all,
    meet,
    one_first,
    require_alike,
)
from scratchnet.parallel.tree import Tree
from scratchnet.runs.description import describe, describe_optimizer, generators
from scratchnet.runs.identity import fingerprint
from scratchnet.runs.interrupt import Interrupt, interruptible
from scratchnet.runs.metrics import METRICS, History
from scratchnet.runs.run import CHECKPOINT, EVALUATION_BATCH, Run
from scratchnet.settings import at_least_zero, flag, positive
from scratchnet.version import __version__


def fit_in_shards(
    *, shards: int | None = None, folder: Any = None, resume: bool = False, progress: bool = True, **arguments: Any
) -> History:
    """`scratchnet.fit` with shards, on all ranks that mpiexec has started; takes its arguments and raises its errors.

    shards : how many; if None, `DEFAULT_SHARDS`.
    """
    team = whole_team()
    first = team.rank == 0
    with ending_together(team):
        run = ShardedRun(
            **arguments, folder=folder if first else None, shards=DEFAULT_SHARDS if shards is None else shards,
            team=team,
        )  # fmt: skip
        require_alike(team, run.describe())
        with shared_cores(team), run.kept(resume and first), interruptible() as interrupt:
            run.begin_where_the_first_is()
            with run.bar(progress and first, interrupt) as bar:
                run.train_in_shards(bar, interrupt)
        if run.average is not None:
            run.average.put_into_network()
    return run.history


@dataclass
class ShardedRun(Run):
    """A run of which this rank computes some shards. Only that of rank 0 has a folder."""

    shards: int = DEFAULT_SHARDS
    synchronised: bool = False
    team: Team = None  # type: ignore[assignment]  # a field without a default cannot follow those of `Run` that have one

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shards = positive("fit", "shards", self.shards)
        check_shards(self.shards, self.batch_size, self.team.size)
        self.synchronised = flag("fit", "synchronised", self.synchronised)
        self.draws = Draws(self.net, self.train.images.shape[1:])
        self.tree = Tree(self.shards, self.team.size)
        self.traffic = Traffic(self.net, self.train.images.dtype, self.tree, self.team, self.optimizer)
        self.copies: list[list[Layer]] = []
        self.stages: list[Stage] = []

    # ---------------------------------------------------------------- the loop

    def train_in_shards(self, bar: Any, interrupt: Interrupt) -> None:
        """Take all steps."""
        self.copies = copies_of(self.net, len(self.tree.held_by(self.team.rank)))
        self.stages = stages_of(self.net, self.copies, self.synchronised_norm if self.synchronised else None)
        while self.step < self.total_steps:
            for chosen in self.rest_of(self.train.batch_indices):
                if self.schedule is not None:
                    self.optimizer.lr = at_least_zero("fit", "the schedule's lr", self.schedule(self.step))
                shards = Shards.of(len(chosen), self.shards, self.tree.held_by(self.team.rank))
                dlogits, figures = self.forward(chosen, shards)
                heard = meet(self.team, interrupt.signal, must_save=self.failure is not None)
                loss, right = self.team.gather(figures).sum(axis=0).sum(axis=0)  # a shard's own rank says all but 0
                if not np.isfinite(loss):  # only then are the other ranks' images of interest
                    self.require_finite_loss(float(loss), self.train.images[chosen])
                self.backward(dlogits, shards)
                if self.traffic.update is None:
                    self.optimizer.step()
                elif self.about_to_save(heard):
                    self.traffic.put_together()
                if self.average is not None:
                    self.average.update()
                self.finish_step(float(loss), float(right / len(chosen)), bar, self.evaluate)
                if heard.signal is not None:
                    self.stop_together(heard.signal)

    def forward(self, chosen: np.ndarray, shards: Shards) -> tuple[list[np.ndarray], np.ndarray]:
        """Forward on this rank's shards of the batch of these images.

        Returns the gradients for their logits, and for each shard of the batch (shards, 2) its part of the loss, and
        how many images it has right; 0 for those of other ranks.
        """
        give_state(self.net, self.copies)
        self.draws.skip(shards.images.start)
        xs = [self.images_of(chosen, part) for part in shards.filled.values()]
        for x in xs:
            self.net.check_input(x)
            ops.before_forward(self.net, x, training=True)
        for stage in self.stages:
            xs = stage.forward(xs, list(shards.filled))
        self.net.note_input(self.train.images)
        self.draws.skip(shards.batch - shards.images.stop)
        figures, gradients = np.zeros((self.shards, 2)), []
        for (k, part), logits in zip(shards.filled.items(), xs, strict=True):
            labels = self.train.labels[chosen[part.start : part.stop]]
            loss, dlogits = softmax_cross_entropy(logits, labels)
            figures[k] = shards.share(k) * loss, (logits.argmax(axis=1) == labels).sum()
            gradients.append(dlogits * dlogits.dtype.type(shards.share(k)))
        return gradients, figures

    def backward(self, douts: list[np.ndarray], shards: Shards) -> None:
        """Backward on this rank's shards, while what is complete goes to the other ranks; until the network has the new
        weights, or if the optimiser cannot be divided, the gradients."""
        self.traffic.begin()
        taker = InTraffic(self.traffic, self.copies, self.tree.held_by(self.team.rank), shards)
        for stage in reversed(self.stages):
            douts = stage.backward(douts, stage is not self.stages[0], taker)
            self.traffic.set_out(stage.numbers.start)
        self.traffic.finish()

    def about_to_save(self, heard: Heard) -> bool:
        """Whether all of the optimiser's arrays are needed after this step."""
        step = self.step + 1
        return self.checkpoint_due(step) or heard.must_save or heard.signal is not None or step == self.total_steps

    def synchronised_norm(self, numbers: range, copies: list[Any], layer: BatchNorm) -> Stage:
        """The stage of a BatchNorm with the statistics of the whole batch."""
        return SynchronisedNorm(numbers, copies, layer, self.team, self.shards)

    def save_checkpoint(self) -> None:
        """As for one process; a failure between two checkpoints waits for the next step, when all ranks know of it."""
        if self.traffic.update is None or self.traffic.update.whole:
            super().save_checkpoint()

    def images_of(self, chosen: np.ndarray, part: range) -> np.ndarray:
        """The images of a shard, augmented: all that this rank reads of the batch."""
        images = self.train.images[chosen[part.start : part.stop]]
        if self.augment is None:
            return images
        return augmented(self.augment, images, part, len(chosen), self.seed, self.step)

    def evaluate(self, net: Network, data: Dataset) -> tuple[float, float]:
        """As `scratchnet.evaluate`, with the same bits; each rank takes some of the batches."""
        starts = range(0, len(data), EVALUATION_BATCH)
        figures = np.zeros((len(starts), 2))  # of each batch: its loss, and how many images are right
        for i in range(self.team.rank, len(starts), self.team.size):
            part = data[starts[i] : starts[i] + EVALUATION_BATCH]
            logits = net.forward(part.images)
            loss, _ = softmax_cross_entropy(logits, part.labels)
            figures[i] = loss * len(part), (logits.argmax(axis=1) == part.labels).sum()
        meet(self.team)
        loss_sum, correct = 0.0, 0
        for loss_of_batch, right in self.team.gather(figures).sum(axis=0).tolist():  # in their order
            loss_sum, correct = loss_sum + loss_of_batch, correct + int(right)
        return loss_sum / len(data), correct / len(data)

    # ---------------------------------------------------------------- beginning and ending together

    def describe(self) -> dict[str, Any]:
        """All that decides the bits of this run; each rank must describe the same."""
        arrays = {p.name: p.value for p in self.net.parameters()} | state_arrays(self.net.state())
        parts = {} if self.test is None else {"images": self.test.images, "labels": self.test.labels}
        rates = [] if self.schedule is None else [float(self.schedule(step)) for step in range(self.total_steps)]
        return {
            "scratchnet": __version__,
            "NumPy": np.__version__,
            "steps": self.total_steps,
            **self.describe_arguments(),
            "computing": computing(),
            "network": describe(self.net) | {"generators": generators(self.net)},
            "weights": {name: fingerprint(array) for name, array in arrays.items()},
            "optimizer": describe_optimizer(self.optimizer) | {"lr": self.optimizer.lr, "steps": self.optimizer.steps},
            "schedule": fingerprint(np.array(rates)),
            "test": {name: fingerprint(array) for name, array in parts.items()},
            "checkpoint_every": self.checkpoint_every,
        }

    def describe_arguments(self) -> dict[str, Any]:
        return super().describe_arguments() | {"shards": self.shards, "synchronised": self.synchronised}

    def begin_where_the_first_is(self) -> None:
        """If rank 0 has resumed a run, go on from a copy of its files. They may be where only rank 0 can read them."""
        meet(self.team)
        resumed = self.team.rank == 0 and self.step > 0
        folder = Path(self.folder) if self.folder is not None else None
        contents = [
            self.team.from_first((folder / name).read_bytes() if resumed and folder else b"")
            for name in (CHECKPOINT, METRICS)
        ]
        if self.team.rank == 0 or not contents[0]:
            return
        with tempfile.TemporaryDirectory(prefix="scratchnet-resume-") as copied:
            for name, content in zip((CHECKPOINT, METRICS), contents, strict=True):
                (Path(copied) / name).write_bytes(content)
            self.folder = Path(copied)
            self.start(resume=True)
            self.folder = None

    def plan(self) -> Planned:
        """As for the whole run, but in training with batches of the shards' sizes."""
        plan = super().plan()
        whole = {shape[0] for shape, _, training in plan.passes if training}
        images = self.train.images
        passes = [((N, *images.shape[1:]), images.dtype, True) for N in sorted(sizes(whole, self.shards))]
        held = self.tree.held_by(self.team.rank)
        together = [
            functools.partial(rehearse_together, layer, [len(cut(count, self.shards)[k]) for k in held], images.dtype)
            for layer, count in product(self.net.layers, whole)
            if type(layer) is Dense and len(held) > 1
        ]
        return plan._replace(passes=passes + [each for each in plan.passes if not each[2]], besides=together)

    def bar(self, progress: bool, interrupt: Interrupt) -> Any:
        """The progress bar. One rank of a machine has the engine compile; the others then find the code on the disk."""
        return one_first(self.team, lambda: super(ShardedRun, self).bar(progress, interrupt))

    def stop_together(self, number: int) -> NoReturn:
        """As `stop`, when all ranks know of the signal; rank 0 saves the run, and says where."""
        if self.team.rank != 0:
            raise EndedElsewhere(128 + number)
        with known_to_all():
            self.stop(number)


class InTraffic(NamedTuple):
    """Takes the gradients of a batch's shards into the vectors that travel: a `Taker`."""

    traffic: Traffic
    copies: list[list[Layer]]
    held: range  #: the rank's shards
    shards: Shards

    def take(self, copy: int, number: int) -> None:
        shard = list(self.shards.filled)[copy]
        self.traffic.take(self.held.index(shard), number, self.copies[copy][number], self.shards.share(shard))

    def sums(self, number: int) -> list[tuple[list[int], np.ndarray]] | None:
        return None if len(self.shards.filled) < len(self.held) else self.traffic.of_layer[number].sums(number)


def computing() -> dict[str, Any]:
    """What else decides the bits: the compiled engine's registers, or the library for matrix products."""
    from scratchnet.info import blas_libraries, blas_line, vector_width  # here: it imports what only few need

    if is_compiled():
        import numba

        return {"numba": numba.__version__, "register bits": vector_width()}
    libraries = blas_libraries()  # SciPy may have loaded one of its own, on some ranks; NumPy does not use it
    of_numpy = [library for library in libraries if np.__name__ in library["filepath"]] or libraries
    return {"BLAS": sorted(map(blas_line, of_numpy))}
