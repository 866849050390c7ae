"""Exercises 4 to 7 and 12: patches as rows and back, convolution forward and backward, depthwise backward.

Lessons 4, 5 and 9. In the exercises stride and padding are one number each, alike for both axes.
"""

from __future__ import annotations

import numpy as np

from scratchnet import layers
from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits
from scratchnet.layers.shapes import Window

# (N, H, W, C, KH, KW, stride, padding); in one of them windows touch and do not overlap; several images with one
# channel, and one image with several, so that no trait goes along with another by chance
SHAPES = [
    (2, 5, 6, 3, 3, 2, 1, 0),
    (1, 4, 4, 1, 3, 3, 1, 0),
    (1, 4, 5, 1, 2, 3, 1, 1),
    (3, 7, 6, 2, 3, 3, 2, 1),
    (2, 6, 9, 2, 2, 3, 3, 0),
    (2, 6, 8, 4, 2, 2, 2, 0),
    (3, 4, 5, 1, 2, 3, 1, 0),
    (1, 5, 4, 3, 3, 2, 2, 1),
]


def _traits(N, H, W, C, KH, KW, stride, padding):
    return traits(
        more_than_one_image=N > 1,
        stride_above_1=stride > 1,
        padding=padding > 0,
        overlapping_windows=stride < max(KH, KW),
        more_than_one_channel=C > 1,
        a_kernel_that_is_not_square=KH != KW,
    )


def _places(size, kernel_size, stride, padding):
    """(OH, OW): how many places a kernel has on an image of `size` (H, W)."""
    return Window.on(size, kernel_size, stride, padding).out


# ---------------------------------------------------------------- 04: im2col


def _im2col_cases() -> list[Case]:
    return [
        Case({"x": random_arrays(i, s[:4])[0], "kernel_size": s[4:6], "stride": s[6], "padding": s[7]}, _traits(*s))
        for i, s in enumerate(SHAPES)
    ]


im2col = Task("im2col", ("columns",), layers.im2col, _im2col_cases())


@im2col.mistake("stride ignored: neighbouring rows hold patches that start `stride` pixels apart")
def _im2col_no_stride(x, kernel_size, stride, padding):
    return layers.im2col(x, kernel_size, 1, padding)


@im2col.mistake(
    "stride ignored in the patch's place: there are as many rows as asked for, but patch (i, j) starts at "
    "(i, j); it has to start at (i * stride, j * stride)"
)
def _im2col_start(x, kernel_size, stride, padding):
    N = len(x)
    OH, OW = _places(x.shape[1:3], kernel_size, stride, padding)
    all_places = layers.im2col(x, kernel_size, 1, padding)
    OH1, OW1 = _places(x.shape[1:3], kernel_size, 1, padding)
    return all_places.reshape(N, OH1, OW1, -1)[:, :OH, :OW].reshape(N * OH * OW, -1)


@im2col.mistake("one place too few down and across: (size + 2 * padding - kernel) // stride + 1")
def _im2col_one_fewer(x, kernel_size, stride, padding):
    return _patches(x, kernel_size, stride, padding)[:, :-1, :-1].reshape(-1, np.prod(kernel_size) * x.shape[3])


@im2col.mistake("padding ignored: `padding` rows and columns of zeros go around the image, on all four sides, first")
def _im2col_no_padding(x, kernel_size, stride, padding):
    return layers.im2col(x, kernel_size, stride, 0)


@im2col.mistake("the padding went on one side only: np.pad takes (before, after) for each axis")
def _im2col_one_side(x, kernel_size, stride, padding):
    padded = np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)))
    return layers.im2col(padded, kernel_size, stride, 0)


def _patches(x, kernel_size, stride, padding):
    """(N, OH, OW, KH, KW, C)."""
    OH, OW = _places(x.shape[1:3], kernel_size, stride, padding)
    return layers.im2col(x, kernel_size, stride, padding).reshape(len(x), OH, OW, *kernel_size, x.shape[3])


@im2col.mistake("the columns run over (c, kh, kw); they should run over (kh, kw, c), the channels lying together")
def _im2col_channels_first(x, kernel_size, stride, padding):
    patches = _patches(x, kernel_size, stride, padding)
    return patches.transpose(0, 1, 2, 5, 3, 4).reshape(-1, patches[0, 0, 0].size)


@im2col.mistake("the columns run over (kw, kh, c): the kernel's rows and columns are exchanged")
def _im2col_kernel_transposed(x, kernel_size, stride, padding):
    patches = _patches(x, kernel_size, stride, padding)
    return patches.transpose(0, 1, 2, 4, 3, 5).reshape(-1, patches[0, 0, 0].size)


@im2col.mistake("the rows run over (n, j, i); places run row by row: (n, i, j)")
def _im2col_places_transposed(x, kernel_size, stride, padding):
    patches = _patches(x, kernel_size, stride, padding)
    return patches.transpose(0, 2, 1, 3, 4, 5).reshape(-1, patches[0, 0, 0].size)


@im2col.mistake("the rows run over (i, j, n): all places of the first image come first, then the next image")
def _im2col_images_last(x, kernel_size, stride, padding):
    patches = _patches(x, kernel_size, stride, padding)
    return patches.transpose(1, 2, 0, 3, 4, 5).reshape(-1, patches[0, 0, 0].size)


# ---------------------------------------------------------------- 05: convolution forward


def _conv_forward_cases() -> list[Case]:
    cases = []
    for i, (N, H, W, C, KH, KW, stride, padding) in enumerate(SHAPES):
        F = (
            C if i == 5 else 3 + i
        )  # once as many filters as channels, where a mixed-up axis would go unnoticed by shape
        x, w, b = random_arrays(i, (N, H, W, C), (KH, KW, C, F), (F,))
        arguments = {"x": x, "w": w, "b": b, "stride": stride, "padding": padding}
        cases.append(Case(arguments, _traits(N, H, W, C, KH, KW, stride, padding)))
    return cases


conv_forward = Task("conv2d_forward", ("out",), layers.conv2d_forward, _conv_forward_cases())


@conv_forward.mistake("stride ignored: the kernel moves `stride` pixels from one place to the next")
def _conv_no_stride(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, b, 1, padding)


@conv_forward.mistake("stride ignored in the patch's place: place (i, j) begins at pixel (i * stride, j * stride)")
def _conv_start(x, w, b, stride, padding):
    OH, OW = _places(x.shape[1:3], w.shape[:2], stride, padding)
    return layers.conv2d_forward(x, w, b, 1, padding)[:, :OH, :OW]


@conv_forward.mistake("one place too few down and across: (size + 2 * padding - kernel) // stride + 1")
def _conv_one_fewer(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, b, stride, padding)[:, :-1, :-1]


@conv_forward.mistake("`=` where `+=` is needed: only the kernel's last pixel is left of the sum over the patch")
def _conv_last_tap(x, w, b, stride, padding):
    only = np.zeros_like(w)
    only[-1, -1] = w[-1, -1]
    return layers.conv2d_forward(x, only, b, stride, padding)


@conv_forward.mistake("the bias was added once for each of the kernel's pixels: add it once a place, after the sum")
def _conv_bias_each_tap(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, b * w[..., 0, 0].size, stride, padding)


@conv_forward.mistake("padding ignored: put `padding` rows and columns of zeros around the image first")
def _conv_no_padding(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, b, stride, 0)


@conv_forward.mistake("the bias is missing: b[f] is added at every place of filter f")
def _conv_no_bias(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, None, stride, padding)


@conv_forward.mistake("the bias was added once for each product: add it once a place, after the sum")
def _conv_bias_each(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w, b * w[..., 0].size, stride, padding)


@conv_forward.mistake(
    "the kernel is flipped: that is convolution as signal processing has it; networks slide the kernel as it is, so "
    "that w[kh, kw] meets the pixel kh down and kw to the right"
)
def _conv_flipped(x, w, b, stride, padding):
    return layers.conv2d_forward(x, w[::-1, ::-1], b, stride, padding)


@conv_forward.mistake("only one channel was used: a filter sums over all the channels of its patch")
def _conv_first_channel(x, w, b, stride, padding):
    return layers.conv2d_forward(x[..., :1], w[:, :, :1], b, stride, padding)


@conv_forward.mistake(
    "the filters' axes are mixed up: w is (KH, KW, C, F), and w.reshape(KH*KW*C, F) has a filter a column"
)
def _conv_reshape(x, w, b, stride, padding):
    F = w.shape[3]
    return layers.conv2d_forward(x, w.reshape(F, -1).T.reshape(w.shape), b, stride, padding)


# ---------------------------------------------------------------- 06: col2im


def _col2im_cases() -> list[Case]:
    cases = []
    for i, (N, H, W, C, KH, KW, stride, padding) in enumerate(SHAPES):
        OH, OW = _places((H, W), (KH, KW), stride, padding)
        (columns,) = random_arrays(i, (N * OH * OW, KH * KW * C))
        arguments = {"columns": columns, "x_shape": (N, H, W, C), "kernel_size": (KH, KW)}
        arguments |= {"stride": stride, "padding": padding}
        cases.append(Case(arguments, _traits(N, H, W, C, KH, KW, stride, padding)))
    return cases


col2im = Task("col2im", ("dx",), layers.col2im, _col2im_cases())


def place_patches(patches, x_shape, stride, padding, step=None, assign=False):
    """col2im with errors on demand: patches (N, OH, OW, KH, KW, C) put on a padded image, which is returned whole.

    step : how far apart patches are put, in place of the stride. assign: = for +=.
    """
    N, H, W, C = x_shape
    _, OH, OW, KH, KW, _ = patches.shape
    step = stride if step is None else step
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), patches.dtype)
    for i in range(OH):
        for j in range(OW):
            window = padded[:, i * step : i * step + KH, j * step : j * step + KW]
            if assign:
                window[...] = patches[:, i, j]
            else:
                window += patches[:, i, j]
    return padded


def _cropped(padded, padding):
    _, H, W, _ = padded.shape
    return padded[:, padding : H - padding, padding : W - padding]


def _as_patches(columns, x_shape, kernel_size, stride, padding):
    OH, OW = _places(x_shape[1:3], kernel_size, stride, padding)
    return columns.reshape(x_shape[0], OH, OW, *kernel_size, x_shape[3])


@col2im.mistake("the result is empty where padding is 0: [0:-0] takes nothing; crop with [padding : padding + H]")
def _col2im_empty(columns, x_shape, kernel_size, stride, padding):
    return _col2im_not_cropped(columns, x_shape, kernel_size, stride, padding)[:, padding:-padding, padding:-padding]


@col2im.mistake(
    "`=` where `+=` is needed: windows overlap, and a pixel in several patches gets the sum of all of them. (With "
    "index arrays, `a[i] += v` adds only one of several: that takes np.add.at)"
)
def _col2im_assigns(columns, x_shape, kernel_size, stride, padding):
    patches = _as_patches(columns, x_shape, kernel_size, stride, padding)
    return _cropped(place_patches(patches, x_shape, stride, padding, assign=True), padding)


@col2im.mistake("padding not cropped: what fell on the padding is dropped; the result has the image's shape")
def _col2im_not_cropped(columns, x_shape, kernel_size, stride, padding):
    return place_patches(_as_patches(columns, x_shape, kernel_size, stride, padding), x_shape, stride, padding)


@col2im.mistake("padding cropped from one side only: `padding` rows and columns went on all four sides")
def _col2im_cropped_after(columns, x_shape, kernel_size, stride, padding):
    _, H, W, _ = x_shape
    return _col2im_not_cropped(columns, x_shape, kernel_size, stride, padding)[:, :H, :W]


@col2im.mistake("stride ignored: patch (i, j) goes back to where it came from, (i * stride, j * stride)")
def _col2im_no_stride(columns, x_shape, kernel_size, stride, padding):
    patches = _as_patches(columns, x_shape, kernel_size, stride, padding)
    return _cropped(place_patches(patches, x_shape, stride, padding, step=1), padding)


@col2im.mistake("averaged where windows overlap: the chain rule for a copied pixel is a sum, not a mean")
def _col2im_mean(columns, x_shape, kernel_size, stride, padding):
    dx = layers.col2im(columns, x_shape, kernel_size, stride, padding)
    counts = layers.col2im(np.ones_like(columns), x_shape, kernel_size, stride, padding)
    return dx / np.maximum(counts, 1)


# ---------------------------------------------------------------- 07: convolution backward


def _conv_backward_cases() -> list[Case]:
    cases = []
    for i, (N, H, W, C, KH, KW, stride, padding) in enumerate(SHAPES):
        F = C if i == 5 else 3 + i
        OH, OW = _places((H, W), (KH, KW), stride, padding)
        dout, x, w = random_arrays(i, (N, OH, OW, F), (N, H, W, C), (KH, KW, C, F))
        arguments = {"dout": dout, "x": x, "w": w, "stride": stride, "padding": padding}
        cases.append(Case(arguments, _traits(N, H, W, C, KH, KW, stride, padding)))
    return cases


conv_backward = Task("conv2d_backward", ("dx", "dw", "db"), layers.conv2d_backward, _conv_backward_cases())


def _dpatches(dout, w):
    """dout @ w^T as patches (N, OH, OW, KH, KW, C)."""
    return np.einsum("nijf,hwcf->nijhwc", dout, w)


def _with_dx(make_dx):
    """conv2d_backward with another dx."""

    def backward(dout, x, w, stride, padding):
        _, dw, db = layers.conv2d_backward(dout, x, w, stride, padding)
        return make_dx(dout, x, w, stride, padding), dw, db

    return backward


conv_backward.mistake(
    "kernel not flipped, or flipped where it should not be: whoever slides it over dout turns it by 180 degrees, "
    "w[::-1, ::-1]; whoever lays it down at each place takes it as it is"
)(_with_dx(lambda dout, x, w, s, p: layers.conv2d_backward(dout, x, w[::-1, ::-1], s, p)[0]))

conv_backward.mistake(
    "stride ignored: the patch at place (i, j) began at pixel (i * stride, j * stride), and its gradient goes back "
    "there"
)(_with_dx(lambda dout, x, w, s, p: _cropped(place_patches(_dpatches(dout, w), x.shape, s, p, step=1), p)))

conv_backward.mistake(
    "padding not cropped: the forward padded x; dx has the shape of x, and what fell on the padding is dropped"
)(_with_dx(lambda dout, x, w, s, p: place_patches(_dpatches(dout, w), x.shape, s, p)))

OVERLAP = (
    "`=` where `+=` is needed: windows overlap, and a pixel in several patches gets the sum of all their gradients"
)
FILTERS = "`=` where `+=` is needed: every place and every filter used the pixel, and only the last one is left"
TAPS = "`=` where `+=` is needed: the kernel's pixels meet the same pixel of x in turn, and only the last one is left"
EMPTY = "the result is empty where padding is 0: [0:-0] takes nothing; crop with [padding : padding + H]"
ONE_SIDE = "padding cropped from one side only: `padding` rows and columns went on all four sides"


def last_tap(dpatches, x_shape, stride, padding):
    """dpatches (N, OH, OW, KH, KW, C) put back one kernel pixel after the other, with = for +=; uncropped."""
    N, H, W, C = x_shape
    _, OH, OW, KH, KW, _ = dpatches.shape
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), dpatches.dtype)
    for kh in range(KH):
        for kw in range(KW):
            padded[:, kh : kh + OH * stride : stride, kw : kw + OW * stride : stride][:, :OH, :OW] = dpatches[
                :, :, :, kh, kw
            ]
    return padded


def _whole(dout, x, w, stride, padding, **errors):
    return place_patches(_dpatches(dout, w), x.shape, stride, padding, **errors)


conv_backward.mistake(OVERLAP)(_with_dx(lambda dout, x, w, s, p: _cropped(_whole(dout, x, w, s, p, assign=True), p)))

conv_backward.mistake(FILTERS)(
    _with_dx(lambda dout, x, w, s, p: _cropped(_whole(dout[..., -1:], x, w[..., -1:], s, p, assign=True), p))
)

conv_backward.mistake(TAPS)(_with_dx(lambda dout, x, w, s, p: _cropped(last_tap(_dpatches(dout, w), x.shape, s, p), p)))

conv_backward.mistake(EMPTY)(_with_dx(lambda dout, x, w, s, p: _whole(dout, x, w, s, p)[:, p:-p, p:-p]))

conv_backward.mistake(ONE_SIDE)(
    _with_dx(lambda dout, x, w, s, p: _whole(dout, x, w, s, p)[:, : x.shape[1], : x.shape[2]])
)


@conv_backward.mistake(
    "stride ignored: weight (kh, kw) met pixel (i * stride + kh, j * stride + kw) at the place (i, j)"
)
def _dw_no_stride(dout, x, w, stride, padding):
    dx, _, db = layers.conv2d_backward(dout, x, w, stride, padding)
    columns = _im2col_start(x, w.shape[:2], stride, padding)
    return dx, (columns.T @ dout.reshape(-1, w.shape[3])).reshape(w.shape), db


@conv_backward.mistake("padding ignored: the forward multiplied the weights with the *padded* x")
def _dw_no_padding(dout, x, w, stride, padding):
    dx, _, db = layers.conv2d_backward(dout, x, w, stride, padding)
    shifted = np.pad(x, ((0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)))
    return dx, layers.conv2d_backward(dout, shifted, w, stride, 0)[1], db


@conv_backward.mistake(
    "only the last image's gradient: weights act in every image, so sum over the batch (+= in the loop)"
)
def _last_image(dout, x, w, stride, padding):
    return layers.conv2d_backward(dout[-1:], x[-1:], w, stride, padding)


@conv_backward.mistake("only the first image's gradient: weights act in every image, so sum over the batch")
def _first_image(dout, x, w, stride, padding):
    return layers.conv2d_backward(dout[:1], x[:1], w, stride, padding)


@conv_backward.mistake(
    "only the last place's gradient: a weight acts at every place (i, j), so sum over all (+= in the loop)"
)
def _last_place(dout, x, w, stride, padding):
    only = np.zeros_like(dout)
    only[:, -1, -1] = dout[:, -1, -1]
    return layers.conv2d_backward(only, x, w, stride, padding)


# ---------------------------------------------------------------- 12: depthwise backward


def _depthwise_reference(dout, x, w, stride, padding):
    dx, dw, _ = layers.depthwise_conv2d_backward(dout, x, w[..., None], stride, padding)
    return dx, dw[..., 0]


def _depthwise_cases() -> list[Case]:
    cases = []
    for i, (N, H, W, C, KH, KW, stride, padding) in enumerate(SHAPES):
        OH, OW = _places((H, W), (KH, KW), stride, padding)
        dout, x, w = random_arrays(i, (N, OH, OW, C), (N, H, W, C), (KH, KW, C))
        arguments = {"dout": dout, "x": x, "w": w, "stride": stride, "padding": padding}
        cases.append(Case(arguments, _traits(N, H, W, C, KH, KW, stride, padding)))
    return cases


depthwise = Task("depthwise_backward", ("dx", "dw"), _depthwise_reference, _depthwise_cases())


def _depthwise_patches(dout, w):
    return np.einsum("nijc,hwc->nijhwc", dout, w)


def _depthwise_with_dx(make_dx):
    def backward(dout, x, w, stride, padding):
        return make_dx(dout, x, w, stride, padding), _depthwise_reference(dout, x, w, stride, padding)[1]

    return backward


@depthwise.mistake(
    "the channels were mixed: in a depthwise convolution channel c of the output comes from channel c alone"
)
def _depthwise_mixed(dout, x, w, stride, padding):
    total = dout.sum(axis=3, keepdims=True) * np.ones_like(dout)
    return _depthwise_reference(total, x, w, stride, padding)


depthwise.mistake(
    "kernel not flipped, or flipped where it should not be: whoever slides it over dout turns it by 180 degrees, "
    "w[::-1, ::-1]; whoever lays it down at each place takes it as it is"
)(_depthwise_with_dx(lambda dout, x, w, s, p: _depthwise_reference(dout, x, w[::-1, ::-1], s, p)[0]))

depthwise.mistake(
    "stride ignored: the patch at place (i, j) began at pixel (i * stride, j * stride), and its gradient goes back "
    "there"
)(
    _depthwise_with_dx(
        lambda dout, x, w, s, p: _cropped(place_patches(_depthwise_patches(dout, w), x.shape, s, p, 1), p)
    )
)

depthwise.mistake("padding not cropped: dx has the shape of x, and what fell on the padding is dropped")(
    _depthwise_with_dx(lambda dout, x, w, s, p: place_patches(_depthwise_patches(dout, w), x.shape, s, p))
)

depthwise.mistake("`=` where `+=` is needed: windows overlap, and a pixel in several patches gets the sum of all")(
    _depthwise_with_dx(
        lambda dout, x, w, s, p: _cropped(place_patches(_depthwise_patches(dout, w), x.shape, s, p, assign=True), p)
    )
)


@depthwise.mistake("only the last image's gradient: weights act in every image, so sum over the batch (+= in the loop)")
def _depthwise_last(dout, x, w, stride, padding):
    return _depthwise_reference(dout[-1:], x[-1:], w, stride, padding)


@conv_backward.mistake("only the last image's last place: a weight acts at every place of every image (+= in the loop)")
def _very_last(dout, x, w, stride, padding):
    return _last_place(dout[-1:], x[-1:], w, stride, padding)


@conv_backward.mistake(
    "dw lies the wrong way round, by 180 degrees: dw[kh, kw] belongs to the pixel at (kh, kw) of the patch"
)
def _dw_flipped(dout, x, w, stride, padding):
    dx, dw, db = layers.conv2d_backward(dout, x, w, stride, padding)
    return dx, dw[::-1, ::-1], db


depthwise.mistake(TAPS)(
    _depthwise_with_dx(lambda dout, x, w, s, p: _cropped(last_tap(_depthwise_patches(dout, w), x.shape, s, p), p))
)

depthwise.mistake(EMPTY)(
    _depthwise_with_dx(
        lambda dout, x, w, s, p: place_patches(_depthwise_patches(dout, w), x.shape, s, p)[:, p:-p, p:-p]
    )
)


@depthwise.mistake(
    "only the last place's gradient: a weight acts at every place (i, j), so sum over all (+= in the loop)"
)
def _depthwise_last_place(dout, x, w, stride, padding):
    only = np.zeros_like(dout)
    only[:, -1, -1] = dout[:, -1, -1]
    return _depthwise_reference(only, x, w, stride, padding)


EXERCISES = (
    Exercise(
        "04_im2col",
        "patches as rows",
        lesson=4,
        tasks=(im2col,),
        hints=(
            "How many places are there? (H + 2*padding - KH) // stride + 1 of them down, and the same across with W, "
            "KW.",
            "Pad x first (np.pad), then loop over the places (i, j): a patch of all images at once is "
            "padded[:, top : top + KH, left : left + KW, :]. Where is its top?",
            "The patch (N, KH, KW, C) reshaped to (N, KH*KW*C) is one row for each image. Put it at [:, i, j] of an "
            "array (N, OH, OW, KH*KW*C), and reshape that at the end.",
        ),
    ),
    Exercise(
        "05_conv_forward",
        "convolution",
        lesson=4,
        tasks=(conv_forward,),
        hints=(
            "One entry of the output is the sum of a patch times a filter, entry by entry, plus the filter's bias.",
            "With the patches as the rows of a matrix and the filters as the columns of another, all those sums are "
            "one matrix product. You wrote im2col in exercise 4.",
            "out = columns @ w.reshape(KH*KW*C, F) + b, reshaped to (N, OH, OW, F). A loop over places with "
            "np.tensordot(patch, w, 3) is as good.",
        ),
    ),
    Exercise(
        "06_col2im",
        "rows back to an image",
        lesson=5,
        tasks=(col2im,),
        hints=(
            "im2col copied a pixel into several rows. Each copy acted on the loss; the pixel's gradient is the sum.",
            "Go over the same places as im2col, and *add* each patch to where it was taken from, on a padded image of "
            "zeros. Then cut the padding off.",
            "dpadded[:, i*stride : i*stride + KH, j*stride : j*stride + KW] += patches[:, i, j], with patches = "
            "columns.reshape(N, OH, OW, KH, KW, C).",
        ),
    ),
    Exercise(
        "07_conv_backward",
        "backward of a convolution",
        lesson=5,
        tasks=(conv_backward,),
        hints=(
            "The forward is: columns = im2col(x); out = columns @ w + b. It is a dense layer whose examples are "
            "patches.",
            "So dw and db are a dense layer's: columns^T @ dout and the sum of dout's rows, with dout as (N*OH*OW, F). "
            "The gradient of the *columns* is dout @ w^T.",
            "And columns came from x by copying, so dx = col2im(dcolumns): exercise 6. In loops over places instead: "
            "dpadded[:, patch] += the sum over f of dout[:, i, j, f] * w[..., f], and dw += patch times dout, over n.",
        ),
    ),
    Exercise(
        "12_depthwise_backward",
        "backward of a depthwise convolution",
        lesson=9,
        tasks=(depthwise,),
        hints=(
            "It is a convolution of each channel on its own. No sum over channels is left anywhere.",
            "Loop over the kernel's pixels (kh, kw): the pixels that this weight meets are "
            "padded[:, kh : kh + (OH-1)*stride + 1 : stride, kw : kw + (OW-1)*stride + 1 : stride], of dout's shape.",
            "With those pixels: dw[kh, kw] = (pixels * dout).sum over n, i, j; and the same view of dpadded gets += "
            "dout * w[kh, kw].",
        ),
    ),
)
