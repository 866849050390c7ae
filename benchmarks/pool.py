"""The workers, as the benchmark sees them: started on the same cores, asked in turn."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class PeerError(Exception):
    """A peer could not do what it was asked for; the message is its own."""


class PeerUnable(PeerError):
    """A peer's framework has nothing like one of a network's layers."""


class PeerMissing(Exception):
    """A peer's framework is not installed."""


def environment(threads: int) -> dict[str, str]:
    """What holds every framework to so many threads, in a process that is held to as many cores besides.

    And what scratchnet tells glibc's malloc for itself (see `scratchnet.fast.process`): peers shall have it, too.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    memory = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**31 - 1))
    return os.environ | dict.fromkeys(names, str(threads)) | memory | {"PYTHONPATH": str(ROOT)}


def first_cores(threads: int) -> set[int]:
    """The cores that a process with so many threads is held to."""
    return set(sorted(os.sched_getaffinity(0))[:threads])


class Remote:
    """A worker process."""

    def __init__(self, name: str, threads: int, modules: Sequence[str] = ()) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(threads),
            preexec_fn=lambda: os.sched_setaffinity(0, first_cores(threads)),
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
        except BrokenPipeError:
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
        with contextlib.suppress(BrokenPipeError):  # what was written to a process that had ended is lost with it
            self.process.stdin.close()
