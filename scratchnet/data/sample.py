"""The sample: 10,000 digits of MNIST inside the package, so that everything works without a download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from scratchnet.data.dataset import Dataset, to_dataset
from scratchnet.reading import FileFault

ARRAYS = {
    "train_images": (8000, 28, 28),
    "train_labels": (8000,),
    "test_images": (2000, 28, 28),
    "test_labels": (2000,),
}


def load_sample() -> tuple[Dataset, Dataset]:
    """8,000 digits to train with, 2,000 held out. `scripts/build_sample.py` made the file and says how it is split.

    Raises FileFault if the installed file is damaged.
    """
    place = resources.files("scratchnet.data").joinpath("sample.npz")
    with place.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as held:
                arrays = {name: held[name] for name in ARRAYS}
        except Exception as error:  # zipfile, zlib and NumPy raise errors of many kinds for a damaged file
            raise FileFault(f"{place}: damaged ({error}); install scratchnet again") from error
    for name, shape in ARRAYS.items():
        if (arrays[name].shape, arrays[name].dtype) != (shape, np.uint8):
            got = f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise FileFault(
                f"{place}: expected {name} to be uint8 of shape {shape}, got {got}; install scratchnet again"
            )
    train = to_dataset(arrays["train_images"], arrays["train_labels"], "training digits of the sample")
    held_out = to_dataset(arrays["test_images"], arrays["test_labels"], "held-out digits of the sample")
    return train, held_out
