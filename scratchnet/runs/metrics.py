"""What happened in training: its history, and the metrics file that holds it.

A line is added for each record while a run is under way, and a folder that is gone is noticed.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchnet.reading import (
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    SHARE,
    TEXT,
    check,
    if_given,
    one_of,
    parse_json,
    read_text,
    user_path,
)
from scratchnet.writing import write_text_atomically

METRICS = "metrics.jsonl"

# What a line of the metrics holds, by its event. A loss on the test set may be NaN or infinite.
RECORDS = {
    "step": {"epoch": POSITIVE, "step": POSITIVE, "loss": NUMBER, "accuracy": SHARE, "lr": NOT_NEGATIVE},
    "epoch": {
        "epoch": POSITIVE,
        "step": POSITIVE,
        "steps_per_second": NUMBER,
        "test_set": if_given(TEXT),
        "test_loss": if_given(NUMBER),
        "test_accuracy": if_given(SHARE),
    },
}


@dataclass
class History:
    """What happened in training, as the metrics file holds it.

    Attributes
    ----------
    steps : list of dict
        For each step: event "step", epoch and step (1, 2, ...), loss and accuracy on its batch, lr.
    epochs : list of dict
        For each epoch: event "epoch", epoch, step, steps_per_second (of its median step) and, if there was a test set,
        test_set (its name), test_loss and test_accuracy.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        """Append a record to `steps` or `epochs`, as its event says."""
        (self.steps if record["event"] == "step" else self.epochs).append(record)

    def steps_per_second(self) -> float:
        """That of the median epoch."""
        return statistics.median(epoch["steps_per_second"] for epoch in self.epochs)

    def records(self) -> list[dict[str, Any]]:
        """All records, in the order in which they were added."""
        return sorted(self.steps + self.epochs, key=lambda record: record["step"])  # a step stays before its epoch


def read_metrics(path: str | Path) -> History:
    """The history in a run's `metrics.jsonl`; empty if there is no file. A last line that was cut off is ignored.

    Raises FileFault, a ValueError that names the line, if any other line is damaged or a step is missing.
    """
    history = History()
    if not user_path(path).exists():
        return history
    lines = read_text(path, "the metrics of a run").split("\n")
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is empty or was cut off
        where = f"line {number}"
        record = parse_json(path, line, where)
        check(path, record, {"event": one_of(*RECORDS)}, where)
        check(path, record, RECORDS[record["event"]], where)
        taken = len(history.steps)
        expected = max(taken, 1) if record["event"] == "epoch" else taken + 1
        check(path, record["step"], one_of(expected), f"{where}.step")
        history.add(record)
    return history


class MetricsFile:
    """`metrics.jsonl`, written anew from the records so far and kept open for more; a context manager.

    An open file can be written to after its folder was deleted or moved, and nobody would find the lines. So each line
    is written only if the path still leads to this file.

    Raises
    ------
    OSError
        From every method but `close`, if the file cannot be written, or was deleted, moved or replaced.
    """

    def __init__(self, path: Path, records: Iterable[dict[str, Any]]) -> None:
        self.path = path
        write_text_atomically(path, "".join(map(as_line, records)))
        # Without a buffer: a line that fails is not tried again on closing.
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 (`__exit__` closes it)

    def append(self, record: dict[str, Any]) -> None:
        """Add a line."""
        self.require_in_place()
        line = as_line(record).encode()
        if self.file.write(line) != len(line):
            raise OSError(f"{self.path}: a line could not be written to its end; is the disk full?")

    def require_in_place(self) -> None:
        """Raise an OSError if the file was deleted, moved or replaced, alone or with its folder."""
        try:
            in_place = os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{self.path} was deleted or moved") from None
        if not in_place:
            raise FileExistsError(f"another file was put in the place of {self.path}")

    def sync(self) -> None:
        """Have all lines so far on the disk, before a checkpoint that counts on them: the power may fail."""
        self.require_in_place()
        os.fsync(self.file.fileno())

    def replace(self, records: Iterable[dict[str, Any]]) -> None:
        """Close the file, and write another one with these records."""
        self.file.close()
        write_text_atomically(self.path, "".join(map(as_line, records)))

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


def as_line(record: dict[str, Any]) -> str:
    """A record as a line of the file."""
    return json.dumps(record) + "\n"
