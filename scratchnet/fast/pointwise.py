"""Pointwise convolution: a matrix product over the tile. Each pixel is a row of A, a run of C numbers.

With one channel, the output is an outer product: out[p, :] = x[p] * w + b. In the products of the backward pass, a tile
would use only one of its rows (dw) or one of its columns (dx). Instead, one pass over dout computes all gradients:

    dx[p] = sum of dout[p, :] * w        dw = sum over p of x[p] * dout[p, :]        db = sum over p of dout[p, :]

Where a ReLU and a max-pool with windows side by side follow, one pass does all three layers (see `fused.py`). Forward,
only the pool's winners are written. Backward, dout is the pool's small gradient, and `argmax` says which pixels won.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast import choose
from scratchnet.fast.choose import CHUNKS
from scratchnet.fast.compiled import for_kernel, kernel
from scratchnet.fast.dense import rows_times
from scratchnet.fast.pool import larger, places_of
from scratchnet.fast.product.loops import weight_gradient
from scratchnet.fast.product.tile import Stretches
from scratchnet.fast.register.vector import (
    add,
    fma,
    lanes_of,
    load,
    load_first,
    load_int,
    splat,
    store,
    store_first,
    store_int,
    sum_of_lanes,
    where_equal,
    where_greater,
    zeros,
)
from scratchnet.fast.register.width import lanes
from scratchnet.layers.shapes import Window


@kernel
def one_channel_forward_kernel(x, w, bias, out, argmax, F, window, places):
    """The largest number of each window of relu(x * w + bias), and its index, as in `max_forward_kernel`.

    x : (N, H, W), flat. w, bias : (F,), zero-padded to whole vectors. out, argmax : (N, OH, OW, F), flat. window : the
    pool's `Window`; its windows lie side by side, without padding. places : see `max_forward_kernel`.
    """
    (H, W), (OH, OW), (PH, PW) = window.image, window.out, window.size
    for n in prange(x.size // (H * W)):
        for i, j in np.ndindex(OH, OW):
            to = ((n * OH + i) * OW + j) * F
            for f in range(0, F, lanes_of(x)):
                filters, start = load(w, f), load(bias, f)
                best, place = splat(places, 0), zeros(x)
                for kh, kw in np.ndindex(PH, PW):
                    pixel = (n * H + i * PH + kh) * W + j * PW + kw
                    value = add(fma(splat(x, pixel), filters, zeros(x)), start)
                    value = where_greater(zeros(x), value, zeros(x), value)
                    best, place = larger(value, best, splat(places, 1 + kh * PW + kw), place)
                store_first(best, out, to + f, F - f)
                store_int(place, argmax, to + f, F - f)


@kernel
def one_channel_backward_kernel(dout, argmax, argmax_step, x, w, dx, sums, F, window, places):
    """dx, and for each chunk of the images dw and db, from the gradient dout of a pool's output.

    dout : (N, OH, OW, F), flat. argmax : likewise, with an argmax_step of 1; or (F,), the same for all windows, with an
    argmax_step of 0. dx : as x. sums : (CHUNKS, 2, w.size), dw and db. The rest as in `one_channel_forward_kernel`.
    """
    (H, W), (OH, OW), (PH, PW) = window.image, window.out, window.size
    N = x.size // (H * W)
    for chunk in prange(CHUNKS):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        image = np.empty_like(total)
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            image[:] = 0.0
            dx[n * H * W : (n + 1) * H * W] = 0.0  # pixels right of the last window or below it are in none
            for i, kh in np.ndindex(OH, PH):
                for j, kw in np.ndindex(OW, PW):
                    pixel = (n * H + i * PH + kh) * W + j * PW + kw
                    at = ((n * OH + i) * OW + j) * F
                    place = splat(places, 1 + kh * PW + kw)
                    value, products = splat(x, pixel), zeros(x)
                    for f in range(0, F, lanes_of(x)):
                        d = load_first(dout, at + f, F - f)
                        winner = load_int(argmax, at * argmax_step + f, F - f, d)
                        d = where_equal(winner, place, d, zeros(dout))
                        products = fma(d, load(w, f), products)
                        store(fma(value, d, load(image, f)), image, f)
                        store(add(d, load(image, w.size + f)), image, w.size + f)
                    dx[pixel] = sum_of_lanes(products)
            for i in range(total.size):
                total[i] += image[i]


def one_channel_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, pool: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Output and `argmax` of a pointwise convolution of x (N, H, W, 1), then ReLU, then max-pool.

    pool : the windows' size, which is their stride.
    """
    window = Window.on(x.shape[1:3], pool, pool, "valid")
    F = w.shape[-1]
    choose.note_one_channel("out", x.size, F, x.dtype)
    out = np.empty((len(x), *window.out, F), x.dtype)
    argmax = np.empty(out.shape, np.int32)
    filters, bias = whole_vectors(w), whole_vectors(np.zeros(F, x.dtype) if b is None else b)
    x, places = for_kernel(x).reshape(-1), places_of(pool[0] * pool[1], x.dtype)
    one_channel_forward_kernel(x, filters, bias, out.reshape(-1), argmax.reshape(-1), F, window, places)
    return out, argmax


def whole_vectors(a: np.ndarray) -> np.ndarray:
    """a, flattened and zero-padded to whole vectors."""
    out = np.zeros(-(-a.size // lanes(a.dtype)) * lanes(a.dtype), a.dtype)
    out[: a.size] = a.reshape(-1)
    return out


def one_channel_backward(
    dout: np.ndarray, argmax: np.ndarray, x: np.ndarray, w: np.ndarray, pool: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dw and db of a pointwise convolution of x (N, H, W, 1), from the gradient of the output of its max-pool.

    dout : (N, OH, OW, F). argmax : likewise, or (F,), the same for all windows. pool : the windows' size, which is
    their stride.
    """
    window = Window.on(x.shape[1:3], pool, pool, "valid")
    F = dout.shape[3]
    for computes in ("dw", "dx"):
        choose.note_one_channel(computes, x.size, F, x.dtype)
    dout, argmax, x = for_kernel(dout), for_kernel(argmax), for_kernel(x)
    filters = whole_vectors(w)
    dx = np.empty_like(x)
    sums = np.empty((CHUNKS, 2, filters.size), w.dtype)
    places = places_of(pool[0] * pool[1], w.dtype)
    step, (dout, argmax, x) = int(argmax.ndim > 1), (a.reshape(-1) for a in (dout, argmax, x))
    one_channel_backward_kernel(dout, argmax, step, x, filters, dx.reshape(-1), sums, F, window, places)
    dw, db = sums.sum(axis=0)[:, :F]
    return dx, dw.reshape(w.shape).copy(), db.copy()


def pointwise_conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_forward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    return rows_times(for_kernel(x).reshape(N * H * W, C), w.reshape(C, F), b).reshape(N, H, W, F)


def pointwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_backward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    if choose.one_channel(C):  # a max-pool with windows of one pixel changes nothing
        gradients = one_channel_backward(dout, np.zeros(F, np.int32), x, w, (1, 1))
        return gradients if need_dx else (None, *gradients[1:])
    dout, x = for_kernel(dout), for_kernel(x)
    # Row c of dw begins at channel c of the image's first pixel. k runs over the H*W pixels, which are C numbers apart.
    choose.note_product("dw", "tile", C, N * H * W, F, x.dtype)
    pixels = Stretches(1, 0, H * W, C)
    dw, db = weight_gradient(x.reshape(-1), H * W * C, np.arange(C), pixels, dout.reshape(N, H * W, F))
    dx = rows_times(dout.reshape(N * H * W, F), w.reshape(C, F).T, None, "dx").reshape(x.shape) if need_dx else None
    return dx, dw.reshape(w.shape), db
