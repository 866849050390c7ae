"""From the runs' JSON to the tables and figures of `README.md`. `python -m benchmarks.reproduction.report` makes them.

The text of the report is written by hand; each part between `<!-- begin NAME -->` and `<!-- end NAME -->` is what the
function of that name returns.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scratchnet as sn
from benchmarks.report import rows_to_markdown, spread
from benchmarks.reproduction.jobs import AIMS, PARTS, PUBLISHED_LOSSES, RESULTS
from benchmarks.reproduction.speed import SPEED
from scratchnet.experiments import LOSS_EVERY, Experiment, mean_and_deviation, read
from scratchnet.files import write_text_atomically
from scratchnet.plots import COLOURS, save_figure
from scratchnet.recipes import CANDIDATES, SEED
from scratchnet.reproduce import SEED as PUBLISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT = Path(__file__).parent / "README.md"
MARKERS = "os^Dv"
MOST_SEEDS = 100  # more than anybody has run
Runs = list[dict[str, Any]]


def runs(part: str, results: Path, model: str | None = None) -> Runs:
    """The results of a part that are there, of all models or of one, in the order of its jobs."""
    paths = [results / job.path for job in PARTS[part](MOST_SEEDS) if model in (None, job.experiment.model)]
    return [read(path) for path in paths if path.exists()]


def grouped(results: Runs) -> dict[tuple[str, str], Runs]:
    """Results by network and framework."""
    groups: dict[tuple[str, str], Runs] = {}
    for result in results:
        groups.setdefault((network_name(result["experiment"]), result["framework"]), []).append(result)
    return groups


def network_name(experiment: Experiment) -> str:
    """The model, and what of it is not as usual."""
    options = experiment.described_options()
    return f"{experiment.model}, {options}" if options else experiment.model


def accuracies(results: Runs) -> list[float]:
    """In percent."""
    return [100 * result["test"]["accuracy"] for result in results]


def mean_of(values: Sequence[float]) -> str:
    """Mean ± standard deviation, of as many values as there are."""
    if not values:
        return "not run"
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.2f} ± {deviation:.2f}" if len(values) > 1 else f"{mean:.2f} (one run)"


def multiply_adds(net: sn.Network) -> int:
    """Of the forward pass of one image."""
    shapes = net.output_shapes()
    return sum(layer.multiply_adds(shape) for layer, shape in zip(net.layers, shapes, strict=False))


def size(net: sn.Network) -> int:
    """Number of parameters."""
    return sum(p.value.size for p in net.parameters())


# ---------------------------------------------------------------- the seed's recipe


def seed(results: Path) -> str:
    """Accuracy of each network in both frameworks, and where the published figure lies."""
    groups = grouped(runs("seed", results))
    rows = []
    for name in dict.fromkeys(name for name, _ in groups):
        ours, theirs = (accuracies(groups.get((name, framework), [])) for framework in ("scratchnet", "PyTorch"))
        published = published_accuracy(name)
        mean, deviation = mean_and_deviation(ours)
        difference = f"{mean - statistics.mean(theirs):+.2f}" if theirs else ""
        place = f"{(published - mean) / deviation:+.1f}" if published and len(ours) > 1 else ""
        rows.append([
            name,
            f"{len(ours)} + {len(theirs)}",
            f"{mean_of(ours)} ({min(ours):.2f} to {max(ours):.2f})",
            f"{mean_of(theirs)} ({min(theirs):.2f} to {max(theirs):.2f})" if theirs else "not run",
            difference,
            f"{published:.2f}" if published else "none",
            place,
        ])  # fmt: skip
    header = [
        "test accuracy, %",
        "runs",
        "scratchnet",
        "PyTorch",
        "difference",
        "published",
        "deviations from our mean",
    ]
    return rows_to_markdown(header, rows)


def published_accuracy(name: str) -> float | None:
    """In percent. The figure for separable_cnn is of its notebook, whose dense layer had 128 units."""
    model = name.split(",")[0]
    return None if name == "separable_cnn" else float(PUBLISHED[model].accuracy.rstrip("%"))


def plateau(results: Path) -> str:
    """When the first network leaves its plateau."""
    lines = []
    for framework in ("scratchnet", "PyTorch"):
        ends = [end_of_plateau(r["losses"]) for r in four_conv_runs(results) if r["framework"] == framework]
        lines.append(f"- {framework}, seed by seed: {', '.join(str(end or 'never') for end in ends) or 'not run'}")
    return "\n".join(lines)


def four_conv_runs(results: Path) -> Runs:
    """The runs of the first network by the seed's recipe."""
    return runs("seed", results, "four_conv_cnn")


def end_of_plateau(losses: Sequence[float], below: float = 2.0) -> int | None:
    """The step after which the mean loss of ten was first below 2.0; on the plateau it is 2.30, the log of ten."""
    return next((i * LOSS_EVERY for i, loss in enumerate(losses, 1) if loss < below), None)


def draw_plateau(results: Path) -> Figure:
    """The loss of each run, over the published points."""
    figure, axis = plot(9, 4.5)
    styles = {"scratchnet": {"color": COLOURS[0], "lw": 1.2}, "PyTorch": {"color": COLOURS[1], "lw": 1.2, "ls": "--"}}
    for framework, style in styles.items():
        for i, run in enumerate(r for r in four_conv_runs(results) if r["framework"] == framework):
            smooth = np.convolve(run["losses"], np.ones(5) / 5, "valid")
            steps = (np.arange(len(smooth)) + 3) * LOSS_EVERY
            axis.plot(steps, smooth, alpha=0.8, label=framework if i == 0 else None, **style)
    axis.plot(*zip(*PUBLISHED_LOSSES, strict=True), "ko", ms=7, label="published", zorder=5)
    axis.set(xlabel="step", ylabel="training loss (nats), mean of 50 steps", ylim=(0, 2.5))
    axis.set_title("four_conv_cnn by the seed's recipe: a plateau, then a fall")
    axis.legend(frameon=False)
    return figure


def draw_seed(results: Path) -> Figure:
    """Every run's accuracy as a point."""
    groups = grouped(runs("seed", results))
    names = list(dict.fromkeys(name for name, _ in groups))
    figure, axis = plot(9, 4)
    for k, framework in enumerate(("scratchnet", "PyTorch")):
        for row, name in enumerate(names):
            values = accuracies(groups.get((name, framework), []))
            height = row + (k - 0.5) * 0.3
            label = framework if row == 0 else None
            style = {"ls": "", "marker": MARKERS[k], "color": COLOURS[k], "alpha": 0.8}
            axis.plot(values, [height] * len(values), label=label, **style)
    for row, name in enumerate(names):
        if published := published_accuracy(name):
            axis.plot([published] * 2, [row - 0.35, row + 0.35], "k-", lw=2, label="published" if row == 0 else None)
    axis.set_yticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axis.invert_yaxis()
    axis.set(xlabel="test accuracy, %")
    axis.set_title("The seed's recipe: every run, and what was published")
    axis.legend(frameon=False, loc="lower left")
    return figure


# ---------------------------------------------------------------- modern recipes


def choice(results: Path) -> str:
    """What each candidate reached on the digits held out of the training set."""
    done = runs("choice", results)
    rows = []
    for recipe in CANDIDATES:
        row = {r["experiment"].model: r for r in done if r["experiment"].recipe.name == recipe.name}
        augmentation = f"{recipe.degrees:g}°, {recipe.shift:g} px" if recipe.make_augment() else "none"
        cells = [
            f"{100 * row[m]['test']['accuracy']:.2f} ({row[m]['test']['loss']:.4f})" if m in row else "not run"
            for m in SEED
        ]
        mean = f"{statistics.mean(accuracies(list(row.values()))):.2f}" if len(row) == len(SEED) else ""
        optimizer = f"{recipe.optimizer}, lr {recipe.lr:g}, decay {recipe.weight_decay:g}"
        rows.append([optimizer, augmentation, *cells, mean])
    return rows_to_markdown(["recipe", "turn, shift", *SEED, "mean"], rows)


def modern(results: Path) -> str:
    """Accuracy on the test set without and with augmentation, beside what was aimed at."""
    rows = []
    for model in SEED:
        row = [model]
        for recipe in ("modern", "augmented"):
            values = accuracies(runs(recipe, results, model))
            row += [f"{mean_of(values)} ({min(values):.2f} to {max(values):.2f})" if values else "not run"]
            row += [str(len(values)), f"{AIMS[recipe][model]:g}"]
        rows.append(row)
    return rows_to_markdown(["test accuracy, %", "modern", "runs", "aim", "with augmentation", "runs", "aim"], rows)


def augmentation_cost(results: Path) -> str:
    """What turning and shifting a batch costs."""
    rows = []
    for measured in speed(results):
        if "augment" in measured:
            share = statistics.median(a / s for a, s in zip(measured["augment"], measured["step"], strict=True))
            rows.append([
                name_of(measured), spread(measured["augment"], ".2f", 1e3), spread(measured["step"], ".1f", 1e3),
                f"{share:.1%}",
            ])  # fmt: skip
    return rows_to_markdown(["batch of 128, ms", "augmentation", "training step", "share"], rows)


def time(results: Path) -> str:
    """Steps and seconds to 98 % and 99 % in each framework."""
    rows = []
    for (name, framework), done in grouped(runs("time", results)).items():
        row = [name, framework, str(len(done))]
        for aim in (0.98, 0.99):
            reached = [first_at(r["curve"], aim) for r in done]
            found = [r for r in reached if r]
            steps, seconds = zip(*found, strict=True) if found else ((), ())
            row += [
                f"{statistics.median(steps):.0f}" if found else "never",
                spread(list(seconds)) if found else "never",
            ]
        whole = [r["seconds"] for r in done]
        rows.append([*row, mean_of(accuracies(done)), spread(whole, ".0f")])
    header = ["network", "framework", "runs", "steps to 98 %", "seconds", "steps to 99 %", "seconds", "at the end, %"]
    return rows_to_markdown([*header, "seconds"], rows)


def first_at(curve: Sequence[Sequence[float]], accuracy: float) -> tuple[float, float] | None:
    """Steps and seconds at the first test that was at least so good."""
    return next(((steps, seconds) for steps, seconds, value in curve if value >= accuracy), None)


def draw_time(results: Path) -> Figure:
    """Accuracy over seconds of training."""
    groups = grouped(runs("time", results))
    names = list(dict.fromkeys(name for name, _ in groups))
    figure, axes = plot(11, 4, columns=max(1, len(names)))
    for axis, name in zip(np.atleast_1d(axes), names, strict=False):
        for k, framework in enumerate(("scratchnet", "PyTorch", "TensorFlow")):
            for i, run in enumerate(groups.get((name, framework), [])):
                _, seconds, values = zip(*run["curve"], strict=True)
                style = {"color": COLOURS[k], "ls": ("-", "--", ":")[k], "marker": MARKERS[k], "ms": 3, "lw": 1.2}
                axis.plot(seconds, 100 * np.array(values), label=framework if i == 0 else None, alpha=0.8, **style)
        axis.set(title=name, xlabel="seconds of training", ylim=(97, 99.6))
    np.atleast_1d(axes)[0].set_ylabel("test accuracy, %")
    np.atleast_1d(axes)[0].legend(frameon=False, loc="lower right")
    return figure


# ---------------------------------------------------------------- 3 times faster, 1.5 points worse


def speed(results: Path) -> list[dict[str, Any]]:
    """The measured steps, if there are any."""
    path = results / SPEED
    return json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else []


def name_of(measured: dict[str, Any]) -> str:
    """Of a network in the measured steps."""
    return network_name(Experiment(measured["model"], SEED[measured["model"]], 0, measured["options"]))


def causes(results: Path) -> str:
    """Standard or separable convolution, dense layer of 1024 or 128: accuracy, speed, parameters, multiply-adds."""
    done = grouped(runs("seed", results) + runs("causes", results))
    steps = {name_of(measured): measured["step"] for measured in speed(results)}
    rows = []
    for model in ("standard_cnn", "separable_cnn"):
        for options in ({}, {"dense_units": 128}):
            experiment = Experiment(model, SEED[model], 0, options)
            name, net = network_name(experiment), experiment.network()
            rates = [1 / seconds for seconds in steps.get(name, [])]
            found = accuracies(done.get((name, "scratchnet"), []))
            rows.append([
                model.removesuffix("_cnn"), str(options.get("dense_units", 1024)), mean_of(found), str(len(found)),
                spread(rates) if rates else "not measured", f"{size(net):,}", f"{multiply_adds(net) / 1e6:.2f}",
            ])  # fmt: skip
    header = [
        "convolution",
        "dense units",
        "test accuracy, %",
        "runs",
        "steps/s",
        "parameters",
        "million multiply-adds",
    ]
    return rows_to_markdown(header, rows)


def causes_ratios(results: Path) -> str:
    """What each of the two changes does alone, in speed and in accuracy."""
    done = grouped(runs("seed", results) + runs("causes", results))
    steps = {name_of(measured): measured["step"] for measured in speed(results)}
    small = ", dense units 128"
    changes = {
        "separable convolution, with 1024 dense units": ("standard_cnn", "separable_cnn"),
        "separable convolution, with 128 dense units": (f"standard_cnn{small}", f"separable_cnn{small}"),
        "128 dense units, with standard convolution": ("standard_cnn", f"standard_cnn{small}"),
        "128 dense units, with separable convolution": ("separable_cnn", f"separable_cnn{small}"),
        "both, as the seed compared": ("standard_cnn", f"separable_cnn{small}"),
    }
    rows = []
    for change, (before, after) in changes.items():
        faster, points = "not measured", "not run"
        if before in steps and after in steps:
            faster = spread([a / b for a, b in zip(steps[before], steps[after], strict=True)], ".2f")
        if (before, "scratchnet") in done and (after, "scratchnet") in done:
            old, new = (statistics.mean(accuracies(done[name, "scratchnet"])) for name in (before, after))
            points = f"{new - old:+.2f}"
        rows.append([change, faster, points])
    return rows_to_markdown(["change", "times faster", "points of accuracy"], rows)


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
    """A point for each width and resolution of which there is a run."""
    steps = {name_of(measured): measured["step"] for measured in speed(results)}
    points = []
    for (name, _), done in grouped(runs("multipliers", results)).items():
        experiment = done[0]["experiment"]
        net = experiment.network()
        points.append({
            "width": experiment.options["width_multiplier"],
            "resolution": experiment.options["resolution_multiplier"],
            "multiply_adds": multiply_adds(net),
            "parameters": size(net),
            "milliseconds": 1e3 * statistics.median(steps[name]) if name in steps else None,
            "accuracies": accuracies(done),
        })  # fmt: skip
    return points


def draw_multipliers(results: Path) -> Figure:
    """Accuracy against multiply-adds, and against measured time: a line a resolution, a point a width."""
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
    axes[0].set_ylabel("test accuracy, %")
    axes[1].legend(title="resolution multiplier", frameon=False, loc="lower right")
    figure.suptitle("separable_cnn in other widths (the number at each point) and resolutions")
    return figure


# ---------------------------------------------------------------- the whole


def made(results: Path) -> str:
    """With what the runs were made."""
    done = [run for part in PARTS for run in runs(part, results)]
    found: dict[str, set[str]] = {}
    for run in done:
        found.setdefault("processor", set()).add(
            f"{run['made']['processor']}, {run['made']['vector_bits']}-bit vectors"
        )
        found.setdefault("dates", set()).add(run["made"]["date"])
        for package, version in run["made"]["versions"].items():
            found.setdefault(package, set()).add(version)
    lines = [f"- {what}: {', '.join(sorted(values))}" for what, values in found.items()]
    return "\n".join([f"- runs: {len(done)}", *lines])


def main_table(results: Path) -> str:
    """The table for the project's README: each network by all recipes."""
    rows = []
    for model in SEED:
        by_seed = grouped(runs("seed", results, model))
        as_described = [by_seed.get((model, framework), []) for framework in ("scratchnet", "PyTorch")]
        better = [runs(recipe, results, model) for recipe in ("modern", "augmented")]
        cells = [mean_of(accuracies(done)) for done in as_described + better]
        rows.append([model, PUBLISHED[model].accuracy.rstrip("%"), *cells])
    header = ["MNIST test set, %", "published", "seed's recipe", "the same in PyTorch", "modern recipe", "augmented"]
    return rows_to_markdown(header, rows)


TABLES = (main_table, seed, plateau, choice, modern, augmentation_cost, time, causes, causes_ratios, multipliers, made)
FIGURES = {
    "seed": draw_seed,
    "plateau": draw_plateau,
    "time": draw_time,
    "multipliers": draw_multipliers,
}


def plot(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """An empty figure in the style of all."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        quiet(axis)
    return figure, axes


def quiet(axis: Axes) -> None:
    """No box, a light grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def filled(text: str, results: Path) -> str:
    """The report's text with every table made anew."""
    for table in TABLES:
        begin, end = f"<!-- begin {table.__name__} -->", f"<!-- end {table.__name__} -->"
        if begin in text:
            pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
            replacement = f"{begin}\n{table(results)}\n{end}"
            text = re.sub(pattern, lambda _: replacement, text, flags=re.DOTALL)  # noqa: B023
    return text


def write(results: Path = RESULTS, report: Path = REPORT) -> None:
    """Write the tables into the report and draw the figures beside it."""
    write_text_atomically(report, filled(report.read_text(encoding="utf-8"), results))
    for name, draw in FIGURES.items():
        save_figure(draw(results), report.with_name(f"{name}.png"))


if __name__ == "__main__":
    write()
