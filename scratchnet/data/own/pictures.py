"""A folder of pictures with a folder for each class, perhaps in train/ and test/. All pictures must be of one size.

If one picture has colours, all are read with three channels; else with one. Transparent parts are white.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from scratchnet.data.own.parts import Found, Part
from scratchnet.data.picture_files import decoded
from scratchnet.reading import FileFault

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm")
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
NO_CLASSES = ", since {}/ has no folders of classes"  # as in Kaggle's competitions
GREY = ("1", "L", "LA", "La", "F")
LARGEST_SIDE = 1024  # a network for larger images would not end its first step


def folders_in(place: Path) -> list[Path]:
    """The folders in a folder, without hidden ones, in alphabetical order."""
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, known by their ending, in alphabetical order."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def parts_in(place: Path) -> tuple[Path, Path | None]:
    """The folders whose folders are the classes: train/ and test/ if they are there, else the folder itself."""
    named = {path.name.lower(): path for path in folders_in(place)}
    train, test = (next((named[name] for name in names if name in named), None) for names in (TRAIN, TEST))
    if train is not None and folders_in(train):
        return train, test
    return place, None


def is_pictures(place: Path) -> bool:
    """Whether a folder has folders with pictures."""
    return any(pictures_in(folder) for folder in folders_in(parts_in(place)[0]))


def read_pictures(place: Path) -> Found:
    """The pictures of all classes. The classes are the names of the folders to train with, in alphabetical order.

    Raises
    ------
    FileFault
        If a picture cannot be read or is of another size, a class has no pictures, or there is a class to test with
        that there is none of to train with; the message names it.
    """
    train, test = parts_in(place)
    names = [folder.name for folder in folders_in(train)]
    if len(names) < 2:
        raise FileFault(f"{train}: expected a folder for each of at least two classes, got only {names[0]}")
    pictures, tested = _Pictures(train, names), None
    if test is not None and folders_in(test):
        foreign = [folder.name for folder in folders_in(test) if folder.name not in names]
        if foreign:
            raise FileFault(f"{test / foreign[0]}: expected a class of {train}, one of {', '.join(names)}")
        tested = _Pictures(test, names)
    colours = pictures.colours or (tested is not None and tested.colours)
    classes = tuple(os.fsencode(name).decode("utf-8", "replace") for name in names)
    why = "" if test is None or tested else NO_CLASSES.format(test.name)
    return Found(pictures.as_part(colours), tested.as_part(colours) if tested else None, classes, why=why)


class _Pictures:
    """The pictures of one part, read: their paths, their labels, and their pixels (H, W) or (H, W, 3)."""

    def __init__(self, folder: Path, classes: list[str]) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.labels: list[int] = []
        for label, name in enumerate(classes):
            found = pictures_in(folder / name) if (folder / name).is_dir() else []
            if not found and (folder / name).is_dir():
                raise FileFault(f"{folder / name}: expected pictures of this class ({', '.join(ENDINGS)}), got none")
            self.paths += found
            self.labels += [label] * len(found)
        if not self.paths:
            raise FileFault(f"{folder}: expected folders with pictures, got none")
        self.pixels: list[np.ndarray] = []
        for path in self.paths:
            self.pixels.append(_read_picture(path, self.paths[0], self.pixels[0] if self.pixels else None))
        self.colours = any(pixels.ndim == 3 for pixels in self.pixels)

    def as_part(self, colours: bool) -> Part:
        """All pictures in one array. Grey ones among those with colours have three equal channels."""
        shape = self.pixels[0].shape[:2]
        images = np.empty((len(self.pixels), *shape, 3) if colours else (len(self.pixels), *shape), np.uint8)
        for image, pixels in zip(images, self.pixels, strict=True):
            image[...] = pixels[..., None] if colours and pixels.ndim == 2 else pixels
        return Part(images, np.array(self.labels), self.folder, lambda i: str(self.paths[i]))


def _read_picture(path: Path, first: Path, expected: np.ndarray | None) -> np.ndarray:
    """The bytes (H, W) or (H, W, 3) of a picture; a FileFault if it is damaged or of another size than the first."""
    pixels = decoded(path, as_bytes, _check_size)
    if expected is not None and pixels.shape[:2] != expected.shape[:2]:
        (H, W), (first_H, first_W) = pixels.shape[:2], expected.shape[:2]
        raise FileFault(
            f"{path}: expected {first_W} x {first_H} pixels, as in {first}, got {W} x {H}; scale all pictures "
            "to one size first"
        )
    return pixels


def _check_size(path: str | Path, picture: Image.Image) -> None:
    """A FileFault if a picture, which has not been decoded yet, is far too large to train on."""
    if max(picture.size) > LARGEST_SIDE:
        raise FileFault(
            f"{path}: expected pictures of at most {LARGEST_SIDE} pixels a side, got {picture.width} x "
            f"{picture.height}; scale all pictures to one size first"
        )


def as_bytes(picture: Image.Image) -> np.ndarray:
    """The pixels of a picture: (H, W) if it is grey, else (H, W, 3)."""
    if picture.mode.startswith("I"):  # 16 bits; older releases of Pillow call that I
        return (np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8)
    if "A" in picture.getbands() or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(white, seen).convert("L" if picture.mode in GREY else "RGB"))
    return np.asarray(picture.convert("L" if picture.mode in GREY else "RGB"))
