"""Which way a kernel goes: every rule of the mirror, and the constants behind the rules.

There are several ways to compute a convolution or a product, with the same result up to rounding. Which one is fastest
depends on the shapes, on the width of the registers and on how many numbers are zeros. The modules with the kernels ask
here. Each question is a function, and its annotation says what it can answer:

    the tile                  tile_for, product_shape
    cutting a product         product_cut, parts_of_columns
    convolution               conv_forward, conv_dw, conv_dx, neighbours_in_tile, neighbours_in_vector, winograd_strips
    depthwise convolution     lanewise_in_lines, lanewise_slides
    pointwise convolution     one_channel
    dense layer, product      few_rows, dense_gradients, dense_dx_transposed

A constant marked "measured" decides by time. It was measured on an Intel Xeon and an AMD EPYC with 512-bit registers;
`python -m benchmarks.calibrate` measures all of them on the machine at hand and says which differ.

`recorded` collects the answers with their reasons. `scratchnet explain` prints them: the kernels that a network runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from numba import get_num_threads

from scratchnet.fast.caches import second_level
from scratchnet.fast.product.tile import ACCUMULATORS, NARROW, WIDE, Stretches, columns, padded_columns
from scratchnet.fast.register.width import REGISTER_BITS, known, lanes
from scratchnet.layers.shapes import Pair, Window

Shape = tuple[int, ...]

# ---------------------------------------------------------------- constants

# Threads. A result must not depend on their number, so a sum over images is divided into a fixed number of parts.
CHUNKS = 16  # chunks of N images, where a result is a sum over images (N of them, if there are fewer images)
RUN = 4  # panels in a group, at least, where there is a choice: a row of B is read in runs of so many panels
BLOCK_ROWS = 192  # rows in a block, at least: each block packs its panels anew, in the time that 20 rows take

# Caches. What depends on their sizes changes the time, and no bit of a result.
CACHE = 1 << 18  # bytes of an image's band of A and B that stay in a thread's L2 cache
PACKED = second_level() // 2  # bytes of B that a thread packs at a time: the output passes through the other half
FIRST_LEVEL = 22 << 10  # bytes of a slab of a panel of B that a list of nonzeros is multiplied with
TABLE = 1 << 16  # bytes of the table of weights that a list of nonzeros is multiplied with
SLAB = 256  # rows of B in a slab, at most: as many columns of 7 rows of A fit into an L1 cache, and a panel passes by
PATCH = 1024  # the same where a row of A is a patch: the output is too large to come by twice
PACKED_TOGETHER = 8  # rows of B that are packed into all panels before the next: they lie in other pages of memory

# The tile.
NARROW_COST = 1.1  # measured: time of a product in the narrow tile, relative to the wide one
LITTLE = 1 << 21  # multiply-adds: a smaller product takes the wide tile; a layer of ten classes has 1.3 million

# Few rows, as when a single digit is recognised.
FEW = 4  # measured: up to this many rows, packing B for the tile costs more than it saves
SHARE = 4  # vectors of a row of B that a thread takes, at least
INPUTS = 64  # rows of w whose gradients a thread takes at a time
ROWS_TOGETHER = known(8)  # rows of B that are added to a sum between its load and its store

# Zeros that are left out.
PANEL = known(7)  # vectors of a panel of B, in a dense layer's gradients
GROUP = known(5)  # vectors summed together, in a convolution's gradients; a 5 x 5 kernel has as many rows
DENSE_NONZEROS = 0.55  # measured: below this share of nonzeros, a dense layer's gradients leave out the zeros
DENSE_ROWS = 64  # measured: from this many rows of dout on, they leave them out
LISTED = 4.0  # measured: time to test a number and list it; 1 is a multiply-add of a vector from the list
TILE_TIME = 0.9  # measured: time of a multiply-add of a vector in the tile, in the same unit
WINOGRAD_TIME = 0.4  # measured: time of Winograd's way for each multiply-add of the definition, in the same unit

# Winograd's convolution.
WINOGRAD_SIDE = 8  # a tile has 8 x 8 inputs
WINOGRAD_CHANNELS = 16  # measured: from this many channels and filters on, it is faster
WINOGRAD_STRIPS = 4  # images or strips of images, at least, whatever the number of threads
MOST_TILES = 64  # tiles of a strip, at most, unless a single row has more
TILES = 32  # tiles that a thread takes at a time, in whole strips


# ---------------------------------------------------------------- what was chosen


class Choice(NamedTuple):
    """One answer of this module: which way a pass goes, and why."""

    computes: str  #: "out", "dw" or "dx"
    way: str  #: "tile", "Winograd", "nonzeros", ...
    why: str
    done: int  #: multiply-adds that this way does, the padding of tiles included
    defined: int  #: multiply-adds that the definition has


_record: list[Choice] | None = None


@contextmanager
def recorded() -> Iterator[list[Choice]]:
    """Collect the choices that are made inside the `with` block, in a list that grows as they are made."""
    global _record
    before, _record = _record, []
    try:
        yield _record
    finally:
        _record = before


def share_of_zeros(dout: np.ndarray) -> str:
    """The reason for leaving out zeros: how many there are."""
    return f"{np.count_nonzero(dout == 0) / max(1, dout.size):.0%} of dout is zeros"


def note(make: Callable[[], Choice]) -> None:
    """Record a choice if choices are being collected. `make` describes the choice, and is called only in that case."""
    if _record is not None:
        _record.append(make())


# ---------------------------------------------------------------- the tile


class TileFor(NamedTuple):
    """The tile that suits a number of columns."""

    cost: float  #: columns that are computed, padding included, in units of a column of the wide tile
    shape: Shape  #: WIDE or NARROW


@functools.cache
def tile_for(F: int, dtype: np.dtype) -> TileFor:
    """The tile that takes less time for F columns: the wide one, or the narrow one, which wastes fewer lanes."""
    wide, narrow = padded_columns(F, WIDE, dtype), padded_columns(F, NARROW, dtype) * NARROW_COST
    return TileFor(wide, WIDE) if wide <= narrow else TileFor(narrow, NARROW)


def product_shape(M: int, depth: int, F: int, dtype: np.dtype) -> Shape:
    """The tile of a product (M, depth) @ (depth, F).

    A small product always takes the wide tile. If the narrow one suits it better, the time lost is less than the time
    to compile the narrow one for this product alone.
    """
    return WIDE if M * depth * F < LITTLE else tile_for(F, dtype).shape


def tile_work(M: int, depth: int, F: int, shape: Shape, dtype: np.dtype) -> int:
    """Multiply-adds of a product (M, depth) @ (depth, F), with rows and columns padded to whole tiles."""
    return -(-M // len(shape)) * len(shape) * depth * padded_columns(F, shape, dtype)


class Cut(NamedTuple):
    """How `product_rows` divides its work."""

    slab_runs: int  #: runs in a slab
    slab_K: int  #: numbers in each of these runs
    groups: int  #: groups of panels
    blocks: int  #: blocks of rows


def product_cut(M: int, F: int, stretches: Stretches, shape: Shape, dtype: np.dtype) -> Cut:
    """Slabs, groups of panels and blocks of rows for a product (M, depth) @ (depth, F).

    A thread packs a group's part of one slab at a time. That part stays in its cache while it computes the rows of a
    block, and so does the block's part of the output, if all slabs come back to it. Each thread gets a pair of a group
    and a block. Each group reads all of A, and each block packs all of B. So the longer side of the output is divided.
    """
    return _product_cut(M, F, stretches, shape, dtype, get_num_threads())


@functools.lru_cache(maxsize=256)  # a network asks for the same few at every step
def _product_cut(M: int, F: int, stretches: Stretches, shape: Shape, dtype: np.dtype, threads: int) -> Cut:
    runs, K = stretches.runs, stretches.K
    most = SLAB if runs == 1 else PATCH
    slabs = -(-K // most)
    slab_runs, slab_K = min(runs, max(1, most // K)), -(-K // slabs)
    wide_F = padded_columns(F, shape, dtype)
    panels, most_blocks = wide_F // columns(shape, dtype), max(1, M // BLOCK_ROWS)
    groups = -(-wide_F * slab_runs * slab_K * dtype.itemsize // PACKED)
    if M < F:
        groups = max(groups, min(threads, panels // RUN))
    blocks = min(-(-threads // groups), most_blocks)
    groups = min(panels, max(groups, -(-threads // blocks)))
    if slabs > 1:
        in_cache = -(-M * wide_F * dtype.itemsize // (groups * PACKED))
        blocks = min(-(-in_cache // blocks) * blocks, most_blocks)
    return Cut(slab_runs, slab_K, groups, blocks)


# ---------------------------------------------------------------- convolution


def winograd_is_faster(w_shape: Shape, stride: Pair, out_size: Pair, N: int) -> bool:
    """Whether Winograd's convolution is faster than the tile.

    Measured for 5 x 5 kernels, with enough channels to fill tiles, and at least WINOGRAD_STRIPS images or strips.
    """
    KH, KW, C, F = w_shape
    fits = KH == KW == 5 and stride == (1, 1) and min(out_size) >= 4
    return fits and min(C, F) >= WINOGRAD_CHANNELS and N * winograd_strips(out_size, KH).number >= WINOGRAD_STRIPS


def with_all_numbers(w_shape: Shape, stride: Pair, out_size: Pair, N: int) -> Literal["Winograd", "tile"]:
    """Which way a convolution goes that leaves out no zeros."""
    return "Winograd" if winograd_is_faster(w_shape, stride, out_size, N) else "tile"


class Strips(NamedTuple):
    """How Winograd's convolution cuts an image into strips of tiles."""

    number: int  #: strips of an image
    tiles: Pair  #: tiles of a strip, down and across
    together: int  #: strips that a thread takes at a time


@functools.cache
def winograd_strips(out_size: Pair, r: int) -> Strips:
    """The strips of an image whose output has this size, for kernels r wide."""
    m = WINOGRAD_SIDE - r + 1
    down, across = -(-out_size[0] // m), -(-out_size[1] // m)
    rows = max(rows for rows in range(1, down + 1) if down % rows == 0 and (rows == 1 or rows * across <= MOST_TILES))
    return Strips(down // rows, (rows, across), max(1, TILES // (rows * across)))


def conv_forward(w_shape: Shape, window: Window, N: int, dtype: np.dtype) -> Literal["Winograd", "tile"]:
    """Which way a convolution's forward pass goes."""
    way = with_all_numbers(w_shape, window.stride, window.out, N)
    note(lambda: _conv_choice("out", way, w_shape, window, N, dtype))
    return way


def conv_dw(x: np.ndarray, dout: np.ndarray, w_shape: Shape, window: Window) -> Literal["nonzeros", "Winograd", "tile"]:
    """Which way a convolution's gradient of w goes."""
    KH, KW, C, _ = w_shape
    other = with_all_numbers(w_shape, window.stride, window.out, len(x))
    vectors = KH * -(-KW * C // lanes(x.dtype))
    fits = x[:1].nbytes < CACHE  # the image stays in the cache
    way: Literal["nonzeros", "Winograd", "tile"]
    way = "nonzeros" if fits and zeros_are_worth_listing(dout, vectors, other) else other
    note(lambda: _conv_choice("dw", way, w_shape, window, len(x), x.dtype, dout))
    return way


def conv_dx(dout: np.ndarray, w_shape: Shape, window: Window) -> Literal["nonzeros", "Winograd", "tile"]:
    """Which way a convolution's gradient of x goes."""
    (H, W), (KH, KW, C, F) = window.image, w_shape
    other = with_all_numbers((KH, KW, F, C), window.stride, window.image, len(dout))
    neighbours = neighbours_in_vector(C, W, dout.dtype)
    vectors = KH * (KW + neighbours - 1) * -(-neighbours * C // lanes(dout.dtype))
    fits = vectors * F * REGISTER_BITS // 8 <= TABLE and H * W * C * dout.itemsize < CACHE
    way: Literal["nonzeros", "Winograd", "tile"]
    way = "nonzeros" if fits and zeros_are_worth_listing(dout, vectors / neighbours, other) else other
    note(lambda: _conv_choice("dx", way, w_shape, window, len(dout), dout.dtype, dout))
    return way


def dx_window(window: Window) -> Window:
    """The window of the forward pass that makes dx: it slides over dout, spread by the stride; see `conv.py`."""
    (H, W), (KH, KW), (SH, SW), (OH, OW) = window.image, window.size, window.stride, window.out
    spread = (OH - 1) * SH + 1, (OW - 1) * SW + 1
    before = KH - 1 - window.before[0], KW - 1 - window.before[1]
    padded = H + KH - 1, W + KW - 1
    after = padded[0] - before[0] - spread[0], padded[1] - before[1] - spread[1]
    return Window(window.size, (1, 1), spread, before, after, padded, window.image)


def zeros_are_worth_listing(dout: np.ndarray, vectors: float, other: str) -> bool:
    """Whether a convolution's gradient is faster without the zeros of dout than the other way.

    vectors : multiply-adds of a vector for each number of dout. other : "Winograd" or "tile". The share of zeros is
    estimated from a few images.
    """
    time = {"Winograd": WINOGRAD_TIME, "tile": TILE_TIME}[other]
    some = dout[:: max(1, len(dout) // 4)]
    return LISTED + vectors * float(np.count_nonzero(some)) / max(1, some.size) < time * vectors


@functools.cache
def neighbours_in_tile(OW: int, F: int, KW: int, SW: int, dtype: np.dtype) -> int:
    """How many neighbouring output pixels the tile computes at once: the divisor of OW with the least work."""
    divisors = [n for n in range(1, OW + 1) if OW % n == 0]
    return min(divisors, key=lambda n: tile_for(n * F, dtype).cost / n * (KW + (n - 1) * SW))


def neighbours_in_vector(C: int, W: int, dtype: np.dtype) -> int:
    """How many neighbouring pixels of dx share a vector, each with its C channels, for lists of nonzeros."""
    return max(1, min(W, lanes(dtype) // C))


def _conv_choice(
    computes: str, way: str, w_shape: Shape, window: Window, N: int, dtype: np.dtype, dout: np.ndarray | None = None
) -> Choice:
    """What `recorded` collects about a convolution."""
    KH, KW, C, F = w_shape
    OH, OW = window.out
    defined = N * OH * OW * KH * KW * C * F
    if way == "Winograd":
        channels, filters = (F, C) if computes == "dx" else (C, F)
        out_size = window.image if computes == "dx" else window.out
        why = "5 x 5 kernels and many channels: 64 products instead of 400"
        return Choice(computes, way, why, _winograd_work(computes, channels, filters, out_size, N, dtype), defined)
    if way == "nonzeros":
        assert dout is not None
        nonzeros = int(np.count_nonzero(dout))
        return Choice(
            computes, way, share_of_zeros(dout), nonzeros * _listed_work(computes, w_shape, window, dtype), defined
        )
    if computes == "dx":  # a forward pass over dout, with channels and filters exchanged
        window = dx_window(window)
        (OH, OW), C, F = window.out, F, C
    SW = window.stride[1]
    n = neighbours_in_tile(OW, F, KW, SW, dtype)
    wide_depth, places = KH * (KW + (n - 1) * SW) * C, N * OH * OW // n
    M, depth = (wide_depth, places) if computes == "dw" else (places, wide_depth)
    shape = tile_for(n * F, dtype).shape if computes == "dw" else product_shape(M, depth, n * F, dtype)
    neighbours = f", {n} neighbouring pixels at once" if n > 1 else ""
    why = f"tile of {len(shape)} x {columns(shape, dtype)}{neighbours}"
    return Choice(computes, "tile", why, tile_work(M, depth, n * F, shape, dtype), defined)


def _winograd_work(computes: str, C: int, F: int, out_size: Pair, N: int, dtype: np.dtype) -> int:
    """Multiply-adds of Winograd's convolution with 5 x 5 kernels: products and transforms."""
    shape = tile_for(F, dtype).shape
    width, wide_C = padded_columns(F, shape, dtype), -(-C // lanes(dtype)) * lanes(dtype)
    strips = winograd_strips(out_size, 5)
    tiles = N * strips.number * strips.tiles[0] * strips.tiles[1]
    points, to_points, from_points = WINOGRAD_SIDE**2, 5 * 8 * (8 + 8), 5 * 4 * (8 + 4)
    if computes == "dw":
        rows = -(-C // len(shape)) * len(shape)
        dout_to_points = 5 * 4 * (4 + 8)
        return points * tiles * rows * width + tiles * (to_points * wide_C + dout_to_points * width)
    return points * tiles * C * width + tiles * (to_points * wide_C + from_points * width)


def _listed_work(computes: str, w_shape: Shape, window: Window, dtype: np.dtype) -> int:
    """Multiply-adds for one number of a list of nonzeros."""
    KH, KW, C, _ = w_shape
    LANES, group = lanes(dtype), len(GROUP)
    if computes == "dw":
        vectors = KH * -(-KW * C // LANES)
        return -(-vectors // group) * group * LANES
    n = neighbours_in_vector(C, window.image[1], dtype)
    across = -(-n * C // LANES)
    down = KH if across % group == 0 else -(-KH // group) * group
    return (KW + n - 1) * across * down * LANES // n


# ---------------------------------------------------------------- depthwise and pointwise convolution


def lanewise_in_lines(C: int, SW: int, dtype: np.dtype) -> bool:
    """Whether a row of the tile is a whole line of the output instead of a pixel: for few channels and stride 1."""
    return SW == 1 and lanes(dtype) > C


def lanewise_slides(OW: int, SW: int) -> bool:
    """Whether the rows of every tile are neighbouring pixels of a line, so that they can share their loads."""
    return SW == 1 and OW % ACCUMULATORS == 0


def note_lanewise(computes: str, N: int, w_shape: Shape, window: Window, dtype: np.dtype) -> None:
    """Record which way a depthwise convolution with w (KH, KW, C) goes."""

    def choice() -> Choice:
        (KH, KW, C), (OH, OW), SW = w_shape, window.out, window.stride[1]
        in_lines = lanewise_in_lines(C, SW, dtype)
        F = OW * C if in_lines else C
        wide_F = -(-F // lanes(dtype)) * lanes(dtype)
        rows, terms = (KH * KW, OH * OW * C // F) if computes == "dw" else (OH * OW * C // F, KH * KW)
        done = N * -(-rows // ACCUMULATORS) * ACCUMULATORS * terms * wide_F
        if in_lines:
            way, why = "lines", f"{C} channels fill no vector, the pixels of a line do"
        elif computes != "dw" and lanewise_slides(OW, SW):
            way, why = "sliding", "channels fill the vectors, and neighbours share a load"
        else:
            way, why = "pixels", "channels fill the vectors"
        return Choice(computes, way, why, done, N * OH * OW * KH * KW * C)

    note(choice)


def one_channel(C: int) -> bool:
    """Whether a pointwise convolution's backward pass is a single pass over dout instead of matrix products."""
    return C == 1


def note_one_channel(computes: str, pixels: int, F: int, dtype: np.dtype) -> None:
    """Record a pass of a pointwise convolution of one channel."""
    done = pixels * -(-F // lanes(dtype)) * lanes(dtype)
    note(
        lambda: Choice(
            computes, "one pass", "one channel: a number times a row, no product of matrices", done, pixels * F
        )
    )


# ---------------------------------------------------------------- products of matrices


def few_rows(M: int, K: int, F: int, dtype: np.dtype, computes: str) -> bool:
    """Whether (M, K) @ (K, F) reads B once, in place, instead of packing it for the tile."""
    few = M <= FEW
    note_product(computes, "few rows" if few else "tile", M, K, F, dtype)
    return few


def parts_of_columns(F: int, dtype: np.dtype) -> int:
    """Into how many parts F columns are divided where a thread reads its columns of each row of B."""
    return max(1, min(get_num_threads(), F // (SHARE * lanes(dtype))))


def dense_gradients(dout: np.ndarray, D: int, need_dx: bool) -> Literal["few rows", "nonzeros", "tile"]:
    """Which way a dense layer's gradients of w (D, F) and x go."""
    N, F = dout.shape
    way: Literal["few rows", "nonzeros", "tile"] = "few rows" if N <= FEW else "tile"
    some = dout[::4]  # counting all rows takes longer than making the lists
    if N >= DENSE_ROWS and np.count_nonzero(some) < DENSE_NONZEROS * some.size:
        way = "nonzeros"

    def without_zeros(computes: str) -> Choice:
        width = len(PANEL) * lanes(dout.dtype)
        done = int(np.count_nonzero(dout)) * -(-D // width) * width
        return Choice(computes, "nonzeros", share_of_zeros(dout), done, dout.size * D)

    if way == "nonzeros":
        note(lambda: without_zeros("dw"))
    else:
        note_product("dw", way, D, N, F, dout.dtype)
    if need_dx and way == "nonzeros":
        note(lambda: without_zeros("dx"))
    elif need_dx and way == "few rows":  # else the product that computes dx says how
        note_product("dx", way, N, F, D, dout.dtype)
    return way


def dense_dx_transposed(N: int, w_shape: Shape) -> bool:
    """Whether dx = dout @ w^T is computed as the transpose of w @ dout^T, so that a large w is not transposed."""
    D, F = w_shape
    return D * F >= N * (D + F)


def note_product(computes: str, way: str, M: int, K: int, F: int, dtype: np.dtype) -> None:
    """Record which way a product (M, K) @ (K, F) goes."""

    def choice() -> Choice:
        if way == "few rows":
            return Choice(computes, way, "each weight is read once, and used seldom", M * K * F, M * K * F)
        shape = product_shape(M, K, F, dtype)
        little = ": too little work to compile another" if M * K * F < LITTLE else ""
        why = f"tile of {len(shape)} x {columns(shape, dtype)}{little}"
        return Choice(computes, "tile", why, tile_work(M, K, F, shape, dtype), M * K * F)

    note(choice)
