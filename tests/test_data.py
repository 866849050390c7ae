"""Data sets: the content of the sample, and how files are found, recognised and downloaded, or refused."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import struct
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.data import DATASETS, sources
from scratchnet.reading import FileFault

MNIST, FASHION = DATASETS["mnist"], DATASETS["fashion-mnist"]
HISTOGRAM_OF_FIRST_10000 = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder, compress=False, **replaced):
    """A small MNIST: 6 training and 4 test images. `replaced` gives other bytes for a file, None leaves it out."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (6, 28, 28))),
        "train-labels-idx1-ubyte": idx(rng.integers(0, 10, 6)),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (4, 28, 28))),
        "t10k-labels-idx1-ubyte": idx(rng.integers(0, 10, 4)),
    }
    for name, content in (contents | {k.replace("_", "-"): v for k, v in replaced.items()}).items():
        if content is not None:
            path = folder / (f"{name}.gz" if compress else name)
            path.write_bytes(gzip.compress(content) if compress else content)
    return folder


# ---------------------------------------------------------------- the sample


def test_the_sample_is_8000_and_2000_digits(sample):
    train, held_out = sample
    assert (train.images.shape, held_out.images.shape) == ((8000, 28, 28, 1), (2000, 28, 28, 1))
    for part in sample:
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert part.images.min() == 0
        assert part.images.max() == 1
    assert "held-out" in held_out.name
    assert "MNIST test" not in held_out.name
    both = np.bincount(train.labels) + np.bincount(held_out.labels)
    assert both.tolist() == HISTOGRAM_OF_FIRST_10000
    assert np.abs(np.bincount(train.labels) - 0.8 * both).max() < 0.5, "four fifths of each class"
    assert len(np.unique(train.labels[:100])) == 10, "mixed"


def test_no_digit_is_in_both_parts(sample):
    train, held_out = ({image.tobytes() for image in part.images} for part in sample)
    assert len(train) == 8000
    assert not train & held_out


def test_the_sample_is_mnists_first_10000_training_images(sample, mnist_folder):
    train, _ = sn.data.load("mnist", data_dir=mnist_folder)

    def as_set(*parts):
        return {(int(label), image.tobytes()) for p in parts for image, label in zip(p.images, p.labels, strict=True)}

    assert as_set(*sample) == as_set(train[:10_000])


def test_the_sample_is_small():
    path = Path(sn.data.__file__).parent / "sample.npz"
    assert path.stat().st_size < 1.8e6


# ---------------------------------------------------------------- the complete MNIST


def test_the_complete_mnist(mnist_folder):
    train, test = sn.data.load("mnist", data_dir=mnist_folder)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.images.mean(dtype=np.float64) == pytest.approx(0.13066, abs=1e-5)
    assert train.images.std(dtype=np.float64) == pytest.approx(0.30811, abs=1e-5)
    assert test.name == "MNIST test set"
    notebooks, _ = sn.data.load("mnist", data_dir=mnist_folder, train_images=55_000)
    assert len(notebooks) == 55_000
    assert np.array_equal(notebooks.images[0], train.images[5_000])


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gzipped"])
def test_raw_and_gzipped_files_load(tmp_path, compress):
    train, test = sn.data.load("mnist", data_dir=write_mnist(tmp_path / "m", compress))
    assert (len(train), len(test)) == (6, 4)
    assert train.images.max() <= 1


def test_the_variable_and_then_the_cache_folder_are_looked_in(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert sources.find(MNIST) is None
    installed = replace(MNIST, folders=(str(write_mnist(tmp_path / "installed")),))
    assert sources.find(installed) == tmp_path / "installed"
    write_mnist(sources.data_folder(MNIST))
    assert sources.find(installed) == sources.data_folder(MNIST)
    monkeypatch.setenv("SCRATCHNET_DATA", str(write_mnist(tmp_path / "variable")))
    assert sources.find(MNIST) == tmp_path / "variable"
    assert sources.find(MNIST, write_mnist(tmp_path / "given")) == tmp_path / "given"
    assert len(sn.data.load("mnist")[0]) == 6


def test_one_folder_can_hold_several_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    for name in ("mnist", "fashion-mnist"):
        write_mnist(tmp_path / name)
        assert sn.data.load(name)[1].name == f"test images of the IDX files in {tmp_path / name}"


# ---------------------------------------------------------------- files are called what they are


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with the files of a small data set, and a record that knows them: (folder, info)."""
    folder = write_mnist(tmp_path / "small")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setitem(DATASETS, "small", replace(MNIST, name="small", title="Small", files=files))
    return folder, DATASETS["small"]


def test_other_files_are_never_called_mnist(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    train, test = sn.data.load("mnist", folder)
    assert train.name == f"training images of the IDX files in {folder}"
    assert test.name == f"test images of the IDX files in {folder}"
    assert train.info is test.info is None
    assert train.class_name(7) == "7"


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gzipped"])
def test_files_are_recognised_by_their_content_whatever_was_asked_for(small, tmp_path, compress):
    """Gzip's bytes differ between versions and levels; the content does not."""
    _, info = small
    other = write_mnist(tmp_path / "elsewhere", compress)
    for name in ("small", "mnist", "fashion-mnist"):
        train, test = sn.data.load(name, other)
        assert (train.name, test.name) == ("Small training set", "Small test set")
        assert train.info is test.info is info
        assert train[:2].info is info, "a part of it is of the same data set"


@pytest.mark.parametrize("place", [16, 17, 28 * 28, 2 * 28 * 28, -2, -1])
def test_one_changed_byte_is_another_file(small, place):
    """Each part is recognised by itself: the training set keeps its name."""
    folder, _ = small
    path = folder / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    train, test = sn.data.load("small", folder)
    assert train.name == "Small training set"
    assert test.name == f"test images of the IDX files in {folder}"


def test_hashing_all_of_mnist_is_quick(mnist_folder):
    content = sources.read_content(sources.path_of(mnist_folder, "train-images-idx3-ubyte"), rank=3)
    started = time.process_time()
    assert sources.sha256(content) == MNIST.files["train-images-idx3-ubyte"]
    assert time.process_time() - started < 0.5, "0.03 s where the processor has instructions for it"


def test_fashion_mnist_where_debian_installs_it():
    if sources.find(FASHION) is None:
        pytest.skip("Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist; tests download nothing")
    train, test = sn.data.load("fashion-mnist")
    assert (train.name, test.name) == ("Fashion-MNIST training set", "Fashion-MNIST test set")
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert [test.class_name(k) for k in test.labels[:4]] == ["Ankle boot", "Pullover", "Trouser", "Trouser"]


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (MNIST, "mnist: a data set of this name is registered already"),
        (replace(MNIST, name="x", files={}), "x: expected either files or read, got neither"),
        (replace(MNIST, name="x", read=lambda: None), "x: expected either files or read, got both"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(info, message):
    with pytest.raises(ValueError, match=message):
        sn.data.register(info)
    assert "x" not in DATASETS


BROKEN = {
    "missing file": ({"train_labels_idx1_ubyte": None}, FileNotFoundError, "train-labels-idx1-ubyte is missing"),
    "wrong magic": ({"train_images_idx3_ubyte": b"\x89PNG1234"}, ValueError, "train-images.*begin with 00 00 08 03, got 89 50 4e 47"),  # noqa: E501
    "empty file": ({"train_images_idx3_ubyte": b""}, ValueError, "train-images.*got nothing"),
    "labels for images": ({"t10k_images_idx3_ubyte": idx(np.zeros(4))}, ValueError, "t10k-images.*not an IDX file of images"),  # noqa: E501
    "header cut off": ({"train_images_idx3_ubyte": idx(np.zeros((6, 28, 28)))[:9]}, ValueError, "train-images.*truncated or damaged"),  # noqa: E501
    "data cut off": (
        {"train_images_idx3_ubyte": idx(np.zeros((6, 28, 28)))[:-1]},
        ValueError,
        "train-images.*expected 4,720 bytes, got 4,719",
    ),
    "a byte too many": (
        {"t10k_labels_idx1_ubyte": idx(np.zeros(4)) + b"\0"},
        ValueError,
        "t10k-labels.*expected 12 bytes, got more",
    ),
    "a header that claims the most there can be": (
        {"train_images_idx3_ubyte": b"\0\0\x08\3" + b"\xff" * 12 + bytes(100)},
        ValueError,
        "train-images.*expected 79,228,162,458,924,105,385,300,197,391 bytes, got 116",
    ),
    "counts differ": ({"t10k_labels_idx1_ubyte": idx(np.zeros(5))}, ValueError, "t10k-labels.*5 labels, but t10k-images.* holds 4 images"),  # noqa: E501
    "label above 9": ({"train_labels_idx1_ubyte": idx(np.array([1, 2, 3, 4, 5, 10]))}, ValueError, "train-labels.*labels from 0 to 9, got 10"),  # noqa: E501
    "images of another size": ({"t10k_images_idx3_ubyte": idx(np.zeros((4, 8, 9)))}, ValueError, "t10k-images.*28x28 pixels, got 8x9"),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize(("replaced", "error", "message"), list(BROKEN.values()), ids=list(BROKEN))
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, replaced, error, message):
    with pytest.raises(error, match=message):
        sn.data.load("mnist", data_dir=write_mnist(tmp_path / "m", **replaced))


@pytest.mark.parametrize("extra", [b"\1", b"\x1f\x8b", gzip.compress(b"\0")], ids=["a byte", "a start", "a member"])
def test_a_gzip_file_that_goes_on_is_refused(tmp_path, extra):
    folder = write_mnist(tmp_path / "m", compress=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes() + extra)
    with pytest.raises(FileFault, match=r"train-images-idx3-ubyte\.gz: the (gzip|IDX) data is truncated or damaged"):
        sn.data.load("mnist", data_dir=folder)


def test_a_gzip_file_whose_checksum_is_wrong_is_refused(tmp_path):
    folder = write_mnist(tmp_path / "m", compress=True)
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFault, match=r"the gzip data is truncated or damaged \(CRC check failed"):
        sn.data.load("mnist", data_dir=folder)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((10, 28, 28), "expected 7,856 bytes, got more"), ((1_000_000, 28, 28), "at most 67,108,864 bytes in a gzipped")],
    ids=["more than it says", "as much as it says"],
)
def test_a_gzip_bomb_is_not_unpacked(tmp_path, shape, message):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, *shape))
        for _ in range(200):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(FileFault, match=f"bomb.gz: .*{message}"):
        sn.data.read_idx(path, rank=3)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_blank_images_are_no_bomb(tmp_path):
    """They shrink to a thousandth. The limit is for large files."""
    (tmp_path / "blank.gz").write_bytes(gzip.compress(idx(np.zeros((60_000, 28, 28)))))
    assert sn.data.read_idx(tmp_path / "blank.gz", rank=3).shape == (60_000, 28, 28)


def kaggle(name):
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize(
    "place",
    [
        lambda name: kaggle(name),
        lambda name: f"{name}/{name}",
        lambda name: f"{kaggle(name)}/{kaggle(name)}",
        lambda name: f"{name.removesuffix('.gz')}/{name}",
    ],
    ids=["a dot", "folders", "a dot and folders", "folders without .gz"],
)
def test_files_are_found_as_archives_unpack_them(tmp_path, place, compress):
    written = write_mnist(tmp_path / "m", compress)
    for path in list(written.iterdir()):
        to = tmp_path / "unpacked" / place(path.name)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    assert len(sn.data.load("mnist", tmp_path / "unpacked")[0]) == 6


def test_a_folder_in_the_place_of_a_file_is_a_missing_file(tmp_path):
    folder = write_mnist(tmp_path / "m", train_images_idx3_ubyte=None)
    (folder / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte is missing"):
        sn.data.load("mnist", folder)
    with pytest.raises(FileFault, match="m: is a folder, expected an IDX file of labels"):
        sn.data.read_idx(folder, rank=1)


def test_the_home_folder_and_names_with_spaces_and_umlauts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_mnist(tmp_path / "Größe ½ Daten")
    assert len(sn.data.load("mnist", "~/Größe ½ Daten")[0]) == 6
    assert sn.data.read_idx("~/Größe ½ Daten/t10k-labels-idx1-ubyte", rank=1).shape == (4,)
    monkeypatch.setenv("SCRATCHNET_DATA", "~/Größe ½ Daten")
    assert len(sn.data.load("mnist")[0]) == 6


def test_truncated_gzip_is_named(tmp_path):
    folder = write_mnist(tmp_path / "m", compress=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: the gzip data is truncated or damaged"):
        sn.data.load("mnist", data_dir=folder)


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file"):
        sn.data.read_idx(tmp_path / "nowhere", rank=1)


def test_a_folder_that_was_named_must_hold_the_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"expected the four MNIST files here.*--data-dir or SCRATCHNET_DATA"):
        sn.data.load("mnist", data_dir=tmp_path)
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "no such folder"))
    with pytest.raises(FileNotFoundError, match="no such folder: expected a folder .* but it does not exist"):
        sn.data.load("mnist")
    (tmp_path / "a file").touch()
    with pytest.raises(FileNotFoundError, match="a file: expected a folder .* but it is a file"):
        sn.data.load("mnist", tmp_path / "a file")
    with pytest.raises(FileNotFoundError, match="'': expected a folder"):  # an empty name does not mean a download
        sn.data.load("mnist", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar"}, "expected a data set named .*, got 'cifar'"),
        ({"name": "mnist", "train_images": 50_000}, "expected train_images to be 60000 or 55000, got 50000"),
        (
            {"name": "sample", "train_images": 55_000},
            "expected train_images to be left out, since only mnist has it",
        ),
        ({"name": "sample", "data_dir": "x"}, "sample: expected no data_dir, since it is not read from a folder"),
    ],
)
def test_a_bad_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sn.data.load(**arguments)


# ---------------------------------------------------------------- downloading


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `files` (path to bytes) and answers 404 otherwise. For the value None, the connection breaks half-way."""

    files: ClassVar[dict] = {}
    asked: ClassVar[list] = []

    def do_GET(self):
        self.asked.append(self.path)
        content = self.files.get(self.path)
        if self.path not in self.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(1000 if content is None else len(content)))
        self.end_headers()
        self.wfile.write(b"half of it" if content is None else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A server with two mirrors, /one/ and /two/; the record of MNIST describes a small data set."""
    small = write_mnist(tmp_path / "small", compress=True)
    contents = {path.name: path.read_bytes() for path in small.iterdir()}
    files = {name[: -len(".gz")]: hashlib.sha256(gzip.decompress(c)).hexdigest() for name, c in contents.items()}
    Mirror.files = {f"/{place}/{name}": c for place in ("one", "two") for name, c in contents.items()}
    Mirror.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    mirrors = (f"{address}/one/", f"{address}/two/")
    monkeypatch.setitem(
        DATASETS, "mnist", replace(MNIST, files={name: files[name] for name in MNIST.files}, mirrors=mirrors)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Mirror
    server.shutdown()
    server.server_close()
    thread.join()


FIRST = "/one/train-images-idx3-ubyte.gz"


def test_a_download_is_checked_kept_and_not_repeated(mirror, capfd):
    train, _ = sn.data.load("mnist")
    assert (len(train), train.name) == (6, "MNIST training set")
    assert "100%" in capfd.readouterr().err, "a progress bar"
    assert len(mirror.asked) == 4
    sn.data.load("mnist")
    assert len(mirror.asked) == 4
    assert sorted(p.name for p in sources.data_folder(MNIST).iterdir()) == sorted(f"{n}.gz" for n in MNIST.files)


def test_a_damaged_file_in_the_cache_is_fetched_again(mirror):
    """Only if there is a download at all, because another file is missing."""
    sn.data.load("mnist")
    damaged, missing = (sources.data_folder(MNIST) / f"{name}.gz" for name in list(MNIST.files)[:2])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9])
    missing.unlink()
    assert len(sn.data.load("mnist")[0]) == 6
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize("trouble", ["missing", "wrong content", "cut off"])
def test_the_second_mirror_helps_out(mirror, trouble):
    if trouble == "missing":
        del mirror.files[FIRST]
    else:
        mirror.files[FIRST] = b"not what it should be" if trouble == "wrong content" else None
    assert len(sn.data.load("mnist")[0]) == 6
    assert FIRST.replace("one", "two") in mirror.asked


def test_a_failed_download_leaves_nothing_that_passes_for_whole(mirror):
    mirror.files[FIRST] = None
    mirror.files[FIRST.replace("one", "two")] = gzip.compress(idx(np.zeros((6, 28, 28))))
    with pytest.raises(ConnectionError) as error:
        sn.data.load("mnist")
    message = str(error.value)
    assert "train-images-idx3-ubyte.gz could not be downloaded from any mirror" in message
    assert message.count("http://") == 2
    assert "hash" in message, "says that the checksum failed"
    assert 'the data set "sample" works now' in message
    assert str(sources.data_folder(MNIST)) in message
    assert not list(sources.data_folder(MNIST).glob("*")), "nothing is left behind"


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    nowhere = replace(MNIST, mirrors=("http://127.0.0.1:9/",))  # nobody listens on the discard port
    monkeypatch.setitem(DATASETS, "mnist", nowhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"by hand.*--data-dir or SCRATCHNET_DATA(.|\n)*\"sample\" works now"):
        sn.data.load("mnist")


# ---------------------------------------------------------------- batches


def test_an_epoch_holds_every_image_once_in_a_seeded_order(sample):
    data = sample[1][:100]
    first, again, other = ([labels for _, labels in data.batches(32, np.random.default_rng(s))] for s in (1, 1, 2))
    assert [len(batch) for batch in first] == [32, 32, 32, 4], "the last partial batch is kept"
    assert sorted(np.concatenate(first)) == sorted(data.labels)
    assert np.array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))


def test_images_stay_with_their_labels(sample):
    data = sample[1]
    label_of = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    for images, labels in data.batches(300, np.random.default_rng(0)):
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_each_epoch_has_another_order_and_an_epoch_can_be_entered_late(sample):
    data, rng = sample[1][:50], np.random.default_rng(3)
    epochs = [list(data.batches(20, rng)) for _ in range(2)]
    assert not np.array_equal(epochs[0][0][1], epochs[1][0][1])
    late = list(data.batches(20, np.random.default_rng(3), first=2))
    assert len(late) == 1
    assert np.array_equal(late[0][0], epochs[0][2][0])


def test_a_batch_size_of_0_is_refused(sample):
    with pytest.raises(ValueError, match="expected batch_size to be a positive integer, got 0"):
        next(sample[0].batches(0, np.random.default_rng(0)))


def test_a_dataset_checks_its_counts(sample):
    with pytest.raises(ValueError, match="x: expected a label for each image, got 3 images and 2 labels"):
        sn.Dataset(np.zeros((3, 28, 28, 1)), np.zeros(2, int), "x")


def test_the_records_say_the_shapes_of_the_images():
    train, test = sn.data.load("sample")
    for name in ("sample", "mnist", "fashion-mnist"):
        assert DATASETS[name].image_shape == train.images.shape[1:] == test.images.shape[1:]


def test_the_sizes_of_a_training_set_are_those_of_the_recipes():
    """All of MNIST, or without the images that the original's notebooks left out."""
    left_out = {architecture.recipe.left_out for architecture in sn.models.ARCHITECTURES.values()}
    assert set(sources.TRAIN_SIZES) == {60_000 - count for count in left_out}
