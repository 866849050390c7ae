"""Arrays in an .npz file, under the names of Keras (x_train, y_train, x_test, y_test) or others in use.

Only plain arrays are read. Python objects would be unpickled, and that can run any code.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.data.own.parts import Found, Part, files_ending, in_words
from scratchnet.reading import FileFault

# The names of images and labels: to train with, then to test with.
NAMES: tuple[tuple[tuple[str, str], tuple[str, str] | None], ...] = (
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("images", "labels"), None),
    (("x", "y"), None),
)
KINDS = "bytes (uint8), whole numbers from 0 to 255, or floats"


def is_npz(place: Path) -> bool:
    """Whether it is an .npz file, or a folder with one."""
    return bool(files_ending(place, ".npz"))


def read_npz(place: Path) -> Found:
    """The images and labels of an .npz file.

    Raises
    ------
    FileFault
        If it is damaged, holds Python objects, has none of the pairs of names, or an entry is of another shape or
        dtype; the message names the entry.
    """
    archives = files_ending(place, ".npz")
    if len(archives) > 1:
        raise FileFault(f"{place}: expected one .npz file, got {', '.join(p.name for p in archives)}; name one of them")
    (path,) = archives
    if not zipfile.is_zipfile(path):
        raise FileFault(
            f"{path}: not a whole .npz file: expected a zip archive of arrays; it is damaged or of another format (a "
            "pickle is not read, since it can run any code)"
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return _read(path, archive)
    except FileFault:
        raise
    except Exception as error:  # of many kinds for a damaged file
        raise FileFault(f"{path}: not a whole .npz file ({error}); it is damaged or of another format") from None


def _read(path: Path, archive: Any) -> Found:
    names = {name.lower(): name for name in archive.files}
    for train, test in NAMES:
        if all(name in names for name in train):
            found = Found(_read_part(path, archive, *(names[name] for name in train)))
            if test and all(name in names for name in test):
                return replace(found, test=_read_part(path, archive, *(names[name] for name in test)))
            return found
    expected = "; or ".join(", ".join([*train, *(test or ())]) for train, test in NAMES)
    raise FileFault(f"{path}: expected the entries {expected}; got {', '.join(archive.files) or 'none'}")


def _read_part(path: Path, archive: Any, x: str, y: str) -> Part:
    images, labels = _array(path, archive, x), _array(path, archive, y)
    return Part(
        _as_images(path, x, images), _as_labels(path, y, labels, len(images)), path, lambda i: f"{path}: {y}[{i}]"
    )


def _array(path: Path, archive: Any, name: str) -> np.ndarray:
    """One entry; a FileFault that names it if it cannot be read."""
    try:
        array: np.ndarray = archive[name]
    except (ValueError, zipfile.BadZipFile, OSError, EOFError, MemoryError) as error:
        if "pickle" in str(error) or "Object" in str(error):
            raise FileFault(
                f"{path}: {name} holds Python objects, and reading these (pickle) can run any code in the file, so it "
                "is not read; save a plain array: numbers in one dtype, and images all of one size"
            ) from None
        raise FileFault(f"{path}: {name} is truncated or damaged ({error})") from None
    if not isinstance(array, np.ndarray):
        raise FileFault(f"{path}: expected {name} to be an array, got {len(array):,} other bytes")
    return array


def _as_images(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) or (N, H, W, C) as bytes or floats."""
    if images.ndim not in (3, 4):
        raise FileFault(f"{path}: expected {name} of shape (N, H, W) or (N, H, W, C), got {images.shape}")
    channels_first = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4)
    if channels_first:
        raise FileFault(
            f"{path}: expected {name} of shape (N, H, W, C), got {images.shape}, with the channels before the pixels "
            f"({in_words((*images.shape[2:], images.shape[1]))}); save {name}.transpose(0, 2, 3, 1)"
        )
    if images.dtype.kind == "f":
        if not np.isfinite(images).all():
            raise FileFault(f"{path}: {name}[{_first(~np.isfinite(images))}] holds NaN or infinite pixels")
        return images
    if images.dtype.kind == "b":
        return images.astype(np.float32)
    wrong = (images < 0) | (images > 255) if images.dtype.kind in "iu" else np.ones(1, bool)
    if wrong.any():
        got = f"{name}[{_first(wrong)}] with others" if images.dtype.kind in "iu" else str(images.dtype)
        raise FileFault(f"{path}: expected {name} to hold {KINDS}, got {got}")
    return images.astype(np.uint8)


def _first(wrong: np.ndarray) -> int:
    """The first image with a wrong pixel."""
    return int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())


def _as_labels(path: Path, name: str, labels: np.ndarray, count: int) -> np.ndarray:
    """Labels (N,), whole numbers; Keras has some of shape (N, 1)."""
    if labels.shape == (len(labels), 1):
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = f"; save {name}.argmax(axis=1), if each row has a 1 at its class" if labels.ndim == 2 else ""
        raise FileFault(f"{path}: expected {name} of shape (N,), got {labels.shape}{hint}")
    if labels.dtype.kind not in "iu":
        raise FileFault(f"{path}: expected {name} to hold whole numbers, got {labels.dtype}")
    if len(labels) != count:
        raise FileFault(f"{path}: {name} has {len(labels):,} labels for {count:,} images")
    return labels
