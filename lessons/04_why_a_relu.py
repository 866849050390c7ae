"""
4. Why a second layer needs a ReLU
==================================

*After this lesson you can* say what a second layer adds and when it adds nothing, draw what each hidden unit does to
the plane, train a network of two layers with nothing but the functions of lesson 3, and recognise slopes that vanish
and units that are dead.

*Part:* by hand. *Needs:* lesson 3. *Takes:* about a quarter of a minute to run, half an hour to read.

Lesson 2 had one dense layer. Lesson 3 put a ReLU behind it, and did not say why. Here two layers learn something that
one layer cannot. Without the ReLU between them, they cannot do it either.
"""

# %%
# Four points that no line separates
# ----------------------------------
# Here are four points in the plane, in two classes. A point (x, y) belongs to class 1 if exactly one of its two numbers
# is 1:
#
# ::
#
#     y
#     1   1 . . . 0
#         .       .           point       (0, 0)  (0, 1)  (1, 0)  (1, 1)
#         .       .           class          0       1       1       0
#     0   0 . . . 1
#         0       1   x
#
# A single unit computes ``s = b + u*x + v*y``, and says class 1 if ``s > 0``. Can it be right for all four? Add up its
# scores for the two points of each class:
#
# ::
#
#     class 0:  s(0, 0) + s(1, 1)  =   b      + (b + u + v)  =  2b + u + v
#     class 1:  s(0, 1) + s(1, 0)  =  (b + v) + (b + u)      =  2b + u + v
#
# The two sums are equal, whatever b, u and v are. So it cannot be that both scores of class 0 are 0 or less, and
# both scores of class 1 are above 0. The places where s is 0 form a line, and no line separates these two classes.

import numpy as np
from showing import figure, keep

import scratchnet as sn
from scratchnet.layers import dense_backward, dense_forward, relu_backward, relu_forward

sn.use_engine("numpy")

corners = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])  # (N, in) = (4, 2)
classes = np.array([0, 1, 1, 0])
for seed in range(100):
    b, u, v = np.random.default_rng(seed).standard_normal(3)
    s = dense_forward(corners, np.array([[u], [v]]), np.array([b]))[:, 0]
    np.testing.assert_allclose(s[classes == 0].sum(), s[classes == 1].sum())

# %%
# Two layers are one
# ------------------
# Now put a second dense layer behind the first. By hand, with a point of two numbers and two matrices of 2 x 2:
#
# ::
#
#     x = [1 2]     W1 = [1 2]     x @ W1 = [1*1 + 2*0   1*2 + 2*1]  =  [1 4]
#                        [0 1]
#
#                   W2 = [1 0]     [1 4] @ W2 = [1*1 + 4*3   1*0 + 4*1]  =  [13 4]
#                        [3 1]
#
#     W1 @ W2 = [1*1 + 2*3   1*0 + 2*1]  =  [7 2]     x @ [7 2] = [1*7 + 2*3   1*2 + 2*1]  =  [13 4]
#               [0*1 + 1*3   0*0 + 1*1]     [3 1]         [3 1]
#
# Both ways give [13 4], because ``(x @ W1) @ W2`` and ``x @ (W1 @ W2)`` are the same numbers. So the two layers are one
# layer, whose matrix is the product. The biases change nothing about it:
#
# .. math:: (x W_1 + b_1)\, W_2 + b_2 \;=\; x\,(W_1 W_2) + (b_1 W_2 + b_2)
#
# A hundred layers of this kind are still one layer. What one layer cannot do, a hundred cannot.

x = np.array([[1.0, 2]])
W1, W2 = np.array([[1.0, 2], [0, 1]]), np.array([[1.0, 0], [3, 1]])
np.testing.assert_array_equal(x @ W1 @ W2, [[13, 4]])
np.testing.assert_array_equal(W1 @ W2, [[7, 2], [3, 1]])
np.testing.assert_array_equal(x @ (W1 @ W2), [[13, 4]])

# %%
# A ReLU between them
# -------------------
# With a ReLU after the first layer, two hidden units are enough for the four points. Both look at the sum x + y. The
# second one wakes up only when the sum is above 1, and then takes off twice what the first one has put on:
#
# ::
#
#     z1 = x + y            point      z1   z2     after ReLU     score = h1 - 2 * h2    class
#     z2 = x + y - 1        (0, 0)      0   -1        0    0              0                0
#                           (0, 1)      1    0        1    0              1                1
#                           (1, 0)      1    0        1    0              1                1
#                           (1, 1)      2    1        2    1              0                0

w1, b1 = np.array([[1.0, 1], [1, 1]]), np.array([0.0, -1])  # (in, hidden) = (2, 2)
w2, b2 = np.array([[1.0], [-2]]), np.array([0.0])  # (hidden, out) = (2, 1)
h = relu_forward(dense_forward(corners, w1, b1))
score = dense_forward(h, w2, b2)[:, 0]
np.testing.assert_array_equal(h, [[0, 0], [1, 0], [1, 0], [2, 1]])
np.testing.assert_array_equal(score, classes)

# %%
# Let it learn
# ------------
# These weights were made by hand. Now let gradient descent find some. The data is a disc of one class, inside a ring of
# the other, with 200 points each. The network has two dense layers: from 2 numbers to 4 hidden units, and from those to
# 2 scores. Everything in it you have written yourself: softmax and its gradient (exercise 01), the dense layer's
# backward (exercise 02) and the backward of ReLU (exercise 03).

rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 400)
# The square root spreads the points evenly over the disc: its area grows as the radius squared.
radius = np.concatenate([0.8 * np.sqrt(rng.uniform(0, 1, 200)), rng.uniform(1.2, 1.8, 200)])
points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)  # (N, 2)
labels = np.repeat([0, 1], 200)  # 0: disc, 1: ring

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # w1 (in, hidden), b1, w2 (hidden, out), b2


def new_weights(inputs: int, hidden: int, outputs: int, seed: int, dtype: type = np.float64) -> Weights:
    """Random weights for two layers; the biases are 0. (Lesson 9 says why the variance is 2 / inputs.)"""
    rng = np.random.default_rng(seed)
    w1 = rng.standard_normal((inputs, hidden)) * np.sqrt(2 / inputs)
    w2 = rng.standard_normal((hidden, outputs)) * np.sqrt(2 / hidden)
    return w1.astype(dtype), np.zeros(hidden, dtype), w2.astype(dtype), np.zeros(outputs, dtype)


def forward(x: np.ndarray, weights: Weights, relu: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hidden layer's sums z (N, hidden), its outputs h (N, hidden), and the scores (N, out)."""
    w1, b1, w2, b2 = weights
    z = dense_forward(x, w1, b1)
    h = relu_forward(z) if relu else z
    return z, h, dense_forward(h, w2, b2)


def step(x: np.ndarray, labels: np.ndarray, weights: Weights, relu: bool, lr: float) -> float:
    """One step of gradient descent, which changes the weights; returns the loss before it."""
    w1, b1, w2, b2 = weights
    z, h, scores = forward(x, weights, relu)
    loss, dscores = sn.softmax_cross_entropy(scores, labels)
    dh, dw2, db2 = dense_backward(dscores, h, w2)  # reverses scores = dense(h)
    dz = relu_backward(dh, z) if relu else dh  # reverses h = relu(z)
    _, dw1, db1 = dense_backward(dz, x, w1, need_dx=False)  # reverses z = dense(x); x itself needs no slope
    for value, gradient in ((w1, dw1), (b1, db1), (w2, dw2), (b2, db2)):
        value -= lr * gradient
    return loss


# %%
# Read ``step`` line by line: the backward half mirrors the forward half. This is a whole network, and there is nothing
# in it that you have not computed on paper. As always, measure before you trust: here is the slope of the loss for one
# weight of the first layer, whose gradient has passed through everything else.

trial = new_weights(2, 4, 2, seed=0)
i, o, small = 1, 2, 1e-6
losses_near = []
for moved in (small, -small):
    w1, *others = trial
    w1 = w1.copy()
    w1[i, o] += moved
    losses_near.append(sn.softmax_cross_entropy(forward(points, (w1, *others), relu=True)[2], labels)[0])
measured = (losses_near[0] - losses_near[1]) / (2 * small)
before = trial[0].copy()
step(points, labels, trial, relu=True, lr=1.0)  # with lr 1, the weights change by exactly the gradient
print(f"slope of the loss for w1[{i}, {o}]: measured {measured:.6f}, by backward {(before - trial[0])[i, o]:.6f}")
np.testing.assert_allclose((before - trial[0])[i, o], measured, rtol=1e-4)

# %%
# Train it twice from the same weights, without and with the ReLU:

trained = {}
for relu in (False, True):
    trained[relu] = new_weights(2, 4, 2, seed=0)
    for _ in range(1000):
        loss = step(points, labels, trained[relu], relu, lr=0.5)
    right = (forward(points, trained[relu], relu)[2].argmax(axis=1) == labels).mean()
    print(f"{'with' if relu else 'without'} a ReLU: loss {loss:.3f}, {right:.1%} of the points are right")
    if relu:
        assert right > 0.99
    else:
        assert right < 0.65
        assert abs(loss - np.log(2)) < 0.01, "it knows nothing: 0.693 is -log(1/2)"

# %%
# Without the ReLU, the network gives up: it answers about 1/2 for every point. With the ReLU, it closes a fence around
# the disc.

probabilities = sn.softmax(forward(points, trained[False], relu=False)[2])
print(f"without a ReLU, all probabilities lie between {probabilities.min():.2f} and {probabilities.max():.2f}")
assert np.abs(probabilities - 0.5).max() < 0.1

across = np.linspace(-2, 2, 201)
plane = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)  # (201 * 201, 2)


def draw_points(axes) -> None:
    """The 400 points: light circles in the disc, dark crosses in the ring."""
    axes.scatter(*points[labels == 0].T, s=14, facecolor="white", edgecolor="black", linewidth=0.8)
    axes.scatter(*points[labels == 1].T, s=16, marker="x", color="#0072b2", linewidth=1)
    axes.set(xticks=[], yticks=[], xlim=(-2, 2), ylim=(-2, 2), aspect="equal")


def margin(weights: Weights, relu: bool) -> np.ndarray:
    """The score of the ring minus that of the disc, at each place of the plane (201, 201): the boundary is at 0."""
    scores = forward(plane, weights, relu)[2]
    return (scores[:, 1] - scores[:, 0]).reshape(201, 201)


drawn, grid = figure(1, 2, width=7, height=4)
for axes, relu in zip(grid, (False, True), strict=True):
    axes.contourf(across, across, margin(trained[relu], relu), [-1e9, 0, 1e9], colors=["#f5c9a8", "white"])
    axes.contour(across, across, margin(trained[relu], relu), [0], colors="black", linewidths=2)
    draw_points(axes)
    axes.set_title(f"two layers, {'with' if relu else 'no'} ReLU", fontsize=12)
keep(drawn, "04_boundaries")

# %%
# Shaded is where the network answers "disc". On the left, the two trained layers are one layer. Its matrix is their
# product, and its boundary is a straight line:

w1, b1, w2, b2 = trained[False]
np.testing.assert_allclose(
    forward(points, trained[False], relu=False)[2], dense_forward(points, w1 @ w2, b1 @ w2 + b2), atol=1e-12
)

# %%
# Each hidden unit is a fold
# --------------------------
# Where does the bent boundary come from? Think of a hidden unit as a sheet of paper over the plane, whose height at
# each point is the unit's output. ``z`` is a slope: a flat sheet, tilted. The ReLU lays flat what would lie below 0. So
# the sheet has one straight fold, the line where ``z = 0``. On one side of it the unit is off, and its output is 0. On
# the other side the unit is on, and the sheet rises.
#
# The second layer multiplies the four sheets by its weights and adds them up. The sum is a sheet with four folds, and
# flat between them. The boundary is where this sheet has the height 0. It can bend only where it crosses a fold.

w1, b1, w2, b2 = trained[True]
z, h, _ = forward(plane, trained[True], relu=True)

drawn, (one, all_four) = figure(1, 2, width=7, height=4)
unit = 0
one.contourf(across, across, h[:, unit].reshape(201, 201), 8, cmap="Greys", vmax=2 * h[:, unit].max())
one.contour(across, across, z[:, unit].reshape(201, 201), [0], colors="#d55e00", linewidths=3)
one.set(xticks=[], yticks=[], aspect="equal")
one.set_title("one unit and its fold", fontsize=12)
one.text(0, 0.6, "off: 0", ha="center", fontsize=13)
one.text(0, -1.1, "on: darker is more", ha="center", fontsize=13)
draw_points(all_four)
for unit in range(4):
    all_four.contour(
        across, across, z[:, unit].reshape(201, 201), [0], colors="#d55e00", linewidths=1.8, linestyles="--"
    )
all_four.contour(across, across, margin(trained[True], True), [0], colors="black", linewidths=2.5)
all_four.set_title("four folds (dashed), one boundary", fontsize=12)
keep(drawn, "04_folds")

# %%
# Between the folds, the network is again a single matrix. Take all points of the plane where the same units are on. For
# those, a unit that is off can be deleted, and the ReLU does nothing to the others. So the network is the product of
# two matrices once more, without the columns of the units that are off. Each piece of the plane has another matrix:

on = z > 0  # (points of the plane, 4)
pieces = np.unique(on, axis=0)
scores = forward(plane, trained[True], relu=True)[2]
for pattern in pieces:
    here = (on == pattern).all(axis=1)
    one_layer = dense_forward(plane[here], w1[:, pattern] @ w2[pattern], b1[pattern] @ w2[pattern] + b2)
    np.testing.assert_allclose(scores[here], one_layer, atol=1e-10)
print(f"4 folds cut the plane into {len(pieces)} pieces, with a matrix each")
assert 4 < len(pieces) <= 11, "n lines cut a plane into at most 1 + n(n + 1)/2 pieces"

# %%
# More hidden units make more folds, and a boundary of more pieces. With enough of them, it can follow any shape. This
# is what a second layer adds: not the layer does it, but the ReLU before it.
#
# Any other bend would do as well. The networks of 1986 used the *sigmoid*, ``1 / (1 + exp(-z))``, which bends smoothly
# from 0 to 1. It has a weakness that shows when there are many layers.
#
# Slopes that vanish
# ------------------
# The sigmoid's slope is ``h * (1 - h)``, where h is its output. It is largest in the middle: for z = 0, h is 1/2, and
# the slope is 1/4. The chain rule multiplies the slopes on the way. So in a chain of five sigmoids, one number each,
# *at most* this is left of a slope of 1 at the end (with weights of 1):
#
# ::
#
#     before layer      5       4        3         2          1
#                      1/4    1/16     1/64     1/256     1/1024
#
# Here is such a chain that starts with z = 0:


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), entry by entry."""
    return 1 / (1 + np.exp(-z))


chain = [np.float64(0.0)]
for _ in range(5):
    chain.append(sigmoid(chain[-1]))
print("outputs:", np.round(chain[1:], 3))
slope, slopes = 1.0, {}
for layer, h in reversed(list(enumerate(chain[1:], start=1))):
    slope *= h * (1 - h)
    slopes[layer] = slope
    print(f"slope before layer {layer}: {slope:.5f}")
assert slope < 1 / 1024
assert 325 < slopes[5] / slopes[1] < 335
up, down = 1e-4, -1e-4
for _ in range(5):
    up, down = sigmoid(up), sigmoid(down)
np.testing.assert_allclose((up - down) / 2e-4, slope, rtol=1e-6)

# %%
# The slope before layer 1 is some 330 times smaller than that before layer 5. A ReLU's slope is 1 where the unit is on,
# so a path through ten of them loses nothing. Where a unit is off, the path is cut, but the others carry the whole
# slope. Compare the two in a network of ten dense layers, each with 50 units, and the same weights:


def gradient_lengths(bend: str, layers: int = 10, width: int = 50) -> np.ndarray:
    """The length of dw in each layer, from the first to the last, for 200 random examples and a random dout."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, width))
    ws = [rng.standard_normal((width, width)) * np.sqrt(2 / width) for _ in range(layers)]
    inputs, sums = [], []
    for w in ws:
        inputs.append(x)
        sums.append(dense_forward(x, w, None))
        x = relu_forward(sums[-1]) if bend == "ReLU" else sigmoid(sums[-1])
    dout = rng.standard_normal(x.shape)
    lengths = []
    for w, x, z in zip(reversed(ws), reversed(inputs), reversed(sums), strict=True):
        dz = relu_backward(dout, z) if bend == "ReLU" else dout * sigmoid(z) * (1 - sigmoid(z))
        dout, dw, _ = dense_backward(dz, x, w)
        lengths.append(np.linalg.norm(dw))
    return np.array(lengths[::-1])


drawn, axes = figure(width=5.5, height=3.4)
lengths = {bend: gradient_lengths(bend) for bend in ("ReLU", "sigmoid")}
for (bend, values), style, colour in zip(lengths.items(), ("s-", "o--"), ("black", "#d55e00"), strict=True):
    axes.semilogy(range(1, 11), values, style, color=colour, label=bend)
    print(f"{bend}: the gradient of layer 1 is {values[0] / values[-1]:.1g} times as long as that of layer 10")
axes.set(xlabel="layer", ylabel="length of dw", xticks=range(1, 11), title="What is left of the gradient")
axes.legend()
keep(drawn, "04_vanishing")
assert lengths["sigmoid"][0] / lengths["sigmoid"][-1] < 1e-3
assert 0.1 < lengths["ReLU"][0] / lengths["ReLU"][-1] < 10

# %%
# Units that are dead
# -------------------
# ReLU has a weakness of its own. If a unit is off for *every* example, its slope is 0 for every example. Then the
# gradient of its weights and of its bias is 0, and they never change again: the unit is dead. In the plane, its fold
# lies where all the points are on the flat side.
#
# A large step can do this. Take the two examples and the first unit of lesson 3. Its weights were (1, 2, 0) and its
# bias 0, its outputs 1 and 5, and its gradients ``dw = (-1, 6, 4)`` and ``db = 3``.
#
# ::
#
#     lr 0.05:   w = (1, 2, 0) - 0.05 * (-1, 6, 4) = (1.05, 1.7, -0.2)     b = 0 - 0.05 * 3 = -0.15
#                z = 1*1.05 + 0*1.7 - 2*0.2 - 0.15  =   0.5     and    -1.05 + 3*1.7 - 0.2 - 0.15  =   3.7
#
#     lr 1:      w = (1, 2, 0) - (-1, 6, 4) = (2, -4, -4)                  b = 0 - 3 = -3
#                z = 1*2 - 0*4 - 2*4 - 3            =  -9       and    -2 - 3*4 - 4 - 3            = -21
#
# The gradient asked for smaller outputs. The small step makes them smaller. The large one goes far past 0 for both
# examples, and there is no gradient that could bring it back.

x = np.array([[1.0, 0, 2], [-1, 3, 1]])
w, b, dout = np.array([[1.0], [2], [0]]), np.array([0.0]), np.array([[1.0], [2]])
z = dense_forward(x, w, b)
_, dw, db = dense_backward(relu_backward(dout, z), x, w)
np.testing.assert_array_equal(dw[:, 0], [-1, 6, 4])
for lr, by_hand in ((0.05, [0.5, 3.7]), (1, [-9, -21])):
    z = dense_forward(x, w - lr * dw, b - lr * db)
    np.testing.assert_allclose(z[:, 0], by_hand)
dx, dw, db = dense_backward(relu_backward(dout, z), x, w)
for gradient in (dw, db, dx):
    assert not gradient.any(), "it learns nothing more, and passes nothing on"

# %%
# A bad bias does the same, without any step. Give one of four hidden units the bias -10, and train. The three others
# learn, and this one stays where it was:

weights = new_weights(2, 4, 2, seed=0)
weights[1][2] = -10
w_before = weights[0].copy()
for _ in range(100):
    step(points, labels, weights, relu=True, lr=0.5)
print("b1 after 100 steps:", weights[1].round(2))
assert weights[1][2] == -10
np.testing.assert_array_equal(weights[0][:, 2], w_before[:, 2])
assert (weights[0] != w_before)[:, [0, 1, 3]].all()

# %%
# The same on digits
# ------------------
# Now the digits: 784 pixels, 64 hidden units, ten classes. The functions are those from above. The single layer of
# lesson 2 reads about nine digits of ten.

train, test = sn.data.load("sample")
flat_train, flat_test = train.images.reshape(-1, 784), test.images.reshape(-1, 784)


def learn(relu: bool, lr: float, epochs: int) -> Weights:
    """Two layers, trained on the digits in batches of 64."""
    weights = new_weights(784, 64, 10, seed=0, dtype=np.float32)
    for epoch in range(epochs):
        for images, labels in train.batches(64, np.random.default_rng(epoch)):
            step(images.reshape(len(images), 784), labels, weights, relu, lr)
    return weights


def learn_one_layer(lr: float, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Lesson 2: a single layer, trained in the same way."""
    w, b = np.zeros((784, 10), np.float32), np.zeros(10, np.float32)
    for epoch in range(epochs):
        for images, labels in train.batches(64, np.random.default_rng(epoch)):
            x = images.reshape(len(images), 784)
            _, dscores = sn.softmax_cross_entropy(dense_forward(x, w, b), labels)
            _, dw, db = dense_backward(dscores, x, w, need_dx=False)
            w -= lr * dw
            b -= lr * db
    return w, b


def accuracy(scores: np.ndarray) -> float:
    """The share of the held-out digits for which the highest score is the right one."""
    return float((scores.argmax(axis=1) == test.labels).mean())


straight, bent = learn(relu=False, lr=0.3, epochs=6), learn(relu=True, lr=0.3, epochs=6)
results = {
    "one layer": accuracy(dense_forward(flat_test, *learn_one_layer(lr=0.3, epochs=6))),
    "two layers, no ReLU": accuracy(forward(flat_test, straight, relu=False)[2]),
    "two layers, with ReLU": accuracy(forward(flat_test, bent, relu=True)[2]),
}
for name, share in results.items():
    print(f"{name:22} {share:.1%} of the held-out digits are right")
one, without, with_relu = results.values()
assert 0.87 < one < 0.92
assert abs(without - one) < 0.025, "the second layer alone adds nothing"
assert with_relu > max(one, without) + 0.02

# %%
# The 50,890 weights of two layers without a ReLU do what 7,850 can do. Here are those 7,850, multiplied out:

w1, b1, w2, b2 = straight
product, bias = w1 @ w2, b1 @ w2 + b2
print("weights:", sum(p.size for p in straight), "in two layers,", product.size + bias.size, "in their product")
np.testing.assert_allclose(dense_forward(flat_test, product, bias), forward(flat_test, straight, False)[2], atol=1e-3)
assert (sum(p.size for p in straight), product.size + bias.size) == (50890, 7850)

# %%
# With the ReLU, some three digits more of a hundred are right: more than a fifth of the mistakes are gone. Each hidden
# unit looks for something, and the second layer works with what was found. Convolutions (lesson 5) are better at
# looking, and lesson 10 gets to 97 or 98 % with them.

assert 1 - with_relu < 0.8 * (1 - max(one, without))

# %%
# Count the dead
# --------------
# How large may the learning rate be? For each rate, train for two epochs, and count the hidden units that are off for
# all of the 8,000 training digits:

rates = (0.1, 0.3, 1.0, 2.0)
dead, share = [], []
for lr in rates:
    weights = learn(relu=True, lr=lr, epochs=2)
    z, _, scores = forward(flat_train, weights, relu=True)
    off = ~(z > 0).any(axis=0)  # (64,)
    dead.append(int(off.sum()))
    share.append(accuracy(forward(flat_test, weights, relu=True)[2]))
    print(f"lr {lr:g}: {dead[-1]:2} of 64 units are dead; {share[-1]:.1%} of the held-out digits are right")
    _, dscores = sn.softmax_cross_entropy(scores, train.labels)
    dz = relu_backward(dense_backward(dscores, relu_forward(z), weights[2])[0], z)
    _, dw1, db1 = dense_backward(dz, flat_train, weights[0], need_dx=False)
    assert not dw1[:, off].any(), "for a dead unit, every gradient is exactly 0"
    assert not db1[off].any()

drawn, (left, right) = figure(1, 2, width=5.5, height=3.2)
for axes, values, title in ((left, dead, "dead units, of 64"), (right, [100 * s for s in share], "digits right (%)")):
    bars = axes.bar(range(len(rates)), values, color="0.7", edgecolor="black")
    axes.bar_label(bars, fmt="%.0f", fontsize=11)
    axes.set_title(title, fontsize=12)
    axes.set(xlabel="learning rate")
    axes.set_xticks(range(len(rates)), [f"{lr:g}" for lr in rates])
    axes.margins(y=0.15)
keep(drawn, "04_dead")
assert max(dead[:2]) <= 4
assert min(dead[2:]) > 16
assert share[-1] < min(share[:2]) - 0.1

# %%
# A rate that is too large does not always show as a loss that explodes. It may kill units silently: with the rate 1,
# the network goes on with what is left of it. When a network learns badly, count its dead units. What helps: a smaller
# learning rate, biases that start at 0, and initial weights of the right size (lesson 9). *Leaky* ReLU gives a unit
# that is off a small slope, 0.01 instead of 0, so that it can come back. You can write it as a layer of your own in
# exercise 13.
#
# Try it
# ------
# 1. On paper: add a third hidden unit to the network for the four points, ``z3 = x - y`` with the weight 0 behind it.
#    How many folds are there now, and does the boundary change? (Three. No: its sheet is multiplied by 0.)
# 2. Train two hidden units on ``corners`` and ``classes``, 3,000 steps with the rate 0.5, from the seeds 0 to 19. How
#    often do they find a solution? What do the failures have in common? And ten hidden units? (Two find it only twice.
#    Of the 18 failures, 15 have a dead unit. Ten units always find it: a few may die without harm.)
# 3. Let **your own** answers train this network. On the engine ``mine``, a network computes with your right answers
#    (``lessons/README.md``, "Your own engine"). With exercises 01 to 03 done, three milestones are open to you: one
#    neuron, ``lessons/milestones/01_perceptron.py``, ten neurons, ``lessons/milestones/02_softmax.py``, and the network
#    of this lesson, ``lessons/milestones/03_two_layers.py``. Run each with ``.venv/bin/python``. The first line says
#    which functions are yours. (The third milestone adds momentum to its steps. The library does this for you until
#    you write exercise 10, in lesson 9.)
#
# *Next:* ``05_convolution.py``. *In the library:* ``scratchnet/layers/dense.py``, ``relu.py``.
