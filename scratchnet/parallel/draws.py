"""What is drawn at random for an image, whichever rank has it.

In a training run in one piece, a dropout layer draws the masks of a whole batch, image by image, from one stream. A
rank that holds the images from `first` on skips what is drawn for those before. So each image has the mask that it
would have had there, and so have turned and shifted images their angles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from scratchnet.data import RandomAffine
from scratchnet.layers import Dropout
from scratchnet.network import Network
from scratchnet.stream import skip

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Draws:
    """The generators of a network's layers, and how many numbers each draws for an image.

    Raises ValueError, naming the layer, if a layer draws in another way than `Dropout`, or two share a generator.
    """

    def __init__(self, net: Network, image_shape: tuple[int, ...]) -> None:
        self.streams: list[tuple[np.random.Generator, int]] = []
        for layer, shape in zip(net.layers, net.output_shapes(image_shape), strict=False):
            drawn = [held for held in layer.state().values() if isinstance(held, np.random.Generator)]
            if drawn and type(layer) is not Dropout:
                raise ValueError(
                    f"{layer.name}: expected only Dropout to draw random numbers in a run with shards, since what a "
                    f"{type(layer).__name__} draws cannot be given to single images; train without shards"
                )
            self.streams += [(rng, math.prod(shape)) for rng in drawn]
        if max(Counter(id(rng.bit_generator) for rng, _ in self.streams).values(), default=1) > 1:
            raise ValueError(
                f"{net.name}: two layers draw from the same generator, and so what a mask is depends on the whole "
                "batch; give each Dropout a generator or a seed of its own, or train without shards"
            )

    def skip(self, images: int) -> None:
        """Leave out what is drawn for so many images."""
        for rng, numbers in self.streams:
            skip(rng, images * numbers)


def augmented(augment: Augment, images: np.ndarray, which: range, batch: int, seed: int, step: int) -> np.ndarray:
    """Images of a batch, augmented with what is drawn for each.

    `RandomAffine` gives them what it gives them in a whole batch. Any other function gets one image at a time, with a
    generator of its own for each seed, step and image.

    Parameters
    ----------
    images : (n, H, W, C)
    which : range
        Their places in the batch.
    batch : int
        How many images the batch has.
    """
    if type(augment) is RandomAffine:
        angles, shifts = augment.draw(batch, np.random.default_rng([seed, step]))
        return augment.apply(images, angles[which.start : which.stop], shifts[which.start : which.stop])
    each = [augment(images[i : i + 1], np.random.default_rng([seed, step, place])) for i, place in enumerate(which)]
    return np.concatenate(each) if each else images
