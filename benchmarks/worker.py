"""One peer in its own process: reads commands from stdin and answers on stdout, one line each.

Started as `python -m benchmarks.worker NAME [MODULE ...]`; the modules register networks from outside the package. Each
framework has its own process, so that its threads, allocator and environment do not affect another. The process lives
through all rounds, so that the framework is warm in each of them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
import traceback

import numpy as np

from benchmarks.machine import peak_memory
from benchmarks.peers import make_peer
from scratchnet.interop.equivalents import NoEquivalent


class Worker:
    """The commands: one method each, with the rest of the line as its arguments."""

    def __init__(self, name: str) -> None:
        self.peer = make_peer(name)

    def versions(self):
        return self.peer.versions()

    def build(self, model, weights, dropout):
        with np.load(weights) as arrays:
            self.peer.build(model, dict(arrays), dropout)

    def gradients(self, batch, out):
        with np.load(batch) as arrays:
            logits, grads = self.peer.gradients(arrays["x"], arrays["labels"])
        np.savez(out, **{"logits": logits} | grads)

    def prepare(self, work, batch):
        """Make what will be timed and run it once; returns the seconds of that, most of which is compilation."""
        with np.load(batch) as arrays:
            x, labels = arrays["x"], arrays["labels"]
        return self.first_run(
            lambda: self.peer.training_step(x, labels) if work == "training" else self.peer.inference(x)
        )

    def prepare_layer(self, index, direction, batch):
        """The same for one layer of the network that was built."""
        with np.load(batch) as arrays:
            x = arrays["x"]
        return self.first_run(lambda: self.peer.layer(index, direction, x))

    def prepare_explicit_convolution(self, index, direction, batch):
        """The same for a convolution by im2col."""
        with np.load(batch) as arrays:
            x = arrays["x"]
        return self.first_run(lambda: self.peer.explicit_convolution(index, direction, x))

    def prepare_convolution(self, N, size, C, F):
        """The same for a 5 x 5 convolution of N images, size x size."""
        rng = np.random.default_rng(0)
        shapes = (N, size, size, C), (5, 5, C, F), (N, size, size, F)
        arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        return self.first_run(lambda: self.peer.convolution(*arrays))

    def first_run(self, make):
        """Make a run, do it once, and keep it for `time`; returns the seconds."""
        start = time.perf_counter()
        self.run = make()
        self.run()
        return time.perf_counter() - start

    def time(self, seconds):
        """The times of as many runs as fit into `seconds`, but at least 3, after one that is not counted."""
        self.run()
        times = []
        while sum(times) < seconds or len(times) < 3:
            start = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - start)
        return times

    def memory(self):
        """The process's largest resident size so far, in MB."""
        return peak_memory()


def main() -> None:
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # whatever a framework prints must not look like an answer
        for module in sys.argv[2:]:
            importlib.import_module(module)
        worker: Worker | None = None
        for line in sys.stdin:
            request = json.loads(line)
            try:
                if worker is None:
                    worker = Worker(sys.argv[1])
                answer = {"result": getattr(worker, request.pop("do"))(**request)}
            except ImportError as error:
                answer = {"missing": str(error)}
            except NoEquivalent as error:
                answer = {"no equivalent": str(error)}
            except Exception:
                answer = {"error": traceback.format_exc()}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
