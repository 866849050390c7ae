"""The sample: 10,000 digits of MNIST inside the package, so that everything works without a download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from scratchnet.data.dataset import Dataset, to_dataset


def load_sample() -> tuple[Dataset, Dataset]:
    """8,000 digits to train with, 2,000 held out. `scripts/build_sample.py` made the file and says how it is split."""
    with resources.files("scratchnet.data").joinpath("sample.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        train = to_dataset(arrays["train_images"], arrays["train_labels"], "training digits of the sample")
        held_out = to_dataset(arrays["test_images"], arrays["test_labels"], "held-out digits of the sample")
    return train, held_out
