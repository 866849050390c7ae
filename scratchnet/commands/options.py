"""Options that several commands have, and readers of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchnet.data.registry import DATASETS
from scratchnet.data.sources import is_path
from scratchnet.engine import DEFAULT_ENGINE, ENGINES

REPRODUCE_FOLDER = Path("runs/reproduce")
LAST_SEED = 2**63 - 1  # every framework's generator takes these
WHERE = "the folder with the four IDX files; otherwise SCRATCHNET_DATA, the cache folder, or a download"
TRAINED_MODEL = "a trained model's file, or the folder of its run"


def add_command(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], None],
    example: str,
    engine: str = f"SCRATCHNET_ENGINE, or {DEFAULT_ENGINE}",
) -> Any:
    """A command with its --engine; `engine` says in the help what runs without that option."""
    description = (function.__doc__ or f"{name}.").split("\n")[0]  # python -OO leaves docstrings out
    command = commands.add_parser(
        name,
        help=description[0].lower() + description[1:].rstrip("."),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--engine", choices=ENGINES, help=f"the kernels to run (default: {engine})")
    command.set_defaults(command=function)
    return command


def add_data_options(command: Any, default: str) -> None:
    """Which data: --data, and how it is read."""
    own = "the path of your own data: a folder of pictures for each class, IDX files, a CSV file or an .npz file"
    known = f"{', '.join(DATASETS)}, or {own} (default: sample)"
    command.add_argument("--data", type=data_source, metavar="DATA", default=default, help=known)
    unset: Any = default == argparse.SUPPRESS
    command.add_argument("--data-dir", default=default if unset else None, help=WHERE)
    command.add_argument(
        "--transpose",
        action="store_true",
        default=default if unset else False,
        help="exchange rows and columns of the images of your own data, as EMNIST needs it",
    )


def add_folder_options(command: Any, shown: str) -> None:
    """Where to write, and what becomes of an earlier run there. shown : the default, in words."""
    command.add_argument("--out", help=f"the folder to write to (default: {shown})")
    earlier = command.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    earlier.add_argument("--overwrite", action="store_true", help="delete the run in that folder and start anew")


def data_source(text: str) -> str:
    """The name of a data set, or a path at which there is something."""
    try:
        is_path(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def whole_number(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A reader of whole numbers within these limits."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected one whole number from {least} to {most}, got {text!r}")
        return int(text)

    return read
