"""Resize: change the size of images by bilinear interpolation, as MobileNet's resolution multiplier does.

The centre of output row i lies at row (i + 1/2) * H / OH - 1/2 of the image, between two of its rows. Output row i is
the mean of the two, weighted by nearness. So each axis is resized by a product with a fixed matrix, which has at most
two nonzero entries in each row: A (OH, H) for the rows and B (OW, W) for the columns:

    out[n, i, j, c] = sum over h, w of  A[i, h] * B[j, w] * x[n, h, w, c]

n runs over the images, (i, j) over the output's pixels, (h, w) over the input's and c over the channels. Backward is
the same sum, over the output's pixels:

    dx[n, h, w, c] = sum over i, j of  A[i, h] * B[j, w] * dout[n, i, j, c]

Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, section 3.4 (the resolution multiplier). The grid is that
of torch.nn.functional.interpolate(mode="bilinear", align_corners=False).
"""

from __future__ import annotations

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import Formulas, Layer, Shape
from scratchnet.layers.shapes import IntOrPair, pair


def interpolation_matrix(size: int, out_size: int, dtype: np.dtype) -> np.ndarray:
    """A matrix (out_size, size): row i holds the weight of each input entry in output entry i, and sums to 1."""
    centre = (np.arange(out_size) + 0.5) * size / out_size - 0.5
    centre = centre.clip(0, size - 1)  # beyond the first or last entry, that entry is taken
    below = np.minimum(centre.astype(int), max(size - 2, 0))
    nearness = centre - below
    matrix = np.zeros((out_size, size), dtype)
    rows = np.arange(out_size)
    matrix[rows, below] = 1 - nearness
    matrix[rows, np.minimum(below + 1, size - 1)] += nearness
    return matrix


def resize_forward(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images x (N, H, W, C) resized to size = (OH, OW): (N, OH, OW, C)."""
    rows = interpolation_matrix(x.shape[1], size[0], x.dtype)
    columns = interpolation_matrix(x.shape[2], size[1], x.dtype)
    return np.einsum("ih,jw,nhwc->nijc", rows, columns, x, optimize=True)


def resize_backward(dout: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """Gradient of resizing: dx of x_shape (N, H, W, C), from dout (N, OH, OW, C)."""
    rows = interpolation_matrix(x_shape[1], dout.shape[1], dout.dtype)
    columns = interpolation_matrix(x_shape[2], dout.shape[2], dout.dtype)
    return np.einsum("ih,jw,nijc->nhwc", rows, columns, dout, optimize=True)


class Resize(Layer):
    """Images of any size, resized to `size` = (height, width) pixels; an int means a square.

    Raises
    ------
    ValueError
        If the size is not positive.
    """

    kind = "resize"
    formulas = Formulas(
        forward=["out[n, i, j, c] = sum over h, w of A[i, h] * B[j, w] * x[n, h, w, c]"],
        backward=["dx[n, h, w, c] = sum over i, j of A[i, h] * B[j, w] * dout[n, i, j, c]"],
    )

    def __init__(self, size: IntOrPair) -> None:
        super().__init__()
        self.size = self.on_this_layer(pair, size, "size")

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self.x_shape = self.check_input(x).shape
        return ops.resize_forward(x, self.size)

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        dout = self.check_dout(dout)
        return ops.resize_backward(dout, self.x_shape)

    def input_shape(self) -> tuple[int | str, ...]:
        return ("N", "H", "W", "C")

    def output_shape(self, input_shape: Shape) -> Shape:
        H, W, C = input_shape
        if min(H, W) < 1:
            raise ValueError(f"expected images of at least 1x1 pixels, got {H}x{W}")
        return (*self.size, C)
