"""IDX files of any size and of any data set: a folder with them, or one of them, which stands for all of its set.

The names in use are these, and each may end in .gz, begin with the name of a set (emnist-letters-), or be a folder with
the file in it:

    train-images-idx3-ubyte    train-images.idx3-ubyte    t10k-... or test-... for the test part
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from scratchnet.data import on_disk
from scratchnet.data.idx import as_array, map_idx, read_content
from scratchnet.data.own.parts import Found, Part
from scratchnet.data.registry import DatasetInfo
from scratchnet.reading import FileFault

NAME = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test)[-_.](?P<what>images|labels)[-_.]idx(?P<rank>[134])[-_.]ubyte(\.gz)?$", re.I
)
PARTS = {"train": "train", "t10k": "test", "test": "test"}

# The files of one set: by part and by what they hold.
Files = dict[tuple[str, str], Path]


def files_in(place: Path) -> dict[str, Files]:
    """The sets of IDX files in a folder, or the set that a file is of, each under the beginning of its names."""
    only = NAME.match(place.name)
    if only is None and not place.is_dir():
        return {}
    folder = place if place.is_dir() else place.parent
    if NAME.match(folder.name):  # one of the folders that hold a file of their name
        folder = folder.parent
    sets: dict[str, Files] = {}
    for path in _files(folder):
        if match := NAME.match(path.name):
            key = PARTS[match["part"].lower()], match["what"].lower()
            sets.setdefault(match["set"], {}).setdefault(key, path)
    return sets if only is None else {only["set"]: sets.get(only["set"], {})}


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder and of the folders in it that have a file's name; those that are not packed come first."""
    inner = [folder, *(path for path in folder.iterdir() if path.is_dir() and NAME.match(path.name))]
    paths = [path for place in inner for path in place.iterdir() if path.is_file()]
    return iter(sorted(paths, key=lambda path: (path.suffix == ".gz", str(path))))


def is_idx(place: Path) -> bool:
    """Whether a folder holds IDX files by their names, or a file has such a name."""
    return bool(files_in(place))


def read_idx_files(place: Path) -> Found:
    """The images and labels of the one set there is.

    Raises
    ------
    FileFault
        If there are several sets, or a file is damaged or does not fit its partner.
    FileNotFoundError
        If images lack their labels, labels their images, or there is nothing to train with.
    """
    sets = files_in(place)
    if len(sets) > 1:
        names = ", ".join(name.strip("-_.") or "one without a name" for name in sets)
        raise FileFault(f"{place}: expected the IDX files of one data set, got those of {names}; name a file of one")
    (files,) = sets.values()
    contents: dict[str, bytes] = {}
    train = _read_part(place, files, "train", contents)
    test = _read_part(place, files, "test", contents) if {("test", "images"), ("test", "labels")} & {*files} else None
    return Found(train, test, known=_recognised(contents))


def _read_part(place: Path, files: Files, part: str, contents: dict[str, bytes]) -> Part:
    """One part; the bytes of its files are added to `contents`, under the names that records have."""
    missing = [what for what in ("images", "labels") if (part, what) not in files]
    if missing:
        held = ", ".join(sorted(path.name for path in files.values()))
        raise FileNotFoundError(
            f"{place}: expected a file {part}-{missing[0]}-idx{1 if missing[0] == 'labels' else 3}-ubyte, raw or .gz, "
            f"got only {held}"
        )
    images_path, labels_path = files[part, "images"], files[part, "labels"]
    rank = _rank(images_path)
    labels_content = read_content(labels_path, 1)
    labels = as_array(labels_content, 1)
    if is_large(images_path):  # no known set is so large, and all of its bytes would have to be compared
        content, images = b"", map_idx(images_path, rank)
    else:
        content = read_content(images_path, rank)
        images = as_array(content, rank)
    if len(images) != len(labels):
        raise FileFault(f"{labels_path}: {len(labels):,} labels, but {images_path.name} holds {len(images):,} images")
    known = {"train": "train", "test": "t10k"}[part]
    contents |= {f"{known}-images-idx3-ubyte": content, f"{known}-labels-idx1-ubyte": labels_content}
    return Part(images, labels, images_path, lambda i: f"{labels_path}: entry {i:,}")


def is_large(path: Path) -> bool:
    """Whether a file of images is left on the disk: it is large, and not packed."""
    return path.suffix.lower() != ".gz" and path.stat().st_size >= on_disk.MAPPED_FROM


def _rank(path: Path) -> int:
    """The rank that the name of a file of images gives; what it holds is compared with it."""
    match = NAME.match(path.name)
    return 4 if match and match["rank"] == "4" else 3


def _recognised(contents: dict[str, bytes]) -> DatasetInfo | None:
    """The record of the data set whose files these are."""
    from scratchnet.data.sources import recognised  # here: sources reads own data through this package

    return recognised(contents)
