"""
8. Autograd in fifty lines, and why this library does without
=============================================================

*After this lesson you can* let a program find the backward pass by itself, say in which order it has to go and what
happens if it does not, and weigh what that costs against writing each backward by hand.

*Part:* by hand. *Needs:* lessons 3 and 4; for the end, lesson 6. *Takes:* a few seconds to run, half an hour to read.

So far you have derived every backward pass on paper. Frameworks do it without you: they remember what was computed, and
go back over it. This is called *automatic differentiation*, or autograd. You build one in this lesson. Then you see why
the layers of this library have their backward written out all the same.
"""

# %%
# A number that remembers
# -----------------------
# Take an expression of five numbers. Two are given, a = 2 and b = 3, and three are computed:
#
# ::
#
#     e = a * b     = 6
#     f = e + a     = 8
#     L = e * f     = 48
#
# How does L change if a changes a little? Every step is a sum or a product of two numbers, whose slopes are simple. A
# sum has the slope 1 for both of its terms. A product has, for each factor, the other factor:
#
# ::
#
#     slope of e:  for a, b = 3       for b, a = 2
#     slope of f:  for e, 1           for a, 1
#     slope of L:  for e, f = 8       for f, e = 6
#
# These are all the derivatives that anyone has to know here. The rest is the chain rule (lesson 3): multiply the slopes
# along a path, and add up over all paths. Go from the end to the beginning, and write behind each number the slope of L
# for it:
#
# ::
#
#     L:  1
#     f:  6 * 1               =  6
#     e:  8 * 1  +  1 * 6     = 14      e was used twice: in L, and in f
#     a:  3 * 14 +  1 * 6     = 48      a was used twice: in e, and in f
#     b:  2 * 14              = 28
#
# All that a program needs for this is to keep, with each number, its *parents* (what it was computed from) and its
# slope for each of them. And it needs a list of all numbers, parents first: ``history`` makes it. It visits a number
# twice: first to put its parents on top of the stack ``waiting``, then, when they are done, to put it on the list.

import inspect
import math
import time
import tracemalloc

import numpy as np
from showing import code, figure, keep

import scratchnet as sn
from scratchnet.layers import (
    conv2d_backward,
    conv2d_forward,
    dense_backward,
    dense_forward,
    relu_backward,
    relu_forward,
)

sn.use_engine("numpy")


class Number:
    """A number that knows what it was computed from: its parents, and its slope for each of them."""

    __slots__ = ("grad", "parents", "slopes", "value")  # they take less memory than a dictionary

    def __init__(self, value: float, parents: tuple = (), slopes: tuple = ()) -> None:
        self.value, self.parents, self.slopes, self.grad = value, parents, slopes, 0.0

    def __add__(self, other: "Number") -> "Number":
        return Number(self.value + other.value, (self, other), (1.0, 1.0))

    def __sub__(self, other: "Number") -> "Number":
        return Number(self.value - other.value, (self, other), (1.0, -1.0))

    def __mul__(self, other: "Number") -> "Number":
        return Number(self.value * other.value, (self, other), (other.value, self.value))

    def exp(self) -> "Number":
        return Number(math.exp(self.value), (self,), (math.exp(self.value),))

    def log(self) -> "Number":
        return Number(math.log(self.value), (self,), (1 / self.value,))

    def relu(self) -> "Number":
        return Number(max(self.value, 0.0), (self,), (1.0 if self.value > 0 else 0.0,))

    def history(self) -> list["Number"]:
        """This number and all that it was computed from, each once, and parents first."""
        order, seen, waiting = [], set(), [(self, False)]
        while waiting:
            node, parents_are_in = waiting.pop()
            if parents_are_in:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                waiting.append((node, True))  # it comes back when its parents, on top of it, are done
                waiting.extend((parent, False) for parent in node.parents)
        return order

    def backward(self) -> None:
        """Find the slope of this number for every number in its history: their `grad`."""
        order = self.history()
        for node in order:
            node.grad = 0.0  # from the last time
        self.grad = 1.0
        for node in reversed(order):
            for parent, slope in zip(node.parents, node.slopes, strict=True):
                parent.grad += slope * node.grad


# %%
# That is all. It has fewer than fifty lines, and finds the numbers that we found by hand:

end, start_of_end = inspect.getsourcelines(Number.backward)
above = 5  # lines of the class stand above its first method
lines = start_of_end + len(end) - Number.__init__.__code__.co_firstlineno + above
print(f"class Number has {lines} lines")
assert lines <= 50

a, b = Number(2.0), Number(3.0)
e = a * b
f = e + a
L = e * f
L.backward()
for name, node in {"L": L, "f": f, "e": e, "a": a, "b": b}.items():
    print(f"{name} = {node.value:2g}, slope of L for it: {node.grad:2g}")
assert [node.value for node in (e, f, L)] == [6, 8, 48]
assert [node.grad for node in (L, f, e, a, b)] == [1, 6, 14, 48, 28]

# %%
# Measured, as always:


def expression(a: float, b: float) -> float:
    """The same with plain floats."""
    return (a * b) * (a * b + a)


small = 1e-5
assert abs((expression(2 + small, 3) - expression(2 - small, 3)) / (2 * small) - 48) < 1e-6
assert abs((expression(2, 3 + small) - expression(2, 3 - small)) / (2 * small) - 28) < 1e-6

# %%
# The graph
# ---------
# Here is the expression as a *computation graph*. Numbers are the nodes. An arrow leads from each parent to what was
# computed from it, with the slope beside it. Follow the arrows from left to right, and you have the forward pass. Go
# against them, multiply by the slopes and add where arrows meet, and you have the backward pass.

places = {"a": (0, 1), "b": (0, 0), "e": (1, 0), "f": (2, 1), "L": (3, 0)}
formulas = {"a": "a", "b": "b", "e": "e = a*b", "f": "f = e + a", "L": "L = e*f"}
nodes = {"a": a, "b": b, "e": e, "f": f, "L": L}
drawn, axes = figure(width=6.5, height=3.6)
for name, node in nodes.items():
    x, y = places[name]
    for parent, slope in zip(node.parents, node.slopes, strict=True):
        start = places[next(other for other in nodes if nodes[other] is parent)]
        axes.annotate("", (x, y), start, arrowprops={"arrowstyle": "-|>", "shrinkA": 38, "shrinkB": 38, "lw": 1.5})
        middle = (0.5 * (x + start[0]), 0.5 * (y + start[1]))
        axes.text(
            *middle, f"{slope:g}", ha="center", va="center", fontsize=13, bbox={"facecolor": "white", "linewidth": 0}
        )
    text = f"{formulas[name]}\nvalue {node.value:g}\ngrad {node.grad:g}"
    box = {"boxstyle": "round,pad=0.5", "facecolor": "0.9", "edgecolor": "black"}
    axes.text(x, y, text, ha="center", va="center", fontsize=12, bbox=box)
axes.set(xlim=(-0.35, 3.35), ylim=(-0.35, 1.35))
axes.axis("off")
keep(drawn, "08_graph")

# %%
# The order matters
# -----------------
# ``backward`` may pass on the gradient of a node only when it is complete: when *everything* that was computed from
# this node has added its part. So a node's turn comes after all that used it. Forward, each node comes after its
# parents. Such an order is called *topological*, and ``history`` finds it: a node is put on the list when its parents
# are on it. Backward takes the list from its end:

name_of = {node: name for name, node in nodes.items()}
print("forward:", " ".join(name_of[node] for node in L.history()))
print("backward:", " ".join(name_of[node] for node in reversed(L.history())))
position = {node: place for place, node in enumerate(L.history())}
assert all(position[parent] < position[node] for node in nodes.values() for parent in node.parents)


def pass_back(order: list[Number]) -> None:
    """The inner loop of `Number.backward`, in an order of one's own."""
    for node in order:
        node.grad = 0.0
    order[0].grad = 1.0
    for node in order:
        for parent, slope in zip(node.parents, node.slopes, strict=True):
            parent.grad += slope * node.grad


# %%
# Here is a wrong order, L e f a b. It looks natural: first L, then the two parents of L, then the rest. But e has its
# turn before f, which also used it:
#
# ::
#
#     L passes    8 to e and 6 to f
#     e passes    3 * 8 = 24 to a and 2 * 8 = 16 to b     too early: e has 8 of its 14
#     f passes    6 to e and 6 to a                       e now has 14, but nobody asks it again
#
#     a: 24 + 6 = 30, not 48             b: 16, not 28

pass_back([L, e, f, a, b])
print("in the wrong order: a", a.grad, " b", b.grad, " e", e.grad)
assert (a.grad, b.grad, e.grad) == (30, 16, 14)
pass_back([L, f, e, a, b])
assert (a.grad, b.grad) == (48, 28)

# %%
# No error is raised, all shapes fit, and even e has its right gradient in the end. Only the slopes for a and b are
# wrong.
#
# Add, do not overwrite
# ---------------------
# A number that was used twice gets two parts. ``y = x * x`` uses x twice, and both slopes are x. For x = 3 the gradient
# is 3 + 3 = 6, which is the 2x that you know. If ``backward`` had ``=`` in place of ``+=``, it would be 3. You know
# this mistake from overlapping patches and windows (lessons 6 and 7). It is the same one.

x = Number(3.0)
y = x * x
y.backward()
assert x.grad == 6
for parent, slope in zip(y.parents, y.slopes, strict=True):
    parent.grad = slope * y.grad  # the error
assert x.grad == 3

# %%
# A network of numbers
# --------------------
# Now a real loss: three examples of four numbers, a dense layer with five hidden units, ReLU, a dense layer with three
# scores, softmax and cross-entropy. Only the forward pass is written here. Nobody writes a backward.


def dense(x: list[Number], w: list[list[Number]], b: list[Number]) -> list[Number]:
    """A dense layer for one example: out[o] = b[o] + sum of x[i] * w[i][o]."""
    out = list(b)
    for i, row in enumerate(w):
        for o, weight in enumerate(row):
            out[o] = out[o] + x[i] * weight
    return out


def cross_entropy(scores: list[Number], label: int) -> Number:
    """The loss of one example, -log p[label] = log(sum of exp(z)) - z[label]. (lesson 2)"""
    total = Number(0.0)
    for score in scores:
        total = total + score.exp()
    return total.log() - scores[label]


def as_numbers(array: np.ndarray) -> list:
    """Each number of an array as a `Number`, in lists as deep as the array."""
    return [Number(float(v)) if np.ndim(v) == 0 else as_numbers(v) for v in array]


def gradients(numbers: list | Number) -> np.ndarray:
    """The gradients of such lists as an array."""
    return np.array([gradients(n) for n in numbers]) if isinstance(numbers, list) else numbers.grad


rng = np.random.default_rng(0)
x = rng.standard_normal((3, 4))
w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in ((4, 5), (5,), (5, 3), (3,)))
labels = np.array([2, 0, 1])

X, W1, B1, W2, B2 = map(as_numbers, (x, w1, b1, w2, b2))
loss = Number(0.0)
for example, label in zip(X, labels, strict=True):
    hidden = [z.relu() for z in dense(example, W1, B1)]
    loss = loss + cross_entropy(dense(hidden, W2, B2), label)
loss = loss * Number(1 / 3)  # the mean over the batch
loss.backward()
print(f"loss {loss.value:.6f}, computed from {len(loss.history())} numbers")

# %%
# The same with the library's backward functions, which you know from lessons 2 and 3:

z = dense_forward(x, w1, b1)
h = relu_forward(z)
by_library, dscores = sn.softmax_cross_entropy(dense_forward(h, w2, b2), labels)
dh, dw2, db2 = dense_backward(dscores, h, w2)
dx, dw1, db1 = dense_backward(relu_backward(dh, z), x, w1)

np.testing.assert_allclose(loss.value, by_library, atol=1e-12)
names = ("x", "w1", "b1", "w2", "b2")
for name, graph, library in zip(names, (X, W1, B1, W2, B2), (dx, dw1, db1, dw2, db2), strict=True):
    difference = np.abs(gradients(graph) - library).max()
    print(f"d{name}: the largest difference is {difference:.0e}")
    assert difference < 1e-12

# %%
# They agree to the last digits. So one could train every network of this course with ``Number``, and never derive a
# backward again. Why does the library not do it?
#
# What it costs
# -------------
# Count. A convolution of one digit with *one* filter of 5 x 5, without padding, has 24 x 24 places. Each place takes 25
# products and 25 sums, and each of them is a ``Number``:

train, _ = sn.data.load("sample")
image = train.images[:1].astype(np.float64)  # (1, 28, 28, 1)
kernel, bias = rng.standard_normal((5, 5, 1, 1)), rng.standard_normal(1)
dout = rng.standard_normal((1, 24, 24, 1))


def convolution(x: list[list[Number]], w: list[list[Number]], b: Number) -> list[list[Number]]:
    """A convolution of one image and one filter, stride 1, no padding: lesson 5's loops."""
    out = []
    for i in range(len(x) - len(w) + 1):
        out.append([])
        for j in range(len(x[0]) - len(w[0]) + 1):
            total = b
            for kh, row in enumerate(w):
                for kw, weight in enumerate(row):
                    total = total + x[i + kh][j + kw] * weight
            out[-1].append(total)
    return out


def by_graph() -> tuple[list, list, Number, Number]:
    """The convolution forward and backward, by `Number`: pixels, weights, bias and the loss, sum(out * dout)."""
    pixels, weights, one_bias = as_numbers(image[0, :, :, 0]), as_numbers(kernel[:, :, 0, 0]), Number(float(bias[0]))
    total = Number(0.0)
    for row, slopes in zip(convolution(pixels, weights, one_bias), dout[0, :, :, 0], strict=True):
        for out, slope in zip(row, slopes, strict=True):
            total = total + out * Number(float(slope))
    total.backward()
    return pixels, weights, one_bias, total


def by_the_library() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by the library's two functions: dx, dw and db."""
    conv2d_forward(image, kernel, bias, 1, 0)
    return conv2d_backward(dout, image, kernel, 1, 0)


pixels, weights, one_bias, total = by_graph()
dx, dw, db = by_the_library()
np.testing.assert_allclose(gradients(pixels), dx[0, :, :, 0], atol=1e-12)
np.testing.assert_allclose(gradients(weights), dw[:, :, 0, 0], atol=1e-12)
np.testing.assert_allclose(one_bias.grad, db[0], atol=1e-12)

count = len(total.history())
print(f"{count:,} numbers for one filter and one digit")
assert count == 576 * 25 * 2 + 784 + 25 + 1 + 3 * 576 + 1, "products and sums; pixels, weights, bias; the loss"


def seconds(function, repeats: int) -> float:
    """The median time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


graph_time, library_time = seconds(by_graph, 3), seconds(by_the_library, 50)
print(
    f"forward and backward: {1000 * graph_time:.0f} ms by the graph, {1000 * library_time:.2f} ms by the library, "
    f"{graph_time / library_time:,.0f} times"
)

# %%
# The library does the same multiplications, but in one matrix product, without a Python object for each of them.
#
# Then the memory. A graph can be thrown away only when the backward pass is done, so all of these numbers exist at the
# same time. The layer keeps its input, and that is all:

tracemalloc.start()
kept = by_graph()
graph_bytes, _ = tracemalloc.get_traced_memory()
tracemalloc.stop()
layer_bytes = image.nbytes + kernel.nbytes + bias.nbytes
each = graph_bytes / count
print(f"the graph: {graph_bytes / 1e6:.1f} MB, {each:.0f} bytes a number; the layer: {layer_bytes / 1e6:.3f} MB")
assert graph_bytes > 300 * layer_bytes

net = sn.models.standard_cnn()
inputs = net.output_shapes()[:-1]  # of each layer; the first is the image
multiply_adds = sum(layer.multiply_adds(shape) for layer, shape in zip(net.layers, inputs, strict=True))
print(
    f"a step of standard_cnn on 128 digits: {multiply_adds:,} multiply-adds a digit, "
    f"so {2 * 128 * multiply_adds / 1e9:.1f} billion numbers and {2 * 128 * multiply_adds * each / 1e9:,.0f} GB"
)
assert 2 * 128 * multiply_adds * each > 100e9

# %%
# So nobody trains a network of this size with a graph of single numbers.
#
# What frameworks do
# ------------------
# They keep a graph of *arrays*. A node is a whole operation: a convolution, a ReLU. The list of the operations of a
# forward pass is called a *tape*. A product of two numbers has a slope, but an operation on arrays needs a function
# instead: one that turns the gradient of its output into the gradients of its inputs. You know these functions. They
# are the backward functions of the library. So a tape of arrays takes a few lines more:


class Array(Number):
    """An array that remembers: its parents, and a function that turns its gradient into theirs."""

    def __init__(self, value: np.ndarray, parents: tuple = (), pull=None) -> None:
        super().__init__(value, parents)
        self.pull = pull

    def backward(self) -> None:
        """The same walk as that of a `Number`, with a function in place of the slopes."""
        order = self.history()
        for node in order:
            node.grad = np.zeros_like(node.value)
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            for parent, gradient in zip(node.parents, node.pull(node.grad) if node.parents else (), strict=True):
                parent.grad = parent.grad + gradient


def dense_layer(x: Array, w: Array, b: Array) -> Array:
    """A dense layer on the tape."""
    out = dense_forward(x.value, w.value, b.value)
    return Array(out, (x, w, b), lambda dout: dense_backward(dout, x.value, w.value))


def relu_layer(x: Array) -> Array:
    """ReLU on the tape."""
    return Array(relu_forward(x.value), (x,), lambda dout: (relu_backward(dout, x.value),))


def loss_of(scores: Array, labels: np.ndarray) -> Array:
    """Softmax cross-entropy on the tape."""
    loss, dscores = sn.softmax_cross_entropy(scores.value, labels)
    return Array(np.float64(loss), (scores,), lambda dout: (dout * dscores,))


leaves = [Array(value) for value in (x, w1, b1, w2, b2)]
A, V1, C1, V2, C2 = leaves
tape_loss = loss_of(dense_layer(relu_layer(dense_layer(A, V1, C1)), V2, C2), labels)
tape_loss.backward()
operations = [node for node in tape_loss.history() if node.parents]
for leaf, graph in zip(leaves, (X, W1, B1, W2, B2), strict=True):
    np.testing.assert_allclose(leaf.grad, gradients(graph), atol=1e-12)
computed = sum(1 for node in loss.history() if node.parents)
print(f"{len(operations)} operations on the tape, {computed} in the graph of numbers; the gradients agree")
assert len(operations) == 4
assert computed > 200

# %%
# PyTorch and TensorFlow work on this principle. Note what it does *not* save: someone has to write ``dense_backward``
# and ``conv2d_backward``. In a framework somebody else has done it, mostly in C++. Autograd calls backward functions in
# the right order. It does not invent them.
#
# Why by hand, then?
# ------------------
# In this library each layer has a ``backward``, and a network calls them from the last to the first. For a chain of
# layers this *is* the topological order, so no tape is needed:

code(sn.Network.backward)

# %%
# This way of writing has a price. Whoever writes a layer has to write its backward, and has to prove it:
# ``sn.gradcheck`` is there for that. What it buys:
#
# - **You can step through it.** Stop in ``Number.backward`` with a debugger. The same two lines run for every node, on
#   a ``parent`` and a ``slope`` without names. In ``conv2d_backward`` each line has a name from lesson 6, and says
#   which line of the forward pass it reverses.
# - **It keeps only what it needs.** ``conv2d_backward`` makes ``columns`` once more, instead of keeping a matrix that
#   is up to 25 times as large as the image. A tape keeps what the forward pass has made, unless told otherwise.
# - **It leaves out what nobody needs.** The first layer of a network gets ``need_dx=False``.
# - **It may take another way.** Softmax and cross-entropy together have a simple gradient (lesson 2). The graph goes
#   through ``exp`` and ``log`` one by one. For large scores, this fails:

big = [Number(1000.0), Number(0.0)]
try:
    cross_entropy(big, 0)
except OverflowError as error:
    print("by the graph:", error)
else:
    raise AssertionError("exp(1000) should be too large for a float")
safe, dsafe = sn.softmax_cross_entropy(np.array([[1000.0, 0.0]]), np.array([0]))
print("by the library: loss", safe, "gradient", dsafe + 0)
assert safe == 0

# %%
# When should you use autograd? When the computation changes from example to example, or when you try out a new loss
# every hour. When you want to *understand* a network, write its backward once by hand.
#
# Try it
# ------
# 1. Add ``tanh`` to ``Number``, with the slope ``1 - tanh(x)^2``, and division. Check both with measured slopes.
# 2. Let ``Number(2.0) * 3`` and ``3 * Number(2.0)`` work, with plain numbers on either side. (``__rmul__``)
# 3. ``cross_entropy`` fails for large scores. Mend it as the library does: subtract the largest score from all of them.
#    Does the gradient need the slope for that largest score? (No: what is subtracted cancels.)
# 4. Train the two layers of lesson 4 on ``corners``, with ``Number`` and no backward function at all.
# 5. On paper: for the five numbers of the first section, which other orders are topological? (One: a and b may change
#    places.)
#
# *Next:* ``09_the_plateau.py``, where networks become deep. *In the library:* ``scratchnet/network.py``.
