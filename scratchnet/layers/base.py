"""What every layer shares: named parameters, checks with messages that name the layer, and a description of itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scratchnet.layers.initial import initial_bias, initial_weights

Shape = tuple[int, ...]


class Parameter:
    """A named array that training changes, and its gradient.

    Attributes
    ----------
    name : str
        "w" or "b" in a layer of its own; "conv1.w" in a network.
    value : ndarray
        The weights. Assign an array (of the same shape, float32 or float64) and the next forward uses a copy of it.
    grad : ndarray or None
        The gradient of the loss for `value`: overwritten, never added to, by each backward.
    """

    def __init__(self, name: str, value: np.ndarray) -> None:
        self.name = name
        self._value = value
        self.grad: np.ndarray | None = None

    @property
    def value(self) -> np.ndarray:
        return self._value

    @value.setter
    def value(self, value: np.ndarray) -> None:
        check_float(self.name, "a value", value)
        if value.shape != self._value.shape:
            raise ValueError(f"{self.name}: expected a value of shape {self._value.shape}, got {value.shape}")
        self._value = np.array(value)  # a copy: training changes it in place, and must not change the caller's array

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self._value.shape}, dtype={self._value.dtype})"


class Formulas(NamedTuple):
    """A layer's math in a few lines, for whoever steps through it: what forward computes, and what backward does."""

    forward: list[str]
    backward: list[str]


class Layer:
    """One stage of a network: a forward pass, a backward pass and the parameters between them.

    A subclass says which input it expects (`input_shape`) and what comes out (`output_shape`), and keeps from `forward`
    just what `backward` needs. The math is not here: it is in the pure functions that `scratchnet.engine.ops` holds.
    """

    kind = "layer"  # the stem of its name in a network: conv1, conv2, ...
    formulas: Formulas | None = None

    def __init__(self) -> None:
        self.name = self.kind
        # Shape and dtype of the last forward's input; each forward makes a new tuple.
        self.seen: tuple[Shape, np.dtype] | None = None

    # ---------------------------------------------------------------- what a subclass writes

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The layer's output for a batch x (N, ...); keeps what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} has to define forward")

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient for the last input, from dout, the gradient for the last output; fills the parameters' `grad`.

        Changes neither dout nor any weight, and may be called again with the same result. A layer with parameters skips
        the gradient for its input, and returns None, if `need_dx` is false: nothing comes before a first layer.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define backward")

    def parameters(self) -> list[Parameter]:
        """The trained arrays, in the order in which `forward` uses them."""
        return []

    def input_shape(self) -> tuple[int | str, ...] | None:
        """The expected shape of x, letters for sizes that are free: ("N", "H", "W", 32). None: any shape."""
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one example after this layer, from its shape before (both without N)."""
        return input_shape

    def multiply_adds(self, input_shape: Shape) -> int:
        """Multiply-adds of one example's forward pass, given its shape before this layer."""
        return 0

    # ---------------------------------------------------------------- what an engine does not write down

    def remember_later(self, name: str, make: Callable[[], np.ndarray]) -> None:
        """Hold `make()` as the attribute `name`, but call `make` only when somebody looks at the attribute.

        For an array that `forward` keeps, where an engine can do without it and writing it would take time.
        """
        vars(self).pop(name, None)  # what an earlier forward left
        vars(self)[f"_make_{name}"] = make

    if not TYPE_CHECKING:  # else a type checker takes any attribute of a layer for an existing one

        def __getattr__(self, name: str) -> Any:
            """Make an array that was remembered for later. Python calls this for attributes that it does not find."""
            make = vars(self).get(f"_make_{name}")
            if make is None:
                return super().__getattribute__(name)  # raises Python's own AttributeError
            value = vars(self)[name] = make()
            vars(self).pop(f"_make_{name}", None)
            return value

    # ---------------------------------------------------------------- what a subclass uses

    def check_input(self, x: np.ndarray) -> np.ndarray:
        """x itself, if this layer can take it; else an error that names the layer."""
        check_float(self.name, "input", x)
        self.shape_after(x.shape)
        self.seen = (x.shape, x.dtype)
        return x

    def shape_after(self, x_shape: Shape) -> Shape:
        """The output's shape for an input's, both with N; an error that names the layer if the input does not fit."""
        check_shape(self.name, "input", x_shape, self.input_shape() or ("N", "..."))
        return (x_shape[0], *self.on_this_layer(self.output_shape, x_shape[1:]))

    def check_dout(self, dout: np.ndarray) -> np.ndarray:
        """dout in the dtype of the last input, if it has the shape of the last output; else an error."""
        if self.seen is None:
            raise RuntimeError(f"{self.name}: backward was called before forward; call forward(x) first")
        x_shape, dtype = self.seen
        check_float(self.name, "dout", dout)
        check_shape(self.name, "dout", dout.shape, self.shape_after(x_shape))
        return dout.astype(dtype, copy=False)

    def on_this_layer(self, function: Any, *arguments: Any) -> Any:
        """`function(*arguments)`; a ValueError that it raises gets this layer's name in front."""
        try:
            return function(*arguments)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments that make this layer again, as JSON can hold them: weights are kept apart.

        Every layer keeps each constructor argument in an attribute of the same name; `init` and `rng` only say where
        the first weights come from.
        """
        names = [name for name in inspect.signature(type(self)).parameters if name not in ("init", "rng")]
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"


class WeightedLayer(Layer):
    """A layer with weights w and, unless it was made with bias=False, biases b."""

    w: Parameter
    b: Parameter | None

    def draw_parameters(self, shape: Shape, fan_in: int, biases: int, init: str, rng: Any) -> None:
        """Draw w of the given shape, and so many biases (0: none), from a Generator or by a seed."""
        rng = np.random.default_rng(rng)
        self.w = Parameter("w", self.on_this_layer(initial_weights, init, shape, fan_in, rng))
        self.b = Parameter("b", initial_bias(init, biases, fan_in, rng)) if biases else None

    def parameters(self) -> list[Parameter]:
        return [self.w] if self.b is None else [self.w, self.b]

    def weights(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
        """w and b (None without biases) in the dtype that the layer computes in: that of its input."""
        w = self.w.value.astype(dtype, copy=False)
        b = None if self.b is None else self.b.value.astype(dtype, copy=False)
        return w, b

    def set_gradients(self, dw: np.ndarray, db: np.ndarray) -> None:
        """Overwrite the gradients; never add to them, so that calling backward twice changes nothing."""
        self.w.grad = dw
        if self.b is not None:
            self.b.grad = db


def check_float(owner: str, what: str, array: Any) -> None:
    """TypeError, naming the owner, for anything but an array of float32 or float64."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{owner}: expected {what} to be a NumPy array, got {type(array).__name__}")
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{owner}: expected {what} of dtype float32 or float64, got {array.dtype}; "
            f"convert it with .astype(np.float32) (and bytes to [0, 1] with / 255)"
        )


def check_shape(owner: str, what: str, shape: Shape, expected: tuple[int | str, ...]) -> None:
    """ValueError, naming the owner and both shapes, if a shape is not the expected one.

    Letters stand for sizes that are free, and a final "..." for any further axes.
    """
    wanted, given = expected, shape
    if expected[-1] == "...":
        wanted = expected[:-1]
        given = shape[: len(wanted)]
    if len(given) != len(wanted) or any(isinstance(w, int) and w != g for w, g in zip(wanted, given, strict=True)):
        letters = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{owner}: expected {what} of shape ({letters}), got {shape}")


def positive(owner: str, what: str, value: Any) -> int:
    """`value` as an int, if it is one and at least 1; else a ValueError that names the owner."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{owner}: expected {what} to be a positive integer, got {value!r}")
    return int(value)
