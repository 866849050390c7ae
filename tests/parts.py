"""How each kernel of the mirror divides its work, read from the arguments of a call.

A size that is cut into units, or shared among a fixed number of parts, comes out in a few ways, and a loop may get each
of them wrong. `dispatch.py` collects which ones were met.
"""

from __future__ import annotations

import numpy as np

from scratchnet.fast.choose import CACHE, CHUNKS, GROUP, INPUTS, PANEL, ROWS_TOGETHER
from scratchnet.fast.product.points import SIDE
from scratchnet.fast.product.tile import ACCUMULATORS, WIDE, columns
from scratchnet.fast.register.transpose import ROWS
from scratchnet.fast.register.width import lanes


def tiles(count, unit):
    """How `count` fills units of this size."""
    return "partial" if count < unit else "after" if count % unit else "whole"


def shares(count, parts=CHUNKS):
    """How `count` is shared among a number of parts."""
    if count <= parts:
        return "equal" if count == parts else "fewer"
    return "no multiple" if count % parts else "multiple"


def whether(there_is):
    """Whether there is something to take care of."""
    return "yes" if there_is else "no"


POSSIBLE = {
    tiles: {"partial", "whole", "after"},
    shares: {"fewer", "equal", "multiple", "no multiple"},
    whether: {"yes", "no"},
}


def of_shape(shape):
    return "wide" if shape == WIDE else "narrow"


def padding_of(window):
    return {"padding": (whether, any(window.before)), **left_over(window)}


def left_over(window):
    """Whether the last rows of the padded image, or the last columns, are in no window."""
    covered = [(n - 1) * s + k for n, s, k in zip(window.out, window.stride, window.size, strict=True)]
    return {"left over": (whether, covered != list(window.padded))}


def product_rows(a, starts, stretches, b, bias, out, cut, shape):
    (M, F), panels = out.shape, -(-out.shape[1] // columns(shape, out.dtype))
    return of_shape(shape), {
        "rows": (tiles, M, len(shape)),
        "columns": (tiles, F, columns(shape, out.dtype)),
        "runs": (tiles, stretches.runs, cut.slab_runs),
        "K" if stretches.a_k == 1 else "K apart": (tiles, stretches.K, cut.slab_K),
        "rows of tiles": (shares, -(-M // len(shape)), cut.blocks),
        "panels": (shares, panels, cut.groups),
    }


def product_over_images(a, image_size, starts, stretches, b, sums, bias_sums, shape):
    N, _, F = b.shape
    runs, a_run, K, _ = stretches
    return of_shape(shape), {
        "images": (shares, N),
        "rows": (tiles, len(starts), len(shape)),
        "columns": (tiles, F, columns(shape, b.dtype)),
        "bands": (tiles, runs, max(1, CACHE // ((K * sums.shape[2] + a_run) * a.itemsize))),
    }


def winograd(N, cut, C, F, shape, dtype, out_size):
    """Of both Winograd kernels."""
    m, images = SIDE - 4, N * cut.number
    return of_shape(shape), {
        "images": (shares, images),
        "images together": (tiles, -(-images // CHUNKS), cut.together),
        "columns": (tiles, F, columns(shape, dtype)),
        "channels": (tiles, C, lanes(dtype)),
        "output rows": (tiles, out_size[0], m),
        "output columns": (tiles, out_size[1], m),
    }


def winograd_forward_kernel(x, before, U, bias, out, cut, B_T, A_T, exact_bias, shape):
    label, parts = winograd(len(x), cut, x.shape[3], out.shape[3], shape, x.dtype, out.shape[1:3])
    together = min(cut.together, -(-len(x) * cut.number // CHUNKS))
    return label, parts | {"tiles": (tiles, together * cut.tiles[0] * cut.tiles[1], len(shape))}


def winograd_dw_kernel(x, before, dout, cut, B_T, A, G_T, sums, shape):
    label, parts = winograd(len(x), cut, x.shape[3], dout.shape[3], shape, x.dtype, dout.shape[1:3])
    return label, parts | {"rows": (tiles, x.shape[3], len(shape))}


def lanewise(x, starts, shape_of_rows):
    return {
        "images": (shares, len(x)),
        "rows": (tiles, len(starts), ACCUMULATORS),
        "columns": (tiles, shape_of_rows, lanes(x.dtype)),
    }


def sparse_dw_kernel(x, window, dout, pixels, vectors, sums, group):
    width, (KH, KW) = lanes(x.dtype), window.size
    several = dout.shape[2] > sums.shape[1]
    return "neighbours" if several else "", {
        "images": (shares, len(x)),
        "vectors": (tiles, KH * -(-KW * x.shape[3] // width), len(GROUP)),
        "pixels": (tiles, dout.shape[1], width),
        "filters": (tiles, dout.shape[2], width),
    } | ({} if several else {"pixels that divide badly": (whether, width // sums.shape[1] > 1)})


def sparse_dx_kernel(dout, weights, numbers, homes, cut, window, dx, group):
    width, pixels = lanes(dx.dtype), cut.pixels
    last_row = (dout.shape[1] - 1) * window.stride[0] + homes.size * width // cut.numbers
    return "neighbours" if pixels > 1 else "", {
        "images": (shares, len(dx)),
        "filters": (tiles, dout.shape[3], width),
        "rows": (tiles, window.size[0], len(GROUP)),
        "rows of x below the last window's": (whether, window.image[0] + window.before[0] > last_row),
        "channels": (tiles, dx.shape[3] * pixels, width),
    } | ({"blocks": (tiles, dx.shape[2], pixels)} if pixels > 1 else {})


# For each kernel: its variant, and for each loop over parts the function that names how the parts come out, and its
# arguments. The arguments are the kernel's own.
PARTS = {
    "product_rows": product_rows,
    "sums_of_shards_kernel": lambda x, dout, ends, merges, where, bias, dw, groups, blocks, shape: (
        of_shape(shape),
        {
            "rows": (tiles, len(dw), len(shape)),
            "columns": (tiles, dw.shape[1], columns(shape, dw.dtype)),
            "rows of tiles": (shares, -(-len(dw) // len(shape)), blocks),
            "panels": (shares, -(-dw.shape[1] // columns(shape, dw.dtype)), groups),
        },
    ),
    "product_over_images": product_over_images,
    "sums_kernel": lambda b, sums: ("", {"rows": (shares, len(b)), "columns": (tiles, b.shape[1], lanes(b.dtype))}),
    "weights_kernel": lambda w, size, G, out, point: ("", {"filters": (tiles, size[1], lanes(w.dtype))}),
    "winograd_forward_kernel": winograd_forward_kernel,
    "winograd_dw_kernel": winograd_dw_kernel,
    "sparse_dw_kernel": sparse_dw_kernel,
    "sparse_dx_kernel": sparse_dx_kernel,
    "lanewise_rows": lambda x, frame, starts, stretches, slides, b, bias, out, shape: (
        "sliding" if slides else "",
        lanewise(x, starts, out.shape[2]),
    ),
    "lanewise_over_images": lambda x, frame, starts, stretches, b, sums, shape: ("", lanewise(x, starts, b.shape[2])),
    "few_rows_kernel": lambda a, b, bias, out, parts, block: (
        "",
        {
            "K": (tiles, np.count_nonzero(a.any(axis=0)), len(ROWS_TOGETHER)),
            "zeros": (whether, not a.any(axis=0).all()),
            "columns": (tiles, out.shape[1], lanes(a.dtype)),
            "vectors": (shares, -(-out.shape[1] // lanes(a.dtype)), parts),
        },
    ),
    "few_gradients_kernel": lambda dout, x, w, dx, dw: (
        "",
        {
            "rows of w": (tiles, len(w), INPUTS),
            "columns": (tiles, w.shape[1], lanes(w.dtype)),
            "columns in sums": (tiles, w.shape[1], 4 * lanes(w.dtype)),
        },
    ),
    "nonzeros_kernel": lambda a, numbers, values, places, starts: ("", {"slabs": (tiles, a.shape[1], len(numbers))}),
    "product_kernel": lambda values, places, starts, slab, b, turned, out: (
        "turned" if turned else "",
        {
            "columns": (tiles, out.size // (starts.shape[1] - 1), len(PANEL) * lanes(b.dtype)),
            "slabs": (tiles, b.size // (out.size // (starts.shape[1] - 1)), slab),
        },
    ),
    "transpose_kernel": lambda a, out, M, F: (
        "",
        {
            "rows": (tiles, M, ROWS),
            "squares down": (tiles, M, lanes(a.dtype)),
            "squares across": (tiles, F, lanes(a.dtype)),
        },
    ),
    "max_forward_kernel": lambda x, N, C, window, out, argmax, places, relu: (
        "relu" if relu else "",
        {"channels": (tiles, C, lanes(x.dtype)), **padding_of(window)},
    ),
    "max_backward_kernel": lambda dout, argmax, dx, N, C, window, places, once: (
        "once" if once else "",
        {"channels": (tiles, C, lanes(dx.dtype))} | ({} if once else padding_of(window)),
    ),
    "one_channel_forward_kernel": lambda x, w, bias, out, argmax, F, window, places: (
        "",
        {"filters": (tiles, F, lanes(x.dtype)), **left_over(window)},
    ),
    "one_channel_backward_kernel": lambda dout, argmax, step, x, w, dx, sums, F, window, places: (
        "behind a pool" if step else "",
        {
            "images": (shares, x.size // (window.image[0] * window.image[1])),
            "filters": (tiles, F, lanes(x.dtype)),
        }
        | (left_over(window) if step else {}),
    ),
    "avg_forward_kernel": lambda x, counts, out, window: ("", padding_of(window)),
    "avg_backward_kernel": lambda dout, counts, dx, window: ("", padding_of(window)),
    "statistics_kernel": lambda x, x0, sums: ("", {"rows": (shares, len(x))}),
    "normalise_kernel": lambda x, norm, out: ("relu" if norm.least == 0 else "", {}),
    "gradients_kernel": lambda dout, x, norm, sums: ("relu" if norm.least == 0 else "", {"rows": (shares, len(x))}),
    "dx_kernel": lambda dout, x, norm, slopes, dx: ("relu" if norm.least == 0 else "", {}),
    "norm_max_forward_kernel": lambda x, norm, window, out, argmax: ("", padding_of(window)),
    "norm_max_sums_kernel": lambda dwinners, argmax, x, norm, window, offsets, sums: (
        "",
        {"images": (shares, len(x)), **padding_of(window)},
    ),
    "norm_max_dx_kernel": lambda dwinners, argmax, x, norm, slopes, window, offsets, dx: ("", padding_of(window)),
    "copy_into": lambda x, padded, before, apart: ("apart" if apart[1] > 1 else "", {}),
    "gather_columns": lambda image, patches, SH, SW: ("", {}),
    "scatter_columns": lambda patches, dx, SH, SW, top, left: ("", {}),
}

VARIANTS = {
    **dict.fromkeys(
        (
            "product_rows",
            "sums_of_shards_kernel",
            "product_over_images",
            "winograd_forward_kernel",
            "winograd_dw_kernel",
        ),
        ("wide", "narrow"),
    ),
    **dict.fromkeys(("sparse_dw_kernel", "sparse_dx_kernel"), ("", "neighbours")),
    "lanewise_rows": ("", "sliding"),
    "product_kernel": ("", "turned"),
    "max_forward_kernel": ("", "relu"),
    "max_backward_kernel": ("", "once"),
    "one_channel_backward_kernel": ("", "behind a pool"),
    **dict.fromkeys(("normalise_kernel", "gradients_kernel", "dx_kernel"), ("", "relu")),
    "copy_into": ("", "apart"),
}


def impossible(kernel, variant, width):
    """What the rules rule out, or the kernels, for vectors of `width` lanes: no call can come to it."""
    never_empty = {"K partial", "K apart partial", "runs partial", "panels fewer", "rows of tiles fewer"}
    return {
        "product_rows (wide)": never_empty,
        "product_rows (narrow)": never_empty,
        "sums_of_shards_kernel (wide)": never_empty,
        "sums_of_shards_kernel (narrow)": never_empty,
        "few_rows_kernel": {"vectors fewer"},  # a part has at least SHARE vectors
        "lanewise_rows (sliding)": {"rows partial", "rows after", "columns partial"},  # whole tiles, whole vectors
        # As many pixels of dout as fit into a vector; each width is a power of 2, so only from 8 lanes on there are
        # numbers of filters that leave some empty.
        "sparse_dw_kernel (neighbours)": {"filters after"} | ({"filters partial"} if width < 8 else set()),
        "sparse_dx_kernel (neighbours)": {"channels after", "blocks partial"}
        | ({"channels partial"} if width == 2 else set()),
        "winograd_forward_kernel (wide)": {"output rows partial", "output columns partial"},  # at least one tile
        "winograd_forward_kernel (narrow)": {"output rows partial", "output columns partial"},
        "winograd_dw_kernel (wide)": {"output rows partial", "output columns partial"},
        "winograd_dw_kernel (narrow)": {"output rows partial", "output columns partial"},
    }.get(f"{kernel}{variant and f' ({variant})'}", set())


# Each size of these parts has to be met with each kind of batch; of other parts, each size once.
PAIRED = {"rows", "columns", "filters", "vectors"}

# Kernels that divide nothing: each number, pixel or image by itself. Tests that compare them are named.
UNDIVIDED = {
    "drop_kernel": "tests/test_dropout.py",
    "forward_kernel": "ReLU: tests/test_layers_torch.py",
    "backward_kernel": "ReLU: tests/test_layers_torch.py",
    "mix_kernel": "resize: tests/test_layers_torch.py",
    "turn_and_shift_kernel": "tests/test_augment.py",
    "sgd_kernel": "tests/test_optim.py",
    "momentum_kernel": "tests/test_optim.py",
    "adam_kernel": "tests/test_optim.py",
    "average_kernel": "tests/test_average.py",
}
