"""Pointwise convolution: the pixels are the rows of A, each a stretch of C numbers, and the tile does the rest.

With one channel there is no product of matrices, but a number times a row, out[p, :] = x[p] * w + b, and a tile would
work for one of its rows or columns only. Backward, one pass over dout is enough then:

    dx[p] = sum of dout[p, :] * w        dw = sum over p of x[p] * dout[p, :]        db = sum over p of dout[p, :]

The same pass takes a dout that lies behind a max-pool with windows side by side, which is most of it zeros: it reads
the pool's small gradient and `argmax`, and the large array of zeros and winners is never made (see `fused.py`).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import kernel
from scratchnet.fast.dense import rows_times
from scratchnet.fast.pool import places_of
from scratchnet.fast.product import CHUNKS, weight_gradient
from scratchnet.fast.vector import (
    REGISTER_BITS,
    add,
    fma,
    lanes,
    load,
    load_first,
    load_int,
    splat,
    store,
    sum_of_lanes,
    where_equal,
    zeros,
)


@kernel
def one_channel_kernel(dout, argmax, argmax_step, x, w, dx, sums, size, places, PH, PW):
    """dx, and for each chunk of the images dw and db, from the gradient dout of a pool's output.

    dout : (N, OH, OW, F), flat. argmax : likewise; or F numbers for all windows, with an argmax_step of 0. x, dx :
    (N, H, W), flat. w : F numbers, zeros behind them up to whole vectors. sums : (CHUNKS, 2, as many as w), dw and db.
    size : (H, W, OH, OW, F). places : see `max_forward_kernel`. PH, PW : the windows' size, which is their stride.
    """
    H, W, OH, OW, F = size
    N = x.size // (H * W)
    for chunk in prange(CHUNKS):
        total = sums[chunk].reshape(-1)
        total[:] = 0.0
        image = np.empty_like(total)
        for n in range(chunk * N // CHUNKS, (chunk + 1) * N // CHUNKS):
            image[:] = 0.0
            dx[n * H * W : (n + 1) * H * W] = 0.0  # right of the last window and below it there may be pixels in none
            for i, kh in np.ndindex(OH, PH):
                for j, kw in np.ndindex(OW, PW):
                    pixel = (n * H + i * PH + kh) * W + j * PW + kw
                    window = ((n * OH + i) * OW + j) * F
                    place = splat(places, 1 + kh * PW + kw)
                    value, products = splat(x, pixel), zeros(x)
                    for f in range(0, F, REGISTER_BITS // (8 * x.itemsize)):
                        d = load_first(dout, window + f, F - f)
                        winner = load_int(argmax, window * argmax_step + f, F - f, d)
                        d = where_equal(winner, place, d, zeros(dout))
                        products = fma(d, load(w, f), products)
                        store(fma(value, d, load(image, f)), image, f)
                        store(add(d, load(image, w.size + f)), image, w.size + f)
                    dx[pixel] = sum_of_lanes(products)
            for i in range(total.size):
                total[i] += image[i]


def one_channel_backward(
    dout: np.ndarray, argmax: np.ndarray, x: np.ndarray, w: np.ndarray, pool: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dw and db of a pointwise convolution of x (N, H, W, 1), from the gradient behind the max-pool that follows.

    dout : (N, OH, OW, F). argmax : likewise, or (F,) for all windows. pool : the windows' size, which is their stride.
    """
    _, H, W, _ = x.shape
    _, OH, OW, F = dout.shape
    dout, argmax, x = np.ascontiguousarray(dout), np.ascontiguousarray(argmax), np.ascontiguousarray(x)
    filters = np.zeros(-(-F // lanes(w.dtype)) * lanes(w.dtype), w.dtype)
    filters[:F] = w.reshape(-1)
    dx = np.empty_like(x)
    sums = np.empty((CHUNKS, 2, filters.size), w.dtype)
    size, places = (H, W, OH, OW, F), places_of(pool[0] * pool[1], w.dtype)
    flat = (a.reshape(-1) for a in (dout, argmax))
    one_channel_kernel(*flat, int(argmax.ndim > 1), x.reshape(-1), filters, dx.reshape(-1), sums, size, places, *pool)
    dw, db = sums.sum(axis=0)[:, :F]
    return dx, dw.reshape(w.shape).copy(), db.copy()


def pointwise_conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_forward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    return rows_times(np.ascontiguousarray(x).reshape(N * H * W, C), w.reshape(C, F), b).reshape(N, H, W, F)


def pointwise_conv2d_backward(
    dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """See `scratchnet.layers.pointwise.pointwise_conv2d_backward`."""
    N, H, W, C = x.shape
    F = w.shape[-1]
    if C == 1:  # as if windows of one pixel each had been pooled
        gradients = one_channel_backward(dout, np.zeros(F, np.int32), x, w, (1, 1))
        return gradients if need_dx else (None, *gradients[1:])
    dout, x = np.ascontiguousarray(dout), np.ascontiguousarray(x)
    # A 1 x 1 kernel at all H*W pixels: row c of the result begins at channel c, and the next pixel is C further.
    dw, db = weight_gradient(x.reshape(-1), H * W * C, np.arange(C), 1, 0, H * W, C, dout.reshape(N, H * W, F))
    dx = rows_times(dout.reshape(N * H * W, F), w.reshape(C, F).T, None).reshape(x.shape) if need_dx else None
    return dx, dw.reshape(w.shape), db
