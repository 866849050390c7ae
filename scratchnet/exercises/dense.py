"""Exercises 1 to 3: the gradients of softmax cross-entropy, of a dense layer and of ReLU. Lessons 2 and 3."""

from __future__ import annotations

import numpy as np

from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits
from scratchnet.layers import dense_backward, relu_backward
from scratchnet.loss import softmax, softmax_cross_entropy

# ---------------------------------------------------------------- 01: softmax cross-entropy


def _softmax_gradient(logits, labels):
    return softmax_cross_entropy(logits, labels)[1]


def _softmax_cases() -> list[Case]:
    cases = []
    for seed, (N, K, scale) in enumerate([(4, 3, 1.0), (1, 5, 1.0), (3, 3, 1.0), (5, 4, 1000.0)]):
        (logits,) = random_arrays(seed, (N, K))
        labels = np.random.default_rng(seed).integers(0, K, N)
        cases.append(
            Case(
                {"logits": scale * logits, "labels": labels},
                traits(more_than_one_example=N > 1, logits_beyond_700=scale > 1),
            )
        )
    return cases


softmax_gradient = Task("softmax_gradient", ("dlogits",), _softmax_gradient, _softmax_cases())


def _one_hot(logits, labels):
    return np.eye(logits.shape[1], dtype=logits.dtype)[labels]


@softmax_gradient.mistake(
    "overflow: exp of a logit beyond 709 is infinite, and infinity / infinity is NaN. Subtract each row's maximum "
    "first; it cancels in the fraction"
)
def _overflows(logits, labels):
    e = np.exp(logits)
    return (e / e.sum(axis=1, keepdims=True) - _one_hot(logits, labels)) / len(logits)


@softmax_gradient.mistake(
    "overflow, and an extra factor N: subtract each row's maximum before exp, and divide by N, since the loss is a mean"
)
def _overflows_sum(logits, labels):
    return _overflows(logits, labels) * len(logits)


@softmax_gradient.mistake("an extra factor N: divide by N, since the loss is a mean over the batch")
def _not_a_mean(logits, labels):
    return _softmax_gradient(logits, labels) * len(logits)


@softmax_gradient.mistake(
    "softmax along the wrong axis: each *row* (one example's logits) has to sum to 1, so sum over axis 1"
)
def _wrong_axis(logits, labels):
    e = np.exp(logits - logits.max(axis=0, keepdims=True))
    return (e / e.sum(axis=0, keepdims=True) - _one_hot(logits, labels)) / len(logits)


@softmax_gradient.mistake(
    "softmax over the whole batch at once: each row has to sum to 1, so sum over axis 1 with keepdims=True"
)
def _whole_batch(logits, labels):
    e = np.exp(logits - logits.max())
    return (e / e.sum() - _one_hot(logits, labels)) / len(logits)


@softmax_gradient.mistake("the label's term is missing: subtract 1 from the probability of the right class")
def _no_label(logits, labels):
    return softmax(logits) / len(logits)


@softmax_gradient.mistake(
    "1 was subtracted from whole columns: p[:, labels] takes those columns in every row. One entry a row is "
    "p[np.arange(N), labels]"
)
def _columns(logits, labels):
    p = softmax(logits)
    p[:, labels] -= 1
    return p / len(logits)


@softmax_gradient.mistake("the label's 1 was subtracted after dividing by N: subtract it first, and then divide by N")
def _label_after_mean(logits, labels):
    return softmax(logits) / len(logits) - _one_hot(logits, labels)


# ---------------------------------------------------------------- 02: dense


def _dense_cases() -> list[Case]:
    cases = []
    for seed, (N, inputs, outputs) in enumerate([(4, 3, 2), (1, 2, 5), (5, 3, 3), (3, 3, 3)]):
        dout, x, w = random_arrays(seed, (N, outputs), (N, inputs), (inputs, outputs))
        cases.append(Case({"dout": dout, "x": x, "w": w}, traits(more_than_one_example=N > 1)))
    return cases


dense = Task("dense_backward", ("dx", "dw", "db"), dense_backward, _dense_cases())


@dense.mistake(
    "w is not transposed: dx = dout @ w.T. (Without .T the shapes fit only where there are as many inputs as outputs)"
)
def _w_not_transposed(dout, x, w):
    _, dw, db = dense_backward(dout, x, w)
    return dout @ w, dw, db


@dense.mistake(
    "only the last example's gradient: the sum over the batch is missing (+= in a loop, or a matrix product)"
)
def _last_example(dout, x, w):
    return dense_backward(dout[-1:], x[-1:], w)


@dense.mistake("x is missing: this sums dout[n, o] over n; the gradient of w[i, o] sums x[n, i] * dout[n, o]")
def _x_missing(dout, x, w):
    return dense_backward(dout, np.ones_like(x), w)


# ---------------------------------------------------------------- 03: ReLU


def _relu_cases() -> list[Case]:
    cases = []
    for seed, shape in enumerate([(4, 3), (1, 7), (2, 3, 4, 2)]):
        dout, x = random_arrays(seed, shape, shape)
        x.flat[:: 3 + seed] = 0.0
        cases.append(Case({"dout": dout, "x": x}, traits(images=len(shape) == 4)))
    x = np.abs(random_arrays(9, (3, 3))[0]) + 0.1
    return [*cases, Case({"dout": random_arrays(8, (3, 3))[0], "x": x}, traits(only_positive_x=True))]


relu = Task("relu_backward", ("dx",), relu_backward, _relu_cases())


@relu.mistake("at x = 0 the gradient passes: by agreement the slope there is 0, so the test is x > 0 and not x >= 0")
def _passes_at_zero(dout, x):
    return dout * (x >= 0)


@relu.mistake("the mask comes from dout: it has to come from the forward's *input*, x > 0")
def _mask_from_dout(dout, x):
    return np.maximum(dout, 0)


@relu.mistake("mask not applied: dout was passed on unchanged; where x <= 0, the output does not depend on x")
def _no_mask(dout, x):
    return dout.copy()


@relu.mistake("dout is missing: this is ReLU's own slope; the chain rule multiplies it by dout")
def _slope_only(dout, x):
    return (x > 0) * np.ones_like(dout)


@relu.mistake("x was multiplied in: the slope of max(x, 0) is 1 where x > 0, not x")
def _times_x(dout, x):
    return dout * np.maximum(x, 0)


@relu.mistake("the mask is the wrong way round: the gradient passes where x > 0")
def _inverted(dout, x):
    return dout * (x <= 0)


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
