"""`scratchnet explain`: the kernels of a training step, and why they were chosen."""

from __future__ import annotations

import argparse
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import TRAINED_MODEL, add_command, whole_number
from scratchnet.commands.subject import network
from scratchnet.models import ARCHITECTURES


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "explain", explain, "%(prog)s four_conv_cnn --batch-size 1")
    command.add_argument("model", help=f"{', '.join(ARCHITECTURES)}, or {TRAINED_MODEL}")
    command.add_argument(
        "--batch-size", type=whole_number(1, 4096), default=128, help="images a step (default: %(default)s)"
    )


def explain(options: argparse.Namespace) -> None:
    """The kernels that a training step of a model runs, and why they were chosen."""
    print(sn.explain(network(options.model), options.batch_size))
