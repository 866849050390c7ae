"""
13. Depthwise separable convolution: the same for less
======================================================

*After this lesson you can* count the multiply-adds of a layer, replace a convolution by two cheaper ones, and plot
accuracy against cost.

*Part:* networks. *Needs:* lessons 5, 6, 10 and 12. *Takes:* about half a minute to run, twenty minutes to read.

A convolution does two things at once: it looks at neighbouring pixels, and it mixes channels. MobileNet (Howard et al.,
2017) does one after the other. First comes a *depthwise* convolution, in which every channel has a small filter of its
own and sees no other channel. Then comes a *pointwise* convolution, of 1 x 1 pixels, which mixes the channels at each
pixel.
"""

# %%
# Count
# -----
# Take the second convolution of ``standard_cnn``: 14 x 14 pixels, 5 x 5 kernels, 32 channels in, 64 filters out. Every
# output is a sum of ``5*5*32`` products:
#
# ::
#
#     convolution:   14*14 places * 64 filters * (5*5*32)    =  10,035,200 multiply-adds
#
#     depthwise:     14*14 places * 32 channels * (5*5)      =     156,800
#     pointwise:     14*14 places * 64 filters * 32          =     401,408
#     together                                               =     558,208     18 times fewer
#
# In general, with P places, C channels, F filters and kernels of K x K:
#
# ::
#
#     depthwise / convolution  =  P * C * K**2 / (P * F * K**2 * C)  =  1/F
#     pointwise / convolution  =  P * F * C    / (P * F * K**2 * C)  =  1/K**2
#
# Together the ratio is ``1/F + 1/K**2`` (MobileNet, section 3.1). With F = 64 filters and K = 5 it is
# 1/64 + 1/25 = 0.0556.

from fractions import Fraction

import numpy as np
from showing import code, figure, keep, numbers

import scratchnet as sn

sn.use_engine("numba")
everything, _ = sn.data.load("sample")
train = everything[:6000]
validation = sn.Dataset(everything.images[6000:], everything.labels[6000:], "2,000 validation digits")

full = sn.Conv2D(32, 64, 5).multiply_adds((14, 14, 32))
separated = sn.DepthwiseConv2D(32, 5).multiply_adds((14, 14, 32)) + sn.PointwiseConv2D(32, 64).multiply_adds(
    (14, 14, 32)
)
print(f"{full:,} and {separated:,}: {full / separated:.1f} times fewer")
assert full == 10_035_200
assert separated == 558_208
assert abs(separated / full - 0.0556) < 0.0001

# %%
# What do you lose?
# -----------------
# In ``separable_cnn``, a pointwise convolution follows a depthwise one with nothing between them. (MobileNet puts a
# normalisation and a ReLU there.) Together, the two are a convolution of a special kind, whose weights are a product:
# ``w[kh, kw, c, f] = depthwise[kh, kw, c] * pointwise[c, f]``. Each channel has only *one* pattern of pixels, and the
# filters differ only in how much of each pattern they take. Check this:

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 6, 6, 3))
depthwise, pointwise = rng.standard_normal((5, 5, 3, 1)), rng.standard_normal((1, 1, 3, 4))
one_after_the_other = sn.layers.pointwise_conv2d_forward(
    sn.layers.depthwise_conv2d_forward(x, depthwise, None, 1, "same"), pointwise, None
)
at_once = sn.layers.conv2d_forward(x, depthwise * pointwise, None, 1, "same")
np.testing.assert_allclose(one_after_the_other, at_once, atol=1e-12)

# %%
# The depthwise part has no sum over channels left, so its code has no matrix product. It loops over the pixels of the
# kernel:

code(sn.layers.depthwise_conv2d_forward)

# %%
# Backward: each channel for itself
# ---------------------------------
# No channel meets another. So with C channels, a depthwise convolution is C convolutions side by side, each with one
# channel and one filter. Its backward is that of lesson 6 for each of them. The weight ``w[kh, kw, c]`` met the pixels
# of channel c only, and its products went into channel c of the output:
#
# .. math:: dw_{kh,kw,c} = \sum_{n,\,i,\,j} x_{n,\; i \cdot SH + kh,\; j \cdot SW + kw,\; c} \; dout_{n,i,j,c}
#
# For dx, lay the kernel of channel c down at each place, times the ``dout`` of that place and channel, and add. In a
# convolution there was a sum over the filters, because each filter used the pixel. Here only one did:
#
# ::
#
#     dx[n, i*SH + kh, j*SW + kw, c]  +=  dout[n, i, j, c] * w[kh, kw, c]
#
# Now two channels. Channel 0 has the numbers of lesson 6, so its gradients are known. This is channel 1, by hand. Half
# of its ``dout`` is 0, which makes it short:
#
# ::
#
#     x = 0 1 0      w = 1 2      dout = 1 0
#         1 1 1          0 1             0 2
#         0 1 0
#
#     dw[0, 0] = x[0,0]*1 + x[1,1]*2 = 2        place (0, 0), dout 1      (1, 1), dout 2        sum: dx
#     dw[0, 1] = x[0,1]*1 + x[1,2]*2 = 3           1  2  .                   .  .  .              1  2  0
#     dw[1, 0] = x[1,0]*1 + x[2,1]*2 = 3           0  1  .          +        .  2  4      =       0  3  4
#     dw[1, 1] = x[1,1]*1 + x[2,2]*2 = 1           .  .  .                   .  0  2              0  0  2

two_x = np.stack([[[1.0, 2, 0], [0, 1, 3], [2, 0, 1]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]]], axis=-1)  # (3, 3, C)
two_w = np.stack([[[1.0, -1], [2, 3]], [[1, 2], [0, 1]]], axis=-1)  # (2, 2, C)
two_dout = np.stack([[[1.0, 3], [2, -1]], [[1, 0], [0, 2]]], axis=-1)  # (2, 2, C)


def backward_of(dout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dx (3, 3, C) and dw (2, 2, C) of the two channels, from dout (2, 2, C)."""
    dx, dw, _ = sn.layers.depthwise_conv2d_backward(dout[None], two_x[None], two_w[..., None], 1, 0)
    return dx[0], dw[..., 0]


two_dx, two_dw = backward_of(two_dout)
np.testing.assert_array_equal(two_dx[..., 0], [[1, 2, -3], [4, 6, 10], [4, 4, -3]])
np.testing.assert_array_equal(two_dw[..., 0], [[6, 1], [7, 9]])
np.testing.assert_array_equal(two_dx[..., 1], [[1, 2, 0], [0, 3, 4], [0, 0, 2]])
np.testing.assert_array_equal(two_dw[..., 1], [[2, 3], [3, 1]])

arrays = {"x": two_x, "w": two_w, "dout": two_dout, "dw": two_dw, "dx": two_dx}
drawn, grid = figure(2, 5, width=5.6, height=2.9, width_ratios=(3, 2, 2, 2, 3))
for c, row in enumerate(grid):
    for axes, (name, array) in zip(row, arrays.items(), strict=True):
        grey = 0.6 if name.startswith("d") else 0
        numbers(axes, array[..., c], name, shade=np.full(array.shape[:2], grey))
    row[0].set_ylabel(f"channel {c}")
keep(drawn, "13_two_channels")

# %%
# Is it true that the channels do not meet? Set ``dout`` to 0 in channel 0. Its gradients are gone, and those of channel
# 1 have not changed:

dx_alone, dw_alone = backward_of(two_dout * [0, 1])
assert not dx_alone[..., 0].any()
assert not dw_alone[..., 0].any()
np.testing.assert_array_equal(dx_alone[..., 1], two_dx[..., 1])
np.testing.assert_array_equal(dw_alone[..., 1], two_dw[..., 1])

# %%
# Exercise 12: depthwise convolution, backward
# --------------------------------------------
# Write it in ``lessons/exercises/12_depthwise_backward.py``, with stride and padding as in exercise 07, and run
# ``.venv/bin/scratchnet check 12``. The milestone of 2017, ``lessons/milestones/05_separable.py``, trains with it.
#
# The library allows several filters for each channel. Its definition has one loop for each index, and its fast way
# reverses the two loops of the forward pass above:

code(
    sn.layers.definition.depthwise_conv2d_backward,
    sn.layers.depthwise_conv2d_backward,
    exercise="12",
)

# %%
# The whole network
# -----------------
# Counting all layers, the separable network needs 3.6 times fewer multiply-adds. But it has hardly fewer *weights*,
# because nearly all of them are in the dense layer of 1024 units, which both networks have. The layers with the most
# weights are not the layers with the most work.

for net in (sn.models.standard_cnn(), sn.models.separable_cnn()):
    print(net.summary(), "\n")

ratio = sn.models.standard_cnn().multiply_adds() / sn.models.separable_cnn().multiply_adds()
print(f"{ratio:.1f} times fewer multiply-adds")
assert abs(ratio - 3.6) < 0.05

# %%
# Accuracy against cost
# ---------------------
# MobileNet has two settings that trade accuracy for cost. The *width multiplier* scales the number of filters. In
# MobileNet the cost falls nearly with the square of the width; here, with few channels and a dense layer, it falls
# nearly in proportion. The *resolution multiplier* scales the height and width of the image. Each setting is trained
# for the same 250 steps. The accuracy is that on validation digits, because the plot is there to choose a network
# (lesson 12). The dense layer has 128 units here, which make up 40 % of the cost; 1024 units would make up
# 84 %. The MobileNet paper shows its networks in a plot of this kind.


def trained(**settings) -> tuple[int, float]:
    """Multiply-adds and validation accuracy of a separable network after 250 steps."""
    net = sn.models.separable_cnn(seed=0, dense_units=128, init="he_normal", **settings)
    schedule = sn.one_cycle(0.008, 250)
    sn.fit(net, train, optimizer=sn.Adam(net.parameters()), steps=250, batch_size=32, schedule=schedule, progress=False)
    return net.multiply_adds(), sn.evaluate(net, validation)[1]


widths = {width: trained(width_multiplier=width) for width in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)}
resolutions = {size: trained(resolution_multiplier=size) for size in (0.5, 0.75)}
resolutions[1.0] = widths[1.0]

drawn, axes = figure(width=5.6, height=4)
for name, points, style, offset in (
    ("width", widths, "o-", (6, -12)),
    ("resolution", resolutions, "s--", (8, -4)),
):
    axes.plot(
        [p[0] for _, p in sorted(points.items())],
        [100 * p[1] for _, p in sorted(points.items())],
        style,
        label=f"{name} multiplier",
        color="black" if name == "width" else "#d55e00",
    )
    for value, (adds, accuracy) in points.items():
        if name == "width" or value != 1.0:
            place = (-10, 6) if value == 0.75 else offset  # not on the other line
            axes.annotate(
                str(Fraction(value)), (adds, 100 * accuracy), xytext=place, textcoords="offset points", fontsize=9
            )
axes.set(
    xscale="log",
    xlabel="multiply-adds for a digit, forward",
    ylabel="validation accuracy (%)",
    title="What accuracy costs: 250 steps, one seed",
)
axes.margins(y=0.1)
axes.legend(loc="lower right")
keep(drawn, "13_accuracy_and_cost")

for name, points in (("width", widths), ("resolution", resolutions)):
    for value, (adds, accuracy) in sorted(points.items()):
        print(f"{name} {value:<6g} {adds:>9,} multiply-adds  {accuracy:.1%}")
assert widths[1.0][1] > widths[1 / 16][1] + 0.02
assert abs(np.sqrt(0.95 * 0.05 / 2000) - 0.005) < 0.0002
assert abs(widths[1.0][1] - widths[0.5][1]) < 0.02
assert 15 < widths[1.0][0] / widths[1 / 16][0] < 20
for units, share in ((128, 0.40), (1024, 0.84)):
    whole = sn.models.separable_cnn(dense_units=units).multiply_adds()
    assert abs(sn.Dense(3136, units).multiply_adds((3136,)) / whole - share) < 0.01

# %%
# Read such a plot with care. It has only one random seed and 2,000 digits. By lesson 12's formula, chance alone moves
# an accuracy of 95 % by 0.5 points. So differences of one or two points may vanish with the next seed, such as that
# between the full width and half of it. And multiply-adds are not time. A depthwise layer moves much memory for little
# arithmetic, and how long it takes depends on the code (lessons 17 and 18).
#
# Try it
# ------
# By hand: how many multiply-adds does the *first* separable layer need (28 x 28 pixels, 1 channel in, 32 filters
# out), and how many does the convolution that it replaces? (19,600 + 25,088 = 44,688 against 627,200.)
#
# *Next:* ``14_deep_networks.py``. *In the library:* ``scratchnet/layers/depthwise.py``, ``pointwise.py``.

assert sn.DepthwiseConv2D(1, 5).multiply_adds((28, 28, 1)) == 19_600
assert sn.PointwiseConv2D(1, 32).multiply_adds((28, 28, 1)) == 25_088
assert sn.Conv2D(1, 32, 5).multiply_adds((28, 28, 1)) == 627_200
