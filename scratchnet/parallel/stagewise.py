"""Forward and backward on all shards of a rank, stage by stage.

A stage runs on every shard before the next stage runs on any. So as soon as a stage has gone backward, what the rank's
shards add to its gradient is known, and can be on its way while the stages before it are computed. And between two
stages, something can be computed from the whole batch: the statistics of batch normalisation.

Each shard has a copy of the layers, for what its forward pass leaves in them. The copies have the network's own weights
and generators: a generator draws for one shard after the other, as for a whole batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers import BatchNorm, Dense, Layer
from scratchnet.layers.base import state_arrays
from scratchnet.network import Network
from scratchnet.parallel.team import Team
from scratchnet.parallel.together import meet


class Taker(Protocol):
    """Who takes the gradients of the shards, and adds them."""

    def take(self, copy: int, number: int) -> None:
        """Take what the parameters of layer `number` have as their gradients, from a shard's copy; None: nothing."""

    def sums(self, number: int) -> list[tuple[list[int], np.ndarray]] | None:
        """Where the sums of all shards for the first parameter of layer `number` can be written instead, as
        `ops.dense_backward_together` takes them; None if some shard has no images."""


class Stage:
    """A stage of the network, on every shard that this rank has in a batch.

    Parameters
    ----------
    numbers : range
        The places in the network of the layers that the stage is made of.
    copies : list
        The stage, once for each shard. A small batch may have fewer shards, and then needs the first ones only.
    """

    def __init__(self, numbers: range, copies: Sequence[Any]) -> None:
        self.numbers, self.copies = numbers, copies

    def forward(self, xs: list[np.ndarray], shards: list[int]) -> list[np.ndarray]:
        """The outputs for the inputs. shards : which of the batch's shards these are."""
        return [stage.forward(x, training=True) for stage, x in zip(self.copies, xs, strict=False)]

    def backward(self, douts: list[Any], need_dx: bool, taker: Taker) -> list[Any]:
        """The gradients for the inputs, from those for the outputs."""
        dxs = []
        for i, (stage, dout) in enumerate(zip(self.copies, douts, strict=False)):
            dxs.append(stage.backward(dout, need_dx))
            for number in self.numbers:
                taker.take(i, number)
        return dxs


class DenseStage(Stage):
    """A dense layer, computed for all shards at once where the engine can: see `fast/dense_together.py`."""

    def forward(self, xs: list[np.ndarray], shards: list[int]) -> list[np.ndarray]:
        checked = [layer.check_input(x) for layer, x in zip(self.copies, xs, strict=False)]
        outs = ops.dense_forward_together(checked, *self.copies[0].weights(xs[0].dtype)) if len(xs) > 1 else None
        if outs is None:
            return super().forward(xs, shards)
        for layer, x in zip(self.copies, checked, strict=False):
            layer.x = x
        return outs

    def backward(self, douts: list[Any], need_dx: bool, taker: Taker) -> list[Any]:
        found = self.backward_together(douts, need_dx, taker) if len(douts) > 1 else None
        if found is None:
            return super().backward(douts, need_dx, taker)
        dxs, dbs = found
        for i, (layer, db) in enumerate(zip(self.copies, dbs, strict=False)):
            layer.set_gradients(None, db)  # the sum of dw is where it belongs
            taker.take(i, self.numbers.start)
        return dxs

    def backward_together(self, douts: list[Any], need_dx: bool, taker: Taker) -> Any:
        """As `ops.dense_backward_together`."""
        sums = taker.sums(self.numbers.start)
        layers = self.copies[: len(douts)]
        checked = [layer.check_dout(dout) for layer, dout in zip(layers, douts, strict=True)]
        dtype = checked[0].dtype
        if sums is None or any(array.dtype != dtype for _, array in sums):
            return None
        w, _ = layers[0].weights(dtype)
        return ops.dense_backward_together(checked, [layer.x for layer in layers], w, sums, need_dx=need_dx)


class SynchronisedNorm(Stage):
    """Batch normalisation with the statistics of the whole batch.

    With P_k numbers in a channel of shard k, P in all, and the shards' own mean_k and var_k,

        mean = 1 / P * sum over k of  P_k * mean_k
        var  = 1 / P * sum over k of  P_k * (var_k + (mean_k - mean)^2)

    In the backward pass, the terms that come through mean and var have the sums db and dw of all shards. Every rank
    gets the numbers of each shard, and adds them in the same order.

    Parameters
    ----------
    layer : BatchNorm
        The network's own; a rank without images has no copy.
    shards : int
        How many a batch is cut into.
    """

    def __init__(self, numbers: range, copies: Sequence[BatchNorm], layer: BatchNorm, team: Team, shards: int) -> None:
        super().__init__(numbers, copies)
        self.layer, self.team, self.shape = layer, team, (shards, 3, layer.channels)

    def forward(self, xs: list[np.ndarray], shards: list[int]) -> list[np.ndarray]:
        own = np.zeros(self.shape)
        for k, layer, x in zip(shards, self.copies, xs, strict=False):
            own[k, 0] = x.size // self.layer.channels
            own[k, 1:] = ops.batch_norm_statistics(layer.check_input(x))
        meet(self.team)
        sizes, means, variances = self.team.gather(own).sum(axis=0).swapaxes(0, 1)
        self.which, self.P = shards, sizes.sum(axis=0)
        mean = (sizes * means).sum(axis=0) / self.P
        var = (sizes * (variances + (means - mean) ** 2)).sum(axis=0) / self.P
        return [self.normalised(layer, x, mean, var) for layer, x in zip(self.copies, xs, strict=False)]

    def normalised(self, layer: BatchNorm, x: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        """A shard's output; keeps in its copy of the layer what the layer's own forward pass does."""
        layer.x, layer.in_training = x, True
        layer.mean, layer.var = mean.astype(x.dtype), var.astype(x.dtype)
        layer.follow(layer.mean, layer.var, int(self.P[0]))
        return ops.batch_norm_forward(x, *layer.weights(x.dtype), layer.mean, layer.var, layer.eps)

    def backward(self, douts: list[Any], need_dx: bool, taker: Taker) -> list[Any]:
        own, dxs = np.zeros(self.shape), []
        for i, (k, layer, given) in enumerate(zip(self.which, self.copies, douts, strict=False)):
            dout = layer.check_dout(given)
            w, _ = layer.weights(dout.dtype)
            dx, dw, db = ops.batch_norm_backward(
                dout, layer.x, w, layer.mean, layer.var, layer.eps, training=False, need_dx=need_dx
            )  # as if mean and var were constants
            layer.set_gradients(dw, db)
            taker.take(i, *self.numbers)
            own[k, :2] = dw, db
            dxs.append(dx)
        if need_dx:
            dw, db, _ = self.team.gather(own).sum(axis=0).sum(axis=0)
            dxs = [dx - self.through_statistics(layer, dw, db) for layer, dx in zip(self.copies, dxs, strict=False)]
        return dxs

    def through_statistics(self, layer: BatchNorm, dw: np.ndarray, db: np.ndarray) -> np.ndarray:
        """What a shard's numbers change by moving the mean and the variance of all: see `layers/batch_norm.py`."""
        dtype = layer.x.dtype
        w, _ = layer.weights(dtype)
        deviation = np.sqrt(layer.var + dtype.type(layer.eps))
        xhat = (layer.x - layer.mean) / deviation
        return w / deviation * (db.astype(dtype) + xhat * dw.astype(dtype)) / self.P.astype(dtype)


def rehearse_together(layer: Dense, sizes: list[int], dtype: np.dtype) -> None:
    """Call what a `DenseStage` calls for shards of these sizes, so that an engine can see it."""
    xs, douts = ([np.ones((n, width), dtype) for n in sizes] for width in (layer.in_features, layer.out_features))
    w, b = layer.weights(dtype)
    ops.dense_forward_together(xs, w, b)
    merges = [*[0] * (len(sizes) - 1), len(sizes) - 1]
    ops.dense_backward_together(douts, xs, w, [(merges, np.zeros(w.shape, dtype))])


def copies_of(net: Network, count: int) -> list[list[Layer]]:
    """The network's own layers, and copies of them: `count` in all, with the same parameters and generators."""
    generators = [held for held in net.state().values() if isinstance(held, np.random.Generator)]
    shared = {id(held): held for held in [*net.parameters(), *generators]}
    return [net.layers, *(copy.deepcopy(net.layers, dict(shared)) for _ in range(count - 1))][:count]


def stages_of(net: Network, copies: list[list[Layer]], synchronised: Callable[..., Stage] | None) -> list[Stage]:
    """The network's stages, over copies of its layers.

    synchronised : what makes a stage of the places, the copies and the layer, of each BatchNorm; None: nothing.
    """
    found: list[Stage] = []
    begin = 0
    for end in range(len(net.layers) + 1):
        own = net.layers[end] if end < len(net.layers) else None
        alone = synchronised is not None and type(own) is BatchNorm
        if alone or own is None:
            found += _row(begin, [layers[begin:end] for layers in [net.layers, *copies]])
            begin = end + alone
        if alone:
            found.append(synchronised(range(end, end + 1), [layers[end] for layers in copies], own))  # type: ignore[misc]
    return found


def _row(begin: int, rows: list[list[Layer]]) -> list[Stage]:
    """The stages of layers in a row; rows : the network's own, and the copies."""
    if not rows[0]:
        return []
    found = []
    for own, *copies in zip(*map(ops.stages, rows), strict=True):
        count = 1 if isinstance(own, Layer) else len(own.layers)
        found.append((DenseStage if type(own) is Dense else Stage)(range(begin, begin + count), copies))
        begin += count
    return found


def give_state(net: Network, copies: list[list[Layer]]) -> None:
    """Let the copies begin with the state that the network has."""
    for number, layer in enumerate(net.layers):
        arrays = state_arrays(layer.state())
        if arrays:
            for layers in copies:
                layers[number].set_state({name: array.copy() for name, array in arrays.items()})
