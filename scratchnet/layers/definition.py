"""The definition: every forward and backward pass of the book as the plain loops of its formula.

Read this page first. It is slow on purpose: every step is written out. The other files of this folder compute the same
with NumPy, and `scratchnet/fast` computes it with compiled kernels. Names and arguments are the same in all three, so
that you can read them side by side, and tests compare their results. (`need_dx` is missing here, since
it only saves time.)

The formulas and the loops use these indices:

    n              the images or examples, N
    i, j           the rows and columns of the output, OH and OW
    f              the filters, F
    kh, kw         the rows and columns of the kernel, KH and KW
    c              the channels of the input, C
    row, column    a pixel of the image, H x W

`np.ndindex(N, OH, OW)` runs through all (n, i, j), as three nested loops do.

A backward pass gets dout[...], the gradient of the loss with respect to out[...]. It has the same loops as the forward
pass, and each of its lines reverses a line of the forward pass by the chain rule:

    forward        out += x * w
    backward       dx += w * dout        dw += x * dout

It is `+=` because the same number may have been used many times: its gradients add up.

This page uses nothing that the other files compute with, so that it cannot share a mistake with them. Sums are made in
float64, and only the result takes the dtype of the input, so it shares no rounding with them either. It does not check
its arguments, as the layers do; it only checks that a window fits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# ---------------------------------------------------------------- dense


def dense_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """out[n, o] = b[o] + sum over i of  x[n, i] * w[i, o]

    x (N, inputs), w (inputs, outputs), b (outputs,) or None -> out (N, outputs).
    """
    N, inputs = x.shape
    outputs = w.shape[1]
    out = np.zeros((N, outputs))
    for n, o in np.ndindex(N, outputs):
        out[n, o] = 0 if b is None else b[o]
        for i in range(inputs):
            out[n, o] += x[n, i] * w[i, o]
    return out.astype(x.dtype)


def dense_backward(dout: np.ndarray, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dout (N, outputs), x (N, inputs), w (inputs, outputs) -> dx, dw, db, shaped as x, w and b are."""
    N, inputs = x.shape
    outputs = w.shape[1]
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(outputs)
    for n, o in np.ndindex(N, outputs):
        db[o] += dout[n, o]  # reverses  out[n, o] = b[o]
        for i in range(inputs):
            # reverses  out[n, o] += x[n, i] * w[i, o]
            dx[n, i] += w[i, o] * dout[n, o]
            dw[i, o] += x[n, i] * dout[n, o]
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


# ---------------------------------------------------------------- ReLU


def relu_forward(x: np.ndarray) -> np.ndarray:
    """out = max(x, 0), entry by entry: x of any shape -> out of that shape. NaN stays NaN."""
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        out[index] = 0 if x[index] <= 0 else x[index]
    return out.astype(x.dtype)


def relu_backward(dout: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dout and x of any one shape -> dx of that shape. At x = 0 the slope is taken to be 0."""
    dx = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        dx[index] = dout[index] if x[index] > 0 else 0  # reverses  out = x  where x > 0
    return dx.astype(x.dtype)


# ---------------------------------------------------------------- where a window stands

IntOrPair = int | tuple[int, int]  # a size or a step, (height, width); an int is for both
Padding = IntOrPair | str  # "same", "valid", or rows and columns, alike on both sides
Place = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def places(length: int, window: int, stride: int, padding: int | str) -> tuple[int, int]:
    """Along one axis: at how many places a window stands, and how many rows of padding lie before the image.

    With p rows of padding on each side of an image of `length` rows ("valid" means p = 0):

        places = (length + 2*p - window) // stride + 1

    "same" sets the number of places. They need `missing` rows beyond the image. Half of these rows lie before it; if
    their number is odd, the extra row lies after it:

        places  = length / stride, rounded up
        missing = (places - 1)*stride + window - length, or 0 if that is negative

    Raises ValueError if the window does not fit.
    """
    if padding == "same":
        count = math.ceil(length / stride)
        missing = max((count - 1) * stride + window - length, 0)
        before = missing // 2
    else:
        before = 0 if padding == "valid" else int(padding)
        count = (length + 2 * before - window) // stride + 1
    if length < 1 or count < 1:
        raise ValueError(
            f"expected a window that fits on the padded image; got a window of {window} pixels, "
            f"an image of {length} and padding {padding!r}"
        )
    return count, before


def windows(size: tuple[int, int], window: IntOrPair, stride: IntOrPair, padding: Padding) -> Place:
    """The same along both axes: how many places (OH, OW), the strides (SH, SW), and the padding before (top, left).

    At place (i, j), pixel (kh, kw) of the window lies on this pixel of the image, or on padding if the image has no
    such pixel:

        row = i*SH + kh - top            column = j*SW + kw - left
    """
    (H, W), (KH, KW), (SH, SW), (vertical, horizontal) = size, both(window), both(stride), both(padding)
    OH, top = places(H, KH, SH, vertical)
    OW, left = places(W, KW, SW, horizontal)
    return (OH, OW), (SH, SW), (top, left)


def both(value: Any) -> Any:
    """A pair as it is; anything else stands for both axes."""
    return value if isinstance(value, (tuple, list)) else (value, value)


# ---------------------------------------------------------------- convolution


def conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """out[n, i, j, f] = b[f] + sum over kh, kw, c of  x[n, i*SH + kh - top, j*SW + kw - left, c] * w[kh, kw, c, f]

    x (N, H, W, C), w (KH, KW, C, F), b (F,) or None -> out (N, OH, OW, F). Padding is 0 and adds nothing.
    """
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    (OH, OW), (SH, SW), (top, left) = windows((H, W), (KH, KW), stride, padding)
    out = np.zeros((N, OH, OW, F))
    for n, i, j, f in np.ndindex(N, OH, OW, F):
        out[n, i, j, f] = 0 if b is None else b[f]
        for kh, kw, c in np.ndindex(KH, KW, C):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:  # is this pixel inside the image?
                out[n, i, j, f] += x[n, row, column, c] * w[kh, kw, c, f]
    return out.astype(x.dtype)


def conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dout (N, OH, OW, F), x (N, H, W, C), w (KH, KW, C, F) -> dx, dw, db, shaped as x, w and b are."""
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    (OH, OW), (SH, SW), (top, left) = windows((H, W), (KH, KW), stride, padding)
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(F)
    for n, i, j, f in np.ndindex(N, OH, OW, F):
        db[f] += dout[n, i, j, f]  # reverses  out[n, i, j, f] = b[f]
        for kh, kw, c in np.ndindex(KH, KW, C):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                # reverses  out[n, i, j, f] += x[n, row, column, c] * w[kh, kw, c, f]
                dx[n, row, column, c] += w[kh, kw, c, f] * dout[n, i, j, f]
                dw[kh, kw, c, f] += x[n, row, column, c] * dout[n, i, j, f]
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


# ---------------------------------------------------------------- depthwise convolution


def depthwise_conv2d_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """out[n, i, j, c*M + m] = b[c*M + m] + sum over kh, kw of  x[n, row, column, c] * w[kh, kw, c, m]

    x (N, H, W, C), w (KH, KW, C, M), b (C*M,) or None -> out (N, OH, OW, C*M). Row and column as in a convolution;
    each channel has M filters of its own, and their M results lie together.
    """
    N, H, W, C = x.shape
    KH, KW, _, M = w.shape
    (OH, OW), (SH, SW), (top, left) = windows((H, W), (KH, KW), stride, padding)
    out = np.zeros((N, OH, OW, C * M))
    for n, i, j, c, m in np.ndindex(N, OH, OW, C, M):
        out[n, i, j, c * M + m] = 0 if b is None else b[c * M + m]
        for kh, kw in np.ndindex(KH, KW):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                out[n, i, j, c * M + m] += x[n, row, column, c] * w[kh, kw, c, m]
    return out.astype(x.dtype)


def depthwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dout (N, OH, OW, C*M), x (N, H, W, C), w (KH, KW, C, M) -> dx, dw, db, shaped as x, w and b are."""
    N, H, W, C = x.shape
    KH, KW, _, M = w.shape
    (OH, OW), (SH, SW), (top, left) = windows((H, W), (KH, KW), stride, padding)
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(C * M)
    for n, i, j, c, m in np.ndindex(N, OH, OW, C, M):
        db[c * M + m] += dout[n, i, j, c * M + m]  # reverses  out[n, i, j, c*M + m] = b[c*M + m]
        for kh, kw in np.ndindex(KH, KW):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                # reverses  out[n, i, j, c * M + m] += x[n, row, column, c] * w[kh, kw, c, m]
                dx[n, row, column, c] += w[kh, kw, c, m] * dout[n, i, j, c * M + m]
                dw[kh, kw, c, m] += x[n, row, column, c] * dout[n, i, j, c * M + m]
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


# ---------------------------------------------------------------- pointwise convolution


def pointwise_conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """out[n, i, j, f] = b[f] + sum over c of  x[n, i, j, c] * w[0, 0, c, f]

    x (N, H, W, C), w (1, 1, C, F), b (F,) or None -> out (N, H, W, F).
    """
    N, H, W, C = x.shape
    F = w.shape[3]
    out = np.zeros((N, H, W, F))
    for n, i, j, f in np.ndindex(N, H, W, F):
        out[n, i, j, f] = 0 if b is None else b[f]
        for c in range(C):
            out[n, i, j, f] += x[n, i, j, c] * w[0, 0, c, f]
    return out.astype(x.dtype)


def pointwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dout (N, H, W, F), x (N, H, W, C), w (1, 1, C, F) -> dx, dw, db, shaped as x, w and b are."""
    N, H, W, C = x.shape
    F = w.shape[3]
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(F)
    for n, i, j, f in np.ndindex(N, H, W, F):
        db[f] += dout[n, i, j, f]  # reverses  out[n, i, j, f] = b[f]
        for c in range(C):
            # reverses  out[n, i, j, f] += x[n, i, j, c] * w[0, 0, c, f]
            dx[n, i, j, c] += w[0, 0, c, f] * dout[n, i, j, f]
            dw[0, 0, c, f] += x[n, i, j, c] * dout[n, i, j, f]
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


# ---------------------------------------------------------------- pooling


def pool_windows(size: tuple[int, int], pool: IntOrPair, stride: IntOrPair, padding: Padding) -> Place:
    """`windows`, and a ValueError if a window would hold nothing but padding: it would have no maximum and no mean."""
    (PH, PW), ((OH, OW), (SH, SW), (top, left)) = both(pool), windows(size, pool, stride, padding)
    if top >= PH or left >= PW:
        raise ValueError(f"expected padding smaller than the window of {PH}x{PW}, got {top} and {left}")
    return (OH, OW), (SH, SW), (top, left)


def max_pool2d_forward(
    x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> tuple[np.ndarray, np.ndarray]:
    """out[n, i, j, c] = the largest x[n, row, column, c] over all kh, kw whose pixel is inside the image

    x (N, H, W, C) -> out (N, OH, OW, C), and argmax of that shape: the position of the largest pixel, kh*PW + kw. Of
    equal pixels, the first in row-major order is taken. NaN counts as larger than every number; of several, the last is
    taken.
    """
    N, H, W, C = x.shape
    PH, PW = both(pool)
    (OH, OW), (SH, SW), (top, left) = pool_windows((H, W), pool, stride, padding)
    out = np.zeros((N, OH, OW, C), x.dtype)
    argmax = np.full((N, OH, OW, C), -1, np.int32)  # -1: no pixel has been looked at yet
    for n, i, j, c in np.ndindex(N, OH, OW, C):
        for kh, kw in np.ndindex(PH, PW):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                pixel = x[n, row, column, c]
                if argmax[n, i, j, c] < 0 or pixel > out[n, i, j, c] or np.isnan(pixel):
                    out[n, i, j, c] = pixel
                    argmax[n, i, j, c] = kh * PW + kw
    return out, argmax


def max_pool2d_backward(
    dout: np.ndarray, argmax: np.ndarray, x_shape: tuple[int, ...], pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """dout and argmax (N, OH, OW, C) -> dx of x_shape (N, H, W, C)."""
    _, H, W, _ = x_shape
    _, PW = both(pool)
    _, (SH, SW), (top, left) = pool_windows((H, W), pool, stride, padding)
    dx = np.zeros(x_shape)
    for n, i, j, c in np.ndindex(dout.shape):
        kh, kw = divmod(argmax[n, i, j, c], PW)  # reverses  argmax[n, i, j, c] = kh * PW + kw
        row, column = i * SH + kh - top, j * SW + kw - left
        dx[n, row, column, c] += dout[n, i, j, c]  # reverses  out[n, i, j, c] = pixel
    return dx.astype(dout.dtype)


def avg_pool2d_forward(x: np.ndarray, pool: IntOrPair, stride: IntOrPair, padding: Padding) -> np.ndarray:
    """out[n, i, j, c] = the mean of x[n, row, column, c] over all kh, kw whose pixel is inside the image

    x (N, H, W, C) -> out (N, OH, OW, C).
    """
    N, H, W, C = x.shape
    PH, PW = both(pool)
    (OH, OW), (SH, SW), (top, left) = pool_windows((H, W), pool, stride, padding)
    out = np.zeros((N, OH, OW, C))
    for n, i, j, c in np.ndindex(N, OH, OW, C):
        count = 0
        for kh, kw in np.ndindex(PH, PW):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                out[n, i, j, c] += x[n, row, column, c]
                count += 1
        out[n, i, j, c] /= count
    return out.astype(x.dtype)


def avg_pool2d_backward(
    dout: np.ndarray, x_shape: tuple[int, ...], pool: IntOrPair, stride: IntOrPair, padding: Padding
) -> np.ndarray:
    """dout (N, OH, OW, C) -> dx of x_shape (N, H, W, C)."""
    _, H, W, _ = x_shape
    PH, PW = both(pool)
    _, (SH, SW), (top, left) = pool_windows((H, W), pool, stride, padding)
    dx = np.zeros(x_shape)
    for n, i, j, c in np.ndindex(dout.shape):
        inside = []
        for kh, kw in np.ndindex(PH, PW):
            row, column = i * SH + kh - top, j * SW + kw - left
            if 0 <= row < H and 0 <= column < W:
                inside.append((row, column))
        for row, column in inside:
            # reverses  out[n, i, j, c] += x[n, row, column, c]  and  out[n, i, j, c] /= count
            dx[n, row, column, c] += dout[n, i, j, c] / len(inside)
    return dx.astype(dout.dtype)


# ---------------------------------------------------------------- dropout


def dropout_forward(x: np.ndarray, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """out = x * mask, and mask = 0 with probability `rate`, else 1 / (1 - rate)

    x of any shape -> out and mask of that shape. Each number takes one draw from `rng`, in row-major order.
    """
    out, mask = np.zeros(x.shape), np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        mask[index] = 0 if rng.random(dtype=np.float32) < rate else 1 / (1 - rate)
        out[index] = x[index] * mask[index]
    return out.astype(x.dtype), mask.astype(x.dtype)


def dropout_backward(dout: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """dout and the forward's mask, of any one shape -> dx of that shape."""
    dx = np.zeros(dout.shape)
    for index in np.ndindex(dout.shape):
        dx[index] = dout[index] * mask[index]  # reverses  out[index] = x[index] * mask[index]
    return dx.astype(dout.dtype)


# ---------------------------------------------------------------- batch normalisation


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean[c] = 1 / P * sum over p of  x[p, c],    var[c] = 1 / P * sum over p of  (x[p, c] - mean[c])^2

    x (N, ..., C) -> mean and var (C,). p runs over all indices but the last: P numbers for each channel.
    """
    C = x.shape[-1]
    P = x.size // C
    mean, var = np.zeros(C), np.zeros(C)
    for index in np.ndindex(x.shape):
        mean[index[-1]] += x[index] / P
    for index in np.ndindex(x.shape):
        var[index[-1]] += (x[index] - mean[index[-1]]) ** 2 / P
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> np.ndarray:
    """out[p, c] = w[c] * xhat[p, c] + b[c]    with    xhat[p, c] = (x[p, c] - mean[c]) / sqrt(var[c] + eps)

    x (N, ..., C), all others (C,) -> out of x's shape.
    """
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        c = index[-1]
        xhat = (float(x[index]) - mean[c]) / math.sqrt(var[c] + eps)
        out[index] = w[c] * xhat + b[c]
    return out.astype(x.dtype)


def batch_norm_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float, training: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dout and x (N, ..., C), all others (C,) -> dx, dw, db, shaped as x, w and b are.

    In training mean and var are those of x, and move with it.
    """
    C = x.shape[-1]
    P = x.size // C
    dx, dw, db = np.zeros(x.shape), np.zeros(C), np.zeros(C)
    for index in np.ndindex(x.shape):
        c = index[-1]
        xhat = (float(x[index]) - mean[c]) / math.sqrt(var[c] + eps)
        db[c] += dout[index]  # reverses  + b[c]
        dw[c] += dout[index] * xhat  # reverses  w[c] * xhat
    for index in np.ndindex(x.shape):
        c = index[-1]
        xhat = (float(x[index]) - mean[c]) / math.sqrt(var[c] + eps)
        slope = w[c] / math.sqrt(var[c] + eps)
        dx[index] += slope * dout[index]  # reverses  x[index] in xhat
        if training:
            dx[index] -= slope * db[c] / P  # reverses  mean[c] += x[index] / P
            dx[index] -= slope * xhat * dw[c] / P  # reverses  var[c] += (x[index] - mean[c]) ** 2 / P
    return dx.astype(x.dtype), dw.astype(x.dtype), db.astype(x.dtype)


# ---------------------------------------------------------------- resize


def nearness(i: int, row: int, OH: int, H: int) -> float:
    """The weight of row `row` of H in output row i of OH: 1 at the centre of i, 0 at a distance of one row or more.

    The centre of i lies at row (i + 1/2) * H / OH - 1/2 of the image, or at the first or last row if that is beyond it.
    """
    centre = min(max((i + 0.5) * H / OH - 0.5, 0), H - 1)
    return max(1 - abs(row - centre), 0)


def resize_forward(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """out[n, i, j, c] = sum over row, column of  nearness(i, row) * nearness(j, column) * x[n, row, column, c]

    x (N, H, W, C), size = (OH, OW) -> out (N, OH, OW, C).
    """
    N, H, W, C = x.shape
    OH, OW = size
    out = np.zeros((N, OH, OW, C))
    for n, i, j, c in np.ndindex(N, OH, OW, C):
        for row, column in np.ndindex(H, W):
            out[n, i, j, c] += nearness(i, row, OH, H) * nearness(j, column, OW, W) * x[n, row, column, c]
    return out.astype(x.dtype)


def resize_backward(dout: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """dout (N, OH, OW, C) -> dx of x_shape (N, H, W, C)."""
    _, H, W, _ = x_shape
    N, OH, OW, C = dout.shape
    dx = np.zeros(x_shape)
    for n, i, j, c in np.ndindex(N, OH, OW, C):
        for row, column in np.ndindex(H, W):
            # reverses  out[n, i, j, c] += nearness(...) * nearness(...) * x[n, row, column, c]
            dx[n, row, column, c] += nearness(i, row, OH, H) * nearness(j, column, OW, W) * dout[n, i, j, c]
    return dx.astype(dout.dtype)


# ---------------------------------------------------------------- loss


def softmax(logits: np.ndarray) -> np.ndarray:
    """p[n, k] = exp(logits[n, k]) / sum over j of  exp(logits[n, j])

    logits (N, K) -> p (N, K). `exp` overflows where a logit is above 709; `scratchnet/loss.py` says how to avoid that.
    """
    N, K = logits.shape
    p = np.zeros((N, K))
    for n in range(N):
        total = 0.0
        for j in range(K):
            total += math.exp(logits[n, j])
        for k in range(K):
            p[n, k] = math.exp(logits[n, k]) / total
    return p.astype(logits.dtype)


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """loss = mean over n of  -log p[n, label[n]]            dlogits[n, k] = (p[n, k] - [k is label[n]]) / N

    logits (N, K), labels (N,) -> loss, and its gradient dlogits (N, K).
    """
    N, K = logits.shape
    p = softmax(logits.astype(np.float64))
    loss, dlogits = 0.0, np.zeros((N, K))
    for n in range(N):
        loss += -math.log(p[n, labels[n]]) / N
        for k in range(K):
            dlogits[n, k] = (p[n, k] - (k == labels[n])) / N
    return loss, dlogits.astype(logits.dtype)
