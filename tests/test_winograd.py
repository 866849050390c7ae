"""Winograd's convolution: its matrices, its rounding errors, and when it is chosen."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cases import assert_close
from test_fast import python

import scratchnet as sn
from scratchnet import fast, layers
from scratchnet.fast import choose
from scratchnet.fast.product import points
from scratchnet.fast.register import width

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("r", [2, 3, 5])
def test_the_matrices_correlate_any_line_with_any_kernel(rng, r):
    B_T, G, A_T = points.matrices(r, np.dtype(np.float64))
    d, g = rng.standard_normal(points.SIDE), rng.standard_normal(r)
    assert_close(A_T @ ((G @ g) * (B_T @ d)), np.correlate(d, g, "valid"), 1e-13)
    assert np.abs(B_T).max(axis=1) == pytest.approx(1)


def rounding(draw, C, F):
    """The largest error of out, dx and dw in float32, relative to each one's largest entry; N, H, W as in a network."""
    x, w, dout = draw((8, 14, 14, C)), draw((5, 5, C, F)), draw((8, 14, 14, F))
    single = [a.astype(np.float32) for a in (x, w, dout)]
    results = []
    for kernels, (x_, w_, dout_) in ((fast, single), (layers, (x, w, dout))):
        dx, dw, _ = kernels.conv2d_backward(dout_, x_, w_, 1, "same")
        results.append((kernels.conv2d_forward(x_, w_, None, 1, "same"), dx, dw))
    return [np.abs(ours - exact).max() / np.abs(exact).max() for ours, exact in zip(*results, strict=True)]


@pytest.mark.parametrize("values", ["random", "standard_normal"])
@pytest.mark.parametrize(
    ("C", "F"), [(32, 64), (16, 32), (64, 32)], ids=["standard_conv2", "four_conv_conv4", "turned"]
)
def test_rounding_in_float32_stays_within_a_few_times_that_of_the_plain_sum(rng, C, F, values):
    """Within the limit of 2e-5 for all kernels, with values of one sign and of both."""
    assert choose.winograd_is_faster((5, 5, C, F), (1, 1), (14, 14), 8)
    assert max(rounding(getattr(rng, values), C, F)) < 2e-5


def test_the_errors_that_the_math_page_states_are_measured(monkeypatch):
    """Within 50 %: other registers add in another order."""
    page = (ROOT / "docs" / "math" / "winograd.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^(\w+) (conv\d) +\w+ +([\d.e-]+) +([\d.e-]+)$", page, re.M)
    stated = np.array([row[2:] for row in rows], float).reshape(2, 3, 2)  # layer; out, dx or dw; plain sum or Winograd
    layers_named = [(sn.models.ARCHITECTURES[model].make(), layer) for model, layer, *_ in rows[::3]]
    shapes = [next(x for x in net.layers if x.name == layer).w.value.shape[2:] for net, layer in layers_named]
    for way in (1, 0):
        for shape, errors in zip(shapes, stated[:, :, way], strict=True):
            measured = rounding(np.random.default_rng(0).standard_normal, *shape)
            assert measured == pytest.approx(errors, rel=0.5)
        monkeypatch.setattr(choose, "winograd_is_faster", lambda *_: False)


def test_four_products_make_what_six_do():
    """The example on the math page by hand, and the products at the four points."""
    (d0, d1, d2, d3), (g0, g1, g2) = (1, 2, 3, 4), (1, 2, 3)
    products = [(d0 - d2) * g0, (d1 + d2) * (g0 + g1 + g2) / 2, (d2 - d1) * (g0 - g1 + g2) / 2, (d1 - d3) * g2]
    assert products == [-2, 15, 1, -6]
    assert [products[0] + products[1] + products[2], products[1] - products[2] - products[3]] == [14, 20]


@pytest.mark.parametrize(
    ("w_shape", "stride", "out_size", "N"),
    [((5, 5, 15, 32), (1, 1), (14, 14), 8), ((5, 5, 32, 8), (1, 1), (14, 14), 8), ((3, 3, 32, 64), (1, 1), (14, 14), 8),
     ((5, 3, 32, 64), (1, 1), (14, 14), 8), ((5, 5, 32, 64), (2, 1), (14, 14), 8), ((5, 5, 32, 64), (1, 1), (3, 14), 8),
     ((5, 5, 32, 64), (1, 1), (14, 14), 3)],
)  # fmt: skip
def test_other_convolutions_are_summed_as_defined(w_shape, stride, out_size, N):
    assert not choose.winograd_is_faster(w_shape, stride, out_size, N)


@pytest.mark.parametrize(("N", "side"), [(8, 14), (1, 60)], ids=["whole_images", "strips"])
def test_on_black_ground_the_output_is_the_bias_to_the_last_bit(rng, N, side):
    """The ReLU or max-pooling after it depends on that."""
    x = np.zeros((N, side, side, 16), np.float32)
    x[:, 4:9, side - 6 : side - 3] = rng.random(16, np.float32)
    w, b = rng.standard_normal((5, 5, 16, 32), np.float32), rng.standard_normal(32, np.float32)
    assert choose.winograd_is_faster(w.shape, (1, 1), (side, side), N)
    out = fast.conv2d_forward(x, w, b, 1, "same")
    black = layers.conv2d_forward(x, np.ones((5, 5, 16, 1), np.float32), None, 1, "same")[..., 0] == 0
    assert 0.5 < black.mean() < 1
    assert np.array_equal(out[black], np.broadcast_to(b, out[black].shape))


@pytest.mark.slow  # without a compiler
def test_images_taken_together_give_what_each_gives_alone(rng):
    """A thread takes two images of this size at a time, if it has as many."""
    assert choose.winograd_strips((14, 14), 5).together == 2
    x, dout = (rng.standard_normal((2 * choose.CHUNKS + 1, 14, 14, 16), np.float32) for _ in range(2))
    w = rng.standard_normal((5, 5, 16, 16), np.float32)
    out, (dx, dw, _) = fast.conv2d_forward(x, w, None, 1, 2), fast.conv2d_backward(dout, x, w, 1, 2)
    dws = 0
    for n in range(len(x)):
        one = slice(n, n + 1)
        dx_alone, dw_alone, _ = fast.conv2d_backward(dout[one], x[one], w, 1, 2)
        assert_close(out[one], fast.conv2d_forward(x[one], w, None, 1, 2), 1e-4)
        assert_close(dx[one], dx_alone, 1e-4)
        dws = dws + dw_alone
    assert_close(dw, dws, 1e-4)


@pytest.mark.parametrize(
    ("out_size", "strips"),
    [((14, 14), (1, (4, 4), 2)), ((28, 28), (1, (7, 7), 1)), ((56, 56), (7, (2, 14), 1)), ((41, 30), (11, (1, 8), 4)),
     ((300, 300), (75, (1, 75), 1))],
)  # fmt: skip
def test_large_images_are_taken_in_strips(out_size, strips):
    assert choose.winograd_strips(out_size, 5) == strips


COMPARE = """
    import numpy as np
    from scratchnet import fast, layers
    from scratchnet.fast import choose
    from scratchnet.fast.register import width
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 6, 5, 17)), rng.standard_normal((5, 5, 17, 19))
    dout, b = rng.standard_normal((4, 6, 5, 19)), rng.standard_normal(19)
    assert choose.winograd_is_faster(w.shape, (1, 1), (6, 5), 4)
    for ours, theirs in zip(
        [fast.conv2d_forward(x, w, b, 1, 2), *fast.conv2d_backward(dout, x, w, 1, 2)],
        [layers.conv2d_forward(x, w, b, 1, 2), *layers.conv2d_backward(dout, x, w, 1, 2)],
    ):
        assert np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max()
    print(width.REGISTER_BITS)
"""


@pytest.mark.slow
def test_without_jit_the_same_sources_run_as_plain_python():
    assert python(COMPARE, NUMBA_DISABLE_JIT="1")[0] == f"{width.REGISTER_BITS}\n"
