"""Pictures that cannot be read: each says what is wrong with it, and none takes much memory."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from scratchnet.data.photographs import read_digit, read_object
from scratchnet.data.picture_files import LARGEST_PIXELS
from scratchnet.reading import FileFault

both = pytest.mark.parametrize("read", [read_digit, read_object])


def stroke(paper=200, ink=190, size=(60, 80)):
    picture = Image.new("L", size, paper)
    ImageDraw.Draw(picture).line([(size[0] // 2, size[1] // 8), (size[0] // 2, 7 * size[1] // 8)], fill=ink, width=6)
    return picture


@both
def test_one_colour_low_contrast_and_enough_are_told_apart(tmp_path, read):
    path = tmp_path / "p.png"
    stroke(200, 200).save(path)
    with pytest.raises(FileFault, match=r"p\.png: expected .*, but the picture is all of one colour$"):
        read(path)
    stroke(200, 190).save(path)
    with pytest.raises(FileFault, match=r"p\.png: .*contrast is too low: from its darkest to .* 10 of 255"):
        read(path)
    stroke(200, 150).save(path)
    assert read(path).max() == 1


def test_a_shadow_without_ink_has_too_little_contrast(tmp_path):
    """The darkest and the lightest pixel differ, but nothing stands out from the paper around it."""
    Image.fromarray(np.linspace(120, 220, 64 * 64).reshape(64, 64).astype(np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(FileFault, match="contrast is too low: .* are 100 of 255 shades, and nothing differs .* by 16"):
        read_digit(tmp_path / "p.png")


@both
def test_a_folder_and_a_missing_file_are_told_apart(tmp_path, read):
    with pytest.raises(FileFault, match="is a folder, expected a picture"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file"):
        read(tmp_path / "nowhere")


def test_a_picture_is_found_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    stroke(230, 20).save(tmp_path / "Ziffer ü.png")
    assert read_digit("~/Ziffer ü.png").max() == 1


def test_numbers_without_an_end_are_no_picture(tmp_path):
    for value in (np.nan, np.inf, -3e38):
        values = np.full((30, 30), 3e38, np.float32)
        values[3, 3] = value
        Image.fromarray(values).save(tmp_path / "p.tif")
        with pytest.raises(FileFault, match=r"p\.tif: not a picture that can be read \(it holds NaN, infinite or"):
            read_digit(tmp_path / "p.tif")


def test_what_runs_other_programs_is_not_read(tmp_path):
    """Pillow gives PostScript to Ghostscript."""
    (tmp_path / "p.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(FileFault, match=r"p\.eps: not a picture that can be read .*; expected one of PNG, JPEG, "):
        read_digit(tmp_path / "p.eps")


TURNED = {1: 0, 3: 180, 6: -90, 8: 90}  # orientation as cameras write it, and the degrees that undo it


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_that_the_camera_turned_is_turned_back(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stroke(230, 20).save(tmp_path / "upright.png")
    stroke(230, 20).rotate(-TURNED[orientation], expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_digit(tmp_path / "turned.png"), read_digit(tmp_path / "upright.png"))


MEMORY = """
import sys
from fuzzing import peak_memory
from scratchnet.data.photographs import read_digit
from scratchnet.reading import FileFault
try:
    read_digit(sys.argv[1])
    print("read")
except FileFault as fault:
    print(fault)
print(peak_memory())
"""
LARGE = {
    "a photograph of 12 megapixels": ("RGB", (4000, 3000), "p.jpg", "read", 300),
    "a JPEG of 70 megapixels, read smaller": ("L", (10_000, 7_000), "p.jpg", "read", 300),
    "the largest PNG, with transparency": ("RGBA", (8_000, 5_000), "p.png", "read", 800),
    "a PNG of 89 megapixels": ("L", (9_400, 9_400), "p.png", "40,000,000 pixels, got 9400 x 9400; scale it down", 300),
    "a PNG of 190 megapixels": ("1", (19_000, 10_000), "p.png", "40,000,000 pixels, got more .*; scale it down", 300),
}


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "size", "name", "message", "most"), list(LARGE.values()), ids=list(LARGE))
def test_a_large_picture_is_read_or_refused_in_little_memory(tmp_path, mode, size, name, message, most):
    assert LARGEST_PIXELS == 40_000_000
    stroke(230, 20, size).convert(mode).save(tmp_path / name, compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / name],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    said, peak = done.stdout.splitlines()
    assert not float(peak) > most  # NaN where the system does not say
    assert re.search(message, said), said


def test_a_damaged_sample_says_to_install_again(tmp_path, monkeypatch):
    from scratchnet.data.sample import load_sample

    whole = resources.files("scratchnet.data").joinpath("sample.npz").read_bytes()
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    for content in (b"", whole[:-100], whole[:1000], whole[:5000] + bytes(200) + whole[5200:]):
        (tmp_path / "sample.npz").write_bytes(content)
        with pytest.raises(FileFault, match=r"sample\.npz: damaged .*; install scratchnet again"):
            load_sample()
    np.savez(
        tmp_path / "sample.npz", train_images=np.zeros((8000, 28, 28)), train_labels=1, test_images=1, test_labels=1
    )
    with pytest.raises(FileFault, match=r"expected train_images to be uint8 of shape .*, got float64 of shape"):
        load_sample()


@pytest.mark.parametrize("size", [(110, 200), (300, 40), (200, 200)], ids=["wide", "high", "square"])
def test_a_digits_centre_of_mass_is_the_images_centre(tmp_path, size):
    """As in MNIST's own images: to within half a pixel, since whole pixels are moved."""
    values = np.full((400, 400), 255, np.uint8)
    values[30 : 30 + size[0], 60 : 60 + size[1]] = 0
    values[30 + size[0] // 2 : 30 + size[0], 60 : 60 + size[1] // 2] = 255  # an L upside down: off its box's centre
    Image.fromarray(values).save(tmp_path / "p.png")
    seen = read_digit(tmp_path / "p.png")[..., 0]
    centres = [((np.arange(28) + 0.5) @ seen.sum(axis=1 - axis)) / seen.sum() for axis in range(2)]
    assert np.abs(np.array(centres) - 14).max() < 0.75


def test_an_objects_box_is_the_images_centre(tmp_path):
    values = np.zeros((200, 100), np.uint8)
    values[20:180, 20:80] = 200
    Image.fromarray(values).save(tmp_path / "p.png")
    seen = read_object(tmp_path / "p.png")[..., 0]
    rows, columns = (np.flatnonzero(seen.any(axis=1 - axis)) for axis in range(2))
    assert (rows[0], rows[-1]) == (0, 27)
    assert abs(columns[0] - (27 - columns[-1])) <= 1
