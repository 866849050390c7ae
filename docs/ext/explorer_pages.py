"""The exported pages of the explorer: one of each network, trained for an epoch on the sample while the site is built.

They have megabytes, so they are made here and not kept in the project. Some lessons' pages lead to the stage that they
talk about; a lesson's file and its notebook, which have no such page beside them, do not.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

import scratchnet as sn
from scratchnet.explorer.export import export_page
from scratchnet.explorer.opening import Opened, trained
from scratchnet.models import ARCHITECTURES

DIGIT = 3  # of the held-out digits: a 4
SHOWN = {  # what of a lesson can be looked at number by number, and where
    "02_softmax_regression": (
        "the gradient of softmax and cross-entropy",
        "standard_cnn",
        "softmax_cross_entropy-backward",
    ),
    "04_why_a_relu": ("a ReLU's way back", "standard_cnn", "relu1-backward"),
    "05_convolution": ("a convolution: patch, kernel and products", "standard_cnn", "conv2-forward"),
    "06_convolution_backward": ("a convolution's dw, db and dx", "standard_cnn", "conv2-backward&array=dw"),
    "07_pooling_and_dropout": ("the winner of each window", "standard_cnn", "pool1-backward"),
    "13_depthwise_separable": ("a depthwise convolution", "separable_cnn", "depthwise2-forward"),
}


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


def lead_there(app: Sphinx, name: str, source: list[str]) -> None:
    """Below what a lesson says of itself, a link to the stage that it talks about."""
    folder, _, lesson = name.rpartition("/")
    if folder == "lessons" and lesson in SHOWN:
        what, net, stage = SHOWN[lesson]
        link = f"*In the explorer, number by number:* `{what} <../explorer/{net}.html#{stage}>`__."
        before, header, after = re.split(r"(^\*Part:\*.*?\n\n)", source[0], maxsplit=1, flags=re.M | re.S)
        source[0] = f"{before}{header}{link}\n\n{after}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", lead_there)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True}
