"""1998: LeNet-5's two convolutions, two pools and three dense layers.

Needs exercises 01, 02, 03 (softmax, dense layer, ReLU), 05 and 07 (convolution, forward and backward), 08 (max-pooling,
backward) and 10 (momentum). Without 05 and 07, it computes them with 04 and 06 (im2col, col2im), if these are done.
Must reach 94 %.

A filter looks for the same thing everywhere, so it has 25 weights where a dense unit has 784. (LeNet-5 had another kind
of pool, a tanh where we have ReLU, and filters that see some of the channels only.)

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, section 2.
"""

import scratchnet as sn

sn.use_engine("mine")
train, test = sn.data.load("sample")
net = sn.Network(
    [
        sn.Conv2D(1, 6, 5, init="he_normal", rng=0),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Conv2D(6, 16, 5, padding="valid", init="he_normal", rng=1),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Flatten(),
        sn.Dense(400, 120, init="he_normal", rng=2),
        sn.ReLU(),
        sn.Dense(120, 84, init="he_normal", rng=3),
        sn.ReLU(),
        sn.Dense(84, 10, rng=4),
    ],
    input_shape=(28, 28, 1),
    name="lenet",
)
steps = 2 * len(train) // 32  # two epochs; the rate falls to 0 in them, so that the weights come to rest
optimizer = sn.SGD(net.parameters(), lr=0.02, momentum=0.9)
schedule = sn.cosine(0.02, steps)
sn.fit(net, train, test, optimizer=optimizer, schedule=schedule, steps=steps, batch_size=32, seed=0)

_, accuracy = sn.evaluate(net, test)
print(f"LeNet reads {accuracy:.1%} of {len(test):,} new digits after two epochs")
assert accuracy >= 0.94
