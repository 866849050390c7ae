"""Ten neurons and a softmax tell all ten digits apart.

Needs exercises 01 (gradient of softmax cross-entropy) and 02 (dense layer, backward). Must reach 87 %.

Each neuron has weights for one digit. The softmax makes probabilities of the ten sums, and the cross-entropy says how
surprising the right digit was.

Source: Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
"""

import scratchnet as sn

sn.use_engine("mine")
train, test = sn.data.load("sample")
net = sn.Network([sn.Flatten(), sn.Dense(784, 10, rng=0)], input_shape=(28, 28, 1), name="softmax")
sn.fit(net, train, test, optimizer=sn.SGD(net.parameters(), lr=0.1), epochs=5, batch_size=32, seed=0)

_, accuracy = sn.evaluate(net, test)
print(f"ten neurons read {accuracy:.1%} of {len(test):,} new digits")
assert accuracy >= 0.87
