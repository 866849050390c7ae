"""The formats of one's own data: one record each, and the function that finds out which one a path holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scratchnet.data.dataset import Dataset
from scratchnet.data.own.csv_files import is_csv, read_csv
from scratchnet.data.own.idx_files import is_idx, read_idx_files
from scratchnet.data.own.npz_files import is_npz, read_npz
from scratchnet.data.own.parts import Found, as_datasets, warn_of_emnist
from scratchnet.data.own.pictures import is_pictures, read_pictures
from scratchnet.reading import FileFault, user_path

MOST_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Format:
    """A way in which data may lie in a file or folder.

    Attributes
    ----------
    name : str
        What it is: "IDX files".
    looked_for : str
        What it is known by, for the message if nothing was found.
    applies : function (path) -> bool
        Whether a file or folder is of this format, by names alone.
    read : function (path) -> Found
        The images and labels.
    upright : bool
        Whether people have seen the images in this format, so that EMNIST's are no longer transposed.
    """

    name: str
    looked_for: str
    applies: Callable[[Path], bool]
    read: Callable[[Path], Found]
    upright: bool = False


FORMATS = (
    Format("IDX files", "IDX files (train-images-idx3-ubyte, raw or .gz)", is_idx, read_idx_files),
    Format("an .npz file", "an .npz file (x_train, y_train, x_test, y_test)", is_npz, read_npz),
    Format("a CSV file", "a CSV file (label, then pixels: train.csv, test.csv)", is_csv, read_csv),
    Format(
        "pictures",
        "a folder of pictures for each class (perhaps in train/ and test/)",
        is_pictures,
        read_pictures,
        upright=True,
    ),
)


def read_own(path: str | Path, transpose: bool = False) -> tuple[Dataset, Dataset]:
    """The training and the test images of a file or folder, whichever format it is of.

    Parameters
    ----------
    path : file or folder, with ~ for the home folder.
    transpose : bool
        Exchange rows and columns.

    Raises
    ------
    FileNotFoundError
        If there is nothing of that name, or a file is missing beside another.
    FileFault
        If it is of none of the formats, or of several; or if what it holds is damaged.
    """
    place = user_path(path)
    if not place.exists():
        raise FileNotFoundError(f"{path}: no such file or folder, expected data to read")
    kind = format_of(place)
    found = kind.read(place)
    if not kind.upright:
        warn_of_emnist(found, transpose)
    return as_datasets(place, found, transpose)


def format_of(place: Path) -> Format:
    """The one format that applies; a FileFault that says what was looked for, and what is there, if none or several."""
    kinds = [kind for kind in FORMATS if kind.applies(place)]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        names = ", ".join(kind.name for kind in kinds)
        raise FileFault(f"{place}: expected data in one format, got several: {names}; name the file that is meant")
    raise FileFault(
        f"{place}: found no data that can be read. Looked for {'; '.join(kind.looked_for for kind in FORMATS)}. "
        f"Found {_content(place)}"
    )


def _content(place: Path) -> str:
    """What a folder holds, for a message: the first names, and how many more."""
    if not place.is_dir():
        return "a file with another name"
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in place.iterdir())
    more = f" and {len(names) - MOST_SHOWN:,} more" if len(names) > MOST_SHOWN else ""
    return f"{', '.join(names[:MOST_SHOWN])}{more}" if names else "an empty folder"
