"""The checker itself: it passes what is right, and every planted error makes it fail."""

from __future__ import annotations

import os

import numpy as np
import pytest
from planted import PLANTED, Normalise, drawn_right, scaled, wrong_layer

import scratchnet as sn
from scratchnet.layers import conv2d_backward
from scratchnet.layers.shapes import Window, window_pixels
from scratchnet.slopes import Loss

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


WHERE = {
    "factor 2": (Doubled(4, 3), X.reshape(-1, 4), {"w"}),
    "kernel transposed": (Transposed(2, 3, 3, padding=1), X, {"x"}),
    "batch sum missing": (NoBatchSum(4, 3), X.reshape(-1, 4), {"w"}),
    "= for += in overlapping pooling": (AssignsInPool(3, 1), X, {"x"}),
    "stride forgotten": (ForgetsStride(2, 3, 3, stride=2, padding=0), X, {"x", "w"}),
    "bias gradient averaged": (AveragesBias(2, 3, 3), X, {"b"}),
    "a NaN": (LosesOneEntry(4, 3), X.reshape(-1, 4), {"w"}),
}


@pytest.mark.parametrize(("layer", "x", "wrong"), list(WHERE.values()), ids=list(WHERE))
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


def test_a_gradient_of_almost_0_is_not_0():
    """The gradient of pixels that are not a maximum is exactly 0, and so is their slope."""

    class Leaks(sn.MaxPool2D):
        def backward(self, dout, need_dx=True):
            dx = super().backward(dout, need_dx)
            return np.where(dx == 0, 1e-9, dx)

    assert sn.gradcheck(sn.MaxPool2D((7, 6)), X, rtol=0)
    assert not sn.gradcheck(Leaks((7, 6)), X)
    assert sn.gradcheck(Leaks((7, 6)), X, atol=1e-8)


def test_float32_is_refused_with_the_reason():
    with pytest.raises(
        TypeError, match=r"expected x of dtype float64, got float32\. In float32 the measured slope has hardly"
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
    assert repr(layer.rng.bit_generator.state) == repr(state)


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


# ---------------------------------------------------------------- at any scale: none is blamed, none gets away

RIGHT_CASES = int(os.environ.get("SCRATCHNET_RIGHT_CASES", "150"))  # of the slow test; 1,000 is the whole campaign
EXPONENTS = range(-8, 9, int(os.environ.get("SCRATCHNET_PLANTED_STEP", "16")))  # of the scales; 4 is the whole campaign


@pytest.fixture
def book():
    """The NumPy engine, which needs no compiling."""
    with sn.use_engine("numpy"):
        yield


def is_caught(name, x_scale, w_scale, b_scale):
    rng = np.random.default_rng(5)
    layer, shape = wrong_layer(name)
    scaled(layer, w_scale, b_scale, rng)
    report = sn.gradcheck(layer, x_scale * rng.standard_normal(shape), training=True)
    return not report.passed


def test_there_are_enough_kinds_of_errors():
    assert len({error for _, error in PLANTED.values()}) >= 40


@pytest.mark.parametrize("name", list(PLANTED))
@pytest.mark.usefixtures("book")
def test_a_planted_error_is_caught_at_a_drawn_scale(name):
    rng = np.random.default_rng([*name.encode()])
    x, w = 10.0 ** rng.integers(-8, 9, 2)
    assert is_caught(name, x, w, rng.choice([w, x * w]))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLANTED))
@pytest.mark.usefixtures("book")
def test_a_planted_error_is_caught_at_the_ends_of_the_scales(name):
    scales = [10.0**e for e in EXPONENTS]
    w_scales = scales if wrong_layer(name)[0].parameters() else [1.0]
    missed = [(x, w) for x in scales for w in w_scales if not is_caught(name, x, w, b_scale=w)]
    assert not missed


def blamed(seeds, digits):
    found = []
    for seed in seeds:
        subject, x, training = drawn_right(seed, digits)
        report = sn.gradcheck(subject, x, training=training, max_entries=20, seed=seed)
        if not report:
            found.append(f"{seed}: {subject}\n{report}")
    return found


@pytest.mark.usefixtures("book")
def test_no_drawn_right_case_is_blamed(sample):
    assert not blamed(range(20), sample[0].images[:500])


@pytest.mark.slow
@pytest.mark.usefixtures("book")
def test_no_right_case_of_many_is_blamed(sample):
    assert not blamed(range(RIGHT_CASES), sample[0].images[:500])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.usefixtures("book")
def test_pixels_of_0_to_255_are_no_mistake(seed):
    x = np.random.default_rng(seed).integers(0, 256, (3, 784)).astype(np.float64)
    report = sn.gradcheck(sn.Dense(784, 10, rng=seed), x, max_entries=100)
    assert report, str(report)


# ---------------------------------------------------------------- kinks


def digits_network():
    return sn.Network(
        [sn.Conv2D(1, 2, 3, rng=3), sn.ReLU(), sn.MaxPool2D(4), sn.Flatten(), sn.Dense(98, 10, rng=4)], (28, 28, 1)
    )


@pytest.mark.usefixtures("book")
def test_kinks_of_a_blank_background_are_counted_and_named(sample):
    report = sn.gradcheck(digits_network(), sample[0].images[:2].astype(np.float64), max_entries=60)
    assert report, str(report)
    kinks = {c.name: c.kinks for c in report.comparisons}
    assert kinks["x"] > 0
    assert kinks["conv1.b"] == 2, "every bias moves blank pixels off ReLU's corner"
    assert kinks["dense1.w"] == kinks["dense1.b"] == 0
    assert f"at a kink, left out: {kinks['x']} of x" in str(report)
    assert "the slopes to the left and right differ" in str(report)


@pytest.mark.parametrize("which", ["conv1.w", "conv1.b", "x"])
@pytest.mark.usefixtures("book")
def test_no_error_hides_behind_kinks(which, sample):
    """All entries of conv1.b are at a kink: they are compared at a place nearby."""
    net = digits_network()
    right = net.layers[0].backward

    def negated(dout, need_dx=True):
        dx = right(dout, need_dx)
        for p in net.layers[0].parameters():
            p.grad = -p.grad if p.name == which else p.grad
        return -dx if which == "x" else dx

    net.layers[0].backward = negated
    report = sn.gradcheck(net, sample[0].images[:2].astype(np.float64), max_entries=60)
    assert {c.name for c in report.comparisons if c.wrong} == {which}


class AtTheCorner(sn.ReLU):
    """ReLU whose slope at 0 can be chosen."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def backward(self, dout, need_dx=True):
        return np.where(self.x == 0, self.slope * dout, super().backward(dout, need_dx))


@pytest.mark.parametrize(
    ("slope", "right"), [(0, True), (0.5, True), (1, True), (-0.01, False), (1.01, False), (7, False)]
)
@pytest.mark.usefixtures("book")
def test_at_a_kink_any_slope_between_left_and_right_is_taken(slope, right):
    x = np.array([[0.0, 1.0, -1.0, 0.0]])
    report = sn.gradcheck(AtTheCorner(slope), x)
    assert bool(report) is right, str(report)
    assert report.comparisons[0].kinks == (2 if right else 0)


@pytest.mark.usefixtures("book")
def test_a_wrong_slope_at_0_is_caught_where_there_is_no_kink():
    class ForgetsZeros(sn.Dense):
        def backward(self, dout, need_dx=True):
            return np.where(self.x == 0, 0, super().backward(dout, need_dx))

    x = X.reshape(-1, 4) * (np.arange(4) > 0)
    assert sn.gradcheck(sn.Dense(4, 3), x)
    assert not sn.gradcheck(ForgetsZeros(4, 3), x)


# ---------------------------------------------------------------- what cannot be measured


class Absorbed(sn.Layer):
    """tanh of x, lost in the last digits of a large number in the first columns."""

    def __init__(self, columns, offset=1e30):
        super().__init__()
        self.columns, self.offset = columns, offset

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return np.tanh(x) + np.where(np.arange(x.shape[-1]) < self.columns, self.offset, 0)

    def backward(self, dout, need_dx=True):
        return self.check_dout(dout) * (1 - np.tanh(self.x) ** 2)


@pytest.mark.parametrize(("columns", "passed"), [(0, True), (1, True), (2, True), (3, False), (4, False)])
@pytest.mark.usefixtures("book")
def test_too_little_known_is_no_pass_and_says_why(columns, passed):
    """Of four columns, at least two have to be measured."""
    report = sn.gradcheck(Absorbed(columns), X[:1].reshape(-1, 4))
    (x,) = report.comparisons
    assert bool(report) is passed
    assert x.wrong == 0
    assert x.unmeasured == x.size * columns // 4
    assert ("NOT KNOWN TO BE RIGHT" in str(report)) is not passed
    assert (f"could not be measured: {x.unmeasured} of x" in str(report)) is (columns > 0)


@pytest.mark.parametrize("offset", [10.0**e for e in range(0, 31, 3)])
@pytest.mark.usefixtures("book")
def test_nothing_is_blamed_for_what_rounding_hides(offset):
    """tanh is flat far away, so a large step that gets past rounding measures another slope."""

    class Negated(Absorbed):
        def backward(self, dout, need_dx=True):
            return -super().backward(dout, need_dx)

    (x,) = sn.gradcheck(Absorbed(4, offset), X[:1].reshape(-1, 4)).comparisons
    assert x.wrong == 0
    assert x.passed or offset > 1e5
    assert not x.passed or offset < 1e12
    assert not sn.gradcheck(Negated(4, offset), X[:1].reshape(-1, 4))


@pytest.mark.usefixtures("book")
def test_results_that_cannot_be_compared_are_errors():
    class Random(sn.Layer):
        def forward(self, x, training=False):
            return self.check_input(x) * np.random.default_rng().random()

        def backward(self, dout, need_dx=True):
            return dout

    with pytest.raises(ValueError, match="gradcheck: forward gave two results for one x; .* has to be in state"):
        sn.gradcheck(Random(), X)
    with pytest.raises(ValueError, match="gradcheck: forward gives NaN or infinite numbers for this x"):
        sn.gradcheck(sn.ReLU(), np.where(X > 2, np.nan, X))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("a_gradient_of_its_own_accumulates in dense", "called twice, it gives two gradients for w"),
        ("the_same_array_accumulates in conv", "called twice, it gives two gradients for b"),
        ("dx_accumulates in square", "called twice, it gives two gradients for x"),
        ("dout_overwritten in relu", "backward: changes dout, which belongs to the caller"),
        ("x_overwritten in square", "backward: changes x, which belongs to the caller"),
        ("weights_overwritten in dense", "backward: changes w, which belongs to the caller"),
        ("one_nan in max_pool", "the gradient for x has NaN or infinite numbers"),
    ],
)
@pytest.mark.usefixtures("book")
def test_a_backward_that_does_more_than_it_may_is_told_so(error, says):
    layer, shape = wrong_layer(error)
    report = sn.gradcheck(layer, np.random.default_rng(0).standard_normal(shape))
    assert not report
    assert says in str(report)


@pytest.mark.usefixtures("book")
def test_entries_and_dout_are_drawn_from_the_seed():
    layer = sn.Dense(50, 40)
    x = np.random.default_rng(0).standard_normal((2, 50))
    one, same, other = (sn.gradcheck(layer, x, max_entries=5, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.usefixtures("book")
def test_a_bias_that_a_normalisation_takes_away_has_a_slope_of_0(rng):
    net = sn.Network([sn.Dense(4, 3), Normalise(), sn.Dense(3, 2)])
    report = sn.gradcheck(net, rng.standard_normal((5, 4)))
    assert report, str(report)
    assert next(abs(c.slope) for c in report.comparisons if c.name == "dense1.b") < 1e-9


@pytest.mark.usefixtures("book")
def test_a_slope_that_is_known_to_a_tenth_is_not_measured():
    """Rounding of 1e9 leaves more than half of all digits, but not three."""
    (x,) = sn.gradcheck(Absorbed(4, offset=1e9), X[:1].reshape(-1, 4)).comparisons
    assert x.unmeasured == x.size


# ---------------------------------------------------------------- what it costs, and what it measures slopes with


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_smooth_function_is_measured_with_few_forward_passes(scale):
    """Two steps in either direction for each number; a step of another size than the numbers' own needs more."""
    calls = []

    class Counted(sn.Dense):
        def forward(self, x, training=False):
            calls.append(1)
            return super().forward(x, training)

    report = sn.gradcheck(Counted(4, 3), scale * X.reshape(-1, 4)[:3])
    assert report
    assert len(calls) < 5 * sum(c.size for c in report.comparisons)


def test_the_usual_size_of_zeros_is_what_changes_the_output_by_about_its_size():
    b = np.zeros(3)
    loss = Loss(lambda: 1e6 + 1e3 * b, [b], np.ones(3), np.random.default_rng(0))
    assert loss.usual_size(b) == pytest.approx(1e3, rel=0.01)
    assert not b.any()


@pytest.mark.parametrize("part", [lambda b: np.maximum(b, 0), lambda b: np.minimum(b, 0)], ids=["up", "down"])
def test_what_depends_on_a_number_in_one_direction_is_not_left_out(part):
    """1e20 hides every slope, and does not depend on the number; the other part does, on one side of it."""
    b = np.array([-1.0 if part(np.ones(1)) else 1.0])
    loss = Loss(lambda: np.append(part(b), 1e20), [b], np.ones(2), np.random.default_rng(0))
    slope = loss.slope(b, (0,), 1.0, enough=lambda slope: False)
    assert slope.value == 0
    assert slope.rounding < 1
