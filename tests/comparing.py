"""Runs the routes of `routes.py` between guards, and compares what they give with the oracle."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock

import numpy as np
import oracle
from cases import assert_close
from dispatch import Seen, watched
from guards import Guards, checked_vectors
from numba import config, get_num_threads, set_num_threads
from routes import FILLS, ROUTES, TOLERANCE, Sizes

from scratchnet import fast
from scratchnet.fast import choose


def sizes_of(route, dtype, batches):
    """All runs of a route: every pair of a batch, a fill of rows and a fill of columns, in 12 runs instead of 36.

    Three sizes that go wrong together only are not looked for: every kernel divides each of them in a loop of its own.
    """
    for i, batch in enumerate(batches):
        for row, rows in enumerate(FILLS):
            yield Sizes(batch, rows, FILLS[(row + i) % 3], np.dtype(dtype))


LONG = 1 << 17  # multiply-adds that take a second as plain Python


def multiply_adds(x, w=None, *_):
    """How many a layer with weights does, about."""
    return x.size if w is None else x.size // x.shape[-1] * w.size


@contextmanager
def few_chunks():
    """Two chunks in every file of the mirror, so that plain Python, too, has several images in one of them."""
    with ExitStack() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("scratchnet.fast.") and hasattr(module, "CHUNKS"):
                patches.enter_context(mock.patch.object(module, "CHUNKS", 2))
        yield


# So that small products, too, are divided into groups and blocks in every way.
THREE_THREADS = {"get_num_threads": lambda: 3, "BLOCK_ROWS": 8, "RUN": 1}


@contextmanager
def constants(of_a_route):
    """Set the constants of `choose` that a route needs."""
    with mock.patch.dict(vars(choose), THREE_THREADS | of_a_route):
        choose._product_cut.cache_clear()
        yield
    choose._product_cut.cache_clear()


def compare(name, dtype):
    """Run a route in all its sizes between guards, and compare it with the oracle; what the runs went through."""
    route, all_seen = ROUTES[name], Seen()
    compiled = not config.DISABLE_JIT
    batches = list(route.batches.values())
    if not compiled:
        batches = batches[:1]  # as plain Python, a single multiply-add takes microseconds
    with constants(route.constants), nullcontext() if compiled else few_chunks():
        for s in sizes_of(route, dtype, batches):
            run, arrays = route.make(s)
            if not compiled and multiply_adds(*arrays) > LONG:
                continue
            expected = run(oracle, *arrays)
            if compiled:
                assert_same(run(fast, *arrays), expected, route.rounds, f"{s}: ")
            guards = Guards()
            placed = [guards.copy(array) for array in arrays]
            with watched() as seen, guards.instead_of_numpys(), nullcontext() if compiled else checked_vectors():
                result = run(fast, *placed)
            guards.check()
            assert_same(result, expected, route.rounds, f"{s}, between guards: ")
            for array, copy in zip(arrays, placed, strict=True):
                assert np.array_equal(array, copy), f"{s}: an argument was written to"
            elsewhere = route.answers.items() - seen.answers
            assert not elsewhere, f"{s}: the rules did not say {elsewhere}"
            all_seen.add(seen)
    return all_seen


def assert_same(results, expected, rounds, what):
    for name, right in expected.items():
        assert results[name].dtype == right.dtype, f"{what}{name} is {results[name].dtype}"
        tolerance = TOLERANCE[right.dtype] if rounds and right.dtype.kind == "f" else 0
        assert_close(results[name], right, tolerance, f"{what}{name}")


def that_differ(dtype, most):
    """The routes whose results have other bits on some number of threads, of 1 to `most`. For a child process.

    Numbers are no integers here, so that sums in another order have other bits.
    """
    found, rng = [], np.random.default_rng(0)
    for name, route in ROUTES.items():
        with constants(route.constants | {"get_num_threads": get_num_threads}):
            for s in sizes_of(route, np.dtype(dtype), route.batches.values()):
                run, arrays = route.make(s)
                arrays = [array * rng.random(array.shape, array.dtype) for array in arrays]
                bits = set()
                for threads in range(1, most + 1):
                    set_num_threads(threads)
                    bits.add(b"".join(np.asarray(array).tobytes() for array in run(fast, *arrays).values()))
                if len(bits) > 1:
                    found.append(f"{name}: {s}")
    return found


def report(dtype):
    """All routes: the errors by name, and what the routes leave out. For a child process."""
    together, wrong = Seen(), {}
    for name in ROUTES:
        try:
            together.add(compare(name, dtype))
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
    return {"wrong": wrong, "missing": sorted(map(str, together.missing(np.dtype(dtype))))}
