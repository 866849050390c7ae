"""Forward and backward passes on made-up arrays, by the mirror's kernels or by the oracle.

Each function returns another one, which computes all results from the arrays by either module, and the arrays. Their
numbers are small integers: every sum is exact, in any order and in either dtype. s : `routes.Sizes`.
"""

from __future__ import annotations

import numpy as np

from scratchnet import fast
from scratchnet.layers.pool import pool_window

EPS = 1e-3  # of batch normalisation


def numbers(shape, dtype, seed, kept=1.0):
    """Small integers other than 0; all but a share `kept` of them are replaced by 0."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, shape) * rng.choice([-1, 1], shape)
    return (values * (rng.random(shape) < kept)).astype(dtype)


def weighted(kind, s, x_shape, w_shape, *window, kept=1.0, x_kept=1.0):
    """The arrays of a layer with weights, and the function that computes all of its results.

    kept, x_kept : the shares of dout and of x that are not zero.
    """
    filters = w_shape[2] * w_shape[3] if kind == "depthwise_conv2d" else w_shape[-1]
    x = numbers(x_shape, s.dtype, 0, x_kept)
    w, b = numbers(w_shape, s.dtype, 1), numbers(filters, s.dtype, 2)

    def run(kernels, x, w, b):
        forward, backward = (getattr(kernels, f"{kind}_{way}") for way in ("forward", "backward"))
        out = forward(x, w, b, *window)
        dout = np.array(numbers(out.shape, s.dtype, 3, kept))
        if kept < 1 and dout.size > 1:
            dout.reshape(-1)[-1] = 2  # the last one of all: not zero
        dx, dw, db = backward(dout, x, w, *window)
        return {"out": out, "without bias": forward(x, w, None, *window), "dx": dx, "dw": dw, "db": db}

    return run, (x, w, b)


def conv(s, size, C, F, kernel, stride=1, padding="same", kept=1.0):
    return weighted("conv2d", s, (s.N, *size, C), (*kernel, C, F), stride, padding, kept=kept)


def depthwise(s, size, C, kernel, stride=1, padding="same", M=1):
    return weighted("depthwise_conv2d", s, (s.N, *size, C), (*kernel, C, M), stride, padding)


def pointwise(s, size, C, F):
    return weighted("pointwise_conv2d", s, (s.N, *size, C), (1, 1, C, F))


def dense(s, D, F, kept=1.0, x_kept=1.0):
    return weighted("dense", s, (s.N, D), (D, F), kept=kept, x_kept=x_kept)


def dense_together(s, D, F, shards):
    """As `dense` of one batch, in shards of which the mirror adds the dw in a tree of two halves."""
    run_whole, arrays = dense(s, D, F)
    cut = [range(k * s.N // shards, (k + 1) * s.N // shards) for k in range(shards)]

    def run(kernels, x, w, b):
        if kernels is not fast:
            return run_whole(kernels, x, w, b)
        xs = [x[part.start : part.stop] for part in cut]
        out, alone = (np.concatenate(fast.dense_forward_together(xs, w, bias)) for bias in (b, None))
        dout = np.array(numbers(out.shape, s.dtype, 3))
        douts = [dout[part.start : part.stop] for part in cut]
        halves = [np.empty((D, F), s.dtype) for _ in range(2)]
        sums = [(merges_of(shards // 2), halves[0]), (merges_of(shards - shards // 2), halves[1])]
        dxs, dbs = fast.dense_backward_together(douts, xs, w, sums)
        return {
            "out": out, "without bias": alone, "dx": np.concatenate(dxs), "dw": halves[0] + halves[1],
            "db": np.sum(dbs, axis=0),
        }  # fmt: skip

    return run, arrays


def merges_of(shards):
    """How often two sums are added after each of the shards, in a tree whose first half is the larger one."""
    if shards == 1:
        return [0]
    *before, last = merges_of(shards // 2)
    return [*merges_of(shards - shards // 2), *before, last + 1]


def max_pool(s, size, C, *window):
    def run(kernels, x):
        out, argmax = kernels.max_pool2d_forward(x, *window)
        dout = numbers(out.shape, s.dtype, 1)
        return {"out": out, "argmax": argmax, "dx": kernels.max_pool2d_backward(dout, argmax, x.shape, *window)}

    return run, (numbers((s.N, *size, C), s.dtype, 0),)


def avg_pool(s, size, C, *window):
    """The numbers are multiples of every count of pixels that a window of up to 3 x 4 can have, so means are exact."""

    def run(kernels, x):
        out = kernels.avg_pool2d_forward(x, *window)
        dout = 72 * numbers(out.shape, s.dtype, 1)
        return {"out": out, "dx": kernels.avg_pool2d_backward(dout, x.shape, *window)}

    return run, (72 * numbers((s.N, *size, C), s.dtype, 0),)


def relu_pool(s, size, C, *window):
    """The two in one pass, as `fused.py` calls it; by the oracle one after the other."""

    def run(kernels, x):
        if kernels is fast:
            out, argmax = fast.pool.relu_max_pool2d_forward(x, *window)
        else:
            out, argmax = kernels.max_pool2d_forward(kernels.relu_forward(x), *window)
        return {"out": out, "argmax": argmax}

    return run, (numbers((s.N, *size, C), s.dtype, 0),)


def one_channel_block(s, size, F, pool):
    """A pointwise convolution of one channel, ReLU and max-pool in one pass; by the oracle one after the other."""

    def run(kernels, x, w, b):
        if kernels is fast:
            out, argmax = fast.pointwise.one_channel_forward(x, w, b, pool)
            dwinners = fast.relu_backward(numbers(out.shape, s.dtype, 3), out)
            dx, dw, db = fast.pointwise.one_channel_backward(dwinners, argmax, x, w, pool)
        else:
            convolved = kernels.pointwise_conv2d_forward(x, w, b)
            out, argmax = kernels.max_pool2d_forward(kernels.relu_forward(convolved), pool, pool, "valid")
            dout = numbers(out.shape, s.dtype, 3)
            dpool = kernels.max_pool2d_backward(dout, argmax, convolved.shape, pool, pool, "valid")
            dx, dw, db = kernels.pointwise_conv2d_backward(kernels.relu_backward(dpool, convolved), x, w)
        return {"out": out, "argmax": argmax, "dx": dx, "dw": dw, "db": db}

    arrays = ((s.N, *size, 1), (1, 1, 1, F), (F,))
    return run, tuple(numbers(shape, s.dtype, seed) for seed, shape in enumerate(arrays))


def batch_norm(s, C):
    """In training, with the statistics of the batch."""

    def run(kernels, x, w, b):
        mean, var = kernels.batch_norm_statistics(x)
        out = kernels.batch_norm_forward(x, w, b, mean, var, EPS)
        dout = numbers(out.shape, s.dtype, 3)
        dx, dw, db = kernels.batch_norm_backward(dout, x, w, mean, var, EPS, True)
        return {"mean": mean, "var": var, "out": out, "dx": dx, "dw": dw, "db": db}

    return run, tuple(numbers(shape, s.dtype, seed) for seed, shape in enumerate([(s.N, C), (C,), (C,)]))


def norm_relu(s, C):
    """The two in one pass, as `fused_norm.py` calls it; by the oracle one after the other."""

    def run(kernels, x, w, b):
        mean, var = kernels.batch_norm_statistics(x)
        dout = numbers(x.shape, s.dtype, 3)
        if kernels is fast:
            norm = fast.batch_norm.norm_of(w, b, mean, var, EPS, least=0)
            out = fast.batch_norm.normalised(x, norm)
            dx, dw, db = fast.batch_norm.norm_gradients(dout, x, norm, w, var, EPS, True)
        else:
            normalised = kernels.batch_norm_forward(x, w, b, mean, var, EPS)
            out = kernels.relu_forward(normalised)
            dnorm = kernels.relu_backward(dout, normalised)
            dx, dw, db = kernels.batch_norm_backward(dnorm, x, w, mean, var, EPS, True)
        return {"out": out, "dx": dx, "dw": dw, "db": db}

    return run, tuple(numbers(shape, s.dtype, seed) for seed, shape in enumerate([(s.N, C), (C,), (C,)]))


def norm_relu_pool(s, size, C, *window):
    """The three in one pass, as `fused_norm.py` calls it; by the oracle one after the other."""

    def run(kernels, x, w, b):
        mean, var = kernels.batch_norm_statistics(x)
        if kernels is fast:
            norm = fast.batch_norm.norm_of(w, b, mean, var, EPS, least=0)
            places = pool_window(x.shape[1:3], *window)
            out, argmax = fast.batch_norm_pool.norm_max_forward(x, norm, places)
            dwinners = fast.relu_backward(numbers(out.shape, s.dtype, 3), out)
            dx, dw, db = fast.batch_norm_pool.norm_max_backward(dwinners, argmax, x, norm, places, w, var, EPS)
        else:
            normalised = kernels.batch_norm_forward(x, w, b, mean, var, EPS)
            out, argmax = kernels.max_pool2d_forward(kernels.relu_forward(normalised), *window)
            dpool = kernels.max_pool2d_backward(numbers(out.shape, s.dtype, 3), argmax, x.shape, *window)
            dnorm = kernels.relu_backward(dpool, normalised)
            dx, dw, db = kernels.batch_norm_backward(dnorm, x, w, mean, var, EPS, True)
        return {"out": out, "argmax": argmax, "dx": dx, "dw": dw, "db": db}

    arrays = [(s.N, *size, C), (C,), (C,)]
    return run, tuple(numbers(shape, s.dtype, seed) for seed, shape in enumerate(arrays))


def patches(s, size, C, kernel, stride, padding):
    def run(kernels, x):
        columns = kernels.im2col(x, kernel, stride, padding)
        some = numbers(columns.shape, s.dtype, 1)
        return {"columns": columns, "back": kernels.col2im(some, x.shape, kernel, stride, padding)}

    return run, (numbers((s.N, *size, C), s.dtype, 0),)
