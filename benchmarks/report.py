"""Make the table in Markdown and the figures from the results. `python -m benchmarks.report` makes both from the JSON.

A time is the median of the rounds, followed by the fastest and the slowest round. A ratio is taken in each round,
between two peers that ran seconds apart, and its median is given. So a slowdown of the whole machine cancels out.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scratchnet as sn
from benchmarks.peers import OURS, framework
from scratchnet.show.plots import COLOURS, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = dict[str, Any]


def step_flop(model: str, batch: int) -> int:
    """Floating-point operations of a training step, counted by the definition.

    Each multiply-add of the forward pass counts as 2, and the backward pass as twice the forward pass. The first layer
    needs no gradient of its input.
    """
    net = sn.models.ARCHITECTURES[model].make(seed=0)
    return 2 * batch * (3 * net.multiply_adds() - net.layers[0].multiply_adds(net.input_shape))


def main_model(models: Iterable[str]) -> str:
    """The network whose figures stand for all: standard_cnn, or the first of those that were measured."""
    models = list(models)
    return "standard_cnn" if "standard_cnn" in models else models[0]


def best_of_each_framework(rounds: dict[str, list[float]]) -> dict[str, str]:
    """For each framework except ours, its configuration with the smallest median time."""
    best: dict[str, str] = {}
    for name, times in rounds.items():
        maker = framework(name)
        if name != OURS and (maker not in best or statistics.median(times) < statistics.median(rounds[best[maker]])):
            best[maker] = name
    return best


def ratios(rounds: dict[str, list[float]], name: str) -> list[float]:
    """How many times as fast as `name` ours was, in each round."""
    return [theirs / ours for theirs, ours in zip(rounds[name], rounds[OURS], strict=True)]


def spread(values: list[float], form: str = ".1f", scale: float = 1.0) -> str:
    """Median (smallest to largest)."""
    middle, low, high = (format(f(values) * scale, form) for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def rows_to_markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def select(results: Results, work: str, batch: int) -> dict[str, Results]:
    """The timings of one kind of work at one batch size, by model."""
    return {t["model"]: t for t in results.get("timings", []) if t["work"] == work and t["batch"] == batch}


def peak(results: Results) -> float:
    """The multiply-add peak in FLOP/s: the larger of the first and the last measurement."""
    return max(limit["multiply-adds"] for limit in results["limits"]) * 1e9


# ---------------------------------------------------------------- Markdown


def main_table(results: Results, work: str = "training", batch: int = 128) -> str:
    """Milliseconds of each peer for each network, how many times as fast ours is, and our share of the peak."""
    timings = select(results, work, batch)
    models = list(timings)
    names = list(dict.fromkeys(name for t in timings.values() for name in t["rounds"]))
    rows = [
        [name, *(spread(timings[m]["rounds"][name], scale=1e3) if name in timings[m]["rounds"] else "" for m in models)]
        for name in names
    ]
    best = {m: best_of_each_framework(timings[m]["rounds"]) for m in models}
    for maker in dict.fromkeys(maker for of_model in best.values() for maker in of_model):
        cells = [
            f"**{spread(ratios(timings[m]['rounds'], best[m][maker]), '.2f')}**" if maker in best[m] else ""
            for m in models
        ]
        other = "the NumPy engine" if maker.startswith(OURS) else f"{maker}'s best"
        rows.append([f"times as fast as {other}", *cells])
    if work == "training":
        shares = [step_flop(m, batch) / statistics.median(timings[m]["rounds"][OURS]) / peak(results) for m in models]
        rows.append(["share of the multiply-add peak", *(f"{share:.0%}" for share in shares)])
    else:
        speeds = [batch / statistics.median(timings[m]["rounds"][OURS]) for m in models]
        rows.append(["images a second, scratchnet", *(f"{speed:,.0f}" for speed in speeds)])
    return rows_to_markdown([f"{work}, batch {batch} (ms)", *models], rows)


def processors_table(runs: Iterable[Results], makers: Sequence[str] = ("PyTorch", "TensorFlow")) -> str:
    """How many times as fast ours is in training with a batch of 128, in a row for each framework and run."""
    runs = list(runs)
    rows = []
    for maker in makers:
        for results in runs:
            timings = select(results, "training", 128)
            best = {model: best_of_each_framework(t["rounds"]) for model, t in timings.items()}
            if all(maker in of_model for of_model in best.values()):
                cells = [spread(ratios(t["rounds"], best[model][maker]), ".2f") for model, t in timings.items()]
                processor = results["machine"]["processor"].partition(",")[0].replace("(R)", "")
                rows.append([f"{maker}'s best: {processor}, {results['threads']} threads", *cells])
    return rows_to_markdown(["times as fast as", *select(runs[0], "training", 128)], rows)


def layer_table(results: Results) -> str:
    """Every layer alone: milliseconds, and, if it multiplies, GFLOP/s and the share of the peak."""
    rows = []
    names = list(dict.fromkeys(name for layer in results["layers"] for name in layer["rounds"] if name != OURS))
    for layer in results["layers"]:
        seconds = statistics.median(layer["rounds"][OURS])
        others = [
            f"{statistics.median(layer['rounds'][name]) * 1e3:.2f}" if name in layer["rounds"] else "" for name in names
        ]
        speed = layer["flop"] / seconds
        cells = [f"{speed / 1e9:.0f}", f"{speed / peak(results):.0%}"] if layer["flop"] else ["", ""]
        rows.append(
            [f"{layer['model']} {layer['layer']} {layer['direction']}", f"{seconds * 1e3:.2f}", *cells, *others]
        )
    return rows_to_markdown(["layer, batch 128", "ms", "GFLOP/s", "of the peak", *(f"{n}, ms" for n in names)], rows)


def dense_table(results: Results) -> str:
    """The largest dense layer alone, for several batches and numbers of threads: milliseconds, GFLOP/s and ratios."""
    names = list(dict.fromkeys(name for row in results["dense"] for name in row["rounds"] if name != OURS))
    rows = []
    for row in results["dense"]:
        rounds = row["rounds"]
        ms = [f"{statistics.median(rounds[n]) * 1e3:.2f}" if n in rounds else "" for n in (OURS, *names)]
        speed = f"{row['flop'] / statistics.median(rounds[OURS]) / 1e9:.0f}"
        times = [spread(ratios(rounds, n), ".2f") if n in rounds else "" for n in names]
        rows.append([f"{row['threads']}", f"{row['batch']} {row['direction']}", ms[0], speed, *ms[1:], *times])
    first = results["dense"][0]
    header = ["threads", f"{first['model']} {first['layer']}, batch", "ms", "GFLOP/s"]
    return rows_to_markdown([*header, *(f"{n}, ms" for n in names), *(f"times as fast as {n}" for n in names)], rows)


def first_run_line(results: Results) -> str:
    """The longest first run of each peer at a new shape."""
    seconds: dict[str, list[float]] = {}
    for timing in results["timings"]:
        for name, first in timing["first run"].items():
            seconds.setdefault(name, []).append(first)
    return "; ".join(f"{name} {max(values):.1f} s" for name, values in seconds.items())


def limits_line(limit: dict[str, float]) -> str:
    """One measurement of the processor's limits."""
    product, blas = limit["scratchnet's product"], limit["NumPy's product"]
    return (
        f"{limit['multiply-adds']:.0f} GFLOP/s of multiply-adds; matrix product {product:.0f} (scratchnet) and "
        f"{blas:.0f} (NumPy) GFLOP/s; memory {limit['memory']:.0f} GB/s"
    )


def markdown(results: Results) -> str:
    """The whole report."""
    lines = [
        "# What the benchmark measured",
        "",
        f"`{results['command']}` on {results['date']}, {results['threads']} threads, {results['rounds']} rounds, "
        f"{results['seconds'] / 60:.0f} minutes. Times are medians of the rounds (fastest to slowest); ratios are "
        "taken round by round.",
        "",
        *(f"- {name}: {value}" for name, value in results["machine"].items()),
        f"- Python {results['Python']}; " + ", ".join(f"{k} {v}" for k, v in results["versions"].items()),
        *(f"- limits, measured {when}: {limits_line(limit)}"
          for when, limit in zip(("first", "last"), results["limits"], strict=True)),
        *(f"- {note}" for note in results["notes"]),
        "",
        "Before anything was timed, all peers computed the same logits and gradients from the same weights. "
        "The largest difference from scratchnet's, relative to the largest entry of its array: " + "; ".join(
            f"{model}: " + ", ".join(f"{name} {apart:.0e}" for name, apart in peers.items() if name != OURS)
            for model, peers in results["verified"].items()
        ) + ".",
        "",
        COUNTED,
    ]  # fmt: skip
    if results["timings"]:
        lines += ["", FIRST_RUNS + first_run_line(results) + "."]
    for work in ("training", "inference"):
        for batch in sorted({t["batch"] for t in results["timings"] if t["work"] == work}, key=lambda b: (b != 128, b)):
            lines += ["", f"## {work.capitalize()}, batch {batch}", "", main_table(results, work, batch)]
    training = select(results, "training", 128)
    if {"standard_cnn", "separable_cnn"} <= set(training):
        standard, separable = (training[m]["rounds"] for m in ("standard_cnn", "separable_cnn"))
        times = [
            f"{n} {statistics.median(standard[n]) / statistics.median(separable[n]):.1f}"
            for n in standard
            if n in separable
        ]
        lines += [
            "",
            f"A step of standard_cnn takes this many times as long as one of separable_cnn: {', '.join(times)}.",
        ]
    if "layers" in results:
        lines += ["", "## Layers", "", RANDOM, "", layer_table(results)]
    if "dense" in results:
        lines += ["", "## The largest dense layer", "", f"{RANDOM} {BLAS}", "", dense_table(results)]
    for title, key, column in (("Image size", "sizes", "size"), ("Threads", "threads scaling", "threads")):
        if key in results:
            names = list(dict.fromkeys(name for row in results[key] for name in row["rounds"]))
            rows = [
                [
                    " ".join(str(row[c]) for c in (column, "model") if c in row),
                    *(spread(row["rounds"][n], scale=1e3) if n in row["rounds"] else "" for n in names),
                ]
                for row in results[key]
            ]
            lines += ["", f"## {title}", "", rows_to_markdown([f"{column} (ms)", *names], rows)]
    if "start-up" in results:
        lines += ["", "## Start-up and memory", "", start_up_table(results["start-up"])]
    return "\n".join(lines) + "\n"


FIRST_RUNS = (
    "The longest first run at a new shape. It includes the compilation that neither the verification nor a cache had "
    "done before. The very first run of a process is under start-up. "
)
COUNTED = (
    "Operations are counted by the definition, two for each multiply-add. GFLOP/s and shares of the peak follow from "
    "them. scratchnet does fewer: Winograd's convolution needs fewer, and the backward pass leaves out the zeros that "
    "ReLU, dropout and max-pooling make in a gradient. So a share can exceed 100 %."
)
RANDOM = "Each layer alone gets a random gradient. It has no zeros, so none are left out."
BLAS = "For a dense layer, the NumPy engine is NumPy's own product: its BLAS."


def start_up_table(start: Results) -> str:
    """Seconds to the first step, peak memory, and seconds of imports."""
    rows = [
        [name, spread(seconds, ".2f"), f"{statistics.median(start['memory'][name]):.0f}"]
        for name, seconds in start["first step"].items()
    ]
    table = rows_to_markdown(
        [f"{start['model']}, batch 128", "first training step done after (s)", "peak memory (MB)"], rows
    )
    imports = ", ".join(f"{name} {spread(seconds, '.2f')}" for name, seconds in start["import"].items())
    return f"{table}\n\nSeconds of a process that only imports: {imports}."


# ---------------------------------------------------------------- figures


def bars(results: Results) -> Figure:
    """A training step of each network for each framework's best configuration, with the arithmetic's limit.

    A bar is the median of the rounds. The line on it goes from the fastest to the slowest round.
    """
    timings = select(results, "training", 128)
    figure, axes = _axes(max(5.0, 11 * len(timings) / 3), 4.2, len(timings))
    for axis, (model, timing) in zip(axes, timings.items(), strict=True):
        names = [OURS, *best_of_each_framework(timing["rounds"]).values()]
        rounds = [[seconds * 1e3 for seconds in timing["rounds"][n]] for n in names]
        shown = 1.2 * max(
            max(r) for n, r in zip(names, rounds, strict=True) if "XLA" not in n and "JAX" not in n and "NumPy" not in n
        )
        for i, (name, times) in enumerate(zip(names, rounds, strict=True)):
            median, low, high = statistics.median(times), min(times), max(times)
            axis.bar(i, min(median, shown), color="#0072b2" if name == OURS else "#c9c9c9", edgecolor="black", zorder=2)
            if median <= shown:
                axis.errorbar(i, median, [[median - low], [high - median]], color="black", capsize=4, zorder=3)
            text = f"{median:.0f}" if median <= shown else f"{median:.0f} (cut)"
            label = axis.annotate(text, (i, min(high, shown)), (0, 2), textcoords="offset points", fontsize=9)
            label.set(ha="center", va="bottom", zorder=4, bbox={"fc": "white", "ec": "none", "pad": 0.5})
        limit = step_flop(model, 128) / peak(results) * 1e3
        axis.axhline(limit, color="black", linestyle="--", linewidth=1, zorder=3)
        axis.text(len(names) - 0.4, limit, "limit", ha="left", va="center", fontsize=8)
        axis.set_xticks(range(len(names)), [_two_lines(n) for n in names], rotation=40, ha="right", fontsize=8)
        axis.set(title=model, ylim=(0, shown * 1.12))
    axes[0].set_ylabel("ms a training step, batch 128")
    figure.suptitle(
        f"{results['threads']} threads, {results['machine']['processor']}. "
        "A bar is the median; its line goes from the fastest to the slowest round.\n"
        "Limit: the definition's multiply-adds at the measured peak. "
        "scratchnet does fewer: Winograd's convolution, and no zeros of gradients",
        fontsize=9,
    )
    return figure


def scaling(results: Results) -> Figure:
    """Images a second against the batch, a convolution's speed against the image's size, and steps against threads."""
    figure, axes = _axes(11, 4.2, 3)
    model = main_model(select(results, "training", 128))
    batches = sorted({t["batch"] for t in results["timings"] if t["work"] == "training"})
    _lines(
        axes[0],
        batches,
        lambda n, b: b / statistics.median(select(results, "training", b)[model]["rounds"][n]),
        results,
    )
    axes[0].set(title=f"Training {model}", xlabel="batch", ylabel="images a second", xscale="log", yscale="log")
    axes[0].set_xticks(batches, map(str, batches))
    axes[0].minorticks_off()
    axes[0].yaxis.set_major_formatter("{x:,.0f}")
    axes[0].set_yticks([250, 500, 1000, 2000, 4000])
    sizes = {row["size"]: row for row in results.get("sizes", [])}
    _lines(
        axes[1], list(sizes), lambda n, s: sizes[s]["flop"] / statistics.median(sizes[s]["rounds"][n]) / 1e9, results
    )
    axes[1].axhline(peak(results) / 1e9, color="black", linewidth=0.8, linestyle=":")
    axes[1].set(title="5x5 convolution, 32 to 64 channels", xlabel="image side (pixels)", ylabel="GFLOP/s",
                ylim=(0, None))  # fmt: skip
    few = {row["threads"]: row["rounds"] for row in results.get("threads scaling", []) if row["model"] == model}
    few[results["threads"]] = select(results, "training", 128)[model]["rounds"]
    _lines(axes[2], sorted(few), lambda n, t: 1 / statistics.median(few[t][n]), results)
    axes[2].set(title=f"Training {model}, batch 128", xlabel="threads", ylabel="steps a second", ylim=(0, None))
    axes[2].set_xticks(sorted(few))
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def roofline(results: Results) -> Figure:
    """GFLOP/s of every layer against its operations per byte of memory that it has to read or write."""
    from matplotlib.patheffects import withStroke

    figure, (axis,) = _axes(8, 5, 1)
    top, memory = peak(results) / 1e9, max(limit["memory"] for limit in results["limits"])
    xs = [0.5, top / memory, 2000]
    axis.plot(xs, [min(top, x * memory) for x in xs], color="black", label="what memory and arithmetic allow")
    for direction, marker in (("forward", "o"), ("backward", "s")):
        found = [row for row in results["layers"] if row["direction"] == direction and row["flop"]]
        x = [row["flop"] / row["bytes"] for row in found]
        y = [row["flop"] / statistics.median(row["rounds"][OURS]) / 1e9 for row in found]
        colour = COLOURS[0] if direction == "forward" else COLOURS[1]
        axis.scatter(
            x, y, marker=marker, color=colour, edgecolor="black", s=35, label=f"{direction} of a layer", zorder=3
        )
        labelled: list[tuple[float, float]] = []
        for row, a, b in zip(found, x, y, strict=True):
            apart = all(max(a / c, c / a) > 4 or max(b / d, d / b) > 1.12 for c, d in labelled)
            if direction == "forward" and apart:  # of labels that would overlap, only the first
                labelled.append((a, b))
                # To the left, because backward is to the right, and below the markers, so that it hides none.
                axis.annotate(f"{row['model'].partition('_')[0]} {row['layer']}", (a, b), fontsize=7, ha="right",
                              va="center", xytext=(-6, 0), textcoords="offset points", zorder=2.5,
                              path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=(0.06, 2500), xlabel="operations a byte", ylabel="GFLOP/s by definition",
             title="scratchnet's layers under the roofline, batch 128")  # fmt: skip
    axis.legend(loc="lower right", fontsize=8)
    return figure


def _axes(width: float, height: float, columns: int):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(axis="y", color="#dddddd", linewidth=0.6, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(axis, xs, value, results: Results) -> None:
    names = [n for n in results["timings"][0]["rounds"] if "torch.compile" not in n]
    for i, name in enumerate(names):
        points = []
        for x in xs:
            try:
                points.append((x, value(name, x)))
            except KeyError:
                continue  # not measured for this peer
        if points:
            style = {"color": "#0072b2", "linewidth": 2.2} if name == OURS else {"color": "#555555", "linewidth": 1}
            axis.plot(*zip(*points, strict=True), marker="os^Dv<>p"[i % 8], markersize=5, label=name, **style)


def _two_lines(name: str) -> str:
    return name.replace(", ", ",\n")


def write(results: Results, folder: Path) -> None:
    """Write the table and the figures to a folder, without those figures whose part was not measured."""
    (folder / "README.md").write_text(markdown(results), encoding="utf-8")
    if select(results, "training", 128):
        save_figure(bars(results), folder / "training.png")
    if "sizes" in results and "threads scaling" in results:
        save_figure(scaling(results), folder / "scaling.png")
    if "layers" in results:
        save_figure(roofline(results), folder / "roofline.png")


def published() -> dict[Path, Results]:
    """The runs in this repository, by their folders: the newest on two cores first, then those on other machines."""
    here = Path(__file__).parent / "results"
    folders = [here, *sorted(path.parent for path in here.glob("*/results.json"))]
    return {folder: json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in folders}


if __name__ == "__main__":
    for folder, results in published().items():
        write(results, folder)
