"""What was drawn on the pad, as the image that the network sees: prepared as MNIST's digits were.

The strokes are lines, not pixels. So they are fitted into a box of 20 pixels and drawn with a pen of MNIST's width,
however large they were made; then the centre of mass is moved to the middle of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.data.photographs import BOX, SIDE

PEN = 1.15  # pixels of 28: half the width of a stroke
SOFT = 0.9  # pixels over which its edge fades
MOST_POINTS = 4000


def strokes_in(value: Any) -> list[np.ndarray]:
    """Strokes as a page sends them: lists of points [x, y], from 0 to 1; each as an array (points, 2).

    Raises
    ------
    ValueError
        If they are anything else, or have too many points.
    """
    expected = "strokes: expected a list of lists of points [x, y], each a number from 0 to 1"
    if not isinstance(value, list) or not all(isinstance(stroke, list) for stroke in value):
        raise ValueError(f"{expected}, got something else")
    if sum(map(len, value)) > MOST_POINTS:
        raise ValueError(f"strokes: expected at most {MOST_POINTS} points; clear the pad, and draw again")
    try:
        strokes = [np.array(stroke, np.float64) for stroke in value if stroke]
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{expected}, got something else") from None
    if not all(stroke.shape == (len(stroke), 2) for stroke in strokes):
        raise ValueError(f"{expected}, got something else")
    if not all(((stroke >= 0) & (stroke <= 1)).all() for stroke in strokes):
        raise ValueError(f"{expected}, got one outside")
    return strokes


def image_of(strokes: Sequence[np.ndarray], side: int = SIDE) -> np.ndarray:
    """The strokes as an image (side, side) from 0 to 1, light on black; black if there are none."""
    if not strokes:
        return np.zeros((side, side), np.float32)
    scale = side / SIDE
    every = np.concatenate(strokes)
    low, high = every.min(axis=0), every.max(axis=0)
    inner = (BOX - 2 * PEN) * scale
    longer = max(float((high - low).max()), 0.05)  # a dot stays a dot
    placed = [(stroke - (low + high) / 2) / longer * inner + side / 2 for stroke in strokes]
    drawn = _drawn(placed, side, scale)
    rows, columns = np.indices(drawn.shape)
    mass = drawn.sum()
    shift = side / 2 - 0.5 - np.array([(columns * drawn).sum() / mass, (rows * drawn).sum() / mass])
    return _drawn([stroke + shift for stroke in placed], side, scale)


def _drawn(strokes: Sequence[np.ndarray], side: int, scale: float) -> np.ndarray:
    """Lines in pixels (x, y), drawn with a round pen: each pixel by its distance from the nearest line."""
    rows, columns = np.indices((side, side))
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5
    starts = np.concatenate([stroke[:-1] if len(stroke) > 1 else stroke for stroke in strokes])
    ends = np.concatenate([stroke[1:] if len(stroke) > 1 else stroke for stroke in strokes])
    along = ends - starts
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    nearest = np.full(len(pixels), math.inf)
    for first in range(0, len(starts), 256):  # a few at a time: memory stays small
        part = slice(first, first + 256)
        reach = ((pixels[:, None] - starts[part]) * along[part]).sum(axis=-1) / length[part]
        away = pixels[:, None] - starts[part] - reach.clip(0, 1)[..., None] * along[part]
        nearest = np.minimum(nearest, (away**2).sum(axis=-1).min(axis=1))
    ink = ((PEN + SOFT / 2) * scale - np.sqrt(nearest)) / (SOFT * scale)
    levels = np.round(ink.clip(0, 1) * 255)  # bytes, as in a file of images
    return (levels / 255).reshape(side, side).astype(np.float32)
