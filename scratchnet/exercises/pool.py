"""Exercises 8 and 9: max-pooling where windows overlap, and dropout. Lesson 6."""

from __future__ import annotations

import numpy as np

from scratchnet import layers
from scratchnet.exercises.conv import place_patches
from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits
from scratchnet.layers.shapes import Window

# ---------------------------------------------------------------- 08: max-pooling backward


def _pool_reference(dout, x, pool, stride):
    _, argmax = layers.max_pool2d_forward(x, pool, stride, 0)
    return layers.max_pool2d_backward(dout, argmax, x.shape, pool, stride, 0)


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
            overlapping_windows=stride < pool, ties=ties, windows_with_gaps=stride > pool, more_than_one_image=N > 1
        )
        cases.append(Case({"dout": dout, "x": x, "pool": pool, "stride": stride}, special))
    return cases


max_pool = Task("max_pool2d_backward", ("dx",), _pool_reference, _pool_cases())


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


# With `=` only the last window counts, and which one is last depends on the order of the loops.
for in_order in (
    lambda OH, OW: np.ndindex(OH, OW),
    lambda OH, OW: [(i, j) for j in range(OW) for i in range(OH)],
    lambda OH, OW: reversed(list(np.ndindex(OH, OW))),
):
    max_pool.mistake("`=` where `+=` is needed: where windows overlap, one pixel may win in several, and gets the sum")(
        _pool_assigns(in_order)
    )


@max_pool.mistake("`=` where `+=` is needed: each window overwrites all the pixels that it shares with the one before")
def _pool_assigns_window(dout, x, pool, stride):
    return _handed_out(dout, x, pool, stride, _winners(x, pool, stride), assign=True)


@max_pool.mistake("wrong winner in a tie: of equal pixels the first in row-major order gets it all, not the last")
def _pool_last(dout, x, pool, stride):
    last = pool * pool - 1 - _windows(x, pool, stride)[:, :, :, ::-1].argmax(axis=3)[:, :, :, None]
    return _handed_out(dout, x, pool, stride, np.arange(pool * pool)[:, None] == last)


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


@max_pool.mistake("stride ignored: window (i, j) begins at (i * stride, j * stride), not at (i, j)")
def _pool_one_apart(dout, x, pool, stride):
    return _pool_elsewhere(dout, x, pool, 1, 1)


@max_pool.mistake("stride ignored: window (i, j) begins at (i * stride, j * stride), not at (i * pool, j * pool)")
def _pool_touching(dout, x, pool, stride):
    return _pool_elsewhere(dout, x, pool, pool, pool)


@max_pool.mistake(
    "the winner's row and column are those in its window: in the image they are i * stride and j * stride further on"
)
def _pool_in_the_corner(dout, x, pool, stride):
    return _pool_elsewhere(dout, x, pool, stride, 0)


@max_pool.mistake("the winner's row and column are exchanged: divmod(argmax, pool) gives the row, then the column")
def _pool_exchanged(dout, x, pool, stride):
    share = _winners(x, pool, stride)
    turned = share.reshape(*share.shape[:3], pool, pool, -1).swapaxes(3, 4).reshape(share.shape)
    return _handed_out(dout, x, pool, stride, turned)


@max_pool.mistake("dout is missing: the winner gets this window's dout, not 1")
def _pool_ones(dout, x, pool, stride):
    return _handed_out(np.ones_like(dout), x, pool, stride, _winners(x, pool, stride))


@max_pool.mistake(
    "the search for the maximum began at 0: a window may hold nothing but negative numbers; begin at -infinity"
)
def _pool_from_zero(dout, x, pool, stride):
    positive = _windows(x, pool, stride).max(axis=3) > 0
    return _handed_out(dout * positive, x, pool, stride, _winners(x, pool, stride))


@max_pool.mistake(
    "that is average pooling's backward: the output depends only on the winner, so it alone gets the gradient"
)
def _pool_mean(dout, x, pool, stride):
    return _handed_out(dout, x, pool, stride, np.ones((pool * pool, 1)) / pool**2)


@max_pool.mistake(
    "the maximum was multiplied in: the slope of max for its winner is 1, so dx is dout there, not x * dout"
)
def _pool_times_x(dout, x, pool, stride):
    return _handed_out(dout * _windows(x, pool, stride).max(axis=3), x, pool, stride, _winners(x, pool, stride))


# ---------------------------------------------------------------- 09: dropout


def _dropout_forward(x, draws, rate, training):
    mask = (draws >= rate).astype(x.dtype) / x.dtype.type(1 - rate) if training else np.ones_like(x)
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


def _masked(in_training, outside=lambda rate: 1):
    """dropout_forward with another mask: `in_training(draws, rate)`, and `outside(rate)` when it is off."""

    def forward(x, draws, rate, training):
        mask = (in_training(draws, rate) if training else outside(rate)) * np.ones_like(x)
        return x * mask, mask

    return forward


def _kept(draws, rate):
    return draws >= rate


def _scaled(draws, rate):
    return (draws >= rate) / (1 - rate)


dropout_forward.mistake(
    "the survivors are not scaled: without 1 / (1 - rate) the next layer sees less in training than later"
)(_masked(_kept))
dropout_forward.mistake(
    "scaled by the wrong number: with a share of 1 - rate surviving, the factor is 1 / (1 - rate), not 1 / rate"
)(_masked(lambda draws, rate: (draws >= rate) / np.float64(rate)))
dropout_forward.mistake(
    "the mask is the wrong way round: a number is dropped with probability rate, so it stays where draws >= rate"
)(_masked(lambda draws, rate: (draws < rate) / (1 - rate)))
dropout_forward.mistake(
    "the survivors are scaled down: with a share of 1 - rate left, divide by 1 - rate, do not multiply"
)(_masked(lambda draws, rate: (draws >= rate) * (1 - rate)))
dropout_forward.mistake("a number stays where draws >= rate, equality included: with a rate of 0 none is dropped")(
    _masked(lambda draws, rate: (draws > rate) / (1 - rate))
)
dropout_forward.mistake(
    "scaled in evaluation: the survivors were scaled in training already, so nothing is left to do here"
)(_masked(_scaled, outside=lambda rate: 1 - rate))
dropout_forward.mistake("scaled in evaluation: divided by 1 - rate there too; outside training out is x as it is")(
    _masked(_scaled, outside=lambda rate: 1 / (1 - rate))
)
dropout_forward.mistake(
    "scaled in evaluation and not in training: that is the older way (Srivastava et al., 2014); here the survivors are "
    "scaled in training, so that nothing is left to do later"
)(_masked(_kept, outside=lambda rate: 1 - rate))


@dropout_forward.mistake(
    "the mask lacks the factor 1 / (1 - rate): it was a factor of x, so backward needs it in the mask"
)
def _dropout_mask_unscaled(x, draws, rate, training):
    return _dropout_forward(x, draws, rate, training)[0], _masked(_kept)(x, draws, rate, training)[1]


@dropout_forward.mistake("mask not applied: out is x itself, also in training")
def _dropout_not_applied(x, draws, rate, training):
    return x.copy(), _dropout_forward(x, draws, rate, training)[1]


@dropout_forward.mistake("mask applied twice: 1 / (1 - rate) appears squared")
def _dropout_twice(x, draws, rate, training):
    out, mask = _dropout_forward(x, draws, rate, training)
    return out * mask, mask


@dropout_forward.mistake("dropped in evaluation: outside training no number is dropped")
def _dropout_always(x, draws, rate, training):
    return _dropout_forward(x, draws, rate, True)


@dropout_forward.mistake("training and evaluation are exchanged: numbers are dropped in training")
def _dropout_exchanged(x, draws, rate, training):
    return _dropout_forward(x, draws, rate, not training)


def _dropout_backward_cases() -> list[Case]:
    cases: list[Case] = []
    for case in _dropout_cases():
        x = case.arguments["x"]
        mask = _dropout_forward(**case.arguments)[1]
        cases.append(Case({"dout": random_arrays(len(cases) + 20, x.shape)[0], "mask": mask}, case.traits))
    return cases


dropout_backward = Task("dropout_backward", ("dx",), layers.dropout_backward, _dropout_backward_cases())


@dropout_backward.mistake("mask not applied: dropped numbers do not affect the loss, so they get no gradient")
def _backward_no_mask(dout, mask):
    return dout.copy()


@dropout_backward.mistake("mask applied twice: the mask was a factor of x once, so it is a factor of dout once")
def _backward_twice(dout, mask):
    return dout * mask * mask


@dropout_backward.mistake("the factor 1 / (1 - rate) got lost: multiply by the mask itself, not by where it is above 0")
def _backward_unscaled(dout, mask):
    return dout * (mask > 0)


@dropout_backward.mistake("divided by the mask: it was a factor of x, so it is a factor of dout")
def _backward_divided(dout, mask):
    return dout / mask


EXERCISES = (
    Exercise(
        "08_max_pool_backward",
        "backward of max-pooling, windows overlapping",
        lesson=6,
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
        lesson=6,
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
