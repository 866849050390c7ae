"""
11. What the network sees
=========================

*After this lesson you can* draw the filters of a trained network and what they respond to, and use backprop for another
question: which pixels decided the answer?

*Part:* networks. *Needs:* lessons 6 and 10. *Takes:* about twenty seconds to run, fifteen minutes to read.

So far we have used the gradient for the weights. Backprop also gives the gradient for the pixels, and you can look at
it.
"""

# %%
# A trained network
# -----------------
# Two passes over the sample train the network well enough for this lesson.

import numpy as np
from showing import code, figure, keep

import scratchnet as sn

sn.use_engine("numba")
train, test = sn.data.load("sample")
net = sn.models.standard_cnn(seed=0)
untrained = net.layers[0].w.value.copy()
steps = 2 * 125
sn.fit(
    net,
    train,
    optimizer=sn.Adam(net.parameters()),
    epochs=2,
    batch_size=64,
    schedule=sn.one_cycle(0.003, steps),
    progress=False,
)
accuracy = sn.evaluate(net, test)[1]
print(f"{accuracy:.1%} of the held-out digits are right")
assert accuracy > 0.95

# %%
# Filters
# -------
# The first layer's 32 filters are images of 5 x 5 weights. White is a positive weight, and black is a negative one.
# Some filters are edges in one direction, others are dots or strokes. In lesson 5 we made such kernels by hand.

keep(sn.plots.first_filters(net), "11_filters")
moved = np.abs(net.layers[0].w.value - untrained).mean() / np.abs(untrained).mean()
print(f"training moved the first filters by {moved:.0%} of their size")
assert 0.05 < moved < 1.5

# %%
# There are edges in all directions, but none is as clean as those made by hand: part of each filter is still the random
# noise of its initial weights. For digits, almost any set of edges is good enough, because the later layers learn to
# use what they get.
#
# Feature maps
# ------------
# Follow one digit through the network. The figure shows the first eight channels after each layer that has pixels. Each
# picture has its own scale: its smallest number is black, and its largest is white. After a ReLU, black is 0. A pooling
# layer halves height and width, and keeps the largest numbers.

keep(sn.plots.feature_maps(net, test.images[0]), "11_feature_maps")

# %%
# Saliency: the gradient for the pixels
# -------------------------------------
# Take the score of one class as the "loss". Its gradient for the input says how each pixel would have to change to
# raise the score (Simonyan et al., 2013). For this we need only a ``dout`` of our own: 1 for that class, and 0 for all
# others. ``backward`` works with any ``dout``:

code(sn.Network.backward)

# %%
# First by hand, with an image of 2 x 3 pixels and two hidden units with a ReLU. The score is 2 times the first unit
# plus 3 times the second:
#
# .. code-block:: text
#
#     image      unit 1       unit 2         unit 1:  1*1 + 1*1         = 2,  ReLU: 2
#     1 0 2      1 0 0        0 1 -1         unit 2:  0*1 + 2*(-1)      = -2, ReLU: 0
#     0 1 0      0 1 0        0 0  0         score:   2 * 2 + 3 * 0     = 4
#
# The output of the second unit is 0 after its ReLU, so no gradient passes through it. The gradient is twice the weights
# of the first unit:
#
# .. code-block:: text
#
#     gradient   2 0 0
#                0 2 0
#
# Ink in the top middle would raise unit 2. With enough of it (more than 2), it would raise the score as well. Yet the
# gradient there is 0, because a gradient describes *small* changes only.

tiny = sn.Network([sn.Flatten(), sn.Dense(6, 2), sn.ReLU(), sn.Dense(2, 1)], input_shape=(2, 3, 1))
units = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 1, -1], [0, 0, 0]]])
tiny.layers[1].w.value = units.reshape(2, 6).T.astype(float)
tiny.layers[3].w.value = np.array([[2.0], [3.0]])
picture = np.array([[1.0, 0, 2], [0, 1, 0]]).reshape(1, 2, 3, 1)
score = tiny.forward(picture)
gradient = tiny.backward(np.ones((1, 1)))[0, :, :, 0]
print(f"score {score[0, 0]:g}, gradient\n{gradient}")
assert score == 4
assert np.array_equal(gradient, [[2, 0, 0], [0, 2, 0]])
picture[0, 0, 1] = 3  # a large change: unit 2 is now 3 - 2 = 1
assert tiny.forward(picture) == 4 + 3

# %%
# The same for real digits and the trained network:


def saliency(image: np.ndarray, towards: int) -> np.ndarray:
    """The gradient (28, 28) of the score of class `towards` for the pixels of an image (28, 28, 1)."""
    logits = net.forward(image[None])
    dlogits = np.zeros_like(logits)
    dlogits[0, towards] = 1
    return net.backward(dlogits)[0, :, :, 0]


shown = [int(np.flatnonzero(test.labels == k)[0]) for k in (2, 3, 4, 7, 8)]
drawn, grid = figure(2, 5, width=8, height=3.6)
for column, i in enumerate(shown):
    gradient = saliency(test.images[i], test.labels[i])
    scale = np.abs(gradient).max()
    grid[0, column].imshow(test.images[i, :, :, 0], cmap="gray_r")
    grid[0, column].set_title(f"a {test.labels[i]}", fontsize=11)
    grid[1, column].imshow(gradient, cmap="gray_r", vmin=-scale, vmax=scale)
    for axes in grid[:, column]:
        axes.axis("off")
drawn.suptitle("Below: dark pixels, with more ink, raise the score; light ones lower it", fontsize=11)
keep(drawn, "11_saliency")

# %%
# Is that picture true, or does it only look good? A gradient is a claim: if pixel p changes by h, the score changes by
# h times the gradient at p. Check it at the pixel where the gradient is largest:

i = shown[0]
gradient = saliency(test.images[i], test.labels[i])
p = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
h = 1e-2
up, down = test.images[i].copy(), test.images[i].copy()
up[p] += h
down[p] -= h
scores = net.forward(np.stack([up, down]))[:, test.labels[i]]
print(
    f"row {p[0]}, column {p[1]}: the gradient says {gradient[p]:.3f}, measured {(scores[0] - scores[1]) / (2 * h):.3f}"
)
assert abs((scores[0] - scores[1]) / (2 * h) - gradient[p]) < 0.1 * abs(gradient[p])

# %%
# Where are the strongest pixels, those with the largest gradients? For a hundred digits, count how many of the 40
# strongest are on the ink or next to it:


def share_near_ink(i: int) -> float:
    """The share of the 40 strongest pixels of digit i that have ink or are next to ink."""
    strength = np.abs(saliency(test.images[i], test.labels[i]))
    ink = np.pad(test.images[i, :, :, 0] > 0, 1)
    near = np.lib.stride_tricks.sliding_window_view(ink, (3, 3)).any(axis=(2, 3))
    return near[strength >= np.sort(strength, axis=None)[-40]].mean()


near = np.mean([share_near_ink(i) for i in range(100)])
print(f"{near:.0%} of the strongest pixels are on the ink or beside it")
assert 0.7 < near < 0.95

# %%
# So the network looks at the strokes and their edges. More ink there would close a gap, and less would open one. This
# is what tells the digits apart.
#
# Walk along the gradient
# -----------------------
# Follow the gradient for the pixels in small steps, towards another class. How much has to change before the network
# takes that 3 for an 8?

three = test.images[shown[1]]
image = three.copy()
path = []
for _ in range(200):
    probabilities = net.predict(image[None])[0]
    path.append(probabilities[[3, 8]])
    if probabilities[8] > 0.95:
        break
    gradient = saliency(image, 8) - saliency(image, 3)
    image = np.clip(image + 0.02 * gradient[:, :, None] / np.abs(gradient).max(), 0, 1)

change = np.abs(image - three)
print(f"after {len(path) - 1} steps it sees an 8, with {path[-1][1]:.0%}")
print(f"the mean pixel changed by {change.mean():.3f}, the most by {change.max():.2f}")
assert path[0][0] > 0.5
assert path[-1][1] > 0.95

drawn, (before, after, difference, curve) = figure(1, 4, width=9.5, height=2.7, width_ratios=(1, 1, 1, 1.4))
for axes, picture, title in (
    (before, three, "a 3, it says"),
    (after, image, "an 8, it says"),
    (difference, image - three, "the difference"),
):
    signed = title == "the difference"
    axes.imshow(picture[:, :, 0], cmap="gray_r", vmin=-1 if signed else 0, vmax=1)
    axes.set_title(title, fontsize=11)
    axes.axis("off")
curve.plot([p[0] for p in path], "-", color="black", label="3")
curve.plot([p[1] for p in path], "--", color="#d55e00", label="8")
curve.set(xlabel="step", ylabel="probability")
curve.legend()
keep(drawn, "11_from_3_to_8")

# %%
# To us it is still a 3, with smudges where an 8 would be closed. The network has never learned what an 8 *is*. It has
# only learned to tell digits apart, and these pixels are enough to change its answer. Such images are called
# adversarial examples, and larger networks have the same weakness.
#
# Try it
# ------
# 1. Do the same with a network that was trained for ten epochs, and with ``four_conv_cnn``. Does the attack get harder?
# 2. Average the saliency of all 8s towards 8. Compare the result with the mean 8 of lesson 1.
#
# *Next:* ``12_generalise.py``. *In the library:* ``scratchnet/show/plots.py``.
