"""Which engine runs: how it is chosen, what an engine that is not there says, and what importing costs."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import data, engine, layers, optim


def python(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
    )


def test_ops_holds_the_books_own_functions():
    """No wrapper: a debugger's Step Into goes from the layer straight to the math."""
    with sn.use_engine("numpy"):
        for name in engine.KERNELS:
            (book,) = [module for module in (layers, optim, data) if hasattr(module, name)]
            assert getattr(engine.ops, name) is getattr(book, name)


def test_one_step_into_leads_from_the_network_to_the_math(rng):
    """The frames that a debugger enters, one Step Into after the other, on the way to the convolution's gradients."""
    net = sn.Network([sn.Conv2D(1, 2, 3)], input_shape=(5, 5, 1))
    with sn.use_engine("numpy"):
        dout = np.ones_like(net.forward(rng.standard_normal((1, 5, 5, 1))))
        callers = {}

        def note(frame, event, argument):
            if event == "call":
                callers.setdefault(
                    frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name,
                    frame.f_back.f_code.co_name,
                )

        sys.setprofile(note)
        try:
            net.backward(dout)
        finally:
            sys.setprofile(None)
    assert callers["conv2d_backward"] == "backward"
    assert callers["im2col"] == "conv2d_backward"
    assert callers["col2im"] == "conv2d_backward"


def test_the_engine_is_put_back_after_a_with_block_and_after_an_error():
    sn.use_engine("numpy")
    with pytest.raises(ZeroDivisionError), sn.use_engine("numpy"):
        raise ZeroDivisionError
    assert sn.current_engine() == "numpy"


def test_an_engine_that_cannot_run_says_why_and_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scratchnet.fast", None)  # as if Numba were not installed
    with pytest.raises(RuntimeError, match=r'the numba engine cannot run here: .*use_engine\("numpy"\)'):
        sn.use_engine("numba")
    assert sn.current_engine() == "numpy"
    assert sn.ReLU().forward(np.array([-1.0, 2.0])).tolist() == [0, 2]


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine: expected one of numpy, numba, got 'cuda'"):
        sn.use_engine("cuda")


def test_an_unknown_kernel_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no kernel named 'conv3d_forward'; the kernels are: im2col"):
        _ = engine.ops.conv3d_forward


def test_the_variable_chooses_the_engine_when_the_first_kernel_runs():
    use = "import scratchnet as sn, numpy as np; print(sn.current_engine()); sn.ReLU().forward(np.ones(1))"
    assert python(use, SCRATCHNET_ENGINE="numpy").stdout == "numpy\n"
    unknown = python(use, SCRATCHNET_ENGINE="abacus")
    assert unknown.returncode == 1
    assert "engine: expected one of numpy, numba, got 'abacus' (SCRATCHNET_ENGINE" in unknown.stderr


def test_importing_brings_numpy_and_nothing_heavier():
    heavy = [
        "matplotlib",
        "torch",
        "numba",
        "PIL",
        "pooch",
        "tqdm",
        "safetensors",
        "requests",
        "platformdirs",
        "threadpoolctl",
    ]
    code = f"import sys, scratchnet; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout == "[]\n"
