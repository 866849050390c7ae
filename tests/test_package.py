"""What is shipped: a wheel that works alone, and documents whose links and programs work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_project


@pytest.mark.slow
def test_a_wheel_alone_in_a_clean_environment_trains_on_the_sample(tmp_path):
    """The wheel is built from a copy, so that the project stays clean, and used elsewhere, without the project's files.

    The environment cannot be written to after that, as in a system's own Python.
    One kernel shows that the compiled engine is complete; all of them would have to be compiled again here.
    """
    source = tmp_path / "source"
    copy_project(source)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").iterdir()
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "clean")
    python = tmp_path / "clean" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", wheel)
    before = refuse_writing(tmp_path / "clean")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [tmp_path / "clean" / "bin" / "scratchnet", "train", "separable_cnn", "--steps", "5"]
    result = run(*command, "--engine", "numpy", cwd=elsewhere)
    assert "held-out digits of the sample" in result.stdout
    assert (elsewhere / "runs" / "separable_cnn" / "model.safetensors").exists()
    assert (elsewhere / "runs" / "separable_cnn" / "training_curves.png").exists()
    explore = [
        command[0],
        "explore",
        "runs/separable_cnn/model.safetensors",
        "--export",
        "page.html",
        "--engine",
        "numpy",
    ]
    run(*explore, cwd=elsewhere)
    assert "separable_cnn" in (elsewhere / "page.html").read_text(encoding="utf-8")
    relu = "import numpy as np, scratchnet as sn; sn.use_engine('numba'); print(sn.ReLU().forward(np.array([-1., 2.])))"
    assert run(python, "-c", relu, cwd=elsewhere).stdout == "[0. 2.]\n"
    licence = run(
        python, "-c", "from importlib.resources import files; print(files('scratchnet.data') / 'SAMPLE_LICENSE.txt')"
    )
    assert "Juan Cazala" in Path(licence.stdout.strip()).read_text(encoding="utf-8")
    assert refuse_writing(tmp_path / "clean") == before, "something was written beside the package"


def refuse_writing(folder):
    """Make a folder one that nobody but root can write to; returns all that is in it, but Python's own bytecode."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        if path.is_dir():
            path.chmod(0o555)
    return {path for path in paths if "__pycache__" not in path.parts}


def run(*command, cwd=None):
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE"))}
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


def test_every_local_link_of_the_documents_leads_somewhere():
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (ROOT / target).exists(), f"{document.name} points to {target}"


def test_the_program_in_the_readme_runs(tmp_path):
    """The first Python block of the README runs unchanged in an empty folder."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", readme, re.S).group(1)
    code_lines = [line for line in program.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code_lines) <= 12
    quick = program.replace("epochs=3", "steps=3")
    assert quick != program
    result = run(sys.executable, "-c", quick, cwd=tmp_path)
    assert "%" in result.stdout
