"""Exercises 8 and 9: max-pooling where windows overlap, and dropout. Lesson 7."""

from __future__ import annotations

import numpy as np

from scratchnet import layers
from scratchnet.exercises.conv import place_patches
from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits
from scratchnet.layers.shapes import Window

# ---------------------------------------------------------------- 08: max-pooling backward


def _pool_reference(dout, x, pool, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dout.shape):
        top, left = i * stride, j * stride
        window = x[n, top : top + pool, left : left + pool, c]
        kh, kw = divmod(window.argmax(), pool)
        dx[n, top + kh, left + kw, c] += dout[n, i, j, c]
    return dx


def _pool_cases() -> list[Case]:
    cases = []
    shapes = [
        (2, 4, 6, 3, 2, 2),
        (1, 5, 7, 2, 3, 2),
        (2, 7, 6, 2, 3, 1),
        (1, 8, 5, 1, 2, 3),
        (2, 6, 6, 2, 3, 2),
        (2, 4, 5, 1, 2, 1),
        (2, 6, 4, 1, 2, 2),
    ]
    for i, (N, H, W, C, pool, stride) in enumerate(shapes):
        OH, OW = Window.on((H, W), pool, stride, 0).out
        dout, x = random_arrays(i, (N, OH, OW, C), (N, H, W, C))
        ties = i in (4, 6)  # where windows overlap, and where they do not
        if ties:
            x = np.round(x).clip(0, 1)  # few different values: most windows hold their maximum more than once
        special = traits(
            overlapping_windows=stride < pool,
            ties=ties,
            windows_with_gaps=stride > pool,
            more_than_one_image=N > 1,
            more_than_one_channel=C > 1,
        )
        cases.append(Case({"dout": dout, "x": x, "pool": pool, "stride": stride}, special))
    return cases


max_pool = Task("max_pool2d_backward", ("dx",), _pool_reference, _pool_cases(), {"dout": "nhwc", "dx": "nhwc"})


def _windows(x, pool, stride):
    """All windows: (N, OH, OW, pool*pool, C)."""
    OH, OW = Window.on(x.shape[1:3], pool, stride, 0).out
    return layers.im2col(x, pool, stride, 0).reshape(x.shape[0], OH, OW, pool * pool, x.shape[3])


def _handed_out(dout, x, pool, stride, share, **errors):
    """dx if the pixels of each window get `share` (N, OH, OW, pool*pool, C) of the window's dout."""
    patches = (share * dout[:, :, :, None]).astype(dout.dtype)
    N, OH, OW, _, C = patches.shape
    return place_patches(patches.reshape(N, OH, OW, pool, pool, C), x.shape, stride, 0, **errors)


def _winners(x, pool, stride):
    windows = _windows(x, pool, stride)
    first = windows.argmax(axis=3)[:, :, :, None]
    return np.arange(pool * pool)[:, None] == first


def _pool_assigns(in_order):
    """= for +=: a pixel keeps only the last gradient that it gets. `in_order(OH, OW)` is the order of the places."""

    def backward(dout, x, pool, stride):
        N, OH, OW, C = dout.shape
        share = _winners(x, pool, stride).reshape(N, OH, OW, pool, pool, C)
        dx = np.zeros_like(dout, shape=x.shape)
        for i, j in in_order(OH, OW):
            window = dx[:, i * stride : i * stride + pool, j * stride : j * stride + pool]
            here = np.broadcast_to(dout[:, i, j][:, None, None], window.shape)
            window[share[:, i, j]] = here[share[:, i, j]]
        return dx

    return backward


LAST_TIE = "wrong winner in a tie: of equal pixels the first in row-major order gets it all, not the last"
max_pool.slip(
    "`=` where `+=` is needed: where windows overlap, one pixel may win in several, and gets the sum", ("+=", "=")
)
max_pool.slip(LAST_TIE, ("window.argmax()", "(window.size - 1 - window[::-1, ::-1].argmax())"))
max_pool.slip(
    "the smallest pixel got the gradient: the winner of a window is the largest, argmax", ("argmax", "argmin")
)
max_pool.slip(
    "the largest in absolute value got the gradient: -3 is smaller than 2", ("window.argmax", "abs(window).argmax")
)
max_pool.slip(
    "stride ignored: window (i, j) begins at (i * stride, j * stride), not at (i, j)",
    ("i * stride, j * stride", "i, j"),
)
max_pool.slip(
    "the winner's row and column are those in its window: in the image they are i * stride and j * stride further on",
    ("dx[n, top + kh, left + kw, c]", "dx[n, kh, kw, c]"),
)
max_pool.slip(
    "the winner's row and column are exchanged: divmod(argmax, pool) gives the row, then the column",
    ("kh, kw = divmod", "kw, kh = divmod"),
)
max_pool.slip("dout is missing: the winner gets this window's dout, not 1", ("dout[n, i, j, c]", "1"))
max_pool.slip(
    "the maximum was multiplied in: the slope of max for its winner is 1, so dx is dout there, not x * dout",
    ("dout[n, i, j, c]", "dout[n, i, j, c] * window.max()"),
)
FROM_ZERO = "the search for the maximum began at 0: a window may hold nothing but negative numbers; begin at -infinity"
max_pool.slip(FROM_ZERO, ("window.argmax()", "np.maximum(window, 0).argmax()"))
max_pool.slip(FROM_ZERO, ("dout[n, i, j, c]", "dout[n, i, j, c] * (window.max() > 0)"))
max_pool.slip("the sign is reversed: the winner gets dout, not -dout", ("+= dout", "-= dout"))


# With `=` only the last window counts, and which one is last depends on the order of the loops.
for in_order in (
    lambda OH, OW: [(i, j) for j in range(OW) for i in range(OH)],
    lambda OH, OW: reversed(list(np.ndindex(OH, OW))),
):
    max_pool.mistake("`=` where `+=` is needed: where windows overlap, one pixel may win in several, and gets the sum")(
        _pool_assigns(in_order)
    )


@max_pool.mistake("`=` where `+=` is needed: each window overwrites all the pixels that it shares with the one before")
def _pool_assigns_window(dout, x, pool, stride):
    return _handed_out(dout, x, pool, stride, _winners(x, pool, stride), assign=True)


@max_pool.mistake(
    "wrong winner in a tie: every pixel equal to the maximum got the gradient; by agreement only the first one gets "
    "it (argmax finds it; x == maximum finds all)"
)
def _pool_all(dout, x, pool, stride):
    windows = _windows(x, pool, stride)
    return _handed_out(dout, x, pool, stride, windows == windows.max(axis=3, keepdims=True))


@max_pool.mistake(
    "a tie was shared: the gradient was divided among equal pixels; by agreement the first one gets it all"
)
def _pool_shared(dout, x, pool, stride):
    windows = _windows(x, pool, stride)
    equal = windows == windows.max(axis=3, keepdims=True)
    return _handed_out(dout, x, pool, stride, equal / equal.sum(axis=3, keepdims=True))


def _pool_elsewhere(dout, x, pool, taken, put):
    """dx if window (i, j) is read at (i * taken, j * taken) and its gradient is written from (i * put, j * put) on."""
    dx = np.zeros_like(dout, shape=x.shape)
    for n, i, j, c in np.ndindex(dout.shape):
        window = x[n, i * taken : i * taken + pool, j * taken : j * taken + pool, c]
        if window.size:
            kh, kw = np.unravel_index(window.argmax(), window.shape)
            dx[n, i * put + kh, j * put + kw, c] += dout[n, i, j, c]
    return dx


@max_pool.mistake("stride ignored: window (i, j) begins at (i * stride, j * stride), not at (i * pool, j * pool)")
def _pool_touching(dout, x, pool, stride):
    return _pool_elsewhere(dout, x, pool, pool, pool)


@max_pool.mistake(
    "that is average pooling's backward: the output depends only on the winner, so it alone gets the gradient"
)
def _pool_mean(dout, x, pool, stride):
    return _handed_out(dout, x, pool, stride, np.ones((pool * pool, 1)) / pool**2)


# ---------------------------------------------------------------- 09: dropout


def _dropout_forward(x, draws, rate, training):
    mask = np.ones_like(x)
    if training:
        mask = (draws >= rate).astype(x.dtype) / x.dtype.type(1 - rate)
    return x * mask, mask


def _dropout_cases() -> list[Case]:
    cases = []
    for seed, (shape, rate, training) in enumerate(
        [
            ((4, 5), 0.4, True),
            ((4, 5), 0.4, False),
            ((1, 8), 0.75, True),
            ((2, 3, 3, 2), 0.2, True),
            ((3, 4), 0.0, True),
        ]
    ):
        x, draws = random_arrays(seed, shape)[0], np.random.default_rng(seed).random(shape)
        draws.flat[0] = rate  # the edge
        cases.append(
            Case({"x": x, "draws": draws, "rate": rate, "training": training}, traits(training_off=not training))
        )
    return cases


dropout_forward = Task("dropout_forward", ("out", "mask"), _dropout_forward, _dropout_cases())


dropout_forward.slip(
    "the survivors are not scaled: without 1 / (1 - rate) the next layer sees less in training than later",
    (" / x.dtype.type(1 - rate)", ""),
)
dropout_forward.slip(
    "scaled by the wrong number: with a share of 1 - rate surviving, the factor is 1 / (1 - rate), not 1 / rate",
    ("/ x.dtype.type(1 - rate)", "/ np.float64(rate)"),
)
dropout_forward.slip(
    "the mask is the wrong way round: a number is dropped with probability rate, so it stays where draws >= rate",
    (">=", "<"),
)
dropout_forward.slip(
    "the survivors are scaled down: with a share of 1 - rate left, divide by 1 - rate, do not multiply",
    ("/ x.dtype.type(1 - rate)", "* x.dtype.type(1 - rate)"),
)
dropout_forward.slip(
    "a number stays where draws >= rate, equality included: with a rate of 0 none is dropped", (">=", ">")
)
IN_EVALUATION = "scaled in evaluation: the survivors were scaled in training already, so nothing is left to do here"
dropout_forward.slip(IN_EVALUATION, ("mask = np.ones_like(x)", "mask = np.ones_like(x) * (1 - rate)"))
dropout_forward.slip(
    IN_EVALUATION,
    ("x * mask, mask", "x * (mask if training else 1 - rate), mask"),
)
dropout_forward.slip(
    "scaled in evaluation: divided by 1 - rate there too; outside training out is x as it is",
    ("mask = np.ones_like(x)", "mask = np.ones_like(x) / (1 - rate)"),
)
dropout_forward.slip(
    "scaled in evaluation and not in training: that is the older way (Srivastava et al., 2014); here the survivors are "
    "scaled in training, so that nothing is left to do later",
    (" / x.dtype.type(1 - rate)", ""),
    ("mask = np.ones_like(x)", "mask = np.ones_like(x) * (1 - rate)"),
)
dropout_forward.slip(
    "the mask lacks the factor 1 / (1 - rate): it was a factor of x, so backward needs it in the mask",
    ("x * mask, mask", "x * mask, (mask != 0) * np.ones_like(x)"),
)
dropout_forward.slip("mask not applied: out is x itself, also in training", ("x * mask,", "x,"))
dropout_forward.slip("mask applied twice: 1 / (1 - rate) appears squared", ("x * mask,", "x * mask * mask,"))
dropout_forward.slip("dropped in evaluation: outside training no number is dropped", ("if training", "if True"))
dropout_forward.slip(
    "training and evaluation are exchanged: numbers are dropped in training", ("if training", "if not training")
)
dropout_forward.slip(
    "one return gives the results in another order: return out, mask, in training and outside it",
    ("x * mask, mask", "(mask, x * mask) if training else (x * mask, mask)"),
)
dropout_forward.slip(
    "one return gives the results in another order: return out, mask, in training and outside it",
    ("x * mask, mask", "(x * mask, mask) if training else (mask, x * mask)"),
)


def _dropout_backward_cases() -> list[Case]:
    cases: list[Case] = []
    for case in _dropout_cases():
        x = case.arguments["x"]
        mask = _dropout_forward(**case.arguments)[1]
        cases.append(Case({"dout": random_arrays(len(cases) + 20, x.shape)[0], "mask": mask}, case.traits))
    return cases


def _dropout_backward(dout, mask):
    return dout * mask


dropout_backward = Task("dropout_backward", ("dx",), _dropout_backward, _dropout_backward_cases())

dropout_backward.slip(
    "mask not applied: dropped numbers do not affect the loss, so they get no gradient", (" * mask", "")
)
dropout_backward.slip(
    "mask applied twice: the mask was a factor of x once, so it is a factor of dout once", ("* mask", "* mask * mask")
)
dropout_backward.slip(
    "the factor 1 / (1 - rate) got lost: multiply by the mask itself, not by where it is above 0",
    ("* mask", "* (mask > 0)"),
)
dropout_backward.slip("divided by the mask: it was a factor of x, so it is a factor of dout", ("* mask", "/ mask"))
dropout_backward.slip(
    "dout is missing: the mask is the slope of out for x; multiply it by dout", ("dout * mask", "1 * mask")
)


EXERCISES = (
    Exercise(
        "08_max_pool_backward",
        "backward of max-pooling, windows overlapping",
        lesson=7,
        tasks=(max_pool,),
        hints=(
            "Only the winner of a window moved that window's output. So each number of dout goes to one pixel of x.",
            "Loop over images, places and channels (np.ndindex(dout.shape) gives all four indices at once). A window "
            "is x[n, i*stride : i*stride + pool, j*stride : j*stride + pool, c].",
            "window.argmax() is the first maximum, counted along the rows; divmod(it, pool) are its row and column in "
            "the window. One pixel may win in several windows: what must the assignment be?",
        ),
    ),
    Exercise(
        "09_dropout",
        "dropout, forward and backward",
        lesson=7,
        tasks=(dropout_forward, dropout_backward),
        hints=(
            "In training out = x * mask. What should the mask hold where a number is dropped, and where it stays?",
            "A share of 1 - rate survives. For the expected output to be x, the survivors are scaled by 1 / (1 - "
            "rate).",
            "mask = (draws >= rate) / (1 - rate) in training, ones otherwise (mind x's dtype); backward multiplies by "
            "the same mask.",
        ),
    ),
)
