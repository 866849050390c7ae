"""Train step by step in any framework, from the same weights, with the same batches in the same order.

Only the dropout masks differ between frameworks. Every class here takes an experiment. Its `step` trains on a batch
with a learning rate and returns the loss; its `logits` computes the logits of images, without dropout.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import scratchnet as sn
from scratchnet.study.experiments import Experiment, record, threads, versions


class Scratchnet:
    """scratchnet: the step that `sn.fit` takes."""

    packages = ()

    def __init__(self, experiment: Experiment) -> None:
        self.net = experiment.network()
        self.optimizer = experiment.recipe.make_optimizer(self.net)

    def step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> float:
        self.optimizer.lr = lr
        loss, dlogits = sn.softmax_cross_entropy(self.net.forward(x, training=True), labels)
        self.net.backward(dlogits, need_dx=False)
        self.optimizer.step()
        return loss

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.net.forward(images)


class PyTorch:
    """PyTorch, as in its tutorials: eager, channels first; with its fused optimiser."""

    packages = ("torch",)

    def __init__(self, experiment: Experiment) -> None:
        import torch

        torch.set_num_threads(threads())
        torch.manual_seed(experiment.seed)  # of the dropout masks
        self.net = sn.interop.to_torch(experiment.network())
        recipe, options = experiment.recipe, {"weight_decay": experiment.recipe.weight_decay, "fused": True}
        if recipe.optimizer == "adam":
            self.optimizer: Any = torch.optim.Adam(self.net.parameters(), recipe.lr, **options)
        else:
            options |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
            self.optimizer = torch.optim.SGD(self.net.parameters(), recipe.lr, **options)

    def step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> float:
        import torch

        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        logits = self.net(sn.interop.images_to_torch(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def logits(self, images: np.ndarray) -> np.ndarray:
        import torch

        self.net.eval()
        with torch.inference_mode():
            return self.net(sn.interop.images_to_torch(images)).numpy()


class TensorFlow:
    """TensorFlow: Keras layers, the whole step in one tf.function, with the fused momentum update; SGD only."""

    packages = ("tensorflow-cpu",)

    def __init__(self, experiment: Experiment) -> None:
        import tensorflow as tf

        from benchmarks.peers.tensorflow import TensorFlow as Peer

        assert experiment.recipe.optimizer == "sgd", experiment.recipe
        tf.keras.utils.set_random_seed(experiment.seed)  # of the dropout masks; read when the layers are made
        peer = Peer(xla=False)
        peer.build(experiment.model, {p.name: p.value for p in experiment.network().parameters()}, dropout=True)
        self.net, recipe = peer.net, experiment.recipe
        self.momenta = [tf.Variable(tf.zeros_like(v)) for v in self.net.trainable_variables]
        self.infer = tf.function(lambda x: self.net(x, training=False))

        # For any batch size, so that the last batch of an epoch does not cause another compilation.
        batch = [tf.TensorSpec((None, *self.net.input_shape[1:])), tf.TensorSpec((None,), tf.int64), tf.TensorSpec(())]

        @tf.function(input_signature=batch)
        def step(x, labels, lr):
            with tf.GradientTape() as tape:
                logits = self.net(x, training=True)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            variables = self.net.trainable_variables
            for variable, m, g in zip(variables, self.momenta, tape.gradient(loss, variables), strict=True):
                if recipe.weight_decay:
                    g += recipe.weight_decay * variable
                tf.raw_ops.ResourceApplyMomentum(  # m = momentum * m + g; v -= lr * (g + momentum * m)
                    var=variable.value.handle, accum=m.handle, lr=lr, grad=g,
                    momentum=recipe.momentum, use_nesterov=recipe.nesterov,
                )  # fmt: skip
            return loss

        self.whole_step = step

    def step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> float:
        return float(self.whole_step(x, labels, np.float32(lr)))

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.infer(images).numpy()


FRAMEWORKS: dict[str, Any] = {"scratchnet": Scratchnet, "PyTorch": PyTorch, "TensorFlow": TensorFlow}


def batches(train: sn.Dataset, experiment: Experiment) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches that `sn.fit` takes: epoch after epoch, each in a new order."""
    rng = np.random.default_rng(experiment.seed)
    while True:
        yield from train.batches(experiment.recipe.batch_size, rng)


def run_stepwise(
    experiment: Experiment, framework: str, data_dir: str | None = None, test_every: int | None = None
) -> dict[str, Any]:
    """Train in a framework and test at the end, as `scratchnet.study.experiments.train_and_test` does with scratchnet.

    With `test_every`, also test every so many steps; the result's `curve` has [steps, seconds, accuracy] of each test.
    All seconds are without the tests and without the first step, in which frameworks compile.
    """
    if experiment.recipe.make_augment():
        raise ValueError(
            f"{experiment.name}: expected a recipe without augmentation; use scratchnet's `train_and_test` for it"
        )
    train, test = experiment.images(data_dir)
    trainer = FRAMEWORKS[framework](experiment)
    schedule = experiment.recipe.make_schedule(len(train))
    losses, curve, seconds = [], [], 0.0
    for step, (x, labels) in zip(range(experiment.recipe.steps), batches(train, experiment), strict=False):
        started = time.perf_counter()
        losses.append(trainer.step(x, labels, schedule(step)))
        if step > 0:
            seconds += time.perf_counter() - started
        if test_every and len(losses) % test_every == 0:
            curve.append([len(losses), round(seconds, 2), score(trainer, test)[1]])
    result = record(experiment, losses, seconds, score(trainer, test), train, test)
    result["made"]["versions"] |= versions(*trainer.packages)
    return result | ({"curve": curve} if test_every else {})


def score(trainer: Any, test: sn.Dataset, batch_size: int = 500) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, as `sn.evaluate` gives them, from the framework's forward pass."""
    logits = [trainer.logits(test.images[i : i + batch_size]) for i in range(0, len(test), batch_size)]
    loss, _ = sn.softmax_cross_entropy(np.concatenate(logits), test.labels)
    return loss, float((np.concatenate(logits).argmax(axis=1) == test.labels).mean())
