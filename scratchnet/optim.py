"""Optimisers, which change the weights by their gradients, and schedules, which change the learning rate step by step.

One step of each, for every weight v with gradient g:

    SGD                 v -= lr * g
    with momentum       m  = momentum * m + g;     v -= lr * m
    Nesterov            m  = momentum * m + g;     v -= lr * (g + momentum * m)
    Adam                m  = beta1 * m + (1 - beta1) * g
                        s  = beta2 * s + (1 - beta2) * g**2
                        v -= lr * (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)        t = 1, 2, ...

Weight decay adds weight_decay * v to g first. m and s start at 0. So the first m of SGD is the first gradient; in Adam,
the two divisions by 1 - beta**t correct for this start.

Sources: Robbins and Monro, "A Stochastic Approximation Method", 1951; Polyak, 1964 (momentum); Sutskever et al., "On
the importance of initialization and momentum in deep learning", 2013, eq. 3 and 4 (Nesterov), in the form that PyTorch
uses; Kingma and Ba, "Adam", 2015, arXiv 1412.6980, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Parameter
from scratchnet.settings import above_zero, at_least_zero, below_one, flag, positive, shown

Schedule = Callable[[int], float]


def sgd_update(value: np.ndarray, g: np.ndarray, lr: float) -> None:
    """Gradient descent: change `value` in place by its gradient g, of the same shape.

    Source: Robbins and Monro, "A Stochastic Approximation Method", 1951.
    """
    value -= lr * g


def momentum_update(
    value: np.ndarray, g: np.ndarray, m: np.ndarray, lr: float, momentum: float, nesterov: bool
) -> None:
    """Gradient descent with momentum, or Nesterov's; m, of the same shape, is kept from step to step.

    Source: Polyak, 1964; Sutskever et al., 2013, eq. 3 and 4.
    """
    m *= momentum
    m += g
    value -= lr * (g + momentum * m if nesterov else m)


def adam_update(
    value: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    """Adam; m and s, of the same shape, are kept from step to step, and this is step t = 1, 2, ...

    Source: Kingma and Ba, 2015, arXiv 1412.6980, algorithm 1.
    """
    beta1, beta2 = betas
    m *= beta1
    m += (1 - beta1) * g
    s *= beta2
    s += (1 - beta2) * g**2
    value -= lr / (1 - beta1**t) * m / (np.sqrt(s / (1 - beta2**t)) + eps)


class Optimizer:
    """Changes a list of parameters step by step. It keeps a state for each: arrays of the weights' shape, by name.

    A subclass writes `update`, which changes one parameter's value in place. `lr` may be set before any step.
    """

    def __init__(self, parameters: Sequence[Parameter], lr: float, weight_decay: float = 0.0) -> None:
        name = type(self).__name__
        is_list = isinstance(parameters, Iterable) and not isinstance(parameters, np.ndarray)
        self.parameters: list[Parameter] = list(parameters) if is_list else [parameters]  # type: ignore[list-item]
        strangers = [p for p in self.parameters if not isinstance(p, Parameter)]
        if strangers:
            raise TypeError(f"{name}: expected parameters, as net.parameters() gives, got {shown(strangers[0])}")
        if not self.parameters:
            raise ValueError(f"{name}: expected at least one parameter, got none")
        self.lr = lr
        self.weight_decay = at_least_zero(name, "weight_decay", weight_decay)
        self.steps = 0
        self.state: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]

    @property
    def lr(self) -> float:
        """The learning rate; a finite number of at least 0."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = at_least_zero(type(self).__name__, "lr", lr)

    def step(self) -> None:
        """Change every parameter's value in place, by its gradient.

        Raises RuntimeError if a parameter has no gradient yet, and ValueError if one has a gradient of another shape.
        Then nothing has changed.
        """
        for p in self.parameters:
            if p.grad is None:
                raise RuntimeError(f"{type(self).__name__}: {p.name} has no gradient yet; call backward before step")
            if p.grad.shape != p.value.shape:
                raise ValueError(
                    f"{type(self).__name__}: expected a gradient of shape {p.value.shape} for {p.name}, "
                    f"got {p.grad.shape}; backward has to set the whole gradient"
                )
        self.steps += 1
        for p, state in zip(self.parameters, self.state, strict=True):
            g = p.grad if self.weight_decay == 0 else p.grad + self.weight_decay * p.value  # type: ignore[operator]
            self.update(p.value, g, state)  # type: ignore[arg-type]

    def update(self, value: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """Change `value` in place by its gradient g; `state` is empty at the first call and kept between calls."""
        raise NotImplementedError(f"{type(self).__name__} has to define update")

    def state_names(self) -> tuple[str, ...] | None:
        """The arrays that `update` keeps for each parameter after a step, by name; None: a subclass does not say.

        A checkpoint must hold exactly these.
        """
        return None

    def settings(self) -> dict[str, Any]:
        """What the optimiser was made with, apart from lr, which a schedule may change."""
        hidden = ("parameters", "_lr", "steps", "state")
        return {"optimizer": type(self).__name__} | {k: v for k, v in vars(self).items() if k not in hidden}


def kept(state: dict[str, np.ndarray], name: str, value: np.ndarray) -> np.ndarray:
    """An array of a parameter's state, of the value's shape; zeros at the first step."""
    if name not in state:
        state[name] = np.zeros_like(value)
    return state[name]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    Source: Robbins and Monro, 1951; Polyak, 1964 (momentum); Sutskever et al., 2013, eq. 3 and 4 (Nesterov).

    Parameters
    ----------
    parameters : list of Parameter
        What to train: `net.parameters()`.
    lr : float
        Learning rate.
    momentum : float
        How much of the last step goes into the next, 0 <= momentum < 1.
    nesterov : bool
        Look one step of momentum ahead.
    weight_decay : float
        Added to the gradient as weight_decay * value.

    Raises
    ------
    ValueError
        If a setting is out of range, or Nesterov is asked for without momentum.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = below_one("SGD", "momentum", momentum)
        self.nesterov = flag("SGD", "nesterov", nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: expected a momentum above 0 with nesterov=True, got 0")

    def state_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update(self, value: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray]) -> None:
        if self.momentum == 0:
            ops.sgd_update(value, g, self.lr)
        else:
            m = kept(state, "momentum", value)
            ops.momentum_update(value, g, m, self.lr, self.momentum, self.nesterov)


class Adam(Optimizer):
    """Adam: a step size of its own for each weight.

    Source: Kingma and Ba, 2015, arXiv 1412.6980, algorithm 1.

    Parameters
    ----------
    parameters : list of Parameter
        What to train: `net.parameters()`.
    lr : float
        Learning rate.
    betas : (float, float)
        How much of the old means of g and g**2 is kept, 0 <= beta < 1.
    eps : float
        Keeps the division finite.
    weight_decay : float
        Added to the gradient as weight_decay * value (not AdamW's decoupled form).

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if not isinstance(betas, (tuple, list, np.ndarray)) or np.shape(betas)[:1] != (2,):
            raise ValueError(f"Adam: expected betas to be two numbers, (beta1, beta2), got {shown(betas)}")
        self.betas = (below_one("Adam", "beta1 of betas", betas[0]), below_one("Adam", "beta2 of betas", betas[1]))
        self.eps = at_least_zero("Adam", "eps", eps)

    def state_names(self) -> tuple[str, ...]:
        return ("m", "s")

    def update(self, value: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray]) -> None:
        m, s = kept(state, "m", value), kept(state, "s", value)
        ops.adam_update(value, g, m, s, self.lr, self.betas, self.eps, self.steps)


# ---------------------------------------------------------------- schedules: functions from the step (0, 1, ...) to lr


def constant(lr: float) -> Schedule:
    """The same learning rate at every step."""
    rate = at_least_zero("constant", "lr", lr)
    return lambda step: rate


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiply the learning rate by `factor` after each `every` steps."""
    lr = at_least_zero("step_decay", "lr", lr)
    every = positive("step_decay", "every", every)
    factor = at_least_zero("step_decay", "factor", factor)
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, final_lr: float = 0.0) -> Schedule:
    """Half a cosine wave from lr down to final_lr over `steps` steps, and final_lr after them.

    Source: Loshchilov and Hutter, "SGDR", 2017, arXiv 1608.03983, eq. 5, without restarts.
    """
    lr = at_least_zero("cosine", "lr", lr)
    steps = positive("cosine", "steps", steps)
    final_lr = at_least_zero("cosine", "final_lr", final_lr)
    return lambda step: _half_wave(lr, final_lr, min(step / steps, 1.0))


def one_cycle(
    max_lr: float, steps: int, warm_up: float = 0.3, start_divisor: float = 25.0, final_divisor: float = 1e4
) -> Schedule:
    """Up from max_lr / start_divisor to max_lr, then down to max_lr / (start_divisor * final_divisor), in half cosines.

    `warm_up` is the share of the steps in which the rate goes up; the last step has the lowest rate. The momentum does
    not change. Source: Smith and Topin, "Super-Convergence", 2018, arXiv 1708.07120; the curve is PyTorch's OneCycleLR.
    """
    max_lr = at_least_zero("one_cycle", "max_lr", max_lr)
    steps = positive("one_cycle", "steps", steps)
    warm_up = at_least_zero("one_cycle", "warm_up", warm_up)
    if warm_up > 1:
        raise ValueError(f"one_cycle: expected warm_up to be from 0 to 1, a share of the steps, got {warm_up!r}")
    start_divisor = above_zero("one_cycle", "start_divisor", start_divisor)
    final_divisor = above_zero("one_cycle", "final_divisor", final_divisor)
    first, last = max_lr / start_divisor, max_lr / start_divisor / final_divisor
    peak = warm_up * steps - 1

    def lr(step: int) -> float:
        if step < peak:
            return _half_wave(first, max_lr, max(step, 0) / peak)
        return _half_wave(max_lr, last, min((step - peak) / max(steps - 1 - peak, 1e-12), 1.0))

    return lr


def _half_wave(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
