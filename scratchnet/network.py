"""A network: its layers, run forward in order and backward in reverse, all at once or step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import (
    Formulas,
    Layer,
    Parameter,
    Shape,
    State,
    check_float,
    check_shape,
    state_arrays,
    state_in,
)
from scratchnet.loss import softmax, softmax_cross_entropy
from scratchnet.settings import positive, shown, text
from scratchnet.tables import table


class Step(NamedTuple):
    """One stage of backprop, as `Network.steps` yields it."""

    layer: Layer | Loss  #: the layer, or the loss
    direction: str  #: "forward" or "backward"
    input: Any  #: forward: the layer's x; backward: its dout
    output: Any  #: forward: the layer's out; backward: its dx
    grads: dict[str, np.ndarray]  #: the gradients that this stage made: {"conv1.w": dw, "conv1.b": db}

    def __str__(self) -> str:
        made = "".join(f", {name} {grad.shape}" for name, grad in self.grads.items())
        return f"{self.direction:8} {self.layer.name}: {np.shape(self.input)} -> {np.shape(self.output)}{made}"

    def _repr_html_(self) -> str:
        from scratchnet.show.html import step_html

        return step_html(self)


class Loss:
    """The loss, where `Network.steps` has it in the place of a layer: logits in, one number out."""

    name = "softmax_cross_entropy"
    formulas = Formulas(
        forward=["p[n, k] = exp(z[n, k]) / sum over j of exp(z[n, j])", "loss = mean over n of -log p[n, label[n]]"],
        backward=["dlogits[n, k] = (p[n, k] - [k is label[n]]) / N"],
    )


class Network:
    """Layers in a row.

    Parameters
    ----------
    layers : list of Layer
        In forward order. Each is named by its kind and a number: conv1, relu1, conv2, ... Its parameters are then named
        conv1.w, conv1.b and so on.
    input_shape : tuple of int, optional
        The shape of one input without N, such as (28, 28, 1). No input of another shape is then taken, even if all
        layers could. If not given, the first forward's is noted, for `summary` and files. It binds nothing: layers that
        take images of any size go on doing so.
    name : str
        Used in summaries and files.

    Raises
    ------
    ValueError
        If there are no layers, a layer is in the list twice, or the input's shape is not made of positive integers;
        from `forward`, `predict` and `steps`, if the input does not fit.
    """

    def __init__(
        self, layers: Sequence[Layer], input_shape: Sequence[int] | None = None, name: str = "network"
    ) -> None:
        name = text("Network", "name", name)
        if not isinstance(layers, Sequence) or isinstance(layers, str):
            raise TypeError(f"{name}: expected layers to be a list of layers, got {shown(layers)}")
        if not layers:
            raise ValueError(f"{name}: expected at least one layer, got an empty list")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{name}: expected layers, got a {type(layer).__name__}")
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(f"{name}: the same layer object is in the list twice; make two layers")
        parameters = [p for layer in layers for p in layer.parameters()]
        if len({id(p) for p in parameters}) < len(parameters):
            raise ValueError(
                f"{name}: two layers share a Parameter; each backward would overwrite the other's gradient"
            )
        self.layers = list(layers)
        self._stages: Sequence[Any] = self.layers  # what the last forward ran, and on which engine
        self._engine: str | None = None
        self.name = name
        self.input_shape = None if input_shape is None else _shape_of_one(name, input_shape)
        self.takes_any_shape = input_shape is None  # any that its layers take; input_shape is then the first one seen
        self._name_layers()
        self.check_state({})  # a state that cannot be saved is noticed now, not when it is saved
        if self.input_shape is not None:
            try:
                self.output_shapes()  # layers that do not fit are noticed now, not in the first forward
            except ValueError as error:
                raise ValueError(f"{error} (with input_shape {self.input_shape})") from None

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The last layer's output for a batch x (N, ...); `training` switches dropout on."""
        self.check_input(x)
        given = x
        ops.before_forward(self, x, training)  # the first time, a compiled engine compiles its kernels
        self._stages, self._engine = ops.stages(self.layers), ops.engine
        for layer in self._stages:
            x = layer.forward(x, training)
        self.note_input(given)
        return x

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Set the `grad` of every parameter, from dout, the gradient with respect to the last forward's output.

        Returns dx (N, ...), the gradient with respect to the input, or None if `need_dx` is false and the first layer
        has weights.
        """
        stages = self._stages if self._engine == ops.engine else self.layers  # each engine has its own stages
        for layer in reversed(stages):
            dout = layer.backward(dout, need_dx or layer is not stages[0])  # type: ignore[assignment]
        return dout

    def steps(self, x: np.ndarray, labels: np.ndarray, training: bool = True) -> Iterator[Step]:
        """Backprop one stage at a time: each iteration runs the forward or the backward of one layer and yields it.

        The loss is a stage like the others, forward and backward. After the last stage, the network is in the same
        state as after `forward`, `softmax_cross_entropy` and `backward`.

        Parameters
        ----------
        x : (N, ...), a batch.
        labels : (N,), its labels.
        training : bool
            Whether dropout is on.

        Yields
        ------
        Step
            (layer, direction, input, output, grads).
        """
        self.check_input(x)
        given = x
        for layer in self.layers:
            out = layer.forward(x, training)
            yield Step(layer, "forward", x, out, {})
            x = out
        self.note_input(given)
        loss, dout = softmax_cross_entropy(x, labels)
        yield Step(Loss(), "forward", x, loss, {})
        yield Step(Loss(), "backward", 1.0, dout, {})
        for layer in reversed(self.layers):
            dx = layer.backward(dout)
            yield Step(layer, "backward", dout, dx, {p.name: p.grad for p in layer.parameters() if p.grad is not None})
            dout = dx  # type: ignore[assignment]

    def predict(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Class probabilities (N, K) for images (N, H, W, C), computed in batches to keep memory small."""
        check_float(self.name, "images", images)
        self.check_input(images)
        batch_size = positive(self.name, "batch_size", batch_size)
        starts = range(0, max(len(images), 1), batch_size)  # no images: one empty batch, for the output's shape
        logits = np.concatenate([self.forward(images[i : i + batch_size]) for i in starts])
        check_shape(self.name, "logits", logits.shape, ("N", "K"))
        return softmax(logits)

    def check_input(self, x: np.ndarray) -> None:
        """A ValueError if the network was made for inputs of one shape, and x has another."""
        if not self.takes_any_shape and isinstance(x, np.ndarray) and x.shape[1:] != self.input_shape:
            check_shape(self.name, "input", x.shape, ("N", *self.input_shape))  # type: ignore[misc]

    def note_input(self, x: np.ndarray) -> None:
        """Note the shape of an input that all layers have accepted, if none was given."""
        if self.input_shape is None:
            self.input_shape = x.shape[1:]

    def parameters(self) -> list[Parameter]:
        """All trained arrays, in forward order."""
        return [p for layer in self.layers for p in layer.parameters()]

    def state(self) -> State:
        """What training changes besides the parameters, in forward order: "dropout1.rng", "norm1.running_mean".

        Raises ValueError if two layers have the same name, because one of them was put into another network later.
        """
        names = Counter(layer.name for layer in self.layers if layer.state())
        if names and max(names.values()) > 1:
            twice = names.most_common(1)[0][0]
            raise ValueError(f"{self.name}: two layers are named {twice}; is a layer part of two networks?")
        return {f"{layer.name}.{name}": held for layer in self.layers for name, held in layer.state().items()}

    def set_state(self, values: dict[str, Any]) -> None:
        """Restore all or part of what `snapshot(net.state())` returned; arrays are copied.

        Raises ValueError or TypeError, and changes nothing, if a name, a shape or a dtype does not fit.
        """
        self.check_state(values)
        for layer in self.layers:
            layer.set_state(_part(values, layer))

    def check_state(self, values: dict[str, Any]) -> None:
        """Raise an error that names the layer if `set_state(values)` would fail."""
        unknown = values.keys() - self.state().keys()
        if unknown:
            raise ValueError(f"{self.name}: no layer has a state named {', '.join(sorted(unknown))}")
        for layer in self.layers:
            layer.check_state(_part(values, layer))

    def astype(self, dtype: Any) -> Network:
        """Convert all weights and all other state to float32 or float64, in place; returns the network."""
        for p in self.parameters():
            p.value = p.value.astype(dtype)
        self.set_state(state_in(dtype, self.state()))
        return self

    def output_shapes(self, input_shape: Shape | None = None) -> list[Shape]:
        """The shapes of one example: before the first layer, and after each layer.

        Raises
        ------
        ValueError
            If two layers do not fit (the message names the later one), or if the input's shape is not known yet.
        """
        shape = tuple(input_shape or self.input_shape or ())
        if not shape:
            raise ValueError(f"{self.name}: the input's shape is not known yet; pass it, as in input_shape=(28, 28, 1)")
        shapes = [shape]
        for layer in self.layers:
            shapes.append(layer.shape_after((1, *shapes[-1]))[1:])
        return shapes

    def parameter_count(self) -> int:
        """How many numbers the parameters hold."""
        return sum(p.value.size for p in self.parameters())

    def multiply_adds(self, input_shape: Shape | None = None) -> int:
        """Multiply-adds of one example's forward pass; errors as for `output_shapes`."""
        shapes = self.output_shapes(input_shape)
        return sum(layer.multiply_adds(shape) for layer, shape in zip(self.layers, shapes, strict=False))

    def summary(self, input_shape: Shape | None = None) -> str:
        """A table of the layers: output shape, parameters and multiply-adds of one example's forward pass.

        If a layer keeps numbers that are not trained, another column counts them.
        """
        title, header, rows = self.summary_rows(input_shape)
        return f"{title}\n{table(header, rows, total=True)}"

    def summary_rows(self, input_shape: Shape | None = None) -> tuple[str, list[str], list[list[Any]]]:
        """What `summary` shows: its title, the names of its columns, and a row for each layer and for the total."""
        shapes = self.output_shapes(input_shape)
        rows: list[list[Any]] = []
        for layer, before, after in zip(self.layers, shapes, shapes[1:], strict=False):
            size = sum(p.value.size for p in layer.parameters())
            kept = sum(array.size for array in state_arrays(layer.state()).values())
            rows.append([layer.name, " x ".join(map(str, after)), size, layer.multiply_adds(before), kept])
        rows.append(["total", "", *(sum(row[column] for row in rows) for column in (2, 3, 4))])
        header = ["layer", "output shape", "parameters", "multiply-adds", "not trained"]
        columns = len(header) if rows[-1][-1] else len(header) - 1
        title = f"{self.name}, input {' x '.join(map(str, shapes[0]))}"
        return title, header[:columns], [row[:columns] for row in rows]

    def _repr_html_(self) -> str | None:
        from scratchnet.show.html import network_html

        return network_html(self)

    def __repr__(self) -> str:
        return f"Network([{', '.join(map(repr, self.layers))}], name={self.name!r})"

    def _name_layers(self) -> None:
        numbers: Counter[str] = Counter()
        for layer in self.layers:
            numbers[layer.kind] += 1
            layer.name = f"{layer.kind}{numbers[layer.kind]}"
            for p in layer.parameters():
                p.name = f"{layer.name}.{p.name.split('.')[-1]}"


def _shape_of_one(name: str, shape: Any) -> Shape:
    """The shape of one input as plain integers."""
    if not isinstance(shape, (tuple, list)) or not shape:
        raise ValueError(f"{name}: expected input_shape to be a tuple such as (28, 28, 1), got {shown(shape)}")
    return tuple(positive(name, "input_shape to have sizes, each", size) for size in shape)


def _part(values: dict[str, Any], layer: Layer) -> dict[str, Any]:
    """The part of a network's state that belongs to this layer, under the layer's own names."""
    prefix = f"{layer.name}."
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
