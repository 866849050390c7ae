"""Which engine runs: how it is chosen, the errors if it cannot run, and what importing loads."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import average, data, engine, layers, loss, optim


def python(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
    )


def test_ops_holds_the_books_own_functions():
    """There is no wrapper: a debugger's Step Into goes from the layer directly to the math."""
    with sn.use_engine("numpy"):
        for name in engine.KERNELS:
            (book,) = [module for module in (layers, loss, optim, average, data) if hasattr(module, name)]
            assert getattr(engine.ops, name) is getattr(book, name)


def test_only_the_engine_module_decides_by_an_engines_name():
    """No other module compares or chooses engine names, and no module of the book imports the mirror."""
    package = Path(sn.__file__).parent
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if inside == Path("engine.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decides = isinstance(node, ast.Compare) or (isinstance(node, ast.keyword) and node.arg == "engine")
            named = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)} if decides else set()
            assert not named & {*engine.ENGINES}, f"{inside}:{node.lineno}"
            if isinstance(node, ast.ImportFrom) and (len(inside.parts) == 1 or inside.parts[0] in ("layers", "data")):
                imported = f"{node.module}.{node.names[0].name}"
                assert inside.name == "info.py" or not imported.startswith("scratchnet.fast"), f"{inside}:{node.lineno}"


def test_one_step_into_leads_from_the_network_to_the_math(rng):
    """The frames that a debugger enters, step by step, on the way to the convolution's gradients."""
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
    sn.use_engine("numpy")
    monkeypatch.setitem(sys.modules, "scratchnet.fast", None)  # as if Numba were not installed
    with pytest.raises(RuntimeError, match=r'the numba engine cannot run here: .*use_engine\("numpy"\)'):
        sn.use_engine("numba")
    assert sn.current_engine() == "numpy"
    assert sn.ReLU().forward(np.array([-1.0, 2.0])).tolist() == [0, 2]


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine: expected one of numpy, numba, mine, got 'cuda'"):
        sn.use_engine("cuda")


def test_an_unknown_kernel_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no kernel named 'conv3d_forward'; the kernels are: im2col"):
        _ = engine.ops.conv3d_forward


def test_the_variable_chooses_the_engine_when_the_first_kernel_runs():
    use = "import scratchnet as sn, numpy as np; print(sn.current_engine()); sn.ReLU().forward(np.ones(1))"
    assert python(use, SCRATCHNET_ENGINE="numpy").stdout == "numpy\n"
    unknown = python(use, SCRATCHNET_ENGINE="abacus")
    assert unknown.returncode == 1
    assert "engine: expected one of numpy, numba, mine, got 'abacus' (SCRATCHNET_ENGINE" in unknown.stderr


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
        "filelock",
        "psutil",
    ]
    code = f"import sys, scratchnet; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout == "[]\n"


# ---------------------------------------------------------------- stages


def test_the_books_stages_are_the_layers():
    net = sn.models.separable_cnn(dense_units=4)
    with sn.use_engine("numpy"):
        assert engine.ops.stages(net.layers) is net.layers


def test_the_first_forward_of_a_process_runs_the_engines_stages():
    code = """if True:
        import numpy as np, scratchnet as sn
        net = sn.Network([sn.PointwiseConv2D(1, 2), sn.ReLU(), sn.MaxPool2D(2)])
        assert sn.engine.ops.engine is None
        net.forward(np.ones((1, 4, 4, 1), np.float32))
        print("x" in vars(net.layers[1]))
    """
    for name, relu_wrote in (("numba", "False\n"), ("numpy", "True\n")):
        run = python(code, SCRATCHNET_ENGINE=name)
        assert run.stdout == relu_wrote, run.stderr


# ---------------------------------------------------------------- one more engine


def test_one_more_engine_is_one_more_record(monkeypatch, rng):
    """An engine with functions of its own: these replace the book's, and all others are the book's."""
    mine = types.ModuleType("mine")
    mine.relu_forward = lambda x: np.where(x > 0, x, 0)
    mine.stages = lambda layers: layers[:1]
    mine.not_a_kernel = len
    monkeypatch.setitem(sys.modules, "mine", mine)
    monkeypatch.setitem(engine.ENGINES, "mine", engine.Engine((*engine.BOOK, "mine")))
    with sn.use_engine("mine"):
        assert sn.current_engine() == "mine"
        assert not engine.is_compiled()
        assert engine.ops.relu_forward is mine.relu_forward
        assert engine.ops.relu_backward is layers.relu_backward
        assert sn.Network([sn.ReLU(), sn.Flatten()]).forward(rng.standard_normal((2, 3, 4))).shape == (2, 3, 4)
        assert not hasattr(engine.ops, "not_a_kernel")
    with sn.use_engine("numpy"):
        assert engine.ops.relu_forward is layers.relu_forward
        assert sn.Network([sn.ReLU(), sn.Flatten()]).forward(rng.standard_normal((2, 3, 4))).shape == (2, 12)


# ---------------------------------------------------------------- kernels from outside the package


@pytest.fixture
def no_kernels_left(monkeypatch):
    """Remove the kernels that a test adds."""
    monkeypatch.setattr(engine, "_added", {})
    before = vars(engine.ops).copy()
    yield
    vars(engine.ops).clear()
    vars(engine.ops).update(before)


def softplus_forward(x):
    return np.log1p(np.exp(x))


def softplus_backward(dout, x):
    return dout / (1 + np.exp(-x))


def mirrored(function):
    """The same function again, as a mirror has it."""
    return types.FunctionType(function.__code__, function.__globals__, function.__name__)


class Softplus(sn.Layer):
    kind = "softplus"

    def forward(self, x, training=False):
        self.x = self.check_input(x)
        return engine.ops.softplus_forward(x)

    def backward(self, dout, need_dx=True):
        return engine.ops.softplus_backward(self.check_dout(dout), self.x)


@pytest.mark.usefixtures("no_kernels_left")
def test_a_layer_from_outside_brings_its_kernels(engine, rng):
    sn.engine.add_kernels(softplus_forward, softplus_backward)
    assert sn.engine.ops.softplus_forward is softplus_forward, "no wrapper, and at once on the engine in use"
    net = sn.Network([sn.Dense(5, 4), Softplus(), sn.Dense(4, 3)]).astype(np.float64)
    assert sn.gradcheck(net, rng.standard_normal((2, 5))).passed
    for name in ("numpy", "numba"):
        with sn.use_engine(name):
            assert sn.engine.ops.softplus_backward is softplus_backward


@pytest.mark.usefixtures("no_kernels_left")
def test_an_added_kernel_may_have_a_mirror():
    fast = mirrored(softplus_forward)
    engine.add_kernels(softplus_forward, softplus_backward, mirror=[fast])
    with sn.use_engine("numba"):
        assert engine.is_compiled()
        assert engine.ops.softplus_forward is fast
        assert engine.ops.softplus_backward is softplus_backward, "the book's serves where the mirror has none"
    with sn.use_engine("numpy"):
        assert engine.ops.softplus_forward is softplus_forward
        again = mirrored(softplus_forward)
        engine.add_kernels(again)
        assert engine.ops.softplus_forward is again, "a cell that is run twice"
    with sn.use_engine("numba"):
        assert engine.ops.softplus_forward is again, "the old mirror is not the new function's"


@pytest.mark.usefixtures("no_kernels_left")
def test_kernels_can_be_added_before_any_engine_runs():
    code = """if True:
        import scratchnet as sn
        def twice_forward(x): return 2 * x
        sn.engine.add_kernels(twice_forward)
        assert sn.engine.ops.engine is None
        print(sn.engine.ops.twice_forward(3), sn.current_engine())
    """
    assert python(code, SCRATCHNET_ENGINE="numpy").stdout == "6 numpy\n"


@pytest.mark.usefixtures("no_kernels_left")
@pytest.mark.parametrize("taken", [*engine.KERNELS, "stages", "engine"])
def test_a_name_of_scratchnets_own_is_not_given_away(taken):
    function = mirrored(softplus_forward)
    function.__name__ = taken
    with pytest.raises(ValueError, match=f"add_kernels: '{taken}' is scratchnet's own; give your function another"):
        engine.add_kernels(softplus_backward, function)
    with pytest.raises(AttributeError, match="no kernel named 'softplus_backward'"):
        _ = engine.ops.softplus_backward


@pytest.mark.usefixtures("no_kernels_left")
def test_a_mirror_without_a_book_is_refused():
    with pytest.raises(ValueError, match=r"named as in the book \(softplus_forward\), got softplus_backward"):
        engine.add_kernels(softplus_forward, mirror=[softplus_backward])


@pytest.mark.usefixtures("no_kernels_left")
def test_an_unknown_kernel_is_told_the_added_ones_too():
    engine.add_kernels(softplus_forward)
    with pytest.raises(AttributeError, match="no kernel named 'softplus'; .*turn_and_shift, softplus_forward$"):
        _ = engine.ops.softplus
