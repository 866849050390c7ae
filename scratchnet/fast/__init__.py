"""The mirror: the book's functions, with the same names and signatures, compiled by Numba for this processor.

The network can be understood without it: the book is `scratchnet/layers`. To see how a convolution reaches the limit of
the processor, read in this order:

    register/vector.py     a vector register as a type
    product/tile.py        the register tile: the inner loop; then product/loops.py, the loops around it
    conv.py                convolution on the tile; then conv_winograd.py and conv_sparse.py, two other ways
    choose.py              the rules that say which way is taken

The other layers have a file each. `dense_together.py` takes several shards of a batch through a dense layer at once.
`compiled.py` compiles, `ingredients.py` does so in half the time, `code_cache.py` keeps the code, `ahead.py` compiles
what a network needs by several processes, `threads.py` sets up the threads, `caches.py` knows how large the caches are,
and `padded.py` makes zero-padded copies.
"""

from scratchnet.fast.augment import turn_and_shift
from scratchnet.fast.batch_norm import batch_norm_backward, batch_norm_forward, batch_norm_statistics
from scratchnet.fast.conv import col2im, conv2d_backward, conv2d_forward, im2col
from scratchnet.fast.dense import dense_backward, dense_forward
from scratchnet.fast.dense_together import dense_backward_together, dense_forward_together
from scratchnet.fast.depthwise import depthwise_conv2d_backward, depthwise_conv2d_forward
from scratchnet.fast.dropout import dropout_backward, dropout_forward
from scratchnet.fast.pointwise import pointwise_conv2d_backward, pointwise_conv2d_forward
from scratchnet.fast.pool import avg_pool2d_backward, avg_pool2d_forward, max_pool2d_backward, max_pool2d_forward
from scratchnet.fast.relu import relu_backward, relu_forward
from scratchnet.fast.resize import resize_backward, resize_forward
from scratchnet.fast.update import adam_update, average_update, momentum_update, sgd_update
from scratchnet.loss import softmax_gradient

__all__ = [
    "adam_update", "average_update", "avg_pool2d_backward", "avg_pool2d_forward", "batch_norm_backward",
    "batch_norm_forward", "batch_norm_statistics", "col2im", "conv2d_backward", "conv2d_forward",
    "dense_backward", "dense_backward_together", "dense_forward", "dense_forward_together",
    "depthwise_conv2d_backward", "depthwise_conv2d_forward", "dropout_backward",
    "dropout_forward", "im2col", "max_pool2d_backward", "max_pool2d_forward", "momentum_update",
    "pointwise_conv2d_backward", "pointwise_conv2d_forward", "relu_backward", "relu_forward", "resize_backward",
    "resize_forward", "sgd_update", "softmax_gradient", "turn_and_shift",
]  # fmt: skip
