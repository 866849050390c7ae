"""Ranks times threads: how fast a step is on several processes of this machine, beside PyTorch DDP with gloo.

    python -m benchmarks.scaling --ranks 1 2 4 8 16        # strong scaling: the batch is shared
    python -m benchmarks.scaling --ranks 1 2 4 8 16 --weak # weak scaling: each rank has a whole batch

Two batch sizes tell what a shard costs apart from its images, and two numbers of shards what a rank does once for all
of them. `scaling_page.py` writes the tables of the documentation from the JSON.

Every program gets the same cores: as many as ranks times threads. One after the other is timed, in interleaved rounds,
in processes of its own, and the median step is reported. Before anything is timed, all numbers of ranks have ended a
short run with the same bits. Results go to a folder as JSON and as a table in Markdown. Close all other
programs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import scratchnet as sn
from benchmarks.machine import cores, on_first_cores
from scratchnet.console import never_refuse
from scratchnet.info import describe_machine
from scratchnet.progress import progress_bar
from scratchnet.tables import table
from scratchnet.writing import write_text_atomically

OURS, TORCH = "scratchnet", "PyTorch DDP, gloo"
OUTPUT = Path("build/scaling")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = list(sn.models.ARCHITECTURES)
    parser.add_argument("--models", nargs="+", choices=known, default=known)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--threads", type=int, help="of each rank (default: the cores divided by the ranks)")
    parser.add_argument(
        "--shards", nargs="+", type=int, metavar="COUNT",
        help="numbers of shards, each for as many ranks at most (default: as many as the most ranks, and at least 8; "
        "and besides 1, but not with --weak)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", nargs="+", type=int, default=[128, 1024],
        help="of all ranks; with --weak of one (default: 128 1024, since the model needs two)",
    )  # fmt: skip
    parser.add_argument("--weak", action="store_true", help="let the batch and the shards grow with the ranks")
    parser.add_argument("--steps", type=int, default=30, help="of each run; the median counts (default: 30)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program (default: 3)")
    parser.add_argument("--peers", nargs="*", choices=[TORCH], default=[TORCH], help="(default: PyTorch)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.shards = options.shards or [max(8, *options.ranks), *([] if options.weak else [1])]
    most, smallest = max(options.shards), min(options.batch_size)
    if max(options.ranks) > most or most > smallest:
        parser.error(f"expected ranks <= shards <= batch size, got {max(options.ranks)}, {most}, {smallest}")
    if mpiexec() is None:
        parser.error("mpiexec is missing: pip install 'scratchnet[mpi]'")
    return options


def mpiexec() -> str | None:
    """The command that starts ranks: the one beside this Python, which belongs to its mpi4py, or that on the path."""
    return shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")


# ---------------------------------------------------------------- one run


def work(options: argparse.Namespace, model: str, batch_size: int, ranks: int, shards: int) -> dict[str, Any]:
    """What a worker is asked for, as `scaling_worker.py` reads it; and for which batch size and number of shards."""
    times = ranks if options.weak else 1
    threads = options.threads or max(1, len(cores()) // ranks)
    return {
        "model": model, "ranks": ranks, "threads": threads, "steps": options.steps,
        "batch_size": batch_size * times, "shards": shards * times,
        "given": (batch_size, shards),
    }  # fmt: skip


def run(program: str, asked: dict[str, Any]) -> dict[str, float]:
    """One run of a program: what its rank 0 reports. A RuntimeError with its output if it fails."""
    words = [sys.executable, "-m", "benchmarks.scaling_worker", program, json.dumps(asked)]
    environment = os.environ | {"NUMBA_NUM_THREADS": str(asked["threads"]), "OMP_NUM_THREADS": str(asked["threads"])}
    with on_first_cores(min(len(cores()), asked["ranks"] * asked["threads"])):
        if program == OURS:
            processes = [start([str(mpiexec()), "-n", str(asked["ranks"]), *words], environment)]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(asked["ranks"])}
            processes = [
                start(words, environment | meeting | {"RANK": str(rank)}) for rank in range(asked["ranks"])
            ]  # fmt: skip
        outputs = [process.communicate() for process in processes]
    for process, (out, err) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise RuntimeError(f"{program} on {asked['ranks']} ranks ended with {process.returncode}:\n{out}{err}")
    text = outputs[0][0]  # an mpiexec may put escape sequences around it
    reported: dict[str, float] = json.loads(text[text.rindex('{"step"') : text.rindex("}") + 1])
    return reported


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process, and keep what it prints."""
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ---------------------------------------------------------------- all runs


def verify(asked: list[dict[str, Any]]) -> None:
    """ValueError unless a short run with so many shards ends with the same bits on all numbers of ranks."""
    found = {each["ranks"]: run(OURS, each | {"steps": 3})["bits"] for each in asked}
    if len(set(found.values())) > 1:
        raise ValueError(f"{asked[0]['model']}: the ranks end with different bits, {found}. Nothing is timed")


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A record for each network, batch size, number of shards and of ranks, and program: what each round reported."""
    records = []
    for model, batch_size in product(options.models, options.batch_size):
        found = []
        for shards in options.shards:
            asked = [work(options, model, batch_size, ranks, shards) for ranks in options.ranks if ranks <= shards]
            if not options.weak:  # each number of ranks has other batches then, and so another run
                verify(asked)
            programs = (OURS, *(options.peers if shards == max(options.shards) else ()))  # the peers have no shards
            found += [each | {"program": program, "rounds": []} for each in asked for program in programs]
        turns = [record for _ in range(options.rounds) for record in found]
        for record in progress_bar(turns, f"{model}, {batch_size}", True):
            asked = {name: value for name, value in record.items() if name not in ("program", "rounds")}
            record["rounds"].append(run(record["program"], asked))
        records += found
    return records


def adding_seconds(size: int = 1 << 24) -> float:
    """Seconds to add a byte of a float32 vector to another on this machine: the median of some rounds."""
    one, other = (np.ones(size // 4, np.float32) for _ in range(2))
    rounds = []
    for _ in range(9):
        began = time.perf_counter()
        one += other
        rounds.append((time.perf_counter() - began) / size)
    return statistics.median(rounds)


def seconds(record: dict[str, Any], part: str = "step") -> float:
    """The median of a record's rounds."""
    return statistics.median(each[part] for each in record["rounds"])


def markdown(records: list[dict[str, Any]]) -> str:
    """The table: ms a step, images a second, and the part of the time that is not computing."""
    rows, first_of = [], {}
    for record in records:
        alone = first_of.setdefault((record["model"], record["program"], *record["given"]), record)
        rate, first = (each["batch_size"] / seconds(each) for each in (record, alone))
        between = f"{seconds(record, 'between') / seconds(record):.0%}" if record["program"] == OURS else ""
        rows.append(
            [
                record["model"], f"{record['batch_size']}", record["program"],
                f"{record['shards']}" if record["program"] == OURS else "",
                f"{record['ranks']} x {record['threads']}", f"{1000 * seconds(record):.1f}", f"{rate:,.0f}",
                f"{rate / first:.2f}", between,
            ]
        )  # fmt: skip
    header = ["network", "images", "program", "shards", "ranks x threads", "ms a step", "images/s", "against the first"]
    return table([*header, "between ranks"], rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, write the results."""
    never_refuse()
    options = parse(arguments)
    results = {
        "command": shlex.join(["python", "-m", "benchmarks.scaling", *(arguments or sys.argv[1:])]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {k: v for k, v in describe_machine().items() if k in ("scratchnet", "processor", "vector width")},
        "adding": adding_seconds(),
        "records": measure(options),
    }
    print(markdown(results["records"]))
    name = "weak" if options.weak else "strong"
    write_text_atomically(options.output / f"{name}.json", json.dumps(results, indent=1))
    write_text_atomically(options.output / f"{name}.md", markdown(results["records"]) + "\n")
    print(f"written to {options.output}: {name}.json and {name}.md")


if __name__ == "__main__":
    main()
