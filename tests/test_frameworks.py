"""The page "Coming from, going to": each row of its tables is computed in the frameworks that it names.

Keras runs on PyTorch here, so that no third framework has to be installed.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cases import assert_close

import scratchnet as sn
from scratchnet.interop.equivalents import NoEquivalent, equivalent
from scratchnet.layers.base import Parameter, state_arrays
from scratchnet.layers.initial import initial_weights

torch = pytest.importorskip("torch")
if importlib.util.find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="install it with: pip install --editable '.[test]'")

# Keras's own, on PyTorch with NumPy 2
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning"),
]

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.rst"
IMAGE = (9, 8, 3)


def rows_of(name):
    """The rows of a table of the page, without its head: lists of cells, each as written."""
    table = PAGE.read_text(encoding="utf-8").split(f":class: {name}")[1]
    table = re.split(r"\n(?=\S)", table)[0]
    rows = [re.split(r"\n     -(?: |\n|$)", f"\n     - {row}")[1:] for row in re.split(r"\n   \* - ", table)[1:]]
    return [[" ".join(cell.split()) for cell in row] for row in rows][1:]


def made_of(cell):
    """The layers that the code in a cell makes; None if it has none."""
    names = {"sn": sn, "nn": torch.nn, "kl": keras.layers}
    return [eval(code, names) for code in re.findall("``(.+?)``", cell)] or None


# ---------------------------------------------------------------- layers


def network_of(cell):
    """Our network, with weights and running statistics unlike those of any framework's start."""
    net, rng = sn.Network(made_of(cell), IMAGE), np.random.default_rng(0)
    for p in net.parameters():
        p.value = rng.standard_normal(p.value.shape).astype(np.float32)
    net.set_state({name: 1 + rng.random(a.shape).astype(np.float32) for name, a in state_arrays(net.state()).items()})
    return net


def images():
    return np.random.default_rng(1).standard_normal((4, *IMAGE)).astype(np.float32)


LAYERS = rows_of("layers")
by_layers = pytest.mark.parametrize("row", LAYERS, ids=lambda row: row[0])


@by_layers
def test_a_row_computes_the_same_in_pytorch(row):
    """The modules of the page, with the weights that `to_torch` gives to its own, which may be other ones."""
    net, modules = network_of(row[0]), made_of(row[1])
    if modules is None:
        with pytest.raises(ValueError, match="has no equivalent in PyTorch"):
            sn.interop.to_torch(net)
        return
    theirs = torch.nn.Sequential(*modules).eval()
    ours = sn.interop.to_torch(net)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = images()
    with torch.no_grad():
        out = theirs(sn.interop.images_to_torch(x)).numpy()
    assert_close(np.moveaxis(out, 1, -1), net.forward(x), 1e-5, row[1])
    if "ZeroPad2d" in row[1]:
        with pytest.raises(ValueError, match="ZeroPad2d.* has no equivalent in scratchnet"):
            sn.interop.from_torch(theirs, input_shape=IMAGE)
        return
    assert_close(sn.interop.from_torch(theirs, input_shape=IMAGE).forward(x), net.forward(x), 1e-5, "from_torch")


@by_layers
def test_a_row_computes_the_same_in_keras(row):
    """The layers of the page, and those of the layer's record."""
    net = network_of(row[0])
    weights = [a for layer in net.layers for p in [layer.parameters()] for a in [*(q.value for q in p), *held(layer)]]
    recorded = [
        made
        for layer, shape in zip(net.layers, net.output_shapes(), strict=False)
        for made in from_record(layer, shape)
    ]
    if made_of(row[2]) is None:
        assert not recorded
        return
    for layers in (made_of(row[2]), recorded):
        model = keras.Sequential([keras.Input(IMAGE), *layers])
        model.set_weights([w.reshape(v.shape) for w, v in zip(weights, model.get_weights(), strict=True)])
        assert_close(model.predict(images(), verbose=0), net.forward(images()), 1e-5, row[2])


def held(layer):
    return list(state_arrays(layer.state()).values())


def from_record(layer, shape):
    try:
        return equivalent(layer, "keras")(layer, shape)
    except NoEquivalent:
        return []


@by_layers
def test_a_row_names_the_operators_of_its_onnx_file(row, tmp_path):
    onnx = pytest.importorskip("onnx")
    sn.interop.to_onnx(network_of(row[0]), tmp_path / "net.onnx")
    found = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node if node.op_type != "Transpose"]
    assert (", ".join(found).replace("Identity", "") or "none") == row[3]


def test_every_layer_has_a_row():
    text = " ".join(row[0] for row in LAYERS)
    things = [getattr(sn, name) for name in sn.__all__]
    kinds = {thing.__name__ for thing in things if isinstance(thing, type) and issubclass(thing, sn.Layer)}
    assert {name for name in kinds if f"sn.{name}(" not in text} == {"Layer"}


# ---------------------------------------------------------------- rules

RULES = {}


def rule(name):
    def keep(function):
        RULES[name] = function
        return function

    return keep


@pytest.mark.parametrize("row", rows_of("rules"), ids=lambda row: row[0])
def test_a_rule_is_the_one_of_the_frameworks_that_are_named(row):
    RULES[row[0]]()


def test_every_rule_is_on_the_page():
    assert [row[0] for row in rows_of("rules")] == list(RULES)


def after_steps(make, rates=(0.1, 0.1, 0.1)):
    """A weight after steps with these learning rates, by an optimiser of ours, PyTorch's or Keras's."""
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(5), rng.standard_normal((len(rates), 5))
    p = Parameter("p", start.copy())
    tensor = torch.tensor(start.copy(), requires_grad=True)
    variable = keras.Variable(start.copy(), dtype="float64")
    optimizer = make(p, tensor)
    for g, rate in zip(gradients, rates, strict=True):
        if isinstance(optimizer, sn.optim.Optimizer):
            p.grad, optimizer.lr = g, rate
            optimizer.step()
        elif isinstance(optimizer, torch.optim.Optimizer):
            tensor.grad, optimizer.param_groups[0]["lr"] = torch.tensor(g), rate
            optimizer.step()
        else:
            optimizer.build([variable])
            optimizer.learning_rate = rate
            optimizer.apply([keras.ops.convert_to_tensor(g)], [variable])
    if isinstance(optimizer, sn.optim.Optimizer):
        return p.value
    return (
        tensor.detach().numpy()
        if isinstance(optimizer, torch.optim.Optimizer)
        else keras.ops.convert_to_numpy(variable)
    )


def require(ours, same=(), other=(), **options):
    expected = after_steps(ours, **options)
    for make in same:
        assert np.abs(after_steps(make, **options) - expected).max() < 1e-6
    for make in other:
        assert np.abs(after_steps(make, **options) - expected).max() > 1e-3


def in_torch(kind, **options):
    return lambda p, tensor: getattr(torch.optim, kind)([tensor], lr=0.1, **options)


def in_keras(kind, **options):
    return lambda p, tensor: getattr(keras.optimizers, kind)(**options)


@rule("SGD's weight decay")
def sgd_decay():
    options = {"momentum": 0.9, "weight_decay": 0.1}
    require(lambda p, _: sn.SGD([p], **options), [in_torch("SGD", **options)], [in_keras("SGD", **options)])


@rule("momentum, when the rate changes")
def momentum():
    options = {"momentum": 0.9}
    ours, theirs, others = (lambda p, _: sn.SGD([p], **options)), in_torch("SGD", **options), in_keras("SGD", **options)
    require(ours, [theirs], [others], rates=(0.1, 0.05, 0.01))
    require(ours, [theirs, others])


@rule("Nesterov's momentum")
def nesterov():
    options = {"momentum": 0.9, "nesterov": True}
    require(lambda p, _: sn.SGD([p], **options), [in_torch("SGD", **options), in_keras("SGD", **options)])


@rule("Adam's epsilon")
def adam_epsilon():
    require(lambda p, _: sn.Adam([p], eps=0.1), [in_torch("Adam", eps=0.1)], [in_keras("Adam", epsilon=0.1)])
    require(lambda p, _: sn.Adam([p], eps=1e-9), [in_torch("Adam", eps=1e-9), in_keras("Adam", epsilon=1e-9)])


@rule("Adam's weight decay")
def adam_decay():
    others = [in_torch("AdamW", weight_decay=0.1), in_keras("Adam", weight_decay=0.1)]
    require(lambda p, _: sn.Adam([p], weight_decay=0.1), [in_torch("Adam", weight_decay=0.1)], others)


@rule("cosine, step_decay, one_cycle")
def schedules():
    kinds = torch.optim.lr_scheduler
    for ours, theirs in (
        (sn.cosine(0.5, 20), lambda o: kinds.CosineAnnealingLR(o, 20)),
        (sn.step_decay(0.5, every=7), lambda o: kinds.StepLR(o, 7)),
        (sn.one_cycle(0.5, 20), lambda o: kinds.OneCycleLR(o, 0.5, total_steps=20, cycle_momentum=False)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        schedule, rates = theirs(optimizer), []
        for _ in range(19):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert [ours(step) for step in range(19)] == pytest.approx(rates)


DEPTHWISE = (5, 5, 32, 2)


def spread(init, shape, fan_in):
    """The standard deviation of our first weights, and the largest of them."""
    w = initial_weights(init, shape, fan_in, np.random.default_rng(0))
    return w.std(), np.abs(w).max()


@rule('init="pytorch"')
def pytorch_init():
    layer, module = sn.Dense(200, 500, init="pytorch", rng=0), torch.nn.Linear(200, 500)
    limit = 1 / np.sqrt(200)
    for ours, theirs in ((layer.w.value, module.weight), (layer.b.value, module.bias)):
        for largest in (np.abs(ours).max(), float(theirs.detach().abs().max())):
            assert 0.97 * limit < largest <= limit * (1 + 1e-6)
    dense = keras.layers.Dense(500)
    dense.build((None, 200))
    assert float(keras.ops.max(keras.ops.abs(dense.kernel))) > limit
    assert not float(keras.ops.max(keras.ops.abs(dense.bias)))


@rule('init="glorot_uniform"')
def glorot():
    _, ours = spread("glorot_uniform", DEPTHWISE, 25)
    theirs = float(keras.ops.max(keras.ops.abs(keras.initializers.GlorotUniform(0)(DEPTHWISE))))
    assert ours == pytest.approx(theirs, rel=0.02)
    other = torch.nn.init.xavier_uniform_(torch.zeros(64, 1, 5, 5)).abs().max()
    assert ours != pytest.approx(float(other), rel=0.02)


@rule('init="he_normal"')
def he():
    deviation, largest = spread("he_normal", (1000, 200), 1000)
    whole = torch.nn.init.kaiming_normal_(torch.zeros(200, 1000))
    assert deviation == pytest.approx(float(whole.std()), rel=0.02)
    assert largest > 4 * deviation
    cut = keras.initializers.HeNormal(0)((1000, 200))
    assert float(keras.ops.max(keras.ops.abs(cut))) < 3.5 * deviation
    deviation, _ = spread("he_normal", DEPTHWISE, 25)
    assert deviation == pytest.approx(float(torch.nn.init.kaiming_normal_(torch.zeros(64, 1, 5, 5)).std()), rel=0.1)
    assert deviation > 4 * float(keras.ops.std(keras.initializers.HeNormal(0)(DEPTHWISE)))


@rule('padding="same"')
def same():
    x = images()[:, :8]
    layer = sn.Conv2D(3, 2, 3, stride=2, rng=0)
    out, theirs = layer.forward(x), keras.layers.Conv2D(2, 3, 2, padding="same")
    theirs.build(x.shape)
    theirs.set_weights([layer.w.value, layer.b.value])
    assert_close(keras.ops.convert_to_numpy(theirs(x)), out, 1e-5)
    weights = torch.from_numpy(layer.w.value.transpose(3, 2, 0, 1).copy())
    other = torch.nn.functional.conv2d(sn.interop.images_to_torch(x), weights, stride=2, padding=1).numpy()
    assert np.abs(np.moveaxis(other, 1, -1) - out).max() > 0.1


@rule("average pooling")
def average_pooling():
    x = images()
    ours = sn.AvgPool2D(3, 1, padding="same").forward(x)
    theirs = keras.layers.AveragePooling2D(3, 1, padding="same")(x)
    assert_close(keras.ops.convert_to_numpy(theirs), ours, 1e-5)
    pool = torch.nn.functional.avg_pool2d
    without, counted = (
        np.moveaxis(pool(sn.interop.images_to_torch(x), 3, 1, 1, count_include_pad=counts).numpy(), 1, -1)
        for counts in (False, True)
    )
    assert_close(without, ours, 1e-5)
    assert np.abs(counted - ours).max() > 0.1


@rule("max pooling, of equal pixels")
def ties():
    x = np.zeros((1, 4, 4, 1), np.float32)
    layer = sn.MaxPool2D(2)
    dx = layer.backward(np.ones_like(layer.forward(x)))
    t = sn.interop.images_to_torch(x).clone().requires_grad_()
    torch.nn.functional.max_pool2d(t, 2).sum().backward()
    assert np.array_equal(dx[..., 0], t.grad.numpy()[:, 0])
    assert dx[0, 0, 0, 0] == 1
    assert dx.sum() == 4


def running(momentum):
    """The running mean and variance after a batch: ours, PyTorch's, and Keras's with its own momentum."""
    x = images().reshape(-1, 3)
    ours, theirs = sn.BatchNorm(3, momentum=momentum), torch.nn.BatchNorm1d(3, momentum=momentum)
    others = keras.layers.BatchNormalization(momentum=1 - momentum)
    ours.forward(x, training=True)
    theirs(torch.from_numpy(x))
    others(x, training=True)
    found = (ours.running_mean, ours.running_var), (theirs.running_mean.numpy(), theirs.running_var.numpy())
    return *found, others.get_weights()[2:]


@rule("batch normalisation's momentum")
def norm_momentum():
    ours, theirs, others = running(0.3)
    assert_close(ours[0], theirs[0], 1e-5)
    assert_close(ours[0], others[0], 1e-5)


@rule("batch normalisation's running variance")
def norm_variance():
    ours, theirs, others = running(0.3)
    assert_close(ours[1], theirs[1], 1e-6)
    P = images().size // 3
    assert_close((ours[1] - 0.7) * (P - 1) / P + 0.7, others[1], 1e-5)
    assert np.abs(ours[1] - others[1]).max() > 1e-4


@rule("dropout")
def dropout():
    x = np.ones((100, 50), np.float32)
    ours = sn.Dropout(0.4, rng=0)
    found = [
        (ours.forward(x, training=True), ours.forward(x)),
        (torch.nn.Dropout(0.4)(torch.from_numpy(x)).numpy(), torch.nn.Dropout(0.4).eval()(torch.from_numpy(x)).numpy()),
        [keras.ops.convert_to_numpy(keras.layers.Dropout(0.4)(x, training=training)) for training in (True, False)],
    ]
    for training, outside in found:
        assert set(np.unique(training.round(4))) == {np.float32(0), np.float32(1 / 0.6).round(4)}
        assert np.array_equal(outside, x)


@rule("softmax_cross_entropy")
def cross_entropy():
    logits, labels = np.random.default_rng(0).standard_normal((6, 5)), np.array([0, 1, 2, 3, 4, 0])
    loss, _ = sn.softmax_cross_entropy(logits, labels)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))))
    of = keras.losses.SparseCategoricalCrossentropy
    assert loss == pytest.approx(float(of(from_logits=True)(labels, logits)))
    assert float(of()(labels, sn.softmax(logits))) == pytest.approx(loss, rel=1e-5)


@rule("resizing")
def resizing():
    x, layer = images(), sn.Resize((3, 4))
    scaled = torch.nn.functional.interpolate
    t, options = sn.interop.images_to_torch(x), {"size": (3, 4), "mode": "bilinear"}
    assert_close(np.moveaxis(scaled(t, **options).numpy(), 1, -1), layer.forward(x), 1e-5)
    other = scaled(t, **options, align_corners=True).numpy()
    assert np.abs(np.moveaxis(other, 1, -1) - layer.forward(x)).max() > 0.1


@rule("WeightAverage")
def weight_average():
    net = sn.Network([sn.Dense(1, 1)])
    average, theirs, expected = sn.WeightAverage(net, 0.9), [], 0.0
    variable, optimizer = keras.Variable(np.zeros((1, 1))), keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.9)
    optimizer.build([variable])
    for step in range(1, 9):
        net.layers[0].w.value = np.full((1, 1), step, np.float32)
        average.update()
        optimizer.apply([-keras.ops.ones((1, 1))], [variable])  # adds 1
        share = min(0.9, (1 + step) / (10 + step))
        expected = step if step == 1 else share * expected + (1 - share) * step
        theirs.append(float(keras.ops.convert_to_numpy(optimizer._model_variables_moving_average[0])[0, 0]))
    assert average.arrays["dense1.w"][0, 0] == pytest.approx(expected, rel=1e-5)
    assert abs(theirs[-1] - expected) > 1


# ---------------------------------------------------------------- the code on the page


def blocks():
    """The code blocks of the page, by the heading above each."""
    found, heading = {}, ""
    for part in re.split(r"(?m)^(?=\S.*\n-{3,}$)", PAGE.read_text(encoding="utf-8")):
        heading = part.splitlines()[0]
        code = re.search(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", part)
        if code:
            found[heading] = re.sub(r"(?m)^   ", "", code[1])
    return found


@pytest.mark.parametrize("heading", list(blocks()))
def test_the_code_of_the_page_runs(heading, tmp_path, monkeypatch, capsys):
    """What it prints as a difference is small."""
    monkeypatch.chdir(tmp_path)
    if heading == "ONNX":
        pytest.importorskip("onnxruntime")
    exec(blocks()[heading], {})
    differences = re.findall(r"^[\d.e-]+$", capsys.readouterr().out, re.M)
    assert len(differences) == {"PyTorch": 1, "Keras": 2}.get(heading, 0)
    assert all(float(difference) < 1e-4 for difference in differences)
