"""A network: layers, forward in order and backward reversed, all at once or step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer, Parameter, Shape, check_float, check_shape, positive
from scratchnet.loss import softmax, softmax_cross_entropy
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


class Loss:
    """Stands in for a layer where `Network.steps` comes to the loss: logits in, one number out."""

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
        In forward order. Each gets a name of its kind and a number: conv1, relu1, conv2, ... and its parameters are
        called conv1.w, conv1.b and so on.
    input_shape : tuple of int, optional
        The shape of one input without N, such as (28, 28, 1). If not given it is taken from the first forward.
    name : str
        Used in summaries and files.

    Raises
    ------
    ValueError
        If there are no layers, or a layer stands in the list twice; from `forward`, if the input does not fit.
    """

    def __init__(
        self, layers: Sequence[Layer], input_shape: Sequence[int] | None = None, name: str = "network"
    ) -> None:
        if not layers:
            raise ValueError(f"{name}: expected at least one layer, got an empty list")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{name}: expected layers, got a {type(layer).__name__}")
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(f"{name}: the same layer object stands in the list twice; make two layers of them")
        parameters = [p for layer in layers for p in layer.parameters()]
        if len({id(p) for p in parameters}) < len(parameters):
            raise ValueError(
                f"{name}: two layers share a Parameter; each backward would overwrite the other's gradient"
            )
        self.layers = list(layers)
        self._stages: Sequence[Any] = self.layers  # what the last forward ran, and on which engine
        self._engine: str | None = None
        self.name = name
        self.input_shape: Shape | None = None if input_shape is None else tuple(map(int, input_shape))
        self._name_layers()
        if self.input_shape is not None:
            self.output_shapes()  # layers that do not fit each other are noticed now, not in the first forward

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The last layer's output for a batch x (N, ...); `training` switches dropout on."""
        given = x
        self._stages, self._engine = ops.stages(self.layers), ops.engine
        for layer in self._stages:
            x = layer.forward(x, training)
        self._remember_shape(given)
        return x

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Fill the `grad` of every parameter, from dout, the gradient for the last forward's output.

        Returns dx (N, ...), the gradient for the input; None if `need_dx` is false and the first layer has weights.
        """
        stages = self._stages if self._engine == ops.engine else self.layers  # the stages are one engine's own
        for layer in reversed(stages):
            dout = layer.backward(dout, need_dx or layer is not stages[0])  # type: ignore[assignment]
        return dout

    def steps(self, x: np.ndarray, labels: np.ndarray, training: bool = True) -> Iterator[Step]:
        """Backprop one stage at a time: each advance does one layer's forward or backward and yields what happened.

        The loss is a stage like the others, forward and backward. Run to its end, it leaves just what `forward`,
        `softmax_cross_entropy` and `backward` leave.

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
        given = x
        for layer in self.layers:
            out = layer.forward(x, training)
            yield Step(layer, "forward", x, out, {})
            x = out
        self._remember_shape(given)
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
        positive(self.name, "batch_size", batch_size)
        starts = range(0, max(len(images), 1), batch_size)  # no images: one empty batch, for the output's shape
        logits = np.concatenate([self.forward(images[i : i + batch_size]) for i in starts])
        check_shape(self.name, "logits", logits.shape, ("N", "K"))
        return softmax(logits)

    def parameters(self) -> list[Parameter]:
        """All trained arrays, in forward order."""
        return [p for layer in self.layers for p in layer.parameters()]

    def generators(self) -> list[np.random.Generator]:
        """The random generators that training draws from (dropout masks), in forward order."""
        return [layer.rng for layer in self.layers if hasattr(layer, "rng")]

    def astype(self, dtype: Any) -> Network:
        """Change all weights to float32 or float64, in place; returns the network itself."""
        for p in self.parameters():
            p.value = p.value.astype(dtype)
        return self

    def output_shapes(self, input_shape: Shape | None = None) -> list[Shape]:
        """The shape of one example before the first layer and after each layer: one more than there are layers.

        Raises
        ------
        ValueError
            If two layers do not fit, naming the one that comes later, or if the input's shape is not known yet.
        """
        shape = tuple(input_shape or self.input_shape or ())
        if not shape:
            raise ValueError(f"{self.name}: the input's shape is not known yet; pass input_shape=(28, 28, 1), say")
        shapes = [shape]
        for layer in self.layers:
            shapes.append(layer.shape_after((1, *shapes[-1]))[1:])
        return shapes

    def parameter_count(self) -> int:
        """How many numbers training changes."""
        return sum(p.value.size for p in self.parameters())

    def multiply_adds(self, input_shape: Shape | None = None) -> int:
        """Multiply-adds of one example's forward pass; errors as of `output_shapes`."""
        shapes = self.output_shapes(input_shape)
        return sum(layer.multiply_adds(shape) for layer, shape in zip(self.layers, shapes, strict=False))

    def summary(self, input_shape: Shape | None = None) -> str:
        """A table of the layers: output shape, parameters and multiply-adds of one example's forward pass."""
        shapes = self.output_shapes(input_shape)
        rows = []
        for layer, before, after in zip(self.layers, shapes, shapes[1:], strict=False):
            size = sum(p.value.size for p in layer.parameters())
            rows.append([layer.name, " x ".join(map(str, after)), size, layer.multiply_adds(before)])
        rows.append(["total", "", sum(row[2] for row in rows), sum(row[3] for row in rows)])  # type: ignore[misc]
        header = ["layer", "output shape", "parameters", "multiply-adds"]
        return f"{self.name}, input {' x '.join(map(str, shapes[0]))}\n{table(header, rows, total=True)}"

    def __repr__(self) -> str:
        return f"Network([{', '.join(map(repr, self.layers))}], name={self.name!r})"

    def _remember_shape(self, x: np.ndarray) -> None:
        """Note the shape of an input that all layers have accepted, if none was given."""
        if self.input_shape is None:
            self.input_shape = x.shape[1:]

    def _name_layers(self) -> None:
        numbers: Counter[str] = Counter()
        for layer in self.layers:
            numbers[layer.kind] += 1
            layer.name = f"{layer.kind}{numbers[layer.kind]}"
            for p in layer.parameters():
                p.name = f"{layer.name}.{p.name.split('.')[-1]}"
