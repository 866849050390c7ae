"""Images with their labels, and the batches that training draws from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np

from scratchnet.layers.base import check_float, check_labels, check_shape
from scratchnet.settings import instance, integer, positive, shown, text

if TYPE_CHECKING:
    from scratchnet.data.registry import DatasetInfo


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes
    ----------
    images : (N, H, W, C), float32, from 0 (background) to 1 (ink): (N, 28, 28, 1) for digits.
    labels : (N,), int64, the classes, from 0.
    name : str
        Its name wherever a result on it is printed: "held-out digits of the sample", "MNIST test set".
    info : DatasetInfo, optional
        The record of the data set that these images are from, with the names of its classes.

    A data set is a sequence of pairs: `len(data)`, `data[0]`, `for image, label in data`.

    Raises
    ------
    ValueError
        If there are not as many labels as images, or a label is no class.
    TypeError
        If images or labels are no arrays, or of another dtype than floats and integers.
    """

    images: np.ndarray
    labels: np.ndarray
    name: str
    info: DatasetInfo | None = None

    def __post_init__(self) -> None:
        text("Dataset", "name", self.name)
        check_float(self.name, "images", self.images)
        check_shape(self.name, "images", self.images.shape, ("N", "H", "..."))
        check_labels(self.name, self.labels, len(self.info.classes) if self.info else None)
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{self.name}: expected a label for each image, got "
                f"{len(self.images)} images and {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, which: int) -> tuple[np.ndarray, int]: ...

    @overload
    def __getitem__(self, which: slice | np.ndarray | list[int]) -> Dataset: ...

    def __getitem__(self, which: int | slice | np.ndarray | list[int]) -> tuple[np.ndarray, int] | Dataset:
        """One image with its label, data[0], or a part of the data: data[:100], or data[data.labels == 7]."""
        if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
            return self.images[which], int(self.labels[which])
        if not isinstance(which, (slice, list, np.ndarray)):
            raise TypeError(f"{self.name}: expected an index, a slice or an array of indices, got {shown(which)}")
        return replace(self, images=self.images[which], labels=self.labels[which])

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Each image with its label, in order."""
        return (self[i] for i in range(len(self)))

    def class_name(self, label: int) -> str:
        """What a label stands for; the number itself if there is no record that names it."""
        return self.info.classes[label] if self.info and label < len(self.info.classes) else str(label)

    def class_count(self) -> int:
        """How many classes there are: as many as the record names, or as the labels show."""
        return len(self.info.classes) if self.info else int(self.labels.max(initial=-1)) + 1

    def batches(
        self, batch_size: int, rng: np.random.Generator, first: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One epoch: every image once, in an order drawn from `rng`, a batch at a time.

        Only the order is drawn at the start; each batch is copied when its turn comes. The last one may be smaller.

        Parameters
        ----------
        batch_size : int
        rng : numpy.random.Generator
            Advanced by one permutation, whatever `first` is.
        first : int
            The batch to begin with, to continue an interrupted epoch.

        Yields
        ------
        images : (batch_size, H, W, C), labels : (batch_size,)

        Raises
        ------
        ValueError
            If the batch size is not positive.
        """
        batch_size = positive(self.name, "batch_size", batch_size)
        first = integer(self.name, "first", first, least=0)
        instance(self.name, "rng", rng, np.random.Generator)
        order = rng.permutation(len(self))
        for start in range(first * batch_size, len(self), batch_size):
            chosen = order[start : start + batch_size]
            yield self.images[chosen], self.labels[chosen]


def to_dataset(images: np.ndarray, labels: np.ndarray, name: str, info: DatasetInfo | None = None) -> Dataset:
    """Bytes (N, H, W) and (N,) as a Dataset: pixels divided by 255, a channel axis, labels as int64."""
    scaled = images[..., None].astype(np.float32)
    scaled /= 255
    return Dataset(scaled, labels.astype(np.int64), name, info)
