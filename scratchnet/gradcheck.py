"""Is a backward right? Compare its gradients with slopes that are measured by changing one number at a time.

The loss is the sum of out * dout, with dout drawn at random. (With a dout of ones, errors that cancel in a sum would go
unnoticed.) Backward gives the gradient of that loss for each entry v of the input or of a weight. The measured slope is

    (loss(v + h) - loss(v - h)) / 2h            a central difference: its error shrinks as h**2

They agree if `|gradient - slope| <= atol + rtol * |slope|`. The check needs float64: with h = 1e-6, the two losses
differ by less than the rounding of float32. Source: Press et al., "Numerical Recipes", section 5.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchnet.layers.base import Layer, Parameter, snapshot, state_in
from scratchnet.network import Network
from scratchnet.tables import table

STEP = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One array's gradient compared with its slopes: the worst entry, and how many were compared.

    Attributes
    ----------
    name : str
        "x", or the parameter's: "conv1.w".
    size, checked : int
        Entries of the array, and how many of them were compared.
    index : tuple of int
        The worst entry.
    gradient, slope : float
        Of the worst entry: by backprop, and as measured.
    passed : bool
        Whether all compared entries agree.
    """

    name: str
    size: int
    checked: int
    index: tuple[int, ...]
    gradient: float
    slope: float
    passed: bool


@dataclass(frozen=True)
class Report:
    """What `gradcheck` found; true if all gradients are right.

    Attributes
    ----------
    subject : str
        What was checked.
    comparisons : list of Comparison
        One for x and one for each parameter.
    rtol, atol : float
        As given to `gradcheck`.
    """

    subject: str
    comparisons: list[Comparison]
    rtol: float
    atol: float

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.comparisons)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        rows = [
            [c.name, f"{c.checked} of {c.size}", str(list(c.index)), f"{c.gradient:.9g}", f"{c.slope:.9g}", verdict(c)]
            for c in self.comparisons
        ]
        header = ["gradient for", "entries", "worst at", "backward says", "measured slope", ""]
        outcome = "all gradients are right" if self.passed else "WRONG GRADIENTS"
        return f"{self.subject}: {outcome} (within {self.atol:g} + {self.rtol:g} * |slope|)\n{table(header, rows)}"


def verdict(comparison: Comparison) -> str:
    """ "ok" or "WRONG": a report's last column."""
    return "ok" if comparison.passed else "WRONG"


def gradcheck(
    subject: Layer | Network,
    x: np.ndarray,
    *,
    training: bool = False,
    seed: int = 0,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    max_entries: int = 500,
) -> Report:
    """Check every gradient of a layer or a network against measured slopes.

    Parameters
    ----------
    subject : Layer or Network
        For the check its weights and its state are converted to float64. Then they and the gradients are restored.
    x : ndarray of float64
        An input for it. At a kink (ReLU at 0, a tie in max-pooling) there is no slope: draw x at random.
    training : bool
        Whether to check the forward of training, with dropout for example. Each forward starts from the same state, so
        dropout draws the same mask every time.
    seed : int
        Seed of the random dout and of the choice of entries.
    rtol, atol : float
        Agreement means `|gradient - slope| <= atol + rtol * |slope|`.
    max_entries : int
        How many entries to check. From a larger array this many are drawn at random, and the report says so.

    Returns
    -------
    Report
        True if all gradients are right. Printed, it shows the worst entry of each array with both values.

    Raises
    ------
    TypeError
        If x is not float64.
    ValueError
        If x is empty, or backward gives a gradient of another shape than the array's.

    Examples
    --------
    >>> import scratchnet as sn
    >>> report = sn.gradcheck(sn.Dense(3, 2), np.random.default_rng(0).standard_normal((4, 3)))
    >>> report.passed
    True
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        raise TypeError(
            f"gradcheck: expected x of dtype float64, got {getattr(x, 'dtype', type(x).__name__)}. In float32 the "
            "measured slope has no correct digits left: a loss is known to about 1e-7 of itself, and moving one number "
            f"by {STEP:g} changes it by less. Use x.astype(np.float64)"
        )
    rng = np.random.default_rng([seed, 1])  # x may come from the stream of `seed`: a dout equal to x hides mistakes
    parameters = subject.parameters()
    if not x.size:
        raise ValueError(f"gradcheck: expected at least one number to check with, got x of shape {x.shape}")
    before = [(p.value, p.grad) for p in parameters]
    state = snapshot(subject.state())
    try:
        for p in parameters:
            p.value = p.value.astype(np.float64)
        subject.set_state(state_in(np.float64, subject.state()))
        comparisons = _compare_all(subject, x.copy(), parameters, training, rng, rtol, atol, max_entries)
    finally:
        for p, (value, grad) in zip(parameters, before, strict=True):
            p._value, p.grad = value, grad  # the very same array, not a copy
        subject.set_state(state)
    return Report(getattr(subject, "name", type(subject).__name__), comparisons, rtol, atol)


def _compare_all(
    subject: Layer | Network,
    x: np.ndarray,
    parameters: list[Parameter],
    training: bool,
    rng: np.random.Generator,
    rtol: float,
    atol: float,
    max_entries: int,
) -> list[Comparison]:
    forward = _repeatable_forward(subject, training)
    dout = rng.standard_normal(forward(x).shape)
    dx = subject.backward(dout)
    gradients = [("x", x, dx), *((p.name, p.value, p.grad) for p in parameters)]
    comparisons = []
    for name, array, gradient in gradients:
        if gradient is None or np.shape(gradient) != array.shape:
            raise ValueError(
                f"gradcheck: expected backward to give {name} a gradient of shape {array.shape}, "
                f"got {None if gradient is None else np.shape(gradient)}"
            )
        chosen = _choose_entries(array, rng, max_entries)
        slopes = np.array([_slope(lambda: float((forward(x) * dout).sum()), array, index) for index in chosen])
        claimed = np.array([gradient[index] for index in chosen])
        tolerance = np.maximum(atol + rtol * np.abs(slopes), np.finfo(np.float64).tiny)
        share = np.abs(claimed - slopes) / tolerance  # NaN counts as wrong
        worst = int(np.nan_to_num(share, nan=np.inf).argmax())
        passed = bool(share[worst] <= 1)
        comparisons.append(
            Comparison(
                name, array.size, len(chosen), chosen[worst], float(claimed[worst]), float(slopes[worst]), passed
            )
        )
    return comparisons


def _repeatable_forward(subject: Layer | Network, training: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The subject's forward, each time from the state that it has now."""
    state = snapshot(subject.state())

    def forward(x: np.ndarray) -> np.ndarray:
        subject.set_state(state)
        out: np.ndarray = subject.forward(x, training)
        return out

    return forward


def _choose_entries(array: np.ndarray, rng: np.random.Generator, max_entries: int) -> list[tuple[int, ...]]:
    flat = np.arange(array.size) if array.size <= max_entries else rng.choice(array.size, max_entries, replace=False)
    return [tuple(map(int, np.unravel_index(i, array.shape))) for i in flat]


def _slope(loss: Callable[[], float], array: np.ndarray, index: tuple[int, ...]) -> float:
    """Central difference of the loss for array[index], which is restored."""
    value: Any = array[index]
    array[index] = value + STEP
    above = loss()
    array[index] = value - STEP
    below = loss()
    array[index] = value
    return (above - below) / (2 * STEP)
