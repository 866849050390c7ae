"""Augmentation: images rotated and shifted a little: when training by chance, when reading by set angles.

An image is rotated by an angle about its centre and then shifted. Pixel (i, j) of the result comes from a point (y, x)
of the image, which lies between four pixels. With u = i - (H - 1) / 2 - down and v = j - (W - 1) / 2 - right:

    y = (H - 1) / 2 + u * cos(angle) + v * sin(angle)
    x = (W - 1) / 2 - u * sin(angle) + v * cos(angle)

Rows count downwards, so a positive angle rotates the picture counterclockwise. The new pixel is the mean of the four
around (y, x), weighted by nearness (bilinear interpolation). Outside the image all is 0, as MNIST's background is.

Source: Simard et al., "Best practices for convolutional neural networks applied to visual document analysis", 2003,
section 2 (affine distortions of digits).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scratchnet.engine import ops
from scratchnet.settings import at_least_zero

VIEWS = (-12.0, -6.0, 0.0, 6.0, 12.0)  # degrees; an image and four turns, none of which makes another digit of it


def turn_and_shift(x: np.ndarray, angles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images x (N, H, W, C), each rotated by its own angle and then shifted.

    Parameters
    ----------
    x : (N, H, W, C)
    angles : (N,), in radians, counterclockwise.
    shifts : (N, 2), in pixels, down and to the right; fractions are allowed.

    Returns
    -------
    (N, H, W, C), of the dtype of x.
    """
    N, H, W, _ = x.shape
    angle, shift = angles[:, None, None], shifts[:, None, None, :]
    u = np.arange(H)[:, None] - (H - 1) / 2 - shift[..., 0]
    v = np.arange(W) - (W - 1) / 2 - shift[..., 1]
    rows = (H - 1) / 2 + u * np.cos(angle) + v * np.sin(angle)
    columns = (W - 1) / 2 - u * np.sin(angle) + v * np.cos(angle)

    # A frame of zeros, wide enough that every point beyond the image finds its four neighbours there.
    framed = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    rows, columns = np.clip(rows, -2, H) + 2, np.clip(columns, -2, W) + 2
    i, j = rows.astype(int), columns.astype(int)
    below, beside = (rows - i)[..., None].astype(x.dtype), (columns - j)[..., None].astype(x.dtype)
    n = np.arange(N)[:, None, None]
    upper = framed[n, i, j] * (1 - beside) + framed[n, i, j + 1] * beside
    lower = framed[n, i + 1, j] * (1 - beside) + framed[n, i + 1, j + 1] * beside
    return upper * (1 - below) + lower * below


@dataclass(frozen=True)
class RandomAffine:
    """Rotates and shifts each image of a batch by random amounts, uniform in a range: for the `augment` of `fit`.

    Parameters
    ----------
    degrees : float
        The largest angle, in either direction.
    shift : float
        The largest shift in pixels, in each of the four directions.

    Raises
    ------
    ValueError
        If one is negative or not finite.
    """

    degrees: float = 10.0
    shift: float = 2.0

    def __post_init__(self) -> None:
        for what in ("degrees", "shift"):
            value = at_least_zero("RandomAffine", what, getattr(self, what))
            object.__setattr__(self, what, value)  # frozen: a dataclass that is set once, here

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images (N, H, W, C), rotated and shifted; the same generator state gives the same result."""
        return self.apply(images, *self.draw(len(images), rng))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Angles (count,) and shifts (count, 2), as `turn_and_shift` takes them."""
        largest = np.radians(self.degrees)
        angles = rng.uniform(-largest, largest, count)
        return angles, rng.uniform(-self.shift, self.shift, (count, 2))

    def apply(self, images: np.ndarray, angles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Images (N, H, W, C), rotated and shifted by what was drawn."""
        return ops.turn_and_shift(images, angles, shifts)


def mean_over_turns(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, degrees: Sequence[float] = VIEWS
) -> np.ndarray:
    """Class probabilities of each image: the mean over views of it, each turned by an angle (test-time augmentation).

    A network is as sure of what it never saw as of a digit, but its answer to that changes when it is turned a little.
    So the mean is less sure where the network only guesses. This takes as many forward passes as there are angles.
    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 4.1, where the views are ten crops.

    Parameters
    ----------
    predict : function from images (N, H, W, C) to probabilities (N, K), as the `predict` of a network.
    images : (N, H, W, C), whose background is 0.
    degrees : the angle of each view, counterclockwise; at least one.

    Returns
    -------
    (N, K), whose rows sum to 1.
    """
    none = np.zeros((len(images), 2))
    turned = [ops.turn_and_shift(images, np.full(len(images), np.radians(angle)), none) for angle in degrees]
    return np.mean([predict(view) for view in turned], axis=0)
