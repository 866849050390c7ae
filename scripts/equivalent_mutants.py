"""Planted errors that no test can notice, because they make no difference, each with the reason: read by `mutants.py`.

The key is the file, and the line as `mutants.py` prints it. If the line changes, the error is planted again.
"""

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "scratchnet/fast/depthwise.py",
        "return dx if M == [[1 -> 0]] else dx.reshape(N, H, W, C, M).sum(axis=4), dw, db",
    ): "with one filter a channel, the sum over an axis of one number gives the same dx, only later",
    (
        "scratchnet/fast/conv_winograd.py",
        "across = [[0 -> 1]] # how many consecutive pixels, up to this one, are zero",
    ): "a row of zeros from the left edge is long enough at the first patch anyway; any other begins again at 0",
    (
        "scratchnet/layers/flatten.py",
        "def forward(self, x: np.ndarray, training: bool = [[False -> True]]) -> np.ndarray:",
    ): "the layer computes the same in training",
}
