"""
17. From loops to the processor's limit
=======================================

*After this lesson you can* say how fast a convolution could be on your processor, name what stands between a simple
loop and that limit, and read the compiled engine.

*Part:* under the hood. *Needs:* lesson 5. *Takes:* about twenty seconds to run, half an hour to read.

This lesson computes the same convolution in six ways: as Python loops, as a NumPy matrix product, as compiled loops,
as a register tile over a matrix of patches, as the same tile over patches that stay in the image, and with fewer
multiplications than the definition has. The results agree. The times differ by a factor of more than ten thousand.
"""

# %%
# The job
# -------
# The task is the second convolution of ``standard_cnn``, for a batch of 32 images: 14 x 14 pixels, 32 channels, and 64
# filters of 5 x 5. From the count in lesson 13 this is ``32 * 10,035,200 = 321 million`` multiply-adds.

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from showing import code, figure, keep

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the project's folder, which has benchmarks/
from benchmarks.limits import multiply_adds
from scratchnet import fast, layers
from scratchnet.fast.product.tile import ACCUMULATORS, tile
from scratchnet.fast.register.width import REGISTER_BITS
from scratchnet.layers.shapes import Window

N, H, W, C, K, F = 32, 14, 14, 32, 5, 64
rng = np.random.default_rng(0)
x = rng.standard_normal((N, H, W, C), dtype=np.float32)
w = rng.standard_normal((K, K, C, F), dtype=np.float32)
b = rng.standard_normal(F, dtype=np.float32)
work = N * H * W * F * K * K * C
print(f"{work:,} multiply-adds")
assert work == 32 * 10_035_200


def seconds(run: Callable[[], object], repeats: int = 7, pick: Callable = np.median) -> float:
    """The median time of a call. The first call does not count: it may compile, or fill a cache."""
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
# In each clock cycle, a core can start a fixed number of multiply-adds, each on a whole register of numbers. To measure
# this peak, run a loop that does nothing else, with so many independent multiply-adds that none waits for another. No
# code that uses the vector registers can be faster. (A few processors also have a matrix unit, which can.) So the peak
# is an honest yardstick: it says how near to the limit a kernel is, not how much faster than another one.

threads = numba.get_num_threads()
numbers = REGISTER_BITS // 32
a, out = np.full(64, 0.5, np.float32), np.zeros(64 * threads, np.float32)
rounds = 1_000_000
fastest = seconds(lambda: multiply_adds(a, out, rounds, threads), repeats=15, pick=min)  # for a limit, the minimum
peak = 2 * threads * rounds * ACCUMULATORS * numbers / fastest / 1e9
print(f"registers of {REGISTER_BITS} bits hold {numbers} float32; on {threads} threads the peak is {peak:.0f} GFLOP/s")

speeds = {}


def record(name: str, time: float, share: float = 1.0) -> None:
    """Note the speed of code that did `share` of the work, in GFLOP/s; a multiply-add counts as two operations."""
    speeds[name] = 2 * work * share / time / 1e9
    milliseconds, of_peak = 1000 * time / share, speeds[name] / peak
    print(
        f"{name:28} {milliseconds:12.1f} ms for all   {speeds[name]:9.3f} GFLOP/s   {100 * of_peak:9.3f} % of the peak"
    )


# %%
# 1. Python loops
# ---------------
# This is the definition from lesson 5, with seven loops. Python looks up every number and wraps it into an object,
# multiplies two objects and throws them away. This takes hundreds of clock cycles for each multiply-add, so we compute
# only a few outputs here.

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

# This assumes that a core starts two multiply-adds of whole registers in a cycle. Where it starts one, the clock rate
# and the number of cycles are twice as high.
clock = peak * 1e9 / (2 * threads * numbers * 2)
cycles = elapsed * clock / (few.size * K * K * C)
print(f"at {clock / 1e9:.1f} GHz or more, {cycles:.0f} cycles or more for each multiply-add")
assert cycles > 100

right = layers.conv2d_forward(x, w, b, 1, 2)
np.testing.assert_allclose(few, right[:1, :1, :2, :8], rtol=1e-3, atol=1e-3)

# %%
# 2. NumPy: im2col and a matrix product
# -------------------------------------
# One call does all the multiply-adds, in compiled code that experts have tuned for decades. The cost is memory: the
# matrix of patches is 25 times as large as the image, and it is written to memory and read back.

record("2. im2col and NumPy", seconds(lambda: layers.conv2d_forward(x, w, b, 1, 2), 3))
columns = layers.im2col(x, K, 1, 2)
print(f"the image has {x.nbytes / 1e6:.1f} MB, its patches {columns.nbytes / 1e6:.1f} MB")
assert columns.nbytes / x.nbytes == 25

# %%
# 3. The same loops, compiled
# ---------------------------
# Numba turns the same function into machine code. It needs no objects and no copies. Yet it is far from the peak, and
# also slower than NumPy, whose matrix product is more than a plain loop. The reason is the sum over c. Its terms have
# to be added in order, because another order would round differently and a compiler may not change the result. So each
# multiply-add waits for the one before it, and the wide registers are not used.

compiled_loops = numba.njit(loops)
result = np.empty((4, H, W, F), np.float32)
record("3. compiled loops, 1 thread", seconds(lambda: compiled_loops(padded[:4], w, b, result), 3), share=4 / N)
np.testing.assert_allclose(result, right[:4], rtol=1e-3, atol=1e-3)

# %%
# 4. A register tile over gathered patches
# ----------------------------------------
# First by hand. Take a matrix product of 2 pixels (the rows of A) and 3 filters (the columns of B), where each sum has
# two terms. It is a sum of *outer products*, and each of them covers the whole tile of 2 x 3 numbers:
#
# .. code-block:: text
#
#     A      B             k = 0                    k = 1                    sum
#     1 2    1 0 2         1   times  1 0 2         2   times  3 1 0         1+6 0+2 2+0     7 2 2
#     0 1    3 1 0         0                        1                        0+3 0+1 0+0  =  3 1 0
#
# For each k, we load 2 numbers of A and 3 of B and do 6 multiply-adds, so a multiply-add takes 5/6 of a load. If we
# computed one output after the other, each multiply-add would take 2 loads. A larger tile needs fewer: with 7 pixels x
# 2 registers, a multiply-add takes (7 + 2) / 14 = 0.64 loads.

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
# A kernel that comes near the limit needs all of these:
#
# - **Whole registers.** Sixteen filters (with 512 bits) are sixteen neighbouring numbers of ``w``, so multiply all of
#   them by one pixel at once. This changes the order of no sum, because each number of the register, called a *lane*,
#   sums its own filter.
# - **Independent sums.** On most recent x86 cores (uops.info lists them) a multiply-add takes four or five cycles, and
#   two can start in each cycle. So eight or ten must be under way at any time. For this the kernel holds a tile of 7
#   pixels x 2 registers of sums (6 x 2 with AVX2, which has fewer registers).
# - **Few loads.** In such a tile each loaded pixel is used twice, and each loaded register of filters 7 times. So the
#   multiply-adds set the pace, not the loads.
# - **No matrix of patches.** The tile reads each patch where it lies in the padded image. Only addresses are computed,
#   and nothing is copied.
# - **All cores.** Each thread computes its own pixels. No thread waits for another, and the result is the same with any
#   number of threads.
#
# The tile itself has about twenty lines. Its first branch is a narrower tile, for few filters. The loops over m and v
# have fixed lengths, so the compiler unrolls them, and only loads and multiply-adds are left.

code(tile)


def explicit() -> np.ndarray:
    """The matrix of patches, then one product by the tile: both compiled."""
    return fast.dense_forward(fast.im2col(x, K, 1, 2), w.reshape(K * K * C, F), b).reshape(N, H, W, F)


window = Window.on((H, W), K, 1, 2)
record("4a. tile, matrix of patches", seconds(explicit))
record("4b. tile, patches in place", seconds(lambda: fast.conv.direct_forward(padded, w, b, window)))
np.testing.assert_allclose(explicit(), right, rtol=1e-3, atol=1e-3)
np.testing.assert_allclose(fast.conv.direct_forward(padded, w, b, window), right, rtol=1e-3, atol=1e-3)

# %%
# Both run the same tile. The first one writes a matrix of patches, 25 times as large as the image, to memory, and reads
# it back; the second one reads each patch from the image, which is in the cache.

# %%
# 5. Fewer multiplications than the definition has
# ------------------------------------------------
# Beyond the peak, only another algorithm can be faster. Winograd's F(4x4, 5x5) computes 16 neighbouring outputs with 64
# products where the definition has 400. In return, it needs more additions and is a little less accurate. The engine
# uses it where it is faster. Its speed below counts the multiply-adds of the definition, so it may exceed 100 % of the
# peak.

record("5. Winograd", seconds(lambda: fast.conv2d_forward(x, w, b, 1, 2)))
error = np.abs(fast.conv2d_forward(x, w, b, 1, 2) - right).max() / np.abs(right).max()
print(f"largest difference from the definition: {error:.0e} of the largest output")
assert error < 2e-5

# %%
# Here are all of them, on a logarithmic scale:

drawn, axes = figure(width=8.5, height=3.4)
names = list(speeds)[::-1]
axes.barh(names, [speeds[n] for n in names], color="#0072b2")
axes.axvline(peak, color="black", linestyle="--", zorder=0)
axes.text(peak * 0.9, 5.45, f"peak {peak:.0f}", ha="right", va="bottom")
for i, name in enumerate(names):
    inside = speeds[name] > 1  # a long bar has room for its number
    x_text = speeds[name] * (0.8 if inside else 1.2)
    axes.text(x_text, i, f"{speeds[name]:.3g}", va="center", ha="right" if inside else "left", color="wk"[not inside])
axes.set(
    xscale="log", xlabel="GFLOP/s (a multiply-add counts as two)", title="One convolution, six ways", ylim=(-0.5, 6.0)
)
keep(drawn, "17_speeds")

assert speeds["2. im2col and NumPy"] > 100 * speeds["1. Python loops"]
assert max(speeds.values()) > 10_000 * speeds["1. Python loops"]
assert speeds["4b. tile, patches in place"] > 2 * speeds["3. compiled loops, 1 thread"]
assert speeds["4b. tile, patches in place"] > 0.1 * peak  # 0.7 to 0.9 on a quiet machine

# %%
# Try it
# ------
# 1. Run ``NUMBA_NUM_THREADS=1 python lessons/17_to_the_limit.py``. How do the peak, the tile and the compiled loops
#    change?
# 2. Swap the loops over ``f`` and ``c`` in ``loops``, and use ``out`` as the accumulator. The inner loop then runs over
#    filters, so the compiler can use whole registers. How much faster is it?
# 3. In ``scratchnet/fast/product/tile.py`` set ``ACCUMULATORS`` to 12 (or to 14, if it is 12 on your processor), and
#    run this lesson again. It will compile again. Which of the two is faster on your processor?
#
# *Next:* ``18_honest_benchmarks.py``. *In the library:* ``scratchnet/fast/``, from ``register/vector.py`` to
# ``product/tile.py``, ``product/loops.py`` and ``conv.py``.
