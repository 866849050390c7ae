"""Which code does the arithmetic: the readable NumPy kernels, or their compiled mirror.

A layer never names an engine. It calls `ops.conv2d_forward(...)`, and `use_engine` changes the functions that `ops`
holds. So nothing stands between a layer and its math: in a debugger, one *Step Into* from `Conv2D.backward` lands in
`conv2d_backward` of the active engine.

The engine is chosen by the environment variable `SCRATCHNET_ENGINE` before the start, or by `use_engine` at any time.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

# Each engine, and the modules whose functions it is made of.
ENGINES = {
    "numpy": ("scratchnet.layers", "scratchnet.optim", "scratchnet.data.augment"),
    "numba": ("scratchnet.fast",),
}
DEFAULT_ENGINE = "numba"

# Every engine offers these functions, under the same names and with the same signatures.
KERNELS = (
    "im2col", "col2im",
    "conv2d_forward", "conv2d_backward",
    "depthwise_conv2d_forward", "depthwise_conv2d_backward",
    "pointwise_conv2d_forward", "pointwise_conv2d_backward",
    "max_pool2d_forward", "max_pool2d_backward",
    "avg_pool2d_forward", "avg_pool2d_backward",
    "dense_forward", "dense_backward",
    "relu_forward", "relu_backward",
    "dropout_forward", "dropout_backward",
    "resize_forward", "resize_backward",
    "sgd_update", "momentum_update", "adam_update",
    "turn_and_shift",
)  # fmt: skip


class Ops:
    """The active engine's kernels, as plain attributes: `ops.dense_forward` *is* the function, not a wrapper."""

    engine: str | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Load the engine that the environment asks for; runs once, when the first kernel is looked up."""
        if name not in KERNELS:
            raise AttributeError(f"scratchnet has no kernel named {name!r}; the kernels are: {', '.join(KERNELS)}")
        _activate(os.environ.get("SCRATCHNET_ENGINE", DEFAULT_ENGINE))
        kernel: Callable[..., Any] = vars(self)[name]
        return kernel


ops = Ops()


class use_engine:
    """Run all layers on the engine `name`, from now on or for the length of a `with` block.

    Parameters
    ----------
    name : {"numpy", "numba"}
        "numpy" is the readable engine (`scratchnet.layers`), the one to step through; "numba" the compiled one
        (`scratchnet.fast`).

    Raises
    ------
    ValueError
        If there is no engine of that name.
    RuntimeError
        If the engine cannot run here; the engine in use before stays.

    Examples
    --------
    >>> import scratchnet as sn
    >>> sn.use_engine("numpy").name
    'numpy'
    >>> with sn.use_engine("numpy"):
    ...     out = sn.ReLU().forward(np.array([[-1.0, 2.0]]))
    """

    def __init__(self, name: str) -> None:
        self.previous = current_engine()
        _activate(name)
        self.name = name

    def __enter__(self) -> use_engine:
        return self

    def __exit__(self, *exception: object) -> None:
        _activate(self.previous)


def current_engine() -> str:
    """The engine in use, or the one that the first kernel will start: "numpy" or "numba"."""
    return ops.engine or os.environ.get("SCRATCHNET_ENGINE", DEFAULT_ENGINE)


def _activate(name: str) -> None:
    if name not in ENGINES:
        raise ValueError(
            f"engine: expected one of {', '.join(ENGINES)}, got {name!r} (SCRATCHNET_ENGINE or use_engine)"
        )
    try:
        modules = [importlib.import_module(module) for module in ENGINES[name]]
    except ImportError as error:
        raise RuntimeError(
            f"the {name} engine cannot run here: {error}. Install what is missing, or use the readable engine: "
            'sn.use_engine("numpy"), or SCRATCHNET_ENGINE=numpy'
        ) from error
    kernels = {name: kernel for module in modules for name, kernel in vars(module).items() if name in KERNELS}
    vars(ops).update(kernels, engine=name)
