"""The study's report matches its data: every table is made again and compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.reproduction import jobs, report
from scratchnet.runs.recipes import AUGMENTED, AVERAGED, BATCH_NORMALISED, CANDIDATES, LARGE_BATCHES, MODERN
from scratchnet.study.experiments import circumstances, keep


def test_the_report_is_what_its_data_say():
    text = report.REPORT.read_text(encoding="utf-8")
    for table in report.TABLES:
        assert text.count(f"<!-- begin {table.__name__} -->") == 1, table
    assert report.filled(text, jobs.RESULTS) == text, "make it anew: python -m benchmarks.reproduction.report"
    for name in report.FIGURES:
        assert f"({name}.png)" in text
        assert report.REPORT.with_name(f"{name}.png").exists()


def test_the_readme_shows_the_studys_table():
    text = report.README.read_text(encoding="utf-8")
    assert text.count("<!-- begin main_table -->") == 1
    assert report.filled(text, jobs.RESULTS) == text


def test_another_result_makes_another_report(tmp_path):
    """The comparison above would notice a number that differs from its run."""
    shutil.copytree(jobs.RESULTS, tmp_path / "results")
    path = next((tmp_path / "results" / "modern").glob("scratchnet-modern-four_conv_cnn-*.json"))
    result = json.loads(path.read_text(encoding="utf-8"))
    result["test"]["accuracy"] -= 0.01
    keep(result, path)
    text = report.REPORT.read_text(encoding="utf-8")
    assert report.filled(text, tmp_path / "results") != text


def test_the_recipes_are_those_that_the_rule_chose():
    """The rule: the highest mean accuracy over the networks on held-out digits, without and with augmentation."""
    done = report.runs("choice", jobs.RESULTS)
    means = {
        recipe: np.mean(report.accuracies([r for r in done if r["experiment"].recipe == recipe]))
        for recipe in CANDIDATES
    }
    for chosen in (MODERN, AUGMENTED):
        rivals = {
            recipe: mean for recipe, mean in means.items() if bool(recipe.make_augment()) == bool(chosen.make_augment())
        }
        best = max(rivals, key=rivals.__getitem__)
        assert replace(chosen, name=best.name) == best


@pytest.mark.parametrize(("model", "chosen"), [("separable_cnn", BATCH_NORMALISED), ("four_conv_cnn", AVERAGED)])
def test_the_recipe_of_a_network_is_the_one_that_the_rule_chose(model, chosen):
    """The rule: the highest mean accuracy on held-out digits; of equals, the lower mean loss."""
    done = report.runs("average_choice", jobs.RESULTS, model)
    names = dict.fromkeys(r["experiment"].recipe for r in done)
    figures = {recipe: [r["test"] for r in done if r["experiment"].recipe == recipe] for recipe in names}
    assert {len(found) for found in figures.values()} == {2}
    best = max(
        figures,
        key=lambda recipe: (
            round(np.mean([f["accuracy"] for f in figures[recipe]]), 9), -np.mean([f["loss"] for f in figures[recipe]])
        ),
    )  # fmt: skip
    assert replace(chosen, name=best.name) == best


def test_the_page_of_scaling_has_the_accuracies_of_the_large_batches():
    text = (report.ROOT / "docs" / "scaling.rst").read_text(encoding="utf-8")
    done = {r["experiment"].recipe.name: value for r in report.runs("large_batch", jobs.RESULTS)
            for value in report.accuracies([r])}  # fmt: skip
    assert list(done) == [recipe.name for recipe in LARGE_BATCHES]
    for name in ("batch_128", "batch_1024", "batch_8192-not_scaled"):
        assert f"{done[name]:.2f} %" in text
    assert done["batch_8192"] < 12, "learns nothing"


@pytest.mark.parametrize("part", list(jobs.PARTS))
def test_a_report_can_be_made_of_any_single_run(tmp_path, part):
    """With one framework and one seed only, no table and no figure raises an error."""
    job = jobs.PARTS[part](1)[-1]
    result = {
        "framework": job.framework, "experiment": asdict(job.experiment), "test": {"accuracy": 0.98, "loss": 0.1},
        "seconds": 9.0, "losses": [2.3, 1.0, 0.5, 0.4, 0.3, 0.2], "curve": [[100, 4.0, 0.97], [200, 8.0, 0.985]],
        "made": circumstances(),
    }  # fmt: skip
    keep(result, tmp_path / job.path)
    for table in report.TABLES:
        assert isinstance(table(tmp_path), str)
    for draw in report.FIGURES.values():
        draw(tmp_path)


def test_two_runs_alike_have_no_deviation_to_divide_by(tmp_path):
    for job in jobs.original_jobs(2):
        keep(
            {"framework": job.framework, "experiment": asdict(job.experiment), "test": {"accuracy": 0.98}},
            tmp_path / job.path,
        )
    assert "98.00 ± 0.00 (98.00 to 98.00) | 98.00 ± 0.00 (98.00 to 98.00) | +0.00 ± 0.00 | 98.12 |  |" in (
        report.original_recipe(tmp_path)
    )


def test_a_report_can_be_made_before_all_runs_are(tmp_path):
    for table in report.TABLES:
        assert isinstance(table(tmp_path), str)
    text = report.filled("<!-- begin modern -->\nold\n<!-- end modern -->", tmp_path)
    assert "| four_conv_cnn | not run | 0 | 99.3 | not run | 0 | 99.45 |" in text


@pytest.mark.parametrize(
    ("losses", "step"), [([2.3, 2.3, 1.9, 0.5], 30), ([1.0], 10), ([2.3, 2.3], None)], ids=["falls", "at once", "never"]
)
def test_the_end_of_the_plateau(losses, step):
    assert report.end_of_plateau(losses) == step


def test_the_first_test_that_was_good_enough():
    curve = [[100, 1.5, 0.97], [200, 3.0, 0.981], [300, 4.5, 0.979]]
    assert report.first_at(curve, 0.98) == (200, 3.0)
    assert report.first_at(curve, 0.99) is None
