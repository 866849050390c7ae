"""Exercise 04: patches as rows (lesson 5).

A kernel of KH x KW pixels visits OH x OW places of the padded image. Copy the patch at each place into a row:

    row (n, i, j), column (kh, kw, c)  =  padded[n, i*stride + kh, j*stride + kw, c]

The rows run over the images, and in each image over the places, row by row. The columns run over the kernel's rows,
then its columns, then the channels. First, pad the image with `padding` rows and columns of zeros on all four sides.

    OH = (H + 2*padding - KH) // stride + 1,  and OW likewise

About 10 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 04`, to check it. Hints: `.venv/bin/scratchnet hint 04`.
"""

import numpy as np


def im2col(x: np.ndarray, kernel_size: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """columns (N*OH*OW, KH*KW*C), from images x (N, H, W, C) and a kernel_size of (KH, KW)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
