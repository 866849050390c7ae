"""`scratchnet reproduce`: every network, beside the results of the original."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import (
    LAST_SEED,
    REPRODUCE_FOLDER,
    WHERE,
    add_command,
    add_folder_options,
    whole_number,
)
from scratchnet.commands.subject import print_written
from scratchnet.commands.train import resume_hint
from scratchnet.data.registry import DATASETS
from scratchnet.models import ARCHITECTURES
from scratchnet.program import command_line
from scratchnet.reading import user_path
from scratchnet.runs.identity import fingerprint
from scratchnet.runs.lock import locked
from scratchnet.runs.options import check_same_settings, make_room, output_folder, write_settings
from scratchnet.runs.recipes import ORIGINAL, RECIPES, SAMPLE, current_name

STUDY_SEEDS = 5


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "reproduce", reproduce, "%(prog)s --data mnist --recipe modern --seeds 1")
    command.add_argument(
        "--recipe",
        type=current_name,
        choices=["sample", ORIGINAL, *RECIPES],
        help="how to train. sample: for the sample, a minute or two. The others are for a whole data set, and "
        "take some minutes for each run of each network. original: as the README that the networks come from; modern: "
        "a better optimiser and initialisation, as many steps; augmented: modern, with images turned and shifted "
        "(default: sample; original if --data names a whole data set)",
    )
    command.add_argument(
        "--data", choices=list(DATASETS), help="(default: sample or mnist, whichever the recipe is for)"
    )
    command.add_argument("--data-dir", help=WHERE)
    command.add_argument(
        "--seed",
        type=whole_number(0, LAST_SEED),
        default=0,
        help="random seed of the weights, the batches and dropout (default: 0)",
    )
    command.add_argument(
        "--seeds",
        type=whole_number(1),
        metavar="COUNT",
        help="on a whole data set: how many runs of each network, with the random seeds --seed, --seed + 1 and so on "
        f"(default: {STUDY_SEEDS})",
    )
    add_folder_options(command, f"{REPRODUCE_FOLDER}, or {REPRODUCE_FOLDER}-RECIPE on mnist, or -RECIPE-DATA")


def reproduce(options: argparse.Namespace) -> None:
    """Train every network, and compare the results with those of the original."""
    recipe = options.recipe or (ORIGINAL if options.data and DATASETS[options.data].files else "sample")
    data = options.data or ("sample" if recipe == "sample" else "mnist")
    whole = bool(DATASETS[data].files)  # and not a sample, which takes a minute or two
    if whole == (recipe == "sample"):
        suits = [name for name, info in DATASETS.items() if bool(info.files) != whole]
        raise ValueError(
            f"--recipe {recipe}: expected --data {' or '.join(suits)}, got --data {data}; leave --recipe out to train "
            "as suits that data, or leave --data out to train by that recipe on the data that it is for"
        )
    if not whole and (options.seeds or options.data_dir is not None):
        given = f"--seeds {options.seeds}" if options.seeds else f"--data-dir {options.data_dir}"
        raise ValueError(
            f"{given}: expected a whole data set to train on, got {DATASETS[data].title}; add --data mnist (some "
            "minutes for each run of each network), or leave the option out"
        )
    if whole:
        reproduce_whole(options, recipe, data)
    else:
        reproduce_once(options, data)


def reproduce_whole(options: argparse.Namespace, recipe: str, data: str) -> None:
    """Make several runs of each network on a whole data set, each saved as JSON when it is done."""
    from scratchnet.study.experiments import planned
    from scratchnet.study.reproduce import reproduce_whole

    default = f"{REPRODUCE_FOLDER}-{recipe}{'' if data == 'mnist' else f'-{data}'}"
    folder = output_folder(user_path(options.out or default))
    seeds = range(options.seed, options.seed + (options.seeds or STUDY_SEEDS))
    where = ["--data-dir", options.data_dir] if options.data_dir else []
    again = ["--recipe", recipe, "--data", data, "--out", folder, *where, "--seed", options.seed, "--seeds", len(seeds)]
    command = command_line("reproduce", *again)
    options.until_the_end.enter_context(locked(folder))
    sn.use_engine(sn.current_engine())
    train, test = sn.data.load(data, options.data_dir)  # an error comes before anything is written
    networks = {e.network_name: asdict(e.recipe) for e in planned(recipe, [0], data)}
    settings = {"recipe": recipe, "networks": networks} | engine_and_data(train, test)
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        make_room(folder, options.overwrite, [path.name for path in folder.glob(f"{recipe}-*-seed_*.json")])
        write_settings(folder, settings)
    print(
        f"Recipe {recipe}, {len(train):,} {train.name}, random seeds {seeds[0]} to {seeds[-1]}, engine "
        f"{sn.current_engine()}."
    )
    print_left_out(train)
    with resume_hint(command, folder, settings):
        results, written = reproduce_whole(folder, recipe, seeds, data, options.data_dir)
    print(f"\n{results}\n")
    print_written(written)


def reproduce_once(options: argparse.Namespace, data: str) -> None:
    """Make one run of each network on a sample, save the models and draw their figures."""
    from scratchnet.study.reproduce import architectures_for, reproduce

    default = REPRODUCE_FOLDER if data == "sample" else f"{REPRODUCE_FOLDER}-{data}"
    folder = output_folder(user_path(options.out or default))
    command = command_line("reproduce", "--data", data, "--out", folder, "--seed", options.seed)
    sn.use_engine(sn.current_engine())
    training, test = sn.data.load(data)
    settings = {"seed": options.seed, "recipe": asdict(SAMPLE)} | engine_and_data(training, test)
    names = [architecture.name for architecture in architectures_for(training)]
    for place in [folder, *(folder / name for name in names)]:
        options.until_the_end.enter_context(locked(place))
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        for place in [folder, *(folder / name for name in names)]:
            make_room(place, options.overwrite)
        write_settings(folder, settings)
    print(f"{', '.join(names)}: {len(training):,} {training.name}, engine {sn.current_engine()}.")
    print_left_out(training)
    with resume_hint(command, folder, settings):
        results, written = reproduce(folder, training, test, SAMPLE, options.seed, options.resume)
    print(f"\n{results}\n")
    print_written(written)


def engine_and_data(training: sn.Dataset, test: sn.Dataset) -> dict[str, Any]:
    """What decides the table of a reproduction besides the recipe: the engine, and the data of both parts."""
    parts = {"training images": training.images, "training labels": training.labels}
    parts |= {"test images": test.images, "test labels": test.labels}
    return {"engine": sn.current_engine(), "data": {name: fingerprint(array) for name, array in parts.items()}}


def print_left_out(data: sn.Dataset) -> None:
    """Print the names of the networks that do not take such images; ValueError if none does."""
    from scratchnet.study.reproduce import architectures_for

    taken = architectures_for(data)
    if not taken:
        raise ValueError(
            f"no network takes the {data.name}: images of shape {data.images.shape[1:]} in {data.class_count()} "
            "classes. Register one that does"
        )
    if left := [name for name, architecture in ARCHITECTURES.items() if architecture not in taken]:
        print(f"Left out (made for other images): {', '.join(left)}.")
