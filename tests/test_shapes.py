"""Where windows stand: each field of a `Window`, beside the formula of TensorFlow and ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from cases import places_and_padding

from scratchnet.layers.shapes import Window, crop, pad


@pytest.mark.parametrize("padding", ["same", "valid", 2, (1, 3)])
def test_every_field_of_a_window(padding, rng):
    for _ in range(60):
        image, size, stride = (tuple(map(int, rng.integers(low, 9, 2))) for low in (8, 1, 1))
        window = Window.on(image, size, stride, padding)
        pairs = padding if isinstance(padding, tuple) else (padding, padding)
        for axis in range(2):
            places, (before, after) = places_and_padding(image[axis], size[axis], stride[axis], pairs[axis])
            assert window.out[axis] == places
            assert window.before[axis] == before
            assert window.after[axis] == after
            assert window.pads[axis] == (before, after)
            assert window.padded[axis] == before + image[axis] + after
        assert (window.image, window.size, window.stride) == (image, size, stride)


def test_crop_reverses_pad(rng):
    x = rng.standard_normal((2, 3, 4, 1))
    padded = pad(x, ((1, 2), (0, 3)), value=7.0)
    assert padded.shape == (2, 6, 7, 1)
    assert np.array_equal(crop(padded, ((1, 2), (0, 3))), x)
    assert padded.sum() == pytest.approx(x.sum() + 7 * (padded.size - x.size))


def test_a_window_as_large_as_the_padded_image_has_one_place():
    assert Window.on((3, 1), (5, 1), 1, (1, 0)).out == (1, 1)
    with pytest.raises(ValueError, match="the window of 6x1 is larger than the padded image"):
        Window.on((3, 1), (6, 1), 1, (1, 0))
    with pytest.raises(ValueError, match="the image has 0x1 pixels"):
        Window.on((0, 1), (1, 1), 1, 1)
