"""What keeps a training run watched, interruptible and resumable, so that the loop in `train.py` stays short.

A run with a folder keeps two files there: `checkpoint.safetensors`, all it needs to go on, and `metrics.jsonl`, a JSON
object a line. Killed at any moment, it goes on from the last whole checkpoint; metrics from after that are forgotten,
and made again.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from scratchnet.data import Dataset
from scratchnet.layers.base import positive
from scratchnet.network import Network
from scratchnet.optim import Optimizer, Schedule
from scratchnet.runs.checkpoint import load_checkpoint, save_checkpoint
from scratchnet.runs.files import write_text_atomically

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class TrainingDiverged(RuntimeError):
    """The loss or a weight became NaN or infinite. Nothing that is not finite was written to a file."""


@dataclass
class History:
    """What happened in training, as the metrics file holds it.

    Attributes
    ----------
    steps : list of dict
        For each step: event "step", epoch and step (1, 2, ...), loss and accuracy on its batch, lr.
    epochs : list of dict
        For each epoch: event "epoch", epoch, step, steps_per_second (without the time for the test) and, if there was a
        test set, test_set (its name), test_loss and test_accuracy.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        """Put a record where its event belongs."""
        (self.steps if record["event"] == "step" else self.epochs).append(record)

    def records(self) -> list[dict[str, Any]]:
        """All records in the order in which they were made."""
        return sorted(self.steps + self.epochs, key=lambda record: record["step"])  # a step stays before its epoch


@dataclass
class Run:
    """The state of one call of `fit`: its arguments, where it is and what it has seen.

    `step` counts the finished steps. `order` draws the batches' order; its state at the start of an epoch, and the
    number of steps, are what a checkpoint needs to find the place again.
    """

    net: Network
    train: Dataset
    test: Dataset | None
    optimizer: Optimizer
    schedule: Schedule | None
    augment: Augment | None
    epochs: int | None
    steps: int | None
    batch_size: int
    seed: int
    folder: str | Path | None
    checkpoint_every: int | None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"expected either epochs or steps, got epochs={self.epochs} and steps={self.steps}")
        for what in ("epochs", "steps", "batch_size", "checkpoint_every"):
            if getattr(self, what) is not None:
                setattr(self, what, positive("fit", what, getattr(self, what)))
        self.seed = int(self.seed)
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
        self._metrics: Any = None  # the open metrics file

    # ---------------------------------------------------------------- what the loop calls

    def start(self, resume: bool) -> None:
        """Take up the folder's checkpoint if `resume` says so; refuse to overwrite it otherwise."""
        if resume and self.folder is None:
            raise ValueError("expected a folder to resume from, got none; pass folder= as in the run to go on with")
        if self.folder is None or not (path := Path(self.folder) / CHECKPOINT).exists():
            return
        if not resume:
            raise FileExistsError(f"{path}: holds an earlier run; resume it, choose another folder, or remove the file")
        history = read_metrics(Path(self.folder) / METRICS)
        if self.net.input_shape is None:
            self.net.input_shape = self.train.images.shape[1:]  # as the network that wrote it had learnt by then
        position = load_checkpoint(path, self.net, self.optimizer, self.arguments())
        self.step = position["step"]
        self.order.bit_generator.state = position["order"]
        self.history = History(
            *([r for r in part if r["step"] <= self.step] for part in (history.steps, history.epochs))
        )
        if len(self.history.steps) != self.step:
            raise ValueError(
                f"{Path(self.folder) / METRICS}: expected the records of {self.step} steps, got "
                f"{len(self.history.steps)}; put the file back as it was, or start a new run"
            )

    def rest_of_epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches that are left of this epoch, or of the run if that ends sooner."""
        self.order_at_epoch_start = self.order.bit_generator.state
        self.epoch_clock, self.epoch_first_step = time.perf_counter(), self.step
        batches = self.train.batches(self.batch_size, self.order, first=self.step % self.steps_per_epoch)
        return itertools.islice(batches, self.total_steps - self.step)

    def chance(self) -> np.random.Generator:
        """What an augmentation draws from at this step."""
        return np.random.default_rng([self.seed, self.step])

    def after_step(
        self,
        loss: float,
        logits: np.ndarray,
        labels: np.ndarray,
        bar: Any,
        evaluate: Callable[[Network, Dataset], tuple[float, float]],
    ) -> None:
        """Count, record and show the step; at the end of an epoch evaluate; write a checkpoint where one is due."""
        epoch = self.step // self.steps_per_epoch + 1
        self.step += 1
        accuracy = float(np.mean(logits.argmax(axis=1) == labels))
        self.record(event="step", epoch=epoch, step=self.step, loss=loss, accuracy=accuracy, lr=self.optimizer.lr)
        epoch_ends = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
        checkpoint_due = self.step % self.checkpoint_every == 0 if self.checkpoint_every else epoch_ends
        if epoch_ends or checkpoint_due:
            self.require_finite_weights()
        if epoch_ends:
            seconds = time.perf_counter() - self.epoch_clock
            figures: dict[str, Any] = {"steps_per_second": (self.step - self.epoch_first_step) / seconds}
            if self.test is not None:
                test_loss, test_accuracy = evaluate(self.net, self.test)
                figures |= {"test_set": self.test.name, "test_loss": test_loss, "test_accuracy": test_accuracy}
            self.record(event="epoch", epoch=epoch, step=self.step, **figures)
        self.show(bar)
        if checkpoint_due:
            self.save_checkpoint()

    def require_finite_loss(self, loss: float, x: np.ndarray) -> None:
        """Raise TrainingDiverged, before a step is taken with it, if the loss of the batch x is NaN or infinite."""
        if np.isfinite(loss):
            return
        if not np.isfinite(x).all():
            raise TrainingDiverged(f"step {self.step + 1}: the loss is {loss}: the batch holds NaN or infinite pixels")
        self.require_finite_weights()
        raise TrainingDiverged(
            f"step {self.step + 1}: the loss is {loss}: the weights have grown too large; {self.too_high()}"
        )

    def require_finite_weights(self) -> None:
        """Raise TrainingDiverged if a weight is NaN or infinite. Looked at where they are kept, not each step."""
        sick = [p.name for p in self.net.parameters() if not np.isfinite(p.value).all()]
        if sick:
            names = ", ".join(sick)
            raise TrainingDiverged(f"step {self.step}: NaN or infinite weights in {names}; {self.too_high()}")

    def too_high(self) -> str:
        """The usual suspect."""
        return f"most likely the learning rate {self.optimizer.lr:g} is too high"

    def save_checkpoint(self) -> None:
        """Write the folder's checkpoint, if there is a folder."""
        if self.folder is None:
            return
        epoch_is_over = self.step % self.steps_per_epoch == 0
        order = self.order.bit_generator.state if epoch_is_over else self.order_at_epoch_start
        position = {"step": self.step, "order": order}
        save_checkpoint(Path(self.folder) / CHECKPOINT, self.net, self.optimizer, self.arguments(), position)

    def stop(self) -> NoReturn:
        """Save what can be saved, and raise KeyboardInterrupt with a word on how to go on."""
        if self.folder is None:
            raise KeyboardInterrupt(f"stopped after step {self.step}; nothing was saved, since fit was given no folder")
        self.save_checkpoint()
        raise KeyboardInterrupt(f"stopped after step {self.step} and saved in {self.folder}; go on with resume=True")

    # ---------------------------------------------------------------- progress

    def bar(self, progress: bool) -> Any:
        """A progress bar over all steps."""
        return progress_bar(None, self.net.name, progress, total=self.total_steps, initial=self.step, unit=" steps")

    def show(self, bar: Any) -> None:
        """Move the bar; beside it the loss and accuracy on the last 20 batches, and the accuracy on the test set."""
        recent = self.history.steps[-20:]
        text = f"loss {np.mean([s['loss'] for s in recent]):.3f}, {np.mean([s['accuracy'] for s in recent]):.1%} right"
        if self.history.epochs and self.test is not None:
            text += f", after epoch {len(self.history.epochs)} {self.history.epochs[-1]['test_accuracy']:.1%}"
        bar.set_postfix_str(text, refresh=False)
        bar.update()

    # ---------------------------------------------------------------- files

    def arguments(self) -> dict[str, Any]:
        """What must be the same for a resumed run to end as the uninterrupted one would."""
        schedule = None if self.schedule is None else [float(self.schedule(step)) for step in self.some_steps()]
        return {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "train_images": len(self.train),
            "schedule": schedule,
            "augment": None if self.augment is None else described(self.augment),
        }

    def some_steps(self) -> range:
        """Steps from first to last at which schedules are compared: two that agree there are taken for the same."""
        return range(0, self.total_steps, max(1, self.total_steps // 50))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep the folder's metrics file open, with just the lines of the history so far in it."""
        if self.folder is None:
            yield
            return
        path = Path(self.folder) / METRICS
        write_text_atomically(path, "".join(json.dumps(record) + "\n" for record in self.history.records()))
        with open(path, "a", encoding="utf-8", buffering=1) as self._metrics:
            yield

    def record(self, **figures: Any) -> None:
        """Add a record to the history, and a line to the metrics file."""
        self.history.add(figures)
        if self._metrics is not None:
            self._metrics.write(json.dumps(figures) + "\n")


def described(augment: Augment) -> str:
    """An augmentation in words that the next process uses as well: a function's name, a dataclass with its fields."""
    return augment.__qualname__ if hasattr(augment, "__qualname__") else repr(augment)


def read_metrics(path: str | Path) -> History:
    """The history that a run's `metrics.jsonl` holds: empty without a file, and without a last line that was cut off.

    Raises ValueError, naming the line, if any other line is damaged.
    """
    history = History()
    path = Path(path)
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is empty or was cut off
        try:
            history.add(json.loads(line))
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: line {number} is damaged ({error}); expected a JSON object of a run") from None
    return history


def progress_bar(items: Iterable | None, name: str, progress: bool, **options: Any) -> Any:
    """tqdm over some items; where stderr is no terminal, the bar is drawn every ten seconds only."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 10
    return tqdm(items, desc=name, disable=not progress, dynamic_ncols=True, mininterval=interval, **options)


# ---------------------------------------------------------------- interruption


@dataclass
class Interrupt:
    """Whether someone asked the run to stop."""

    requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C into a request, so that no step is left half done; a second one stops at once.

    Only the main thread gets signals; in any other, nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def request(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = signal.signal(signal.SIGINT, request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
