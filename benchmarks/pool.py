"""Start worker processes on the same cores, and send them commands. `worker.py` is the other side."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import on_first_cores

ROOT = Path(__file__).parent.parent


class PeerError(Exception):
    """A peer could not do what it was asked for; the message comes from the peer."""


class PeerUnable(PeerError):
    """A peer's framework has no equivalent of one of a network's layers."""


class PeerMissing(Exception):
    """A peer's framework is not installed."""


def environment(threads: int) -> dict[str, str]:
    """Environment variables that limit every framework to so many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": path}


class Remote:
    """A worker process, as the benchmark sees it."""

    def __init__(self, name: str, threads: int, modules: Sequence[str] = ()) -> None:
        self.name = name
        with on_first_cores(threads):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", name, *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment(threads),
            )
        self.versions: dict[str, str] = {}
        try:
            self.versions = self.ask("versions")
        except (PeerError, PeerMissing):
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send one command and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:  # a broken pipe, which Windows reports as an invalid argument
            line = ""
        if not line:
            raise PeerError(f"{self.name}: its process ended while asked to {do} (exit {self.process.wait()})")
        answer = json.loads(line)
        if "missing" in answer:
            raise PeerMissing(answer["missing"])
        if "no equivalent" in answer:
            raise PeerUnable(answer["no equivalent"])
        if "error" in answer:
            raise PeerError(f"{self.name}: {do} failed:\n{answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # unsent input for a process that has ended is lost
            self.process.stdin.close()
