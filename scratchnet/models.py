"""The MNIST architectures that this project reproduces, and the record of each.

All take images (N, 28, 28, 1) and give logits (N, 10); `input_shape` and `classes` make them for other images, of at
least 4 x 4 pixels. Convolutions are 5 x 5 with stride 1 and "same" padding (2
pixels on each side), pools are 2 x 2 with stride 2. Each model comes with the initialisation that its original used.

"The original" is the public README that scratchnet reproduces: three MNIST networks in two frameworks, and the
notebooks behind it. What it says about a network is in the network's record, at the end of this file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scratchnet.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    PointwiseConv2D,
    ReLU,
    Resize,
)
from scratchnet.network import Network
from scratchnet.runs.recipes import MODERN, ORIGINAL, RECIPES, Recipe
from scratchnet.settings import above_zero, flag, generator, positive, shown

INPUT_SHAPE = (28, 28, 1)
CLASSES = 10
LEAST_SIDE = 4  # two pools halve it twice


def _image_sizes(name: str, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The sizes (H, W, C) of the images that the network `name` is made for.

    Raises
    ------
    ValueError
        If these are not three positive integers, or two pools would leave nothing of the image.
    """
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(f"{name}: expected input_shape to be (H, W, C), as (32, 32, 3); got {shown(input_shape)}")
    H, W, C = (positive(name, "input_shape to have sizes, each", size) for size in input_shape)
    if min(H, W) < LEAST_SIDE:
        raise ValueError(
            f"{name}: expected images of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, since two pools halve them, "
            f"got {H}x{W}"
        )
    return H, W, C


def _pooled(H: int, W: int) -> int:
    """How many pixels two pools leave of an image."""
    return (H // 2 // 2) * (W // 2 // 2)


def four_conv_cnn(
    seed: int = 0, init: str = "pytorch", *, input_shape: tuple[int, int, int] = INPUT_SHAPE, classes: int = CLASSES
) -> Network:
    """Four convolutions of 4, 8, 16 and 32 filters, and a dense layer of 1000 units: 1,595,970 parameters.

    Parameters
    ----------
    seed : int
        Seed of the initial weights.
    init : {"pytorch", "glorot_uniform", "he_normal"}
        Rule for the initial weights; see `initial_weights`.
    input_shape : (H, W, C)
        Of one image: (32, 32, 3) for 32 x 32 pixels in colour.
    classes : int
        How many logits to give.

    Raises
    ------
    ValueError
        If the image is smaller than 4 x 4 pixels, or an argument is out of range.
    """
    rng = generator("four_conv_cnn", "seed", seed)
    H, W, C = _image_sizes("four_conv_cnn", input_shape)
    classes = positive("four_conv_cnn", "classes", classes)
    return Network(
        [
            Conv2D(C, 4, 5, init=init, rng=rng),
            ReLU(),
            Conv2D(4, 8, 5, init=init, rng=rng),
            ReLU(),
            MaxPool2D(2),
            Conv2D(8, 16, 5, init=init, rng=rng),
            ReLU(),
            Conv2D(16, 32, 5, init=init, rng=rng),
            ReLU(),
            MaxPool2D(2),
            Flatten(),
            Dense(_pooled(H, W) * 32, 1000, init=init, rng=rng),
            ReLU(),
            Dense(1000, classes, init=init, rng=rng),
        ],
        input_shape=(H, W, C),
        name="four_conv_cnn",
    )


def standard_cnn(
    seed: int = 0,
    dense_units: int = 1024,
    init: str = "glorot_uniform",
    *,
    input_shape: tuple[int, int, int] = INPUT_SHAPE,
    classes: int = CLASSES,
) -> Network:
    """Two convolutions of 32 and 64 filters, a dense layer of 1024 units and dropout: 3,274,634 parameters.

    Parameters
    ----------
    seed : int
        Seed of the initial weights, and of the dropout masks.
    dense_units : int
        Units of the dense layer.
    init : {"glorot_uniform", "pytorch", "he_normal"}
        Rule for the initial weights; see `initial_weights`.
    input_shape : (H, W, C)
        Of one image: (32, 32, 3) for 32 x 32 pixels in colour.
    classes : int
        How many logits to give.

    Raises
    ------
    ValueError
        If the image is smaller than 4 x 4 pixels, or an argument is out of range.
    """
    rng = generator("standard_cnn", "seed", seed)
    H, W, C = _image_sizes("standard_cnn", input_shape)
    classes = positive("standard_cnn", "classes", classes)
    dense_units = positive("standard_cnn", "dense_units", dense_units)
    return Network(
        [
            Conv2D(C, 32, 5, init=init, rng=rng),
            ReLU(),
            MaxPool2D(2),
            Conv2D(32, 64, 5, init=init, rng=rng),
            ReLU(),
            MaxPool2D(2),
            Flatten(),
            Dense(_pooled(H, W) * 64, dense_units, init=init, rng=rng),
            ReLU(),
            Dropout(0.4, rng=int(rng.spawn(1)[0].integers(1 << 63))),
            Dense(dense_units, classes, init=init, rng=rng),
        ],
        input_shape=(H, W, C),
        name="standard_cnn",
    )


def separable_cnn(
    seed: int = 0,
    width_multiplier: float = 1.0,
    resolution_multiplier: float = 1.0,
    dense_units: int = 1024,
    init: str = "glorot_uniform",
    batch_norm: bool = False,
    *,
    input_shape: tuple[int, int, int] = INPUT_SHAPE,
    classes: int = CLASSES,
) -> Network:
    """`standard_cnn` with depthwise separable convolutions: 3,225,539 parameters (405,827 with `dense_units=128`).

    Each convolution becomes a depthwise one, without bias, followed by a pointwise one. The two multipliers are
    MobileNet's (Howard et al., 2017, arXiv 1704.04861, sections 3.3 and 3.4). With `batch_norm`, so is the block: batch
    normalisation and a ReLU follow each of the two convolutions (section 3.1).

    Parameters
    ----------
    seed : int
        Seed of the initial weights, and of the dropout masks.
    width_multiplier : float
        Scales the filters of both convolutions, 32 and 64; rounded down, at least 1.
    resolution_multiplier : float
        Scales the input's height and width: the first layer of the network resizes the images. At least 4 pixels a
        side must be left, since two pools halve them.
    dense_units : int
        Units of the dense layer: 1024 in the published description, 128 in the notebook behind it.
    init : {"glorot_uniform", "pytorch", "he_normal"}
        Rule for the initial weights; see `initial_weights`.
    batch_norm : bool
        Whether to normalise: then the pointwise convolutions have no biases, since those of the normalisation follow.
    input_shape : (H, W, C)
        Of one image: (32, 32, 3) for 32 x 32 pixels in colour.
    classes : int
        How many logits to give.

    Raises
    ------
    ValueError
        If a multiplier is not positive, or the image, resized or not, is too small.
    """
    width_multiplier = above_zero("separable_cnn", "width_multiplier", width_multiplier)
    resolution_multiplier = above_zero("separable_cnn", "resolution_multiplier", resolution_multiplier)
    H, W, C = _image_sizes("separable_cnn", input_shape)
    classes = positive("separable_cnn", "classes", classes)
    size = round(H * resolution_multiplier), round(W * resolution_multiplier)
    if min(size) < LEAST_SIDE:
        raise ValueError(
            f"separable_cnn: expected a resolution_multiplier that leaves at least {LEAST_SIDE} pixels a side, "
            f"got {resolution_multiplier}, which leaves {min(size)}"
        )
    first, second = (max(1, int(filters * width_multiplier)) for filters in (32, 64))
    rng = generator("separable_cnn", "seed", seed)
    dense_units = positive("separable_cnn", "dense_units", dense_units)
    batch_norm = flag("separable_cnn", "batch_norm", batch_norm)

    def block(channels: int, filters: int) -> list[Layer]:
        depthwise = DepthwiseConv2D(channels, 5, init=init, rng=rng)
        pointwise = PointwiseConv2D(channels, filters, bias=not batch_norm, init=init, rng=rng)
        if not batch_norm:
            return [depthwise, pointwise, ReLU()]
        return [depthwise, BatchNorm(channels), ReLU(), pointwise, BatchNorm(filters), ReLU()]

    resize: list[Layer] = [] if size == (H, W) else [Resize(size)]
    return Network(
        [
            *resize,
            *block(C, first),
            MaxPool2D(2),
            *block(first, second),
            MaxPool2D(2),
            Flatten(),
            Dense(_pooled(*size) * second, dense_units, init=init, rng=rng),
            ReLU(),
            Dropout(0.4, rng=int(rng.spawn(1)[0].integers(1 << 63))),
            Dense(dense_units, classes, init=init, rng=rng),
        ],
        input_shape=(H, W, C),
        name="separable_cnn",
    )


# ---------------------------------------------------------------- the record of each


@dataclass(frozen=True)
class Published:
    """What the original says about a network; None where it says nothing.

    Attributes
    ----------
    accuracy : float
        On MNIST's test set, in percent.
    steps_per_second : float
        In training, with batches of 128, on its author's machine.
    """

    accuracy: float | None = None
    steps_per_second: float | None = None


@dataclass(frozen=True)
class Variant:
    """An architecture with other options than its defaults, for the study, and what is published about it."""

    options: Mapping[str, Any]
    published: Published | None = None


@dataclass(frozen=True)
class Architecture:
    """All that the commands, the tables, the study and the benchmark know about a network.

    Attributes
    ----------
    name : str
        Its name on the command line, which is also the `name` of the networks that `make` gives.
    make : function
        Makes the network, untrained. It takes `seed` and `init`, and every argument has a default. If it can make the
        network for other images, it takes `input_shape` and `classes` as well.
    title : str
        What it is, in a line.
    input_shape : (H, W, C)
        Of one image.
    classes : int
        How many logits it gives.
    recipe : Recipe
        How its author trained it: what `--recipe original` does.
    published : Published
        What the original says about it. None for a network that it does not have; tables then have a dash.
    variants : tuple of Variant
        The study trains these too, after the architecture with its defaults.
    """

    name: str
    make: Callable[..., Network]
    title: str
    input_shape: tuple[int, int, int] = INPUT_SHAPE
    classes: int = CLASSES
    recipe: Recipe = MODERN
    published: Published | None = None
    variants: tuple[Variant, ...] = ()

    def published_for(self, options: Mapping[str, Any]) -> Published | None:
        """What is published about the network that `make(**options)` gives."""
        if not options:
            return self.published
        return next((variant.published for variant in self.variants if variant.options == options), None)

    def recipe_named(self, name: str) -> Recipe:
        """The recipe of this name for this architecture: its own for "original", else that of `RECIPES`."""
        return replace(self.recipe, name=ORIGINAL) if name == ORIGINAL else RECIPES[name]

    def takes(self, image_shape: tuple[int, ...], classes: int) -> bool:
        """Whether it can be trained on images (H, W, C) of so many classes."""
        return image_shape == self.input_shape and classes <= self.classes

    def make_for(self, image_shape: tuple[int, ...], classes: int, **options: Any) -> Network:
        """The network for images (H, W, C) of so many classes; the usual one if `make` cannot make it for others.

        Raises
        ------
        ValueError
            If the images are too small for it.
        """
        fit = {"input_shape": image_shape, "classes": classes}
        usual = image_shape == self.input_shape and classes == self.classes
        if usual or not fit.keys() <= inspect.signature(self.make).parameters.keys():
            return self.make(**options)
        return self.make(**fit, **options)


ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Make an architecture known to the commands, the tables, the study and the benchmark; returns it.

    Raises
    ------
    ValueError
        If there is one of that name already.
    """
    if architecture.name in ARCHITECTURES:
        raise ValueError(f"{architecture.name}: an architecture of this name is registered already; choose another")
    ARCHITECTURES[architecture.name] = architecture
    return architecture


# The first notebook was written for PyTorch, the others for TensorFlow. Each network keeps its framework's init.
register(
    Architecture(
        "four_conv_cnn",
        four_conv_cnn,
        "four convolutions of 4 to 32 filters, a dense layer of 1000 units",
        recipe=Recipe(ORIGINAL, init="pytorch", optimizer="sgd", lr=0.01, steps=4221),
        published=Published(accuracy=98.12),
    )
)
register(
    Architecture(
        "standard_cnn",
        standard_cnn,
        "two convolutions of 32 and 64 filters, a dense layer of 1024 units, dropout",
        recipe=Recipe(ORIGINAL, init="glorot_uniform", optimizer="sgd", lr=0.01, steps=4297, left_out=5000),
        published=Published(accuracy=97.99, steps_per_second=2),
    )
)
# The original describes 1024 dense units. Its figures come from the notebook, which had 128.
register(
    Architecture(
        "separable_cnn",
        separable_cnn,
        "standard_cnn with depthwise separable convolutions",
        recipe=Recipe(ORIGINAL, init="glorot_uniform", optimizer="sgd", lr=0.01, steps=4297, left_out=5000),
        published=Published(),
        variants=(Variant({"dense_units": 128}, Published(accuracy=96.5, steps_per_second=6)),),
    )
)
