"""Images that stay in their file until they are asked for: for data that is larger than memory.

The file is mapped into memory by the system, which reads only those parts of it that are used, and drops them again
when it needs the room. What is asked for comes as the arrays of any other data set have it: float32, divided by 255.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MAPPED_FROM = 2**28  # bytes of pixels in a file; as float32 they take four times as much


class OnDisk:
    """Images (N, H, W, C) of bytes, which are float32 from 0 to 1 for whoever reads some of them.

    It has what an array has of `shape`, `dtype`, `ndim`, `size` and `len`. `images[5]`, `images[:100]` and
    `images[[3, 1]]` are arrays in memory; `part` is not. `np.asarray(images)` reads them all.

    Parameters
    ----------
    pixels : np.memmap
        (N, H, W, C) of uint8.
    chosen : (n,) of int, optional
        Which of them count, and in which order; all if not given.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, pixels: np.ndarray, chosen: np.ndarray | None = None) -> None:
        self.pixels, self.chosen = pixels, chosen
        self.shape = (len(pixels) if chosen is None else len(chosen), *pixels.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def __getitem__(self, which: Any) -> np.ndarray:
        """Some of the images, in memory."""
        read = np.array(self.pixels[which if self.chosen is None else self.chosen[which]], np.float32, order="C")
        read /= 255
        return read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def part(self, which: np.ndarray) -> OnDisk:
        """Some of the images, by a mask or by their places; nothing is read."""
        chosen = np.arange(len(self.pixels)) if self.chosen is None else self.chosen
        return OnDisk(self.pixels, chosen[which])
