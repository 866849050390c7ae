"""Shapes that are hostile on purpose, by name; every engine has to get all of them right.

Each differs from the easy case (square image, square kernel, stride 1) in a way that exposes some wrong kernel: axes
that differ, strides that do not divide, windows that overlap or leave gaps, a single image, channel counts that fit no
vector register.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest


class Conv(NamedTuple):
    N: int
    size: tuple[int, int]
    C: int
    filters: int  # of convolutions; a depthwise one has the multiplier filters % 3 + 1
    kernel: tuple[int, int] | int
    stride: tuple[int, int] | int
    padding: tuple[int, int] | int | str


CONVOLUTIONS = {
    "as_in_mnist": Conv(2, (28, 28), 1, 4, 5, 1, "same"),
    "one_image_one_channel": Conv(1, (6, 6), 1, 1, 3, 1, 0),
    "tall_image_wide_kernel": Conv(2, (11, 5), 3, 4, (1, 3), 1, "valid"),
    "wide_image_tall_kernel": Conv(2, (5, 11), 3, 5, (4, 2), 1, 0),
    "kernel_as_large_as_image": Conv(3, (4, 6), 2, 3, (4, 6), 1, 0),
    "one_by_one_kernel": Conv(2, (5, 4), 3, 7, 1, 1, 0),
    "one_by_one_kernel_stride_2": Conv(2, (5, 4), 3, 7, 1, 2, 0),
    "stride_2": Conv(2, (9, 8), 3, 4, 3, 2, 1),
    "stride_3_with_rows_left_over": Conv(2, (11, 10), 2, 3, 3, 3, 0),
    "strides_differ": Conv(2, (9, 10), 3, 4, (3, 2), (2, 3), (1, 0)),
    "stride_larger_than_kernel": Conv(2, (10, 11), 2, 3, 2, 4, 0),
    "padding_differs": Conv(2, (6, 7), 3, 4, (3, 5), 1, (2, 1)),
    "padding_larger_than_kernel": Conv(1, (3, 4), 2, 3, 2, 1, 3),
    "same_even_kernel": Conv(2, (7, 6), 3, 4, (2, 4), 1, "same"),
    "same_stride_2_odd_image": Conv(2, (7, 9), 3, 4, 3, 2, "same"),
    "same_stride_2_even_image": Conv(2, (8, 6), 3, 4, 3, 2, "same"),
    "same_stride_3": Conv(2, (10, 11), 2, 5, 5, 3, "same"),
    "channels_fit_no_vector": Conv(2, (5, 6), 17, 19, 3, 1, 1),
    "many_channels": Conv(1, (4, 5), 33, 40, 3, 1, "same"),
    "many_channels_two_tiles_a_line": Conv(2, (4, 28), 9, 17, (3, 4), (2, 1), "same"),
    "many_channels_5x5": Conv(5, (9, 6), 17, 35, 5, 1, "same"),
    "many_channels_5x5_wide_padding": Conv(4, (5, 10), 16, 16, 5, 1, (4, 3)),
    "many_channels_5x5_in_strips": Conv(10, (45, 38), 17, 16, 5, 1, 2),
    "many_channels_5x5_in_strips_of_one_line": Conv(2, (41, 30), 16, 19, 5, 1, "same"),
    "larger_than_a_cache": Conv(1, (60, 61), 8, 32, 3, 1, 1),
    "more_lines_than_fit_together": Conv(1, (6, 7), 60, 17, (7, 5), 1, 2),
    "longer_lines_than_fit_together": Conv(1, (3, 4), 350, 3, (2, 3), 1, 0),
    "one_pixel": Conv(4, (1, 1), 3, 2, 3, 1, 1),
}


class Pool(NamedTuple):
    N: int
    size: tuple[int, int]
    C: int
    pool: tuple[int, int] | int
    stride: tuple[int, int] | int
    padding: tuple[int, int] | int | str


POOLS = {
    "as_in_mnist": Pool(2, (28, 28), 4, 2, 2, 0),
    "one_image_one_channel": Pool(1, (4, 4), 1, 2, 2, 0),
    "overlapping": Pool(2, (7, 8), 3, 3, 2, 0),
    "overlapping_stride_1": Pool(2, (6, 5), 3, 3, 1, 1),
    "window_not_square": Pool(2, (9, 8), 2, (2, 3), (2, 3), 0),
    "strides_differ": Pool(2, (9, 10), 5, (3, 2), (1, 3), (1, 0)),
    "rows_left_over": Pool(2, (7, 5), 3, 2, 2, 0),
    "gaps_between_windows": Pool(2, (9, 9), 3, 2, 3, 0),
    "overlapping_and_left_over": Pool(2, (6, 6), 3, 3, 2, 0),  # windows as large as the image
    "padding": Pool(2, (7, 8), 3, 3, 2, 1),
    "same_even_window": Pool(2, (7, 5), 3, 2, 2, "same"),
    "same_stride_1": Pool(2, (5, 6), 2, 4, 1, "same"),
    "channels_fit_no_vector": Pool(2, (6, 6), 19, 2, 2, 0),
    "window_is_the_image": Pool(3, (5, 4), 3, (5, 4), 1, 0),
}


def places_and_padding(length, window, stride, padding):
    """Along one axis: how many places a window has, and the rows of padding (before, after) the image.

    "same" as TensorFlow and ONNX (SAME_UPPER) write it down. The library has code of its own for this.
    """
    if padding == "same":
        places = math.ceil(length / stride)
        total = max((places - 1) * stride + window - length, 0)
        return places, (total // 2, total - total // 2)
    rows = 0 if padding == "valid" else padding
    return (length + 2 * rows - window) // stride + 1, (rows, rows)


def each(cases):
    """Parametrise a test over a table of cases, by their names."""
    return pytest.mark.parametrize("case", list(cases.values()), ids=list(cases))


def assert_close(actual, expected, rtol, what=""):
    """Assert that every entry is within rtol of the largest entry of `expected`; the message names the worst one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    error = np.abs(actual - expected)
    worst = np.unravel_index(np.nan_to_num(error, nan=np.inf).argmax(), error.shape)
    limit = rtol * max(np.abs(expected).max(), 1e-30)
    assert error[worst] <= limit, f"{what}{list(map(int, worst))}: {actual[worst]!r}, expected {expected[worst]!r}"
