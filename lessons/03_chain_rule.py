"""
3. The chain rule by hand: dense and ReLU, backward
===================================================

*After this lesson you can* compute every gradient of a small network on paper, say for any weight which paths lead from
it to the loss, and check a backward pass by measuring slopes.

*Needs:* lesson 2. *Takes:* a few seconds to run, half an hour with pencil and paper.

Backprop is the chain rule and bookkeeping. Each layer answers one question: *if the loss has this slope for my outputs,
which slope has it for my inputs and for my weights?* It needs to know nothing about the rest of the network.
"""

# %%
# Forward, by hand
# ----------------
# Two examples with three numbers each, a dense layer with two outputs, and a ReLU. Take a sheet of paper and compute
# along.
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
# What comes from behind
# ----------------------
# The layers after these hand back ``dout``: for each number of ``out``, the slope of the loss. ``dout[1, 1] = 4`` says:
# if ``out[1, 1]`` grows by a little, the loss grows by four times that. (The name: ``dout`` is short for d loss / d
# out. Every gradient in this project is called by ``d`` and the name of its array, and has that array's shape.)

dout = np.array([[1.0, -1], [2, 4]])

# %%
# Through ReLU
# ------------
# Where ``z > 0``, ``out`` moves as ``z`` does: slope 1. Where ``z < 0`` it does not move: slope 0. The chain rule
# multiplies:
#
# ::
#
#     dz = dout * (z > 0)  =  [1*1  -1*1]  =  [1 -1]
#                             [2*1   4*0]     [2  0]
#
# The 4 is gone: ``z[1, 1]`` was -3, and pushing it a little makes no difference to anything. (At exactly 0 there is no
# single slope; by agreement it is 0.)

dz = relu_backward(dout, z)
np.testing.assert_array_equal(dz, [[1, -1], [2, 0]])
code(relu_backward)

# %%
# Through the dense layer: follow the paths
# -----------------------------------------
# A number that reaches the loss on several paths gets the *sum* of what they bring. So for each number ask: where was
# it used?
#
# **b[o]** was added in every example. Its paths are the column ``dz[:, o]``, each with slope 1: ``db = [1 + 2, -1 + 0]
# = [3, -1]``.
#
# **w[i, o]** was multiplied by ``x[n, i]`` in every example ``n``, and landed in ``z[n, o]``:
#
# .. math:: dw_{io} = \sum_n x_{ni} \, dz_{no}
#
# ``dw[1, 0]``, say, is ``x[0, 1] * dz[0, 0] + x[1, 1] * dz[1, 0] = 0*1 + 3*2 = 6``. Over all i and o it is the matrix
# product ``x.T @ dz``.
#
# **x[n, i]** was multiplied by ``w[i, o]`` for every output ``o``:
#
# .. math:: dx_{ni} = \sum_o dz_{no} \, w_{io}
#
# ``dx[0, 0] = 1*1 + -1*-1 = 2``. Over all n and i it is ``dz @ w.T``.
#
# (The function below calls dz ``dout``: for the dense layer, z is its output.)

dx, dw, db = dense_backward(dz, x, w)
np.testing.assert_array_equal(db, [3, -1])
np.testing.assert_array_equal(dw, [[-1, -1], [6, 0], [4, -2]])
np.testing.assert_array_equal(dx, [[2, 4, -1], [2, 4, 0]])
code(dense_backward)

# %%
# Everything on one sheet: the values forward in the upper row, the gradients backward in the lower, each under the
# array that it belongs to. Shapes match, column by column; that alone catches half of all mistakes.

drawn, grid = figure(2, 5, width=9, height=3.4)
for axes, (name, array) in zip(grid[0], {"x": x, "w": w, "b": b[None], "z": z, "out": out}.items(), strict=True):
    numbers(axes, array, name)
for axes, (name, array) in zip(
    grid[1], {"dx": dx, "dw": dw, "db": db[None], "dz": dz, "dout": dout}.items(), strict=True
):
    numbers(axes, array, name, shade=0.6 * np.ones_like(array))
keep(drawn, "03_by_hand")

# %%
# Do not trust it: measure
# ------------------------
# A gradient is a claim about slopes, and slopes can be measured. Move one weight a little to each side and see how the
# loss changes. For a loss to measure, take ``sum(out * dout)``: its slope for ``out`` is ``dout``, as assumed above.


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
# Too large a step, and the curve bends under it: the error shrinks as h squared. Too small, and the two losses differ
# only in their last digits, and rounding decides. In between lies a valley, and in float32 it is so shallow that a
# wrong gradient may hide in it. That is why ``sn.gradcheck`` takes float64 only.

rng = np.random.default_rng(0)
many, labels = rng.standard_normal((8, 6)), rng.integers(0, 4, 8)
weights = rng.standard_normal((6, 4))


def slope_error(h: float, dtype: type) -> float:
    """How far the measured slope of softmax cross-entropy for one weight is from the gradient, relatively."""

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
drawn, axes = figure(width=7, height=3.8)
axes.loglog(steps, errors[np.float64], "-", color="black", label="float64")
axes.loglog(steps, errors[np.float32], "--", color="#d55e00", label="float32")
axes.set(xlabel="step h", ylabel="relative error of the slope", title="A measured slope is as good as its step")
axes.legend()
keep(drawn, "03_step_size")

usual = {dtype.__name__: float(np.median(values)) for dtype, values in errors.items()}
print("the error at a step of middling luck:", {name: f"{value:.0e}" for name, value in usual.items()})
assert usual["float64"] < 1e-6
assert usual["float32"] > 1e-4

# %%
# The library's checker does this for every number of every array, with a random ``dout`` (with a ``dout`` of ones,
# errors that cancel in a sum would pass):

report = sn.gradcheck(sn.Network([sn.Dense(3, 2), sn.ReLU()]), x)
print(report)
assert report.passed

# %%
# And it can fail. Here is a layer whose ``backward`` forgets that ``w`` has to be transposed; a square layer hides this
# from the shapes, but not from the measurement:


class WrongDense(sn.Dense):
    """A dense layer with an error in its backward."""

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        super().backward(dout)
        return dout @ self.w.value


wrong = sn.gradcheck(WrongDense(3, 3), rng.standard_normal((4, 3)))
print(wrong)
assert not wrong.passed

# %%
# Only ``x`` is marked: the gradients for ``w`` and ``b`` are right. A checker that names the array saves an evening.
#
# Exercises
# ---------
# 1. ``lessons/exercises/02_dense_backward.py``, and ``scratchnet check 02``.
# 2. ``lessons/exercises/03_relu_backward.py``, and ``scratchnet check 03``.
# 3. On paper: what are ``dw`` and ``dx`` above if ``dout`` is ``[[0, 0], [0, 4]]``? (All zeros: the only path leads
#    through the ReLU that is shut.)
#
# *Next:* ``04_convolution.py``. *In the library:* ``scratchnet/layers/dense.py``, ``relu.py``,
# ``scratchnet/gradcheck.py``.
