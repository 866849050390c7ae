"""One run in its own process: python -m benchmarks.reproduction.run_job JOB DATA_DIR PATH.

In one process, the threads of PyTorch and of the compiled engine would slow each other down.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.reproduction.frameworks import run_stepwise
from scratchnet.study.experiments import as_experiment, keep, train_and_test


def main(job: str, data_dir: str, path: str) -> None:
    """Run a job, given as JSON, and save the result."""
    parts = json.loads(job)
    experiment = as_experiment(parts["experiment"])
    if parts["framework"] == "scratchnet" and not parts["test_every"]:
        result = train_and_test(experiment, data_dir or None, progress=False)
    else:
        result = run_stepwise(experiment, parts["framework"], data_dir or None, parts["test_every"])
    result["made"]["command"] = f"python -m benchmarks.reproduction --parts {parts['part']}"
    keep({"framework": parts["framework"]} | result, Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
