"""Measure the constants of `scratchnet/fast/choose.py` again on this machine, and say which differ.

    python -m benchmarks.calibrate             all of them, in a minute or two
    python -m benchmarks.calibrate FEW LISTED  only these

A constant decides between two ways to compute the same thing. So each measurement runs both ways in turn, and takes
medians. Close all other programs while it runs. It changes nothing: if a constant differs on a quiet machine, edit
`choose.py`, and measure a training step before and after.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from scratchnet.fast import choose, conv, conv_sparse, conv_winograd, dense
from scratchnet.fast.padded import padded_copy
from scratchnet.fast.product import sparse
from scratchnet.fast.product.loops import product_rows
from scratchnet.fast.product.tile import NARROW, WIDE, Stretches
from scratchnet.fast.register.width import lanes
from scratchnet.layers.shapes import Window
from scratchnet.progress import progress_bar
from scratchnet.tables import table

ROUNDS = 9
TOLERANCE = 0.25  # of the constant: two runs on a shared machine may differ by so much
FLOAT32 = np.dtype(np.float32)
DENSE = 3136, 1024  # inputs and outputs of the largest layer of the three networks

Run = Callable[[], object]


def medians(*runs: Run) -> list[float]:
    """The median time of each run, in seconds. All run in turn, after a first call of each that does not count."""
    for run in runs:
        run()
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, of_run in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            of_run.append(time.perf_counter() - start)
    return [statistics.median(of_run) for of_run in times]


def first_where(candidates: Sequence[int], faster: Callable[[int], bool]) -> int:
    """The first candidate for which `faster` is true; the last one if there is none."""
    return next((candidate for candidate in candidates if faster(candidate)), candidates[-1])


def normal(*shape: int) -> np.ndarray:
    """An array of random numbers."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def with_zeros(share: float, *shape: int) -> np.ndarray:
    """An array of random numbers, of which a share is not zero."""
    return normal(*shape) * (np.random.default_rng(1).random(shape) < share)


# ---------------------------------------------------------------- the measurements, by the constant's name


def narrow_cost() -> float:
    """Time of a product in the narrow tile, relative to the wide one, where both are filled."""
    M, K, F = 28 * 60, 800, 8 * lanes(FLOAT32)
    a, b, bias, out = normal(M * K), normal(K * F), normal(F), np.empty((M, F), np.float32)
    stretches, starts = Stretches(1, 0, K, 1), np.arange(M) * K

    def run(shape: tuple[int, ...]) -> None:
        cut = choose.product_cut(M, F, stretches, shape, FLOAT32)
        product_rows(a, starts, stretches, b, bias, out, cut, shape)

    wide, narrow = medians(lambda: run(WIDE), lambda: run(NARROW))
    return narrow / wide


def few() -> int:
    """The largest number of rows for which the product is faster without copying the weights for the tile."""
    w, bias = normal(*DENSE), normal(DENSE[1])

    def tile_is_faster(M: int) -> bool:
        x = normal(M, DENSE[0])
        stretches = Stretches(1, 0, DENSE[0], 1)
        as_few, as_tile = medians(
            lambda: dense.few_rows_times(x, w, bias),
            lambda: dense.product(x.reshape(-1), np.arange(M) * DENSE[0], stretches, w, bias),
        )
        return as_tile < as_few

    return first_where(range(1, 17), tile_is_faster) - 1


def dense_times(N: int, share: float) -> list[float]:
    """The times of a dense layer's dw and dx, if a share of dout is not zero: without its zeros, and by the tile."""
    x, w, dout = normal(N, DENSE[0]), normal(*DENSE), with_zeros(share, N, DENSE[1])

    def listed() -> None:
        sparse.transposed_product(dout, x)
        sparse.times_transposed(dout, w)

    def tile() -> None:
        dense.columns_times(x, dout)
        dense.times_transposed(dout, w)

    return medians(listed, tile)


def dense_nonzeros() -> float:
    """The share of nonzeros at which both ways take equally long, on a straight line through two measured shares."""
    shares = (0.3, 0.8)
    (low, tile_low), (high, tile_high) = (dense_times(128, share) for share in shares)
    tile, slope = (tile_low + tile_high) / 2, (high - low) / (shares[1] - shares[0])
    return float(np.clip(shares[0] + (tile - low) / slope, 0, 1))


def dense_rows() -> int:
    """The smallest power of two of rows from which on it is faster to leave out 70 % zeros."""

    def listed_is_faster(N: int) -> bool:
        listed, tile = dense_times(N, 0.3)
        return listed < tile

    return first_where((8, 16, 32, 64, 128, 256), listed_is_faster)


def conv_times() -> tuple[float, float, float]:
    """LISTED, TILE_TIME and WINOGRAD_TIME. The unit is the time of a multiply-add from a list of nonzeros.

    Measured on the gradient of w of the last convolution of `four_conv_cnn`. A list takes `LISTED + vectors * share`
    units for each number of dout. The times for two shares give the unit and LISTED.
    """
    N, size, C, F, K = 128, 14, 16, 32, 5
    window = Window.on((size, size), K, 1, "same")
    x, few_left, more_left = normal(N, size, size, C), *(with_zeros(s, N, size, size, F) for s in (0.05, 0.25))
    low, high, tile, winograd = medians(
        lambda: conv_sparse.sparse_dw(x, few_left, window),
        lambda: conv_sparse.sparse_dw(x, more_left, window),
        lambda: conv.direct_dw(padded_copy(x, window), few_left, window),
        lambda: conv_winograd.winograd_dw(x, few_left, window),
    )
    vectors = K * -(-K * C // lanes(FLOAT32))
    unit = (high - low) / (0.2 * vectors)  # the unit, times the number of numbers in dout
    return low / unit - 0.05 * vectors, tile / (unit * vectors), winograd / (unit * vectors)


def winograd_channels() -> int:
    """The smallest number of channels and filters from which on Winograd's forward pass is faster than the tile."""
    window = Window.on((14, 14), 5, 1, "same")

    def winograd_is_faster(C: int) -> bool:
        x, w = normal(64, 14, 14, C), normal(5, 5, C, C)
        winograd, tile = medians(
            lambda: conv_winograd.winograd_forward(x, w, None, window),
            lambda: conv.direct_forward(padded_copy(x, window), w, None, window),
        )
        return winograd < tile

    return first_where((4, 8, 16, 24, 32, 48), winograd_is_faster)


MEASUREMENTS: dict[str, Callable[[], float]] = {
    "NARROW_COST": narrow_cost,
    "FEW": few,
    "DENSE_NONZEROS": dense_nonzeros,
    "DENSE_ROWS": dense_rows,
    "LISTED": lambda: conv_times()[0],
    "TILE_TIME": lambda: conv_times()[1],
    "WINOGRAD_TIME": lambda: conv_times()[2],
    "WINOGRAD_CHANNELS": winograd_channels,
}


def report(measured: dict[str, float]) -> str:
    """A table of the constants in `choose.py` beside those measured here."""
    rows = []
    for name, here in measured.items():
        there = getattr(choose, name)
        same = here == there if isinstance(there, int) else abs(here - there) <= TOLERANCE * there
        rows.append([name, f"{there:g}", f"{here:.3g}", "" if same else "differs"])
    return table(["constant", "in choose.py", "measured here", ""], rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    headline, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibrate",
        description=f"{headline}\n{rest}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("constants", nargs="*", metavar="CONSTANT", help=f"of {', '.join(MEASUREMENTS)} (default: all)")
    names = parser.parse_args(arguments).constants or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        parser.error(f"expected constants of {', '.join(MEASUREMENTS)}; got {', '.join(unknown)}")
    print(report({name: MEASUREMENTS[name]() for name in progress_bar(names, "measuring", True)}))


if __name__ == "__main__":
    main()
