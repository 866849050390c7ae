"""The moving average of a network's weights, which is often more accurate than the weights themselves.

With a large learning rate the weights do not come to rest: each batch pulls them to another side. Their average does.
After step t = 1, 2, ... every weight v has

    average = d * average + (1 - d) * v
    d       = min(decay, (1 + t) / (10 + t))

An average with the decay d goes back over about 1 / (1 - d) steps: 1,000 for 0.999. At the start d is smaller, so that
the first weights, which know nothing, are soon forgotten. What layers keep besides their weights, such as the running
mean and variance of batch normalisation, is averaged in the same way.

Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, for the mean of all steps.
The exponential average, and its start, are those of TensorFlow's tf.train.ExponentialMovingAverage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import state_arrays
from scratchnet.network import Network
from scratchnet.settings import below_one, instance


def average_update(average: np.ndarray, value: np.ndarray, decay: float) -> None:
    """average = decay * average + (1 - decay) * value, in place; both of one shape."""
    average += (1 - decay) * (value - average)


class WeightAverage:
    """An exponential moving average of a network's weights and of its layers' float state.

    Give it to `fit`, which updates it after each step, tests with it, and leaves it in the network at the end. In a
    loop of one's own: call `update` after each step of the optimiser, and `used` or `put_into_network` to use it.

    Parameters
    ----------
    net : Network
    decay : float
        The share that the average keeps at each step, 0 <= decay < 1.

    Attributes
    ----------
    steps : int
        How many updates there were.
    arrays : dict of str to ndarray
        The average of each weight and state array, by name; empty before the first update.

    Raises
    ------
    TypeError, ValueError
        If net is no network, or decay is out of range.

    Examples
    --------
    >>> import scratchnet as sn
    >>> net = sn.models.separable_cnn()
    >>> average = sn.WeightAverage(net, decay=0.99)
    >>> average.update()
    >>> with average.used():
    ...     logits = net.forward(sn.data.load("sample")[1].images[:2])
    >>> logits.shape
    (2, 10)
    """

    def __init__(self, net: Network, decay: float = 0.999) -> None:
        instance("WeightAverage", "net", net, Network)
        self.net = net
        self.decay = below_one("WeightAverage", "decay", decay)
        self.steps = 0
        self.arrays: dict[str, np.ndarray] = {}

    def update(self) -> None:
        """Take the network's present weights into the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self.averaged().items():
            if name in self.arrays:
                ops.average_update(self.arrays[name], value, decay)
            else:
                self.arrays[name] = value.copy()

    def averaged(self) -> dict[str, np.ndarray]:
        """The network's own arrays of which there is an average, by name."""
        state = {name: array for name, array in state_arrays(self.net.state()).items() if array.dtype.kind == "f"}
        return {p.name: p.value for p in self.net.parameters()} | state

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside the `with` block, the network has the average instead of its weights."""
        own = {name: array for name, array in self.averaged().items() if name in self.arrays}
        self._set(self.arrays)
        try:
            yield
        finally:
            self._set(own)

    def put_into_network(self) -> None:
        """Give the network the average for good. Its own weights are lost."""
        self._set({name: array.copy() for name, array in self.arrays.items()})

    def _set(self, arrays: dict[str, np.ndarray]) -> None:
        for p in self.net.parameters():
            p.value = arrays.get(p.name, p.value)
        self.net.set_state({name: arrays[name] for name in self.net.state() if name in arrays})
