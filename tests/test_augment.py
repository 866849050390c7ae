"""Turned and shifted digits: exact cases, both engines, and augmentation as a part of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_train import same, stop_in_step, train_small, weights

import scratchnet as sn
from scratchnet.data import RandomAffine, mean_over_turns, turn_and_shift
from scratchnet.engine import ops
from scratchnet.runs.recipes import SAMPLE


def one_turn(x, degrees=0.0, down=0.0, right=0.0):
    """Turn and shift all images of a batch in the same way."""
    angles = np.full(len(x), np.radians(degrees))
    return ops.turn_and_shift(x, angles, np.tile([down, right], (len(x), 1)))


@pytest.fixture
def images(rng):
    return rng.random((3, 9, 12, 2))


@pytest.mark.usefixtures("engine")
def test_a_mean_over_turns_is_that_of_each_view(images):
    """`predict` gets each view once, the mean is of its answers; without a turn it is the answer itself."""
    seen = []

    def predict(view):
        seen.append(view)
        sums = view.sum(axis=(1, 2))
        return sums / sums.sum(axis=1, keepdims=True)

    answer = mean_over_turns(predict, images, degrees=(-20, 0, 35))
    for view, angle in zip(seen, (-20, 0, 35), strict=True):
        np.testing.assert_allclose(view, one_turn(images, angle), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(answer, sum(map(predict, seen[:3])) / 3, rtol=1e-12)
    np.testing.assert_allclose(answer.sum(axis=1), 1)
    assert np.array_equal(mean_over_turns(predict, images, degrees=(0,)), predict(images))


@pytest.mark.usefixtures("engine")
class TestTurnAndShift:
    def test_nothing_asked_for_nothing_changed(self, images):
        assert np.array_equal(one_turn(images), images)

    def test_whole_pixels_are_moved_as_they_are_and_zeros_come_in(self, images):
        out = one_turn(images, down=2, right=-3)
        assert np.array_equal(out[:, 2:, :-3], images[:, :-2, 3:])
        assert not out[:, :2].any()
        assert not out[:, :, -3:].any()

    def test_half_a_pixel_is_the_mean_of_two(self, images):
        out = one_turn(images, right=0.5)
        np.testing.assert_allclose(out[:, :, 1:], (images[:, :, 1:] + images[:, :, :-1]) / 2, rtol=1e-14)

    @pytest.mark.parametrize("quarters", [1, 2, 3, -1])
    def test_quarter_turns_are_counterclockwise(self, rng, quarters):
        x = rng.random((2, 7, 7, 1))
        np.testing.assert_allclose(one_turn(x, 90 * quarters), np.rot90(x, quarters, axes=(1, 2)), atol=1e-13)

    def test_a_turn_comes_before_a_shift(self, rng):
        x = np.zeros((1, 9, 9, 1))
        x[0, 2:7, 2:7] = rng.random((5, 5, 1))  # far from the edge, so that nothing is lost
        np.testing.assert_allclose(
            one_turn(x, 90, down=1, right=2), one_turn(one_turn(x, 90), down=1, right=2), atol=1e-13
        )

    def test_it_is_a_plane_between_the_pixels(self):
        """Bilinear interpolation gives back a plane exactly, wherever all four neighbours are inside."""
        rows, columns = np.mgrid[:21, :21].astype(float)
        plane = (2 * rows + 3 * columns)[None, ..., None]
        out = one_turn(plane, 25, down=0.7, right=-1.2)[0, 7:14, 7:14, 0]
        u, v = rows[7:14, 7:14] - 10 - 0.7, columns[7:14, 7:14] - 10 + 1.2
        a = np.radians(25)
        np.testing.assert_allclose(
            out, 2 * (10 + u * np.cos(a) + v * np.sin(a)) + 3 * (10 - u * np.sin(a) + v * np.cos(a)), rtol=1e-12
        )

    def test_what_leaves_the_image_is_gone(self, images):
        assert not one_turn(images, 30, down=40, right=-1e6).any()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_dtype_is_kept(self, images, dtype):
        assert one_turn(images.astype(dtype), 12, 0.3, 0.4).dtype == dtype


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 28, 28, 1), (4, 6, 11, 3)])
def test_both_engines_agree(rng, shape, dtype, tolerance):
    x = rng.random(shape).astype(dtype)
    angles, shifts = rng.uniform(-4, 4, shape[0]), rng.uniform(-3, 3, (shape[0], 2))
    with sn.use_engine("numba"):
        np.testing.assert_allclose(
            ops.turn_and_shift(x, angles, shifts), turn_and_shift(x, angles, shifts), atol=tolerance
        )


def test_amounts_stay_in_their_range_and_reach_it(monkeypatch):
    seen = []
    monkeypatch.setattr(ops, "turn_and_shift", lambda x, angles, shifts: seen.append((angles, shifts)))
    RandomAffine(degrees=30, shift=2)(np.zeros((4000, 2, 2, 1)), np.random.default_rng(0))
    ((angles, shifts),) = seen
    assert 0.99 < np.degrees(angles).max() / 30 <= 1
    assert 0.99 < -np.degrees(angles).min() / 30 <= 1
    assert (np.abs(shifts).max(axis=0) <= 2).all()
    assert (np.abs(shifts).max(axis=0) > 1.98).all()
    assert abs(np.corrcoef(np.column_stack([angles, shifts]).T) - np.eye(3)).max() < 0.06, "drawn apart from each other"


@pytest.mark.parametrize("options", [{"degrees": -1}, {"shift": float("nan")}, {"shift": float("inf")}])
def test_a_range_that_is_none_is_refused(options):
    with pytest.raises(ValueError, match="RandomAffine: expected (degrees|shift) to be a finite number"):
        RandomAffine(**options)


@pytest.mark.usefixtures("engine")
class TestInTraining:
    def test_it_changes_the_training_and_the_same_seed_the_same_way(self, sample):
        plain, _ = train_small(sample[0], epochs=1)
        one, _ = train_small(sample[0], epochs=1, augment=RandomAffine())
        again, _ = train_small(sample[0], epochs=1, augment=RandomAffine())
        assert not same(weights(plain), weights(one))
        assert same(weights(one), weights(again))

    def test_every_batch_is_changed_in_its_own_way(self, sample):
        drawn = []

        def spy(images, rng):
            drawn.append(rng.random())
            return images

        train_small(sample[0], epochs=3, augment=spy)
        assert len(set(drawn)) == 21

    def test_a_resumed_run_ends_with_the_same_bits(self, sample, tmp_path, monkeypatch):
        whole, _ = train_small(sample[0], augment=RandomAffine())
        stop_in_step(monkeypatch, 9, RuntimeError("power cut"))
        with pytest.raises(RuntimeError, match="power cut"):
            train_small(sample[0], tmp_path, augment=RandomAffine(), checkpoint_every=5)
        monkeypatch.undo()
        resumed, _ = train_small(sample[0], tmp_path, augment=RandomAffine(), resume=True)
        assert same(weights(whole), weights(resumed))

    def test_it_is_not_resumed_with_another(self, sample, tmp_path):
        train_small(sample[0], tmp_path, epochs=1, augment=RandomAffine(10, 2))
        with pytest.raises(ValueError, match=r"begun with augment = 'RandomAffine\(degrees=10.0, shift=2.0\)"):
            train_small(sample[0], tmp_path, resume=True, augment=RandomAffine(10, 3))
        with pytest.raises(ValueError, match=r"begun with augment = 'RandomAffine\(degrees=10.0, shift=2.0\)"):
            train_small(sample[0], tmp_path, resume=True)


def test_a_recipe_makes_it_or_leaves_it_out():
    assert SAMPLE.make_augment() is None
    assert replace(SAMPLE, shift=1.5).make_augment() == RandomAffine(0, 1.5)
