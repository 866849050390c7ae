"""Exercises 10 and 11: a step of SGD with momentum, and one of Adam. Lessons 9 and 10."""

from __future__ import annotations

import numpy as np

from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits

# ---------------------------------------------------------------- 10: SGD with momentum


def _momentum(value, g, m, lr, momentum):
    m = momentum * m + g
    return value - lr * m, m


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


momentum_step.slip(
    "momentum not used: this is plain gradient descent; the step is lr * m, not lr * g", ("lr * m", "lr * g")
)
momentum_step.slip(
    "the old m was used: update m first, then step with the new one",
    ("    m = momentum * m + g", "    old, m = m, momentum * m + g"),
    (" m, m\n", " old, m\n"),
)
momentum_step.slip(
    "g was weighted by 1 - momentum: here m is a sum, m = momentum * m + g, not a mean (that is Adam's)",
    ("+ g", "+ (1 - momentum) * g"),
)
momentum_step.slip(
    "lr is inside m: m = momentum * m + g holds no lr; the step is lr * m", ("+ g", "+ lr * g"), ("lr * m,", "m,")
)
momentum_step.slip(
    "the old m was multiplied by 1 - momentum: m = momentum * m + g", ("momentum * m", "(1 - momentum) * m")
)
momentum_step.slip("lr is in m and in the step: m = momentum * m + g holds no lr", ("+ g", "+ lr * g"))
momentum_step.slip(
    "lr and the sign are inside m: here m = momentum * m + g has neither, and the step value - lr * m has both",
    ("+ g", "- lr * g"),
    ("value - lr * m", "value + m"),
)
momentum_step.slip(
    "m was returned unchanged: return the new m, momentum * m + g",
    ("    m = momentum * m + g", "    old, m = m, momentum * m + g"),
    (", m\n", ", old\n"),
)
momentum_step.slip("uphill: the step has to go against the gradient, value - lr * m", ("value -", "value +"))
momentum_step.slip("the learning rate is missing: the step is lr * m, not m", ("lr * m", "m"))
momentum_step.slip("the sign of g is reversed: m = momentum * m + g", ("+ g", "- g"))
momentum_step.slip("this is the step alone: return the new weights, value - lr * m", ("value -", "-"))
momentum_step.slip("the old m is not multiplied by momentum: m = momentum * m + g", ("momentum * m + g", "m + g"))
momentum_step.slip(
    "that is Nesterov's step, which looks one step of momentum ahead; plain momentum is value - lr * m",
    ("lr * m", "lr * (g + momentum * m)"),
)


# ---------------------------------------------------------------- 11: Adam


def _adam(value, g, m, s, lr, beta1, beta2, eps, t):
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    s_hat = s / (1 - beta2**t)
    step = lr * m_hat / (np.sqrt(s_hat) + eps)
    return value - step, m, s


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


adam_step.slip(
    "bias correction missing: m and s start at 0, so early on they are too small; divide by 1 - beta**t",
    (" / (1 - beta1**t)", ""),
    (" / (1 - beta2**t)", ""),
)
adam_step.slip(
    "the corrected m and s were returned: the division by 1 - beta**t is for this step only; return m and s without it",
    (", m, s\n", ", m_hat, s_hat\n"),
)
adam_step.slip(
    "the power is missing: the correction is 1 - beta**t, beta to the power of t, not beta * t", ("**t", " * t")
)
adam_step.slip(
    "only m was corrected: s starts at 0 as well; divide it by 1 - beta2**t, inside the square root",
    (" / (1 - beta2**t)", ""),
)
adam_step.slip("only s was corrected: m starts at 0 as well; divide it by 1 - beta1**t", (" / (1 - beta1**t)", ""))
adam_step.slip(
    "the corrections' betas are mixed up: m is divided by 1 - beta1**t, and s by 1 - beta2**t",
    ("m / (1 - beta1**t)", "m / (1 - beta2**t)"),
)
adam_step.slip(
    "the corrections' betas are mixed up: m is divided by 1 - beta1**t, and s by 1 - beta2**t",
    ("s / (1 - beta2**t)", "s / (1 - beta1**t)"),
)
adam_step.slip(
    "eps is outside of the division: write brackets, / (sqrt(s) + eps)",
    ("lr * m_hat / (np.sqrt(s_hat) + eps)", "lr * (m_hat / np.sqrt(s_hat) + eps)"),
)
for sign in "+-":
    adam_step.slip(
        "eps was added after the division: write brackets, / (sqrt(s) + eps)",
        ("(np.sqrt(s_hat) + eps)", f"np.sqrt(s_hat) {sign} eps"),
    )
adam_step.slip(
    "eps is inside the square root: it is added after it, sqrt(s) + eps",
    ("np.sqrt(s_hat) + eps", "np.sqrt(s_hat + eps)"),
)
adam_step.slip("eps is missing: without it the step divides by 0 where all gradients were 0", (" + eps", ""))
adam_step.slip(
    "t counts from 0: with 1 - beta**(t - 1) the first step divides by 0; the first step has t = 1",
    ("**t", "**(t - 1)"),
)
adam_step.slip(
    "t is one too many: with 1 - beta**(t + 1) m is corrected too little; the first step has t = 1",
    ("**t", "**(t + 1)"),
)
adam_step.slip(
    "the square root is missing: s is a mean of squares, and the step is m / (sqrt(s) + eps)",
    ("np.sqrt(s_hat)", "s_hat"),
)
adam_step.slip("g is not squared: s is a mean of squares, beta2 * s + (1 - beta2) * g**2", ("g**2", "g"))
adam_step.slip("m was squared: s is a mean of the squares of g", ("g**2", "m**2"))
adam_step.slip("that is g's absolute value: s is a mean of squares, beta2 * s + (1 - beta2) * g**2", ("g**2", "abs(g)"))
adam_step.slip(
    "the betas are exchanged: beta1 belongs to m, the mean of g; beta2 to s, the mean of g**2",
    ("    m = beta1", "    beta1, beta2 = beta2, beta1\n    m = beta1"),
)
adam_step.slip(
    "beta1 stands for both: beta1 belongs to m, the mean of g; beta2 to s, the mean of g**2",
    ("beta2", "beta1"),
    ("beta1, beta1", "beta1, beta2"),
)
SUMS = "the weight 1 - beta is missing: m and s are running means, beta * old + (1 - beta) * new"
adam_step.slip(SUMS, ("(1 - beta1) * ", ""), ("(1 - beta2) * ", ""))
adam_step.slip(SUMS, ("(1 - beta1) * ", ""))
adam_step.slip(SUMS, ("(1 - beta2) * ", ""))
adam_step.slip("uphill: the step has to go against the gradient, value - lr * ...", ("value -", "value +"))
adam_step.slip("the learning rate is missing: the step is lr * m_hat / (sqrt(s_hat) + eps)", ("lr * m_hat", "m_hat"))
adam_step.slip("this is the step alone: return the new weights, value - lr * ...", ("value -", "-"))


EXERCISES = (
    Exercise(
        "10_momentum",
        "a step of SGD with momentum",
        lesson=9,
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
        lesson=10,
        tasks=(adam_step,),
        hints=(
            "Two running means: m of g, and s of g squared. Each is beta * old + (1 - beta) * new.",
            "Both start at 0 and are too small at first, by the factor 1 - beta**t. Divide by it, for the step only.",
            "value - lr * m_hat / (sqrt(s_hat) + eps); return m and s themselves, not the corrected m_hat and s_hat.",
        ),
    ),
)
