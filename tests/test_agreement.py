"""The engines agree on everything: results and errors, for any shapes, memory layouts and numbers.

`scratchnet/engine.py` says what they agree on. In short: with finite numbers on all results, up to rounding. A number
that is not finite shows wherever it has a part, and stays within its example; only 0 times such a number is left open.

`SCRATCHNET_AGREEMENT_DRAWS=3000 python -m pytest tests/test_agreement.py` compares more draws than the usual few.
"""

from __future__ import annotations

import contextlib
import copy
import os
from itertools import islice

import numpy as np
import pytest
import torch
from drawn import LAYERS, draw, faulty
from test_layers_torch import nchw, nhwc

import scratchnet as sn
from scratchnet.engine import KERNELS, current_engine, ops
from scratchnet.layers import definition

DRAWS = int(os.environ.get("SCRATCHNET_AGREEMENT_DRAWS", "240"))
ENGINES = ("numpy", "numba")
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}  # relative to the terms of the largest sum
SUMS = (
    "Conv2D",
    "Conv2D 5x5",
    "DepthwiseConv2D",
    "PointwiseConv2D",
    "Dense",
    "Resize",
    "AvgPool2D",
)  # the others add no terms

each_kind = pytest.mark.parametrize("kind", list(LAYERS))


def results(layer, x, dout, training=False, need_dx=True):
    """What both passes give, by name; or the class and the text of the error."""
    try:
        found = {"out": layer.forward(x, training), "dx": layer.backward(dout, need_dx)}
    except (TypeError, ValueError, RuntimeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return found | gradients(layer)


def gradients(layer):
    """The gradients of a layer, or of a network with weights in one layer, as "w" and "b"."""
    return {p.name.split(".")[-1]: p.grad for p in layer.parameters()}


def on(engine, layer, *arguments):
    """As `results`, on an engine; without the warnings of NumPy, which only the book has."""
    with sn.use_engine(engine or current_engine()), np.errstate(all="ignore"):
        return results(layer, *arguments)


def contents(*arrays):
    return [None if a is None else a.tobytes() for a in arrays]


# ---------------------------------------------------------------- what layers with sums promise


def passes(layer, x, w, b, dout):
    """The book's results, in float64, with other numbers in the place of the layer's weights."""
    layer = copy.deepcopy(layer)
    for p, value in zip(layer.parameters(), (w, b), strict=False):
        p.value = value
    return on("numpy", layer, x, dout)


def bad(a):
    return (~np.isfinite(a)).astype(float)


def nonzero(a):
    return (a != 0).astype(float)


def size(a):
    return np.abs(np.where(np.isfinite(a), a, 0)).astype(float)


def parts(layer, x, dout):
    """For each result: where a term of its sum is not finite, apart from 0 times something; and how large terms are."""
    w, b = ([*(p.value for p in layer.parameters()), None, None])[:2]
    of = {f: [None if a is None else f(a) for a in (x, w, b, dout)] for f in (bad, nonzero, size)}
    (bad_x, bad_w, bad_b, bad_dout), (some_x, some_w, _, some_dout) = of[bad], of[nonzero]
    no_b = None if b is None else 0 * bad_b
    terms = [(("out", "dx", "b"), (bad_x, some_w, bad_b, bad_dout))]
    if w is not None:
        terms += [
            (("out", "dx"), (some_x, bad_w, no_b, some_dout)),
            (("w",), (bad_x, some_w, no_b, some_dout)),
            (("w",), (some_x, some_w, no_b, bad_dout)),
        ]
    reached = {}
    for names, arguments in terms:
        for name, found in passes(layer, *arguments).items():
            if name in names:
                reached[name] = reached.get(name, False) | (found > 0)
    return reached, passes(layer, *of[size])


def clean(name, shape, layer, x, dout):
    """Which entries of a result no number that is not finite may touch: those of other examples."""
    weights_are_finite = all(np.isfinite(p.value).all() for p in layer.parameters())
    if name in ("out", "dx"):
        source = x if name == "out" else dout
        rows = np.isfinite(source).all(axis=tuple(range(1, source.ndim))) & weights_are_finite
        return np.broadcast_to(rows.reshape(-1, *[1] * (len(shape) - 1)), shape)
    if name == "b":
        return np.isfinite(dout).all(axis=tuple(range(dout.ndim - 1)))
    return np.full(shape, np.isfinite(x).all() and np.isfinite(dout).all())


def assert_sums(found, layer, x, dout):
    """Each result of each engine shows what is not finite, in its example alone; finite results are close."""
    reached, sizes = parts(layer, x, dout)
    for name, book in found["numpy"].items():
        if book is None:
            continue
        tolerance = TOLERANCE[book.dtype] * max(sizes[name].max(initial=0), np.finfo(book.dtype).tiny)
        for engine, result in found.items():
            here = result[name]
            assert not (np.isfinite(here) & reached[name]).any(), f"{engine} hides a number in {name}"
            safe = clean(name, here.shape, layer, x, dout)
            assert np.isfinite(here[safe]).all(), f"{engine} spreads a number in {name}"
            both = np.isfinite(book) & np.isfinite(here)
            assert (np.abs(here[both] - book[both]) <= tolerance).all(), f"{engine} has other numbers in {name}"


def assert_same(found, dout):
    """All engines have the same results, entry by entry. Only where windows overlap may dx differ by rounding."""
    for result in found.values():
        np.testing.assert_array_equal(result["out"], found["numpy"]["out"])
        tolerance = TOLERANCE[result["dx"].dtype]
        np.testing.assert_allclose(result["dx"], found["numpy"]["dx"], tolerance, tolerance * size(dout).max(initial=0))


# ---------------------------------------------------------------- layers


@each_kind
@pytest.mark.parametrize("special", [False, True], ids=["finite", "not finite"])
def test_a_layers_passes(kind, special):
    for number in range(DRAWS // (2 * len(LAYERS))):
        try:
            found = {engine: run(engine, draw(kind, number, special)) for engine in ENGINES}
            assert_agree(kind, found, draw(kind, number, special))
        except Exception as error:
            raise AssertionError(f"draw({kind!r}, {number}, {special}): {error}") from error


def run(engine, drawn):
    """The results of a draw, which change no argument and are not changed by later calls."""
    layer, x, dout, later, *options = drawn
    arguments = (x, dout, *(p.value for p in layer.parameters()))
    before = contents(*arguments)
    found = on(engine, layer, x, dout, *options)
    assert contents(*arguments) == before, f"{engine} writes to its arguments"
    if "error" not in found:
        kept = contents(*found.values())
        on(engine, layer, later, -dout, *options)
        assert contents(*found.values()) == kept, f"{engine} changes an earlier result"
    return found


def assert_agree(kind, found, drawn):
    """Both engines gave the same error, or results of the same form that agree."""
    book, mirror = found.values()
    if "error" in book or "error" in mirror:
        assert book == mirror
        return
    layer, x, dout, *_ = drawn
    dout = dout.astype(x.dtype)  # as the layer does; a number may become 0
    for name, expected in book.items():
        assert (expected is None) == (mirror[name] is None), name
        if expected is not None:
            assert (mirror[name].shape, mirror[name].dtype) == (expected.shape, expected.dtype), name
    if kind in SUMS:
        assert_sums(found, layer, x, dout)
    else:
        assert_same(found, dout)


@each_kind
def test_a_layers_errors(kind):
    """Arguments of another dtype, shape or class are refused in the same words, and leave the layer usable."""
    for number in range(DRAWS // (4 * len(LAYERS))):
        try:
            found = {engine: with_a_fault(engine, kind, number) for engine in ENGINES}
            assert found["numpy"] == found["numba"]
        except Exception as error:
            raise AssertionError(f"with_a_fault(..., {kind!r}, {number}): {error}") from error


def with_a_fault(engine, kind, number):
    """The error for a draw in which one argument is wrong; the forms of the results, if it was not wrong enough."""
    rng = np.random.default_rng(number)
    layer, x, dout, *_ = draw(kind, number, False)
    before = on(engine, layer, x, dout)
    given = (faulty(rng, x), dout) if rng.integers(2) else (x, faulty(rng, dout))
    found = on(engine, layer, *given)
    after = on(engine, layer, x, dout)
    assert "error" in before or contents(*before.values()) == contents(*after.values())
    return {name: found[name] if name == "error" else (found[name].shape, found[name].dtype) for name in found}


IMAGE_LAYERS = {
    "conv": sn.Conv2D(1, 2, 3),
    "depthwise": sn.DepthwiseConv2D(1, 3),
    "pointwise": sn.PointwiseConv2D(1, 2),
    "pool": sn.MaxPool2D(2, padding=1),
    "resize": sn.Resize(3),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", list(IMAGE_LAYERS))
def test_images_without_pixels_are_refused(name, engine):
    with sn.use_engine(engine), pytest.raises(ValueError, match=f"{name}: .*(the image has|got) 0x5"):
        IMAGE_LAYERS[name].forward(np.zeros((2, 0, 5, 1), np.float32))


# ---------------------------------------------------------------- the definition, and PyTorch


def by_definition(layer, x, dout):
    """The results of a layer whose kernels are the plain loops."""
    with pytest.MonkeyPatch.context() as patch, sn.use_engine("numpy"):
        for name in [name for name in KERNELS if hasattr(definition, name)]:
            patch.setattr(ops, name, without_need_dx(getattr(definition, name)))
        return on(None, layer, x, dout)


def without_need_dx(loops):
    return lambda *arguments, need_dx=True: loops(*arguments)


def small_draws(kind):
    """Draws that plain loops finish soon."""
    for number in range(DRAWS):
        layer, x, *_ = drawn = draw(kind, number, True)
        with contextlib.suppress(ValueError):  # the layer refuses the input
            work = np.prod(layer.shape_after(x.shape)) + layer.multiply_adds(x.shape[1:]) * len(x)
            if 0 < work <= 2000:
                yield number, drawn


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "PointwiseConv2D", "Dense", "AvgPool2D", "MaxPool2D"])
def test_the_definition_keeps_the_promises_too(kind):
    for number, (layer, x, dout, *_) in islice(small_draws(kind), DRAWS // 20):
        found = {"numpy": on("numpy", layer, x, dout), "definition": by_definition(layer, x, dout)}
        try:
            assert_agree(kind, found, (layer, x, dout))
        except AssertionError as error:
            raise AssertionError(f"draw({kind!r}, {number}, True): {error}") from error


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_who_wins_a_window_is_pytorchs_choice(engine, dtype, rng):
    """Of several NaNs the last, and among pixels that are all -infinity the first, which is no padding."""
    x = rng.choice([np.nan, -np.inf, np.inf, 1.0, 2.0], (50, 7, 8, 3), p=[0.1, 0.5, 0.1, 0.2, 0.1]).astype(dtype)
    x[:10] = -np.inf
    (PH, PW), stride, padding = (3, 4), (2, 1), (1, 2)
    with sn.use_engine(engine):
        out, argmax = ops.max_pool2d_forward(x, (PH, PW), stride, padding)
    theirs, places = torch.nn.functional.max_pool2d(nchw(x), (PH, PW), stride, padding, return_indices=True)
    np.testing.assert_array_equal(out, nhwc(theirs))
    i, j = np.arange(out.shape[1])[:, None, None], np.arange(out.shape[2])[:, None]
    rows, columns = i * stride[0] - padding[0] + argmax // PW, j * stride[1] - padding[1] + argmax % PW
    np.testing.assert_array_equal(rows * x.shape[2] + columns, nhwc(places))
