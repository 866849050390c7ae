"""Exercise 08: backward of max-pooling (lesson 7).

    forward:   out[n, i, j, c] = the largest of  x[n, i*stride + kh, j*stride + kw, c],  0 <= kh, kw < pool

Only the winner changes the output, so only the winner gets the gradient. If several pixels are equally large, the first
one wins, in row-major order (row by row, from the left). If stride < pool, the windows overlap, and a pixel may win in
several of them. There is no padding: OH = (H - pool) // stride + 1, and OW likewise. The library's function is told
where the winners are. Yours is not: find them in x. About 8 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 08`, to check it. Hints: `.venv/bin/scratchnet hint 08`.
"""

import numpy as np


def max_pool2d_backward(dout: np.ndarray, x: np.ndarray, pool: int, stride: int) -> np.ndarray:
    """dx (N, H, W, C), from dout (N, OH, OW, C) and the input of the forward pass, x (N, H, W, C)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
