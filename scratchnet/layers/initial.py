"""The initial weights: three published rules, each drawn from a Generator that the caller seeds.

A network learns only if signals neither vanish nor explode from layer to layer, forward and backward. Each rule sets
the spread of the weights from the layer's fans: `fan_in`, the number of inputs that reach one output, and `fan_out`,
the number of outputs that one input reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from scratchnet.settings import shown

RULES = ("glorot_uniform", "pytorch", "he_normal")

_left: ContextVar[int | None] = ContextVar("numbers that may still be drawn", default=None)


def initial_weights(init: str, shape: tuple[int, ...], fan_in: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of a layer before training.

    Parameters
    ----------
    init : {"glorot_uniform", "pytorch", "he_normal"}
        - "glorot_uniform": uniform in ±sqrt(6 / (fan_in + fan_out)); Glorot and Bengio, "Understanding the difficulty
          of training deep feedforward neural networks", 2010, eq. 16. The fans are TensorFlow's: the last two axes of
          `shape`, each times the size of the kernel. For a depthwise kernel (KH, KW, C, M) that is fan_in = KH*KW*C,
          though only KH*KW inputs reach one output.
        - "pytorch": uniform in ±1 / sqrt(fan_in), the default of torch.nn.Linear and torch.nn.Conv2d (LeCun et al.,
          "Efficient BackProp", 1998, section 4.6, asks for this order of magnitude).
        - "he_normal": normal with standard deviation sqrt(2 / fan_in); He et al., "Delving Deep into Rectifiers", 2015,
          eq. 10.
    shape : tuple of int
        (KH, KW, C, F) or (in, out).
    fan_in : int
        Inputs that reach one output.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, float32, of the given shape.

    Raises
    ------
    ValueError
        If there is no such rule, or the array would be larger than `drawing_at_most` allows.
    """
    if not isinstance(init, str) or init not in RULES:
        raise ValueError(f"expected init to be one of {', '.join(RULES)}; got {shown(init)}")
    _count(shape)
    if init == "glorot_uniform":
        kernel_size = math.prod(shape[:-2])
        limit = math.sqrt(6.0 / (kernel_size * (shape[-2] + shape[-1])))
        weights = rng.uniform(-limit, limit, shape)
    elif init == "pytorch":
        limit = 1.0 / math.sqrt(fan_in)
        weights = rng.uniform(-limit, limit, shape)
    else:
        weights = rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)
    return weights.astype(np.float32)


def initial_bias(init: str, size: int, fan_in: int, rng: np.random.Generator) -> np.ndarray:
    """Biases (size,), float32, before training: within ±1 / sqrt(fan_in) for "pytorch", else 0 as in the papers."""
    if init == "pytorch":
        return initial_weights(init, (size,), fan_in, rng)
    _count((size,))
    return np.zeros(size, np.float32)


@contextmanager
def drawing_at_most(numbers: int) -> Iterator[None]:
    """Within the block, layers get no more than so many weights and biases in all; ValueError if they ask for more.

    A file's description may claim any size. The arrays in the file say how many numbers there can be.
    """
    token = _left.set(numbers)
    try:
        yield
    finally:
        _left.reset(token)


def _count(shape: tuple[int, ...]) -> None:
    """Take an array of this shape from what may still be drawn."""
    left = _left.get()
    if left is None:
        return
    if math.prod(shape) > left:
        raise ValueError(f"weights of shape {shape} are more than the {left:,} numbers that are left for them")
    _left.set(left - math.prod(shape))
