"""Make the runs of the study that are missing, then write the report; an interruption loses the runs under way."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from benchmarks.pool import ROOT, environment
from benchmarks.reproduction import report
from benchmarks.reproduction.jobs import PARTS, RESULTS, Job


def main(arguments: list[str] | None = None) -> int:
    """Run the study; returns the exit code."""
    options = parser().parse_args(arguments)
    planned = [job for part in options.parts for job in PARTS[part](options.seeds)]
    left = [job for job in planned if not (options.output / job.path).exists()]
    print(f"{len(planned)} runs, {len(planned) - len(left)} of them done before; results go to {options.output}")
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            running = {pool.submit(run_job, job, options.output, options.data_dir, threads): job for job in left}
            for future in tqdm(as_completed(running), "runs", len(left), unit=" run"):
                message = future.result()
                failed += bool(message)
                if message:
                    tqdm.write(f"{running[future].path}: {message}", file=sys.stderr)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("\ninterrupted; the same command goes on with what is missing", file=sys.stderr)
            return 130
    if options.output == RESULTS:
        report.write()
    return 1 if failed else 0


def run_job(job: Job, output: Path, data_dir: str | None, threads: int) -> str | None:
    """Run a job in a process of its own; returns what went wrong, if anything did."""
    arguments = [json.dumps(asdict(job)), data_dir or "", str(output / job.path)]
    command = [sys.executable, "-m", "benchmarks.reproduction.run_job", *arguments]
    done = subprocess.run(command, env=environment(threads), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.reproduction", description=__doc__)
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(default: all)")
    made.add_argument("--seeds", type=int, default=5, help="runs of each network (default: 5)")
    made.add_argument("--jobs", type=int, default=1, help="runs at a time, on an equal share of the cores (default: 1)")
    made.add_argument("--data-dir", help="the folder with the four MNIST files; otherwise as for `scratchnet train`")
    made.add_argument("--output", type=Path, default=RESULTS, help="(default: benchmarks/reproduction/results)")
    return made


if __name__ == "__main__":
    sys.exit(main())
