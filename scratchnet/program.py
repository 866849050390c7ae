"""How to start the command from here, for every message that names one: `scratchnet` alone is often not on the path."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "scratchnet"
WINDOWS = os.name == "nt"


class Started:
    """Whether this process is the command itself. `cli.main` notes it when it reads the process's own arguments."""

    as_command = False


def command_line(*arguments: object) -> str:
    """The command with these arguments, as it can be typed where this process was started, quoted where needed."""
    words = [*program(), *map(str, arguments)]
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)


def python_line(*arguments: object) -> str:
    """This Python with these arguments, quoted where needed: for a module that is no command of its own."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)


def program() -> list[str]:
    """What starts the command: the same as started this process, if it is the command; else what this Python has.

    A script of the user's own that calls `cli.main` is the command, too: it may know networks that no other does.
    """
    python = sys.orig_argv[0] or sys.executable
    script = Path(sys.executable).with_name(NAME)
    if Started.as_command:
        spec = sys.modules["__main__"].__spec__
        if spec is not None and spec.name != "__main__":  # python -m scratchnet. (Windows runs scripts as a __main__)
            return [python, "-m", spec.name.removesuffix(".__main__")]
        started = Path(sys.argv[0])
        if started.stem == NAME:
            script = started
        elif started.is_file():
            return [python, str(started)]
    script = script.with_suffix(".exe") if WINDOWS else script
    return [_shortest(script)] if script.is_file() else [python, "-m", NAME]


def _shortest(script: Path) -> str:
    """The bare name if the path leads to this script; else where it is, from here if it is below."""
    found = shutil.which(NAME)
    if found is not None and script.samefile(found):
        return NAME
    full, here = script.absolute(), Path.cwd()
    below = full.is_relative_to(here) and full.parent != here  # shells look for a bare name on the path only
    return str(full.relative_to(here) if below else full)
