"""`scratchnet warm-up`: compile ahead what models need."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np

import scratchnet as sn
from scratchnet.commands.options import TRAINED_MODEL, add_command
from scratchnet.commands.subject import network
from scratchnet.data import RandomAffine
from scratchnet.engine import Planned, is_compiled, ops
from scratchnet.info import compiled_folder
from scratchnet.models import ARCHITECTURES
from scratchnet.runs.recipes import SAMPLE
from scratchnet.runs.run import EVALUATION_BATCH

# Sizes of batches that `warm-up` compiles for, and whether in training: those of the recipes, of `fit`, `evaluate` and
# `predict`, and a single image.
WARM_UP_BATCHES = [(N, True) for N in (1, SAMPLE.batch_size, 128)] + [(N, False) for N in (1, 256, EVALUATION_BATCH)]


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "warm-up", warm_up, "%(prog)s standard_cnn")
    known = f"{', '.join(ARCHITECTURES)}, or {TRAINED_MODEL} (default: all of these networks)"
    command.add_argument("models", nargs="*", metavar="MODEL", help=known)


def warm_up(options: argparse.Namespace) -> None:
    """Compile ahead what models need, as for a classroom, a container or continuous integration.

    For training and prediction, with all optimisers, in batches of the usual sizes.
    """
    if not is_compiled():
        raise ValueError(f"warm-up: expected a compiled engine, got {sn.current_engine()}, which compiles nothing")
    plans = []
    for net in map(network, options.models or ARCHITECTURES):
        one = net.output_shapes()[0]
        passes = [((size, *one), np.float32, training) for size, training in WARM_UP_BATCHES]
        optimizers = [kind(net.parameters(), 0.1) for kind in (sn.SGD, partial(sn.SGD, momentum=0.9), sn.Adam)]
        plans.append(Planned(net, passes, optimizers, RandomAffine()))
    ops.prepare(plans)
    print(f"all is compiled for {', '.join(plan.net.name for plan in plans)}; the code is in {compiled_folder()}")
