"""Layers, arrays and faulty arguments, drawn at random: what `test_agreement.py` compares the engines on.

Each draw has a number, and the same number always gives the same draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import scratchnet as sn

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0)


class Subclass(np.ndarray):
    """An array of another class, as `np.memmap` is one."""


# ---------------------------------------------------------------- memory layouts


def reversed_axes(a):
    """Negative strides along every axis."""
    back = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[back])[back]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def sliced(a):
    """Every second number of a larger array; between them are numbers that nobody may read."""
    larger = np.full((*a.shape[:-1], 2 * a.shape[-1] + 1), np.nan, a.dtype)
    larger[..., 1::2] = a
    return larger[..., 1::2]


def framed(a):
    """The middle of a larger array."""
    return np.pad(a, 1, constant_values=np.nan)[(slice(1, -1),) * a.ndim]


def channels_first(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 0)), 0, -1)


def unaligned(a):
    """At an address that is no multiple of the size of a number."""
    room = np.empty(a.nbytes + 1, np.uint8)
    out = room[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def one_for_all(a):
    """The first example for every example, at the same address."""
    return np.broadcast_to(a[:1], a.shape)


def overlapping(a):
    """Each example begins one number after the one before."""
    room = np.resize(a.reshape(-1), a[:1].size + len(a))
    strides = (a.itemsize, *np.empty((1, *a.shape[1:]), a.dtype).strides[1:])
    return np.lib.stride_tricks.as_strided(room, a.shape, strides, writeable=False)


def subclass(a):
    return a.view(Subclass)


LAYOUTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.ascontiguousarray, np.asfortranarray, reversed_axes, read_only, sliced, framed, channels_first, unaligned,
    one_for_all, overlapping, subclass,
)  # fmt: skip


def laid_out(rng, a):
    """The numbers of a in another layout. Where examples lie on top of each other, the numbers are others."""
    layout = LAYOUTS[rng.integers(len(LAYOUTS))]
    return layout(a) if a.ndim and a.size else a


# ---------------------------------------------------------------- numbers


def numbers(rng, shape, dtype, special=False):
    """Numbers with many zeros or few; tiny ones, whole ones with ties; and, if `special`, some that are not finite."""
    a = rng.standard_normal(shape)
    kind = rng.choice(["normal", "denormal", "whole"], p=[0.7, 0.15, 0.15])
    if kind == "denormal":
        a *= 4 * np.finfo(dtype).tiny
    if kind == "whole":
        a = np.round(a)
    a = np.where(rng.random(shape) < rng.choice([0.05, 0.3, 1.0], p=[0.3, 0.2, 0.5]), a, rng.choice([0.0, -0.0]))
    if special:
        which = rng.choice(SPECIAL[: rng.integers(1, len(SPECIAL) + 1)], shape)
        a = np.where(rng.random(shape) < rng.choice([0.01, 0.1, 0.5]), which, a)
    return a.astype(dtype)


# ---------------------------------------------------------------- layers


def one_or_two(rng, largest):
    """An int, or a pair (height, width)."""
    pair = tuple(map(int, rng.integers(1, largest + 1, 2)))
    return pair if rng.random() < 0.5 else pair[0]


def padding(rng):
    some = ["same", "valid", 0, int(rng.integers(4)), tuple(map(int, rng.integers(0, 3, 2)))]
    return some[rng.integers(len(some))]


def image(rng, channels):
    """The shape of an image: often with sides of 1 or odd ones, and sometimes with none."""
    sides = rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 14], 2, p=[0.02, 0.09, 0.09, 0.1, 0.1, 0.1, 0.15, 0.15, 0.1, 0.1])
    return (*map(int, sides), channels)


def kernel(rng):
    return 5 if rng.random() < 0.4 else one_or_two(rng, 4)


def channel_pair(rng):
    return [(1, 1), (1, 4), (3, 5), (2, 21), (16, 16), (17, 19), (33, 3)][rng.integers(7)]


def conv(rng):
    C, F = channel_pair(rng)
    stride = 1 if rng.random() < 0.6 else one_or_two(rng, 3)
    return sn.Conv2D(C, F, kernel(rng), stride, padding(rng), bias=bool(rng.integers(2)), rng=rng), image(rng, C)


def winograd(rng):
    """A convolution with kernels and channels for which Winograd's way is taken, if there are enough images."""
    C, F, (H, W) = *map(int, rng.choice([16, 17, 19], 2)), rng.integers(3, 10, 2)
    return sn.Conv2D(C, F, 5, 1, padding(rng), bias=bool(rng.integers(2)), rng=rng), (int(H), int(W), C)


def depthwise(rng):
    C = int(rng.choice([1, 2, 3, 7, 16, 17, 33]))
    options = {"multiplier": int(rng.integers(1, 4)), "bias": bool(rng.integers(2)), "rng": rng}
    return sn.DepthwiseConv2D(C, kernel(rng), one_or_two(rng, 3), padding(rng), **options), image(rng, C)


def pointwise(rng):
    C, F = channel_pair(rng)
    return sn.PointwiseConv2D(C, F, bias=bool(rng.integers(2)), rng=rng), image(rng, C)


def dense(rng):
    D, F = (int(size) for size in rng.choice([1, 2, 7, 16, 33, 130], 2))
    return sn.Dense(D, F, bias=bool(rng.integers(2)), rng=rng), (D,)


def pool(kind):
    def make(rng):
        stride = None if rng.random() < 0.5 else one_or_two(rng, 3)
        channels = int(rng.choice([0, 1, 3, 16, 17], p=[0.05, 0.3, 0.3, 0.05, 0.3]))
        return kind(one_or_two(rng, 4), stride, padding(rng)), image(rng, channels)

    return make


def resize(rng):
    return sn.Resize(one_or_two(rng, 9)), image(rng, int(rng.choice([0, 1, 3, 17])))


def any_shape(kind, *arguments):
    def make(rng):
        return kind(*arguments), tuple(map(int, rng.integers(0, 9, rng.integers(0, 4))))

    return make


LAYERS = {
    "Conv2D": conv,
    "Conv2D 5x5": winograd,
    "DepthwiseConv2D": depthwise,
    "PointwiseConv2D": pointwise,
    "Dense": dense,
    "Resize": resize,
    "MaxPool2D": pool(sn.MaxPool2D),
    "AvgPool2D": pool(sn.AvgPool2D),
    "ReLU": any_shape(sn.ReLU),
    "Flatten": any_shape(sn.Flatten),
    "Dropout": any_shape(sn.Dropout, 0.4),
}


class Draw(NamedTuple):
    """A layer, the arguments of its two passes, and the input of a later pass."""

    layer: sn.Layer
    x: np.ndarray
    dout: np.ndarray
    later: np.ndarray
    training: bool
    need_dx: bool


def draw(kind, number, special):
    """Draw `number` of a layer of this kind; `special` says whether some numbers are not finite."""
    rng = np.random.default_rng([number, special, *kind.encode()])
    layer, shape = LAYERS[kind](rng)
    dtype = rng.choice([np.float32, np.float64])
    N = int(rng.choice([0, 1, 2, 3, 5, 17, 33] + [64, 67] * (kind == "Dense")))
    in_x, in_dout, in_weights = rng.random(3) < 0.6 if special else (False,) * 3
    for p in layer.parameters():
        p.value = np.asfortranarray(numbers(rng, p.value.shape, dtype, in_weights))
        p.value.flags.writeable = bool(rng.integers(2))
    x, later = (laid_out(rng, numbers(rng, (N, *shape), dtype, in_x)) for _ in range(2))
    dout = laid_out(rng, numbers(rng, output_shape(layer, x), rng.choice([dtype, np.float64]), in_dout))
    return Draw(layer, x, dout, later, bool(rng.integers(2)), bool(rng.integers(2)))


def output_shape(layer, x):
    """The shape of the output; any, where the layer refuses the input."""
    try:
        return layer.shape_after(x.shape)
    except (ValueError, IndexError):
        return x.shape


# ---------------------------------------------------------------- what is refused

WRONG = (np.float16, np.longdouble, np.int64, np.uint8, np.bool_, np.complex64, np.object_, ">f4", ">f8")


def faulty(rng, a):
    """a in another dtype or shape, or no array at all."""
    kind = rng.choice(["dtype", "axis more", "axis less", "shape", "list", "None"])
    if kind == "dtype":
        return np.zeros(a.shape).astype(WRONG[rng.integers(len(WRONG))])
    if kind == "axis more":
        return a[None]
    if kind == "axis less":
        return a[0] if a.ndim and len(a) else np.zeros((), a.dtype)
    if kind == "shape":
        return np.zeros([size + int(rng.integers(-1, 2)) if size else 1 for size in a.shape], a.dtype)
    return a.tolist() if kind == "list" else None
