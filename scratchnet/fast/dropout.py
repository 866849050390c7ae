"""Dropout: the threads draw parts of one stream of random numbers.

Most generators compute a number from the one before it. Philox computes the numbers of block c of its stream from c:
ten rounds of multiplications scramble a counter and a key. So each thread draws its own blocks, and the mask is the
same for any number of threads, and the one that NumPy draws in the book.

    block c of the stream      four words of 64 bits       eight numbers of 32 bits, the lower half of a word first
    philox(c, keys)        ->  w0    w1    w2    w3    ->  w0 low, w0 high, w1 low, ...
    number                     (the upper 24 of the 32 bits) / 2^24, from 0 up to 1

Source: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011: Philox4x64-10. NumPy's
`Philox` counts a block before it computes it, so that its first one is block 1.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, prange, types
from numba.extending import intrinsic

from scratchnet.fast.compiled import for_kernel, inlined, kernel
from scratchnet.layers import dropout
from scratchnet.stream import IN_BLOCK, can_count, skip

MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
KEY_STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)  # added to the key from round to round
ROUNDS = 10


@intrinsic
def product_words(typing, a, b):
    """The upper and the lower 64 bits of a * b, for two uint64."""
    result = types.UniTuple(types.uint64, 2)

    def emit(context, builder, signature, arguments):
        wide = ir.IntType(128)
        product = builder.mul(*[builder.zext(argument, wide) for argument in arguments])
        words = [builder.trunc(builder.lshr(product, wide(shift)), ir.IntType(64)) for shift in (64, 0)]
        return context.make_tuple(builder, result, words)

    return result(types.uint64, types.uint64), emit


def product_words_in_python(a, b):
    """As `product_words`, with Python's integers."""
    product = int(a) * int(b)
    return np.uint64(product >> 64), np.uint64(product & (2**64 - 1))


if config.DISABLE_JIT:
    product_words = product_words_in_python


@inlined
def philox(counter, keys):
    """The four words of a block. counter : four uint64. keys : (ROUNDS, 2), uint64, the key of each round."""
    a, b, c, d = counter
    for r in range(ROUNDS):
        high_a, low_a = product_words(a, MULTIPLIERS[0])
        high_c, low_c = product_words(c, MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ keys[r, 0], low_c, high_a ^ d ^ keys[r, 1], low_a
    return a, b, c, d


@kernel
def drop_kernel(x, out, mask, first, counter, keys, least, scale):
    """mask[i] = `scale` if the upper 24 bits of a number are at least `least`, else 0, and out[i] = x[i] * mask[i].

    The number is the one at `first + i`, counted from the block at counter.
    """
    for block in prange((first + x.size + IN_BLOCK - 1) // IN_BLOCK):
        words = philox((counter[0] + np.uint64(block), counter[1], counter[2], counter[3]), keys)
        for j in range(IN_BLOCK):  # a length that the compiler knows: it unrolls the loop
            i = block * IN_BLOCK + j - first
            bits = (words[j // 2] >> np.uint64(32 * (j % 2) + 8)) & np.uint64(0xFFFFFF)
            if 0 <= i < x.size:
                mask[i] = scale if bits >= least else 0
                out[i] = x[i] * mask[i]


def dropout_forward(x: np.ndarray, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """See `scratchnet.layers.dropout.dropout_forward`. A generator other than a Philox draws as it does there."""
    if not can_count(rng.bit_generator, x.size):
        return dropout.dropout_forward(x, rate, rng)
    state = rng.bit_generator.state
    counter, key = state["state"]["counter"], state["state"]["key"]
    first = 2 * state["buffer_pos"] - state["has_uint32"]  # numbers of the block at counter that are drawn already
    x = for_kernel(x)
    out, mask = np.empty_like(x), np.empty_like(x)
    keys = key + KEY_STEPS * np.arange(ROUNDS, dtype=np.uint64)[:, None]
    scale = x.dtype.type(1) / x.dtype.type(1 - rate)
    least = np.uint64(np.ceil(np.float32(rate) * np.float32(1 << 24)))  # number >= rate, as NumPy compares in float32
    drop_kernel(x.reshape(-1), out.reshape(-1), mask.reshape(-1), first, counter, keys, least, scale)
    skip(rng, x.size)
    return out, mask


def dropout_backward(dout: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """See `scratchnet.layers.dropout.dropout_backward`: too little work to be worth a kernel."""
    return dropout.dropout_backward(dout, mask)
