"""
2. One dense layer: learning by gradient descent
================================================

*After this lesson you can* turn scores into probabilities, measure with one number how wrong they are, find the slope
of that number for every weight, and follow the slopes downhill until a single layer reads nine digits of ten.

*Part:* by hand. *Needs:* lesson 1. *Takes:* a few seconds to run, twenty minutes to read.

A network learns by one idea: compute how wrong it is, find out for every weight in which direction the error shrinks,
and move all weights a little that way. This lesson does it with a single layer, so that you see every part.
"""

# %%
# Scores
# ------
# A dense layer gives each image ten scores, one for each class. The scores are also called *logits*. Each score is a
# weighted sum of all the pixels, plus a constant:
#
# .. math:: z_k = b_k + \sum_i x_i \, w_{ik}
#
# For a batch this is one matrix product, plus the biases. The library does no more than that:

import numpy as np
from showing import code, figure, keep

import scratchnet as sn
from scratchnet.layers import dense_backward, dense_forward

sn.use_engine("numpy")
code(dense_forward)

# %%
# Scores into probabilities
# -------------------------
# Softmax makes the scores positive and scales them so that they sum to 1:
#
# .. math:: p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}
#
# By hand, with three classes: the scores are chosen so that their exponentials are 1, 2 and 5. Their sum is 8, so the
# probabilities are 1/8, 2/8 and 5/8.

z = np.log([[1.0, 2.0, 5.0]])  # (1, 3)
p = sn.softmax(z)
print("scores", z.round(3), "-> probabilities", p)
np.testing.assert_allclose(p, [[1 / 8, 2 / 8, 5 / 8]])

# %%
# Adding the same number to all scores changes nothing, because it cancels in the fraction. The library subtracts the
# largest score from all of them, because ``exp(1000)`` is too large for a float64:

np.testing.assert_allclose(sn.softmax(z + 1000), p)

# %%
# How wrong?
# ----------
# Suppose that the last class is the right one. The network gave it the probability 5/8. The loss, called
# *cross-entropy*, is ``-log(5/8) = 0.470``. It is 0 for a network that was sure and right, and grows without bound for
# one that was sure and wrong. The loss of a batch is the mean over its examples. (Its unit is the *nat*,
# as the logarithm is the natural one.)

label = np.array([2])
loss, dz = sn.softmax_cross_entropy(z, label)
print(f"loss {loss:.3f}")
assert abs(loss - 0.470) < 0.0005

# %%
# A network that knows nothing gives each of ten classes the probability 1/10, and its loss is ``-log(1/10) = 2.303``.
# Remember this number: a loss of 2.30 means that the network has learned nothing yet. (Lesson 9 is about a network that
# stays there for a thousand steps.)

nothing, _ = sn.softmax_cross_entropy(np.zeros((4, 10)), np.arange(4))
assert abs(nothing - 2.303) < 0.0005

# %%
# Downhill
# --------
# For one example the loss is ``-log p[label] = log(sum of exp(z)) - z[label]``. The first term has the slope
# ``exp(z[k]) / sum = p[k]``. The second has the slope -1 at the label. So the gradient for the scores is simply
#
# .. math:: \frac{\partial\,\mathrm{loss}}{\partial z_k} = p_k - [k = \mathrm{label}]
#
# The bracket is 1 where k is the label, and 0 elsewhere. By hand, the gradient is 1/8, 2/8 and 5/8 - 1 = -3/8. A step
# downhill lowers the scores of the wrong classes, most of all where their probability was high, and raises the right
# one. The three numbers sum to 0. In a batch of N examples each gradient is divided by N, because the loss is a mean.

print("gradient for the scores:", dz)
np.testing.assert_allclose(dz, [[1 / 8, 2 / 8, -3 / 8]])

# %%
# Exercise 01: the gradient of softmax cross-entropy
# --------------------------------------------------
# Now write this gradient for a batch, in ``lessons/exercises/01_softmax_gradient.py``. The file says what goes in and
# what comes out. ``.venv/bin/scratchnet check 01`` says whether your answer is right, and if not, what kind of mistake
# it is. ``.venv/bin/scratchnet hint 01`` gives a hint.
#
# A right answer does more than pass: on the engine ``mine``, networks learn with *your* gradient from then on
# (``lessons/README.md`` says how to choose this engine). The library's own code comes next, to compare with. Read it
# when your answer passes.

code(sn.loss.softmax_gradient, sn.loss.log_softmax, exercise="01")

# %%
# The loss itself is no exercise: it is the mean of -log p at the right labels.

code(sn.softmax_cross_entropy)

# %%
# One more step leads from the scores to the weights: ``w[i, k]`` was multiplied by ``x[i]``, so its slope is ``x[i]``
# times the score's slope, summed over the batch. Lesson 3 derives this with care, and there you will write it, too.
# Until then, the library's ``dense_backward`` does it for us. On two examples with two inputs and two scores each:
#
# ::
#
#     x  = [1 2]     dz = [ 1/2 -1/2]      dw[0, 0] = 1 * 1/2  + 3 * -1/4 = -1/4
#          [3 0]          [-1/4  1/4]      dw[1, 0] = 2 * 1/2  + 0 * -1/4 =  1
#
# The second column of dw is the same with the other sign. The bias was added in each example, so its slope is the sum
# over the batch: 1/2 - 1/4 = 1/4.

two, dtwo = np.array([[1.0, 2], [3, 0]]), np.array([[1 / 2, -1 / 2], [-1 / 4, 1 / 4]])
_, dw, db = dense_backward(dtwo, two, np.zeros((2, 2)))
np.testing.assert_array_equal(dw, [[-1 / 4, 1 / 4], [1, -1]])
np.testing.assert_array_equal(db, [1 / 4, -1 / 4])

# %%
# Learn
# -----
# All weights start at 0. A step takes 128 digits, computes the loss and its gradient, and moves every weight against
# its slope: ``w -= lr * dw``. This is the whole of training, and its loop has eight lines:

train, test = sn.data.load("sample")


def learn(lr: float, epochs: int = 6, batch_size: int = 128) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Weights (784, 10), biases (10,) and the loss of every step, learned by gradient descent."""
    w, b = np.zeros((784, 10), np.float32), np.zeros(10, np.float32)
    losses = []
    for epoch in range(epochs):
        for images, labels in train.batches(batch_size, np.random.default_rng(epoch)):
            x = images.reshape(len(images), 784)
            logits = dense_forward(x, w, b)
            loss, dlogits = sn.softmax_cross_entropy(logits, labels)
            _, dw, db = dense_backward(dlogits, x, w, need_dx=False)  # nobody asks for the slopes of the pixels
            w -= lr * dw
            b -= lr * db
            losses.append(loss)
    return w, b, losses


w, b, losses = learn(lr=0.5)
accuracy = (dense_forward(test.images.reshape(-1, 784), w, b).argmax(axis=1) == test.labels).mean()
print(f"first loss {losses[0]:.3f}, last {np.mean(losses[-20:]):.3f}; {accuracy:.1%} of the held-out digits are right")
assert abs(losses[0] - 2.303) < 0.0005, "before the first step it knows nothing"
assert 0.87 < accuracy < 0.92

# %%
# Nine of ten: much better than the mean images of lesson 1, with the same number of weights. Each class again has one
# image of 28 x 28 weights, but these are chosen to tell the classes apart, not to look like the digits. Ink on a dark
# pixel raises the score of the class, and ink on a light pixel lowers it. The light middle of the 0 shows this best.

drawn, grid = figure(2, 5, width=7.5, height=3.6)
for k, axes in enumerate(grid.flat):
    axes.imshow(w[:, k].reshape(28, 28), cmap="gray_r", vmin=-0.8, vmax=0.8)
    axes.set_title(f"weights of {k}", fontsize=11)
    axes.axis("off")
keep(drawn, "02_weights")

# %%
# The learning rate
# -----------------
# One number decides whether this works: the learning rate ``lr``, how far each step goes. If it is too small, the loss
# falls slowly. If it is too large, the step overshoots the minimum, and the loss may never come down.

rates = {0.01: learn(0.01, 3)[2], 0.5: learn(0.5, 3)[2], 20.0: learn(20.0, 3)[2]}
drawn, axes = figure(width=5.5, height=3.6)
for (lr, curve), style, colour in zip(rates.items(), ("--", "-", ":"), ("#0072b2", "black", "#d55e00"), strict=True):
    axes.plot(curve, style, color=colour, label=f"lr = {lr:g}")
axes.axhline(2.303, color="0.6", linewidth=1, label="knows nothing: 2.303")
axes.set(xlabel="step", ylabel="loss of the batch (nats)", yscale="log", title="Three learning rates")
axes.legend()
keep(drawn, "02_learning_rates")

end = {lr: np.mean(curve[-20:]) for lr, curve in rates.items()}
print("mean loss of the last 20 steps:", {lr: round(float(value), 2) for lr, value in end.items()})
assert end[0.5] < end[0.01]
assert end[0.5] < end[20.0]

# %%
# Try it
# ------
# 1. In your answer to exercise 01, leave out the subtraction of the largest score. What does the gradient become for
#    logits of 1000, and what does ``scratchnet check 01`` say?
# 2. Train on your own gradient: put ``sn.use_engine("mine")`` in place of ``sn.use_engine("numpy")`` at the top, and
#    ``sn.softmax_cross_entropy`` calls your function. The accuracy stays the same.
#
# *Next:* ``03_chain_rule.py``: how the gradient passes through a layer to the one before it. *In the library:*
# ``scratchnet/loss.py``, ``scratchnet/layers/dense.py``.
