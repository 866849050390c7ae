"""A layer, a data set and a network from outside the package: the module in CONTRIBUTING, used by every command."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from benchmarks import measure
from scratchnet.cli import main
from scratchnet.data import DATASETS
from scratchnet.interop.equivalents import EQUIVALENTS
from scratchnet.models import ARCHITECTURES
from scratchnet.study.experiments import read

ROOT = Path(__file__).parent.parent
NUMPY, TORCH = "scratchnet, NumPy engine", "PyTorch, channels_last"
TRAIN = ["train", "tiny_cnn", "--data", "stripes", "--steps", "6", "--batch-size", "20"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `my_things.py`, as CONTRIBUTING shows it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(\"\"\"my_things\.py.*?)```", text, re.S)
    folder = tmp_path_factory.mktemp("outside")
    (folder / "my_things.py").write_text(module, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def things(folder):
    """The imported module; its records are removed after these tests."""
    with (
        patch.dict(ARCHITECTURES), patch.dict(DATASETS), patch.dict(EQUIVALENTS),
        pytest.MonkeyPatch.context() as monkeypatch,
    ):  # fmt: skip
        monkeypatch.syspath_prepend(folder)
        yield importlib.import_module("my_things")
        del sys.modules["my_things"]  # and nothing else: PyTorch cannot be imported a second time


@pytest.fixture(autouse=True)
def here(things, tmp_path, monkeypatch):
    """Run commands on the NumPy engine, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    with sn.use_engine("numpy"):
        yield


@pytest.fixture
def model(capsys):
    """The file of the trained network."""
    assert main(TRAIN) == 0
    capsys.readouterr()
    return Path("runs/tiny_cnn/model.safetensors")


# ---------------------------------------------------------------- a layer


def test_a_layers_gradients_are_checked(things, rng):
    report = sn.gradcheck(things.PReLU(3), rng.standard_normal((2, 4, 5, 3)))
    assert report.passed, str(report)


def test_a_model_file_brings_the_layer_back(things, model):
    net = sn.load(model)
    assert type(net.layers[1]) is things.PReLU
    assert net.layers[1].channels == 4
    assert not np.array_equal(net.layers[1].w.value, np.full(4, 0.25)), "its weights were trained"


def test_a_model_file_says_which_module_is_missing(model):
    run = subprocess.run(
        [sys.executable, "-m", "scratchnet", "summary", model], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "it has a layer 'my_things.PReLU' that scratchnet does not know. Import the module" in run.stderr


def test_a_layer_is_taken_to_pytorch_and_back(things):
    net, other = things.tiny_cnn(seed=1), things.tiny_cnn(seed=2)
    net.layers[1].w.value = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    x = DATASETS["stripes"].read()[1].images[:5]
    torch_net = sn.interop.to_torch(net)
    theirs = torch_net(sn.interop.images_to_torch(x)).detach().numpy()
    np.testing.assert_allclose(theirs, net.forward(x), atol=1e-5)
    sn.interop.from_torch(torch_net, other)
    assert np.array_equal(other.forward(x), net.forward(x))


def test_nothing_is_registered_twice(things):
    with pytest.raises(ValueError, match="tiny_cnn: an architecture of this name is registered already"):
        sn.models.register(ARCHITECTURES["tiny_cnn"])
    with pytest.raises(ValueError, match="stripes: a data set of this name is registered already"):
        sn.data.register(DATASETS["stripes"])


# ---------------------------------------------------------------- commands


def test_evaluate_and_summary(model, capsys):
    assert main(["evaluate", str(model), "--data", "stripes"]) == 0
    assert "tiny_cnn on 100 test stripes: accuracy" in capsys.readouterr().out
    for name in ("tiny_cnn", str(model)):
        assert main(["summary", name]) == 0
        assert re.search(r"prelu1 +8 x 8 x 4 +4", capsys.readouterr().out)


def test_an_interrupted_training_goes_on_to_the_same_bits(model, capsys, monkeypatch):
    real, steps = sn.Adam.step, []

    def stopping(self):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(sn.Adam, "step", stopping)
    stopped = [*TRAIN[:2], "--out", "stopped"]
    assert main([*TRAIN, "--out", "stopped", "--checkpoint-every", "2"]) == 130
    monkeypatch.setattr(sn.Adam, "step", real)
    assert main([*stopped, "--resume"]) == 0
    whole, resumed = (sn.load(path).parameters() for path in (model, "stopped/model.safetensors"))
    assert all(np.array_equal(p.value, q.value) for p, q in zip(whole, resumed, strict=True))


def test_step_shows_its_math_and_the_class(capsys):
    assert main(["step", "tiny_cnn", "--data", "stripes", "--digit", "1"]) == 0
    out = capsys.readouterr().out
    label = DATASETS["stripes"].read()[1].labels[1]
    assert f"tiny_cnn, digit 1: {label}, {DATASETS['stripes'].classes[label]}" in out
    assert "out = x where x > 0, else w * x" in out
    assert "dw = sum of dout * x where x <= 0" in out


def test_predict_names_the_class(model, capsys):
    page = np.full((60, 60), 255, np.uint8)
    page[5:55, 15:22] = page[5:55, 38:45] = 0
    Image.fromarray(page).save("bars.png")
    assert main(["predict", "bars.png", "--model", str(model)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"bars\.png: (horizontal|vertical), with probability", out)
    assert re.search(r"class +probability", out)
    assert out.count(f"+{'-' * 8}+") == 2, "it saw 8 x 8 pixels"
    assert main(["predict", "bars.png", "--model", str(model), "--data", "fashion-mnist"]) == 1
    assert "tiny_cnn: has 2 outputs, but Fashion-MNIST has 10 classes" in capsys.readouterr().err


def test_predict_says_if_the_data_set_is_not_known(model, capsys):
    with patch.dict(DATASETS):
        del DATASETS["stripes"]
        assert main(["predict", "x.png", "--model", str(model)]) == 1
    assert "was trained on the data set 'stripes', which is not known here" in capsys.readouterr().err


def test_reproduce_trains_it_and_leaves_out_what_does_not_fit(capsys):
    assert main(["reproduce", "--data", "stripes"]) == 0
    out = capsys.readouterr().out
    others = ", ".join(name for name in ARCHITECTURES if name != "tiny_cnn")
    assert f"Left out (made for other images): {others}." in out
    assert re.search(r"\ntiny_cnn +174 +\d+\.\d\d% +\d+\.\d +– +–\n", out)
    assert "on 100 test stripes" in out
    assert Path("runs/reproduce-stripes/figures/tiny_cnn_confusion.png").stat().st_size > 0
    (left,) = {type(sn.load(path)) for path in Path("runs").rglob("model.safetensors")}
    assert left is sn.Network


def test_reproduce_on_the_sample_leaves_it_out(capsys, monkeypatch):
    trained = []
    monkeypatch.setattr("scratchnet.study.reproduce.reproduce", lambda *a: trained.append(a) or ("table", []))
    assert main(["reproduce"]) == 0
    assert "Left out (made for other images): tiny_cnn." in capsys.readouterr().out


WRONG = {
    "a network for other images": (TRAIN[:2], "takes images of shape (8, 8, 1), but the training digits of the sample"),
    "other images to step through": (["step", "tiny_cnn"], "name data that fits with --data"),
    "a folder for what is in none": ([*TRAIN, "--data-dir", "x"], "where a data set's files are, and Stripes has none"),
    "MNIST's choice": ([*TRAIN, "--train-images", "55000"], "--train-images chooses among MNIST's images"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), list(WRONG.values()), ids=list(WRONG))
def test_what_does_not_fit_is_said_before_anything_is_written(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_network_that_can_be_made_for_such_images_is(capsys):
    assert main(["train", "four_conv_cnn", "--data", "stripes", "--steps", "1"]) == 0
    net = sn.load("runs/four_conv_cnn/model.safetensors")
    assert (net.input_shape, net.output_shapes()[-1]) == ((8, 8, 1), (2,))


# ---------------------------------------------------------------- a data set of files


@pytest.fixture
def files(tmp_path_factory):
    """A folder with the stripes as four IDX files, and a registered record of them."""
    folder, digests = tmp_path_factory.mktemp("idx"), {}
    for part, data in zip(("train", "t10k"), DATASETS["stripes"].read(), strict=True):
        images = (255 * data.images[..., 0] / data.images.max()).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", data.labels)):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            content = header + array.astype(np.uint8).tobytes()
            digests[name] = hashlib.sha256(content).hexdigest()
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    info = replace(DATASETS["stripes"], name="idx-stripes", title="Stripes in files", files=digests, read=None)
    with patch.dict(DATASETS):
        sn.data.register(info)
        yield folder


def test_reproduce_on_a_whole_data_set(files, capsys):
    command = ["reproduce", "--data", "idx-stripes", "--data-dir", str(files), "--seeds", "2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert re.search(r"\ntiny_cnn +174 +2 .* – ", out)
    assert "over the runs, on 100 Stripes in files test set." in out
    results = [read(path) for path in Path("runs/reproduce-original-idx-stripes").glob("original-tiny_cnn-*.json")]
    assert len(results) == 2
    assert {result["steps"] for result in results} == {30}
    assert np.mean([result["test"]["accuracy"] for result in results]) > 0.9
    assert main([*command, "--resume"]) == 0
    assert "run 1 of 2" not in capsys.readouterr().out, "nothing was missing"


def test_train_from_a_folder(files, capsys):
    arguments = [*TRAIN[:2], "--data", "idx-stripes", "--data-dir", str(files), "--steps", "2"]
    assert main(arguments) == 0
    assert "training tiny_cnn on 200 Stripes in files training set" in capsys.readouterr().out
    assert json.loads(Path("runs/tiny_cnn/settings.json").read_text())["data"] == "idx-stripes"


# ---------------------------------------------------------------- the site and the benchmark


def test_the_table_in_the_reference(monkeypatch):
    pytest.importorskip("sphinx", reason="install what the site needs with: pip install --editable '.[test]'")
    monkeypatch.syspath_prepend(ROOT / "docs" / "ext")
    records = importlib.import_module("records")
    cells = [line.strip(" *-") for line in records.networks_table().splitlines()]
    row = cells.index("``tiny_cnn()``")
    assert cells[row + 1 : row + 6] == ["one convolution with PReLU", "8 x 8 x 1", "174", "2,432", "–"]
    assert "horizontal, vertical" in records.datasets_table()


def test_the_benchmark_verifies_and_times_it(folder, monkeypatch):
    monkeypatch.chdir(folder)  # the workers import the module from there
    session = measure.Session(1, rounds=1, seconds=0.01, modules=["my_things"])
    with measure.running(session.start([NUMPY, TORCH])) as workers:
        apart = measure.verify(session, workers, "tiny_cnn")
        timing = measure.timings(session, workers, "tiny_cnn", "training", 32)
    assert apart.keys() == {NUMPY, TORCH}
    assert apart[TORCH] < measure.TOLERANCE
    assert session.notes == []
    assert {name: len(rounds) for name, rounds in timing["rounds"].items()} == {NUMPY: 1, TORCH: 1}


def test_a_framework_without_such_a_layer_is_left_out_with_a_sentence(folder, monkeypatch):
    (folder / "without.py").write_text(
        "import my_things\nfrom scratchnet.interop.equivalents import EQUIVALENTS\ndel EQUIVALENTS[my_things.PReLU]\n"
    )
    monkeypatch.chdir(folder)
    session = measure.Session(1, rounds=1, seconds=0.01, modules=["without"])
    with measure.running(session.start([NUMPY, TORCH])) as workers:
        assert measure.verify(session, workers, "tiny_cnn").keys() == {NUMPY}
    assert session.notes == [f"tiny_cnn: {TORCH} left out: prelu1: a PReLU has no equivalent in PyTorch"]
