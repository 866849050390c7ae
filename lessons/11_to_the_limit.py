"""
11. From loops to the processor's limit
=======================================

*After this lesson you can* say how fast a convolution could be on your processor, name what stands between a simple
loop and that limit, and read the compiled engine.

*Needs:* lesson 4. *Takes:* about twenty seconds to run, half an hour to read.

The same convolution five ways: as Python loops, as a NumPy matrix product, as compiled loops, as a register tile, and
with fewer multiplications than the definition has. The results agree; the times differ by a factor of ten thousand and
more.
"""

# %%
# The job
# -------
# The second convolution of ``standard_cnn``: 14 x 14 pixels, 32 channels, 64 filters of 5 x 5, a batch of 32. By lesson
# 9 that is ``32 * 10,035,200 = 321 million`` multiply-adds.

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from showing import code, figure, keep

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the project's folder: benchmarks/ lies there
from benchmarks.limits import multiply_adds
from scratchnet import fast, layers
from scratchnet.fast.product.tile import ACCUMULATORS, tile
from scratchnet.fast.register.vector import REGISTER_BITS

N, H, W, C, K, F = 32, 14, 14, 32, 5, 64
rng = np.random.default_rng(0)
x = rng.standard_normal((N, H, W, C), dtype=np.float32)
w = rng.standard_normal((K, K, C, F), dtype=np.float32)
b = rng.standard_normal(F, dtype=np.float32)
work = N * H * W * F * K * K * C
print(f"{work:,} multiply-adds")
assert work == 32 * 10_035_200


def seconds(run: Callable[[], object], repeats: int = 7, pick: Callable = np.median) -> float:
    """The median time of a call, after one that does not count (it may compile, or fill a cache)."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(pick(times))


# %%
# How fast could it be?
# ---------------------
# A core can start a fixed number of multiply-adds in each clock cycle, each on a whole register of numbers. A loop that
# does nothing else, with enough of them under way that none waits for another, measures that peak. Nothing that uses
# the vector registers can multiply and add faster (a few processors have a matrix unit besides), so it is the honest
# yardstick: not "faster than X", but "how near to the limit".

threads = numba.get_num_threads()
numbers = REGISTER_BITS // 32
a, out = np.full(64, 0.5, np.float32), np.zeros(64 * threads, np.float32)
rounds = 1_000_000
fastest = seconds(lambda: multiply_adds(a, out, rounds, threads), repeats=15, pick=min)  # a limit, so not the median
peak = 2 * threads * rounds * ACCUMULATORS * numbers / fastest / 1e9
print(f"registers of {REGISTER_BITS} bits hold {numbers} float32; on {threads} threads the peak is {peak:.0f} GFLOP/s")

speeds = {}


def record(name: str, time: float, share: float = 1.0) -> None:
    """Note the speed of a way that did `share` of the work: in GFLOP/s, where a multiply-add counts as two."""
    speeds[name] = 2 * work * share / time / 1e9
    milliseconds, of_peak = 1000 * time / share, speeds[name] / peak
    print(
        f"{name:28} {milliseconds:12.1f} ms for all   {speeds[name]:9.3f} GFLOP/s   {100 * of_peak:9.3f} % of the peak"
    )


# %%
# 1. Python loops
# ---------------
# The definition, as in lesson 4: seven loops. Python looks up every number, wraps it into an object, multiplies two
# objects and throws them away: hundreds of clock cycles for each multiply-add. Only a few output pixels are computed
# here.

padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))


def loops(padded: np.ndarray, w: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Convolution by its definition, into out (N, OH, OW, F); padded (N, H, W, C), w (KH, KW, C, F), b (F,)."""
    N, OH, OW, F = out.shape
    KH, KW, C, _ = w.shape
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for f in range(F):
                    total = b[f]
                    for kh in range(KH):
                        for kw in range(KW):
                            for c in range(C):
                                total += padded[n, i + kh, j + kw, c] * w[kh, kw, c, f]
                    out[n, i, j, f] = total
    return out


few = np.empty((1, 1, 2, 8), np.float32)  # 16 numbers of the result
start = time.perf_counter()
loops(padded, w[..., :8], b, few)
elapsed = time.perf_counter() - start
record("1. Python loops", elapsed, share=few.size / (N * H * W * F))

# The clock, if the peak is two registers of multiply-adds a cycle; where it is one, there are twice as many cycles.
clock = peak * 1e9 / (2 * threads * numbers * 2)
cycles = elapsed * clock / (few.size * K * K * C)
print(f"at {clock / 1e9:.1f} GHz or more, {cycles:.0f} cycles or more for each multiply-add")
assert cycles > 100

right = layers.conv2d_forward(x, w, b, 1, 2)
np.testing.assert_allclose(few, right[:1, :1, :2, :8], rtol=1e-3, atol=1e-3)

# %%
# 2. NumPy: im2col and a matrix product
# -------------------------------------
# One call does all the multiply-adds, in compiled code that others have tuned for decades. What it costs: the matrix of
# patches is 25 times the image and goes out to memory and back.

record("2. im2col and NumPy", seconds(lambda: layers.conv2d_forward(x, w, b, 1, 2), 3))
columns = layers.im2col(x, K, 1, 2)
print(f"the image has {x.nbytes / 1e6:.1f} MB, its patches {columns.nbytes / 1e6:.1f} MB")
assert columns.nbytes / x.nbytes == 25

# %%
# 3. The same loops, compiled
# ---------------------------
# Numba turns the very function above into machine code. No objects, no copies; and yet far from the peak, and behind
# NumPy, whose matrix product is not a plain loop either. The sum over c has to be made in order, one multiply-add
# waiting for the one before it, so the wide registers stay empty: a compiler may not reorder a floating-point sum,
# since rounding would change.

compiled_loops = numba.njit(loops)
result = np.empty((4, H, W, F), np.float32)
record("3. compiled loops, 1 thread", seconds(lambda: compiled_loops(padded[:4], w, b, result), 3), share=4 / N)
np.testing.assert_allclose(result, right[:4], rtol=1e-3, atol=1e-3)

# %%
# 4. A register tile over gathered patches
# ----------------------------------------
# First by hand. A product of 2 pixels (rows of A) and 3 filters (columns of B), two numbers deep, can be made as a sum
# of *outer products*, a whole 2 x 3 tile at a time:
#
# .. code-block:: text
#
#     A      B             k = 0                    k = 1                    sum
#     1 2    1 0 2         1   times  1 0 2         2   times  3 1 0         1+6 0+2 2+0     7 2 2
#     0 1    3 1 0         0                        1                        0+3 0+1 0+0  =  3 1 0
#
# For each k, 2 numbers of A and 3 of B are loaded, and 6 multiply-adds made: 5/6 of a load for each. One output after
# the other would take 2 loads for each. The larger the tile, the better: 7 pixels x 2 registers take (7 + 2) / 14, that
# is 0.64.

A, B = np.array([[1, 2], [0, 1]]), np.array([[1, 0, 2], [3, 1, 0]])
held = np.zeros((2, 3), int)
loads = 0
for k in range(2):
    held += np.outer(A[:, k], B[k])
    loads += 2 + 3
print(held, f"{loads} loads for {2 * 2 * 3} multiply-adds")
assert np.array_equal(held, [[7, 2, 2], [3, 1, 0]])
assert np.array_equal(held, A @ B)
assert loads / (2 * 2 * 3) == 5 / 6
assert round((7 + 2) / (7 * 2), 2) == 0.64

# %%
# What the limit takes, one by one:
#
# - **Whole registers**: sixteen filters (with 512 bits) are sixteen neighbouring numbers of ``w``. Multiply all of them
#   by one pixel at once. No sum is reordered: each lane sums its own filter.
# - **Independent sums**: on most recent x86 cores (uops.info lists them) a multiply-add takes four or five cycles, and
#   two can start in each. So eight or ten must be under way: hold a tile of 7 pixels x 2 registers of sums (6 x 2 with
#   AVX2, which has fewer registers).
# - **Few loads**: in such a tile a pixel that is loaded is used twice, and filters 7 times; the loads keep up.
# - **No matrix of patches**: the tile reads each patch from where it lies in the padded image. Im2col happens in
#   address arithmetic.
# - **All cores**: each thread makes its own pixels, so that nobody waits and the result is the same with any number of
#   threads.
#
# The tile itself is twenty lines; its first branch is a narrower tile, for few filters. The loops over m and v have
# fixed lengths and vanish; what is left is nothing but loads and multiply-adds.

code(tile)
with_tile = seconds(lambda: fast.conv.correlation(padded, w, b, (H, W), (1, 1)))
record("4. register tile", with_tile)
np.testing.assert_allclose(fast.conv.correlation(padded, w, b, (H, W), (1, 1)), right, rtol=1e-3, atol=1e-3)

# %%
# 5. Fewer multiplications than the definition has
# ------------------------------------------------
# Past the limit there is only another algorithm. Winograd's F(4x4, 5x5) computes 16 neighbouring outputs from 64
# products where the definition has 400, and pays with additions and a little accuracy. The engine uses it where it is
# faster. Its speed is given in the definition's multiply-adds, so it may exceed 100 %.

record("5. Winograd", seconds(lambda: fast.conv2d_forward(x, w, b, 1, 2)))
error = np.abs(fast.conv2d_forward(x, w, b, 1, 2) - right).max() / np.abs(right).max()
print(f"largest difference from the definition: {error:.0e} of the largest output")
assert error < 2e-5

# %%
# All of them, on a logarithmic scale:

drawn, axes = figure(width=8.5, height=3.4)
names = list(speeds)[::-1]
axes.barh(names, [speeds[n] for n in names], color="#0072b2")
axes.axvline(peak, color="black", linestyle="--", zorder=0)
axes.text(peak * 0.9, 4.45, f"peak {peak:.0f}", ha="right", va="bottom")
for i, name in enumerate(names):
    inside = speeds[name] > 1  # a long bar has room for its number
    x_text = speeds[name] * (0.8 if inside else 1.2)
    axes.text(x_text, i, f"{speeds[name]:.3g}", va="center", ha="right" if inside else "left", color="wk"[not inside])
axes.set(
    xscale="log", xlabel="GFLOP/s (a multiply-add counts as two)", title="One convolution, five ways", ylim=(-0.5, 5.0)
)
keep(drawn, "11_speeds")

assert speeds["2. im2col and NumPy"] > 100 * speeds["1. Python loops"]
assert max(speeds.values()) > 10_000 * speeds["1. Python loops"]
assert speeds["4. register tile"] > 2 * speeds["3. compiled loops, 1 thread"]
assert speeds["4. register tile"] > 0.1 * peak  # 0.7 to 0.9 on a quiet machine

# %%
# Try it
# ------
# 1. ``NUMBA_NUM_THREADS=1 python lessons/11_to_the_limit.py``: what becomes of the peak, of the tile, of the compiled
#    loops?
# 2. Swap the loops over ``f`` and ``c`` in ``loops``, with ``out`` as the accumulator. The inner loop then runs over
#    filters, and the compiler can use whole registers: how much does it gain?
# 3. In ``scratchnet/fast/product/tile.py`` set ``ACCUMULATORS`` to 12 (or, if it is 12 on your processor, to 14) and
#    run this again. It compiles anew. Which is faster on your processor?
#
# *Next:* ``12_honest_benchmarks.py``. *In the library:* ``scratchnet/fast/``, from ``register/vector.py`` to
# ``product/tile.py``, ``product/loops.py`` and ``conv.py``.
