"""Make the missing runs of the study, then write the report. An interruption loses only the runs under way."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

import scratchnet as sn
from benchmarks.machine import cores
from benchmarks.pool import ROOT, environment
from benchmarks.reproduction import report
from benchmarks.reproduction.jobs import OUTPUT, PARTS, RESULTS, Job, result_of
from scratchnet.console import never_refuse
from scratchnet.runs.recipes import current_name


def main(arguments: list[str] | None = None) -> int:
    """Run the study; returns the exit code."""
    never_refuse()
    options = parser().parse_args(arguments)
    planned = [job for part in options.parts for job in PARTS[part](options.seeds)]
    try:
        sn.data.load("mnist", options.data_dir)  # once, before the processes: it may be a download
        left = [job for job in planned if result_of(job, options.output) is None]
    except (OSError, ValueError) as error:
        print(f"benchmarks.reproduction: {error}", file=sys.stderr)
        return 1
    print(f"{len(planned)} runs, {len(planned) - len(left)} of them done before; results go to {options.output}")
    timed = [job for job in left if job.test_every]  # these must run alone on the machine
    at_once = [(options.jobs, [job for job in left if not job.test_every]), (1, timed)]
    try:
        failed = sum(run_all(jobs, count, options.output, options.data_dir) for count, jobs in at_once)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with what is missing", file=sys.stderr)
        return 130
    if options.output == RESULTS:
        report.write()
    return 1 if failed else 0


def run_all(jobs: list[Job], at_once: int, output: Path, data_dir: Path | None) -> int:
    """Run jobs, `at_once` at a time, each on an equal share of the cores; returns how many failed.

    A message says why each one failed. If this ends early, as after Ctrl-C, the runs under way end too, and no others
    start.
    """
    share = max(1, len(cores()) // at_once)
    failed = 0
    with Processes() as processes, ThreadPoolExecutor(at_once) as pool:
        try:
            running = {pool.submit(run_job, job, output, data_dir, share, processes): job for job in jobs}
            for future in tqdm(as_completed(running), "runs", len(jobs), unit=" run", disable=not jobs):
                if message := future.result():
                    failed += 1
                    tqdm.write(f"{running[future].path}: {message}", file=sys.stderr)
        except BaseException:
            processes.end()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


class Processes:
    """The child processes under way; SIGTERM ends them as Ctrl-C does."""

    def __init__(self) -> None:
        self.alive: set[subprocess.Popen] = set()
        self.ended = False

    def __enter__(self) -> Processes:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.before)

    def run(self, command: list[str], **options: Any) -> tuple[int, str]:
        """Run a command to its end; returns its exit code and what it wrote to stderr."""
        if self.ended:
            return 130, "not started"
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
        self.alive.add(process)
        try:
            _, errors = process.communicate()
        finally:
            self.alive.discard(process)
        return process.returncode, errors

    def end(self) -> None:
        """End all processes that run, and start no more."""
        self.ended = True
        for process in list(self.alive):
            process.terminate()


def run_job(job: Job, output: Path, data_dir: Path | None, threads: int, processes: Processes) -> str | None:
    """Run a job in its own process; returns its error message, or None if it succeeded."""
    arguments = [json.dumps(asdict(job)), str(data_dir or ""), str(output / job.path)]
    command = [sys.executable, "-m", "benchmarks.reproduction.run_job", *arguments]
    code, errors = processes.run(command, env=environment(threads), cwd=ROOT)
    return (errors.strip().splitlines() or ["no message"])[-1] if code else None


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.reproduction", description=__doc__)
    made.add_argument(
        "--parts", nargs="+", type=current_name, choices=PARTS, default=list(PARTS), help="(default: all)"
    )
    made.add_argument("--seeds", type=int, default=5, help="runs of each network; some parts make fewer (default: 5)")
    made.add_argument("--jobs", type=int, default=1, help="runs at a time, on an equal share of the cores (default: 1)")
    made.add_argument(
        "--data-dir",
        type=absolute,
        help="the folder with the four MNIST files; otherwise SCRATCHNET_DATA, the cache folder, or a download",
    )
    place = made.add_mutually_exclusive_group()
    place.add_argument(
        "--output", type=absolute, default=OUTPUT, help=f"folder with the runs (default: {OUTPUT.relative_to(ROOT)})"
    )
    place.add_argument(
        "--publish", action="store_const", const=RESULTS, dest="output",
        help="add what is missing to the runs that this project shows, and make their tables and figures again",
    )  # fmt: skip
    return made


def absolute(path: str) -> Path:
    """The absolute path: child processes run in another folder."""
    return Path(path).resolve()


if __name__ == "__main__":
    sys.exit(main())
