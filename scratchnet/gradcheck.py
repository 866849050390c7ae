"""Is a backward right? Compare its gradients with slopes that are measured by changing one number at a time.

The loss is the sum of out * dout, with dout drawn at random. (With a dout of ones, errors that cancel in a sum would go
unnoticed.) Backward gives the gradient of that loss for each entry v of the input or of a weight. The measured slope is

    (loss(v + h) - loss(v - h)) / 2h            a central difference: its error shrinks as h**2

`slopes.py` chooses h by the size of the numbers, and says how far each slope may be off. Gradient and slope agree if

    |gradient - slope| <= atol + rtol * gross + error

where gross adds up what each number of the output contributes to the slope, without signs, and error is that of the
slope, with what rounding does to the gradient. So nothing depends on the units of inputs and weights, and rounding is
not taken for a mistake. Besides, backward is called twice: it has to give the same both times, and may change neither x
nor dout nor a weight.

Some entries have no slope that could be compared:

- At a kink (ReLU at 0, a tie in max-pooling) the slopes to the left and to the right differ. Such entries are counted,
  and compared at another place: x and the weights are moved by a tenth of their size, at random. At the kink itself,
  what backward says is a matter of agreement. Only a layer without weights is held to bounds there: each number of its
  output may pass on any slope between its left and its right one. That is true of ReLU and pooling. It is not true of
  layers in a row, where one kink can be the difference of two others.
- Where the error is too large to say anything, the entry is counted as not measured. If only a step larger than the
  number itself gets past rounding, its slope can confirm the gradient. If it contradicts, the entry is in doubt: not
  called wrong, since the loss may be curved on the way, and not right either.

A gradient is right if no entry contradicts it, and at least half of the entries agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from scratchnet.layers.base import Layer, Parameter, snapshot, state_in
from scratchnet.network import Network
from scratchnet.slopes import Loss, Slope, other_last_digits
from scratchnet.tables import table

LOOSE = 1e-3  # an error of the slope, relative to it, with which it counts as measured
SHIFT = 0.1  # how far numbers are moved to leave a kink, relative to their size


@dataclass(frozen=True)
class Comparison:
    """One array's gradient compared with its slopes: the worst entry, and how many were compared.

    Attributes
    ----------
    name : str
        "x", or the parameter's: "conv1.w".
    size, checked : int
        Entries of the array, and how many of them were looked at.
    index : tuple of int
        The worst entry.
    gradient, slope : float
        Of the worst entry: by backprop, and as measured.
    passed : bool
        Whether no entry is wrong or doubtful, and at least half of those looked at are known to be right.
    wrong, kinks, unmeasured : int
        Entries that disagree; that lie at a kink, and were compared beside it; that could not be measured at all.
    """

    name: str
    size: int
    checked: int
    index: tuple[int, ...]
    gradient: float
    slope: float
    passed: bool
    wrong: int = 0
    kinks: int = 0
    unmeasured: int = 0


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
    faults : tuple of str
        What backward does besides that it may not do, such as adding to a gradient that it has to overwrite.
    """

    subject: str
    comparisons: list[Comparison]
    rtol: float
    atol: float
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.faults and all(c.passed for c in self.comparisons)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return "\n".join([self.outcome(), table(*self.rows()), *self.notes()])

    def _repr_html_(self) -> str:
        from scratchnet.show.html import report_html

        return report_html(self)

    def outcome(self) -> str:
        """Whether all gradients are right, in a line."""
        wrong = self.faults or any(c.wrong for c in self.comparisons)
        outcome = "all gradients are right" if self.passed else "WRONG GRADIENTS" if wrong else "NOT KNOWN TO BE RIGHT"
        within = f"within {f'{self.atol:g} + ' if self.atol else ''}{self.rtol:g} * the slope's scale + its error"
        return f"{self.subject}: {outcome} ({within})"

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The names of the columns, and a row for each array with its worst entry."""
        header = ["gradient for", "entries", "worst at", "backward says", "measured slope", ""]
        return header, [
            [c.name, f"{c.checked} of {c.size}", str(list(c.index)), f"{c.gradient:.9g}", f"{c.slope:.9g}", verdict(c)]
            for c in self.comparisons
        ]

    def notes(self) -> list[str]:
        """What else is wrong, and what to know about entries that could not be compared as they are."""
        kinks = [f"{c.kinks} of {c.name}" for c in self.comparisons if c.kinks]
        unmeasured = [f"{c.unmeasured} of {c.name}" for c in self.comparisons if c.unmeasured]
        notes = list(self.faults)
        if kinks:
            notes.append(
                f"at a kink, left out: {', '.join(kinks)}. There the slopes to the left and right differ (ReLU at 0, a "
                "tie in max-pooling), so there is none to compare with; compared after a small random shift instead"
            )
        if unmeasured:
            notes.append(
                f"could not be measured: {', '.join(unmeasured)}. Rounding, or kinks too close to each other, hide the "
                "slope; try an x drawn at random, and weights whose products are about as large as the biases"
            )
        return notes


def verdict(comparison: Comparison) -> str:
    """ "ok", "WRONG" or "not measured": a report's last column."""
    return "ok" if comparison.passed else "WRONG" if comparison.wrong else "not measured"


def gradcheck(
    subject: Layer | Network,
    x: np.ndarray,
    *,
    training: bool = False,
    seed: int = 0,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_entries: int = 500,
) -> Report:
    """Check every gradient of a layer or a network against measured slopes.

    Parameters
    ----------
    subject : Layer or Network
        For the check its weights and its state are converted to float64. Then they and the gradients are restored.
    x : ndarray of float64
        An input for it. Numbers drawn at random have fewer kinks than real images, whose background is all the same.
    training : bool
        Whether to check the forward of training, with dropout for example. Each forward starts from the same state, so
        dropout draws the same mask every time.
    seed : int
        Seed of the random dout and of the choice of entries.
    rtol, atol : float
        Agreement means `|gradient - slope| <= atol + rtol * gross + error`; see the start of `gradcheck.py`.
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
        If x is empty, forward gives NaN, infinite numbers or two results for one x, or backward gives a gradient of
        another shape than the array's.

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
            "measured slope has hardly a correct digit left: a loss is known to about 1e-7 of itself, and moving one "
            "number a little changes it by not much more. Use x.astype(np.float64)"
        )
    if not x.size:
        raise ValueError(f"gradcheck: expected at least one number to check with, got x of shape {x.shape}")
    with _in_float64(subject) as parameters:
        check = _Check(subject, x.copy(), parameters, training, seed, rtol, atol)
        entries = [_choose_entries(array, check.rng, max_entries) for array in check.arrays]
        judged = [check.judge(i, chosen) for i, chosen in enumerate(entries)]
        kinks = [[j.index for j in part if j.kink] for part in judged]
        if any(kinks):
            check.move()
            beside = [check.judge(i, chosen) for i, chosen in enumerate(kinks)]
        else:
            beside = [[] for _ in kinks]
        comparisons = [
            _summary(name, array.size, at_x, moved)
            for name, array, at_x, moved in zip(check.names, check.arrays, judged, beside, strict=True)
        ]
    return Report(
        getattr(subject, "name", type(subject).__name__), comparisons, rtol, atol, tuple(dict.fromkeys(check.faults))
    )


@dataclass(frozen=True)
class _Judged:
    """The verdict on one entry. `excess` is its distance from the slope in units of the tolerance."""

    index: tuple[int, ...]
    gradient: float
    slope: float
    excess: float
    wrong: bool
    kink: bool
    unmeasured: bool
    doubtful: bool = False  # a slope from far away contradicts it


class _Check:
    """A subject at one point: its arrays, what backward says about them, and the loss that they are compared with."""

    def __init__(
        self,
        subject: Layer | Network,
        x: np.ndarray,
        parameters: list[Parameter],
        training: bool,
        seed: int,
        rtol: float,
        atol: float,
    ) -> None:
        self.subject, self.parameters, self.rtol, self.atol = subject, parameters, rtol, atol
        self.names = ["x", *(p.name for p in parameters)]
        self.arrays = [x, *(p.value for p in parameters)]
        self.forward = _repeatable_forward(subject, training)
        # x may come from the stream of `seed` itself, and a dout equal to x would hide mistakes.
        self.rng = np.random.default_rng([seed, 1])
        self.dout = self.rng.standard_normal(self.forward(x.copy()).shape)
        self.faults: list[str] = []  # what else is wrong with forward and backward, each in a sentence
        self._measure()

    def _measure(self) -> None:
        x = self.arrays[0]
        out = self.forward(x.copy())
        if not np.isfinite(out).all():
            raise ValueError("gradcheck: forward gives NaN or infinite numbers for this x; choose another x")
        if not _same(out, self.forward(x.copy())):
            raise ValueError(
                "gradcheck: forward gave two results for one x; what it draws from or keeps has to be in state()"
            )
        self.loss = Loss(lambda: self.forward(x), self.arrays, self.dout, np.random.default_rng(0))
        self.sizes = [self.loss.usual_size(array) for array in self.arrays]
        before = x.copy()
        self.forward(x)
        self.faults += _changed("forward", ["x"], [before], [x])
        x[...] = before
        self.gradients = self._backward()
        self._compare_two_backwards(self._backward())
        self.scales = [_largest(gradient) for gradient in self.gradients]
        with other_last_digits(self.arrays, np.random.default_rng(1)):
            self.forward(x)
            others = self._backward()
        with np.errstate(invalid="ignore"):  # infinity - infinity
            self.rounding = [_largest(a - b) for a, b in zip(self.gradients, others, strict=True)]

    def _backward(self) -> list[np.ndarray]:
        """Copies of all gradients that a backward gives now. What it may not change is put back."""
        before, dout = [array.copy() for array in self.arrays], self.dout.copy()
        dx = self.subject.backward(dout)
        self.faults += _changed("backward", ["dout", *self.names], [self.dout, *before], [dout, *self.arrays])
        for array, kept in zip(self.arrays, before, strict=True):
            array[...] = kept
        gradients = [dx, *(p.grad for p in self.parameters)]
        for name, array, gradient in zip(self.names, self.arrays, gradients, strict=True):
            if gradient is None or np.shape(gradient) != array.shape:
                raise ValueError(
                    f"gradcheck: expected backward to give {name} a gradient of shape {array.shape}, "
                    f"got {None if gradient is None else np.shape(gradient)}"
                )
        return [np.array(gradient) for gradient in gradients]

    def _compare_two_backwards(self, again: list[np.ndarray]) -> None:
        for name, first, second in zip(self.names, self.gradients, again, strict=True):
            if not np.isfinite(first).all():
                self.faults.append(f"backward: the gradient for {name} has NaN or infinite numbers")
            if not _same(first, second):
                self.faults.append(
                    f"backward: called twice, it gives two gradients for {name}; it has to overwrite (=), never to add "
                    "(+=), and to leave alone what forward has kept"
                )

    def judge(self, i: int, entries: list[tuple[int, ...]]) -> list[_Judged]:
        """The verdict on some entries of one array."""

        def enough(slope: Slope) -> bool:
            return slope.error <= self.rtol * max(slope.gross, 1e-3 * self.scales[i])

        verdicts = []
        for index in entries:
            slope = self.loss.slope(self.arrays[i], index, self.sizes[i], enough)
            judged = self._judge_by(slope, i, index)
            if judged.wrong and slope.far:
                nearby = self.loss.slope(self.arrays[i], index, self.sizes[i], lambda slope: True)
                judged = self._judge_by(nearby, i, index)
                judged = replace(judged, doubtful=not judged.wrong, unmeasured=not judged.wrong)
            verdicts.append(judged)
        return verdicts

    def _judge_by(self, slope: Slope, i: int, index: tuple[int, ...]) -> _Judged:
        """The verdict on one entry of array i, by its slope."""
        gradient = float(self.gradients[i][index])
        low = high = slope.value
        kink = abs(slope.right - slope.left) > self.rtol * slope.gross + slope.error
        if kink:
            bounded = isinstance(self.subject, Layer) and not self.parameters
            low, high = (slope.low, slope.high) if bounded else (-np.inf, np.inf)
        tolerance = self.atol + self.rtol * slope.gross + slope.error + 10 * self.rounding[i]
        distance = max(low - gradient, gradient - high, 0.0) if np.isfinite(gradient) else np.inf
        wrong = distance > 0 and not distance <= tolerance
        unmeasured = not (wrong or kink or self._measured(slope, gradient, i))
        excess = distance / tolerance if tolerance else np.inf if wrong else 0.0
        return _Judged(index, gradient, slope.value, excess, wrong, kink and not wrong, unmeasured)

    def _measured(self, slope: Slope, gradient: float, i: int) -> bool:
        """Whether a slope is known well, relative to itself or to the others of its array.

        A gradient of 0, or of nothing but rounding, as of a bias before a normalisation, has no scale. There it is
        enough that the slope does nothing that could be seen in the loss.
        """
        known = max(LOOSE * slope.gross, self.rtol * self.scales[i])
        if abs(gradient) <= 10 * self.rounding[i]:
            known = max(known, 1e-9 * float(np.abs(self.loss.out * self.dout).sum()) / self.sizes[i])
        return slope.error <= known

    def move(self) -> None:
        """Go to another point nearby, away from kinks."""
        for array in self.arrays:
            if array.any():
                array += SHIFT * self.loss.usual_size(array) * self.rng.standard_normal(array.shape)
        self._measure()


def _summary(name: str, size: int, at_x: list[_Judged], beside: list[_Judged]) -> Comparison:
    """All verdicts on one array, together."""
    kinks = sum(j.kink for j in at_x)
    compared = [j for j in at_x if not j.kink] + beside
    wrong = sum(j.wrong for j in compared)
    unmeasured = sum(j.unmeasured or (j.kink and not j.wrong) for j in compared)
    known = [j for j in compared if not (j.unmeasured or j.kink)] or compared
    worst = max(known, key=lambda j: (j.wrong, j.excess))
    passed = not (wrong or any(j.doubtful for j in compared)) and 2 * unmeasured <= len(compared)
    return Comparison(
        name, size, len(compared), worst.index, worst.gradient, worst.slope, passed, wrong, kinks, unmeasured
    )


@contextmanager
def _in_float64(subject: Layer | Network) -> Iterator[list[Parameter]]:
    """The subject's parameters; inside, they and the state are float64, and afterwards as before."""
    parameters = subject.parameters()
    before = [(p.value, p.grad) for p in parameters]
    state = snapshot(subject.state())
    try:
        for p in parameters:
            p.value = p.value.astype(np.float64)
        subject.set_state(state_in(np.float64, subject.state()))
        yield parameters
    finally:
        for p, (value, grad) in zip(parameters, before, strict=True):
            p._value, p.grad = value, grad  # the very same array, not a copy
        subject.set_state(state)


def _repeatable_forward(subject: Layer | Network, training: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The subject's forward, each time from the state that it has now."""
    state = snapshot(subject.state())

    def forward(x: np.ndarray) -> np.ndarray:
        subject.set_state(state)
        return np.array(subject.forward(x, training))  # a copy: out may be a view of x, which the check will change

    return forward


def _choose_entries(array: np.ndarray, rng: np.random.Generator, max_entries: int) -> list[tuple[int, ...]]:
    flat = np.arange(array.size) if array.size <= max_entries else rng.choice(array.size, max_entries, replace=False)
    return [tuple(map(int, np.unravel_index(i, array.shape))) for i in flat]


def _largest(array: np.ndarray) -> float:
    """The size of the largest finite number."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays agree up to rounding; another number of threads may add in another order."""
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12 * _largest(a), equal_nan=True)


def _changed(by: str, names: list[str], before: list[np.ndarray], after: list[np.ndarray]) -> list[str]:
    return [
        f"{by}: changes {name}, which belongs to the caller; make a new array"
        for name, a, b in zip(names, before, after, strict=True)
        if not np.array_equal(a, b)
    ]
