"""Every way that the mirror's kernels can go, with arrays that are just large enough for it.

A route is a run of forward and backward passes, and the answers that the rules of `fast/choose.py` have to give in it.
It runs for batches that divide into chunks in every way, and with tiles that come out whole, partial, and partial
behind whole ones. Sizes follow from the registers, so that this holds for any width.

Numbers are small integers: every sum is exact, in any order and in either dtype. Hence results must be equal, and not
close: a single image or term too many cannot hide behind a tolerance. (Only Winograd's way rounds.)

The rules decide by time. A route may set their constants, so that it is taken by arrays smaller than those that it is
meant for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from passes import (
    avg_pool,
    batch_norm,
    conv,
    dense,
    dense_together,
    depthwise,
    max_pool,
    norm_relu,
    norm_relu_pool,
    one_channel_block,
    patches,
    pointwise,
    relu_pool,
)

from scratchnet.fast.batch_norm import LONG_ROW
from scratchnet.fast.choose import CACHE, CHUNKS, FIRST_LEVEL, INPUTS, PANEL, SLAB, tile_for
from scratchnet.fast.product.tile import ACCUMULATORS, NARROW, WIDE, columns, padded_columns
from scratchnet.fast.register.width import REGISTER_BITS, lanes

FILLS = ("partial", "whole", "after")  # less than one tile; whole tiles; less than one tile behind whole ones
BATCHES = {"fewer": 5, "equal": CHUNKS, "multiple": 2 * CHUNKS, "no multiple": 2 * CHUNKS + 5}

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-5}  # of Winograd's way, relative to the largest


class Sizes(NamedTuple):
    """What a route makes its arrays of."""

    N: int
    rows: str  # of FILLS
    columns: str  # of FILLS
    dtype: np.dtype

    @property
    def lanes(self):
        return lanes(self.dtype)


def fit(fill, unit, times=1):
    """A size that fills units of this size in this way. times : how many whole ones, at least."""
    return {"partial": max(1, unit - 1), "whole": times * unit, "after": times * unit + 1}[fill]


def columns_of(shape, s):
    """The smallest number of columns that takes this tile, and fills it in this way."""
    unit = columns(shape, s.dtype)
    fills = {
        "partial": range(unit - 1, 0, -1),
        "whole": range(unit, 9 * unit, unit),
        "after": range(unit + 1, 9 * unit),
    }
    right = (F for F in fills[s.columns] if tile_for(F, s.dtype).shape == shape)
    return next(F for F in right if s.columns != "after" or F % unit)


# ---------------------------------------------------------------- the routes


class Route(NamedTuple):
    """A way through the kernels."""

    make: Callable[[Sizes], Any]  # -> (run, arrays)
    answers: Mapping[str, Any] = MappingProxyType({})  # by rule; those that say which way this is
    constants: Mapping[str, Any] = MappingProxyType({})  # of `choose`, so that small arrays go this way
    rounds: bool = False
    batches: dict[str, int] = BATCHES


# Rows of tiles are output pixels or examples: with a batch of 5 a single pixel is less than a tile.
PIXELS = {"partial": (1, 1), "whole": (ACCUMULATORS, 5), "after": (1, 5)}
# And they are the entries of a kernel, (kh, kw, c), in the gradient of the weights. 7 or 6 rows, or twice as many.
KERNELS = {"partial": (1, 2), "whole": (ACCUMULATORS // 2, 2), "after": (3, 5)}

ALL_LISTED = {"LISTED": -math.inf}  # a number of dout costs nothing to list
NOT_LISTED = {"LISTED": math.inf, "DENSE_ROWS": math.inf}
ALL_WINOGRAD = {"WINOGRAD_CHANNELS": 1, "WINOGRAD_STRIPS": 1} | NOT_LISTED
ANY_TILE = {"LITTLE": 0} | NOT_LISTED  # the tile that suits the columns, however small the product

FEW_BATCHES = {"one": 1, "three": 3, "four": 4}
FEW_DEPTHS = {"partial": 7, "whole": 16, "after": 19}  # ROWS_TOGETHER is 8
FEW_COLUMNS = {"partial": lambda s: s.lanes - 1, "whole": lambda s: 12 * s.lanes, "after": lambda s: 13 * s.lanes + 1}
SLABS = {"partial": SLAB - 6, "whole": 3 * SLAB - 3, "after": 3 * SLAB - 2}  # 1, 3 equal and 3 unequal slabs
SHARDED = {"two": 11, "five": 32, "eight": 44}  # examples of so many shards, each more than a few
SHARDS = {11: 2, 32: 5, 44: 8}
SLAB_ROWS = FIRST_LEVEL // (len(PANEL) * REGISTER_BITS // 8) // 16 * 16  # of a list of a dense layer's nonzeros

# Winograd's tiles of 4 x 4 outputs: one; a row of the register tile; more images in a chunk than go together.
IN_TILES = {"partial": (4, 4), "whole": (4 * ACCUMULATORS // 2, 4), "after": (14, 13)}

# Lists: pixels fill the squares of a transpose, and KH rows of vectors fill GROUPs of 5.
LISTED = {"partial": lambda s: (1, 1), "whole": lambda s: (2, s.lanes), "after": lambda s: (1, 2 * s.lanes + 1)}
LISTED_KERNELS = {"partial": (1, 2), "whole": (5, 2), "after": (6, 2)}

CHANNELS = {"partial": 1, "whole": ACCUMULATORS, "after": ACCUMULATORS + 1}
MORE = {"partial": -1, "whole": 0, "after": 1}
STRIDED = {"partial": (2, 3), "whole": (8, 10), "after": (13, 13)}  # with 2 x 2 kernels 6 and 4 pixels apart
MANY_BATCHES = BATCHES | {"slab": SLAB_ROWS, "slabs": 2 * SLAB_ROWS + 1}

TILES = {"wide": WIDE, "narrow": NARROW}
LISTS = {"some": 0.2, "full": 1.0, "empty": 0.0}  # the share of dout that is not zero
WINDOWS = {
    "partial": ((6, 7), (2, 2), (3, 3), (0, 0)),  # strides above the window, and rows left over
    "whole": ((4, 6), (2, 3), (2, 3), (0, 0)),  # side by side, each pixel in one window
    "after": ((5, 6), (2, 4), (2, 1), "same"),  # overlapping, and padded more behind the image than before it
}

BY_TILE = {"conv_forward": "tile", "conv_dw": "tile", "conv_dx": "tile"}
BY_WINOGRAD = dict.fromkeys(BY_TILE, "Winograd")
BY_LISTS = {"conv_dw": "nonzeros", "conv_dx": "nonzeros"}


def with_tile(name, shape):
    """The routes on which a product takes this tile."""

    def wide(s):
        return columns_of(shape, s)

    chosen = {"product_shape": name, "tile_for": name}
    return {
        f"convolution, {name} tile": Route(
            lambda s: conv(s, PIXELS[s.rows], wide(s), wide(s), (3, 2)),
            BY_TILE | chosen | {"neighbours_in_tile": "one"},
            ANY_TILE,
        ),
        f"convolution, {name} tile, few channels": Route(
            lambda s: conv(s, (2, 5), 2, wide(s), KERNELS[s.rows]), BY_TILE | {"tile_for": name}, ANY_TILE
        ),
        f"convolution, {name} tile, slabs of runs": Route(
            lambda s: conv(s, (1, 5), 150, wide(s), ({"partial": 1, "whole": 6, "after": 7}[s.rows], 3)),
            BY_TILE | chosen,
            ANY_TILE,
        ),
        f"convolution, {name} tile, bands of an image": Route(
            lambda s: conv(s, bands(s, shape), 1, wide(s), (1, 2)),
            BY_TILE | chosen,
            ANY_TILE,
            batches={"one": 1, "two": 2},
        ),
        f"Winograd, {name} tile": Route(
            lambda s: conv(s, IN_TILES[s.rows], wide(s), wide(s), (5, 5)),
            BY_WINOGRAD | {"tile_for": name},
            ALL_WINOGRAD,
            rounds=True,
        ),
        f"Winograd, {name} tile, channels in its rows": Route(
            lambda s: conv(s, (5, 6), CHANNELS[s.rows], wide(s), (5, 5), padding=(3, 1)),
            BY_WINOGRAD | {"tile_for": name},
            ALL_WINOGRAD,
            rounds=True,
        ),
        f"pointwise, {name} tile": Route(
            lambda s: pointwise(s, (ACCUMULATORS, 2) if s.rows == "whole" else (1, 5), max(2, wide(s)), wide(s)),
            {"few_rows": False, "one_channel": False} | chosen,
            ANY_TILE,
        ),
        f"pointwise, {name} tile, channels in its rows": Route(
            lambda s: pointwise(s, (1, 5), max(2, CHANNELS[s.rows]), wide(s)), {"one_channel": False} | chosen, ANY_TILE
        ),
        f"dense, {name} tile": Route(
            lambda s: dense(s, wide(s), wide(s)),
            {"few_rows": False, "dense_gradients": "tile", "product_shape": name},
            ANY_TILE,
        ),
        f"dense, {name} tile, slabs of examples": Route(
            lambda s: dense(s, 3, wide(s)), {"product_shape": name}, ANY_TILE, batches=SLABS
        ),
        f"dense, {name} tile, shards together": Route(
            lambda s: dense_together(s, fit(s.rows, len(shape), 6), wide(s), SHARDS[s.N]),
            {"few_rows": False, "dense_gradients": "tile", "product_shape": name},
            ANY_TILE,
            batches=SHARDED,
        ),
        f"dense, {name} tile, shards together, more columns": Route(
            lambda s: dense_together(s, 5, 5 * wide(s), SHARDS[s.N]),
            {"dense_gradients": "tile"},
            ANY_TILE,
            batches=SHARDED,
        ),
        f"dense, {name} tile, slabs": Route(
            lambda s: dense(s, SLABS[s.rows], wide(s)), {"product_shape": name}, ANY_TILE
        ),
    }


def with_lists(name, kept):
    """The routes on which zeros are left out, if this share of the numbers is not zero."""
    return {
        f"convolution, {name} lists": Route(
            lambda s: conv(
                s,
                LISTED[s.rows](s),
                fit(s.columns, s.lanes),
                fit(s.columns, s.lanes),
                LISTED_KERNELS[s.rows],
                kept=kept,
            ),
            BY_LISTS,
            ALL_LISTED,
        ),
        f"convolution, {name} lists of several neighbours": Route(
            lambda s: conv(s, *in_a_vector(s), LISTED_KERNELS[s.rows], kept=kept),
            BY_LISTS | {"neighbours_in_vector": "several"},
            ALL_LISTED,
        ),
        f"convolution, {name} lists of whole vectors": Route(
            lambda s: conv(
                s,
                LISTED[s.rows](s),
                *[fit(s.columns, s.lanes) + s.lanes] * 2,
                (LISTED_KERNELS[s.rows][0], 1),
                kept=kept,
            ),
            BY_LISTS | {"neighbours_in_vector": "one"},
            ALL_LISTED,
        ),
        f"convolution, {name} lists of narrow images": Route(
            lambda s: conv(
                s,
                (5, 3),
                1,
                1 if s.columns == "partial" else fit(s.columns, s.lanes),
                LISTED_KERNELS[s.rows],
                kept=kept,
            ),
            BY_LISTS | {"neighbours_in_vector": "several"},
            ALL_LISTED,
        ),
        f"dense, {name} lists": Route(
            lambda s: dense(s, fit(s.columns, len(PANEL) * s.lanes), fit(s.rows, SLAB_ROWS), kept),
            {"dense_gradients": "nonzeros"},
            {"DENSE_ROWS": 0, "DENSE_NONZEROS": 2},
            batches=MANY_BATCHES,
        ),
    }


def bands(s, shape):
    """Size of an image that is cut into bands, in the gradient of a 1 x 2 kernel. Long lines: few fit into a cache."""
    line = 300 * (padded_columns(columns_of(shape, s), shape, s.dtype) + 1) * s.dtype.itemsize
    return fit(s.rows, CACHE // line, 2), 299


def in_a_vector(s):
    """Size, channels and filters of a convolution whose lists take several pixels at once, in whole vectors or not."""
    filters = 3 if s.columns == "partial" and s.lanes >= 8 else 1
    together = s.lanes // filters
    size = {"partial": (1, together), "whole": (s.lanes, together), "after": (s.lanes + 1, together)}[s.rows]
    return (size[0], size[1] + (s.columns == "after") * together), 1, filters


def channels(s):
    """Few, so that several rows are taken as one, or more than a long row has."""
    return fit(s.columns, s.lanes) + (0 if s.columns == "partial" else LONG_ROW)


OTHERS = {
    "convolution, several neighbours in the tile": Route(
        lambda s: conv(s, (3, 2 * s.lanes + {"partial": -2, "whole": 0, "after": 2}[s.columns]), 1, 2, KERNELS[s.rows]),
        BY_TILE | {"neighbours_in_tile": "several"},
        ANY_TILE,
    ),
    "convolution, strides above the kernel": Route(
        lambda s: conv(s, STRIDED[s.rows], 2, columns_of(NARROW, s), (2, 2), (6, 4), "valid"), BY_TILE, ANY_TILE
    ),
    "convolution, lists, strides above the kernel": Route(
        lambda s: conv(s, STRIDED[s.rows], min(2, s.lanes // 2), fit(s.columns, s.lanes), (2, 2), (6, 4), "valid", 0.3),
        BY_LISTS,
        ALL_LISTED,
    ),
    "convolution, lists of whole vectors, strides above the kernel": Route(
        lambda s: conv(s, STRIDED[s.rows], s.lanes + 1, fit(s.columns, s.lanes), (2, 2), (6, 4), "valid", 0.3),
        BY_LISTS | {"neighbours_in_vector": "one"},
        ALL_LISTED,
    ),
    "Winograd, strips": Route(
        lambda s: conv(s, {"partial": (20, 58), "whole": (36, 32), "after": (17, 65)}[s.rows], 2, 3, (5, 5)),
        BY_WINOGRAD | {"winograd_strips": "several"},
        ALL_WINOGRAD,
        rounds=True,
    ),
    "depthwise in lines": Route(
        lambda s: depthwise(s, (fit(s.rows, ACCUMULATORS), fit(s.columns, s.lanes, 2)), 1, KERNELS[s.rows]),
        {"lanewise_in_lines": True},
    ),
    "depthwise in pixels": Route(
        lambda s: depthwise(s, (2, 2 * PIXELS[s.rows][1]), fit(s.columns, s.lanes), KERNELS[s.rows], (1, 2), M=2),
        {"lanewise_in_lines": False, "lanewise_slides": False},
    ),
    "depthwise in pixels of strides": Route(
        lambda s: depthwise(
            s,
            {"partial": (1, 3), "whole": (2, 2 * ACCUMULATORS - 1), "after": (4, 9)}[s.rows],
            fit(s.columns, s.lanes),
            KERNELS[s.rows],
            (2, 2),
        ),
        {"lanewise_in_lines": False, "lanewise_slides": False},
    ),
    "depthwise in pixels that neighbour": Route(
        lambda s: depthwise(s, PIXELS[s.rows], fit(s.columns, s.lanes) + s.lanes, KERNELS[s.rows]),
        {"lanewise_in_lines": False, "lanewise_slides": False},
    ),
    "depthwise, sliding": Route(
        lambda s: depthwise(
            s, (2, 2 * ACCUMULATORS if s.rows == "after" else ACCUMULATORS), fit(s.columns, s.lanes) + s.lanes, (3, 2)
        ),
        {"lanewise_in_lines": False, "lanewise_slides": True},
    ),
    "pointwise of one channel": Route(
        lambda s: pointwise(s, PIXELS[s.rows], 1, fit(s.columns, s.lanes)), {"one_channel": True}
    ),
    "pointwise of a few pixels": Route(
        lambda s: pointwise(s, (1, 1), FEW_DEPTHS[s.rows], FEW_COLUMNS[s.columns](s)),
        {"few_rows": True},
        batches=FEW_BATCHES,
    ),
    "dense of a few examples": Route(
        lambda s: dense(s, FEW_DEPTHS[s.rows], FEW_COLUMNS[s.columns](s)),
        {"few_rows": True, "dense_gradients": "few rows"},
        batches=FEW_BATCHES,
    ),
    "dense of a few examples, of many inputs and mostly zeros": Route(
        lambda s: dense(s, fit(s.rows, INPUTS), FEW_COLUMNS[s.columns](s), x_kept=0.2),
        {"few_rows": True},
        batches=FEW_BATCHES,
    ),
    "dense, transposed dx": Route(
        lambda s: dense(s, 192 + MORE[s.rows], 96 + MORE[s.columns]),
        {"few_rows": False, "dense_dx_transposed": True},
        ANY_TILE,
    ),
    "convolution, padding above the kernel": Route(  # so the gradient of x leaves out pixels of dout on all sides
        lambda s: conv(s, (3, 4), 2, columns_of(NARROW, s), (2, 2), padding=(3, 2)), BY_TILE, ANY_TILE
    ),
    "depthwise, padding above the kernel": Route(
        lambda s: depthwise(s, (3, 4), fit(s.columns, s.lanes), (2, 2), padding=(3, 2))
    ),
    "max-pool of as many pixels as its windows have, that overlap": Route(
        lambda s: max_pool(s, (6, 6), fit(s.columns, s.lanes), (3, 3), (2, 2), 0)
    ),
    "max-pool": Route(lambda s: max_pool(s, WINDOWS[s.rows][0], fit(s.columns, s.lanes), *WINDOWS[s.rows][1:])),
    "average pool": Route(lambda s: avg_pool(s, WINDOWS[s.rows][0], fit(s.columns, s.lanes), *WINDOWS[s.rows][1:])),
    "ReLU and max-pool": Route(
        lambda s: relu_pool(s, WINDOWS[s.rows][0], fit(s.columns, s.lanes), *WINDOWS[s.rows][1:])
    ),
    "one channel, ReLU and max-pool": Route(
        lambda s: one_channel_block(
            s, {"partial": (5, 7), "whole": (4, 6), "after": (3, 8)}[s.rows], fit(s.columns, s.lanes), (2, 3)
        )
    ),
    "batch normalisation": Route(lambda s: batch_norm(s, channels(s)), rounds=True),
    "batch normalisation and ReLU": Route(lambda s: norm_relu(s, channels(s)), rounds=True),
    "batch normalisation, ReLU and max-pool": Route(
        lambda s: norm_relu_pool(s, WINDOWS[s.rows][0], fit(s.columns, s.lanes), *WINDOWS[s.rows][1:]), rounds=True
    ),
    "patches": Route(lambda s: patches(s, WINDOWS[s.rows][0], fit(s.columns, s.lanes), *WINDOWS[s.rows][1:])),
}

ROUTES = {
    **{name: route for tile in TILES.items() for name, route in with_tile(*tile).items()},
    **{name: route for share in LISTS.items() for name, route in with_lists(*share).items()},
    **OTHERS,
}
