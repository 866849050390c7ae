"""Messages that name a command name one that works, in whatever way the process was started."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import scratchnet.program as program
from scratchnet.program import Started, command_line

COMMANDS = "train|evaluate|predict|reproduce|summary|explain|step|check|hint|info"
PYTHON = Path(sys.executable)
SCRIPT = PYTHON.with_name("scratchnet")

CALLS_MAIN = "import scratchnet.cli\nraise SystemExit(scratchnet.cli.main())\n"
USES_THE_LIBRARY = (
    "from scratchnet.exercises.checker import find_exercise, hint\nprint(hint(find_exercise('05'), 1))\nimport sys\n"
)


def environment(*path: Path) -> dict[str, str]:
    """The variables for a child process, with only these folders and the system's own on the path."""
    return os.environ | {"PATH": os.pathsep.join([*map(str, path), "/usr/bin", "/bin"]), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path):
    """A folder with a space in its name, an environment in it, and two scripts."""
    place = tmp_path / "my course"
    (place / ".venv").mkdir(parents=True)
    (place / ".venv" / "bin").symlink_to(PYTHON.parent)
    (place / "mine.py").write_text(CALLS_MAIN)
    (place / "uses.py").write_text(USES_THE_LIBRARY)
    return place


@pytest.mark.parametrize(
    ("started", "path", "shown"),
    [
        (".venv/bin/scratchnet hint 05", [], ".venv/bin/scratchnet hint 05 2"),
        ("'{folder}/.venv/bin/scratchnet' hint 05", [], ".venv/bin/scratchnet hint 05 2"),
        ("cd /usr; '{folder}/.venv/bin/scratchnet' hint 05", [], "'{folder}/.venv/bin/scratchnet' hint 05 2"),
        ("scratchnet hint 05", [PYTHON.parent], "scratchnet hint 05 2"),
        (".venv/bin/python -m scratchnet hint 05", [], ".venv/bin/python -m scratchnet hint 05 2"),
        ("python -m scratchnet hint 05", [PYTHON.parent], "python -m scratchnet hint 05 2"),
        ("python mine.py hint 05", [PYTHON.parent], "python mine.py hint 05 2"),
        ("python -m mine hint 05", [PYTHON.parent], "python -m mine hint 05 2"),
        ("python uses.py", [PYTHON.parent], "scratchnet hint 05 2"),
        (".venv/bin/python uses.py", [], ".venv/bin/scratchnet hint 05 2"),
        (".venv/bin/python - < uses.py", [], ".venv/bin/scratchnet hint 05 2"),
    ],
)
def test_a_hint_works_where_it_is_printed(started, path, shown, folder):
    def run(command):
        return subprocess.run(
            command, shell=True, cwd=folder, env=environment(*path), capture_output=True, text=True, check=True
        ).stdout

    printed = re.search(r"\(the next: (.*)\)", run(started.format(folder=folder)))[1]
    assert printed == shown.format(folder=folder)
    assert run(printed).startswith("hint 2 of 3")


def test_without_a_script_it_is_the_module(monkeypatch, tmp_path):
    monkeypatch.setattr(Started, "as_command", False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "orig_argv", ["my python"])
    assert command_line("train", tmp_path) == f"'my python' -m scratchnet train {tmp_path}"
    monkeypatch.setattr(sys, "orig_argv", [""])  # an interpreter inside another program
    assert command_line() == f"{tmp_path / 'python'} -m scratchnet"


def test_on_windows_it_is_the_exe(monkeypatch, tmp_path):
    """Its launcher runs what is packed inside as a module named `__main__`, and drops the ending from argv."""
    (tmp_path / "scratchnet.exe").touch()
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr(program, "WINDOWS", True)
    monkeypatch.setattr(program.shutil, "which", lambda name: None)
    monkeypatch.setattr(Started, "as_command", True)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "scratchnet")])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", type("Spec", (), {"name": "__main__"}))
    assert command_line("predict", "my digit.png") == rf'{tmp_path.name}{os.sep}scratchnet.exe predict "my digit.png"'


def printed_strings(path: Path):
    """Each string in a module that is no docstring, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = {
        id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.lineno, node.value


def test_no_message_names_the_command_itself():
    """All ask `command_line` for it. The one exception is no hint: it is kept in a file of results."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in ("scratchnet", "lessons", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in printed_strings(path)
        if re.search(rf"scratchnet ({COMMANDS})\b", text)
    ]
    assert [text.partition(":")[0] for text in found] == ["scratchnet/study/reproduce.py"], "\n".join(found)
