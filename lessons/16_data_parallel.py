"""
16. Many workers, the same bits
===============================

*After this lesson you can* share the gradient of a batch among several processes by hand, name three ways to get it
wrong that no error message tells you of, and make the result independent of how many processes there are.

*Part:* under the hood. *Needs:* lessons 3, 6 and 7 (10 for Adam, 14 for batch normalisation). *Takes:* about
twenty seconds to run, twenty minutes to read.

One machine is too small? Then share the batch: each process computes the gradient of some of the images, the gradients
are added, and all take the same step. This is called *data-parallel* training. It is little arithmetic, but each part
of it can be wrong, and then the network still learns, only something else. Here you see each mistake as a number, first
with two lists of images in one process, then with two processes.
"""

# %%
# Two lists of images
# -------------------
# Take 32 digits. The first 20 are for one process, the other 12 for another. For now, one process plays both.

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from showing import figure, keep

import scratchnet as sn
from scratchnet.stream import skip

sn.use_engine("numpy")
train, _ = sn.data.load("sample")
images, labels = train.images[:32], train.labels[:32]
first, second = slice(0, 20), slice(20, 32)
share, other_share = len(labels[first]) / 32, len(labels[second]) / 32
UNITS = 128


def gradient(part: slice, training: bool = False, before: int = 0) -> np.ndarray:
    """The mean gradient over some of the images, all weights in one vector. Each call makes the same network anew.

    In training, dropout skips the masks of `before` images first.
    """
    net = sn.models.standard_cnn(seed=0, dense_units=UNITS)
    skip(net.layers[9].rng, before * UNITS)  # the dropout layer
    _, dlogits = sn.softmax_cross_entropy(net.forward(images[part], training), labels[part])
    net.backward(dlogits, need_dx=False)
    return np.concatenate([p.grad.ravel() for p in net.parameters()])


def off(found: np.ndarray, right: np.ndarray) -> float:
    """How far a vector is from the right one, relative to its length."""
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


whole = gradient(slice(0, 32))
print(f"{whole.size:,} weights; the gradient of 32 digits has the length {np.linalg.norm(whole):.3f}")

# %%
# First mistake: the mean of the means
# ------------------------------------
# Each process has the mean over *its* images. The obvious thing is to take the mean of the two. But 20 images then
# count as much as 12. With numbers: the mean of 1, 2, 3 is 2, and that of 10 is 10. The mean of the means is 6, but the
# mean of all four is 4. Each mean needs its share of the images as a weight: 3/4 * 2 + 1/4 * 10 = 4.

assert np.mean([np.mean([1, 2, 3]), np.mean([10])]) == 6
assert np.mean([1, 2, 3, 10]) == 3 / 4 * 2 + 1 / 4 * 10 == 4

unweighted = (gradient(first) + gradient(second)) / 2
weighted = share * gradient(first) + other_share * gradient(second)
mistakes = {"mean of\nthe means": off(unweighted, whole)}
print(f"mean of the means: off by {off(unweighted, whole):.0%}")
print(f"weighted mean:     off by {off(weighted, whole):.0e}")
assert 0.15 < off(unweighted, whole) < 0.25
assert off(weighted, whole) < 1e-6

# %%
# Off by a fifth. Would you notice? If all parts have the same size, it is right by accident. It goes wrong with the
# last batch of an epoch, which may be smaller, or on the day on which somebody starts three processes instead of four.
#
# Second mistake: each process draws its own dropout
# --------------------------------------------------
# A dropout layer draws a mask for each image, from one stream of random numbers (lesson 7). The whole batch uses up 32
# masks. If the second process begins its stream at the start, its first image gets the mask that belongs to image 0,
# and not the one of image 20.

whole_masked = gradient(slice(0, 32), training=True)
first_masked = share * gradient(first, training=True)
own_stream = first_masked + other_share * gradient(second, training=True)
by_image = first_masked + other_share * gradient(second, training=True, before=first.stop)
mistakes["each draws its\nown dropout"] = off(own_stream, whole_masked)
print(f"each draws from its own start: off by {off(own_stream, whole_masked):.0%}")
print(f"a mask belongs to an image:    off by {off(by_image, whole_masked):.0e}")
assert 0.4 < off(own_stream, whole_masked) < 0.6
assert off(by_image, whole_masked) < 1e-6

# %%
# A different mask is not a worse mask. But the result now depends on how many processes there were. The remedy: *a mask
# belongs to an image*. The process that has the images from number 20 on skips 20 masks. For the generator in use,
# Philox, skipping costs nothing: it computes any part of its stream directly (``scratchnet/stream.py``).
#
# Third mistake: adding in any order
# ----------------------------------
# What is left, a few 1e-7, is rounding. That sounds harmless. But where does it come from? The digits of a float32
# have 24 bits. So from 2^24 = 16,777,216 on it holds even numbers only, and 1 more is rounded away:

big, one = np.float32(2**24), np.float32(1)
print(f"(big + 1) + 1 is {(big + one) + one - big:g} more than big, big + (1 + 1) is {big + (one + one) - big:g} more")
assert (big + one) + one == big
assert big + (one + one) == 2**24 + 2

# %%
# So (a + b) + c is not a + (b + c). Give each process a number, its *rank*: 0, 1, 2 and so on. Cut the batch into 8
# *shards* of 4 images, and let 1, 2, 3 or 4 ranks each add up their own shards first, and then the sums of all:

shards = [4 / 32 * gradient(slice(4 * k, 4 * k + 4)) for k in range(8)]


def one_after_the_other(vectors: list[np.ndarray]) -> np.ndarray:
    """The sum of vectors, from left to right."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        total += vector
    return total


def in_order_of_ranks(ranks: int) -> np.ndarray:
    """Each rank adds its shards; then the ranks' sums are added."""
    ends = [rank * 8 // ranks for rank in range(ranks + 1)]
    return one_after_the_other([one_after_the_other(shards[a:b]) for a, b in pairwise(ends)])


def bits(vector: np.ndarray) -> str:
    """A short name for the exact bits of a vector."""
    return hashlib.sha256(vector.tobytes()).hexdigest()[:8]


by_ranks = {ranks: in_order_of_ranks(ranks) for ranks in (1, 2, 3, 4)}
for ranks, total in by_ranks.items():
    changed = np.mean(total != by_ranks[1])
    print(f"{ranks} ranks: bits {bits(total)}, {changed:.0%} of the numbers differ from those of 1 rank")
assert len({bits(total) for total in by_ranks.values()}) == 4
mistakes["sums in the\norder of ranks"] = off(by_ranks[2], by_ranks[1])

# %%
# Four numbers of processes, four results, and a quarter of all numbers are touched. After one step the difference is at
# the eighth digit. It grows: each step starts from weights that differ a little. Here are two runs that differ in
# nothing but the order of such sums:


def trained(steps: int, order: int) -> np.ndarray:
    """All weights after so many steps; the order of the sums is that of 4 or 8 shards."""
    net = sn.models.separable_cnn(seed=0, dense_units=32, init="he_normal")
    optimizer = sn.SGD(net.parameters(), lr=0.1, momentum=0.9)
    sn.fit(net, train[:512], optimizer=optimizer, steps=steps, batch_size=32, shards=order, progress=False)
    return np.concatenate([p.value.ravel() for p in net.parameters()])


distances = {steps: off(trained(steps, 4), trained(steps, 8)) for steps in (1, 20, 40)}
print({steps: f"{distance:.0e}" for steps, distance in distances.items()})
assert 10 < distances[20] / distances[1] < 100
assert distances[40] < 2 * distances[20]

# %%
# After twenty steps the distance is some tens of times as large as after the first. Then it stays about there.
#
# So nobody can say whether a change of the code, or the larger machine, made a result different.
#
# One tree for all
# ----------------
# The remedy is not to add more exactly. It is to always add the same pairs. Fix the number of shards, not the number of
# processes, and add the shards in one binary tree:
#
# .. code-block:: text
#
#     shards      0   1   2   3   4   5   6   7
#                  \ /     \ /     \ /     \ /
#                   +       +       +       +
#                    \     /         \     /
#                       +               +
#                         \           /
#                               +
#
# One process adds it all. Two processes: each adds one half of the tree, and the last addition is left. Four: each adds
# two shards. What is computed is the same, only *who* computes it changes. Even three processes can share it, with
# shards 0-1, 2-4 and 5-7, if they exchange what belongs together in the tree.


def in_the_tree(vectors: list[np.ndarray]) -> np.ndarray:
    """The sum of vectors, added in pairs."""
    if len(vectors) == 1:
        return vectors[0]
    middle = (len(vectors) + 1) // 2
    return in_the_tree(vectors[:middle]) + in_the_tree(vectors[middle:])


halves = in_the_tree(shards[:4]), in_the_tree(shards[4:])
quarters = [in_the_tree(shards[2 * rank : 2 * rank + 2]) for rank in range(4)]
results = {1: in_the_tree(shards), 2: halves[0] + halves[1], 4: in_the_tree(quarters)}
for ranks, total in results.items():
    print(f"{ranks} ranks, one tree: bits {bits(total)}")
assert len({bits(total) for total in results.values()}) == 1

# %%
# In the library the tree is ``scratchnet/parallel/tree.py``, which also says who adds what.
#
# The three mistakes side by side. The last one is less than a millionth of the others, and no test with a tolerance
# finds it.

assert mistakes["sums in the\norder of ranks"] < 1e-6 * mistakes["mean of\nthe means"]

drawn, axes = figure(width=5.5, height=3.4)
bars = axes.bar(mistakes.keys(), mistakes.values(), color="#f0c0a0", edgecolor="black", width=0.6)
axes.bar_label(bars, [f"{value:.0%}" if value > 0.01 else f"{value:.0e}" for value in mistakes.values()])
axes.set(yscale="log", ylabel="off by", title="Three ways to share a batch wrongly", ylim=(1e-9, 10))
keep(drawn, "16_mistakes")

# %%
# Two processes
# -------------
# Now for real: two Python processes. Each makes the same network from the same seed, and adds the tree of its own four
# shards. Then one vector of numbers has to go from rank 1 to rank 0, and here a pipe carries it: rank 1 writes the
# bytes to its output, which is the input of rank 0.

PROGRAM = """
import sys
import numpy as np
import scratchnet as sn

sn.use_engine("numpy")
rank = int(sys.argv[1])
train, _ = sn.data.load("sample")
net = sn.models.standard_cnn(seed=0, dense_units=128)

def shard(k):
    part = slice(4 * k, 4 * k + 4)
    _, dlogits = sn.softmax_cross_entropy(net.forward(train.images[part]), train.labels[part])
    net.backward(dlogits, need_dx=False)
    return 4 / 32 * np.concatenate([p.grad.ravel() for p in net.parameters()])

first = 4 * rank
mine = (shard(first) + shard(first + 1)) + (shard(first + 2) + shard(first + 3))
if rank == 0:
    mine += np.frombuffer(sys.stdin.buffer.read(), np.float32)
sys.stdout.buffer.write(mine.tobytes())
"""


def start(rank: int, **pipes) -> subprocess.Popen:
    """Start the program as one of the ranks."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(rank)], stdout=subprocess.PIPE, **pipes)


rank_1 = start(1)
rank_0 = start(0, stdin=rank_1.stdout)
together = np.frombuffer(rank_0.communicate()[0], np.float32)
rank_1.stdout.close()
assert rank_1.wait() == 0
print(f"1 process, one tree: bits {bits(results[1])}")
print(f"2 processes:         bits {bits(together)}")
assert bits(together) == bits(results[1])

# %%
# The same bits. (The matrix products are computed by a library, BLAS, that may add in another order on another number
# of threads. ``sn.fit`` gives it one. Here both processes have the same number.)
#
# With MPI
# --------
# A pipe leads to one other process on the same machine. *MPI* is the library that supercomputers use: ``mpiexec -n 4``
# starts four processes on one or on many machines, and each can send arrays to the others by their ranks.
# ``sn.fit`` uses it as soon as ``mpiexec`` has started the script. Nothing else changes. What goes between the ranks is
# less than you may think: they exchange halves of the vector, then quarters and so on, until each has the complete sum
# of its own piece (*recursive halving*). Each takes the optimiser's step for its piece, and the new weights go round.

TRAIN = """
import hashlib
import scratchnet as sn

sn.use_engine("numpy")
train, _ = sn.data.load("sample")
net = sn.models.standard_cnn(seed=0, dense_units=128)
sn.fit(net, train[:96], optimizer=sn.Adam(net.parameters()), steps=3, batch_size=32, shards=8, progress=False)
print(hashlib.sha256(b"".join(p.value.tobytes() for p in net.parameters())).hexdigest()[:8])
"""


def trained_on(*command: str) -> set[str]:
    """The bits of the weights that each rank prints at the end."""
    run = subprocess.run([*command, sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True)
    return set(re.findall("[0-9a-f]{8}", run.stdout))


alone = trained_on()
print("weights after three steps of one process:", *alone)
mpiexec = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
if mpiexec and importlib.util.find_spec("mpi4py"):
    for ranks in ("2", "3"):
        found = trained_on(mpiexec, "-n", ranks)
        print(f"weights of all of {ranks} ranks:              ", *found)
        assert found == alone
else:
    print("for more ranks, install MPI: pip install 'scratchnet[mpi]'")

# %%
# Dropout is on in these runs, and Adam keeps two more numbers for each weight: all of it is the same. A run that was
# begun on four machines can go on with two, or on a laptop with a debugger, where it fails in the same step.
#
# One price is time: 8 shards of 4 images are 8 small matrix products instead of one large one, and 7 sums of all
# weights. Another is that batch normalisation takes the mean and the variance of a shard. If it took those of the whole
# batch, the ranks would have to wait for each other in every such layer.


def seconds(parts: list[slice]) -> float:
    """How long the gradients of these parts of the batch take, one after the other: the median of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for part in parts:
            gradient(part)
        rounds.append(time.perf_counter() - began)
    return float(np.median(rounds))


pieces = [slice(4 * k, 4 * k + 4) for k in range(8)]
print(f"32 images in one piece: {seconds([slice(0, 32)]):.3f} s; in 8 shards: {seconds(pieces):.3f} s")

# %%
# Try it
# ------
# 1. Change the sizes of the two lists to 16 and 16. Which of the mistakes is now invisible? (The mean of the means. The
#    asserts on the old sizes will stop the script; delete them.)
# 2. Let both ranks of ``PROGRAM`` go forward in training. Where do you have to skip, and how many numbers? (Rank 1
#    skips the masks of 16 images, 16 * 128 = 2,048 numbers, once, before its first shard. Its own shards follow.)
# 3. Draw the tree of 6 shards as ``in_the_tree`` makes it. Two ranks have three shards each, and three ranks two each.
#    Which rank has shards that the tree does not add to each other? (Rank 1 of three: its shards, 2 and 3, are in
#    different halves of the tree.)
# 4. Call ``trained(100, 4)`` and ``trained(100, 8)``. How does their distance go on? (It stays near 6e-7.)
#
# *Next:* ``17_to_the_limit.py``: how the compiled engine gets its speed. *In the library:*
# ``scratchnet/parallel/train.py``.
