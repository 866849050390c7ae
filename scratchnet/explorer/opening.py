"""The network that `scratchnet explore` opens: a file's, or one that is trained here, in seconds and with a bar."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from scratchnet.data import Dataset, load
from scratchnet.engine import Planned, ops
from scratchnet.layers.base import snapshot
from scratchnet.network import Network
from scratchnet.optim import SGD, Adam
from scratchnet.show.subject import train_shortly

BATCH = 32
LR = 1e-3


class Weights(NamedTuple):
    """All that training changes in a network."""

    values: dict[str, np.ndarray]
    state: dict[str, Any]

    @classmethod
    def of(cls, net: Network) -> Weights:
        return cls({p.name: p.value.copy() for p in net.parameters()}, snapshot(net.state()))

    def put_into(self, net: Network) -> None:
        for p in net.parameters():
            p.value = self.values[p.name]
        net.set_state(self.state)


class Opened(NamedTuple):
    """What a page begins with."""

    net: Network
    data: Dataset  #: to choose images from
    training: Dataset
    first: Weights | None  #: the weights before any training, if they are known
    opened_as: list[str] | None  #: what names it on the command line; None for a network from Python


def trained(net: Network, training: Dataset) -> Weights:
    """Train a network for some seconds, with a bar; returns its first weights. The same each time, on one machine."""
    first = Weights.of(net)
    train_shortly(net, training)
    return first


def data_for(net: Network) -> tuple[Dataset, Dataset]:
    """The sample, if the network takes its images; else random images, and the labels that the network gives them.

    Raises ValueError if the shape of the network's input is not known.
    """
    shapes = net.output_shapes()
    training, test = load("sample")
    if shapes[0] == test.images.shape[1:] and shapes[-1][-1] >= test.class_count():
        return training, test
    images = np.random.default_rng(0).random((64, *shapes[0]), np.float32)
    data = Dataset(images, net.predict(images).argmax(axis=1), "random images")
    return data, data


def compile_for(net: Network) -> None:
    """Compile all that the page will ask for, with a bar: nothing, on an engine that is not compiled."""
    one = net.output_shapes()[0]
    passes = [((size, *one), np.float32, training) for size, training in ((1, False), (1, True), (BATCH, True))]
    optimizers = [SGD(net.parameters(), LR), SGD(net.parameters(), LR, momentum=0.9), Adam(net.parameters(), LR)]
    ops.prepare([Planned(net, passes, optimizers)])
    trial = copy.deepcopy(net)
    for _ in trial.steps(np.zeros((1, *one), np.float32), np.zeros(1, np.int64)):
        pass  # stage by stage: layers that are fused elsewhere
