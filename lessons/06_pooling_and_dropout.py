"""
6. Pooling, ties and overlaps; dropout
======================================

*After this lesson you can* hand a gradient back through a maximum, say who gets it in a tie and where windows overlap,
and explain why dropout scales the numbers that it keeps.

*Needs:* lessons 3 to 5. *Takes:* a few seconds to run, twenty minutes to read.

Two layers without a single weight. Both are easy forward, and both have a trap backward.
"""

# %%
# The largest of each window
# --------------------------
# Max-pooling keeps the largest number of each window and forgets the rest. A window of 2 x 2 with stride 2 halves the
# image: what was found stays, and where exactly it was found becomes less important.
#
# ::
#
#     1 3 | 2 0
#     4 2 | 1 1          4 2
#     ----+----    ->    5 6
#     0 5 | 6 2
#     1 1 | 3 2

import numpy as np
from showing import code, figure, keep, numbers

import scratchnet as sn
from scratchnet.layers import max_pool2d_backward, max_pool2d_forward

sn.use_engine("numpy")

x = np.array([[1.0, 3, 2, 0], [4, 2, 1, 1], [0, 5, 6, 2], [1, 1, 3, 2]])
out, argmax = max_pool2d_forward(x[None, :, :, None], 2, 2, 0)
np.testing.assert_array_equal(out[0, :, :, 0], [[4, 2], [5, 6]])

# %%
# Forward also notes *which* of the window's pixels won, counted along the rows: 0 and 1 in the upper row, 2 and 3 in
# the lower.

np.testing.assert_array_equal(argmax[0, :, :, 0], [[2, 0], [1, 0]])

# %%
# Backward: the winner takes it
# -----------------------------
# Push a loser a little, and the maximum stays what it was: slope 0. Push the winner, and the maximum moves as much:
# slope 1. So each number of ``dout`` goes to its window's winner, and all others get nothing.

dout = np.array([[10.0, 20], [30, 40]])
dx = max_pool2d_backward(dout[None, :, :, None], argmax, (1, 4, 4, 1), 2, 2, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx, [[0, 0, 20, 0], [10, 0, 0, 0], [0, 30, 40, 0], [0, 0, 0, 0]])

drawn, (a, o, d, g) = figure(1, 4, width=9, height=2.6, width_ratios=(4, 2, 2, 4))
numbers(a, x, "x; winners shaded", shade=0.6 * (dx > 0))
numbers(o, out[0, :, :, 0], "out")
numbers(d, dout, "dout")
numbers(g, dx, "dx", shade=0.6 * (dx > 0))
keep(drawn, "06_max_pool")

# %%
# Trap 1: a tie
# -------------
# If two pixels of a window are equal and largest, which one gets the gradient? The maximum has no slope there, so it is
# a convention: the *first* one gets all of it, row by row from the left, as in PyTorch's pooling. What must not happen
# is that it is handed out twice: whoever looks for the winner by ``x == maximum`` finds both. (Ties are no rarity:
# behind a ReLU whole windows are 0.)

tie = np.array([[7.0, 1], [7, 7]])[None, :, :, None]
_, winner = max_pool2d_forward(tie, 2, 2, 0)
dx_tie = max_pool2d_backward(np.ones((1, 1, 1, 1)), winner, tie.shape, 2, 2, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx_tie, [[1, 0], [0, 0]])

# %%
# Trap 2: windows that overlap
# ----------------------------
# With a window of 2 and a stride of 1, neighbouring windows share pixels, and a large one wins in several of them. It
# then moved several outputs, so it gets the *sum*.
#
# ::
#
#     x = 1 5 2        windows:  1 5   5 2   0 5   5 3      out = 5 5      dout = 1 2
#         0 5 3                  0 5   5 3   4 1   1 0            5 5             3 4
#         4 1 0
#
# In the first window two 5s tie, and the upper one wins (it comes first); in the second one, too, the 5 in the upper
# row. In the third and fourth the 5 in the middle is the only one. So the upper 5 gets 1 + 2 = 3 and the middle one 3 +
# 4 = 7:

x = np.array([[1.0, 5, 2], [0, 5, 3], [4, 1, 0]])[None, :, :, None]
out, argmax = max_pool2d_forward(x, 2, 1, 0)
np.testing.assert_array_equal(out[0, :, :, 0], [[5, 5], [5, 5]])
dout = np.array([[1.0, 2], [3, 4]])[None, :, :, None]
dx = max_pool2d_backward(dout, argmax, x.shape, 2, 1, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx, [[0, 3, 0], [0, 7, 0], [0, 0, 0]])
assert dx.sum() == dout.sum(), "nothing gets lost and nothing is made"

# %%
# With ``=`` in place of ``+=``, in a loop over the windows, the upper 5 would keep only its last window's 2, and the
# middle one 4. Many published implementations have this error. It never shows as long as the stride is the window's
# size, and then somebody changes the stride.

overwritten = np.zeros((3, 3))
for place, (i, j) in zip(dout.flat, [(0, 1), (0, 1), (1, 1), (1, 1)], strict=True):
    overwritten[i, j] = place  # the error
np.testing.assert_array_equal(overwritten, [[0, 2, 0], [0, 4, 0], [0, 0, 0]])

# %%
# The library goes over the window's pixels rather than over the windows, and adds all places at once:

code(max_pool2d_backward)

# %%
# Dropout
# -------
# In training, each number is dropped with probability ``rate``, so that no later weight can rely on any single one. The
# survivors are scaled:
#
# ::
#
#     mask = 0 with probability rate, else 1 / (1 - rate)
#     out  = x * mask
#
# Why the scale? With rate 0.4, only 60 % of a sum's terms are left in training; without a scale the next layer would
# see sums that are 40 % smaller in training than in use. By hand: ``x = 3`` becomes 0 in four cases of ten and
# ``3 / 0.6 = 5`` in six; on average ``0.4 * 0 + 0.6 * 5 = 3``. So nothing is left to do outside training: there the
# mask is all ones, and out is x.

layer = sn.Dropout(0.4, rng=np.random.default_rng(1))
threes = np.full((1, 10), 3.0)
print("one draw:     ", layer.forward(threes, training=True).round(2))
print("not training: ", layer.forward(threes, training=False))
mean = np.mean([layer.forward(threes, training=True).mean() for _ in range(4000)])
print(f"mean over 4,000 draws: {mean:.3f}")
assert abs(mean - 3) < 0.05
assert set(np.unique(layer.forward(threes, training=True).round(6))) <= {0.0, 5.0}
assert layer.forward(threes, training=False) is threes

# %%
# Backward: the mask was a factor of x, so it is a factor of the gradient. It has to be *the very same* mask: a new draw
# would blame numbers that were not there.

out = layer.forward(threes, training=True)
dx = layer.backward(np.ones_like(threes))
np.testing.assert_array_equal(dx == 0, out == 0)
code(sn.layers.dropout_forward)
code(sn.layers.dropout_backward)

# %%
# What it looks like on a digit, for three rates. What survives is darker, by 1 / (1 - rate). At 0.5 one can still read
# it; a network that is trained so learns to.

train, _ = sn.data.load("sample")
drawn, grid = figure(1, 4, width=8, height=2.3)
for axes, rate in zip(grid, (0.0, 0.25, 0.5, 0.75), strict=True):
    shown = sn.Dropout(rate, rng=2).forward(train.images[5:6], training=True)[0, :, :, 0]
    axes.imshow(np.sqrt(shown), cmap="gray_r", vmin=0, vmax=2)
    axes.set_title(f"rate {rate}", fontsize=11)
    axes.axis("off")
keep(drawn, "06_dropout")

# %%
# Exercises
# ---------
# 1. ``lessons/exercises/08_max_pool_backward.py``, and ``scratchnet check 08``: overlaps and ties included.
# 2. ``lessons/exercises/09_dropout.py``, and ``scratchnet check 09``.
#
# *Next:* ``07_the_plateau.py``: the first network. *In the library:* ``scratchnet/layers/pool.py``, ``dropout.py``.
