"""Damages files and arguments at random, reads them, and sees that nothing goes wrong but what is documented.

    python tests/fuzzing.py FORMAT COUNT [SEED]

prints what came of COUNT inputs as JSON, with the most memory that the process had, and ends with an error at the first
input that raises anything else or leaves something half changed. `test_fuzz.py` runs it in processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import struct
import sys
import tempfile
import traceback
import warnings
import webbrowser
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from PIL import Image, ImageDraw

import scratchnet as sn
from scratchnet.cli import build_parser, main
from scratchnet.data import sample as sample_module
from scratchnet.data.photographs import read_digit, read_object
from scratchnet.explorer.server import Explorer
from scratchnet.layers.base import snapshot
from scratchnet.models import ARCHITECTURES
from scratchnet.reading import FileFault
from scratchnet.runs.checkpoint import load_checkpoint, save_checkpoint
from scratchnet.runs.container import digest
from scratchnet.runs.options import SETTINGS, check_same_settings, new_settings, resumed_settings

ODD = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**15, 2**20, 2**31, 2**36, 2**63, 10**40, 0.0, -0.0, 0.5, 1.5, 1e-320, 1e308,
    float("inf"), float("-inf"), float("nan"), "", "x", "1", "~", "\ud800", "a\0b", "Ü ü", [], [1], [2**36] * 3, [[]],
    [None], {}, {"layer": "Dense"}, {"": None}, "same", "PCG64", "numpy", "constant", "adam",
]  # fmt: skip


class Format(NamedTuple):
    """One kind of file: some that are right, a way to damage one, and what reads it."""

    examples: list[bytes]
    damaged: Callable[[random.Random, bytes], bytes]
    read: Callable[[Path], None]
    documented: tuple[type[Exception], ...] = (FileFault,)


# ---------------------------------------------------------------- damage


def damaged_bytes(rng: random.Random, content: bytes, others: list[bytes] | None = None) -> bytes:
    """The content with one to four things done to it."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1) if rng.random() < 0.5 else rng.randrange(min(len(made), 64) + 1)
        match rng.randrange(7):
            case 0 if place < len(made):
                made[place] ^= 1 << rng.randrange(8)
            case 1:
                del made[place:]
            case 2:
                made += rng.randbytes(rng.choice([1, 7, 300]))
            case 3:  # a stretch of it moves, or comes from another file
                other = rng.choice(others or [content])
                start = rng.randrange(len(other) + 1)
                made[place : place + rng.randrange(40)] = other[start : start + rng.randrange(40)]
            case 4:
                length = rng.randrange(1, 64)
                made[place : place + length] = bytes(len(made[place : place + length]))
            case 5:  # a number becomes huge
                huge = rng.choice([2**31 - 1, 2**32 - 1, 2**30, 65535, 100_000])
                number = struct.pack(rng.choice("<>") + "I", huge)
                made[place : place + 4] = number[: len(made[place : place + 4])]
            case _ if place < len(made):
                made[place] = rng.randrange(256)
    return bytes(made)


def damaged_json(rng: random.Random, value: Any) -> Any:
    """The value with one of its parts replaced, removed or doubled."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        made = value.copy()
        key = rng.choice(list(made)) if isinstance(made, dict) else rng.randrange(len(made))
        what = rng.random()
        if what < 0.12:
            del made[key]
        elif what < 0.2:
            made.update({f"{key}_": rng.choice(ODD)}) if isinstance(made, dict) else made.append(made[key])
        else:
            made[key] = damaged_json(rng, made[key])
        return made
    return rng.choice(ODD)


def damaged_text(rng: random.Random, content: bytes) -> bytes:
    """JSON or lines of JSON: the bytes, or a value of one line."""
    if rng.random() < 0.3:
        return damaged_bytes(rng, content)
    whole = content.startswith(b"{\n")
    lines = [content.decode()] if whole else content.decode().splitlines()
    i = rng.randrange(len(lines))
    lines[i] = json.dumps(damaged_json(rng, json.loads(lines[i])))
    if not whole and rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return ("\n".join(lines) + "\n").encode()


def damaged_tensors(rng: random.Random, content: bytes) -> bytes:
    """A safetensors file: the bytes; or the arrays or the description, with a checksum that is right again."""
    if rng.random() < 0.3:
        return damaged_bytes(rng, content)
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    if rng.random() < 0.6:
        metadata["description"] = json.dumps(damaged_json(rng, json.loads(metadata["description"])))
    else:
        name = rng.choice(list(arrays))
        match rng.randrange(6):
            case 0:
                del arrays[name]
            case 1:
                arrays[name + rng.choice(["", "x", "/x"])] = np.zeros(rng.randrange(5))
            case 2:
                arrays[name] = arrays[name].astype(rng.choice(["f2", "f8", "i4", "u1", "?", "c8"]))
            case 3:
                arrays[name] = arrays[name].T.copy()
            case 4 if arrays[name].size and arrays[name].dtype.kind == "f":
                arrays[name].flat[0] = rng.choice([np.nan, np.inf, -1.0, 1e38])
            case _:
                arrays[name] = arrays[name][None]
    metadata["sha256"] = digest(arrays, metadata["description"])
    if rng.random() < 0.1:
        metadata[rng.choice(list(metadata))] = rng.choice(["", "x", "{", "[" * 5000, "1" * 5000])
    made = safetensors.numpy.save(arrays, metadata)
    if rng.random() < 0.15:  # numbers that NumPy does not have
        dtype = rng.choice([(b'"F32"', b'"BF16"'), (b'"F32"', b'"F8_E4M3"'), (b'"F64"', b'"F8_E5M2"')])
        header = made[8 : 8 + int.from_bytes(made[:8], "little")].replace(*dtype)
        made = struct.pack("<Q", len(header)) + header + made[8 + int.from_bytes(made[:8], "little") :]
    return made


# ---------------------------------------------------------------- files


def idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_format(packed: bool) -> Format:
    images, labels = idx(np.arange(6 * 28 * 28).reshape(6, 28, 28) % 256), idx(np.arange(6))

    def damaged(rng: random.Random, content: bytes) -> bytes:
        if not packed or rng.random() < 0.5:
            return damaged_bytes(rng, content, [images, labels])
        return gzip.compress(damaged_bytes(rng, gzip.decompress(content), [images, labels]), 1)

    def read(path: Path) -> None:
        part = "train-images-idx3-ubyte"
        with contextlib.suppress(FileFault):
            sn.data.read_idx(path, rank=1)
            part = "t10k-labels-idx1-ubyte"
        folder = path.parent
        for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
            (folder / name).write_bytes(images)
        for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
            (folder / name).write_bytes(labels)
        (folder / part).write_bytes(path.read_bytes())
        sn.data.load("mnist", folder)

    return Format([gzip.compress(images), gzip.compress(labels)] if packed else [images, labels], damaged, read)


class Means(sn.Layer):
    """A layer of one's own, with a size, a parameter and state."""

    kind = "means"

    def __init__(self, features: int, shift: float = 0.5) -> None:
        super().__init__()
        self.features, self.shift = features, shift
        self.w = sn.Parameter("w", np.ones(features, np.float32))
        self.mean = np.zeros(features, np.float32)
        self.batches = np.zeros((), np.int64)

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "batches": self.batches}

    def parameters(self) -> list[sn.Parameter]:
        return [self.w]

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.batches += training
        return self.check_input(x) - self.mean

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        self.w.grad = np.zeros_like(self.w.value)
        return dout


def small_net(seed: int = 0) -> sn.Network:
    """Every kind of layer, few numbers."""
    rng = np.random.default_rng(seed)
    layers = [
        sn.Resize((8, 8)), sn.Conv2D(1, 2, 3, rng=rng), sn.DepthwiseConv2D(2, 3, rng=rng), sn.ReLU(), sn.MaxPool2D(2),
        sn.PointwiseConv2D(2, 3, rng=rng), sn.AvgPool2D(2), sn.Flatten(), sn.Dropout(0.5, rng=rng),
        sn.Dense(12, 4, rng=rng), Means(4),
    ]  # fmt: skip
    return sn.Network(layers, input_shape=(9, 9, 1), name="small")


def everything(net: sn.Network, optimizer: Any = None) -> str:
    """All that loading may change, as text: equal texts mean equal bits."""
    held: dict[str, Any] = {p.name: p.value for p in net.parameters()} | snapshot(net.state())
    held["input_shape"] = net.input_shape
    if optimizer is not None:
        held |= {"lr": optimizer.lr, "steps": optimizer.steps, "state": optimizer.state}
    return json.dumps(held, default=lambda array: [str(array.dtype), array.tolist()])


def require(condition: bool, message: str) -> None:
    """An AssertionError with the message, unless the condition holds."""
    assert condition, message


def model_format(folder: Path) -> Format:
    sn.save(small_net(), folder / "m")

    def read(path: Path) -> None:
        net = small_net(1)
        before = everything(net)
        try:
            sn.load_weights(net, path)
        except FileFault:
            require(everything(net) == before, "half loaded")
        sn.load(path)

    return Format([(folder / "m").read_bytes()], damaged_tensors, read)


def trained(optimizer: Callable[[sn.Network], Any], steps: int) -> tuple[sn.Network, Any]:
    """A small network after some steps, and its optimiser."""
    net = small_net()
    made = optimizer(net)
    x = np.random.default_rng(0).random((4, 9, 9, 1), dtype=np.float32)
    for _ in range(steps):
        _, dlogits = sn.softmax_cross_entropy(net.forward(x, training=True), np.arange(4))
        net.backward(dlogits, need_dx=False)
        made.step()
    return net, made


def checkpoint_format(folder: Path) -> Format:
    arguments = {"engine": "numpy", "batch_size": 4, "seed": 0, "augment": None}
    kinds: list[Callable[[sn.Network], Any]] = [
        lambda net: sn.SGD(net.parameters(), 0.01),
        lambda net: sn.SGD(net.parameters(), 0.01, 0.9),
        lambda net: sn.Adam(net.parameters()),
    ]
    examples = []
    for kind in kinds:
        position = {"step": 2, "order": np.random.default_rng(0).bit_generator.state}
        save_checkpoint(folder / "c", *trained(kind, 2), arguments, position)
        examples.append((folder / "c").read_bytes())

    def read(path: Path) -> None:
        faults = [fault for kind in kinds if (fault := fault_of(path, *trained(kind, 1)))]
        if len(faults) == len(kinds):
            raise faults[-1]

    def fault_of(path: Path, net: sn.Network, optimizer: Any) -> FileFault | None:
        before = everything(net, optimizer)
        try:
            checkpoint = load_checkpoint(path, net, optimizer, arguments)
        except FileFault as fault:
            require(everything(net, optimizer) == before, "half loaded")
            return fault
        require(everything(net, optimizer) == before, "load_checkpoint changes nothing")
        checkpoint.restore(net, optimizer)
        np.random.default_rng(0).bit_generator.state = checkpoint.position["order"]
        return None

    return Format(examples, damaged_tensors, read)


def settings_format(folder: Path) -> Format:
    options = argparse.Namespace(model="standard_cnn", epochs=2)
    settings = new_settings(options)
    reproduction = {"seed": 0, "recipe": {"lr": 0.1}, "engine": "numpy", "data": {"training images": "x"}}

    def read(path: Path) -> None:
        place = path.parent / "run"
        place.mkdir(exist_ok=True)
        (place / SETTINGS).write_bytes(path.read_bytes())
        with contextlib.suppress(ValueError):
            check_same_settings(place, reproduction, "scratchnet reproduce")
        found = resumed_settings(place, argparse.Namespace(model="standard_cnn"))
        assert found.keys() == settings.keys()

    examples = [json.dumps(value, indent=2).encode() for value in (settings, settings, reproduction)]
    return Format(examples, damaged_text, read, (FileFault, ValueError))


def metrics_format() -> Format:
    step = {"event": "step", "epoch": 1, "step": 1, "loss": 2.3, "accuracy": 0.5, "lr": 0.01}
    epoch = {"event": "epoch", "epoch": 1, "step": 2, "steps_per_second": 9.5}
    tested = {"test_set": "ü", "test_loss": float("nan"), "test_accuracy": 0.25}
    lines = [step, step | {"step": 2}, epoch, step | {"step": 3, "epoch": 2}, epoch | {"step": 3} | tested]

    def read(path: Path) -> None:
        history = sn.read_metrics(path)
        assert [record["step"] for record in history.steps] == [*range(1, len(history.steps) + 1)]
        assert all(isinstance(record["loss"], (int, float)) for record in history.steps)

    return Format(["".join(json.dumps(line) + "\n" for line in lines).encode()], damaged_text, read)


def picture_format() -> Format:
    drawn = Image.new("L", (40, 30), 230)
    ImageDraw.Draw(drawn).line([(10, 5), (22, 24), (30, 6)], fill=20, width=3)
    clear = Image.merge("LA", [drawn, drawn.point(lambda v: 255 - v)])
    turned = Image.Exif()
    turned[0x0112] = 6
    examples = [
        _saved(drawn, "PNG"), _saved(clear, "PNG"), _saved(drawn.convert("P"), "PNG", transparency=0),
        _saved(drawn.convert("I;16"), "PNG"), _saved(drawn, "JPEG", exif=turned), _saved(drawn.convert("RGB"), "JPEG"),
        _saved(drawn.convert("RGB"), "JPEG", progressive=True), _saved(drawn, "GIF"), _saved(drawn, "BMP"),
        _saved(drawn, "TIFF"), _saved(drawn.convert("F"), "TIFF"), _saved(drawn, "TIFF", compression="jpeg"),
        _saved(drawn, "TIFF", compression="tiff_lzw"), _saved(drawn.convert("RGB"), "WEBP"), _saved(drawn, "PPM"),
        _saved(drawn.convert("CMYK"), "JPEG"), _saved(drawn, "JPEG2000"), _saved(drawn.convert("1"), "PNG"),
    ]  # fmt: skip

    def read(path: Path) -> None:
        for reads in (read_object, read_digit):
            with contextlib.suppress(FileFault) if reads is read_object else contextlib.nullcontext():
                image = reads(path)
                assert image.shape == (28, 28, 1)
                assert 0 <= image.min() <= image.max() <= 1

    return Format(examples, lambda rng, content: damaged_bytes(rng, content, examples), read)


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def sample_format() -> Format:
    place = Path(sample_module.__file__).with_name("sample.npz")

    def read(path: Path) -> None:
        sample_module.resources = SimpleNamespace(files=lambda package: SimpleNamespace(joinpath=lambda name: path))
        sn.data.load("sample")

    return Format([place.read_bytes()], damaged_bytes, read)


def own_format(ending: str) -> Format:
    """One's own data in a file of this ending: 12 images of 4 x 4 pixels, in three classes."""
    images, labels = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8), np.arange(12) % 3
    whole, packed, table = io.BytesIO(), io.BytesIO(), io.StringIO()
    np.savez(whole, x_train=images, y_train=labels, x_test=images[:3], y_test=labels[:3])
    np.savez_compressed(packed, images=images / 255, labels=labels)
    np.savetxt(table, np.column_stack([labels, images.reshape(12, 16)]), "%d", ",")
    examples = {"npz": [whole.getvalue(), packed.getvalue()], "csv": [table.getvalue().encode()]}[ending]

    def read(path: Path) -> None:
        place = path.with_name(f"damaged.{ending}")
        path.replace(place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.data.DataWarning)
            for part in sn.data.load(place):
                require(bool(np.isfinite(part.images).all()), "pixels that are no numbers")

    return Format(examples, damaged_bytes, read)


def formats(folder: Path) -> dict[str, Callable[[], Format]]:
    """Every format by its name; each is made when it is asked for."""
    return {
        "idx": lambda: idx_format(packed=False),
        "gzip": lambda: idx_format(packed=True),
        "model": lambda: model_format(folder),
        "checkpoint": lambda: checkpoint_format(folder),
        "settings": lambda: settings_format(folder),
        "metrics": metrics_format,
        "picture": picture_format,
        "sample": sample_format,
        "csv": lambda: own_format("csv"),
        "npz": lambda: own_format("npz"),
    }


def fuzz_files(name: str, count: int, rng: random.Random, folder: Path) -> Counter[str]:
    """Read damaged files; an AssertionError with the traceback if one raises what is not documented."""
    format = formats(folder)[name]()
    came: Counter[str] = Counter()
    path = folder / "damaged file"
    for i in range(count):
        content = format.damaged(rng, rng.choice(format.examples)) if i >= len(format.examples) else format.examples[i]
        path.write_bytes(content)
        try:
            format.read(path)
            came["read"] += 1
        except format.documented as fault:
            require(str(folder) in str(fault), f"{fault} does not name the file")
            require(i >= len(format.examples) or name == "settings", f"{fault}: a right file was refused")
            require(type(fault) in format.documented, f"input {i}: {type(fault).__name__}: {fault}")
            came["refused"] += 1
        except Exception:
            Path(tempfile.gettempdir(), f"fuzz-{name}-{i}").write_bytes(content)
            raise AssertionError(f"{name}, input {i}:\n{traceback.format_exc()}") from None
    return came


# ---------------------------------------------------------------- the command line

VALUES = [
    "", "0", "1", "2", "3", "-1", "05", "99", "1e3", "0.5", "1.0", "nan", "inf", "-inf", "1e400", "9" * 30,
    "9" * 400, "9" * 5000, "9223372036854775807", "٣", "½", "~", "~nobody/x", "a\0b", "\udcff", "name with spaces",
    "Übung", ".", "..", "/", "/dev/null", "/dev/zero", "x" * 300, "model", "picture.png", "text", "run",
    "standard_cnn", "sample", "--", "-x",
]  # fmt: skip


def fuzz_commands(count: int, rng: random.Random, folder: Path) -> Counter[str]:
    """Run commands with drawn arguments; an AssertionError if one ends in anything but an exit code."""
    os.chdir(folder)
    train, test = (part[:20] for part in sn.data.load("sample"))
    sn.data.load = lambda *arguments: (train, test) if arguments[:1] in ((), ("sample",)) else _load(*arguments)
    whole_fit = sn.fit
    sn.fit = lambda *a, **options: whole_fit(*a, **options | {"epochs": None, "steps": 1, "progress": False})
    import scratchnet.study.reproduce as study

    webbrowser.open = lambda address: True
    Explorer.service_actions = ctrl_c  # called again and again while a page is served, until somebody ends it
    study.reproduce = study.reproduce_whole = lambda *arguments, **options: ("a table", [])
    for architecture in ARCHITECTURES.values():  # small ones, so that thousands of commands take minutes
        object.__setattr__(architecture, "make", lambda seed=0, init="he_normal": tiny_net(seed, init))
    sn.save(tiny_net(), "model")
    (folder / "picture.png").write_bytes(picture_format().examples[0])
    (folder / "text").write_text("text")
    came: Counter[str] = Counter()
    for i in range(count):
        arguments = drawn_arguments(rng)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                code = main(arguments)
            except SystemExit as stop:
                code = stop.code
            except BaseException:
                raise AssertionError(f"input {i}, {arguments}:\n{traceback.format_exc()}") from None
        assert code in (0, 1, 2), f"input {i}, {arguments}: exit code {code!r}"
        assert "Traceback" not in errors.getvalue(), f"input {i}, {arguments}: {errors.getvalue()}"
        assert code != 1 or errors.getvalue() or arguments[0] == "check", (
            f"input {i}, {arguments}: fails without a word"
        )
        came[f"exit code {code}"] += 1
    return came


def ctrl_c(*arguments: Any, **options: Any) -> None:
    """What a user does."""
    raise KeyboardInterrupt


def drawn_arguments(rng: random.Random) -> list[str]:
    """A command with some of its own arguments, most of their values of the right kind, and sometimes others."""
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    command = rng.choice([*commands, "fly"])
    arguments = [command]
    for action in commands[command]._actions if command in commands else ():
        if not action.option_strings:
            arguments += [drawn_value(rng, action) for _ in range(rng.choice([0, 1, 1, 1, 1, 2]))]
        elif rng.random() < 0.25 and "--help" not in action.option_strings:
            arguments += [action.option_strings[-1], *([drawn_value(rng, action)] if action.nargs != 0 else [])]
    if rng.random() < 0.1:
        arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(["--help", "--version", *VALUES]))
    return arguments


def drawn_value(rng: random.Random, action: argparse.Action) -> str:
    """A value for an argument."""
    if action.choices and rng.random() < 0.9:
        return str(rng.choice(list(action.choices)))
    if rng.random() < 0.5:
        return rng.choice(["1", "2", "3"] if action.type else ["model", "standard_cnn", "picture.png", "05", "run"])
    return rng.choice(VALUES)


def _load(*arguments: Any) -> Any:
    raise FileNotFoundError("no data in this test")


def tiny_net(seed: int = 0, init: str = "he_normal") -> sn.Network:
    rng = np.random.default_rng(seed)
    layers = [
        sn.AvgPool2D(7),
        sn.Conv2D(1, 2, 3, rng=rng, init=init),
        sn.Flatten(),
        sn.Dense(32, 10, rng=rng, init=init),
    ]
    return sn.Network(layers, (28, 28, 1), "standard_cnn")


def peak_memory() -> float:
    """The most memory that this process had, in MiB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # here and not in `resource`, where Linux also counts what the parent had before this program
        return next(int(line.split()[1]) / 2**10 for line in status.read_text().splitlines() if "VmHWM" in line)
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


if __name__ == "__main__":
    name, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    warnings.simplefilter("error")
    sn.use_engine("numpy")
    with tempfile.TemporaryDirectory(prefix="fuzz ü ") as made:
        draw = random.Random(f"{name} {seed}")
        place = Path(made)
        came = fuzz_commands(count, draw, place) if name == "command" else fuzz_files(name, count, draw, place)
        os.chdir(Path(__file__).parent)
    print(json.dumps({"format": name, "inputs": count, **came, "peak_mib": round(peak_memory(), 1)}))
