"""Exercise 06: rows back to an image (lesson 6).

This is the reverse of exercise 4. Add every row back to the patch that it came from: a pixel that is in several patches
gets the *sum* of their numbers. Then cut off the padding.

    dpadded[n, i*stride + kh, j*stride + kw, c]  +=  row (n, i, j) at column (kh, kw, c)

    OH = (H + 2*padding - KH) // stride + 1,  and OW likewise

About 10 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 06`, to check it. Hints: `.venv/bin/scratchnet hint 06`.
"""

import numpy as np


def col2im(
    columns: np.ndarray, x_shape: tuple[int, ...], kernel_size: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """dx (N, H, W, C), from columns (N*OH*OW, KH*KW*C), x_shape (N, H, W, C) and a kernel_size of (KH, KW)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
