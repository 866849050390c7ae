"""
9. A network that learns nothing for a thousand steps
=====================================================

*After this lesson you can* train a network with the library, recognise a plateau, find its cause by measuring signals
layer by layer, and get past it in three different ways.

*Part:* networks. *Needs:* lessons 2 to 7. *Takes:* a quarter of a minute to run, twenty minutes to read. On the very
first run, compiling comes on top.

The first of the three networks that this project reproduces, ``four_conv_cnn``, reaches 98 % in the end. But its
published log reads: step 500, loss 2.298; step 1000, loss 2.287; step 1500, loss 0.278. For a thousand steps it does no
better than guessing, and then it suddenly learns. What happens there?
"""

# %%
# Train it as published
# ---------------------
# The original uses plain SGD with a learning rate of 0.01. Its initial weights are drawn uniformly from
# ±1/sqrt(fan_in), PyTorch's default, where ``fan_in`` is the number of inputs that reach one output. The original took
# batches of 128 from 60,000 digits. Here the batches are 32 from 8,000, which is faster and changes little: the length
# of the plateau depends most on the random seed. With seed 1, as here, the plateau ends early. The network runs on the
# compiled engine.

import numpy as np
from showing import code, figure, keep

import scratchnet as sn
from scratchnet.layers.initial import initial_weights

sn.use_engine("numba")
train, test = sn.data.load("sample")
print(sn.models.four_conv_cnn().summary())


def losses_of(net: sn.Network, optimizer: sn.SGD, steps: int) -> np.ndarray:
    """Train for this many steps of 32 digits, and return the loss of each."""
    history = sn.fit(net, train, optimizer=optimizer, steps=steps, batch_size=32, seed=0, progress=False)
    return np.array([s["loss"] for s in history.steps])


published = sn.models.four_conv_cnn(seed=1)
losses = {"as published": losses_of(published, sn.SGD(published.parameters(), lr=0.01), 850)}


def smooth(curve: np.ndarray, width: int = 25) -> np.ndarray:
    """The running mean of a curve."""
    return np.convolve(curve, np.ones(width) / width, mode="valid")


log = {500: 2.298, 1000: 2.287, 1500: 0.278}  # the losses of the published log, in nats
curve = smooth(losses["as published"])
left_at = int(np.argmax(curve < 2.2))
print(f"loss at step 300: {curve[300]:.3f}; it falls below 2.2 at step {left_at}")
assert abs(curve[300] - 2.303) < 0.02, "after 300 steps it knows nothing: 2.303 is -log(1/10)"
assert abs(curve[300] - log[500]) < 0.02, "no more than the original at step 500"
assert 400 < left_at < 850

# %%
# Which question to ask
# ---------------------
# 2.303 is the loss of a network that answers 1/10 for each class, whatever the image shows. Do the logits depend on the
# image at all? Send 256 digits through the untrained network. After each layer, measure how much its outputs *differ
# between images*: their standard deviation over the batch. Call this the signal. An output that is the same for all
# images says nothing about them.


def signals(net: sn.Network) -> tuple[list[str], list[float]]:
    """The name of each layer with weights, and the mean standard deviation of its outputs over the batch."""
    names, strengths = [], []
    x = train.images[:256]
    for layer in net.layers:
        x = layer.forward(x)
        if layer.parameters():
            names.append(layer.name)
            strengths.append(float(x.std(axis=0).mean()))
    return names, strengths


fresh = sn.models.four_conv_cnn(seed=1)
names, weak = signals(fresh)
for name, strength in zip(names, weak, strict=True):
    print(f"{name:7} {strength:.5f}")
assert weak[-1] < 0.003

# %%
# The signal fades from layer to layer: at the logits, the images differ by only a thousandth or two. The network cannot
# tell them apart.
#
# Why it fades: one line of statistics
# ------------------------------------
# The *variance* is the mean squared distance from the mean, and its root is the standard deviation. ``E[x^2]`` is the
# mean of the squares of x. An output is a sum of ``fan_in`` products ``x * w``. The weights are random, with mean 0,
# and independent of the inputs and of each other. Then each product has the variance ``Var(w) * E[x^2]``, and the
# variances of such products add up (lesson 14 measures it):
#
# .. math:: \mathrm{Var}(z) = fan\_in \cdot \mathrm{Var}(w) \cdot \mathrm{E}[x^2]
#
# Uniform numbers from -a to a have the mean 0. Their variance is the mean of w² there, which is a²/3. With
# a = 1/sqrt(fan_in), the variance of an output is a third of the mean square of the inputs. A ReLU sets the negative
# numbers to 0. They are about half, so it halves the mean square. From the output of one layer to the output of the
# next, 1/6 is left.
#
# The *difference* between two images fades like that, too. A layer computes the difference of its outputs from the
# difference of its inputs, with the same weights: a third is left of its mean square. Where both images are below 0, a
# ReLU leaves nothing of it: about half. So the signal shrinks by a factor of sqrt(6), about 2.4. From conv1 to the
# logits there are five such steps, which leave ``6**-2.5 = 0.011`` of it. (Pooling is left out of this estimate.)

assert abs(6**-2.5 - 0.011) < 0.0005
print(f"measured: {weak[-1] / weak[0]:.3f}")
assert 0.005 < weak[-1] / weak[0] < 0.02
w = fresh.layers[7].w.value  # conv4's filters: fan_in is 5*5*16
print("Var(w) * fan_in:", float(w.var() * np.prod(w.shape[:3])))
assert abs(w.var() * np.prod(w.shape[:3]) - 1 / 3) < 0.02

x, left_over = train.images[:256], {}
for layer in fresh.layers:
    out = layer.forward(x)
    left_over[layer.name] = ((out[:128] - out[128:]) ** 2).mean() / ((x[:128] - x[128:]) ** 2).mean()  # image pairs
    x = out
for name in ("dense1", "relu5"):
    print(f"{name}: {left_over[name]:.2f} of the squared difference is left")
assert abs(left_over["dense1"] - 1 / 3) < 0.03
assert abs(left_over["relu5"] - 1 / 2) < 0.05

# %%
# He's rule (2015) sets the variance to 2/fan_in, so that nothing fades. The 2 makes up for the ReLU. Each rule is a
# line or two:

code(initial_weights)

names, strong = signals(sn.models.four_conv_cnn(seed=1, init="he_normal"))
drawn, axes = figure(width=5.5, height=3.6)
axes.semilogy(names, weak, "o--", color="#d55e00", label="as published: ±1/sqrt(fan_in)")
axes.semilogy(names, strong, "s-", color="black", label="He: variance 2/fan_in")
axes.set(ylabel="how much images differ", title="The signal, layer by layer, before training")
axes.legend()
keep(drawn, "09_signal")
assert strong[-1] > 50 * weak[-1]

# %%
# The gradient comes back through the same layers, so it fades in the same way. This holds up learning at both ends of
# the network. The logits hardly depend on the image, so the only thing that the last layer learns quickly is its bias:
# how frequent each of the ten classes is. And the gradient that reaches the first layers is tiny. Still, slightly
# larger weights give slightly larger gradients, which make the weights grow faster. Such growth is exponential: for a
# long time nothing seems to happen, and then the loss falls steeply.

net_gradients = {}
for name, init in (("as published", "pytorch"), ("He", "he_normal")):
    net = sn.models.four_conv_cnn(seed=1, init=init)
    loss, dlogits = sn.softmax_cross_entropy(net.forward(train.images[:256], training=True), train.labels[:256])
    net.backward(dlogits, need_dx=False)
    net_gradients[name] = float(np.linalg.norm(net.layers[0].w.grad))
    print(f"{name}: the first layer's gradient has the length {net_gradients[name]:.5f}")
assert net_gradients["He"] > 50 * net_gradients["as published"]

# %%
# Momentum
# --------
# Gradient descent takes a step of ``lr * g``, and forgets g. *Momentum* keeps an array m beside each array of weights:
# the sum of all gradients so far, in which older ones count less. The step goes along m. m starts at 0:
#
# ::
#
#     m     = momentum * m + g
#     value = value - lr * m
#
# By hand, with momentum 0.9, and a gradient that is 1 in every step:
#
# ::
#
#     step 1      m = 0.9 * 0    + 1 = 1
#     step 2      m = 0.9 * 1    + 1 = 1.9          = 1 + 0.9
#     step 3      m = 0.9 * 1.9  + 1 = 2.71         = 1 + 0.9 + 0.9^2
#     step 4      m = 0.9 * 2.71 + 1 = 3.439        = 1 + 0.9 + 0.9^2 + 0.9^3
#
# Where does this end? Call the whole sum S. It is ``S = 1 + 0.9 + 0.9^2 + ...``, a geometric series. Multiply it by
# 0.9: ``0.9 * S = 0.9 + 0.9^2 + ...`` is the same sum without its first term. So ``S - 0.9 * S = 1``, and
#
# .. math:: S = \frac{1}{1 - 0.9} = 10
#
# A gradient that keeps its direction ends up with steps ten times as large. And a gradient that changes its sign in
# every step? Then ``S = 1 - 0.9 + 0.9^2 - ...``, and in the same way ``S + 0.9 * S = 1``: S is 1/1.9, about 0.53. So
# momentum helps where the gradients agree, and damps them where they do not.


def sums(gradients: list[float]) -> list[float]:
    """m after each of these gradients, with momentum 0.9."""
    value, m, after = np.zeros(1), np.zeros(1), []
    for g in gradients:
        sn.optim.momentum_update(value, np.array([g]), m, 0.01, 0.9, False)
        after.append(float(m[0]))
    return after


same, turning = sums([1.0] * 60), sums([1.0, -1.0] * 30)
np.testing.assert_allclose(same[:4], [1, 1.9, 2.71, 3.439])
assert abs(same[-1] - 10) < 0.02
assert abs(abs(turning[-1]) - 1 / 1.9) < 0.002

drawn, axes = figure(width=5.5, height=3)
axes.plot(range(1, 61), same, "-", color="black", label="g is always 1")
axes.plot(range(1, 61), turning, ":", color="#d55e00", label="g is 1, -1, 1, -1 ...")
axes.axhline(10, color="0.6", linewidth=1)
axes.text(60, 10.1, "1 / (1 - 0.9) = 10", ha="right", va="bottom")
axes.set(xlabel="step", ylabel="m", title="What momentum 0.9 adds up to", ylim=(-2, 12))
axes.legend(loc="center right")
keep(drawn, "09_momentum")

# %%
# Exercise 10: momentum
# ---------------------
# Write a step of it in ``lessons/exercises/10_momentum.py``, and run ``.venv/bin/scratchnet check 10``. A right answer
# moves the weights of every network that trains with momentum on the engine ``mine``.
#
# The library's function works in place, to save memory. (``nesterov`` is a variant that looks one step ahead.)

code(sn.optim.momentum_update, exercise="10")

# %%
# Three ways out
# --------------
# 1. **Initialise so that signals keep their size**: He's rule.
# 2. **Use momentum**: on the plateau, the small gradients point the same way for a long time. With momentum 0.9 they
#    add up to ten times their size.
# 3. **Wait**: this is how the original got past it.

he = sn.models.four_conv_cnn(seed=1, init="he_normal")
losses["He's initialisation"] = losses_of(he, sn.SGD(he.parameters(), lr=0.01), 150)
pushed = sn.models.four_conv_cnn(seed=1)
losses["momentum 0.9"] = losses_of(pushed, sn.SGD(pushed.parameters(), lr=0.01, momentum=0.9), 180)

drawn, axes = figure(width=5.5, height=3.8)
styles = {"as published": ("-", "#d55e00"), "He's initialisation": ("-", "black"), "momentum 0.9": ("--", "#0072b2")}
for name, curve in losses.items():
    axes.plot(smooth(curve), styles[name][0], color=styles[name][1], label=name)
axes.axhline(2.303, color="0.6", linewidth=1)
axes.text(840, 2.32, "knows nothing: 2.303", ha="right", va="bottom", fontsize=9)
axes.set(
    xlabel="step (of 32 digits)",
    ylabel="loss, mean of 25 steps (nats)",
    title="A plateau, and two ways past it",
    ylim=(0, 2.6),
)
axes.legend(loc="center")
keep(drawn, "09_plateau")

for name, curve in losses.items():
    below = smooth(curve) < 1
    print(f"{name}: below 1 at step {int(np.argmax(below)) if below.any() else 'never'}")
assert smooth(losses["He's initialisation"])[60] < 1.0
assert (smooth(losses["momentum 0.9"]) < 1).any()

# %%
# Try it
# ------
# 1. What is 1/(1 - momentum) for 0.5 and for 0.99? Train with both. (2 and 100. With 0.5 the plateau is about half as
#    long, as with twice the learning rate. With 0.99 it is over after some fifty steps, and the loss then falls less
#    steadily.)
# 2. How does twice the learning rate change the plateau? Guess first, then change ``lr``. (The plateau is about half as
#    long, because each step goes twice as far.)
# 3. Measure ``signals`` again after training. Which layer's signal has grown most?
#
# *Next:* ``10_the_standard_cnn.py``. *In the library:* ``scratchnet/layers/initial.py``, ``scratchnet/optim.py``.
