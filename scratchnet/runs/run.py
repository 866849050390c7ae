"""The bookkeeping of a training run: history, progress, checkpoints. The loop in `train.py` stays short for it.

A run with a folder keeps two files there: `checkpoint.safetensors`, which has all that it needs to go on, and
`metrics.jsonl`, with one JSON object a line. A run that is killed at any moment can be resumed from its last complete
checkpoint. Metrics of later steps are dropped, and written again when these steps are taken again. While a run goes on,
no other process can use its folder (`lock.py`).
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from scratchnet.average import WeightAverage
from scratchnet.data import Dataset, RandomAffine
from scratchnet.engine import Planned, current_engine, ops
from scratchnet.layers.base import state_arrays
from scratchnet.network import Network
from scratchnet.optim import Optimizer, Schedule
from scratchnet.progress import progress_bar
from scratchnet.reading import user_path
from scratchnet.runs.checkpoint import load_checkpoint, save_checkpoint
from scratchnet.runs.identity import fingerprint
from scratchnet.runs.interrupt import Interrupt, Stopped
from scratchnet.runs.lock import locked
from scratchnet.runs.metrics import METRICS, History, MetricsFile, read_metrics
from scratchnet.settings import instance, integer, positive, shown

CHECKPOINT = "checkpoint.safetensors"
EVALUATION_BATCH = 500  # images that go through a network at once when it is evaluated

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class TrainingDiverged(RuntimeError):
    """The loss or a weight became NaN or infinite. No file holds such weights."""


class RunNotKept(OSError):
    """The files of a run could not be written, and so it was stopped; the message says what there is to go on from."""


@dataclass
class Run:
    """The state of one call of `fit`: its arguments, its position and its history.

    `step` counts the finished steps. `order` is the generator that draws the order of the images. From its state at the
    start of an epoch and the number of steps, a resumed run finds its place again.
    """

    net: Network
    train: Dataset
    test: Dataset | None
    optimizer: Optimizer
    schedule: Schedule | None
    augment: Augment | None
    average: WeightAverage | None
    epochs: int | None
    steps: int | None
    batch_size: int
    seed: int
    folder: str | Path | None
    checkpoint_every: int | None

    def __post_init__(self) -> None:
        instance("fit", "net", self.net, Network)
        instance("fit", "optimizer", self.optimizer, Optimizer)
        instance("fit", "train", self.train, Dataset)
        if self.test is not None:
            instance("fit", "test", self.test, Dataset)
        for what in ("schedule", "augment"):
            if not (getattr(self, what) is None or callable(getattr(self, what))):
                raise TypeError(f"fit: expected {what} to be a function or None, got {shown(getattr(self, what))}")
        if self.average is not None:
            instance("fit", "average", self.average, WeightAverage)
            if self.average.net is not self.net:
                raise ValueError(f"fit: the average is of another network than {self.net.name}; make one for it")
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"expected either epochs or steps, got epochs={self.epochs} and steps={self.steps}")
        for what in ("epochs", "steps", "batch_size", "checkpoint_every"):
            if getattr(self, what) is not None or what == "batch_size":
                setattr(self, what, positive("fit", what, getattr(self, what)))
        self.seed = integer("fit", "seed", self.seed, least=0)
        self.folder = None if self.folder is None else user_path(self.folder)
        if not len(self.train):
            raise ValueError(f"{self.train.name}: expected at least one image to train on, got none")
        if {id(p) for p in self.optimizer.parameters} - {id(p) for p in self.net.parameters()}:
            raise ValueError(f"fit: the optimizer is over parameters that are not {self.net.name}'s; make one for it")
        self.steps_per_epoch = -(-len(self.train) // self.batch_size)  # rounded up: the last batch may be partial
        self.total_steps = self.steps or self.epochs * self.steps_per_epoch  # type: ignore[operator]
        self.order = np.random.default_rng(self.seed)
        self.order_at_epoch_start = self.order.bit_generator.state
        self.step = 0
        self.history = History()
        self.arguments: dict[str, Any] = {}  # set by `start` if there is a folder
        self.metrics: MetricsFile | None = None  # set by `kept` if there is a folder
        self.failure: OSError | None = None  # of the first line that could not be written
        self.saved = 0  # the step of the last checkpoint; 0: there is none

    # ---------------------------------------------------------------- what the loop calls

    @contextmanager
    def kept(self, resume: bool) -> Iterator[None]:
        """Lock the folder, if there is one, while the block trains; with `resume`, first go to its checkpoint."""
        if self.folder is None:
            if resume:
                raise ValueError("expected a folder to resume from, got none; pass folder= as in the run to go on with")
            yield
            return
        with locked(self.folder):
            self.start(resume)
            with MetricsFile(Path(self.folder) / METRICS, self.history.records()) as self.metrics:
                yield

    def start(self, resume: bool) -> None:
        """With `resume`, go on from the folder's checkpoint; without it, refuse to overwrite one."""
        path = Path(self.folder) / CHECKPOINT  # type: ignore[arg-type]
        if path.exists() and not resume:
            raise FileExistsError(f"{path}: holds an earlier run; resume it, choose another folder, or remove the file")
        self.arguments = self.describe_arguments()
        if not path.exists():
            return
        checkpoint = load_checkpoint(path, self.net, self.optimizer, self.arguments, self.average)
        step = checkpoint.position["step"]
        if step > self.total_steps:
            raise ValueError(
                f"{self.folder}: the run has taken {step} steps already, more than the {self.total_steps} that epochs="
                f"{self.epochs} and steps={self.steps} ask for; resume with more, or start a new run in another folder"
            )
        self.history = self.history_until(step)
        checkpoint.restore(self.net, self.optimizer, self.average)
        self.step = self.saved = step
        self.order.bit_generator.state = self.order_at_epoch_start = checkpoint.position["order"]

    def history_until(self, step: int) -> History:
        """What the metrics file holds up to a step; a ValueError if this run would have made another history."""
        path = Path(self.folder) / METRICS  # type: ignore[arg-type]
        kept = read_metrics(path)
        steps = [record for record in kept.steps if record["step"] <= step]
        if len(steps) != step:
            raise ValueError(
                f"{path}: expected the records of {step} steps, got {len(steps)}; put the file back as it was, or "
                "start a new run"
            )
        for record in steps:
            lr = self.optimizer.lr if self.schedule is None else float(self.schedule(record["step"] - 1))
            if record["lr"] != lr:
                raise ValueError(
                    f"{path}: step {record['step']} was taken with the learning rate {record['lr']!r}, but the "
                    f"optimizer or schedule given has {lr!r} there; resume with the lr or schedule that the run was "
                    "begun with, or start a new run in another folder"
                )
        # A run that was to end in the middle of an epoch was evaluated there; one that goes on is not.
        return History(steps, [e for e in kept.epochs if e["step"] <= step and self.ends_epoch(e["step"])])

    def rest_of_epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The remaining batches of this epoch, or of the run if that ends sooner."""
        return self.rest_of(self.train.batches)

    def rest_of(self, batches: Callable[..., Iterator]) -> Iterator:
        """What `batches` of the data set yields for the rest of this epoch, or of the run."""
        self.order_at_epoch_start = self.order.bit_generator.state
        self.step_seconds: list[float] = []
        self.step_began = time.perf_counter()
        rest = batches(self.batch_size, self.order, first=self.step % self.steps_per_epoch)
        return itertools.islice(rest, self.total_steps - self.step)

    def chance(self) -> np.random.Generator:
        """The generator that an augmentation draws from at this step."""
        return np.random.default_rng([self.seed, self.step])

    def after_step(
        self,
        loss: float,
        logits: np.ndarray,
        labels: np.ndarray,
        bar: Any,
        evaluate: Callable[[Network, Dataset], tuple[float, float]],
    ) -> None:
        """Count, record and show the step; evaluate at the end of an epoch; write a checkpoint when one is due."""
        self.finish_step(loss, float(np.mean(logits.argmax(axis=1) == labels)), bar, evaluate)

    def finish_step(
        self, loss: float, accuracy: float, bar: Any, evaluate: Callable[[Network, Dataset], tuple[float, float]]
    ) -> None:
        """`after_step`, once the accuracy on the batch is known."""
        self.step_seconds.append(time.perf_counter() - self.step_began)
        epoch = self.step // self.steps_per_epoch + 1
        self.step += 1
        self.record(event="step", epoch=epoch, step=self.step, loss=loss, accuracy=accuracy, lr=self.optimizer.lr)
        epoch_ends = self.ends_epoch(self.step)
        checkpoint_due = self.checkpoint_due(self.step)
        if epoch_ends or checkpoint_due:
            self.require_finite_weights()
        if epoch_ends:
            figures: dict[str, Any] = {"steps_per_second": self.steps_per_second()}
            if self.test is not None:
                with nullcontext() if self.average is None else self.average.used():
                    test_loss, test_accuracy = evaluate(self.net, self.test)
                figures |= {"test_set": self.test.name, "test_loss": test_loss, "test_accuracy": test_accuracy}
            self.record(event="epoch", epoch=epoch, step=self.step, **figures)
        self.show(bar)
        if checkpoint_due or self.failure:
            self.save_checkpoint()
        self.step_began = time.perf_counter()

    def steps_per_second(self) -> float:
        """That of the epoch's median step: it leaves out compiling, evaluation and checkpoints."""
        return 1 / statistics.median_low(self.step_seconds)

    def ends_epoch(self, step: int) -> bool:
        """Whether this step is the last of an epoch or of the run. The network is evaluated after it."""
        return step % self.steps_per_epoch == 0 or step == self.total_steps

    def checkpoint_due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step."""
        return step % self.checkpoint_every == 0 if self.checkpoint_every else self.ends_epoch(step)

    def require_finite_loss(self, loss: float, x: np.ndarray) -> None:
        """Raise TrainingDiverged if the loss of the batch x is NaN or infinite, before the optimiser takes a step."""
        if np.isfinite(loss):
            return
        if not np.isfinite(x).all():
            raise TrainingDiverged(f"step {self.step + 1}: the loss is {loss}: the batch holds NaN or infinite pixels")
        self.require_finite_weights()
        raise TrainingDiverged(
            f"step {self.step + 1}: the loss is {loss}: the weights have grown too large; {self.too_high()}"
        )

    def require_finite_weights(self) -> None:
        """Raise TrainingDiverged if a weight or a state array is NaN or infinite. Called before these are saved."""
        arrays = {p.name: p.value for p in self.net.parameters()} | state_arrays(self.net.state())
        sick = [name for name, array in arrays.items() if not np.isfinite(array).all()]
        if sick:
            names = ", ".join(sick)
            raise TrainingDiverged(f"step {self.step}: NaN or infinite weights in {names}; {self.too_high()}")

    def too_high(self) -> str:
        """The most likely cause, for an error message."""
        return f"most likely the learning rate {self.optimizer.lr:g} is too high"

    def stop(self, number: int) -> NoReturn:
        """Save a checkpoint if there is a folder, and raise Stopped: what was saved, and how to go on."""
        if self.folder is None:
            outcome = f"stopped after step {self.step}; nothing was saved, since fit was given no folder"
            raise Stopped(outcome, signal=number)
        self.save_checkpoint()
        outcome = f"stopped after step {self.step} and saved in {self.folder}"
        raise Stopped(outcome, f"; go on with resume=True on the engine {self.arguments['engine']}", number)

    # ---------------------------------------------------------------- progress

    def bar(self, progress: bool, interrupt: Interrupt) -> Any:
        """Have the engine compile what the run needs; then a progress bar over all steps.

        `show` adds the speed: tqdm's own would count evaluation.
        """
        ops.prepare([self.plan()], stop=lambda: interrupt.signal)
        if interrupt.signal is not None:
            self.stop(interrupt.signal)
        parts = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        return progress_bar(None, self.net.name, progress, total=self.total_steps, initial=self.step, bar_format=parts)

    def plan(self) -> Planned:
        """What the run is going to do with the network, for the engine."""
        plan = planned(self.net, self.train, self.test, self.batch_size, self.optimizer, self.augment)
        return plan._replace(average=self.average)

    def show(self, bar: Any) -> None:
        """Advance the bar: steps a second, loss and accuracy on the last 20 batches, the last accuracy on the test set.

        The speed is that of the finished epochs, as in the tables of `study/`; in the first epoch, of its steps so far.
        """
        recent = self.history.steps[-20:]
        speed = self.history.steps_per_second() if self.history.epochs else self.steps_per_second()
        loss, accuracy = (np.mean([step[name] for step in recent]) for name in ("loss", "accuracy"))
        text = f"{speed:.1f} steps/s, loss {loss:.3f}, {accuracy:.1%} right"
        if self.history.epochs and self.test is not None:
            text += f", after epoch {len(self.history.epochs)} {self.history.epochs[-1]['test_accuracy']:.1%}"
        bar.set_postfix_str(text, refresh=False)
        bar.update()

    # ---------------------------------------------------------------- files

    def describe_arguments(self) -> dict[str, Any]:
        """The arguments that must be the same for a resumed run to end as the uninterrupted one would.

        `save_checkpoint` describes the network and the optimiser itself. The learning rates of the steps are in the
        metrics. The test set and `checkpoint_every` have no influence on training.
        """
        return {
            "engine": current_engine(),
            "answers": ops.answers_used(),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "train_images": fingerprint(self.train.images),
            "train_labels": fingerprint(self.train.labels),
            "augment": None if self.augment is None else self.describe_augment(self.augment),
            "average": None if self.average is None else {"decay": self.average.decay},
            "shards": None,  # `parallel/train.py` has runs in shards
            "synchronised": False,
        }

    def describe_augment(self, augment: Augment) -> str:
        """The augmentation's name, and a fingerprint of what it makes of the first images: names are not unique."""
        name = repr(augment) if is_dataclass(augment) else getattr(augment, "__qualname__", type(augment).__name__)
        first = self.train.images[: self.batch_size].copy()
        return f"{name}, making {fingerprint(augment(first, self.chance()))}"

    def record(self, **figures: Any) -> None:
        """Add a record to the history, and a line to the metrics file. A failure is seen to at the end of the step."""
        self.history.add(figures)
        if self.metrics is None or self.failure is not None:
            return
        try:
            self.metrics.append(figures)
        except OSError as error:
            self.failure = error

    def save_checkpoint(self) -> None:
        """Write the folder's checkpoint, if there is a folder.

        Raises RunNotKept if that, or a line of the metrics before it, failed.
        """
        if self.metrics is None:
            return
        try:
            if self.failure is not None:
                raise self.failure
            self.metrics.sync()
            self.write_checkpoint()
        except OSError as error:
            kept = self.write_again(self.metrics)
            raise RunNotKept(f"{self.folder}: stopped after step {self.step}, since {error}; {kept}") from error

    def write_again(self, metrics: MetricsFile) -> str:
        """After a failure, try to write the whole run once more; returns what there is to go on from, in words.

        A folder that was deleted or moved is made again. What another has put in its place is left as it is.
        """
        try:
            with suppress(FileNotFoundError):
                metrics.require_in_place()
            metrics.replace(self.history.records())
            self.write_checkpoint()
        except OSError:
            return f"the last checkpoint is of step {self.saved}" if self.saved else "there is no checkpoint yet"
        return "all that it needs to go on was written there once more"

    def write_checkpoint(self) -> None:
        epoch_is_over = self.step % self.steps_per_epoch == 0
        order = self.order.bit_generator.state if epoch_is_over else self.order_at_epoch_start
        position = {"step": self.step, "order": order}
        path = Path(self.folder) / CHECKPOINT  # type: ignore[arg-type]
        save_checkpoint(path, self.net, self.optimizer, self.arguments, position, self.average)
        self.saved = self.step


def planned(
    net: Network, train: Dataset, test: Dataset | None, batch_size: int, optimizer: Optimizer, augment: Augment | None
) -> Planned:
    """What `fit` with these arguments is going to do with the network, batch by batch."""
    passes = [(*batch, True) for batch in batches_of(train, batch_size)]
    if test is not None:
        passes += [(*batch, False) for batch in batches_of(test, EVALUATION_BATCH)]
    ours = isinstance(augment, RandomAffine)  # another one is not called more often than its user expects
    return Planned(net, passes, [optimizer], augment if ours else None)


def batches_of(data: Dataset, size: int) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of a data set's batches of `size` images: of whole ones, and of the last, if it is smaller."""
    sizes = {min(size, len(data)), len(data) % size or size}
    return [((N, *data.images.shape[1:]), data.images.dtype) for N in sorted(sizes) if len(data) >= N]
