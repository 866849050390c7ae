"""
4. Convolution: slide a kernel, then im2col
===========================================

*After this lesson you can* compute a convolution by hand, say what stride and padding do to its size, write it as seven
loops, and rewrite it as one matrix product that is many times faster.

*Needs:* lesson 2. *Takes:* a few seconds to run, half an hour to read.

A dense layer treats the 784 pixels as 784 unrelated numbers: shift a digit by two pixels, and it is a stranger (lesson
1). A convolution looks at small patches, with the same weights everywhere. What it has learned about a stroke in one
corner it knows in all the others.
"""

# %%
# Slide a kernel
# --------------
# The kernel is a small picture of what is looked for. At each place it is laid on the image; numbers that lie on each
# other are multiplied, and the products summed. A large sum says: this patch looks like me.
#
# ::
#
#     image = 0 0 1 1 1        kernel = -1 0 1        "ground on the left, ink on the right"
#             0 0 1 1 1                 -1 0 1
#             0 0 1 1 1                 -1 0 1
#             0 0 1 1 1
#
#     place (0, 0):  rows 0 to 2, columns 0 to 2:  three times  0*-1 + 0*0 + 1*1  =  3
#     place (0, 1):  one to the right:             three times  0*-1 + 1*0 + 1*1  =  3
#     place (0, 2):                                three times  1*-1 + 1*0 + 1*1  =  0    no edge here
#
# The kernel fits in two places down and three across, so the result is 2 x 3.

import time

import numpy as np
from showing import code, figure, keep, numbers

import scratchnet as sn
from scratchnet.layers import conv2d_forward, im2col

sn.use_engine("numpy")

image = np.array([[0.0, 0, 1, 1, 1]] * 4)  # (H, W) = (4, 5)
kernel = np.array([[-1.0, 0, 1]] * 3)  # (KH, KW) = (3, 3)

x = image[None, :, :, None]  # (N, H, W, C) = (1, 4, 5, 1): one image, one channel
w = kernel[:, :, None, None]  # (KH, KW, C, F) = (3, 3, 1, 1): one channel in, one filter out
out = conv2d_forward(x, w, None, stride=1, padding=0)
np.testing.assert_array_equal(out[0, :, :, 0], [[3, 3, 0], [3, 3, 0]])

drawn, (a, k, o) = figure(1, 3, width=8, height=2.6, width_ratios=(5, 3, 3))
first_place = np.zeros((4, 5))
first_place[:3, :3] = 0.6
numbers(a, image, "image; the first place is shaded", shade=first_place)
numbers(k, kernel, "kernel")
numbers(o, out[0, :, :, 0], "what it says")
keep(drawn, "04_slide")

# %%
# (Signal processing would turn the kernel by 180 degrees first and call only that a convolution. Networks learn the
# kernel anyway, so nobody turns it.)
#
# As a formula, for filter f, with all channels c of the patch summed:
#
# .. math:: out_{n,i,j,f} = b_f + \sum_{kh,\,kw,\,c} x_{n,\; i \cdot SH + kh,\; j \cdot SW + kw,\; c} \; w_{kh,kw,c,f}
#
# And as code, with one loop for each index. Read it once; it is the definition.


def conv2d_loops(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Convolution by its definition: x (N, H, W, C), w (KH, KW, C, F), b (F,) -> out (N, OH, OW, F)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    N, H, W, C = x.shape
    KH, KW, C, F = w.shape
    OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
    out = np.zeros((N, OH, OW, F), x.dtype)
    for n in range(N):  # each image
        for i in range(OH):  # each place
            for j in range(OW):
                for f in range(F):  # each filter
                    total = b[f]
                    for kh in range(KH):  # each pixel of the patch
                        for kw in range(KW):
                            for c in range(C):  # each channel
                                total += x[n, i * stride + kh, j * stride + kw, c] * w[kh, kw, c, f]
                    out[n, i, j, f] = total
    return out


rng = np.random.default_rng(0)
small_x, small_w, small_b = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 2, 3, 4)), rng.standard_normal(4)
for stride, padding in [(1, 0), (2, 1)]:
    by_loops = conv2d_loops(small_x, small_w, small_b, stride, padding)
    np.testing.assert_allclose(by_loops, conv2d_forward(small_x, small_w, small_b, stride, padding))
    print(f"stride {stride}, padding {padding}: {small_x.shape} -> {by_loops.shape}")

# %%
# Size, stride, padding
# ---------------------
# A kernel of KH rows fits in ``H - KH + 1`` places on H rows. With a *stride* of 2 it visits every second one.
# *Padding* puts rows and columns of zeros around the image, so that the kernel may hang over the edge:
#
# .. math:: OH = \left\lfloor \frac{H + 2 \cdot padding - KH}{stride} \right\rfloor + 1
#
# Above: ``(5 + 0 - 3) // 1 + 1 = 3`` rows without padding, and ``(5 + 2 - 3) // 2 + 1 = 3`` with stride 2 and padding
# 1. For a 5 x 5 kernel and stride 1, a padding of 2 keeps the image's size: 28 + 4 - 5 + 1 = 28. That is what
# ``"same"`` works out.

assert conv2d_loops(small_x, small_w, small_b, 1, 0).shape == (2, 3, 5, 4)
assert conv2d_loops(small_x, small_w, small_b, 2, 1).shape == (2, 3, 4, 4)
assert sn.Conv2D(1, 32, 5, padding="same").output_shape((28, 28, 1)) == (28, 28, 32)

# %%
# On a digit
# ----------
# Four kernels made by hand, and what each says about a digit. A trained network finds such edge and stroke detectors by
# itself (lesson 13 looks at them).

train, _ = sn.data.load("sample")
digit = train.images[:1]  # (1, 28, 28, 1)
kernels = {
    "left edge": [[-1, 0, 1]] * 3,
    "top edge": [[-1] * 3, [0] * 3, [1] * 3],
    "diagonal": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]],
    "blur": [[1 / 9] * 3] * 3,
}
filters = np.stack([np.array(k, np.float32) for k in kernels.values()], axis=-1)[:, :, None]  # (3, 3, 1, 4)
maps = conv2d_forward(digit, filters, None, 1, 1)  # (1, 28, 28, 4)
drawn, grid = figure(1, 5, width=9, height=2.1)
grid[0].imshow(digit[0, :, :, 0], cmap="gray_r")
grid[0].set_title(f"a {train.labels[0]}", fontsize=11)
for f, (axes, name) in enumerate(zip(grid[1:], kernels, strict=True)):
    strongest = np.abs(maps[0, :, :, f]).max()
    axes.imshow(maps[0, :, :, f], cmap="gray", vmin=-strongest, vmax=strongest)  # grey is 0, white positive
    axes.set_title(name, fontsize=11)
for axes in grid:
    axes.axis("off")
keep(drawn, "04_kernels")
assert maps.shape == (1, 28, 28, 4)

# %%
# Shift the digit, and the maps shift with it; nothing has to be learned again. (Only the border is different.)

shifted = conv2d_forward(np.roll(digit, 2, axis=2), filters, None, 1, 1)
np.testing.assert_allclose(shifted[:, 4:-4, 4:-4], np.roll(maps, 2, axis=2)[:, 4:-4, 4:-4], atol=1e-6)

# %%
# im2col: the same sums as one matrix product
# -------------------------------------------
# Seven loops in Python are hopelessly slow. But look at what they do: at each place a patch, KH*KW*C numbers in a row,
# is multiplied with each filter, KH*KW*C numbers in a column, and summed. Rows times columns, summed: a matrix product.
# So copy every patch into a row of one matrix:
#
# ::
#
#     columns (N*OH*OW, KH*KW*C)  @  w (KH*KW*C, F)   =   out (N*OH*OW, F)
#
# The image of the first section, with its six places as six rows:

columns = im2col(x, (3, 3), stride=1, padding=0)
assert columns.shape == (2 * 3, 3 * 3 * 1)
np.testing.assert_array_equal(columns[0], [0, 0, 1, 0, 0, 1, 0, 0, 1])
np.testing.assert_array_equal(columns @ w.reshape(9, 1), out.reshape(6, 1))

drawn, (a, k, o) = figure(1, 3, width=8.5, height=3, width_ratios=(9, 2, 2))
numbers(a, columns, "columns: a patch in each row")
numbers(k, w.reshape(9, 1), "w")
numbers(o, columns @ w.reshape(9, 1), "columns @ w")
keep(drawn, "04_im2col")

# %%
# The price: in a large image nearly every pixel stands in nine rows, so the matrix is nine times the image; for a 5 x 5
# kernel 25 times. (Lesson 11 gets rid of it.) And this is the library's convolution, with which any of its networks
# trains on the NumPy engine:

code(im2col)
code(conv2d_forward)

# %%
# What it brings
# --------------
# Four digits, and the standard network's first layer: 32 filters of 5 x 5.


def seconds(function, repeats: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


batch, first = train.images[:4], sn.models.standard_cnn().layers[0]
few_filters, few_biases = first.w.value[..., :2], first.b.value[:2]  # two of the 32: seconds are enough
loops = seconds(lambda: conv2d_loops(batch[:1], few_filters, few_biases, 1, 2), 1) * 4 * 32 / 2
product = seconds(lambda: conv2d_forward(batch, first.w.value, first.b.value, 1, 2), 9)
print(
    f"seven loops: {loops:.1f} s, reckoned from a part; im2col: {1000 * product:.1f} ms; {loops / product:,.0f} times"
)
assert loops / product > 20

# %%
# Exercises
# ---------
# 1. ``lessons/exercises/04_im2col.py``, and ``scratchnet check 04``. Begin with the loops over places; the library's
#    version with strides is worth understanding afterwards.
# 2. ``lessons/exercises/05_conv_forward.py``, and ``scratchnet check 05``. Any way you like: loops, ``np.tensordot``,
#    im2col.
#
# *Next:* ``05_convolution_backward.py``. *In the library:* ``scratchnet/layers/im2col.py``,
# ``scratchnet/layers/conv.py``.
