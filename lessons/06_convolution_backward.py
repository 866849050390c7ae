"""
6. Convolution, backward: dw, dx and db line by line
====================================================

*After this lesson you can* derive all three gradients of a convolution, compute them by hand on a 3 x 3 image, and say
what stride and padding change.

*Part:* by hand. *Needs:* lessons 3 and 5. *Takes:* a few seconds to run, an hour with pencil and paper.

Most courses give a formula here, and no explanation. Yet there is nothing new in it: the gradient of a number is a sum
with one term for each product that the number was a factor of. The only work is bookkeeping: *which* products were
those?
"""

# %%
# Forward, by hand
# ----------------
# A 3 x 3 image and a 2 x 2 kernel, with stride 1 and no padding, give four places.
#
# ::
#
#     x = 1 2 0        w = 1 -1        out[0, 0] = 1*1 + 2*-1 + 0*2 + 1*3 =  2
#         0 1 3            2  3        out[0, 1] = 2*1 + 0*-1 + 1*2 + 3*3 = 13
#         2 0 1                        out[1, 0] = 0*1 + 1*-1 + 2*2 + 0*3 =  3
#                                      out[1, 1] = 1*1 + 3*-1 + 0*2 + 1*3 =  1

import numpy as np
from showing import code, figure, keep, movie, numbers, products, put

import scratchnet as sn
from scratchnet.layers import col2im, conv2d_backward, conv2d_forward, im2col

sn.use_engine("numpy")

x = np.array([[1.0, 2, 0], [0, 1, 3], [2, 0, 1]])
w = np.array([[1.0, -1], [2, 3]])
x4, w4 = x[None, :, :, None], w[:, :, None, None]  # (N, H, W, C) = (1, 3, 3, 1) and (KH, KW, C, F) = (2, 2, 1, 1)

out = conv2d_forward(x4, w4, np.zeros(1), stride=1, padding=0)
np.testing.assert_array_equal(out[0, :, :, 0], [[2, 13], [3, 1]])

# %%
# The later layers hand back ``dout``: the slope of the loss for each of the four outputs.

dout = np.array([[1.0, 3], [2, -1]])
dout4 = dout[None, :, :, None]  # (N, OH, OW, F) = (1, 2, 2, 1)
dx4, dw4, db = conv2d_backward(dout4, x4, w4, stride=1, padding=0)

# %%
# db: the bias was added everywhere
# ---------------------------------
# The bias was added at all four places, each time with slope 1: ``db = 1 + 3 + 2 - 1 = 5``. With several images and
# filters, the bias of filter f gets the sum of ``dout[..., f]`` over all images and places.

assert db[0] == 5

# %%
# dw: which pixels did a weight meet?
# -----------------------------------
# The kernel's upper left weight, ``w[0, 0]``, met the upper left pixel of each of the four patches: ``x[0, 0]``,
# ``x[0, 1]``, ``x[1, 0]`` and ``x[1, 1]``. At each place it was multiplied by that pixel, and the product was added
# into the output of that place. So
#
# ::
#
#     dw[0, 0] = x[0,0]*dout[0,0] + x[0,1]*dout[0,1] + x[1,0]*dout[1,0] + x[1,1]*dout[1,1]
#              =      1*1         +      2*3         +      0*2         +      1*-1         =  6
#     dw[0, 1] =      2*1         +      0*3         +      1*2         +      3*-1         =  1
#     dw[1, 0] =      0*1         +      1*3         +      2*2         +      0*-1         =  7
#     dw[1, 1] =      1*1         +      3*3         +      0*2         +      1*-1         =  9
#
# Draw it, and you see a movement that you know: ``dout`` slides over x. For ``dw[kh, kw]``, its upper left number lies
# on pixel (kh, kw).

np.testing.assert_array_equal(dw4[:, :, 0, 0], [[6, 1], [7, 9]])

drawn, grid = figure(2, 3, width=5, height=3.6, width_ratios=(2, 3, 3))
numbers(grid[0, 0], dout, "dout")
for kh, kw in np.ndindex(2, 2):
    products(grid[kh, 1 + kw], x, dout, (kh, kw), f"dw[{kh}, {kw}] = {dw4[kh, kw, 0, 0]:g}")
numbers(grid[1, 0], dw4[:, :, 0, 0], "dw")
keep(drawn, "06_dw_place_by_place")

# %%
# So dw is a convolution of the image, with ``dout`` as the kernel:

np.testing.assert_array_equal(conv2d_forward(x4, dout[:, :, None, None], None, 1, 0), dw4[None, :, :, 0])

# %%
# With several images, the sum runs over them as well. With several channels and filters, each channel has its own
# pixels, and each filter its own ``dout``. If the image is padded, x is the *padded* image, because those are the
# pixels that the weights met:
#
# .. math:: dw_{kh,kw,c,f} = \sum_{n,\,i,\,j} x_{n,\; i \cdot SH + kh,\; j \cdot SW + kw,\; c} \; dout_{n,i,j,f}
#
# dx: which weights did a pixel meet?
# -----------------------------------
# For dx it is easiest to think place by place. At place (i, j) the pixels of one patch were multiplied by the four
# weights, and the products were added into ``out[i, j]``. So each of these pixels gets ``dout[i, j]`` times the weight
# that lay on it. Lay the kernel down at each place, multiply it by the ``dout`` of that place, and *add* where the
# patches overlap:
#
# ::
#
#     place (0, 0), dout 1      (0, 1), dout 3      (1, 0), dout 2      (1, 1), dout -1        sum: dx
#        1 -1  .                  .  3 -3             .  .  .               .  .  .               1  2 -3
#        2  3  .         +        .  6  9      +      2 -2  .      +        . -1  1       =       4  6 10
#        .  .  .                  .  .  .             4  6  .               . -2 -3               4  4 -3
#
# The middle pixel was in all four patches: ``3 + 6 - 2 - 1 = 6``. Here it is once more as a movement. On the left is
# the kernel times ``dout``, and on the right what has been added up so far.

places = list(np.ndindex(2, 2))
patches = [put(dout[place] * w, (3, 3), place) for place in places]
np.testing.assert_array_equal(dx4[0, :, :, 0], [[1, 2, -3], [4, 6, 10], [4, 4, -3]])
np.testing.assert_array_equal(sum(patches), dx4[0, :, :, 0])


def add(part, place):
    """Draw the kernel at one place, times dout, and the sum of all places so far."""
    left, right = part.subplots(1, 2)
    covered = put(np.full((2, 2), 0.6), (3, 3), place)
    step = places.index(place)
    numbers(left, patches[step] + 0.0, f"{dout[place]:g} * w", shade=covered)
    numbers(right, sum(patches[: step + 1]), "dx so far", shade=covered)


movie("06_dx_place_by_place", places, add, width=2.5, height=1.5)

# %%
# With several filters, each of them used the pixel, so their contributions add up as well. For every place (i, j) and
# every pixel (kh, kw) of the kernel:
#
# ::
#
#     dx[n, i*SH + kh, j*SW + kw, c]  +=  sum over f of  dout[n, i, j, f] * w[kh, kw, c, f]
#
# Take lesson 5's place with two channels, two filters and a 1 x 1 kernel, and the ``dout`` 1 and 2 of the two filters:
#
# ::
#
#     x = [3 1]     w = [2 -1]     dw[c, f] = x[c] * dout[f]:       dw = [3*1 3*2]  =  [3 6]
#                       [1  4]                                           [1*1 1*2]     [1 2]
#                                  dx[c] = the sum of dout * w[c]:  dx = [1*2 + 2*-1   1*1 + 2*4]  =  [0 9]
#
# Use ``+=`` and not ``=``. With ``=``, each patch would overwrite what the earlier ones have added to the shared
# pixels. This is the most common mistake of all, and it goes unnoticed as long as patches do not overlap.

pixel, two_filters = np.array([3.0, 1]).reshape(1, 1, 1, 2), np.array([[2.0, -1], [1, 4]]).reshape(1, 1, 2, 2)
dx_pixel, dw_pixel, _ = conv2d_backward(np.array([1.0, 2]).reshape(1, 1, 1, 2), pixel, two_filters, 1, 0)
np.testing.assert_array_equal(dw_pixel[0, 0], [[3, 6], [1, 2]])
np.testing.assert_array_equal(dx_pixel[0, 0, 0], [0, 9])

# %%
# The same, seen from a pixel
# ---------------------------
# With stride 1 and no padding, pixel (h, w) met weight (kh, kw) at the place (h - kh, w - kw). As the index of the
# weight goes up, the index of the place goes down. So, seen from the pixel, the kernel is turned by 180 degrees:
#
# ::
#
#     w = 1 -1        turned =  3  2
#         2  3                 -1  1
#
# This gives dx as a convolution: put ``KH - 1`` rows and ``KW - 1`` columns of zeros on each side of ``dout``, and
# slide the turned kernel over it. Each place gives one pixel of dx:

turned = w[::-1, ::-1]
around = np.pad(dout, 1)  # KH - 1 = KW - 1 = 1
np.testing.assert_array_equal(turned, [[3, 2], [-1, 1]])
np.testing.assert_array_equal(conv2d_forward(around[None, :, :, None], turned[:, :, None, None], None, 1, 0), dx4)

drawn, grid = figure(3, 3, width=5, height=5.4)
for h, column in np.ndindex(3, 3):
    title = f"dx[{h}, {column}] = {dx4[0, h, column, 0]:g}"
    products(grid[h, column], around, turned, (h, column), title, size=8)
keep(drawn, "06_turned_kernel")

# %%
# In the middle, ``dx[1, 1] = 1*3 + 3*2 + 2*-1 + -1*1 = 6``: the same four products as before. (With several channels,
# the axes C and F of the kernel change places.) But if you lay the kernel down at each place, as further above, do
# *not* turn it.
#
# Stride
# ------
# With stride 2, place (i, j) begins at pixel (2i, 2j). Nothing else changes: each patch goes back to where it came
# from. Take a kernel of 3 x 3 on 5 x 5 pixels. It fits in two places down and two across, so ``dout`` can stay as it
# is. The patches overlap in the middle row and in the middle column.

wide = np.array([[2.0, 1, 0, 1, 3], [1, 1, 2, 0, 2], [0, 0, 1, 3, 1], [3, 2, 0, 1, 0], [1, 0, 2, 1, 2]])
w_wide = np.array([[1.0, 0, -1], [0, 2, 1], [2, 1, 3]])
dx_wide, dw_wide, _ = conv2d_backward(dout4, wide[None, :, :, None], w_wide[:, :, None, None], 2, 0)
dx_wide, dw_wide = dx_wide[0, :, :, 0], dw_wide[:, :, 0, 0]

drawn, grid = figure(2, 3, width=5, height=3.8, width_ratios=(5, 5, 5))
numbers(grid[0, 0], w_wide, "w")
for i, j in np.ndindex(2, 2):
    patch, covered = put(dout[i, j] * w_wide, (5, 5), (2 * i, 2 * j)), put(np.full((3, 3), 0.6), (5, 5), (2 * i, 2 * j))
    numbers(grid[i, 1 + j], patch + 0.0, f"place ({i}, {j}): {dout[i, j]:g} * w", shade=covered, size=8)
numbers(grid[1, 0], dx_wide, "sum: dx", size=8)
keep(drawn, "06_dx_with_stride_2")

# %%
# The middle pixel is in all four patches, under a different corner of the kernel in each:
# ``1*3 + 3*2 + 2*-1 + -1*1 = 6``. A common mistake is to forget the stride here, so that all patches go into one
# corner, a single pixel apart. With 6 x 6 pixels, the sixth row and column would be in no patch, and get 0.

assert dx_wide[2, 2] == 1 * 3 + 3 * 2 + 2 * -1 + -1 * 1 == 6
np.testing.assert_array_equal(dx_wide, sum(put(dout[i, j] * w_wide, (5, 5), (2 * i, 2 * j)) for i, j in places))
dx_six, _, _ = conv2d_backward(dout4, np.ones((1, 6, 6, 1)), w_wide[:, :, None, None], 2, 0)
np.testing.assert_array_equal(dx_six[0, :, :, 0], np.pad(dx_wide, ((0, 1), (0, 1))))

# %%
# For dw, ask again which pixels a weight met. From one place to the next the kernel moved by two pixels, so these are
# two pixels apart: ``dout`` slides over x with gaps between its numbers. Here are four of the nine weights:

drawn, grid = figure(2, 2, width=4.6, height=5)
for axes, (kh, kw) in zip(grid.flat, [(0, 0), (0, 1), (1, 0), (2, 2)], strict=True):
    products(axes, wide, dout, (kh, kw), f"dw[{kh}, {kw}] = {dw_wide[kh, kw]:g}", gap=2)
keep(drawn, "06_dw_with_stride_2")
assert dw_wide[0, 0] == 2 * 1 + 0 * 3 + 0 * 2 + 1 * -1 == 1
assert dw_wide[2, 2] == 1 * 1 + 1 * 3 + 2 * 2 + 2 * -1 == 6

# %%
# Padding
# -------
# Suppose that only the inner 3 x 3 of these pixels are the image, and that forward put the margin around it, filled
# with zeros. (It is the image of the first section.) Backward computes the gradient for the padded image, as before,
# and then drops the margin, because the zeros there are no inputs. dw needs the padded image as well: at the border,
# these zeros are what the weights met.

padded = np.pad(x, 1)
with_padding, dw_padded, _ = conv2d_backward(dout4, x4, w_wide[:, :, None, None], 2, 1)
margin = np.pad(np.zeros((3, 3)), 1, constant_values=1.0)

drawn, ((a, b), (c, d)) = figure(2, 2, width=4.6, height=5)
numbers(a, padded, "x, padded", shade=margin)
products(b, padded, dout, (0, 0), f"dw[0, 0] = {dw_padded[0, 0, 0, 0]:g}", gap=2)
numbers(c, dx_wide, "dx, padded: drop the margin", shade=margin)
numbers(d, with_padding[0, :, :, 0], "dx")
keep(drawn, "06_padding")
np.testing.assert_array_equal(with_padding[0, :, :, 0], dx_wide[1:-1, 1:-1])
assert dw_padded[0, 0, 0, 0] == 0 * 1 + 0 * 3 + 0 * 2 + 1 * -1 == -1

# %%
# (dx is the same as without padding, except for the margin. It depends on ``dout`` and w, and not on x.)
#
# Exercise 06: col2im
# -------------------
# Lesson 5 turned a convolution into three steps: copy the patches into rows (``columns = im2col(x)``), multiply by w,
# add b. This exercise reverses the first. A number that was copied gets the *sum* of the gradients of its copies. So
# the backward of im2col adds every row back to the patch that it came from, and cuts off the padding. This is the
# movement of dx from above. Only, the four patches now come as four rows:

dcolumns = np.array([[1.0, -1, 2, 3], [3, -3, 6, 9], [2, -2, 4, 6], [-1, 1, -2, -3]])  # (4 places, 4 pixels)
back = col2im(dcolumns, x4.shape, (2, 2), stride=1, padding=0)
np.testing.assert_array_equal(back, dx4)

# %%
# Write it in ``lessons/exercises/06_col2im.py``, and run ``.venv/bin/scratchnet check 06``.

code(col2im, exercise="06")

# %%
# Exercise 07: convolution, backward
# ----------------------------------
# This is the most important exercise of the course: ``lessons/exercises/07_conv_backward.py``, and
# ``.venv/bin/scratchnet check 07``. Write it with loops first, place by place. Have the figures of dw and dx beside
# you. With it, every convolution on the engine ``mine`` learns from your gradients, and
# ``lessons/milestones/04_lenet.py`` trains on them.
#
# Then compare. The library's definition has the loops of the forward pass, and each line reverses a line of it. It
# gives the numbers that we have found by hand:

from scratchnet.layers import definition

code(definition.conv2d_backward, exercise="07")
for by_loops, expected in zip(definition.conv2d_backward(dout4, x4, w4, 1, 0), (dx4, dw4, db), strict=True):
    np.testing.assert_array_equal(by_loops, expected)

# %%
# The library's way: three lines
# ------------------------------
# Does your answer pass? Then try it without loops: in the forward pass of lesson 5, each step is one that you can
# reverse already. Think about it before you read on. Here are the three steps, the last one first:
#
# 1. Forward ended with ``out += b``, which added b to every row. So ``db = dout.sum(axis=0)``.
# 2. Before that, it computed ``out = columns @ w``. This is a dense layer whose examples are patches (lesson 3). So
#    ``dw = columns.T @ dout`` and ``dcolumns = dout @ w.T``.
# 3. It began with ``columns = im2col(x)``. So ``dx = col2im(dcolumns)``.
#
# Here ``dout`` is a matrix, too, with a row for each place. Do the three steps by hand:

columns = im2col(x4, (2, 2), stride=1, padding=0)  # (4 places, 4 weights)
dout_rows = dout.reshape(4, 1)  # (4 places, 1 filter)
dw_rows = columns.T @ dout_rows
np.testing.assert_array_equal(dw_rows.reshape(2, 2), dw4[:, :, 0, 0])
np.testing.assert_array_equal(dout_rows @ w.reshape(4, 1).T, dcolumns)  # the four patches, one in each row
code(conv2d_backward, exercise="07")

# %%
# Write exercise 07 once more in this way, and keep this version. With a loop for each index, the milestone LeNet takes
# hours.
#
# Check it
# --------
# Compare with measured slopes. The sizes are awkward on purpose: a kernel that is not square, strides of 2 and 3, and
# padding on one axis only.

rng = np.random.default_rng(0)
for stride, padding in [(1, 0), (2, 1), ((3, 2), (0, 1))]:
    layer = sn.Conv2D(2, 3, (3, 2), stride=stride, padding=padding)
    report = sn.gradcheck(layer, rng.standard_normal((2, 7, 6, 2)))
    print(f"stride {stride}, padding {padding}: {'right' if report else report}")
    assert report.passed

# %%
# Try it
# ------
# 1. On paper: what are dw, dx and db above if ``dout`` is 1 at all four places? (``dw = [[4, 6], [3, 5]]``, the sum of
#    the pixels that each weight met; ``dx = [[1, 0, -1], [3, 5, 2], [2, 5, 3]]``; ``db = 4``.)
# 2. In the file of exercise 07, write ``=`` in place of ``+=`` where dx adds up, and run the check. Which sizes of
#    kernel and stride would hide this mistake? (A stride that is at least the size of the kernel.)
#
# *Next:* ``07_pooling_and_dropout.py``. *In the library:* ``scratchnet/layers/conv.py``.

for found, expected in zip(
    conv2d_backward(np.ones_like(dout4), x4, w4, 1, 0),
    ([[1, 0, -1], [3, 5, 2], [2, 5, 3]], [[4, 6], [3, 5]], 4),
    strict=True,
):
    np.testing.assert_array_equal(found.squeeze(), expected)
