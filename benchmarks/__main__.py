"""scratchnet beside PyTorch, TensorFlow, JAX and plain NumPy, on this machine.

First all of them compute logits and gradients from the same weights; nothing is timed before they agree. Each runs in
its own process on the same cores, and is timed once in every round. Results go to a folder: JSON, a table in Markdown,
and figures. Close all other programs while it runs: they would slow it down.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import scratchnet as sn
from benchmarks import measure, report
from benchmarks.machine import cores, on_first_cores
from benchmarks.peers import OURS, PEERS
from benchmarks.report import main_model
from scratchnet.console import never_refuse
from scratchnet.info import describe_machine
from scratchnet.reading import user_path
from scratchnet.runs.options import output_folder
from scratchnet.writing import written_atomically

PARTS = ("training", "inference", "layers", "dense", "sizes", "threads", "start-up")
SLOW_TO_COMPILE = ("PyTorch, torch.compile", "TensorFlow, XLA", "JAX, jit")  # for minutes; left out of --quick
PUBLISHED = Path(__file__).parent / "results"  # the pages that this project shows
OUTPUT = Path("build/benchmarks")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    headline, _, rest = (__doc__ or "").partition("\n")  # python -OO leaves docstrings out
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"{headline}\n{rest}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="only a few parts, peers and rounds: takes 3 minutes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these (default: all)")
    parser.add_argument(
        "--models", nargs="+", metavar="MODEL", help=f"(default: all: {', '.join(sn.models.ARCHITECTURES)})"
    )
    parser.add_argument(
        "--import", nargs="+", dest="modules", metavar="MODULE", default=[],
        help="import these first: they register networks from outside the package",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), help="what to compare with (default: all that are installed)"
    )
    parser.add_argument("--threads", type=int, default=len(cores()), help="(default: one for each core)")
    parser.add_argument("--rounds", type=int, help="(default: 7, with --quick 3)")
    parser.add_argument("--seconds", type=float, help="for each peer in each round (default: 0.6, with --quick 0.2)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--output", type=user_path, default=OUTPUT, help="folder for the results (default: %(default)s)")
    place.add_argument(
        "--publish", action="store_const", const=PUBLISHED, dest="output",
        help="replace the results that this project shows, in benchmarks/results",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.output == PUBLISHED and (options.quick or options.parts or options.models or options.peers):
        parser.error("--publish: expected the whole benchmark, got a part of it; leave --publish out")
    try:
        output_folder(options.output)
    except OSError as error:
        parser.error(str(error))
    if not 1 <= options.threads <= len(cores()):
        parser.error(f"--threads: expected 1 to {len(cores())}, the cores of this machine, got {options.threads}")
    for module in options.modules:
        importlib.import_module(module)
    known = list(sn.models.ARCHITECTURES)
    options.models = options.models or known
    if unknown := [model for model in options.models if model not in known]:
        parser.error(f"--models: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.seconds = options.seconds or (0.2 if options.quick else 0.6)
    options.parts = options.parts or (("training", "inference") if options.quick else PARTS)
    options.peers = options.peers or [name for name in PEERS if not (options.quick and name in SLOW_TO_COMPILE)]
    options.peers = [OURS, *(name for name in options.peers if name != OURS)]
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts that were asked for; returns the content of the JSON file."""
    session = measure.Session(options.threads, options.rounds, options.seconds, options.modules)
    if left_out := [name for name in PEERS if name not in options.peers]:
        session.note("not asked for: " + "; ".join(left_out))
    results: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {k: v for k, v in describe_machine().items() if k in ("processor", "vector width", "BLAS")},
        "Python": platform.python_version(),
        "threads": options.threads,
        "rounds": options.rounds,
        "limits": [measure.limits(session)],
    }
    try:
        with measure.running(session.start(options.peers)) as workers:
            results["versions"] = {k: v for worker in workers.values() for k, v in worker.versions.items()}
            _networks(options, session, workers, results)
        if "dense" in options.parts:
            results["dense"] = _dense(options, session)
        if "threads" in options.parts and options.threads > 1:
            results["threads scaling"] = _fewer_threads(options, session)
        if "start-up" in options.parts:
            results["start-up"] = measure.start_ups(session, list(workers), main_model(options.models), repeats=3)
        results["limits"].append(measure.limits(session))
    finally:
        session.close()
    results["notes"] = session.notes
    results["seconds"] = time.perf_counter() - session.started
    return results


def _networks(options: argparse.Namespace, session: measure.Session, workers: dict, results: dict[str, Any]) -> None:
    results["verified"], able = {}, {}
    for model in options.models:
        session.say(f"verifying: {model}")
        results["verified"][model] = measure.verify(session, workers, model)
        able[model] = {name: workers[name] for name in results["verified"][model]}
    plan = {
        "training": (128,) if options.quick else (32, 128, 512),
        "inference": (1, 128) if options.quick else (1, 128, 1024),
    }
    results["timings"] = [
        measure.timings(session, able[model], model, work, batch)
        for work in plan if work in options.parts for model in options.models for batch in plan[work]
    ]  # fmt: skip
    alone = (OURS, "PyTorch, NCHW", "PyTorch, channels_last", measure.BLAS)
    if "layers" in options.parts:
        results["layers"] = [
            row
            for model in options.models
            for row in measure.layers(session, {n: w for n, w in able[model].items() if n in alone}, model, 128)
        ]
    if "sizes" in options.parts:
        some = {n: w for n, w in workers.items() if n in (*alone[:3], "TensorFlow, tf.function")}
        results["sizes"] = measure.image_sizes(session, some, (28, 56, 112, 224))


def _fewer_threads(options: argparse.Namespace, session: measure.Session) -> list[dict[str, Any]]:
    names = [n for n in options.peers if n in (OURS, "PyTorch, channels_last", "TensorFlow, tf.function")]
    results = []
    for threads in sorted({1, *(t for t in (2, 4, 8, 16, 32) if t < options.threads)}):
        with measure.running(session.start(names, threads)) as workers:
            results += [
                {"threads": threads} | measure.timings(session, workers, model, "training", 128)
                for model in options.models
            ]
    return results


def _dense(options: argparse.Namespace, session: measure.Session) -> list[dict[str, Any]]:
    names = [n for n in options.peers if n in (OURS, "PyTorch, NCHW", measure.BLAS)]
    results = []
    for threads in sorted({1, options.threads}):
        with measure.running(session.start(names, threads)) as workers:
            rows = measure.dense(session, workers, main_model(options.models), (1, 32, 128, 512))
            results += [{"threads": threads} | row for row in rows]
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measure, write the results, print the table."""
    never_refuse()
    options = parse(arguments)
    with on_first_cores(options.threads):
        results = run(options)
    options.output.mkdir(parents=True, exist_ok=True)
    with written_atomically(options.output / "results.json") as partial:
        partial.write_text(json.dumps(results, indent=1), encoding="utf-8")
    report.write(results, options.output)
    print(report.markdown(results))
    print(f"written to {options.output}: results.json, README.md and figures")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as after an error, all is put away
    main()
