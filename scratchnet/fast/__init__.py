"""The mirror: functions of the book's names and signatures, compiled by Numba for the processor they run on.

Nobody has to read it to understand the network. Whoever wants to know how a convolution gets to the processor's limit
reads `register/vector.py`, `product/tile.py` and `product/loops.py`, then `conv.py`. Dropout is the book's own: NumPy
draws the mask on either engine, and what is left is too small to be worth a kernel.
"""

from scratchnet.fast.augment import turn_and_shift
from scratchnet.fast.conv import col2im, conv2d_backward, conv2d_forward, im2col
from scratchnet.fast.dense import dense_backward, dense_forward
from scratchnet.fast.depthwise import depthwise_conv2d_backward, depthwise_conv2d_forward
from scratchnet.fast.pointwise import pointwise_conv2d_backward, pointwise_conv2d_forward
from scratchnet.fast.pool import avg_pool2d_backward, avg_pool2d_forward, max_pool2d_backward, max_pool2d_forward
from scratchnet.fast.relu import relu_backward, relu_forward
from scratchnet.fast.resize import resize_backward, resize_forward
from scratchnet.fast.update import adam_update, momentum_update, sgd_update
from scratchnet.layers.dropout import dropout_backward, dropout_forward

__all__ = [
    "adam_update", "avg_pool2d_backward", "avg_pool2d_forward", "col2im", "conv2d_backward", "conv2d_forward",
    "dense_backward", "dense_forward", "depthwise_conv2d_backward", "depthwise_conv2d_forward", "dropout_backward",
    "dropout_forward", "im2col", "max_pool2d_backward", "max_pool2d_forward", "momentum_update",
    "pointwise_conv2d_backward", "pointwise_conv2d_forward", "relu_backward", "relu_forward", "resize_backward",
    "resize_forward", "sgd_update", "turn_and_shift",
]  # fmt: skip
