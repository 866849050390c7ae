"""From a picture of a digit, of any size and on any background, to what a network trained on MNIST expects.

MNIST was prepared like this (LeCun et al., 1998): the digit, light on black, is scaled to fit a box of 20 x 20 pixels,
its aspect ratio kept, and placed in 28 x 28 pixels with its centre of mass in the middle. A picture goes the same way
here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

BOX, SIDE = 20, 28
FAINT = 0.2  # pixels below this share of the darkest ink are taken for paper
LEAST_CONTRAST = 16  # of 255


def read_digit(path: str | Path) -> np.ndarray:
    """A picture as one MNIST-like image.

    Parameters
    ----------
    path : path of a PNG, JPEG or any other file that Pillow reads; dark on light or light on dark.

    Returns
    -------
    image : (28, 28, 1), float32, from 0 (background) to 1 (ink).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a picture, or holds nothing but background.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with Image.open(path) as picture:
            grey = _on_white(ImageOps.exif_transpose(picture)).convert("L")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a picture that can be read ({error})") from None
    ink = _ink(np.asarray(grey, np.float32))
    if ink is None:
        raise ValueError(f"{path}: expected a digit, but the picture is all of one colour")
    return _centred(_boxed(ink))[..., None]


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture with white where it is transparent."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture


def _ink(grey: np.ndarray) -> np.ndarray | None:
    """How much ink each pixel holds, 0 to 1; the border's median is taken for the paper. None if there is no ink."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    if ink.max() < LEAST_CONTRAST:
        return None
    ink /= ink.max()
    ink[ink < FAINT] = 0
    return ink


def _boxed(ink: np.ndarray) -> np.ndarray:
    """The digit cut out and scaled so that its longer side has 20 pixels."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    resized = Image.fromarray(digit).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    boxed = np.asarray(resized).clip(0, 1)
    return boxed / boxed.max()


def _centred(digit: np.ndarray) -> np.ndarray:
    """The digit in 28 x 28 pixels, its centre of mass as near the middle as whole pixels and the edges allow."""
    image = np.zeros((SIDE, SIDE), np.float32)
    corner = []
    for axis in range(2):
        mass = digit.sum(axis=1 - axis)
        centre = (np.arange(len(mass)) + 0.5) @ mass / mass.sum()
        corner.append(int(np.clip(round(SIDE / 2 - centre), 0, SIDE - len(mass))))
    image[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return image


def as_text(image: np.ndarray) -> str:
    """An image (28, 28, 1) in characters, two pixels one above the other a character, with a frame."""
    shades = " .:-=+*#%@"
    pairs = image[..., 0].reshape(SIDE // 2, 2, SIDE).mean(axis=1)
    lines = ["".join(shades[min(int(v * len(shades)), len(shades) - 1)] for v in row) for row in pairs]
    rule = "+" + "-" * SIDE + "+"
    return "\n".join([rule, *(f"|{line}|" for line in lines), rule])
