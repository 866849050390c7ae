"""The child process for measuring start-up: one training step right after Python starts, and the memory it takes.

Run as `python -m benchmarks.first_step PEER MODEL WEIGHTS BATCH [MODULE ...]`. It prints "first step" after the first
step, and the largest resident size in MB after ten more.
"""

from __future__ import annotations

import importlib
import sys


def main(name: str, model: str, weights: str, batch: str, *modules: str) -> None:
    from benchmarks.machine import peak_memory
    from benchmarks.peers import make_peer

    for module in modules:  # these register networks from outside the package
        importlib.import_module(module)

    peer = make_peer(name)
    import numpy as np

    with np.load(weights) as arrays:
        peer.build(model, dict(arrays), dropout=True)
    with np.load(batch) as arrays:
        step = peer.training_step(arrays["x"], arrays["labels"])
    step()
    print("first step", flush=True)
    for _ in range(10):
        step()
    print(peak_memory(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
