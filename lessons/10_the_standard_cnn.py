"""
10. The standard CNN: overfit first, then train
===============================================

*After this lesson you can* find out in seconds whether a network is able to learn at all, train it for real, read its
curves, and learn something from its mistakes.

*Part:* networks. *Needs:* lesson 9. *Takes:* half a minute to run, twenty minutes to read.

Before you train a network for an hour, let it learn a hundred examples by heart. A network that cannot do this has a
bug. If it can, its gradients at least go in the right direction.
"""

# %%
# Learn 100 digits by heart
# -------------------------
# ``standard_cnn`` has two convolutions with pooling, a dense layer of 1024 units, and dropout. It has 3.3 million
# weights for 100 digits, so this should be easy.
#
# The 2,000 test digits stay untouched until the end of this lesson. To see on the way how the network does on new
# digits, put aside 1,000 of the 8,000 training digits. These are called *validation* digits. (Lesson 12 says why there
# are two sets.)

import numpy as np
from showing import code, figure, keep

import scratchnet as sn

sn.use_engine("numba")
everything, test = sn.data.load("sample")
train = everything[:7000]
validation = sn.Dataset(everything.images[7000:], everything.labels[7000:], "1,000 validation digits")
hundred = train[:100]

net = sn.models.standard_cnn(seed=0)
print(net.summary())
learned = sn.fit(net, hundred, optimizer=sn.Adam(net.parameters(), 1e-3), steps=60, batch_size=50, progress=False)
by_heart = sn.evaluate(net, hundred)[1]
on_new = sn.evaluate(net, validation)[1]
print(f"after 60 steps: {by_heart:.0%} of the hundred right, {on_new:.1%} of 1,000 new digits")
assert by_heart >= 0.99
assert 0.6 < on_new < 0.9

# %%
# The network knows all hundred by heart, and does far worse on new digits. This gap is called *overfitting*: the
# weights fit these hundred digits, not digits in general. Here we want it, because it shows that the network can learn.
#
# What a bug looks like
# ---------------------
# Repeat the test with two common bugs: labels that belong to other images (someone shuffled only one of the two
# arrays), and a gradient with the wrong sign.

shuffled = sn.Dataset(hundred.images, np.random.default_rng(0).permutation(hundred.labels), "wrong labels")
memory = sn.models.standard_cnn(seed=0)
memorised = sn.fit(
    memory, shuffled, optimizer=sn.Adam(memory.parameters(), 1e-3), steps=60, batch_size=50, progress=False
)
wrong_by_heart, wrong_on_new = (sn.evaluate(memory, data)[1] for data in (shuffled, validation))
print(f"wrong labels: {wrong_by_heart:.0%} by heart, {wrong_on_new:.1%} of new digits")
half = [next(s["step"] for s in history.steps if s["loss"] < 0.5) for history in (learned, memorised)]
print(f"the loss falls below 0.5 at step {half[0]} with the right labels, at step {half[1]} with the wrong ones")
assert wrong_by_heart >= 0.95
assert wrong_on_new < 0.35
assert half[1] > 1.5 * half[0]

# %%
# The network learns wrong labels by heart as well; it only takes more steps. The hundred digits cannot show that their
# labels are wrong, but new digits can. This is why you need both tests. Now the wrong sign, which moves the weights
# uphill:

uphill = sn.models.standard_cnn(seed=0)
optimizer = sn.SGD(uphill.parameters(), lr=0.01)
before = sn.softmax_cross_entropy(uphill.forward(hundred.images), hundred.labels)[0]
for _ in range(5):
    _, dlogits = sn.softmax_cross_entropy(uphill.forward(hundred.images, training=True), hundred.labels)
    uphill.backward(-dlogits, need_dx=False)  # the bug
    optimizer.step()
after = sn.softmax_cross_entropy(uphill.forward(hundred.images), hundred.labels)[0]
print(f"wrong sign: the loss goes from {before:.2f} to {after:.2f}")
assert after > before

# %%
# Train for real
# --------------
# Now train on 7,000 digits, three times each, with Adam and a learning rate that rises and then falls. The gradient
# descent of lesson 2 takes a step of ``lr * g``: a weight whose gradient is a hundred times as large moves a hundred
# times as far. Adam divides each gradient by its usual size, so that all weights move at about the same rate. It keeps
# two running means for each weight: m of the gradient, and s of its square. At step t = 1, 2, ...
#
# ::
#
#     m     = beta1 * m + (1 - beta1) * g             beta1 = 0.9
#     s     = beta2 * s + (1 - beta2) * g^2           beta2 = 0.999
#     m'    = m / (1 - beta1^t)
#     s'    = s / (1 - beta2^t)
#     value = value - lr * m' / (sqrt(s') + eps)      eps = 1e-8 only prevents a division by 0
#
# Why m' and s'? Both means start at 0, so at first they are too small. In m, the newest gradient has the factor
# ``1 - beta1``, and each older one beta1 times that of the next. After t steps, the factors add up to
#
# ::
#
#     S         = (1 - beta1) * (1 + beta1 + beta1^2 + ... + beta1^(t - 1))
#     beta1 * S = (1 - beta1) * (    beta1 + beta1^2 + ... + beta1^(t - 1) + beta1^t)
#
# As in lesson 9, subtract: all terms cancel but the first and the last. So ``(1 - beta1) * S = (1 - beta1) *
# (1 - beta1^t)``, and ``S = 1 - beta1^t``: 0.1 at the first step, and nearly 1 after fifty. (For s, with 0.999, that
# takes thousands.) Dividing by S makes m a mean again. This is called *bias correction*. Only the update uses m' and
# s'; the next step goes on from m and s.
#
# Here are two weights with ``lr = 0.1``, computed by hand:
#
# .. code-block:: text
#
#     step 1                           weight 1      weight 2
#       g                              0.1           -20
#       m  = 0.9 * 0 + 0.1 * g         0.01          -2           m: a running mean of g, starting at 0
#       m' = m / (1 - 0.9)             0.1           -20          m': m divided by S
#       s  = 0.999 * 0 + 0.001 * g^2   0.00001       0.4          s and s': the same for g^2
#       s' = s / (1 - 0.999)           0.01          400
#       0.1 * m' / sqrt(s')            0.1           -0.1         the same size, from gradients 200 times apart
#
#     step 2
#       g                              0.1           0
#       m  = 0.9 * m + 0.1 * g         0.019         -1.8
#       m' = m / (1 - 0.81)            0.1           -9.474
#       s  = 0.999 * s + 0.001 * g^2   0.00001999    0.3996
#       s' = s / (1 - 0.998001)        0.01          199.9
#       0.1 * m' / sqrt(s')            0.1           -0.067       g is 0, but its running mean is not
#
# The last line of each step is subtracted from the weight.

value, m, s = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
for t, g, by_hand in ((1, [0.1, -20.0], [0.1, -0.1]), (2, [0.1, 0.0], [0.1, -0.067])):
    before = value.copy()
    sn.optim.adam_update(value, np.array(g), m, s, 0.1, (0.9, 0.999), 1e-8, t)
    print(f"step {t}: subtracted from the weights", (before - value).round(3))
    np.testing.assert_allclose(before - value, by_hand, atol=5e-5)
np.testing.assert_allclose(s, [0.00001999, 0.3996])
np.testing.assert_allclose(m, [0.019, -1.8])
np.testing.assert_allclose([0.1 * sum(0.9**k for k in range(t)) for t in (1, 2, 50)], [0.1, 0.19, 1 - 0.9**50])
assert 1 - 0.9**50 > 0.99 > 1 - 0.999**4000 > 0.98

# %%
# Exercise 11: Adam
# -----------------
# Write a step of it in ``lessons/exercises/11_adam.py``, and run ``.venv/bin/scratchnet check 11``. Then ``sn.Adam``
# takes your steps on the engine ``mine``.

code(sn.optim.adam_update, exercise="11")

# %%
# ``sn.fit`` is the loop that you know from lesson 2: its lines from ``net.forward`` to ``optimizer.step``. The object
# ``run`` takes care of the progress bar, the log and the checkpoints. Schedules, augmentation and averages come in
# lesson 12.

code(sn.fit)

net = sn.models.standard_cnn(seed=0, init="he_normal")
epochs, batch_size = 3, 64
steps = epochs * -(-len(train) // batch_size)
history = sn.fit(
    net,
    train,
    validation,  # looked at after each epoch
    optimizer=sn.Adam(net.parameters()),
    epochs=epochs,
    batch_size=batch_size,
    schedule=sn.one_cycle(0.004, steps),  # a learning rate that rises and then falls (lesson 12)
    progress=False,
)
on_new = [e["test_accuracy"] for e in history.epochs]  # fit calls the set that it looks at a test set
print("accuracy on the validation digits after each epoch:", [f"{share:.1%}" for share in on_new])
assert on_new[-1] > 0.95

losses = np.array([s["loss"] for s in history.steps])
drawn, (above, below) = figure(2, 1, width=5.6, height=5.6)
above.semilogy(range(10, len(losses) + 1), np.convolve(losses, np.ones(10) / 10, mode="valid"), color="black")
above.set(xlabel="step", ylabel="loss, mean of 10 steps (nats)", title="Training digits")
below.plot(range(1, epochs + 1), [100 * share for share in on_new], "o-", color="black")
below.set(xlabel="epoch", ylabel="accuracy (%)", title="Validation digits", xticks=range(1, epochs + 1))
keep(drawn, "10_curves")

# %%
# How to read the curves: the loss should fall fast at first and then slowly. It jitters, because each batch is another
# sample. If the loss falls while the accuracy on *new* digits stays the same or sinks, the network overfits. If the
# loss stays at 2.30, see lesson 9. If it becomes NaN, the learning rate was too large: ``fit`` stops there and says so.
#
# Look at the mistakes
# --------------------
# Nothing is left to choose, so now look at the test digits:

probabilities = net.predict(test.images)
predicted = probabilities.argmax(axis=1)
accuracy = (predicted == test.labels).mean()
print(f"accuracy on the test digits: {accuracy:.2%}")
assert accuracy > 0.96

# %%
# (Is it lower than on the validation digits? Lesson 12 says how that comes.) A number like 97.5 % hides what goes
# wrong. You learn more from the fifty or so mistakes than from the other 1,950 digits.

wrong = np.flatnonzero(predicted != test.labels)
surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]])][:16]
print(f"{len(wrong)} mistakes; the surest has the probability {probabilities[surest[0], predicted[surest[0]]]:.0%}")
keep(sn.plots.prediction_grid(test[surest], predicted[surest], "the sixteen mistakes it was surest of"), "10_mistakes")
keep(sn.plots.confusion_matrix(test, predicted, net.name), "10_confusion")
assert 20 < len(wrong) < 80

# %%
# Some of these digits nobody could read. Others show what the network looks at: it takes a 6 whose loop is open for a
# 0, and a 3 whose lower bow is hardly bent for a 7. In the confusion matrix, the numbers off the diagonal count the
# pairs of classes that it confuses.
#
# Does it know when it does not know?
# -----------------------------------
# The largest of its ten probabilities says how sure the network is. If this means anything, it is lower where the
# network is wrong.

confidence, right = probabilities.max(axis=1), predicted == test.labels
print(f"mean confidence: {confidence[right].mean():.1%} where right, {confidence[wrong].mean():.1%} where wrong")
assert confidence[wrong].mean() < confidence[right].mean() - 0.1

drawn, axes = figure(width=7, height=3.4)
bins = np.linspace(0.2, 1, 17)
shares = [np.histogram(confidence[chosen], bins)[0] for chosen in (right, ~right)]
axes.bar(
    bins[:-1] + 0.0125, shares[0] / shares[0].sum(), 0.025, color="0.75", edgecolor="black", label="where it is right"
)
axes.bar(
    bins[:-1] + 0.0375,
    shares[1] / shares[1].sum(),
    0.025,
    color="#d55e00",
    edgecolor="black",
    hatch="//",
    label="where it is wrong",
)
axes.set(xlabel="largest probability", ylabel="share of the digits", title="How sure it is")
axes.legend(loc="upper center")
keep(drawn, "10_confidence")

# %%
# So the largest probability is useful. Let a person look at the digits below 90 %, which are few, and you find more
# than half of the mistakes. The other mistakes it makes with confidence.

unsure = confidence < 0.9
print(f"{unsure.mean():.1%} of the digits are below 90 %; {unsure[wrong].mean():.0%} of the mistakes are among them")
assert unsure.mean() < 0.12
assert unsure[wrong].mean() > 0.5

# %%
# Try it
# ------
# 1. Leave out the dropout: build the network's list of layers without it (``sn.models`` shows how). Does it still reach
#    the same accuracy on 7,000 digits? And on 100?
# 2. Look at the first column of ``10_mistakes.png``. In which of these digits do you agree with the network?
#
# *Next:* ``11_what_it_sees.py``. *In the library:* ``scratchnet/models.py``, ``scratchnet/train.py``.
