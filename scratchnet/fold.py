"""Take batch normalisation out of a trained network, for inference.

Outside training it multiplies each channel by a constant and adds another. So does a convolution whose weights and
biases have taken in the two: with  scale = w_norm / sqrt(running_var + eps),

    (x * w + b - running_mean) * scale + b_norm  =  x * (w * scale) + (b - running_mean) * scale + b_norm

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2017, arXiv 1712.05877, section 3.2.
"""

from __future__ import annotations

import copy

import numpy as np

from scratchnet.layers import BatchNorm, Conv2D, Dense, DepthwiseConv2D, Layer, PointwiseConv2D, WeightedLayer
from scratchnet.network import Network
from scratchnet.settings import instance

FOLDABLE = (Conv2D, DepthwiseConv2D, PointwiseConv2D, Dense)


def fold_batch_norm(net: Network) -> Network:
    """A copy of a network in which each `BatchNorm` behind a convolution or a dense layer has become part of it.

    The outputs outside training are the same up to rounding. A `BatchNorm` behind another layer stays. The copy can be
    trained further, but as a network without normalisation.
    """
    instance("fold_batch_norm", "net", net, Network)
    layers: list[Layer] = []
    for layer in net.layers:
        before = layers[-1] if layers else None
        if type(layer) is BatchNorm and isinstance(before, FOLDABLE):
            layers[-1] = folded(before, layer)
        else:
            layers.append(copy.deepcopy(layer))
    return Network(layers, None if net.takes_any_shape else net.input_shape, net.name)


def folded(layer: WeightedLayer, norm: BatchNorm) -> WeightedLayer:
    """The layer that computes what a layer and the normalisation behind it compute."""
    w, b = layer.w.value, 0 if layer.b is None else layer.b.value
    scale = norm.w.value / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    made = type(layer)(**(layer.config() | {"bias": True}))
    made.w.value = (w * scale.reshape(w.shape[-2:] if isinstance(layer, DepthwiseConv2D) else -1)).astype(w.dtype)
    made.b.value = ((b - norm.running_mean) * scale + norm.b.value).astype(w.dtype)  # type: ignore[union-attr]
    return made
