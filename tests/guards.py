"""Canaries around arrays: who writes past an array's end is caught, and who reads there reads NaN.

Compiled code checks no address. Whether an access past the end does harm depends on what the allocator put there. So
every array of a guarded call, arguments and work memory alike, lies in the middle of a larger one whose bytes are all
0xFF: NaN as a float, -1 as an integer. What `np.empty` returns is filled with them as well, so that a number that was
never written is NaN, too.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Hashable
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np

from scratchnet import fast
from scratchnet.fast.register import plain
from scratchnet.fast.register.width import lanes

MARGIN = 4096  # bytes on either side: a kernel that strays by a row of numbers meets them, too
LINE = 64  # bytes: every array begins at a multiple of it, as the widest vectors like it


def modules():
    """All modules of the mirror."""
    return [importlib.import_module(m.name) for m in pkgutil.walk_packages(fast.__path__, f"{fast.__name__}.")]


class Guards:
    """Makes arrays between margins, and looks whether the margins are still whole."""

    def __init__(self):
        self.rooms = []  # each with the first byte of the array in it, and the one after the last

    def empty(self, shape, dtype=float, order="C"):
        """An array of NaN, or of -1."""
        shape, dtype = tuple(map(int, np.atleast_1d(shape))), np.dtype(dtype)
        count = int(np.prod(shape)) * dtype.itemsize
        room = np.full(count + 2 * MARGIN + LINE, 0xFF, np.uint8)
        first = MARGIN + -room.ctypes.data % LINE
        self.rooms.append((room, first, first + count))
        return np.ndarray(shape, dtype, room, first, order=order)

    def zeros(self, shape, dtype=float):
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def copy(self, array):
        """A copy of an array; anything else as it is."""
        if not isinstance(array, np.ndarray):
            return array
        placed = self.empty(array.shape, array.dtype)
        placed[...] = array
        return placed

    @contextmanager
    def instead_of_numpys(self):
        """Inside, all arrays that Python code makes lie between margins.

        Whatever is called has to be compiled already: Numba knows NumPy's own `np.empty` only.
        """
        ours = {"empty": self.empty, "zeros": self.zeros, "empty_like": lambda a: self.empty(a.shape, a.dtype)}
        with mock.patch.multiple(np, **ours):
            yield

    def check(self):
        """Assert that no margin was written to."""
        for room, first, end in self.rooms:
            assert (room[:first] == 0xFF).all(), "something was written before the beginning of an array"
            assert (room[end:] == 0xFF).all(), "something was written after the end of an array"


# ---------------------------------------------------------------- vectors, with NUMBA_DISABLE_JIT=1


def some(a, count):
    return max(0, min(count, lanes(a.dtype)))


# For each operation of `register/plain.py`: the arrays that its compiled form reads or writes, where, and how far.
REACH = {
    "load": lambda a, i: [(a, i, lanes(a.dtype))],
    "splat": lambda a, i: [(a, i, 1)],
    "store": lambda v, a, i: [(a, i, len(v))],
    "load_first": lambda a, i, count: [(a, i, some(a, count))],
    "store_first": lambda v, a, i, count: [(a, i, some(v, count))],
    "load_int": lambda a, i, count, x: [(a, i, some(x, count))],
    "store_int": lambda v, a, i, count: [(a, i, some(v, count))],
    "append_nonzero": lambda x, numbers, i, values, places, at: [
        (numbers, i, max([0, *np.flatnonzero(x) + 1])),
        (values, at, len(x)),  # whole vectors, whose last entries are undefined
        (places, at, len(x)),
    ],
    "transpose_square": lambda a, i, row, out, j, out_row: [
        (array, start + k * step, lanes(a.dtype))
        for array, start, step in ((a, i, row), (out, j, out_row))
        for k in range(lanes(a.dtype))
    ],
}


def checking(name, operation):
    """The operation of this name, preceded by a check that it stays inside its arrays."""

    @functools.wraps(operation)
    def check(*arguments):
        for array, start, count in REACH[name](*arguments):
            assert not count or 0 <= start <= start + count <= len(array), f"{name} leaves its array"
        return operation(*arguments)

    return check


@contextmanager
def checked_vectors():
    """While this runs, no vector may reach beyond its array: work memory inside of kernels has no margins to spoil."""
    operations = {getattr(plain, name): checking(name, getattr(plain, name)) for name in REACH}
    with ExitStack() as patches:
        for module in modules():
            theirs = {n: operations[f] for n, f in vars(module).items() if isinstance(f, Hashable) and f in operations}
            patches.enter_context(mock.patch.dict(vars(module), theirs))
        yield
