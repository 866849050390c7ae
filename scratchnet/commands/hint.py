"""`scratchnet hint`: a hint for an exercise."""

from __future__ import annotations

import argparse
from typing import Any

from scratchnet.commands.options import add_command


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "hint", hint, "%(prog)s 05 2")
    command.add_argument("exercise", metavar="NUMBER", help="of the exercise: 05")
    command.add_argument(
        "level", type=int, nargs="?", default=1, help="from 1, a first idea, to 3, nearly the answer (default: 1)"
    )


def hint(options: argparse.Namespace) -> None:
    """A hint for an exercise: level 1 is a first idea, the last is nearly the answer."""
    from scratchnet.exercises.checker import find_exercise
    from scratchnet.exercises.checker import hint as hint_for

    print(hint_for(find_exercise(options.exercise), options.level))
