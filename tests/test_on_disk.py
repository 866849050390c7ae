"""Data larger than memory: images that stay in their file train as those that were read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from test_train import same, weights

import scratchnet as sn
from scratchnet.data import on_disk
from scratchnet.data.idx import map_idx, read_idx
from scratchnet.data.on_disk import OnDisk
from scratchnet.reading import FileFault
from scratchnet.runs.identity import fingerprint


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture(params=[(8, 9), (8, 9, 3)], ids=["grey", "colour"])
def folder(request, tmp_path, rng):
    """IDX files with 60 images to train with, and none to test with."""
    rank = len(request.param) + 1
    write_idx(tmp_path / f"train-images-idx{rank}-ubyte", rng.integers(0, 256, (60, *request.param), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(60, dtype=np.uint8) % 4)
    return tmp_path


@pytest.fixture
def both(folder, monkeypatch, request):
    """A function that reads the files into memory, and leaves them on the disk."""

    def load(**options):
        read = sn.data.load(folder, **options)
        with monkeypatch.context() as patch:
            patch.setattr(on_disk, "MAPPED_FROM", 0)
            return read, sn.data.load(folder, **options)

    return load


@pytest.mark.parametrize("transpose", [False, True])
def test_the_same_images_come_from_the_disk(both, transpose):
    for read, mapped in zip(*both(transpose=transpose), strict=True):
        assert isinstance(read.images, np.ndarray)
        assert isinstance(mapped.images, OnDisk)
        assert (mapped.name, mapped.images.shape, mapped.images.dtype) == (read.name, read.images.shape, np.float32)
        assert (mapped.images.size, mapped.images.ndim, len(mapped)) == (read.images.size, 4, len(read))
        assert fingerprint(mapped.images) == fingerprint(read.images)
        for which in (3, slice(2, 9), np.array([7, 0, 7]), [1, 2], read.labels == 2):
            assert mapped.images[which].tobytes() == read.images[which].tobytes()
            assert isinstance(mapped.images[which], np.ndarray)
        assert np.array_equal(np.asarray(mapped.images), read.images)
        assert np.array_equal(mapped[2:5].images, read.images[2:5])
        assert mapped[4][1] == read[4][1]


@pytest.mark.parametrize("shards", [None, 3])
def test_training_and_evaluation_have_the_same_bits(both, shards):
    (read, mapped), found = both(), []
    for train, test in (read, mapped):
        net = sn.Network([sn.Flatten(), sn.Dense(int(np.prod(train.images.shape[1:])), 4, rng=0)])
        options = {"optimizer": sn.SGD(net.parameters(), lr=0.1), "augment": sn.data.RandomAffine(5, 1)}
        history = sn.fit(net, train, test, steps=7, batch_size=10, shards=shards, progress=False, **options)
        found.append((weights(net), history.steps, sn.evaluate(net, test)))
    assert same(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


def test_a_run_goes_on_with_the_data_on_the_disk(both, tmp_path):
    read, mapped = both()
    for (train, test), steps in ((read, 3), (mapped, 6)):
        net = sn.Network([sn.Flatten(), sn.Dense(int(np.prod(train.images.shape[1:])), 4, rng=0)])
        sn.fit(
            net, train, test, optimizer=sn.SGD(net.parameters()), steps=steps, batch_size=10, folder=tmp_path / "run",
            resume=True, progress=False,
        )  # fmt: skip


def test_a_shard_reads_only_its_own_images(both, monkeypatch):
    _, (train, _) = both()
    seen = []
    original = OnDisk.__getitem__
    monkeypatch.setattr(OnDisk, "__getitem__", lambda self, which: seen.append(which) or original(self, which))
    net = sn.Network([sn.Flatten(), sn.Dense(int(np.prod(train.images.shape[1:])), 4, rng=0)])
    sn.fit(net, train, optimizer=sn.SGD(net.parameters()), steps=1, batch_size=12, shards=3, progress=False)
    in_training = [which for which in seen if isinstance(which, np.ndarray)]
    assert [len(which) for which in in_training] == [4, 4, 4]


def test_only_large_files_that_are_not_packed_stay_on_the_disk(folder, monkeypatch):
    from scratchnet.data.own.idx_files import is_large

    (path,) = folder.glob("train-images*")
    assert not is_large(path)
    monkeypatch.setattr(on_disk, "MAPPED_FROM", path.stat().st_size)
    assert is_large(path)
    assert not is_large(path.rename(folder / "train-images-idx3-ubyte.gz"))


def test_a_mapped_file_is_checked_as_one_that_is_read(tmp_path):
    write_idx(tmp_path / "good", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert np.array_equal(map_idx(tmp_path / "good", 3), read_idx(tmp_path / "good", 3))
    content = (tmp_path / "good").read_bytes()
    for bad in (content[:-1], content + b"x", content[:9], b"", b"\1" + content[1:]):
        (tmp_path / "bad").write_bytes(bad)
        messages = []
        for read in (read_idx, map_idx):
            with pytest.raises(FileFault) as fault:
                read(tmp_path / "bad", 3)
            messages.append(str(fault.value))
        assert messages[0] == messages[1]
