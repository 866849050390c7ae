"""Exercise 05: convolution (lesson 5).

    out[n, i, j, f] = b[f] + sum over kh, kw, c of  padded[n, i*stride + kh, j*stride + kw, c] * w[kh, kw, c, f]

The kernel is not flipped: w[0, 0] meets the patch's upper left pixel. You may use loops. (Later, with exercise 4, it is
one matrix product: copy your im2col into this file.) 5 to 10 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 05`, to check it. Hints: `.venv/bin/scratchnet hint 05`.
"""

import numpy as np


def conv2d_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """out (N, OH, OW, F), from images x (N, H, W, C), filters w (KH, KW, C, F) and biases b (F,)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
