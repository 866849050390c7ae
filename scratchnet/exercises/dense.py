"""Exercises 1 to 3: the gradients of softmax cross-entropy, of a dense layer and of ReLU. Lessons 2 and 3."""

from __future__ import annotations

import numpy as np

from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits

# ---------------------------------------------------------------- 01: softmax cross-entropy


def _softmax_gradient(logits, labels):
    N = len(logits)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(N), labels] -= 1
    return p / N


def _softmax_cases() -> list[Case]:
    cases = []
    # In the last case, all logits lie beyond what exp can take, and a probability is nonetheless neither 0 nor 1.
    for seed, (N, K, scale, shift) in enumerate(
        [(4, 3, 1.0, 0.0), (1, 5, 1.0, 0.0), (3, 3, 1.0, 0.0), (5, 4, 1000.0, 0.0), (4, 3, 1.0, 1000.0)]
    ):
        (logits,) = random_arrays(seed, (N, K))
        labels = np.random.default_rng(seed).integers(0, K, N)
        cases.append(
            Case(
                {"logits": scale * logits + shift, "labels": labels},
                traits(more_than_one_example=N > 1, logits_beyond_700=scale + shift > 700),
            )
        )
    return cases


softmax_gradient = Task("softmax_gradient", ("dlogits",), _softmax_gradient, _softmax_cases(), {"dlogits": "nk"})


softmax_gradient.slip(
    "overflow: exp of a logit beyond 709 is infinite, and infinity / infinity is NaN. Subtract each row's maximum "
    "first; it cancels in the fraction",
    ("logits - logits.max(axis=1, keepdims=True)", "logits"),
)
softmax_gradient.slip(
    "one maximum for the whole batch: where a row's logits are far below it, all its exponentials are 0, and 0 / 0 is "
    "NaN. Subtract each row's own maximum",
    ("logits.max(axis=1, keepdims=True)", "logits.max()"),
)
softmax_gradient.slip(
    "an extra factor N: divide by N, since the loss is a mean over the batch", ("return p / N", "return p")
)
for size in ("p.shape[1]", "p.size"):
    softmax_gradient.slip(
        "divided by the wrong size: the loss is a mean over the N examples, so divide by N and not by the number of "
        "classes",
        ("return p / N", f"return p / {size}"),
    )
AXIS = "softmax along the wrong axis: each *row* (one example's logits) has to sum to 1, so sum over axis 1"
softmax_gradient.slip(AXIS, ("axis=1", "axis=0"))
softmax_gradient.slip(AXIS, ("sum(axis=1", "sum(axis=0"))
softmax_gradient.slip(AXIS, ("sum(axis=1", "sum(axis=0"), ("max(axis=1, keepdims=True)", "max()"))
softmax_gradient.slip(
    "the maximum was taken over the wrong axis: subtract each row's own", ("max(axis=1", "max(axis=0")
)
softmax_gradient.slip(
    "keepdims=True is missing: a sum of shape (N,) is divided along the row, not along the column; with keepdims its "
    "shape is (N, 1)",
    ("e.sum(axis=1, keepdims=True)", "e.sum(axis=1)"),
)
WHOLE = "softmax over the whole batch at once: each row has to sum to 1, so sum over axis 1 with keepdims=True"
softmax_gradient.slip(WHOLE, ("e.sum(axis=1, keepdims=True)", "e.sum()"), ("axis=1, keepdims=True", ""))
softmax_gradient.slip(WHOLE, ("e.sum(axis=1, keepdims=True)", "e.sum()"))
softmax_gradient.slip(
    "the label's term is missing: subtract 1 from the probability of the right class",
    ("p[np.arange(N), labels] -= 1", "pass"),
)
softmax_gradient.slip(
    "the label's number was subtracted: the label says *where* to subtract 1, p[np.arange(N), labels] -= 1",
    ("p[np.arange(N), labels] -= 1", "p = p - labels[:, None]"),
)
softmax_gradient.slip("the 1 was added at the label: subtract it", ("-= 1", "+= 1"))
softmax_gradient.slip(
    "1 was subtracted from whole columns: p[:, labels] takes those columns in every row. One entry a row is "
    "p[np.arange(N), labels]",
    ("np.arange(N), labels", ":, labels"),
)
softmax_gradient.slip(
    "1 was subtracted from whole rows: p[labels] takes the rows with these numbers. One entry a row is "
    "p[np.arange(N), labels]",
    ("np.arange(N), labels", "labels"),
)
softmax_gradient.slip(
    "the label's 1 was subtracted after dividing by N: subtract it first, and then divide by N", ("-= 1", "-= N")
)


# ---------------------------------------------------------------- 02: dense


def _dense_cases() -> list[Case]:
    cases = []
    for seed, (N, inputs, outputs) in enumerate([(4, 3, 2), (1, 2, 5), (5, 3, 3), (3, 3, 3)]):
        dout, x, w = random_arrays(seed, (N, outputs), (N, inputs), (inputs, outputs))
        cases.append(Case({"dout": dout, "x": x, "w": w}, traits(more_than_one_example=N > 1)))
    return cases


def _dense_backward(dout, x, w):
    dx = dout @ w.T
    dw = x.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db


dense = Task(
    "dense_backward",
    ("dx", "dw", "db"),
    _dense_backward,
    _dense_cases(),
    {"dout": "no", "x": "ni", "w": "io", "dx": "ni", "dw": "io", "db": "o"},
)

dense.slip(
    "w is not transposed: dx = dout @ w.T. (Without .T the shapes fit only where there are as many inputs as outputs)",
    ("w.T", "w"),
)
dense.slip(
    "only the last example's gradient: the sum over the batch is missing (+= in a loop, or a matrix product)",
    ("x.T @ dout", "x[-1:].T @ dout[-1:]"),
    ("dout.sum(axis=0)", "dout[-1]"),
)
dense.slip(
    "x is missing: this sums dout[n, o] over n; the gradient of w[i, o] sums x[n, i] * dout[n, o]",
    ("x.T @", "np.ones_like(x).T @"),
)
dense.slip(
    "dout is missing: this sums x[n, i] over n; the gradient of w[i, o] sums x[n, i] * dout[n, o]",
    ("x.T @ dout", "x.T @ np.ones_like(dout)"),
)
dense.slip("summed over the wrong axis: b was added to every row, so db sums the rows, axis 0", ("axis=0", "axis=1"))
dense.slip("summed over both axes: each bias has its own sum, over the batch only, axis 0", ("axis=0", ""))
dense.slip("the sign of dx is reversed", ("dx = dout", "dx = -dout"))
dense.slip("the sign of dw is reversed", ("dw = x.T", "dw = -x.T"))


# ---------------------------------------------------------------- 03: ReLU


def _relu_cases() -> list[Case]:
    cases = []
    for seed, shape in enumerate([(4, 3), (1, 7), (2, 3, 4, 2)]):
        dout, x = random_arrays(seed, shape, shape)
        x.flat[:: 3 + seed] = 0.0
        cases.append(Case({"dout": dout, "x": x}, traits(images=len(shape) == 4)))
    x = np.abs(random_arrays(9, (3, 3))[0]) + 0.1
    return [*cases, Case({"dout": random_arrays(8, (3, 3))[0], "x": x}, traits(only_positive_x=True))]


def _relu_backward(dout, x):
    passes = x > 0
    return dout * passes


relu = Task("relu_backward", ("dx",), _relu_backward, _relu_cases())

relu.slip(
    "at x = 0 the gradient passes: by agreement the slope there is 0, so the test is x > 0 and not x >= 0", (">", ">=")
)
relu.slip("the gradient passes where x < 0 as well: it has to stop there", ("x > 0", "x != 0"))
relu.slip("the mask comes from dout: it has to come from the forward's *input*, x > 0", ("x > 0", "dout > 0"))
relu.slip(
    "mask not applied: dout was passed on unchanged; where x <= 0, the output does not depend on x", (" * passes", "")
)
relu.slip(
    "dout is missing: this is ReLU's own slope; the chain rule multiplies it by dout",
    ("dout * passes", "np.ones_like(x) * passes"),
)
relu.slip("x was multiplied in: the slope of max(x, 0) is 1 where x > 0, not x", ("dout * passes", "dout * x * passes"))
relu.slip(
    "that is the forward pass, max(x, 0): the gradient is dout where x > 0, and 0 elsewhere",
    ("dout * passes", "x * passes"),
)
relu.slip("the mask is the wrong way round: the gradient passes where x > 0", ("passes = x > 0", "passes = ~(x > 0)"))
relu.slip(
    "brackets are missing: `dout * x > 0` means (dout * x) > 0, since * comes before >; write dout * (x > 0)",
    ("passes = x > 0", "passes = dout * x > 0"),
    ("return dout * passes", "return passes"),
)


EXERCISES = (
    Exercise(
        "01_softmax_gradient",
        "the gradient of softmax cross-entropy",
        lesson=2,
        tasks=(softmax_gradient,),
        hints=(
            "Begin with the probabilities: exponentials of the logits, each row divided by its sum. How do they "
            "change if you first subtract each row's maximum?",
            "For one example the gradient is p, minus 1 at the label. (Lesson 2 derives it in one line.) In NumPy, one "
            "entry of each row is p[np.arange(N), labels].",
            "The loss is the mean over N examples, so the whole gradient is divided by N, the 1 as well: "
            "p[np.arange(N), labels] -= 1, then p / N.",
        ),
    ),
    Exercise(
        "02_dense_backward",
        "backward of a dense layer",
        lesson=3,
        tasks=(dense,),
        hints=(
            "Write down the shapes of dout, x and w, and those of dx, dw and db. For each gradient there is only one "
            "way to multiply two of the arrays so that its shape comes out.",
            "dw[i, o] sums x[n, i] * dout[n, o] over n. A sum over the *first* axis of both is a product with the "
            "first one transposed.",
            "dx = dout @ w.T and dw = x.T @ dout; b was added to every row, so db is the sum of dout's rows: axis 0.",
        ),
    ),
    Exercise(
        "03_relu_backward",
        "backward of ReLU",
        lesson=3,
        tasks=(relu,),
        hints=(
            "Where does the output change when x changes a little?",
            "A comparison of arrays gives True and False, which multiply like 1 and 0.",
            "dx is dout where x > 0 and 0 elsewhere. Do not write into dout: np.where, or a product, makes a new "
            "array.",
        ),
    ),
)
