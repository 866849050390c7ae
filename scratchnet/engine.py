"""Which code does the arithmetic: the readable NumPy kernels, their compiled mirror, or the learner's own answers.

A layer never names an engine. It calls `ops.conv2d_forward(...)`, and `use_engine` changes the functions that `ops`
holds. So there is no code between a layer and its math: in a debugger, one *Step Into* from `Conv2D.backward` lands in
`conv2d_backward` of the active engine.

A network does not name an engine either. It runs `ops.stages(layers)`: on the readable engine these are the layers
themselves; the compiled engine fuses some of them, see `scratchnet.fast.fused`.

The engine is chosen by the environment variable `SCRATCHNET_ENGINE` before the start, or by `use_engine` at any time.

**What the engines agree on.** Results, up to rounding, and errors, word for word; `tests/test_agreement.py` compares
them. If a number is NaN or infinite, the sums of layers and resizing keep these promises on either engine:

- It is not hidden: each result to which it contributes a term is NaN or infinite too.
- It stays in its example: the outputs and the dx of all other examples of a batch are what they would be without it.
  (Not so behind batch normalisation in training, where all examples share a mean and a variance.)
- 0 times such a number is left open. The book multiplies most zeros; the mirror leaves many out (those of a gradient
  behind a ReLU) and has some of its own (the padding of a wider kernel). So one engine may have NaN where the other has
  a number, and which of NaN and the infinities a result is may differ.

Where nothing is summed the engines agree exactly: ReLU passes NaN on, a max-pool takes NaN for the largest number. The
sign of a zero is not part of any promise.

To read this file: `ENGINES` has one record for each engine, `KERNELS` names what every engine offers, `ops` holds the
functions of the engine in use, and `_activate` puts them there. `add_kernels` is for layers outside this package.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

Function = Callable[..., Any]


class Engine(NamedTuple):
    """One engine."""

    #: where its functions are; of two with the same name, the later module's is used. A module that has a function
    #: `kernels` is asked for them, by name, each time that the engine is chosen
    modules: tuple[str, ...]
    compiled: bool = False  #: whether Numba compiles its functions


BOOK = (
    "scratchnet.layers", "scratchnet.loss", "scratchnet.optim", "scratchnet.average", "scratchnet.data.augment",
)  # fmt: skip
ENGINES = {
    "numpy": Engine(BOOK),
    "numba": Engine(
        ("scratchnet.fast", "scratchnet.fast.fused", "scratchnet.fast.choose", "scratchnet.fast.ahead"), compiled=True
    ),
    "mine": Engine((*BOOK, "scratchnet.exercises.mine")),  # the learner's own answers, where they are right
}
READABLE_ENGINE = "numpy"  # the one to step through
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
    "batch_norm_statistics", "batch_norm_forward", "batch_norm_backward",
    "softmax_gradient",
    "sgd_update", "momentum_update", "adam_update", "average_update",
    "turn_and_shift",
)  # fmt: skip

# Kernels from outside the package: name -> (readable, compiled). `add_kernels` fills it.
_added: dict[str, tuple[Function, Function]] = {}


class Ops:
    """The active engine's functions, as plain attributes: `ops.dense_forward` *is* the function, not a wrapper."""

    engine: str | None = None

    def __getattr__(self, name: str) -> Function:
        """Load the engine that the environment asks for; runs once, when the first function is looked up."""
        if name not in KERNELS and name not in DEFAULTS and name not in _added:
            names = ", ".join([*KERNELS, *_added])
            raise AttributeError(f"scratchnet has no kernel named {name!r}; the kernels are: {names}")
        _activate(current_engine())
        if name not in vars(self):
            raise AttributeError(
                f"the {self.engine} engine has no function {name!r}: expected it in one of "
                f"{', '.join(ENGINES[str(self.engine)].modules)}"
            )
        function: Function = vars(self)[name]
        return function


ops = Ops()


class use_engine:
    """Run all layers on the engine `name`, from now on or until a `with` block ends.

    Parameters
    ----------
    name : {"numpy", "numba", "mine"}
        "numpy" is the readable engine (`scratchnet.layers`), the one to step through; "numba" the compiled one
        (`scratchnet.fast`); "mine" has your own answers to the exercises, where they are right, and else the readable
        functions.

    Raises
    ------
    ValueError
        If there is no engine of that name.
    RuntimeError
        If the engine cannot run here; the previous engine stays in use.

    Examples
    --------
    >>> import numpy as np
    >>> import scratchnet as sn
    >>> sn.use_engine("numpy").name
    'numpy'
    >>> with sn.use_engine("numpy"):
    ...     out = sn.ReLU().forward(np.array([[-1.0, 2.0]]))
    """

    def __init__(self, name: str) -> None:
        self.previous = _asked_for()
        _activate(name)
        self.name = name

    def __enter__(self) -> use_engine:
        return self

    def __exit__(self, *exception: object) -> None:
        _activate(self.previous)


def current_engine() -> str:
    """The name of the engine in use, or of the one that the first kernel will start: "numpy" or "numba".

    Raises ValueError if the environment names an engine that does not exist.
    """
    name = _asked_for()
    _find(name)
    return name


def is_compiled() -> bool:
    """Whether Numba compiles the engine in use; ValueError if the environment names an engine that does not exist."""
    return _find(current_engine()).compiled


def add_kernels(*book: Function, mirror: Sequence[Function] = ()) -> None:
    """Add functions to `ops`, each under its own name: the kernels of a layer outside this package.

    Adding a name again replaces the function, so that a notebook cell can be run twice.

    Parameters
    ----------
    book : functions
        The readable ones, such as `softplus_forward` and `softplus_backward`.
    mirror : sequence of functions, optional
        The same functions compiled, with the same names and signatures. A function of the book that is not among them
        runs on every engine.

    Raises
    ------
    ValueError
        If a name belongs to scratchnet itself, or if the mirror has a function that the book does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from scratchnet.engine import add_kernels, ops
    >>> def softplus_forward(x):
    ...     return np.log1p(np.exp(x))
    >>> add_kernels(softplus_forward)
    >>> ops.softplus_forward is softplus_forward
    True
    """
    readable = {function.__name__: function for function in book}
    compiled = {function.__name__: function for function in mirror}
    for name in readable:
        if name in (*KERNELS, *DEFAULTS, "engine"):
            raise ValueError(f"add_kernels: {name!r} is scratchnet's own; give your function another name")
    if not compiled.keys() <= readable.keys():
        raise ValueError(
            f"add_kernels: expected functions of the mirror to be named as in the book ({', '.join(readable)}), "
            f"got {', '.join(compiled)}"
        )
    _added.update({name: (function, compiled.get(name, function)) for name, function in readable.items()})
    if ops.engine:
        _activate(ops.engine)


def stages(layers: Sequence[Any]) -> Sequence[Any]:
    """What a network runs one after the other: the layers themselves, unless the engine has stages of its own."""
    return layers


@contextmanager
def recorded() -> Iterator[list[Any]]:
    """Collect what kernels choose inside the `with` block: nothing, unless the engine has several ways."""
    yield []


def before_forward(net: Any, x: np.ndarray, training: bool) -> None:
    """Called by a network before it goes forward, for what an engine has to do before: nothing."""


class Planned(NamedTuple):
    """What is going to be run, so that an engine can get ready for it."""

    net: Any
    passes: Sequence[tuple[tuple[int, ...], Any, bool]]  #: inputs' shape (N, ...), their dtype, whether in training
    optimizers: Sequence[Any] = ()  #: over the network's parameters
    augment: Function | None = None
    average: Any = None  #: of the network's weights: a `WeightAverage`
    besides: Sequence[Callable[[], Any]] = ()  #: what else calls kernels as the run will


def prepare(plans: Sequence[Planned], stop: Callable[[], Any] = lambda: False) -> None:
    """Compile what these plans need, unless `stop()` becomes true: nothing, on an engine that is not compiled."""


def about() -> str:
    """What there is to know of an engine besides its name: nothing, unless it says so itself."""
    return ""


def answers_used() -> dict[str, str]:
    """Checksums of the learner's answers that compute, by exercise: a resumed run has to have the same ones."""
    return {}


def dense_forward_together(xs: Sequence[np.ndarray], w: np.ndarray, b: np.ndarray | None) -> list[np.ndarray] | None:
    """`dense_forward` of several shards of a batch at once; None, unless the engine can do so with the same bits.

    Parameters
    ----------
    xs : sequence of (n, in), the shards.
    w, b : as for `dense_forward`.

    Returns
    -------
    list of (n, out), what each shard would have by itself, or None.
    """
    return None


def dense_backward_together(
    douts: Sequence[np.ndarray],
    xs: Sequence[np.ndarray],
    w: np.ndarray,
    sums: Sequence[tuple[Sequence[int], np.ndarray]],
    *,
    need_dx: bool = True,
) -> tuple[Sequence[np.ndarray | None], Sequence[np.ndarray]] | None:
    """`dense_backward` of several shards at once, whose dw are added; None, unless the engine can with the same bits.

    Parameters
    ----------
    douts : sequence of (n, out), the gradients with respect to the shards' outputs.
    xs, w : as given to `dense_forward_together`.
    sums : sequence of (merges, array (in, out))
        The first `len(merges)` shards belong to the first array, which is overwritten with the sum of their dw; the
        next ones to the second, and so on. After a shard, the last two sums are added as often as `merges` says.
    need_dx : bool
        If false, each dx is None.

    Returns
    -------
    dxs : (n, in) each, dbs : (out,) each; or None, and then the arrays are as they were.
    """
    return None


# What `ops` holds besides kernels, for an engine that has no such function itself.
DEFAULTS: dict[str, Function] = {
    f.__name__: f
    for f in (
        stages,
        recorded,
        before_forward,
        prepare,
        about,
        answers_used,
        dense_forward_together,
        dense_backward_together,
    )
}


def _asked_for() -> str:
    return ops.engine or os.environ.get("SCRATCHNET_ENGINE", DEFAULT_ENGINE)


def _activate(name: str) -> None:
    engine = _find(name)
    try:
        modules = [importlib.import_module(module) for module in engine.modules]
    except ImportError as error:
        raise RuntimeError(
            f"the {name} engine cannot run here: {error}. Install what is missing, or use the readable engine: "
            f'sn.use_engine("{READABLE_ENGINE}"), or SCRATCHNET_ENGINE={READABLE_ENGINE}'
        ) from error
    added = {name: compiled if engine.compiled else readable for name, (readable, compiled) in _added.items()}
    functions = DEFAULTS | added
    offered = {*KERNELS, *functions}
    for module in modules:
        held = module.kernels() if hasattr(module, "kernels") else vars(module)
        functions |= {name: function for name, function in held.items() if name in offered}
    vars(ops).update(functions, engine=name)


def _find(name: str) -> Engine:
    if name not in ENGINES:
        raise ValueError(
            f"engine: expected one of {', '.join(ENGINES)}, got {name!r} (SCRATCHNET_ENGINE or use_engine)"
        )
    return ENGINES[name]
