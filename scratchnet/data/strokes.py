"""Finds what was written in a picture: the strokes, apart from paper, lines, shadows, table, frame and dust.

    level      how light each pixel would be without ink, and so how much darker the ink makes it
    threshold  ink or not
    shapes     connected strokes; what runs along an edge of the picture, or is small beside the rest, is not writing
    width      a thin pen's strokes are widened to those of MNIST; otherwise they would vanish in 20 x 20 pixels

All lengths follow the picture's longer side: `photographs.py` brings it to WORKING_SIDE pixels first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

WORKING_SIDE = 400
WIDEST_STROKE = 101  # of a WORKING_SIDE: what is wider is no stroke, but a shadow or a table
LEAST_INK = 0.06  # of the paper's brightness: less is unevenness of the paper
PEAKS = 9.0  # standard deviations between the lightest and the darkest pixel among thousands of noise alone
NOISE = 6.0  # of 255: a picture with more is smoothed
ALONG_EDGE = 0.6  # of an edge: a shape that covers more of it is a table, a frame or a printed line
LEAST_SIDE = 20  # pixels of WORKING_SIDE: a smaller shape is no digit
PART = 0.12  # of a digit's longer side: a smaller shape beside it is dust, and a part of it is no further away
BROKEN = 0.06  # of a digit's longer side: a narrower gap is a break in a stroke
AS_LARGE = 0.45  # of the largest shape's longer side: a shape as large as this is written, and not dust
STROKE = 0.14  # of a digit's longer side: thinner strokes are widened to this; the median of MNIST is 0.15
EVERY_WAY = np.ones((3, 3), bool)  # a pixel's neighbours, diagonal ones too


class Shape(NamedTuple):
    """Connected strokes: their bounding box in the picture, and which pixels in the box are ink."""

    rows: slice
    columns: slice
    ink: np.ndarray

    @property
    def longer(self) -> int:
        """The longer side of the bounding box, in pixels."""
        return max(self.ink.shape)


class Piece(NamedTuple):
    """One connected component of a mask."""

    label: int
    box: tuple[slice, slice]

    @property
    def longer(self) -> int:
        """The longer side of its bounding box, in pixels."""
        return max(side.stop - side.start for side in self.box)


def shapes_in(values: np.ndarray, many: bool) -> list[Shape]:
    """The shapes written in a picture (H, W) of brightness 0 to 255, from left to right.

    Strokes may be dark on light or light on dark. With `many`, shapes that stand close beside each other are the digits
    of a number; otherwise they are the parts of one.
    """
    ink, least = _ink(values.astype(np.float32))
    for _ in range(3):  # a black frame hides pale strokes from the threshold, until it is left out
        mask = ink > max(least, _threshold(ink[ink > least]))
        mask = ndimage.binary_closing(mask, EVERY_WAY, 2)  # joins a pencil's grains
        written = _written(mask, BROKEN if many else PART)
        if written or not mask.any():
            break
        ink = np.where(ndimage.binary_dilation(mask, EVERY_WAY, 4), 0, ink)
    return sorted(written, key=lambda shape: shape.columns.start)


def _ink(values: np.ndarray) -> tuple[np.ndarray, float]:
    """How much darker than the paper each pixel is, 0 to 1 of its brightness (lighter, if the ink is light).

    And the least value that is not the paper's own unevenness.
    """
    if _noise(values) > NOISE:
        values = ndimage.gaussian_filter(values, 2.5)
    if _is_light(values):
        values = 255 - values
    # Closing fills all that is narrower with the brightness around it. At its edges, the picture goes on as it was.
    calm = ndimage.median_filter(values, 5)  # or the paper would be as light as the lightest noise
    top, left = (min(WIDEST_STROKE // 2, side - 1) for side in values.shape)
    beyond = np.pad(calm, [(top, top), (left, left)], "reflect", reflect_type="odd")
    paper = ndimage.grey_closing(beyond, WIDEST_STROKE)[top : top + len(values), left : left + values.shape[1]]
    bright = np.maximum(paper, 64)
    return (paper - values) / bright, max(LEAST_INK, PEAKS * _noise(values) / float(np.median(bright)))


def _noise(values: np.ndarray) -> float:
    """The standard deviation of normal noise, from the median of its size (it is 0.67 of the deviation)."""
    return float(np.median(np.abs(values - ndimage.median_filter(values, 3)))) / 0.67


def _is_light(values: np.ndarray) -> bool:
    """Whether the strokes are lighter than what they are written on; judged within the picture, away from its edges."""
    H, W = values.shape
    middle = values[H // 6 : H - H // 6, W // 6 : W - W // 6]
    coarse = ndimage.uniform_filter(middle, 5)[::5, ::5]
    difference = coarse - ndimage.median_filter(coarse, 31)
    return float((difference**3).sum()) > 0


def _threshold(some: np.ndarray) -> float:
    """Otsu's threshold among all that is not paper: it maximises the variance between two groups (Otsu, 1979).

    So strokes are told from what is paler than they are, such as printed lines; or, if there is nothing else, from
    their own soft edges.
    """
    if not some.size or np.ptp(some) < LEAST_INK:
        return float(some.min(initial=2.0)) - LEAST_INK  # nothing, or strokes of one darkness
    counts, edges = np.histogram(some, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)])


def _written(mask: np.ndarray, beside: float) -> list[Shape]:
    """The shapes of a mask (H, W) that are as large as the largest, each with its parts; none along an edge.

    beside : the widest gap between parts that stand beside each other, as a part of the digit's longer side.
    """
    labels = ndimage.label(mask, EVERY_WAY)[0]
    pieces = [Piece(i + 1, box) for i, box in enumerate(ndimage.find_objects(labels)) if not _along_edge(labels, i + 1)]
    pieces = sorted((p for p in pieces if p.longer >= LEAST_SIDE), key=lambda piece: -piece.longer)
    groups: list[list[Piece]] = []  # the first of each is its largest
    for piece in pieces:
        near = next((group for group in groups if _belongs(group[0], piece, beside)), None)
        if near and piece.longer >= PART * near[0].longer:
            near.append(piece)
        elif piece.longer >= AS_LARGE * pieces[0].longer:
            groups.append([piece])
    return [_shape(labels, group) for group in groups]


def _along_edge(labels: np.ndarray, label: int) -> bool:
    """Whether a shape lies along one of the picture's edges, or reaches from one to the opposite one."""
    edges = [labels[0] == label, labels[-1] == label, labels[:, 0] == label, labels[:, -1] == label]
    across = (edges[0].any() and edges[1].any()) or (edges[2].any() and edges[3].any())
    return bool(across or max(edge.mean() for edge in edges) > ALONG_EDGE)


def _belongs(whole: Piece, part: Piece, beside: float) -> bool:
    """Whether a piece is a part of a digit, not the next one of a number: that is as large, and stands beside it."""
    columns, part_columns = whole.box[1], part.box[1]
    gap = max(0, *(_distance(a, b) for a, b in zip(whole.box, part.box, strict=True)))
    overlap = -_distance(columns, part_columns)
    above = overlap > 0.3 * min(columns.stop - columns.start, part_columns.stop - part_columns.start)
    return gap <= whole.longer * (PART if above or part.longer < AS_LARGE * whole.longer else beside)


def _distance(a: slice, b: slice) -> int:
    """How far two ranges are apart; negative, by how much they overlap."""
    return max(b.start - a.stop, a.start - b.stop)


def _shape(labels: np.ndarray, group: list[Piece]) -> Shape:
    """The pixels of all of a group's pieces, in the box around them."""
    rows, columns = _around([piece.box for piece in group])
    return Shape(rows, columns, np.isin(labels[rows, columns], [piece.label for piece in group]))


def _around(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The smallest box that holds all of them."""

    def range_of(sides: list[slice]) -> slice:
        return slice(min(side.start for side in sides), max(side.stop for side in sides))

    return range_of([box[0] for box in boxes]), range_of([box[1] for box in boxes])


def joined(shapes: list[Shape]) -> Shape:
    """All shapes as one: a letter or a sign may have parts that are as large as a digit, and far from each other."""
    rows, columns = _around([(shape.rows, shape.columns) for shape in shapes])
    ink = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    for shape in shapes:
        top, left = shape.rows.start - rows.start, shape.columns.start - columns.start
        ink[top : top + shape.ink.shape[0], left : left + shape.ink.shape[1]] |= shape.ink
    return Shape(rows, columns, ink)


def widened(shape: Shape) -> np.ndarray:
    """The ink of a shape, 0 to 1, with soft edges and no thin strokes; larger than its box."""
    room = round(STROKE * shape.longer) + 2
    ink = np.pad(shape.ink, room)
    # In a stroke w pixels wide, the distance from a pixel to the paper is w / 4 on average.
    width = 4 * ndimage.distance_transform_edt(ink)[ink].mean() - 1
    more = max(0.0, STROKE * shape.longer - width) / 2
    return (more + 1 - ndimage.distance_transform_edt(~ink)).clip(0, 1).astype(np.float32)
