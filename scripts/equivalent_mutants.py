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
    (
        "scratchnet/gradcheck.py",
        '[[self.faults += _changed("forward", ["x"], [before], [x]) -> '
        "self.faults = _changed('forward', ['x'], [before], [x])]]",
    ): "what was found before at another point is found here again, and said once",
    (
        "scratchnet/gradcheck.py",
        "if abs(gradient) <= [[10 -> 11]] * self.rounding[i]:",
    ): "a limit between gradients of nothing but rounding and all others, which are many times larger",
    (
        "scratchnet/network.py",
        "if not self.takes_any_shape and isinstance(x, np.ndarray) and x.shape[[[1 -> 0]]:] != self.input_shape:",
    ): "`check_shape` compares the shapes once more; asking before it is called saves time",
    (
        "scratchnet/optim.py",
        "return _half_wave(max_lr, last, min((step - peak) / max(steps - 1 - peak, 1e-12), [[1.0 -> 3.0]]))",
    ): "half a wave and one and a half end at the same height, and only steps after the last one come to that",
    (
        "scratchnet/runs/description.py",
        "LARGEST_SIZE = [[2 -> 3]]**20",
    ): "a limit on what a file may claim; no right file comes near it, and tests claim many times as much",
    (
        "scratchnet/runs/identity.py",
        "PART = [[4096 -> 4097]] # images whose checksum is taken at a time",
    ): "the checksum of the whole is the same for parts of any size",
    (
        "scratchnet/runs/run.py",
        "bar.set_postfix_str(text, refresh=[[False -> True]])",
    ): "the bar is drawn a moment earlier than by the update on the next line",
    (
        "scratchnet/slopes.py",
        "far = [self._moved(array, index, [[sign * FAR * size -> (sign * FAR + size)]]) != self.out "
        "for sign in (1, -1)]",
    ): "far away in either case: FAR is large",
    (
        "scratchnet/slopes.py",
        "coarse, fine = (self._slopes(array, index, h, size, weights) for h in (step, step / [[10 -> 11]]))",
    ): "two steps whose slopes are compared; their ratio decides nothing",
    (
        "scratchnet/slopes.py",
        "step = step * [[10 -> 9]] if grows else step / 10",
    ): "the search for a step of the right order of size takes other steps on its way",
    (
        "scratchnet/fast/choose.py",
        "some = dout[::[[4 -> 5]]] # counting all rows takes longer than making the lists",
    ): "the share of zeros is estimated from some of the rows",
    (
        "scratchnet/fast/conv_sparse.py",
        "chunks = [[min -> max]](CHUNKS, N)",
    ): "each image is computed by itself, whichever chunk it is in; further chunks hold none",
    (
        "scratchnet/fast/depthwise.py",
        "chunks = [[min -> max]](CHUNKS, N)",
    ): "each image is computed by itself, whichever chunk it is in; further chunks hold none",
    (
        "scratchnet/fast/depthwise.py",
        "sums = np.empty(([[min -> max]](CHUNKS, N), KH * KW, F), dout.dtype)",
    ): "the kernel makes as many chunks as there are rows here; further ones hold no images, and add zeros",
    (
        "scratchnet/fast/product/loops.py",
        "top, bottom = block * tiles // blocks * rows, min((block + [[1 -> 2]]) * tiles // blocks * rows, M)",
    ): "rows of the next block are computed twice, with the same result",
    (
        "scratchnet/fast/product/points.py",
        "for k in range(1, len(column) - [[1 -> 2]], 2):",
    ): "columns have 8 entries: 1, 3 and 5 in either case",
}
