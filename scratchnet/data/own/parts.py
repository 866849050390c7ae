"""What every reader of one's own data makes, and how it becomes two data sets.

A reader returns `Found`: the pixels and labels as the files have them. `as_datasets` does the rest for all formats. It
checks labels and sizes, scales bytes to [0, 1], and holds images out if there is nothing to test with.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data.dataset import Dataset, DataWarning
from scratchnet.data.on_disk import OnDisk
from scratchnet.data.registry import DatasetInfo
from scratchnet.reading import FileFault

HELD_OUT = 5  # one image of so many is held out
MOST_CLASSES = 1000  # more are believed only if there are as many images: else the labels are likely something else


@dataclass(frozen=True)
class Part:
    """Images and labels as files have them.

    Attributes
    ----------
    images : (N, H, W) or (N, H, W, C), uint8 from 0 to 255, or floats that are taken as they are.
    labels : (N,), integers.
    source : path
        The file or folder, for messages on all of it.
    at : function from an index to str
        Where an image stands, for messages: "train.csv: line 7".
    """

    images: np.ndarray
    labels: np.ndarray
    source: Path
    at: Callable[[int], str]


@dataclass(frozen=True)
class Found:
    """What a reader found.

    Attributes
    ----------
    train, test : Part
        Without a test part, a share of the training part is held out.
    classes : tuple of str, optional
        The name of each label; numbers if not given.
    known : DatasetInfo, optional
        The record of the data set, if the files are those of one.
    why : str
        Why there is no test part, if it is not simply missing.
    """

    train: Part
    test: Part | None = None
    classes: tuple[str, ...] | None = None
    known: DatasetInfo | None = None
    why: str = ""


def files_ending(place: Path, ending: str) -> list[Path]:
    """The files of that ending, in small letters: the one named, or those of a folder, in alphabetical order."""
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.suffix.lower() == ending and path.is_file())
    return [place] if place.suffix.lower() == ending else []


def as_datasets(place: Path, found: Found, transpose: bool = False) -> tuple[Dataset, Dataset]:
    """The training and the test part as data sets.

    Raises
    ------
    FileFault
        If a part has no image, its images or labels do not fit those of the other, or none can be held out.
    """
    parts = [found.train] if found.test is None else [found.train, found.test]
    for part in parts:
        check_part(part, found.train)
    classes = found.classes or numbered_classes(found.train)
    for part in parts:
        check_classes(part, classes)
    arrays: list[tuple[Any, np.ndarray]] = [
        (as_pixels(part.images, transpose), part.labels.astype(np.int64)) for part in parts
    ]
    info = found.known or record_of(place, arrays[0][0], classes)
    names = [f"training images of {info.title}", f"test images of {info.title}"]
    if found.known:
        names = [f"{info.title} training set", f"{info.title} test set"]
    if found.test is None:
        arrays = divided(place, *arrays[0])
        names[1] = f"held-out images of {info.title} (every {HELD_OUT}th of each class{found.why})"
    train, test = (Dataset(*each, name, info) for each, name in zip(arrays, names, strict=True))
    return train, test


def record_of(place: Path, images: np.ndarray | OnDisk, classes: tuple[str, ...]) -> DatasetInfo:
    """The record of one's own data: its path is its name, with a sign for each byte that is no text."""
    name = os.fsencode(place).decode("utf-8", "replace")
    return DatasetInfo(name, name, image_shape=images.shape[1:], classes=classes, licence="its owner's", own=True)


def divided(place: Path, images: np.ndarray | OnDisk, labels: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """Images and labels to train with, and those that are held out; a FileFault if no class has two images."""
    out = held_out(labels)
    if not out.any():
        raise FileFault(f"{place}: expected at least two images of a class, to hold one out for the test, got none")
    return [(images.part(w) if isinstance(images, OnDisk) else images[w], labels[w]) for w in (~out, out)]


def check_part(part: Part, first: Part) -> None:
    """A FileFault if a part has no image, has not a label for each, or its images differ in size from the first's."""
    if not len(part.images):
        raise FileFault(f"{part.source}: expected at least one image, got none")
    if len(part.labels) != len(part.images):
        raise FileFault(f"{part.source}: {len(part.images):,} images, but {len(part.labels):,} labels")
    size, expected = (each.images.shape[1:] for each in (part, first))
    if size != expected:
        raise FileFault(
            f"{part.source}: expected images of {in_words(expected)}, as in {first.source}, got {in_words(size)}"
        )


def numbered_classes(train: Part) -> tuple[str, ...]:
    """Classes without names: 0 to the largest label of the training part.

    Raises
    ------
    FileFault
        If a label is negative, or so large that it is hardly a class.
    """
    most = max(MOST_CLASSES, len(train.labels))
    wrong = np.flatnonzero((train.labels < 0) | (train.labels >= most))
    if len(wrong):
        raise FileFault(
            f"{train.at(int(wrong[0]))}: expected a label from 0 to {most - 1:,} (classes count from 0), got "
            f"{train.labels[wrong[0]]}"
        )
    return tuple(map(str, range(int(train.labels.max()) + 1)))


def check_classes(part: Part, classes: tuple[str, ...]) -> None:
    """A FileFault that says where the first label stands that is no class."""
    wrong = np.flatnonzero((part.labels < 0) | (part.labels >= len(classes)))
    if len(wrong):
        raise FileFault(
            f"{part.at(int(wrong[0]))}: expected a label from 0 to {len(classes) - 1}, as in the training images, got "
            f"{part.labels[wrong[0]]}"
        )


def as_pixels(images: np.ndarray, transpose: bool) -> np.ndarray | OnDisk:
    """Images (N, H, W[, C]) as float32 (N, H, W, C): bytes divided by 255, floats as they are.

    Those of a mapped file stay on the disk.
    """
    mapped = isinstance(images, np.memmap)
    images = images if images.ndim == 4 else images[..., None]
    images = images.swapaxes(1, 2) if transpose else images
    if mapped:
        return OnDisk(images)
    pixels = np.array(images, np.float32, order="C")
    if images.dtype == np.uint8:
        pixels /= 255
    return pixels


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which images are held out, (N,) of bool: every fifth of each class, and the last of a class of two to four."""
    out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        out[of_class[HELD_OUT - 1 :: HELD_OUT] if len(of_class) >= HELD_OUT else of_class[1:][-1:]] = True
    return out


def in_words(shape: tuple[int, ...]) -> str:
    """The sizes (H, W) or (H, W, C) of an image for a message: "32x32 pixels in 3 channels"."""
    H, W, *C = shape
    return f"{H}x{W} pixels" + (f" in {C[0]} channels" if C else "")


def warn_of_emnist(found: Found, transpose: bool) -> None:
    """A DataWarning if files are named as EMNIST's are: its images are stored transposed, whatever the format."""
    names = {found.train.source.name.lower(), found.train.source.parent.name.lower()}
    if not transpose and found.known is None and any("emnist" in name for name in names):
        message = (
            f"{found.train.source}: is EMNIST by its name, whose images are stored with rows and columns exchanged; if "
            "they lie on their side, read them with transpose=True, on the command line --transpose"
        )
        warnings.warn(message, DataWarning, stacklevel=4)
