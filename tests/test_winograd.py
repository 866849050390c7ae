"""Winograd's convolution: its matrices, its rounding, and when it is taken."""

from __future__ import annotations

import numpy as np
import pytest
from cases import assert_close
from test_fast import python

from scratchnet import fast, layers
from scratchnet.fast import points, winograd


@pytest.mark.parametrize("r", [2, 3, 5])
def test_the_matrices_correlate_any_line_with_any_kernel(rng, r):
    B_T, G, A_T = points.matrices(r, np.dtype(np.float64))
    d, g = rng.standard_normal(points.SIDE), rng.standard_normal(r)
    assert_close(A_T @ ((G @ g) * (B_T @ d)), np.correlate(d, g, "valid"), 1e-13)
    assert np.abs(B_T).max(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("C", "F"), [(32, 64), (16, 32), (64, 32)], ids=["standard_conv2", "four_conv_conv4", "turned"]
)
def test_rounding_in_float32_stays_within_a_few_times_that_of_the_plain_sum(rng, C, F):
    """The limit of 2e-5 that all kernels are held to, on the shapes that the networks have and with values of one sign,
    which cancel worst in the transforms."""
    x, w, dout = rng.random((8, 14, 14, C)), rng.random((5, 5, C, F)), rng.random((8, 14, 14, F))
    assert winograd.pays(w.shape, (1, 1), (14, 14), 8)
    single = [a.astype(np.float32) for a in (x, w, dout)]
    assert_close(fast.conv2d_forward(*single[:2], None, 1, "same"), layers.conv2d_forward(x, w, None, 1, "same"), 2e-5)
    ours, truth = fast.conv2d_backward(single[2], *single[:2], 1, "same"), layers.conv2d_backward(dout, x, w, 1, "same")
    for name, mine, exact in zip(("dx", "dw", "db"), ours, truth, strict=True):
        assert_close(mine, exact, 2e-5, name)


@pytest.mark.parametrize(
    ("w_shape", "stride", "out_size", "N"),
    [((5, 5, 15, 32), (1, 1), (14, 14), 8), ((5, 5, 32, 8), (1, 1), (14, 14), 8), ((3, 3, 32, 64), (1, 1), (14, 14), 8),
     ((5, 3, 32, 64), (1, 1), (14, 14), 8), ((5, 5, 32, 64), (2, 1), (14, 14), 8), ((5, 5, 32, 64), (1, 1), (3, 14), 8),
     ((5, 5, 32, 64), (1, 1), (14, 14), 3)],
)  # fmt: skip
def test_other_convolutions_are_summed_as_defined(w_shape, stride, out_size, N):
    assert not winograd.pays(w_shape, stride, out_size, N)


@pytest.mark.parametrize(("N", "side"), [(8, 14), (1, 60)], ids=["whole_images", "strips"])
def test_on_black_ground_the_output_is_the_bias_to_the_last_bit(rng, N, side):
    """A ReLU or a max-pool behind it decides by that."""
    x = np.zeros((N, side, side, 16), np.float32)
    x[:, 4:9, side - 6 : side - 3] = rng.random(16, np.float32)
    w, b = rng.standard_normal((5, 5, 16, 32), np.float32), rng.standard_normal(32, np.float32)
    assert winograd.pays(w.shape, (1, 1), (side, side), N)
    out = fast.conv2d_forward(x, w, b, 1, "same")
    black = layers.conv2d_forward(x, np.ones((5, 5, 16, 1), np.float32), None, 1, "same")[..., 0] == 0
    assert 0.5 < black.mean() < 1
    assert np.array_equal(out[black], np.broadcast_to(b, out[black].shape))


@pytest.mark.parametrize(
    ("out_size", "strips"),
    [((14, 14), (1, (4, 4), 2)), ((28, 28), (1, (7, 7), 1)), ((56, 56), (7, (2, 14), 1)), ((41, 30), (11, (1, 8), 4)),
     ((300, 300), (75, (1, 75), 1))],
)  # fmt: skip
def test_large_images_are_taken_in_strips(out_size, strips):
    assert winograd.strips_of(out_size, 5) == strips


COMPARE = """
    import llvmlite.binding
    {features}
    import numpy as np
    from scratchnet import fast, layers
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 6, 5, 17)), rng.standard_normal((5, 5, 17, 19))
    dout, b = rng.standard_normal((4, 6, 5, 19)), rng.standard_normal(19)
    assert fast.winograd.pays(w.shape, (1, 1), (6, 5), 4)
    for ours, theirs in zip(
        [fast.conv2d_forward(x, w, b, 1, 2), *fast.conv2d_backward(dout, x, w, 1, 2)],
        [layers.conv2d_forward(x, w, b, 1, 2), *layers.conv2d_backward(dout, x, w, 1, 2)],
    ):
        assert np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max()
    print(fast.vector.REGISTER_BITS)
"""
HOST = """features = type(llvmlite.binding.get_host_cpu_features())({})
    llvmlite.binding.get_host_cpu_features = lambda: features"""


@pytest.mark.slow
@pytest.mark.parametrize(("features", "bits"), [("{'avx2': True, 'fma': True}", 256), ("{}", 128)], ids=["AVX2", "any"])
def test_narrower_registers_give_the_same_results(features, bits):
    assert python(COMPARE.format(features=HOST.format(features)))[0] == f"{bits}\n"


@pytest.mark.slow
def test_without_jit_the_same_sources_run_as_plain_python():
    assert python(COMPARE.format(features=""), NUMBA_DISABLE_JIT="1")[0] == f"{fast.vector.REGISTER_BITS}\n"
