"""The study: the frameworks train in the same way, and an interruption loses no finished run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import scratchnet as sn
from benchmarks import machine
from benchmarks.reproduction import __main__ as study
from benchmarks.reproduction import jobs, report, speed
from benchmarks.reproduction import run_job as one_run
from benchmarks.reproduction.frameworks import run_stepwise
from scratchnet.cli import main
from scratchnet.models import ARCHITECTURES, Published
from scratchnet.runs import recipes
from scratchnet.study import experiments
from scratchnet.study.experiments import Experiment, keep, planned, read, train_and_test
from scratchnet.study.reproduce import published_texts

ROOT = Path(__file__).parent.parent


@pytest.fixture
def digits(sample, monkeypatch):
    """Part of the sample instead of MNIST: 6,000 images to train on, 100 to test on."""
    train, test = sample[0][:6000], sample[1][:100]

    def load(name, data_dir=None, train_images=60_000):
        assert name == "mnist"
        return replace(train, name="MNIST training set"), test

    monkeypatch.setattr(experiments, "load", load)
    monkeypatch.setattr(sn.data, "load", load)
    return train, test


@pytest.fixture
def short(digits, monkeypatch):
    """The original's recipe with only three steps."""
    return make_brief(monkeypatch, 3)


def make_brief(monkeypatch, steps):
    for name, architecture in ARCHITECTURES.items():
        brief = replace(architecture.recipe, steps=steps)
        monkeypatch.setitem(ARCHITECTURES, name, replace(architecture, recipe=brief))


def experiment(model="four_conv_cnn", seed=3, **changes):
    return Experiment(model, replace(recipes.CANDIDATES[0], lr=0.02, steps=20, **changes), seed)


# ---------------------------------------------------------------- a run


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize(
    ("framework", "package", "optimizer"),
    [("PyTorch", "torch", "sgd"), ("PyTorch", "torch", "adam"), ("TensorFlow", "tensorflow", "sgd")],
)
def test_other_frameworks_do_the_same(framework, package, optimizer):
    """Without dropout, the only difference is rounding: losses and accuracy of 20 steps agree."""
    pytest.importorskip(package)
    changes = {"weight_decay": 1e-3}
    if optimizer == "adam":
        changes |= {"optimizer": "adam", "lr": 1e-3, "momentum": 0.0, "nesterov": False}
    both = [run_stepwise(replace(experiment(), recipe=replace(experiment().recipe, **changes)), f, test_every=5)
            for f in ("scratchnet", framework)]  # fmt: skip
    ours, theirs = both
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-3)
    assert ours["test"]["loss"] == pytest.approx(theirs["test"]["loss"], rel=0.02)
    assert [steps for steps, _, _ in ours["curve"]] == [5, 10, 15, 20]
    assert ours["curve"][-1][2] == ours["test"]["accuracy"]
    assert {"torch", "tensorflow-cpu"} & theirs["made"]["versions"].keys()


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("model", ["four_conv_cnn", "separable_cnn"])
def test_a_run_is_one_of_fit_step_by_step(model):
    """The results are equal bit for bit, with dropout."""
    by_fit, by_step = train_and_test(experiment(model), progress=False), run_stepwise(experiment(model), "scratchnet")
    assert by_fit["losses"] == by_step["losses"]
    assert by_fit["test"]["accuracy"] == by_step["test"]["accuracy"]
    assert by_fit["test"]["loss"] == pytest.approx(by_step["test"]["loss"], rel=1e-6)


def test_augmentation_is_not_silently_left_out():
    with pytest.raises(ValueError, match="expected a recipe without augmentation"):
        run_stepwise(experiment(shift=1.0), "scratchnet")


def test_what_each_run_trains_and_tests_with(digits):
    train, test = digits
    whole = experiment().images(None)
    assert (len(whole[0]), whole[1]) == (6000, test)
    as_original = experiment(left_out=5000).images(None)[0]
    assert np.array_equal(as_original.images, train.images[5000:]), "the notebooks left out the first 5,000"
    part, held_out = replace(experiment(), validate=True).images(None)
    assert np.array_equal(part.images, train.images[:-5000])
    assert np.array_equal(held_out.images, train.images[-5000:])
    assert held_out.name == "last 5,000 images of the MNIST training set"


def test_each_network_starts_as_its_notebook_did():
    sizes = [e.network().parameter_count() for e in planned("original", [0])]
    assert sizes == [1_595_970, 3_274_634, 3_225_539, 405_827]
    assert ARCHITECTURES["four_conv_cnn"].recipe.steps == 9 * -(-60_000 // 128)
    assert ARCHITECTURES["standard_cnn"].recipe.steps == -(-10 * 55_000 // 128)
    first = planned("original", [0])[0].network().parameters()[0].value
    assert 0.19 < abs(first).max() <= 1 / 5, "PyTorch's rule: at most 1 / sqrt(25)"


def test_what_is_published_belongs_to_one_variant():
    separable = ARCHITECTURES["separable_cnn"]
    assert separable.published_for({"dense_units": 128}) == Published(accuracy=96.5, steps_per_second=6)
    assert published_texts(separable.published_for({})) == ("not stated", "not stated")
    assert published_texts(separable.published_for({"width_multiplier": 0.5})) == ("–", "–")
    assert published_texts(ARCHITECTURES["standard_cnn"].published_for({})) == ("97.99%", "2")


def test_the_originals_recipe_has_an_older_name():
    assert study.parser().parse_args(["--parts", "seed", "time"]).parts == ["original", "time"]


def test_the_choice_never_sees_the_test_set():
    choices = ("choice", "separable_choice", "average_choice")
    for part, make in jobs.PARTS.items():
        assert all(job.experiment.validate == (part in choices) for job in make(5)), part


def test_no_two_jobs_share_a_file():
    paths = [job.path for part in jobs.PARTS.values() for job in part(5)]
    assert len(set(paths)) == len(paths)


def test_a_run_is_read_as_it_was_kept(digits, tmp_path):
    result = {"framework": "scratchnet"} | train_and_test(experiment("separable_cnn"), progress=False)
    keep(result, tmp_path / "run.json")
    again = read(tmp_path / "run.json")
    assert again["experiment"] == experiment("separable_cnn")
    assert again["test"] == result["test"]
    assert len(again["losses"]) == 2
    (tmp_path / "run.json").write_text('{"experiment": {"model"')
    with pytest.raises(ValueError, match=r"run\.json: damaged .* delete it"):
        read(tmp_path / "run.json")


# ---------------------------------------------------------------- scratchnet reproduce


@pytest.mark.usefixtures("short")
class TestCommand:
    def test_it_trains_every_network_and_prints_a_table(self, tmp_path, capsys):
        assert main(["reproduce", "--data", "mnist", "--seeds", "2", "--out", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        files = sorted(tmp_path.glob("original-*.json"))
        assert len(files) == 8
        accuracies = [read(tmp_path / f"original-standard_cnn-seed_{i}.json")["test"]["accuracy"] for i in (0, 1)]
        (row,) = (line for line in out.splitlines() if line.startswith("standard_cnn"))
        assert f"{np.mean(accuracies):.2%} ± {np.std(accuracies, ddof=1):.2%}" in row
        assert "97.99%" in row
        assert re.search("separable_cnn, dense units 128 +405,827 +2", out)
        assert all(str(path) in out for path in files)

    def test_interrupted_it_goes_on_with_what_is_missing(self, tmp_path, capsys, monkeypatch):
        arguments = ["reproduce", "--recipe", "seed", "--seeds", "1", "--out", str(tmp_path)]
        real, made = train_and_test, []

        def third_stops(e, data_dir):
            made.append(e.name)
            if len(made) == 3:
                raise KeyboardInterrupt
            return real(e, data_dir, progress=False)

        monkeypatch.setattr("scratchnet.study.reproduce.train_and_test", third_stops)
        assert main(arguments) == 130
        assert f"--out {tmp_path} --seed 0 --seeds 1 --engine {sn.current_engine()} --resume" in capsys.readouterr().err
        before = {path: path.read_bytes() for path in tmp_path.glob("original-*.json")}
        assert len(before) == 2
        assert main(arguments) == 1, "nothing is overwritten unasked"
        assert "holds an earlier run" in capsys.readouterr().err
        assert main([*arguments, "--resume"]) == 0
        assert len(made) == 5
        assert all(path.read_bytes() == content for path, content in before.items())
        assert main([*arguments, "--overwrite"]) == 0
        assert len(made) == 9

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ["--recipe", "original", "--data", "sample"],
                "--recipe original: expected --data mnist or fashion-mnist, got",
            ),
            (["--recipe", "sample", "--data", "mnist"], "--recipe sample: expected --data sample, got --data mnist"),
            (["--seeds", "3"], "--seeds 3: expected a whole data set to train on, got the sample"),
            (["--data-dir", "x"], "--data-dir x: expected a whole data set to train on, got the sample"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, options, message, capsys, tmp_path):
        assert main(["reproduce", *options, "--out", str(tmp_path / "here")]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "here").exists()

    def test_another_recipes_runs_are_not_gone_on_with(self, tmp_path, capsys, monkeypatch):
        assert main(["reproduce", "--data", "mnist", "--seeds", "1", "--out", str(tmp_path)]) == 0
        make_brief(monkeypatch, 4)
        assert main(["reproduce", "--data", "mnist", "--seeds", "1", "--out", str(tmp_path), "--resume"]) == 1
        assert "was begun with networks.four_conv_cnn.steps = 3, not 4;" in capsys.readouterr().err


# ---------------------------------------------------------------- the study


def run_job(job, output, data_dir):
    with study.Processes() as processes:
        return study.run_job(job, output, data_dir, 1, processes)


def test_a_job_in_a_process_of_its_own(mnist_folder, tmp_path):
    brief = Experiment(
        "separable_cnn", replace(ARCHITECTURES["separable_cnn"].recipe, steps=12), 0, {"dense_units": 16}
    )
    job = jobs.Job("original", "scratchnet", brief)
    assert run_job(job, tmp_path, mnist_folder) is None
    result = jobs.result_of(job, tmp_path)
    assert (result["train"]["images"], result["test"]["images"]) == (55_000, 10_000)
    assert result["made"]["threads"] == 1
    assert result["made"]["engine"] == "numba"
    assert result["made"]["command"] == "python -m benchmarks.reproduction --parts original"


def test_a_failed_job_leaves_its_message_and_no_file(tmp_path):
    job = jobs.original_jobs(1)[0]
    assert "expected the four MNIST files here" in run_job(job, tmp_path, tmp_path)
    assert not (tmp_path / job.path).exists()


def pretended(job, output):
    """A result as a run would write it."""
    keep({"framework": job.framework, "experiment": asdict(job.experiment)}, output / job.path)


@pytest.mark.usefixtures("digits")
class TestStudy:
    @pytest.fixture(autouse=True)
    def one_network(self, monkeypatch):
        for name in list(ARCHITECTURES)[1:]:
            monkeypatch.delitem(ARCHITECTURES, name)

    def test_it_makes_what_is_missing_and_says_what_failed(self, tmp_path, capsys, monkeypatch):
        """Of four runs, two exist and one fails: the failed one is named, and the other is made."""
        made = []

        def run_job(job, output, *rest):
            if "seed_1" in job.path.name and job.framework == "PyTorch":
                return "RuntimeError: out of luck"
            made.append(job.path)
            return pretended(job, output)

        monkeypatch.setattr(study, "run_job", run_job)
        arguments = ["--parts", "original", "--output", str(tmp_path)]
        assert study.main([*arguments, "--seeds", "1"]) == 0
        assert len(made) == 2
        assert study.main([*arguments, "--seeds", "2", "--jobs", "2"]) == 1
        captured = capsys.readouterr()
        assert "4 runs, 2 of them done before" in captured.out
        assert "pytorch-original-four_conv_cnn-seed_1.json: RuntimeError: out of luck" in captured.err
        assert len(made) == 3

    def test_another_recipes_result_is_not_taken_for_this_ones(self, tmp_path, capsys):
        job = jobs.original_jobs(1)[0]
        pretended(
            replace(job, experiment=replace(job.experiment, recipe=replace(job.experiment.recipe, lr=0.5))), tmp_path
        )
        assert study.main(["--parts", "original", "--seeds", "1", "--output", str(tmp_path)]) == 1
        assert "move the file away" in capsys.readouterr().err

    def test_missing_digits_are_noticed_before_anything_runs(self, tmp_path, capsys, monkeypatch):
        monkeypatch.undo()
        assert study.main(["--data-dir", str(tmp_path / "nowhere"), "--output", str(tmp_path)]) == 1
        assert "it does not exist" in capsys.readouterr().err

    def test_what_is_timed_runs_alone_and_last(self, tmp_path, monkeypatch):
        """With --jobs 2, timed runs still run one at a time, each on all cores."""
        order = []
        monkeypatch.setattr(
            study, "run_job", lambda job, output, data, threads, processes: order.append((job, threads))
        )
        cores = len(machine.cores())
        study.main(["--parts", "time", "original", "--seeds", "1", "--jobs", "2", "--output", str(tmp_path)])
        timed = [bool(job.test_every) for job, _ in order]
        assert timed == sorted(timed)
        assert any(timed)
        assert {threads for job, threads in order if job.test_every} == {cores}
        assert {threads for job, threads in order if not job.test_every} == {max(1, cores // 2)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_runs_under_way(tmp_path, mnist_folder, number):
    """Only the parent process gets the signal, as from `kill`; no process and no part of a run is left."""
    command = [sys.executable, "-m", "benchmarks.reproduction", "--parts", "original", "--seeds", "1", "--jobs", "2"]
    command += ["--data-dir", str(mnist_folder), "--output", str(tmp_path)]
    parent = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    with parent:
        try:
            time.sleep(6)
            parent.send_signal(number)
            _, errors = parent.communicate(timeout=20)
            assert parent.returncode == 130, errors
            assert "the same command goes on with what is missing" in errors
            assert not list(tmp_path.rglob("*.json"))
            with pytest.raises(ProcessLookupError):
                os.killpg(parent.pid, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def test_run_job_takes_what_the_study_gives_it(digits, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(one_run, "run_stepwise", lambda *arguments: seen.append(arguments) or {"made": {}})
    job = jobs.time_jobs(1)[1]
    one_run.main(json.dumps(asdict(job)), "", str(tmp_path / "x.json"))
    assert seen == [(job.experiment, "PyTorch", None, jobs.TEST_EVERY)]


def test_every_network_of_the_study_is_timed(monkeypatch):
    names = {e.network_name for e in speed.networks()}
    assert len(names) == 4 + 1 + 15
    small = [e for e in speed.networks() if e.network_name == "separable_cnn, dense units 128"]
    monkeypatch.setattr(speed, "networks", lambda: small)
    (measured,) = speed.measure(rounds=2, seconds=0.01)["networks"]
    assert len(measured["step"]) == 2
    assert report.name_of(measured) == "separable_cnn, dense units 128"
