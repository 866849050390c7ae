"""Loads a data set by its name: from the package, from a folder with its files, or from a mirror. Or by its path.

Files are named by their content, not by their folder. The content is hashed when it is read. Four files that match no
record are called "IDX files in FOLDER".
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scratchnet.cache import cache_folder
from scratchnet.data.dataset import Dataset, to_dataset
from scratchnet.data.idx import as_array, read_content
from scratchnet.data.registry import DATASETS, DatasetInfo
from scratchnet.reading import FileFault, user_path
from scratchnet.settings import flag

TRAIN_SIZES = (60_000, 55_000)
PARTS = {"train": "training", "t10k": "test"}  # the first word of MNIST's file names


def load(
    name: str | Path = "sample",
    data_dir: str | Path | None = None,
    train_images: int = 60_000,
    transpose: bool = False,
) -> tuple[Dataset, Dataset]:
    """Images to train with, and images to test with.

    Your own data is in one of these formats, which is found out. Images (N, H, W, C) may have any size and 1 or 3
    channels (arrays: any number), but all have the same.

    - A folder of pictures with a folder for each class. The classes are the names of the folders in alphabetical order.
    - IDX files: a folder with train-images-idx3-ubyte and so on, or one of them, raw or .gz. Images of a raw file of
      256 MiB or more stay on the disk, and only those that are used are read.
    - A CSV file as on Kaggle: in each line the label, then the pixels of a square. There may be a header.
    - An .npz file with x_train, y_train, x_test, y_test, or images, labels. Nothing is unpickled.

    A test part is found as a folder test/, as t10k- or test- files, as test.csv, or as x_test. If there is none, every
    fifth image of each class is held out, always the same ones; the name of the test part says so. Bytes are divided by
    255, and floats are taken as they are.

    Parameters
    ----------
    name : str or path
        A data set in `DATASETS`, or the path of your own data. "sample" is inside the package: 8,000 digits to train
        with and 2,000 held out, all from MNIST's training set. An accuracy on it is not an MNIST test accuracy. "mnist"
        and "fashion-mnist" are complete: 60,000 and 10,000 images each.
    data_dir : path, optional
        For a data set of files: the folder that holds the four IDX files, raw or gzipped, or that holds a folder NAME
        with them. If not given, it is the folder that the environment variable SCRATCHNET_DATA names; else the user's
        cache folder, or one that another package has installed. If none has the files, they are downloaded into the
        cache folder.
    train_images : {60000, 55000}
        "mnist" only: 55000 leaves out the first 5,000 training images, as the original's notebooks did.
    transpose : bool
        For your own data: exchange rows and columns. EMNIST's images are stored so.

    Returns
    -------
    train, test : Dataset
        Named by the content of the files. Other files in `data_dir` than those of the data set are read too, and
        called "training images of the IDX files in FOLDER".

    Raises
    ------
    FileNotFoundError
        If a given folder lacks one of the files, or there is nothing at a path.
    ConnectionError
        If the files have to be downloaded and no mirror has them complete.
    ValueError
        If there is no such data set, or a file is damaged (FileFault); the message names the file, the line or the
        entry, what was expected, and what came.

    Warns
    -----
    DataWarning
        If files are EMNIST's by their names, and so most likely transposed; or if floats go from 0 to 255.
    """
    if is_path(name):
        return load_own(name, data_dir, train_images, transpose)
    info = DATASETS[str(name)]
    if transpose:
        raise ValueError(f"{name}: expected transpose only for your own data, named by its path")
    if train_images not in (TRAIN_SIZES if name == "mnist" else TRAIN_SIZES[:1]):
        sizes = "60000 or 55000" if name == "mnist" else "left out, since only mnist has it"
        raise ValueError(f"{name}: expected train_images to be {sizes}, got {train_images!r}")
    if info.read is not None:
        if data_dir is not None:
            raise ValueError(f"{name}: expected no data_dir, since it is not read from a folder; got {str(data_dir)!r}")
        train, test = (replace(part, info=info) for part in info.read())
        return train, test
    folder = find(info, data_dir) or download_all(info, data_folder(info))
    train, test = (read_part(info, folder, part) for part in PARTS)
    return train[len(train) - train_images :] if train_images < len(train) else train, test


def load_own(
    path: str | Path, data_dir: str | Path | None, train_images: int, transpose: bool
) -> tuple[Dataset, Dataset]:
    """The data at a path; the arguments that are for data sets with a name must not be given."""
    from scratchnet.data.own import read_own  # here: its readers use what stands in this file

    if data_dir is not None:
        raise ValueError(f"{path}: expected no data_dir, since this path says where the data is; got {str(data_dir)!r}")
    if train_images != TRAIN_SIZES[0]:
        raise ValueError(f"{path}: expected train_images to be left out, since only mnist has it, got {train_images!r}")
    return read_own(path, flag("load", "transpose", transpose))


def is_path(name: str | Path) -> bool:
    """Whether this names a file or folder with one's own data, and not a data set in `DATASETS`.

    A word that is neither is taken for a misspelt data set.

    Raises
    ------
    ValueError
        If there is no data set and no file of this name.
    FileNotFoundError
        If it can only be a path, and there is nothing.
    """
    if isinstance(name, str) and name in DATASETS:
        return False
    if not isinstance(name, (str, Path)) or not str(name):
        raise ValueError(f"expected a data set named {one_of(DATASETS)}, or a path, got {name!r}")
    place = user_path(name)
    if place.exists():
        return True
    if isinstance(name, Path) or place.name != name or place.suffix:
        raise FileNotFoundError(f"{name}: no such file or folder; if your data was moved, name its new path")
    raise ValueError(
        f"expected a data set named {one_of(DATASETS)}, or the path of your own data, got {name!r}; no file "
        "or folder here has this name"
    )


def one_of(names: Iterable[str]) -> str:
    """Names to choose from: "sample", "mnist" or "fashion-mnist"."""
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} or {last}" if others else last


# ---------------------------------------------------------------- which folder


def data_folder(info: DatasetInfo) -> Path:
    """Where a data set's downloaded files are kept for this user."""
    return cache_folder() / info.name


def find(info: DatasetInfo, data_dir: str | Path | None = None) -> Path | None:
    """The folder that holds a data set's four files, or None if they have to be downloaded.

    Raises FileNotFoundError if a folder was named, by `data_dir` or SCRATCHNET_DATA, and lacks one of them: a wrong
    name is an error, and nothing is downloaded instead.
    """
    named = os.environ.get("SCRATCHNET_DATA") or None if data_dir is None else data_dir
    if named is None:
        places = [data_folder(info), *map(Path, info.folders)]
        return next((folder for folder in places if not missing_files(info, folder)), None)
    place = user_path(named)
    if not str(named) or not place.is_dir():
        what = "is a file" if str(named) and place.exists() else "does not exist"
        raise FileNotFoundError(
            f"{named or repr(named)}: expected a folder with the four {info.title} files, but it {what}. Name the "
            "folder that holds them with --data-dir or SCRATCHNET_DATA, or name none to have them downloaded"
        )
    folder = place / info.name if (place / info.name).is_dir() else place
    if missing := missing_files(info, folder):
        raise FileNotFoundError(
            f"{folder}: expected the four {info.title} files here (raw or .gz), but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Name the folder that holds them with --data-dir or "
            'SCRATCHNET_DATA, or name none to have them downloaded; the data set "sample" needs no files'
        )
    return folder


def missing_files(info: DatasetInfo, folder: Path) -> list[str]:
    """Which of a data set's files a folder lacks, raw and gzipped."""
    return [name for name in info.files if not path_of(folder, name).is_file()]


def path_of(folder: Path, name: str) -> Path:
    """The path of a file: raw if it is there like that, else gzipped."""
    return next((path for path in spellings(folder, name) if path.is_file()), folder / f"{name}.gz")


def spellings(folder: Path, name: str) -> Iterator[Path]:
    """Where a file may be, raw first: Kaggle writes `train-images.idx3-ubyte`, and puts files into folders so named."""
    names = (name, name.replace("-idx", ".idx"))
    for ending in ("", ".gz"):
        for spelled in names:
            yield folder / f"{spelled}{ending}"
            yield from (folder / inner / f"{spelled}{ending}" for inner in (f"{spelled}{ending}", spelled))


def rank_of(name: str) -> int:
    """The rank of the array in one of a data set's files: 3 for images, 1 for labels."""
    return 3 if "images" in name else 1


# ---------------------------------------------------------------- what the files hold


def read_part(info: DatasetInfo, folder: Path, part: str) -> Dataset:
    """Images and labels of one part, "train" or "t10k", checked against each other and named by their content."""
    names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
    images_path, labels_path = (path_of(folder, name) for name in names)
    contents = [read_content(images_path, rank=3), read_content(labels_path, rank=1)]
    images, labels = as_array(contents[0], rank=3), as_array(contents[1], rank=1)
    H, W, _ = info.image_shape
    if images.shape[1:] != (H, W):
        raise FileFault(f"{images_path}: expected images of {H}x{W} pixels, got {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise FileFault(f"{labels_path}: {len(labels):,} labels, but {images_path.name} holds {len(images):,} images")
    if len(labels) and labels.max() >= len(info.classes):
        raise FileFault(f"{labels_path}: expected labels from 0 to {len(info.classes) - 1}, got {labels.max()}")
    known = recognised(dict(zip(names, contents, strict=True)))
    name = f"{known.title} {PARTS[part]} set" if known else f"{PARTS[part]} images of the IDX files in {folder}"
    return to_dataset(images, labels, name, known)


def recognised(contents: dict[str, bytes]) -> DatasetInfo | None:
    """The data set whose files of these names have this content. Hashing all of MNIST, 55 MB, takes about 0.05 s."""
    digests = {name: sha256(content) for name, content in contents.items()}
    return next((info for info in DATASETS.values() if digests.items() <= dict(info.files).items()), None)


def holds_labels_of(info: DatasetInfo, folder: Path) -> bool:
    """Whether a folder's label files, which are small, are those of the data set; `load` checks the images too."""
    names = [name for name in info.files if "labels" in name]
    return all(sha256(read_content(path_of(folder, name), rank_of(name))) == info.files[name] for name in names)


def sha256(content: bytes) -> str:
    """The hash of a file's content, as records have it."""
    return hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------- download


def download_all(info: DatasetInfo, folder: Path) -> Path:
    """Fetch a data set's files into `folder`; each appears there only after its content was checked."""
    for name in info.files:
        download(info, name, folder)
    return folder


def download(info: DatasetInfo, name: str, folder: Path) -> None:
    """Fetch one file from the first mirror that has the right content, unless the folder has it."""
    import pooch

    path = folder / f"{name}.gz"
    if path.is_file():
        try:
            return check_content(info, name, path)
        except FileFault:
            path.unlink()  # damaged, or of another data set
    pooch.get_logger().setLevel(logging.WARNING)  # its progress bar is enough
    failures = []
    for mirror in info.mirrors:
        try:
            # pooch downloads to a temporary file and renames it, unless the downloader raises an error.
            pooch.retrieve(mirror + path.name, None, path.name, folder, downloader=checked_downloader(info, name))
            return None
        except (OSError, ValueError) as error:  # no network, an HTTP error; content of another hash
            failures.append(f"  {mirror}{path.name}: {error}")
    raise ConnectionError(
        f"{path.name} could not be downloaded from any mirror:\n" + "\n".join(failures) + "\n"
        f"Put the four files ({', '.join(f'{name}.gz' for name in info.files)}) into {folder} by hand, "
        'or into a folder that --data-dir or SCRATCHNET_DATA names. Without them, the data set "sample" works now.'
    )


def checked_downloader(info: DatasetInfo, name: str) -> Any:
    """A function that pooch calls to download a file; it raises ValueError if the record has another hash."""
    import pooch

    fetch = pooch.HTTPDownloader(progressbar=True, timeout=30)

    def download(url: str, output_file: str, downloading: Any) -> None:
        fetch(url, output_file, downloading)
        check_content(info, name, Path(output_file))

    return download


def check_content(info: DatasetInfo, name: str, path: Path) -> None:
    """Raise FileFault if a file's content does not have the hash that the record gives for `name`."""
    if (found := sha256(read_content(path, rank_of(name)))) != info.files[name]:
        raise FileFault(f"{path}: expected content with the SHA-256 hash {info.files[name]}, got {found}")
