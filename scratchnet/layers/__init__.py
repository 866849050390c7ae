"""The book, which is the readable engine. Each file has one layer: its math, its NumPy kernels and its class.

Read `definition.py` first: it has every formula as plain loops. Then read `dense.py` and `relu.py`, then `im2col.py`
and `conv.py`. The other files build on these.
"""

from scratchnet.layers import definition
from scratchnet.layers.base import Formulas, Layer, Parameter, WeightedLayer
from scratchnet.layers.batch_norm import (
    BatchNorm,
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_statistics,
)
from scratchnet.layers.conv import Conv2D, conv2d_backward, conv2d_forward
from scratchnet.layers.dense import Dense, dense_backward, dense_forward
from scratchnet.layers.depthwise import DepthwiseConv2D, depthwise_conv2d_backward, depthwise_conv2d_forward
from scratchnet.layers.dropout import Dropout, dropout_backward, dropout_forward
from scratchnet.layers.flatten import Flatten
from scratchnet.layers.im2col import col2im, im2col
from scratchnet.layers.pointwise import PointwiseConv2D, pointwise_conv2d_backward, pointwise_conv2d_forward
from scratchnet.layers.pool import (
    AvgPool2D,
    MaxPool2D,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from scratchnet.layers.relu import ReLU, relu_backward, relu_forward
from scratchnet.layers.resize import Resize, resize_backward, resize_forward

__all__ = [
    "AvgPool2D", "BatchNorm", "Conv2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "Formulas", "Layer",
    "MaxPool2D", "Parameter", "PointwiseConv2D", "ReLU", "Resize", "WeightedLayer", "definition",
    "avg_pool2d_backward", "avg_pool2d_forward", "batch_norm_backward", "batch_norm_forward", "batch_norm_statistics",
    "col2im", "conv2d_backward", "conv2d_forward", "dense_backward", "dense_forward", "depthwise_conv2d_backward",
    "depthwise_conv2d_forward", "dropout_backward", "dropout_forward", "im2col", "max_pool2d_backward",
    "max_pool2d_forward", "pointwise_conv2d_backward", "pointwise_conv2d_forward", "relu_backward", "relu_forward",
    "resize_backward", "resize_forward",
]  # fmt: skip
