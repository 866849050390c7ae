"""The definition as an oracle: PyTorch and both engines agree with it, on shapes that Hypothesis draws.

In float64 the numbers are normally distributed, and results may differ by rounding. In float32 they are small integers,
so that every product and sum is exact in any order.
"""

from __future__ import annotations

import ast
import inspect
import types

import numpy as np
import oracle
import pytest
import torch
import torch.nn.functional as F
from cases import assert_close
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_layers_torch import nchw, nhwc, tensor

import scratchnet as sn
from scratchnet import layers
from scratchnet.engine import KERNELS, ops
from scratchnet.layers import definition

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")

# Relative to the largest entry. In float32, only dropout's scale and resize's weights are rounded.
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}

dtypes = st.sampled_from([np.float64, np.float32])
seeds = st.integers(0, 99)
images = st.tuples(st.sampled_from([1, 2, 3, 0]), st.integers(1, 6), st.integers(1, 6))  # N, H, W
channels = st.sampled_from([(1, 1), (2, 3), (3, 2), (4, 4), (5, 1), (1, 17), (9, 2)])  # in and out; C and M
paddings = st.one_of(
    st.sampled_from(["same", "valid"]), st.integers(0, 3), st.tuples(st.integers(0, 3), st.integers(0, 3))
)


def one_or_two(largest):
    """A size or a stride: an int, or a pair (height, width)."""
    return st.one_of(st.integers(1, largest), st.tuples(st.integers(1, largest), st.integers(1, largest)))


def numbers(rng, shape, dtype, kept=1.0):
    """Random numbers; all but a share `kept` are 0. In float32 they are multiples of 144.

    A window of up to 4 x 4 holds 1, 2, 3, 4, 6, 8, 9, 12 or 16 pixels. All of these divide 144, so a mean is exact.
    """
    values = rng.standard_normal(shape) if dtype == np.float64 else 144 * rng.integers(-3, 4, shape)
    return (values * (rng.random(shape) < kept)).astype(dtype)


# ---------------------------------------------------------------- what can be drawn


@st.composite
def weights(draw, kind):
    """Arguments of `weighted` for a layer of this kind."""
    (N, H, W), (C, outputs), dtype = draw(images), draw(channels), draw(dtypes)
    rng, kept = np.random.default_rng(draw(seeds)), draw(st.sampled_from([1.0, 0.1]))
    kernel = (1, 1) if kind == "pointwise_conv2d" else definition.both(draw(one_or_two(4)))
    window = (draw(one_or_two(3)), draw(paddings)) if kind in ("conv2d", "depthwise_conv2d") else ()
    x_shape, w_shape = ((N, C), (C, outputs)) if kind == "dense" else ((N, H, W, C), (*kernel, C, outputs))
    biases = C * outputs if kind == "depthwise_conv2d" else outputs
    b = numbers(rng, biases, dtype) if draw(st.booleans()) else None
    return kind, numbers(rng, x_shape, dtype, kept), numbers(rng, w_shape, dtype), b, window, kept


@st.composite
def pools(draw, paddings=paddings):
    """Arguments of `max_pool` and `avg_pool`: images, and a window with its stride and padding."""
    x = draw(batches())
    return x, draw(one_or_two(4)), draw(one_or_two(3)), draw(paddings)


@st.composite
def batches(draw):
    """Images (N, H, W, C)."""
    shape = (*draw(images), draw(channels)[0])
    return numbers(np.random.default_rng(draw(seeds)), shape, draw(dtypes))


# ---------------------------------------------------------------- forward and backward, by any of the three


def dout_for(out, kept=1.0):
    return numbers(np.random.default_rng(1), out.shape, out.dtype, kept)


def weighted(kernels, kind, x, w, b, window=(), kept=1.0):
    """A layer with weights. window : stride and padding, where it has them; kept : the share of dout that is not 0."""
    out = getattr(kernels, f"{kind}_forward")(x, w, b, *window)
    dx, dw, db = getattr(kernels, f"{kind}_backward")(dout_for(out, kept), x, w, *window)
    return {"out": out, "dx": dx, "dw": dw, "db": db}


def max_pool(kernels, x, *window):
    out, argmax = kernels.max_pool2d_forward(x, *window)
    return {"out": out, "argmax": argmax, "dx": kernels.max_pool2d_backward(dout_for(out), argmax, x.shape, *window)}


def avg_pool(kernels, x, *window):
    out = kernels.avg_pool2d_forward(x, *window)
    return {"out": out, "dx": kernels.avg_pool2d_backward(dout_for(out), x.shape, *window)}


def relu(kernels, x):
    return {"out": kernels.relu_forward(x), "dx": kernels.relu_backward(dout_for(x), x)}


def dropout(kernels, x, rate):
    out, mask = kernels.dropout_forward(x, rate, np.random.default_rng(2))
    return {"out": out, "mask": mask, "dx": kernels.dropout_backward(dout_for(out), mask)}


def resize(kernels, x, size):
    out = kernels.resize_forward(x, size)
    return {"out": out, "dx": kernels.resize_backward(dout_for(out), x.shape)}


def batch_norm(kernels, x, w, b, training):
    """With the statistics of the batch, or with others."""
    mean, var = kernels.batch_norm_statistics(x)
    if not training:
        mean, var = mean + x.dtype.type(0.5), var + x.dtype.type(2)
    out = kernels.batch_norm_forward(x, w, b, mean, var, 0.01)
    dx, dw, db = kernels.batch_norm_backward(dout_for(out), x, w, mean, var, 0.01, training)
    return {"mean": mean, "var": var, "out": out, "dx": dx, "dw": dw, "db": db}


def loss(module, logits, labels):
    value, dlogits = module.softmax_cross_entropy(logits, labels)
    return {"loss": np.array(value), "dlogits": dlogits, "p": module.softmax(logits)}


def attempt(run, kernels, args):
    """The result, or None if the window does not fit."""
    try:
        return run(kernels, *args)
    except ValueError:
        return None


def assert_agree(run, args, kernels, oracle=definition):
    """Assert that both refuse, or that both results agree within the tolerance of the dtype."""
    actual, expected = attempt(run, kernels, args), attempt(run, oracle, args)
    assert (actual is None) == (expected is None), "only one of them refuses"
    for name in expected or ():
        assert actual[name].dtype == expected[name].dtype, name
        assert_close(actual[name], expected[name], TOLERANCE.get(expected[name].dtype, 0), name)


# ---------------------------------------------------------------- both engines are the definition

WITH_WEIGHTS = ["dense", "conv2d", "depthwise_conv2d", "pointwise_conv2d"]
many = settings(max_examples=80)  # more examples: stride, padding and kernel make many kinds of shapes
on_each_engine = pytest.mark.usefixtures("engine")


@on_each_engine
@pytest.mark.parametrize("kind", WITH_WEIGHTS)
@many
@given(data=st.data())
def test_layers_with_weights_are_the_definition(kind, data):
    assert_agree(weighted, data.draw(weights(kind)), ops)


@on_each_engine
@many
@given(args=pools())
def test_max_pool_is_the_definition(args):
    assert_agree(max_pool, args, ops)


@on_each_engine
@many
@given(args=pools())
def test_avg_pool_is_the_definition(args):
    assert_agree(avg_pool, args, ops)


@on_each_engine
@given(x=batches())
def test_relu_is_the_definition(x):
    assert_agree(relu, [x], ops)


@on_each_engine
@given(x=batches(), rate=st.sampled_from([0.0, 0.25, 0.4, 0.9]))
def test_dropout_is_the_definition(x, rate):
    assert_agree(dropout, [x, rate], ops)


@on_each_engine
@given(x=batches(), size=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_resize_is_the_definition(x, size):
    assert_agree(resize, [x, size], ops)


@on_each_engine
@pytest.mark.parametrize("kernels", [ops, oracle], ids=["engine", "oracle"])
@given(x=batches(), training=st.booleans(), seed=seeds)
def test_batch_norm_is_the_definition(kernels, x, training, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(x.shape)  # in float32 roots and quotients are rounded: test_batch_norm.py
    w, b = rng.standard_normal((2, x.shape[-1]))
    assert_agree(batch_norm, [x, w, b, training], kernels)


@given(N=st.integers(1, 4), K=st.integers(1, 5), seed=seeds)
def test_the_loss_is_the_definition(N, K, seed):
    rng = np.random.default_rng(seed)
    assert_agree(loss, [3 * rng.standard_normal((N, K)), rng.integers(0, K, N)], sn)


# ---------------------------------------------------------------- so is the oracle for large batches


@pytest.mark.parametrize("kind", WITH_WEIGHTS)
@many
@given(data=st.data())
def test_the_oracles_layers_with_weights_are_the_definition(kind, data):
    assert_agree(weighted, data.draw(weights(kind)), oracle)


@many
@given(args=pools(), pool=st.sampled_from([max_pool, avg_pool]))
def test_the_oracles_pools_are_the_definition(args, pool):
    assume(attempt(pool, definition, args) is not None)  # it refuses windows that hold nothing but padding
    assert_agree(pool, args, oracle)


@given(x=batches())
def test_the_oracles_relu_is_the_definition(x):
    assert_agree(relu, [x], oracle)


# ---------------------------------------------------------------- the definition is PyTorch's, where PyTorch takes it

TORCH = {
    "dense": lambda x, w, b: x @ w + b,
    "conv2d": lambda x, w, b, *window: F.conv2d(x, w.permute(3, 2, 0, 1), b, *window),
    "depthwise_conv2d": lambda x, w, b, *window: F.conv2d(
        x, w.permute(2, 3, 0, 1).reshape(len(b), 1, *w.shape[:2]), b, *window, groups=w.shape[2]
    ),
    "pointwise_conv2d": lambda x, w, b: F.conv2d(x, w.permute(3, 2, 0, 1), b),
}


def assert_torchs(ours, tout, leaves, kept=1.0):
    """Assert that out and the gradients are those of torch's graph. leaves : each gradient with its tensor."""
    tdout = tensor(dout_for(ours["out"], kept))
    tout = tout.permute(0, 2, 3, 1) if tout.ndim == 4 else tout
    tout.backward(tdout)
    theirs = {"out": tout.detach()} | {
        name: nhwc(t.grad) if t.ndim == 4 and name == "dx" else t.grad for name, t in leaves.items()
    }
    for name, expected in theirs.items():
        assert_close(ours[name], expected, TOLERANCE[ours[name].dtype], name)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kind", WITH_WEIGHTS)
@given(data=st.data())
def test_the_definition_of_layers_with_weights_is_torchs(kind, data):
    args = _, x, w, b, window, kept = data.draw(weights(kind))
    ours = attempt(weighted, definition, args)
    assume(ours is not None)
    assume("same" not in window or definition.both(window[0]) == (1, 1))  # torch has it with stride 1 only
    tx, tw, tb = nchw(x) if x.ndim == 4 else tensor(x), tensor(w), tensor(ours["db"] * 0 if b is None else b)
    assert_torchs(ours, TORCH[kind](tx, tw, tb, *window), {"dx": tx, "dw": tw, "db": tb}, kept)


torch_pools = pools(st.integers(0, 2)).filter(lambda args: 2 * args[3] <= min(definition.both(args[1])))


@given(args=torch_pools)
def test_the_definition_of_max_pool_is_torchs(args):
    ours = attempt(max_pool, definition, args)
    assume(ours is not None)
    x, *window = args
    tx = nchw(x)
    assert_torchs(ours, F.max_pool2d(tx, *window), {"dx": tx})


@given(args=torch_pools)
def test_the_definition_of_avg_pool_is_torchs(args):
    ours = attempt(avg_pool, definition, args)
    assume(ours is not None)
    x, *window = args
    tx = nchw(x)
    assert_torchs(ours, F.avg_pool2d(tx, *window, count_include_pad=False), {"dx": tx})


@given(x=batches())
def test_the_definition_of_relu_is_torchs(x):
    tx = nchw(x)
    assert_torchs(relu(definition, x), F.relu(tx), {"dx": tx})


@given(x=batches(), size=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_the_definition_of_resize_is_torchs(x, size):
    assume(len(x))  # torch refuses an empty batch
    tx = nchw(x)
    assert_torchs(
        resize(definition, x, size), F.interpolate(tx, size, mode="bilinear", align_corners=False), {"dx": tx}
    )


@given(N=st.integers(1, 4), K=st.integers(1, 5), seed=seeds)
def test_the_definition_of_the_loss_is_torchs(N, K, seed):
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.standard_normal((N, K)), rng.integers(0, K, N)
    tlogits = tensor(logits)
    tloss = F.cross_entropy(tlogits, torch.tensor(labels))
    tloss.backward()
    ours = loss(definition, logits, labels)
    assert_close(ours["loss"], tloss.detach(), 1e-12, "loss")
    assert_close(ours["dlogits"], tlogits.grad, 1e-12, "dlogits")
    assert_close(ours["p"], torch.softmax(tlogits, 1).detach(), 1e-12, "p")


@given(
    length=st.integers(1, 12),
    window=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.sampled_from(["same", "valid", 0, 1, 3]),
)
def test_windows_cover_the_image_and_same_is_tensorflows(length, window, stride, padding):
    """No window extends beyond the padding, and another window would not fit."""
    try:
        count, before = definition.places(length, window, stride, padding)
    except ValueError:
        assert length + 2 * (0 if padding == "valid" else padding) < window
        return
    if padding == "same":
        missing = max((count - 1) * stride + window - length, 0)
        after = missing - before
        assert count == -(-length // stride)
        assert after - before in (0, 1)
    else:
        after = before = 0 if padding == "valid" else padding
    assert (count - 1) * stride + window <= length + before + after < count * stride + window


# ---------------------------------------------------------------- single facts


def test_nan_is_passed_on_and_the_first_of_equal_pixels_wins():
    x = np.array([[1.0, 5.0], [5.0, np.nan]])
    assert np.isnan(definition.relu_forward(x)).tolist() == [[False, False], [False, True]]
    for turned in (x, x[::-1], x[:, ::-1], x[::-1, ::-1]):
        assert np.isnan(definition.max_pool2d_forward(turned[None, :, :, None], 2, 2, 0)[0]).all()
    x[1, 1] = 5.0
    assert definition.max_pool2d_forward(x[None, :, :, None], 2, 2, 0)[1].item() == 1


def test_it_has_every_pass_of_the_book_with_the_same_arguments():
    passes = [name for name in KERNELS if name.endswith(("_forward", "_backward"))]
    for module, names in ((layers, passes), (sn.loss, ["softmax", "softmax_cross_entropy"])):
        for name in names:
            book = inspect.signature(getattr(module, name)).parameters
            ours = inspect.signature(getattr(definition, name)).parameters
            assert list(ours) == [argument for argument in book if argument != "need_dx"], name


def test_it_computes_with_nothing_of_the_library():
    tree = ast.parse(inspect.getsource(definition))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "math", "typing", "numpy"}


# ---------------------------------------------------------------- a mistake is noticed


def normal(*shape):
    return np.random.default_rng(3).standard_normal(shape)


# Arguments for which every mistake below changes the result.
EXAMPLES = [
    (weighted, ("dense", normal(2, 3), normal(3, 2), normal(2))),
    (weighted, ("conv2d", normal(2, 5, 4, 2), normal(2, 3, 2, 2), normal(2), ((2, 1), "same"))),
    (weighted, ("depthwise_conv2d", normal(1, 5, 5, 2), normal(4, 3, 2, 3), normal(6), ((1, 2), (1, 2)))),
    (weighted, ("pointwise_conv2d", normal(2, 2, 3, 2), normal(1, 1, 2, 3), normal(3))),
    (max_pool, (normal(1, 5, 4, 2).round(), 3, (2, 1), 1)),
    (avg_pool, (normal(1, 5, 4, 2), (3, 2), 1, 1)),
    (relu, (normal(3, 4).round(),)),
    (dropout, (normal(3, 4), 0.4)),
    (resize, (normal(1, 4, 3, 1), (3, 5))),
    (batch_norm, (normal(2, 3, 2), normal(2), normal(2), True)),
    (batch_norm, (normal(2, 3, 2), normal(2), normal(2), False)),
]

MISTAKES = [
    ("i * SH + kh - top", "i * SH + kh + top"),
    ("j * SW + kw - left", "j * SW + kw + left"),
    ("i * SH", "i * SW"),
    ("j * SW", "j"),
    ("missing // 2", "missing - missing // 2"),
    ("math.ceil(length / stride)", "length // stride"),
    ("// stride + 1", "// stride"),
    ("0 <= row < H", "0 < row < H"),
    ("column < W", "column < W - 1"),
    ("0 if b is None else b[", "0 if b is None else -b["),
    ("db[f] += dout", "db[f] = dout"),
    ("dw[kh, kw, c, f] += x", "dw[kh, kw, c, f] = x"),
    ("dw[0, 0, c, f] += x", "dw[0, 0, c, f] = x"),
    ("dx[n, i] += w[i, o]", "dx[n, i] = w[i, o]"),
    ("c * M + m", "m * C + c"),
    ("dx[n, row, column, c] += dout", "dx[n, row, column, c] = dout"),
    ("pixel > out", "pixel >= out"),
    ("/ len(inside)", "/ (PH * PW)"),
    ("x[index] > 0", "x[index] >= 0"),
    ("1 / (1 - rate)", "1"),
    ("(i + 0.5) * H / OH - 0.5", "i * H / OH"),
    ("mean[index[-1]] += x[index] / P", "mean[index[-1]] = x[index] / P"),
    ("(x[index] - mean[index[-1]]) ** 2 / P", "(x[index] - mean[index[-1]]) ** 2 / (P - 1)"),
    ("w[c] * xhat + b[c]", "xhat + b[c]"),
    ("db[c] += dout", "db[c] = dout"),
    ("dw[c] += dout[index] * xhat", "dw[c] += dout[index]"),
    ("slope * db[c] / P", "slope * db[c]"),
    ("slope * xhat * dw[c] / P", "xhat * dw[c] / P"),
    ("        if training:\n            dx", "        if True:\n            dx"),
]  # fmt: skip


def with_mistake(right, wrong):
    """A copy of the definition in which the text `right` is replaced by `wrong`."""
    source = inspect.getsource(definition)
    assert right in source
    copy = types.ModuleType("copy_with_mistake")
    exec(compile(source.replace(right, wrong), copy.__name__, "exec"), vars(copy))
    return copy


def test_without_a_mistake_the_examples_agree():
    for run, args in EXAMPLES:
        assert_agree(run, args, layers)


@pytest.mark.parametrize(("right", "wrong"), MISTAKES)
def test_a_mistake_in_the_definition_is_noticed(right, wrong):
    planted = with_mistake(right, wrong)
    with pytest.raises((AssertionError, IndexError)):
        for run, args in EXAMPLES:
            assert_agree(run, args, layers, planted)
