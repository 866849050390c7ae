"""scratchnet itself, on either engine."""

from __future__ import annotations

import numpy as np

import scratchnet as sn
from benchmarks.peers import LEARNING_RATE


class Scratch:
    def __init__(self, engine: str) -> None:
        self.engine = engine
        sn.use_engine(engine)

    def versions(self) -> dict[str, str]:
        versions = {"scratchnet": sn.__version__, "NumPy": np.__version__}
        if self.engine == "numba":
            import numba

            versions |= {"Numba": numba.__version__}
        return versions

    def build(self, model: str, weights: dict[str, np.ndarray], dropout: bool) -> None:
        self.net = sn.models.ARCHITECTURES[model].make(seed=0)
        for p in self.net.parameters():
            p.value = weights[p.name]
        for layer in self.net.layers:
            if isinstance(layer, sn.Dropout) and not dropout:
                layer.rate = 0.0
        self.optimizer = sn.SGD(self.net.parameters(), lr=LEARNING_RATE)

    def gradients(self, x, labels):
        logits = self.net.forward(x, training=True)
        self.net.backward(sn.softmax_cross_entropy(logits, labels)[1], need_dx=False)
        return logits, {p.name: p.grad for p in self.net.parameters()}

    def training_step(self, x, labels):
        def step():
            logits = self.net.forward(x, training=True)
            self.net.backward(sn.softmax_cross_entropy(logits, labels)[1], need_dx=False)
            self.optimizer.step()

        return step

    def inference(self, x):
        return lambda: self.net.forward(x)

    def layer(self, index, direction, x):
        """Layer `index` alone, forward or backward, on what the layers before it make of the images x."""
        for layer in self.net.layers[:index]:
            x = layer.forward(x)
        layer = self.net.layers[index]
        dout = np.random.default_rng(0).standard_normal(layer.forward(x, True).shape, dtype=np.float32)
        if direction == "forward":
            return lambda: layer.forward(x, True)
        return lambda: layer.backward(dout, index > 0)

    def explicit_convolution(self, index, direction, x):
        """As `layer`, for a convolution by im2col: compiled too, but it writes the patches to memory as a matrix."""
        from scratchnet.engine import ops

        for layer in self.net.layers[:index]:
            x = layer.forward(x)
        layer = self.net.layers[index]
        slide = layer.kernel_size, layer.stride, layer.padding
        w, b = layer.w.value.reshape(-1, layer.filters), layer.b.value
        dout = np.random.default_rng(0).standard_normal(layer.forward(x).shape, dtype=np.float32)

        def forward():
            return ops.dense_forward(ops.im2col(x, *slide), w, b).reshape(dout.shape)

        def backward():
            columns = ops.im2col(x, *slide)
            dcolumns, dw, db = ops.dense_backward(dout.reshape(-1, layer.filters), columns, w, need_dx=index > 0)
            dx = None if dcolumns is None else ops.col2im(dcolumns, x.shape, *slide)
            return dx, dw.reshape(layer.w.value.shape), db

        return forward if direction == "forward" else backward

    def convolution(self, x, w, dout):
        """The forward and backward pass of one convolution with "same" padding."""
        from scratchnet.engine import ops

        def run():
            ops.conv2d_forward(x, w, None, 1, "same")
            ops.conv2d_backward(dout, x, w, 1, "same")

        return run
