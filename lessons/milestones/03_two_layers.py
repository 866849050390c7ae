"""1986: a second layer, taught by backprop.

Needs exercises 01 (softmax), 02 (dense layer, backward), 03 (ReLU, backward) and 10 (momentum). Must reach 91 %.

The hidden layer finds features of its own; the layer behind it only sees these. The gradient reaches the first layer
through the second: this is what the paper showed, with momentum in the same pages. (It had sigmoids, not ReLU.)

Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature, 1986.
"""

import scratchnet as sn

sn.use_engine("mine")
train, test = sn.data.load("sample")
layers = [sn.Flatten(), sn.Dense(784, 100, init="he_normal", rng=0), sn.ReLU(), sn.Dense(100, 10, rng=1)]
net = sn.Network(layers, input_shape=(28, 28, 1), name="two_layers")
optimizer = sn.SGD(net.parameters(), lr=0.03, momentum=0.9)
sn.fit(net, train, test, optimizer=optimizer, epochs=5, batch_size=32, seed=0)

_, accuracy = sn.evaluate(net, test)
print(f"two layers read {accuracy:.1%} of {len(test):,} new digits")
assert accuracy >= 0.91
