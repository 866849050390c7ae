"""The limits of this processor, measured along with the benchmark: multiply-adds, a matrix product, memory.

Run as `python -m benchmarks.limits`; prints JSON.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
from numba import prange

from scratchnet.fast.dense import rows_times
from scratchnet.fast.product.tile import ACCUMULATORS, accumulators
from scratchnet.fast.register.vector import add, fma, lanes_of, load, replaced, store, zeros
from scratchnet.fast.register.width import lanes


@numba.njit(parallel=True, error_model="numpy")
def multiply_adds(a, out, steps, threads):
    """On each thread, `steps` times ACCUMULATORS multiply-adds of whole registers, in independent accumulators.

    The sum is stored, so that the compiler cannot leave any out.
    """
    width = lanes_of(a)
    for thread in prange(threads):
        x, y = load(a, 0), load(a, width)
        acc = accumulators(a)
        for _ in range(steps):
            for m in range(ACCUMULATORS // 2):
                acc = replaced(acc, 2 * m, fma(x, acc[2 * m], y))
                acc = replaced(acc, 2 * m + 1, fma(x, acc[2 * m + 1], y))
        total = zeros(a)
        for m in range(ACCUMULATORS):
            total = add(total, acc[m])
        store(total, out, thread * width)


@numba.njit(parallel=True)
def copy(a, out, threads):
    """out = a; each thread copies its share."""
    for thread in prange(threads):
        share = slice(thread * a.size // threads, (thread + 1) * a.size // threads)
        out[share] = a[share]


def median_seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """The median time of several runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure() -> dict[str, float]:
    """GFLOP/s (a multiply-add is 2) of float32, and GB/s (read and written)."""
    threads = numba.get_num_threads()
    a, out = np.full(64, 0.5, np.float32), np.zeros(64 * threads, np.float32)
    steps = 2_000_000
    peak = (
        2
        * threads
        * steps
        * ACCUMULATORS
        * lanes(a.dtype)
        / median_seconds(lambda: multiply_adds(a, out, steps, threads))
    )
    n = 1536
    left, right = (np.random.default_rng(i).standard_normal((n, n), dtype=np.float32) for i in (0, 1))
    ours = 2 * n**3 / median_seconds(lambda: rows_times(left, right, None))
    time.sleep(0.5)  # Numba's threads wait actively for a while, which would slow down OpenBLAS's threads
    blas = 2 * n**3 / median_seconds(lambda: left @ right)
    big = np.ones(64_000_000, np.float32)
    target = np.empty_like(big)
    bandwidth = 2 * big.nbytes / median_seconds(lambda: copy(big, target, threads))
    figures = {"multiply-adds": peak, "scratchnet's product": ours, "NumPy's product": blas, "memory": bandwidth}
    return {name: figure / 1e9 for name, figure in figures.items()}


if __name__ == "__main__":
    print(json.dumps(measure()))
