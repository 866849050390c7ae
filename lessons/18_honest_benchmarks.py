"""
18. Honest benchmarks, and how to fool yourself
===============================================

*After this lesson you can* time a piece of code so that the number means something, and name five ways in which a
comparison goes wrong although nobody lies.

*Part:* under the hood. *Needs:* nothing; lesson 17 helps. *Takes:* about half a minute to run, twenty minutes to read.

"Three times as fast" is easy to write and hard to justify. This lesson compares the same two programs again and again:
a training step on the compiled engine of this library, and the same step on its NumPy engine. Each comparison but the
first makes one mistake, and the ratio changes with every mistake.
"""

# %%
# The right way first
# -------------------
# A fair comparison of A and B does six things:
#
# 1. It *verifies* that both compute the same thing.
# 2. It *warms up* both, and does not count that.
# 3. It *interleaves* the rounds, A B A B ..., so that a slow minute of the machine hits both.
# 4. It reports the *median* and the spread of many rounds, not the best of one.
# 5. It gives both the same *threads*, the same *data type* and the same *batch*.
# 6. It says what was measured: processor, versions, threads.
#
# A small example shows why to take the median. Here are three rounds of A and B, in milliseconds. In the last round,
# another program kept the machine busy while A ran:
#
# .. code-block:: text
#
#     round      1      2      3       median    mean
#     A         10     12     30         12      17.3
#     B         20     22     24         22      22
#     B / A    2.00   1.83   0.80       1.83
#
# By the means B takes 22 / 17.3 = 1.27 times as long as A, by the medians 22 / 12 = 1.83. If A had taken 12 ms in the
# third round, the means would give 1.94, and the medians still 1.83. So the bad round changes the ratio of the means,
# but not the ratio of the medians. The worst of B against the best of A, 24 / 10, gives as much as 2.4. The median of
# the three ratios, round by round, is 1.83 as well. Their spread, from 0.80 to 2.00, shows how little three rounds
# prove.

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
            loss, dlogits = sn.softmax_cross_entropy(net.forward(x), labels)  # no dropout, so no random numbers
            net.backward(dlogits, need_dx=False)
            optimizer.step()
        return loss

    return step


def interleaved(a: Callable, b: Callable, rounds: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """The seconds of each round of both; the rounds alternate."""
    times = np.empty((2, rounds))
    for i in range(rounds):
        for which, run in enumerate((a, b)):
            start = time.perf_counter()
            run()
            times[which, i] = time.perf_counter() - start
    return times[0], times[1]


# %%
# The project's own benchmark reports its ratios in the same way. These are its functions; ``rounds`` holds the seconds
# of each framework in each round.

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the project's folder, which has benchmarks/
from benchmarks.peers import OURS
from benchmarks.report import ratios, spread

code(ratios)
code(spread)
print("B / A by these functions:", spread(ratios({OURS: a.tolist(), "B": b.tolist()}, "B"), ".2f"))
assert spread(ratios({OURS: a.tolist(), "B": b.tolist()}, "B"), ".2f") == "1.83 (0.80 to 2.00)"

# %%
# First verify: run three steps of each, and compare the losses. A fast program is worth nothing if its result is wrong.

compiled, plain = make_step("numba"), make_step("numpy")
losses = [(compiled(), plain()) for _ in range(3)]
print("losses, compiled and NumPy:", [(round(p, 5), round(q, 5)) for p, q in losses])
np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)

# %%
# These three steps were also the warm-up. Now measure:

fast_times, slow_times = interleaved(compiled, plain)
honest = float(np.median(slow_times) / np.median(fast_times))
for name, times in (("compiled", 1000 * fast_times), ("NumPy", 1000 * slow_times)):
    print(f"{name:9} median {np.median(times):.1f} ms, from {times.min():.1f} to {times.max():.1f}")
by_round = ratios({OURS: list(fast_times), "NumPy": list(slow_times)}, "NumPy")
print(f"{honest:.2f} times as fast; round by round {spread(by_round, '.2f')}")
results = {"done right": honest}

# %%
# Look at the spread before you look at the ratio. If a difference is smaller than the spread, it is not a difference.
# (If another program keeps your machine busy, the spread is wide, and each mistake below may change the ratio the other
# way.)
#
# 1. Count the first call
# -----------------------
# The first call of compiled code compiles it, or at least loads what was compiled before. Frameworks trace, plan and
# allocate in their first call. Here each engine runs one step in a new process, and the time includes the import and
# the loading. (On the very first run, compiling would come on top.) Now the same code looks slow. Both numbers
# are true: one answers "how long until it starts?", the other "how fast does it run?". The mistake is to mix them.

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
# Give one program a single thread and the other all of them. This happens by accident: one library reads
# ``OMP_NUM_THREADS``, another does not, and a third keeps its threads busy while the next one runs.

with threadpool_limits(limits=1, user_api="blas"):  # NumPy's matrix products on one thread; the kernels keep theirs
    one_fast, one_slow = interleaved(compiled, plain, 9)
results["unequal\nthreads"] = float(np.median(one_slow) / np.median(one_fast))
print(f"NumPy on one thread, compiled on all: {results[list(results)[-1]]:.2f} times as fast")

# %%
# 3. Not the same work
# --------------------
# float64 moves twice the bytes, and a register holds only half as many numbers. ``np.zeros`` makes float64, so one
# careless line in the slower program doubles its time. Then the comparison measures that line.

double = make_step("numpy", np.float64)
double()
work_fast, work_slow = interleaved(compiled, double, 9)
results["float32 against\nfloat64"] = float(np.median(work_slow) / np.median(work_fast))
print(f"float32 against float64: {results[list(results)[-1]]:.2f} times as fast")

# %%
# 4. Pick the round
# -----------------
# Compare the best round of one program with the worst round of the other. Nobody does this on purpose. But if you
# measure one program, take a break and then measure the other, it may happen by chance.

results["best against\nworst"] = float(slow_times.max() / fast_times.min())
print(f"best against worst round: {results[list(results)[-1]]:.2f} times as fast")
assert results["best against\nworst"] >= honest

# %%
# 5. Measure something else
# -------------------------
# Time only a tenth of the step: one layer alone, with its arrays already in the cache. The number is true for that
# layer, but says little about training.

x, w = np.random.default_rng(0).standard_normal((64, 14, 14, 32), dtype=np.float32), np.ones((5, 5, 32, 1), np.float32)
for module in (fast, layers):
    module.depthwise_conv2d_forward(x, w, None, 1, 2)
layer_fast, layer_slow = interleaved(
    lambda: fast.depthwise_conv2d_forward(x, w, None, 1, 2), lambda: layers.depthwise_conv2d_forward(x, w, None, 1, 2)
)
results["one layer\nonly"] = float(np.median(layer_slow) / np.median(layer_fast))
print(f"the depthwise layer alone: {results[list(results)[-1]]:.1f} times as fast")

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
axes.set(ylabel="'times as fast'", title="The same two programs, six claims", yscale="log")
axes.margins(y=0.2)
keep(drawn, "18_claims")

# %%
# The project's own benchmark
# ---------------------------
# ``python -m benchmarks --quick`` does what the list at the top asks for:
#
# - It verifies the logits and gradients of every framework before it times any of them.
# - Each framework runs in a process of its own, with the same number of threads, in interleaved rounds.
# - Each framework runs in its best form: PyTorch in two layouts and compiled, TensorFlow with and without XLA.
# - Compile time is reported on a line of its own.
# - The speed is also given as a share of the processor's peak, which does not depend on the choice of opponents.
#
# Where a framework is *faster* than this library, ``benchmarks/results/README.md`` says so.

print("processors:", os.cpu_count(), " NumPy", np.__version__, " scratchnet", sn.__version__)

# %%
# Try it
# ------
# 1. Run this lesson three times. Which of the six numbers can you trust to one digit?
# 2. Time ``net.forward`` with a batch of 1 instead of 64. Is the ratio the same? Which of the two numbers would you
#    publish?
# 3. Start a second program that keeps the processor busy. Compare interleaved rounds with all rounds of one program
#    before all rounds of the other.
#
# *Next:* ``19_your_own_handwriting.py``. *In the library:* ``benchmarks/measure.py``.
