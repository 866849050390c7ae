"""The exported pages of the explorer: one of each network, trained for an epoch on the sample while the site is built.

They have megabytes, so they are made here and not kept in the project.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

import scratchnet as sn
from scratchnet.explorer.export import export_page
from scratchnet.explorer.opening import Opened, trained
from scratchnet.models import ARCHITECTURES

DIGIT = 3  # of the held-out digits: a 4


def write_pages(app: Sphinx, error: Exception | None) -> None:
    """Write `explorer/NAME.html` beside the pages of the site, unless they are there already."""
    if error is not None or app.builder.format != "html":
        return
    training, test = sn.data.load("sample")
    for name, architecture in ARCHITECTURES.items():
        path = Path(app.outdir, "explorer", f"{name}.html")
        if not path.exists():
            net = architecture.make()
            first = trained(net, training)
            export_page(Opened(net, test, training, first, None), path, DIGIT)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True}
