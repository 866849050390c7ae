"""Winograd's convolution: fewer multiplications than the definition has.

Take one line. A kernel g of r numbers and n = m + r - 1 inputs d give m outputs y[k] = sum over j of g[j] * d[k + j].
By the definition that is m*r products. But polynomials with n coefficients can also be multiplied through their values
at n points: evaluate both, multiply the values point by point, and interpolate. For correlation, and in two dimensions,
that reads

    Y = A^T [ (G g G^T) * (B^T d B) ] A         * is entry by entry; d is n x n, g is r x r, Y is m x m

with matrices that depend only on the points. Here n = 8, at the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity:
a 5 x 5 kernel makes 4 x 4 outputs from 64 products instead of 400, 6.25 times fewer.

With C channels and F filters, each of the 64 points is a matrix product of its own. These products take most of the
time:

    image --B^T . B--> X (64, tiles, C)
                                         for each point p:  Y[p] = X[p] @ U[p]     over the register tile
    w ------G . G^T--> U (64, C, F)
                                         Y (64, tiles, F) --A^T . A--> 4 x 4 outputs of each tile and filter

Backward, every transform is transposed. Y is linear in g, so the transposed matrices map dY, the tiles of dout, to the
gradient of g:

    dw = G^T [ sum over tiles of  (B^T d B) * (A dY A^T) ] G

The gradient of the image is another forward pass, as in `conv.py`.

A thread takes a few small images at a time, or a strip of a large one: some rows of tiles. So X and Y stay in its
cache. To write them to memory and read them back would cost what the products save. The code treats a strip as an image
of its own, and a small image as a single strip.

The price is rounding. The points reach up to 2, so their powers up to 2^7 are added and subtracted. Each row of B^T is
scaled to a largest entry of 1, and G is scaled against it. This keeps the error within a few times that of the plain
sum; `tests/test_winograd.py` checks the bound. For a patch of zeros, as on the black background of a digit, even a
small error is too much: the exact sum is the bias, and a ReLU or a max-pool that follows decides by the exact value.
Such outputs are detected and set to the bias.

Sources: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016, arXiv 1509.09308; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
Convolution", 2020, arXiv 1803.10986 (points and scaling).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.choose import CHUNKS, tile_for, winograd_strips
from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.fast.padded import copy_image
from scratchnet.fast.product.loops import addresses
from scratchnet.fast.product.points import (
    EIGHT,
    FIVE,
    FOUR,
    FROM_POINTS,
    SIDE,
    TO_POINTS,
    Square,
    matrices,
    transform,
)
from scratchnet.fast.product.tile import ACCUMULATORS, Spot, Stretches, add_to, padded_columns, tile
from scratchnet.fast.register.scratch import aligned_zeros, scratch, zeroed
from scratchnet.fast.register.vector import add, lanes_of, load, load_first, store_first
from scratchnet.layers.shapes import Window


@kernel
def weights_kernel(w, size, G, out, point):
    """U[p, c, f] = (G g G^T)[p] for each kernel g = w[:, :, c, f].

    w : (r, r, C, F), flat. size : (C, F, F padded). out : U, flat; U[p] begins at p * point.
    """
    C, F, width = size
    lanes = lanes_of(w)
    for c in prange(C):
        half = zeroed(SIDE * SIDE * lanes, w)
        for f in range(0, F, lanes):
            kernel_of, point_of = Square(c * F + f, 5 * C * F, C * F), Square(c * width + f, SIDE * point, point)
            transform(TO_POINTS, G, SIDE, FIVE, w, kernel_of, F - f, half, out, point_of)


@inlined
def transform_tiles(shape, matrix, m, tiles, image, half, X, first, point):
    """X[p, first + t] = (matrix d matrix^T)[p] for each tile t of the image and its pixels d.

    shape : a tuple as long as a side of d. m : pixels from one tile to the next. tiles : (down, across). half :
    scratch. X : flat; X[p] begins at p * point.
    """
    C = image.shape[2]
    lanes = lanes_of(image)
    flat, row = image.reshape(-1), image.shape[1] * C
    for t in range(tiles[0] * tiles[1]):
        corner = t // tiles[1] * m * row + t % tiles[1] * m * C
        for c in range(0, C, lanes):
            pixels, points = Square(corner + c, row, C), Square((first + t) * C + c, SIDE * point, point)
            transform(TO_POINTS, matrix, SIDE, shape, flat, pixels, C - c, half, X, points)


@inlined
def mark_all_zero(image, r, down, all_zero):
    """all_zero[i, j] = whether the r x r patch of the image at (i, j) holds only zeros. down : (W,), scratch."""
    H, W, C = image.shape
    down[:] = 0  # for each column: how many consecutive rows, up to this one, have r zero pixels that end there
    for h in range(H):
        across = 0  # how many consecutive pixels, up to this one, are zero
        for w in range(W):
            c = 0
            while c < C and image[h, w, c] == 0:
                c += 1
            across = across + 1 if c == C else 0
            down[w] = down[w] + 1 if across >= r else 0
            if h >= r - 1 and w >= r - 1:
                all_zero[h - r + 1, w - r + 1] = down[w] >= r


@inlined
def write_image(Y, rows, A_T, half, corner, all_zero, bias, out, tiles):
    """out (OH, OW, F) = A^T Y A of the image's tiles, plus the bias; where `all_zero`, the bias alone.

    rows : the first tile's row in each Y[p], the stride from one point to the next in Y, and the length of a row.
    """
    first, y_point, width = rows
    OH, OW, F = out.shape
    m = A_T.size // SIDE
    lanes = lanes_of(Y)
    flat, y_row, corner_row = out.reshape(-1), SIDE * y_point, m * lanes
    for t in range(tiles[0] * tiles[1]):
        i, j = t // tiles[1] * m, t % tiles[1] * m
        for f in range(0, F, lanes):
            points, pixels = Square((first + t) * width + f, y_row, y_point), Square(0, corner_row, lanes)
            transform(FROM_POINTS, A_T, m, EIGHT, Y, points, lanes, half, corner, pixels)
            b = load_first(bias, f, F - f)
            for h in range(min(m, OH - i)):
                for w in range(min(m, OW - j)):
                    value = b if all_zero[i + h, j + w] else add(load(corner, (h * m + w) * lanes), b)
                    store_first(value, flat, ((i + h) * OW + j + w) * F + f, F - f)


@inlined
def copy_strip(x, padded, before, first, m, strips):
    """Copy the pixels of the image x that the tiles of a strip read, zero-padded.

    before : rows of padding above x, and columns left of it. first : the strip's first row of tiles.
    """
    if strips > 1:
        padded[:] = 0.0  # this strip may have padding where the previous one had pixels
    copy_image(x, padded, (before[0] - first * m, before[1]), (1, 1))


@kernel
def winograd_forward_kernel(x, before, U, bias, out, cut, B_T, A_T, exact_bias, shape):
    """The forward pass drawn above: out (N, OH, OW, F) from x (N, H, W, C) and U (64, C, F padded), flat.

    before : rows of padding above x, and columns left of it. cut : `choose.Strips`. exact_bias : whether patches
    of zeros give exactly the bias. shape : the tile, WIDE or NARROW.
    """
    strips, tiles, together = cut
    N, C = len(out) * strips, x.shape[3]
    m, T = A_T.size // SIDE, tiles[0] * tiles[1]
    lanes = lanes_of(x)
    width = U.size // (SIDE * SIDE * C)
    rows = len(shape)
    padded = (together * T + rows - 1) // rows * rows
    x_point, y_point = padded * C + lanes, padded * width + lanes  # + lanes: points not 4096 bytes apart
    for chunk in prange(CHUNKS):
        X, Y = scratch(SIDE * SIDE * x_point, x), scratch(SIDE * SIDE * y_point, x)
        half, corner, nothing = zeroed(SIDE * SIDE * lanes, x), scratch(m * m * lanes, x), zeroed(width, x)
        H, W = tiles[0] * m + SIDE - m, tiles[1] * m + SIDE - m
        image = zeroed(H * W * C, x).reshape(H, W, C)
        down, all_zero = np.empty(image.shape[1], np.intp), np.zeros((together, tiles[0] * m, tiles[1] * m), np.bool_)
        starts = np.arange(together * T) * C
        end = (chunk + 1) * N // CHUNKS
        for first in range(chunk * N // CHUNKS, end, together):
            last = min(first + together, end)
            for n in range(first, last):
                copy_strip(x[n // strips], image, before, n % strips * tiles[0], m, strips)
                transform_tiles(EIGHT, B_T, m, tiles, image, half, X, (n - first) * T, x_point)
                if exact_bias:
                    mark_all_zero(image, SIDE - m + 1, down, all_zero[n - first])
            for p in range(SIDE * SIDE):
                for t in range(0, (last - first) * T, rows):
                    where = addresses(starts[: (last - first) * T], t, shape)
                    for f in range(0, width, ACCUMULATORS // rows * lanes):
                        acc = tile(X[p * x_point :], where, Stretches(1, 0, C, 1), U, p * C * width + f, width)
                        add_to(acc, where, Y, Spot(p * y_point + t * width + f, width), nothing, Spot(0, 0))
            for n in range(first, last):
                top = n % strips * tiles[0] * m
                part = out[n // strips, top : top + tiles[0] * m]
                rows_of_Y = (n - first) * T, y_point, width
                write_image(Y, rows_of_Y, A_T, half, corner, all_zero[n - first], bias, part, tiles)


@kernel
def winograd_dw_kernel(x, before, dout, cut, B_T, A, G_T, sums, shape):
    """sums[chunk] (r, r, C padded, F padded) = G^T [sum over the chunk's tiles of (B^T d B) * (A dY A^T)] G.

    dout : (N, OH, OW, F). The other arguments as in `winograd_forward_kernel`.
    """
    strips, tiles, together = cut
    N, C = len(x) * strips, x.shape[3]
    m, T = A.size // SIDE, tiles[0] * tiles[1]
    lanes = lanes_of(x)
    rows, r = len(shape), G_T.size // SIDE
    channels, width = sums.shape[3:]
    x_point, y_point = together * T * C + lanes, together * T * width + lanes
    for chunk in prange(CHUNKS):
        X, Y = zeroed(SIDE * SIDE * x_point, x), scratch(SIDE * SIDE * y_point, x)
        half, total = zeroed(SIDE * SIDE * lanes, x), zeroed(SIDE * SIDE * channels * width, x)
        H, W = tiles[0] * m + SIDE - m, tiles[1] * m + SIDE - m
        image = zeroed(H * W * C, x).reshape(H, W, C)
        douts = zeroed(tiles[0] * m * tiles[1] * m * width, x).reshape(tiles[0] * m, tiles[1] * m, width)
        starts = np.arange(C)
        end = (chunk + 1) * N // CHUNKS
        for first in range(chunk * N // CHUNKS, end, together):
            last = min(first + together, end)
            for n in range(first, last):
                copy_strip(x[n // strips], image, before, n % strips * tiles[0], m, strips)
                transform_tiles(EIGHT, B_T, m, tiles, image, half, X, (n - first) * T, x_point)
                copy_strip(dout[n // strips], douts, (0, 0), n % strips * tiles[0], m, strips)
                transform_tiles(FOUR, A, m, tiles, douts, half, Y, (n - first) * T, y_point)
            for p in range(SIDE * SIDE):
                for c in range(0, channels, rows):
                    where = addresses(starts, c, shape)
                    for f in range(0, width, ACCUMULATORS // rows * lanes):
                        pixels = Stretches(1, 0, (last - first) * T, C)
                        acc = tile(X[p * x_point :], where, pixels, Y, p * y_point + f, width)
                        spot = Spot((p * channels + c) * width + f, width)
                        add_to(acc, where, total, spot, total, spot)
        flat = sums[chunk].reshape(-1)
        point = channels * width
        for at in range(0, point, lanes):
            points, kernel_of = Square(at, SIDE * point, point), Square(at, r * point, point)
            transform(FROM_POINTS, G_T, r, EIGHT, total, points, lanes, half, flat, kernel_of)


def winograd_forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, window: Window, exact_bias: bool = True
) -> np.ndarray:
    """out (N, OH, OW, F) of x (N, H, W, C) and w (r, r, C, F), for a window of stride 1.

    With `exact_bias`, patches of zeros give exactly the bias, since a ReLU or a max-pool that follows may decide by it.
    Without it, the search for such patches is left out.
    """
    N, _, _, C = x.shape
    r, F = w.shape[1], w.shape[3]
    B_T, G, A_T = matrices(r, x.dtype)
    shape = tile_for(F, x.dtype).shape
    width = padded_columns(F, shape, x.dtype)
    U = aligned_zeros(SIDE * SIDE * C * width, x.dtype)
    weights_kernel(for_kernel(w).reshape(-1), (C, F, width), G.reshape(-1), U, C * width)
    out = np.empty((N, *window.out, F), x.dtype)
    bias = np.zeros(F, x.dtype) if b is None else for_kernel(b)
    cut = winograd_strips(window.out, r)
    winograd_forward_kernel(x, window.before, U, bias, out, cut, B_T.reshape(-1), A_T.reshape(-1), exact_bias, shape)
    return out


def winograd_dw(x: np.ndarray, dout: np.ndarray, window: Window) -> np.ndarray:
    """dw (r, r, C, F), from x (N, H, W, C) and dout (N, OH, OW, F), for a window of stride 1."""
    C, F, r = x.shape[3], dout.shape[3], window.size[0]
    B_T, G, A_T = matrices(r, x.dtype)
    shape = tile_for(F, x.dtype).shape
    width = padded_columns(F, shape, x.dtype)
    sums = np.empty((CHUNKS, r, r, -(-C // len(shape)) * len(shape), width), x.dtype)
    A, G_T = np.ascontiguousarray(A_T.T), np.ascontiguousarray(G.T)
    cut = winograd_strips(window.out, r)
    winograd_dw_kernel(x, window.before, dout, cut, B_T.reshape(-1), A.reshape(-1), G_T.reshape(-1), sums, shape)
    return np.ascontiguousarray(sums.sum(axis=0)[:, :, :C, :F])
