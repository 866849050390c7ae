"""Layers in one pass over memory: which layers go together is the table `FUSIONS`.

ReLU, max-pool and batch normalisation do hardly any arithmetic. What they cost is going through the largest arrays of a
network, several times a step. A layer that goes together with the next one need not write its output.

**ReLU and max-pool.** Forward, the ReLU is applied to each number as the pool reads it, and its output is never
written. Backward, the mask falls on the pool's small gradient instead of the large one. A winner's value is the pool's
output, so

    relu_backward(pool_backward(dout), x) = pool_backward(relu_backward(dout, out))

to the last bit.

**A pointwise convolution of one channel before these**, as in a depthwise separable network's first block. It has so
little work that writing its output, and reading the gradient for it, takes nearly all of its time. Neither is made
here. Forward, each number goes from the multiplication right into the pool's comparison. Backward, the convolution
reads the pool's small gradient and its winners, instead of an array that is mostly zeros.

**Batch normalisation and ReLU**, with or without a max-pool. In training the first pass, for the mean and the variance,
stays. The second one scales, shifts and cuts off at 0, and with a pool it also compares. Backward, the ReLU's mask is
found again from x, and with a pool the sums go over the winners alone.

**A pointwise convolution of one channel before these** becomes part of the normalisation: see
`OneChannelNormReLUMaxPool`.

The stages are in `fused_pool.py` and `fused_norm.py`; `stage.py` says what a stage is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scratchnet.fast.fused_norm import NormReLU, NormReLUMaxPool, OneChannelNormReLUMaxPool
from scratchnet.fast.fused_pool import OneChannelReLUMaxPool, ReLUMaxPool
from scratchnet.fast.stage import Fused
from scratchnet.layers import BatchNorm, Layer, MaxPool2D, PointwiseConv2D, ReLU


class Fusion(NamedTuple):
    """A rule: layers of these kinds in a row become one stage."""

    kinds: tuple[type[Layer], ...]  #: exactly these; a subclass may compute something else
    make: Callable[..., Fused]  #: the stage, from the layers
    when: Callable[..., bool] = lambda *layers: True  #: whether it can be made of these layers

    def applies(self, layers: Sequence[Layer]) -> bool:
        """Whether the row of layers begins with what this rule puts together."""
        if type(layers[0]) is not self.kinds[0]:  # as nearly always: this is asked for every layer at every forward
            return False
        row = layers[: len(self.kinds)]
        return tuple(map(type, row)) == self.kinds and self.when(*row)


# The first rule that applies is taken, so a longer row stands before a shorter one.
FUSIONS = (
    Fusion(
        (PointwiseConv2D, BatchNorm, ReLU, MaxPool2D),
        make=OneChannelNormReLUMaxPool,
        when=OneChannelNormReLUMaxPool.fits,
    ),
    Fusion((PointwiseConv2D, ReLU, MaxPool2D), make=OneChannelReLUMaxPool, when=OneChannelReLUMaxPool.fits),
    Fusion((BatchNorm, ReLU, MaxPool2D), make=NormReLUMaxPool),
    Fusion((BatchNorm, ReLU), make=NormReLU),
    Fusion((ReLU, MaxPool2D), make=ReLUMaxPool),
)


def stages(layers: Sequence[Layer]) -> list[Layer | Fused]:
    """The layers in their order, those that go together as one stage."""
    found: list[Layer | Fused] = []
    rest = list(layers)
    while rest:
        for rule in FUSIONS:
            if rule.applies(rest):
                count = len(rule.kinds)
                found.append(rule.make(*rest[:count]))
                break
        else:
            count = 1
            found.append(rest[0])
        del rest[:count]
    return found
