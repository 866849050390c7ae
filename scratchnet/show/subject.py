"""Whom `scratchnet step` and `scratchnet explore` walk through: a network, and where its weights come from.

The gradients of a network that has learned something say more than those of its first weights. So a network that is
not read from a file learns for some seconds before the walk, unless the user wants its first weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from scratchnet.data import Dataset
from scratchnet.data.registry import DATASETS
from scratchnet.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from scratchnet.network import Network
from scratchnet.runs.checkpoint import trained_classes, trained_on
from scratchnet.runs.recipes import SAMPLE
from scratchnet.show.stages import WIDTH
from scratchnet.train import evaluate, fit

SHORT = replace(SAMPLE, name="short", epochs=None, steps=250)  # once over the sample
TRIED = 200  # images on which the first screen says how well the network reads
UNTRAINED = "Untrained: it has its first weights, which are random."


def small_cnn(input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, seed: int = 0) -> Network:
    """Two convolutions with a pool each, and a dense layer: small enough to learn in seconds on the readable engine.

    On images of 28 x 28 x 1 in 10 classes it has 11,274 parameters. Images have at least 4 x 4 pixels.
    """
    H, W, C = input_shape
    rng = np.random.default_rng(seed)
    layers = [
        Conv2D(C, 8, 5, init=SHORT.init, rng=rng),
        ReLU(),
        MaxPool2D(2),
        Conv2D(8, 16, 5, init=SHORT.init, rng=rng),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dense(H // 4 * (W // 4) * 16, classes, init=SHORT.init, rng=rng),
    ]
    return Network(layers, input_shape, name="small_cnn")


def train_shortly(net: Network, train: Dataset) -> str:
    """Train a network for some seconds, with a progress bar; returns what was done, in a sentence."""
    fit(net, train, **SHORT.fit_arguments(net, len(train)))
    return f"Trained just now: {SHORT.steps} steps of {SHORT.batch_size}, on {len(train):,} {train.name}."


def from_file(path: Path) -> str:
    """Where the weights of a model's file come from, in a sentence."""
    data, classes = trained_on(path), trained_classes(path)
    file = str(path) if len(str(path)) <= 29 else f"...{str(path)[-26:]}"  # 29: the longest with the last sentence
    if data is not None:
        return one_line(f"From {file}, trained on {DATASETS[data].title if data in DATASETS else data}.")
    if classes:
        return one_line(f"From {file}, trained on the classes {', '.join(classes)}.")
    return f"From {file}, which does not say what it was trained on."


def how_well(net: Network, test: Dataset, digit: int) -> str:
    """How many of the first test images a network reads, and what it takes this one for, in a sentence."""
    tried = test[:TRIED]
    right = round(evaluate(net, tried)[1] * len(tried))
    probabilities = net.predict(test.images[digit : digit + 1])[0]
    answer = test.class_name(int(probabilities.argmax()))
    return one_line(
        f"Right on {right} of {len(tried)} {test.name}; takes this one for {answer}: {probabilities.max():.1%}."
    )


def one_line(text: str) -> str:
    """The text, cut if it is wider than the screen: the first stage has no room for another line."""
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
