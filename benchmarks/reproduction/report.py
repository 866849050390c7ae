"""Make the tables and figures of `README.md` from the runs' JSON: `python -m benchmarks.reproduction.report`.

The text of the report is written by hand. Each part between `<!-- begin NAME -->` and `<!-- end NAME -->` is the result
of the function of that name.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pool import ROOT
from benchmarks.report import rows_to_markdown, spread
from benchmarks.reproduction.jobs import AIMS, PARTS, PUBLISHED_LOSSES, RESULTS, result_of
from benchmarks.reproduction.speed import SPEED
from scratchnet.models import ARCHITECTURES
from scratchnet.runs.recipes import (
    AVERAGE_CANDIDATES,
    BATCH_NORM_CANDIDATES,
    CANDIDATES,
    LARGE_BATCH_EPOCHS,
    ORIGINAL,
    SEPARABLE_CANDIDATES,
    Recipe,
)
from scratchnet.show.plots import COLOURS, save_figure
from scratchnet.study.experiments import LOSS_EVERY, Experiment, by_network, mean_and_deviation, network_name, planned
from scratchnet.study.reproduce import published_for, published_texts
from scratchnet.writing import write_text_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT, README = Path(__file__).parent / "README.md", ROOT / "README.md"
MARKERS = "os^Dv"
MOST_SEEDS = 100  # more than anyone runs, so that every run is found
END = 500  # steps at the end of training whose loss is averaged
Runs = list[dict[str, Any]]


def runs(part: str, results: Path, model: str | None = None) -> Runs:
    """The existing results of a part, of all models or of one, in the order of its jobs."""
    jobs = [job for job in PARTS[part](MOST_SEEDS) if model in (None, job.experiment.model)]
    return [result for job in jobs if (result := result_of(job, results))]


def by_framework(results: Runs) -> dict[str, Runs]:
    """The results, grouped by framework."""
    return {f: [r for r in results if r["framework"] == f] for f in dict.fromkeys(r["framework"] for r in results)}


def accuracies(results: Runs) -> list[float]:
    """The test accuracies in percent."""
    return [100 * result["test"]["accuracy"] for result in results]


def mean_of(values: Sequence[float], places: int = 2) -> str:
    """Mean ± standard deviation; the value itself if there is only one."""
    if not values:
        return "not run"
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{places}f} ± {deviation:.{places}f}" if len(values) > 1 else f"{mean:.{places}f} (one run)"


def mean_and_range(values: Sequence[float]) -> str:
    """Mean ± standard deviation, and the lowest and the highest value."""
    return f"{mean_of(values)} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else mean_of(values)


# ---------------------------------------------------------------- the original's recipe


def original_recipe(results: Path) -> str:
    """The accuracy of each network in both frameworks, and how many deviations from it the published figure is."""
    rows = []
    for name, done in by_network(runs(ORIGINAL, results)).items():
        frameworks = by_framework(done)
        ours, theirs = (frameworks.get(f, []) for f in ("scratchnet", "PyTorch"))
        published = published_percent(done[0]["experiment"])
        mean, deviation = mean_and_deviation(accuracies(ours)) if len(ours) > 1 else (0.0, 0.0)
        rows.append([
            name,
            f"{len(ours)} + {len(theirs)}",
            mean_and_range(accuracies(ours)),
            mean_and_range(accuracies(theirs)),
            paired_difference(ours, theirs),
            f"{published:.2f}" if published else "not stated",
            f"{(published - mean) / deviation:+.1f}" if published and deviation else "",
        ])  # fmt: skip
    header = ["test accuracy, %", "runs", "scratchnet", "PyTorch", "difference", "published", "in deviations"]
    return rows_to_markdown(header, rows)


def paired_difference(ours: Runs, theirs: Runs) -> str:
    """The mean of our accuracy minus theirs with the same seed, in points, ± the standard error of that mean."""
    by_seed = {r["experiment"].seed: r for r in theirs}
    pairs = [(r, by_seed[r["experiment"].seed]) for r in ours if r["experiment"].seed in by_seed]
    if len(pairs) < 2:
        return "not run"
    differences = np.subtract(*(accuracies(list(side)) for side in zip(*pairs, strict=True)))
    mean, deviation = mean_and_deviation(differences)
    return f"{mean:+.2f} ± {deviation / len(pairs) ** 0.5:.2f}"


def published_percent(experiment: Experiment) -> float | None:
    """The published accuracy in percent; None if there is none for this network."""
    published = published_for(experiment)
    return published.accuracy if published else None


def plateau(results: Path) -> str:
    """The step at which each run of the first network leaves its plateau."""
    lines = []
    for framework in ("scratchnet", "PyTorch"):
        ends = [end_of_plateau(r["losses"]) for r in four_conv_runs(results) if r["framework"] == framework]
        lines.append(f"- {framework}, by random seed: {', '.join(str(end or 'never') for end in ends) or 'not run'}")
    on, left = (
        max(step for step, loss in PUBLISHED_LOSSES if loss > 2),
        min(step for step, loss in PUBLISHED_LOSSES if loss < 2),
    )
    lines.append(f"- published: between {on} and {left}")
    return "\n".join(lines)


def four_conv_runs(results: Path) -> Runs:
    """The runs of the first network by the original's recipe."""
    return runs(ORIGINAL, results, "four_conv_cnn")


def end_of_plateau(losses: Sequence[float], below: float = 2.0) -> int | None:
    """The first step at which the mean loss of ten steps is below 2.0. On the plateau it is 2.30, the log of ten."""
    return next((i * LOSS_EVERY for i, loss in enumerate(losses, 1) if loss < below), None)


def draw_plateau(results: Path) -> Figure:
    """The loss of each run, over the published points."""
    figure, axis = plot(9, 4.5)
    styles = {"scratchnet": {"color": COLOURS[0], "lw": 1.2}, "PyTorch": {"color": COLOURS[1], "lw": 1.2, "ls": "--"}}
    for framework, style in styles.items():
        for i, run in enumerate(r for r in four_conv_runs(results) if r["framework"] == framework):
            smooth = np.convolve(run["losses"], np.ones(5) / 5, "valid")
            steps = (np.arange(len(smooth)) + 2.5) * LOSS_EVERY
            axis.plot(steps, smooth, alpha=0.8, label=framework if i == 0 else None, **style)
    axis.plot(*zip(*PUBLISHED_LOSSES, strict=True), "ko", ms=7, label="published", zorder=5)
    axis.set(xlabel="step", ylabel="training loss (nats), mean of 50 steps", ylim=(0, 2.5))
    axis.set_title("four_conv_cnn by the original's recipe: a plateau, then a fall")
    explain(axis, "best")
    return figure


def draw_original_recipe(results: Path) -> Figure:
    """Every run's accuracy as a point."""
    networks = by_network(runs(ORIGINAL, results))
    figure, axis = plot(9, 4)
    for row, done in enumerate(networks.values()):
        for k, framework in enumerate(("scratchnet", "PyTorch")):
            values = accuracies(by_framework(done).get(framework, []))
            label = framework if row == 0 else None
            style = {"ls": "", "marker": MARKERS[k], "color": COLOURS[k], "alpha": 0.8}
            axis.plot(values, [row + (k - 0.5) * 0.3] * len(values), label=label, **style)
        if published := published_percent(done[0]["experiment"]):
            axis.plot([published] * 2, [row - 0.35, row + 0.35], "k-", lw=2, label="published" if row == 0 else None)
    axis.set_yticks(range(len(networks)), [name.replace(", ", "\n") for name in networks])
    axis.invert_yaxis()
    axis.set(xlabel="test accuracy, %")
    axis.set_title("The original's recipe: every run, and what was published")
    explain(axis, "upper left")
    return figure


# ---------------------------------------------------------------- modern recipes


def choice(results: Path) -> str:
    """What each candidate reached on the digits held out of the training set."""
    done = runs("choice", results)
    rows = []
    for recipe in CANDIDATES:
        row = {r["experiment"].model: r for r in done if r["experiment"].recipe.name == recipe.name}
        cells = [
            f"{100 * row[m]['test']['accuracy']:.2f} ({row[m]['test']['loss']:.4f})" if m in row else "not run"
            for m in ARCHITECTURES
        ]
        mean = f"{statistics.mean(accuracies(list(row.values()))):.2f}" if len(row) == len(ARCHITECTURES) else ""
        rows.append([*what_differs(recipe), *cells, mean])
    return rows_to_markdown(["recipe", "turn, shift", *ARCHITECTURES, "mean"], rows)


def what_differs(recipe: Recipe) -> tuple[str, str]:
    """What differs between candidates: the optimiser with its numbers, and the augmentation."""
    augmentation = f"{recipe.degrees:g}°, {recipe.shift:g} px" if recipe.make_augment() else "none"
    return f"{recipe.optimizer}, lr {recipe.lr:g}, decay {recipe.weight_decay:g}", augmentation


def losses_at_the_end(results: Path) -> str:
    """The losses of each network on its training digits and on new digits, by the augmented recipe, in nats."""
    rows = []
    for model in ARCHITECTURES:
        done = runs("augmented", results, model)
        last = [statistics.mean(r["losses"][-END // LOSS_EVERY :]) for r in done]
        rows.append([model, mean_of(last, 3), mean_of([r["test"]["loss"] for r in done], 3)])
    return rows_to_markdown(["cross-entropy, nats", f"last {END} steps of training", "test set"], rows)


def separable_choice(results: Path) -> str:
    """What more candidates reached with separable_cnn on the digits held out of the training set."""
    done, rows = runs("separable_choice", results), []
    for recipe in SEPARABLE_CANDIDATES:
        its = [r for r in done if r["experiment"].recipe.name == recipe.name]
        losses = mean_of([r["test"]["loss"] for r in its], 4)
        rows.append([*what_differs(recipe), str(len(its)), mean_and_range(accuracies(its)), losses])
    return rows_to_markdown(["recipe", "turn, shift", "runs", "accuracy, %", "loss"], rows)


def modern(results: Path) -> str:
    """Accuracy on the test set without and with augmentation, beside the aims."""
    rows = []
    for model in ARCHITECTURES:
        row = [model]
        for recipe in ("modern", "augmented"):
            values = accuracies(runs(recipe, results, model))
            row += [
                mean_and_range(values),
                str(len(values)),
                f"{AIMS[recipe][model]:g}" if model in AIMS[recipe] else "–",
            ]
        rows.append(row)
    return rows_to_markdown(["test accuracy, %", "modern", "runs", "aim", "with augmentation", "runs", "aim"], rows)


def augmentation_cost(results: Path) -> str:
    """What turning and shifting a batch costs."""
    rows = [
        [
            measured["model"],
            spread(measured["augment"], ".2f", 1e3),
            spread(measured["step"], ".1f", 1e3),
            spread([100 * a / s for a, s in zip(measured["augment"], measured["step"], strict=True)], ".1f"),
        ]
        for measured in measured_steps(results)
        if "augment" in measured
    ]
    return rows_to_markdown(["batch of 128, ms", "augmentation", "training step without", "share, %"], rows)


def time_to_accuracy(results: Path) -> str:
    """Steps and seconds to 98 % and 99 % in each framework."""
    rows = []
    for name, done in by_network(runs("time", results)).items():
        for framework, its in by_framework(done).items():
            row = [name, framework, str(len(its))]
            for aim in (0.98, 0.99):
                reached = [first for r in its if (first := first_at(r["curve"], aim))]
                few = f" ({len(reached)} of {len(its)} runs)" if len(reached) < len(its) else ""
                row += [middle([steps for steps, _ in reached], ".0f") + few, middle([s for _, s in reached])]
            rows.append([*row, mean_of(accuracies(its)), middle([r["seconds"] for r in its])])
    header = ["network", "framework", "runs", "steps to 98 %", "seconds", "steps to 99 %", "seconds", "at the end, %"]
    return rows_to_markdown([*header, "seconds"], rows)


def middle(values: list[float], form: str = ".1f") -> str:
    """The median, and the range if there is more than one value."""
    if not values:
        return "never"
    return spread(values, form) if len(values) > 1 else format(values[0], form)


def first_at(curve: Sequence[Sequence[float]], accuracy: float) -> tuple[float, float] | None:
    """Steps and seconds at the first test with at least this accuracy; None if there is none."""
    return next(((steps, seconds) for steps, seconds, value in curve if value >= accuracy), None)


def draw_time_to_accuracy(results: Path) -> Figure:
    """Accuracy over seconds of training."""
    networks = by_network(runs("time", results))
    figure, axes = plot(11, 4, columns=max(1, len(networks)))
    for axis, (name, done) in zip(np.atleast_1d(axes), networks.items(), strict=False):
        for k, (framework, its) in enumerate(by_framework(done).items()):
            for i, run in enumerate(its):
                _, seconds, values = zip(*run["curve"], strict=True)
                style = {"color": COLOURS[k], "ls": ("-", "--", ":")[k], "marker": MARKERS[k], "ms": 3, "lw": 1.2}
                axis.plot(seconds, 100 * np.array(values), label=framework if i == 0 else None, alpha=0.8, **style)
        axis.set(title=name, xlabel="seconds of training", ylim=(97, 99.6))
    np.atleast_1d(axes)[0].set_ylabel("test accuracy, %")
    explain(np.atleast_1d(axes)[0], "lower right")
    return figure


# ---------------------------------------------------------------- 3 times faster, 1.5 points worse


def measured_steps(results: Path) -> list[dict[str, Any]]:
    """The measured steps of all networks; empty if they have not been measured."""
    path = results / SPEED
    return json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else []


def name_of(measured: dict[str, Any]) -> str:
    """The name of a network in the measured steps."""
    return network_name(measured["model"], measured["options"])


def step_times(results: Path) -> dict[str, list[float]]:
    """Seconds of a step in each round, by the network's name."""
    return {name_of(measured): measured["step"] for measured in measured_steps(results)}


def by_original_recipe(results: Path) -> dict[str, Runs]:
    """scratchnet's runs by the original's recipe, by network: the original's four, and one that it does not have."""
    return by_network(r for r in runs(ORIGINAL, results) + runs("causes", results) if r["framework"] == "scratchnet")


def causes(results: Path) -> str:
    """Standard or separable convolution, dense layer of 1024 or 128: accuracy, speed, parameters, multiply-adds."""
    done, steps, rows = by_original_recipe(results), step_times(results), []
    for model in ("standard_cnn", "separable_cnn"):
        for options in ({}, {"dense_units": 128}):
            experiment = Experiment(model, ARCHITECTURES[model].recipe, 0, options)
            net, found = experiment.network(), accuracies(done.get(experiment.network_name, []))
            rates = [1 / seconds for seconds in steps.get(experiment.network_name, [])]
            rows.append([
                model.removesuffix("_cnn"), str(options.get("dense_units", 1024)), mean_of(found), str(len(found)),
                spread(rates) if rates else "not measured", f"{net.parameter_count():,}",
                f"{net.multiply_adds() / 1e6:.2f}",
            ])  # fmt: skip
    header = ["convolution", "dense units", "test accuracy, %", "runs", "steps/s", "parameters", "M multiply-adds"]
    return rows_to_markdown(header, rows)


def causes_ratios(results: Path) -> str:
    """The effect of each of the two changes alone, on speed and on accuracy."""
    done, steps, rows = by_original_recipe(results), step_times(results), []
    small = ", dense units 128"
    changes = {
        "separable convolution, with 1024 dense units": ("standard_cnn", "separable_cnn"),
        "separable convolution, with 128 dense units": (f"standard_cnn{small}", f"separable_cnn{small}"),
        "128 dense units, with standard convolution": ("standard_cnn", f"standard_cnn{small}"),
        "128 dense units, with separable convolution": ("separable_cnn", f"separable_cnn{small}"),
        "both, as the original compared": ("standard_cnn", f"separable_cnn{small}"),
    }
    for change, (before, after) in changes.items():
        faster, points = "not measured", "not run"
        if before in steps and after in steps:
            faster = spread([a / b for a, b in zip(steps[before], steps[after], strict=True)], ".2f")
        if before in done and after in done:
            old, new = (statistics.mean(accuracies(done[name])) for name in (before, after))
            points = f"{new - old:+.2f}"
        rows.append([change, faster, points])
    return rows_to_markdown(["change", "times as fast", "points of accuracy"], rows)


def multipliers(results: Path) -> str:
    """Each width and resolution: what it costs and what it reaches."""
    rows = [
        [
            f"{p['width']:g}", f"{p['resolution']:g}", f"{p['multiply_adds'] / 1e6:.2f}", f"{p['parameters']:,}",
            f"{p['milliseconds']:.1f}" if p["milliseconds"] else "not measured", mean_of(p["accuracies"]),
            str(len(p["accuracies"])),
        ]
        for p in multiplier_points(results)
    ]  # fmt: skip
    header = ["width", "resolution", "M multiply-adds", "parameters", "ms a step", "test accuracy, %", "runs"]
    return rows_to_markdown(header, rows)


def multiplier_points(results: Path) -> list[dict[str, Any]]:
    """A point for each width and resolution that has a run."""
    steps, points = step_times(results), []
    for name, done in by_network(runs("multipliers", results)).items():
        experiment = done[0]["experiment"]
        net = experiment.network()
        points.append({
            "width": experiment.options["width_multiplier"],
            "resolution": experiment.options["resolution_multiplier"],
            "multiply_adds": net.multiply_adds(),
            "parameters": net.parameter_count(),
            "milliseconds": 1e3 * statistics.median(steps[name]) if name in steps else None,
            "accuracies": accuracies(done),
        })  # fmt: skip
    return points


def draw_multipliers(results: Path) -> Figure:
    """Accuracy against multiply-adds, and against measured time: a line a resolution, a point a width."""
    from matplotlib.ticker import LogLocator, NullFormatter

    points = multiplier_points(results)
    figure, axes = plot(11, 4.5, columns=2)
    for axis, key, scale, label in (
        (axes[0], "multiply_adds", 1e-6, "million multiply-adds an image, forward"),
        (axes[1], "milliseconds", 1, "milliseconds a training step of 128 images"),
    ):
        for k, resolution in enumerate(sorted({p["resolution"] for p in points}, reverse=True)):
            line = [p for p in points if p["resolution"] == resolution and p[key]]
            xs, ys = [p[key] * scale for p in line], [statistics.mean(p["accuracies"]) for p in line]
            axis.plot(xs, ys, marker=MARKERS[k], color=COLOURS[k], ls=("-", "--", ":")[k], label=f"{resolution:g}")
            for x, y, p in zip(xs, ys, line, strict=True):
                axis.annotate(f"{p['width']:g}", (x, y), (4, -11), textcoords="offset points", fontsize=8)
        axis.set(xscale="log", xlabel=label)
        axis.margins(y=0.08)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("test accuracy, %")
    explain(axes[1], "lower right", title="resolution multiplier")
    figure.suptitle("separable_cnn in other widths (the number at each point) and resolutions")
    return figure


# ---------------------------------------------------------------- batch normalisation and an average


def batch_norm(results: Path) -> str:
    """The separable network without batch normalisation and with it, by each of the three recipes."""
    rows = []
    for recipe in (ORIGINAL, "modern", "augmented"):
        plain = [r for r in runs(recipe, results, "separable_cnn") if is_plain(r)]
        normalised = [r for r in runs("batch_norm", results) if r["experiment"].recipe.name == recipe]
        row = [recipe]
        for its in (plain, normalised):
            row += [str(len(its)), mean_and_range(accuracies(its)) if its else "not run", last_losses(its)]
        rows.append(row)
    cells = ["runs", "test accuracy, %", "training loss at the end"]
    return rows_to_markdown(["recipe", *cells, *(f"{cell}, with it" for cell in cells)], rows)


def is_plain(result: dict[str, Any]) -> bool:
    """Whether a run is one of ours, of a network without options."""
    return result["framework"] == "scratchnet" and not result["experiment"].options


def last_losses(results: Runs) -> str:
    """The mean loss of the last steps of training, with dropout, in nats."""
    return mean_of([statistics.mean(r["losses"][-END // LOSS_EVERY :]) for r in results], 3)


def average_choice(results: Path) -> str:
    """What the candidates with batch normalisation or an average reached on the held-out digits."""
    done, rows = runs("average_choice", results), []
    for network, candidates in (
        ("separable_cnn, batch norm", BATCH_NORM_CANDIDATES),
        ("four_conv_cnn", AVERAGE_CANDIDATES),
    ):
        for recipe in candidates:
            its = [r for r in done if (r["experiment"].network_name, r["experiment"].recipe) == (network, recipe)]
            settings, augmentation = what_differs(recipe)
            average = f"{recipe.average:g}" if recipe.average else "none"
            losses = mean_of([r["test"]["loss"] for r in its], 4)
            rows.append([
                network, settings, recipe.schedule, augmentation, average, str(len(its)),
                f"{statistics.mean(accuracies(its)):.2f}" if its else "not run", losses,
            ])  # fmt: skip
    header = ["network", "recipe", "schedule", "turn, shift", "average", "runs", "accuracy, %", "loss"]
    return rows_to_markdown(header, rows)


def limit(results: Path) -> str:
    """What the chosen candidates reach on the test set, beside the aims."""
    rows = []
    for name, its in by_network(runs("limit", results)).items():
        aim = AIMS["limit"][its[0]["experiment"].model]
        losses = mean_of([r["test"]["loss"] for r in its], 4)
        rows.append([name, str(len(its)), mean_and_range(accuracies(its)), losses, last_losses(its), f"{aim:g}"])
    header = ["network", "runs", "test accuracy, %", "test loss", "training loss at the end", "aim"]
    return rows_to_markdown(header, rows)


# ---------------------------------------------------------------- large batches


def large_batch(results: Path) -> str:
    """What each batch size reaches in as many epochs, and the largest without each half of the rule."""
    rows = []
    for run in runs("large_batch", results):
        recipe, reached = run["experiment"].recipe, first_at(run["curve"], 0.98)
        epoch = recipe.steps / LARGE_BATCH_EPOCHS
        rows.append([
            f"{recipe.batch_size:,}", f"{recipe.lr:g}", f"{recipe.warm_up * LARGE_BATCH_EPOCHS:g} epochs",
            f"{recipe.steps:,}", mean_of(accuracies([run])), f"{run['test']['loss']:.4f}",
            f"{reached[0] / epoch:.0f}" if reached else "never",
        ])  # fmt: skip
    header = ["images a batch", "highest rate", "it rises for", "steps", "test accuracy, %", "test loss"]
    return rows_to_markdown([*header, "epochs to 98 %"], rows)


# ---------------------------------------------------------------- the whole


def made(results: Path) -> str:
    """What the runs were made with: processor, dates, threads, versions."""
    done = [run["made"] for part in PARTS for run in runs(part, results)]
    if (results / SPEED).exists():
        done.append(json.loads((results / SPEED).read_text(encoding="utf-8"))["made"])
    found: dict[str, set[str]] = {}
    for circumstances in done:
        found.setdefault("processor", set()).add(
            f"{circumstances['processor']}, {circumstances['vector_bits']}-bit vectors"
        )
        found.setdefault("dates", set()).add(circumstances["date"])
        found.setdefault("threads of a run", set()).add(str(circumstances["threads"]))
        for package, version in circumstances["versions"].items():
            found.setdefault(package, set()).add(version)
    return "\n".join(f"- {what}: {', '.join(sorted(values))}" for what, values in found.items())


def main_table(results: Path) -> str:
    """The main table: each network by all recipes."""
    originals = by_network(runs(ORIGINAL, results))
    better = {part: by_network(runs(part, results)) for part in ("modern", "augmented")}
    rows = []
    for experiment in planned(ORIGINAL, [0]):
        name = experiment.network_name
        frameworks = by_framework(originals.get(name, []))
        done = [frameworks.get("scratchnet", []), frameworks.get("PyTorch", [])]
        done += [part.get(name, []) for part in better.values()]
        none = "" if experiment.options else "not run"  # the modern recipes are for the networks without options
        cells = [mean_of(accuracies(d)) if d else none for d in done]
        rows.append([name, published_texts(published_for(experiment))[0].rstrip("%"), *cells])
    header = [
        "MNIST test set, %",
        "published",
        "original's recipe",
        "the same in PyTorch",
        "modern recipe",
        "augmented",
    ]
    return rows_to_markdown(header, rows)


TABLES = (
    main_table, original_recipe, plateau, choice, modern, separable_choice, losses_at_the_end, augmentation_cost,
    time_to_accuracy, causes, causes_ratios, multipliers, batch_norm,
    average_choice, limit, large_batch, made,
)  # fmt: skip
FIGURES = {
    "original_recipe": draw_original_recipe,
    "plateau": draw_plateau,
    "time_to_accuracy": draw_time_to_accuracy,
    "multipliers": draw_multipliers,
}


def plot(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """An empty figure in the common style."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        quiet(axis)
    return figure, axes


def quiet(axis: Axes) -> None:
    """Give the axes no box and a light grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def explain(axis: Axes, where: str, **options: Any) -> None:
    """A legend, if there is anything to explain."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, loc=where, **options)


def filled(text: str, results: Path) -> str:
    """The report's text with every table replaced by a new one."""
    for table in TABLES:
        begin, end = f"<!-- begin {table.__name__} -->", f"<!-- end {table.__name__} -->"
        if begin in text:
            pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
            replacement = f"{begin}\n{table(results)}\n{end}"
            text = re.sub(pattern, lambda _: replacement, text, flags=re.DOTALL)  # noqa: B023
    return text


def write(results: Path = RESULTS, report: Path = REPORT) -> None:
    """Write the tables into the report and the project's README, and draw the figures beside the report."""
    for path in (report, README):
        write_text_atomically(path, filled(path.read_text(encoding="utf-8"), results))
    for name, draw in FIGURES.items():
        save_figure(draw(results), report.with_name(f"{name}.png"))


if __name__ == "__main__":
    write()
