"""Turns a picture of any size into the image that a network trained on MNIST or Fashion-MNIST expects.

MNIST was prepared like this (LeCun et al., 1998): the digit, light on black, is scaled to fit a box of 20 x 20 pixels,
its aspect ratio kept, and placed in 28 x 28 pixels with its centre of mass in the middle. A picture is prepared in
the same way here, but first its strokes are found: `strokes.py`.

Fashion-MNIST shows objects that fill the image, on a uniform background (Xiao, Rasul and Vollgraf, 2017, arXiv
1708.07747, section 2). Such an object is cut out, scaled to the whole image and placed in its middle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from scratchnet.data.augment import mean_over_turns
from scratchnet.data.own.pictures import as_bytes
from scratchnet.data.picture_files import decoded
from scratchnet.data.strokes import WORKING_SIDE, Shape, joined, shapes_in, widened
from scratchnet.reading import FileFault

BOX, SIDE = 20, 28
LEAST_CONTRAST = 16  # of 255
WIDEST = 2.0  # a digit's width, in its heights: a word is wider
TRIMMED = 0.05  # of the range of brightness: a pixel that is nearer to the background belongs to it


class Digit(NamedTuple):
    """One digit that was found in a picture."""

    image: np.ndarray  #: what a network gets: (H, W, C), float32, 0 to 1; of strokes, 0 is background and 1 is ink
    rows: slice  #: where it lies in the picture
    columns: slice


class Reading(NamedTuple):
    """A picture and what was found in it."""

    picture: np.ndarray  #: (H, W), 0 to 255, upright and grey
    digits: list[Digit]  #: from left to right
    strokes: bool  #: they were found as strokes on paper; if not, the picture was taken as a whole

    def answers(self, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Class probabilities (digits, K) by the `predict` of a network; of strokes the mean over several views.

        Whoever writes holds the pen and the sheet at some angle: strokes may be turned a little, a whole picture not.
        """
        images = np.stack([digit.image for digit in self.digits])
        return mean_over_turns(predict, images) if self.strokes else predict(images)


def read_digit(path: str | Path, side: int = SIDE) -> np.ndarray:
    """A picture as one MNIST-like image.

    Parameters
    ----------
    path : path of a PNG, JPEG, GIF, BMP, TIFF, WebP, PPM or JPEG 2000 file; dark on light or light on dark.
    side : int
        Height and width of the image, in pixels.

    Returns
    -------
    image : (side, side, 1), float32, from 0 (background) to 1 (ink).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFault
        If it is not a picture, has too many pixels, or shows no digit or several. It is a ValueError.
    """
    return read_one(path, side).digits[0].image


def read_one(path: str | Path, side: int = SIDE) -> Reading:
    """The one digit in a picture; parameters and errors as for `read_digit`."""
    picture, (shape, *others) = _shapes(path, many=False)
    height, width = shape.ink.shape
    if others or width > WIDEST * height:
        found = f"{1 + len(others)} shapes of its size" if others else f"one {width / height:.1f} times as wide as high"
        raise FileFault(
            f"{path}: expected one digit, found {found}. Cut out one digit, or read all from left to right: --many on "
            "the command line, read_digits in Python"
        )
    return _reading(picture, [shape], side)


def read_digits(path: str | Path, side: int = SIDE) -> Reading:
    """All digits in a picture, from left to right; parameters and errors as for `read_digit`.

    Digits that touch each other are taken for one.
    """
    return _reading(*_shapes(path, many=True), side)


def read_sign(path: str | Path, side: int = SIDE) -> Reading:
    """All strokes in a picture as one sign, a letter of any script; parameters and errors as for `read_digit`."""
    picture, shapes = _shapes(path, many=False)
    return _reading(picture, [joined(shapes)], side)


def _shapes(path: str | Path, many: bool) -> tuple[np.ndarray, list[Shape]]:
    """A picture at its working size, and at least one shape that is written in it; errors as for `read_digit`."""
    grey = decoded(path, _grey)
    scale = WORKING_SIDE / max(grey.size)
    enlarged = grey.resize([max(1, round(scale * length)) for length in grey.size], Image.Resampling.BILINEAR)
    picture = np.asarray(enlarged, np.float32)
    shapes = shapes_in(picture, many) if np.ptp(picture) >= LEAST_CONTRAST else []
    if not shapes:
        raise _too_pale(path, "a digit", np.asarray(grey, np.float32), LEAST_CONTRAST)
    return picture, shapes


def _reading(picture: np.ndarray, shapes: list[Shape], side: int) -> Reading:
    digits = [Digit(_centred(shape, side), shape.rows, shape.columns) for shape in shapes]
    return Reading(picture, digits, strokes=True)


def _centred(shape: Shape, side: int) -> np.ndarray:
    """A shape as MNIST's images are: in a box of 20 of 28 pixels, its centre of mass in the middle; (side, side, 1)."""
    digit = _boxed(widened(shape), round(BOX * side / SIDE))
    mass = [digit.sum(axis=1 - axis) for axis in range(2)]
    centres = [float((np.arange(len(m)) + 0.5) @ m / m.sum()) for m in mass]
    return _placed(digit, centres, side)


def read_object(path: str | Path, side: int = SIDE) -> np.ndarray:
    """A picture of an object on a uniform background as one Fashion-MNIST-like image; all else as for `read_digit`."""
    values = np.asarray(decoded(path, _grey), np.float32) / 255
    background = np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]))
    thing = (background - values if background > 0.5 else values - background).clip(0)
    thing[thing < TRIMMED] = 0
    if not thing.any():
        raise _too_pale(path, "an object on a background", values * 255, 255 * TRIMMED)
    boxed = _boxed(thing, side)
    return _placed(boxed, [length / 2 for length in boxed.shape], side)


def whole_picture(path: str | Path, side: int = SIDE) -> Reading:
    """A picture of one object, as `read_object` reads it."""
    return _whole(decoded(path, _grey), read_object(path, side))


def scaled_picture(path: str | Path, shape: tuple[int, int, int]) -> Reading:
    """A picture scaled to (H, W, C), with nothing removed, as a folder of pictures is read to train on.

    Errors as for `read_digit`, and a ValueError if C is neither 1 (grey) nor 3 (colour).
    """
    H, W, C = shape
    if C not in (1, 3):
        raise ValueError(f"expected images with 1 channel (grey) or 3 (colour) to be read from pictures, got {C}")
    picture = Image.fromarray(decoded(path, as_bytes))
    image = picture.convert("L" if C == 1 else "RGB").resize((W, H), Image.Resampling.BICUBIC)
    return _whole(picture.convert("L"), (np.asarray(image, np.float32) / 255).reshape(shape))


def _whole(picture: Image.Image, image: np.ndarray) -> Reading:
    """The reading of a picture that is one thing."""
    whole = Digit(image, slice(0, picture.height), slice(0, picture.width))
    return Reading(np.asarray(picture, np.float32), [whole], strokes=False)


def cut_out(reading: Reading, digit: Digit, side: int = SIDE) -> np.ndarray:
    """The part of the picture that shows a digit, with some room around it, (side, width, 1), 0 to 1."""
    room = max(2, (digit.rows.stop - digit.rows.start) // 10)
    rows, columns = (slice(max(0, part.start - room), part.stop + room) for part in (digit.rows, digit.columns))
    part = reading.picture[rows, columns]
    width = min(2 * side, max(1, round(side * part.shape[1] / len(part))))
    scaled = np.asarray(Image.fromarray(part).resize((width, side), Image.Resampling.BOX))
    return ((scaled - scaled.min()) / max(float(np.ptp(scaled)), 1.0))[..., None]


def _too_pale(path: str | Path, expected: str, values: np.ndarray, least: float) -> FileFault:
    """The error for a picture (H, W), 0 to 255, in which nothing stands out from the background by `least`."""
    contrast = np.ptp(values)
    if contrast == 0:
        return FileFault(f"{path}: expected {expected}, but the picture is all of one colour")
    return FileFault(
        f"{path}: expected {expected}, but the contrast is too low: from its darkest to its lightest part are "
        f"{contrast:.0f} of 255 shades, and nothing differs from the background by {least:.0f}, except at the edges. "
        "Use a darker pen, more light, or raise the contrast in a picture editor"
    )


def _grey(picture: Image.Image) -> Image.Image:
    """The picture in shades of grey, 0 to 255, reduced to a working size."""
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "F"):  # wider ranges: the darkest to 0, the lightest to 255
        values = np.array(picture, np.float32)
        low, high = float(values.min()), float(values.max())
        if not high - low <= np.finfo(np.float32).max:
            raise ValueError("it holds NaN, infinite or too large pixels")
        values -= low
        values *= 255 / ((high - low) or 1.0)
        grey = Image.fromarray(values.astype(np.uint8))
    elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        alpha = rgba.getchannel("A")
        grey = Image.composite(rgba.convert("L"), Image.new("L", rgba.size, 255), alpha)  # on white paper
        if np.ptp(np.asarray(grey)) < LEAST_CONTRAST:  # white ink on transparency: only the alpha channel shows it
            grey = ImageOps.invert(alpha)
    else:
        grey = picture.convert("L")
    if max(grey.size) > WORKING_SIDE:
        grey.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    return grey


def _boxed(ink: np.ndarray, box: int) -> np.ndarray:
    """The digit cut out and scaled so that its longer side has `box` pixels."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = box / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    resized = Image.fromarray(digit).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    boxed = np.asarray(resized).clip(0, 1)
    return boxed / boxed.max()


def _placed(shown: np.ndarray, centres: list[float], side: int) -> np.ndarray:
    """`shown` (H, W) in an image (side, side, 1), with its centre as near the middle as pixels and edges allow."""
    image = np.zeros((side, side), np.float32)
    row, column = (
        int(np.clip(round(side / 2 - centre), 0, side - length))
        for centre, length in zip(centres, shown.shape, strict=True)
    )
    image[row : row + shown.shape[0], column : column + shown.shape[1]] = shown
    return image[..., None]


def as_text(image: np.ndarray) -> str:
    """An image (H, W, C) as text in a frame; each character stands for two pixels, one above the other."""
    shades = " .:-=+*#%@"
    H, W, _ = image.shape
    pairs = image[: H // 2 * 2].mean(axis=2).reshape(H // 2, 2, W).mean(axis=1)
    lines = ["".join(shades[min(int(v * len(shades)), len(shades) - 1)] for v in row) for row in pairs]
    rule = "+" + "-" * W + "+"
    return "\n".join([rule, *(f"|{line}|" for line in lines), rule])
