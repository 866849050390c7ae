"""The proof that a network computes the same in another framework: one random batch through both, in float64."""

from __future__ import annotations

import copy

import numpy as np

from scratchnet import layers as book
from scratchnet.engine import READABLE_ENGINE, use_engine
from scratchnet.interop.order import channels_last, walk
from scratchnet.network import Network

TOLERANCE = 1e-9  # of outputs in float64, relative to the largest: rounding makes differences of 1e-14
BATCH = 3


def trial(net: Network, N: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """A random batch (N, ...) in float64, and what the network makes of it outside training.

    Raises ValueError if the shape of the input is not known.
    """
    if net.input_shape is None:
        raise ValueError(f"{net.name}: expected a network whose input_shape is known")
    x = np.random.default_rng(0).standard_normal((N, *net.input_shape))
    with use_engine(READABLE_ENGINE), np.errstate(all="ignore"):
        return x, copy.deepcopy(net).astype(np.float64).forward(x)


def difference(theirs: np.ndarray, ours: np.ndarray, tolerance: float = TOLERANCE) -> str | None:
    """How far two outputs are apart, in words; None if they are the same but for rounding.

    `tolerance` is relative to the largest of ours.
    """
    if theirs.shape != ours.shape:
        return f"outputs of shape {theirs.shape[1:]} there, {ours.shape[1:]} here"
    largest = np.abs(ours, where=np.isfinite(ours), out=np.zeros_like(ours)).max(initial=0)
    if np.allclose(theirs, ours, rtol=0, atol=tolerance * largest, equal_nan=True):
        return None
    return f"outputs are up to {np.nanmax(np.abs(theirs - ours)):.2g} apart, of at most {largest:.2g}"


def in_our_order(theirs: np.ndarray, net: Network) -> np.ndarray:
    """Outputs of a framework with channels first, with channels last; also where they are images made flat."""
    if theirs.ndim == 4:
        return theirs.transpose(0, 2, 3, 1)
    *_, (layer, _, flattened) = walk(net)
    if flattened is None or isinstance(layer, book.Dense) or theirs.shape[1:] != (np.prod(flattened),):
        return theirs
    return channels_last(theirs.T, flattened).T
