"""`scratchnet evaluate`: how good a trained model is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import add_command, add_data_options
from scratchnet.commands.subject import check_fit, load_data
from scratchnet.reading import user_path
from scratchnet.runs.checkpoint import trained_classes
from scratchnet.runs.options import check_data_dir


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "evaluate", evaluate, "%(prog)s runs/standard_cnn/model.safetensors --data mnist")
    command.add_argument("model", type=user_path, help="a trained model's file")
    add_data_options(command, default="sample")


def evaluate(options: argparse.Namespace) -> None:
    """Loss and accuracy of a trained model."""
    check_data_dir(options.data, options.data_dir)
    net = sn.load(options.model)
    _, test = load_data(vars(options))
    check_fit(net, test)
    check_same_classes(options.model, test)
    loss, accuracy = sn.evaluate(net, test, progress=True)
    print(f"{net.name} on {len(test):,} {test.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats")


def check_same_classes(model: Path, data: sn.Dataset) -> None:
    """ValueError if the model's file names classes, and the data has others for the same labels."""
    trained, given = trained_classes(model), data.info.classes if data.info else ()
    if trained and trained[: len(given)] != given:
        raise ValueError(
            f"{model}: was trained on the classes {', '.join(trained)}, but the {data.name} have {', '.join(given)}"
        )
