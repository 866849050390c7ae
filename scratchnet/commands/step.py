"""`scratchnet step`: one image, forward and backward through a network, a stage at a time."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import TRAINED_MODEL, add_command, add_data_options, whole_number
from scratchnet.commands.subject import check_fit, load_data, model_file, network_for
from scratchnet.console import say
from scratchnet.engine import READABLE_ENGINE
from scratchnet.models import ARCHITECTURES
from scratchnet.runs.options import check_data_dir
from scratchnet.runs.recipes import SAMPLE


def add(commands: Any) -> None:
    """Declare the command and its options."""
    engines = f"{READABLE_ENGINE}; an architecture learns on that of train"
    command = add_command(commands, "step", step, "%(prog)s runs/standard_cnn --digit 3", engines)
    command.add_argument(
        "model",
        nargs="?",
        help=f"{TRAINED_MODEL}; or {', '.join(ARCHITECTURES)}, which then learn for some seconds (default: a small "
        "network, which learns for some seconds)",
    )
    command.add_argument(
        "--untrained", action="store_true", help="walk through the first weights of a network that has no file"
    )
    command.add_argument(
        "--digit", type=whole_number(0), default=0, metavar="K", help="which of the test images (default: 0)"
    )
    add_data_options(command, default="sample")


def step(options: argparse.Namespace) -> None:
    """Walk one image forward and backward through a network, a stage at a time."""
    from scratchnet.show.stages import as_text, walk
    from scratchnet.show.subject import from_file, how_well

    check_data_dir(options.data, options.data_dir)
    path = None if options.model in (None, *ARCHITECTURES) else model_file(options.model)
    if path is not None and options.untrained:
        raise ValueError(f"--untrained: expected the name of an architecture, or none; {path} has its own weights")
    train, digits = load_data(vars(options))
    if not 0 <= options.digit < len(digits):
        raise ValueError(f"--digit: expected 0 to {len(digits) - 1}, one of the {digits.name}; got {options.digit}")
    net, weights = new_subject(options, train) if path is None else (sn.load(path), from_file(path))
    check_fit(net, digits)
    sn.use_engine(options.engine or READABLE_ENGINE)
    about = f"{weights}\n{how_well(net, digits, options.digit)}"
    one = digits[options.digit : options.digit + 1]
    stages = walk(net, one.images, one.labels)
    label = one.class_name(int(one.labels[0]))
    named = f"{one.labels[0]}, {label}" if label != str(one.labels[0]) else f"a {label}"
    subject = f"{net.name}, digit {options.digit}: {named}"
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from scratchnet.show.terminal import run

        run(stages, subject, about)
    else:
        print("\n\n".join([f"{subject}\n{about}", *map(as_text, stages)]))


def new_subject(options: argparse.Namespace, train: sn.Dataset) -> tuple[sn.Network, str]:
    """A network for `step` to walk through, which learns for some seconds, and a sentence on its weights.

    An architecture learns on the engine of `scratchnet train`. The small network, which stands in if none is named,
    learns on the walk's, which compiles nothing.
    """
    from scratchnet.show.subject import UNTRAINED, small_cnn, train_shortly

    if options.model is None:
        net, engine = small_cnn(train.images.shape[1:], train.class_count()), READABLE_ENGINE
    else:
        net, engine = network_for(ARCHITECTURES[options.model], train, init=SAMPLE.init), sn.current_engine()
    if options.untrained:
        return net, UNTRAINED
    say(f"{net.name} learns for some seconds; --untrained leaves that out, and so does a trained model's file")
    with sn.use_engine(options.engine or engine):
        return net, train_shortly(net, train)
