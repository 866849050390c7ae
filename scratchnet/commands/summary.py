"""`scratchnet summary`: the layers of a model."""

from __future__ import annotations

import argparse
from typing import Any

from scratchnet.commands.options import TRAINED_MODEL, add_command
from scratchnet.commands.subject import network
from scratchnet.models import ARCHITECTURES


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "summary", summary, "%(prog)s separable_cnn")
    command.add_argument("model", help=f"{', '.join(ARCHITECTURES)}, or {TRAINED_MODEL}")


def summary(options: argparse.Namespace) -> None:
    """The layers of a model: an architecture by name, or a trained model's file."""
    print(network(options.model).summary())
