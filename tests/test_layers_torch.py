"""Every layer's forward and gradients against PyTorch autograd, over the table of hostile shapes, in both dtypes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import CONVOLUTIONS, POOLS, assert_close, each, places_and_padding

import scratchnet as sn
from scratchnet.engine import ops
from scratchnet.layers.shapes import pair

pytestmark = pytest.mark.usefixtures("engine")

# Float32 results are compared with torch's in float64, relative to the largest entry.
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def nchw(x):
    """Images (N, H, W, C) as a tensor (N, C, H, W) in float64 that autograd follows."""
    return torch.tensor(x.astype(np.float64).transpose(0, 3, 1, 2).copy(), requires_grad=True)


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def tensor(array):
    return torch.tensor(array.astype(np.float64), requires_grad=True)


def torch_pad(x, case, window, stride, value):
    """x (N, C, H, W), padded before the layer, because torch's layer has no asymmetric padding."""
    sizes = pair(window, "window"), pair(stride, "stride"), case.padding
    axes = zip(x.shape[2:], *(s if isinstance(s, tuple) else (s, s) for s in sizes), strict=True)
    (_, (top, bottom)), (_, (left, right)) = (places_and_padding(*axis) for axis in axes)
    return F.pad(x, (left, right, top, bottom), value=value)


def check(results, truth, dtype):
    """Compare each (name, ours) with each of the expected arrays, in value and dtype."""
    for (name, ours), theirs in zip(results.items(), truth, strict=True):
        assert ours.dtype == dtype, f"{name} came out as {ours.dtype}"
        assert_close(ours, theirs, TOLERANCE[dtype], name)


def mostly_zeros(shape, kept, dtype, rng):
    """A gradient of which a share `kept` is not zero, as after a ReLU's backward."""
    return (rng.standard_normal(shape) * (rng.random(shape) < kept)).astype(dtype)


@dtypes
@pytest.mark.parametrize("kept", [1.0, 0.1], ids=["dense", "mostly_zeros"])
@each(CONVOLUTIONS)
def test_conv2d(case, kept, dtype, rng):
    KH, KW = pair(case.kernel, "kernel")
    x = rng.standard_normal((case.N, *case.size, case.C)).astype(dtype)
    w = rng.standard_normal((KH, KW, case.C, case.filters)).astype(dtype)
    b = rng.standard_normal(case.filters).astype(dtype)
    tx, tw, tb = nchw(x), tensor(w), tensor(b)
    padded = torch_pad(tx, case, case.kernel, case.stride, 0)
    tout = F.conv2d(padded, tw.permute(3, 2, 0, 1), tb, stride=case.stride)
    out = ops.conv2d_forward(x, w, b, case.stride, case.padding)
    dout = mostly_zeros(out.shape, kept, dtype, rng)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))

    dx, dw, db = ops.conv2d_backward(dout, x, w, case.stride, case.padding)
    check({"out": out, "dx": dx, "dw": dw, "db": db}, [nhwc(tout), nhwc(tx.grad), tw.grad, tb.grad], dtype)
    without_dx = ops.conv2d_backward(dout, x, w, case.stride, case.padding, need_dx=False)
    assert without_dx[0] is None
    assert np.array_equal(without_dx[1], dw)
    assert np.array_equal(without_dx[2], db)
    no_bias = ops.conv2d_forward(x, w, None, case.stride, case.padding)
    assert_close(no_bias + b, out, 10 * TOLERANCE[dtype], "without bias")


@dtypes
@each(CONVOLUTIONS)
def test_depthwise_conv2d(case, dtype, rng):
    KH, KW = pair(case.kernel, "kernel")
    M = case.filters % 3 + 1
    x = rng.standard_normal((case.N, *case.size, case.C)).astype(dtype)
    w = rng.standard_normal((KH, KW, case.C, M)).astype(dtype)
    b = rng.standard_normal(case.C * M).astype(dtype)
    tx, tw, tb = nchw(x), tensor(w), tensor(b)
    padded = torch_pad(tx, case, case.kernel, case.stride, 0)
    torch_w = tw.permute(2, 3, 0, 1).reshape(case.C * M, 1, KH, KW)
    tout = F.conv2d(padded, torch_w, tb, stride=case.stride, groups=case.C)
    out = ops.depthwise_conv2d_forward(x, w, b, case.stride, case.padding)
    dout = rng.standard_normal(out.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))

    dx, dw, db = ops.depthwise_conv2d_backward(dout, x, w, case.stride, case.padding)
    check({"out": out, "dx": dx, "dw": dw, "db": db}, [nhwc(tout), nhwc(tx.grad), tw.grad, tb.grad], dtype)
    without_dx = ops.depthwise_conv2d_backward(dout, x, w, case.stride, case.padding, need_dx=False)
    assert without_dx[0] is None
    assert np.array_equal(without_dx[1], dw)
    no_bias = ops.depthwise_conv2d_forward(x, w, None, case.stride, case.padding)
    assert_close(no_bias + b, out, 10 * TOLERANCE[dtype], "without bias")


@dtypes
@pytest.mark.parametrize("shape", [(2, 5, 4, 3, 7), (1, 1, 1, 1, 1), (20, 5, 6, 1, 21), (3, 2, 7, 17, 19)], ids=str)
def test_pointwise_conv2d(shape, dtype, rng):
    N, H, W, C, filters = shape
    x = rng.standard_normal((N, H, W, C)).astype(dtype)
    w = rng.standard_normal((1, 1, C, filters)).astype(dtype)
    b = rng.standard_normal(filters).astype(dtype)
    tx, tw, tb = nchw(x), tensor(w), tensor(b)
    tout = F.conv2d(tx, tw.permute(3, 2, 0, 1), tb)
    out = ops.pointwise_conv2d_forward(x, w, b)
    dout = rng.standard_normal(out.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))

    dx, dw, db = ops.pointwise_conv2d_backward(dout, x, w)
    check({"out": out, "dx": dx, "dw": dw, "db": db}, [nhwc(tout), nhwc(tx.grad), tw.grad, tb.grad], dtype)
    assert ops.pointwise_conv2d_backward(dout, x, w, need_dx=False)[0] is None
    assert_close(ops.pointwise_conv2d_forward(x, w, None) + b, out, 10 * TOLERANCE[dtype], "without bias")


@dtypes
@pytest.mark.parametrize("kept", [1.0, 0.3, 0.0], ids=["dense", "mostly_zeros", "all_zeros"])
@pytest.mark.parametrize(
    "shape", [(3, 5, 4), (1, 1, 1), (7, 17, 19), (2, 100, 33), (64, 1, 1), (65, 119, 51), (130, 2050, 1030)], ids=str
)
def test_dense(shape, kept, dtype, rng):
    N, inputs, outputs = shape
    x = rng.standard_normal((N, inputs)).astype(dtype)
    w = rng.standard_normal((inputs, outputs)).astype(dtype)
    b = rng.standard_normal(outputs).astype(dtype)
    tx, tw, tb = tensor(x), tensor(w), tensor(b)
    tout = tx @ tw + tb
    out = ops.dense_forward(x, w, b)
    dout = mostly_zeros(out.shape, kept, dtype, rng)
    tout.backward(torch.tensor(dout.astype(np.float64)))

    dx, dw, db = ops.dense_backward(dout, x, w)
    check({"out": out, "dx": dx, "dw": dw, "db": db}, [tout.detach(), tx.grad, tw.grad, tb.grad], dtype)
    assert ops.dense_backward(dout, x, w, need_dx=False)[0] is None
    assert_close(ops.dense_forward(x, w, None) + b, out, 10 * TOLERANCE[dtype], "without bias")


@dtypes
@each(POOLS)
def test_max_pool2d(case, dtype, rng):
    x = rng.standard_normal((case.N, *case.size, case.C)).astype(dtype)
    tx = nchw(x)
    tout = F.max_pool2d(torch_pad(tx, case, case.pool, case.stride, -np.inf), case.pool, case.stride)
    out, argmax = ops.max_pool2d_forward(x, case.pool, case.stride, case.padding)
    dout = rng.standard_normal(out.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))

    dx = ops.max_pool2d_backward(dout, argmax, x.shape, case.pool, case.stride, case.padding)
    check({"out": out, "dx": dx}, [nhwc(tout), nhwc(tx.grad)], dtype)


@each(POOLS)
def test_max_pool2d_with_ties(case, rng):
    """Of equal pixels the first one is taken, as in torch, so the gradient goes to the same pixel."""
    x = rng.integers(0, 2, (case.N, *case.size, case.C)).astype(np.float64)
    tx = nchw(x)
    tout = F.max_pool2d(torch_pad(tx, case, case.pool, case.stride, -np.inf), case.pool, case.stride)
    out, argmax = ops.max_pool2d_forward(x, case.pool, case.stride, case.padding)
    dout = rng.standard_normal(out.shape)
    tout.backward(torch.tensor(dout.transpose(0, 3, 1, 2).copy()))
    dx = ops.max_pool2d_backward(dout, argmax, x.shape, case.pool, case.stride, case.padding)
    assert_close(dx, nhwc(tx.grad), 1e-12, "dx")


@dtypes
@each(POOLS)
def test_avg_pool2d(case, dtype, rng):
    x = rng.standard_normal((case.N, *case.size, case.C)).astype(dtype)
    tx = nchw(x)
    sums = F.avg_pool2d(torch_pad(tx, case, case.pool, case.stride, 0), case.pool, case.stride)
    ones = nchw(np.ones((1, *case.size, 1)))
    inside = F.avg_pool2d(torch_pad(ones, case, case.pool, case.stride, 0), case.pool, case.stride)
    tout = sums / inside.detach()  # the mean over the image's own pixels
    out = ops.avg_pool2d_forward(x, case.pool, case.stride, case.padding)
    dout = rng.standard_normal(out.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))

    dx = ops.avg_pool2d_backward(dout, x.shape, case.pool, case.stride, case.padding)
    check({"out": out, "dx": dx}, [nhwc(tout), nhwc(tx.grad)], dtype)


@pytest.mark.parametrize("padding", [0, 1])
def test_avg_pool2d_is_torchs_own(padding, rng):
    """The same as torch's average pooling without the padding in the count, where torch supports the shape."""
    x = rng.standard_normal((2, 7, 8, 3))
    theirs = F.avg_pool2d(nchw(x), 3, 2, padding, count_include_pad=False)
    assert_close(ops.avg_pool2d_forward(x, 3, 2, padding), nhwc(theirs), 1e-12)


@dtypes
def test_relu(dtype, rng):
    x = rng.standard_normal((3, 4, 5, 2)).astype(dtype)
    x[0, 0, 0] = 0  # torch's slope at 0 is 0, too
    tx = tensor(x)
    tout = torch.relu(tx)
    out = ops.relu_forward(x)
    dout = rng.standard_normal(x.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64)))
    check({"out": out, "dx": ops.relu_backward(dout, x)}, [tout.detach(), tx.grad], dtype)


@dtypes
def test_dropout_is_its_mask_times_x(dtype, rng):
    x = rng.standard_normal((40, 50)).astype(dtype)
    out, mask = ops.dropout_forward(x, 0.4, np.random.default_rng(3))
    assert out.dtype == mask.dtype == dtype
    assert set(np.unique(mask)) == {dtype(0), dtype(1) / dtype(1 - 0.4)}
    assert abs((mask == 0).mean() - 0.4) < 0.04
    tx = tensor(x)
    tout = tx * torch.tensor(mask.astype(np.float64))
    dout = rng.standard_normal(x.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64)))
    check({"out": out, "dx": ops.dropout_backward(dout, mask)}, [tout.detach(), tx.grad], dtype)


@dtypes
@pytest.mark.parametrize(
    "sizes", [((28, 28), (14, 14)), ((28, 28), (21, 21)), ((5, 7), (9, 3)), ((1, 1), (2, 3))], ids=str
)
def test_resize(sizes, dtype, rng):
    before, after = sizes
    x = rng.standard_normal((2, *before, 3)).astype(dtype)
    tx = nchw(x)
    tout = F.interpolate(tx, after, mode="bilinear", align_corners=False)
    out = ops.resize_forward(x, after)
    dout = rng.standard_normal(out.shape).astype(dtype)
    tout.backward(torch.tensor(dout.astype(np.float64).transpose(0, 3, 1, 2).copy()))
    check({"out": out, "dx": ops.resize_backward(dout, x.shape)}, [nhwc(tout), nhwc(tx.grad)], dtype)


@each(CONVOLUTIONS)
def test_im2col_and_col2im(case, rng):
    """im2col holds torch's patches, and col2im is its adjoint: <im2col(x), c> = <x, col2im(c)> for all x and c."""
    KH, KW = pair(case.kernel, "kernel")
    x = rng.standard_normal((case.N, *case.size, case.C))
    columns = ops.im2col(x, case.kernel, case.stride, case.padding)
    padded = torch_pad(nchw(x), case, case.kernel, case.stride, 0)
    theirs = F.unfold(padded, (KH, KW), stride=case.stride)  # (N, C*KH*KW, OH*OW)
    theirs = theirs.detach().numpy().transpose(0, 2, 1).reshape(-1, case.C, KH * KW)
    assert_close(columns, theirs.transpose(0, 2, 1).reshape(columns.shape), 1e-15)

    c = rng.standard_normal(columns.shape)
    back = ops.col2im(c, x.shape, case.kernel, case.stride, case.padding)
    assert np.isclose((columns * c).sum(), (x * back).sum(), rtol=1e-10)


@dtypes
@pytest.mark.parametrize("scale", [1.0, 1e4], ids=["usual", "huge"])
def test_softmax_cross_entropy(dtype, scale, rng):
    logits = (scale * rng.standard_normal((6, 10))).astype(dtype)
    labels = rng.integers(0, 10, 6)
    tlogits = tensor(logits)
    tloss = F.cross_entropy(tlogits, torch.tensor(labels))
    tloss.backward()
    loss, dlogits = sn.softmax_cross_entropy(logits, labels)
    assert loss == pytest.approx(tloss.item(), rel=TOLERANCE[dtype])
    assert dlogits.dtype == dtype
    assert_close(dlogits, tlogits.grad, TOLERANCE[dtype])
    assert_close(sn.softmax(logits), torch.softmax(tlogits, 1).detach(), TOLERANCE[dtype])
