"""JAX: layers as pure functions (as Flax's modules become), the whole step in one jit, the weights' memory reused."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

import scratchnet as sn
from benchmarks.peers import LEARNING_RATE
from scratchnet.interop.equivalents import equivalent


class Jax:
    def versions(self) -> dict[str, str]:
        import jaxlib

        return {"JAX": jax.__version__, "jaxlib": jaxlib.__version__}

    def build(self, model: str, weights: dict[str, np.ndarray], dropout: bool) -> None:
        layers = sn.models.ARCHITECTURES[model].make(seed=0).layers
        self.layers = [(layer, equivalent(layer, "jax")) for layer in layers]
        self.weights = {name: jnp.asarray(value) for name, value in weights.items()}
        self.dropout = dropout
        self.key = jax.random.key(0)

    def logits(self, weights, x, key, training):
        key = key if training and self.dropout else None
        for layer, compute in self.layers:
            of_layer = {p.name.split(".")[-1]: weights[p.name] for p in layer.parameters()}
            x = compute(layer, x, of_layer, key)
        return x

    def loss(self, weights, x, labels, key):
        logits = self.logits(weights, x, key, True)
        log_probability = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(log_probability, labels[:, None], axis=1).mean(), logits

    def gradients(self, x, labels):
        run = jax.jit(jax.value_and_grad(self.loss, has_aux=True))
        (_, logits), grads = run(self.weights, jnp.asarray(x), jnp.asarray(labels, jnp.int32), self.key)
        return np.asarray(logits), {name: np.asarray(g) for name, g in grads.items()}

    def training_step(self, x, labels):
        x, labels = jnp.asarray(x), jnp.asarray(labels, jnp.int32)

        def update(weights, key, x, labels):
            key, mine = jax.random.split(key)
            grads, _ = jax.grad(self.loss, has_aux=True)(weights, x, labels, mine)
            return jax.tree.map(lambda w, g: w - LEARNING_RATE * g, weights, grads), key

        run = jax.jit(update, donate_argnums=(0, 1))
        state = [jax.tree.map(jnp.copy, self.weights), jnp.copy(self.key)]

        def step():
            state[:] = run(*state, x, labels)
            jax.block_until_ready(state)

        return step

    def inference(self, x):
        x = jnp.asarray(x)
        run = jax.jit(lambda weights, x: self.logits(weights, x, None, False))
        return lambda: run(self.weights, x).block_until_ready()
