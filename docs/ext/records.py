"""The directives `networks` and `datasets`: tables of the registered networks and data sets.

They are made from the records, so the reference includes every network and data set that is added to scratchnet.
"""

from __future__ import annotations

from collections.abc import Sequence

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from scratchnet.data import DATASETS
from scratchnet.models import ARCHITECTURES
from scratchnet.study.reproduce import published_texts


def networks_table() -> str:
    """Each architecture and each of its variants, in reStructuredText."""
    rows = []
    for architecture in ARCHITECTURES.values():
        for options in ({}, *(variant.options for variant in architecture.variants)):
            net = architecture.make(**options)
            call = f"{architecture.name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
            accuracy, _ = published_texts(architecture.published_for(options))
            rows.append([
                f"``{call}``",
                architecture.title if not options else "the same with these options",
                " x ".join(map(str, architecture.input_shape)),
                f"{net.parameter_count():,}",
                f"{net.multiply_adds():,}",
                accuracy,
            ])  # fmt: skip
    header = ["network", "what it is", "one image", "parameters", "multiply-adds", "original's accuracy on MNIST"]
    return list_table(header, rows)


def datasets_table() -> str:
    """Each data set, in reStructuredText."""
    rows = [
        [f"``{info.name}``", info.title, " x ".join(map(str, info.image_shape)), ", ".join(info.classes), info.licence]
        for info in DATASETS.values()
    ]
    return list_table(["name", "data set", "one image", "classes", "licence"], rows)


def list_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in reStructuredText, as wide as its content needs."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for row in (header, *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


class Networks(SphinxDirective):
    """The table of the networks."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(networks_table())


class Datasets(SphinxDirective):
    """The table of the data sets."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(datasets_table())


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("networks", Networks)
    app.add_directive("datasets", Datasets)
    return {"parallel_read_safe": True}
