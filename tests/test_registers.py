"""The mirror on other processors: with vector registers of 256 and of 128 bits, compared with the book.

A process chooses the width of a register once. So each width has a child process for which Numba compiles as for a
processor that has no wider ones: its name and features are replaced, and its code has no instruction that such a
processor lacks. The child runs all comparisons and prints how far the two engines are apart in each. It also takes all
routes of `routes.py`, and the whole table of shapes.

The child with 128 bits stands for ARM as well. What is emitted for it has no operation of x86 by name, and nothing that
only AVX has (masks, compressed stores). The code generator differs: on ARM, a multiply-add is one instruction, and here
it calls the C library. `test_what_is_emitted_for_128_bits_compiles_for_arm` translates each operation for ARM.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import comparing
import numba
import numpy as np
import oracle
import passes
import pytest
import routes
from cases import CONVOLUTIONS, POOLS
from llvmlite import binding
from test_fast import python
from test_layers import LAYERS

import scratchnet as sn
from scratchnet import fast
from scratchnet.fast import choose
from scratchnet.fast.register import vector
from scratchnet.fast.register.width import REGISTER_BITS


class Processor(NamedTuple):
    """A processor as LLVM names it, and those of its features that decide the width."""

    name: str
    features: dict[str, bool]


# By the width that the mirror then chooses; those that are narrower than this processor's.
PROCESSORS = {256: Processor("haswell", {"avx2": True, "fma": True}), 128: Processor("x86-64", {})}
NARROWER = {bits: processor for bits, processor in PROCESSORS.items() if bits < REGISTER_BITS}

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
        "routes": {dtype: comparing.report(dtype) for dtype in routes_of(REGISTER_BITS)},
        "shapes": {
            f"{name}, {dtype}": tried(compare, dtype) for name, compare in SHAPES.items() for dtype in TOLERANCE
        },
        "assembly": assembly(),
    }


def routes_of(bits):
    """The dtypes in which a child takes the routes: one, so that each width meets either in a minute less.

    A route's code is the same for all vectors; what differs is the number of lanes and of accumulators. float32 has 8
    lanes at 256 bits, with 12 accumulators; float64 has 2 at 128 bits, with 14. This process takes both at its own
    width, and 4 lanes are met by the table of shapes. ALL_ROUTES=1 takes both everywhere.
    """
    return list(TOLERANCE) if os.environ.get("ALL_ROUTES") else [{256: "float32", 128: "float64"}[bits]]


def tried(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def convolved(kind, name, case, kept, dtype):
    """Compare a shape of the table with the oracle. Winograd's way rounds: 5 x 5 kernels and many channels take it."""
    C, outputs = case.C, case.filters % 3 + 1 if kind == "depthwise_conv2d" else case.filters
    sizes = routes.Sizes(case.N, "", "", np.dtype(dtype))
    shapes = (case.N, *case.size, C), (*oracle.both(case.kernel), C, outputs)
    run, arrays = passes.weighted(kind, sizes, *shapes, case.stride, case.padding, kept=kept)
    comparing.assert_same(run(fast, *arrays), run(oracle, *arrays), "5x5" in name, "")


def pooled(make, case, dtype):
    run, arrays = make(routes.Sizes(case.N, "", "", np.dtype(dtype)), case.size, case.C, *case[3:])
    comparing.assert_same(run(fast, *arrays), run(oracle, *arrays), False, "")


SHAPES = (
    {
        f"{kind} {name}, {kept:.0%} of dout": partial(convolved, kind, name, case, kept)
        for kind, shares in {"conv2d": (1.0, 0.1), "depthwise_conv2d": (1.0,)}.items()
        for name, case in CONVOLUTIONS.items()
        for kept in shares
    }
    | {f"max-pool {name}": partial(pooled, passes.max_pool, case) for name, case in POOLS.items()}
    | {f"average pool {name}": partial(pooled, passes.avg_pool, case) for name, case in POOLS.items()}
)


# Without reference counts and the entry from Python: LLVM has operations of x86's own for these.
@numba.njit(_nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def each_operation(a, numbers, places, i):
    """What differs between processors: the operations that LLVM has no plain instruction for."""
    v = vector.load_first(a, i, 3)
    v = vector.fma(v, vector.splat(a, i), vector.load(a, i))
    v = vector.where_equal(v, vector.load_int(numbers, i, 3, v), v, vector.zeros(a))
    vector.store_first(vector.where_greater(v, v, v, vector.where_greater_or_nan(v, v, v, v)), a, i, 3)
    vector.store_int(v, numbers, i, 3)
    vector.transpose_square(a, i, 16, a, i + 256, 16)
    return vector.sum_of_lanes(v) + vector.append_nonzero(v, numbers, i, a, places, i)


def assembly():
    """The instructions of `each_operation` for this process's processor, and for ARM."""
    floats, ints = numba.float32[::1], numba.int32[::1]
    each_operation.compile((floats, ints, ints, numba.intp))
    (ours,), (code,) = each_operation.inspect_asm().values(), each_operation.inspect_llvm().values()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    code = re.sub(r'target (triple|datalayout) = ".*"', "", code)
    code = re.sub(r'"target-(cpu|features)"="[^"]*"', "", code)
    arm = binding.Target.from_triple("aarch64-linux-gnu").create_target_machine()
    return {"ours": ours, "arm": arm.emit_assembly(binding.parse_assembly(code))}


CHILD = """
    import json, llvmlite.binding
    features = type(llvmlite.binding.get_host_cpu_features())({features})
    llvmlite.binding.get_host_cpu_features = lambda: features
    import test_registers
    print(json.dumps(test_registers.report()))
"""


def reported(processor):
    """The report of a child process that takes its processor to be this one."""
    code = CHILD.format(features=processor.features)
    return json.loads(python(code, NUMBA_CPU_NAME=processor.name)[0])


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


@pytest.mark.slow
@each_width
def test_narrower_registers_take_every_route(reports, bits):
    nothing = {"wrong": {}, "missing": []}
    assert reports[bits]["routes"] == dict.fromkeys(routes_of(bits), nothing)


@pytest.mark.slow
@each_width
def test_narrower_registers_get_every_shape_right(reports, bits):
    assert {name: error for name, error in reports[bits]["shapes"].items() if error} == {}


@pytest.mark.slow
@each_width
def test_a_child_runs_only_what_its_processor_has(reports, bits):
    """AVX-512's registers, its masks and compressed stores; with 128 bits also what AVX has."""
    wider = {256: r"zmm|%k\d|vpcompress|vcompress", 128: r"[yz]mm|%k\d|vpcompress|vcompress|vmaskmov|vfmadd"}[bits]
    assert re.findall(wider, reports[bits]["assembly"]["ours"]) == []


@pytest.mark.slow
@pytest.mark.skipif(128 not in NARROWER, reason="this processor has registers of 128 bits itself")
def test_what_is_emitted_for_128_bits_compiles_for_arm(reports):
    """Each operation is made of NEON's instructions. No library has to add what the code generator lacks."""
    arm = reports[128]["assembly"]["arm"]
    assert re.search(r"\bfmla\b", arm)
    calls = set(re.findall(r"\bbl?\s+([A-Za-z_]\w+)", arm))
    assert not {name for name in calls if "NRT" not in name and "numba" not in name}
