"""Where the digits come from: the sample inside the package, or the complete MNIST from a folder or a mirror."""

from __future__ import annotations

import logging
import os
from importlib import resources
from pathlib import Path

import numpy as np

from scratchnet.data.dataset import Dataset, to_dataset
from scratchnet.data.idx import read_idx

# SHA-256 of the four files as the MNIST authors published them, gzipped.
MNIST_FILES = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

TRAIN_SIZES = (60_000, 55_000)


def load(
    name: str = "sample", data_dir: str | Path | None = None, train_images: int = 60_000
) -> tuple[Dataset, Dataset]:
    """Digits to train with, and digits to test with.

    Parameters
    ----------
    name : {"sample", "mnist"}
        "sample" is inside the package: 8,000 digits to train with and 2,000 held out, all from MNIST's training set. An
        accuracy on it is not an MNIST test accuracy. "mnist" is the complete set: 60,000 and 10,000.
    data_dir : path, optional
        "mnist" only: the folder with the four IDX files, raw or gzipped. If not given, the folder that the variable
        SCRATCHNET_DATA names; else the user's cache folder, into which they are downloaded if they are not there.
    train_images : {60000, 55000}
        "mnist" only: 55000 leaves out the first 5,000 training images, as the reproduced notebooks did.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    FileNotFoundError
        If a given folder lacks one of the files.
    ConnectionError
        If the files have to be downloaded and no mirror gave them whole.
    ValueError
        If there is no such data set, or a file is damaged; the message names the file.
    """
    if name == "sample":
        return load_sample()
    if name == "mnist":
        return load_mnist(data_dir, train_images)
    raise ValueError(f'expected a data set named "sample" or "mnist", got {name!r}')


def load_sample() -> tuple[Dataset, Dataset]:
    """The 10,000 digits inside the package; `scripts/build_sample.py` made the file and says how it is split."""
    with resources.files("scratchnet.data").joinpath("sample.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        train = to_dataset(arrays["train_images"], arrays["train_labels"], "training digits of the sample")
        held_out = to_dataset(arrays["test_images"], arrays["test_labels"], "held-out digits of the sample")
    return train, held_out


def load_mnist(data_dir: str | Path | None = None, train_images: int = 60_000) -> tuple[Dataset, Dataset]:
    """The complete MNIST; see `load`."""
    if train_images not in TRAIN_SIZES:
        raise ValueError(f"expected train_images to be 60000 or 55000, got {train_images!r}")
    folder = find_mnist(data_dir) or download_mnist(cache_folder())
    train = read_part(folder, "train", "MNIST training set")
    test = read_part(folder, "t10k", "MNIST test set")
    return train[len(train) - train_images :] if train_images < len(train) else train, test


def cache_folder() -> Path:
    """Where downloaded files are kept for this user."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("scratchnet")) / "mnist"


def find_mnist(data_dir: str | Path | None = None) -> Path | None:
    """The folder that holds the four files, or None if they have to be downloaded.

    Raises FileNotFoundError if a folder was named, by `data_dir` or SCRATCHNET_DATA, and lacks one of them: a wrong
    name should be noticed, not made up for by a download.
    """
    named = os.environ.get("SCRATCHNET_DATA") or None if data_dir is None else data_dir
    if named is None:
        folder = cache_folder()
        return folder if not missing_files(folder) else None
    if not str(named) or not Path(named).is_dir():
        what = "is a file" if str(named) and Path(named).exists() else "does not exist"
        raise FileNotFoundError(
            f"{named or repr(named)}: expected a folder with the four MNIST files, but it {what}. Name the folder that "
            "holds them with --data-dir or SCRATCHNET_DATA, or name none to have them downloaded"
        )
    missing = missing_files(Path(named))
    if missing:
        raise FileNotFoundError(
            f"{named}: expected the four MNIST files here (raw or .gz), but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Name the folder that holds them with --data-dir or "
            'SCRATCHNET_DATA, or name none to have them downloaded; the data set "sample" needs no files'
        )
    return Path(named)


def missing_files(folder: Path) -> list[str]:
    """Which of the four files a folder lacks, raw and gzipped."""
    return [name for name in MNIST_FILES if not mnist_file(folder, name).exists()]


def mnist_file(folder: Path, name: str) -> Path:
    """The path of a file: raw if it is there like that, else gzipped."""
    raw = folder / name
    return raw if raw.exists() else folder / f"{name}.gz"


def read_part(folder: Path, part: str, name: str) -> Dataset:
    """Images and labels of one part, "train" or "t10k", checked against each other."""
    images_path = mnist_file(folder, f"{part}-images-idx3-ubyte")
    labels_path = mnist_file(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, rank=3), read_idx(labels_path, rank=1)
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{images_path}: expected images of 28x28 pixels, got {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise ValueError(f"{labels_path}: {len(labels):,} labels, but {images_path.name} holds {len(images):,} images")
    if len(labels) and labels.max() > 9:
        raise ValueError(f"{labels_path}: expected labels from 0 to 9, got {labels.max()}")
    return to_dataset(images, labels, name)


def download_mnist(folder: Path) -> Path:
    """Fetch the four files into `folder`; each is checked by its SHA-256 and appears there only when it is whole."""
    for name, sha256 in MNIST_FILES.items():
        download(f"{name}.gz", sha256, folder)
    return folder


def download(filename: str, sha256: str, folder: Path) -> None:
    """Fetch one file from the first mirror that gives it whole. pooch downloads to a temporary file and renames it."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # its progress bar is enough
    failures = []
    for mirror in MIRRORS:
        fetch = pooch.HTTPDownloader(progressbar=True, timeout=30)
        try:
            pooch.retrieve(mirror + filename, known_hash=sha256, fname=filename, path=folder, downloader=fetch)
            return
        except (OSError, ValueError) as error:  # no network, an HTTP error; a checksum that fails
            failures.append(f"  {mirror}{filename}: {error}")
    raise ConnectionError(
        f"{filename} could not be downloaded from any mirror:\n" + "\n".join(failures) + "\n"
        f"Put the four files ({', '.join(f'{name}.gz' for name in MNIST_FILES)}) into {folder} by hand, "
        'or into a folder that --data-dir or SCRATCHNET_DATA names. Without them, the data set "sample" works now.'
    )
