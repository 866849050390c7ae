"""Exercise 14: batch normalisation, backward. Lesson 14.

The answer takes rows: for images, each pixel of each image is one. It finds mean and variance itself.
"""

from __future__ import annotations

import numpy as np

from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits


def _cases() -> list[Case]:
    cases = []
    for seed, (N, C, eps, constant) in enumerate(
        [(4, 3, 0.01, False), (6, 2, 0.1, False), (3, 3, 0.002, False), (5, 4, 0.05, True)]
    ):
        dout, x, w, spread = random_arrays(seed, (N, C), (N, C), (C,), (C,))
        x = 2 + spread * x  # neither mean nor variance is the same in all channels
        if constant:
            x[:, 1] = 0.5
        cases.append(Case({"dout": dout, "x": x, "w": w, "eps": eps}, traits(a_channel_that_is_constant=constant)))
    return cases


def _batch_norm_backward(dout, x, w, eps):
    N = len(x)
    mean, var = x.mean(axis=0), x.var(axis=0)
    deviation = np.sqrt(var + eps)
    x_hat = (x - mean) / deviation
    db = dout.sum(axis=0)
    dw = (dout * x_hat).sum(axis=0)
    dx_hat = dout * w
    by_mean = dx_hat.sum(axis=0) / N
    by_var = x_hat * (dx_hat * x_hat).sum(axis=0) / N
    dx = (dx_hat - by_mean - by_var) / deviation
    return dx, dw, db


batch_norm = Task("batch_norm_backward", ("dx", "dw", "db"), _batch_norm_backward, _cases())

# ---------------------------------------------------------------- the three paths of dx

batch_norm.slip(
    "the paths through the mean and the variance are missing: this is the direct path alone, as if mean and variance "
    "were constants (which they are outside training). Every x[n] moves both",
    (" - by_mean - by_var", ""),
)
batch_norm.slip(
    "the path through the mean is missing: x[n] moves the mean by 1/N, and with it all N numbers of the channel",
    (" - by_mean", ""),
)
batch_norm.slip(
    "the path through the variance is missing: x[n] moves the variance by 2 * (x[n] - mean) / N, and with it all N "
    "numbers of the channel",
    (" - by_var", ""),
)
batch_norm.slip(
    "1/N is missing on the path through the mean: the mean is a sum divided by N, so x[n] moves it by 1/N",
    ("dx_hat.sum(axis=0) / N", "dx_hat.sum(axis=0)"),
)
batch_norm.slip(
    "1/N is missing on the path through the variance: the variance is a mean of squares, so x[n] moves it by "
    "2 * (x[n] - mean) / N",
    ("(dx_hat * x_hat).sum(axis=0) / N", "(dx_hat * x_hat).sum(axis=0)"),
)
batch_norm.slip(
    "the sign of the path through the mean is reversed: a larger mean makes every x_hat smaller",
    ("- by_mean", "+ by_mean"),
)
batch_norm.slip(
    "the sign of the path through the variance is reversed: a larger variance brings every x_hat nearer to 0",
    ("- by_var", "+ by_var"),
)
batch_norm.slip(
    "the path through the variance is half of what it should be: the slope of (x[n] - mean)**2 is 2 * (x[n] - mean)",
    ("(dx_hat * x_hat).sum(axis=0) / N", "(dx_hat * x_hat).sum(axis=0) / N / 2"),
)
batch_norm.slip(
    "the path through the variance is twice what it should be: the slope of (var + eps)**-0.5 is "
    "-0.5 * (var + eps)**-1.5, and its 0.5 is missing",
    ("(dx_hat * x_hat).sum(axis=0) / N", "(dx_hat * x_hat).sum(axis=0) / N * 2"),
)
batch_norm.slip(
    "the power on the path through the variance: the slope of (var + eps)**-0.5 is -0.5 * (var + eps)**-1.5",
    ("by_var = x_hat", "by_var = deviation**2 * x_hat"),
)
batch_norm.slip(
    "eps is missing on the path through the variance: its slope is -0.5 * (var + eps)**-1.5",
    ("by_var = x_hat", "by_var = deviation**3 / var**1.5 * x_hat"),
)
batch_norm.slip(
    "the power on the path through the variance: (var + eps)**-1.5 is the deviation to the power -3, and not -1.5",
    ("by_var = x_hat", "by_var = deviation**1.5 * x_hat"),
)
batch_norm.slip(
    "(x - mean) is missing on the path through the variance: x[n] moves the variance by 2 * (x[n] - mean) / N",
    ("by_var = x_hat", "by_var = 1 / deviation"),
)
batch_norm.slip(
    "x_hat is missing on the path through the variance: x[n] moves the variance in proportion to x_hat[n]",
    ("by_var = x_hat *", "by_var ="),
)
batch_norm.slip(
    "x - mean was taken for x_hat on the path through the variance: divide it by sqrt(var + eps)",
    ("by_var = x_hat", "by_var = (x - mean)"),
)
batch_norm.slip(
    "x was taken for x - mean on the path through the variance: x[n] moves the variance by 2 * (x[n] - mean) / N",
    ("by_var = x_hat", "by_var = x / deviation"),
)
batch_norm.slip(
    "the path through the variance lacks a sum: every x_hat[n] depends on var, so the gradient of var is a sum over n",
    ("(dx_hat * x_hat).sum(axis=0)", "(dx_hat * x_hat)"),
)
batch_norm.slip(
    "the path through the mean lacks a sum: every x_hat[n] depends on the mean, so its gradient is a sum over n",
    ("by_mean = dx_hat.sum(axis=0)", "by_mean = dx_hat"),
)

# ---------------------------------------------------------------- w, the deviation, eps

W_MISSING = "w is left out: out = w * x_hat + b, so the gradient of x_hat is dout * w, on all three paths"
batch_norm.slip(W_MISSING, ("dx_hat = dout * w", "dx_hat = dout"))
batch_norm.slip(
    "w is left out on the direct path: the gradient of x_hat is dout * w, on all three paths", ("(dx_hat -", "(dout -")
)
batch_norm.slip(
    "w is left out on the paths through the mean and the variance: the gradient of x_hat is dout * w, on all three",
    ("dx_hat.sum", "dout.sum"),
    ("(dx_hat * x_hat)", "(dout * x_hat)"),
)
batch_norm.slip(
    "the division by sqrt(var + eps) is missing in dx: x_hat = (x - mean) / sqrt(var + eps)",
    (") / deviation\n    return", ")\n    return"),
)
batch_norm.slip(
    "dx was multiplied by sqrt(var + eps): x was divided by it, so its gradient is divided by it",
    (") / deviation\n    return", ") * deviation\n    return"),
)
batch_norm.slip(
    "dx was divided by var + eps: the forward divided by its square root",
    (") / deviation\n    return", ") / deviation**2\n    return"),
)
batch_norm.slip(
    "eps is outside of the root: the forward divides by sqrt(var + eps), not by sqrt(var) + eps",
    ("np.sqrt(var + eps)", "np.sqrt(var) + eps"),
)
batch_norm.slip(
    "eps is missing: the forward divides by sqrt(var + eps); without it a channel that is constant is divided by 0",
    ("var + eps", "var"),
)
batch_norm.slip(
    "the square root is missing: the forward divides by sqrt(var + eps)", ("np.sqrt(var + eps)", "(var + eps)")
)

# ---------------------------------------------------------------- the statistics

batch_norm.slip(
    "that is the variance with N - 1 (ddof=1): in training forward divides by N; N - 1 is for the running one",
    ("x.var(axis=0)", "x.var(axis=0, ddof=1)"),
)
AXIS = "mean and variance over the wrong axis: each *channel* has its own, over the rows: axis 0"
batch_norm.slip(AXIS, ("x.mean(axis=0), x.var(axis=0)", "x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)"))
batch_norm.slip(
    "one mean and one variance for everything: each channel has its own, over the rows: axis 0",
    ("x.mean(axis=0), x.var(axis=0)", "x.mean(), x.var()"),
)
batch_norm.slip(
    "the mean was not subtracted: x_hat = (x - mean) / sqrt(var + eps)", ("x_hat = (x - mean)", "x_hat = x")
)
batch_norm.slip(
    "x_hat lacks its division: x_hat = (x - mean) / sqrt(var + eps)",
    ("x_hat = (x - mean) / deviation", "x_hat = x - mean"),
)

# ---------------------------------------------------------------- dw and db

DW_X = "x was taken for x_hat in dw: w was multiplied by x_hat"
batch_norm.slip(DW_X, ("dw = (dout * x_hat)", "dw = (dout * x)"))
batch_norm.slip(DW_X, ("dw = (dout * x_hat)", "dw = (dout * x)"), ("(dx_hat * x_hat)", "(dx_hat * x)"))
DW_CENTRED = "x - mean was taken for x_hat in dw: w was multiplied by (x - mean) / sqrt(var + eps)"
batch_norm.slip(DW_CENTRED, ("dw = (dout * x_hat)", "dw = (dout * (x - mean))"))
batch_norm.slip(
    DW_CENTRED, ("dw = (dout * x_hat)", "dw = (dout * (x - mean))"), ("(dx_hat * x_hat)", "(dx_hat * (x - mean))")
)
batch_norm.slip(
    "w is in dw: the slope of w * x_hat for w is x_hat, so dw sums dout * x_hat",
    ("dw = (dout * x_hat)", "dw = (dout * w * x_hat)"),
)
batch_norm.slip("w is in db: b was added to w * x_hat, so db sums dout as it is", ("db = dout", "db = (dout * w)"))
batch_norm.slip(
    "x_hat is missing in dw: this sums dout; w was multiplied by x_hat", ("dw = (dout * x_hat)", "dw = dout")
)
batch_norm.slip(
    "a mean where a sum belongs: b and w were used in each of the N rows, so db and dw are sums over them",
    ("return dx, dw, db", "return dx, dw / N, db / N"),
)
batch_norm.slip(
    "summed over the wrong axis: each channel has its own w and b, so dw and db sum the rows, axis 0",
    ("db = dout.sum(axis=0)", "db = dout.sum(axis=1)"),
    ("dw = (dout * x_hat).sum(axis=0)", "dw = (dout * x_hat).sum(axis=1)"),
)
batch_norm.slip("the sign of dx is reversed", ("return dx,", "return -dx,"))


EXERCISES = (
    Exercise(
        "14_batch_norm_backward",
        "backward of batch normalisation",
        lesson=14,
        tasks=(batch_norm,),
        hints=(
            "Compute the forward pass again first: mean, var and x_hat. Means and sums are over rows: axis 0. Then "
            "go back from dout to db, dw and the gradient of x_hat. w and b were used in all rows: sum over them.",
            "x reaches x_hat on three paths: directly, through the mean, and through the variance. For the gradient of "
            "the mean and of the variance, sum over all N rows, because they act on every x_hat. x[n] moves the mean "
            "by 1/N, and the variance by 2 * (x[n] - mean) / N.",
            "With dx_hat = dout * w, the three together are dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * "
            "x_hat).mean(axis=0)) / sqrt(var + eps).",
        ),
    ),
)
