"""The data sets that the commands know by name: what each is, and where its files are found.

A data set is one record. `load` in `sources.py` reads it; so do the command line, the tables and the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scratchnet.data.dataset import Dataset
from scratchnet.data.sample import load_sample


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set. It has either `files` or `read`.

    Attributes
    ----------
    name : str
        Its name for `load` and the command line: "fashion-mnist".
    title : str
        Its name in texts: "Fashion-MNIST".
    image_shape : (H, W, C)
        Of one image.
    classes : tuple of str
        The name of each label, from 0.
    licence : str
        Its licence, and who grants it.
    files : mapping of str to str
        The four IDX files, named as MNIST's are: for each the SHA-256 of its content. For a gzipped file this is the
        content before compression, since gzip gives other bytes with each version and level.
    mirrors : tuple of str
        Addresses of folders that hold these files gzipped, for a download.
    folders : tuple of str
        Folders on this machine where another package may have installed them.
    read : function
        For a data set that is not four IDX files: returns the two parts, (train, test), each a Dataset.
    pictures : {"ink", "object"}
        How `scratchnet predict` prepares a picture: as strokes on paper (MNIST), or as an object that fills the
        image (Fashion-MNIST).
    own : bool
        Whether this describes a user's own data, which has a path for a name. Such a record is not in `DATASETS`.
    """

    name: str
    title: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    files: Mapping[str, str] = field(default_factory=dict)
    mirrors: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    read: Callable[[], tuple[Dataset, Dataset]] | None = None
    pictures: str = "ink"
    own: bool = False


DATASETS: dict[str, DatasetInfo] = {}


def register(info: DatasetInfo) -> DatasetInfo:
    """Make a data set known to `load` and to the commands; returns it.

    Raises
    ------
    ValueError
        If there is one of that name already, or it has both files and a function that reads it, or neither.
    """
    if info.name in DATASETS:
        raise ValueError(f"{info.name}: a data set of this name is registered already; choose another")
    if bool(info.files) == (info.read is not None):
        raise ValueError(f"{info.name}: expected either files or read, got {'both' if info.files else 'neither'}")
    DATASETS[info.name] = info
    return info


DIGITS = tuple("0123456789")

SAMPLE = register(
    DatasetInfo(
        "sample",
        "the sample",
        image_shape=(28, 28, 1),
        classes=DIGITS,
        licence="MIT (Juan Cazala); digits of MNIST",
        read=load_sample,
    )
)

MNIST = register(
    DatasetInfo(
        "mnist",
        "MNIST",
        image_shape=(28, 28, 1),
        classes=DIGITS,
        licence="CC BY-SA 3.0 (Yann LeCun and Corinna Cortes)",
        files={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    )
)

FASHION_MNIST = register(
    DatasetInfo(
        "fashion-mnist",
        "Fashion-MNIST",
        image_shape=(28, 28, 1),
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        licence="MIT (Zalando SE)",
        files={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        folders=("/usr/share/datasets/fashion-mnist",),  # Debian's package dataset-fashion-mnist
        pictures="object",
    )
)  # fmt: skip
