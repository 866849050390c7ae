"""2017: a depthwise separable network, as for a telephone.

Needs exercises 01, 02, 03 (softmax, dense layer, ReLU), 08 (max-pooling, backward), 09 (dropout), 11 (Adam) and 12
(depthwise convolution, backward). Must reach 92 %.

A convolution looks for patterns and mixes channels at once. Split in two, it does the one and then the other, with a
fraction of the multiplications: here 5*5 + 16 for each number, where a whole convolution has 5*5*16.

Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, section 3.1.
"""

import scratchnet as sn

sn.use_engine("mine")
train, test = sn.data.load("sample")
net = sn.Network(
    [
        sn.Conv2D(1, 8, 5, stride=2, init="he_normal", rng=0),
        sn.ReLU(),
        sn.DepthwiseConv2D(8, 5, init="he_normal", rng=1),
        sn.PointwiseConv2D(8, 16, init="he_normal", rng=2),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Flatten(),
        sn.Dropout(0.2, rng=3),
        sn.Dense(784, 10, rng=4),
    ],
    input_shape=(28, 28, 1),
    name="separable",
)
sn.fit(net, train, test, optimizer=sn.Adam(net.parameters(), lr=0.004), epochs=2, batch_size=64, seed=0)

_, accuracy = sn.evaluate(net, test)
print(f"the separable network reads {accuracy:.1%} of {len(test):,} new digits")
assert accuracy >= 0.92
