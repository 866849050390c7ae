"""`scratchnet info`: the machine, the libraries and the data."""

from __future__ import annotations

import argparse
from typing import Any

from scratchnet.commands.options import add_command
from scratchnet.info import describe_machine


def add(commands: Any) -> None:
    """Declare the command and its options."""
    add_command(commands, "info", info, "%(prog)s")


def info(options: argparse.Namespace) -> None:
    """The machine, the libraries and the data."""
    described = describe_machine()
    width = max(map(len, described))
    print("\n".join(f"{name:{width}}  {value}" for name, value in described.items()))
