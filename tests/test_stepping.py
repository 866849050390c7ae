"""Stepping through backprop in real debuggers: debugpy, driven as VS Code drives it, and pdb, as lesson 15 teaches it.

Someone who steps through a lesson expects three things. Step Into leads from the training loop to the math and nowhere
else. The variables of the math can be read and changed. The program goes on with the changed values. These tests
require all three. They start the sessions with the configurations of .vscode/launch.json.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import debugpy
import numpy as np
import pytest
from conftest import ROOT
from debug_adapter import TIMEOUT, Debugger, Frame, environment_to_debug_in

LESSON = ROOT / "lessons" / "15_step_through_backprop.py"
NETWORK, DENSE, CONV = (ROOT / "scratchnet" / name for name in ("network.py", "layers/dense.py", "layers/conv.py"))
FAST = ROOT / "scratchnet" / "fast"
FAST_CONV, PRODUCT, TILE = (FAST / name for name in ("conv.py", "product/loops.py", "product/tile.py"))

STEP_BY_STEP = "This lesson, step by step (NumPy engine)"
INTO_THE_KERNELS = "This lesson, into the kernels (JIT disabled)"

# The frames from the lesson to the second convolution's layer, the innermost first.
TO_THE_LAYER = [
    ("Conv2D.backward", CONV),
    ("Network.backward", NETWORK),
    ("train_a_little", LESSON),
    ("<module>", LESSON),
]


def line_of(path: Path, text: str, after: str = "") -> int:
    """The number of the only line beginning with `text`, or of the first one below a line beginning with `after`."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith(after))
    found = [i for i, line in enumerate(lines[start:], start + 1) if line.startswith(text)]
    assert found, f"expected a line that begins with {text!r} in {path}"
    assert after or len(found) == 1, f"expected one line that begins with {text!r} in {path}, found {found}"
    return found[0]


LOOP = line_of(LESSON, "net.backward(dlogits)")


def configuration(name: str, folder: Path = ROOT) -> dict:
    """A configuration of launch.json, filled in as VS Code does for the lesson."""
    text = (ROOT / ".vscode" / "launch.json").read_text().replace("${file}", str(LESSON))
    found = next(c for c in json.loads(text)["configurations"] if c["name"] == name)
    return {"cwd": str(folder), "python": [sys.executable], **found}


def flowing(path: Path) -> str:
    """A text without line breaks and comment signs."""
    return " ".join(line.removeprefix("#").strip() for line in path.read_text().splitlines())


@pytest.fixture(autouse=True)
def only_the_configuration_decides(monkeypatch):
    for name in ("SCRATCHNET_ENGINE", "NUMBA_DISABLE_JIT", "LESSON_IN_PDB"):
        monkeypatch.delenv(name, raising=False)


def stack(debugger: Debugger, frames: list[Frame]) -> list[tuple[str, Path]]:
    """The qualified function and the file of each frame; VS Code's list must agree with Python's."""
    names = [f.name for f in frames]
    every = debugger.value(frames[0], "[f.f_code.co_name for f, _ in __import__('traceback').walk_stack(None)]")
    runs = [every[i : i + len(names)] for i in range(len(every))]
    assert names in runs, f"VS Code's list leaves frames out: {names} of {every}"
    owners = [f"{debugger.value(f, 'type(self).__name__')}." if "self" in debugger.locals(f) else "" for f in frames]
    return [(owner + f.name, f.path) for owner, f in zip(owners, frames, strict=True)]


def step_over_to(debugger: Debugger, frames: list[Frame], text: str) -> list[Frame]:
    """Step Over, inside one function, to the line that contains `text`."""
    here = frames[0]
    while text not in here.path.read_text().splitlines()[frames[0].line - 1]:
        frames = debugger.step_over()
        assert frames[0][:2] == here[:2], f"left {here.name} before {text!r} came"
    return frames


def array(debugger: Debugger, frame: Frame, expression: str) -> np.ndarray:
    return np.array(debugger.value(frame, f"({expression}).tolist()"), np.float32)


def gradient_by_definition(x: np.ndarray, dout: np.ndarray) -> np.ndarray:
    """dw of the lesson's second convolution. Its 3 x 3 filters have one place on 3 x 3 images: no sum over places."""
    assert (x.shape[1:], dout.shape[1:]) == ((3, 3, 4), (1, 1, 6))
    return np.einsum("nhwc,nf->hwcf", x, dout[:, 0, 0])


# ---------------------------------------------------------------- debugpy, NumPy engine


@pytest.mark.slow
def test_step_into_leads_from_the_loop_to_the_kernel():
    with Debugger(configuration(STEP_BY_STEP)) as debugger:
        frames = debugger.start({LESSON: [LOOP]})
        way = [("train_a_little", LESSON), ("<module>", LESSON)]
        assert stack(debugger, frames) == way

        frames = debugger.step_into()
        way = [("Network.backward", NETWORK), *way]
        assert stack(debugger, frames) == way

        step_over_to(debugger, frames, "layer.backward(dout")
        frames = debugger.step_into()
        way = [("Dense.backward", DENSE), *way]
        assert stack(debugger, frames) == way

        step_over_to(debugger, frames, "ops.dense_backward(dout")
        frames = debugger.step_into()
        way = [("dense_backward", DENSE), *way]
        assert stack(debugger, frames) == way
        assert frames[0].line == line_of(DENSE, "db = dout.sum(axis=0)"), "not the first line"
        assert debugger.value(frames[0], "'numba' in __import__('sys').modules") is False

        frames = debugger.step_into()  # it does not enter NumPy's own Python code
        assert stack(debugger, frames) == way
        assert frames[0].line == line_of(DENSE, "dw = x.T @ dout")


@pytest.mark.slow
def test_the_convolutions_gradient_is_read_and_changed():
    with Debugger(configuration(STEP_BY_STEP)) as debugger:
        debugger.start({LESSON: [LOOP]})
        debugger.set_breakpoints(CONV, line_of(CONV, "dw = (columns.T @ dout_rows)"))
        frames = debugger.go_on()
        kernel = frames[0]
        assert stack(debugger, frames) == [("conv2d_backward", CONV), *TO_THE_LAYER]
        assert {"dout", "x", "w", "columns", "dout_rows", "db"} <= debugger.locals(kernel).keys()
        assert "dw" not in debugger.locals(kernel)

        kernel = debugger.step_over()[0]
        assert debugger.value(kernel, "dw.shape") == (3, 3, 4, 6)
        x, dout = array(debugger, kernel, "x"), array(debugger, kernel, "dout")
        assert np.abs(dout).max() > 0
        np.testing.assert_allclose(array(debugger, kernel, "dw"), gradient_by_definition(x, dout), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(array(debugger, kernel, "db"), dout.sum(axis=(0, 1, 2)), rtol=1e-5, atol=1e-7)

        debugger.set_variable(kernel, "dw", "np.zeros_like(dw)")
        frames = debugger.step_out()
        assert stack(debugger, frames) == TO_THE_LAYER
        step_over_to(debugger, frames, "return dx")
        frames = debugger.step_out()
        assert stack(debugger, frames) == TO_THE_LAYER[1:]
        assert debugger.value(frames[0], "bool(layer.w.grad.any()), bool(layer.b.grad.any())") == (False, True)

        # Training goes on with the changed dw: this layer's weights stay, its biases and the next layer learn.
        debugger.set_breakpoints(LESSON)
        debugger.set_breakpoints(CONV)
        loop = debugger.step_out()
        loop = step_over_to(debugger, loop, "optimizer.step()")[0]
        weights = "[p.value.tolist() for p in net.parameters()[2:5]]"
        before = debugger.value(loop, weights)
        loop = debugger.step_over()[0]
        unchanged = [old == new for old, new in zip(before, debugger.value(loop, weights), strict=True)]
        assert dict(zip(["conv2.w", "conv2.b", "dense1.w"], unchanged, strict=True)) == {
            "conv2.w": True,
            "conv2.b": False,
            "dense1.w": False,
        }
        assert debugger.finish() == 0
        assert "the loss after three steps:" in "".join(debugger.output)


@pytest.fixture
def installed(tmp_path):
    """A Python with a copy of the package in its site-packages, as after `pip install .`; and that copy."""
    venv.create(tmp_path / "venv")
    (site_packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    shutil.copytree(ROOT / "scratchnet", site_packages / "scratchnet", ignore=shutil.ignore_patterns("__pycache__"))
    others = {str(Path(module.__file__).parent.parent) for module in (np, pytest, debugpy)}
    (site_packages / "others.pth").write_text("\n".join(others))
    return tmp_path / "venv" / "bin" / "python", site_packages / "scratchnet"


@pytest.mark.slow
def test_step_into_finds_an_installed_package_as_well(installed):
    """VS Code steps over code in site-packages, unless the configuration includes it."""
    python, package = installed
    with Debugger(configuration(STEP_BY_STEP) | {"python": [str(python)]}) as debugger:
        debugger.start({LESSON: [LOOP]})
        frames = debugger.step_into()
        assert stack(debugger, frames)[0] == ("Network.backward", package / "network.py")
        frames = step_over_to(debugger, frames, "layer.backward(dout")
        assert stack(debugger, debugger.step_into())[0] == ("Dense.backward", package / "layers" / "dense.py")


@pytest.mark.slow
def test_the_readmes_configuration_stops_in_the_convolution(tmp_path):
    name = "Step through backprop (NumPy engine)"
    assert f'"{name}"' in flowing(ROOT / "README.md")
    with Debugger(configuration(name, folder=tmp_path)) as debugger:
        frames = debugger.start(
            {CONV: [line_of(CONV, "dout_rows = dout.reshape(-1, F)", after="def conv2d_backward(")]}
        )
        assert stack(debugger, frames)[:3] == [("conv2d_backward", CONV), *TO_THE_LAYER[:2]]


# ---------------------------------------------------------------- debugpy, the compiled engine's sources


@pytest.mark.slow
def test_the_register_tile_is_read_and_changed():
    with Debugger(configuration(INTO_THE_KERNELS)) as debugger:
        debugger.start({LESSON: [LOOP]})
        debugger.set_breakpoints(FAST_CONV, line_of(FAST_CONV, "window = Window.on(", after="def conv2d_backward("))
        frames = debugger.go_on()
        assert stack(debugger, frames) == [("conv2d_backward", FAST_CONV), *TO_THE_LAYER]
        assert {"dout", "x", "w", "stride", "padding"} <= debugger.locals(frames[0]).keys()
        assert debugger.value(frames[0], "dout.shape, x.shape") == ((2, 1, 1, 6), (2, 3, 3, 4))

        debugger.set_breakpoints(TILE, line_of(TILE, "return acc", after="def tile("))
        frames = debugger.go_on()
        way = [("product_over_images", PRODUCT), ("weight_gradient", PRODUCT), ("direct_dw", FAST_CONV)]
        way += [("conv2d_backward", FAST_CONV), *TO_THE_LAYER]
        assert stack(debugger, frames) == [("tile", TILE), *way]

        # The tile's rows are the first rows of dw, its lanes are dw's columns. It holds the part of one image.
        tile, chunk, conv2d = frames[0], frames[1], frames[4]
        assert {"acc", "right", "rows", "a", "b", "at", "r", "k", "runs", "K"} <= debugger.locals(tile).keys()
        rows, image = debugger.value(tile, "len(rows)"), debugger.value(chunk, "n")
        x, dout = array(debugger, conv2d, "x"), array(debugger, conv2d, "dout")
        part = gradient_by_definition(x[image : image + 1], dout[image : image + 1]).reshape(-1, 6)[:rows]
        in_registers = np.float32(debugger.value(tile, "[v.tolist() for v in acc]")).reshape(rows, -1)
        assert np.abs(part).max() > 0
        np.testing.assert_allclose(in_registers[:, :6], part, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(in_registers[:, 6:], 0)

        # With the tile set to 0, only this part is missing from dw, and the layer gets that dw.
        debugger.set_variable(tile, "acc", "accumulators(a)")
        debugger.set_breakpoints(TILE)
        debugger.set_breakpoints(FAST_CONV)
        while way[0] != TO_THE_LAYER[0]:
            frames = debugger.step_out()
            assert stack(debugger, frames) == way
            del way[0]
        expected = gradient_by_definition(x, dout).reshape(-1, 6)
        expected[:rows] -= part
        frames = debugger.step_out()
        layer = step_over_to(debugger, frames, "return dx")[0]
        dw = array(debugger, layer, "self.w.grad").reshape(-1, 6)
        np.testing.assert_allclose(dw, expected, rtol=1e-5, atol=1e-7)
        debugger.set_breakpoints(LESSON)
        assert debugger.finish() == 0


# ---------------------------------------------------------------- pdb


def in_pdb(commands: Sequence[str]) -> list[str]:
    """pdb's answer to each of the commands, on the lesson and the NumPy engine."""
    environment = environment_to_debug_in() | configuration(STEP_BY_STEP)["env"] | {"LESSON_IN_PDB": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pdb", str(LESSON)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            output, _ = process.communicate("\n".join(commands) + "\n", timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"pdb did not come to its end within {TIMEOUT} s; it wrote:\n{process.communicate()[0]}")
    _, *answers = output.split("(Pdb) ")
    assert len(answers) == len(commands), f"expected {len(commands)} answers, got:\n{output}"
    return answers


def frames_of(where: str) -> list[tuple[str, Path]]:
    """The frames that pdb's `where` lists, the innermost first, up to the lesson's <module>."""
    found = re.findall(r"^[> ] (.+)\(\d+\)([\w<>]+)\(\)", where, re.MULTILINE)
    frames = [(name, Path(path)) for path, name in reversed(found)]
    return frames[: 1 + frames.index(("<module>", LESSON))]


def test_pdb_leads_from_the_loop_to_the_kernels_and_changes_a_gradient():
    arrays = "p x.tolist(), dout.tolist(), dw.tolist()"
    session = [  # each command, and what its answer must contain
        (f"break {LOOP}", f"Breakpoint 1 at {LESSON}:{LOOP}"),
        ("continue", "-> net.backward(dlogits)"),
        ("step", f"--Call--\n> {NETWORK}("),
        ("next", "-> stages = "),
        ("next", "-> for layer in reversed(stages)"),
        ("next", "-> dout = layer.backward(dout"),
        ("step", f"--Call--\n> {DENSE}("),
        ("next", "-> dout = self.check_dout(dout)"),
        ("next", "-> w, _ = self.weights(dout.dtype)"),
        ("next", "-> dx, dw, db = ops.dense_backward("),
        ("step", f"--Call--\n> {DENSE}("),
        ("next", "-> db = dout.sum(axis=0)"),
        ("where", "-> db = dout.sum(axis=0)"),
        ("p 'numba' in __import__('sys').modules", "False"),
        (f"tbreak {CONV}:{line_of(CONV, 'if not need_dx:')}", "Breakpoint 2 at"),
        ("continue", "-> if not need_dx:"),
        ("where", "-> if not need_dx:"),
        ("p dw.shape", "(3, 3, 4, 6)"),
        (arrays, ""),
        ("dw[:] = 0", ""),
        ("return", "--Return--"),
        ("next", "-> self.set_gradients(dw, db)"),
        ("next", "-> return dx"),
        ("p bool(self.w.grad.any()), bool(self.b.grad.any())", "(False, True)"),
        ("clear 1", "Deleted breakpoint 1"),
        ("continue", "the loss after three steps:"),
        ("quit", ""),
    ]
    commands, expected = zip(*session, strict=True)
    answers = in_pdb(commands)
    for command, part, answer in zip(commands, expected, answers, strict=True):
        assert part in answer, f"{command}: expected {part!r}, got:\n{answer}"
    assert "The program finished" in answers[-2]
    assert "sys.exit" not in answers[-2]

    loop = [("backward", NETWORK), ("train_a_little", LESSON), ("<module>", LESSON)]
    in_dense, in_conv = (
        frames_of(answer) for command, answer in zip(commands, answers, strict=True) if command == "where"
    )
    assert in_dense == [("dense_backward", DENSE), ("backward", DENSE), *loop]
    assert in_conv == [("conv2d_backward", CONV), ("backward", CONV), *loop]
    x, dout, dw = map(np.float32, ast.literal_eval(answers[commands.index(arrays)]))
    np.testing.assert_allclose(dw, gradient_by_definition(x, dout), rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- what the lesson and VS Code's menu say


@pytest.mark.parametrize("name", [STEP_BY_STEP, INTO_THE_KERNELS])
def test_the_lesson_names_the_configurations_that_are_tested(name):
    assert f'"{name}"' in flowing(LESSON)
    assert configuration(name)["program"] == str(LESSON)


def test_the_lesson_lists_every_pdb_command_that_it_types():
    text = LESSON.read_text(encoding="utf-8")
    (listed,) = re.findall(r"# \.\. code-block:: text\n#\n((?:#     [bcnstr].*\n)+)", text.split("# In pdb\n")[1])
    keys = {key for pair in re.findall(r"(?<=  )([a-z]+)(?:, ([a-z]+))?", listed) for key in pair}
    calls = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "in_pdb"
    ]
    typed = [ast.unparse(command).strip("f'\"").split()[0] for call in calls for command in call.args[0].elts]
    assert {"r", "ll", "tbreak", "until", "u", "d", "s"} <= set(typed)
    assert set(typed) - {"import"} <= keys
