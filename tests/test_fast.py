"""What the mirror guarantees beyond right numbers: the same bits for any number of threads, no crash, clear errors."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from cases import CONVOLUTIONS, assert_close, each

import scratchnet as sn
from scratchnet import fast, layers
from scratchnet.engine import KERNELS, ops
from scratchnet.fast import conv_sparse
from scratchnet.fast.threads import SPINS
from scratchnet.layers.shapes import Window

TESTS = Path(__file__).parent


TWO_THREADS = {"NUMBA_NUM_THREADS": "2"}  # as most programs have them at least, whatever the part of a test process


def python(code, **variables):
    """Run code in a child process on the numba engine, with two threads; returns its stdout and stderr."""
    child = os.environ | {"SCRATCHNET_ENGINE": "numba", "PYTHONPATH": str(TESTS)} | TWO_THREADS | variables
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=child, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr


TRAIN = """
    import hashlib, sys, scratchnet as sn
    train, test = sn.data.load("sample")
    digest = hashlib.sha256()
    for make in (a.make for a in sn.models.ARCHITECTURES.values()):
        net = make(seed=0)
        sn.fit(net, train, optimizer=sn.SGD(net.parameters(), lr=0.05), steps=2, batch_size=70, progress=False)
        for p in net.parameters():
            digest.update(p.value.tobytes())
    print(digest.hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit():
    digests = {python(TRAIN, NUMBA_NUM_THREADS=threads)[0] for threads in ("1", "2", "3")}
    assert len(digests) == 1


def threading_layers():
    """The threading layers that Numba can start here."""
    found = []
    for layer, module in {"workqueue": "workqueue", "omp": "omppool", "tbb": "tbbpool"}.items():
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        found.append(layer)
    return found


@pytest.mark.slow
def test_every_threading_layer_of_this_machine_trains_to_the_same_bits():
    layers = threading_layers()
    assert "workqueue" in layers
    code = TRAIN + "    import numba; print(numba.threading_layer(), file=sys.stderr)\n"
    results = [python(code, NUMBA_THREADING_LAYER=layer) for layer in layers]
    assert [err.splitlines()[-1] for _, err in results] == layers
    assert len({out for out, _ in results}) == 1


@pytest.mark.slow
def test_two_engines_train_alike(sample):
    losses = []
    for engine in ("numpy", "numba"):
        with sn.use_engine(engine):
            net = sn.models.standard_cnn(seed=0).astype(np.float64)
            data = sn.Dataset(sample[0].images[:64].astype(np.float64), sample[0].labels[:64], "64 digits")
            history = sn.fit(net, data, optimizer=sn.SGD(net.parameters(), 0.1), steps=6, batch_size=16, progress=False)
            losses.append([s["loss"] for s in history.steps])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.slow
def test_two_python_threads_at_once_get_right_results():
    """Also with Numba's simplest threading layer, which aborts the process if two threads enter it at once."""
    code = """
        import threading, numpy as np, scratchnet as sn
        train, _ = sn.data.load("sample")
        x = train.images[:40]
        net = sn.models.separable_cnn(dense_units=16)
        expected = net.forward(x)
        def work(results):
            mine = sn.models.separable_cnn(dense_units=16)
            for _ in range(20):
                results.append(np.array_equal(mine.forward(x), expected))
        results = []
        threads = [threading.Thread(target=work, args=(results,)) for _ in range(3)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(len(results), all(results))
    """
    for layer in threading_layers():
        assert python(code, NUMBA_THREADING_LAYER=layer)[0] == "60 True\n"


@each(CONVOLUTIONS)
def test_a_convolutions_gradients_without_the_zeros(case, rng):
    """For any shape, also those for which another kernel is chosen because it is faster."""
    window = Window.on(case.size, case.kernel, case.stride, case.padding)
    w_shape = (*window.size, case.C, case.filters)
    x, dout = (rng.standard_normal((case.N, *size)) for size in ((*case.size, case.C), (*window.out, case.filters)))
    dout *= dout > 1
    w = rng.standard_normal(w_shape)
    dx, dw, _ = layers.conv2d_backward(dout, x, w, case.stride, case.padding)
    assert_close(conv_sparse.sparse_dw(x, dout, window), dw, 1e-12)
    assert_close(conv_sparse.sparse_dx(dout, w, window), dx, 1e-12)


@pytest.mark.slow
def test_without_jit_the_same_sources_run_as_plain_python():
    """This is how kernels are stepped through. The shapes are small: every multiply-add is a line of Python."""
    code = """
        import numpy as np, scratchnet as sn
        from scratchnet import layers
        from scratchnet.engine import ops
        from scratchnet.fast import conv_sparse
        from scratchnet.fast.product import loops
        assert type(loops.tile).__name__ == "function"
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 2, 3, 4))
        dout = rng.standard_normal((2, 3, 4, 4))
        for ours, theirs in zip(
            [ops.conv2d_forward(x, w, dout[0, 0, 0], 2, 1), *ops.conv2d_backward(dout, x, w, 2, 1)],
            [layers.conv2d_forward(x, w, dout[0, 0, 0], 2, 1), *layers.conv2d_backward(dout, x, w, 2, 1)],
        ):
            assert np.allclose(ours, theirs, rtol=1e-12), (ours, theirs)
        dout *= dout > 0.5
        window = layers.shapes.Window.on(x.shape[1:3], w.shape[:2], 2, 1)
        dx, dw, _ = layers.conv2d_backward(dout, x, w, 2, 1)
        assert np.allclose(conv_sparse.sparse_dw(x, dout, window), dw, rtol=1e-12)
        assert np.allclose(conv_sparse.sparse_dx(dout, w, window), dx, rtol=1e-12)
        x, w = rng.standard_normal((1, 2, 14, 8)), rng.standard_normal((2, 3, 8, 1))
        ours, theirs = (m.depthwise_conv2d_forward(x, w, None, 1, "same") for m in (ops, layers))
        assert np.allclose(ours, theirs, rtol=1e-12), (ours, theirs)
        x, w, dout = (rng.standard_normal(shape) for shape in ((64, 17), (17, 18), (64, 18)))
        dout *= dout > 0.5
        for ours, theirs in zip(ops.dense_backward(dout, x, w), layers.dense_backward(dout, x, w)):
            assert np.allclose(ours, theirs, rtol=1e-12), (ours, theirs)
        net = sn.Network([
            sn.DepthwiseConv2D(3, 3, multiplier=2), sn.PointwiseConv2D(6, 4), sn.ReLU(), sn.MaxPool2D(2, 1),
            sn.AvgPool2D(2), sn.PointwiseConv2D(4, 1), sn.PointwiseConv2D(1, 3), sn.ReLU(), sn.MaxPool2D(2),
            sn.Flatten(), sn.Dense(3, 3),
        ])
        print(sn.gradcheck(net, rng.standard_normal((2, 5, 6, 3)), max_entries=4).passed)
    """
    assert python(code, NUMBA_DISABLE_JIT="1")[0] == "True\n"


def test_the_mirror_has_every_name_and_the_same_signatures():
    import inspect

    with sn.use_engine("numpy"):
        book = vars(ops).copy()
    for name in KERNELS:
        mirrored, read = (inspect.signature(f).parameters for f in (getattr(fast, name), book[name]))
        assert list(mirrored.values()) == list(read.values()), name


@pytest.mark.parametrize("operation", ["load", "splat", "zeros"])
def test_a_vector_of_anything_but_flat_floats_is_refused(operation):
    import numba

    from scratchnet.fast.register import vector

    kernel = getattr(vector, operation)
    call = (lambda a: kernel(a)) if operation == "zeros" else (lambda a: kernel(a, 0))
    with pytest.raises(numba.TypingError, match="expected a contiguous one-dimensional array of float32 or float64"):
        numba.njit(call)(np.zeros((2, 20)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 16, 1000])
def test_what_kernels_work_in_begins_with_a_line_of_the_cache(dtype, count):
    from numba import njit

    from scratchnet.fast.register.scratch import LINE, aligned_zeros, scratch, zeroed

    a = np.ones(1, dtype)
    some, zeros = njit(lambda a, count: (scratch(count, a), zeroed(count, a)))(a, count)
    for array in (some, zeros, aligned_zeros(count, dtype)):
        assert (array.dtype, array.shape) == (dtype, (count,))
        assert array.ctypes.data % LINE == 0
    assert not zeros.any()


@pytest.mark.skipif("omp" not in threading_layers(), reason="Numba has no OpenMP here")
def test_waiting_threads_soon_leave_the_cores_to_others():
    """With GNU OpenMP's default, a step took ten times as long while another program was busy."""
    code = "import os, scratchnet as sn; sn.use_engine('numba'); print(os.environ.get('GOMP_SPINCOUNT'))"
    out, settings = python(code, OMP_DISPLAY_ENV="verbose")
    assert out == "None\n", "child processes, a framework's among them, do not inherit it"
    if "GOMP_SPINCOUNT" not in settings:
        pytest.skip("this OpenMP is not GNU's")
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in settings
    code += "; import numpy as np; sn.ReLU().forward(np.ones((2, 3), np.float32))"
    _, settings = python(code, OMP_DISPLAY_ENV="verbose", GOMP_SPINCOUNT="77")
    assert "GOMP_SPINCOUNT = '77'" in settings


def test_what_a_program_frees_goes_back_to_the_system():
    """The engine leaves the memory of the user's process to the user."""
    code = """
        import psutil
        import numpy as np
        import scratchnet as sn
        sn.use_engine("numba")
        sn.ReLU().forward(np.ones((2, 3), np.float32))
        held = lambda: psutil.Process().memory_info().rss
        before = held()
        arrays = [np.ones(10**6) for _ in range(50)]
        with_them = held()
        del arrays
        print(before, with_them, held())
    """
    before, with_them, after = map(int, python(code)[0].split())
    assert with_them - before > 390e6
    assert after - before < 40e6
