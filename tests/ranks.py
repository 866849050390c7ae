"""What `test_mpi.py` has several ranks do: `mpiexec -n N python tests/ranks.py FUNCTION FOLDER`, or without mpiexec."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np

import scratchnet as sn
from scratchnet.parallel import together
from scratchnet.parallel.team import whole_team
from scratchnet.runs.identity import fingerprint

SHARDS = 8
ENGINES = ("numpy", "numba")


def with_batch_norm():
    return sn.models.separable_cnn(seed=1, dense_units=32, batch_norm=True)


NETWORKS = {
    "four_conv_cnn": lambda: sn.models.four_conv_cnn(seed=1),
    "standard_cnn": lambda: sn.models.standard_cnn(seed=1, dense_units=64),
    "separable_cnn": lambda: sn.models.separable_cnn(seed=1, dense_units=32),
    "separable_cnn with batch_norm": with_batch_norm,
}


class Own(sn.SGD):
    """An optimiser of the user's own, whose step might depend on the whole gradient: it is not divided."""


OPTIMIZERS = {
    "sgd": lambda net: sn.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adam": lambda net: sn.Adam(net.parameters(), lr=1e-3),
    "sgd of some weights": lambda net: sn.SGD(net.parameters()[2:], lr=0.02, momentum=0.9),
    "one's own": lambda net: Own(net.parameters(), lr=0.02, momentum=0.9),
}


def brighter(images, rng):
    """An augmentation of the user's own, which draws for a whole batch if it gets one."""
    return images * rng.uniform(0.5, 1, (len(images), 1, 1, 1)).astype(np.float32)


# 27 images in batches of 12: the second epoch's last batch has 3, fewer than there are shards.
CASES = {
    f"{network}, {optimizer}, {engine}": {"network": network, "optimizer": optimizer, "engine": engine}
    for (network, optimizer), engine in product(
        [*zip(NETWORKS, ["sgd", "adam", "sgd", "adam"], strict=True), ("standard_cnn", "sgd")], ENGINES
    )
}
CASES["an average, a schedule, another augmentation"] = {
    "network": "separable_cnn with batch_norm", "optimizer": "sgd", "engine": "numba", "average": True,
    "schedule": sn.cosine(0.02, 5), "augment": brighter,
}  # fmt: skip
for engine in ENGINES:
    CASES[f"synchronised, {engine}"] = {
        "network": "separable_cnn with batch_norm", "optimizer": "sgd", "engine": engine, "synchronised": True,
    }  # fmt: skip
for name in ("sgd of some weights", "one's own"):
    CASES[name] = {"network": "separable_cnn with batch_norm", "optimizer": name, "engine": "numpy"}
CASES["float64"] = {"network": "separable_cnn", "optimizer": "adam", "engine": "numpy", "dtype": np.float64}


def made(network, optimizer, engine, average=False, dtype=np.float32, **options):
    """The arguments of `fit` for a case, and its network."""
    train, test = sn.data.load("sample")
    train = sn.Dataset(train.images[:27].astype(dtype), train.labels[:27], "digits")
    net = NETWORKS[network]().astype(dtype)
    arguments = {
        "net": net, "train": train, "test": test[:7], "optimizer": OPTIMIZERS[optimizer](net), "steps": 5,
        "batch_size": 12, "seed": 3, "augment": sn.data.RandomAffine(15, 2), "progress": False, "shards": SHARDS,
        "average": sn.WeightAverage(net, 0.9) if average else None,
    }  # fmt: skip
    return net, arguments | options


def ends_with(net, optimizer, history):
    """All that a run leaves, in short."""
    arrays = {p.name: p.value for p in net.parameters()}
    arrays |= {name: held for name, held in net.state().items() if isinstance(held, np.ndarray)}
    for p, state in zip(optimizer.parameters, optimizer.state, strict=True):
        arrays |= {f"{p.name} {name}": array for name, array in state.items()}
    return {
        **{name: fingerprint(array) for name, array in arrays.items()},
        "streams": repr([g.bit_generator.state for g in net.state().values() if not isinstance(g, np.ndarray)]),
        "losses": [step["loss"] for step in history.steps],
        "accuracies": [step["accuracy"] for step in history.steps],
        "test": [[epoch["test_loss"], epoch["test_accuracy"]] for epoch in history.epochs],
    }


def run(case, **options):
    """What a case ends with."""
    case = dict(case)
    with sn.use_engine(case["engine"]):
        net, arguments = made(**case | options)
        history = sn.fit(**arguments)
    return ends_with(net, arguments["optimizer"], history)


# ---------------------------------------------------------------- what goes wrong on one rank


def failing_augment(rank, most):
    """An augmentation that raises an error on one rank, when it has been called `most` times."""
    calls = []

    def augment(images, rng):
        calls.append(1)
        if whole_team().rank == rank and len(calls) > most:
            raise MemoryError("no room for another image")
        return images

    return augment


def other_data(data):
    return sn.Dataset(1 - data.images, data.labels, data.name)


SMALL = {"network": "separable_cnn", "optimizer": "sgd", "engine": "numpy"}


def fault(name, rank, folder):
    """Run something that goes wrong, and return what this rank raises; the last rank is the odd one."""
    last = rank == whole_team().size - 1
    net, arguments = made(**SMALL)
    if name == "an error in a step":
        # of 12, 12, 3 and 12 images, rank 1 of 3 has 4, 4, 1 and 4; and once it is called to describe it
        arguments |= {"augment": failing_augment(1, 12), "folder": folder / "stopped", "checkpoint_every": 1}
    elif name == "other arguments":
        arguments["steps"] += last
    elif name == "other data":
        arguments["train"] = other_data(arguments["train"]) if last else arguments["train"]
    elif name == "other test data":
        arguments["test"] = other_data(arguments["test"]) if last else arguments["test"]
    elif name == "other weights":
        net.parameters()[0].value = net.parameters()[0].value + np.float32(last)
    elif name == "another schedule":
        arguments["schedule"] = sn.cosine(0.02, 5 + last)
    elif name == "another learning rate":
        arguments["optimizer"].lr *= 1 + last
    elif name == "another version":
        sn.parallel.train.__version__ = "0.0.1" if last else sn.__version__
    elif name == "a mistake that all make":
        arguments["batch_size"] = 0
    elif name == "a mistake of one":
        arguments["batch_size"] = 0 if last else arguments["batch_size"]
    elif name == "a folder that holds a run":
        (folder / "held").mkdir(exist_ok=True)
        (folder / "held" / "checkpoint.safetensors").touch()
        arguments["folder"] = folder / "held"
    elif name == "a full disk":
        arguments["folder"] = folder / "full"
        if rank == 0:
            sn.runs.metrics.MetricsFile.append = full
    elif name == "divergence":
        arguments["optimizer"].lr = 1e38
    elif name == "a slow rank":
        arguments["schedule"] = lambda step: time.sleep(0.3 * (last and step == 2)) or 0.01
    with sn.use_engine("numba" if name == "another engine" and last else "numpy"), np.errstate(all="ignore"):
        sn.fit(**arguments)


def full(self, record):
    raise OSError(28, "No space left on device")


FAULTS = [
    "an error in a step", "other arguments", "other data", "other test data", "other weights", "another schedule",
    "another learning rate", "another version", "another engine", "a mistake that all make", "a mistake of one",
    "a folder that holds a run", "divergence", "a slow rank", "a full disk",
]  # fmt: skip


def faults(folder):
    """Each fault after the other: what this rank raises, and how it is said."""
    folder, rank = Path(folder), whole_team().rank
    raised = {}
    for name in FAULTS:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                fault(name, rank, folder)
            raised[name] = None
        except BaseException as error:
            raised[name] = [type(error).__name__, str(error), said.getvalue()]
        sn.parallel.train.__version__ = sn.__version__
    (folder / f"{rank}.json").write_text(json.dumps(raised))


def until_stopped(folder, steps, resume=""):
    """A run with a folder, which is to be resumed by another number of ranks; its end is written to FOLDER/end.json."""
    net, arguments = made(**SMALL, average=True)
    arguments |= {"steps": int(steps), "folder": Path(folder) / "run", "resume": bool(resume), "checkpoint_every": 1}
    with sn.use_engine("numpy"):
        history = sn.fit(**arguments)
    if whole_team().rank == 0:
        (Path(folder) / "end.json").write_text(json.dumps(ends_with(net, arguments["optimizer"], history)))


def uncaught(folder):
    """One rank has an error that nobody catches, outside `fit`, while the others wait for it."""
    if whole_team().rank == 1:
        raise LookupError("nobody catches this")
    until_stopped(folder, 3)


def between_messages(folder):
    """One rank has an error where the others wait for its numbers."""
    together.PATIENCE = 1.0
    if whole_team().rank == 1:
        Ranks = type(whole_team())
        Ranks.exchange = lambda *arguments: 1 / 0
    until_stopped(folder, 3)


def cases(folder, *names):
    """Run the named cases, or all; what they end with is written to FOLDER/RANK.json."""
    results = {name: run(CASES[name]) for name in names or CASES}
    (Path(folder) / f"{whole_team().rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
