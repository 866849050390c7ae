"""`scratchnet check`: what is wrong with the answers to exercises."""

from __future__ import annotations

import argparse
from typing import Any

from scratchnet.commands.options import add_command


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "check", check, "%(prog)s 05")
    which = command.add_mutually_exclusive_group()
    numbers = "which exercises: 05, or 05 06; none means all"
    which.add_argument("exercises", nargs="*", default=[], metavar="NUMBER", help=numbers)
    which.add_argument("--all", action="store_true", help="a table of all exercises and their state")
    command.add_argument("--json", action="store_true", help="print the results as JSON, for a program to read")
    command.add_argument("--folder", help="where the exercises are (default: lessons/exercises, here or above)")


def check(options: argparse.Namespace) -> None:
    """Check exercises, and say what is wrong with each answer."""
    from scratchnet.exercises.checker import (
        as_json,
        check_file,
        check_folder,
        find_exercise,
        find_folder,
        progress_table,
    )

    folder = find_folder(options.folder)
    if options.all or not options.exercises:
        results = check_folder(folder)
        text = progress_table(results)
    else:
        names = [find_exercise(number).name for number in options.exercises]
        results = [check_file(folder / f"{name}.py", quiet=options.json) for name in names]
        text = "\n\n".join(map(str, results))
    print(as_json(results) if options.json else text)
    if not all(result.status == "done" for result in results):
        raise SystemExit(1)
