"""Winograd's convolution: fewer multiplications than the definition asks for.

Take one line, a kernel g of r numbers and the m outputs y[k] = sum over j of g[j] * d[k + j] that n = m + r - 1 inputs
give. That is m*r products. But polynomials of n coefficients can also be multiplied by their values at n points: go to
the values, multiply these one by one, and come back. For correlation, and in two dimensions, that reads

    Y = A^T [ (G g G^T) * (B^T d B) ] A         * is entry by entry; d is n x n, g is r x r, Y is m x m

with matrices that depend on nothing but the points. Here n = 8, at the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity:
a 5 x 5 kernel makes 4 x 4 outputs from 64 products instead of 400, 6.25 times fewer.

With C channels and F filters, each of the 64 points is a matrix product of its own, which is where the time goes:

    image --B^T . B--> X (64, tiles, C)
                                         for each point p:  Y[p] = X[p] @ U[p]     over the register tile
    w ------G . G^T--> U (64, C, F)
                                         Y (64, tiles, F) --A^T . A--> 4 x 4 outputs of each tile and filter

Backward, every transform is turned round: since Y is linear in g, the gradient of g is what the transposed matrices
make of dout,

    dw = G^T [ sum over tiles of  (B^T d B) * (A dY A^T) ] G

and the gradient of the image is a forward pass of its own, as in `conv.py`. A thread goes through a few small images
at a time, or through a strip of a large one, some rows of tiles, so that X and Y stay in its cache: written to memory
and read back, they would cost what the products save. A strip is an image of its own, to the code; a small image is a
single strip.

The price is rounding: the points reach up to 2, so their powers up to 2^7 are added and subtracted. Each row of B^T is
scaled to a largest entry of 1 (and G against it), which keeps the error within a few times that of the plain sum;
`tests/test_winograd.py` holds it to that. One place needs more than small errors: where a patch holds nothing but
zeros, as on the black ground of a digit, the sum is exactly the bias, and a ReLU or a max-pool behind it decides by
that. Such outputs are looked up and set to the bias.

Sources: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016, arXiv 1509.09308; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
Convolution", 2020, arXiv 1803.10986 (points and scaling).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from scratchnet.fast.compiled import inlined, kernel
from scratchnet.fast.product.loops import CHUNKS, addresses
from scratchnet.fast.product.points import EIGHT, FIVE, FOUR, FROM_POINTS, SIDE, TO_POINTS, matrices, transform
from scratchnet.fast.product.tile import ACCUMULATORS, add_to, padded_columns, tile, tile_cost
from scratchnet.fast.register.scratch import aligned_zeros, scratch, zeroed
from scratchnet.fast.register.vector import REGISTER_BITS, add, load, load_first, store_first
from scratchnet.fast.window import copy_image

MOST_TILES = 64  # of a strip, unless a single row of them is more
TILES = 32  # that a thread takes at a time, in whole strips


def pays(w_shape: tuple[int, ...], stride: tuple[int, int], out_size: tuple[int, int], N: int) -> bool:
    """Whether this is faster than the direct sum.

    Measured for 5 x 5 kernels, with channels enough to fill tiles, and images or strips enough to share.
    """
    KH, KW, C, F = w_shape
    fits = KH == KW == 5 and stride == (1, 1) and min(out_size) >= 4
    return fits and min(C, F) >= 16 and N * strips_of(out_size, KH)[0] >= 4


@kernel
def weights_kernel(w, size, G, out, point):
    """U[p, c, f] = (G g G^T)[p] of g = w[:, :, c, f]; w : flat (r, r, C, F), size : (C, F, F padded); out : flat, U[p]
    at p * point."""
    C, F, width = size
    lanes = REGISTER_BITS // (8 * w.itemsize)
    for c in prange(C):
        half = zeroed(SIDE * SIDE * lanes, w)
        for f in range(0, F, lanes):
            at, to = c * F + f, c * width + f
            transform(TO_POINTS, G, SIDE, FIVE, w, at, 5 * C * F, C * F, F - f, half, out, to, SIDE * point, point)


@inlined
def transform_tiles(shape, matrix, m, tiles, image, half, X, first, point):
    """X[p, first + t] = (matrix d matrix^T)[p] of each tile d of the image, as long as `shape`; X[p] begins at p *
    point."""
    C = image.shape[2]
    lanes = REGISTER_BITS // (8 * image.itemsize)
    flat, row = image.reshape(-1), image.shape[1] * C
    for t in range(tiles[0] * tiles[1]):
        corner = t // tiles[1] * m * row + t % tiles[1] * m * C
        for c in range(0, C, lanes):
            at, to = corner + c, (first + t) * C + c
            transform(TO_POINTS, matrix, SIDE, shape, flat, at, row, C, C - c, half, X, to, SIDE * point, point)


@inlined
def mark_black(image, r, down, black):
    """black[i, j] = whether the r x r patch of the image at (i, j) holds nothing but zeros. down : (PW,), scratch."""
    PH, PW, C = image.shape
    down[:] = 0  # how many rows, up to this one, end in r zeros at this column
    for h in range(PH):
        across = 0  # how many pixels of zeros, up to this one, lie side by side
        for w in range(PW):
            c = 0
            while c < C and image[h, w, c] == 0:
                c += 1
            across = across + 1 if c == C else 0
            down[w] = down[w] + 1 if across >= r else 0
            if h >= r - 1 and w >= r - 1:
                black[h - r + 1, w - r + 1] = down[w] >= r


@inlined
def write_image(Y, first, y_point, width, A_T, half, corner, black, bias, out, tiles):
    """out (OH, OW, F) = A^T Y A of the image's tiles, the first of which is row `first` of each Y[p], and the bias."""
    OH, OW, F = out.shape
    m = A_T.size // SIDE
    lanes = REGISTER_BITS // (8 * Y.itemsize)
    flat, y_row, corner_row = out.reshape(-1), SIDE * y_point, m * lanes
    for t in range(tiles[0] * tiles[1]):
        i, j = t // tiles[1] * m, t % tiles[1] * m
        for f in range(0, F, lanes):
            at = (first + t) * width + f
            transform(FROM_POINTS, A_T, m, EIGHT, Y, at, y_row, y_point, lanes, half, corner, 0, corner_row, lanes)
            b = load_first(bias, f, F - f)
            for h in range(min(m, OH - i)):
                for w in range(min(m, OW - j)):
                    value = b if black[i + h, j + w] else add(load(corner, (h * m + w) * lanes), b)
                    store_first(value, flat, ((i + h) * OW + j + w) * F + f, F - f)


@inlined
def copy_strip(x, padded, before, first, m, strips):
    """What the tiles of a strip reach of the image x, which has `before` zeros above and to the left; the strip begins
    at row of tiles `first`."""
    if strips > 1:
        padded[:] = 0.0  # where the strip before had pixels, this one may have the image's edge
    copy_image(x, padded, before[0] - first * m, before[1], 1, 1)


@kernel
def forward_kernel(x, before, U, bias, out, strips, tiles, together, B_T, A_T, decides, shape):
    """The pass drawn above: out (N, OH, OW, F) from x (N, H, W, C) with `before` zeros above and to the left, and U
    (64, C, F padded), flat. strips : of each image; tiles : of each strip, down and across; together : strips that a
    thread takes at a time. decides : whether a layer behind may decide by sums that have to be exactly the bias."""
    N, C = len(out) * strips, x.shape[3]
    m, T = A_T.size // SIDE, tiles[0] * tiles[1]
    lanes = REGISTER_BITS // (8 * x.itemsize)
    width = U.size // (SIDE * SIDE * C)
    rows = len(shape)
    padded = (together * T + rows - 1) // rows * rows
    x_point, y_point = padded * C + lanes, padded * width + lanes  # one vector more: points not 4096 bytes apart
    for chunk in prange(CHUNKS):
        X, Y = scratch(SIDE * SIDE * x_point, x), scratch(SIDE * SIDE * y_point, x)
        half, corner, nothing = zeroed(SIDE * SIDE * lanes, x), scratch(m * m * lanes, x), zeroed(width, x)
        PH, PW = tiles[0] * m + SIDE - m, tiles[1] * m + SIDE - m
        image = zeroed(PH * PW * C, x).reshape(PH, PW, C)
        down, black = np.empty(image.shape[1], np.intp), np.zeros((together, tiles[0] * m, tiles[1] * m), np.bool_)
        starts = np.minimum(np.arange(padded), together * T - 1) * C
        end = (chunk + 1) * N // CHUNKS
        for first in range(chunk * N // CHUNKS, end, together):
            last = min(first + together, end)
            for n in range(first, last):
                copy_strip(x[n // strips], image, before, n % strips * tiles[0], m, strips)
                transform_tiles(EIGHT, B_T, m, tiles, image, half, X, (n - first) * T, x_point)
                if decides:
                    mark_black(image, SIDE - m + 1, down, black[n - first])
            for p in range(SIDE * SIDE):
                for t in range(0, (last - first) * T, rows):
                    where = addresses(starts, t, shape)
                    for f in range(0, width, ACCUMULATORS // rows * lanes):
                        acc = tile(X[p * x_point :], where, 0, 1, U, p * C * width + f, width, 1, C)
                        add_to(acc, where, Y, p * y_point + t * width + f, width, nothing, 0, 0)
            for n in range(first, last):
                top = n % strips * tiles[0] * m
                part = out[n // strips, top : top + tiles[0] * m]
                write_image(Y, (n - first) * T, y_point, width, A_T, half, corner, black[n - first], bias, part, tiles)


@kernel
def gradient_kernel(x, before, dout, strips, tiles, together, B_T, A, G_T, sums, shape):
    """sums[chunk] (r, r, C padded, F padded) = G^T [sum over the chunk's tiles of (B^T d B) * (A dY A^T)] G.

    x : (N, H, W, C), with `before` zeros above and to the left. dout : (N, OH, OW, F). The rest as in forward.
    """
    N, C = len(x) * strips, x.shape[3]
    m, T = A.size // SIDE, tiles[0] * tiles[1]
    lanes = REGISTER_BITS // (8 * x.itemsize)
    rows, r = len(shape), G_T.size // SIDE
    channels, width = sums.shape[3:]
    x_point, y_point = together * T * C + lanes, together * T * width + lanes
    for chunk in prange(CHUNKS):
        X, Y = zeroed(SIDE * SIDE * x_point, x), scratch(SIDE * SIDE * y_point, x)
        half, total = zeroed(SIDE * SIDE * lanes, x), zeroed(SIDE * SIDE * channels * width, x)
        PH, PW = tiles[0] * m + SIDE - m, tiles[1] * m + SIDE - m
        image = zeroed(PH * PW * C, x).reshape(PH, PW, C)
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
                        acc = tile(X[p * x_point :], where, 0, C, Y, p * y_point + f, width, 1, (last - first) * T)
                        to = (p * channels + c) * width + f
                        add_to(acc, where, total, to, width, total, to, width)
        flat = sums[chunk].reshape(-1)
        point = channels * width
        for at in range(0, point, lanes):
            transform(
                FROM_POINTS, G_T, r, EIGHT, total, at, SIDE * point, point, lanes, half, flat, at, r * point, point
            )


def tiles_of(out_size: tuple[int, int], r: int) -> tuple[int, int]:
    """How many tiles cover the output, down and across."""
    m = SIDE - r + 1
    return -(-out_size[0] // m), -(-out_size[1] // m)


def strips_of(out_size: tuple[int, int], r: int) -> tuple[int, tuple[int, int], int]:
    """Into how many strips an image is cut, the tiles of each, down and across, and how many are taken together."""
    down, across = tiles_of(out_size, r)
    rows = max(rows for rows in range(1, down + 1) if down % rows == 0 and (rows == 1 or rows * across <= MOST_TILES))
    return down // rows, (rows, across), max(1, TILES // (rows * across))


def forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    before: tuple[int, int],
    out_size: tuple[int, int],
    decides: bool = True,
) -> np.ndarray:
    """out (N, OH, OW, F) of x (N, H, W, C), with `before` zeros above and to the left, and w (r, r, C, F).

    Patches of zeros give the bias exactly, since a ReLU or a max-pool behind may decide by it; that search is spared
    where nothing `decides` by the result.
    """
    N, _, _, C = x.shape
    r, F = w.shape[1], w.shape[3]
    B_T, G, A_T = matrices(r, x.dtype)
    _, shape = tile_cost(F, x.dtype)
    width = padded_columns(F, shape, x.dtype)
    U = aligned_zeros(SIDE * SIDE * C * width, x.dtype)
    weights_kernel(np.ascontiguousarray(w).reshape(-1), (C, F, width), G.reshape(-1), U, C * width)
    out = np.empty((N, *out_size, F), x.dtype)
    bias = np.zeros(F, x.dtype) if b is None else b
    strips = strips_of(out_size, r)
    forward_kernel(x, before, U, bias, out, *strips, B_T.reshape(-1), A_T.reshape(-1), decides, shape)
    return out


def kernel_gradient(x: np.ndarray, dout: np.ndarray, r: int, before: tuple[int, int]) -> np.ndarray:
    """dw (r, r, C, F), from x (N, H, W, C), with `before` zeros above and to the left, and dout (N, OH, OW, F)."""
    C, F = x.shape[3], dout.shape[3]
    B_T, G, A_T = matrices(r, x.dtype)
    _, shape = tile_cost(F, x.dtype)
    width = padded_columns(F, shape, x.dtype)
    sums = np.empty((CHUNKS, r, r, -(-C // len(shape)) * len(shape), width), x.dtype)
    A, G_T = np.ascontiguousarray(A_T.T), np.ascontiguousarray(G.T)
    strips = strips_of(dout.shape[1:3], r)
    gradient_kernel(x, before, dout, *strips, B_T.reshape(-1), A.reshape(-1), G_T.reshape(-1), sums, shape)
    return np.ascontiguousarray(sums.sum(axis=0)[:, :, :C, :F])
