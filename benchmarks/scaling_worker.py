"""One rank of a run that `scaling.py` times: `python -m benchmarks.scaling_worker PROGRAM WORK`. Rank 0 prints JSON."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import time
from typing import Any

import numpy as np

import scratchnet as sn
from benchmarks.peers import LEARNING_RATE
from benchmarks.scaling import OURS
from scratchnet.parallel.journey import Traffic
from scratchnet.parallel.team import whole_team
from scratchnet.parallel.train import ShardedRun


class Stopwatch:
    """The seconds spent in some methods, for each step: time that one inside another takes counts once."""

    def __init__(self, *methods: tuple[Any, str]) -> None:
        self.seconds, self.inside = 0.0, False
        for owner, name in methods:
            setattr(owner, name, self.timed(getattr(owner, name)))

    def timed(self, method: Any) -> Any:
        """The method, with the seconds of its calls added up."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self.inside:
                return method(*arguments, **options)
            self.inside, began = True, time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self.inside = False
                self.seconds += time.perf_counter() - began

        return call


def ours(asked: dict[str, Any]) -> dict[str, Any]:
    """The median step of `fit`; and of each step but the first third, in which ranks still wait for each other's code,
    what rank 0 spent with sums, messages and waiting (the median), and with its shards (each); in seconds."""
    train, _ = sn.data.load("sample")
    net = sn.models.ARCHITECTURES[asked["model"]].make(seed=0)
    optimizer = sn.SGD(net.parameters(), lr=LEARNING_RATE)
    team = whole_team()
    meeting = Stopwatch((team, "gather"), (team, "meet"))
    travelling = Stopwatch((Traffic, "set_out"), (Traffic, "finish"))
    passes = Stopwatch((ShardedRun, "forward"), (ShardedRun, "backward"))
    marks = [(0.0, 0.0)]
    backward = ShardedRun.backward

    def marked(*arguments: Any) -> None:
        backward(*arguments)
        marks.append((meeting.seconds + travelling.seconds, passes.seconds - travelling.seconds))

    ShardedRun.backward = marked  # type: ignore[method-assign]
    history = sn.fit(
        net, train, optimizer=optimizer, steps=asked["steps"], batch_size=asked["batch_size"], shards=asked["shards"],
        progress=False,
    )  # fmt: skip
    between, computing = np.diff(marks, axis=0)[asked["steps"] // 3 :].T
    bits = hashlib.sha256(b"".join(p.value.tobytes() for p in net.parameters())).hexdigest()
    return {
        "step": 1 / history.steps_per_second(),
        "between": float(np.median(between)),
        "bits": bits,
        "bytes": sum(p.value.nbytes for p in net.parameters()),
        "computing": computing.tolist(),
    }


def torchs(asked: dict[str, Any]) -> dict[str, Any]:
    """The median step of PyTorch's DistributedDataParallel, in the faster of its two layouts."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(asked["threads"])
    torch.distributed.init_process_group("gloo")
    part = asked["batch_size"] // asked["ranks"]
    train, _ = sn.data.load("sample")
    images = np.resize(train.images, (part, *train.images.shape[1:]))
    labels = torch.from_numpy(np.resize(train.labels, part))
    medians = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net = sn.interop.to_torch(sn.models.ARCHITECTURES[asked["model"]].make(seed=0)).to(memory_format=layout).train()
        x = sn.interop.images_to_torch(images).contiguous(memory_format=layout)
        shared = DistributedDataParallel(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, fused=True)
        times = []
        for _ in range(asked["steps"]):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(shared(x), labels).backward()
            optimizer.step()
            times.append(time.perf_counter() - began)
        medians.append(statistics.median_low(times))
    torch.distributed.destroy_process_group()
    return {"step": min(medians)}


def main(program: str, asked: str) -> None:
    """Run, and let rank 0 print what was measured."""
    result = (ours if program == OURS else torchs)(json.loads(asked))
    rank = whole_team().rank if program == OURS else int(os.environ["RANK"])
    if rank == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
