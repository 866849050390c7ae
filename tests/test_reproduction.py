"""The study: the same for both frameworks, nothing lost by an interruption."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest

import scratchnet as sn
from benchmarks.reproduction import __main__ as study
from benchmarks.reproduction import jobs, report, run_job, speed
from benchmarks.reproduction.frameworks import run_stepwise
from scratchnet import experiments, recipes
from scratchnet.cli import main
from scratchnet.experiments import Experiment, keep, planned, read, run


@pytest.fixture
def digits(sample, monkeypatch):
    """Part of the sample in place of MNIST: 6,000 to train with, 100 to test with."""
    train, test = sample[0][:6000], sample[1][:100]

    def load(name, data_dir=None, train_images=60_000):
        assert name == "mnist"
        return train, test

    monkeypatch.setattr(experiments, "load", load)
    monkeypatch.setattr(sn.data, "load", load)
    return train, test


@pytest.fixture
def short(digits, monkeypatch):
    """The seed's recipe with three steps."""
    brief = {model: replace(recipe, steps=3) for model, recipe in recipes.SEED.items()}
    monkeypatch.setitem(recipes.RECIPES, "seed", brief)
    return brief


def experiment(model="four_conv_cnn", seed=3, **changes):
    return Experiment(model, replace(recipes.CANDIDATES[0], lr=0.02, steps=20, **changes), seed)


# ---------------------------------------------------------------- a run


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_both_frameworks_do_the_same(optimizer):
    """A network without dropout leaves no difference but rounding: losses and accuracy of 20 steps agree."""
    pytest.importorskip("torch")
    changes = {"optimizer": "adam", "lr": 1e-3, "momentum": 0.0, "nesterov": False} if optimizer == "adam" else {}
    both = [run_stepwise(replace(experiment(), recipe=replace(experiment().recipe, **changes)), f, test_every=5)
            for f in ("scratchnet", "PyTorch")]  # fmt: skip
    ours, theirs = both
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-3)
    assert ours["test"]["loss"] == pytest.approx(theirs["test"]["loss"], rel=0.02)
    assert [steps for steps, _, _ in ours["curve"]] == [5, 10, 15, 20]
    assert ours["curve"][-1][2] == ours["test"]["accuracy"]
    assert "torch" in theirs["made"]["versions"]


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("model", ["four_conv_cnn", "separable_cnn"])
def test_a_run_is_one_of_fit_step_by_step(model):
    """To the bit, dropout included."""
    by_fit, by_step = run(experiment(model), progress=False), run_stepwise(experiment(model), "scratchnet")
    assert by_fit["losses"] == by_step["losses"]
    assert by_fit["test"]["accuracy"] == by_step["test"]["accuracy"]
    assert by_fit["test"]["loss"] == pytest.approx(by_step["test"]["loss"], rel=1e-6)


def test_augmentation_is_not_silently_left_out():
    with pytest.raises(ValueError, match="expected a recipe without augmentation"):
        run_stepwise(experiment(shift=1.0), "scratchnet")


def test_what_each_run_trains_and_tests_with(digits):
    train, test = digits
    whole = experiment().digits(None)
    assert (len(whole[0]), whole[1]) == (6000, test)
    as_seed = experiment(left_out=5000).digits(None)[0]
    assert np.array_equal(as_seed.images, train.images[5000:]), "the notebooks left out the first 5,000"
    part, held_out = replace(experiment(), validate=True).digits(None)
    assert np.array_equal(part.images, train.images[:-5000])
    assert np.array_equal(held_out.images, train.images[-5000:])
    assert held_out.name == "last 5,000 images of the MNIST training set"


def test_each_network_starts_as_its_notebook_did():
    sizes = [sum(p.value.size for p in e.network().parameters()) for e in planned("seed", [0])]
    assert sizes == [1_595_970, 3_274_634, 3_225_539, 405_827]
    assert recipes.SEED["four_conv_cnn"].steps == 9 * -(-60_000 // 128)
    assert recipes.SEED["standard_cnn"].steps == 10 * -(-55_000 // 128) - 3  # 10 epochs, less what 4,297 leaves
    first = planned("seed", [0])[0].network().parameters()[0].value
    assert 0.19 < abs(first).max() <= 1 / 5, "PyTorch's rule: at most 1 / sqrt(25)"


def test_the_choice_never_sees_the_test_set():
    assert all(job.experiment.validate for job in jobs.choice(5))
    others = [job for part in jobs.PARTS if part != "choice" for job in jobs.PARTS[part](2)]
    assert not any(job.experiment.validate for job in others)


def test_no_two_jobs_share_a_file():
    paths = [job.path for part in jobs.PARTS.values() for job in part(5)]
    assert len(set(paths)) == len(paths)


def test_a_run_is_read_as_it_was_kept(digits, tmp_path):
    result = {"framework": "scratchnet"} | run(experiment("separable_cnn"), progress=False)
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
        files = sorted(tmp_path.glob("seed-*.json"))
        assert len(files) == 8
        accuracies = [read(tmp_path / f"seed-standard_cnn-seed_{i}.json")["test"]["accuracy"] for i in (0, 1)]
        (row,) = (line for line in out.splitlines() if line.startswith("standard_cnn"))
        assert f"{np.mean(accuracies):.2%} ± {np.std(accuracies, ddof=1):.2%}" in row
        assert "97.99%" in row
        assert re.search("separable_cnn, dense units 128 +405,827 +2", out)
        assert all(str(path) in out for path in files)

    def test_interrupted_it_goes_on_with_what_is_missing(self, tmp_path, capsys, monkeypatch):
        arguments = ["reproduce", "--recipe", "seed", "--seeds", "1", "--out", str(tmp_path)]
        real, made = run, []

        def third_stops(e, data_dir):
            made.append(e.name)
            if len(made) == 3:
                raise KeyboardInterrupt
            return real(e, data_dir, progress=False)

        monkeypatch.setattr("scratchnet.reproduce.run", third_stops)
        assert main(arguments) == 130
        assert f"--out {tmp_path} --seed 0 --seeds 1 --resume" in capsys.readouterr().err
        before = {path: path.read_bytes() for path in tmp_path.glob("seed-*.json")}
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
            (["--recipe", "seed", "--data", "sample"], "--recipe seed: expected --data mnist, got --data sample"),
            (["--recipe", "sample", "--data", "mnist"], "--recipe sample: expected --data sample, got --data mnist"),
            (["--seeds", "3"], "--seeds 3: expected the whole of MNIST to train on, got the sample"),
            (["--data-dir", "x"], "--data-dir x: expected the whole of MNIST to train on, got the sample"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, options, message, capsys, tmp_path):
        assert main(["reproduce", *options, "--out", str(tmp_path / "here")]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "here").exists()

    def test_another_recipes_runs_are_not_gone_on_with(self, tmp_path, capsys, short, monkeypatch):
        assert main(["reproduce", "--data", "mnist", "--seeds", "1", "--out", str(tmp_path)]) == 0
        longer = {model: replace(recipe, steps=4) for model, recipe in short.items()}
        monkeypatch.setitem(recipes.RECIPES, "seed", longer)
        assert main(["reproduce", "--data", "mnist", "--seeds", "1", "--out", str(tmp_path), "--resume"]) == 1
        assert "was begun with" in capsys.readouterr().err


# ---------------------------------------------------------------- the study


def test_a_job_in_a_process_of_its_own(mnist_folder, tmp_path):
    brief = Experiment("separable_cnn", replace(recipes.SEED["separable_cnn"], steps=12), 0, {"dense_units": 16})
    job = jobs.Job("seed", "scratchnet", brief)
    assert study.run_job(job, tmp_path, str(mnist_folder), threads=1) is None
    result = read(tmp_path / job.path)
    assert (result["train"]["images"], result["test"]["images"]) == (55_000, 10_000)
    assert result["made"]["threads"] == 1
    assert result["made"]["command"] == "python -m benchmarks.reproduction --parts seed"


def test_the_study_makes_what_is_missing_and_says_what_failed(tmp_path, capsys, monkeypatch):
    """Two of four runs are there, and one of the others fails: it is named, and the rest is made."""
    made = []

    def pretended(job, output, data_dir, threads):
        if "seed_1" in job.path.name and job.framework == "PyTorch":
            return "RuntimeError: out of luck"
        made.append(job.path)
        keep({"framework": job.framework}, output / job.path)
        return None

    monkeypatch.setattr(study, "run_job", pretended)
    monkeypatch.setattr(experiments, "NETWORKS", experiments.NETWORKS[:1])
    arguments = ["--parts", "seed", "--output", str(tmp_path)]
    assert study.main([*arguments, "--seeds", "1"]) == 0
    assert len(made) == 2
    assert study.main([*arguments, "--seeds", "2"]) == 1
    captured = capsys.readouterr()
    assert "4 runs, 2 of them done before" in captured.out
    assert "pytorch-seed-four_conv_cnn-seed_1.json: RuntimeError: out of luck" in captured.err
    assert len(made) == 3


def test_a_failed_job_leaves_its_message_and_no_file(tmp_path):
    job = jobs.seed(1)[0]
    assert "expected the four MNIST files here" in study.run_job(job, tmp_path, str(tmp_path), threads=1)
    assert not (tmp_path / job.path).exists()


def test_run_job_takes_what_the_study_gives_it(digits, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(run_job, "run_stepwise", lambda *arguments: seen.append(arguments) or {"made": {}})
    job = jobs.time(1)[1]
    run_job.main(json.dumps(asdict(job)), "", str(tmp_path / "x.json"))
    assert seen == [(job.experiment, "PyTorch", None, jobs.TEST_EVERY)]


def test_every_network_of_the_study_is_timed(monkeypatch):
    names = {report.network_name(e) for e in speed.networks()}
    assert len(names) == 4 + 1 + 15
    small = [e for e in speed.networks() if report.network_name(e) == "separable_cnn, dense units 128"]
    monkeypatch.setattr(speed, "networks", lambda: small)
    (measured,) = speed.measure(rounds=2, seconds=0.01)["networks"]
    assert len(measured["step"]) == 2
    assert report.name_of(measured) == "separable_cnn, dense units 128"
