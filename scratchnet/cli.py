"""The command line: `scratchnet train`, `evaluate`, `predict`, `reproduce`, `summary`, `explain`, `step` and more.

Exit codes: 0 done; 1 failed, with a message on stderr; 2 wrong usage; 130 interrupted; 143 and 129 after SIGTERM and
SIGHUP; 141 if whatever reads the output stopped early, as `head` does. From 129 on, 128 and the number of the signal.
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import scratchnet as sn
from scratchnet.commands import (
    check,
    evaluate,
    explain,
    explore,
    export,
    hint,
    info,
    predict,
    reproduce,
    step,
    summary,
    train,
    warm_up,
)
from scratchnet.console import finish_printing, never_refuse, say
from scratchnet.data import DataWarning
from scratchnet.parallel.team import under_mpiexec, whole_team
from scratchnet.parallel.together import ending_together, require_alike, speaking_as_one
from scratchnet.program import Started, command_line
from scratchnet.version import __version__

# In the order of the help.
COMMANDS = (
    train,
    evaluate,
    predict,
    reproduce,
    summary,
    export,
    explain,
    warm_up,
    step,
    explore,
    check,
    hint,
    info,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    never_refuse()
    Started.as_command |= arguments is None
    try:
        try:
            return run(arguments)
        finally:
            finish_printing()
    except BrokenPipeError:
        return 141


def run(arguments: Sequence[str] | None) -> int:
    """Run the command that the arguments name; returns the exit code."""
    try:
        with as_one_program():
            options = build_parser().parse_args(arguments)
            check_together(options)
            if options.engine:
                sn.use_engine(options.engine)
            with ExitStack() as options.until_the_end, data_warnings_as_notes():
                options.command(options)
    except KeyboardInterrupt as error:
        say(getattr(error, "outcome", str(error)) or "interrupted")
        return 128 + getattr(error, "signal", signal.SIGINT)
    except BrokenPipeError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError) as error:
        print(f"scratchnet: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog=command_line(),
        description="Convolutional networks written by hand: train them, look at them, use them.",
        epilog="examples:\n"
        "  %(prog)s reproduce                      train the three networks on the built-in digits\n"
        "  %(prog)s reproduce --data mnist         the same on all of MNIST, as the original trained them\n"
        "  %(prog)s train standard_cnn --epochs 3  train one of them\n"
        "  %(prog)s predict digit.png              read a picture of a digit\n"
        "  %(prog)s COMMAND --help                 the options of a command",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scratchnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


@contextmanager
def data_warnings_as_notes() -> Iterator[None]:
    """Print a DataWarning as one line, without the source that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        usual = warnings.showwarning

        def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
            say(f"note: {message}") if issubclass(category, DataWarning) else usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


@contextmanager
def as_one_program() -> Iterator[None]:
    """If mpiexec has started several processes, have them be one program: rank 0 prints, an error ends all."""
    if not under_mpiexec():
        yield
        return
    team = whole_team()
    with speaking_as_one(team), ending_together(team):
        yield


def check_together(options: argparse.Namespace) -> None:
    """ValueError if mpiexec has started processes that differ, or several for a command that is for one."""
    team = whole_team()
    given = vars(options).items()
    require_alike(team, {name: str(value) for name, value in given if name not in ("command", "until_the_end")})
    if team.size > 1 and options.command not in (train.train, info.info):
        raise ValueError("mpiexec is for the commands train and info; start this one without it")
