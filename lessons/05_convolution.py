"""
5. Convolution: slide a kernel, then im2col
===========================================

*After this lesson you can* compute a convolution by hand, say what stride and padding do to the size of its result,
write it as seven loops, and rewrite it as one matrix product that is many times faster.

*Part:* by hand. *Needs:* lesson 2. *Takes:* a few seconds to run, half an hour to read.

A dense layer treats the 784 pixels as 784 unrelated numbers. Shift a digit by two pixels, and the layer sees an
entirely different input (lesson 1). A convolution looks at small patches, and uses the same weights everywhere. What it
has learned about a stroke in one corner, it knows in all the others.
"""

# %%
# Slide a kernel
# --------------
# The kernel is a small image of what we look for. Lay it on the image at each place, multiply each number of the kernel
# by the pixel under it, and add the products. A large sum says: this patch looks like the kernel.
#
# ::
#
#     image = 0 0 1 1 1        kernel = -1 0 1        "background on the left, ink on the right"
#             0 0 1 1 1                 -1 0 1
#             0 0 1 1 1                 -1 0 1
#             0 0 1 1 1
#
#     place (0, 0):  rows 0 to 2, columns 0 to 2:  three times  0*-1 + 0*0 + 1*1  =  3
#     place (0, 1):  one to the right:             three times  0*-1 + 1*0 + 1*1  =  3
#     place (0, 2):                                three times  1*-1 + 1*0 + 1*1  =  0    no edge here
#
# The kernel fits in two places down and three across, so the result is 2 x 3.

import time

import numpy as np
from showing import code, figure, keep, movie, numbers, products, put

import scratchnet as sn
from scratchnet.layers import conv2d_forward, im2col

sn.use_engine("numpy")

image = np.array([[0.0, 0, 1, 1, 1]] * 4)  # (H, W) = (4, 5)
kernel = np.array([[-1.0, 0, 1]] * 3)  # (KH, KW) = (3, 3)

x = image[None, :, :, None]  # (N, H, W, C) = (1, 4, 5, 1): one image, one channel
w = kernel[:, :, None, None]  # (KH, KW, C, F) = (3, 3, 1, 1): one channel in, one filter out
out = conv2d_forward(x, w, None, stride=1, padding=0)
np.testing.assert_array_equal(out[0, :, :, 0], [[3, 3, 0], [3, 3, 0]])

drawn, (a, k, o) = figure(1, 3, width=5.5, height=2.2, width_ratios=(5, 3, 3))
numbers(a, image, "image")
numbers(k, kernel, "kernel")
numbers(o, out[0, :, :, 0], "out")
keep(drawn, "05_slide")

# %%
# And here it moves. At each place the fields under the kernel are grey, and show pixel times kernel. Their sum is the
# number that is added to ``out``. (The picture stops after three rounds, and all six places stand below it. Reload the
# page to see it again.)

places = list(np.ndindex(2, 3))


def slide(part, place):
    """Draw the kernel at one place, and the numbers of `out` that are computed by then."""
    above, below = part.subplots(2, 1, height_ratios=(4, 2))
    products(above, image, kernel, place, f"place {place}")
    texts = np.full((2, 3), "", object)
    for done in places[: places.index(place) + 1]:
        texts[done] = f"{out[0, :, :, 0][done]:g}"
    numbers(below, texts, "out", "{}", shade=put(np.array([[0.6]]), (2, 3), place))


movie("05_sliding", places, slide, width=2.5, height=3.2)

# %%
# (In signal processing, a convolution turns the kernel by 180 degrees first. Networks learn the kernel anyway, so their
# convolution does not turn it.)
#
# As a formula, for filter f, with a sum over all channels c of the patch:
#
# .. math:: out_{n,i,j,f} = b_f + \sum_{kh,\,kw,\,c} x_{n,\; i \cdot SH + kh,\; j \cdot SW + kw,\; c} \; w_{kh,kw,c,f}
#
# SH and SW are the strides down and across (1 here), and x is the padded image. Both come next.
#
# So far there was one channel and one filter. Here is one place by hand with two of each. The kernel is 1 x 1, so the
# patch is a single pixel, and the sum runs over its two channels only:
#
# ::
#
#     pixel = [3 1]        w = [2 -1]        row c, column f
#                              [1  4]
#
#     out, filter 0:  3*2 + 1*1   =  7
#     out, filter 1:  3*-1 + 1*4  =  1
#
# Each filter adds up all channels, and makes one channel of ``out``.

pixel = np.array([3.0, 1])[None, None, None]  # (N, H, W, C) = (1, 1, 1, 2)
two_filters = np.array([[2.0, -1], [1, 4]])[None, None]  # (KH, KW, C, F) = (1, 1, 2, 2)
np.testing.assert_array_equal(conv2d_forward(pixel, two_filters, None, 1, 0)[0, 0, 0], [7, 1])

# %%
# Size, stride, padding
# ---------------------
# On H rows, a kernel of KH rows fits in ``H - KH + 1`` places. With a *stride* of 2 it visits every second place.
# *Padding* puts rows and columns of zeros around the image, so that the kernel may reach over the edge. Together:
#
# .. math:: OH = \left\lfloor \frac{H + 2 \cdot padding - KH}{stride} \right\rfloor + 1
#
# and OW likewise. Take images of 5 rows and 6 columns, and kernels of 3 x 2. Without padding the result has
# ``(5 + 0 - 3) // 1 + 1 = 3`` rows. With stride 2 and padding 1 it has ``(5 + 2 - 3) // 2 + 1 = 3``, too. For a 5 x 5
# kernel and stride 1, a padding of 2 keeps the image's size: 28 + 4 - 5 + 1 = 28. The padding ``"same"`` computes this
# for you.
#
# In NumPy, ``np.pad`` takes a pair for each axis: how much before, and how much after. Only rows and columns are padded
# here, no images and no channels:

assert np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))).shape == (1, 4 + 4, 5 + 4, 1)
assert sn.Conv2D(3, 4, (3, 2), stride=1, padding=0).output_shape((5, 6, 3)) == (3, 5, 4)
assert sn.Conv2D(3, 4, (3, 2), stride=2, padding=1).output_shape((5, 6, 3)) == (3, 4, 4)
assert sn.Conv2D(1, 32, 5, padding="same").output_shape((28, 28, 1)) == (28, 28, 32)

# %%
# Exercise 05: convolution
# ------------------------
# You know all that you need: write the formula as code, in ``lessons/exercises/05_conv_forward.py``. Begin with one
# loop for each index of the formula. There are seven: n, i, j and f say which output, and kh, kw and c say what is
# added up. It will be slow, and that is all right. Then run ``.venv/bin/scratchnet check 05``. (Exercise 04 comes
# below. After it you can write this one again, without the loops.)
#
# The library has these loops as well: they are its *definition* of a convolution. It makes no padded copy: it leaves
# out the pixels of the patch that are not inside the image. ``np.ndindex`` runs through its indices as nested loops do.

from scratchnet.layers import definition

code(definition.conv2d_forward, exercise="05")

rng = np.random.default_rng(0)
small_x, small_w, small_b = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 2, 3, 4)), rng.standard_normal(4)
for stride, padding in [(1, 0), (2, 1), ((2, 1), "same")]:
    by_loops = definition.conv2d_forward(small_x, small_w, small_b, stride, padding)
    np.testing.assert_allclose(by_loops, conv2d_forward(small_x, small_w, small_b, stride, padding))
    print(f"stride {stride}, padding {padding}: {small_x.shape} -> {by_loops.shape}")

# %%
# On a digit
# ----------
# Here are four kernels made by hand, and their response to a digit. White is a positive response, black a negative
# one, and grey is 0. A trained network finds such edge and stroke detectors by itself (lesson 11 shows them).

train, _ = sn.data.load("sample")
digit = train.images[:1]  # (1, 28, 28, 1)
kernels = {
    "left edge": [[-1, 0, 1]] * 3,
    "top edge": [[-1] * 3, [0] * 3, [1] * 3],
    "diagonal": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]],
    "blur": [[1 / 9] * 3] * 3,
}
filters = np.stack([np.array(k, np.float32) for k in kernels.values()], axis=-1)[:, :, None]  # (3, 3, 1, 4)
maps = conv2d_forward(digit, filters, None, 1, 1)  # (1, 28, 28, 4)
drawn, grid = figure(2, 3, width=5.5, height=4)
grid[0, 0].imshow(digit[0, :, :, 0], cmap="gray_r")
grid[0, 0].set_title(f"a {train.labels[0]}", fontsize=11)
for f, (axes, name) in enumerate(zip(grid[[0, 0, 1, 1], [1, 2, 1, 2]], kernels, strict=True)):
    strongest = np.abs(maps[0, :, :, f]).max()
    axes.imshow(maps[0, :, :, f], cmap="gray", vmin=-strongest, vmax=strongest)  # grey is 0, white positive
    axes.set_title(name, fontsize=11)
for axes in grid.flat:
    axes.axis("off")
keep(drawn, "05_kernels")
assert maps.shape == (1, 28, 28, 4)

# %%
# If the digit shifts, the maps shift with it. The network does not have to learn the digit again at the new place.
# (Only the border is different.)

shifted = conv2d_forward(np.roll(digit, 2, axis=2), filters, None, 1, 1)
np.testing.assert_allclose(shifted[:, 4:-4, 4:-4], np.roll(maps, 2, axis=2)[:, 4:-4, 4:-4], atol=1e-6)

# %%
# im2col: the same sums as one matrix product
# -------------------------------------------
# Seven loops in Python are far too slow. But look at what they do. At each place, the patch is a row of KH*KW*C
# numbers, and each filter is a column of KH*KW*C numbers. The loops multiply them number by number and add the
# products. Rows times columns: this is a matrix product. So copy every patch into a row of one matrix:
#
# ::
#
#     columns (N*OH*OW, KH*KW*C)  @  w (KH*KW*C, F)   =   out (N*OH*OW, F)
#
# The rows run over the images, in each image over i, and for each i over j. So ``out.reshape(N, OH, OW, F)`` gives
# every number its place again. Here is the image of the first section, with its six places as six rows:

columns = im2col(x, (3, 3), stride=1, padding=0)
assert columns.shape == (2 * 3, 3 * 3 * 1)
np.testing.assert_array_equal(columns[0], [0, 0, 1, 0, 0, 1, 0, 0, 1])
np.testing.assert_array_equal(columns @ w.reshape(9, 1), out.reshape(6, 1))

drawn, (a, k, o) = figure(1, 3, width=5.5, height=3.7, width_ratios=(9, 1, 1))
numbers(a, columns, "columns: a patch in each row")
numbers(k, w.reshape(9, 1), "w")
numbers(o, columns @ w.reshape(9, 1), "out")
keep(drawn, "05_im2col")

# %%
# This costs memory: in a large image nearly every pixel is copied into nine rows, so the matrix is nine times as large
# as the image. For a 5 x 5 kernel it is 25 times as large. (Lesson 17 avoids this matrix.)
#
# Exercise 04: im2col
# -------------------
# Write the function that makes this matrix, in ``lessons/exercises/04_im2col.py``, and run
# ``.venv/bin/scratchnet check 04``. Begin with loops over the places. Then write exercise 05 once more, with your
# im2col (copy it into the file of exercise 05) and a matrix product. This second version is the one to keep: on the
# engine ``mine`` it computes every convolution, and seven loops would take hours.
#
# The library's im2col needs no loop, and its convolution is the matrix product. All networks of the NumPy engine train
# with this code:

code(im2col, exercise="04")
code(conv2d_forward, exercise="05")

# %%
# How much faster?
# ----------------
# Compare the two on four digits, with the first layer of the standard network: 32 filters of 5 x 5.


def seconds(function, repeats: int) -> float:
    """The median time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


batch, first = train.images[:4], sn.models.standard_cnn().layers[0]
few_filters, few_biases = first.w.value[..., :2], first.b.value[:2]  # only two of the 32, to save time
loops = seconds(lambda: definition.conv2d_forward(batch[:1], few_filters, few_biases, 1, 2), 1) * 4 * 32 / 2
product = seconds(lambda: conv2d_forward(batch, first.w.value, first.b.value, 1, 2), 9)
print(
    f"seven loops: {loops:.1f} s, estimated from a part; im2col: {1000 * product:.1f} ms; {loops / product:,.0f} times"
)
assert loops / product > 20

# %%
# Try it
# ------
# 1. Slide the kernel over the image at the top with a stride of 2, by hand. What is ``out``? (Two numbers: 3 and 0.)
# 2. Turn the kernel by 90 degrees, so that it looks for background above and ink below, or the other way round. What
#    does it find in the same image? (Nothing: every column of the image is constant, so all sums are 0.)
#
# *Next:* ``06_convolution_backward.py``. *In the library:* ``scratchnet/layers/im2col.py``,
# ``scratchnet/layers/conv.py``.

np.testing.assert_array_equal(conv2d_forward(x, w, None, 2, 0)[0, :, :, 0], [[3, 0]])
np.testing.assert_array_equal(conv2d_forward(x, np.rot90(w), None, 1, 0), np.zeros((1, 2, 3, 1)))
