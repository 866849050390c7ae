"""Exercises 4 to 7 and 12: patches as rows and back, convolution forward and backward, depthwise backward.

Lessons 5, 6 and 13. In the exercises stride and padding are one number each, the same for both axes.

Several exercises share mistakes. In exercises 6, 7 and 12, patches can be put back into an image in the same wrong
ways. The backward passes of a convolution and of a depthwise convolution can go wrong in the same ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchnet import layers
from scratchnet.exercises.exercise import Case, Exercise, Task, random_arrays, traits
from scratchnet.layers.shapes import Window

# (N, H, W, C, KH, KW, stride, padding). In one case, windows touch but do not overlap. There are several images with
# one channel and one image with several channels, so that a diagnosis cannot take one trait for the other.
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


def _cases(*names: str, depthwise: bool = False) -> list[Case]:
    """A case for each of the SHAPES, with the arguments of these names."""
    cases = []
    for i, (N, H, W, C, KH, KW, stride, padding) in enumerate(SHAPES):
        OH, OW = _places((H, W), (KH, KW), stride, padding)
        # Once F = C, where exchanged axes do not change the shape, and once 1.
        F = {5: C, 6: 1}.get(i, 3 + i)
        shapes = {
            "x": (N, H, W, C),
            "w": (KH, KW, C) if depthwise else (KH, KW, C, F),
            "b": (F,),
            "dout": (N, OH, OW, C if depthwise else F),
            "columns": (N * OH * OW, KH * KW * C),
        }
        drawn = [name for name in names if name in shapes]
        values: dict[str, Any] = dict(zip(drawn, random_arrays(i, *(shapes[name] for name in drawn)), strict=True))
        values |= {"x_shape": (N, H, W, C), "kernel_size": (KH, KW), "stride": stride, "padding": padding}
        special = traits(
            more_than_one_image=N > 1,
            stride_above_1=stride > 1,
            padding=padding > 0,
            overlapping_windows=stride < max(KH, KW),
            more_than_one_channel=C > 1,
            a_kernel_that_is_not_square=KH != KW,
            **({"more_than_one_filter": F > 1} if "w" in names and not depthwise else {}),
        )
        cases.append(Case({name: values[name] for name in names}, special))
    return cases


def _places(size, kernel_size, stride, padding):
    """(OH, OW): the numbers of places that a kernel has on an image of `size` (H, W)."""
    return Window.on(size, kernel_size, stride, padding).out


# ---------------------------------------------------------------- patches taken from an image

FEWER_PLACES = "one place too few down and across: (size + 2 * padding - kernel) // stride + 1"
PADDED_AFTER = (
    "as if the padding went on one side only, below and to the right: either np.pad did so (it takes (before, after) "
    "for each axis), or the patches come from x and not from the padded image"
)

PLACE = "top : top + KH, left : left + KW"


def _add_patch_mistakes(task, stride_ignored, misplaced, unpadded):
    """Add mistakes that taking patches from an image can have; the texts are about what is done with the patches."""
    task.slip(stride_ignored, ("    KH, KW", "    stride = 1\n    KH, KW"))
    task.slip(misplaced, ("i * stride, j * stride", "i, j"))
    task.slip(FEWER_PLACES, ("// stride + 1", "// stride"))
    task.slip(unpadded, ("    KH, KW", "    padding = 0\n    KH, KW"))
    task.slip(PADDED_AFTER, ("(padding, padding)", "(0, 2 * padding)"))
    task.slip("the padding went on one side only: above and to the left", ("(padding, padding)", "(2 * padding, 0)"))
    task.slip(
        "np.pad(x, padding) pads all four axes, images and channels too: give a pair for each, ((0, 0), (padding, "
        "padding), (padding, padding), (0, 0))",
        ("x.shape", "(x := np.pad(x, padding)).shape"),
        ("((0, 0), (padding, padding), (padding, padding), (0, 0))", "0"),
        ("    KH, KW", "    padding = 0\n    KH, KW"),
    )
    task.slip(
        "the number of places leaves out the padding: OH = (H + 2 * padding - KH) // stride + 1",
        ("(H + 2 * padding - KH)", "(H - KH)"),
        ("(W + 2 * padding - KW)", "(W - KW)"),
    )
    task.slip(
        "the padding repeats the image's edge: it has to be zeros, which is what np.pad adds without a mode",
        ("(0, 0)))", "(0, 0)), mode='edge')"),
    )
    task.slip(
        "patches touch instead of moving by `stride`: patch (i, j) begins at (i * stride, j * stride), not at "
        "(i * KH, j * KW)",
        ("i * stride, j * stride", "i * KH, j * KW"),
    )


# ---------------------------------------------------------------- 04: im2col


def _im2col(x, kernel_size, stride, padding):
    N, H, W, C = x.shape
    KH, KW = kernel_size
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.zeros((N, OH, OW, KH, KW, C), x.dtype)
    for i, j in np.ndindex(OH, OW):
        top, left = i * stride, j * stride
        patches[:, i, j] = padded[:, top : top + KH, left : left + KW]
    return patches.reshape(N * OH * OW, KH * KW * C)


im2col = Task("im2col", ("columns",), _im2col, _cases("x", "kernel_size", "stride", "padding"), {"x": "nhwc"})


_add_patch_mistakes(
    im2col,
    "stride ignored: neighbouring rows hold patches that start `stride` pixels apart",
    "stride ignored in the patch's place: the number of rows is right, but patch (i, j) starts at "
    "(i, j); it has to start at (i * stride, j * stride)",
    "padding ignored: `padding` rows and columns of zeros go around the image, on all four sides, first",
)
for what, axes in (
    (
        "the columns run over (c, kh, kw); they should run over (kh, kw, c), a pixel's channels together",
        "0, 1, 2, 5, 3, 4",
    ),
    ("the columns run over (kw, kh, c): the kernel's rows and columns are exchanged", "0, 1, 2, 4, 3, 5"),
    ("the columns run over (c, kw, kh); they should run over (kh, kw, c)", "0, 1, 2, 5, 4, 3"),
    ("the rows run over (n, j, i); places run row by row: (n, i, j)", "0, 2, 1, 3, 4, 5"),
    ("the rows run over (i, j, n): all places of the first image come first, then the next image", "1, 2, 0, 3, 4, 5"),
):
    im2col.slip(what, ("return patches", f"return patches.transpose({axes})"))


# ---------------------------------------------------------------- 05: convolution forward


def _conv_forward(x, w, b, stride, padding):
    N, H, W, _ = x.shape
    KH, KW, _, F = w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out = np.zeros((N, OH, OW, F), x.dtype)
    for i, j in np.ndindex(OH, OW):
        top, left = i * stride, j * stride
        patch = padded[:, top : top + KH, left : left + KW]
        out[:, i, j] = np.tensordot(patch, w, axes=3) + b
    return out


conv_forward = Task(
    "conv2d_forward",
    ("out",),
    _conv_forward,
    _cases("x", "w", "b", "stride", "padding"),
    {"x": "nhwc", "w": "hwcf", "b": "f", "out": "nhwf"},
)

_add_patch_mistakes(
    conv_forward,
    "stride ignored: the kernel moves `stride` pixels from one place to the next",
    "stride ignored in the patch's place: place (i, j) begins at pixel (i * stride, j * stride)",
    "padding ignored: put `padding` rows and columns of zeros around the image first",
)
conv_forward.slip(
    "`=` where `+=` is needed: of the sum over the patch, only the kernel's last pixel is left",
    ("np.tensordot(patch, w, axes=3)", "patch[:, -1, -1] @ w[-1, -1]"),
)
conv_forward.slip(
    "`=` where `+=` is needed: of the sum over kh, kw and c, only the last product is left",
    ("np.tensordot(patch, w, axes=3)", "patch[:, -1, -1, -1:] @ w[-1, -1, -1:]"),
)
conv_forward.slip(
    "the bias was added once for each of the kernel's pixels: add it once a place, after the sum",
    ("+ b", "+ b * KH * KW"),
)
conv_forward.slip("the bias is missing: b[f] is added at every place of filter f", (" + b", ""))
conv_forward.slip("the bias was subtracted: b[f] is added at every place of filter f", ("+ b", "- b"))
conv_forward.slip(
    "the bias was added once for each product: add it once a place, after the sum",
    ("+ b", "+ b * KH * KW * w.shape[2]"),
)
conv_forward.slip(
    "the kernel is flipped: that is convolution in signal processing; networks slide the kernel as it is, so "
    "w[kh, kw] is multiplied with the pixel kh down and kw to the right",
    ("patch, w,", "patch, w[::-1, ::-1],"),
)
for flipped, what in (("w[::-1]", "rows"), ("w[:, ::-1]", "columns")):
    conv_forward.slip(
        f"the kernel's {what} are flipped: networks slide the kernel as it is", ("patch, w,", f"patch, {flipped},")
    )
conv_forward.slip(
    "only one channel was used: a filter sums over all the channels of its patch",
    ("patch, w,", "patch[..., :1], w[:, :, :1],"),
)
conv_forward.slip(
    "only the last channel was used: a filter sums over all the channels of its patch (+= in the loop)",
    ("patch, w,", "patch[..., -1:], w[:, :, -1:],"),
)
for rows, shape, axes in (
    ("(i, j, n)", "OH, OW, N, F", "2, 0, 1, 3"),
    ("(n, j, i)", "N, OW, OH, F", "0, 2, 1, 3"),
    ("(f, n, i, j)", "F, N, OH, OW", "1, 2, 3, 0"),
    ("(n, f, i, j)", "N, F, OH, OW", "0, 2, 3, 1"),
):
    conv_forward.slip(
        f"the product was read as {rows}: its rows are those of im2col, (n, i, j), and its columns the filters, so "
        "reshape it to (N, OH, OW, F)",
        ("return out", f"return out.reshape({shape}).transpose({axes})"),
    )
conv_forward.slip(
    "the filters' axes are mixed up: w is (KH, KW, C, F), so each column of w.reshape(KH*KW*C, F) is a filter",
    ("patch, w,", "patch, w.reshape(F, -1).T.reshape(w.shape),"),
)


# ---------------------------------------------------------------- patches put back into an image


def place_patches(patches, x_shape, stride, padding, assign=False):
    """col2im with optional errors: put patches (N, OH, OW, KH, KW, C) on a padded image; returns it with the padding.

    step : the distance between patches, if not the stride. assign : use = instead of +=.
    """
    N, H, W, C = x_shape
    _, OH, OW, KH, KW, _ = patches.shape
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), patches.dtype)
    for i in range(OH):
        for j in range(OW):
            window = padded[:, i * stride : i * stride + KH, j * stride : j * stride + KW]
            if assign:
                window[...] = patches[:, i, j]
            else:
                window += patches[:, i, j]
    return padded


def _cropped(padded, padding):
    _, H, W, _ = padded.shape
    return padded[:, padding : H - padding, padding : W - padding]


def _assigned(patches, x_shape, stride, padding):
    return _cropped(place_patches(patches, x_shape, stride, padding, assign=True), padding)


def _assigned_by_taps(patches, x_shape, stride, padding):
    """A loop over the kernel's pixels, with = instead of +=."""
    N, H, W, C = x_shape
    _, OH, OW, KH, KW, _ = patches.shape
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), patches.dtype)
    for kh in range(KH):
        for kw in range(KW):
            pixels = padded[:, kh : kh + OH * stride : stride, kw : kw + OW * stride : stride]
            pixels[:, :OH, :OW] = patches[:, :, :, kh, kw]
    return _cropped(padded, padding)


EMPTIED = "the result is empty where padding is 0: [0:-0] is an empty slice; crop with [padding : padding + H]"
CROPPED_AFTER = "padding cropped from one side only: there are `padding` rows and columns on all four sides"

# ---------------------------------------------------------------- 06: col2im


def _col2im(columns, x_shape, kernel_size, stride, padding):
    N, H, W, C = x_shape
    KH, KW = kernel_size
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    patches = columns.reshape(N, OH, OW, KH, KW, C)
    dpadded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), columns.dtype)
    for i, j in np.ndindex(OH, OW):
        top, left = i * stride, j * stride
        dpadded[:, top : top + KH, left : left + KW] += patches[:, i, j]
    return dpadded[:, padding : padding + H, padding : padding + W]


col2im = Task(
    "col2im", ("dx",), _col2im, _cases("columns", "x_shape", "kernel_size", "stride", "padding"), {"dx": "nhwc"}
)

CROP = "padding : padding + H, padding : padding + W"


def _add_cropping_mistakes(task, not_cropped):
    """Add mistakes in cutting off the padding."""
    task.slip(EMPTIED, (CROP, "padding:-padding, padding:-padding"))
    task.slip(not_cropped, (f"dpadded[:, {CROP}]", "dpadded"))
    task.slip(CROPPED_AFTER, (CROP, ":H, :W"))
    task.slip(CROPPED_AFTER, (CROP, "2 * padding :, 2 * padding :"))


col2im.slip(
    "the number of places leaves out the padding: OH = (H + 2 * padding - KH) // stride + 1",
    ("(H + 2 * padding - KH)", "(H - KH)"),
    ("(W + 2 * padding - KW)", "(W - KW)"),
)
_add_cropping_mistakes(
    col2im, "padding not cropped: drop what was added to the padding; the result has the image's shape"
)
col2im.slip(
    "`=` where `+=` is needed: windows overlap, and a pixel in several patches gets the sum of all of them. (With "
    "index arrays, `a[i] += v` adds only one of several: that takes np.add.at)",
    ("+=", "="),
)
col2im.slip(
    "stride ignored: patch (i, j) goes back to where it came from, (i * stride, j * stride)",
    ("i * stride, j * stride", "i, j"),
)
col2im.slip(
    "patches put side by side: patch (i, j) goes back to where it came from, (i * stride, j * stride)",
    ("i * stride, j * stride", "i * KH, j * KW"),
)
col2im.slip(
    "patches turned by 180 degrees: column (kh, kw) belongs to the pixel kh down and kw to the right, as in im2col",
    ("patches[:, i, j]", "patches[:, i, j, ::-1, ::-1]"),
)
for what, shape, axes in (
    ("the columns were read as (c, kh, kw); they run over (kh, kw, c)", "N, OH, OW, C, KH, KW", "0, 1, 2, 4, 5, 3"),
    (
        "the columns were read as (kw, kh, c): the kernel's rows and columns are exchanged",
        "N, OH, OW, KW, KH, C",
        "0, 1, 2, 4, 3, 5",
    ),
    ("the rows were read as (n, j, i); places run row by row: (n, i, j)", "N, OW, OH, KH, KW, C", "0, 2, 1, 3, 4, 5"),
    (
        "the rows were read as (i, j, n); all places of the first image come first",
        "OH, OW, N, KH, KW, C",
        "2, 0, 1, 3, 4, 5",
    ),
):
    col2im.slip(what, ("reshape(N, OH, OW, KH, KW, C)", f"reshape({shape}).transpose({axes})"))


@col2im.mistake("averaged where windows overlap: the chain rule for a copied pixel is a sum, not a mean")
def _col2im_mean(columns, x_shape, kernel_size, stride, padding):
    dx = layers.col2im(columns, x_shape, kernel_size, stride, padding)
    counts = layers.col2im(np.ones_like(columns), x_shape, kernel_size, stride, padding)
    return dx / np.maximum(counts, 1)


# ---------------------------------------------------------------- 07 and 12: convolution and depthwise backward


def _with_dx(right, make_dx):
    """The backward pass `right`, but with another dx."""

    def backward(dout, x, w, stride, padding):
        return make_dx(dout, x, w, stride, padding), *right(dout, x, w, stride, padding)[1:]

    return backward


def _at_last_place(dout):
    only = np.zeros_like(dout)
    only[:, -1, -1] = dout[:, -1, -1]
    return only


def _add_backward_mistakes(task, patches_of):
    """Add mistakes that any convolution's backward can have. `patches_of(dout, w)`: the gradients of its patches."""
    right = task.reference

    def misplaced(put):
        return _with_dx(right, lambda dout, x, w, s, p: put(patches_of(dout, w), x.shape, s, p))

    def summed_over(part):
        return lambda dout, x, w, stride, padding: right(*part(dout, x), w, stride, padding)

    task.slip(
        "kernel not flipped, or flipped where it should not be: to slide it over dout, turn it by 180 degrees, "
        "w[::-1, ::-1]; to add it to dx at each place, take it as it is",
        ("+= dpatch", "+= dpatch[:, ::-1, ::-1]"),
    )
    task.slip(
        "stride ignored: the patch at place (i, j) began at pixel (i * stride, j * stride), and its gradient goes back "
        "there",
        (f"dpadded[:, {PLACE}]", "dpadded[:, i : i + KH, j : j + KW]"),
    )
    _add_cropping_mistakes(
        task, "padding not cropped: the forward padded x, but dx has the shape of x, so drop the rest"
    )
    task.slip(
        "`=` where `+=` is needed: windows overlap, and a pixel in several patches gets the sum of all their gradients",
        ("] += dpatch", "] = dpatch"),
    )
    task.mistake("`=` where `+=` is needed: several weights act on the same pixel of x, and only the last one is left")(
        misplaced(_assigned_by_taps)
    )
    task.slip(
        "stride ignored: at place (i, j), weight (kh, kw) acts on the pixel (i * stride + kh, j * stride + kw)",
        (f"pixels = padded[:, {PLACE}]", "pixels = padded[:, i : i + KH, j : j + KW]"),
    )
    task.slip(
        "padding ignored: the forward multiplied the weights with the *padded* x",
        (
            "        pixels = padded",
            "        padded = np.pad(x, [(0, 0), (0, 2 * padding), (0, 2 * padding), (0, 0)])\n        pixels = padded",
        ),
    )
    task.slip(
        "dw is turned by 180 degrees: dw[kh, kw] belongs to the pixel at (kh, kw) of the patch",
        ("], dw", "], dw[::-1, ::-1]"),
    )
    task.slip("the sign of dx is reversed", ("] += dpatch", "] -= dpatch"))
    task.slip("the sign of dw is reversed", ("dw += ", "dw -= "))

    task.slip(
        "only the last place's gradient: a weight acts at every place (i, j), so sum over all (+= in the loop)",
        ("dw +=", "dw ="),
    )
    task.mistake("only the last image's gradient: weights act in every image, so sum over the batch (+= in the loop)")(
        summed_over(lambda dout, x: (dout[-1:], x[-1:]))
    )
    task.mistake("only the first image's gradient: weights act in every image, so sum over the batch")(
        summed_over(lambda dout, x: (dout[:1], x[:1]))
    )
    task.mistake(
        "only the last place's gradient: a weight acts at every place (i, j), so sum over all (+= in the loop)"
    )(summed_over(lambda dout, x: (_at_last_place(dout), x)))
    task.mistake("only the last image's last place: a weight acts at every place of every image (+= in the loop)")(
        summed_over(lambda dout, x: (_at_last_place(dout[-1:]), x[-1:]))
    )


def _conv_backward(dout, x, w, stride, padding):
    _, H, W, _ = x.shape
    KH, KW, _, _ = w.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w), np.zeros_like(w[0, 0, 0])
    for i, j in np.ndindex(dout.shape[1:3]):
        top, left = i * stride, j * stride
        pixels = padded[:, top : top + KH, left : left + KW]
        dw += np.tensordot(pixels, dout[:, i, j], axes=(0, 0))
        dpatch = np.tensordot(dout[:, i, j], w, axes=(1, 3))
        dpadded[:, top : top + KH, left : left + KW] += dpatch
        db += dout[:, i, j].sum(axis=0)
    return dpadded[:, padding : padding + H, padding : padding + W], dw, db


conv_backward = Task(
    "conv2d_backward",
    ("dx", "dw", "db"),
    _conv_backward,
    _cases("dout", "x", "w", "stride", "padding"),
    {"dout": "nhwf", "x": "nhwc", "w": "hwcf", "dx": "nhwc", "dw": "hwcf", "db": "f"},
)


def _conv_patches(dout, w):
    """The gradients of the patches (N, OH, OW, KH, KW, C): dout @ w^T."""
    return np.einsum("nijf,hwcf->nijhwc", dout, w)


_add_backward_mistakes(conv_backward, _conv_patches)

conv_backward.slip(
    "only the last filter counts: every filter used the pixel, so sum over them (+= in the loop)",
    ("dpatch = np.tensordot(dout[:, i, j], w, ", "dpatch = np.tensordot(dout[:, i, j, -1:], w[..., -1:], "),
)
conv_backward.slip(
    "w is missing in dx: each pixel gets dout times the weight that lay on it",
    ("dpatch = np.tensordot(dout[:, i, j], w,", "dpatch = np.tensordot(dout[:, i, j], np.ones_like(w),"),
)
conv_backward.slip(
    "x is missing in dw: each weight gets dout times the pixel that it met",
    ("tensordot(pixels,", "tensordot(np.ones_like(pixels),"),
)
conv_backward.mistake(
    "`=` where `+=` is needed: every place and every filter used the pixel, and only the last one is left"
)(
    _with_dx(
        layers.conv2d_backward,
        lambda dout, x, w, s, p: _assigned(_conv_patches(dout[..., -1:], w[..., -1:]), x.shape, s, p),
    )
)


def _depthwise_backward(dout, x, w, stride, padding):
    _, H, W, _ = x.shape
    KH, KW, _ = w.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for i, j in np.ndindex(dout.shape[1:3]):
        top, left = i * stride, j * stride
        pixels = padded[:, top : top + KH, left : left + KW]
        dw += (pixels * dout[:, None, None, i, j]).sum(axis=0)
        dpatch = dout[:, None, None, i, j] * w
        dpadded[:, top : top + KH, left : left + KW] += dpatch
    return dpadded[:, padding : padding + H, padding : padding + W], dw


depthwise = Task(
    "depthwise_backward",
    ("dx", "dw"),
    _depthwise_backward,
    _cases("dout", "x", "w", "stride", "padding", depthwise=True),
    {"dout": "nhwc", "x": "nhwc", "w": "hwc", "dx": "nhwc", "dw": "hwc"},
)


@depthwise.mistake(
    "the channels were mixed: in a depthwise convolution channel c of the output comes from channel c alone"
)
def _depthwise_mixed(dout, x, w, stride, padding):
    total = dout.sum(axis=3, keepdims=True) * np.ones_like(dout)
    return _depthwise_backward(total, x, w, stride, padding)


depthwise.slip(
    "w is missing in dx: each pixel gets dout times the weight that lay on it", ("* w\n", "* np.ones_like(w)\n")
)
depthwise.slip(
    "x is missing in dw: each weight gets dout times the pixel that it met", ("(pixels *", "(np.ones_like(pixels) *")
)
_add_backward_mistakes(depthwise, lambda dout, w: np.einsum("nijc,hwc->nijhwc", dout, w))


EXERCISES = (
    Exercise(
        "04_im2col",
        "patches as rows",
        lesson=5,
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
        lesson=5,
        tasks=(conv_forward,),
        hints=(
            "One entry of the output is the sum of a patch times a filter, entry by entry, plus the filter's bias.",
            "Pad first: np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))). Then loop over n, i, j "
            "and f, add up over kh, kw and c, and add b[f] once.",
            "A loop over places is enough: out[:, i, j] = np.tensordot(patch, w, 3) + b. With the im2col of exercise 4 "
            "it is one matrix product: columns @ w.reshape(KH*KW*C, F) + b, reshaped to (N, OH, OW, F).",
        ),
    ),
    Exercise(
        "06_col2im",
        "rows back to an image",
        lesson=6,
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
        lesson=6,
        tasks=(conv_backward,),
        hints=(
            "Go place by place: which pixels and which weights were multiplied into out[n, i, j, f]? Work on the "
            "padded image, and cut the margin off dx at the end.",
            "For each place: dpadded[:, patch] += the sum over f of dout[:, i, j, f] * w[..., f], and dw += patch "
            "times dout, over n. db is the sum of dout over n, i and j.",
            "Without loops: columns = im2col(x); out = columns @ w + b is a dense layer whose examples are patches. So "
            "dw = columns^T @ dout, with dout as (N*OH*OW, F), and dx = col2im(dout @ w^T): exercise 6.",
        ),
    ),
    Exercise(
        "12_depthwise_backward",
        "backward of a depthwise convolution",
        lesson=13,
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
