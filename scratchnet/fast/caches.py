"""How large this processor's caches are."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

COMMON = (
    512 << 10
)  # bytes: where the system does not say. A smaller cache than there is costs little, a larger one more


def second_level() -> int:
    """Bytes of a core's L2 cache, as the system says; COMMON if it says nothing, as on Windows."""
    try:
        said = _sysctl(b"hw.l2cachesize") if sys.platform == "darwin" else _listed(2)
    except (OSError, ValueError, AttributeError):
        return COMMON
    return said if said > 0 else COMMON


def _listed(level: int) -> int:
    """Bytes of the first core's cache of a level, as Linux lists them: "2048K"."""
    for cache in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if cache.joinpath("level").read_text().strip() == str(level):
            return int(cache.joinpath("size").read_text().strip().removesuffix("K")) << 10
    return 0


def _sysctl(name: bytes) -> int:
    """A number that macOS knows by a name; 0 if it does not."""
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    failed = ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else value.value
