"""Plant errors in scratchnet, one at a time, and see whether a test notices: the tests of the tests.

    make mutants                                          300 errors, drawn from all rooms
    python scripts/mutants.py --rooms mirror --count 50   50 errors in the compiled engine's sources
    python scripts/mutants.py --seed 1                    other errors

A mutant is a copy of the sources with one small error: `<` for `<=`, `+` for `-`, 1 for 0, a statement left out. The
tests of its room run on it, in a copy of the project. If one of them fails, or they take far too long, the mutant is
killed. If all pass, it has survived: a test is missing, or the error makes no difference, and then its place and the
reason belong in `equivalent_mutants.py`. Source: DeMillo, Lipton, Sayward, "Hints on Test Data Selection" (1978).

Numba compiles nothing here (NUMBA_DISABLE_JIT=1), because compiling takes a minute and a mutant's tests take seconds.
So the kernels' lines run as Python, and `register/vector.py`, which only a compiler can run, is left out.

Each mutant's tests run in a forked process, so that NumPy and PyTorch are imported once: it needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import fnmatch
import importlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from equivalent_mutants import EQUIVALENT
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
PATIENCE = 5  # how many times as long as on the right sources tests may take before the mutant counts as killed


class Room(NamedTuple):
    """A part of the sources, and the tests that are to notice its errors: so few that they take seconds."""

    sources: tuple[str, ...]  #: patterns of paths
    tests: tuple[str, ...]  #: pytest's arguments
    engine: str = "numpy"  #: the one that tests use which do not choose any


def book(tests: str, *names: str) -> tuple[str, ...]:
    """Quick tests of these files (on the readable engine, if it is their choice) whose names have one of `names`."""
    return (*tests.split(), "-m", "not slow", "-k", " and ".join(["not numba", *_one_of(names)]))


def mirror(tests: str, *names: str) -> tuple[str, ...]:
    """The same on the compiled engine, and in one dtype: without a compiler, each test takes a while."""
    return (*tests.split(), "-m", "not slow", "-k", " and ".join(["not numpy", "not float32", *_one_of(names)]))


def _one_of(names: tuple[str, ...]) -> list[str]:
    return [f"({' or '.join(names)})"] if names else []


LAYERS = "tests/test_layers.py tests/test_definition.py"
KERNELS = f"{LAYERS} tests/test_routes.py::test_a_route_gives_what_is_defined"
IM2COL = "tests/test_layers_torch.py::test_im2col_and_col2im"
NETWORK = "tests/test_network.py tests/test_state.py"
WINNERS = "tests/test_agreement.py::test_who_wins_a_window_is_pytorchs_choice"
PICTURES = "tests/test_pictures.py tests/test_cli.py::test_the_text_picture_has_a_frame_and_shades"
FILES = "tests/test_file_faults.py tests/test_checkpoint.py tests/test_resume.py tests/test_identity.py"
ROOMS = {
    "layers": Room(
        ("scratchnet/layers/*.py",),
        book(f"{LAYERS} tests/test_layers_torch.py tests/test_shapes.py {NETWORK} {WINNERS}"),
    ),
    "network": Room(("scratchnet/network.py", "scratchnet/loss.py"), book(f"{NETWORK} tests/test_definition.py")),
    "optimisers": Room(
        ("scratchnet/optim.py", "scratchnet/settings.py"), book("tests/test_optim.py tests/test_settings.py")
    ),
    "training": Room(
        ("scratchnet/train.py", "scratchnet/runs/run.py", "scratchnet/runs/metrics.py"),
        book("tests/test_train.py tests/test_resume.py tests/test_interrupt.py"),
    ),
    "gradcheck": Room(("scratchnet/gradcheck.py", "scratchnet/slopes.py"), book("tests/test_gradcheck.py")),
    "files": Room(
        (
            "scratchnet/reading.py",
            *(f"scratchnet/runs/{name}.py" for name in ("checkpoint", "container", "description", "identity")),
        ),
        book(FILES),
    ),
    "data": Room(
        ("scratchnet/data/*.py",),
        book(f"tests/test_data.py tests/test_augment.py {PICTURES}"),
    ),
    "convolution kernels": Room(
        ("scratchnet/fast/conv*.py", "scratchnet/fast/padded.py"),
        mirror(f"{KERNELS} {IM2COL} tests/test_winograd.py", "conv2d", "convolution", "winograd", "im2col"),
        "numba",
    ),
    "product kernels": Room(
        ("scratchnet/fast/dense.py", "scratchnet/fast/product/*.py", "scratchnet/fast/register/[pst]*.py"),
        mirror(KERNELS),
        "numba",
    ),
    "other kernels": Room(
        (
            "scratchnet/fast/depthwise.py",
            "scratchnet/fast/po*.py",
            "scratchnet/fast/rel*.py",
            "scratchnet/fast/resize.py",
        ),
        mirror(
            f"{KERNELS} {WINNERS} tests/test_fused.py",
            *("depthwise", "pointwise", "pool", "relu", "resize", "channel", "window", "in_one_pass"),
        ),
        "numba",
    ),
    "rules": Room(("scratchnet/fast/choose.py",), mirror("tests/test_choose.py"), "numba"),
}


class Mutant(NamedTuple):
    """One error: which bytes of which file are replaced by what."""

    path: str
    line: int
    begin: int
    end: int
    new: str
    text: str  #: the line, with the error marked: "for i in range([[1 -> 2]], n):"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"

    def source(self, right: bytes) -> bytes:
        """The file with the error in it."""
        return right[: self.begin] + self.new.encode() + right[self.end :]


# ---------------------------------------------------------------- errors

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Sub,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "argmax": "argmin", "zeros": "ones"}


def errors(node: ast.AST) -> Iterator[ast.AST]:
    """The node with one error in it, in each way that there is for nodes of its type."""
    wrong: Any = copy.deepcopy(node)
    match wrong:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            wrong.op = OPERATORS[type(op)]()
            yield wrong
        case ast.Compare(ops=[op]) if type(op) in OPERATORS:
            wrong.ops = [OPERATORS[type(op)]()]
            yield wrong
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
            if value:
                yield ast.Constant(value - 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value + 1)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name])
        case ast.Attribute(value=value, attr=name) if name in NAMES:
            yield ast.Attribute(value, NAMES[name])
        case ast.AugAssign(target=target, op=op, value=value):
            yield ast.Assign([target], value, lineno=0)
            if type(op) in OPERATORS:
                yield ast.AugAssign(target, OPERATORS[type(op)](), value)
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript()]) | ast.Continue():
            yield ast.Pass()


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes in which an error changes what the program computes: not those of annotations, texts and messages."""
    for name, value in ast.iter_fields(tree):
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(child, ast.Raise | ast.JoinedStr | ast.ImportFrom | ast.Import)
            if not isinstance(child, ast.AST) or is_text or name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield child
            if not (isinstance(child, ast.UnaryOp) and isinstance(child.operand, ast.Constant)):
                yield from nodes(child)  # but -1 as a whole: to NumPy, -2 is as good a sign for "the rest"


def mutants_of(path: Path) -> list[Mutant]:
    """All errors that can be planted in a file."""
    right = path.read_bytes()
    return [mutant(path, right, node, wrong) for node in nodes(ast.parse(right)) for wrong in errors(node)]


def mutant(path: Path, right: bytes, node: Any, wrong: ast.AST) -> Mutant:
    """The mutant of a file that has `wrong` in the place of a node."""
    lines = right.splitlines(keepends=True)
    first, last = sum(map(len, lines[: node.lineno - 1])), sum(map(len, lines[: node.end_lineno - 1]))
    begin, end = first + node.col_offset, last + node.end_col_offset
    new = ast.unparse(ast.fix_missing_locations(wrong))
    if isinstance(wrong, ast.BinOp | ast.BoolOp | ast.Compare | ast.IfExp):
        new = f"({new})"
    before, old, after = right[first:begin], right[begin:end], right[end : last + len(lines[node.end_lineno - 1])]
    text = f"{before.decode()}[[{old.decode()} -> {new}]]{after.decode()}"
    return Mutant(path.relative_to(ROOT).as_posix(), node.lineno, begin, end, new, " ".join(text.split()))


def sources(room: Room) -> list[Path]:
    paths = [p for p in sorted(ROOT.glob("scratchnet/**/*.py")) if p.name != "vector.py"]
    return [p for p in paths if any(fnmatch.fnmatch(p.relative_to(ROOT).as_posix(), s) for s in room.sources)]


def drawn(room: Room, count: int, rng: random.Random) -> list[Mutant]:
    """`count` mutants of a room, each as likely as any other; fewer if there are no more."""
    every = [m for path in sources(room) for m in mutants_of(path) if (m.path, m.text) not in EQUIVALENT]
    return rng.sample(every, min(count, len(every)))


# ---------------------------------------------------------------- tests


def run_tests(room: Room) -> None:
    """Run pytest in this process, silently, and leave it with pytest's exit code."""
    assert "scratchnet" not in sys.modules, "the sources without the error"
    sys.path.insert(0, str(Path.cwd()))  # before the installed package
    os.environ["SCRATCHNET_ENGINE"] = room.engine
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *room.tests])
    os._exit(int(code))


def outcome(room: Room, seconds: float | None) -> tuple[int | None, float]:
    """pytest's exit code in a process of its own, None after `seconds`; and the time that it took."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(room,))
    began = time.perf_counter()
    process.start()
    process.join(seconds)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return code, time.perf_counter() - began


def survivors(room: Room, mutants: list[Mutant], folder: Path, bar: tqdm) -> list[Mutant]:
    """The mutants that no test notices."""
    code, right_time = outcome(room, None)
    if code != 0:
        raise SystemExit(f"mutants: expected these tests to pass on the right sources: pytest {' '.join(room.tests)}")
    alive = []
    for mutant in mutants:
        place = folder / mutant.path
        right = place.read_bytes()
        place.write_bytes(mutant.source(right))
        code, _ = outcome(room, PATIENCE * right_time + 10)
        place.write_bytes(right)
        if code == 0:
            alive.append(mutant)
            bar.write(f"survived  {mutant}")
        bar.update()
    return alive


def copy_project(to: Path) -> None:
    """Copy the project as a clone of the working tree would have it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, to / name)


def preload() -> None:
    """Import what takes long to import and does not depend on scratchnet's sources."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for library in ("NUMBA", "OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # arrays are small: threads would wait for each other
    for name in ("numba", "torch", "matplotlib.pyplot"):
        importlib.import_module(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS), help="where to plant errors")
    parser.add_argument("--count", type=int, default=300, help="how many, over all rooms (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    every = {name: drawn(ROOMS[name], -(-options.count // len(options.rooms)), rng) for name in options.rooms}
    with tempfile.TemporaryDirectory(prefix="scratchnet-mutants-") as name:
        folder = Path(name, "project")
        copy_project(folder)
        os.chdir(folder)
        sys.dont_write_bytecode = True  # a mutant as long as the right file, a second later, would be taken for it
        preload()
        with tqdm(total=sum(map(len, every.values())), desc="mutants", dynamic_ncols=True) as bar:
            alive = [m for name, mutants in every.items() for m in survivors(ROOMS[name], mutants, folder, bar)]
            total = bar.n
    print(f"{total - len(alive)} of {total} mutants killed, {len(alive)} survived")
    for mutant in alive:
        print(f"  {mutant}")
    raise SystemExit(bool(alive))


if __name__ == "__main__":
    main()
