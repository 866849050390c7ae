"""The command line: `scratchnet train | evaluate | predict | reproduce | summary | step | check | hint | info`.

Exit codes: 0 done; 1 failed, with a message on stderr; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import scratchnet as sn
from scratchnet.engine import ENGINES
from scratchnet.layers.initial import RULES
from scratchnet.models import MODELS
from scratchnet.runs.options import (
    DEFAULT_LR,
    MODEL,
    as_recipe,
    check_same_engine,
    check_same_settings,
    make_room,
    new_settings,
    resume_command,
    resumed_settings,
    write_settings,
)
from scratchnet.runs.recipes import RECIPES, SAMPLE, SCHEDULES
from scratchnet.runs.run import METRICS
from scratchnet.runs.same import fingerprint
from scratchnet.tables import table
from scratchnet.version import __version__

UNSURE = 0.6  # a best probability below this is worth a word

REPRODUCE_FOLDER = Path("runs/reproduce")
STUDY_SEEDS = 5
LONG = {"sample": "the sample (a minute or two)", "mnist": "MNIST (some minutes for each run of each network)"}
WHERE = "the folder with the four MNIST files; otherwise SCRATCHNET_DATA, the cache folder, or a download"
DEFAULT_MODEL = REPRODUCE_FOLDER / "standard_cnn" / MODEL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        if options.engine:
            sn.use_engine(options.engine)
        options.command(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        print(f"scratchnet: {error}", file=sys.stderr)
        return 1
    return 0


# ---------------------------------------------------------------- train


def train(options: argparse.Namespace) -> None:
    """Train one model, and write the model, its metrics and its training curves to a folder."""
    folder = Path(options.out or f"runs/{options.model}")
    command = f"scratchnet train {options.model} --out {shlex.quote(str(folder))}"
    settings = resumed_settings(folder, options) if options.resume else new_settings(options)
    sn.use_engine(sn.current_engine())  # an engine that cannot run is noticed before anything is written
    check_same_engine(folder, settings, command)
    training, test = load_data(settings)
    net = MODELS[settings["model"]](seed=settings["seed"], init=settings["init"])
    arguments = as_recipe(settings).fit_arguments(net, len(training))
    if not options.resume:
        make_room(folder, options.overwrite)
        write_settings(folder, settings)
    print(f"training {net.name} on {len(training):,} {training.name}, engine {sn.current_engine()}")
    with resume_hint(command):
        history = sn.fit(
            net,
            training,
            test,
            **arguments,
            seed=settings["seed"],
            folder=folder,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
        )
    sn.save(net, folder / MODEL)
    curves = sn.plots.save_figure(sn.plots.training_curves({net.name: history}), folder / "training_curves.png")
    print(f"accuracy on {len(test):,} {test.name}: {history.epochs[-1]['test_accuracy']:.2%}")
    print_written([folder / MODEL, folder / METRICS, curves])


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """If what runs inside is interrupted, say how to go on with it on the present engine."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nTo go on:  {resume_command(command, sn.current_engine())}", file=sys.stderr)
        raise


# ---------------------------------------------------------------- the other commands


def evaluate(options: argparse.Namespace) -> None:
    """Loss and accuracy of a trained model."""
    net = sn.load(options.model)
    _, test = load_data({"data": options.data, "data_dir": options.data_dir, "train_images": 60_000})
    loss, accuracy = sn.evaluate(net, test, progress=True)
    print(f"{net.name} on {len(test):,} {test.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats")


def predict(options: argparse.Namespace) -> None:
    """What digit each picture shows, what the network saw of it, and the probabilities."""
    from scratchnet.data.photographs import as_text, read_digit

    if not options.model.exists():
        raise FileNotFoundError(
            f"{options.model}: no trained model here; train all with 'scratchnet reproduce', or name one with --model"
        )
    sn.use_engine(sn.current_engine())
    net = sn.load(options.model)
    images = [read_digit(path) for path in options.images]
    for path, image, probabilities in zip(options.images, images, net.predict(np.stack(images)), strict=True):
        print(f"{path}: {probabilities.argmax()}, with probability {probabilities.max():.1%}; {net.name} saw")
        if probabilities.max() < UNSURE:
            print("(unsure: does the picture below look like one digit, upright and whole?)")
        print(as_text(image))
        print(
            table(
                ["digit", "probability"], [[d, f"{p:6.1%} {'#' * round(30 * p)}"] for d, p in enumerate(probabilities)]
            )
        )


def reproduce(options: argparse.Namespace) -> None:
    """Train the three architectures, and compare with what the seed reports."""
    recipe = options.recipe or ("seed" if options.data == "mnist" else "sample")
    if (options.data or "mnist") == "mnist" and recipe in RECIPES:
        reproduce_on_mnist(options, recipe)
    elif options.data == "mnist" or recipe in RECIPES:
        fits = "sample" if recipe == "sample" else "mnist"
        raise ValueError(
            f"--recipe {recipe}: expected --data {fits}, got --data {options.data}; leave --recipe out to train as "
            f"suits that data, or leave --data out to train by that recipe on {LONG[fits]}"
        )
    elif options.seeds or options.data_dir is not None:
        given = f"--seeds {options.seeds}" if options.seeds else f"--data-dir {options.data_dir}"
        raise ValueError(
            f"{given}: expected the whole of MNIST to train on, got the sample; add --data mnist ({LONG['mnist']}), or "
            "leave the option out"
        )
    else:
        reproduce_on_sample(options)


def reproduce_on_mnist(options: argparse.Namespace, recipe: str) -> None:
    """Several runs of each architecture on all of MNIST, each kept as JSON when it is done."""
    from scratchnet.study.reproduce import reproduce_on_mnist

    folder = Path(options.out or f"runs/reproduce-{recipe}")
    seeds = range(options.seed, options.seed + (options.seeds or STUDY_SEEDS))
    again = ["scratchnet", "reproduce", "--recipe", recipe, "--data", "mnist", "--out", str(folder)]
    again += ["--data-dir", options.data_dir] if options.data_dir else []
    command = f"{shlex.join(again)} --seed {options.seed} --seeds {len(seeds)}"
    sn.use_engine(sn.current_engine())
    training, test = sn.data.load("mnist", options.data_dir)  # if it is not there, nothing is written
    networks = {model: asdict(r) for model, r in RECIPES[recipe].items()}
    settings = {"recipe": recipe, "networks": networks} | circumstances(training, test)
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        make_room(folder, options.overwrite, [path.name for path in folder.glob(f"{recipe}-*-seed_*.json")])
        write_settings(folder, settings)
    print(f"Recipe {recipe}, random seeds {seeds[0]} to {seeds[-1]}, engine {sn.current_engine()}.")
    with resume_hint(command):
        results, written = reproduce_on_mnist(folder, recipe, seeds, options.data_dir)
    print(f"\n{results}\n")
    print_written(written)


def reproduce_on_sample(options: argparse.Namespace) -> None:
    """One run of each architecture on the sample, the models kept and their figures drawn."""
    from scratchnet.study.reproduce import reproduce

    folder = Path(options.out or REPRODUCE_FOLDER)
    command = f"scratchnet reproduce --out {shlex.quote(str(folder))} --seed {options.seed}"
    sn.use_engine(sn.current_engine())
    training, test = sn.data.load("sample")
    settings = {"seed": options.seed, "recipe": asdict(SAMPLE)} | circumstances(training, test)
    if options.resume:
        check_same_settings(folder, settings, command)
    else:
        for place in [folder, *(folder / name for name in MODELS)]:
            make_room(place, options.overwrite)
        write_settings(folder, settings)
    print(f"Three networks, {len(training):,} {training.name}, engine {sn.current_engine()}.")
    with resume_hint(command):
        results, written = reproduce(folder, training, test, SAMPLE, options.seed, options.resume)
    print(f"\n{results}\n")
    print_written(written)


def circumstances(training: sn.Dataset, test: sn.Dataset) -> dict[str, Any]:
    """What besides the recipe decides the table of a reproduction: the engine, and the digits of both parts."""
    parts = {"training images": training.images, "training labels": training.labels}
    parts |= {"test images": test.images, "test labels": test.labels}
    return {"engine": sn.current_engine(), "data": {name: fingerprint(array) for name, array in parts.items()}}


def summary(options: argparse.Namespace) -> None:
    """The layers of a model: an architecture by name, or a trained model's file."""
    print(network(options.model).summary())


def step(options: argparse.Namespace) -> None:
    """Walk one digit forward and backward through a network, a stage at a time."""
    from scratchnet.show.stages import as_text, walk

    net = network(options.model)
    _, digits = sn.data.load("sample")
    if not 0 <= options.digit < len(digits):
        raise ValueError(f"--digit: expected 0 to {len(digits) - 1}, one of the {digits.name}; got {options.digit}")
    one = digits[options.digit : options.digit + 1]
    stages = walk(net, one.images, one.labels)
    subject = f"{net.name}, digit {options.digit}: a {one.labels[0]}"
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from scratchnet.show.terminal import run

        run(stages, subject)
    else:
        print_pages([subject, *map(as_text, stages)])


def info(options: argparse.Namespace) -> None:
    """The machine, the libraries and the data."""
    from scratchnet.info import describe_machine

    described = describe_machine()
    width = max(map(len, described))
    print("\n".join(f"{name:{width}}  {value}" for name, value in described.items()))


def check(options: argparse.Namespace) -> None:
    """Check exercises, and say what kind of mistake an answer makes."""
    from scratchnet.exercises.checker import check_file, find_exercise, find_folder, progress_table

    folder = find_folder(options.folder)
    if options.all or not options.exercises:
        text, done = progress_table(folder)
        print(text)
    else:
        results = [check_file(folder / f"{find_exercise(number).name}.py") for number in options.exercises]
        print("\n\n".join(map(str, results)))
        done = all(result.status == "done" for result in results)
    if not done:
        raise SystemExit(1)


def hint(options: argparse.Namespace) -> None:
    """A hint for an exercise: level 1 is a nudge, the last is nearly the answer."""
    from scratchnet.exercises.checker import find_exercise
    from scratchnet.exercises.checker import hint as hint_for

    print(hint_for(find_exercise(options.exercise), options.level))


def network(model: str) -> sn.Network:
    """An architecture by its name, untrained, or a trained model by its file."""
    if model in MODELS:
        return MODELS[model]()
    if not Path(model).exists():
        raise FileNotFoundError(f"{model}: neither a trained model's file nor one of {', '.join(MODELS)}")
    return sn.load(model)


def load_data(settings: dict[str, Any]) -> tuple[sn.Dataset, sn.Dataset]:
    """The training and the test part that the settings name."""
    return sn.data.load(settings["data"], settings["data_dir"], settings["train_images"])


def print_pages(pages: Sequence[str]) -> None:
    """Print one after another, and take it well if the reader (head, less) has seen enough."""
    try:
        print("\n\n".join(pages), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at exit


def print_written(paths: Sequence[Path]) -> None:
    """Name the files that a command made."""
    print("written:\n" + "\n".join(f"  {path}" for path in paths))


# ---------------------------------------------------------------- options


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="scratchnet",
        description="Convolutional networks written by hand: train them, look at them, use them.",
        epilog="examples:\n"
        "  scratchnet reproduce                      train the three networks on the built-in digits\n"
        "  scratchnet reproduce --data mnist         the same on all of MNIST, as the originals were trained\n"
        "  scratchnet train standard_cnn --epochs 3  train one of them\n"
        "  scratchnet predict digit.png              read a picture of a digit\n"
        "  scratchnet COMMAND --help                 the options of a command",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scratchnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)

    command = _add(
        commands, "evaluate", evaluate, "scratchnet evaluate runs/standard_cnn/model.safetensors --data mnist"
    )
    command.add_argument("model", type=Path, help="a trained model's file")
    _add_data_options(command, default="sample")

    command = _add(commands, "predict", predict, "scratchnet predict photo.jpg digit.png --model my.safetensors")
    command.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="PNG or JPEG, dark on light or light on dark"
    )
    command.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="a trained model's file (default: %(default)s)"
    )

    command = _add(commands, "reproduce", reproduce, "scratchnet reproduce --data mnist --recipe modern --seeds 1")
    command.add_argument(
        "--recipe",
        choices=["sample", *RECIPES],
        help="how to train. sample: as suits the sample, a minute or two. The others are for the whole of MNIST, and "
        "take some minutes for each run of each network. seed: as the README that the networks come from; modern: a "
        "better optimiser and initialisation, as many steps; augmented: the same, with digits turned and shifted "
        "(default: sample, or seed with --data mnist)",
    )
    command.add_argument("--data", choices=["sample", "mnist"], help="(default: what the recipe is for)")
    command.add_argument("--data-dir", help=WHERE)
    command.add_argument(
        "--seed", type=int, default=0, help="random seed of the weights, the batches and dropout (default: 0)"
    )
    command.add_argument(
        "--seeds",
        type=_positive,
        metavar="COUNT",
        help=f"on mnist: how many runs of each network, the first with --seed, the next with one more, and so on "
        f"(default: {STUDY_SEEDS})",
    )
    _add_folder_options(command, f"{REPRODUCE_FOLDER}, or {REPRODUCE_FOLDER}-RECIPE on mnist")

    command = _add(commands, "summary", summary, "scratchnet summary separable_cnn")
    command.add_argument("model", help=f"{', '.join(MODELS)}, or a trained model's file")

    command = _add(commands, "step", step, "scratchnet step standard_cnn --digit 3", engine="numpy")
    command.add_argument("model", help=f"{', '.join(MODELS)}, or a trained model's file")
    command.add_argument("--digit", type=int, default=0, metavar="K", help="which of the held-out digits (default: 0)")

    command = _add(commands, "check", check, "scratchnet check 05")
    command.add_argument("exercises", nargs="*", metavar="NUMBER", help="which exercises: 05, or 05 06; none means all")
    command.add_argument("--all", action="store_true", help="a table of what is done")
    command.add_argument("--folder", help="where the exercises are (default: lessons/exercises, here or above)")

    command = _add(commands, "hint", hint, "scratchnet hint 05 2")
    command.add_argument("exercise", metavar="NUMBER", help="of the exercise: 05")
    command.add_argument("level", type=int, nargs="?", default=1, help="1 is a nudge, 3 nearly the answer (default: 1)")

    _add(commands, "info", info, "scratchnet info")
    return parser


def _add(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], None],
    example: str,
    engine: str | None = None,
) -> Any:
    description = (function.__doc__ or "").split("\n")[0]
    command = commands.add_parser(
        name,
        help=description[0].lower() + description[1:].rstrip("."),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = engine or "SCRATCHNET_ENGINE, or numba"
    command.add_argument("--engine", choices=ENGINES, default=engine, help=f"the kernels to run (default: {default})")
    command.set_defaults(command=function)
    return command


def _add_train(commands: Any) -> None:
    command = _add(
        commands, "train", train, "scratchnet train four_conv_cnn --optimizer sgd --lr 0.05 --epochs 5 --seed 1"
    )
    command.add_argument("model", choices=list(MODELS), help="the architecture")
    length = command.add_mutually_exclusive_group()
    # Options left out are left out of the result, too: a resumed run must tell them from those that were given.
    unset: Any = {"default": argparse.SUPPRESS}
    length.add_argument("--epochs", type=_positive, **unset, help=f"passes over the data (default: {SAMPLE.epochs})")
    length.add_argument("--steps", type=_positive, **unset, help="batches, in place of epochs")
    command.add_argument("--batch-size", type=_positive, **unset, help=f"images a step (default: {SAMPLE.batch_size})")
    command.add_argument("--optimizer", choices=list(DEFAULT_LR), **unset, help="(default: adam)")
    command.add_argument(
        "--lr", type=float, **unset, help="highest learning rate (default: 0.004 for adam, 0.05 for sgd)"
    )
    command.add_argument("--momentum", type=float, **unset, help="of sgd (default: 0.9)")
    command.add_argument("--schedule", choices=SCHEDULES, **unset, help="of the learning rate (default: one-cycle)")
    command.add_argument("--init", choices=RULES, **unset, help=f"of the weights (default: {SAMPLE.init})")
    command.add_argument("--seed", type=int, **unset, help="of the weights, the batches and dropout (default: 0)")
    _add_data_options(command, default=argparse.SUPPRESS)
    command.add_argument(
        "--train-images", type=int, choices=[60_000, 55_000], **unset, help="of mnist: 55000 leaves out the first 5,000"
    )
    command.add_argument("--checkpoint-every", type=_positive, metavar="STEPS", help="(default: once an epoch)")
    _add_folder_options(command, "runs/MODEL")


def _add_data_options(command: Any, default: str) -> None:
    command.add_argument("--data", choices=["sample", "mnist"], default=default, help="(default: sample)")
    command.add_argument("--data-dir", default=None if default == "sample" else default, help=WHERE)


def _add_folder_options(command: Any, shown: str) -> None:
    command.add_argument("--out", help=f"the folder to write to (default: {shown})")
    earlier = command.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    earlier.add_argument("--overwrite", action="store_true", help="delete the run in that folder and start anew")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected one whole number of at least 1, got {text!r}")
    return int(text)
