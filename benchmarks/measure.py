"""What is measured. Every peer is timed in every round, so that a noisy minute affects all of them alike."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import scratchnet as sn
from benchmarks.machine import on_first_cores
from benchmarks.peers import OURS
from benchmarks.pool import PeerError, PeerMissing, PeerUnable, Remote, environment

BLAS = "scratchnet, NumPy engine"  # for a dense layer
EXPLICIT = "scratchnet, im2col"  # in the table of layers: a convolution that writes its patches to memory
TOLERANCE = 1e-4  # largest difference of float32 logits and gradients, relative to the largest entry
Rounds = dict[str, list[float]]  # for each peer, the median time of each round, in seconds


class Session:
    """One run of the benchmark: its settings, the files that the peers read, its notes, and progress on stderr."""

    def __init__(self, threads: int, rounds: int, seconds: float, modules: Sequence[str] = ()) -> None:
        self.threads, self.rounds, self.seconds = threads, rounds, seconds
        self.modules = tuple(modules)  # these register networks from outside the package
        self.folder = Path(tempfile.mkdtemp(prefix="scratchnet-bench-"))
        self.close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)  # at the latest at exit
        self.images, self.labels = (np.concatenate([a] * 2) for a in _digits())
        self.notes: list[str] = []
        self.started = time.perf_counter()

    def say(self, text: str) -> None:
        """Print a line of progress, with the time since the start."""
        minutes, seconds = divmod(int(time.perf_counter() - self.started), 60)
        print(f"[{minutes:2d}:{seconds:02d}] {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a line that belongs in the report as well, such as a peer that is left out."""
        self.notes.append(text)
        self.say(text)

    def weights(self, model: str) -> str:
        """A file with the initial weights of a model: He's rule, and random biases instead of zeros."""
        path = self.folder / f"{model}.npz"
        if not path.exists():
            rng = np.random.default_rng(0)
            net = sn.models.ARCHITECTURES[model].make(seed=0, init="he_normal")
            arrays = {p.name: p.value for p in net.parameters()}
            np.savez(
                path,
                **{n: v if v.ndim > 1 else rng.normal(0, 0.05, v.shape).astype(v.dtype) for n, v in arrays.items()},
            )
        return str(path)

    def batch(self, size: int, model: str) -> str:
        """A file with images that a model takes: the first digits of the sample, or noise if it takes another shape."""
        architecture = sn.models.ARCHITECTURES[model]
        shape, classes = architecture.input_shape, architecture.classes
        path = self.folder / f"batch{size}-{'x'.join(map(str, shape))}-{classes}.npz"
        if not path.exists():
            x, labels = self.images[:size], self.labels[:size]
            if shape != x.shape[1:] or classes <= labels.max():
                rng = np.random.default_rng(0)
                x, labels = rng.random((size, *shape), np.float32), rng.integers(0, classes, size)
            np.savez(path, x=x, labels=labels)
        return str(path)

    def start(self, names: Sequence[str], threads: int | None = None) -> dict[str, Remote]:
        """A worker for each peer; a note names those that are left out because they are not installed."""
        workers = {}
        for name in names:
            try:
                workers[name] = Remote(name, threads or self.threads, self.modules)
            except PeerMissing as error:
                self.note(f"{name}: left out, not installed ({error})")
            except PeerError as error:
                self.note(f"{name}: left out, it does not start: {_last_line(error)}")
        return workers

    def in_rounds(
        self,
        workers: dict[str, Remote],
        ask: Callable[[Remote], float],
        rounds: int | None = None,
        seconds: float | None = None,
    ) -> tuple[Rounds, dict[str, float]]:
        """Prepare each worker with `ask`, then time them in rounds. Returns the rounds and each first run's seconds."""
        first = {}
        for name, worker in workers.items():
            try:
                first[name] = ask(worker)
            except PeerError as error:
                self.note(f"{name}: left out here: {_last_line(error)}")
        medians: Rounds = {name: [] for name in first}
        names = list(first)
        for r in range(rounds or self.rounds):
            for name in names[r % len(names) :] + names[: r % len(names)]:  # no peer is always first
                time.sleep(0.05)  # until the previous peer's threads sleep
                medians[name].append(statistics.median(workers[name].ask("time", seconds=seconds or self.seconds)))
        return medians, first


def _digits() -> tuple[np.ndarray, np.ndarray]:
    train, _ = sn.data.load("sample")
    return train.images, train.labels


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


@contextlib.contextmanager
def running(workers: dict[str, Remote]):
    """Close the workers at the end of the block, also after an error."""
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


# ---------------------------------------------------------------- the parts of the benchmark


def verify(session: Session, workers: dict[str, Remote], model: str) -> dict[str, float]:
    """Run the same weights and images in every framework; returns the largest difference of each from ours.

    Logits and gradients are compared, relative to the largest entry of each array. A peer that has no equivalent of a
    layer of this network is left out, and a note says so.

    Raises
    ------
    ValueError
        If a peer differs by more than TOLERANCE.
    """
    results = {}
    for name, worker in workers.items():
        out = str(session.folder / f"gradients{len(results)}.npz")
        try:
            worker.ask("build", model=model, weights=session.weights(model), dropout=False)
        except PeerUnable as error:
            session.note(f"{model}: {name} left out: {error}")
            continue
        worker.ask("gradients", batch=session.batch(32, model), out=out)
        with np.load(out) as arrays:
            results[name] = dict(arrays)
    return differences(model, results)


def differences(model: str, results: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """Each peer's largest difference from the first one; a ValueError that names peer and array if it is too large."""
    truth = next(iter(results.values()))
    worst = {}
    for name, arrays in results.items():
        apart = {
            key: float(np.abs(arrays[key].reshape(value.shape) - value).max() / np.abs(value).max())
            for key, value in truth.items()
        }
        key = max(apart, key=lambda k: apart[k])
        if not apart[key] <= TOLERANCE:
            raise ValueError(
                f"{model}: {name} computes another {key}: {apart[key]:.1e} of its largest entry apart, expected at "
                f"most {TOLERANCE:.0e}. Nothing is timed before all compute the same"
            )
        worst[name] = apart[key]
    return worst


def timings(session: Session, workers: dict[str, Remote], model: str, work: str, batch: int) -> dict[str, Any]:
    """The timings of one network at one batch size; work is "training" or "inference"."""
    session.say(f"{work}: {model}, batch {batch}")

    def ask(worker: Remote) -> float:
        worker.ask("build", model=model, weights=session.weights(model), dropout=True)
        return worker.ask("prepare", work=work, batch=session.batch(batch, model))

    rounds, first = session.in_rounds(workers, ask)
    return {"work": work, "model": model, "batch": batch, "rounds": rounds, "first run": first}


def layers(session: Session, workers: dict[str, Remote], model: str, batch: int) -> list[dict[str, Any]]:
    """The timings of every layer of one network alone, forward and backward.

    Those of the NumPy engine only for dense layers: there it computes with NumPy's BLAS.
    """
    net = sn.models.ARCHITECTURES[model].make(seed=0)
    session.say(f"layers: {model}")
    build(session, workers, model)
    results = []
    for index, (layer, before) in enumerate(zip(net.layers, net.output_shapes(), strict=False)):
        asked = workers if isinstance(layer, sn.Dense) else {n: w for n, w in workers.items() if n != BLAS}
        for direction in ("forward", "backward"):
            passes = 1 if direction == "forward" or index == 0 else 2
            rounds = one_layer(session, asked, "prepare_layer", model, index, direction, batch)
            if isinstance(layer, sn.Conv2D):
                ours = {EXPLICIT: workers[OURS]}
                rounds |= one_layer(session, ours, "prepare_explicit_convolution", model, index, direction, batch)
            results.append(
                {
                    "model": model, "layer": layer.name, "kind": repr(layer), "input": list(before), "batch": batch,
                    "direction": direction, "flop": 2 * passes * batch * layer.multiply_adds(before), "rounds": rounds,
                    "bytes": 4 * batch * (int(np.prod(before)) + int(np.prod(layer.output_shape(before))))
                    + 4 * sum(p.value.size for p in layer.parameters()),
                }
            )  # fmt: skip
    return results


def dense(session: Session, workers: dict[str, Remote], model: str, batches: Sequence[int]) -> list[dict[str, Any]]:
    """The timings of a network's largest dense layer alone, forward and backward, at several batch sizes."""
    net = sn.models.ARCHITECTURES[model].make(seed=0)
    sizes = {i: layer.w.value.size for i, layer in enumerate(net.layers) if isinstance(layer, sn.Dense)}
    index = max(sizes, key=lambda i: sizes[i])
    session.say(f"dense: {model} {net.layers[index].name}")
    build(session, workers, model)
    return [
        {
            "model": model, "layer": net.layers[index].name, "batch": batch, "direction": direction,
            "flop": 2 * (1 if direction == "forward" else 2) * batch * sizes[index],
            "rounds": one_layer(session, workers, "prepare_layer", model, index, direction, batch),
        }
        for batch in batches for direction in ("forward", "backward")
    ]  # fmt: skip


def build(session: Session, workers: dict[str, Remote], model: str) -> None:
    """Have every worker make a network."""
    for worker in workers.values():
        worker.ask("build", model=model, weights=session.weights(model), dropout=True)


def one_layer(
    session: Session, workers: dict[str, Remote], what: str, model: str, index: int, direction: str, batch: int
) -> Rounds:
    """The timings of one pass of one layer. what : what a worker is asked to prepare."""
    ask = functools.partial(_ask, what, index=index, direction=direction, batch=session.batch(batch, model))
    return session.in_rounds(workers, ask, rounds=5, seconds=0.15)[0]


def _ask(what: str, worker: Remote, **which: Any) -> float:
    return worker.ask(what, **which)


def image_sizes(session: Session, workers: dict[str, Remote], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The timings of one convolution, 32 to 64 channels, forward and backward, on 4 images of each size."""
    results = []
    for size in sizes:
        session.say(f"image size: {size} x {size}")
        rounds, _ = session.in_rounds(
            workers, lambda w, size=size: w.ask("prepare_convolution", N=4, size=size, C=32, F=64)
        )
        results.append({"size": size, "flop": 3 * 2 * 4 * size * size * 25 * 32 * 64, "rounds": rounds})
    return results


def start_ups(session: Session, names: Sequence[str], model: str, repeats: int) -> dict[str, Any]:
    """Seconds from the start of Python to the end of the first training step, seconds of imports, peak memory in MB."""
    cold = session.folder / "compiled"
    runs = [(f"{OURS}, first run ever", OURS, {"NUMBA_CACHE_DIR": str(cold)})]
    runs += [(name, name, {}) for name in names]
    results: dict[str, Any] = {"model": model, "first step": {}, "memory": {}, "import": {}}
    for label, name, extra in runs:
        session.say(f"start-up: {label}")
        for _ in range(1 if extra else repeats):
            seconds, memory = _first_step(session, name, model, extra)
            if seconds is not None:
                results["first step"].setdefault(label, []).append(seconds)
                results["memory"].setdefault(label, []).append(memory)
    for module in ("numpy", "scratchnet", "torch", "tensorflow", "jax"):
        times = [_seconds_of([sys.executable, "-c", f"import {module}"], session) for _ in range(repeats)]
        if all(t is not None for t in times):
            results["import"][module] = times
    return results


def _first_step(session: Session, name: str, model: str, extra: dict[str, str]) -> tuple[float | None, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.first_step",
        name,
        model,
        session.weights(model),
        session.batch(128, model),
    ]
    command += session.modules
    start = time.perf_counter()
    with (
        on_first_cores(session.threads),
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(session.threads) | extra,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        return (seconds, float(process.stdout.readline())) if line == "first step\n" else (None, 0.0)


def _seconds_of(command: list[str], session: Session) -> float | None:
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, env=environment(session.threads), check=False)
    return time.perf_counter() - start if run.returncode == 0 else None


def limits(session: Session) -> dict[str, float]:
    """Measure the processor's limits in a separate process."""
    session.say("the processor's limits")
    with on_first_cores(session.threads):
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.limits"],
            capture_output=True,
            text=True,
            env=environment(session.threads),
            check=True,
        )
    return json.loads(run.stdout)
