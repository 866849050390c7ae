"""From the start of Python to the first finished training step, and the memory that training takes.

Run as `python -m benchmarks.first_step PEER MODEL WEIGHTS BATCH [MODULE ...]`: prints a line after the first step, and
after ten more the largest resident size in MB.
"""

from __future__ import annotations

import importlib
import resource
import sys


def main(name: str, model: str, weights: str, batch: str, *modules: str) -> None:
    from benchmarks.peers import make_peer

    for module in modules:  # which register networks from outside the package
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
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
