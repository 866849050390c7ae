"""What `scratchnet info` prints: what decides speed and results on this machine, and where data is found."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from scratchnet.cache import cache_folder
from scratchnet.data import DATASETS, DatasetInfo
from scratchnet.data.sources import data_folder, find, holds_labels_of
from scratchnet.engine import current_engine, is_compiled, ops
from scratchnet.parallel.cores import threads_for
from scratchnet.parallel.team import under_mpiexec, whole_team
from scratchnet.version import __version__


def describe_machine() -> dict[str, str]:
    """Versions, processor, vector width, engine, threads, BLAS, cache folders and data, each under its name."""
    blas = blas_libraries()
    return {
        "scratchnet": f"{__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
        "processor": f"{processor_name()}, {os.cpu_count()} logical cores",
        "vector width": f"{width} bits" if (width := vector_width()) else "not in use: NumPy chooses its own",
        "engine": f"{current_engine()} (SCRATCHNET_ENGINE or sn.use_engine changes it){ops.about()}",
        "threads": ", ".join([*numba_threads(), *(f"{lib['num_threads']} in {lib['internal_api']}" for lib in blas)]),
        "ranks": ranks(),
        "threading layer": ", ".join(
            [*numba_layer(), *(f"{lib.get('threading_layer', 'unknown')} in {lib['internal_api']}" for lib in blas)]
        ),
        "BLAS": ", ".join(blas_line(lib) for lib in blas) or "not recognised",
        "cache folder": user_folder(),
        "compiled code": compiled_folder(),
        "data": "; ".join(f"{name}: {where(info)}" for name, info in DATASETS.items()),
    }


def processor_name() -> str:
    """The processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def numba_threads() -> list[str]:
    """How many threads the compiled engine runs on; empty if another engine is in use."""
    if not is_compiled():
        return []
    import numba

    return [f"{numba.get_num_threads()} in numba"]


def ranks() -> str:
    """How many processes mpiexec has started, the threads of each, and by what they talk."""
    team = whole_team()
    if not under_mpiexec():
        return "1, not started by mpiexec"
    return f"{team.size}, {threads_for(team)} threads each, {team.library()}"


def numba_layer() -> list[str]:
    """The library that starts these threads. It is known only after a kernel has run, so one runs here."""
    if not is_compiled():
        return []
    import numba

    from scratchnet.fast.relu import relu_forward

    relu_forward(np.zeros(1, np.float32))
    return [f"{numba.threading_layer()} in numba"]


def user_folder() -> str:
    """The user's cache folder for scratchnet, or why there is none."""
    try:
        return str(cache_folder())
    except FileNotFoundError as error:
        return str(error)


def compiled_folder() -> str:
    """The folder in which the compiled engine keeps its code."""
    if not is_compiled():
        return "not in use"
    from scratchnet.fast.code_cache import code_folder

    return str(code_folder())


def vector_width() -> int | None:
    """Bits of the vector registers that the compiled engine uses; None if another engine is in use."""
    if not is_compiled():
        return None
    from scratchnet.fast.register.width import REGISTER_BITS

    return REGISTER_BITS


def blas_libraries() -> list[dict[str, str]]:
    """The matrix libraries that this process has loaded, as threadpoolctl describes them."""
    import threadpoolctl

    return [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]


def blas_line(library: dict[str, str]) -> str:
    """One library: its name, its version, and the processor type that it chose its code for."""
    return f"{library['internal_api']} {library['version']} for {library.get('architecture', 'unknown')}"


def where(info: DatasetInfo) -> str:
    """Where a data set is found, or where it would be downloaded to."""
    if info.read is not None:
        return "inside the package" if info.name == "sample" else "made by a function"
    try:
        folder = find(info)
    except FileNotFoundError as error:
        return str(error)
    if folder is None:
        return f"not found; would be downloaded to {data_folder(info)}"
    return f"{folder}{'' if holds_labels_of(info, folder) else ' (other files of the same names)'}"
