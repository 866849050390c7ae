"""What `scratchnet info` prints: the machine, the libraries and the data, as far as they decide speed and results."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from scratchnet.data.sources import cache_folder, find_mnist
from scratchnet.engine import current_engine, is_compiled
from scratchnet.version import __version__


def describe_machine() -> dict[str, str]:
    """Each thing by its name: versions, processor, vector width, engine, threads, BLAS, cache folder, data found."""
    blas = blas_libraries()
    return {
        "scratchnet": f"{__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
        "processor": f"{processor_name()}, {os.cpu_count()} logical cores",
        "vector width": f"{vector_width()} bits",
        "engine": f"{current_engine()} (SCRATCHNET_ENGINE or sn.use_engine changes it)",
        "threads": ", ".join([*numba_threads(), *(f"{lib['num_threads']} in {lib['internal_api']}" for lib in blas)]),
        "threading layer": ", ".join(
            [*numba_layer(), *(f"{lib.get('threading_layer', 'unknown')} in {lib['internal_api']}" for lib in blas)]
        ),
        "BLAS": ", ".join(blas_line(lib) for lib in blas) or "not recognised",
        "cache folder": str(cache_folder().parent),
        "compiled code": compiled_folder(),
        "data": f"sample: inside the package; mnist: {mnist_line()}",
    }


def processor_name() -> str:
    """The processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def numba_threads() -> list[str]:
    """How many threads the compiled engine runs on; nothing where the other engine is in use."""
    if not is_compiled():
        return []
    import numba

    return [f"{numba.get_num_threads()} in numba"]


def numba_layer() -> list[str]:
    """What starts these threads; found out by running a kernel."""
    if not is_compiled():
        return []
    import numba

    from scratchnet.fast.relu import relu_forward

    relu_forward(np.zeros(1, np.float32))
    return [f"{numba.threading_layer()} in numba"]


def compiled_folder() -> str:
    """Where the compiled engine keeps its code."""
    if not is_compiled():
        return "not in use"
    from scratchnet.fast.compiled import cache_folder as folder

    return str(folder())


def vector_width() -> int:
    """Bits of the widest vector register that NumPy found on this processor; 128 where it names none."""
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found = {*simd.get("baseline", []), *simd.get("found", [])}
    if any(name.startswith(("AVX512", "X86_V4")) for name in found):
        return 512
    if any(name.startswith(("AVX2", "X86_V3")) for name in found):
        return 256
    return 128


def blas_libraries() -> list[dict[str, str]]:
    """The matrix libraries that this process has loaded, as threadpoolctl describes them."""
    import threadpoolctl

    return [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]


def blas_line(library: dict[str, str]) -> str:
    """One library: its name, version and the processor type that it chose its code for."""
    return f"{library['internal_api']} {library['version']} for {library.get('architecture', 'unknown')}"


def mnist_line() -> str:
    """Where the complete MNIST is, or that it would be downloaded."""
    try:
        folder = find_mnist()
    except FileNotFoundError as error:
        return str(error)
    return str(folder) if folder else f"not found; would be downloaded to {cache_folder()}"
