"""Images with their labels, and the batches that training draws from them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

from scratchnet.data.on_disk import OnDisk
from scratchnet.layers.base import check_float, check_labels, check_shape
from scratchnet.settings import instance, integer, positive, shown, text

if TYPE_CHECKING:
    from scratchnet.data.registry import DatasetInfo


# A pixel is scaled by the largest number that its source can hold: 4, 8 or 16 bits, or scikit-learn's digits.
FULL_SCALES = (15, 16, 255, 65535)
ABOVE_ONE = 2  # up to here, a pixel may be a little brighter than 1: sharpening and cubic interpolation do that


class DataWarning(UserWarning):
    """Data can be used as it is, but is most likely not what was meant; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    A data set is a sequence of pairs: `len(data)`, `data[0]`, `for image, label in data`. A DataLoader takes it.
    `data[:100]` and `data[data.labels == 7]` are data sets again.

    Attributes
    ----------
    images : (N, H, W, C), float32, from 0 (background) to 1 (ink): (N, 28, 28, 1) for digits. Those of a large IDX file
        are no array: they are read when some of them are asked for, `data.images[:100]`.
    labels : (N,), int64, the classes, from 0. A list of whole numbers becomes such an array.
    name : str
        Its name wherever a result on it is printed: "held-out digits of the sample", "MNIST test set".
    info : DatasetInfo, optional
        The record of the data set that these images are from, with the names of its classes.

    Raises
    ------
    ValueError
        If there are not as many labels as images, or a label is no class.
    TypeError
        If images are no array, labels neither array nor list, or of another dtype than floats and integers.

    Warns
    -----
    DataWarning
        If pixels seem to go from 0 to 255 instead of to 1: training would start with a loss of hundreds.
    """

    images: np.ndarray
    labels: np.ndarray
    name: str
    info: DatasetInfo | None = None

    def __post_init__(self) -> None:
        text("Dataset", "name", self.name)
        if isinstance(self.labels, (list, tuple)):
            object.__setattr__(self, "labels", _as_array(self.labels))
        self._check()
        _warn_of_large_pixels(self.name, self.images)

    def _check(self) -> None:
        """Raise an error unless images and labels fit each other and the record."""
        if not isinstance(self.images, OnDisk):
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
        part = copy(self)  # not through the constructor, which would warn of the same pixels once more
        object.__setattr__(part, "images", self.images[which])
        object.__setattr__(part, "labels", self.labels[which])
        part._check()
        return part

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
        for chosen in self.batch_indices(batch_size, rng, first):
            yield self.images[chosen], self.labels[chosen]

    def batch_indices(self, batch_size: int, rng: np.random.Generator, first: int = 0) -> Iterator[np.ndarray]:
        """The places in the data of the images that `batches` yields, a batch (batch_size,) at a time."""
        batch_size = positive(self.name, "batch_size", batch_size)
        first = integer(self.name, "first", first, least=0)
        instance(self.name, "rng", rng, np.random.Generator)
        order = rng.permutation(len(self))
        for start in range(first * batch_size, len(self), batch_size):
            yield order[start : start + batch_size]


def _as_array(labels: list[int] | tuple[int, ...]) -> np.ndarray:
    """Labels as an array; int64 even if there are none, where NumPy would make floats."""
    return np.asarray(labels) if len(labels) else np.zeros(0, np.int64)


def _warn_of_large_pixels(name: str, images: np.ndarray | OnDisk) -> None:
    """A DataWarning that says what to divide by, if no pixel is negative and some are far above 1."""
    if isinstance(images, OnDisk):  # bytes divided by 255, which are not to be read all now
        return
    highest = images.max(initial=0)
    if highest > ABOVE_ONE and images.min() >= 0:
        scale = next((scale for scale in FULL_SCALES if highest <= scale), f"{highest:g}")
        message = f"{name}: expected pixels from 0 to 1, got up to {highest:g}; divide the images by {scale}"
        warnings.warn(message, DataWarning, stacklevel=4)  # of whoever makes the data set


def to_dataset(images: np.ndarray, labels: np.ndarray, name: str, info: DatasetInfo | None = None) -> Dataset:
    """Bytes (N, H, W) and (N,) as a Dataset: pixels divided by 255, a channel axis, labels as int64."""
    scaled = images[..., None].astype(np.float32)
    scaled /= 255
    return Dataset(scaled, labels.astype(np.int64), name, info)
