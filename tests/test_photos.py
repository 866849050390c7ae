"""One's own digits: photographs of every condition of the benchmark, several digits in one picture, and `predict`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.data.photographs import read_digit, read_digits, scaled_picture
from scratchnet.reading import FileFault

pytest.importorskip("skimage")  # draws the pens' strokes
photos = pytest.importorskip("benchmarks.photos")

CHOSEN = slice(0, 60, 10)


@pytest.fixture(scope="module")
def clean():
    """A few digits, and what `read_digit` makes of each on a white sheet."""
    return sn.data.load("sample")[1].images[CHOSEN]


def photograph(condition, digit, path, seed=0):
    path.write_bytes(photos.stored(condition(np.random.default_rng(seed), digit)).getvalue())
    return path


def likeness(a, b):
    """The cosine between two images, at the best of nine shifts by a pixel at most."""
    shifts = [np.roll(a, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return max(float((s * b).sum() / np.sqrt((s * s).sum() * (b * b).sum())) for s in shifts)


@pytest.mark.parametrize("name", [name for name in photos.CONDITIONS if "12 mega" not in name])
def test_a_photograph_shows_the_digit_that_was_photographed(name, clean, tmp_path):
    """The image is like the digit itself, whatever paper, pen, light or table. Thin and thick pens change its strokes,
    and a turned digit is another image: these are less alike."""
    alike = []
    for i, digit in enumerate(clean):
        alike.append(likeness(read_digit(photograph(photos.CONDITIONS[name], digit, tmp_path / "p", i)), digit))
    changed = any(word in name for word in ("pen", "marker", "chalk", "turned", "perspective"))
    assert np.median(alike) > (0.75 if changed else 0.9), alike
    assert min(alike) > (0.5 if changed else 0.8), alike


@pytest.mark.parametrize("name", [name for name in photos.NOT_DIGITS if name != "a face"])
def test_what_is_no_digit_is_refused(name, clean, tmp_path):
    for i, digit in enumerate(clean):
        with pytest.raises(FileFault, match=r"expected (one|a) digit"):
            read_digit(photograph(photos.NOT_DIGITS[name], digit, tmp_path / "p", i))


@pytest.mark.parametrize("seed", range(6))
def test_a_number_is_found_from_left_to_right(seed, tmp_path):
    """Two to five digits, of different sizes and heights above the line, under uneven light."""
    test = sn.data.load("sample")[1]
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 6))
    chosen = rng.integers(0, len(test), count)
    sheet = np.zeros((200, 130 * count + 40), np.float32)
    for place, digit in enumerate(test.images[chosen]):
        size = int(rng.integers(100, 130))
        top, left = int(rng.integers(5, 60)), 20 + 130 * place
        sheet[top : top + size, left : left + size] = photos.outline(digit, size)
    light = np.linspace(1, rng.uniform(0.6, 1), sheet.shape[1])
    photos.as_picture((235 * (1 - sheet) + 40 * sheet) * light).save(tmp_path / "number.png")
    found = read_digits(tmp_path / "number.png").digits
    assert len(found) == count
    for digit, truth in zip(found, test.images[chosen], strict=True):
        assert likeness(digit.image, truth) > 0.75


@pytest.fixture
def pictures(clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sn.save(sn.models.standard_cnn(), "model.safetensors")
    photograph(photos.sheet, clean[0], tmp_path / "one.png")
    photograph(photos.three_digits, clean[1], tmp_path / "three.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    return tmp_path


def test_one_bad_file_does_not_lose_the_results_of_the_others(pictures, capsys):
    assert main(["predict", "bad.png", "one.png", "phone.heic", "nowhere.png", "--model", "model.safetensors"]) == 1
    out, err = capsys.readouterr()
    assert "one.png: " in out
    assert "bad.png: not a picture" in err
    assert "phone.heic: not a picture" in err
    assert "Save or share it as JPEG" in err
    assert "nowhere.png" in err
    assert "3 of 4 pictures could not be read" in err


def test_many_digits_are_asked_for(pictures, capsys):
    assert main(["predict", "three.png", "--model", "model.safetensors"]) == 1
    assert "found 3 shapes of its size" in capsys.readouterr().err
    assert main(["predict", "three.png", "--many", "--model", "model.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "three.png: from left to right " in out
    assert out.count("standard_cnn saw") == 3


def test_strokes_are_read_as_the_mean_over_views(pictures, capsys):
    assert main(["predict", "one.png", "--model", "model.safetensors"]) == 0
    image, net = read_digit("one.png")[None], sn.load("model.safetensors")
    mean = sn.data.mean_over_turns(net.predict, image)[0]
    assert f"one.png: {mean.argmax()}, with probability {mean.max():.1%}" in capsys.readouterr().out
    assert abs(mean - net.predict(image)[0]).max() > 1e-4


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_network_of_ones_own_pictures_reads_them_as_it_was_trained(mode, tmp_path, monkeypatch, capsys):
    """The picture is scaled, nothing is removed: a training picture gives the very image that was trained with."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("bark", "leaf"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / "mine" / name / f"{i}.png")
    train, _ = sn.data.load(tmp_path / "mine")
    net = sn.models.separable_cnn(dense_units=8, input_shape=train.images.shape[1:], classes=2)
    sn.save(net, "model.safetensors", trained_on=train)
    reading = scaled_picture("mine/bark/0.png", train.images.shape[1:])
    assert np.array_equal(reading.digits[0].image, train.images[0])
    assert main(["predict", "mine/bark/0.png", "--save", "seen", "--model", "model.safetensors"]) == 0
    best = net.predict(train.images[:1])[0]
    assert f"{('bark', 'leaf')[best.argmax()]}, with probability {best.max():.1%}" in capsys.readouterr().out
    assert main(["predict", "mine/bark/0.png", "--many", "--model", "model.safetensors"]) == 1
    assert "leave out --many" in capsys.readouterr().err
    Image.new("RGB", (300, 200), "red").save("large.jpg")
    assert main(["predict", "large.jpg", "--model", "model.safetensors"]) == 0


def test_save_writes_a_figure_of_each_picture(pictures, capsys):
    arguments = ["predict", "one.png", "three.png", "--many", "--save", "seen", "--model", "model.safetensors"]
    assert main(arguments) == 0
    with Image.open("seen/one.png.png") as one, Image.open("seen/three.png.png") as three:
        assert three.height > 2 * one.height
    assert "seen/one.png.png" in capsys.readouterr().out.replace("\\", "/")
