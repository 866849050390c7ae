"""Exercise 06: rows back to an image (lesson 5).

What exercise 4 took apart is put together: every row goes back to the patch it came from, and a pixel that is in
several patches gets the *sum* of what they hold. Then the padding is cut off. As in exercise 4 there are OH = (H + 2 *
padding - KH) // stride + 1 places down the image, and OW likewise across.

    dpadded[n, i*stride + kh, j*stride + kw, c]  +=  row (n, i, j) at column (kh, kw, c)

About 10 lines.

Run this file, or `scratchnet check 06`, to check it. Hints: `scratchnet hint 06`.
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
