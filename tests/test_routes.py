"""Every way that `fast/choose.py` can send a call, compared with the definition between canaries.

`routes.py` has the ways, `passes.py` what is computed on them, and `oracle.py` what has to come out. `guards.py` puts
canaries around all arrays. `dispatch.py` watches which rules answered what and how each kernel divided its work. What
has to be covered follows from the annotations of the rules, and from how kernels divide their work (`parts.py`). A new
rule, answer or kernel fails here until a route takes it. `test_registers.py` takes the routes with narrower registers.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from comparing import compare
from dispatch import KERNELS, Seen, answers_of, rules
from guards import Guards
from numba import njit
from parts import PARTS, UNDIVIDED
from routes import ROUTES
from test_fast import python

from scratchnet.fast.register import vector
from scratchnet.fast.register.width import lanes

DTYPES = ["float32", "float64"]


@pytest.fixture(scope="module")
def seen():
    """What the routes went through, by dtype; filled by the comparisons."""
    return {dtype: {} for dtype in DTYPES}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(ROUTES))
def test_a_route_gives_what_is_defined(name, dtype, seen):
    seen[dtype][name] = compare(name, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_routes_take_every_way(dtype, seen):
    """For either dtype: each answer of each rule, and each part of a kernel in every size, with every kind of batch."""
    together = Seen()
    for name in ROUTES:
        together.add(seen[dtype].get(name) or compare(name, dtype))
    assert together.missing(np.dtype(dtype)) == set()


def test_every_kernel_says_how_it_divides_its_work():
    assert set(PARTS) | set(UNDIVIDED) == KERNELS
    assert not set(PARTS) & set(UNDIVIDED)


def test_every_rule_says_what_it_can_answer():
    assert answers_of(rules()["conv_dw"]) == {"nonzeros", "Winograd", "tile"}
    assert {"conv_forward", "few_rows", "tile_for", "lanewise_slides"} < set(rules())
    for rule in rules().values():
        answers_of(rule)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit_on_any_route():
    code = "import json, comparing; print(json.dumps(comparing.that_differ('float32', 3)))"
    assert json.loads(python(code, NUMBA_NUM_THREADS="3")[0]) == []


@pytest.mark.slow
def test_bits_that_depend_on_the_number_of_threads_are_noticed():
    """Planted: pooling whose results are larger on more threads, by their last bits."""
    code = """
        import json, comparing
        from numba import get_num_threads
        from scratchnet import fast
        right = fast.avg_pool2d_forward
        fast.avg_pool2d_forward = lambda *given: right(*given) * (1 + 1e-6 * get_num_threads())
        comparing.ROUTES = {name: route for name, route in comparing.ROUTES.items() if "pool" in name}
        print(json.dumps([comparing.that_differ("float32", 2), list(comparing.ROUTES)]))
    """
    found, taken = json.loads(python(code)[0])
    assert found
    assert all("average" in name for name in found)
    assert any("average" not in name for name in taken)


@pytest.mark.slow
def test_without_jit_no_vector_leaves_its_array():
    """The same sources as plain Python: work memory inside of kernels has margins, and each vector is checked."""
    code = "import json, comparing; print(json.dumps(comparing.report('float64')))"
    assert json.loads(python(code, NUMBA_DISABLE_JIT="1")[0])["wrong"] == {}


# ---------------------------------------------------------------- the guards


def write(array, at, count):
    """Write `count` numbers from index `at` on, as a kernel does that checks no address."""
    room = array.base.view(array.dtype)
    first = (array.ctypes.data - room.ctypes.data) // array.itemsize
    room[first + at : first + at + count] = 1


@pytest.mark.parametrize(("at", "count", "where"), [(-1, 3, "before the beginning"), (8, 3, "after the end")])
def test_who_writes_past_an_array_is_caught(at, count, where):
    guards = Guards()
    array = guards.empty(10, np.float32)
    write(array, 2, 8)
    guards.check()
    write(array, at, count)
    with pytest.raises(AssertionError, match=where):
        guards.check()


def test_what_lies_around_an_array_and_what_was_not_written_is_nan():
    guards = Guards()
    with guards.instead_of_numpys():
        array, numbers = np.empty((2, 3)), np.empty(4, np.int32)
        assert not np.zeros(3).any()
    assert np.isnan(array).all()
    assert np.isnan(array.base.view(np.float64)).all()
    assert (numbers == -1).all()
    assert np.empty is not guards.empty


@njit
def copy_first(source, target, places, numbers, count):
    """Copy `count` numbers of either kind, as vectors; the sum of the lanes that were loaded."""
    some = vector.load_first(source, 0, count)
    vector.store_first(some, target, 0, count)
    vector.store_int(vector.load_int(places, 0, count, some), numbers, 0, count)
    return vector.sum_of_lanes(some)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [-1, 0, 1, 3, 99])
def test_vectors_of_a_part_leave_the_rest_alone(dtype, count):
    """The compiled loads and stores that take a number of lanes, at the very end of an array."""
    guards = Guards()
    width = lanes(np.dtype(dtype))
    count = min(count, width)
    source, target = guards.empty(max(count, 0), dtype), guards.empty(max(count, 0), dtype)
    places, numbers = guards.empty(max(count, 0), np.int32), guards.empty(max(count, 0), np.int32)
    source[...], places[...] = np.arange(len(source)) + 1, np.arange(len(source)) + 7
    total = copy_first(source, target, places, numbers, count)
    guards.check()
    assert np.array_equal(target, source)
    assert np.array_equal(numbers, places)
    assert total == source.sum(), "lanes that were not loaded are zeros"
