"""What the documents say: every command runs, and every number is compared or stands beside the name of a machine."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import scratchnet as sn
from benchmarks import report
from scratchnet.cli import build_parser, main
from scratchnet.exercises.checker import EXERCISES
from scratchnet.info import vector_width
from scratchnet.program import command_line
from scratchnet.study.reproduce import published_texts
from scratchnet.train import fit

README = (ROOT / "README.md").read_text(encoding="utf-8")
WITH_COMMANDS = [
    "README.md", "CONTRIBUTING.md", "docs/command_line.rst", "docs/scaling.rst", "docs/explorer.rst",
    "lessons/README.md", "benchmarks/README.md", "benchmarks/reproduction/README.md",
]  # fmt: skip
MACHINES = "Xeon|EPYC"


def commands(document: str) -> list[list[str]]:
    """The commands in a document's blocks of shell code, in order, without comments and without here-documents."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    blocks += re.findall(r"\.\. code-block:: sh\n\n((?:   .*\n|\n)+)", text)
    lines = re.sub(r"<<END\n.*?\nEND\n", "\n", "".join(blocks), flags=re.S).splitlines()
    found = (shlex.split(part, comments=True) for line in lines for part in line.split("&&"))
    return [words for words in found if words]


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


# ---------------------------------------------------------------- every command runs


@pytest.fixture
def quick(sample, tmp_path, monkeypatch):
    """A folder in which every command of the documents can run, on few digits, in few steps, on the NumPy engine."""
    monkeypatch.chdir(tmp_path)
    digits = sample[0][:16], sample[1][:16]

    def in_two_steps(*arguments, **options):
        return fit(*arguments, **options | {"epochs": None, "steps": 2})

    for room in ("", ".study.reproduce", ".study.experiments", ".show.subject"):
        monkeypatch.setattr(f"scratchnet{room}.fit", in_two_steps)
    for place in ("scratchnet.data.load", "scratchnet.study.experiments.Experiment.images"):
        monkeypatch.setattr(place, lambda *arguments: digits)
    monkeypatch.setattr("scratchnet.explorer.run.serve", lambda *arguments: None)  # see test_explorer
    monkeypatch.setattr("scratchnet.study.reproduce.draw_all", lambda *arguments, **options: [])  # see test_plots
    sn.save(sn.models.standard_cnn(), tmp_path / "runs/reproduce/standard_cnn/model.safetensors", trained_on=digits[0])
    Image.fromarray((255 * digits[1].images[0, ..., 0]).astype(np.uint8)).save("photo.jpg")
    Path("my_pictures").mkdir()  # what load finds there is in test_own_data.py
    module = re.search(r"```python\n(\"\"\"my_things\.py.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)[1]
    Path("my_things.py").write_text(module)
    script = re.search(r"cat > my_scratchnet.py <<END\n(.*?)END\n", (ROOT / "CONTRIBUTING.md").read_text(), re.S)[1]
    Path("my_scratchnet.py").write_text(script)
    with sn.use_engine("numpy"):
        yield tmp_path


def child(*words: str) -> str:
    """Run a command of this Python in the present folder; returns what it prints."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "SCRATCHNET_ENGINE": "numpy"}
    return subprocess.run([sys.executable, *words], env=variables, check=True, capture_output=True, text=True).stdout


def try_scratchnet(words):
    """It runs, in this process. An exercise that is not done ends with 1. Two compile, and have tests of their own."""
    if words[0] in ("explain", "warm-up"):
        build_parser().parse_args(words)
        return
    try:
        assert main(words) == 0
    except SystemExit as stop:
        assert (words[0], stop.code) == ("check", 1)  # noqa: PT017


def try_mpiexec(words):
    """The command that each process gets can be read. `test_mpi.py` starts several."""
    assert words[0] == "-n"
    build_parser().parse_args(words[words.index("scratchnet") + 1 :])


def try_make(words):
    """`make -n` knows the target. What it would run is in CONTRIBUTING, "Without make", where it is tried as well."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    printed = subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in re.findall(r"bin/scratchnet (.*)", printed):
        build_parser().parse_args(shlex.split(line))


def try_python(words):
    """The user's own script runs. A benchmark reads its options. Lessons, pytest and sphinx have tests of their own."""
    if words[0] != "-m":
        assert words[0] == "my_scratchnet.py" or (ROOT / words[0]).is_file()
        if words[0] == "my_scratchnet.py":
            child(*words)
    elif words[1] == "benchmarks":
        options = [word for word in words[2:] if word != "--help"]
        child("-c", f"from benchmarks.__main__ import parse; parse({options})")
    elif words[1] == "benchmarks.reproduction":
        options = [word for word in words[2:] if word != "--help"]
        child("-c", f"from benchmarks.reproduction.__main__ import parser; parser().parse_args({options})")
    elif words[1].startswith("benchmarks"):
        assert (ROOT / f"{words[1].replace('.', '/')}.py").is_file()
    else:
        assert words[1] in ("venv", "pytest", "sphinx")
        if "-m" in words[2:]:
            marker = words[words.index("-m", 2) + 1].split()[-1]
            assert f"\n{marker}:" in setup_cfg()["tool:pytest"]["markers"]
        assert words[1] != "sphinx" or (ROOT / words[2] / "conf.py").is_file()


def try_pip(words):
    """The extra is declared."""
    for extra in re.findall(r"\[(.*)\]", words[-1]):
        assert setup_cfg().has_option("options.extras_require", extra)


TRY = {
    "scratchnet": try_scratchnet, "make": try_make, "python": try_python, "python3": try_python, "pip": try_pip,
    "mpiexec": try_mpiexec, "cat": lambda words: None,  # writes a script, as `quick` does
    "jupyter": lambda words: None,  # is installed by the line above it, and is not among the packages of the tests
}  # fmt: skip


@pytest.mark.parametrize("document", WITH_COMMANDS)
def test_every_command_runs(document, quick, capsys):
    found = commands(document)
    assert found
    for words in found:
        program = words[0].removeprefix(".venv/bin/")
        assert program in TRY, f"{document}: say in TRY how to try {' '.join(words)}"
        TRY[program](words[1:])


@pytest.mark.parametrize("document", [name for name in WITH_COMMANDS if name.endswith(".md")])
def test_commands_are_shown_as_they_work_after_make_train(document):
    """Nothing is on the path then. The page of the command line says that it supposes otherwise."""
    bare = [words for words in commands(document) if words[0] in ("scratchnet", "python", "pip", "pytest", "ruff")]
    assert not bare
    text = (ROOT / document).read_text(encoding="utf-8")
    assert not re.findall(r"`(?:scratchnet (?:explain|check|hint|train)|python -m) [^`]*`", text.replace("\n", " "))


def test_the_checker_says_what_the_readme_shows(tmp_path, capsys):
    shown = re.search(r"```\n\$ \.venv/bin/scratchnet check 07\n(.*?)```", README, re.S)[1]
    answer = (ROOT / "lessons/solutions/07_conv_backward.py").read_text()
    wrong = answer.replace("dpadded[place] +=", "dpadded[place] =")
    assert wrong != answer
    (tmp_path / "07_conv_backward.py").write_text(wrong)
    with pytest.raises(SystemExit):
        main(["check", "07", "--folder", str(tmp_path), "--engine", "numpy"])
    assert capsys.readouterr().out == shown.replace(".venv/bin/scratchnet", command_line())


# ---------------------------------------------------------------- every number


def table_of_make_train() -> dict[str, list[str]]:
    """The rows of the table that `make train` prints, by network."""
    block = re.search(r"```\n(architecture .*?)```", README, re.S)[1]
    rows = [re.split(r"\s{2,}", line.replace("%  ", "%    ")) for line in block.splitlines()[2:]]
    return {row[0]: row for row in rows}


def test_the_table_has_the_parameters_and_the_figures_of_the_original():
    rows = table_of_make_train()
    assert list(rows) == list(sn.models.ARCHITECTURES)
    for name, architecture in sn.models.ARCHITECTURES.items():
        assert rows[name][1] == f"{architecture.make().parameter_count():,}"
        assert tuple(rows[name][4:]) == published_texts(architecture.published)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(sn.models.ARCHITECTURES))
def test_the_table_has_the_accuracies_that_training_gives(name, tmp_path, capsys):
    """To the digit with registers of 512 bits, as the README says; others add in another order, so nearly that."""
    assert main(["train", name, "--out", str(tmp_path), "--engine", "numba"]) == 0
    got = float(re.search(r"accuracy on 2,000 .*: ([\d.]+)%", capsys.readouterr().out)[1])
    shown = float(table_of_make_train()[name][2].rstrip("%"))
    assert got == shown if vector_width() == 512 else abs(got - shown) < 0.5


def test_facts_that_the_readme_states(sample):
    for fact, count in {
        r"learn ([\d,]+) real digits": len(sample[0]),
        r"has ([\d,]+) held-out digits": len(sample[1]),
        r"and steps of (\d+)": sn.runs.recipes.SAMPLE.batch_size,
        r"steps of (\d+) digits; this": 128,
    }.items():
        (stated,) = re.findall(fact, README.replace("\n", " "))
        assert int(stated.replace(",", "")) == count
    assert len(EXERCISES) == 14
    assert "Its fourteen exercises" in README
    assert len(list((ROOT / "lessons").glob("[0-9]*.py"))) == 19
    assert "has nineteen scripts" in README


def test_measured_times_are_those_of_the_benchmark():
    """The time of the whole benchmark, on the machine that it is said of."""
    xeon = {folder.name: results for folder, results in report.published().items()}["results"]
    assert "Xeon" in xeon["machine"]["processor"]
    text = README.replace("\n", " ")
    minutes = f"{xeon['seconds'] / 60:.0f} minutes on the"
    assert f"it took {minutes} Xeon" in text
    assert f"it took {minutes} Intel Xeon below" in (ROOT / "benchmarks/README.md").read_text()


def test_the_page_of_the_command_line_compares_the_engines_as_they_were_measured():
    ratios = [
        statistics.median(report.ratios(timing["rounds"], "scratchnet, NumPy engine"))
        for results in report.published().values()
        for timing in report.select(results, "training", 128).values()
        if "scratchnet, NumPy engine" in timing["rounds"]
    ]
    words = {4: "four", 8: "eight", 9: "nine"}
    text = (ROOT / "docs/command_line.rst").read_text().replace("\n", " ")
    assert f"takes {words[round(min(ratios))]} to {words[round(max(ratios))]} times as long on the Intel Xeon" in text


def paragraphs(text: str) -> list[str]:
    """The paragraphs, code blocks and tables of a document, each beginning with the paragraph that leads to it."""
    parts = re.split(r"\n{2,}(?!```)(?![|])", text)
    return [" ".join(part.split()) for part in parts]


TIME = r"\b(?:[\d.]+ (?:ms|s|seconds?)|(?:[\d.]+|an?|half an?|quarter of an|two) (?:minutes?|hours?))\b"
SPEED = r"steps/s|times as fast"


@pytest.mark.parametrize("document", ["README.md", "docs/command_line.rst", "docs/benchmarks.rst", "docs/index.rst"])
def test_a_measurement_stands_beside_the_name_of_its_machine(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    unnamed = [p for p in paragraphs(text) if re.search(f"{TIME}|{SPEED}", p) and not re.search(MACHINES, p)]
    assert not unnamed, "name the machine, or leave the number out"


def test_compiling_has_one_time():
    """The README has it, with its machine. No other place has one that could differ."""
    places = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.rst"), *(ROOT / "lessons").glob("*.*"), ROOT / "Makefile"]
    for place in places:
        if place.name != "README.md" or place.parent != ROOT:
            text = " ".join(place.read_text(encoding="utf-8").replace("\n#", "\n").split())
            for sentence in re.split(r"(?<=[.!?)]) ", text):
                assert not (re.search(r"\bcompil", sentence) and re.search(TIME, sentence)), f"{place}: {sentence}"


def test_a_word_has_one_meaning():
    """The README that the networks come from is "the original"; a seed is always a random one."""
    for place in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.rst"), *(ROOT / "lessons").glob("*.*"),
                  *(ROOT / "benchmarks").glob("*/*.md")]:  # fmt: skip
        text = " ".join(place.read_text(encoding="utf-8").split())
        assert not re.findall(r"[Tt]he seed(?:'s)? (?:project|repository|README|has|had|reports|trains|paper)", text)
