"""What every layer guarantees: checks, dtypes, and a backward that changes nothing and can be repeated."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from cases import CONVOLUTIONS, POOLS, assert_close, each

import scratchnet as sn
from scratchnet.engine import ops

pytestmark = pytest.mark.usefixtures("engine")

# Each layer with the shape of an input for it.
LAYERS = {
    "Conv2D": (lambda: sn.Conv2D(3, 4, (3, 2), stride=2, padding=1), (2, 7, 6, 3)),
    "Conv2D without bias": (lambda: sn.Conv2D(3, 4, 3, bias=False), (2, 5, 6, 3)),
    "DepthwiseConv2D": (lambda: sn.DepthwiseConv2D(3, 3, multiplier=2), (2, 5, 6, 3)),
    "DepthwiseConv2D with bias": (lambda: sn.DepthwiseConv2D(3, 3, bias=True), (2, 5, 6, 3)),
    "PointwiseConv2D": (lambda: sn.PointwiseConv2D(3, 5), (2, 5, 6, 3)),
    "MaxPool2D": (lambda: sn.MaxPool2D(3, 2), (2, 7, 6, 3)),
    "AvgPool2D": (lambda: sn.AvgPool2D(3, 2, padding=1), (2, 7, 6, 3)),
    "Dense": (lambda: sn.Dense(6, 4), (5, 6)),
    "ReLU": (sn.ReLU, (2, 5, 6, 3)),
    "Flatten": (sn.Flatten, (2, 5, 6, 3)),
    "Dropout": (lambda: sn.Dropout(0.3, rng=5), (4, 30)),
    "Resize": (lambda: sn.Resize((3, 4)), (2, 5, 6, 3)),
    "BatchNorm": (lambda: sn.BatchNorm(3), (2, 5, 6, 3)),
    "BatchNorm of rows": (lambda: sn.BatchNorm(4, momentum=0.5, eps=0.1), (7, 4)),
}
every_layer = pytest.mark.parametrize(("make", "shape"), list(LAYERS.values()), ids=list(LAYERS))
with_weights = pytest.mark.parametrize(
    ("make", "shape"), [LAYERS[k] for k in ("Conv2D", "DepthwiseConv2D", "PointwiseConv2D", "Dense", "BatchNorm")]
)


@every_layer
@pytest.mark.parametrize("training", [False, True])
def test_backward_changes_nothing_and_may_be_called_twice(make, shape, training, rng):
    layer = make()
    x = rng.standard_normal(shape)
    out = layer.forward(x, training)
    dout = rng.standard_normal(out.shape)
    kept = [a.copy() for a in (x, out, dout, *(p.value for p in layer.parameters()))]

    first = layer.backward(dout).copy()
    grads = [p.grad.copy() for p in layer.parameters()]
    second = layer.backward(dout)
    assert np.array_equal(first, second)
    for p, grad in zip(layer.parameters(), grads, strict=True):
        assert np.array_equal(p.grad, grad), f"{p.name} was added to"
    for before, after in zip(kept, (x, out, dout, *(p.value for p in layer.parameters())), strict=True):
        assert np.array_equal(before, after)


@every_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inputs_dtype_is_kept(make, shape, dtype, rng):
    layer = make()
    out = layer.forward(rng.standard_normal(shape).astype(dtype), training=True)
    dx = layer.backward(rng.standard_normal(out.shape))  # a float64 dout, as users make them
    assert out.dtype == dx.dtype == dtype
    assert all(p.grad.dtype == dtype for p in layer.parameters())
    assert all(p.value.dtype == np.float32 for p in layer.parameters()), "the weights stay what they are"


@every_layer
def test_output_shape_is_the_outputs_shape(make, shape, rng):
    layer = make()
    out = layer.forward(rng.standard_normal(shape))
    assert out.shape == (shape[0], *layer.output_shape(shape[1:]))


@every_layer
def test_an_empty_batch_goes_through(make, shape, rng):
    layer = make()
    out = layer.forward(np.zeros((0, *shape[1:]), np.float32))
    assert out.shape == (0, *layer.output_shape(shape[1:]))
    assert layer.backward(np.zeros_like(out)).shape == (0, *shape[1:])
    assert all((p.grad == 0).all() for p in layer.parameters())


@each(CONVOLUTIONS)
@pytest.mark.parametrize("kind", [sn.Conv2D, sn.DepthwiseConv2D])
def test_an_empty_batch_goes_through_every_shape_of_convolution(case, kind):
    """The choice of a kernel depends on the shapes and on the width of the registers."""
    outputs = case.filters if kind is sn.Conv2D else case.C
    arguments = (case.C, outputs) if kind is sn.Conv2D else (case.C,)
    layer = kind(*arguments, kernel_size=case.kernel, stride=case.stride, padding=case.padding)
    out = layer.forward(np.zeros((0, *case.size, case.C), np.float32))
    assert layer.backward(np.zeros_like(out)).shape == (0, *case.size, case.C)
    assert out.shape[3] == outputs
    assert all((p.grad == 0).all() for p in layer.parameters())


@each(POOLS)
@pytest.mark.parametrize("kind", [sn.MaxPool2D, sn.AvgPool2D])
def test_an_empty_batch_goes_through_every_shape_of_pool(case, kind):
    layer = kind(case.pool, case.stride, case.padding)
    out = layer.forward(np.zeros((0, *case.size, case.C), np.float32))
    assert layer.backward(np.zeros_like(out)).shape == (0, *case.size, case.C)


@every_layer
def test_gradients_are_the_measured_slopes(make, shape, rng):
    report = sn.gradcheck(make(), rng.standard_normal(shape), training=True)
    assert report.passed, str(report)


@every_layer
def test_images_one_at_a_time_or_together(make, shape, rng):
    """No image of a batch affects another."""
    layer = make()
    x = rng.standard_normal(shape)
    together = layer.forward(x)
    alone = np.concatenate([layer.forward(x[i : i + 1]) for i in range(len(x))])
    assert_close(together, alone, 1e-12)


@every_layer
def test_arrays_that_are_not_contiguous(make, shape, rng):
    x = rng.standard_normal(shape)
    layer = make()
    expected = layer.forward(x)
    dout = rng.standard_normal(expected.shape)
    expected_dx = layer.backward(dout)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    assert_close(layer.forward(strided), expected, 1e-12)
    assert_close(layer.backward(np.repeat(dout, 2, axis=-1)[..., ::2]), expected_dx, 1e-12)


# ---------------------------------------------------------------- errors


@every_layer
def test_backward_before_forward_says_so(make, shape):
    layer = make()
    with pytest.raises(RuntimeError, match=f"{layer.name}: backward was called before forward"):
        layer.backward(np.zeros(shape, np.float32))


@every_layer
def test_integer_input_is_refused_by_name(make, shape):
    layer = make()
    with pytest.raises(TypeError, match=f"{layer.name}: expected input of dtype float32 or float64, got uint8"):
        layer.forward(np.zeros(shape, np.uint8))
    with pytest.raises(TypeError, match=f"{layer.name}: expected input to be a NumPy array, got list"):
        layer.forward([[1.0]])


@every_layer
def test_a_dout_of_another_shape_is_refused_by_name(make, shape, rng):
    layer = make()
    out = layer.forward(rng.standard_normal(shape))
    with pytest.raises(ValueError, match=rf"{layer.name}: expected dout of shape \({out.shape[0]}, .* got \(1, 2, 3\)"):
        layer.backward(np.zeros((1, 2, 3)))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (sn.Conv2D(3, 4, 3), (2, 5, 5, 1), r"conv: expected input of shape \(N, H, W, 3\), got \(2, 5, 5, 1\)"),
        (sn.Conv2D(3, 4, 3), (5, 5, 3), r"conv: expected input of shape \(N, H, W, 3\), got \(5, 5, 3\)"),
        (sn.DepthwiseConv2D(2, 3), (1, 5, 5, 3), r"depthwise: expected input of shape \(N, H, W, 2\)"),
        (sn.PointwiseConv2D(2, 3), (1, 5, 5, 3), r"pointwise: expected input of shape \(N, H, W, 2\)"),
        (sn.Dense(6, 2), (2, 7), r"dense: expected input of shape \(N, 6\), got \(2, 7\)"),
        (sn.MaxPool2D(2), (2, 8), r"pool: expected input of shape \(N, H, W, C\), got \(2, 8\)"),
        (sn.Conv2D(1, 1, 5, padding=1), (1, 2, 2, 1), r"conv: the window of 5x5 is larger than the padded image: the image has 2x2"),  # noqa: E501
        (sn.DepthwiseConv2D(1, 5, padding=0), (1, 2, 9, 1), "depthwise: the window of 5x5 is larger"),
        (sn.MaxPool2D(4), (1, 3, 5, 1), "pool: the window of 4x4 is larger"),
        (sn.AvgPool2D(2, 2, padding=2), (1, 4, 4, 1), "pool: expected padding smaller than the 2x2 window, got"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_names_the_layer_and_both_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sn.Conv2D(0, 4, 3), "conv: expected in_channels to be a positive integer, got 0"),
        (lambda: sn.Conv2D(1, 2.5, 3), "conv: expected filters to be a positive integer, got 2.5"),
        (lambda: sn.Conv2D(1, 4, 0), "conv: expected kernel_size to be an integer of at least 1"),
        (lambda: sn.Conv2D(1, 4, (3, 3, 3)), "conv: expected kernel_size"),
        (lambda: sn.Conv2D(1, 4, 3, stride=(1, 0)), "conv: expected stride"),
        (lambda: sn.Conv2D(1, 4, 3, padding=-1), "conv: expected padding to be an integer of at least 0"),
        (lambda: sn.Conv2D(1, 4, 3, padding="full"), 'conv: expected padding to be "same", "valid"'),
        (
            lambda: sn.Conv2D(1, 4, 3, init="zeros"),
            "conv: expected init to be one of glorot_uniform, pytorch, he_normal",
        ),
        (lambda: sn.DepthwiseConv2D(1, 3, multiplier=0), "depthwise: expected multiplier"),
        (lambda: sn.Dense(3, -1), "dense: expected out_features"),
        (lambda: sn.MaxPool2D(2, stride=0), "pool: expected stride"),
        (lambda: sn.Conv2D(1, 4, True), "conv: expected kernel_size to be an integer"),
        (lambda: sn.Dropout("0.5"), "dropout: expected rate"),
        (lambda: sn.Dropout(1.0), "dropout: expected rate to be at least 0 and below 1, got 1.0"),
        (lambda: sn.Resize(0), "resize: expected size"),
    ],
)
def test_a_bad_argument_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@with_weights
def test_assigning_a_value_takes_effect_at_the_next_forward(make, shape, rng):
    layer = make()
    x = rng.standard_normal(shape)
    before = layer.forward(x)
    layer.w.value = layer.w.value.astype(np.float64) * 2
    after = layer.forward(x)
    assert layer.w.value.dtype == np.float64
    assert_close(after, 2 * before, 1e-12)  # the biases are 0 at first
    layer.backward(np.ones_like(after))
    assert layer.w.grad.shape == layer.w.value.shape


def test_a_value_is_copied_so_that_training_one_layer_leaves_another_alone():
    mine, other = sn.Dense(3, 2, rng=1), sn.Dense(3, 2, rng=2)
    mine.w.value = other.w.value
    mine.w.value += 1
    assert not np.array_equal(mine.w.value, other.w.value)


@with_weights
def test_a_value_of_another_shape_or_dtype_is_refused(make, shape):
    layer = make()
    with pytest.raises(ValueError, match=r"w: expected a value of shape"):
        layer.w.value = np.zeros((1, 2))
    with pytest.raises(TypeError, match=r"w: expected a value of dtype float32 or float64, got int64"):
        layer.w.value = np.zeros(layer.w.value.shape, np.int64)


@with_weights
def test_need_dx_false_saves_only_dx(make, shape, rng):
    layer = make()
    out = layer.forward(rng.standard_normal(shape))
    dout = rng.standard_normal(out.shape)
    layer.backward(dout)
    expected = [p.grad for p in layer.parameters()]
    assert layer.backward(dout, need_dx=False) is None
    assert all(np.array_equal(p.grad, e) for p, e in zip(layer.parameters(), expected, strict=True))


# ---------------------------------------------------------------- single facts


def test_max_pool_takes_the_first_of_equal_pixels():
    x = np.array([[1.0, 5.0, 5.0], [5.0, 5.0, 5.0]])[None, :, :, None]
    out, argmax = ops.max_pool2d_forward(x, (2, 3), 1, 0)
    assert out.item() == 5
    assert argmax.item() == 1  # row 0, column 1
    dx = ops.max_pool2d_backward(np.ones((1, 1, 1, 1)), argmax, x.shape, (2, 3), 1, 0)
    assert dx[0, :, :, 0].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_max_pool_of_overlapping_windows_adds_up():
    """The middle pixel of 3x3 is the maximum of all four 2x2 windows, and gets all four gradients."""
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1] = 1
    _, argmax = ops.max_pool2d_forward(x, 2, 1, 0)
    dout = np.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    dx = ops.max_pool2d_backward(dout, argmax, x.shape, 2, 1, 0)
    assert dx[0, 1, 1, 0] == 10
    assert dx.sum() == 10


def test_padding_is_never_the_maximum_nor_in_the_mean():
    x = np.full((1, 2, 2, 1), -3.0)
    assert (ops.max_pool2d_forward(x, 2, 1, 1)[0] == -3).all()
    assert (ops.avg_pool2d_forward(x, 2, 1, 1) == -3).all()


def test_nan_is_passed_on():
    """A network that has diverged must show it in its loss."""
    x = np.array([[np.nan, 1.0], [2.0, 3.0]])[None, :, :, None]
    assert np.isnan(ops.max_pool2d_forward(x, 2, 2, 0)[0]).all()
    assert np.isnan(ops.max_pool2d_forward(x[:, ::-1], 2, 2, 0)[0]).all()
    assert np.isnan(ops.relu_forward(x)).sum() == 1


def test_convolution_does_not_flip_its_kernel():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    w = np.arange(4.0).reshape(2, 2, 1, 1)
    assert ops.conv2d_forward(x, w, None, 1, 0)[0, 0, 0, 0] == 0 * 0 + 1 * 1 + 3 * 2 + 4 * 3


def test_depthwise_multiples_of_a_channel_lie_together():
    x = np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    w = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reshape(1, 1, 2, 3)
    assert ops.depthwise_conv2d_forward(x, w, None, 1, 0).ravel().tolist() == [1, 2, 3, 40, 50, 60]


def test_dropout_keeps_the_expected_output_and_is_off_outside_training():
    layer = sn.Dropout(0.4, rng=1)
    x = np.ones((200, 500), np.float32)
    assert abs(layer.forward(x, training=True).mean() - 1) < 0.01
    assert layer.forward(x) is x
    assert layer.backward(x) is x


def test_dropout_masks_follow_the_seed_and_not_the_dtype():
    x = np.ones((20, 30))
    first, again, other = (sn.Dropout(0.5, rng=seed).forward(x, training=True) for seed in (1, 1, 2))
    in_float32 = sn.Dropout(0.5, rng=1).forward(x.astype(np.float32), training=True)
    assert np.array_equal(first, again)
    assert np.array_equal(first, in_float32)
    assert not np.array_equal(first, other)


def test_dropout_draws_a_new_mask_each_time():
    layer = sn.Dropout(0.5)
    x = np.ones((20, 30))
    assert not np.array_equal(layer.forward(x, training=True), layer.forward(x, training=True))


@pytest.mark.parametrize(
    ("layer", "limit"),
    [
        (sn.DepthwiseConv2D(1, 5), np.sqrt(6 / 50)),  # TensorFlow's fans: 25 in, 25 out
        (sn.DepthwiseConv2D(32, 5), np.sqrt(6 / 825)),  # 800 in, 25 out
        (sn.Conv2D(1, 32, 5), np.sqrt(6 / (25 + 800))),
        (sn.Dense(3136, 1024), np.sqrt(6 / (3136 + 1024))),
        (sn.DepthwiseConv2D(32, 5, init="pytorch"), 1 / 5),  # 25 inputs reach one output
        (sn.Conv2D(4, 8, 5, init="pytorch"), 1 / 10),
    ],
    ids=repr,
)
def test_uniform_initialisation_fills_its_range(layer, limit):
    largest = np.abs(layer.w.value).max()
    assert largest <= np.float32(limit)
    assert largest > 0.85 * limit


def test_he_initialisation_has_its_spread():
    w = sn.Dense(1000, 300, init="he_normal").w.value
    assert w.std() == pytest.approx(np.sqrt(2 / 1000), rel=0.02)
    assert abs(w.mean()) < 1e-3


def test_biases_start_at_zero_except_pytorchs():
    assert (sn.Conv2D(4, 8, 5).b.value == 0).all()
    b = sn.Dense(100, 400, init="pytorch").b.value
    assert 0.09 < np.abs(b).max() <= 0.1


def test_same_seed_same_weights_and_a_generator_moves_on():
    assert np.array_equal(sn.Dense(5, 5, rng=3).w.value, sn.Dense(5, 5, rng=3).w.value)
    shared = np.random.default_rng(3)
    assert not np.array_equal(sn.Dense(5, 5, rng=shared).w.value, sn.Dense(5, 5, rng=shared).w.value)


def test_a_layer_says_how_it_was_made():
    text = repr(sn.Conv2D(1, 4, (5, 3), stride=2, padding="valid", bias=False))
    assert text == ("Conv2D(in_channels=1, filters=4, kernel_size=(5, 3), stride=(2, 2), padding='valid', bias=False)")
    assert "w" in repr(sn.Dense(2, 3).w)
    assert "(2, 3)" in repr(sn.Dense(2, 3).w)


def test_a_layer_of_ones_own_is_told_what_to_define():
    class Half(sn.Layer):
        kind = "half"

    with pytest.raises(NotImplementedError, match="Half has to define forward"):
        Half().forward(np.zeros(1))
    with pytest.raises(NotImplementedError, match="Half has to define backward"):
        Half().backward(np.zeros(1))


# ---------------------------------------------------------------- arrays that are made when somebody looks


def test_an_array_remembered_for_later_is_made_once_when_somebody_looks():
    relu, made = sn.ReLU(), []
    relu.x = np.zeros(1)

    def make():
        made.append(np.arange(3.0))
        return made[-1]

    relu.remember_later("x", make)
    assert not made
    assert relu.x is relu.x is made[0]
    assert len(made) == 1
    relu.remember_later("x", make)
    relu.forward(np.ones(2))
    assert relu.x.tolist() == [1, 1], "the layer's own forward counts"


def test_an_array_that_cannot_be_made_says_why_each_time():
    relu = sn.ReLU()
    relu.remember_later("x", partial(np.zeros, -1))
    for _ in range(2):
        with pytest.raises(ValueError, match="negative dimensions"):
            _ = relu.x


@every_layer
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copied_layer_makes_what_it_remembers_for_itself(make, shape, duplicate):
    layer = make()
    layer.remember_later("winners", partial(np.arange, 3))
    twin = duplicate(layer)
    for either in (twin, layer):
        assert either.winners.tolist() == [0, 1, 2]
    assert repr(twin) == repr(layer)


@every_layer
@pytest.mark.parametrize("name", ["no_such_thing", "_make_x", "__no_such_hook__"])
def test_what_a_layer_does_not_have_is_an_attribute_error(make, shape, name):
    layer = make()
    assert not hasattr(layer, name)
    with pytest.raises(AttributeError, match=f"'{type(layer).__name__}' object has no attribute '{name}'"):
        getattr(layer, name)


def test_an_image_of_one_pixel_is_scaled(engine):
    x = np.array([3.0, -1.0], np.float32).reshape(2, 1, 1, 1)
    layer = sn.Resize((2, 3))
    assert np.array_equal(layer.forward(x), np.broadcast_to(x, (2, 2, 3, 1)))
    assert np.array_equal(layer.backward(np.ones((2, 2, 3, 1), np.float32)), np.full_like(x, 6))
