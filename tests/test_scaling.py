"""The benchmark of ranks and threads runs, and its model of many ranks is the formula of the page where that holds."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from itertools import product

import numpy as np
import pytest

from benchmarks import scaling, scaling_model
from benchmarks.scaling_model import Link, Rank, step_seconds, tree_seconds
from scratchnet.parallel.tree import Tree

LINK = Link(bandwidth=1e9, latency=1e-3)
SIZE = 1 << 20  # bytes; a multiple of all numbers of ranks


@pytest.mark.parametrize(("ranks", "shards"), [(2, 2), (4, 8), (16, 16), (64, 64)])
def test_the_simulated_tree_takes_the_time_of_recursive_halving(ranks, shards):
    adding = 1e-10
    found = tree_seconds(Tree(shards, ranks), SIZE, np.zeros(ranks), LINK, adding)
    moved = (1 - 1 / ranks) * SIZE
    assert found == pytest.approx(math.log2(ranks) * LINK.latency + moved / LINK.bandwidth + moved * adding)


def test_who_is_late_is_waited_for():
    ready = np.zeros(8)
    ready[5] = 1.0
    found = tree_seconds(Tree(8, 8), SIZE, ready, LINK, 0.0)
    assert found.max() == pytest.approx(1 + 3 * LINK.latency + 7 / 8 * SIZE / LINK.bandwidth)
    nobody = tree_seconds(Tree(8, 8), SIZE, np.zeros(8), LINK, 0.0)
    assert np.all(found > nobody + 0.99)


@pytest.mark.parametrize("ranks", [3, 5, 6, 7])
def test_an_odd_number_of_ranks_takes_longer_than_the_next_power_of_two(ranks):
    more = 1 << ranks.bit_length()
    times = [tree_seconds(Tree(8, count), SIZE, np.zeros(count), LINK, 0.0).max() for count in (ranks, more)]
    assert times[0] >= 0.99 * times[1]


def test_a_step_is_computing_meeting_the_tree_and_the_way_round():
    one = Rank(np.array([0.01]), adding=1e-10)
    rng = np.random.default_rng(0)
    for ranks, shards in product([1, 2, 8], [8, 16]):
        levels, moved = math.log2(ranks), (1 - 1 / ranks) * SIZE
        expected = 0.01 * shards / ranks + 4 * levels * LINK.latency + 2 * moved / LINK.bandwidth + moved * 1e-10
        assert step_seconds(ranks, SIZE, one, LINK, rng, shards) == pytest.approx(expected)


def test_the_slowest_of_many_ranks_counts():
    measured = Rank(np.array([0.01] * 99 + [0.05]), adding=0.0)
    fast = Link(1e12, 0.0)
    few, many = (step_seconds(ranks, SIZE, measured, fast, np.random.default_rng(1)) for ranks in (2, 256))
    assert few < 0.02 < many


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ranks", "16", "--shards", "8"], "expected ranks <= shards <= batch size, got 16, 8, 128"),
        (["--batch-size", "4"], "expected ranks <= shards <= batch size, got 2, 8, 4"),
    ],
)
def test_a_wrong_option_is_named(options, message, capsys):
    with pytest.raises(SystemExit):
        scaling.parse(options)
    assert message in capsys.readouterr().err


def test_without_measurements_the_model_says_how_to_make_them(tmp_path, capsys):
    with pytest.raises(SystemExit):
        scaling_model.main(["--measured", str(tmp_path / "none.json")])
    assert "make them with: python -m benchmarks.scaling" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("mpiexec") is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpiexec or mpi4py is missing: pip install --editable '.[mpi]' brings both",
)
def test_a_small_run_of_both_programs_and_the_model(tmp_path, capsys):
    small = ["--models", "separable_cnn", "--ranks", "1", "2", "--steps", "3", "--rounds", "1", "--batch-size", "16"]
    scaling.main([*small, "--output", str(tmp_path)])
    results = json.loads((tmp_path / "strong.json").read_text())
    found = {(record["program"], record["ranks"]): record for record in results["records"]}
    assert found.keys() == set(product([scaling.OURS, scaling.TORCH], [1, 2]))
    for record in found.values():
        assert record["ranks"] * record["threads"] <= max(2, len(scaling.cores()))
        assert record["rounds"][0]["step"] > 0
    ours = found[scaling.OURS, 2]["rounds"][0]
    assert 0 < ours["between"] < 3 * ours["step"]
    assert ours["bits"] == found[scaling.OURS, 1]["rounds"][0]["bits"]
    shown = capsys.readouterr().out
    assert f"{16 / ours['step']:,.0f}" in shown
    scaling_model.main(["--measured", str(tmp_path / "strong.json"), "--most", "8"])
    assert "100 Gbit/s" in capsys.readouterr().out
