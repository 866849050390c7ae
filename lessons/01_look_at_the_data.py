"""
1. Look at the data
===================

*After this lesson you can* load the digits, say what every axis of the arrays means, find out what the data is like
before any network sees it, and do better than chance without a network.

*Part:* by hand. *Needs:* NumPy. *Takes:* a few seconds to run, ten minutes to read.

Before you train on data, look at it. This habit is worth more than any layer, because most mistakes in training are
mistakes in the data: labels that are shifted by one, pixels from 0 to 255 where 0 to 1 was expected, a test set that
contains training images.
"""

# %%
# Load it
# -------
# The package contains 10,000 real handwritten digits, a part of MNIST. 8,000 are there to train on, and 2,000 are held
# out. Held out means that no network is ever trained on them. They tell how well a network reads digits that it has not
# seen before.

import numpy as np
from showing import code, figure, keep

import scratchnet as sn

train, test = sn.data.load("sample")
print("train:", train.images.shape, train.images.dtype, "labels", train.labels.shape, train.labels.dtype)
print("test: ", test.images.shape, test.images.dtype, "labels", test.labels.shape, test.labels.dtype)

assert train.images.shape == (8000, 28, 28, 1)
assert test.images.shape == (2000, 28, 28, 1)

# %%
# The axes are ``(N, H, W, C)``: image, row, column, channel. There are 8,000 images of 28 x 28 pixels. They are grey,
# so they have one channel; a colour photograph would have three. The channel axis is there even when its length is 1:
# inside the network there will be 32 or 64 channels, and every layer expects this axis.
#
# A pixel is a float32 from 0 (background) to 1 (ink). A label is an integer from 0 to 9.

assert train.images.dtype == np.float32
assert train.images.min() == 0.0
assert train.images.max() == 1.0
assert set(train.labels) == set(range(10))

# %%
# See it
# ------
# The first sixteen digits, with their labels. Read them all: would *you* get each one right?

keep(sn.plots.digit_grid(train), "01_digits")

# %%
# To the network, a digit is an array of numbers. Here are the middle rows and columns of the first digit, in tenths.

digit = train.images[0, :, :, 0]
print(f"the digit is a {train.labels[0]}; rows 8 to 19, columns 6 to 21, in tenths:")
for row in (10 * digit[8:20, 6:22]).round().astype(int):
    print(" ".join(f"{value:2}" if value else " ." for value in row))

# %%
# Count it
# --------
# Does each of the ten classes occur about equally often? If nine tenths of the digits were a 1, a network that always
# answers 1 would be right in nine cases of ten, and it would be useless. The share of the most frequent class is the
# first accuracy to beat.

counts = np.bincount(train.labels, minlength=10)
drawn, axes = figure(width=7, height=3)
axes.bar(range(10), counts, color="#0072b2")
axes.axhline(800, color="black", linestyle="--", linewidth=1)
axes.text(9.6, 808, "800", ha="right", va="bottom")
axes.set(
    xlabel="label",
    ylabel="images",
    xticks=range(10),
    title="How often each digit occurs among the 8,000",
    ylim=(0, 1050),
)
keep(drawn, "01_counts")

commonest = counts.argmax()
share = (test.labels == commonest).mean()
print(f"always answering {commonest} is right for {share:.1%} of the held-out digits")
assert counts.min() > 650, "no class is rare"
assert counts.max() < 950, "no class dominates"
assert share < 0.13

# %%
# Four pixels of five are background. The mean over all digits of one class looks like a blurred digit. The blur shows
# how differently people write it: a sharp mean image means that most of them write it alike.

means = np.stack([train.images[train.labels == k].mean(axis=0)[:, :, 0] for k in range(10)])  # (10, 28, 28)
drawn, grid = figure(2, 5, width=7.5, height=3.5)
for k, axes in enumerate(grid.flat):
    axes.imshow(means[k], cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(f"mean {k}", fontsize=11)
    axes.axis("off")
keep(drawn, "01_means")

print(f"the mean pixel is {train.images.mean():.3f}; {(train.images == 0).mean():.0%} of all pixels are exactly 0")
assert 0.12 < train.images.mean() < 0.14
assert 0.79 < (train.images == 0).mean() < 0.82

# %%
# A classifier without a network
# ------------------------------
# The ten mean images already make a classifier: answer with the class whose mean image is nearest to the image.
# "Nearest" means that the sum of squared differences over all pixels is the smallest.
#
# First a small example, with images of 2 x 3 pixels and two classes. On the left are two digits of class A, then their
# mean A, then the mean B of the other class:
#
# .. code-block:: text
#
#     1 0 0     1 0 0         1   0   0          0 0 1
#     1 0 0     0 0 1     A:  1/2 0  1/2     B:  0 0 1
#
# A new image has ink in its left column. It differs from A in two pixels by 1/2 each, and from B in four pixels by 1
# each:
#
# .. code-block:: text
#
#     1 0 0      to A:  (1/2)^2 + (1/2)^2     = 0.5   <-- nearest
#     1 0 0      to B:  1 + 1 + 1 + 1         = 4
#
# Move the ink one pixel to the right, and it is far from both: 3.5 from A and 4 from B. Move it two pixels, and the
# image is equal to B.

tiny = np.array([[[1, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 1]]])  # the two digits of class A
mean_a, mean_b = tiny.mean(axis=0), np.array([[0, 0, 1], [0, 0, 1]])
new = np.array([[1, 0, 0], [1, 0, 0]])
for moved, by_hand in ((0, (0.5, 4)), (1, (3.5, 4)), (2, (2.5, 0))):
    ink = np.roll(new, moved, axis=1)
    distances = ((ink - mean_a) ** 2).sum(), ((ink - mean_b) ** 2).sum()
    print(f"moved by {moved}: {distances[0]:g} from A, {distances[1]:g} from B")
    assert distances == by_hand

# %%
# The same for 28 x 28 pixels and ten classes:


def nearest_mean(images: np.ndarray) -> np.ndarray:
    """The class (N,) whose mean image is nearest to each of the images (N, 28, 28, 1)."""
    differences = images[:, None, :, :, 0] - means  # (N, 10, 28, 28)
    return (differences**2).sum(axis=(2, 3)).argmin(axis=1)


accuracy = (nearest_mean(test.images) == test.labels).mean()
print(f"the nearest mean is right for {accuracy:.1%} of the held-out digits")
assert 0.78 < accuracy < 0.84

# %%
# This classifier reads about four digits of five, with hardly any learning. Keep this number in mind: a network that
# does no better has learned nothing that ten averages do not know. The three networks of this project reach 97 to 98 %
# with the same digits. The mean images compare pixel by pixel, so they depend too much on *where* the ink is, and too
# little on its shape.
#
# To see this, shift all digits two pixels to the right. For us nothing changes, but the classifier gets one more digit
# in five wrong. Convolution mends this weakness (lesson 5).

shifted = (nearest_mean(np.roll(test.images, 2, axis=2)) == test.labels).mean()
print(f"shifted by two pixels: {shifted:.1%}")
assert 0.15 < accuracy - shifted < 0.25

# %%
# Is the test set really new?
# ---------------------------
# If a held-out set contains training images, it measures memory. Check that ours does not:

seen = {image.tobytes() for image in train.images}
again = sum(image.tobytes() in seen for image in test.images)
print(f"{again} of the {len(test):,} held-out images are among the training images")
assert again == 0

# %%
# Batches
# -------
# Training does not take all images at once but a few at a time: a *batch*. The order of the images is drawn anew for
# each pass over the data, which is called an *epoch*. This is the whole code:

code(sn.Dataset.batches)

first_batch, first_labels = next(train.batches(4, np.random.default_rng(0)))
print("one batch:", first_batch.shape, "labels", first_labels)
assert first_batch.shape == (4, 28, 28, 1)

# %%
# Try it
# ------
# 1. Change ``nearest_mean`` so that it uses the *median* image of each class. Is it better or worse, and why? (Worse:
#    most pixels are 0 in more than half of the digits, so the median drops them.)
# 2. Shift the test images down instead of to the right, with ``axis=1``. Which direction hurts more? (Down.)
#
# *Next:* ``02_softmax_regression.py``, a single dense layer that learns by gradient descent. *In the library:*
# ``scratchnet/data/dataset.py``.
