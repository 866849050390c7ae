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
from showing import code, figure, keep, numbers

import scratchnet as sn
from scratchnet.layers import col2im, conv2d_backward, conv2d_forward, im2col

sn.use_engine("numpy")

x = np.array([[1.0, 2, 0], [0, 1, 3], [2, 0, 1]])
w = np.array([[1.0, -1], [2, 3]])
x4, w4 = x[None, :, :, None], w[:, :, None, None]  # (N, H, W, C) = (1, 3, 3, 1) and (KH, KW, C, F) = (2, 2, 1, 1)

out = conv2d_forward(x4, w4, np.zeros(1), 1, 0)
np.testing.assert_array_equal(out[0, :, :, 0], [[2, 13], [3, 1]])

# %%
# The later layers hand back ``dout``: the slope of the loss for each of the four outputs.

dout = np.array([[1.0, 3], [2, -1]])
dout4 = dout[None, :, :, None]  # (N, OH, OW, F) = (1, 2, 2, 1)
dx4, dw4, db = conv2d_backward(dout4, x4, w4, 1, 0)

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

np.testing.assert_array_equal(dw4[:, :, 0, 0], [[6, 1], [7, 9]])

# %%
# Each line takes a patch of x that has the size of ``dout``, multiplies the two number by number, and adds the
# products. In other words: *slide dout over x.* With images and channels the formula is the one below. Its x is the
# *padded* image, because those are the pixels that the weights met:
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
#        1 -1  .                  .  3 -3             .  .  .             .  .  .               1  2 -3
#        2  3  .         +        .  6  9      +      2 -2  .      +      . -1  1       =       4  6 10
#        .  .  .                  .  .  .             4  6  .             . -2 -3               4  4 -3
#
# The middle pixel was in all four patches: ``3 + 6 - 2 - 1 = 6``. With several filters, each of them used the pixel, so
# their contributions add up as well. For every place (i, j) and every pixel (kh, kw) of the kernel:
#
# ::
#
#     dx[n, i*SH + kh, j*SW + kw, c]  +=  sum over f of  dout[n, i, j, f] * w[kh, kw, c, f]

np.testing.assert_array_equal(dx4[0, :, :, 0], [[1, 2, -3], [4, 6, 10], [4, 4, -3]])

drawn, grid = figure(1, 5, width=10, height=2.3)
total = np.zeros((3, 3))
for axes, (i, j) in zip(grid, np.ndindex(2, 2), strict=False):
    patch, covered = np.zeros((3, 3)), np.zeros((3, 3))
    patch[i : i + 2, j : j + 2] = dout[i, j] * w
    covered[i : i + 2, j : j + 2] = 0.6
    total += patch
    numbers(axes, patch + 0.0, f"place ({i}, {j}), dout {dout[i, j]:g}", shade=covered)
numbers(grid[4], total, "sum: dx")
keep(drawn, "06_dx_place_by_place")
np.testing.assert_array_equal(total, dx4[0, :, :, 0])

# %%
# Use ``+=`` and not ``=``. With ``=``, each patch would overwrite what the earlier ones have added to the shared
# pixels. This is the most common mistake of all, and it goes unnoticed as long as patches do not overlap.
#
# The same, seen from a pixel
# ---------------------------
# With stride 1 and no padding, pixel (h, w) met weight (kh, kw) at the place (h - kh, w - kw). As the index of the
# weight goes up, the index of the place goes down. So, seen from the pixel, the kernel is turned by 180 degrees. This
# gives dx as a convolution: put ``KH - 1`` rows and ``KW - 1`` columns of zeros on each side of ``dout``, and slide the
# turned kernel over it. (With several channels, the axes C and F of the kernel change places.) But if you lay the
# kernel down at each place, as above, do *not* turn it.

turned = conv2d_forward(np.pad(dout4, ((0, 0), (1, 1), (1, 1), (0, 0))), w4[::-1, ::-1], None, 1, 0)
np.testing.assert_array_equal(turned, dx4)

# %%
# All three as loops
# ------------------
# This is the library's definition of the backward pass. It has the loops of the forward pass, and each line reverses a
# line of it. It gives the numbers that we have found by hand:

from scratchnet.layers import definition

code(definition.conv2d_backward)
for by_loops, expected in zip(definition.conv2d_backward(dout4, x4, w4, 1, 0), (dx4, dw4, db), strict=True):
    np.testing.assert_array_equal(by_loops, expected)

# %%
# The library's way: three lines
# ------------------------------
# Lesson 5 turned a convolution into three steps. Backward reverses them, the last one first:
#
# 1. Forward ended with ``out += b``, which added b to every row. So ``db = dout.sum(axis=0)``.
# 2. Before that, it computed ``out = columns @ w``. This is a dense layer whose examples are patches (lesson 3). So
#    ``dw = columns.T @ dout`` and ``dcolumns = dout @ w.T``.
# 3. It began with ``columns = im2col(x)``, which copied the pixels. A number that was copied gets the sum of the
#    gradients of its copies. So ``dx = col2im(dcolumns)``.
#
# Here ``dout`` is a matrix, too, with a row for each place. Do the three steps by hand:

columns = im2col(x4, 2, 1, 0)  # (4 places, 4 weights)
dout_rows = dout.reshape(4, 1)  # (4 places, 1 filter)
dw_rows = columns.T @ dout_rows
dcolumns = dout_rows @ w.reshape(4, 1).T  # (4, 4): the four patches of the figure above, one in each row
np.testing.assert_array_equal(dw_rows.reshape(2, 2), dw4[:, :, 0, 0])
np.testing.assert_array_equal(dcolumns[2], [2, -2, 4, 6])
np.testing.assert_array_equal(col2im(dcolumns, (1, 3, 3, 1), 2, 1, 0), dx4)

# %%
# Stride
# ------
# With stride 2, place (i, j) begins at pixel (2i, 2j). Nothing else changes: each patch goes back to where it came
# from. A common mistake is to forget the stride here, so that all patches go into one corner, a single pixel apart.
# Pixels that are in no patch get 0.

rng = np.random.default_rng(0)
x_wide = rng.standard_normal((1, 5, 5, 1))
w_wide = rng.standard_normal((3, 3, 1, 1))
dout_wide = rng.standard_normal((1, 2, 2, 1))
dx, _, _ = conv2d_backward(dout_wide, x_wide, w_wide, 2, 0)
by_places = np.zeros((5, 5))
for i, j in np.ndindex(2, 2):
    by_places[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += dout_wide[0, i, j, 0] * w_wide[:, :, 0, 0]
np.testing.assert_allclose(dx[0, :, :, 0], by_places)

# %%
# Padding
# -------
# Forward put zeros around x. Backward computes the gradient for the padded image and then drops the margin, because the
# zeros there are no inputs. dw needs the padded image as well: at the border, these zeros are what the weights met.

x_padded = np.pad(x4, ((0, 0), (1, 1), (1, 1), (0, 0)))
dout_padded = rng.standard_normal((1, 4, 4, 1))
with_padding, _, _ = conv2d_backward(dout_padded, x4, w4, 1, 1)
margin_too, _, _ = conv2d_backward(dout_padded, x_padded, w4, 1, 0)
np.testing.assert_allclose(with_padding, margin_too[:, 1:-1, 1:-1])
assert with_padding.shape == x4.shape

# %%
# Check it
# --------
# Compare with measured slopes. The sizes are awkward on purpose: a kernel that is not square, strides of 2 and 3, and
# padding on one axis only.

for stride, padding in [(1, 0), (2, 1), ((3, 2), (0, 1))]:
    layer = sn.Conv2D(2, 3, (3, 2), stride=stride, padding=padding)
    report = sn.gradcheck(layer, rng.standard_normal((2, 7, 6, 2)))
    print(f"stride {stride}, padding {padding}: {'right' if report else report}")
    assert report.passed

# %%
# Exercises
# ---------
# 1. ``lessons/exercises/06_col2im.py``, and ``.venv/bin/scratchnet check 06``.
# 2. ``lessons/exercises/07_conv_backward.py``, and ``.venv/bin/scratchnet check 07``. This is the most important
#    exercise of the course. Write it with loops first, place by place, and then with im2col and col2im.
#
# When you have done them, compare your code with the library's:

code(conv2d_backward)
code(col2im)

# %%
# *Next:* ``07_pooling_and_dropout.py``. *In the library:* ``scratchnet/layers/conv.py``.
