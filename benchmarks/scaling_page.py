"""Write the tables of `docs/scaling.rst` from what `scaling.py` has measured.

    python -m benchmarks.scaling --ranks 1 2 4 8 --threads 1   # measures; writes build/scaling/strong.json
    python -m benchmarks.scaling_page                          # reads that, and writes docs/scaling_tables.inc
    python -m benchmarks.scaling_page --print                  # shows them, and writes nothing

Options say what the network between the machines is like, and what a machine costs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import scaling_forecast as forecast
from benchmarks.pool import ROOT
from benchmarks.scaling import OUTPUT
from benchmarks.scaling_model import Link
from scratchnet.console import never_refuse
from scratchnet.writing import write_text_atomically

PAGE = ROOT / "docs" / "scaling_tables.inc"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling_page", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--measured", type=Path, default=OUTPUT / "strong.json", help="(default: %(default)s)")
    parser.add_argument("--steps", type=Path, default=forecast.STEPS, help="until 99 %% (default: %(default)s)")
    parser.add_argument(
        "--gigabits", nargs="+", type=float, default=[10, 25, 100], help="a second (default: 10 25 100)"
    )
    parser.add_argument("--microseconds", type=float, default=20, help="of latency (default: 20)")
    parser.add_argument("--most", type=int, default=1024, help="ranks (default: 1024)")
    parser.add_argument("--price", type=float, default=0.1, help="of a core for an hour (default: 0.1)")
    parser.add_argument(
        "--here", nargs=2, type=float, default=[5, 50], metavar=("GIGABYTES", "MICROSECONDS"),
        help="between the ranks of the measured machine, for the check (default: 5 50)",
    )  # fmt: skip
    parser.add_argument("--print", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    for path in (options.measured, options.steps):
        if not path.exists():
            parser.error(f"{path}: no such file; measurements are made with: python -m benchmarks.scaling")
    return options


def page(results: dict[str, Any], options: argparse.Namespace) -> str:
    """All tables, each below the sentences that say what it holds."""
    return "\n".join(parts(results, options)) + "\n"


def parts(results: dict[str, Any], options: argparse.Namespace) -> Iterator[str]:
    """The page's paragraphs and tables, one after the other."""
    links = {f"{g:g} Gbit/s": Link(g * 1e9 / 8, options.microseconds * 1e-6) for g in options.gigabits}
    middle = list(links)[len(links) // 2]
    asked, most = forecast.questions(results), options.most
    steps = forecast.read_steps(options.steps)
    yield f".. Made by benchmarks/scaling_page.py; do not edit.\n\n{source(results, options)}"
    yield heading("How many machines pay")
    yield PAYS.format(worth=100 * forecast.WORTH)
    yield as_table(forecast.machines_that_pay(asked, links, most))
    yield f"The same share for each number of machines, at {middle}:\n"
    yield as_table(forecast.shares(asked, links[middle], most))
    yield heading("Time and cost to 99 % on MNIST")
    yield COST.format(price=options.price)
    yield as_table(forecast.time_and_cost(forecast.until_99(asked, steps), links, most, options.price))
    yield heading("A network and a data set a thousand times larger")
    yield LARGER
    larger = [forecast.thousandfold(question) for question in asked]
    yield as_table(forecast.machines_that_pay(larger, links, most))
    yield as_table(forecast.time_and_cost(forecast.as_many_epochs(larger, steps), links, most, options.price))
    yield heading("The model beside the runs")
    yield CHECK.format(gigabytes=options.here[0], microseconds=options.here[1])
    yield as_table(forecast.check(results, Link(options.here[0] * 1e9, options.here[1] * 1e-6)))


PAYS = """A number of machines *pays* if a step has at least {worth:g} % of the speed that as many machines would have
without losses, and if all smaller powers of two pay as well. A machine is a rank with as many threads as
were measured, and has at least one image. *Limit* says what takes the most time where twice as many
machines do not pay. It is the shard's size if computing does not shrink as the shard does, or if the
slowest rank is waited for. The last column lets the gradients of the last layers travel while the others
are computed.
"""

COST = """The steps are those of recorded runs, each until its first test with 99 % right: see
``benchmarks/scaling_steps.json``. The sum is steps, times the seconds of a step, times machines, times
their cores, times the price: {price:g} an hour for each core, in any currency. This price is an assumption.
So is that every machine is paid by the second, and begins at once. In brackets stands how many machines.
"""

LARGER = """The assumptions: a thousand times as many weights, so a thousand times the bytes of a gradient; a thousand
times as many multiply-adds for an image, at the same speed; a thousand times as many images; and as many
epochs until 99 % as the recorded runs with 128 images took on MNIST, whatever the batch size. So large a
data set allows the larger batches: Goyal et al. (2017, arXiv 1706.02677) saw no loss up to 8,192 images of
1.28 million. A machine has the memory for it. Whether such a network would learn so, nobody has tried.
"""

CHECK = """Each of our measured runs, and what the model says of it. What a rank computes comes from the runs with the
fewest ranks that have as many threads for each, so their own rows only tell how well it is fitted. Between the
ranks of one machine, {gigabytes:g} gigabytes a second and {microseconds:g} microseconds are assumed. The model
does not know that ranks of one machine share its memory and its processor's power.
"""


def source(results: dict[str, Any], options: argparse.Namespace) -> str:
    """What the tables are made from."""
    processor = results["machine"]["processor"]
    return (
        f"The step times were measured on {results['date']} by ``{results['command']}`` ({processor}). "
        f"The networks between the machines are given: their latency is {options.microseconds:g} microseconds.\n"
    )


def heading(text: str) -> str:
    """A section's title."""
    return f"{text}\n{'-' * len(text)}\n"


def as_table(rows: list[list[str]]) -> str:
    """A table in reStructuredText, a row a line; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [".. csv-table::", "   :delim: |", "   :header-rows: 1", "   :widths: auto", ""]
    for row in rows:
        cells = " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"   {cells}".rstrip())
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Write the page, or print it."""
    never_refuse()
    options = parse(arguments)
    made = page(json.loads(options.measured.read_text(encoding="utf-8")), options)
    if options.print:
        print(made)
        return
    write_text_atomically(PAGE, made)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
