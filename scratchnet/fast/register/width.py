"""How wide this processor's vector registers are, how many there are, and how many numbers one of them holds."""

from __future__ import annotations

import numpy as np
from numba.core import codegen, config


def processor_features() -> set[str]:
    """The features that Numba compiles for: the host's, unless NUMBA_CPU_FEATURES, NUMBA_CPU_NAME=generic or the like
    say otherwise."""
    named = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {feature[1:] for feature in named.split(",") if feature.startswith("+")}


def register_bits() -> int:
    """Bits of the widest vector register that the code may use: 512, 256 or 128."""
    features = processor_features()
    if "avx512f" in features:
        return 512
    return 256 if features >= {"avx2", "fma"} else 128


REGISTER_BITS = register_bits()


def lanes(dtype: np.dtype) -> int:
    """How many numbers of a dtype one register holds."""
    return REGISTER_BITS // (8 * np.dtype(dtype).itemsize)


def known(length: int) -> tuple[int, ...]:
    """A number that the compiler knows: the length of a tuple of zeros.

    A tuple's length is part of its type. When the kernel is compiled, a loop over `len(t)` is unrolled and a branch on
    `len(t)` is decided. The tuple itself is not in the compiled code.
    """
    return (0,) * length
