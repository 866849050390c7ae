"""
7. Pooling, ties and overlaps; dropout
======================================

*After this lesson you can* pass a gradient back through a maximum, say who gets it in a tie and where windows overlap,
and explain why dropout scales the numbers that it keeps.

*Part:* by hand. *Needs:* lessons 3 to 6. *Takes:* a few seconds to run, twenty minutes to read.

This lesson has two layers without weights. Both are easy forward, and both have a trap backward.
"""

# %%
# The largest of each window
# --------------------------
# Max-pooling keeps the largest number of each window and drops the rest. A window of 2 x 2 with stride 2 halves the
# height and the width of the image. What the layer before it found is kept; where exactly it was found matters less.
#
# ::
#
#     1 3 | 2 0
#     4 2 | 1 1          4 2
#     ----+----    ->    5 6
#     0 5 | 6 2
#     1 1 | 3 2

import numpy as np
from showing import code, figure, keep, movie, numbers, put, there_and_back

import scratchnet as sn
from scratchnet.layers import (
    conv2d_backward,
    conv2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    relu_backward,
    relu_forward,
)

sn.use_engine("numpy")

x = np.array([[1.0, 3, 2, 0], [4, 2, 1, 1], [0, 5, 6, 2], [1, 1, 3, 2]])
out, argmax = max_pool2d_forward(x[None, :, :, None], 2, 2, 0)
np.testing.assert_array_equal(out[0, :, :, 0], [[4, 2], [5, 6]])

# %%
# Forward also returns *which* pixel of each window won. The pixels are counted row by row: 0 and 1 in the upper row, 2
# and 3 in the lower.

np.testing.assert_array_equal(argmax[0, :, :, 0], [[2, 0], [1, 0]])

# %%
# Backward: the winner takes it
# -----------------------------
# Change a losing pixel a little, and the maximum stays the same: slope 0. Change the winner a little, and the maximum
# changes by as much: slope 1. So each number of ``dout`` goes to the winner of its window, and all other pixels get
# nothing. In the figure, the winners are grey.

dout = np.array([[10.0, 20], [30, 40]])
dx = max_pool2d_backward(dout[None, :, :, None], argmax, (1, 4, 4, 1), 2, 2, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx, [[0, 0, 20, 0], [10, 0, 0, 0], [0, 30, 40, 0], [0, 0, 0, 0]])

drawn, (a, o, d, g) = figure(1, 4, width=5.6, height=2.2, width_ratios=(4, 2, 2, 4))
numbers(a, x, "x", shade=0.6 * (dx > 0))
numbers(o, out[0, :, :, 0], "out")
numbers(d, dout, "dout")
numbers(g, dx, "dx", shade=0.6 * (dx > 0))
keep(drawn, "07_max_pool")

# %%
# Trap 1: a tie
# -------------
# If two pixels of a window are both the largest, which one gets the gradient? The maximum has no slope there, so we
# need a convention: the *first* one gets all of it, counted row by row from the left, as in PyTorch's pooling. The
# gradient must not be given out twice. This happens if you look for the winner with ``x == maximum``, which finds them
# all. (Ties are common: after a ReLU whole windows are 0.)

tie = np.array([[7.0, 1], [7, 7]])[None, :, :, None]
_, winner = max_pool2d_forward(tie, 2, 2, 0)
dx_tie = max_pool2d_backward(np.ones((1, 1, 1, 1)), winner, tie.shape, 2, 2, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx_tie, [[1, 0], [0, 0]])

# %%
# Trap 2: windows that overlap
# ----------------------------
# With a window of 2 and a stride of 1, neighbouring windows share pixels, and a large pixel wins in several windows. It
# then changed several outputs, so it gets the *sum* of their gradients.
#
# ::
#
#     x = 1 5 2        windows:  1 5   5 2   0 5   5 3      out = 5 5      dout = 1 2
#         0 5 3                  0 5   5 3   4 1   1 0            5 5             3 4
#         4 1 0
#
# In the first and in the second window two 5s tie, and the upper one wins because it comes first. In the third and
# fourth window the 5 in the middle is the only one. So the upper 5 gets 1 + 2 = 3, and the middle one gets 3 + 4 = 7:

x = np.array([[1.0, 5, 2], [0, 5, 3], [4, 1, 0]])[None, :, :, None]
out, argmax = max_pool2d_forward(x, 2, 1, 0)
np.testing.assert_array_equal(out[0, :, :, 0], [[5, 5], [5, 5]])
dout = np.array([[1.0, 2], [3, 4]])[None, :, :, None]
dx = max_pool2d_backward(dout, argmax, x.shape, 2, 1, 0)[0, :, :, 0]
np.testing.assert_array_equal(dx, [[0, 3, 0], [0, 7, 0], [0, 0, 0]])
assert dx.sum() == dout.sum(), "nothing gets lost and nothing is made"

# %%
# Here are the four windows, one after the other. The window is light grey, and its winner dark. Both 5s are winners
# twice:

winners = {(0, 0): (0, 1), (0, 1): (0, 1), (1, 0): (1, 1), (1, 1): (1, 1)}  # of each window, found by hand
for (i, j), (row, column) in winners.items():
    assert argmax[0, i, j, 0] == 2 * (row - i) + (column - j)


def give_back(part, window):
    """Draw a window on x, and what each pixel has been given by then."""
    left, right = part.subplots(1, 2)
    shade = put(np.full((2, 2), 0.4), (3, 3), window) + put(np.array([[0.8]]), (3, 3), winners[window])
    numbers(left, x[0, :, :, 0], f"dout {dout[0, :, :, 0][window]:g}", shade=shade)
    texts = np.full((3, 3), "0", object)
    for done in list(winners)[: list(winners).index(window) + 1]:
        given = f"{dout[0, :, :, 0][done]:g}"
        texts[winners[done]] = given if texts[winners[done]] == "0" else f"{texts[winners[done]]}+{given}"
    numbers(right, texts, "dx so far", "{}", shade=put(np.array([[0.8]]), (3, 3), winners[window]))


movie("07_overlap", list(winners), give_back, width=2.5, height=1.5)

# %%
# Suppose that a loop over the windows uses ``=`` in place of ``+=``. Then the upper 5 keeps only the 2 of its last
# window, and the middle one only its last 4. The error is easily made. It stays hidden as long as the stride equals the
# size of the window, and appears when somebody changes the stride.

overwritten = np.zeros((3, 3))
for place, (i, j) in zip(dout.flat, [(0, 1), (0, 1), (1, 1), (1, 1)], strict=True):
    overwritten[i, j] = place  # the error
np.testing.assert_array_equal(overwritten, [[0, 2, 0], [0, 4, 0], [0, 0, 0]])

# %%
# Exercise 08: max-pooling, backward
# ----------------------------------
# Now write it, in ``lessons/exercises/08_max_pool_backward.py``: for any window and stride, with overlaps and ties.
# Then run ``.venv/bin/scratchnet check 08``. With it, each pool on the engine ``mine`` sends its gradients to *your*
# winners, also in a tie.
#
# Then compare with the library's definition of both passes, which has one loop for each index. ``>`` and not ``>=``
# makes the first of equal pixels the winner, and ``+=`` adds where windows overlap. It gives the numbers of the example
# above. The library's fast way goes over the window's pixels rather than over the windows, and adds all places at once.

from scratchnet.layers import definition

code(definition.max_pool2d_forward, definition.max_pool2d_backward, max_pool2d_backward, exercise="08")
by_loops, winners = definition.max_pool2d_forward(x, 2, 1, 0)
np.testing.assert_array_equal(by_loops, out)
np.testing.assert_array_equal(winners, argmax)
np.testing.assert_array_equal(definition.max_pool2d_backward(dout, winners, x.shape, 2, 1, 0)[0, :, :, 0], dx)

# %%
# A block, there and back
# -----------------------
# Convolution, ReLU, pool: you now know both directions of each. A network is a chain of such blocks. Follow one with
# your finger, with the image and the kernel of lesson 6, a bias of -2, and a pool over all four places. Forward goes
# down on the left, along the solid arrows. Backward comes up on the right, along the dashed ones: it starts with
# ``dout``, and each operation turns the gradient of its output into the gradients of its inputs.

x = np.array([[1.0, 2, 0], [0, 1, 3], [2, 0, 1]])[None, :, :, None]
w, b = np.array([[1.0, -1], [2, 3]])[:, :, None, None], np.array([-2.0])

z = conv2d_forward(x, w, b, 1, 0)
r = relu_forward(z)
out, argmax = max_pool2d_forward(r, 2, 2, 0)

dout = np.ones((1, 1, 1, 1))
dr = max_pool2d_backward(dout, argmax, r.shape, 2, 2, 0)
dz = relu_backward(dr, z)
dx, dw, db = conv2d_backward(dz, x, w, 1, 0)

np.testing.assert_array_equal(z[0, :, :, 0], [[0, 11], [1, -1]])
np.testing.assert_array_equal(dz[0, :, :, 0], [[0, 1], [0, 0]])
np.testing.assert_array_equal(dw[:, :, 0, 0], [[2, 0], [1, 3]])
np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1, -1], [0, 2, 3], [0, 0, 0]])

edges = [
    (name, array[0, :, :, 0], gradient[0, :, :, 0])
    for name, array, gradient in (("x", x, dx), ("z", z, dz), ("r", r, dr), ("out", out, dout))
]
weights = [("w", w[:, :, 0, 0], dw[:, :, 0, 0]), ("b", b[None], db[None])]
drawn = there_and_back(edges, [("conv2d", weights), ("relu", []), ("max_pool2d", [])])
keep(drawn, "07_block")

# %%
# Only one of the four places won. So dw is the patch of x at that place, and dx is the kernel, laid down there. The
# other pixels do not change ``out``. Each array stands beside its gradient, which has its shape.
#
# Note what backward needs besides the gradient: the convolution needs x and w, the ReLU z, and the pool ``argmax``. So
# each layer keeps these arrays in its forward pass. A layer of the library is the two functions, and this memory. (With
# ``training=True`` the network is told that this is a step of training. None of these three layers cares. Dropout,
# which comes next, does.)

net = sn.Network([sn.Conv2D(1, 1, 2, padding=0), sn.ReLU(), sn.MaxPool2D(2)], input_shape=(3, 3, 1))
net.layers[0].w.value, net.layers[0].b.value = w, b
np.testing.assert_array_equal(net.forward(x, training=True), out)
np.testing.assert_array_equal(net.backward(dout), dx)
np.testing.assert_array_equal(net.layers[0].w.grad, dw)
code(sn.ReLU.forward, sn.ReLU.backward)

# %%
# Dropout
# -------
# In training, each number is dropped with probability ``rate``, so that no later weight can rely on a single number.
# The numbers that are kept are scaled:
#
# ::
#
#     mask = 0 with probability rate, else 1 / (1 - rate)
#     out  = x * mask
#
# Why are they scaled? With rate 0.4, only 60 % of the terms of a sum are left in training. Without the scale, the next
# layer would see sums that are 40 % smaller in training than outside it. By hand: ``x = 3`` becomes 0 in four cases of
# ten, and ``3 / 0.6 = 5`` in six. The mean is ``0.4 * 0 + 0.6 * 5 = 3``. So outside training nothing has to be scaled:
# the mask is all ones, and out is x.

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
# Backward: x was multiplied by the mask, so the gradient is multiplied by the mask, too. It has to be *the very same*
# mask. With a new one, numbers that were dropped in the forward pass would get a gradient.

out = layer.forward(threes, training=True)
dx = layer.backward(np.ones_like(threes))
np.testing.assert_array_equal(dx == 0, out == 0)

# %%
# Exercise 09: dropout
# --------------------
# Write both passes in ``lessons/exercises/09_dropout.py``, and run ``.venv/bin/scratchnet check 09``.

code(sn.layers.dropout_forward, sn.layers.dropout_backward, exercise="09")

# %%
# Here is a digit at four rates. The pixels that are kept are scaled by 1 / (1 - rate), so they are darker. At a rate of
# 0.5 one can still read the digit, and a network learns to read it, too.

train, _ = sn.data.load("sample")
drawn, grid = figure(1, 4, width=5.6, height=1.8)
for axes, rate in zip(grid, (0.0, 0.25, 0.5, 0.75), strict=True):
    shown = sn.Dropout(rate, rng=2).forward(train.images[5:6], training=True)[0, :, :, 0]
    axes.imshow(np.sqrt(shown), cmap="gray_r", vmin=0, vmax=2)
    axes.set_title(f"rate {rate}", fontsize=11)
    axes.axis("off")
keep(drawn, "07_dropout")

# %%
# Try it
# ------
# 1. On paper: with the bias -20 in the block above, what are ``out``, dw, dx and db? (All 0: no place gets through the
#    ReLU.)
# 2. On paper: a window of 3 x 3 with stride 1 slides over 5 x 5 pixels, and the one in the middle is the largest. What
#    is its gradient if ``dout`` is all ones? (9: all nine windows hold it.)
#
# *Next:* ``08_autograd.py``: let the program find the way back. *In the library:* ``scratchnet/layers/pool.py``,
# ``dropout.py``.

np.testing.assert_array_equal(net.layers[0].b.value, [-2])
net.layers[0].b.value = np.array([-20.0])
assert not net.forward(x, training=True).any()
assert not net.backward(dout).any()
assert not net.layers[0].w.grad.any()
assert not net.layers[0].b.grad.any()
peak = np.zeros((1, 5, 5, 1))
peak[0, 2, 2] = 1
_, nine = max_pool2d_forward(peak, 3, 1, 0)
assert max_pool2d_backward(np.ones((1, 3, 3, 1)), nine, peak.shape, 3, 1, 0)[0, 2, 2, 0] == 9
