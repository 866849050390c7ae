"""
12. Honest benchmarks, and how to fool yourself
===============================================

*After this lesson you can* time a piece of code so that the number means something, and name five ways in which a
comparison goes wrong without anybody lying.

*Needs:* nothing; lesson 11 helps. *Takes:* about half a minute to run, twenty minutes to read.

"Three times faster" is the easiest sentence to write and one of the hardest to mean. In this lesson the same two things
are compared again and again, the compiled engine and the NumPy engine of this library, on the same training step; and
the ratio comes out as almost anything, depending on what is done wrong.
"""

# %%
# The right way first
# -------------------
# A fair comparison of A and B:
#
# 1. *verify* that both compute the same thing;
# 2. *warm up*, and do not count it;
# 3. *interleave*: A B A B ..., so that a slow minute of the machine hits both;
# 4. report the *median* and the spread of many rounds, not the best of one;
# 5. give both the same *threads*, the same *data type* and the same *batch*;
# 6. say what was measured: processor, versions, threads.
#
# Why the median, in small numbers. Three rounds of A and B, in milliseconds; in the last one something else kept the
# machine busy while A ran:
#
# .. code-block:: text
#
#     round      1      2      3       median    mean
#     A         10     12     30         12      17.3
#     B         20     22     24         22      22
#     B / A    2.00   1.83   0.80       1.83
#
# By the means B takes 22 / 17.3 = 1.27 times as long, by the medians 22 / 12 = 1.83. Had the third round of A taken 12
# ms, the means would say 1.94 and the medians 1.83: the bad round moves the one and not the other. Best against worst,
# 24 / 10, would even be 2.4. The ratios round by round have the median 1.83 as well, and their spread, 0.80 to 2.00,
# says how little three rounds are worth.

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from showing import code, figure, keep
from threadpoolctl import threadpool_limits

import scratchnet as sn
from scratchnet import fast, layers

a, b = np.array([10, 12, 30]), np.array([20, 22, 24])
assert np.median(b) / np.median(a) == 22 / 12
assert round(b.mean() / a.mean(), 2) == 1.27
assert round(b.mean() / np.mean([10, 12, 12]), 2) == 1.94
assert np.median([10, 12, 12]) == np.median(a)
assert b.max() / a.min() == 2.4
assert (b / a).round(2).tolist() == [2.00, 1.83, 0.80]

train, _ = sn.data.load("sample")
images, labels = train.images[:64], train.labels[:64]


def make_step(engine: str, dtype: type = np.float32) -> Callable[[], float]:
    """A training step of separable_cnn on 64 digits: forward, loss, backward, SGD. Each call is one step."""
    net = sn.models.separable_cnn(seed=0).astype(dtype)
    optimizer = sn.SGD(net.parameters(), lr=0.01)
    x = images.astype(dtype)

    def step() -> float:
        with sn.use_engine(engine):
            loss, dlogits = sn.softmax_cross_entropy(net.forward(x), labels)  # without dropout: no random numbers
            net.backward(dlogits, need_dx=False)
            optimizer.step()
        return loss

    return step


def interleaved(a: Callable, b: Callable, rounds: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each round of both, measured in turn."""
    times = np.empty((2, rounds))
    for i in range(rounds):
        for which, run in enumerate((a, b)):
            start = time.perf_counter()
            run()
            times[which, i] = time.perf_counter() - start
    return times[0], times[1]


# %%
# The project's own benchmark reports its ratios in the same way: these are its functions, and ``rounds`` holds the
# seconds of each framework in each round.

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the project's folder: benchmarks/ lies there
from benchmarks.peers import OURS
from benchmarks.report import ratios, spread

code(ratios)
code(spread)
print("by these, A is faster:", spread(ratios({OURS: a.tolist(), "B": b.tolist()}, "B"), ".2f"))
assert spread(ratios({OURS: a.tolist(), "B": b.tolist()}, "B"), ".2f") == "1.83 (0.80 to 2.00)"

# %%
# First verify: three steps of each, and the losses agree. A fast wrong answer is easy to make.

compiled, plain = make_step("numba"), make_step("numpy")
losses = [(compiled(), plain()) for _ in range(3)]
print("losses, compiled and NumPy:", [(round(p, 5), round(q, 5)) for p, q in losses])
np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)

# %%
# Those three steps were the warm-up as well. Now measure:

fast_times, slow_times = interleaved(compiled, plain)
honest = float(np.median(slow_times) / np.median(fast_times))
for name, times in (("compiled", 1000 * fast_times), ("NumPy", 1000 * slow_times)):
    print(f"{name:9} median {np.median(times):.1f} ms, from {times.min():.1f} to {times.max():.1f}")
by_round = ratios({OURS: list(fast_times), "NumPy": list(slow_times)}, "NumPy")
print(f"{honest:.2f} times faster; round by round {spread(by_round, '.2f')}")
results = {"done right": honest}

# %%
# Look at the spread before you look at the ratio. A difference that is smaller than the spread is not a difference. (If
# another program keeps your machine busy, the spread is wide, and each of the tricks below may turn out the other way.)
#
# 1. Count the first call
# -----------------------
# The first call of compiled code compiles it, or at least loads what was compiled; frameworks trace, plan and allocate.
# In a process of its own, with import and loading counted in (compiling, on the very first run, would take half a
# minute), the very same code looks slow. Both numbers are true: one answers "how long until it starts", the other "how
# fast does it run". Only mixing them is wrong.

ONE_STEP = """
import time; start = time.perf_counter()
import numpy as np, scratchnet as sn
sn.use_engine("{engine}")
train, _ = sn.data.load("sample")
net = sn.models.separable_cnn(seed=0)
loss, dlogits = sn.softmax_cross_entropy(net.forward(train.images[:64]), train.labels[:64])
net.backward(dlogits, need_dx=False)
print(time.perf_counter() - start)
"""


def first_step(engine: str) -> float:
    """Seconds from the start of a fresh process to its first finished step."""
    command = [sys.executable, "-c", ONE_STEP.format(engine=engine)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


first = {engine: min(first_step(engine) for _ in range(2)) for engine in ("numba", "numpy")}
results["first call\ncounted"] = first["numpy"] / first["numba"]
print(f"until the first step is done: compiled {first['numba']:.2f} s, NumPy {first['numpy']:.2f} s")

# %%
# 2. Unequal threads
# ------------------
# Give one side one thread and the other all of them. It happens by accident: a library reads ``OMP_NUM_THREADS``,
# another one does not, and a third leaves its threads spinning while the next one runs.

with threadpool_limits(limits=1, user_api="blas"):  # NumPy's matrix products on one thread; the kernels keep theirs
    one_fast, one_slow = interleaved(compiled, plain, 9)
results["unequal\nthreads"] = float(np.median(one_slow) / np.median(one_fast))
print(f"NumPy on one thread, compiled on all: {results[list(results)[-1]]:.2f} times faster")

# %%
# 3. Not the same work
# --------------------
# float64 moves twice the bytes and fills registers with half as many numbers. ``np.zeros`` makes float64, so one
# careless line in the slower code doubles its time, and the comparison is about that line.

double = make_step("numpy", np.float64)
double()
work_fast, work_slow = interleaved(compiled, double, 9)
results["float32 against\nfloat64"] = float(np.median(work_slow) / np.median(work_fast))
print(f"float32 against float64: {results[list(results)[-1]]:.2f} times faster")

# %%
# 4. Pick the round
# -----------------
# Compare the best of mine with the worst of yours. Nobody admits it, but whoever measures one first, makes coffee and
# measures the other, does it by chance.

results["best against\nworst"] = float(slow_times.max() / fast_times.min())
print(f"best against worst round: {results[list(results)[-1]]:.2f} times faster")
assert results["best against\nworst"] >= honest

# %%
# 5. Measure something else
# -------------------------
# Time a tenth of it: one layer, in isolation, with its arrays already in cache. True for that layer; as a claim about
# training it is not.

x, w = np.random.default_rng(0).standard_normal((64, 14, 14, 32), dtype=np.float32), np.ones((5, 5, 32, 1), np.float32)
for module in (fast, layers):
    module.depthwise_conv2d_forward(x, w, None, 1, 2)
layer_fast, layer_slow = interleaved(
    lambda: fast.depthwise_conv2d_forward(x, w, None, 1, 2), lambda: layers.depthwise_conv2d_forward(x, w, None, 1, 2)
)
results["one layer\nonly"] = float(np.median(layer_slow) / np.median(layer_fast))
print(f"the depthwise layer alone: {results[list(results)[-1]]:.1f} times faster")

# %%
# Side by side
# ------------

drawn, axes = figure(width=8.5, height=3.8)
colours = ["black"] + ["#d55e00"] * (len(results) - 1)
bars = axes.bar(results.keys(), results.values(), color=colours, edgecolor="black")
for bar in bars[1:]:
    bar.set_hatch("//")
    bar.set_facecolor("#f0c0a0")
axes.axhline(honest, color="black", linestyle="--", linewidth=1)
axes.bar_label(bars, fmt="%.2f")
axes.set(ylabel="'times faster'", title="The same two programs, six claims", yscale="log")
axes.margins(y=0.2)
keep(drawn, "12_claims")

# %%
# The project's own benchmark
# ---------------------------
# ``python -m benchmarks --quick`` does what the list at the top asks for: it verifies logits and gradients of every
# framework before it times any; each runs in a process of its own, with the same number of threads, in interleaved
# rounds; each in its best form (PyTorch in two layouts and compiled, TensorFlow with and without XLA); compile time
# stands on a line of its own; and the speed is also given as a share of the processor's peak, a number that no choice
# of opponent can flatter. Where a framework is *ahead*, the README says so, and ``benchmarks/results/README.md`` has
# the rows.

print("processors:", os.cpu_count(), " NumPy", np.__version__, " scratchnet", sn.__version__)

# %%
# Try it
# ------
# 1. Run this lesson three times. Which of the six numbers can you trust to one digit?
# 2. Time ``net.forward`` with a batch of 1 instead of 64. Does the ratio hold? Which of the two numbers would you
#    print?
# 3. Start a second program that keeps the processor busy, and compare interleaved rounds with one block of each.
#
# *Next:* ``13_what_it_sees.py``. *In the library:* ``benchmarks/measure.py``.
