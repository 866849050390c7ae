"""The rules by which kernels are chosen, the record of the choices, and the table of the inner loops."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from scratchnet import fast
from scratchnet.fast import choose, product
from scratchnet.layers.shapes import Window

FAST = Path(fast.__file__).parent
ROW = re.compile(r"^(\w+) +\S", re.M)


def callers_of() -> dict[str, set[str]]:
    """For each function's name, the functions of the mirror that call it."""
    callers: dict[str, set[str]] = {}
    for path in FAST.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                        callers.setdefault(call.func.id, set()).add(node.name)
    return callers


def contracts() -> dict[str, set[str]]:
    """The inner loops that the table of contracts lists, each with its callers according to the table."""
    lines = product.__doc__.split("\n\n")[2].splitlines()
    column = lines[0].index("called by")
    table: dict[str, set[str]] = {}
    for line in lines[2:]:
        if not line.startswith(" "):
            name = line.split()[0]
        table.setdefault(name, set()).update(line[column:].split())
    return table


def test_the_table_of_inner_loops_names_those_who_call_them():
    callers = callers_of()
    assert len(contracts()) == 7
    for loop, said in contracts().items():
        assert callers[loop] == said, loop


def made(run) -> list[tuple[str, str]]:
    """The choices that a run made: what was computed, and how."""
    with choose.recorded() as choices:
        run()
    return [(choice.computes, choice.way) for choice in choices]


def arrays(rng, *shapes, zeros=0.0):
    """Arrays of these shapes; in the last one, a share of the numbers is 0."""
    made = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    made[-1] *= rng.random(made[-1].shape) >= zeros
    return made


@pytest.mark.parametrize(
    ("N", "size", "C", "F", "kernel", "stride", "zeros", "ways"),
    [
        (8, 14, 32, 64, 5, 1, 0.0, ["Winograd", "Winograd", "Winograd"]),
        (8, 14, 32, 64, 3, 1, 0.0, ["tile", "tile", "tile"]),
        (8, 14, 32, 64, 5, 2, 0.0, ["tile", "tile", "tile"]),
        (8, 14, 4, 8, 5, 1, 0.0, ["tile", "tile", "tile"]),
        (1, 14, 32, 64, 5, 1, 0.0, ["tile", "tile", "tile"]),
        (8, 14, 16, 32, 5, 1, 0.97, ["Winograd", "nonzeros", "nonzeros"]),
        (8, 14, 4, 8, 5, 1, 0.97, ["tile", "nonzeros", "nonzeros"]),
    ],
)
def test_the_way_of_a_convolution(N, size, C, F, kernel, stride, zeros, ways, rng):
    out = -(-size // stride)
    x, w, dout = arrays(rng, (N, size, size, C), (kernel, kernel, C, F), (N, out, out, F), zeros=zeros)
    chosen = made(lambda: fast.conv2d_forward(x, w, None, stride, "same"))
    chosen += made(lambda: fast.conv2d_backward(dout, x, w, stride, "same"))
    assert chosen == list(zip(["out", "dw", "dx"], ways, strict=True))


@pytest.mark.parametrize(
    ("N", "zeros", "ways"),
    [(128, 0.7, ["tile", "nonzeros", "nonzeros"]), (128, 0.2, ["tile"] * 3), (2, 0.7, ["few rows"] * 3)],
)
def test_the_way_of_a_dense_layer(N, zeros, ways, rng):
    x, w, dout = arrays(rng, (N, 300), (300, 200), (N, 200), zeros=zeros)
    chosen = made(lambda: fast.dense_forward(x, w, None)) + made(lambda: fast.dense_backward(dout, x, w))
    assert chosen == list(zip(["out", "dw", "dx"], ways, strict=True))
    assert made(lambda: fast.dense_backward(dout, x, w, need_dx=False)) == chosen[1:2]


def test_nothing_is_recorded_unless_somebody_asks(rng):
    x, w = arrays(rng, (2, 3), (3, 4))
    with choose.recorded() as outer:
        fast.dense_forward(x, w, None)
        with choose.recorded() as inner:
            fast.dense_forward(x, w, None)
    fast.dense_forward(x, w, None)
    assert len(outer) == len(inner) == 1


@pytest.mark.parametrize("zeros", [0.0, 0.97])
@pytest.mark.parametrize(("C", "F", "kernel"), [(1, 4, 5), (17, 35, 5), (3, 21, 3), (32, 64, 5)])
def test_what_is_done_is_at_least_what_has_to_be_done(C, F, kernel, zeros, rng):
    """Padding only adds work. Only Winograd's convolution and lists of nonzeros need less than the definition."""
    x, w, dout = arrays(rng, (8, 14, 14, C), (kernel, kernel, C, F), (8, 14, 14, F), zeros=zeros)
    with choose.recorded() as choices:
        fast.conv2d_forward(x, w, None, 1, "same")
        fast.conv2d_backward(dout, x, w, 1, "same")
    for choice in choices:
        assert choice.defined == 8 * 14 * 14 * kernel * kernel * C * F
        least = {"tile": 1.0, "Winograd": 64 / 400, "nonzeros": np.count_nonzero(dout) / dout.size}[choice.way]
        assert choice.done >= least * choice.defined, choice
        if choice.way != "tile":
            assert choice.done < choice.defined


def test_the_window_over_dout_is_the_windows_mirror_image():
    window = Window.on((9, 10), (3, 2), (2, 3), (1, 0))
    turned = choose.dx_window(window)
    spread = tuple((n - 1) * s + 1 for n, s in zip(window.out, window.stride, strict=True))
    assert turned.image == spread
    assert turned.out == window.image
    assert turned.before == (3 - 1 - 1, 2 - 1 - 0)  # the kernel's size - 1, less the padding of the image
    assert turned.padded == tuple(b + n + a for b, n, a in zip(turned.before, spread, turned.after, strict=True))
    assert all(p - k + 1 == n for p, k, n in zip(turned.padded, turned.size, turned.out, strict=True))


def test_every_constant_that_was_measured_can_be_measured_again():
    from benchmarks import calibrate

    measured = re.findall(r"^(\w+) = .*# measured:", (FAST / "choose.py").read_text(encoding="utf-8"), re.M)
    assert sorted(calibrate.MEASUREMENTS) == sorted(measured)
    assert len(measured) > 5


def test_every_constant_can_be_measured(monkeypatch, capsys):
    from benchmarks import calibrate

    monkeypatch.setattr(calibrate, "ROUNDS", 1)
    monkeypatch.setattr(calibrate, "DENSE", (96, 64))
    calibrate.main([])
    printed = capsys.readouterr().out
    assert all(name in printed for name in calibrate.MEASUREMENTS)


def test_the_tile_that_takes_less_time_is_chosen():
    """The narrow one pads less; what it computes costs NARROW_COST times as much."""
    lanes = choose.lanes(np.dtype(np.float32))
    wasteful, even = 3 * lanes, 4 * lanes  # columns: three vectors fill one and a half wide tiles
    assert choose.tile_for(wasteful, np.dtype(np.float32)).shape == choose.NARROW
    assert choose.tile_for(even, np.dtype(np.float32)).shape == choose.WIDE
    assert choose.tile_for(25 * lanes, np.dtype(np.float32)).shape == choose.WIDE, "26 vectors, or 25 * 1.1"
