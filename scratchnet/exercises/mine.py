"""The engine "mine": the answers to the exercises compute, and the book does what has no right answer yet.

    scratchnet train standard_cnn --engine mine          sn.use_engine("mine")

Each time the engine is chosen, the exercises are checked. A right answer takes the place of the kernel that it is an
answer for. An exercise asks for less than a kernel does: one stride, padding that is the same on all sides, always a
bias, rows where a kernel takes images as well. `ADAPTERS` makes up for it: each turns an answer into a kernel. What an
answer cannot do at all, such as strides that differ, is left to the book, call by call.

In a debugger, *Step Into* goes from a layer to the adapter, and from its line `yours(...)` to the answer.
"""

from __future__ import annotations

import ast
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchnet import layers as book
from scratchnet import loss, optim
from scratchnet.console import say
from scratchnet.exercises.checker import EXERCISES, Result, check_file, find_folder, load_module
from scratchnet.exercises.exercise import Function
from scratchnet.layers.shapes import Window, crop, pad
from scratchnet.program import command_line

LONG = 0.3  # seconds
SLOW = 20  # times the book's: an answer in loops takes hundreds

# ---------------------------------------------------------------- from an answer to a kernel


class Place(NamedTuple):
    """What an answer is given for a window on images: its one stride, and padding that is the same on all sides."""

    x: np.ndarray
    stride: int
    padding: int
    pads: Any  #: what was put around x already, and is cut off from dx

    def cropped(self, dx: np.ndarray) -> np.ndarray:
        return crop(dx, self.pads)


def place_on(x: np.ndarray, size: Any, stride: Any, padding: Any, value: float = 0.0) -> Place | None:
    """The arguments of an answer, with x padded here if the sides differ; None if the strides do."""
    window = Window.on(x.shape[1:3], size, stride, padding)
    if window.stride[0] != window.stride[1]:
        return None
    if value == 0 and len({*window.before, *window.after}) == 1:
        return Place(x, window.stride[0], window.before[0], ((0, 0), (0, 0)))
    return Place(pad(x, window.pads, value), window.stride[0], 0, window.pads)


def dense_backward(
    yours: Function, dout: np.ndarray, x: np.ndarray, w: np.ndarray, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    dx, dw, db = yours(dout, x, w)
    return dx if need_dx else None, dw, db


def im2col(yours: Function, x: np.ndarray, kernel_size: Any, stride: Any, padding: Any) -> np.ndarray:
    place = place_on(x, kernel_size, stride, padding)
    if place is None:
        return book.im2col(x, kernel_size, stride, padding)
    size = Window.on(x.shape[1:3], kernel_size, stride, padding).size
    return yours(place.x, size, place.stride, place.padding)


def col2im(
    yours: Function, columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any
) -> np.ndarray:
    place = place_on(np.zeros(x_shape, columns.dtype), kernel_size, stride, padding)
    if place is None:
        return book.col2im(columns, x_shape, kernel_size, stride, padding)
    size = Window.on(x_shape[1:3], kernel_size, stride, padding).size
    return place.cropped(yours(columns, place.x.shape, size, place.stride, place.padding))


def conv2d_forward(
    yours: Function, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Any, padding: Any
) -> np.ndarray:
    place = place_on(x, w.shape[:2], stride, padding)
    if place is None:
        return book.conv2d_forward(x, w, b, stride, padding)
    bias = np.zeros(w.shape[3], w.dtype) if b is None else b
    return yours(place.x, w, bias, place.stride, place.padding)


def conv2d_backward(
    yours: Function, dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    place = place_on(x, w.shape[:2], stride, padding)
    if place is None:
        return book.conv2d_backward(dout, x, w, stride, padding, need_dx=need_dx)
    dx, dw, db = yours(dout, place.x, w, place.stride, place.padding)
    return place.cropped(dx) if need_dx else None, dw, db


def depthwise_conv2d_backward(
    yours: Function, dout: np.ndarray, x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, *, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """With a multiplier of M, output c*M + m is what filter m makes of channel c: M times the exercise."""
    place = place_on(x, w.shape[:2], stride, padding)
    if place is None:
        return book.depthwise_conv2d_backward(dout, x, w, stride, padding, need_dx=need_dx)
    M, dx, dw = w.shape[3], np.zeros_like(place.x), np.zeros_like(w)
    for m in range(M):
        dx_m, dw[..., m] = yours(dout[..., m::M], place.x, w[..., m], place.stride, place.padding)
        dx += dx_m
    return place.cropped(dx) if need_dx else None, dw, dout.sum(axis=(0, 1, 2))


class WithImage(np.ndarray):
    """The winners of a max-pool, and the images that they were found in: a kernel goes back without these."""

    x: np.ndarray


def max_pool2d_forward(x: np.ndarray, pool: Any, stride: Any, padding: Any) -> tuple[np.ndarray, np.ndarray]:
    """The book's, which also keeps the images for the answer."""
    out, argmax = book.max_pool2d_forward(x, pool, stride, padding)
    kept = argmax.view(WithImage)
    kept.x = x
    return out, kept


def max_pool2d_backward(
    yours: Function,
    dout: np.ndarray,
    argmax: np.ndarray,
    x_shape: tuple[int, ...],
    pool: Any,
    stride: Any,
    padding: Any,
) -> np.ndarray:
    x, size = getattr(argmax, "x", None), Window.on(x_shape[1:3], pool, stride, padding).size
    place = None if x is None else place_on(x, pool, stride, padding, value=-np.inf)
    if place is None or size[0] != size[1]:
        return book.max_pool2d_backward(dout, np.asarray(argmax), x_shape, pool, stride, padding)
    return place.cropped(yours(dout, place.x, size[0], place.stride))


def dropout_forward(
    yours: Function, x: np.ndarray, rate: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    draws = rng.random(x.shape, dtype=np.float32)
    return yours(x, draws, rate, True)


def batch_norm_backward(
    yours: Function,
    dout: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    training: bool,
    *,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """In training, with each pixel as a row; the answer finds mean and var itself. Outside training, the book's."""
    if not training or not x.size:
        return book.batch_norm_backward(dout, x, w, mean, var, eps, training, need_dx=need_dx)
    C = x.shape[-1]
    dx, dw, db = yours(dout.reshape(-1, C), x.reshape(-1, C), w, eps)
    return dx.reshape(x.shape) if need_dx else None, dw, db


def momentum_update(
    yours: Function, value: np.ndarray, g: np.ndarray, m: np.ndarray, lr: float, momentum: float, nesterov: bool
) -> None:
    if nesterov:
        optim.momentum_update(value, g, m, lr, momentum, nesterov)
        return
    value[...], m[...] = yours(value, g, m, lr, momentum)


def adam_update(
    yours: Function,
    value: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    value[...], m[...], s[...] = yours(value, g, m, s, lr, *betas, eps, t)


# What each answer computes, by exercise and function: a kernel, and the adapter; None: the answer itself is the kernel.
ADAPTERS: dict[tuple[str, str], tuple[str, Function | None]] = {
    ("01", "softmax_gradient"): ("softmax_gradient", None),
    ("02", "dense_backward"): ("dense_backward", dense_backward),
    ("03", "relu_backward"): ("relu_backward", None),
    ("04", "im2col"): ("im2col", im2col),
    ("05", "conv2d_forward"): ("conv2d_forward", conv2d_forward),
    ("06", "col2im"): ("col2im", col2im),
    ("07", "conv2d_backward"): ("conv2d_backward", conv2d_backward),
    ("08", "max_pool2d_backward"): ("max_pool2d_backward", max_pool2d_backward),
    ("09", "dropout_forward"): ("dropout_forward", dropout_forward),
    ("09", "dropout_backward"): ("dropout_backward", None),
    ("10", "momentum_step"): ("momentum_update", momentum_update),
    ("11", "adam_step"): ("adam_update", adam_update),
    ("12", "depthwise_backward"): ("depthwise_conv2d_backward", depthwise_conv2d_backward),
    ("14", "batch_norm_backward"): ("batch_norm_backward", batch_norm_backward),
}

# ---------------------------------------------------------------- which answers


@dataclass(frozen=True)
class Yours:
    """What the last check of all exercises found: the kernels, the state of each exercise that has one, and checksums.

    The checksums are of the answers that are right, by exercise.
    """

    kernels: dict[str, Function]
    results: dict[str, Result]
    checksums: dict[str, str]

    def __str__(self) -> str:
        done = [powers(number) for number, result in self.results.items() if result.status == "done"]
        left = [f"{powers(number)} ({number})" for number, result in self.results.items() if result.status != "done"]
        return f"yours: {', '.join(done) or 'nothing yet'}; the library's: {', '.join(left) or 'all the rest'}"


def powers(number: str) -> str:
    """What an exercise computes on this engine, in words: "dense backward"; "" for one that is no kernel."""
    return " and ".join(in_words(kernel) for (exercise, _), (kernel, _) in ADAPTERS.items() if exercise == number)


def in_words(kernel: str) -> str:
    return kernel.replace("2d", "").replace("_", " ")


def answers(folder: Path) -> Yours:
    """The right answers in a folder of exercises, as kernels."""
    kernels: dict[str, Function] = {}
    results: dict[str, Result] = {}
    checksums: dict[str, str] = {}
    for number in dict.fromkeys(exercise for exercise, _ in ADAPTERS):
        path = folder / f"{EXERCISES[number].name}.py"
        results[number] = check_file(path, quiet=True, search=False)
        if results[number].status == "done":
            kernels |= kernels_of(number, load_module(path))
            checksums[number] = checksum(path)
    if "max_pool2d_backward" in kernels:
        kernels["max_pool2d_forward"] = max_pool2d_forward
    return Yours(kernels | by_patches(kernels), results, checksums)


def checksum(path: Path) -> str:
    """CRC-32 of the code in a file; comments and layout make no difference."""
    code = ast.dump(ast.parse(path.read_text(encoding="utf-8")))
    return f"{zlib.crc32(code.encode()):08x}"


def kernels_of(number: str, module: Any) -> dict[str, Function]:
    """The kernels that the functions of a learner's file make."""
    return {
        kernel: getattr(module, name) if adapter is None else partial(adapter, getattr(module, name))
        for (exercise, name), (kernel, adapter) in ADAPTERS.items()
        if exercise == number
    }


def by_patches(kernels: dict[str, Function]) -> dict[str, Function]:
    """Convolution by the learner's patches, where the learner has written no convolution."""
    to_rows, back = kernels.get("im2col", book.im2col), kernels.get("col2im", book.col2im)
    made: dict[str, Function] = {}
    if "conv2d_forward" not in kernels and "im2col" in kernels:
        made["conv2d_forward"] = partial(conv2d_forward_by_patches, to_rows)
    if "conv2d_backward" not in kernels and {"im2col", "col2im"} & kernels.keys():
        made["conv2d_backward"] = partial(conv2d_backward_by_patches, to_rows, back)
    return made


def conv2d_forward_by_patches(
    to_rows: Function, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: Any, padding: Any
) -> np.ndarray:
    """As the book's, with another `im2col`."""
    (KH, KW, C, F), N = w.shape, len(x)
    out = to_rows(x, (KH, KW), stride, padding) @ w.reshape(KH * KW * C, F) + (0 if b is None else b)
    return out.reshape(N, *Window.on(x.shape[1:3], (KH, KW), stride, padding).out, F)


def conv2d_backward_by_patches(
    to_rows: Function,
    back: Function,
    dout: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    stride: Any,
    padding: Any,
    *,
    need_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """As the book's, with another `im2col` and `col2im`."""
    KH, KW, C, F = w.shape
    dout_rows = dout.reshape(-1, F)
    dw = (to_rows(x, (KH, KW), stride, padding).T @ dout_rows).reshape(w.shape)
    db = dout_rows.sum(axis=0)
    if not need_dx:
        return None, dw, db
    dcolumns = dout_rows @ w.reshape(KH * KW * C, F).T
    return back(dcolumns, x.shape, (KH, KW), stride, padding), dw, db


# ---------------------------------------------------------------- how fast


def slow_ones(kernels: dict[str, Function]) -> dict[str, float]:
    """How many times the book's time the learner's kernels take, for those that take more than `SLOW` times as long.

    Each is called on 16 digits, as a network with a small convolution calls it.
    """
    found = {}
    for name, arguments in trial_calls().items():
        if name in kernels:
            own = seconds_of(kernels[name], arguments)
            ratio = own / max(seconds_of(BOOK[name], arguments), 1e-5)
            if ratio > SLOW and own > 1e-3:
                found[name] = ratio
    return found


BOOK: dict[str, Function] = {
    name: getattr(module, name)
    for module in (book, optim, loss)
    for name, _ in ADAPTERS.values()
    if hasattr(module, name)
}


def trial_calls() -> dict[str, Callable[[], tuple[Any, ...]]]:
    """For each kernel a function that makes its arguments."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape, dtype=np.float32) for shape in ((16, 28, 28, 2), (5, 5, 2, 4), (4,)))
    window, rows = (1, "same"), np.zeros((16, 64), np.float32)
    out, argmax = max_pool2d_forward(x, 2, 2, 0)
    weights = np.zeros((64, 10), np.float32)
    return {
        "softmax_gradient": lambda: (np.zeros((16, 10), np.float32), np.arange(16) % 10),
        "dense_backward": lambda: (np.zeros((16, 10), np.float32), rows, weights),
        "relu_backward": lambda: (x, x),
        "im2col": lambda: (x, (5, 5), *window),
        "conv2d_forward": lambda: (x, w, b, *window),
        "col2im": lambda: (book.im2col(x, (5, 5), *window), x.shape, (5, 5), *window),
        "conv2d_backward": lambda: (np.ones((16, 28, 28, 4), np.float32), x, w, *window),
        "max_pool2d_backward": lambda: (out, argmax, x.shape, 2, 2, 0),
        "dropout_forward": lambda: (x, 0.4, np.random.default_rng(0)),
        "dropout_backward": lambda: (x, x),
        "momentum_update": lambda: (*(weights.copy() for _ in range(3)), 0.1, 0.9, False),
        "adam_update": lambda: (*(weights.copy() for _ in range(4)), 0.1, (0.9, 0.999), 1e-8, 1),
        "depthwise_conv2d_backward": lambda: (x, x, w[..., :1], *window),
        "batch_norm_backward": lambda: (x, x, b[:2], *book.batch_norm_statistics(x), 1e-5, True),
    }


def seconds_of(kernel: Function, arguments: Callable[[], tuple[Any, ...]]) -> float:
    """The time of the quickest of five calls: other programs make some slower. Fewer, if they are long."""
    seconds: list[float] = []
    while len(seconds) < 5 and sum(seconds) < LONG:
        given, begun = arguments(), time.perf_counter()
        kernel(*given)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


# ---------------------------------------------------------------- the engine


def kernels() -> dict[str, Function]:
    """The functions of the engine, found anew each time that it is chosen; says on stderr which kernels are whose."""
    found = answers(find_folder())
    say(f"scratchnet: engine mine. {found}")
    for name, ratio in slow_ones(found.kernels).items():
        say(f"scratchnet: your {in_words(name)} takes {ratio:.0f} times as long as the library's")
    for number, result in found.results.items():
        if result.status == "wrong":
            say(f"scratchnet: exercise {number} is not right yet, and not used: {command_line('check', number)}")
    return found.kernels | {"about": lambda: f"; {found}", "answers_used": lambda: found.checksums}
