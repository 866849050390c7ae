"""`scratchnet train`: one model, its metrics and its training curves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import LAST_SEED, add_command, add_data_options, add_folder_options, whole_number
from scratchnet.commands.subject import load_data, network_for, print_written
from scratchnet.console import say
from scratchnet.layers.initial import RULES
from scratchnet.models import ARCHITECTURES
from scratchnet.parallel.shards import DEFAULT_SHARDS
from scratchnet.parallel.team import whole_team
from scratchnet.parallel.together import describe_ranks, from_first, one_first
from scratchnet.program import command_line
from scratchnet.reading import user_path
from scratchnet.runs.lock import locked
from scratchnet.runs.metrics import METRICS
from scratchnet.runs.options import (
    DEFAULT_LR,
    MODEL,
    SETTINGS,
    as_recipe,
    check_ranks,
    check_same_engine,
    make_room,
    new_settings,
    output_folder,
    resume_command,
    resumed_settings,
    with_ranks,
    write_settings,
)
from scratchnet.runs.recipes import SAMPLE, SCHEDULES
from scratchnet.runs.run import RunNotKept


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(
        commands, "train", train, "%(prog)s four_conv_cnn --optimizer sgd --lr 0.05 --epochs 5 --seed 1"
    )
    known = "; ".join(f"{name}: {architecture.title}" for name, architecture in ARCHITECTURES.items())
    command.add_argument("model", choices=list(ARCHITECTURES), help=f"the architecture. {known}")
    length = command.add_mutually_exclusive_group()
    # An option that is not given must be absent from the result: a resumed run compares only those that were given.
    unset: Any = {"default": argparse.SUPPRESS}
    length.add_argument(
        "--epochs", type=whole_number(1), **unset, help=f"passes over the data (default: {SAMPLE.epochs})"
    )
    length.add_argument("--steps", type=whole_number(1), **unset, help="batches to train on, instead of epochs")
    command.add_argument(
        "--batch-size", type=whole_number(1), **unset, help=f"images a step (default: {SAMPLE.batch_size})"
    )
    command.add_argument("--optimizer", choices=list(DEFAULT_LR), **unset, help="(default: adam)")
    command.add_argument(
        "--lr", type=float, **unset, help="highest learning rate (default: 0.004 for adam, 0.05 for sgd)"
    )
    command.add_argument("--momentum", type=float, **unset, help="of sgd (default: 0.9)")
    command.add_argument("--schedule", choices=SCHEDULES, **unset, help="of the learning rate (default: one-cycle)")
    command.add_argument("--init", choices=RULES, **unset, help=f"of the weights (default: {SAMPLE.init})")
    command.add_argument(
        "--seed", type=whole_number(0, LAST_SEED), **unset, help="of the weights, the batches and dropout (default: 0)"
    )
    add_data_options(command, default=argparse.SUPPRESS)
    command.add_argument(
        "--train-images", type=int, choices=[60_000, 55_000], **unset, help="of mnist: 55000 leaves out the first 5,000"
    )
    shards = f"parts of a batch, for the processes that mpiexec starts (default: none; with mpiexec {DEFAULT_SHARDS})"
    command.add_argument("--shards", type=whole_number(1), **unset, help=shards)
    command.add_argument("--checkpoint-every", type=whole_number(1), metavar="STEPS", help="(default: once an epoch)")
    add_folder_options(command, "runs/MODEL")


def train(options: argparse.Namespace) -> None:
    """Train one model, and write the model, its metrics and its training curves to a folder."""
    folder = user_path(options.out or f"runs/{options.model}")
    team = whole_team()  # this process alone, unless mpiexec has started several; rank 0 of them has the folder
    command = with_ranks(command_line("train", options.model, "--out", folder), team.size)
    settings = {}
    if team.rank == 0:
        options.until_the_end.enter_context(locked(output_folder(folder)))
        settings = resumed_settings(folder, options) if options.resume else new_settings(options)
    settings = from_first(team, settings)
    sn.use_engine(sn.current_engine())  # an engine that cannot run raises its error before anything is written
    check_same_engine(folder, settings, command)
    check_ranks(folder, settings, team.size)
    training, test = one_first(team, lambda: load_data(settings))
    net = network_for(ARCHITECTURES[settings["model"]], training, seed=settings["seed"], init=settings["init"])
    arguments = as_recipe(settings).fit_arguments(net, len(training))
    if not options.resume and team.rank == 0:
        make_room(folder, options.overwrite)
        write_settings(folder, settings)
    print(f"training {net.name} on {len(training):,} {training.name}, engine {sn.current_engine()}")
    if team.size > 1:
        print(describe_ranks(team, resume_command(command, sn.current_engine())))
    with resume_hint(command, folder, settings):
        history = sn.fit(
            net,
            training,
            test,
            **arguments,
            seed=settings["seed"],
            folder=folder,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
            shards=settings["shards"],
        )
    if team.rank != 0:
        return
    sn.save(net, folder / MODEL, trained_on=training)
    curves = sn.plots.save_figure(sn.plots.training_curves({net.name: history}), folder / "training_curves.png")
    print(f"accuracy on {len(test):,} {test.name}: {history.epochs[-1]['test_accuracy']:.2%}")
    print_written([folder / MODEL, folder / METRICS, curves])


@contextmanager
def resume_hint(command: str, folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """If the block is interrupted or its files fail, print the command that goes on, with the present engine."""
    try:
        yield
    except (KeyboardInterrupt, RunNotKept):
        if whole_team().rank == 0 and not (folder / SETTINGS).exists():  # the folder was deleted or moved
            with suppress(OSError):
                write_settings(folder, settings)
        say(f"\nTo go on:  {resume_command(command, sn.current_engine())}")
        raise
