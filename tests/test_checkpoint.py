"""Model files: what is saved is loaded again, and a wrong file raises an error before anything is changed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

import scratchnet as sn
from scratchnet.models import ARCHITECTURES
from scratchnet.runs.checkpoint import load_checkpoint
from scratchnet.runs.container import digest
from scratchnet.writing import written_atomically


@pytest.fixture
def net():
    return sn.models.separable_cnn(seed=1, dense_units=16)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_saved_model_comes_back_the_same(name, tmp_path, sample):
    net = ARCHITECTURES[name].make(seed=4)
    net.parameters()[0].value = net.parameters()[0].value.astype(np.float64)
    sn.save(net, tmp_path / "m.safetensors")
    back = sn.load(tmp_path / "m.safetensors")
    assert repr(back) == repr(net)
    assert back.summary() == net.summary()
    for p, q in zip(net.parameters(), back.parameters(), strict=True):
        assert p.name == q.name
        assert p.value.dtype == q.value.dtype
        assert np.array_equal(p.value, q.value)
    assert np.array_equal(net.predict(sample[0].images[:3]), back.predict(sample[0].images[:3]))


def test_every_layer_and_option_can_be_saved(tmp_path, rng):
    net = sn.Network(
        [
            sn.Resize((12, 10)),
            sn.Conv2D(2, 3, (3, 2), stride=(1, 2), padding=(1, 0), bias=False),
            sn.DepthwiseConv2D(3, 3, padding="valid", multiplier=2, bias=True),
            sn.PointwiseConv2D(6, 4, bias=False),
            sn.MaxPool2D(2, 1, padding=1),
            sn.AvgPool2D((2, 1), padding="same"),
            sn.Dropout(0.25),
            sn.ReLU(),
            sn.Flatten(),
            sn.Dense(96, 3, bias=False),
        ],
        input_shape=(7, 8, 2),
    )
    x = rng.standard_normal((2, 7, 8, 2))
    sn.save(net, tmp_path / "m")
    assert np.array_equal(sn.load(tmp_path / "m").forward(x), net.forward(x))


def test_a_loaded_model_can_be_trained_on(tmp_path, net, sample):
    sn.save(net, tmp_path / "m")
    back = sn.load(tmp_path / "m")
    sn.fit(back, sample[0][:64], optimizer=sn.SGD(back.parameters()), steps=1, progress=False)
    assert not np.array_equal(back.parameters()[0].value, net.parameters()[0].value)


def test_weights_go_into_a_network_with_layers_of_ones_own(tmp_path):
    class Double(sn.Layer):
        kind = "double"

        def forward(self, x, training=False):
            return 2 * self.check_input(x)

    def make(seed):
        return sn.Network([sn.Dense(3, 2, rng=seed), Double()], input_shape=(3,))

    sn.save(make(1), tmp_path / "m")
    assert isinstance(sn.load(tmp_path / "m").layers[1], Double)
    Double.__qualname__ = "Another"  # as in a process that has not defined the class
    with pytest.raises(ValueError, match=r"layer '.*Double' that scratchnet does not know. Import the module .* first"):
        sn.load(tmp_path / "m")
    net = sn.load_weights(make(2), tmp_path / "m")
    assert np.array_equal(net.parameters()[0].value, make(1).parameters()[0].value)


def test_a_file_that_is_replaced_is_replaced_whole(tmp_path, net):
    path = tmp_path / "m"
    sn.save(net, path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"), written_atomically(path) as partial:
        partial.write_bytes(before[:100])
        raise OSError("disk full")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"], "nothing is left beside it"


# ---------------------------------------------------------------- files that are not right


def change_metadata(path, arrays=None, **changes):
    """Rewrite a file with other arrays or metadata and the matching checksum."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = arrays or safetensors.numpy.load_file(path)
    metadata |= changes
    metadata["sha256"] = digest(arrays, metadata["description"])
    safetensors.numpy.save_file(arrays, path, metadata)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file"):
        sn.load(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 5, 100, 5000, -1])
def test_a_truncated_file_is_refused(tmp_path, net, size):
    path = tmp_path / "m"
    sn.save(net, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="m: not a whole safetensors file"):
        sn.load(path)


def test_a_flipped_bit_is_noticed(tmp_path, net):
    path = tmp_path / "m"
    sn.save(net, path)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="m: the content does not match its SHA-256; the file was damaged"):
        sn.load(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "m"
    safetensors.numpy.save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"not written by scratchnet: expected the metadata .*, got {}"):
        sn.load(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        sn.load(path)


def test_nan_weights_are_refused(tmp_path, net):
    sn.save(net, tmp_path / "m")
    arrays = safetensors.numpy.load_file(tmp_path / "m")
    arrays["pointwise1.b"][0] = np.nan
    change_metadata(tmp_path / "m", arrays)
    with pytest.raises(ValueError, match=r"m: pointwise1\.b holds NaN or infinite values"):
        sn.load(tmp_path / "m")


def test_what_could_not_be_loaded_is_not_saved(tmp_path, net):
    net.parameters()[2].value[0] = np.inf
    with pytest.raises(ValueError, match=r"m: pointwise1\.b holds NaN or infinite values"):
        sn.save(net, tmp_path / "m")
    shared = sn.Dense(4, 2)
    first = sn.Network([sn.Dense(4, 4), shared], input_shape=(4,), name="first")
    sn.Network([shared], input_shape=(4,))
    with pytest.raises(ValueError, match=r"two arrays of first are named dense1\.w; is a layer part of two networks"):
        sn.save(first, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_file_gets_the_permissions_that_others_get(tmp_path, net):
    sn.save(net, tmp_path / "m")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_weights_of_another_shape_dtype_or_name_change_nothing(tmp_path):
    wide, net = sn.models.separable_cnn(dense_units=8), sn.models.separable_cnn(dense_units=4)
    before = [p.value.copy() for p in net.parameters()]
    sn.save(wide, tmp_path / "m")
    with pytest.raises(ValueError, match=r"expected dense1\.w of shape \(3136, 4\), got \(3136, 8\)"):
        sn.load_weights(net, tmp_path / "m")
    sn.save(sn.models.four_conv_cnn(), tmp_path / "m")
    with pytest.raises(ValueError, match=r"the arrays do not fit separable_cnn: missing \['depthwise1\.w'"):
        sn.load_weights(net, tmp_path / "m")
    assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))


def test_a_half_precision_file_is_refused(tmp_path):
    net = sn.Network([sn.Dense(2, 2)], input_shape=(2,))
    sn.save(net, tmp_path / "m")
    arrays = safetensors.numpy.load_file(tmp_path / "m")
    change_metadata(tmp_path / "m", arrays | {"dense1.w": arrays["dense1.w"].astype(np.float16)})
    with pytest.raises(ValueError, match=r"expected dense1\.w to hold float32, float64 or integers, got F16"):
        sn.load(tmp_path / "m")


@pytest.mark.parametrize(
    "layer",
    [
        {"layer": "Dense", "in_features": 2},
        {"layer": "Dense", "in_features": 0, "out_features": 1},
        {"layer": "ops"},
        {},
    ],
)
def test_a_description_that_makes_no_network_is_refused(tmp_path, layer):
    path = tmp_path / "m"
    sn.save(sn.Network([sn.Dense(2, 2)], input_shape=(2,)), path)
    description = {"kind": "model", "network": {"name": "n", "input_shape": [2], "layers": [layer]}}
    change_metadata(path, description=json.dumps(description))
    with pytest.raises(ValueError, match="m: "):
        sn.load(path)


def test_a_model_is_no_checkpoint_and_the_other_way_round(tmp_path, net, sample):
    optimizer = sn.SGD(net.parameters())
    sn.fit(net, sample[0][:20], optimizer=optimizer, steps=1, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match="expected a model, got a checkpoint"):
        sn.load(tmp_path / "checkpoint.safetensors")
    sn.save(net, tmp_path / "m")
    with pytest.raises(ValueError, match="expected a checkpoint, got a model"):
        load_checkpoint(tmp_path / "m", net, optimizer, {})


def test_a_damaged_checkpoint_stops_a_resume_and_changes_nothing(tmp_path, net, sample):
    optimizer = sn.SGD(net.parameters(), momentum=0.5)
    sn.fit(net, sample[0][:20], optimizer=optimizer, steps=1, folder=tmp_path, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    fresh = sn.models.separable_cnn(seed=1, dense_units=16)
    before = [p.value.copy() for p in fresh.parameters()]
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: not a whole safetensors file"):
        sn.fit(
            fresh,
            sample[0][:20],
            optimizer=sn.SGD(fresh.parameters(), momentum=0.5),
            steps=2,
            folder=tmp_path,
            resume=True,
        )
    assert all(np.array_equal(p.value, b) for p, b in zip(fresh.parameters(), before, strict=True))


def test_a_file_says_whether_the_shape_of_the_input_was_declared(tmp_path):
    for declared in (None, (4, 4, 1)):
        net = sn.Network([sn.Conv2D(1, 2, 3)], declared)
        net.forward(np.zeros((1, 4, 4, 1), np.float32))
        sn.save(net, tmp_path / "model")
        again = sn.load(tmp_path / "model")
        assert again.input_shape == (4, 4, 1)
        if declared is None:
            assert again.forward(np.zeros((1, 5, 5, 1), np.float32)).shape == (1, 5, 5, 2)
        else:
            with pytest.raises(ValueError, match=r"expected input of shape \(N, 4, 4, 1\)"):
                again.forward(np.zeros((1, 5, 5, 1), np.float32))


def test_other_tools_find_the_key_that_they_look_for_and_older_files_are_read(tmp_path, net):
    """transformers and others refuse a safetensors file whose `format` is not the name of a framework."""
    path = tmp_path / "model.safetensors"
    sn.save(net, path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    arrays = safetensors.numpy.load_file(path)
    assert arrays.keys() == {p.name for p in net.parameters()}
    del metadata["made_by"]
    safetensors.numpy.save_file(arrays, path, metadata | {"format": "scratchnet 1"})
    assert sn.load(path).summary() == net.summary()
    safetensors.numpy.save_file(arrays, path, metadata)
    with pytest.raises(ValueError, match="not written by scratchnet: expected the metadata .*, got {'format': 'pt'}"):
        sn.load(path)
