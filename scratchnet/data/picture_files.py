"""Opens pictures that anyone may have made: which formats are read, and what is said of files that cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps

from scratchnet.reading import FileFault, as_file

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
HEIC = {b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")}  # bytes 4 to 11
HEIC_ADVICE = (
    "it is in HEIC or AVIF, as phones store pictures. Save or share it as JPEG (on an iPhone: Settings, Camera, "
    "Formats, Most Compatible)"
)
LARGEST_PIXELS = 40_000_000  # with 4 to 20 bytes each while a picture is decoded and converted
DRAFT_SIDE = 3200  # a JPEG of more pixels than that is decoded to this size at least
TOO_LARGE = f"expected a picture of at most {LARGEST_PIXELS:,} pixels"

Converted = TypeVar("Converted")


def decoded(
    path: str | Path,
    convert: Callable[[Image.Image], Converted],
    check: Callable[[str | Path, Image.Image], None] | None = None,
) -> Converted:
    """What `convert` makes of a picture, which is turned upright first.

    Parameters
    ----------
    path : path of a PNG, JPEG, GIF, BMP, TIFF, WebP, PPM or JPEG 2000 file.
    convert : function of a decoded picture
        A ValueError that it raises counts as a damaged file.
    check : function of the path and a picture that has not been decoded yet, optional
        Raises a FileFault if it should not be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFault
        If it is not a picture, or has too many pixels.
    """
    with open(as_file(path, "a picture"), "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged notes beside the picture
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file, formats=FORMATS)
            if check is not None:
                check(path, picture)
            _check_size(path, picture)
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return convert(picture)
        except FileFault:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise FileFault(f"{path}: {TOO_LARGE}, got more ({error}); scale it down") from None
        except Exception as error:  # Pillow's decoders raise errors of many kinds for damaged files
            file.seek(4)
            advice = HEIC_ADVICE if file.read(8) in HEIC else f"expected one of {', '.join(FORMATS)}"
            raise FileFault(f"{path}: not a picture that can be read ({error}); {advice}") from error


def _check_size(path: str | Path, picture: Image.Image) -> None:
    """A FileFault if a picture that has not been decoded yet would take too much memory."""
    if picture.width * picture.height > LARGEST_PIXELS:
        picture.draft(picture.mode, (DRAFT_SIDE, DRAFT_SIDE))  # a JPEG can be decoded to a smaller one
    if picture.width * picture.height > LARGEST_PIXELS:
        raise FileFault(f"{path}: {TOO_LARGE}, got {picture.width} x {picture.height}; scale it down")
