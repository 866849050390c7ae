"""The mirror on other processors: with vector registers of 256 and of 128 bits, compared with the book.

A process chooses the width of a register once. So each width has a child process, in which the processor's features are
replaced. It runs all comparisons and prints how far the two engines are apart in each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from test_fast import python
from test_layers import LAYERS

import scratchnet as sn
from scratchnet.fast import choose
from scratchnet.fast.register.width import REGISTER_BITS

# What a processor has, by the width that the mirror then chooses; those that are narrower than this processor's.
FEATURES = {256: {"avx2": True, "fma": True}, 128: {}}
NARROWER = {bits: features for bits, features in FEATURES.items() if bits < REGISTER_BITS}

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}  # relative to the largest entry, as in test_layers_torch


class Case(NamedTuple):
    """A layer or network, an input for it, and a way that its kernels take, as `scratchnet explain` names it."""

    make: Callable[[], sn.Layer | sn.Network]
    shape: tuple[int, ...]
    way: str | None = None
    kept: float = 1.0  # the share of its output's gradient that is not zero
    dtype: str = "float32"


def windows_side_by_side():
    return sn.Network([sn.PointwiseConv2D(1, 21), sn.ReLU(), sn.MaxPool2D((2, 3))])


def windows_that_overlap():
    return sn.Network([sn.PointwiseConv2D(3, 5), sn.ReLU(), sn.MaxPool2D(3, 2)])


CASES = {name: Case(*layer) for name, layer in LAYERS.items()} | {
    "filters that fill no register": Case(lambda: sn.Conv2D(3, 21, 3, stride=2, padding=1), (2, 9, 8, 3), "tile"),
    "convolution behind a max-pool": Case(lambda: sn.Conv2D(6, 7, 3), (2, 9, 8, 6), "nonzeros", kept=0.1),
    "Winograd's convolution": Case(lambda: sn.Conv2D(17, 19, 5), (4, 6, 5, 17), "Winograd", dtype="float64"),
    "depthwise in lines": Case(lambda: sn.DepthwiseConv2D(1, 3), (2, 9, 8, 1), "lines"),
    "depthwise in pixels": Case(lambda: sn.DepthwiseConv2D(17, 3), (2, 5, 8, 17), "pixels"),
    "pointwise with one channel": Case(lambda: sn.PointwiseConv2D(1, 21), (2, 9, 8, 1), "one pass"),
    "dense layer behind ReLU": Case(lambda: sn.Dense(30, 19), (64, 30), "nonzeros", kept=0.3),
    "dense layer of a few digits": Case(lambda: sn.Dense(30, 19), (3, 30), "few rows"),
    "ReLU and max-pool in one pass": Case(windows_that_overlap, (2, 7, 8, 3)),
    "one channel, ReLU and max-pool in one pass": Case(windows_side_by_side, (2, 7, 8, 1), "one pass"),
}


def results(layer, x, kept):
    """The results of a layer or network on the engine in use: output, gradient of x, gradient of each parameter."""
    out = layer.forward(x)
    rng = np.random.default_rng(1)
    dout = (rng.standard_normal(out.shape) * (rng.random(out.shape) < kept)).astype(x.dtype)
    return [out, layer.backward(dout), *(p.grad for p in layer.parameters())]


def on_both_engines(layer, x, kept=1.0):
    """The results of both engines: [(the book's, the mirror's), ...]."""
    with sn.use_engine("numpy"):
        expected = results(layer, x, kept)
    with sn.use_engine("numba"):
        return list(zip(expected, results(layer, x, kept), strict=True))


def distance(case):
    """The largest difference of the two engines, relative to the largest entry of each result."""
    x = np.random.default_rng(0).standard_normal(case.shape).astype(case.dtype)
    pairs = on_both_engines(case.make(), x, case.kept)
    return float(np.max([np.abs(ours - book).max() / np.abs(book).max() for book, ours in pairs]))  # NaN if one is


def compared(case):
    """(the distance, the ways that the mirror took)."""
    with choose.recorded() as choices:
        return distance(case), sorted({choice.way for choice in choices})


def same_without_images(case):
    """Whether an empty batch gives results of the same shapes, and no gradient, on both engines."""
    pairs = on_both_engines(case.make(), np.zeros((0, *case.shape[1:]), case.dtype))
    return all(ours.shape == book.shape and not ours.any() for book, ours in pairs)


def report():
    """What a child process prints: its width, and for each case how far the engines are apart, or the error."""
    return {
        "bits": REGISTER_BITS,
        "compared": {name: tried(compared, case) for name, case in CASES.items()},
        "empty": {name: tried(same_without_images, case) for name, case in CASES.items()},
    }


def tried(function, case):
    try:
        return function(case)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


CHILD = """
    import json, llvmlite.binding
    features = type(llvmlite.binding.get_host_cpu_features())({features})
    llvmlite.binding.get_host_cpu_features = lambda: features
    import test_registers
    print(json.dumps(test_registers.report()))
"""


def reported(features):
    """The report of a child process whose processor has these features."""
    return json.loads(python(CHILD.format(features=features))[0])


@pytest.fixture(scope="module")
def reports():
    """The report for each width. The child processes run in parallel: they mostly compile, each on one core."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(NARROWER, pool.map(reported, NARROWER.values()), strict=True))


each_width = pytest.mark.parametrize("bits", list(NARROWER))
each_case = pytest.mark.parametrize("name", list(CASES))


@pytest.mark.slow
@each_width
def test_the_features_decide_the_width(reports, bits):
    assert reports[bits]["bits"] == bits


@pytest.mark.slow
@each_width
@each_case
def test_narrower_registers_give_the_same_results(reports, bits, name):
    result, case = reports[bits]["compared"][name], CASES[name]
    assert isinstance(result, list), result
    distance, ways = result
    assert distance < TOLERANCE[case.dtype]
    assert case.way is None or case.way in ways, ways


@pytest.mark.slow
@each_width
@each_case
def test_narrower_registers_take_an_empty_batch(reports, bits, name):
    assert reports[bits]["empty"][name] is True
