"""Exercises 10 and 11: a step of SGD with momentum, and one of Adam. Lessons 7 and 8."""

from __future__ import annotations

import numpy as np

from scratchnet import optim
from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits

# ---------------------------------------------------------------- 10: SGD with momentum


def _momentum(value, g, m, lr, momentum):
    optim.momentum_update(value := value.copy(), g, m := m.copy(), lr, momentum, False)
    return value, m


def _momentum_cases() -> list[Case]:
    cases = []
    for seed, (shape, lr, momentum) in enumerate([((3, 4), 0.1, 0.9), ((5,), 0.02, 0.5), ((2, 3), 0.1, 0.0)]):
        value, g, m = random_arrays(seed, shape, shape, shape)
        cases.append(
            Case({"value": value, "g": g, "m": m, "lr": lr, "momentum": momentum}, traits(momentum=momentum > 0))
        )
    start = random_arrays(9, (4, 2), (4, 2))
    first = {"value": start[0], "g": start[1], "m": np.zeros((4, 2)), "lr": 0.1, "momentum": 0.9}
    return [*cases, Case(first, traits(momentum=True, m_still_zero=True))]


momentum_step = Task("momentum_step", ("value", "m"), _momentum, _momentum_cases())


@momentum_step.mistake("momentum not used: this is plain gradient descent; the step is lr * m, not lr * g")
def _plain(value, g, m, lr, momentum):
    return value - lr * g, _momentum(value, g, m, lr, momentum)[1]


@momentum_step.mistake("the old m was used: update m first, then step with the new one")
def _old_m(value, g, m, lr, momentum):
    return value - lr * m, _momentum(value, g, m, lr, momentum)[1]


@momentum_step.mistake(
    "g was weighted by 1 - momentum: here m is a sum, m = momentum * m + g, not a mean (that is Adam's)"
)
def _mean(value, g, m, lr, momentum):
    m = momentum * m + (1 - momentum) * g
    return value - lr * m, m


@momentum_step.mistake("lr is inside m: m = momentum * m + g holds no lr; the step is lr * m")
def _lr_inside(value, g, m, lr, momentum):
    m = momentum * m + lr * g
    return value - m, m


@momentum_step.mistake(
    "lr and the sign are inside m: here m = momentum * m + g has neither, and the step value - lr * m has both"
)
def _velocity(value, g, m, lr, momentum):
    m = momentum * m - lr * g
    return value + m, m


@momentum_step.mistake("m was returned unchanged: return the new m, momentum * m + g")
def _m_unchanged(value, g, m, lr, momentum):
    return _momentum(value, g, m, lr, momentum)[0], m.copy()


@momentum_step.mistake("uphill: the step has to go against the gradient, value - lr * m")
def _uphill(value, g, m, lr, momentum):
    m = momentum * m + g
    return value + lr * m, m


@momentum_step.mistake("the old m is not multiplied by momentum: m = momentum * m + g")
def _undamped(value, g, m, lr, momentum):
    return value - lr * (m + g), m + g


@momentum_step.mistake(
    "that is Nesterov's step, which looks one step of momentum ahead; plain momentum is value - lr * m"
)
def _nesterov(value, g, m, lr, momentum):
    m = momentum * m + g
    return value - lr * (g + momentum * m), m


# ---------------------------------------------------------------- 11: Adam


def _adam(value, g, m, s, lr, beta1, beta2, eps, t):
    value, m, s = value.copy(), m.copy(), s.copy()
    optim.adam_update(value, g, m, s, lr, (beta1, beta2), eps, t)
    return value, m, s


def _adam_cases() -> list[Case]:
    cases = []
    for seed, (shape, t, beta1, beta2) in enumerate(
        [((3, 4), 1, 0.9, 0.999), ((5,), 7, 0.8, 0.95), ((2, 3), 40, 0.9, 0.99)]
    ):
        value, g, m, s = random_arrays(seed, shape, shape, shape, shape)
        if t == 1:
            m, s = 0 * m, 0 * s
        arguments = {"value": value, "g": g, "m": m, "s": s**2, "lr": 0.01}
        arguments |= {"beta1": beta1, "beta2": beta2, "eps": 1e-3, "t": t}
        cases.append(Case(arguments, traits(the_first_step=t == 1, t_above_1=t > 1)))
    return cases


adam_step = Task("adam_step", ("value", "m", "s"), _adam, _adam_cases())


def _adam_parts(g, m, s, beta1, beta2, t):
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    return m, s, m / (1 - beta1**t), s / (1 - beta2**t)


@adam_step.mistake("bias correction missing: m and s start at 0, so early on they are too small; divide by 1 - beta**t")
def _no_correction(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, _, _ = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * m / (np.sqrt(s) + eps), m, s


@adam_step.mistake(
    "the corrected m and s were returned: the division by 1 - beta**t is for this step only; return m and s without it"
)
def _correction_kept(value, g, m, s, lr, beta1, beta2, eps, t):
    _, _, m, s = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * m / (np.sqrt(s) + eps), m, s


@adam_step.mistake("the power is missing: the correction is 1 - beta**t, beta to the power of t, not beta * t")
def _no_power(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, _, _ = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * m / (1 - beta1 * t) / (np.sqrt(s / (1 - beta2 * t)) + eps), m, s


@adam_step.mistake("only m was corrected: s starts at 0 as well; divide it by 1 - beta2**t, inside the square root")
def _m_corrected(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, mc, _ = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * mc / (np.sqrt(s) + eps), m, s


@adam_step.mistake("eps is outside of the division: write brackets, / (sqrt(s) + eps)")
def _eps_outside(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, mc, sc = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * (mc / np.sqrt(sc) + eps), m, s


@adam_step.mistake("t counts from 0: with 1 - beta**(t - 1) the first step divides by 0; the first step has t = 1")
def _t_from_zero(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, _, _ = _adam_parts(g, m, s, beta1, beta2, t)
    _, _, mc, sc = _adam_parts(0, m / beta1, s / beta2, beta1, beta2, t - 1)
    return value - lr * mc / (np.sqrt(sc) + eps), m, s


@adam_step.mistake("t is one too many: with 1 - beta**(t + 1) m is corrected too little; the first step has t = 1")
def _t_too_many(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, _, _ = _adam_parts(g, m, s, beta1, beta2, t)
    _, _, mc, sc = _adam_parts(0, m / beta1, s / beta2, beta1, beta2, t + 1)
    return value - lr * mc / (np.sqrt(sc) + eps), m, s


@adam_step.mistake("the square root is missing: s is a mean of squares, and the step is m / (sqrt(s) + eps)")
def _no_root(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, mc, sc = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * mc / (sc + eps), m, s


@adam_step.mistake("eps is inside the square root: it is added after it, sqrt(s) + eps")
def _eps_inside(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, mc, sc = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * mc / np.sqrt(sc + eps), m, s


@adam_step.mistake("eps is missing: without it the step divides by 0 where all gradients were 0")
def _no_eps(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s, mc, sc = _adam_parts(g, m, s, beta1, beta2, t)
    return value - lr * mc / np.sqrt(sc), m, s


@adam_step.mistake("g is not squared: s is a mean of squares, beta2 * s + (1 - beta2) * g**2")
def _not_squared(value, g, m, s, lr, beta1, beta2, eps, t):
    m, _, mc, _ = _adam_parts(g, m, s, beta1, beta2, t)
    s = beta2 * s + (1 - beta2) * g
    return value - lr * mc / (np.sqrt(s / (1 - beta2**t)) + eps), m, s


@adam_step.mistake("the betas are exchanged: beta1 belongs to m, the mean of g; beta2 to s, the mean of g**2")
def _exchanged(value, g, m, s, lr, beta1, beta2, eps, t):
    return _adam(value, g, m, s, lr, beta2, beta1, eps, t)


@adam_step.mistake("the weight 1 - beta is missing: m and s are running means, beta * old + (1 - beta) * new")
def _sums(value, g, m, s, lr, beta1, beta2, eps, t):
    m, s = beta1 * m + g, beta2 * s + g**2
    return value - lr * m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps), m, s


@adam_step.mistake("uphill: the step has to go against the gradient, value - lr * ...")
def _adam_uphill(value, g, m, s, lr, beta1, beta2, eps, t):
    new, m, s = _adam(value, g, m, s, lr, beta1, beta2, eps, t)
    return 2 * value - new, m, s


EXERCISES = (
    Exercise(
        "10_momentum",
        "a step of SGD with momentum",
        lesson=7,
        tasks=(momentum_step,),
        hints=(
            "m is a sum of all gradients so far, in which older ones count less. How does a new gradient change it?",
            "First m = momentum * m + g, then the weights step by lr times the *new* m.",
            "Neither value nor m may be changed in place: `m = momentum * m + g` makes a new array, `m *= momentum` "
            "does not.",
        ),
    ),
    Exercise(
        "11_adam",
        "a step of Adam",
        lesson=8,
        tasks=(adam_step,),
        hints=(
            "Two running means: m of g, and s of g squared. Each is beta * old + (1 - beta) * new.",
            "Both start at 0 and are too small at first, by the factor 1 - beta**t. Divide by it, for the step only.",
            "value - lr * m_hat / (sqrt(s_hat) + eps); return m and s themselves, not the corrected m_hat and s_hat.",
        ),
    ),
)
