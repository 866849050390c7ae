"""What every layer shares: named parameters and state, checks that name the layer, and a description of itself."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scratchnet.layers.initial import initial_bias, initial_weights
from scratchnet.settings import generator

Shape = tuple[int, ...]
State = dict[str, "np.ndarray | np.random.Generator"]


class Parameter:
    """A named array that training changes, and its gradient.

    Attributes
    ----------
    name : str
        "w" or "b" in a layer outside a network; "conv1.w" in a network.
    value : ndarray
        The weights. An array that is assigned (of the same shape, float32 or float64) is copied.
    grad : ndarray or None
        The gradient of the loss with respect to `value`. Each backward overwrites it and never adds to it.
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
    """A layer's math in a few lines, for `scratchnet step`: what forward computes, and what backward computes."""

    forward: list[str]
    backward: list[str]


class Layer:
    """One stage of a network: a forward pass, a backward pass and the parameters of both.

    A subclass says which input it expects (`input_shape`) and what comes out (`output_shape`). Its `forward` keeps only
    what `backward` needs. The math is in pure functions, which `scratchnet.engine.ops` holds.
    """

    kind = "layer"  # the start of its name in a network: conv1, conv2, ...
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
        """dx, the gradient with respect to the last input, from dout, the gradient with respect to the last output.

        Sets the parameters' `grad`. Changes neither dout nor any weight; a second call gives the same result. If
        `need_dx` is false, a layer with parameters does not compute dx and returns None. The first layer of a network
        needs no dx.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define backward")

    def parameters(self) -> list[Parameter]:
        """The trained arrays, in the order in which `forward` uses them."""
        return []

    def state(self) -> State:
        """What `forward` changes in training, not the optimiser: running statistics, random generators.

        Each key is the name of an attribute that the constructor sets, and each value is that attribute:
        `return {"running_mean": self.running_mean}`. An array holds float32, float64 or integers, and keeps its shape;
        a float array may change its dtype. State is saved with the weights, and `gradcheck` restores it.
        """
        return {}

    def input_shape(self) -> tuple[int | str, ...] | None:
        """The expected shape of x, with letters for free sizes: ("N", "H", "W", 32). None: any shape."""
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one example after this layer, from its shape before it (both without N)."""
        return input_shape

    def multiply_adds(self, input_shape: Shape) -> int:
        """Multiply-adds of one example's forward pass, given its shape before this layer."""
        return 0

    # ---------------------------------------------------------------- arrays that are made only when they are read

    def remember_later(self, name: str, make: Callable[[], np.ndarray]) -> None:
        """Give the layer an attribute `name` with the value `make()`; call `make` only when the attribute is read.

        This is for an array that `forward` keeps, if the engine does not need it and writing it would take time.
        """
        vars(self).pop(name, None)  # from an earlier forward
        vars(self)[f"_make_{name}"] = make

    if not TYPE_CHECKING:  # with it, a type checker would accept any name as an attribute of a layer

        def __getattr__(self, name: str) -> Any:
            """Make the array given to `remember_later`. Python calls this for attributes that it does not find."""
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
        """The output's shape for the input's, both with N; an error that names the layer if the input does not fit."""
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

    def set_state(self, values: dict[str, Any]) -> None:
        """Restore all or part of what `snapshot(layer.state())` returned; arrays are copied.

        Raises ValueError or TypeError, and changes nothing, if a name, a shape or a dtype does not fit.
        """
        self.check_state(values)
        for name, value in values.items():
            held = getattr(self, name)
            if isinstance(held, np.random.Generator):
                held.bit_generator.state = value  # in place: another layer may draw from the same generator
            else:
                setattr(self, name, np.array(value))

    def check_state(self, values: dict[str, Any]) -> None:
        """Raise an error that names the layer if `set_state(values)` would fail."""
        state = self.state()
        for name, held in state.items():
            _check_declared(self, name, held)
        for name, value in values.items():
            if name not in state:
                raise ValueError(f"{self.name}: expected a state of {', '.join(state) or 'nothing'}, got {name}")
            _check_state_value(f"{self.name}.{name}", state[name], value)

    def on_this_layer(self, function: Any, *arguments: Any) -> Any:
        """`function(*arguments)`; a ValueError that it raises gets this layer's name in front."""
        try:
            return function(*arguments)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments that make this layer again, without its weights, as values that JSON can hold.

        Every layer keeps each constructor argument in an attribute of the same name. `init` and `rng` are left out,
        since they only decide the initial values.
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
        """Draw w of the given shape, and `biases` biases (0: none); `rng` is a Generator or a seed."""
        rng = generator(self.name, "rng", rng)
        self.w = Parameter("w", self.on_this_layer(initial_weights, init, shape, fan_in, rng))
        self.b = Parameter("b", self.on_this_layer(initial_bias, init, biases, fan_in, rng)) if biases else None

    def parameters(self) -> list[Parameter]:
        return [self.w] if self.b is None else [self.w, self.b]

    def weights(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
        """w and b (None without biases) in the dtype that the layer computes in: that of its input."""
        w = self.w.value.astype(dtype, copy=False)
        b = None if self.b is None else self.b.value.astype(dtype, copy=False)
        return w, b

    def set_gradients(self, dw: np.ndarray, db: np.ndarray) -> None:
        """Overwrite the gradients. They are not added to, so that a second backward changes nothing."""
        self.w.grad = dw
        if self.b is not None:
            self.b.grad = db


def snapshot(state: State) -> dict[str, Any]:
    """A copy of a state that `set_state` can restore: each array, and the position of each generator in its stream."""
    return {
        name: held.bit_generator.state if isinstance(held, np.random.Generator) else held.copy()
        for name, held in state.items()
    }


def state_arrays(state: State) -> dict[str, np.ndarray]:
    """The arrays of a state, without its generators."""
    return {name: held for name, held in state.items() if isinstance(held, np.ndarray)}


def state_in(dtype: Any, state: State) -> dict[str, np.ndarray]:
    """The float arrays of a state, converted to another dtype."""
    return {name: array.astype(dtype) for name, array in state_arrays(state).items() if array.dtype.kind == "f"}


def _check_declared(layer: Layer, name: str, held: Any) -> None:
    """Raise an error that names the layer if `state` gives a value that cannot be saved and restored."""
    if getattr(layer, name, None) is not held:
        raise ValueError(f"{layer.name}: state() gives {name!r}; expected the name and the value of an attribute")
    if isinstance(held, np.random.Generator):
        return
    if not isinstance(held, np.ndarray) or not (held.dtype in (np.float32, np.float64) or held.dtype.kind in "iu"):
        what = f"an array of {held.dtype}" if isinstance(held, np.ndarray) else type(held).__name__
        raise TypeError(
            f"{layer.name}.{name}: expected state() to give an array of float32, float64 or integers, or a "
            f"numpy.random.Generator; got {what}"
        )


def _check_state_value(owner: str, held: np.ndarray | np.random.Generator, value: Any) -> None:
    """Raise an error that names the owner if `value` cannot replace `held`."""
    if isinstance(held, np.random.Generator):
        check_generator_state(owner, held, value)
        return
    if held.dtype.kind == "f":
        check_float(owner, "an array", value)
    elif getattr(value, "dtype", None) != held.dtype:
        raise TypeError(f"{owner}: expected an array of dtype {held.dtype}, got {getattr(value, 'dtype', value)}")
    if value.shape != held.shape:
        raise ValueError(f"{owner}: expected shape {held.shape}, got {value.shape}")


def check_float(owner: str, what: str, array: Any) -> None:
    """TypeError, naming the owner, for anything but an array of float32 or float64."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{owner}: expected {what} to be a NumPy array, got {type(array).__name__}")
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{owner}: expected {what} of dtype float32 or float64, got {array.dtype}; "
            f"convert it with .astype(np.float32) (and bytes to [0, 1] with / 255)"
        )


def check_labels(owner: str, labels: Any, classes: int | None) -> None:
    """TypeError or ValueError, naming the owner, for anything but a one-dimensional array of classes from 0."""
    if not isinstance(labels, np.ndarray):
        raise TypeError(f"{owner}: expected labels to be a NumPy array, got {type(labels).__name__}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{owner}: expected integer labels, got {labels.dtype}; convert them with .astype(np.int64)")
    check_shape(owner, "labels", labels.shape, ("N",))
    if labels.size and (labels.min() < 0 or (classes is not None and labels.max() >= classes)):
        expected = (
            "labels of at least 0" if classes is None else f"labels from 0 to {classes - 1} for {classes} classes"
        )
        raise ValueError(f"{owner}: expected {expected}, got labels from {labels.min()} to {labels.max()}")


def check_shape(owner: str, what: str, shape: Shape, expected: tuple[int | str, ...]) -> None:
    """ValueError, naming the owner and both shapes, if a shape is not the expected one.

    Letters stand for free sizes, and a final "..." for any further axes.
    """
    wanted, given = expected, shape
    if expected[-1] == "...":
        wanted = expected[:-1]
        given = shape[: len(wanted)]
    if len(given) != len(wanted) or any(isinstance(w, int) and w != g for w, g in zip(wanted, given, strict=True)):
        letters = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{owner}: expected {what} of shape ({letters}), got {shape}")


def check_generator_state(owner: str, generator: np.random.Generator, value: Any) -> None:
    """ValueError, naming the owner, if `value` is no state that the generator's bit generator can be put into."""
    kind = type(generator.bit_generator)
    try:
        trial = kind()
        trial.state = value
        if isinstance(trial, np.random.MT19937) and not 0 <= trial.state["state"]["pos"] <= 624:
            raise ValueError("a position outside its 624 words")  # NumPy would read beyond them
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        got = reprlib.repr(value)
        raise ValueError(f"{owner}: expected the state of a {kind.__name__}, got {got} ({error})") from None
