"""Softmax cross-entropy: how wrong the network is, and the gradient that starts backprop.

Softmax turns the logits z of one example into probabilities. The loss is the mean of -log p at the right labels:

    p[n, k] = exp(z[n, k]) / sum over j of exp(z[n, j])
    loss    = mean over n of  -log p[n, label[n]]

n runs over the examples, k and j over the classes. Backward, for one example: -log p[label] = log(sum of exp(z)) -
z[label]. The slope of the first term is exp(z[k]) / sum of exp(z) = p[k]. The slope of the second is -1 at the label.
The mean divides both by N:

    dlogits[n, k] = (p[n, k] - [k is label[n]]) / N

In float32, exp overflows above z = 88. So each row's maximum is subtracted first: it cancels in the fraction, and every
exponent is then at most 0.

Source: Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
"""

from __future__ import annotations

import numpy as np

from scratchnet.engine import ops
from scratchnet.layers.base import check_float, check_labels, check_shape


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) from logits (N, K): positive, each row sums to 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean cross-entropy of a batch, and its gradient.

    Parameters
    ----------
    logits : (N, K), float32 or float64.
    labels : (N,), integers, 0 <= label < K.

    Returns
    -------
    loss : float, in nats, the mean over the batch.
    dlogits : (N, K), the gradient of that mean, in the dtype of the logits.

    Raises
    ------
    ValueError
        If the batch is empty, the shapes do not fit or a label is out of range.
    TypeError
        If the logits are not floats or the labels not integers.
    """
    _check(logits, labels)
    own = log_softmax(logits)[np.arange(len(logits)), labels]
    return float(np.mean(0 - own)), ops.softmax_gradient(logits, labels)  # 0 - own: minus 0 would be shown as -0


def softmax_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The gradient dlogits (N, K) of the mean cross-entropy, from logits (N, K) and labels (N,)."""
    N = len(logits)
    dlogits = np.exp(log_softmax(logits))  # the slope of log(sum of exp(z)): the probabilities
    dlogits[np.arange(N), labels] -= 1  # the slope of -z[label]
    dlogits /= N  # the slope of the mean
    return dlogits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms (N, K) of the probabilities, by subtraction: the logarithm of a very small one is finite, too."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _check(logits: np.ndarray, labels: np.ndarray) -> None:
    check_float("softmax_cross_entropy", "logits", logits)
    check_shape("softmax_cross_entropy", "logits", logits.shape, ("N", "K"))
    N, K = logits.shape
    check_labels("softmax_cross_entropy", labels, K)
    check_shape("softmax_cross_entropy", "labels", labels.shape, (N,))
    if N == 0:
        raise ValueError("softmax_cross_entropy: the batch is empty, and the mean of no losses is undefined")
