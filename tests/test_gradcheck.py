"""The checker itself: it passes what is right, and every planted error makes it fail."""

from __future__ import annotations

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.layers import conv2d_backward
from scratchnet.layers.shapes import Window, window_pixels

X = np.random.default_rng(1).standard_normal((3, 7, 6, 2))


class Doubled(sn.Dense):
    """Gradients with an extra factor of 2."""

    def backward(self, dout, need_dx=True):
        dx = super().backward(dout, need_dx)
        self.w.grad = 2 * self.w.grad
        return dx


class Transposed(sn.Conv2D):
    """dx computed with the kernel's height and width swapped."""

    def backward(self, dout, need_dx=True):
        dx, dw, db = conv2d_backward(dout, self.x, self.w.value.transpose(1, 0, 2, 3), self.stride, self.padding)
        self.set_gradients(dw, db)
        return dx


class NoBatchSum(sn.Dense):
    """dw of the first example only."""

    def backward(self, dout, need_dx=True):
        dx = super().backward(dout, need_dx)
        self.w.grad = self.x[:1].T @ dout[:1]
        return dx


class AssignsInPool(sn.MaxPool2D):
    """= instead of += where windows overlap."""

    def backward(self, dout, need_dx=True):
        dx = np.zeros(self.x_shape)
        window = Window.on(self.x_shape[1:3], self.pool_size, self.stride, self.padding)
        for kh in range(self.pool_size[0]):
            for kw in range(self.pool_size[1]):
                pixels = window_pixels(dx, kh, kw, window)
                won = self.argmax == kh * self.pool_size[1] + kw
                pixels[won] = dout[won]
        return dx


class ForgetsStride(sn.Conv2D):
    """Gradients as if the kernel had moved by one pixel."""

    def backward(self, dout, need_dx=True):
        OH, OW = dout.shape[1:3]
        KH, KW = self.kernel_size
        seen = self.x[:, : OH + KH - 1, : OW + KW - 1]
        dx = np.zeros_like(self.x)
        dx_seen, dw, db = conv2d_backward(dout, seen, self.w.value, 1, "valid")
        dx[:, : OH + KH - 1, : OW + KW - 1] = dx_seen
        self.set_gradients(dw, db)
        return dx


class AveragesBias(sn.Conv2D):
    """db as a mean instead of a sum."""

    def backward(self, dout, need_dx=True):
        dx = super().backward(dout, need_dx)
        self.b.grad = dout.mean(axis=(0, 1, 2))
        return dx


class LosesOneEntry(sn.Dense):
    """One gradient among many is NaN."""

    def backward(self, dout, need_dx=True):
        dx = super().backward(dout, need_dx)
        self.w.grad[1, 2] = np.nan
        return dx


PLANTED = {
    "factor 2": (Doubled(4, 3), X.reshape(-1, 4), {"w"}),
    "kernel transposed": (Transposed(2, 3, 3, padding=1), X, {"x"}),
    "batch sum missing": (NoBatchSum(4, 3), X.reshape(-1, 4), {"w"}),
    "= for += in overlapping pooling": (AssignsInPool(3, 1), X, {"x"}),
    "stride forgotten": (ForgetsStride(2, 3, 3, stride=2, padding=0), X, {"x", "w"}),
    "bias gradient averaged": (AveragesBias(2, 3, 3), X, {"b"}),
    "a NaN": (LosesOneEntry(4, 3), X.reshape(-1, 4), {"w"}),
}


@pytest.mark.parametrize(("layer", "x", "wrong"), list(PLANTED.values()), ids=list(PLANTED))
def test_a_planted_error_is_caught_where_it_is(layer, x, wrong):
    report = sn.gradcheck(layer, x)
    assert not report.passed
    assert not report
    assert {c.name for c in report.comparisons if not c.passed} == wrong
    assert "WRONG GRADIENTS" in str(report)


@pytest.mark.parametrize(
    "right",
    [sn.Dense(4, 3), sn.Conv2D(2, 3, 3, padding=1), sn.Conv2D(2, 3, 3, stride=2, padding=0), sn.MaxPool2D(3, 1)],
    ids=repr,
)
def test_the_same_layers_without_the_error_pass(right):
    report = sn.gradcheck(right, X.reshape(-1, 4) if isinstance(right, sn.Dense) else X)
    assert report, str(report)


def test_the_pool_with_the_error_passes_where_windows_do_not_overlap():
    """So the table needs the overlapping case: the mistake has no effect elsewhere."""
    assert sn.gradcheck(AssignsInPool(2, 2), X)


def test_the_report_names_the_worst_entry_and_both_values():
    layer = sn.Dense(4, 3)
    x = X.reshape(-1, 4)

    class OneWrong(sn.Dense):
        def backward(self, dout, need_dx=True):
            dx = super().backward(dout, need_dx)
            self.w.grad[2, 1] += 0.5
            self.truth = self.w.grad[2, 1] - 0.5
            return dx

    layer = OneWrong(4, 3)
    report = sn.gradcheck(layer, x)
    worst = next(c for c in report.comparisons if c.name == "w")
    assert worst.index == (2, 1)
    assert worst.slope == pytest.approx(layer.truth, rel=1e-6)
    assert worst.gradient == pytest.approx(layer.truth + 0.5)
    assert "[2, 1]" in str(report)
    assert f"{worst.gradient:.9g}" in str(report)
    assert f"{worst.slope:.9g}" in str(report)


def test_without_a_tolerance_only_equal_numbers_agree():
    """The gradient of pixels that are not a maximum is exactly 0, and so is their slope."""
    report = sn.gradcheck(sn.MaxPool2D((7, 6)), X, atol=0, rtol=1e-6)
    assert report.passed, str(report)
    assert not sn.gradcheck(sn.MaxPool2D((7, 6)), X, atol=0, rtol=0)


def test_float32_is_refused_with_the_reason():
    with pytest.raises(
        TypeError, match=r"expected x of dtype float64, got float32\. In float32 the measured slope has no"
    ):
        sn.gradcheck(sn.Dense(4, 3), np.zeros((2, 4), np.float32))


def test_weights_gradients_and_dtypes_are_put_back():
    layer = sn.Dense(4, 3)
    value, kept = layer.w.value, layer.w.value.copy()
    x = X.reshape(-1, 4).copy()
    given = x.copy()
    sn.gradcheck(layer, x)
    assert layer.w.value is value
    assert np.array_equal(layer.w.value, kept)
    assert layer.w.grad is None
    assert np.array_equal(x, given)


def test_random_generators_are_put_back():
    layer = sn.Dropout(0.5)
    state = layer.rng.bit_generator.state
    sn.gradcheck(layer, X, training=True)
    assert layer.rng.bit_generator.state == state


def test_nothing_to_check_is_refused():
    with pytest.raises(ValueError, match=r"expected at least one number to check with, got x of shape \(0, 4\)"):
        sn.gradcheck(sn.Dense(4, 3), np.zeros((0, 4)))


def test_a_large_array_is_sampled_and_the_report_says_so():
    report = sn.gradcheck(sn.Dense(50, 40), np.random.default_rng(0).standard_normal((2, 50)), max_entries=30)
    assert report
    assert "30 of 2000" in str(report)


def test_a_backward_that_gives_a_wrong_shape_is_named():
    class WrongShape(sn.Dense):
        def backward(self, dout, need_dx=True):
            dx = super().backward(dout, need_dx)
            self.w.grad = self.w.grad.T
            return dx

    with pytest.raises(ValueError, match=r"expected backward to give w a gradient of shape \(4, 3\), got \(3, 4\)"):
        sn.gradcheck(WrongShape(4, 3), X.reshape(-1, 4))


def test_a_whole_network_with_dropout(rng):
    net = sn.Network(
        [sn.Conv2D(1, 3, 3), sn.ReLU(), sn.AvgPool2D(2), sn.Flatten(), sn.Dense(27, 8), sn.Dropout(0.4), sn.Dense(8, 4)]
    )
    report = sn.gradcheck(net, rng.standard_normal((2, 6, 6, 1)), training=True)
    assert report, str(report)
    assert "conv1.w" in str(report)
