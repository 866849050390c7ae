"""TensorFlow: Keras layers inside one tf.function for the whole step, with XLA or without."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

import scratchnet as sn
from benchmarks.peers import LEARNING_RATE
from scratchnet.interop.equivalents import equivalent
from scratchnet.study.experiments import threads


class TensorFlow:
    def __init__(self, xla: bool) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)  # measured: 1 is faster than 2 for these networks
        self.xla = xla

    def versions(self) -> dict[str, str]:
        return {"TensorFlow": tf.__version__, "Keras": tf.keras.__version__}

    def build(self, model: str, weights: dict[str, np.ndarray], dropout: bool) -> None:
        ours = sn.models.ARCHITECTURES[model].make(seed=0)
        self.names = [p.name for p in ours.parameters()]
        self.net = tf.keras.Sequential([tf.keras.Input(ours.input_shape), *keras_layers(ours, dropout)])
        for variable, name in zip(self.net.trainable_variables, self.names, strict=True):
            variable.assign(weights[name].reshape(variable.shape))

    def loss_gradients(self, x, labels):
        with tf.GradientTape() as tape:
            logits = self.net(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return logits, tape.gradient(loss, self.net.trainable_variables)

    def gradients(self, x, labels):
        logits, grads = tf.function(self.loss_gradients, jit_compile=self.xla)(tf.constant(x), tf.constant(labels))
        return logits.numpy(), {name: g.numpy() for name, g in zip(self.names, grads, strict=True)}

    def training_step(self, x, labels):
        x, labels = tf.constant(x), tf.constant(labels)

        @tf.function(jit_compile=self.xla)
        def step(x, labels):
            logits, grads = self.loss_gradients(x, labels)
            for variable, g in zip(self.net.trainable_variables, grads, strict=True):
                variable.assign_sub(LEARNING_RATE * g)
            return logits

        return lambda: step(x, labels).numpy()

    def inference(self, x):
        x = tf.constant(x)
        run = tf.function(lambda x: self.net(x, training=False), jit_compile=self.xla)
        return lambda: run(x).numpy()

    def convolution(self, x, w, dout):
        """The forward and backward pass of one convolution with "same" padding."""

        @tf.function(jit_compile=self.xla)
        def run(x, w, dout):
            with tf.GradientTape() as tape:
                tape.watch((x, w))
                out = tf.nn.conv2d(x, w, 1, "SAME")
            return tape.gradient(out, (x, w), dout)

        x, w, dout = tf.constant(x), tf.constant(w), tf.constant(dout)
        return lambda: run(x, w, dout)[1].numpy()


def keras_layers(net: sn.Network, dropout: bool) -> list:
    """The same layers in Keras. A ReLU becomes the activation of the layer before it, which TensorFlow fuses."""
    made = []
    for layer, shape in zip(net.layers, net.output_shapes(), strict=False):
        if isinstance(layer, sn.Dropout) and not dropout:
            continue
        if isinstance(layer, sn.ReLU) and made and getattr(made[-1], "activation", None) is tf.keras.activations.linear:
            made[-1].activation = tf.keras.activations.relu
        else:
            made += equivalent(layer, "keras")(layer, shape)
    return made
