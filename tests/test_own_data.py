"""One's own data: each format is found out and read, and each fault is named with its file and place."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.data import DataWarning
from scratchnet.data.own import FORMATS
from scratchnet.reading import FileFault

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def numbered(count, *shape):
    """Images whose first pixels tell them apart, and labels 0, 1, 2, 0, 1, 2, ..."""
    images = np.random.default_rng(3).integers(0, 256, (count, *shape), np.uint8)
    images[0].flat[0] = 255
    return images, np.arange(count) % 3


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


# ---------------------------------------------------------------- one writer for each format


def write_pictures(folder, count=5, size=(32, 32), parts=("",), ending="png", start=0):
    """`count` pictures of each colour, in a little noise, in a folder of the colour's name."""
    rng = np.random.default_rng(start)
    for part in parts:
        for name, colour in COLOURS.items():
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(start, start + count):
                noise = rng.integers(-20, 21, (*size, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i:03}.{ending}")
    return folder


def write_idx(folder, shape=(6, 5), spell=str, parts=(("train", 15), ("t10k", 6)), pack=bytes):
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in parts:
        images, labels = numbered(count, *shape)
        for name, array in ((f"{part}-images-idx{images.ndim}-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            path = folder / spell(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pack(idx(array)))
    return folder


def csv_lines(count, pixels=16, labels=True):
    images, classes = numbered(count, pixels)
    return [",".join(map(str, [label, *image] if labels else image)) for image, label in zip(images, classes)]  # noqa: B905


def write_csv(path, lines, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines] if header else lines) + "\n", encoding="utf-8")
    return path


def write_npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def keras(count=15, tested=6, shape=(8, 8, 3)):
    (x, y), (x_test, y_test) = numbered(count, *shape), numbered(tested, *shape)
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}


# ---------------------------------------------------------------- pictures


def test_a_folder_of_pictures_has_its_classes_from_its_folders(tmp_path):
    train, held_out = sn.data.load(write_pictures(tmp_path / "balls", 10))
    assert train.info.classes == held_out.info.classes == ("blue", "green", "red")
    assert (train.images.shape, held_out.images.shape) == ((24, 32, 32, 3), (6, 32, 32, 3))
    assert train.images.dtype == np.float32
    assert [train.class_name(k) for k in np.bincount(train.labels).argsort()] == ["blue", "green", "red"]
    assert np.bincount(held_out.labels).tolist() == [2, 2, 2], "a fifth of each class"
    assert held_out.name == f"held-out images of {tmp_path / 'balls'} (every 5th of each class)"
    assert all(image.mean(axis=(0, 1)).argmax() == 2 - label for image, label in train), "blue is the last channel"
    again = sn.data.load(str(tmp_path / "balls"))
    assert all(np.array_equal(a.images, b.images) for a, b in zip((train, held_out), again, strict=True))


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "validation")])
def test_pictures_may_be_in_a_training_and_a_test_folder(tmp_path, names):
    write_pictures(tmp_path / "balls", 4, parts=names, ending="jpg")
    train, test = sn.data.load(tmp_path / "balls")
    assert (len(train), len(test)) == (12, 12)
    assert test.name == f"test images of {tmp_path / 'balls'}"


def test_grey_pictures_have_one_channel_until_one_has_colours(tmp_path):
    for mode, name in (("L", "a"), ("1", "b"), ("I;16", "b")):
        (tmp_path / name).mkdir(exist_ok=True)
        for i in range(5):
            Image.new(mode, (7, 9), 1).save(tmp_path / name / f"{i}{len(mode)}.png")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    assert sn.data.load(tmp_path)[0].images.shape == (12, 9, 7, 1)
    Image.new("RGBA", (7, 9), (255, 0, 0, 0)).save(tmp_path / "a" / "000.png")
    train, _ = sn.data.load(tmp_path)
    assert train.images.shape[1:] == (9, 7, 3)
    assert train.images[0].min() == 1, "what is transparent is white"


def test_test_pictures_without_classes_are_said_to_have_none(tmp_path):
    write_pictures(tmp_path / "cats", parts=["train"])
    shutil.copytree(tmp_path / "cats" / "train" / "red", tmp_path / "cats" / "test")
    _, test = sn.data.load(tmp_path / "cats")
    assert test.name.endswith("cats (every 5th of each class, since test/ has no folders of classes)")


def in_parts(folder):
    """Put two classes into train/, and the third one into test/."""
    for part, names in (("train", ["blue", "green"]), ("test", ["red"])):
        (folder / part).mkdir()
        for name in names:
            shutil.move(folder / name, folder / part)


def flipped(path):
    content = bytearray(write_npz(path, **keras()).read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


FAULTY_PICTURES = {
    "another size": (
        lambda f: Image.new("RGB", (31, 32)).save(f / "red/x.png"),
        "red/x.png: expected 32 x 32 pixels, as in .*blue/000.png, got 31 x 32",
    ),
    "no picture": (lambda f: (f / "red/x.png").write_text("text"), "red/x.png: not a picture that can be read"),
    "cut off": (
        lambda f: (f / "red/000.png").write_bytes((f / "red/000.png").read_bytes()[:300]),
        "red/000.png: not a picture that",
    ),
    "far too large": (
        lambda f: Image.new("L", (2000, 1)).save(f / "blue/0.png"),
        "blue/0.png: expected pictures of at most 1024 pixels a side, got 2000 x 1",
    ),
    "an empty class": (lambda f: (f / "cyan").mkdir(), "cyan: expected pictures of this class .*, got none"),
    "one class": (
        lambda f: [shutil.rmtree(f / name) for name in ("red", "blue")],
        "expected a folder for each of at least two classes, got only green",
    ),
    "a foreign class": (in_parts, "test/red: expected a class of .*train, one of blue, green"),
    "one picture a class": (
        lambda f: [p.unlink() for p in f.glob("*/*.png") if p.stem > "000"],
        "expected at least two images of a class, to hold one out",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), FAULTY_PICTURES.values(), ids=list(FAULTY_PICTURES))
def test_a_faulty_picture_is_named(tmp_path, spoil, message):
    spoil(write_pictures(tmp_path / "balls"))
    with pytest.raises(FileFault, match=message):
        sn.data.load(tmp_path / "balls")


# ---------------------------------------------------------------- IDX


SPELLINGS = {
    "as LeCun": str,
    "with a dot": lambda name: name.replace("-idx", ".idx"),
    "in folders": lambda name: f"{name}/{name}",
    "a dot, in folders": lambda name: "{0}/{0}".format(name.replace("-idx", ".idx")),
    "as EMNIST": lambda name: "kmnist-digits-" + name.replace("t10k", "test"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzipped"])
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=list(SPELLINGS))
@pytest.mark.parametrize("shape", [(6, 5), (32, 32, 3)], ids=str)
def test_idx_files_of_any_shape_and_name(tmp_path, spell, pack, shape):
    ending = ".gz" if pack is gzip.compress else ""
    write_idx(tmp_path / "x", shape, lambda name: spell(name) + ending, pack=pack)
    train, test = sn.data.load(tmp_path / "x")
    images, labels = numbered(15, *shape)
    assert np.array_equal(
        train.images, images.reshape(15, *(shape if len(shape) == 3 else (*shape, 1))) / np.float32(255)
    )
    assert np.array_equal(train.labels, labels)
    assert (len(test), train.info.classes, test.name) == (6, ("0", "1", "2"), f"test images of {tmp_path / 'x'}")
    named = tmp_path / "x" / (spell(f"train-images-idx{images.ndim}-ubyte") + ending)
    assert len(sn.data.load(named)[0]) == 15, "a file stands for its set"


def test_idx_files_without_a_test_part_are_divided(tmp_path):
    train, held_out = sn.data.load(write_idx(tmp_path / "x", parts=[("train", 30)]))
    assert (len(train), len(held_out)) == (24, 6)
    assert "held-out" in held_out.name


def test_known_files_keep_their_name_at_a_path(mnist_folder):
    train, test = sn.data.load(mnist_folder)
    assert (train.name, test.name, test.info) == ("MNIST training set", "MNIST test set", sn.data.DATASETS["mnist"])


def test_of_several_sets_in_a_folder_a_file_names_one(tmp_path):
    for name, shape in (("a-", (6, 5)), ("b-", (4, 4))):
        write_idx(tmp_path, shape, lambda spelled, name=name: name + spelled)
    with pytest.raises(
        FileFault, match="expected the IDX files of one data set, got those of a, b; name a file of one"
    ):
        sn.data.load(tmp_path)
    assert sn.data.load(tmp_path / "b-train-labels-idx1-ubyte")[0].images.shape == (15, 4, 4, 1)


FAULTY_IDX = {
    "cut off": (
        "train-images-idx3-ubyte",
        lambda c: c[:-1],
        FileFault,
        "train-images-idx3-ubyte: the IDX data is truncated",
    ),
    "labels cut off": (
        "t10k-labels-idx1-ubyte",
        lambda c: c[:-1],
        FileFault,
        "t10k-labels-idx1-ubyte: the IDX data is trunc",
    ),
    "wrong count": (
        "t10k-labels-idx1-ubyte",
        lambda c: idx(np.zeros(7)),
        FileFault,
        "t10k-labels.*: 7 labels, but t10k-images-idx3-ubyte holds 6",
    ),
    "another rank": (
        "train-images-idx3-ubyte",
        lambda c: idx(np.zeros((15, 2, 2, 3))),
        FileFault,
        "expected it to begin with 00 00 08 03, got 00 00 08 04",
    ),
    "another size": (
        "t10k-images-idx3-ubyte",
        lambda c: idx(np.zeros((6, 7, 5))),
        FileFault,
        "t10k-images.*: expected images of 6x5 pixels, as in .*train-images-idx3-ubyte, got 7x5 pixels",
    ),
    "a label beyond the classes": (
        "t10k-labels-idx1-ubyte",
        lambda c: idx(np.array([0, 1, 2, 3, 0, 1])),
        FileFault,
        "t10k-labels-idx1-ubyte: entry 3: expected a label from 0 to 2, as in the training images, got 3",
    ),
    "no labels": (
        "train-labels-idx1-ubyte",
        None,
        FileNotFoundError,
        "expected a file train-labels-idx1-ubyte, raw or .gz, got only",
    ),
    "no images": (
        "t10k-images-idx3-ubyte",
        None,
        FileNotFoundError,
        "expected a file test-images-idx3-ubyte, raw or .gz, got only",
    ),
}


@pytest.mark.parametrize(("name", "spoil", "error", "message"), FAULTY_IDX.values(), ids=list(FAULTY_IDX))
def test_a_faulty_idx_file_is_named(tmp_path, name, spoil, error, message):
    path = write_idx(tmp_path / "x") / name
    content = path.read_bytes()
    path.unlink() if spoil is None else path.write_bytes(spoil(content))
    with pytest.raises(error, match=message):
        sn.data.load(tmp_path / "x")


# ---------------------------------------------------------------- EMNIST


def test_emnist_is_noticed_by_its_name_and_transposed_on_request(tmp_path):
    write_idx(tmp_path, spell=lambda name: f"emnist-letters-{name.replace('t10k', 'test')}")
    with pytest.warns(DataWarning, match=r"is EMNIST by its name.*read them with transpose=True.* --transpose"):
        lying, _ = sn.data.load(tmp_path)
    standing, test = sn.data.load(tmp_path, transpose=True)
    assert standing.images.shape == (15, 5, 6, 1)
    assert test.images.shape == (6, 5, 6, 1)
    assert np.array_equal(standing.images, lying.images.swapaxes(1, 2))
    with pytest.raises(ValueError, match="sample: expected transpose only for your own data"):
        sn.data.load("sample", transpose=True)


# ---------------------------------------------------------------- CSV


HEADERS = {
    "no header": None,
    "Kaggle's": ",".join(["label", *(f"pixel{i}" for i in range(16))]),
    "numbered": ",".join(["label", *(f"{i}" for i in range(16))]),
    "rows and columns": ",".join(["label", *(f"{i // 4 + 1}x{i % 4 + 1}" for i in range(16))]),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
def test_a_table_with_a_header_or_without(tmp_path, header):
    path = write_csv(tmp_path / "digits.csv", csv_lines(15), header)
    train, held_out = sn.data.load(path)
    images, labels = numbered(15, 4, 4)
    kept = np.setdiff1d(np.arange(15), [12, 13, 14])
    assert np.array_equal(train.images, images[kept, ..., None] / np.float32(255))
    assert np.array_equal(train.labels, labels[kept])
    assert held_out.labels.tolist() == [0, 1, 2]


def test_tables_to_train_and_to_test_with(tmp_path):
    for name in ("fashion_train.csv", "fashion_test.csv"):
        write_csv(tmp_path / name, csv_lines(9, 12), None)
    for place in (tmp_path, tmp_path / "fashion_train.csv"):
        train, test = sn.data.load(place)
        assert (train.images.shape, test.images.shape) == ((9, 2, 2, 3), (9, 2, 2, 3)), "colours"
        assert test.name == f"test images of {place}"


@pytest.mark.parametrize("header", [None, ",".join(f"pixel{i}" for i in range(16))], ids=["no header", "a header"])
def test_a_test_table_without_labels_is_said_to_have_none(tmp_path, header):
    write_csv(tmp_path / "train.csv", csv_lines(15), HEADERS["Kaggle's"])
    write_csv(tmp_path / "test.csv", csv_lines(6, labels=False), header)
    _, test = sn.data.load(tmp_path)
    assert test.name == f"held-out images of {tmp_path} (every 5th of each class, since test.csv has no labels)"


def test_tables_of_spreadsheets(tmp_path):
    """A byte order mark, semicolons, empty lines, CR LF, quotes, and the label last."""
    lines = [";".join([*line.split(",")[1:], f'"{line.split(",")[0]}"']) for line in csv_lines(9)]
    header = ";".join([*(f"p{i}" for i in range(16)), "Label"])
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join([header, *lines]).encode())
    train, held_out = sn.data.load(tmp_path / "x.csv")
    assert (len(train), train.images.shape[1:], held_out.labels.tolist()) == (6, (4, 4, 1), [0, 1, 2])


def test_pixels_from_0_to_1_are_left_as_they_are(tmp_path):
    path = write_csv(tmp_path / "x.csv", [f"{i % 2},0.25,0,1,{i / 10}" for i in range(10)])
    assert sn.data.load(path)[0].images[0].ravel().tolist() == [0.25, 0, 1, 0]


GOOD = csv_lines(6)
FAULTY_CSV = {
    "no number": ([*GOOD, GOOD[0].replace(",", ",x", 1)], r"line 7, column 2: expected a number, got 'x\d+'"),
    "no number in line 1": ([GOOD[0].replace(",", ",x", 1), *GOOD], r"line 1, column 2: expected a number, got 'x\d+'"),
    "an empty entry": ([*GOOD[:3], GOOD[3].rpartition(",")[0] + ","], "line 4, column 17: expected a number, got ''"),
    "not a number": ([*GOOD, GOOD[0].rpartition(",")[0] + ",nan"], "line 7, column 17: expected a number, got 'nan'"),
    "cut off": ([*GOOD, "1,2,3"], "line 7: expected 17 columns, as above, got 3"),
    "too long": ([GOOD[0], "", GOOD[1] + ",0"], "line 3: expected 17 columns, as above, got 18"),
    "a pixel above 255": (
        [*GOOD, GOOD[0].rpartition(",")[0] + ",256"],
        "line 7: expected pixels from 0 to 255, got 256",
    ),
    "a negative pixel": (
        ["", GOOD[0].rpartition(",")[0] + ",-1", *GOOD],
        "line 2: expected pixels from 0 to 255, got -1",
    ),
    "half a label": ([*GOOD, "1.5" + GOOD[0][1:]], "line 7: expected a whole number as label, got 1.5"),
    "a huge label": (
        [*GOOD, "4711" + GOOD[0][1:]],
        r"line 7: expected a label from 0 to 999 \(classes count from 0\), got 4711",
    ),
    "no square": ([line + ",0" for line in GOOD], "18 columns: 17 pixels are no square"),
    "only labels": (["1", "2"], "1 columns: 0 pixels are no square"),
    "nothing": ([], "expected a line for each image, got an empty file"),
    "only a header": ([HEADERS["Kaggle's"]], "expected a line for each image, got only a header"),
    "no labels": (
        [",".join(f"pixel{i}" for i in range(16)), *csv_lines(6, labels=False)],
        "expected a column of labels, called label",
    ),
    "an endless entry": (["1" * 200_000], "line 1: expected numbers with commas between them, got field larger than"),
    "no text": (None, "expected text in UTF-8, got"),
}


@pytest.mark.parametrize(("lines", "message"), FAULTY_CSV.values(), ids=list(FAULTY_CSV))
def test_a_faulty_line_is_named(tmp_path, lines, message):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe0,1") if lines is None else path.write_text("\n".join(lines))
    with pytest.raises(FileFault, match=f"x.csv: .*{message}"):
        sn.data.load(path)


def test_a_test_label_that_was_not_trained_is_named(tmp_path):
    write_csv(tmp_path / "train.csv", csv_lines(9), HEADERS["Kaggle's"])
    write_csv(tmp_path / "test.csv", [csv_lines(1)[0], "9" + csv_lines(1)[0][1:]], HEADERS["Kaggle's"])
    with pytest.raises(
        FileFault, match=r"test.csv: line 3: expected a label from 0 to 2, as in the training images, got 9"
    ):
        sn.data.load(tmp_path)


def test_of_several_tables_one_must_be_named(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, csv_lines(9))
    with pytest.raises(FileFault, match="expected one CSV file with train in its name, got a.csv, b.csv; name it"):
        sn.data.load(tmp_path)


# ---------------------------------------------------------------- npz


def test_arrays_as_keras_names_them(tmp_path):
    arrays = keras()
    train, test = sn.data.load(write_npz(tmp_path / "cifar.npz", **arrays | {"y_train": arrays["y_train"][:, None]}))
    assert (train.images.shape, test.images.shape, train.info.classes) == ((15, 8, 8, 3), (6, 8, 8, 3), ("0", "1", "2"))
    assert np.array_equal(train.images, arrays["x_train"] / np.float32(255))
    assert np.array_equal(test.labels, arrays["y_test"])


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("X", "y"), ("x_train", "y_train"), ("train_images", "train_labels")]
)
def test_arrays_without_a_test_part(tmp_path, names):
    train, held_out = sn.data.load(write_npz(tmp_path / "x.npz", **dict(zip(names, numbered(15, 4, 4), strict=True))))
    assert (train.images.shape, len(held_out)) == ((12, 4, 4, 1), 3)


def test_floats_from_0_to_255_are_warned_of(tmp_path):
    images, labels = numbered(15, 4, 4)
    with pytest.warns(DataWarning, match="expected pixels from 0 to 1, got up to 2..; divide the images by 255"):
        sn.data.load(write_npz(tmp_path / "x.npz", images=images.astype(float), labels=labels))
    assert sn.data.load(write_npz(tmp_path / "y.npz", images=images / 255, labels=labels))[0].images.max() == 1


def npz_fault(**changed):
    return lambda path: write_npz(path, **keras() | changed)


OBJECTS = np.array([np.zeros((8, 8)), None], dtype=object)
FAULTY_NPZ = {
    "Python objects": (
        npz_fault(x_train=OBJECTS),
        "x_train holds Python objects, and reading these .pickle. can run any code",
    ),
    "pickled labels": (npz_fault(y_test=np.array([0, None])), "y_test holds Python objects"),
    "wrong count": (npz_fault(y_train=np.zeros(14, int)), "y_train has 14 labels for 15 images"),
    "other names": (
        lambda path: write_npz(path, a=1, b=2),
        "expected the entries x_train, y_train, x_test, y_test; or .*; got a, b",
    ),
    "channels first": (
        npz_fault(x_train=np.zeros((15, 3, 8, 8), np.uint8)),
        r"with the channels before the pixels .*transpose\(0, 2, 3, 1\)",
    ),
    "one-hot": (
        npz_fault(y_train=np.eye(15, dtype=int)),
        r"expected y_train of shape \(N,\), got \(15, 15\); save y_train.argmax",
    ),
    "labels as floats": (npz_fault(y_train=np.zeros(15)), "expected y_train to hold whole numbers, got float64"),
    "a label beyond the classes": (
        npz_fault(y_test=np.array([0, 1, 2, 0, 9, 1])),
        r"y_test\[4\]: expected a label from 0 to 2, as in .*, got 9",
    ),
    "a negative label": (npz_fault(y_train=np.arange(15) - 1), r"y_train\[0\]: expected a label from 0 to 999"),
    "too bright": (
        npz_fault(x_test=np.full((6, 8, 8, 3), 256)),
        r"expected x_test to hold bytes .*, got x_test\[0\] with others",
    ),
    "not a number": (npz_fault(x_test=np.full((6, 8, 8, 3), np.nan)), r"x_test\[0\] holds NaN"),
    "text": (
        npz_fault(x_train=np.array("x").repeat(15 * 192).reshape(15, 8, 8, 3)),
        "expected x_train to hold bytes .*, got <U1",
    ),
    "flat": (npz_fault(x_train=np.zeros((15, 64))), r"expected x_train of shape \(N, H, W\) or .*, got \(15, 64\)"),
    "another size": (
        npz_fault(x_test=np.zeros((6, 8, 9, 3), np.uint8)),
        "expected images of 8x8 pixels in 3 channels, as in .*, got 8x9 pixels in 3",
    ),
    "no image": (
        npz_fault(x_test=np.zeros((0, 8, 8, 3)), y_test=np.zeros(0, int)),
        "expected at least one image, got none",
    ),
    "cut off": (lambda path: path.write_bytes(write_npz(path, **keras()).read_bytes()[:-60]), "not a whole .npz file"),
    "a flipped byte": (flipped, "x_train is truncated or damaged"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "not a whole .npz file"),
    "nothing": (lambda path: path.write_bytes(b""), "not a whole .npz file"),
}


@pytest.mark.parametrize(("write", "message"), FAULTY_NPZ.values(), ids=list(FAULTY_NPZ))
def test_a_faulty_archive_is_named_with_its_entry(tmp_path, write, message):
    write(tmp_path / "x.npz")
    with pytest.raises(FileFault, match=f"x.npz: {message}|x.npz: .*{message}"):
        sn.data.load(tmp_path / "x.npz")


# ---------------------------------------------------------------- which of them


def test_if_none_applies_it_says_what_was_looked_for_and_found(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}.txt").touch()
    (tmp_path / "a").mkdir()
    with pytest.raises(FileFault) as error:
        sn.data.load(tmp_path)
    assert all(kind.looked_for in str(error.value) for kind in FORMATS)
    assert str(error.value).endswith("Found 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more")
    with pytest.raises(FileFault, match="Found an empty folder"):
        sn.data.load(tmp_path / "a")
    with pytest.raises(FileFault, match="Found a file with another name"):
        sn.data.load(tmp_path / "0.txt")


def test_if_several_apply_they_are_named(tmp_path):
    write_npz(tmp_path / "x.npz", **keras())
    write_csv(tmp_path / "train.csv", csv_lines(9))
    with pytest.raises(FileFault, match="got several: an .npz file, a CSV file; name the file that is meant"):
        sn.data.load(tmp_path)
    assert sn.data.load(tmp_path / "x.npz")[0].images.shape == (15, 8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["nowhere/x"], FileNotFoundError, "nowhere/x: no such file or folder"),
        (["x.csv"], FileNotFoundError, "x.csv: no such file or folder"),
        ([Path("nowhere")], FileNotFoundError, "nowhere: no such file or folder"),
        (["nowhere"], ValueError, "expected a data set named .*, or the path of your own data, got 'nowhere'"),
        ([""], ValueError, "expected a data set named .*, or a path, got ''"),
        ([5], ValueError, "expected a data set named .*, or a path, got 5"),
        ([".", "folder"], ValueError, "expected no data_dir, since this path says where the data is; got 'folder'"),
        ([".", None, 55_000], ValueError, "expected train_images to be left out, since only mnist has it"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sn.data.load(*arguments)


def test_the_home_folder_stands_for_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_npz(tmp_path / "my data" / "x.npz", **keras())
    assert len(sn.data.load("~/my data/x.npz")[0]) == 15
    assert len(sn.data.load("~/my data")[0]) == 15


# ---------------------------------------------------------------- data sets of one's own


def test_labels_may_be_a_list_and_pixels_up_to_255_are_warned_of():
    images = np.full((3, 4, 4, 1), 0.5, np.float32)
    data = sn.Dataset(images, [0, 2, 1], "mine")
    assert (data.labels.dtype.kind, data[1][1], len(sn.Dataset(images[:0], [], "none"))) == ("i", 2, 0)
    for brightest, scale in ((255, 255), (200, 255), (16, 16), (15, 15), (60000, 65535), (1e6, r"1e\+06")):
        with pytest.warns(
            DataWarning, match=f"mine: expected pixels from 0 to 1, got up to .*; divide the images by {scale}$"
        ) as noted:
            bright = sn.Dataset(images * 2 * brightest, [0, 2, 1], "mine")
        assert noted[0].filename == __file__, "the line that made it"
        assert len(bright[:2]) == 2, "a part does not warn again"
    for harmless in (images * 3, images - 100, images * np.nan):
        sn.Dataset(harmless, [0, 2, 1], "mine")


def test_a_data_set_feeds_pytorch():
    torch = pytest.importorskip("torch")
    images, labels = numbered(10, 4, 4)
    data = sn.Dataset(images[..., None] / np.float32(255), labels.tolist(), "mine")
    batches = list(torch.utils.data.DataLoader(data, batch_size=4))
    assert [tuple(x.shape) for x, _ in batches] == [(4, 4, 4, 1), (4, 4, 4, 1), (2, 4, 4, 1)]
    assert torch.cat([y for _, y in batches]).tolist() == labels.tolist()


# ---------------------------------------------------------------- the command line


NUMPY = ["--engine", "numpy"]
MODEL = "runs/four_conv_cnn/model.safetensors"
BRIEFLY = ["--epochs", "1", "--batch-size", "8", *NUMPY]


@pytest.fixture
def balls(tmp_path, monkeypatch):
    """A working directory with pictures of 32 x 32 x 3: 8 of each of three classes."""
    monkeypatch.chdir(tmp_path)
    return write_pictures(tmp_path / "balls", 8)


def weights(path):
    return [p.value for p in sn.load(path).parameters()]


def test_colour_pictures_go_through_every_command(balls, capsys):
    assert main(["train", "four_conv_cnn", "--data", "balls", *BRIEFLY]) == 0
    out = capsys.readouterr().out
    assert f"training four_conv_cnn on 21 training images of {balls}, engine numpy" in out
    assert f"accuracy on 3 held-out images of {balls} (every 5th of each class): " in out
    assert Path("runs/four_conv_cnn/training_curves.png").is_file()
    net = sn.load(MODEL)
    assert (net.input_shape, net.output_shapes()[-1]) == ((32, 32, 3), (3,))

    assert main(["evaluate", MODEL, "--data", "balls", *NUMPY]) == 0
    assert "four_conv_cnn on 3 held-out images of balls (every 5th of each class): accuracy" in capsys.readouterr().out

    for model in (MODEL, "separable_cnn"):
        assert main(["step", model, "--data", "balls", "--digit", "1"]) == 0
        out = capsys.readouterr().out
        assert "digit 1: 1, green" in out
        assert "(1, 32, 32, 3)" in out
        assert "channel 1 of 3" in out, "green"

    with sn.use_engine("numpy"):
        train, test = sn.data.load("balls")
        history = sn.read_metrics("runs/four_conv_cnn/metrics.jsonl")
        drawn = sn.plots.draw_all("figures", train, test, [net], {net.name: history})
    assert all(path.stat().st_size for path in drawn)
    assert len(drawn) == 6


@pytest.mark.parametrize("name", ["standard_cnn", "separable_cnn"])
def test_the_other_networks_train_on_colour_pictures_too(balls, name):
    assert main(["train", name, "--data", "balls", "--steps", "1", "--batch-size", "4", *NUMPY]) == 0
    assert sn.load(f"runs/{name}/model.safetensors").input_shape == (32, 32, 3)


def test_a_run_on_a_path_is_resumed_to_the_same_bits(balls, monkeypatch):
    """From another folder, with no option, and after the data has moved."""
    train = ["train", "four_conv_cnn", "--data", "balls", "--steps", "4", "--batch-size", "8", *NUMPY]
    assert main([*train, "--out", "whole"]) == 0
    for i, (options, place) in enumerate([([], balls), (["--data", "../moved"], balls.parent / "moved")]):
        folder = (balls.parent / f"run{i}").absolute()
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            assert main([*train, "--out", str(folder), "--checkpoint-every", "1"]) == 130
        settings = json.loads((folder / "settings.json").read_text())
        assert (settings["data"], settings["transpose"]) == (str(balls), False)
        if place != balls:
            balls.rename(place)
        (balls.parent / "elsewhere").mkdir(exist_ok=True)
        monkeypatch.chdir(balls.parent / "elsewhere")
        assert main(["train", "four_conv_cnn", *options, "--out", str(folder), "--resume", *NUMPY]) == 0
        monkeypatch.chdir(balls.parent)
        assert all(map(np.array_equal, weights("whole/model.safetensors"), weights(folder / "model.safetensors")))


def stop_after(patch, steps):
    """Interrupt training after so many steps."""
    real, taken = sn.Adam.step, []

    def step(self):
        real(self)
        taken.append(1)
        if len(taken) > steps:
            raise KeyboardInterrupt

    patch.setattr(sn.Adam, "step", step)


def test_a_run_is_not_resumed_on_other_pictures(balls, monkeypatch, capsys):
    train = ["train", "four_conv_cnn", "--steps", "4", "--batch-size", "8", *NUMPY]
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert main([*train, "--data", "balls", "--checkpoint-every", "1"]) == 130
    write_pictures(balls, 1, start=50)
    assert main([*train, "--resume"]) == 1
    assert "the run was begun with train_images = 'float32 of shape (21, 32, 32, 3)" in capsys.readouterr().err
    assert main([*train, "--resume", "--data", "sample"]) == 1
    assert "the run was started with data = " in capsys.readouterr().err
    assert main([*train, "--resume", "--transpose"]) == 1
    assert "the run was started with transpose = False, not True" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_resumed(balls, monkeypatch):
    """Its settings do not say whether images are transposed."""
    train = ["train", "four_conv_cnn", "--steps", "2", "--batch-size", "8", *NUMPY]
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert main([*train, "--checkpoint-every", "1"]) == 130
    path = Path("runs/four_conv_cnn/settings.json")
    settings = json.loads(path.read_text())
    del settings["transpose"]
    path.write_text(json.dumps(settings))
    assert main([*train, "--resume"]) == 0


def test_what_does_not_fit_is_said(balls, capsys):
    assert main(["train", "four_conv_cnn", "--data", "balls", "--steps", "1", "--batch-size", "4", *NUMPY]) == 0
    write_npz(balls.parent / "small.npz", **keras(shape=(3, 8, 1)))
    write_npz(balls.parent / "grey.npz", **keras(shape=(32, 32, 1)))
    write_npz(balls.parent / "four.npz", **keras(shape=(32, 32, 3)) | {"y_train": np.arange(15) % 4})
    write_pictures(balls.parent / "other", 2)
    (balls.parent / "other" / "red").rename(balls.parent / "other" / "yellow")
    for arguments, message in (
        (["train", "standard_cnn", "--data", "small.npz"], "expected images of at least 4x4 pixels, since two pools"),
        (
            ["evaluate", MODEL],
            "four_conv_cnn: takes images of shape (32, 32, 3), but the held-out digits of the sample",
        ),
        (
            ["evaluate", MODEL, "--data", "grey.npz"],
            "takes images of shape (32, 32, 3), but the test images of grey.npz",
        ),
        (["step", MODEL, "--data", "grey.npz"], "takes images of shape (32, 32, 3), but the test images of grey.npz"),
        (["evaluate", MODEL, "--data", "four.npz"], "has 3 outputs, but the test images of four.npz has 4 classes"),
        (
            ["evaluate", MODEL, "--data", "other"],
            "was trained on the classes blue, green, red, but the held-out images",
        ),
        (["evaluate", MODEL, "--data", "balls", "--data-dir", "x"], "balls is a path itself: leave it out"),
        (["train", "standard_cnn", "--transpose"], "sample: expected transpose only for your own data"),
    ):
        capsys.readouterr()
        assert main([*arguments, *NUMPY]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_a_path_of_nothing_is_wrong_usage(balls, capsys):
    for path in ("cifar", "balls/x.csv"):
        with pytest.raises(SystemExit) as stop:
            main(["train", "standard_cnn", "--data", path])
        assert stop.value.code == 2
        assert path in capsys.readouterr().err.splitlines()[-1]


def test_a_hint_is_a_note_of_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_idx(tmp_path / "emnist", (8, 8))
    train = ["train", "four_conv_cnn", "--data", "~/emnist", "--steps", "1", "--batch-size", "4", *NUMPY]
    assert main(train) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "is EMNIST by its name" in notes[0]
    assert main([*train, "--transpose", "--overwrite"]) == 0
    assert "note: " not in capsys.readouterr().err


@pytest.mark.parametrize("name", list(sn.models.ARCHITECTURES))
def test_a_network_is_made_for_the_images_that_are_named(name):
    make = sn.models.ARCHITECTURES[name].make
    for shape in ((4, 4, 1), (32, 32, 3), (5, 9, 2)):
        net = make(input_shape=shape, classes=3)
        assert net.forward(np.zeros((2, *shape), np.float32)).shape == (2, 3)
    usual, named = make(), make(input_shape=(28, 28, 1), classes=10)
    assert repr(usual) == repr(named)
    assert all(np.array_equal(p.value, q.value) for p, q in zip(usual.parameters(), named.parameters(), strict=True))
    for arguments, message in (
        ({"input_shape": (3, 28, 1)}, "expected images of at least 4x4 pixels, since two pools halve them, got 3x28"),
        ({"input_shape": (28, 28)}, r"expected input_shape to be \(H, W, C\), as \(32, 32, 3\); got \(28, 28\)"),
        ({"input_shape": (28, 28, 0)}, "expected input_shape to have sizes, each to be a positive integer, got 0"),
        ({"classes": 0}, "expected classes to be a positive integer, got 0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            make(**arguments)
