"""Turns a picture of any size into the image that a network trained on MNIST or Fashion-MNIST expects.

MNIST was prepared like this (LeCun et al., 1998): the digit, light on black, is scaled to fit a box of 20 x 20 pixels,
its aspect ratio kept, and placed in 28 x 28 pixels with its centre of mass in the middle. A picture is prepared in
the same way here, but first its paper is removed. What is left is how much darker (or lighter) each pixel is than the
paper around it, so that shadows and dark edges do not count as ink.

Fashion-MNIST shows objects that fill the image, on a uniform background (Xiao, Rasul and Vollgraf, 2017, arXiv
1708.07747, section 2). Such an object is cut out, scaled to the whole image and placed in its middle.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from scratchnet.reading import FileFault, as_file

BOX, SIDE = 20, 28
WORKING_SIDE = 256  # larger pictures are reduced to this first
PAPER_FITS = 12  # rounds of separating paper from ink
LEAST_CONTRAST = 16  # of 255
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
LARGEST_PIXELS = 40_000_000  # with 4 to 20 bytes each while a picture is decoded and made grey
TRIMMED = 0.05  # of the range of brightness: a pixel that is nearer to the background belongs to it

TOO_LARGE = f"expected a picture of at most {LARGEST_PIXELS:,} pixels"


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
        If it is not a picture, has too many pixels, or shows nothing but background. It is a ValueError.
    """
    ink = _ink(path, _opened(path))
    digit = _boxed(ink, round(BOX * side / SIDE))
    mass = [digit.sum(axis=1 - axis) for axis in range(2)]
    centres = [float((np.arange(len(m)) + 0.5) @ m / m.sum()) for m in mass]
    return _placed(digit, centres, side)


def read_object(path: str | Path, side: int = SIDE) -> np.ndarray:
    """A picture of an object on a uniform background as one Fashion-MNIST-like image; all else as for `read_digit`."""
    values = np.asarray(_opened(path), np.float32) / 255
    background = np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]))
    thing = (background - values if background > 0.5 else values - background).clip(0)
    thing[thing < TRIMMED] = 0
    if not thing.any():
        raise _too_pale(path, "an object on a background", values * 255, 255 * TRIMMED)
    boxed = _boxed(thing, side)
    return _placed(boxed, [length / 2 for length in boxed.shape], side)


def _too_pale(path: str | Path, expected: str, values: np.ndarray, least: float) -> FileFault:
    """The error for a picture (H, W), 0 to 255, in which nothing stands out from the background by `least`."""
    contrast = np.ptp(values)
    if contrast == 0:
        return FileFault(f"{path}: expected {expected}, but the picture is all of one colour")
    return FileFault(
        f"{path}: expected {expected}, but the contrast is too low: from its darkest to its lightest part are "
        f"{contrast:.0f} of 255 shades, and nothing differs from the background by {least:.0f}. Use a darker pen, more "
        "light, or raise the contrast in a picture editor"
    )


def _opened(path: str | Path) -> Image.Image:
    """The picture of a file, in shades of grey; errors as for `read_digit`."""
    with open(as_file(path, "a picture"), "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged notes beside the picture
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file, formats=FORMATS)
            _check_size(path, picture)
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return _grey(picture)
        except FileFault:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise FileFault(f"{path}: {TOO_LARGE}, got more ({error}); scale it down") from None
        except Exception as error:  # Pillow's decoders raise errors of many kinds for damaged files
            raise FileFault(
                f"{path}: not a picture that can be read ({error}); expected one of {', '.join(FORMATS)}"
            ) from error


def _check_size(path: str | Path, picture: Image.Image) -> None:
    """A FileFault if a picture that has not been decoded yet would take too much memory."""
    if picture.width * picture.height > LARGEST_PIXELS:
        picture.draft(picture.mode, (8 * WORKING_SIDE, 8 * WORKING_SIDE))  # a JPEG can be decoded to a smaller one
    if picture.width * picture.height > LARGEST_PIXELS:
        raise FileFault(f"{path}: {TOO_LARGE}, got {picture.width} x {picture.height}; scale it down")


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
        grey = grey.filter(ImageFilter.MedianFilter(3))  # removes specks and noise; strokes are wider than those
    return grey


def _ink(path: str | Path, grey: Image.Image) -> np.ndarray:
    """How much ink each pixel holds, 0 to 1; errors as for `read_digit`."""
    values = given = np.asarray(grey, np.float32)
    if np.ptp(values) < LEAST_CONTRAST:
        raise _too_pale(path, "a digit", given, LEAST_CONTRAST)
    error = values - _surface(values, np.ones(values.shape, bool))
    if (error**3).sum() > 0:  # the few pixels that differ most from the paper are lighter than it: light ink
        values = 255 - values
    ink = (_paper(values) - values).clip(0)
    if ink.max() < LEAST_CONTRAST:
        raise _too_pale(path, "a digit", given, LEAST_CONTRAST)
    ink /= ink.max()
    ink[ink < _threshold(ink) / 2] = 0  # a digit's soft edges may lie below the threshold; noise lies below its half
    return ink


def _paper(values: np.ndarray) -> np.ndarray:
    """The picture (H, W) without its dark ink: a surface fitted to the pixels that are taken for paper.

    It is fitted to all pixels first. Then it is fitted several times without the pixels that are darker than it by more
    than the paper's own unevenness. This is measured from the lighter pixels, where there is no ink.
    """
    paper = np.ones(values.shape, bool)
    for _ in range(PAPER_FITS):
        surface = _surface(values, paper)
        error = values - surface
        unevenness = np.sqrt((error[error > 0] ** 2).mean()) if (error > 0).any() else 0.0
        paper = error >= -2 * max(float(unevenness), 1.0)
    return surface


def _surface(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The quadratic surface nearest to the chosen pixels: it follows a shadow from one side and a lens's dark rim."""
    H, W = values.shape
    y, x = np.mgrid[-1 : 1 : H * 1j, -1 : 1 : W * 1j].reshape(2, -1)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    return (terms @ np.linalg.lstsq(terms[chosen.ravel()], values[chosen], rcond=None)[0]).reshape(H, W)


def _threshold(ink: np.ndarray) -> float:
    """Otsu's threshold between paper and ink: it maximises the variance between the two groups (Otsu, 1979)."""
    counts, edges = np.histogram(ink, 64, (0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)])


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
    """An image (H, W, 1) as text in a frame; each character stands for two pixels, one above the other."""
    shades = " .:-=+*#%@"
    H, W, _ = image.shape
    pairs = image[: H // 2 * 2, :, 0].reshape(H // 2, 2, W).mean(axis=1)
    lines = ["".join(shades[min(int(v * len(shades)), len(shades) - 1)] for v in row) for row in pairs]
    rule = "+" + "-" * W + "+"
    return "\n".join([rule, *(f"|{line}|" for line in lines), rule])
