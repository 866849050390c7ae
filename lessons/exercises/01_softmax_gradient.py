"""Exercise 01: the gradient of softmax cross-entropy (lesson 2).

Softmax turns the logits z of an example into probabilities p. The loss is the mean of -log p at the right labels:

    p[n, k] = exp(z[n, k]) / sum over j of exp(z[n, j])
    loss    = mean over n of  -log p[n, label[n]]

Write the gradient of the loss for the logits. Derive it first: -log p[label] = log(sum of exp(z)) - z[label].
Logits of 1000 must not give NaN. About 5 lines.

Keep the dtype: float32 in, float32 out.

Run this file, or `.venv/bin/scratchnet check 01`, to check it. Hints: `.venv/bin/scratchnet hint 01`.
"""

import numpy as np


def softmax_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """dlogits (N, K), from logits (N, K) and integer labels (N,)."""
    raise NotImplementedError("write this function, and delete this line")


if __name__ == "__main__":
    from scratchnet.exercises import check

    check(__file__)
