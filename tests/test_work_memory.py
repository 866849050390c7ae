"""No number that a kernel did not write has a part in a result: work memory may hold anything at the start.

Without JIT the kernels are plain Python, and their `np.empty` can be replaced by one that fills the array. What it held
must change no bit, and must cause no warning, as an overflow does.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from functools import partial

import numpy as np
import pytest
from test_fast import python
from test_registers import CASES, Case, results

import scratchnet as sn

# What work memory holds: a number, and an index, in the arrays of that dtype.
FILLS = {
    "zeros": lambda dtype: 0,
    "NaN": lambda dtype: np.nan if dtype.kind == "f" else -1,
    "huge": lambda dtype: (np.finfo if dtype.kind == "f" else np.iinfo)(dtype).max,
}
# The fewest images and channels that take Winograd's way: its plain loops are slow.
CASES = CASES | {"Winograd's convolution": Case(lambda: sn.Conv2D(16, 16, 5), (4, 4, 4, 16), "Winograd")}


def filled(make, value, *arguments, **options):
    """`np.empty` or `np.empty_like`, filled."""
    array = make(*arguments, **options)
    if array.dtype.kind in "fi":
        array.fill(value(array.dtype))
    return array


def digest(case, value):
    """A digest of all results of a case, where work memory holds `value`."""
    x = np.random.default_rng(0).standard_normal(case.shape).astype(case.dtype)
    layer = case.make()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("empty", "empty_like"):
            patch.setattr(np, name, partial(filled, getattr(np, name), value))
        found = results(layer, x, case.kept)
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in found)).hexdigest()


def report(names):
    """For each case, the digest by what work memory held, or the error."""
    warnings.simplefilter("error")
    return {name: {fill: attempt(CASES[name], value) for fill, value in FILLS.items()} for name in names}


def attempt(case, value):
    try:
        return digest(case, value)
    except (Warning, IndexError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.slow
def test_what_work_memory_held_changes_no_bit():
    code = "import json, test_work_memory as t; print(json.dumps(t.report(t.CASES)))"
    found = json.loads(python(code, NUMBA_DISABLE_JIT="1")[0])
    for name, digests in found.items():
        assert len(set(digests.values())) == 1, f"{name}: {digests}"
        assert not any(":" in text for text in digests.values()), f"{name}: {digests}"
