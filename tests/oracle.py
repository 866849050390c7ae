"""The definition in whole arrays: quick enough for large batches, and made of nothing that the library computes with.

`layers/definition.py` has the same formulas as loops; a test compares the two. Everything is summed in float64, and the
result takes the dtype of x. Names and arguments are those of the library's kernels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import places_and_padding


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def padded(x: np.ndarray, size, stride, padding, value: float = 0.0) -> tuple[np.ndarray, tuple, tuple[int, int]]:
    """x (N, H, W, C) in float64 with its padding; where the image lies in it, as slices; the number of places."""
    (OH, rows), (OW, columns) = (
        places_and_padding(*axis) for axis in zip(x.shape[1:3], both(size), both(stride), both(padding), strict=True)
    )
    if min(OH, OW) < 1:
        raise ValueError("the window does not fit")
    image = np.pad(x.astype(np.float64), ((0, 0), rows, columns, (0, 0)), constant_values=value)
    (top, _), (left, _), (H, W) = rows, columns, x.shape[1:3]
    inside = (slice(None), slice(top, top + H), slice(left, left + W))
    return image, inside, (OH, OW)


def taps(size, stride, places) -> Iterator[tuple[int, int, tuple]]:
    """(kh, kw, the pixels of the padded images that this place of the window meets), one after the other."""
    (KH, KW), (SH, SW), (OH, OW) = both(size), both(stride), places
    for kh in range(KH):
        for kw in range(KW):
            yield kh, kw, (slice(None), slice(kh, kh + SH * (OH - 1) + 1, SH), slice(kw, kw + SW * (OW - 1) + 1, SW))


# ---------------------------------------------------------------- layers with weights


def dense_forward(x, w, b):
    out = x.astype(np.float64) @ w.astype(np.float64)
    return (out if b is None else out + b).astype(x.dtype)


def dense_backward(dout, x, w):
    dout, x64, w = (a.astype(np.float64) for a in (dout, x, w))
    return tuple(a.astype(x.dtype) for a in (dout @ w.T, x64.T @ dout, dout.sum(axis=0)))


def conv2d_forward(x, w, b, stride, padding):
    image, _, places = padded(x, w.shape[:2], stride, padding)
    out = np.zeros((len(x), *places, w.shape[3])) + (0 if b is None else b)
    for kh, kw, pixels in taps(w.shape[:2], stride, places):
        out += image[pixels] @ w[kh, kw].astype(np.float64)
    return out.astype(x.dtype)


def conv2d_backward(dout, x, w, stride, padding):
    image, inside, places = padded(x, w.shape[:2], stride, padding)
    dimage, dw, dout = np.zeros(image.shape), np.zeros(w.shape), dout.astype(np.float64)
    for kh, kw, pixels in taps(w.shape[:2], stride, places):
        dimage[pixels] += dout @ w[kh, kw].T.astype(np.float64)
        dw[kh, kw] = np.tensordot(image[pixels], dout, axes=((0, 1, 2), (0, 1, 2)))
    return tuple(a.astype(x.dtype) for a in (dimage[inside], dw, dout.sum(axis=(0, 1, 2))))


def depthwise_conv2d_forward(x, w, b, stride, padding):
    image, _, places = padded(x, w.shape[:2], stride, padding)
    out = np.zeros((len(x), *places, *w.shape[2:]))
    for kh, kw, pixels in taps(w.shape[:2], stride, places):
        out += image[pixels][..., None] * w[kh, kw]
    out = out.reshape(*out.shape[:3], w.shape[2] * w.shape[3])
    return (out if b is None else out + b).astype(x.dtype)


def depthwise_conv2d_backward(dout, x, w, stride, padding):
    image, inside, places = padded(x, w.shape[:2], stride, padding)
    db = dout.astype(np.float64).sum(axis=(0, 1, 2))
    dimage, dw = np.zeros(image.shape), np.zeros(w.shape)
    by_channel = dout.reshape(*dout.shape[:3], *w.shape[2:]).astype(np.float64)
    for kh, kw, pixels in taps(w.shape[:2], stride, places):
        dimage[pixels] += (by_channel * w[kh, kw]).sum(axis=-1)
        dw[kh, kw] = (image[pixels][..., None] * by_channel).sum(axis=(0, 1, 2))
    return tuple(a.astype(x.dtype) for a in (dimage[inside], dw, db))


def pointwise_conv2d_forward(x, w, b):
    return conv2d_forward(x, w, b, 1, "valid")


def pointwise_conv2d_backward(dout, x, w):
    return conv2d_backward(dout, x, w, 1, "valid")


# ---------------------------------------------------------------- pooling, ReLU and patches


def max_pool2d_forward(x, pool, stride, padding):
    image, _, places = padded(x, pool, stride, padding, -np.inf)
    of_window = np.stack([image[pixels] for _, _, pixels in taps(pool, stride, places)])
    return of_window.max(axis=0).astype(x.dtype), of_window.argmax(axis=0).astype(np.int32)


def max_pool2d_backward(dout, argmax, x_shape, pool, stride, padding):
    dimage, inside, places = padded(np.zeros(x_shape), pool, stride, padding)
    for index, (_, _, pixels) in enumerate(taps(pool, stride, places)):
        dimage[pixels] += np.where(argmax == index, dout, 0)
    return dimage[inside].astype(dout.dtype)


def avg_pool2d_forward(x, pool, stride, padding):
    image, _, places = padded(x, pool, stride, padding)
    total = sum(image[pixels] for _, _, pixels in taps(pool, stride, places))
    return (total / counts(x.shape, pool, stride, padding)).astype(x.dtype)


def avg_pool2d_backward(dout, x_shape, pool, stride, padding):
    dimage, inside, places = padded(np.zeros(x_shape), pool, stride, padding)
    for _, _, pixels in taps(pool, stride, places):
        dimage[pixels] += dout / counts(x_shape, pool, stride, padding)
    return dimage[inside].astype(dout.dtype)


def counts(x_shape, pool, stride, padding):
    """(1, OH, OW, 1): how many pixels of the image each window holds."""
    ones, _, places = padded(np.ones((1, *x_shape[1:3], 1)), pool, stride, padding)
    return sum(ones[pixels] for _, _, pixels in taps(pool, stride, places))


def batch_norm_statistics(x):
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean = rows.sum(axis=0) / max(len(rows), 1)
    return mean.astype(x.dtype), (((rows - mean) ** 2).sum(axis=0) / max(len(rows), 1)).astype(x.dtype)


def batch_norm_forward(x, w, b, mean, var, eps):
    x64, w, b, mean, var = (a.astype(np.float64) for a in (x, w, b, mean, var))
    return (w * (x64 - mean) / np.sqrt(var + eps) + b).astype(x.dtype)


def batch_norm_backward(dout, x, w, mean, var, eps, training):
    dout, x64, w, mean, var = (a.astype(np.float64) for a in (dout, x, w, mean, var))
    xhat, slope, axes = (x64 - mean) / np.sqrt(var + eps), w / np.sqrt(var + eps), tuple(range(x.ndim - 1))
    db, dw = dout.sum(axis=axes), (dout * xhat).sum(axis=axes)
    dx = slope * (dout - (db + xhat * dw) / max(x.size // x.shape[-1], 1) if training else dout)
    return tuple(a.astype(x.dtype) for a in (dx, dw, db))


def relu_forward(x):
    return np.where(x <= 0, 0, x).astype(x.dtype)


def relu_backward(dout, x):
    return np.where(x > 0, dout, 0).astype(dout.dtype)


def im2col(x, size, stride, padding):
    image, _, places = padded(x, size, stride, padding)
    patches = np.stack([image[pixels] for _, _, pixels in taps(size, stride, places)], axis=3)
    return patches.reshape(len(x) * places[0] * places[1], -1).astype(x.dtype)


def col2im(columns, x_shape, size, stride, padding):
    dimage, inside, places = padded(np.zeros(x_shape), size, stride, padding)
    KH, KW = both(size)
    patches = columns.reshape(x_shape[0], *places, KH, KW, x_shape[3]).astype(np.float64)
    for kh, kw, pixels in taps(size, stride, places):
        dimage[pixels] += patches[:, :, :, kh, kw]
    return dimage[inside].astype(columns.dtype)
