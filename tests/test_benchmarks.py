"""The benchmark times only peers that compute the same, and its report matches its JSON."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks.__main__ as command
import benchmarks.reproduction.__main__ as study
import scratchnet as sn
from benchmarks import measure, report
from benchmarks.peers import OURS, make_peer
from benchmarks.pool import PeerError, Remote
from benchmarks.reproduction import jobs, speed

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
NUMPY, TORCH = "scratchnet, NumPy engine", "PyTorch, channels_last"


def test_a_peer_that_computes_something_else_is_refused(rng):
    truth = {"logits": rng.standard_normal((4, 10)), "conv1.w": rng.standard_normal((5, 5, 1, 4))}
    assert measure.differences("net", {OURS: truth, TORCH: {k: v * (1 + 1e-6) for k, v in truth.items()}})[TORCH] < 2e-6
    for planted in ("logits", "conv1.w"):
        wrong = {k: v.copy() for k, v in truth.items()}
        wrong[planted].flat[3] += 0.01
        with pytest.raises(ValueError, match=rf"net: {TORCH} computes another {planted}: .* Nothing is timed"):
            measure.differences("net", {OURS: truth, TORCH: wrong})
    with pytest.raises(ValueError, match="computes another logits"):
        measure.differences("net", {OURS: truth, TORCH: truth | {"logits": truth["logits"] * np.nan}})


def test_ratios_are_taken_round_by_round_against_each_frameworks_best():
    rounds = {OURS: [1.0, 2.0, 4.0], NUMPY: [9.0, 9.0, 9.0], TORCH: [2.0, 4.0, 8.0], "PyTorch, NCHW": [3.0, 3.0, 9.0]}
    assert report.best_of_each_framework(rounds) == {NUMPY: NUMPY, "PyTorch": "PyTorch, NCHW"}
    assert report.ratios(rounds, TORCH) == [2.0, 2.0, 2.0]
    assert report.spread([0.003, 0.001, 0.002], ".0f", 1e3) == "2 (1 to 3)"


@pytest.mark.parametrize(("model", "gflop"), [("four_conv_cnn", 4.1), ("standard_cnn", 10.5), ("separable_cnn", 2.9)])
def test_the_operations_of_a_step_are_those_of_the_definition(model, gflop):
    assert report.step_flop(model, 128) / 1e9 == pytest.approx(gflop, rel=0.03)


@pytest.mark.slow
def test_a_small_benchmark_from_end_to_end(tmp_path, capsys):
    command.main([
        "--quick", "--parts", "training", "--models", "separable_cnn", "--peers", NUMPY, TORCH, "--rounds", "2",
        "--seconds", "0.02", "--output", str(tmp_path),
    ])  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["verified"]["separable_cnn"]) == {OURS, NUMPY, TORCH}
    assert results["verified"]["separable_cnn"][TORCH] < measure.TOLERANCE
    (timing,) = results["timings"]
    assert {name: len(times) for name, times in timing["rounds"].items()} == {OURS: 2, NUMPY: 2, TORCH: 2}
    printed = capsys.readouterr()
    assert "times as fast as PyTorch's best" in printed.out
    assert "not asked for: " in printed.err
    assert (tmp_path / "README.md").read_text() in printed.out
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_framework_that_is_not_installed_is_said_to_be_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "benchmarks.peers.tensorflow", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError):
        make_peer("TensorFlow, XLA")
    code = "import sys; sys.modules['tensorflow'] = None; from benchmarks.worker import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "TensorFlow, XLA"], input='{"do": "versions"}\n', capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert "tensorflow" in json.loads(run.stdout)["missing"]


def test_an_error_of_a_peer_comes_back_as_one():
    worker = Remote(NUMPY, threads=1)
    try:
        with pytest.raises(PeerError, match="build failed:(.|\n)*no_such_file"):
            worker.ask("build", model="standard_cnn", weights="no_such_file.npz", dropout=True)
        worker.process.kill()
        with pytest.raises(PeerError, match="its process ended while asked to memory"):
            worker.ask("memory")
    finally:
        worker.close()


@pytest.mark.parametrize("index", [0, 2])
def test_the_explicit_convolution_computes_what_the_layer_does(index):
    peer = make_peer(NUMPY)
    peer.net = sn.models.four_conv_cnn(seed=0)
    x = np.random.default_rng(1).random((2, 28, 28, 1), np.float32)
    layer = peer.net.layers[index]
    np.testing.assert_allclose(
        peer.explicit_convolution(index, "forward", x)(), peer.layer(index, "forward", x)(), rtol=1e-5, atol=1e-5
    )
    dx = peer.layer(index, "backward", x)()
    explicit_dx, dw, db = peer.explicit_convolution(index, "backward", x)()
    np.testing.assert_allclose(dw, layer.w.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(db, layer.b.grad, rtol=1e-4, atol=1e-4)
    assert (explicit_dx is None) == (dx is None) == (index == 0)
    if index:
        np.testing.assert_allclose(explicit_dx, dx, rtol=1e-4, atol=1e-4)


def test_more_threads_than_cores_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--threads", "1000"])
    assert "--threads: expected 1 to" in capsys.readouterr().err


def test_nothing_is_published_unless_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = (command.PUBLISHED, jobs.RESULTS)
    for place in (command.parse([]).output, command.parse(["--quick"]).output, study.parser().parse_args([]).output):
        assert "build" in place.parts
        assert not any(place.resolve().is_relative_to(folder) for folder in shown)
    assert command.parse(["--publish"]).output == command.PUBLISHED
    assert study.parser().parse_args(["--publish"]).output == jobs.RESULTS
    for part in (["--quick"], ["--models", "standard_cnn"], ["--parts", "training"], ["--output", "here"]):
        with pytest.raises(SystemExit):
            command.parse(["--publish", *part])
        assert "--publish: expected the whole benchmark" in capsys.readouterr().err or part[0] == "--output"


def test_the_times_of_the_study_are_kept_elsewhere_unless_published(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(speed, "measure", lambda: {})
    monkeypatch.setattr(speed, "keep", lambda result, path: kept.append(path))
    speed.main([])
    speed.main(["--publish"])
    assert kept == [jobs.OUTPUT / speed.SPEED, jobs.RESULTS / speed.SPEED]


def test_the_folder_for_the_results_is_looked_at_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("keep me")
    with pytest.raises(SystemExit):
        command.main(["--output", "notes.txt"])
    assert "notes.txt: expected a folder to write to, but notes.txt is a file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", report.published(), ids=lambda folder: folder.name)
def test_a_published_report_is_the_one_that_its_json_makes(folder):
    assert (folder / "README.md").read_text() == report.markdown(report.published()[folder])


def test_the_readme_shows_the_ratios_to_the_fastest_frameworks():
    run = report.published()[RESULTS]
    for timing in report.select(run, "training", 128).values():
        best = report.best_of_each_framework(timing["rounds"])
        medians = {maker: statistics.median(timing["rounds"][name]) for maker, name in best.items()}
        assert min(medians, key=medians.__getitem__) in ("PyTorch", "TensorFlow"), "the README says so"
    assert report.processors_table([run]) in (ROOT / "README.md").read_text()


def test_the_page_of_the_benchmark_shows_every_processor():
    assert report.processors_table(report.published().values()) in (ROOT / "benchmarks" / "README.md").read_text()


def test_the_folder_of_a_session_is_removed_when_it_ends_or_is_forgotten():
    closed, forgotten = (measure.Session(threads=1, rounds=1, seconds=0.1) for _ in range(2))
    folders = closed.folder, forgotten.folder
    assert all(folder.is_dir() for folder in folders)
    closed.close()
    del forgotten
    assert not any(folder.exists() for folder in folders)
