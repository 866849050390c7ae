"""Tables of numbers as on Kaggle: a line for each image, its label first (or in the column "label"), then its pixels.

A header is no must. Pixels go row by row; in colour, the three numbers of a pixel stand together. Beside train.csv,
test.csv is the test part, and so for any two names that differ like this. Kaggle's competitions have a test.csv without
labels: nothing can be tested with it.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scratchnet.data.own.parts import Found, Part, files_ending
from scratchnet.reading import FileFault, shown

LABEL_COLUMNS = ("label", "labels", "class", "target", "y")
DELIMITERS = ",;\t"
LARGEST_PIXEL = 255
TRAIN = re.compile("train", re.I)
NO_LABELS = ", since {} has no labels"


def is_csv(place: Path) -> bool:
    """Whether it is a CSV file, or a folder with one."""
    return bool(files_ending(place, ".csv"))


def read_csv(place: Path) -> Found:
    """The images and labels of a table, and of the table beside it that is for testing.

    Raises
    ------
    FileFault
        If a line is not as long as the first, or holds something else than numbers from 0 to 255; if the pixels are not
        those of a square; or if it is not clear which of several tables to read.
    """
    path = _training_table(place)
    train = _read_table(path)
    if train.label is None:
        raise FileFault(f"{path}: expected a column of labels, called label, but the header names only pixels")
    size = _image_size(path, train.values.shape[1] - 1)
    test_path = path.with_name(TRAIN.sub("test", path.name))
    if test_path == path or not test_path.is_file():
        return Found(_as_part(train, size))
    test = _read_table(test_path)
    if test.label is None or test.values.shape[1] == math.prod(size):
        return Found(_as_part(train, size), why=NO_LABELS.format(test_path.name))
    return Found(_as_part(train, size), _as_part(test, _image_size(test_path, test.values.shape[1] - 1)))


def _training_table(place: Path) -> Path:
    """The table to train with; a FileFault if a folder has several and none, or more than one, is called so."""
    tables = files_ending(place, ".csv")
    named = [path for path in tables if TRAIN.search(path.name)] or tables
    if len(named) > 1:
        names = ", ".join(path.name for path in tables)
        raise FileFault(f"{place}: expected one CSV file with train in its name, got {names}; name it instead")
    return named[0]


@dataclass(frozen=True)
class Table:
    """The numbers of a CSV file (N, columns), the column of the labels, and the line of each row.

    The column is None if there is a header that names the columns, and no label among them.
    """

    path: Path
    values: np.ndarray
    label: int | None
    lines: list[int]

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path}: line {self.lines[row]}"


def _read_table(path: Path) -> Table:
    """All numbers of a CSV file; NumPy reads them, and only if it cannot is the line looked for."""
    lines = _filled_lines(path)
    if not lines:
        raise FileFault(f"{path}: expected a line for each image, got an empty file")
    first = next(iter(lines))
    delimiter = max(DELIMITERS, key=lines[first].count)
    names = _entries(path, first, lines[first], delimiter)
    header = _is_header(names)
    if header:
        del lines[first]
    if not lines:
        raise FileFault(f"{path}: expected a line for each image, got only a header")
    values = _numbers(list(lines.values()), delimiter)
    if values is None or values.shape[1] != len(names) or not np.isfinite(values).all():
        raise _wrong_line(path, lines, delimiter, len(names))
    return Table(path, values, _label_column(names) if header else 0, list(lines))


def _filled_lines(path: Path) -> dict[int, str]:
    """The lines of a text that are not empty, by their numbers."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return {number: line for number, line in enumerate(file, start=1) if line.strip()}
    except UnicodeDecodeError as error:
        raise FileFault(f"{path}: expected text in UTF-8, got {error}") from None


def _entries(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    """The entries of one line, without their quotes."""
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:  # an entry that is far too long, or a zero byte
        raise FileFault(f"{path}: line {number}: expected numbers with commas between them, got {error}") from None


def _numbers(lines: list[str], delimiter: str) -> np.ndarray | None:
    """Lines as numbers, or None if something in them is none, or their lengths differ."""
    try:
        return np.loadtxt(lines, np.float32, comments=None, delimiter=delimiter, quotechar='"', ndmin=2)
    except ValueError:
        return None


def _is_header(names: list[str]) -> bool:
    """Whether a first line names columns: none of it is a number, or all after the first count 0, 1, 2 or 1, 2, 3.

    A line with one wrong number among many is no header, and so its fault is found.
    """
    numbers = [name.strip() for name in names if _number(name) is not None]
    if not numbers:
        return bool(names)
    counted = [[str(i) for i in range(start, start + len(numbers))] for start in (0, 1)]
    return len(numbers) == len(names) - 1 and len(names) > 2 and numbers in counted


def _number(text: str) -> float | None:
    """The finite number that a text is, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _label_column(names: list[str]) -> int | None:
    """The column of that name, or the first one if its name is no pixel's; else None."""
    lowered = [name.strip().lower() for name in names]
    found = [i for i, name in enumerate(lowered) if name in LABEL_COLUMNS]
    if found:
        return found[0]
    return None if lowered[0].startswith("pixel") or lowered[0] == "1x1" else 0


def _wrong_line(path: Path, lines: dict[int, str], delimiter: str, columns: int) -> FileFault:
    """The error for the first line that cannot be read: another number of columns, or an entry that is no number."""
    for number, line in lines.items():
        entries = _entries(path, number, line, delimiter)
        if len(entries) != columns:
            return FileFault(f"{path}: line {number}: expected {columns:,} columns, as above, got {len(entries):,}")
        for column, entry in enumerate(entries, start=1):
            if _number(entry) is None:
                return FileFault(
                    f"{path}: line {number}, column {column}: expected a number, got {shown(entry.strip())}"
                )
    return FileFault(f"{path}: expected lines of numbers, with commas between them")


def _image_size(path: Path, pixels: int) -> tuple[int, ...]:
    """The (H, W) or (H, W, 3) of square images with so many numbers."""
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if side and side * side * channels == pixels:
            return (side, side) if channels == 1 else (side, side, channels)
    raise FileFault(
        f"{path}: expected a label and the pixels of a square image, grey or in 3 colours, in each line, got "
        f"{pixels + 1:,} columns: {pixels:,} pixels are no square"
    )


def _as_part(table: Table, size: tuple[int, ...]) -> Part:
    """Labels and pixels of a table, the pixels as bytes if all are whole and some above 1."""
    values, column = table.values, table.label or 0
    _check_values(table, values[:, column : column + 1], column, "a whole number as label", whole=True)
    pixels = np.delete(values, column, axis=1)
    _check_values(table, pixels, None, f"pixels from 0 to {LARGEST_PIXEL}", most=LARGEST_PIXEL)
    bytes_ = pixels.max() > 1 and not (pixels % 1).any()
    images = (pixels.astype(np.uint8) if bytes_ else pixels).reshape(len(values), *size)
    return Part(images, values[:, column].astype(np.int64), table.path, table.place)


def _check_values(
    table: Table, values: np.ndarray, column: int | None, expected: str, whole: bool = False, most: float = math.inf
) -> None:
    """A FileFault that names the line of the first number which is negative, too large, or not whole."""
    wrong = (values < 0) | (values > most) | ((values % 1 != 0) & whole)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        value = values[row][wrong[row]][0]
        raise FileFault(f"{table.place(row)}: expected {expected}, got {value:g}")
