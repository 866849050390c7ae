"""What the benchmark asks of the operating system: which cores, how many, and how much memory a process took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

try:
    import resource
except ImportError:  # Windows; there psutil has what this module is asked for
    resource = None  # type: ignore[assignment]


def cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return sorted(process.cpu_affinity())
    return list(range(psutil.cpu_count() or 1))  # macOS: every process may use all


@contextmanager
def on_first_cores(count: int) -> Iterator[None]:
    """Inside the block, this process and those that it starts use the first `count` cores.

    On macOS, where the system alone chooses the cores, this does nothing: the environment's number of threads must do.
    """
    process, before = psutil.Process(), cores()
    if not hasattr(process, "cpu_affinity"):
        yield
        return
    process.cpu_affinity(before[:count])
    try:
        yield
    finally:
        process.cpu_affinity(before)


def peak_memory() -> float:
    """The largest resident size of this process so far, in MB."""
    if resource is None:
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if psutil.MACOS else peak / 1e3  # bytes on macOS, elsewhere kilobytes
