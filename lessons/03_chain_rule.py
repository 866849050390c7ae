"""
3. The chain rule by hand: dense and ReLU, backward
===================================================

*After this lesson you can* compute every gradient of a small network on paper, say for any weight which paths lead from
it to the loss, and check a backward pass by measuring slopes.

*Part:* by hand. *Needs:* lesson 2. *Takes:* a few seconds to run, half an hour with pencil and paper.

Backprop is the chain rule with careful bookkeeping. Each layer answers one question: *given the slopes of the loss for
my outputs, what are its slopes for my inputs and my weights?* The layer needs to know nothing about the rest of the
network.
"""

# %%
# Forward, by hand
# ----------------
# Take two examples of three numbers each, a dense layer with two outputs, and a ReLU. Compute along on a sheet of
# paper.
#
# ::
#
#     x = [ 1  0  2]      w = [1 -1]      b = [0  1]
#         [-1  3  1]          [2 -2]
#                             [0  1]
#
#     z = x @ w + b       = [1*1 + 0*2 + 2*0 + 0    1*-1 + 0*-2 + 2*1 + 1]  =  [1  2]
#                           [-1*1 + 3*2 + 1*0 + 0   -1*-1 + 3*-2 + 1*1 + 1]    [5 -3]
#
#     out = max(z, 0)     = [1  2]
#                           [5  0]

import numpy as np
from showing import code, figure, keep, numbers

import scratchnet as sn
from scratchnet.layers import dense_backward, dense_forward, relu_backward, relu_forward

sn.use_engine("numpy")

x = np.array([[1.0, 0, 2], [-1, 3, 1]])  # (N, in) = (2, 3)
w = np.array([[1.0, -1], [2, -2], [0, 1]])  # (in, out) = (3, 2)
b = np.array([0.0, 1])  # (out,)

z = dense_forward(x, w, b)
out = relu_forward(z)
np.testing.assert_array_equal(z, [[1, 2], [5, -3]])
np.testing.assert_array_equal(out, [[1, 2], [5, 0]])

# %%
# The gradient that comes in
# --------------------------
# The later layers hand back ``dout``: the slope of the loss for each number of ``out``. ``dout[1, 1] = 4`` says: if
# ``out[1, 1]`` grows by a little, the loss grows by four times as much. (``dout`` is short for d loss / d out. The name
# of every gradient in this project is ``d`` and the name of its array, and the two have the same shape.)

dout = np.array([[1.0, -1], [2, 4]])

# %%
# Through ReLU
# ------------
# Where ``z > 0``, ``out`` changes as ``z`` does, so the slope is 1. Where ``z < 0``, ``out`` does not change, so the
# slope is 0. The chain rule multiplies the slopes:
#
# ::
#
#     dz = [1*1  -1*1]  =  [1 -1]
#          [2*1   4*0]     [2  0]
#
# The 4 is gone: ``z[1, 1]`` is -3, so a small change of it does not change ``out``. (At exactly 0 there is no single
# slope; by convention it is 0.)

dz = relu_backward(dout, z)
np.testing.assert_array_equal(dz, [[1, -1], [2, 0]])

# %%
# Exercise 03: ReLU, backward
# ---------------------------
# You have just done it for four numbers. Write it for an array of any shape, in
# ``lessons/exercises/03_relu_backward.py``, and run ``.venv/bin/scratchnet check 03``. There, z is called ``x``: it is
# the input of the ReLU. (Exercise 02 comes below: we follow the gradient, which meets the ReLU first.) If you make an
# array to fill, make it with ``np.zeros_like(x)``: it has the dtype of x, where ``np.zeros(x.shape)`` is float64. A
# right answer is used by every ReLU on the engine ``mine``.

code(relu_backward, exercise="03")

# %%
# Through the dense layer: follow the paths
# -----------------------------------------
# If a number reaches the loss on several paths, its slope is the *sum* of the slopes of these paths. So ask for each
# number: where was it used?
#
# **b[o]** was added in every example. Its paths are the column ``dz[:, o]``, each with slope 1:
# ``db = [1 + 2, -1 + 0] = [3, -1]``.
#
# **w[i, o]** was multiplied by ``x[n, i]`` in every example ``n``, and the product was added into ``z[n, o]``:
#
# .. math:: dw_{io} = \sum_n x_{ni} \, dz_{no}
#
# For example, ``dw[1, 0] = x[0, 1] * dz[0, 0] + x[1, 1] * dz[1, 0] = 0*1 + 3*2 = 6``.
#
# **x[n, i]** was multiplied by ``w[i, o]`` for every output ``o``:
#
# .. math:: dx_{ni} = \sum_o dz_{no} \, w_{io}
#
# For example, ``dx[0, 0] = dz[0, 0] * w[0, 0] + dz[0, 1] * w[0, 1] = 1*1 + -1*-1 = 2``. Compute the other numbers of
# dw and dx on paper, then compare.

dx, dw, db = dense_backward(dz, x, w)
np.testing.assert_array_equal(db, [3, -1])
np.testing.assert_array_equal(dw, [[-1, -1], [6, 0], [4, -2]])
np.testing.assert_array_equal(dx, [[2, 4, -1], [2, 4, 0]])

# %%
# Everything on one sheet: the upper row has the values of the forward pass, and the lower row has the gradients, each
# under its own array. The shapes match in every column. Checking the shapes alone catches half of all mistakes.

pairs = {"x": (x, dx), "w": (w, dw), "b": (b[None], db[None]), "z": (z, dz), "out": (out, dout)}
drawn, grid = figure(2, 5, width=5.6, height=3, width_ratios=(3, 2, 2, 2, 2))
for (upper, lower), (name, (array, gradient)) in zip(grid.T, pairs.items(), strict=True):
    numbers(upper, array, name)
    numbers(lower, gradient, f"d{name}", shade=0.6 * np.ones_like(gradient))
keep(drawn, "03_by_hand")

# %%
# Exercise 02: the dense layer, backward
# --------------------------------------
# Both sums are matrix products. Which ones? The shapes tell. ``x`` is (N, in), ``dz`` is (N, out), and ``dw`` has to
# come out as (in, out): the only way is to transpose one of the two first. Find dx in the same way. Write all three
# gradients in ``lessons/exercises/02_dense_backward.py``. There, dz is called ``dout``, because z is the output of the
# dense layer. ``.venv/bin/scratchnet check 02`` checks it.
#
# With exercises 01 to 03 done, all the gradients of a network of dense layers are yours on the engine ``mine``. Lesson
# 4 trains such a network.

code(dense_backward, exercise="02")

# %%
# Do not trust it: measure
# ------------------------
# Do not trust a gradient before you have measured it. A gradient is a claim about slopes, and slopes can be measured:
# move one weight a little to each side, and see how the loss changes. Our loss here is ``sum(out * dout)``. Its slope
# for ``out`` is ``dout``, as assumed above.


def loss_at(w: np.ndarray) -> float:
    """The loss as a function of the weights alone."""
    return float((relu_forward(dense_forward(x, w, b)) * dout).sum())


def measured_slope(i: int, o: int, h: float = 1e-6) -> float:
    """The slope of the loss for w[i, o]: a central difference."""
    up, down = w.copy(), w.copy()
    up[i, o] += h
    down[i, o] -= h
    return (loss_at(up) - loss_at(down)) / (2 * h)


slopes = np.array([[measured_slope(i, o) for o in range(2)] for i in range(3)])
print("measured:\n", slopes.round(6), "\nbackward:\n", dw)
np.testing.assert_allclose(slopes, dw, atol=1e-6)

# %%
# How small is a little?
# ----------------------
# How far should the weight move? If the step h is too large, the curve bends within it. (By Taylor, the two sides
# cancel each other's h squared terms. What is left is h squared times a sixth of the third derivative.) If h is too
# small, the two losses differ only in their last digits, and rounding errors dominate. The best step lies in between.
# In float32 the error is mostly between 1e-4 and 1: a wrong gradient can hide in it. (The dip near h = 0.01 is luck:
# the two errors cancel there.) That is why ``sn.gradcheck`` takes float64 only.

rng = np.random.default_rng(0)
many, labels = rng.standard_normal((8, 6)), rng.integers(0, 4, 8)
weights = rng.standard_normal((6, 4))


def slope_error(h: float, dtype: type) -> float:
    """How far the measured slope of softmax cross-entropy for one weight is from the gradient: a relative error."""

    def loss(w00: float) -> float:
        moved = weights.astype(dtype)
        moved[0, 0] = dtype(w00)
        z = many.astype(dtype) @ moved
        z -= z.max(axis=1, keepdims=True)
        return dtype(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(8), labels]))

    _, dz = sn.softmax_cross_entropy(many @ weights, labels)
    truth = (many.T @ dz)[0, 0]
    middle = weights[0, 0]
    return abs((loss(middle + h) - loss(middle - h)) / dtype(2 * h) - truth) / abs(truth)


steps = np.logspace(-10, 0, 41)
errors = {dtype: [slope_error(h, dtype) for h in steps] for dtype in (np.float64, np.float32)}
drawn, axes = figure(width=5.5, height=3.6)
axes.loglog(steps, errors[np.float64], "-", color="black", label="float64")
axes.loglog(steps, errors[np.float32], "--", color="#d55e00", label="float32")
axes.set(xlabel="step h", ylabel="relative error of the slope", title="A measured slope is as good as its step")
axes.legend()
keep(drawn, "03_step_size")

usual = {dtype.__name__: float(np.median(values)) for dtype, values in errors.items()}
print("the median error over all these steps:", {name: f"{value:.0e}" for name, value in usual.items()})
assert usual["float64"] < 1e-6
assert usual["float32"] > 1e-4
assert np.mean([1e-4 < error <= 1 for error in errors[np.float32]]) > 0.8

# %%
# The library's checker measures the slope for every number of every array. Its ``dout`` is random: with a ``dout`` of
# ones, errors that cancel in a sum would go unnoticed. The first line says how far a gradient may be from the measured
# slope.

report = sn.gradcheck(sn.Network([sn.Dense(3, 2), sn.ReLU()]), x)
print(report)
assert report.passed

# %%
# The checker can also fail. Here is a layer whose ``backward`` forgets to transpose ``w``. The layer is square, so all
# shapes fit, but the measured slopes do not:


class WrongDense(sn.Dense):
    """A dense layer with an error in its backward."""

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        super().backward(dout)
        return dout @ self.w.value


wrong = sn.gradcheck(WrongDense(3, 3), rng.standard_normal((4, 3)))
print(wrong)
assert not wrong.passed

# %%
# Only ``x`` is marked, because the gradients for ``w`` and ``b`` are right. The checker names the wrong array, so you
# know where to look.
#
# Try it
# ------
# 1. On paper: what are ``dw`` and ``dx`` above if ``dout`` is ``[[0, 0], [0, 4]]``? (All zeros: the only path leads
#    through the ReLU whose slope is 0.)
# 2. Use the gradients of your exercises on a network: ``.venv/bin/python lessons/milestones/03_two_layers.py`` trains
#    two dense layers with a ReLU between them. Its first line says which gradients are yours, and which are the
#    library's.
#
# *Next:* ``04_why_a_relu.py``: what the ReLU is there for, and a network of two layers. *In the library:*
# ``scratchnet/layers/dense.py``, ``relu.py``, ``scratchnet/gradcheck.py``.
