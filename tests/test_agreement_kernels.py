"""The engines agree on the kernels that belong to no layer: updates of weights, augmentation, patches as rows."""

from __future__ import annotations

import contextlib

import numba
import numpy as np
import pytest
from drawn import LAYOUTS, laid_out, numbers, one_or_two, padding
from test_agreement import DRAWS, ENGINES, size

import scratchnet as sn
from scratchnet.engine import ops
from scratchnet.fast.compiled import for_kernel


def alike(found, tolerance):
    """Assert that both engines gave the same error, or arrays that are close and have the same NaNs and infinities."""
    book, mirror = found.values()
    if isinstance(book, str) or isinstance(mirror, str):
        assert book == mirror
        return
    for ours, theirs in zip(mirror, book, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance * size(theirs).max(initial=0))


def called(engine, name, *arguments):
    """What a kernel returns, and then what its arguments hold; or the class and the text of the error."""
    with sn.use_engine(engine), np.errstate(all="ignore"):
        try:
            returned = getattr(ops, name)(*arguments)
        except (TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
    return [a for a in (returned, *arguments) if isinstance(a, np.ndarray)]


UPDATES = {
    "sgd_update": (1, (0.1,)),
    "momentum_update": (2, (0.1, 0.9, False)),
    "momentum_update with Nesterov": (2, (0.1, 0.9, True)),
    "average_update": (1, (0.9,)),
    "adam_update": (3, (0.1, (0.9, 0.999), 1e-8, 3)),
}


def weight_and_others(rng, count):
    """A weight, and `count` arrays of its shape; one of them, or how they lie in memory, is odd."""
    dtype = rng.choice([np.float32, np.float64])
    shape = [(), (0,), (1,), (17,), (3, 5), (1, 3, 2)][rng.integers(6)]
    special = bool(rng.integers(2))
    arrays = [numbers(rng, shape, dtype, special) for _ in range(count + 1)]
    odd, which = rng.choice(["no", "layout", "shape", "dtype", "overlap"]), int(rng.integers(count + 1))
    if odd == "layout":
        arrays[which] = laid_out(rng, arrays[which])
    if odd == "shape":
        arrays[which] = numbers(rng, [(2,), (4, 5), (3, 1), (1,)][rng.integers(4)], dtype)
    if odd == "dtype":
        arrays[which] = arrays[which].astype(np.float64 if dtype == np.float32 else np.float32)
    if odd == "overlap":
        room = numbers(rng, arrays[0].size + 1, dtype, special)
        arrays[0], arrays[1] = room[1:].reshape(shape), room[:-1].reshape(shape)
    return arrays


@pytest.mark.parametrize("kind", list(UPDATES))
def test_updates(kind):
    count, settings = UPDATES[kind]
    for number in range(DRAWS // 8):
        found = {}
        for engine in ENGINES:
            arrays = weight_and_others(np.random.default_rng([number, count]), count)
            found[engine] = called(engine, kind.split()[0], *arrays, *settings)
        try:
            alike(found, 3e-5 if arrays[0].dtype == np.float32 else 1e-12)
        except AssertionError as error:
            raise AssertionError(f"{kind}, {number}: {error}") from error


def some_images(rng):
    shape = tuple(map(int, rng.choice([[0, 3, 3, 1], [1, 1, 1, 1], [2, 1, 5, 3], [3, 7, 4, 1], [17, 5, 5, 2]])))
    return laid_out(rng, numbers(rng, shape, rng.choice([np.float32, np.float64]), bool(rng.integers(2))))


def turned(rng):
    x = some_images(rng)
    angles = laid_out(rng, rng.choice([0, 1], len(x)) * rng.uniform(-4, 4, len(x)))
    shifts = laid_out(
        rng, rng.choice([rng.uniform(-9, 9, (len(x), 2)), rng.integers(-3, 4, (len(x), 2)).astype(float)])
    )
    return "turn_and_shift", x, angles, shifts


def patches(rng):
    return "im2col", some_images(rng), one_or_two(rng, 4), one_or_two(rng, 3), padding(rng)


def from_patches(rng):
    x, window = some_images(rng), (one_or_two(rng, 3), one_or_two(rng, 3), padding(rng))
    with sn.use_engine("numpy"), contextlib.suppress(ValueError):
        return "col2im", laid_out(rng, ops.im2col(x, *window)), x.shape, *window
    return "col2im", np.zeros((1, 1), x.dtype), x.shape, *window  # the window does not fit on the image


@pytest.mark.parametrize("make", [turned, patches, from_patches])
def test_kernels_of_no_layer(make):
    for number in range(DRAWS // 8):
        name, first, *others = make(np.random.default_rng(number))
        found = {engine: called(engine, name, first, *others) for engine in ENGINES}
        try:
            alike(found, 1e-5 if first.dtype == np.float32 else 1e-12)
        except AssertionError as error:
            raise AssertionError(f"{make.__name__}, {number}: {error}") from error


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_kernels_are_compiled_for_one_layout_only(layout, rng):
    """An array of another layout is copied; it would take as long as a network's first step to compile for it."""
    a = layout(rng.standard_normal((3, 4, 5)))
    ready = for_kernel(a)
    assert numba.typeof(ready) == numba.typeof(np.zeros((3, 4, 5)))
    assert np.array_equal(ready, a)
    assert for_kernel(ready) is ready
