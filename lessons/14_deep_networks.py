"""
14. Deep networks and batch normalisation
=========================================

*After this lesson you can* watch every layer of a network while it trains, say what goes wrong in a deep one and why,
derive the backward pass of batch normalisation, and build a residual block by hand.

*Part:* networks. *Needs:* lessons 3, 9 and 12. *Takes:* half a minute to run, an hour with pencil and paper.

The networks so far have six layers with weights or fewer. More layers see more of the image and can put together more
parts. But twelve of them in a row often do not learn at all. This lesson looks for the reason layer by layer, and
mends it in two ways.
"""

# %%
# One layer, by hand: how large is its output?
# --------------------------------------------
# An output is a sum of ``fan_in`` products ``x * w``. Suppose that the weights are drawn independently, with mean 0,
# and that the inputs have mean 0, too. A variance is then just the mean of the squares, and the mean of ``x**2 * w**2``
# is that of ``x**2`` times that of ``w**2``. So every product has the variance ``var(x) * var(w)``, and the variances
# of independent numbers add up:
#
# .. math:: \mathrm{var}(out) = fan\_in \cdot \mathrm{var}(w) \cdot \mathrm{var}(x)
#
# Take 100 inputs of variance 1. With weights of variance 1/100 the output has the variance 100 * 1/100 * 1 = 1: it is
# as large as the input. With weights of variance 4/100 it has 4, and its standard deviation is 2: twice as large.

import numpy as np
from showing import code, figure, keep, numbers

import scratchnet as sn

rng = np.random.default_rng(0)
x = rng.standard_normal((2000, 100))
for variance, by_hand in ((1 / 100, 1), (4 / 100, 4)):
    w = np.sqrt(variance) * rng.standard_normal((100, 100))
    print(f"var(w) = {variance}: var(out) = {(x @ w).var():.3f}, by hand {by_hand}")
    assert abs((x @ w).var() / by_hand - 1) < 0.05

# %%
# A ReLU then sets half of the numbers to 0. Its input is as often negative as positive, so half of the mean square is
# left. (The mean of a ReLU's output is not 0, and then it is the mean square that counts in the formula, not the
# variance.) He's rule, ``var(w) = 2 / fan_in``, makes up for it: 2 * 1/2 = 1. So the signal keeps its size through any
# number of layers.

z = x @ (np.sqrt(2 / 100) * rng.standard_normal((100, 100)))
kept = (np.maximum(z, 0) ** 2).mean() / (z**2).mean()
print(f"after the ReLU, {kept:.3f} of the mean square is left")
assert abs(kept - 0.5) < 0.01
assert abs((np.maximum(z, 0) ** 2).mean() - 1) < 0.05

# %%
# Twelve layers
# -------------
# What is a factor of two in one layer? In twelve layers it is ``2**12 = 4096``. Here is a deep network: twelve
# convolutions of 8 filters of 3 x 3, each followed by a ReLU, and then a dense layer. Look at the standard deviation of
# each convolution's output, with He's weights, with weights of half their size, and with weights of one and a half
# times it. (All biases are 0 at the start, so the size of the weights goes straight through: a factor of s in each
# layer is s to the power of k after k layers.)

sn.use_engine("numba")
everything, _ = sn.data.load("sample")
train = everything[:6000]
validation = sn.Dataset(everything.images[6000:], everything.labels[6000:], "2,000 validation digits")


def deep_network(depth: int = 12, norm: bool = False, scale: float = 1.0, seed: int = 0) -> sn.Network:
    """`depth` convolutions of 8 filters, with or without batch normalisation; the initial weights times `scale`."""
    rng = np.random.default_rng(seed)
    layers: list[sn.Layer] = [sn.AvgPool2D(2)]  # 14 x 14 pixels, to save time
    for i in range(depth):
        conv = sn.Conv2D(8 if i else 1, 8, 3, bias=not norm, init="he_normal", rng=rng)
        conv.w.value *= scale
        layers += [conv, sn.BatchNorm(8), sn.ReLU()] if norm else [conv, sn.ReLU()]
        if i == 3:
            layers.append(sn.MaxPool2D(2))
    layers += [sn.Flatten(), sn.Dense(7 * 7 * 8, 10, init="he_normal", rng=rng)]
    return sn.Network(layers, input_shape=(28, 28, 1), name="deep")


def outputs(net: sn.Network, x: np.ndarray) -> list[np.ndarray]:
    """The output of each convolution for a batch, as in training."""
    found = []
    for layer in net.layers:
        x = layer.forward(x, training=True)
        if layer.kind == "conv":
            found.append(x)
    return found


first_batch, first_labels = train.images[:128], train.labels[:128]
sizes = {scale: [out.std() for out in outputs(deep_network(scale=scale), first_batch)] for scale in (0.5, 1.0, 1.5)}
drawn, axes = figure(width=7.5, height=3.8)
for (scale, stds), style, colour in zip(
    sizes.items(), ("v--", "o-", "^:"), ("#0072b2", "black", "#d55e00"), strict=True
):
    axes.semilogy(range(1, 13), stds, style, color=colour, label=f"He's weights times {scale:g}")
axes.set(xlabel="convolution", ylabel="size of its output", title="The signal before training", xticks=range(1, 13))
axes.legend()
keep(drawn, "14_signal")
for scale, stds in sizes.items():
    print(f"times {scale}: first {stds[0]:.3f}, twelfth {stds[-1]:.5f}")
    assert np.isclose(stds[-1] / sizes[1.0][-1], scale**12, rtol=0.01)
assert 0.3 < sizes[1.0][-1] / sizes[1.0][0] < 3

# %%
# The signal of too small weights fades to less than a thousandth, and that of too large ones grows more than a
# hundredfold. The gradient goes back through the same weights, and fades or grows in the same way. With He's weights
# the size is right, but only *at the start*. What happens in training?
#
# Watch every layer
# -----------------
# Train, and write down three things for each convolution at every fifth step:
#
# 1. its **activations**: the values that 5, 50 and 95 % of its output numbers lie below;
# 2. its **gradient**: the standard deviation of dw;
# 3. the **update-to-weight ratio**: how large a step is beside the weights, ``std(step) / std(w)``.
#
# As a rule of thumb, the ratio should be about 1/1000: in a thousand steps a weight can then become something else
# altogether; several thousandths are fine, too. At 1/100000 a layer does not learn. At 1/10 it forgets in ten steps
# what it has learned.


def watched(net: sn.Network, lr: float, steps: int = 120) -> dict[str, np.ndarray]:
    """Train with SGD, and return what was seen: losses (steps,), and for each look and convolution the three things."""
    optimizer = sn.SGD(net.parameters(), lr, momentum=0.9)
    convs = [layer for layer in net.layers if layer.kind == "conv"]
    seen: dict[str, list] = {"loss": [], "activations": [], "gradients": [], "ratios": []}
    epochs = (train.batches(32, np.random.default_rng(epoch)) for epoch in range(steps))
    batches = (batch for epoch in epochs for batch in epoch)
    for step, (x, labels) in zip(range(steps), batches, strict=False):
        look = step % 5 == 0
        if look:
            seen["activations"].append([np.quantile(out, (0.05, 0.5, 0.95)) for out in outputs(net, x)])
            before = [layer.w.value.copy() for layer in convs]
        loss, dlogits = sn.softmax_cross_entropy(net.forward(x, training=True), labels)
        net.backward(dlogits, need_dx=False)
        optimizer.step()
        seen["loss"].append(loss)
        if look:
            seen["gradients"].append([layer.w.grad.std() for layer in convs])
            moved = [(layer.w.value - w).std() / w.std() for layer, w in zip(convs, before, strict=True)]
            seen["ratios"].append(moved)
    return {name: np.array(values) for name, values in seen.items()}


plain, hurried = deep_network(), deep_network()
fine, too_fast = watched(plain, lr=0.01), watched(hurried, lr=0.05)


def draw_watched(seen: dict[str, np.ndarray], title: str, name: str) -> None:
    """The three things over training: bands of activations of three layers, and gradients and ratios of all twelve."""
    drawn, (a, g, r) = figure(3, 1, width=6, height=7.5, sharex=True)
    at = 5 * np.arange(len(seen["ratios"]))
    for k, colour, hatch in ((0, "#0072b2", None), (5, "0.5", "//"), (11, "#d55e00", "..")):
        low, middle, high = seen["activations"][:, k].T
        a.fill_between(at, low, high, alpha=0.3, color=colour, hatch=hatch, label=f"conv{k + 1}")
        a.plot(at, middle, color=colour)
    for k in range(12):
        grey = str(0.75 * k / 11)
        g.semilogy(at, seen["gradients"][:, k], color=grey)
        r.semilogy(at, seen["ratios"][:, k], color=grey)
    r.axhline(1e-3, color="#d55e00", linestyle="--", label="1/1000")
    a.set(title=f"{title}\n\nactivations: median, and 5 to 95 %")
    g.set(title="size of dw; the first layer is black, the last light", ylim=(1e-5, 1))
    r.set(xlabel="step", title="step / weights", ylim=(1e-6, 1))
    a.legend(loc="lower right", ncols=3, fontsize=8)
    r.legend(loc="upper right")
    keep(drawn, name)


draw_watched(fine, "12 layers, lr 0.01: it learns", "14_watched")
draw_watched(too_fast, "12 layers, lr 0.05: it does not", "14_watched_too_fast")
print(
    f"loss of the last 20 steps: {fine['loss'][-20:].mean():.3f} at lr 0.01, "
    f"{too_fast['loss'][-20:].mean():.3f} at lr 0.05"
)
print(f"update-to-weight ratio, median over layers and steps: {np.median(fine['ratios']):.1e} at lr 0.01")
assert fine["loss"][-20:].mean() < 1.2
assert too_fast["loss"][-20:].mean() > 2.0
assert 3e-4 < np.median(fine["ratios"]) < 3e-2

# %%
# At a learning rate of 0.01 the sizes of all layers grow at first and then stay within bounds, and the loss falls. At
# 0.05 a few large steps in the beginning push the numbers of whole channels below 0. Behind the ReLU all is 0 then, for
# every digit: the units are *dead*. If a whole layer is dead, the layers behind it see the same for each digit, and no
# gradient passes back. The loss stays at 2.3. (A line that drops out of the middle picture is at 0, or nearly. In the
# lowest picture the steps still shrink evenly: without a gradient to speak of, momentum makes each step 0.9 times the
# one before.) Count the dead:

gone = (too_fast["gradients"][-4:] < 1e-6).all(axis=0)  # convolutions with hardly a gradient
last_ratios = too_fast["ratios"][-2:, gone]
print(f"{gone.sum()} of 12 convolutions get hardly any gradient")
assert gone.any()
np.testing.assert_allclose(last_ratios[1] / last_ratios[0], 0.9**5, rtol=0.05)  # five steps lie between two looks


def dead_shares(net: sn.Network) -> tuple[list[float], float]:
    """The share of each ReLU's numbers that are 0 for all of 128 digits, and how much the last ones differ by digit."""
    x, shares = first_batch, []
    for layer in net.layers[:-2]:
        x = layer.forward(x, training=True)
        if layer.kind == "relu":
            shares.append(float((x == 0).all(axis=0).mean()))
    return shares, float(x.std(axis=0).mean())


for name, net in (("lr 0.01", plain), ("lr 0.05", hurried)):
    shares, differ = dead_shares(net)
    print(f"{name}: in the worst layer {max(shares):.0%} are dead; at the end, digits differ by {differ:.1e}")
assert max(dead_shares(hurried)[0]) > max(dead_shares(plain)[0])
assert dead_shares(hurried)[1] < 0.05 * dead_shares(plain)[1]

# %%
# In a deep network without help the largest rate that works is small, because a step in one layer moves the inputs of
# all later ones.
#
# The receptive field: what one number sees
# -----------------------------------------
# Why go deep at all? A number after one 3 x 3 convolution depends on 3 x 3 pixels. After a second one, it depends on
# 3 x 3 numbers that see 3 x 3 pixels each, one pixel apart: 5 x 5 pixels. This is its *receptive field*. Call its side
# r, and the distance between neighbouring numbers, in pixels of the image, j. A layer with a kernel of k and a stride
# of s makes
#
# ::
#
#     r  <-  r + (k - 1) * j          it spans k numbers, which lie j apart
#     j  <-  j * s
#
# By hand, for two convolutions, a pool of 2 with stride 2, and two more convolutions, from ``r = 1, j = 1``:
#
# .. code-block:: text
#
#     layer     k  s     r                  j
#     conv      3  1     1 + 2 * 1 =  3     1
#     conv      3  1     3 + 2 * 1 =  5     1
#     pool      2  2     5 + 1 * 1 =  6     2
#     conv      3  1     6 + 2 * 2 = 10     2
#     conv      3  1    10 + 2 * 2 = 14     2
#
# Backprop can draw it: which pixels reach one number? Those whose gradient is not 0 if ``dout`` is 1 at this number and
# 0 elsewhere. (All weights are 1 here, so that nothing cancels, and the pool takes means.)

stack = [sn.Conv2D(1, 1, 3), sn.Conv2D(1, 1, 3), sn.AvgPool2D(2), sn.Conv2D(1, 1, 3), sn.Conv2D(1, 1, 3)]
by_hand = (3, 5, 6, 10, 14)
drawn, grid = figure(2, 3, width=5.6, height=4.2)
grid[1, 2].axis("off")
for depth, (axes, side) in enumerate(zip(grid.flat, by_hand, strict=False), start=1):
    net = sn.Network(stack[:depth], input_shape=(28, 28, 1))
    for p in net.parameters():
        p.value = np.ones_like(p.value)
    out = net.forward(np.zeros((1, 28, 28, 1), np.float32))
    dout = np.zeros_like(out)
    dout[0, out.shape[1] // 2, out.shape[2] // 2] = 1
    dx = net.backward(dout)[0, :, :, 0]
    assert ((dx > 0).any(axis=0).sum(), (dx > 0).any(axis=1).sum()) == (side, side)
    axes.imshow(train.images[0, :, :, 0], cmap="gray_r", alpha=0.35)
    axes.imshow(np.where(dx > 0, np.sqrt(dx / dx.max()), np.nan), cmap="Greys", vmin=-0.6, vmax=1, alpha=0.8)
    axes.set_title(f"{net.layers[-1].name}: {side} x {side}", fontsize=11)
    axes.axis("off")
keep(drawn, "14_receptive_field")

# %%
# The middle counts most: many paths lead from there to the number, and few from the edge. Two convolutions of 3 x 3 see
# as much as one of 5 x 5, with 18 weights in place of 25 and with a ReLU between them. To see a whole digit, a network
# needs depth, or pools. Now to what depth costs.
#
# Batch normalisation, by hand
# ----------------------------
# If a layer's numbers drift away in training, put them back: subtract their mean and divide by their standard
# deviation, in each channel, over the batch (Ioffe and Szegedy, 2015). A scale w and a shift b are learned for each
# channel, so that the network may still choose another size. Four numbers of one channel, with w = 2 and b = 1:
#
# .. code-block:: text
#
#     x      =    3      9     11     17        mean = 40 / 4                     = 10
#     x-mean =   -7     -1      1      7        var  = (49 + 1 + 1 + 49) / 4      = 25
#     x_hat  = -1.4   -0.2    0.2    1.4        divided by sqrt(25) = 5
#     out    = -1.8    0.6    1.4    3.8        2 * x_hat + 1
#
# (A small ``eps`` is added to var, so that a channel whose numbers are all equal is not divided by 0. Here it is 0.)
# For images, a channel has N*H*W numbers in a batch: each pixel of each image counts as one.

x = np.array([3.0, 9, 11, 17])
w, b, N = 2.0, 1.0, 4
mean, var = x.mean(), x.var()
deviation = np.sqrt(var)
x_hat = (x - mean) / deviation
out = w * x_hat + b
assert (mean, var) == (10, 25)
np.testing.assert_allclose(x_hat, [-1.4, -0.2, 0.2, 1.4])
np.testing.assert_allclose(out, [-1.8, 0.6, 1.4, 3.8])

# %%
# Backward: three paths
# ---------------------
# Later layers hand back ``dout = [1, 2, 0, 1]``. The first part is as in a dense layer. b was added to each of the four
# numbers, and w multiplied each x_hat:
#
# .. code-block:: text
#
#     db     = 1 + 2 + 0 + 1                           =  4
#     dw     = 1*-1.4 + 2*-0.2 + 0*0.2 + 1*1.4         = -0.4
#     dx_hat = w * dout                                = [2  4  0  2]
#
# Now from x_hat to x. In ``x_hat[n] = (x[n] - mean) / sqrt(var)``, x occurs three times: as itself, in the mean, and in
# the variance. Slopes of several paths add up (lesson 3), so take them one at a time.
#
# **Directly.** If mean and variance stayed as they are, x_hat would move by 1/sqrt(var) = 1/5:
#
# .. code-block:: text
#
#     direct        = dx_hat / 5                       = [0.4  0.8  0.0  0.4]
#
# **Through the mean.** The mean is used in *every* x_hat, each time with the slope -1/5. So its gradient is a sum over
# all four. And x[n] moves the mean by 1/N:
#
# .. code-block:: text
#
#     dmean         = -(2 + 4 + 0 + 2) / 5             = -1.6
#     through mean  = dmean / 4                        = [-0.4  -0.4  -0.4  -0.4]
#
# **Through the variance.** It is used in every x_hat as ``var**-0.5``, whose slope is ``-0.5 * var**-1.5``, which is
# -0.5 / 125 = -0.004. And x[n] moves the variance by ``2 * (x[n] - mean) / N``:
#
# .. code-block:: text
#
#     dvar          = (2*-7 + 4*-1 + 0*1 + 2*7) * -0.004      = 0.016
#     through var   = dvar * 2 * (x - mean) / 4               = [-0.056  -0.008  0.008  0.056]
#
#     dx = direct + through mean + through var                = [-0.056   0.392  -0.392  0.056]
#
# (Does the variance not depend on the mean, too? It does, with the slope ``-2/N * sum of (x - mean)``. This sum is 0,
# so nothing comes from there.)

dout = np.array([1.0, 2, 0, 1])
db, dw, dx_hat = dout.sum(), (dout * x_hat).sum(), w * dout
direct = dx_hat / deviation
dmean = -dx_hat.sum() / deviation
through_mean = np.full(4, dmean / N)
dvar = (dx_hat * (x - mean)).sum() * -0.5 * var**-1.5
through_var = dvar * 2 * (x - mean) / N
dx = direct + through_mean + through_var
np.testing.assert_allclose([db, dw, dmean, dvar], [4, -0.4, -1.6, 0.016])
np.testing.assert_allclose(through_var, [-0.056, -0.008, 0.008, 0.056])
np.testing.assert_allclose(dx, [-0.056, 0.392, -0.392, 0.056])

drawn, (values, gradients) = figure(2, 1, width=4.6, height=6.2)
numbers(values, np.stack([x, x - mean, x_hat, out]), "forward")
numbers(gradients, np.stack([direct, through_mean, through_var, dx]), "backward", form="{:.3f}")
for axes, names in ((values, ("x", "x - mean", "x_hat", "out")), (gradients, ("direct", "mean", "variance", "dx"))):
    for row, name in enumerate(names):
        axes.text(-0.6, row, name, ha="right", va="center")
keep(drawn, "14_batch_norm")

# %%
# Look at dx. Its sum is 0: to add the same to all four numbers changes nothing, because the mean takes it back. And the
# sum of ``dx * x_hat`` is 0, too: to stretch all four numbers changes nothing, because the variance takes that back.
# Measured slopes agree:

np.testing.assert_allclose([dx.sum(), (dx * x_hat).sum()], 0, atol=1e-12)


def loss_at(x: np.ndarray) -> float:
    """The sum of out * dout, as in lesson 3."""
    return float(((w * (x - x.mean()) / x.std() + b) * dout).sum())


slopes = [(loss_at(x + h) - loss_at(x - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
np.testing.assert_allclose(slopes, dx, atol=1e-8)

# %%
# Put in letters, the paths through mean and variance become short. The first is dx_hat / sqrt(var). The second is
#
# ::
#
#     through mean  =  dmean / N  =  -mean(dx_hat) / sqrt(var)
#
# For the third, put in dvar, and then ``x - mean = x_hat * sqrt(var)``, twice:
#
# ::
#
#     dvar          =  sum(dx_hat * (x - mean)) * -0.5 * var**-1.5
#     through var   =  dvar * 2 * (x - mean) / N
#                   =  -mean(dx_hat * (x - mean)) * (x - mean) / (var * sqrt(var))
#                   =  -mean(dx_hat * x_hat) * x_hat / sqrt(var)
#
# All three have the factor 1 / sqrt(var). Take it out:
#
# .. math:: dx_n = \frac{1}{\sqrt{var + eps}} \Big( dx\_hat_n - \frac1N \sum_m dx\_hat_m
#           - x\_hat_n \, \frac1N \sum_m dx\_hat_m \, x\_hat_m \Big)
#
# In the example: ``([2 4 0 2] - 2 - x_hat * -0.2) / 5``.

np.testing.assert_allclose(-dx_hat.mean() / deviation, through_mean)
np.testing.assert_allclose(-(dx_hat * (x - mean)).mean() * (x - mean) / (var * deviation), through_var)
np.testing.assert_allclose(-(dx_hat * x_hat).mean() * x_hat / deviation, through_var)
np.testing.assert_allclose((dx_hat - dx_hat.mean() - x_hat * (dx_hat * x_hat).mean()) / deviation, dx)

# %%
# Exercise 14: batch normalisation, backward
# ------------------------------------------
# Write it in ``lessons/exercises/14_batch_norm_backward.py``, and run ``.venv/bin/scratchnet check 14``. Use the three
# paths or the short formula. Write it for rows of several channels: every sum and every mean gets ``axis=0``. And
# ``var`` becomes ``var + eps``, also in ``var**-1.5``.
#
# The library's function uses that the two sums are those of db and dw, apart from w, and it calls N, the count of
# numbers in a channel, P:

code(sn.layers.batch_norm_backward, exercise="14")

four_pixels = x.reshape(1, 1, 4, 1)  # (N, H, W, C)
with sn.use_engine("numpy"):
    found = sn.layers.batch_norm_backward(
        dout.reshape(1, 1, 4, 1), four_pixels, np.array([w]), np.array([mean]), np.array([var]), 0.0, training=True
    )
for array, expected in zip(found, (dx, dw, db), strict=True):
    np.testing.assert_allclose(array.ravel(), expected)

# %%
# Twelve layers with it
# ---------------------
# The same network, with batch normalisation between each convolution and its ReLU. (The convolutions need no biases
# then: the mean would take them back, and b does their work.)

normalised = deep_network(norm=True)
calm = watched(normalised, lr=0.05)
draw_watched(calm, "12 layers with batch normalisation, lr 0.05", "14_watched_normalised")


def smooth(curve: np.ndarray, width: int = 10) -> np.ndarray:
    """The running mean of a curve."""
    return np.convolve(curve, np.ones(width) / width, mode="valid")


drawn, axes = figure(width=7.5, height=3.6)
for seen, label, style, colour in (
    (too_fast, "plain, lr 0.05", ":", "#d55e00"),
    (fine, "plain, lr 0.01", "--", "#0072b2"),
    (calm, "batch normalisation, lr 0.05", "-", "black"),
):
    axes.plot(smooth(seen["loss"]), style, color=colour, label=label)
axes.set(xlabel="step", ylabel="loss, mean of 10 steps (nats)", title="Twelve layers", ylim=(0, 2.6))
axes.legend()
keep(drawn, "14_with_and_without")
accuracies = {name: sn.evaluate(net, validation)[1] for name, net in (("plain", plain), ("normalised", normalised))}
print({name: f"{accuracy:.1%}" for name, accuracy in accuracies.items()})
assert calm["loss"][-20:].mean() < 0.8 * fine["loss"][-20:].mean()
assert accuracies["normalised"] > 0.8

# %%
# It learns at the rate at which the plain network died. And a wrong size of the initial weights no longer matters:
# whatever the convolution multiplies by, the division takes out again.

careful, careless = (deep_network(norm=True, scale=scale).forward(first_batch, training=True) for scale in (1, 1.5))
assert np.abs(careful - careless).max() < 0.01 * careful.std()

# %%
# Outside training: running statistics
# ------------------------------------
# To read one digit, there is no batch to take a mean over, and the answer for one digit should not depend on the others
# beside it. So in training the layer also follows mean and variance with running ones, and uses those afterwards:
#
# ::
#
#     running  <-  (1 - momentum) * running + momentum * newest,      with momentum 0.1
#
# (This ``momentum`` has nothing to do with that of lesson 9. It is the share of the newest statistics.)
#
# Three ways to get it wrong: the running statistics are not saved with the weights, so they begin anew at 0 and 1;
# training mode is left on, so that each digit is read with the statistics of its own batch, here of one digit; or the
# batch is there, but all of its digits are of one class.

by_class = validation[np.argsort(validation.labels, kind="stable")]


def accuracy_in_batches(digits: sn.Dataset, batch_size: int) -> float:
    """The accuracy with the statistics of each batch, as if training mode had been left on."""
    right = 0
    for start in range(0, len(digits), batch_size):
        part = digits[start : start + batch_size]
        right += int((normalised.forward(part.images, training=True).argmax(axis=1) == part.labels).sum())
    return right / len(digits)


# training=True also moves the running statistics, so keep them, to put them back at the end.
snapshot = {name: array.copy() for name, array in normalised.state().items()}
found = {
    "running statistics": sn.evaluate(normalised, validation)[1],
    "batches of 128": accuracy_in_batches(validation, 128),
    "batches of one class": accuracy_in_batches(by_class, 128),
    "one digit at a time": accuracy_in_batches(validation[:500], 1),
}
for layer in normalised.layers:
    if layer.kind == "batch_norm":
        layer.running_mean, layer.running_var = np.zeros(8, np.float32), np.ones(8, np.float32)
found["statistics lost: 0 and 1"] = sn.evaluate(normalised, validation)[1]
normalised.set_state(snapshot)
for name, accuracy in found.items():
    print(f"{name:26} {accuracy:.1%}")
assert abs(found["running statistics"] - found["batches of 128"]) < 0.1
for name in ("batches of one class", "one digit at a time", "statistics lost: 0 and 1"):
    assert found[name] < found["running statistics"] - 0.05, name

# %%
# None of these raises an error. The network only reads worse. That is why ``sn.save`` writes the running statistics,
# and why ``training=False`` is the default of ``forward``.
#
# A residual connection
# ---------------------
# Batch normalisation keeps sizes right. Another idea makes the way back short: let a block of layers compute not the
# output itself, but what to *add* to its input (He et al., 2015):
#
# ::
#
#     forward:    out = x + f(x)
#     backward:   dx  = dout + (dout through the backward of f)
#
# The input is used twice, as itself and in f, so the two slopes add up. The first of them is 1, whatever f does. So the
# gradient reaches the first layer even if it fades in every f on the way.
#
# A network is a sequence of layers, and such a block is no sequence. But it can be a layer of its own, which holds
# others. It takes fifteen lines:


class Residual(sn.Layer):
    """x + f(x), where f is a sequence of layers that keep the shape."""

    kind = "residual"

    def __init__(self, layers: list[sn.Layer]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        out = self.check_input(x)
        for layer in self.layers:
            out = layer.forward(out, training)
        return x + out

    def backward(self, dout: np.ndarray, need_dx: bool = True) -> np.ndarray:
        dout = self.check_dout(dout)
        dx = dout
        for layer in reversed(self.layers):
            dx = layer.backward(dx)
        return dout + dx

    def parameters(self) -> list[sn.Parameter]:
        return [p for layer in self.layers for p in layer.parameters()]


report = sn.gradcheck(Residual([sn.Conv2D(2, 2, 3), sn.ReLU(), sn.Conv2D(2, 2, 3)]), rng.standard_normal((2, 4, 5, 2)))
print(report)
assert report.passed

# %%
# Nineteen convolutions, with and without
# ---------------------------------------
# One convolution and nine blocks of two make a network of nineteen. Each block's second convolution starts with weights
# of 0. So at the start each block is ``out = x + 0``, and the sum does not grow from block to block. As a comparison,
# nineteen plain convolutions. How large is the gradient of each layer's output, from the last layer back to the first?
# Take weights of 0.7 times He's in both networks, as they come about in a less careful initialisation.


def residual_network(scale: float = 1.0, seed: int = 0) -> sn.Network:
    """19 convolutions of 8 filters: the first one, and nine residual blocks of two."""
    rng = np.random.default_rng(seed)

    def conv(channels: int, scale: float) -> sn.Conv2D:
        layer = sn.Conv2D(channels, 8, 3, init="he_normal", rng=rng)
        layer.w.value *= scale
        return layer

    layers: list[sn.Layer] = [sn.AvgPool2D(2), conv(1, scale), sn.ReLU()]
    for i in range(9):
        layers.append(Residual([conv(8, scale), sn.ReLU(), conv(8, 0.0)]))
        if i == 1:
            layers.append(sn.MaxPool2D(2))
    layers += [sn.Flatten(), sn.Dense(7 * 7 * 8, 10, init="he_normal", rng=rng)]
    return sn.Network(layers, input_shape=(28, 28, 1), name="residual")


def gradients_on_the_way(net: sn.Network) -> list[float]:
    """The length of the gradient of each convolution's or block's output, the first layer's first."""
    _, dout = sn.softmax_cross_entropy(net.forward(first_batch, training=True), first_labels)
    lengths = []
    for layer in reversed(net.layers):
        if layer.kind in ("conv", "residual"):
            lengths.append(float(np.linalg.norm(dout)))
        dout = layer.backward(dout)
    return lengths[::-1]


without = gradients_on_the_way(deep_network(depth=19, scale=0.7))
with_it = gradients_on_the_way(residual_network(scale=0.7))
drawn, (above, below) = figure(2, 1, width=6, height=6)
above.semilogy(range(1, 20), without, "v--", color="#0072b2", label="plain")
above.semilogy([1, *range(3, 20, 2)], with_it, "o-", color="black", label="residual")
above.set(
    xlabel="convolution",
    ylabel="length of its output's gradient",
    title="The way back, at the start",
    xticks=range(1, 20, 3),
)
above.legend()
print(f"gradient at the first layer beside the last: plain {without[0] / without[-1]:.4f}, "
      f"residual {with_it[0] / with_it[-1]:.2f}")  # fmt: skip
assert without[0] < 0.05 * without[-1]
assert with_it[0] > 0.3 * with_it[-1]

losses = {}
for (name, net), style, colour in zip(
    {"plain": deep_network(depth=19), "residual": residual_network()}.items(),
    ("--", "-"),
    ("#0072b2", "black"),
    strict=True,
):
    history = sn.fit(
        net, train, optimizer=sn.SGD(net.parameters(), 0.01, 0.9), steps=120, batch_size=32, progress=False
    )
    losses[name] = np.array([step["loss"] for step in history.steps])
    below.plot(smooth(losses[name]), style, color=colour, label=f"{name}, He's weights")
below.set(xlabel="step", ylabel="loss, mean of 10 steps (nats)", title="19 layers, lr 0.01", ylim=(0, 2.6))
below.legend()
keep(drawn, "14_residual")
ends = {name: curve[-20:].mean() for name, curve in losses.items()}
print({name: f"loss of the last 20 steps {end:.3f}" for name, end in ends.items()})
assert ends["residual"] < 0.6 * ends["plain"]

# %%
# Even with He's weights, where the plain network's gradients have the right size, the residual one learns much faster.
# It begins as a shallow network, and each block comes in as it learns something. Where does it not help? In a network
# of four layers there is nothing to shorten. And the sum needs a block that keeps the shape: where channels or sizes
# change, the way around needs a convolution of its own.
#
# Try it
# ------
# 1. Leave ``through_mean`` out of dx above, and train with such a layer (a subclass of ``sn.BatchNorm``). Does it still
#    learn? (Often it does, only worse. A wrong backward can go unnoticed: that is why there is ``sn.gradcheck``.)
# 2. Put batch normalisation into the blocks, before each ReLU. Which is the largest learning rate now?
# 3. What is the receptive field of ``deep_network`` before its dense layer, in pixels of the original image? (A pool of
#    2, four convolutions, a pool and eight convolutions: 2 + 4 * 4 + 2 + 8 * 8 = 84, three times the image.)
#
# *Next:* ``15_step_through_backprop.py``. *In the library:* ``scratchnet/layers/batch_norm.py``,
# ``scratchnet/layers/base.py``, ``scratchnet/layers/initial.py``.
