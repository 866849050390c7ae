"""The benchmark of ranks and threads runs; its model of many ranks is the formula of the page where that holds; and the
page's tables are what the model says."""

from __future__ import annotations

import importlib.util
import json
import math
from itertools import product

import numpy as np
import pytest

from benchmarks import scaling, scaling_page
from benchmarks import scaling_forecast as forecast
from benchmarks.reproduction import jobs
from benchmarks.reproduction.report import first_at
from benchmarks.scaling_model import (
    Link,
    Part,
    Rank,
    by_layers,
    losses,
    one_rank,
    step_seconds,
    tree_seconds,
    whole,
)
from scratchnet.models import ARCHITECTURES
from scratchnet.parallel.tree import Tree
from scratchnet.study.experiments import read

LINK = Link(bandwidth=1e9, latency=1e-3)
INSTANT = Link(math.inf, 0.0)
SIZE = 1 << 20  # bytes; a multiple of all numbers of ranks
STEADY = Rank(once=3e-3, shard=2e-3, image=1e-3, rest=4e-3, adding=1e-10, scatter=np.ones(1))


# ---------------------------------------------------------------- the tree and the step


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


def formula(ranks, shards, batch):
    """A step by the page's table, for a power of two of ranks that divides the batch."""
    levels, moved = math.log2(ranks), (1 - 1 / ranks) * SIZE
    computing = STEADY.once + STEADY.shard * shards / ranks + STEADY.image * batch / ranks
    messages = 4 * levels * LINK.latency + 2 * moved / LINK.bandwidth + moved * STEADY.adding
    return computing + messages + STEADY.rest / ranks


@pytest.mark.parametrize(("ranks", "shards", "batch"), list(product([1, 2, 8], [8, 16], [64, 1024])))
def test_a_step_is_computing_meeting_the_tree_the_optimiser_and_the_way_round(ranks, shards, batch):
    assert step_seconds(ranks, batch, whole(SIZE), STEADY, LINK, shards) == pytest.approx(formula(ranks, shards, batch))


def test_the_slowest_of_many_ranks_counts():
    varied = STEADY._replace(rest=0.0, scatter=np.array([1.0] * 99 + [5.0]))
    few, many = (step_seconds(ranks, 4 * ranks, whole(0), varied, INSTANT) for ranks in (2, 256))
    usual = varied.computing(4)
    assert few < 2 * usual < 4 * usual < many


def test_the_largest_shard_of_an_uneven_cut_counts():
    assert step_seconds(8, 9, whole(0), STEADY, INSTANT) == step_seconds(8, 16, whole(0), STEADY, INSTANT)


def test_what_is_lost_adds_up():
    """With a steady rank, the three losses and a rank's part are the step."""
    lost = losses(8, 64, whole(SIZE), STEADY, LINK)
    assert lost.latency == pytest.approx(4 * 3 * LINK.latency)
    assert lost.traffic == pytest.approx(7 / 8 * SIZE * (2 / LINK.bandwidth + STEADY.adding))
    assert lost.shard == pytest.approx((STEADY.once + STEADY.shard) * 7 / 8)
    assert sum(lost) + one_rank(64, STEADY) / 8 == pytest.approx(step_seconds(8, 64, whole(SIZE), STEADY, LINK))


# ---------------------------------------------------------------- overlap


def test_what_is_ready_early_travels_while_others_are_computed():
    """Half of the bytes have come before the rest is ready: only the other half is waited for."""
    rank = STEADY._replace(adding=0.0)
    both = [Part(SIZE // 2, 0.1), Part(SIZE // 2, 1.0)]
    at_once, early = (step_seconds(8, 800, parts, rank, LINK) for parts in (whole(SIZE), both))
    half = tree_seconds(Tree(8, 8), SIZE // 2, np.zeros(8), LINK, 0.0).max()
    all_of_it = tree_seconds(Tree(8, 8), SIZE, np.zeros(8), LINK, 0.0).max()
    assert at_once - early == pytest.approx(all_of_it - half)


def test_trees_take_turns_and_adding_takes_from_the_computing():
    rank = STEADY._replace(adding=1e-6)
    at_once, cut = (step_seconds(8, 8, [Part(SIZE, 0.0)] * n, rank, LINK) for n in (1, 2))
    one = tree_seconds(Tree(8, 8), SIZE, np.zeros(8), LINK, rank.adding).max()
    round_trip = 7 / 8 * SIZE / LINK.bandwidth
    assert cut - at_once == pytest.approx(one + round_trip)
    late = step_seconds(8, 8, [Part(SIZE, 0.0), Part(0, 1.0)], rank, LINK)
    assert late == pytest.approx(
        max(one, rank.computing(1) + 7 / 8 * SIZE * rank.adding) + 3 * LINK.latency
        + 6 * LINK.latency + rank.rest / 8 + 3 * LINK.latency + round_trip
    )  # fmt: skip


@pytest.mark.parametrize("model", list(ARCHITECTURES))
def test_the_layers_gradients_are_ready_from_the_last_to_the_first(model):
    net = ARCHITECTURES[model].make()
    parts = by_layers(net)
    assert sum(part.size for part in parts) == sum(p.value.nbytes for p in net.parameters())
    ready = [part.ready for part in parts]
    assert 1 / 3 < ready[0] < 1
    assert ready == sorted(ready)
    assert ready[-1] == pytest.approx(1.0)
    assert parts[0].size == 4 * (net.layers[-1].w.value.size + 10)


# ---------------------------------------------------------------- the forecast, from made-up runs


def record(ranks, batch, seconds, threads=1, shards=8, model="four_conv_cnn"):
    """A run of ours, all of whose steps take as long."""
    rounds = [{"step": seconds + 1e-3 / ranks, "between": 0.0, "bytes": SIZE, "computing": [seconds] * 4}] * 2
    return {
        "program": scaling.OURS, "model": model, "ranks": ranks, "threads": threads, "batch_size": batch,
        "shards": shards, "rounds": rounds,
    }  # fmt: skip


def made_up(adding=1e-10):
    """A step takes 2 ms on each rank, 1 ms for each shard and 0.1 ms for each image: on 1 and 2 ranks."""
    runs = [
        record(ranks, batch, 2e-3 + (shards * 1e-3 + batch * 1e-4) / ranks, shards=shards)
        for (ranks, shards), batch in product([(1, 8), (2, 8), (1, 1)], [128, 1024])
    ]
    theirs = [run | {"program": scaling.TORCH} for run in runs]
    machine = {"processor": "made up", "scratchnet": "0"}
    return {
        "command": "python", "date": "2026-01-01", "machine": machine, "adding": adding, "records": [*runs, *theirs]
    }  # fmt: skip


def test_what_a_rank_does_is_found_from_the_runs_of_the_fewest_ranks():
    rank = forecast.calibrated(made_up()["records"], "four_conv_cnn", 1, 1e-10)
    assert rank[:5] == pytest.approx((2e-3, 1e-3, 1e-4, 1e-3, 1e-10))
    assert np.all(rank.scatter == 1)


@pytest.mark.parametrize(
    ("shards", "images", "computing", "found"),
    [
        ([8], [128], [0.256], (0.0, 0.0, 0.002)),
        ([8, 8], [128, 1024], [0.288, 1.184], (0.0, 0.02, 0.001)),
        ([8, 1], [128, 128], [0.208, 0.138], (0.0, 0.01, 0.001)),
    ],
)
def test_what_the_runs_do_not_tell_apart_counts_as_the_images_or_the_shards(shards, images, computing, found):
    assert forecast.fitted(*np.array([shards, images, computing], float)) == pytest.approx(found)


def test_no_part_takes_less_than_nothing():
    once, shard, image = forecast.fitted(np.ones(2), np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert (once, shard) == (0.0, 0.0)
    assert 1 < image < 2


def asked(batch=1024, **changes):
    (found,) = [q for q in forecast.questions(made_up()) if q.batch == batch]
    return found._replace(**changes)


def test_the_questions_have_the_networks_own_bytes():
    question = asked()
    assert question.whole == [Part(4 * 1_595_970, 1.0)]
    assert [q.batch for q in forecast.questions(made_up())] == [128, 1024, 8192]


@pytest.mark.parametrize(
    ("link", "limit"),
    [
        (Link(1e8, 0.0), "the traffic"),
        (Link(1e12, 1e-2), "the tree's latency"),
        (INSTANT, "the shard's size"),
    ],
)
def test_what_sets_the_limit(link, limit):
    question = asked(rank=STEADY._replace(shard=2e-2, adding=0.0))
    pays = forecast.paying(question, link, 256)
    assert pays < 256
    assert question.share(pays, link) >= forecast.WORTH > question.share(2 * pays, link)
    assert forecast.limit(question, link, pays, 256) == limit


def test_a_limit_may_be_beyond_what_is_asked():
    question = asked(rank=STEADY._replace(once=0.0, shard=0.0, adding=0.0))
    assert forecast.paying(question, INSTANT, 256) == 256
    assert forecast.limit(question, INSTANT, 256, 256) == "none up to 256"
    few = question._replace(batch=128)
    assert forecast.paying(few, INSTANT, 256) == 128
    assert forecast.limit(few, INSTANT, 128, 256) == "the number of images"


def test_time_and_cost_are_steps_times_seconds_times_machines_times_the_price():
    question, steps = asked(threads=4), 7200
    ((_, *header), row) = forecast.time_and_cost([(question, steps)], {"fast": INSTANT}, 1, price=0.5)
    alone = question.seconds(1, INSTANT)
    assert len(row) == len(header) + 1
    assert row[:4] == ["four_conv_cnn", "1,024", "7,200", "fast"]
    assert row[4:6] == [forecast.duration(steps * alone), forecast.in_money(2 * alone * 4 * 0.5)]
    assert row[6] == f"{row[4]} (1)"


def test_a_thousand_times_larger():
    small, link = asked(rank=STEADY), Link(1e9, 0.0)
    large = forecast.thousandfold(small)
    assert large.seconds(8, link) == pytest.approx(1000 * small.seconds(8, link))
    assert large.seconds(8, link, overlap=True) == pytest.approx(1000 * small.seconds(8, link, overlap=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (1.0, "1.0 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h"), (1e9, "31.7 years")],
)
def test_a_duration_has_a_unit_that_suits_it(seconds, text):
    assert forecast.duration(seconds) == text


def test_the_check_finds_the_model_right_where_it_is():
    """Runs that take what the model says: without latency, 1 and 2 ranks with a link of their own."""
    link = Link(1e9, 0.0)
    results = made_up(adding=0.0)
    for run in results["records"]:
        run["rounds"] = [dict(each) for each in run["rounds"]]
        for each in run["rounds"]:
            each["step"] += 2 * (1 - 1 / run["ranks"]) * SIZE / link.bandwidth
    rows = forecast.check(results, link)
    assert [row[2] for row in rows[1:]] == ["1 x 1", "1 x 1", "2 x 1", "2 x 1", "1 x 1", "1 x 1"]
    assert {row[-1] for row in rows[1:]} == {"1.00"}


def test_the_steps_to_99_percent_are_those_of_the_recorded_runs():
    for job in jobs.time_jobs(1):
        if job.framework == "scratchnet":
            steps, _ = first_at(read(jobs.RESULTS / job.path)["curve"], 0.99)
            assert forecast.read_steps()[job.experiment.model]["128"] == steps


# ---------------------------------------------------------------- the page


def tables(text):
    """The rows of each table of a page."""
    found = []
    for part in text.split(".. csv-table::\n")[1:]:
        body = part.split("\n\n", 1)[1].split("\n\n")[0]
        found.append([[cell.strip() for cell in line.split("|")] for line in body.splitlines()])
    return found


def test_the_page_is_made_from_measured_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "strong.json").write_text(json.dumps(made_up()))
    monkeypatch.setattr(scaling_page, "PAGE", tmp_path / "tables.inc")
    options = ["--measured", str(tmp_path / "strong.json"), "--most", "8", "--gigabits", "10", "100", "--price", "3"]
    scaling_page.main(options)
    text = (tmp_path / "tables.inc").read_text()
    pays, shares, cost, large, large_cost, check = tables(text)
    assert [len(table) for table in (pays, shares, large, check)] == [7, 4, 7, 7]
    assert all(len(row) == len(table[0]) for table in tables(text) for row in table)
    assert shares[0] == ["network", "images", "2", "4", "8"]
    assert [row[:3] for row in cost[1:]] == [["four_conv_cnn", "128", "1,400"]] * 2
    assert [row[2] for row in large_cost[1::2]] == ["1,400,000", "175,000", "21,875"]
    assert "times the price: 3 an hour" in " ".join(text.split())
    capsys.readouterr()
    (tmp_path / "tables.inc").unlink()
    scaling_page.main([*options, "--print"])
    assert capsys.readouterr().out == text + "\n"
    assert not (tmp_path / "tables.inc").exists()


def test_the_pages_tables_are_read_without_a_complaint(tmp_path):
    core = pytest.importorskip("docutils.core")
    text = scaling_page.PAGE.read_text(encoding="utf-8")
    doctree = core.publish_doctree(text, settings_overrides={"report_level": 5})
    assert not [message for message in doctree.findall() if message.tagname == "system_message"]
    assert len([table for table in doctree.findall() if table.tagname == "table"]) == len(tables(text)) == 6
    pays = tables(text)[0]
    assert {row[0] for row in pays[1:]} == set(ARCHITECTURES)
    assert {row[2] for row in pays[1:]} == {"10 Gbit/s", "25 Gbit/s", "100 Gbit/s"}
    assert {row[1] for row in pays[1:]} == {"128", "1,024", "8,192"}


# ---------------------------------------------------------------- the commands


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ranks", "16", "--shards", "8"], "expected ranks <= shards <= batch size, got 16, 8, 128"),
        (["--batch-size", "1024", "4"], "expected ranks <= shards <= batch size, got 2, 8, 4"),
    ],
)
def test_a_wrong_option_is_named(options, message, capsys):
    with pytest.raises(SystemExit):
        scaling.parse(options)
    assert message in capsys.readouterr().err


def test_without_measurements_the_page_says_how_to_make_them(tmp_path, capsys):
    with pytest.raises(SystemExit):
        scaling_page.main(["--measured", str(tmp_path / "none.json")])
    assert "made with: python -m benchmarks.scaling" in capsys.readouterr().err


@pytest.mark.parametrize("weak", [False, True])
def test_every_batch_size_is_measured_and_compared_with_its_own_first_run(monkeypatch, weak):
    """A pretended run takes a tenth of a second for each image of the batch, whoever computes it."""
    made = []

    def run(program, work):
        made.append((program, work["ranks"], work["batch_size"], work["shards"], work["steps"]))
        return {"step": work["batch_size"] / 10, "between": 0.0, "bits": "same"}

    monkeypatch.setattr(scaling, "run", run)
    monkeypatch.setattr(scaling, "mpiexec", lambda: "mpiexec")
    words = ["--models", "separable_cnn", "--batch-size", "16", "32", "--rounds", "1", "--peers"]
    options = scaling.parse([*words, "--weak"] if weak else words)
    records = scaling.measure(options)
    times = [1, 2, 1, 2] if weak else [1, 1, 1, 1]
    cut = [r for r in records if r["shards"] >= 8]
    assert [r["ranks"] for r in cut] == [1, 2, 1, 2]
    assert [r["batch_size"] for r in cut] == [b * n for b, n in zip([16, 16, 32, 32], times, strict=True)]
    assert [r["shards"] for r in cut] == [8 * n for n in times]
    uncut = [(r["ranks"], r["batch_size"], r["shards"]) for r in records if r["shards"] < 8]
    assert uncut == ([] if weak else [(1, 16, 1), (1, 32, 1)])
    assert len(made) == (4 if weak else 12), "weak runs differ, so nothing is verified before"
    rows = [line.split() for line in scaling.markdown(records).splitlines()[2:]]
    assert [row[1] for row in rows] == [str(r["batch_size"]) for r in records]
    assert {row[-2] for row in rows} == {"1.00"}, "images a second, against the first run of this batch size"


@pytest.mark.slow
@pytest.mark.skipif(
    scaling.mpiexec() is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpiexec or mpi4py is missing: pip install --editable '.[mpi]' brings both",
)
def test_a_small_run_of_both_programs_and_the_model(tmp_path, capsys):
    small = ["--models", "separable_cnn", "--ranks", "1", "2", "--steps", "3", "--rounds", "1"]
    scaling.main([*small, "--batch-size", "16", "--output", str(tmp_path)])
    results = json.loads((tmp_path / "strong.json").read_text())
    cut = [record for record in results["records"] if record["shards"] == 8]
    found = {(record["program"], record["ranks"]): record for record in cut}
    assert [record["ranks"] for record in results["records"] if record not in cut] == [1], "with one shard"
    assert found.keys() == set(product([scaling.OURS, scaling.TORCH], [1, 2]))
    for each in found.values():
        assert each["ranks"] * each["threads"] <= max(2, len(scaling.cores()))
        assert each["rounds"][0]["step"] > 0
    ours = found[scaling.OURS, 2]["rounds"][0]
    assert 0 < ours["between"] < 3 * ours["step"]
    assert ours["bits"] == found[scaling.OURS, 1]["rounds"][0]["bits"]
    shown = capsys.readouterr().out
    assert f"{16 / ours['step']:,.0f}" in shown
    scaling_page.main(["--measured", str(tmp_path / "strong.json"), "--most", "8", "--print"])
    assert "100 Gbit/s" in capsys.readouterr().out
