"""The exercises: every answer in lessons/solutions passes, and every planted mistake gets the right diagnosis.

The wrong answers here are written the way a learner would, not taken from the checker's own list of mistakes.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import scratchnet as sn
from scratchnet import layers, optim
from scratchnet.cli import main
from scratchnet.exercises import repair, running
from scratchnet.exercises.checker import EXERCISES, check_file, find_exercise, hint, load_module
from scratchnet.exercises.diagnose import NotBegun, diagnose, never_used
from scratchnet.exercises.facts import picture
from scratchnet.exercises.own_layer import check_own_layer

LESSONS = Path(__file__).parent.parent / "lessons"
TASKS = {task.name: task for exercise in EXERCISES.values() for task in exercise.tasks}


def sizes(x, w, padding):
    """The padded image and the sizes that every loop needs."""
    p = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return p, w.shape[0], w.shape[1]


# ---------------------------------------------------------------- wrong answers, and a word of the diagnosis


def softmax_without_mean(logits, labels):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[range(len(p)), labels] -= 1
    return p


def softmax_twice(logits, labels):
    return softmax_without_mean(logits, labels) * 2 / len(logits)


def softmax_naive(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1)[:, None]
    for n in range(len(p)):
        p[n, labels[n]] -= 1
    return p / len(p)


def softmax_columns(logits, labels):
    p = softmax_without_mean(logits, labels)
    p[range(len(p)), labels] += 1
    p[:, labels] -= 1
    return p / len(p)


def softmax_rows(logits, labels):
    p = softmax_without_mean(logits, labels)
    p[range(len(p)), labels] += 1
    p[labels] -= 1
    return p / len(p)


def softmax_wrong_sign(logits, labels):
    return -softmax_without_mean(logits, labels) / len(logits)


def dense_transposed(dout, x, w):
    return dout @ w.T, dout.T @ x, dout.sum(0)


def dense_mean(dout, x, w):
    return dout @ w.T, x.T @ dout / len(x), dout.mean(0)


def dense_not_summed(dout, x, w):
    return dout @ w.T, x[:, :, None] * dout[:, None, :], dout


def dense_w_as_it_is(dout, x, w):
    return dout @ w, x.T @ dout, dout.sum(0)


def dense_keepdims(dout, x, w):
    return dout @ w.T, x.T @ dout, dout.sum(0, keepdims=True)


def dense_last_only(dout, x, w):
    for n in range(len(x)):
        dw = np.outer(x[n], dout[n])
    return dout @ w.T, dw, dout.sum(0)


def dense_two_values(dout, x, w):
    return dout @ w.T, x.T @ dout


def dense_forgot_to_return(dout, x, w):
    dout @ w.T


def relu_in_place(dout, x):
    dout[x <= 0] = 0
    return dout


def relu_at_zero(dout, x):
    return np.where(x < 0, 0, dout)


def relu_of_dout(dout, x):
    return np.where(dout > 0, dout, 0)


def relu_slope(dout, x):
    return np.where(x > 0, 1.0, 0.0)


def relu_float64(dout, x):
    dx = np.zeros(x.shape)
    dx[x > 0] = dout[x > 0]
    return dx


def im2col_loops(x, kernel_size, stride, padding, *, step=None, axes=(0, 1, 2, 3, 4, 5), pads=None):
    (KH, KW), step = kernel_size, stride if step is None else step
    pads = (padding, padding) if pads is None else pads
    p = np.pad(x, ((0, 0), pads, pads, (0, 0)))
    OH, OW = (p.shape[1] - KH) // stride + 1, (p.shape[2] - KW) // stride + 1
    rows = [[p[:, i * step : i * step + KH, j * step : j * step + KW] for j in range(OW)] for i in range(OH)]
    patches = np.array(rows).transpose(2, 0, 1, 3, 4, 5).transpose(axes)
    return patches.reshape(len(x) * OH * OW, -1) if axes[0] == 0 else patches.reshape(-1, KH * KW * x.shape[3])


def im2col_start(x, kernel_size, stride, padding):
    return im2col_loops(x, kernel_size, stride, padding, step=1)


def im2col_channels_first(x, kernel_size, stride, padding):
    return im2col_loops(x, kernel_size, stride, padding, axes=(0, 1, 2, 5, 3, 4))


def im2col_every_place(x, kernel_size, stride, padding):
    return im2col_loops(x, kernel_size, 1, padding)


def im2col_unpadded(x, kernel_size, stride, padding):
    return im2col_loops(x, kernel_size, stride, 0)


def conv_forward(x, w, b, stride, padding, *, start=None):
    p, KH, KW = sizes(x, w, padding)
    OH, OW = (p.shape[1] - KH) // stride + 1, (p.shape[2] - KW) // stride + 1
    out = np.zeros((len(x), OH, OW, w.shape[3]), x.dtype)
    start = stride if start is None else start
    for i in range(OH):
        for j in range(OW):
            patch = p[:, i * start : i * start + KH, j * start : j * start + KW]
            out[:, i, j] = np.einsum("nhwc,hwcf->nf", patch, w) + b
    return out


def conv_flipped(x, w, b, stride, padding):
    return conv_forward(x, np.flip(w, (0, 1)), b, stride, padding)


def conv_without_bias(x, w, b, stride, padding):
    return conv_forward(x, w, 0 * b, stride, padding)


def conv_start(x, w, b, stride, padding):
    return conv_forward(x, w, b, stride, padding, start=1)


def conv_last_product(x, w, b, stride, padding):
    """`=` in the innermost of the loops over the kernel and the channels."""
    p, _, _ = sizes(x, w, padding)
    out = np.zeros_like(conv_forward(x, w, b, stride, padding))
    for n, i, j, f in np.ndindex(out.shape):
        for kh, kw, c in np.ndindex(w.shape[:3]):
            total = p[n, i * stride + kh, j * stride + kw, c] * w[kh, kw, c, f]
        out[n, i, j, f] = total + b[f]
    return out


def conv_read_as(order, shape, x, w, b, stride, padding):
    """The rows of the matrix product, read with the axes in another order."""
    out = conv_forward(x, w, b, stride, padding)
    return out.reshape([out.shape[k] for k in shape]).transpose(order)


def conv_unpadded(x, w, b, stride, padding):
    return conv_forward(x, w, b, stride, 0)


def conv_padded_after(x, w, b, stride, padding):
    return conv_forward(np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0))), w, b, stride, 0)


def conv_backward(dout, x, w, stride, padding, *, start=None, dw_start=None, assign=False, crop=True, flip=True):
    """A loop over places, with optional mistakes."""
    p, KH, KW = sizes(x, w, padding)
    dp, dw = np.zeros_like(p), np.zeros_like(w)
    start = stride if start is None else start
    dw_start = stride if dw_start is None else dw_start
    for n, i, j, f in np.ndindex(dout.shape):
        dw[..., f] += p[n, i * dw_start : i * dw_start + KH, j * dw_start : j * dw_start + KW] * dout[n, i, j, f]
    lying = w if flip else w[::-1, ::-1]
    for i in range(dout.shape[1]):
        for j in range(dout.shape[2]):
            place = np.s_[:, i * start : i * start + KH, j * start : j * start + KW]
            dpatch = np.einsum("nf,hwcf->nhwc", dout[:, i, j], lying)
            dp[place] = dpatch if assign else dp[place] + dpatch
    H, W = x.shape[1:3]
    dx = dp[:, padding : padding + H, padding : padding + W] if crop else dp
    return dx, dw, dout.sum((0, 1, 2))


def conv_backward_filters(dout, x, w, stride, padding, *, filters):
    """dx and dw from some of the filters only."""
    dx, dw, _ = conv_backward(dout[..., filters], x, w[..., filters], stride, padding)
    all_dw = np.zeros_like(w)
    all_dw[..., filters] = dw
    return dx, all_dw, dout.sum(axis=(0, 1, 2))


def dense_loops(dout, x, w, *, examples=slice(None), outputs=slice(None)):
    """Loops over some of the examples and outputs only."""
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(dout[0])
    for n in range(len(x))[examples]:
        for o in range(len(db))[outputs]:
            dx[n] += w[:, o] * dout[n, o]
            dw[:, o] += x[n] * dout[n, o]
            db[o] += dout[n, o]
    return dx, dw, db


def with_options(function, **options):
    return lambda *arguments, **named: function(*arguments, **named, **options)


def conv_dw_every_image(dout, x, w, stride, padding):
    dx, _, db = conv_backward(dout, x, w, stride, padding)
    each = [conv_backward(dout[n : n + 1], x[n : n + 1], w, stride, padding)[1] for n in range(len(x))]
    return dx, np.stack(each), db


def conv_last_image(dout, x, w, stride, padding):
    dx, _, db = conv_backward(dout, x, w, stride, padding)
    for n in range(len(x)):
        dw = conv_backward(dout[n : n + 1], x[n : n + 1], w, stride, padding)[1]
    return dx, dw, db


def conv_dw_mean(dout, x, w, stride, padding):
    dx, dw, db = conv_backward(dout, x, w, stride, padding)
    return dx, dw / len(x), db


def conv_dw_transposed(dout, x, w, stride, padding):
    dx, dw, db = conv_backward(dout, x, w, stride, padding)
    return dx, dw.transpose(1, 0, 2, 3), db


def col2im(columns, x_shape, kernel_size, stride, padding, *, assign=False, start=None, crop=True):
    N, H, W, C = x_shape
    (KH, KW), start = kernel_size, stride if start is None else start
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    dp = np.zeros((N, H + 2 * padding, W + 2 * padding, C), columns.dtype)
    row = iter(columns)
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                patch = next(row).reshape(KH, KW, C)
                if assign:
                    dp[n, i * start : i * start + KH, j * start : j * start + KW] = patch
                else:
                    dp[n, i * start : i * start + KH, j * start : j * start + KW] += patch
    return dp[:, padding : padding + H, padding : padding + W] if crop else dp


def pool_backward(dout, x, pool, stride, *, assign=False, winner="first"):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dout.shape):
        window = x[n, i * stride : i * stride + pool, j * stride : j * stride + pool, c]
        target = dx[n, i * stride : i * stride + pool, j * stride : j * stride + pool, c]
        if winner == "all":
            target += dout[n, i, j, c] * (window == window.max())
            continue
        flat = window.ravel()
        at = flat.argmax() if winner == "first" else len(flat) - 1 - flat[::-1].argmax()
        place = divmod(at, window.shape[1])
        target[place] = dout[n, i, j, c] if assign else target[place] + dout[n, i, j, c]
    return dx


def dropout(x, draws, rate, training, *, scale=True, evaluation=1.0, off=True, twice=False):
    if not training and off:
        return x * evaluation, np.ones_like(x) * evaluation
    mask = np.where(draws < rate, 0, 1 / (1 - rate) if scale else 1).astype(x.dtype)
    return x * mask * (mask if twice else 1), mask


def dropout_not_applied(x, draws, rate, training):
    return x + 0, dropout(x, draws, rate, training)[1]


def momentum_in_place(value, g, m, lr, momentum):
    m *= momentum
    m += g
    value -= lr * m
    return value, m


def momentum_ignored(value, g, m, lr, momentum):
    return value - lr * g, momentum * m + g


def adam(value, g, m, s, lr, beta1, beta2, eps, t, *, correct=True, root=True, squared=True, power=True):
    m = m * beta1 + g * (1 - beta1)
    s = s * beta2 + (g * g if squared else g) * (1 - beta2)
    mh, sh = (m / (1 - beta1**t), s / (1 - beta2**t)) if correct else (m, s)
    if not power:
        mh, sh = m / (1 - beta1 * t), s / (1 - beta2 * t)
    return value - lr * mh / ((np.sqrt(sh) if root else sh) + eps), m, s


def depthwise_mixed(dout, x, w, stride, padding):
    full = np.broadcast_to(w[..., None], (*w.shape, x.shape[3]))
    dx, dw, _ = conv_backward(dout, x, full, stride, padding)
    return dx, dw.sum(3)


def depthwise(dout, x, w, stride, padding, **options):
    C = x.shape[3]
    diagonal = np.zeros((*w.shape, C), w.dtype)
    diagonal[:, :, np.arange(C), np.arange(C)] = w
    dx, dw, _ = conv_backward(dout, x, diagonal, stride, padding, **options)
    return dx, dw[:, :, np.arange(C), np.arange(C)]


def depthwise_first_image(dout, x, w, stride, padding):
    return depthwise(dout, x, w, stride, padding)[0], depthwise(dout[:1], x[:1], w, stride, padding)[1]


def conv_scalar_loops(dout, x, w, stride, padding, *, add_dx=True, add_dw=True):
    """The simplest way to begin: a loop for each index of dout."""
    p, KH, KW = sizes(x, w, padding)
    dp, dw, db = np.zeros_like(p), np.zeros_like(w), np.zeros_like(w[0, 0, 0])
    for n, i, j, f in np.ndindex(dout.shape):
        patch = np.s_[n, i * stride : i * stride + KH, j * stride : j * stride + KW]
        dp[patch] = dout[n, i, j, f] * w[..., f] + (dp[patch] if add_dx else 0)
        dw[..., f] = dout[n, i, j, f] * p[patch] + (dw[..., f] if add_dw else 0)
        db[f] = dout[n, i, j, f] + (db[f] if add_dw else 0)
    return dp[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dw, db


def conv_tap_loops(dout, x, w, stride, padding):
    p, KH, KW = sizes(x, w, padding)
    _, dw, db = conv_backward(dout, x, w, stride, padding)
    dp = np.zeros_like(p)
    OH, OW = dout.shape[1:3]
    for kh in range(KH):
        for kw in range(KW):
            rows, columns = slice(kh, kh + (OH - 1) * stride + 1, stride), slice(kw, kw + (OW - 1) * stride + 1, stride)
            dp[:, rows, columns] = dout @ w[kh, kw].T
    return dp[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dw, db


def conv_minus_padding(dout, x, w, stride, padding):
    dp, dw, db = conv_backward(dout, x, w, stride, padding, crop=False)
    return dp[:, padding:-padding, padding:-padding], dw, db


def conv_db(axes):
    return lambda dout, x, w, stride, padding: (
        *conv_backward(dout, x, w, stride, padding)[:2],
        dout.sum(axis=axes),
    )


def conv_in_float32(dout, x, w, stride, padding):
    single = (a.astype(np.float32) for a in (dout, x, w))
    return tuple(a.astype(x.dtype) for a in conv_backward(*single, stride, padding))


def col2im_index_arrays(columns, x_shape, kernel_size, stride, padding):
    """Right except for one thing: NumPy adds only one of several values with the same index."""
    N, H, W, C = x_shape
    where = np.arange(N * (H + 2 * padding) * (W + 2 * padding) * C).reshape(N, H + 2 * padding, W + 2 * padding, C)
    flat = np.zeros(where.size, columns.dtype)
    flat[im2col_loops(where, kernel_size, stride, 0).ravel()] += columns.ravel()
    return flat.reshape(where.shape)[:, padding : padding + H, padding : padding + W]


def pool_one_apart(dout, x, pool, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dout.shape):
        window = x[n, i : i + pool, j : j + pool, c]
        r, s = np.unravel_index(window.argmax(), window.shape)
        dx[n, i + r, j + s, c] += dout[n, i, j, c]
    return dx


def pool_in_the_corner(dout, x, pool, stride):
    dx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(dout.shape):
        window = x[n, i * stride : i * stride + pool, j * stride : j * stride + pool, c]
        r, s = np.unravel_index(window.argmax(), window.shape)
        dx[n, r, s, c] += dout[n, i, j, c]
    return dx


def leaves(dout, x, w):
    raise SystemExit


def conv_sum_at_each_place(dout, x, w, stride, padding):
    dx, dw, db = conv_backward(dout, x, w, stride, padding)
    db = np.zeros_like(db)
    for _ in np.ndindex(dout.shape[1:3]):
        db += dout.sum(axis=(0, 1, 2))
    return dx, dw, db


def conv_first_image(dout, x, w, stride, padding):
    return conv_backward(dout, x, w, stride, padding)[0], *conv_backward(dout[:1], x[:1], w, stride, padding)[1:]


def pool_columns_first(dout, x, pool, stride):
    """`=` in scalar loops, with the loop over columns outside."""
    dx = np.zeros_like(x)
    N, OH, OW, C = dout.shape
    for n, j, i, c in np.ndindex(N, OW, OH, C):
        window = x[n, i * stride : i * stride + pool, j * stride : j * stride + pool, c]
        r, s = divmod(window.argmax(), pool)
        dx[n, i * stride + r, j * stride + s, c] = dout[n, i, j, c]
    return dx


def dropout_otherwise(x, draws, rate, training, outside=lambda x, rate: (x, np.ones_like(x)), tiny=0.0):
    """The right answer with options: `outside` computes the evaluation, `tiny` is added to 1 - rate."""
    if not training:
        return outside(x, rate)
    mask = (draws >= rate).astype(x.dtype) / x.dtype.type(1 - rate + tiny)
    return x * mask, mask


def dropout_own_draws(x, draws, rate, training):
    return dropout_otherwise(x, np.random.default_rng().random(x.shape), rate, training)


def layer_norm_backward(dout, x, w, eps):
    """Each row normalised, in place of each channel."""
    mean, var = x.mean(1)[:, None], x.var(1)[:, None]
    x_hat = (x - mean) / np.sqrt(var + eps)
    g = w * dout
    dx = (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / np.sqrt(var + eps)
    return dx, (dout * x_hat).sum(0), dout.sum(0)


def batch_norm_in_place(dout, x, w, eps):
    dout *= w
    return dout, dout.sum(0), dout.sum(0)


def batch_norm_keepdims(dout, x, w, eps):
    dx, dw, db = batch_norm(dout, x, w, eps)
    return dx, dw[None], db[None]


def batch_norm(dout, x, w, eps, *, xs_for_dw=False):
    """The right answer in the short form, where dx uses dw and db."""
    N, deviation = len(x), (x.var(0) + eps) ** 0.5
    x_hat = (x - x.mean(0)) / deviation
    db, dw = dout.sum(0), (dout * (x if xs_for_dw else x_hat)).sum(0)
    return w / (N * deviation) * (N * dout - db - x_hat * dw), dw, db


def batch_norm_loops(dout, x, w, eps):
    """The right answer with the matrix of all slopes of x_hat for x."""
    N, C = x.shape
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for c in range(C):
        var = x[:, c].var() + eps
        x_hat = (x[:, c] - x[:, c].mean()) / var**0.5
        slopes = (np.eye(N) - 1 / N - np.outer(x_hat, x_hat) / N) / var**0.5
        dx[:, c] = slopes @ dout[:, c] * w[c]
        dw[c] = dout[:, c] @ x_hat
    return dx, dw, dout.sum(0)


WRONG = [
    ("batch_norm_backward", layer_norm_backward, "over the wrong axis"),
    ("batch_norm_backward", batch_norm_in_place, "the input dout was modified"),
    ("batch_norm_backward", batch_norm_keepdims, "dw: the numbers are right but its shape is (1, 3)"),
    ("batch_norm_backward", with_options(batch_norm, xs_for_dw=True), "dw: x was taken for x_hat in dw"),
    ("batch_norm_backward", with_options(batch_norm, xs_for_dw=True), "dx: x was taken for x_hat in dw"),
    ("conv2d_backward", conv_sum_at_each_place, "db: an extra factor OH*OW: was a sum added OH*OW times"),
    ("conv2d_backward", conv_first_image, "dw: only the first image's gradient"),
    ("max_pool2d_backward", pool_columns_first, "`=` where `+=`"),
    (
        "max_pool2d_backward",
        lambda dout, x, pool, stride: pool_backward(2 * dout / len(x), x, pool, stride),
        "2 of 7 cases are so; the others are right",
    ),
    (
        "dropout_forward",
        with_options(dropout_otherwise, outside=lambda x, rate: (x * rate, np.ones_like(x))),
        "times 0.4\nAll cases with training off are so, all others are right",
    ),
    (
        "dropout_forward",
        with_options(dropout_otherwise, outside=lambda x, rate: (x, np.ones(x.shape))),
        "mask: the numbers are right, but the dtype changed",
    ),
    ("dropout_forward", with_options(dropout_otherwise, tiny=1e-6), "or a small number was added"),
    ("dropout_forward", dropout_own_draws, "two calls with the same arguments gave different results"),
    ("conv2d_backward", with_options(conv_scalar_loops, add_dx=False), "dx: `=` where `+=`"),
    ("conv2d_backward", with_options(conv_scalar_loops, add_dw=False), "dw: only the last image's last place"),
    ("conv2d_backward", with_options(conv_scalar_loops, add_dw=False), "db: only the last image's last place"),
    ("conv2d_backward", conv_tap_loops, "dx: `=` where `+=`"),
    ("conv2d_backward", conv_minus_padding, "dx: the result is empty where padding is 0"),
    ("conv2d_backward", conv_db(0), "db: not summed over everything"),
    ("conv2d_backward", conv_db((0, 1)), "db: not summed over everything"),
    ("conv2d_backward", conv_in_float32, "computed in float32"),
    ("conv2d_backward", lambda **a: conv_backward(**a)[::-1], "in another order: you return db, dw, dx"),
    ("conv2d_backward", lambda **a: [conv_backward(**a)[0].tolist(), *conv_backward(**a)[1:]], "dx: expected an array"),
    ("col2im", col2im_index_arrays, "np.add.at"),
    ("relu_backward", lambda dout, x: (dout * (x > 0)).tolist(), "expected"),
    ("max_pool2d_backward", pool_one_apart, "stride ignored"),
    ("max_pool2d_backward", pool_in_the_corner, "in the image they are i * stride"),
    ("dense_backward", leaves, "SystemExit"),
    (
        "momentum_step",
        lambda value, g, m, lr, momentum: (value + momentum * m - lr * g, momentum * m - lr * g),
        "lr and the sign",
    ),
    ("adam_step", with_options(adam, power=False), "the power is missing"),
    ("softmax_gradient", softmax_without_mean, "extra factor N"),
    ("softmax_gradient", softmax_twice, "extra factor 2"),
    ("softmax_gradient", softmax_naive, "overflow"),
    ("softmax_gradient", softmax_columns, "whole columns"),
    ("softmax_gradient", softmax_rows, "from whole rows: p[labels]"),
    ("softmax_gradient", softmax_wrong_sign, "sign is reversed"),
    ("dense_backward", dense_transposed, "dw: transposed"),
    ("dense_backward", dense_mean, "dw: an extra factor 1/N"),
    ("dense_backward", dense_mean, "db: an extra factor 1/N"),
    ("dense_backward", dense_not_summed, "dw: not summed over the batch"),
    ("dense_backward", dense_not_summed, "db: not summed over the batch"),
    ("dense_backward", dense_w_as_it_is, "w is not transposed"),
    ("dense_backward", dense_keepdims, "db: the numbers are right but its shape is (1, 2)"),
    ("dense_backward", dense_last_only, "dw: only the last example's"),
    ("dense_backward", dense_two_values, "expected 3 results, dx, dw, db; got 2"),
    ("dense_backward", dense_forgot_to_return, "nothing was returned"),
    ("relu_backward", relu_in_place, "the input dout was modified"),
    ("relu_backward", relu_at_zero, "at x = 0"),
    ("relu_backward", relu_of_dout, "mask comes from dout"),
    ("relu_backward", relu_slope, "dout is missing"),
    ("relu_backward", lambda dout, x: dout + 0, "mask not applied"),
    ("relu_backward", relu_float64, "the dtype changed"),
    ("im2col", im2col_start, "stride ignored in the patch's place"),
    ("im2col", im2col_every_place, "stride ignored"),
    ("im2col", im2col_unpadded, "padding ignored"),
    ("im2col", im2col_channels_first, "(c, kh, kw)"),
    ("im2col", with_options(im2col_loops, axes=(0, 1, 2, 4, 3, 5)), "rows and columns are exchanged"),
    ("im2col", with_options(im2col_loops, axes=(0, 2, 1, 3, 4, 5)), "(n, j, i)"),
    ("im2col", with_options(im2col_loops, axes=(1, 2, 0, 3, 4, 5)), "(i, j, n)"),
    ("conv2d_forward", conv_flipped, "kernel is flipped"),
    ("conv2d_forward", conv_last_product, "only the last product is left"),
    *(
        (
            "conv2d_forward",
            lambda x, w, b, stride, padding, order=order, shape=shape: conv_read_as(
                order, shape, x, w, b, stride, padding
            ),
            f"the product was read as {rows}",
        )
        for rows, shape, order in (
            ("(i, j, n)", (1, 2, 0, 3), (2, 0, 1, 3)),
            ("(n, f, i, j)", (0, 3, 1, 2), (0, 2, 3, 1)),
        )
    ),
    ("conv2d_forward", conv_without_bias, "bias is missing"),
    ("conv2d_forward", conv_start, "stride ignored"),
    ("conv2d_forward", conv_unpadded, "padding ignored"),
    ("col2im", with_options(col2im, assign=True), "`=` where `+=`"),
    ("col2im", with_options(col2im, start=1), "stride ignored"),
    ("col2im", with_options(col2im, crop=False), "padding not cropped"),
    ("conv2d_backward", with_options(conv_backward, flip=False), "dx: kernel not flipped"),
    ("conv2d_backward", with_options(conv_backward, start=1), "dx: stride ignored"),
    ("conv2d_backward", with_options(conv_backward, crop=False), "dx: padding not cropped"),
    ("conv2d_backward", with_options(conv_backward, assign=True), "dx: `=` where `+=`"),
    ("conv2d_backward", with_options(conv_backward, dw_start=1), "dw: stride ignored"),
    (
        "conv2d_backward",
        with_options(conv_backward_filters, filters=slice(1)),
        "dx: only the first filter of dout is used",
    ),
    (
        "conv2d_backward",
        with_options(conv_backward_filters, filters=slice(1)),
        "dw: only the first filter of dout is used",
    ),
    (
        "conv2d_backward",
        with_options(conv_backward_filters, filters=slice(-1)),
        "dx: the last filter of dout is left out",
    ),
    ("dense_backward", with_options(dense_loops, examples=slice(1)), "dw: only the first example of dout is used"),
    ("dense_backward", with_options(dense_loops, examples=slice(1, None)), "db: the first example of dout is left out"),
    ("dense_backward", with_options(dense_loops, outputs=slice(-1, None)), "dx: only the last output of dout is used"),
    ("conv2d_backward", conv_dw_every_image, "dw: not summed over the batch"),
    ("conv2d_backward", conv_last_image, "dw: only the last image's"),
    ("conv2d_backward", conv_dw_mean, "dw: an extra factor 1/N"),
    ("max_pool2d_backward", with_options(pool_backward, assign=True), "`=` where `+=`"),
    ("max_pool2d_backward", with_options(pool_backward, winner="last"), "wrong winner in a tie"),
    ("max_pool2d_backward", with_options(pool_backward, winner="all"), "wrong winner in a tie"),
    ("dropout_forward", with_options(dropout, scale=False), "not scaled"),
    ("dropout_forward", with_options(dropout, evaluation=0.6), "scaled in evaluation"),
    ("dropout_forward", with_options(dropout, off=False), "dropped in evaluation"),
    ("dropout_forward", with_options(dropout, twice=True), "mask applied twice"),
    ("dropout_forward", dropout_not_applied, "mask not applied"),
    ("dropout_backward", lambda dout, mask: dout * 1, "mask not applied"),
    ("dropout_backward", lambda dout, mask: dout * mask**2, "mask applied twice"),
    ("dropout_backward", lambda dout, mask: np.where(mask != 0, dout, 0), "1 / (1 - rate) got lost"),
    ("momentum_step", momentum_in_place, "the input m and value were modified"),
    ("momentum_step", momentum_ignored, "value: momentum not used"),
    ("adam_step", with_options(adam, correct=False), "value: bias correction missing"),
    ("adam_step", with_options(adam, root=False), "value: the square root is missing"),
    ("adam_step", with_options(adam, squared=False), "s: g is not squared"),
    ("depthwise_backward", depthwise_mixed, "dx: the channels were mixed"),
    ("depthwise_backward", with_options(depthwise, assign=True), "dx: `=` where `+=`"),
    ("depthwise_backward", with_options(depthwise, flip=False), "dx: kernel not flipped"),
    ("depthwise_backward", with_options(depthwise, start=1), "dx: stride ignored"),
    ("depthwise_backward", with_options(depthwise, crop=False), "dx: padding not cropped"),
    ("depthwise_backward", with_options(depthwise, dw_start=1), "dw: stride ignored"),
    ("depthwise_backward", depthwise_first_image, "dw: only the first image's gradient"),
    ("conv2d_forward", conv_padded_after, "the padding went on one side only"),
]


def edited_source(name, *edits):
    """The text of the solution that holds a function, with some of it replaced."""
    exercise = next(e for e in EXERCISES.values() if any(task.name == name for task in e.tasks))
    path = LESSONS / "solutions" / f"{exercise.name}.py"
    text = path.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def edit(name, *edits):
    """A function of lessons/solutions with some of its text replaced."""
    names = {}
    exec(compile(edited_source(name, *edits), name, "exec"), names)
    return names[name]


BEGINS = "i * stride : i * stride + KH, j * stride : j * stride + KW"
TAPS = "kh : kh + (OH - 1) * stride + 1 : stride, kw : kw + (OW - 1) * stride + 1 : stride"
MASK = "(draws >= rate).astype(x.dtype) / x.dtype.type(1 - rate)"
HATS = "m / (1 - beta1**t), s / (1 - beta2**t)"
READ = "reshape(N, OH, OW, KH, KW, C)"
PAD = "((0, 0), (padding, padding), (padding, padding), (0, 0))"
PADDED = f"`padded = np.pad(x, {PAD})` in place of"
DVAR = "dvar * 2 * centred / N"
EDITED = [
    ("softmax_gradient", [("p.sum(axis=1", "p.sum(axis=0")], "softmax along the wrong axis"),
    ("softmax_gradient", [("p.sum(axis=1, keepdims=True)", "p.sum(axis=1)")], "keepdims=True is missing"),
    ("relu_backward", [("(x > 0)", "x > 0")], "brackets are missing"),
    ("conv2d_forward", [("x.dtype", "int")], "whole numbers"),
    ("col2im", [("columns.dtype", "int")], "whole numbers"),
    ("im2col", [("x.dtype", "bool")], "True and False"),
    ("relu_backward", [("return dout * (x > 0)", "return [row for row in dout]")], "a list was returned"),
    ("dense_backward", [("dw = x.T @ dout", "dw = list(x.T @ dout)")], "dw: expected an array, got list"),
    ("dense_backward", [("dout", "grad")], "expected (dout, x, w), got (grad, x, w)"),
    ("dropout_forward", [("return x * mask, mask", "return mask, x * mask")], "in another order"),
    ("momentum_step", [("lr * m", "m")], "the learning rate is missing"),
    ("momentum_step", [("value -", "value +")], "uphill"),
    ("adam_step", [("lr * m_hat", "m_hat")], "the learning rate is missing"),
    ("adam_step", [("value -", "value +")], "uphill"),
    ("adam_step", [(HATS, "m, s / (1 - beta2**t)")], "only s was corrected"),
    ("adam_step", [(HATS, "m / (1 - beta1**t), s")], "only m was corrected"),
    ("adam_step", [("(np.sqrt(s_hat) + eps)", "np.sqrt(s_hat + eps)")], "eps is inside the square root"),
    ("adam_step", [("(np.sqrt(s_hat) + eps)", "np.sqrt(s_hat) + eps")], "eps was added after the division"),
    ("max_pool2d_backward", [("window.argmax(", "window.clip(0).argmax(")], "began at 0"),
    ("conv2d_backward", [("dw += ", "dw = ")], "dw: only the last place's gradient"),
    ("col2im", [(BEGINS, "i : i + KH, j : j + KW")], "stride ignored"),
    ("col2im", [(READ, "reshape(N, OH, OW, C, KH, KW).transpose(0, 1, 2, 4, 5, 3)")], "read as (c, kh, kw)"),
    ("col2im", [(READ, "reshape(N, OH, OW, KW, KH, C).swapaxes(3, 4)")], "read as (kw, kh, c)"),
    ("col2im", [("patches[:, i, j]", "patches[:, i, j, ::-1, ::-1]")], "turned by 180 degrees"),
    ("depthwise_backward", [("* w[kh, kw]", "* w[KH - 1 - kh, KW - 1 - kw]")], "dx: kernel not flipped"),
    ("depthwise_backward", [(TAPS, "kh : kh + OH, kw : kw + OW")], "stride ignored"),
    ("batch_norm_backward", [("dmean / N + ", "")], "dx: the path through the mean is missing"),
    ("batch_norm_backward", [(f" + {DVAR}", "")], "dx: the path through the variance is missing"),
    ("batch_norm_backward", [(f" + dmean / N + {DVAR}", "")], "dx: the paths through the mean and the variance"),
    ("batch_norm_backward", [("dmean / N", "dmean")], "1/N is missing on the path through the mean"),
    ("batch_norm_backward", [(DVAR, "dvar * 2 * centred")], "1/N is missing on the path through the variance"),
    ("batch_norm_backward", [("2 * centred", "centred")], "half of what it should be"),
    ("batch_norm_backward", [("* -0.5", "* -1")], "twice what it should be"),
    ("batch_norm_backward", [("* -0.5", "* 0.5")], "the sign of the path through the variance"),
    ("batch_norm_backward", [("-dx_hat.sum", "dx_hat.sum")], "the sign of the path through the mean"),
    ("batch_norm_backward", [("deviation**3", "deviation")], "-0.5 * (var + eps)**-1.5"),
    ("batch_norm_backward", [("* 2 * centred", "* 2")], "(x - mean) is missing on the path through the variance"),
    ("batch_norm_backward", [("* 2 * centred", "* 2 * x")], "x was taken for x - mean"),
    ("batch_norm_backward", [("(dx_hat * centred).sum(axis=0)", "dx_hat * centred")], "variance lacks a sum"),
    ("batch_norm_backward", [("dx_hat.sum(axis=0)", "dx_hat")], "the path through the mean lacks a sum"),
    ("batch_norm_backward", [("dout * w ", "dout ")], "w is left out"),
    ("batch_norm_backward", [("np.sqrt(var + eps)", "np.sqrt(var) + eps")], "eps is outside of the root"),
    ("batch_norm_backward", [("var + eps)\n", "var)\n")], "eps is missing"),
    ("batch_norm_backward", [("np.sqrt(var + eps)", "var + eps")], "the square root is missing"),
    ("batch_norm_backward", [("(centred**2).mean(axis=0)", "x.var(0, ddof=1)")], "the variance with N - 1"),
    ("batch_norm_backward", [("(dout * x_hat)", "(dout * centred)")], "x - mean was taken for x_hat in dw"),
    ("batch_norm_backward", [("(dout * x_hat)", "(dx_hat * x_hat)")], "w is in dw"),
    ("batch_norm_backward", [("dout.sum(axis=0)", "dout.mean(axis=0)")], "db: a mean where a sum belongs"),
    ("batch_norm_backward", [("(dout * x_hat).sum(axis=0)", "dout * x_hat")], "not summed over the batch"),
    (
        "batch_norm_backward",
        [("return dx, (dout * x_hat).sum(axis=0),", "return (dout * x_hat).sum(axis=0), dx,")],
        "in another order",
    ),
]


@pytest.mark.parametrize(
    ("name", "edits", "expected"), EDITED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_edit_of_the_solution_is_recognised(name, edits, expected):
    findings = diagnose(TASKS[name], edit(name, *edits))
    assert any(expected in f for f in findings), findings


PAIRS = [
    ("softmax_gradient", [("    p[np.arange(N), labels] -= 1\n", ""), ("p / N", "p")], "label's term", "factor N"),
    ("relu_backward", [("dout * (x > 0)", "np.float64(x >= 0)")], "at x = 0", "dout is missing"),
    ("dense_backward", [("dout @ w.T", "-dout @ w")], "not transposed", "sign of dx"),
    ("dense_backward", [("dw = x.T @ dout", "dw = np.outer(x[-1], dout[-1]) / len(x)")], "last example", "1/N"),
    (
        "im2col",
        [(BEGINS, "i : i + KH, j : j + KW"), ("return patches", "return patches.transpose(0, 1, 2, 5, 3, 4)")],
        "stride ignored",
        "(c, kh, kw)",
    ),
    ("conv2d_forward", [("patch, w, axes=3) + b", "patch, w[::-1, ::-1], axes=3)")], "flipped", "bias is missing"),
    ("col2im", [("+=", "="), (BEGINS, "i : i + KH, j : j + KW")], "`=` where `+=`", "stride ignored"),
    (
        "conv2d_backward",
        [("+= np.tensordot(dout[:, i, j], w", "= np.tensordot(dout[:, i, j], w[::-1, ::-1]")],
        "not flipped",
        "`=` where `+=`",
    ),
    ("max_pool2d_backward", [("+=", "="), ("kh, kw = divmod", "kw, kh = divmod")], "`=` where `+=`", "exchanged"),
    ("dropout_forward", [(MASK, "(draws > rate).astype(x.dtype)")], "not scaled", "equality included"),
    (
        "dropout_forward",
        [
            ("return x * mask, mask", "return (mask > 0).astype(x.dtype), x * mask"),
            ("x.copy(), np.ones_like(x)", "np.ones_like(x), x.copy()"),
        ],
        "another order",
        "lacks the factor",
    ),
    ("momentum_step", [("value - lr * m", "value + m")], "learning rate", "uphill"),
    ("adam_step", [(HATS, "m, s"), ("(np.sqrt(s_hat) + eps)", "np.sqrt(s_hat + eps)")], "eps is inside", "correction"),
    (
        "depthwise_backward",
        [
            ("dpadded[met] += dout", "dpadded[met] -= dout"),
            ("dpadded[:, padding : padding + H, padding : padding + W]", "dpadded"),
        ],
        "sign of dx",
        "not cropped",
    ),
    ("batch_norm_backward", [("dout * w ", "dout "), ("dmean / N", "dmean")], "w is left out", "1/N is missing"),
    ("batch_norm_backward", [("dmean / N + ", ""), ("* -0.5", "* 0.5")], "the mean is missing", "the sign of the path"),
]


@pytest.mark.parametrize(("name", "edits", "first", "second"), PAIRS)
def test_two_mistakes_at_once_are_both_named(name, edits, first, second):
    findings = diagnose(TASKS[name], edit(name, *edits))
    assert any("two mistakes" in f and first in f and second in f for f in findings), findings


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_pair_is_wrong_and_gets_a_name(task):
    """Some of the pairs, as all would take a minute: each is explained by known mistakes, not by facts."""
    for pair in itertools.islice(task.pairs(), 0, None, 17):
        findings = diagnose(task, pair.function)
        assert findings, pair.what
        assert not any("the worst at" in f for f in findings), (pair.what, findings)


def named(task, function):
    """Call a function by position, whatever its parameters are called."""
    return lambda **arguments: function(*arguments.values())


def library_pool(dout, x, pool, stride):
    _, argmax = layers.max_pool2d_forward(x, pool, stride, 0)
    return layers.max_pool2d_backward(dout, argmax, x.shape, pool, stride, 0)


def library_depthwise(dout, x, w, stride, padding):
    dx, dw, _ = layers.depthwise_conv2d_backward(dout, x, w[..., None], stride, padding)
    return dx, dw[..., 0]


def library_batch_norm(dout, x, w, eps):
    return layers.batch_norm_backward(dout, x, w, *layers.batch_norm_statistics(x), eps, True)


def library_adam(value, g, m, s, lr, beta1, beta2, eps, t):
    value, m, s = value.copy(), m.copy(), s.copy()
    optim.adam_update(value, g, m, s, lr, (beta1, beta2), eps, t)
    return value, m, s


def library_momentum(value, g, m, lr, momentum):
    value, m = value.copy(), m.copy()
    optim.momentum_update(value, g, m, lr, momentum, False)
    return value, m


LIBRARY = {
    "softmax_gradient": lambda logits, labels: sn.softmax_cross_entropy(logits, labels)[1],
    "dense_backward": layers.dense_backward,
    "relu_backward": layers.relu_backward,
    "im2col": layers.im2col,
    "conv2d_forward": layers.conv2d_forward,
    "col2im": layers.col2im,
    "conv2d_backward": layers.conv2d_backward,
    "max_pool2d_backward": library_pool,
    "dropout_backward": layers.dropout_backward,
    "momentum_step": library_momentum,
    "adam_step": library_adam,
    "depthwise_backward": library_depthwise,
    "batch_norm_backward": library_batch_norm,
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_has_the_right_answer(name):
    assert diagnose(TASKS[name], named(TASKS[name], LIBRARY[name])) == []


def test_an_edit_that_fits_nowhere_is_an_error():
    with pytest.raises(ValueError, match="does not hold the text"):
        TASKS["relu_backward"].slip("nothing", ("no such text", ""))


@pytest.mark.parametrize(("name", "function", "expected"), WRONG)
def test_a_mistake_is_recognised(name, function, expected):
    findings = diagnose(TASKS[name], function)
    assert any(expected in f for f in findings), findings


def test_only_what_passed_is_called_right():
    def half_right(dout, x, w):
        return dout @ w.T, (x.T @ dout).tolist(), dout.sum(0) * 3

    (finding,) = diagnose(TASKS["dense_backward"], half_right)
    assert finding.startswith("dw: expected an array, got list")

    def other_dtype(dout, x, w):
        return dout @ w.T, x.T @ dout * 2, dout.sum(0).astype(np.float64)

    assert diagnose(TASKS["dense_backward"], other_dtype)[-1] == "dx is right"


def test_scaled_in_evaluation_is_recognised():
    task = TASKS["dropout_forward"]

    def scaled(x, draws, rate, training):
        mask = np.where(draws < rate, 0, 1 / (1 - rate))
        return (x * mask, mask) if training else (x * (1 - rate), np.ones_like(x) * (1 - rate))

    assert all("scaled in evaluation" in f for f in diagnose(task, scaled))


@pytest.mark.parametrize("exercise", [e for e in EXERCISES.values() if e.tasks], ids=lambda e: e.name)
def test_every_known_mistake_is_told_from_the_others_and_from_the_right_answer(exercise):
    for task in exercise.tasks:
        assert not diagnose(task, task.reference)
        for mistake in task.mistakes:
            findings = diagnose(task, mistake.function)
            assert any(mistake.what in f for f in findings), (mistake.what, findings)


def test_dx_right_and_dw_wrong_is_said(tmp_path):
    path = edited(tmp_path, "07_conv_backward", "dw += np.tensordot(padded[place]", "dw = np.tensordot(padded[place]")
    result = str(check_file(path))
    assert "dw: only the last place's gradient" in result
    assert "dx and db are right" in result


# ---------------------------------------------------------------- a change of the learner's own code

# What nobody has written down as a known mistake: the edits, and what the finding says of the line.
REPAIRED = [
    ("softmax_gradient", [("p / N", "p / N + 1e-3")], "Line 12: `return p / N` in place of"),
    ("softmax_gradient", [("    return p / N", "    return p / (N + 1)")], "in place of `return p / (N + 1)`"),
    ("dense_backward", [("x.T @ dout", "dx.T @ dout")], "`dw = x.T @ dout` in place of `dw = dx.T @ dout`"),
    ("dense_backward", [("dout.sum(axis=0)", "dw.sum(axis=0)")], "`db = dout.sum(axis=0)` in place of"),
    ("dense_backward", [("x.T @ dout", "x.T * dout"), ("dout @ w.T", "dout * w.T")], "`@` in place of `*`"),
    ("relu_backward", [("dout * (x > 0)", "np.where(x > 0, dout, x)")], "`return np.where(x > 0, dout, 0)` in place"),
    ("im2col", [("KH, KW = kernel_size", "KW, KH = kernel_size")], "`KH, KW = kernel_size` in place of"),
    ("im2col", [(PAD, "padding")], PADDED),
    (
        "conv2d_forward",
        [
            (f"np.pad(x, {PAD})", "np.zeros((N, H + 2 * padding, W + 2 * padding, x.shape[3]), x.dtype)"),
            ("    out = np", "    padded[:, padding:-padding, padding:-padding] = x\n    out = np"),
        ],
        "`padded[:, padding:padded.shape[1] - padding, padding:padded.shape[2] - padding] = x` in place",
    ),
    (
        "batch_norm_backward",
        [("dx_hat.sum(axis=0)", "dx_hat.sum()"), ("centred).sum(axis=0)", "centred).sum()")],
        "Lines 14 and 15: `axis=0` in each `sum`",
    ),
    ("im2col", [(PAD, "((padding, padding), (padding, padding))")], PADDED),
    ("im2col", [(PAD, "pad_width=padding, mode='constant'")], f"np.pad(x, {PAD}, mode='constant')` in place"),
    ("conv2d_backward", [(PAD, "padding")], PADDED),
    ("depthwise_backward", [(PAD, "(padding, padding)")], PADDED),
    (
        "softmax_gradient",
        [
            (
                "    p /= p.sum(axis=1, keepdims=True)",
                "    for n in range(N):\n        for k in range(p.shape[1]):\n            s = p[n, k]\n"
                "        p[n] /= s",
            )
        ],
        "`s += p[n, k]` in place of `s = p[n, k]`, and `s = 0` before the loop on line 11",
    ),
    (
        "softmax_gradient",
        [
            (
                "    p /= p.sum(axis=1, keepdims=True)",
                "    for n in range(N):\n        for k in range(p.shape[1]):\n            for _ in range(1):\n"
                "                s = 0\n                s += p[n, k]\n        p[n] /= s",
            )
        ],
        "`s = 0`, moved before the loop on line 11",
    ),
    ("im2col", [("// stride", "/ stride")], "`(H + 2 * padding - KH) // stride` in place of"),
    (
        "col2im",
        [("range(OH)", "range(OH - 1)"), ("range(OW)", "range(OW - 1)")],
        "`OH` in place of `OH - 1`, and likewise `OW`",
    ),
    (
        "conv2d_backward",
        [("dout[:, i, j], w, axes=(1, 3)", "dout[:, i, i], w, axes=(1, 3)")],
        "`dout[:, i, j]` in place of `dout[:, i, i]`",
    ),
    ("momentum_step", [("momentum * m + g", "0.9 * m + g")], "`m = momentum * m + g` in place of `m = 0.9 * m + g`"),
    ("momentum_step", [("momentum * m + g", "momentum * (m + g)")], "`m = momentum * m + g` in place of"),
    ("momentum_step", [("momentum * m", "lr * m"), ("lr * m, m", "momentum * m, m")], "`lr` and `momentum` exchanged"),
    ("adam_step", [("lr * m_hat", "lr * g")], "m_hat"),
    (
        "softmax_gradient",
        [
            (
                "    p[np.arange(N), labels] -= 1\n    return",
                "    for n in range(N):\n        p[n, labels[n]] -= 1\n        return",
            )
        ],
        "moved behind the loop",
    ),
    ("depthwise_backward", [("w[kh, kw]\n", "w[0, kw]\n")], "`dpadded[met] += dout * w[kh, kw]` in place of"),
]


@pytest.fixture
def patient(monkeypatch):
    """A search ends when it has found something, not when a busy machine has no more time for it."""
    monkeypatch.setattr(repair, "SECONDS", 120.0)


@pytest.mark.parametrize(("name", "edits", "expected"), REPAIRED)
@pytest.mark.usefixtures("patient")
def test_one_change_that_makes_it_right_is_found(name, edits, expected):
    source = edited_source(name, *edits)
    findings = diagnose(TASKS[name], edit(name, *edits), source)
    assert any("one change makes every case right" in f and expected in f for f in findings), findings


@pytest.mark.usefixtures("patient")
def test_a_known_mistake_and_a_change_are_two_mistakes():
    edits = [("patch, w, axes=3) + b", "patch, w, axes=3)"), ("j * stride : j * stride + KW", "j : j + KW")]
    finding, unused = diagnose(
        TASKS["conv2d_forward"], edit("conv2d_forward", *edits), edited_source("conv2d_forward", *edits)
    )
    assert "two mistakes at once" in finding
    assert "the bias is missing" in finding
    assert "j * stride:j * stride + KW" in finding
    assert unused.startswith("never used: b")


@pytest.mark.usefixtures("patient")
def test_one_mistake_is_not_taken_for_two():
    """By the numbers, x < 0 is the wrong way round and wrong at 0; in the code it is a single sign."""
    edits = [("x > 0", "x < 0")]
    (finding,) = diagnose(TASKS["relu_backward"], edit("relu_backward", *edits), edited_source("relu_backward", *edits))
    assert "`return dout * (x > 0)` in place of `return dout * (x < 0)`" in finding


def test_the_search_shows_nothing_asks_nothing_and_ends(capsys, monkeypatch):
    monkeypatch.setattr(repair, "SECONDS", 0.5)
    edits = [
        ("    p /= p", "    print('shown')\n    breakpoint()\n    input() if N < 0 else 0\n    p = p**3\n    p /= p")
    ]
    source = edited_source("softmax_gradient", *edits)
    monkeypatch.setattr(sys, "breakpointhook", lambda: None)
    begun = time.process_time()
    assert diagnose(TASKS["softmax_gradient"], edit("softmax_gradient", *edits), source)
    assert time.process_time() - begun < 5
    assert capsys.readouterr().out.count("shown") == 1


def test_an_output_that_only_an_error_spoils_has_no_mistake_of_its_own():
    """A loop that never runs would make db right, as it is made without a loop: that is not told."""
    edits = [("+= np.tensordot(dout[:, i, j], w, axes=(1, 3))", "+= np.einsum('nf,hwcf->nwhc', dout[:, i, j], w) ** 2")]
    source = edited_source("conv2d_backward", *edits)
    (finding,) = diagnose(TASKS["conv2d_backward"], edit("conv2d_backward", *edits), source)
    assert finding.startswith("ValueError")


def test_without_a_search_the_facts_are_said(tmp_path):
    path = edited(tmp_path, "02_dense_backward", "x.T @ dout", "dx.T @ dout")
    assert "one change" in check_file(path).findings[0]
    assert "the worst at" in check_file(path, search=False).findings[0]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_code_is_the_same_after_every_change(task):
    tree = ast.parse(edited_source(task.name))
    before = ast.dump(tree)
    assert sum(1 for _ in repair.changes(tree)) > 50
    assert ast.dump(tree) == before


# ---------------------------------------------------------------- what is kept from call to call, and np.empty


def test_np_empty_does_not_pass_by_chance():
    (finding,) = diagnose(TASKS["col2im"], edit("col2im", ("np.zeros", "np.empty")))
    assert "np.empty makes an array that holds whatever was in memory" in finding


TOTAL = 0.0


def remembers_in_a_global(value, g, m, lr, momentum):
    global TOTAL
    TOTAL = momentum * TOTAL + g
    return value - lr * TOTAL, TOTAL


def remembers_in_a_default(value, g, m, lr, momentum, seen=[]):  # noqa: B006
    seen.append(momentum * m + g)
    return value - lr * sum(seen), seen[-1]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (remembers_in_a_global, "the global TOTAL keeps"),
        (remembers_in_a_default, "the default value of seen is made once"),
    ],
)
def test_what_is_kept_from_call_to_call_is_named(function, expected):
    (finding,) = diagnose(TASKS["momentum_step"], function)
    assert expected in finding


def test_the_cases_of_a_wrong_count_are_said():
    def no_mask_outside(x, draws, rate, training):
        return dropout(x, draws, rate, training) if training else x

    (finding,) = diagnose(TASKS["dropout_forward"], no_mask_outside)
    assert "expected 2 results, out, mask; got 1\nAll cases with training off return so many" in finding


# ---------------------------------------------------------------- what nothing recognises


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("relu_backward", lambda dout, x: dout * np.sign(x), "Wrong are exactly those where x < 0."),
        ("relu_backward", lambda dout, x: dout * np.maximum(x, 0) / x, "Wrong are exactly those where x is 0."),
        ("relu_backward", lambda dout, x: dout * np.maximum(x, 0) / x, "Some are NaN"),
        ("relu_backward", lambda dout, x: np.where(x > 0, dout, x), "The wrong ones are x's own numbers."),
        ("relu_backward", lambda dout, x: 0 * dout, "All numbers are 0"),
        ("relu_backward", lambda dout, x: np.roll(dout * (x > 0), 1), "They are the right numbers, in other places."),
        (
            "max_pool2d_backward",
            lambda dout, x, pool, stride: (
                np.roll(pool_backward(dout, x, pool, stride) * 0.5, 1) + pool_backward(dout, x, pool, stride) * 0.5
            ),
            "Their sum is right",
        ),
        ("momentum_step", lambda value, g, m, lr, momentum: (value, momentum * m + 3 * g), "a multiple of g"),
        (
            "conv2d_forward",
            lambda x, w, b, stride, padding: np.cumsum(conv_forward(x, w, b, stride, padding), axis=3),
            "Only index 0 along axis 3 (f) is right. Is there a 0 where an index f belongs",
        ),
        (
            "max_pool2d_backward",
            lambda dout, x, pool, stride: sum(
                np.where(pool_backward(dout, x, pool, stride) != 0, pool_backward(dout, x, pool, stride), 7.0)
                for _ in "1"
            ),
            "Wherever yours is wrong, the right number is 0.",
        ),
    ],
)
def test_what_wrong_entries_share_is_said(name, function, expected):
    findings = diagnose(TASKS[name], function)
    assert any(expected in f for f in findings), findings


def strange(dout, x, w, stride, padding):
    dx, dw, db = conv_backward(dout, x, w, stride, padding)
    dx = dx.copy()
    dx[:, 1, 2] += 1.0
    return dx, dw, db


def test_an_unknown_mistake_gets_the_worst_entry_both_values_and_a_picture():
    finding, rest = diagnose(TASKS["conv2d_backward"], strange)
    assert rest == "dw and db are right"
    assert finding.startswith("dx: 6 of 180 numbers are wrong; the worst at [")
    assert "expected" in finding
    assert "got" in finding
    assert "    ......\n    ..#...\n    ......" in finding


def test_what_failing_cases_share_is_said():
    def wrong_with_padding(dout, x, w, stride, padding):
        dx, dw, db = conv_backward(dout, x, w, stride, padding)
        return dx + (padding > 0) * np.arange(dx.size).reshape(dx.shape), dw, db

    finding, _ = diagnose(TASKS["conv2d_backward"], wrong_with_padding)
    assert "All cases with padding are wrong, all others are right." in finding


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_answer_uses_every_argument(task):
    assert never_used(task, edited_source(task.name)) == []
    assert len(never_used(task, f"def {task.name}({', '.join(task.cases[0].arguments)}): pass")) == 1


def test_an_argument_that_is_never_used_is_named():
    edits = [
        ("// stride + 1, (W", "+ 1, (W"),
        ("// stride + 1\n", "+ 1\n"),
        (BEGINS, "i : i + KH, j : j + KW"),
        ("patches.reshape", "-patches.reshape"),
    ]
    findings = diagnose(TASKS["im2col"], edit("im2col", *edits), edited_source("im2col", *edits))
    assert findings[-1] == "never used: stride. The result depends on every argument"


def test_an_error_is_shown_with_its_line_and_the_case():
    def broken(dout, x, w):
        return dout @ x.T @ w, x.T @ dout, dout.sum(0)

    finding = diagnose(TASKS["dense_backward"], broken)[-1]
    assert "ValueError: matmul" in finding
    assert "return dout @ x.T @ w" in finding
    assert "dout (4, 2)" in finding


def test_a_picture_of_weights_and_of_vectors():
    bad = np.zeros((2, 3, 4, 5), bool)
    bad[1, 2] = True
    assert picture(bad, 0).endswith("    ...\n    ..#")
    assert picture(np.array([True, False])).endswith("    #.")


# ---------------------------------------------------------------- right answers in other styles


def einsum_dense(dout, x, w):
    return np.einsum("no,io->ni", dout, w), np.einsum("ni,no->io", x, dout), np.einsum("no->o", dout)


def loop_dense(dout, x, w):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(dout[0])
    for n, o in np.ndindex(dout.shape):
        db[o] += dout[n, o]
        for i in range(x.shape[1]):
            dw[i, o] += x[n, i] * dout[n, o]
            dx[n, i] += w[i, o] * dout[n, o]
    return dx, dw, db


def strided_im2col(x, kernel_size, stride, padding):
    p = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    windows = sliding_window_view(p, kernel_size, axis=(1, 2))[:, ::stride, ::stride]
    return np.moveaxis(windows, 3, -1).reshape(-1, kernel_size[0] * kernel_size[1] * x.shape[3])


def turned_kernel_conv_backward(dout, x, w, stride, padding):
    """dx as a full correlation of dout, spread by the stride, with the turned kernel."""
    p, KH, KW = sizes(x, w, padding)
    N, OH, OW, F = dout.shape
    spread = np.zeros((N, p.shape[1] + KH - 1, p.shape[2] + KW - 1, F), dout.dtype)
    spread[:, KH - 1 : KH - 1 + OH * stride : stride, KW - 1 : KW - 1 + OW * stride : stride] = dout
    windows = sliding_window_view(spread, (KH, KW), axis=(1, 2))
    dp = np.einsum("nhwfkl,klcf->nhwc", windows, w[::-1, ::-1])
    patches = sliding_window_view(p, (KH, KW), axis=(1, 2))[:, ::stride, ::stride]
    dw = np.einsum("nijckl,nijf->klcf", patches, dout)
    return dp[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dw, dout.sum((0, 1, 2))


RIGHT = [
    ("softmax_gradient", lambda z, y: np.exp(z - z.max()) * 0 + sn.softmax_cross_entropy(z, y)[1]),
    ("dense_backward", einsum_dense),
    ("dense_backward", loop_dense),
    ("relu_backward", lambda dout, x: np.where(x > 0, dout, np.zeros_like(dout))),
    ("im2col", strided_im2col),
    ("im2col", im2col_loops),
    ("conv2d_forward", conv_forward),
    ("col2im", col2im),
    ("conv2d_backward", conv_backward),
    ("conv2d_backward", turned_kernel_conv_backward),
    ("max_pool2d_backward", pool_backward),
    ("dropout_forward", dropout),
    ("adam_step", adam),
    ("depthwise_backward", depthwise),
    ("batch_norm_backward", batch_norm),
    ("batch_norm_backward", batch_norm_loops),
]


@pytest.mark.parametrize(("name", "function"), RIGHT)
def test_a_right_answer_in_another_style_passes(name, function):
    assert diagnose(TASKS[name], named(TASKS[name], function)) == []


# ---------------------------------------------------------------- a layer of one's own


class Module:
    """A module with what the checker of exercise 13 needs of a learner's file."""

    __file__ = __file__

    def __init__(self, layer):
        self.MyLayer = layer

    @staticmethod
    def example():
        return np.random.default_rng(0).standard_normal((3, 4, 5, 2))


class Scale(sn.Layer):
    """A right answer with a parameter: one weight a channel."""

    def __init__(self):
        super().__init__()
        self.w = sn.Parameter("w", np.full(2, 1.5, np.float32))

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return x * self.w.value.astype(x.dtype)

    def backward(self, dout, need_dx=True):
        dout = self.check_dout(dout)
        self.w.grad = (dout * self.x).sum(axis=(0, 1, 2))
        return dout * self.w.value.astype(dout.dtype)

    def parameters(self):
        return [self.w]


def scale_with(**methods):
    return Module(type("MyLayer", (Scale,), methods))


def test_a_right_layer_passes():
    assert check_own_layer(Module(Scale)) == []


def test_a_gradient_that_takes_x_for_dout_is_noticed():
    """The example and the checker's dout must not come from the same stream of random numbers."""

    class Square(sn.Layer):
        def forward(self, x, training=False):
            self.x = self.check_input(x)
            return x**2

        def backward(self, dout, need_dx=True):
            self.check_dout(dout)
            return 2 * self.x * self.x

    assert any("the gradient for x is wrong" in f for f in check_own_layer(Module(Square)))
    assert not sn.gradcheck(Square(), Module.example())


def adds_to_grad(self, dout, need_dx=True):
    before = self.w.grad
    dx = Scale.backward(self, dout)
    self.w.grad = self.w.grad if before is None else self.w.grad + before
    return dx


def adds_to_none(self, dout, need_dx=True):
    self.w.grad += (self.check_dout(dout) * self.x).sum(axis=(0, 1, 2))
    return dout


def output_shape(self, input_shape):
    N, _, _, C = input_shape
    return (N, C)


def keeps_nothing(self, x, training=False):
    return self.check_input(x) * self.w.value.astype(x.dtype)


def halves_dw(self, dout, need_dx=True):
    dx = Scale.backward(self, dout)
    self.w.grad = self.w.grad / 2
    return dx


def scale_backward(self, dout, dx):
    Scale.backward(self, dout)
    return dx


def not_summed(self, dout, need_dx=True):
    dx = Scale.backward(self, dout)
    self.w.grad = dout * self.x
    return dx


def no_check_input(self, x, training=False):
    self.x = x
    return x * self.w.value.astype(x.dtype)


def no_check(self, dout, need_dx=True):
    self.w.grad = (dout.reshape(-1)[: self.x.size].reshape(self.x.shape) * self.x).sum(axis=(0, 1, 2))
    return dout.reshape(-1)[: self.x.size].reshape(self.x.shape) * self.w.value.astype(dout.dtype)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"forward": lambda self, x, training=False: (self.check_input(x) * 2).astype(np.float64)}, "dtype changed"),
        ({"forward": lambda self, x, training=False: self.check_input(x) - x.mean()}, "alone gives another result"),
        ({"backward": adds_to_grad}, "overwrite it (=), do not add to it (+=)"),
        ({"backward": halves_dw}, "the gradient for w is wrong"),
        ({"backward": lambda self, dout, need_dx=True: None}, "nothing was returned"),
        ({"backward": lambda self, dout, need_dx=True: dout[:1]}, "wrong shape"),
        (
            {"backward": lambda self, dout, need_dx=True: scale_backward(self, dout, dout)},
            "the gradient for x is wrong",
        ),
        ({"backward": not_summed}, "w.grad has the shape (3, 4, 5, 2), expected (2,)"),
        ({"parameters": lambda self: []}, "self.w is a Parameter, but parameters() does not list it"),
        ({"forward": no_check_input}, "forward has to begin with x = self.check_input(x)"),
        ({"__init__": lambda self, size: Scale.__init__(self)}, "give size a default"),
        ({"output_shape": lambda self, input_shape: [4, 5, 2]}, "expected a tuple"),
        ({"output_shape": lambda self, input_shape: input_shape[7]}, "line "),
        ({"backward": no_check}, "check_dout"),
        ({"output_shape": lambda self, input_shape: (1,)}, "output_shape"),
        ({"output_shape": output_shape}, "given the shape of one example, without N"),
        ({"forward": lambda self, x: x}, "forward has to take (self, x, training=False)"),
        ({"backward": lambda self, dout: dout}, "backward has to take (self, dout, need_dx=True)"),
        ({"backward": adds_to_none}, "Before the first backward, grad is None"),
        ({"forward": keeps_nothing}, "Nothing has set self.x yet"),
    ],
)
def test_a_broken_promise_of_a_layer_is_named(methods, expected):
    findings = check_own_layer(scale_with(**methods))
    assert any(expected in f for f in findings), findings


def test_a_layer_without_its_name_is_told_why():
    module = Module(type("MyLayer", (sn.ReLU,), {"__init__": lambda self: None}))
    assert check_own_layer(module) == ["__init__ has to begin with super().__init__(): it gives the layer its name"]


def test_a_layer_that_modifies_dout_is_told():
    def backward(self, dout, need_dx=True):
        dout *= 0
        return dout

    module = Module(type("MyLayer", (sn.ReLU,), {"backward": backward}))
    assert any("dout was modified" in f for f in check_own_layer(module))


def test_a_layer_that_modifies_x_is_not_told_of_a_kink():
    class InPlace(sn.Layer):
        def forward(self, x, training=False):
            self.mask = self.check_input(x) > 0
            x[~self.mask] *= 0.01
            return x

        def backward(self, dout, need_dx=True):
            return np.where(self.mask, 1, 0.01).astype(dout.dtype) * self.check_dout(dout)

    notes = []
    assert check_own_layer(Module(InPlace), notes) == ["forward: the input x was modified; it belongs to the caller"]
    assert notes == []


class LeakyReLU(sn.Layer):
    """A right answer without parameters, with a kink at 0."""

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return np.where(x > 0, x, 0.01 * x)

    def backward(self, dout, need_dx=True):
        return np.where(self.x > 0, 1, 0.01).astype(dout.dtype) * self.check_dout(dout)


def at_zero(layer):
    module = Module(layer)
    module.example = lambda: np.zeros((2, 3))
    return module


def test_at_a_kink_the_example_is_moved():
    notes = []
    assert check_own_layer(at_zero(LeakyReLU), notes) == []
    assert "lies on a kink" in notes[0]


def test_a_wrong_gradient_is_found_beside_a_kink():
    wrong = type("MyLayer", (LeakyReLU,), {"backward": lambda self, dout, need_dx=True: self.check_dout(dout) * 0.5})
    assert "the gradient for x is wrong" in check_own_layer(at_zero(wrong))[0]


def test_all_broken_promises_are_told_at_once():
    class Mean(sn.Layer):
        def forward(self, x, training=False):
            self.x = x
            return x.mean(axis=(1, 2))

        def backward(self, dout, need_dx=True):
            return np.ones(self.x.shape) * dout[:, None, None] / self.x[0, :, :, 0].size

    findings = "\n".join(check_own_layer(Module(Mean)))
    for promise in ("check_input", "check_dout", "output_shape is missing: forward makes (2,)", "dx is float64"):
        assert promise in findings
    assert "Error" not in findings


def test_the_solution_with_weights_is_right():
    assert check_own_layer(load_module(LESSONS / "solutions" / "13_own_layer_with_weights.py")) == []


# ---------------------------------------------------------------- answers that disturb the check


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(running, "LIMIT", 0.2)


LOOP = "while True:\n        pass"
SWALLOWS = "while True:\n        try:\n            dout.sum()\n        except:\n            pass"


@pytest.mark.parametrize("body", [LOOP, SWALLOWS, "__import__('time').sleep(60)"])
def test_an_answer_that_never_ends_is_stopped_and_its_line_named(tmp_path, short, body):
    path = edited(tmp_path, "03_relu_backward", "return dout * (x > 0)", body)
    begun = time.monotonic()
    (finding,) = check_file(path).findings
    assert time.monotonic() - begun < 5
    assert "stopped after 0.2 seconds, at line " in finding
    assert finding.split("`")[1] in body


def test_a_file_and_a_layer_that_never_end_are_stopped(tmp_path, short):
    path = edited(tmp_path, "03_relu_backward", "def relu", LOOP.replace("        ", "    ") + "\n\n\ndef relu")
    assert "at line 6, `pass`" in check_file(path).findings[0] or "while True" in check_file(path).findings[0]
    path = edited(tmp_path, "13_own_layer", "return x * _sigmoid(x)", "while True: pass")
    assert "`while True: pass`" in check_file(path).findings[0]


def test_beside_the_main_thread_there_is_a_limit_too(tmp_path, short):
    path = edited(tmp_path, "03_relu_backward", "return dout * (x > 0)", LOOP)
    results = []
    thread = threading.Thread(target=lambda: results.append(check_file(path)), daemon=True)
    thread.start()
    thread.join(10)
    assert "took too long" in results[0].findings[0]


class Lingering:
    def __init__(self, error=None):
        self.error = error

    def __del__(self):
        if self.error:
            raise self.error
        while True:
            pass


def test_a_stop_inside_a_destructor_is_no_noise(short, monkeypatch):
    """Python ignores the error there, and reports it; the call is stopped a moment later."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))

    def lingers():
        Lingering()
        while True:
            pass

    with pytest.raises(running.TookTooLong):
        running.limited(lingers)
    assert not reported
    running.limited(Lingering, ValueError())
    assert reported == [ValueError], "what is the learner's own is shown"


def test_a_limit_inside_another_leaves_the_outer_one(short):
    def forever():
        running.limited(len, "inner")
        while True:
            pass

    with pytest.raises(running.TookTooLong):
        running.limited(forever)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("print('shown once')", None),
        ("breakpoint()", "breakpoint() was skipped"),
        ("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()", "figures are not shown"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_right_answer_that_prints_plots_or_stops_is_right(tmp_path, capsys, line, note):
    if "matplotlib" in line:
        pytest.importorskip("matplotlib")
    path = edited(tmp_path, "03_relu_backward", "return dout", f"{line}\n    return dout")
    result = check_file(path)
    assert result.status == "done"
    assert [note in text for text in result.notes] == [True] * (note is not None)
    assert capsys.readouterr().out.count("shown once") == (note is None)
    check_file(path, quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("exit()", "take exit() out"),
        ("__import__('os')._exit(0)", "take exit() out"),
        ("input()", "does it call input()"),
    ],
)
def test_an_answer_that_exits_or_asks_is_told(tmp_path, line, expected):
    path = edited(tmp_path, "03_relu_backward", "return dout", f"{line}\n    return dout")
    assert expected in check_file(path).findings[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_at_a_terminal_breakpoint_opens_the_debugger(tmp_path):
    import pty

    path = edited(tmp_path, "03_relu_backward", "return dout", "breakpoint()\n    return dout")
    ours, theirs = pty.openpty()
    code = f"from scratchnet.exercises import check, running; running.LIMIT = 0.2; check({str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=subprocess.PIPE, text=True)
    os.write(ours, b"p __import__('time').sleep(0.5)\np dout.shape\nq\n")
    out, _ = process.communicate(timeout=60)
    assert "(4, 3)" in out
    assert "the debugger was left" in out


# ---------------------------------------------------------------- files, and the command line


def edited(folder, name, old, new):
    """Write a solution with one change as the exercise's file."""
    text = (LESSONS / "solutions" / f"{name}.py").read_text()
    assert old in text
    path = folder / f"{name}.py"
    path.write_text(text.replace(old, new))
    return path


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder of exercises of which none has been done."""
    shutil.copytree(LESSONS / "exercises", tmp_path / "lessons" / "exercises")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lessons" / "exercises"


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_the_solution_is_right_and_the_exercise_not_begun(exercise):
    assert check_file(LESSONS / "solutions" / f"{exercise.name}.py").status == "done"
    assert check_file(LESSONS / "exercises" / f"{exercise.name}.py").status == "not begun"


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.name)
def test_an_exercise_says_what_to_write_and_the_solution_has_the_same_functions(exercise):
    given, answer = (load_module(LESSONS / folder / f"{exercise.name}.py") for folder in ("exercises", "solutions"))
    assert f"`.venv/bin/scratchnet check {exercise.number}`" in given.__doc__
    assert f"(lesson {exercise.lesson})" in given.__doc__
    for task in exercise.tasks:
        assert getattr(given, task.name).__doc__ == getattr(answer, task.name).__doc__
        assert list(task.cases[0].arguments) == list(
            getattr(given, task.name).__code__.co_varnames[: getattr(given, task.name).__code__.co_argcount]
        )


def test_check_prints_and_sets_the_exit_code(begun, capsys):
    shutil.copy(LESSONS / "solutions" / "03_relu_backward.py", begun)
    assert main(["check", "3"]) == 0
    assert "03 backward of ReLU: done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_code:
        main(["check", "02", "03"])
    assert exit_code.value.code == 1
    out = capsys.readouterr().out
    assert "02 backward of a dense layer: not begun" in out
    assert "03 backward of ReLU: done" in out


def test_check_all_shows_what_is_done(begun, capsys):
    shutil.copy(LESSONS / "solutions" / "02_dense_backward.py", begun)
    edited(begun, "03_relu_backward", "x > 0", "x >= 0")
    with pytest.raises(SystemExit):
        main(["check", "--all"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:16]] == list(EXERCISES)
    assert "done" in lines[3]
    assert "wrong" in lines[4]
    assert "at x = 0" in lines[4]
    assert lines[-1] == "1 of 14 done"


def test_check_prints_json_for_a_program_to_read(begun, capsys):
    edited(begun, "02_dense_backward", "    dx =", "    print('not JSON')\n    dx =")
    edited(begun, "03_relu_backward", "x > 0", "x >= 0")
    with pytest.raises(SystemExit) as exit_code:
        main(["check", "--all", "--json"])
    assert exit_code.value.code == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["done"], report["of"]) == (1, 14)
    assert [e["number"] for e in report["exercises"]] == list(EXERCISES)
    assert report["exercises"][2]["status"] == "wrong"
    assert "at x = 0" in report["exercises"][2]["findings"][0]
    assert main(["check", "02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exercises"][0]["status"] == "done"


def test_running_the_file_checks_it(begun):
    path = edited(begun, "03_relu_backward", "x > 0", "x >= 0")
    path.write_text(
        path.read_text()
        + '\n\nif __name__ == "__main__":\n    from scratchnet.exercises import check\n\n    check(__file__)\n'
    )
    result = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert "at x = 0 the gradient passes" in result.stdout


def test_half_an_exercise_is_told_apart(begun):
    path = edited(begun, "09_dropout", "    return dout * mask", "    raise NotImplementedError")
    assert check_file(path).findings == ("dropout_backward is not written yet",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def relu_backward(dout, x)\n    return dout", "line 1: expected ':'"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found' (line 1)"),
        ("x = 1", "expected a function relu_backward in the file; there is none"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(begun, text, expected):
    path = begun / "03_relu_backward.py"
    path.write_text(text)
    assert expected in " ".join(str(check_file(path)).split())


def test_hints_get_clearer(begun, capsys):
    assert main(["hint", "05"]) == 0
    assert "hint 1 of 3" in capsys.readouterr().out
    assert main(["hint", "05", "3"]) == 0
    assert "lessons/solutions/05_conv_forward.py" in capsys.readouterr().out
    assert main(["hint", "05", "4"]) == 1
    assert "has hints 1 to 3, got 4" in capsys.readouterr().err


def test_a_wrong_number_and_a_missing_folder_are_clear_errors(tmp_path, capsys):
    assert main(["check", "15"]) == 1
    assert "expected an exercise from 01 to 14, got 15" in capsys.readouterr().err
    assert main(["check", "01", "--folder", str(tmp_path)]) == 1
    assert "--folder" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected the file of an exercise"):
        check_file(tmp_path / "other.py")
    with pytest.raises(FileNotFoundError, match="git restore"):
        check_file(tmp_path / "01_softmax_gradient.py")


def test_every_exercise_has_hints_and_an_entry():
    assert len(EXERCISES) == 14
    for exercise in EXERCISES.values():
        assert len(exercise.hints) == 3
        assert hint(exercise, 1) != hint(exercise, 2)
        assert find_exercise(exercise.name) is exercise
    assert importlib.import_module("scratchnet.exercises").check


def test_an_exercise_not_begun_is_no_mistake():
    def untouched(dout, x):
        raise NotImplementedError

    with pytest.raises(NotBegun):
        diagnose(TASKS["relu_backward"], untouched)
