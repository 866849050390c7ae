"""Shapes that nobody thought of: hypothesis draws them, and the slopes and adjoints must hold on each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import assert_close
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scratchnet.engine import ops
from scratchnet.layers.pool import pool_window
from scratchnet.layers.shapes import Window

pytestmark = pytest.mark.usefixtures("engine")

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")

small = st.integers(1, 4)
pairs = st.tuples(small, small)
paddings = st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3)))
images = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))


def nchw(x):
    return torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)


def fits(size, window, stride, padding):
    try:
        return Window.on(size, window, stride, padding)
    except ValueError:
        return None


@given(shape=images, filters=small, kernel=pairs, stride=pairs, padding=paddings, seed=st.integers(0, 99))
def test_conv2d_is_torchs(shape, filters, kernel, stride, padding, seed):
    window = fits(shape[1:3], kernel, stride, padding)
    assume(window is not None)
    (top, bottom), (left, right) = window.pads
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(shape), rng.standard_normal((*kernel, shape[3], filters))
    tx, tw = nchw(x), torch.tensor(w, requires_grad=True)
    tout = F.conv2d(F.pad(tx, (left, right, top, bottom)), tw.permute(3, 2, 0, 1), stride=stride)
    out = ops.conv2d_forward(x, w, None, stride, padding)
    dout = rng.standard_normal(out.shape)
    tout.backward(torch.tensor(dout.transpose(0, 3, 1, 2).copy()))
    dx, dw, _ = ops.conv2d_backward(dout, x, w, stride, padding)
    assert_close(out, tout.detach().numpy().transpose(0, 2, 3, 1), 1e-11, "out")
    assert_close(dx, tx.grad.numpy().transpose(0, 2, 3, 1), 1e-11, "dx")
    assert_close(dw, tw.grad, 1e-11, "dw")


@given(shape=images, multiplier=small, kernel=pairs, stride=pairs, padding=paddings, seed=st.integers(0, 99))
def test_depthwise_is_torchs(shape, multiplier, kernel, stride, padding, seed):
    window = fits(shape[1:3], kernel, stride, padding)
    assume(window is not None)
    (top, bottom), (left, right) = window.pads
    C = shape[3]
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(shape), rng.standard_normal((*kernel, C, multiplier))
    tx, tw = nchw(x), torch.tensor(w, requires_grad=True)
    torch_w = tw.permute(2, 3, 0, 1).reshape(C * multiplier, 1, *kernel)
    tout = F.conv2d(F.pad(tx, (left, right, top, bottom)), torch_w, stride=stride, groups=C)
    out = ops.depthwise_conv2d_forward(x, w, None, stride, padding)
    dout = rng.standard_normal(out.shape)
    tout.backward(torch.tensor(dout.transpose(0, 3, 1, 2).copy()))
    dx, dw, _ = ops.depthwise_conv2d_backward(dout, x, w, stride, padding)
    assert_close(out, tout.detach().numpy().transpose(0, 2, 3, 1), 1e-11, "out")
    assert_close(dx, tx.grad.numpy().transpose(0, 2, 3, 1), 1e-11, "dx")
    assert_close(dw, tw.grad, 1e-11, "dw")


@given(shape=images, pool=pairs, stride=pairs, padding=paddings, ties=st.booleans(), seed=st.integers(0, 99))
def test_max_pool_is_torchs(shape, pool, stride, padding, ties, seed):
    try:
        (top, bottom), (left, right) = pool_window(shape[1:3], pool, stride, padding).pads
    except ValueError:
        assume(False)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, shape).astype(float) if ties else rng.standard_normal(shape)
    tx = nchw(x)
    tout = F.max_pool2d(F.pad(tx, (left, right, top, bottom), value=-np.inf), pool, stride)
    out, argmax = ops.max_pool2d_forward(x, pool, stride, padding)
    dout = rng.standard_normal(out.shape)
    tout.backward(torch.tensor(dout.transpose(0, 3, 1, 2).copy()))
    assert_close(out, tout.detach().numpy().transpose(0, 2, 3, 1), 0, "out")
    dx = ops.max_pool2d_backward(dout, argmax, x.shape, pool, stride, padding)
    assert_close(dx, tx.grad.numpy().transpose(0, 2, 3, 1), 1e-12, "dx")


@given(shape=images, pool=pairs, stride=pairs, padding=paddings, seed=st.integers(0, 99))
def test_avg_pool_backward_is_the_adjoint_of_forward(shape, pool, stride, padding, seed):
    """A mean is linear, so  <avg(x), dout> = <x, backward(dout)>  for all x and dout."""
    try:
        pool_window(shape[1:3], pool, stride, padding)
    except ValueError:
        assume(False)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    out = ops.avg_pool2d_forward(x, pool, stride, padding)
    assert out.min() >= x.min() - 1e-12
    assert out.max() <= x.max() + 1e-12
    dout = rng.standard_normal(out.shape)
    dx = ops.avg_pool2d_backward(dout, x.shape, pool, stride, padding)
    assert np.isclose((out * dout).sum(), (x * dx).sum(), rtol=1e-9, atol=1e-9)


@given(shape=images, kernel=pairs, stride=pairs, padding=paddings)
def test_the_window_is_tensorflows_and_covers_no_more_than_it_may(shape, kernel, stride, padding):
    window = fits(shape[1:3], kernel, stride, padding)
    assume(window is not None)
    for axis in range(2):
        out, (before, after) = window.out[axis], window.pads[axis]
        size, length, step = shape[1 + axis], kernel[axis], stride[axis]
        assert (out - 1) * step + length <= size + before + after < out * step + length
        if padding == "same":
            assert out == int(np.ceil(size / step))
            assert after - before in (0, 1)
