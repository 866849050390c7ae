"""The command line: `scratchnet train | evaluate | predict | reproduce | summary | info`.

Exit codes: 0 done; 1 failed, with a message on stderr; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import scratchnet as sn
from scratchnet.engine import ENGINES
from scratchnet.files import write_text_atomically
from scratchnet.models import MODELS
from scratchnet.network import Network
from scratchnet.optim import Optimizer, Schedule
from scratchnet.run import CHECKPOINT, METRICS
from scratchnet.text import table
from scratchnet.version import __version__

SETTINGS = "settings.json"
MODEL = "model.safetensors"
REPRODUCE_FOLDER = Path("runs/reproduce")
DEFAULT_MODEL = REPRODUCE_FOLDER / "standard_cnn" / MODEL

TRAIN_DEFAULTS: dict[str, Any] = {
    "data": "sample",
    "data_dir": None,
    "train_images": 60_000,
    "epochs": None,
    "steps": None,
    "batch_size": 32,
    "optimizer": "adam",
    "lr": None,
    "momentum": 0.9,
    "schedule": "one-cycle",
    "init": None,
    "seed": 0,
}
DEFAULT_EPOCHS = 3
DEFAULT_LR = {"adam": 4e-3, "sgd": 0.05}


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
    settings = settle(folder, options)
    training, test = load_data(settings)
    init = {} if settings["init"] is None else {"init": settings["init"]}
    net = MODELS[settings["model"]](seed=settings["seed"], **init)
    optimizer, schedule = make_optimizer(net, settings, len(training))
    print(f"training {net.name} on {len(training):,} {training.name}, engine {sn.current_engine()}")
    with resume_hint(f"scratchnet train {net.name} --out {folder} --resume"):
        history = sn.fit(
            net,
            training,
            test,
            optimizer=optimizer,
            epochs=settings["epochs"],
            steps=settings["steps"],
            batch_size=settings["batch_size"],
            seed=settings["seed"],
            schedule=schedule,
            folder=folder,
            resume=options.resume,
            checkpoint_every=options.checkpoint_every,
        )
    sn.save(net, folder / MODEL)
    curves = sn.plots.save_figure(sn.plots.training_curves({net.name: history}), folder / "training_curves.png")
    print(f"accuracy on {len(test):,} {test.name}: {history.epochs[-1]['test_accuracy']:.2%}")
    print_written([folder / MODEL, folder / METRICS, curves])


def settle(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The run's settings: those given and defaults for a new run; for a resumed one those that it was started with.

    Raises
    ------
    FileNotFoundError
        If there is no run to resume.
    FileExistsError
        If a new run would overwrite one.
    ValueError
        If an option contradicts the run to resume.
    """
    given = {name: getattr(options, name) for name in TRAIN_DEFAULTS if hasattr(options, name)}
    given["model"] = options.model
    path = folder / SETTINGS
    if not options.resume:
        make_room(folder, options.overwrite)
        settings = complete(TRAIN_DEFAULTS | given)
        write_text_atomically(path, json.dumps(settings, indent=2) + "\n")
        return settings
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: no run to resume here ({SETTINGS} is missing); leave --resume out to start one"
        )
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name, value in given.items():
        if settings[name] != value:
            raise ValueError(
                f"{folder}: the run was started with {name} = {settings[name]!r}, not {value!r}; "
                "a resumed run keeps its settings, so leave the option out, or start a new run in another folder"
            )
    return settings


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on other settings."""
    if settings["epochs"] is None and settings["steps"] is None:
        settings["epochs"] = DEFAULT_EPOCHS
    if settings["lr"] is None:
        settings["lr"] = DEFAULT_LR[settings["optimizer"]]
    return settings


def make_room(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds an earlier run, or clear away that run's files if it is to be overwritten."""
    held = [folder / name for name in (SETTINGS, CHECKPOINT, METRICS, MODEL) if (folder / name).exists()]
    if held and not overwrite:
        raise FileExistsError(
            f"{folder}: holds an earlier run; go on with it with --resume, start anew with --overwrite, "
            "or name another folder with --out"
        )
    for path in held:
        path.unlink()


def make_optimizer(net: Network, settings: dict[str, Any], train_size: int) -> tuple[Optimizer, Schedule]:
    """The optimiser and the schedule that the settings name."""
    lr = settings["lr"]
    steps = settings["steps"] or settings["epochs"] * -(-train_size // settings["batch_size"])
    schedules: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: sn.constant(lr),
        "step": lambda: sn.step_decay(lr, every=max(steps // 3, 1)),
        "cosine": lambda: sn.cosine(lr, steps),
        "one-cycle": lambda: sn.one_cycle(lr, steps, warm_up=0.2),
    }
    if settings["optimizer"] == "adam":
        return sn.Adam(net.parameters(), lr), schedules[settings["schedule"]]()
    return sn.SGD(net.parameters(), lr, settings["momentum"]), schedules[settings["schedule"]]()


class resume_hint:
    """If what runs inside is interrupted, say how to go on with it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is KeyboardInterrupt:
            print(f"\nThe run is saved. To go on with it:  {self.command}", file=sys.stderr)


# ---------------------------------------------------------------- the other commands


def evaluate(options: argparse.Namespace) -> None:
    """Loss and accuracy of a trained model."""
    net = sn.load(options.model)
    _, test = load_data({"data": options.data, "data_dir": options.data_dir, "train_images": 60_000})
    loss, accuracy = sn.evaluate(net, test, progress=True)
    print(f"{net.name} on {len(test):,} {test.name}: accuracy {accuracy:.2%}, cross-entropy {loss:.4f} nats")


def predict(options: argparse.Namespace) -> None:
    """What digit each picture shows, what the network saw of it, and the probabilities."""
    from scratchnet.images import as_text, read_digit

    if not options.model.exists():
        raise FileNotFoundError(
            f"{options.model}: no trained model here; train all with 'scratchnet reproduce', or name one with --model"
        )
    net = sn.load(options.model)
    images = [read_digit(path) for path in options.images]
    for path, image, probabilities in zip(options.images, images, net.predict(np.stack(images)), strict=True):
        print(f"{path}: {probabilities.argmax()}, with probability {probabilities.max():.1%}; {net.name} saw")
        print(as_text(image))
        print(
            table(
                ["digit", "probability"], [[d, f"{p:6.1%} {'#' * round(30 * p)}"] for d, p in enumerate(probabilities)]
            )
        )


def reproduce(options: argparse.Namespace) -> None:
    """Train the three architectures on the sample, and compare with what the seed reports."""
    from scratchnet.reproduce import Recipe, reproduce

    folder = Path(options.out)
    if not options.resume:
        for name in MODELS:
            make_room(folder / name, options.overwrite)
    training, test = sn.data.load("sample")
    print(f"Three networks, {len(training):,} {training.name}, engine {sn.current_engine()}.")
    with resume_hint(f"scratchnet reproduce --out {folder} --resume"):
        results, written = reproduce(folder, training, test, Recipe(), options.seed, options.resume)
    print(f"\n{results}\n")
    print_written(written)


def summary(options: argparse.Namespace) -> None:
    """The layers of a model: an architecture by name, or a trained model's file."""
    net = MODELS[options.model]() if options.model in MODELS else sn.load(options.model)
    print(net.summary())


def info(options: argparse.Namespace) -> None:
    """The machine, the libraries and the data."""
    from scratchnet.info import describe_machine

    described = describe_machine()
    width = max(map(len, described))
    print("\n".join(f"{name:{width}}  {value}" for name, value in described.items()))


def load_data(settings: dict[str, Any]) -> tuple[sn.Dataset, sn.Dataset]:
    """The training and the test part that the settings name."""
    return sn.data.load(settings["data"], settings["data_dir"], settings["train_images"])


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

    command = _add(commands, "reproduce", reproduce, "scratchnet reproduce --out runs/reproduce --overwrite")
    command.add_argument("--seed", type=int, default=0, help="of the weights, the batches and dropout (default: 0)")
    _add_folder_options(command, default=str(REPRODUCE_FOLDER))

    command = _add(commands, "summary", summary, "scratchnet summary separable_cnn")
    command.add_argument("model", help=f"{', '.join(MODELS)}, or a trained model's file")

    _add(commands, "info", info, "scratchnet info")
    return parser


def _add(commands: Any, name: str, function: Callable[[argparse.Namespace], None], example: str) -> Any:
    description = (function.__doc__ or "").split("\n")[0]
    command = commands.add_parser(
        name,
        help=description[0].lower() + description[1:].rstrip("."),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--engine", choices=ENGINES, help="the kernels to run (default: SCRATCHNET_ENGINE, or numpy)")
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
    length.add_argument("--epochs", type=_positive, **unset, help=f"passes over the data (default: {DEFAULT_EPOCHS})")
    length.add_argument("--steps", type=_positive, **unset, help="batches, in place of epochs")
    command.add_argument("--batch-size", type=_positive, **unset, help="images a step (default: 32)")
    command.add_argument("--optimizer", choices=list(DEFAULT_LR), **unset, help="(default: adam)")
    command.add_argument("--lr", type=float, **unset, help=f"highest learning rate (default: {DEFAULT_LR})")
    command.add_argument("--momentum", type=float, **unset, help="of sgd (default: 0.9)")
    schedules = ["constant", "step", "cosine", "one-cycle"]
    command.add_argument("--schedule", choices=schedules, **unset, help="of the learning rate (default: one-cycle)")
    rules = ["glorot_uniform", "pytorch", "he_normal"]
    command.add_argument("--init", choices=rules, **unset, help="of the weights (default: the architecture's own)")
    command.add_argument("--seed", type=int, **unset, help="of the weights, the batches and dropout (default: 0)")
    _add_data_options(command, default=argparse.SUPPRESS)
    command.add_argument(
        "--train-images", type=int, choices=[60_000, 55_000], **unset, help="of mnist: 55000 leaves out the first 5,000"
    )
    command.add_argument("--checkpoint-every", type=_positive, metavar="STEPS", help="(default: once an epoch)")
    _add_folder_options(command, default=None)


def _add_data_options(command: Any, default: str) -> None:
    command.add_argument("--data", choices=["sample", "mnist"], default=default, help="(default: sample)")
    where = "the folder with the four MNIST files; otherwise SCRATCHNET_DATA, the cache folder, or a download"
    command.add_argument("--data-dir", default=None if default == "sample" else default, help=where)


def _add_folder_options(command: Any, default: str | None) -> None:
    command.add_argument("--out", default=default, help=f"the folder to write to (default: {default or 'runs/MODEL'})")
    earlier = command.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    earlier.add_argument("--overwrite", action="store_true", help="delete the run in that folder and start anew")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value
