"""1957: a single neuron learns to tell a 3 from an 8, by Rosenblatt's rule.

Needs exercise 02 (dense layer, backward). Must reach 88 %.

The neuron adds up the pixels, each times a weight, and says "8" if the sum is above 0. Only a mistake teaches it
something: it then takes the image's pixels off the weights, or adds them. This is gradient descent on

    loss = max(0, -target * sum),    target = 1 for an 8, -1 for a 3

whose slope for the sum is -target where the answer is wrong, and 0 where it is right.

Source: Rosenblatt, "The Perceptron", Psychological Review, 1958.
"""

import numpy as np

import scratchnet as sn

sn.use_engine("mine")
ZERO, ONE = 3, 8


def of_two(data: sn.Dataset) -> sn.Dataset:
    """Only the images of the two digits."""
    return data[np.isin(data.labels, (ZERO, ONE))]


def sums(images: np.ndarray) -> np.ndarray:
    """What the neuron says of each image, above 0 for ONE."""
    return net.forward(images)[:, 0]


train, test = map(of_two, sn.data.load("sample"))
net = sn.Network([sn.Flatten(), sn.Dense(784, 1, rng=0)], input_shape=(28, 28, 1))
optimizer = sn.SGD(net.parameters(), lr=0.01)
rng = np.random.default_rng(0)
for epoch in range(1, 11):
    mistakes = 0
    for x, labels in train.batches(32, rng):
        target = np.where(labels == ONE, 1, -1)
        wrong = sums(x) * target <= 0
        mistakes += wrong.sum()
        net.backward((np.where(wrong, -target, 0) / len(x)).astype(np.float32)[:, None], need_dx=False)
        optimizer.step()
    print(f"epoch {epoch}: {mistakes} mistakes among {len(train):,} digits")

accuracy = np.mean((sums(test.images) > 0) == (test.labels == ONE))
print(f"one neuron tells {ZERO} from {ONE} in {accuracy:.1%} of {len(test)} new digits")
assert accuracy >= 0.88
