"""`scratchnet predict`: what a network reads in pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scratchnet as sn
from scratchnet.commands.options import REPRODUCE_FOLDER, add_command
from scratchnet.commands.subject import print_written
from scratchnet.console import say
from scratchnet.data.registry import DATASETS, DIGITS
from scratchnet.program import command_line
from scratchnet.reading import FileFault, user_path
from scratchnet.runs.checkpoint import trained_classes, trained_on
from scratchnet.runs.options import MODEL
from scratchnet.tables import beside, table

if TYPE_CHECKING:
    from scratchnet.data.photographs import Reading

DEFAULT_MODEL = REPRODUCE_FOLDER / "standard_cnn" / MODEL
UNSURE = 0.6  # if the highest probability is below this, the answer is called unsure


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "predict", predict, "%(prog)s photo.jpg digit.png --model my.safetensors")
    command.add_argument(
        "images", nargs="+", type=user_path, metavar="IMAGE", help="PNG or JPEG, dark on light or light on dark"
    )
    command.add_argument(
        "--model", type=user_path, default=DEFAULT_MODEL, help="a trained model's file (default: %(default)s)"
    )
    command.add_argument(
        "--data", choices=list(DATASETS), help="the data set that it was trained on: it decides the names of the "
        "classes and how pictures are prepared (default: the one that its file names)"
    )  # fmt: skip
    command.add_argument("--many", action="store_true", help="read several digits in a picture, from left to right")
    command.add_argument(
        "--save", type=user_path, metavar="FOLDER", help="write a figure of each picture and its answer there"
    )


def predict(options: argparse.Namespace) -> None:
    """The class of each picture, the image that the network saw, and the probabilities."""
    from scratchnet.show.plots import prediction, save_figure

    if not options.model.exists():
        raise FileNotFoundError(
            f"{options.model}: no trained model here; train all with '{command_line('reproduce')}', or name one with "
            "--model"
        )
    sn.use_engine(sn.current_engine())
    net = sn.load(options.model)
    info, trained = info_of(options.model, options.data), trained_classes(options.model)
    faults = 0
    for path in options.images:
        try:
            reading = read_picture(path, net, info, bool(trained), options.many)
        except (FileFault, OSError) as fault:
            if len(options.images) == 1:
                raise
            faults += 1
            say(f"scratchnet: {fault}")
            continue  # one bad file does not lose the results of the others
        answers = reading.answers(net.predict)
        names = class_names(net, info, answers.shape[1], trained)
        print_prediction(path, reading, answers, names, net.name)
        if options.save is not None:
            figure = prediction(reading, answers, names, path.name)
            print_written([save_figure(figure, options.save / f"{path.name}.png")])
    if faults:
        raise FileFault(f"{faults} of {len(options.images)} pictures could not be read")


def print_prediction(path: Path, reading: Reading, answers: np.ndarray, names: list[str], reader: str) -> None:
    """What a network, the reader, saw in a picture, and its answers: probabilities (digits, classes)."""
    from scratchnet.data.photographs import as_text, cut_out

    what = "digit" if tuple(names) == DIGITS else "class"
    if len(answers) > 1:
        print(f"{path}: from left to right {' '.join(names[i] for i in answers.argmax(axis=1))}")
    for digit, probabilities in zip(reading.digits, answers, strict=True):
        print(f"{path}: {names[probabilities.argmax()]}, with probability {probabilities.max():.1%}; {reader} saw")
        if probabilities.max() < UNSURE:
            thing = "digit" if what == "digit" else "thing"
            print(f"(unsure: does the picture below look like one {thing}, upright and whole?)")
        seen = as_text(digit.image)
        whole = reading.picture[digit.rows, digit.columns].shape == reading.picture.shape
        print(seen if whole else beside(as_text(cut_out(reading, digit)), seen))
        bars = [f"{p:6.1%} {'#' * round(30 * p)}" for p in probabilities]
        print(table([what, "probability"], list(zip(names, bars, strict=True))))


def info_of(model: Path, name: str | None) -> sn.data.DatasetInfo | None:
    """The record of the data set `name`, or else of the one that the model's file names; None if it names none."""
    name = name or trained_on(model)
    if name is not None and name not in DATASETS:
        raise ValueError(
            f"{model}: was trained on the data set {name!r}, which is not known here. Import the module that registers "
            f"it first, or name one of {', '.join(DATASETS)} with --data"
        )
    return None if name is None else DATASETS[name]


def class_names(
    net: sn.Network, info: sn.data.DatasetInfo | None, outputs: int, trained: tuple[str, ...] = ()
) -> list[str]:
    """The names of a network's outputs: the classes of a data set, or else those that it was trained on; and numbers
    for outputs without a name."""
    known = info.classes if info else trained
    if info and len(known) > outputs:
        raise ValueError(f"{net.name}: has {outputs} outputs, but {info.title} has {len(known)} classes")
    return [*known, *map(str, range(len(known), outputs))]


def read_picture(path: Path, net: sn.Network, info: sn.data.DatasetInfo | None, own: bool, many: bool) -> Reading:
    """A picture as images for the network: one, or all that it shows.

    It is prepared as the images of the data set were. For a network that was trained on one's own pictures (own), or
    that takes other images than square grey ones, it is scaled.
    """
    from scratchnet.data.photographs import SIDE, read_digits, read_one, read_sign, scaled_picture, whole_picture

    H, W, C = net.input_shape or (SIDE, SIDE, 1)
    square_and_grey = H == W and C == 1
    if info is None and (own or not square_and_grey):
        if many:
            raise ValueError(f"{net.name}: reads pictures as a whole, as it was trained; leave out --many")
        return scaled_picture(path, (H, W, C))
    if info is not None and not square_and_grey:
        raise ValueError(
            f"{net.name}: takes images of shape {(H, W, C)}, but those of {info.title} are square and grey"
        )
    if info and info.pictures == "object":
        return whole_picture(path, H)
    if many:
        return read_digits(path, H)
    return read_one(path, H) if info is None or info.classes == DIGITS else read_sign(path, H)
