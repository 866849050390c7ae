"""ONNX: files that other runtimes compute the same from, networks from files, and what is refused."""

from __future__ import annotations

import builtins
import random as random_module
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import CONVOLUTIONS, POOLS, assert_close, each
from fuzzing import damaged_bytes

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.interop import equivalents
from scratchnet.models import ARCHITECTURES

onnx = pytest.importorskip("onnx", reason="install it with: pip install --editable '.[test]'")
ort = pytest.importorskip("onnxruntime", reason="install it with: pip install --editable '.[test]'")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

LIMIT = 5e-6  # of outputs in float32, relative to the largest; 1e-6 for the logits of digits, which are below 1
LAYOUTS = ("NCHW", "NHWC")
layouts = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(autouse=True)
def numpy_engine():
    """What a file holds does not depend on the engine."""
    with sn.use_engine("numpy"):
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def runtime(path):
    """onnxruntime's session, on one thread: the sums are in the same order each time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def given(x, layout):
    return {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "NCHW" and x.ndim == 4 else x}


def last(out):
    """Images (N, C, H, W) with channels last."""
    return out.transpose(0, 2, 3, 1) if out.ndim == 4 else out


def check_file(net, path, layout="NCHW", sizes=(1, 3), evaluate=True, limit=LIMIT):
    """The file passes the checker, and both the evaluator and onnxruntime give the network's outputs."""
    sn.interop.to_onnx(net, path, layout=layout)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session, evaluator = runtime(path), ReferenceEvaluator(model)
    for N in sizes:
        x = np.random.default_rng(N).standard_normal((N, *net.input_shape)).astype(np.float32)
        ours = net.forward(x)
        assert_close(last(session.run(None, given(x, layout))[0]), ours, limit, f"onnxruntime, {N} images")
        if evaluate:
            theirs = evaluator.run(None, given(x, layout))[0]
            assert_close(last(theirs), ours, limit, f"the evaluator, {N} images")
    return model


def with_random_weights(net, seed=0):
    """All parameters and statistics drawn, so that none is 0 or 1 by default."""
    rng = np.random.default_rng(seed)
    for p in net.parameters():
        p.value = rng.uniform(-1, 1, p.value.shape).astype(p.value.dtype)
    net.set_state({
        name: rng.uniform(0.5, 2, held.shape).astype(held.dtype)
        for name, held in net.state().items() if isinstance(held, np.ndarray)
    })  # fmt: skip
    return net


def operators(model):
    return [node.op_type for node in model.graph.node]


# ---------------------------------------------------------------- files


@layouts
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_networks_as_files(name, layout, path, sample):
    net = ARCHITECTURES[name].make(seed=2)
    model = check_file(net, path, layout)
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    x = sample[0].images[:8]
    assert np.abs(runtime(path).run(None, given(x, layout))[0] - net.forward(x)).max() < 1e-6
    assert np.abs(ReferenceEvaluator(model).run(None, given(x, layout))[0] - net.forward(x)).max() < 1e-6
    assert operators(model).count("Transpose") == (layout == "NHWC")
    assert "Dropout" not in operators(model)
    back = sn.interop.from_onnx(path)
    assert_close(back.forward(x), net.forward(x), LIMIT, "and back")
    assert back.input_shape == (28, 28, 1)
    assert back.name == name


def conv_layers(case):
    settings = (case.kernel, case.stride, case.padding)
    yield sn.Conv2D(case.C, case.filters, *settings, rng=1)
    yield sn.DepthwiseConv2D(case.C, *settings, multiplier=case.filters % 3 + 1, bias=True, rng=1)


@each(CONVOLUTIONS)
def test_convolutions_of_every_shape(case, path):
    """Both ways: the evaluator proves it in `to_onnx` and `from_onnx`, onnxruntime here."""
    layout = LAYOUTS[case.N % 2]
    for layer in conv_layers(case):
        net = with_random_weights(sn.Network([layer], (*case.size, case.C)))
        check_file(net, path, layout, sizes=(case.N,), evaluate=False)
        x = np.random.default_rng(0).standard_normal((2, *net.input_shape)).astype(np.float32)
        assert np.array_equal(sn.interop.from_onnx(path).forward(x).shape, net.forward(x).shape)
        assert_close(sn.interop.from_onnx(path).forward(x), net.forward(x), LIMIT, "and back")


@each(POOLS)
def test_pools_of_every_shape(case, path):
    for kind in (sn.MaxPool2D, sn.AvgPool2D):
        net = sn.Network([kind(case.pool, case.stride, case.padding)], (*case.size, case.C))
        check_file(net, path, LAYOUTS[case.N % 2], sizes=(case.N,), evaluate=False)
        x = np.random.default_rng(0).standard_normal((2, *net.input_shape)).astype(np.float32)
        assert_close(sn.interop.from_onnx(path).forward(x), net.forward(x), LIMIT, "and back")


# Where rows are in the order (c, h, w) there: what stands between a Flatten and the layer that has to know.
IMAGE = (4, 3, 5)
BEHIND_A_FLATTEN = {
    "dense": [],
    "relu": [sn.ReLU],
    "dropout": [lambda: sn.Dropout(0.4)],
    "a second flatten": [sn.ReLU, sn.Flatten],
    "batch norm": [lambda: sn.BatchNorm(60, 0.3, 1e-3)],
    "all": [lambda: sn.BatchNorm(60), sn.ReLU, lambda: sn.Dropout(0.1), sn.Flatten, sn.ReLU],
}


@layouts
@pytest.mark.parametrize("between", list(BEHIND_A_FLATTEN.values()), ids=list(BEHIND_A_FLATTEN))
def test_rows_behind_a_flatten_are_reordered(between, layout, path):
    layers = [sn.MaxPool2D(2), sn.Flatten(), *(make() for make in between), sn.Dense(60, 8), sn.ReLU(), sn.Dense(8, 3)]
    net = with_random_weights(sn.Network(layers, (8, 6, 5)))
    check_file(net, path, layout)
    x = np.random.default_rng(0).standard_normal((3, 8, 6, 5)).astype(np.float32)
    assert_close(sn.interop.from_onnx(path).forward(x), net.forward(x), LIMIT, "and back")


OTHERS = {
    "batch norm of images": lambda: sn.Network([sn.Conv2D(2, 3, 3), sn.BatchNorm(3, 0.2, 1e-4), sn.ReLU()], (5, 6, 2)),
    "pointwise": lambda: sn.Network([sn.PointwiseConv2D(3, 4, bias=False), sn.PointwiseConv2D(4, 2)], (5, 6, 3)),
    "no images": lambda: sn.Network([sn.Dense(6, 5, bias=False), sn.BatchNorm(5), sn.ReLU(), sn.Dense(5, 2)], (6,)),
    "nothing": lambda: sn.Network([sn.Dropout(0.5)], (6,)),
}


@layouts
@pytest.mark.parametrize("make", list(OTHERS.values()), ids=list(OTHERS))
def test_other_networks(make, layout, path):
    net = with_random_weights(make())
    check_file(net, path, layout)
    if len(net.layers) == 1:
        with pytest.raises(ValueError, match="expected at least one node that is a layer here, got none"):
            sn.interop.from_onnx(path)
        return
    back = sn.interop.from_onnx(path)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in net.layers]
    for name, held in net.state().items():
        assert np.array_equal(back.state()[name], held), name
    for ours, again in zip(net.parameters(), back.parameters(), strict=True):
        assert np.array_equal(ours.value, again.value), ours.name


@pytest.mark.parametrize("size", [(21, 21), (7, 40), (3, 17)], ids=str)
def test_resized_images_have_the_size_that_they_have_here(size, path):
    """Factors in float32 may give one pixel less: 10 * 0.7 is below 7 then."""
    net = sn.Network([sn.Resize(size)], (10, 28, 1))
    check_file(net, path, limit=1e-5)
    assert sn.interop.from_onnx(path).layers[0].size == size


def test_images_flattened_at_the_end_are_in_the_order_of_onnx(path):
    net = sn.Network([sn.ReLU(), sn.Flatten()], (3, 4, 2))
    sn.interop.to_onnx(net, path)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32)
    theirs = runtime(path).run(None, given(x, "NCHW"))[0]
    assert np.array_equal(theirs.reshape(2, 2, 3, 4).transpose(0, 2, 3, 1).reshape(2, -1), net.forward(x))
    assert np.array_equal(sn.interop.from_onnx(path).forward(x), net.forward(x))


def test_a_folded_network_has_no_normalisation(path):
    net = with_random_weights(OTHERS["batch norm of images"]())
    assert operators(check_file(net, path)) == ["Conv", "BatchNormalization", "Relu"]
    assert operators(check_file(sn.fold_batch_norm(net), path)) == ["Conv", "Relu"]


def test_settings_of_a_normalisation_are_onnx_s(path):
    sn.interop.to_onnx(sn.Network([sn.BatchNorm(3, momentum=0.1, eps=1e-3)], (4, 4, 3)), path)
    (node,) = onnx.load(path).graph.node
    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert settings == {"momentum": pytest.approx(0.9), "epsilon": pytest.approx(1e-3)}
    (layer,) = sn.interop.from_onnx(path).layers
    assert (layer.momentum, layer.eps) == (0.1, 1e-3)


def test_float64_stays_float64(path):
    net = with_random_weights(sn.Network([sn.Conv2D(1, 2, 3), sn.Flatten(), sn.Dense(50, 3)], (5, 5, 1)))
    net.astype(np.float64)
    sn.interop.to_onnx(net, path)
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 1))
    theirs = ReferenceEvaluator(onnx.load(path)).run(None, given(x, "NCHW"))[0]
    assert_close(theirs, net.forward(x), 1e-12, "outputs")
    back = sn.interop.from_onnx(path)
    assert {p.value.dtype for p in back.parameters()} == {np.dtype(np.float64)}
    assert_close(back.forward(x), net.forward(x), 1e-12, "and back")


def test_the_same_network_gives_the_same_bytes(path, tmp_path):
    for place in (path, tmp_path / "again.onnx"):
        sn.interop.to_onnx(sn.models.separable_cnn(dense_units=8), place)
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()


# ---------------------------------------------------------------- planted errors, and what is refused


def test_a_dense_layer_in_the_wrong_order_is_noticed_in_both_directions(path, monkeypatch):
    """Neither the checker nor onnxruntime notices: the shapes are right."""
    right = equivalents.EQUIVALENTS[sn.Dense]
    make = lambda: with_random_weights(sn.Network([sn.Flatten(), sn.Dense(60, 3)], IMAGE))  # noqa: E731
    sn.interop.to_onnx(make(), path)
    before = path.read_bytes()
    as_it_is = {
        "to_torch": lambda layer, values, flattened: [values[0].T, *values[1:]],
        "from_torch": lambda layer, values, flattened: [values[0].T, *values[1:]],
    }
    monkeypatch.setitem(equivalents.EQUIVALENTS, sn.Dense, replace(right, **as_it_is))
    with pytest.raises(ValueError, match="network: ONNX's graph computes something else: outputs are up to"):
        sn.interop.to_onnx(make(), path)
    with pytest.raises(ValueError, match="onnx's reference evaluator computes something else than the network"):
        sn.interop.from_onnx(path)
    assert path.read_bytes() == before


def test_the_statistics_in_the_wrong_order_are_noticed(path, monkeypatch):
    monkeypatch.setattr(equivalents, "channels_first", lambda rows, flattened: rows)
    net = with_random_weights(sn.Network([sn.Flatten(), sn.BatchNorm(60)], IMAGE))
    with pytest.raises(ValueError, match="computes something else"):
        sn.interop.to_onnx(net, path)
    assert not path.exists()


class Half(sn.Layer):
    kind = "half"


NOT_WRITTEN = {
    "no network": (lambda: [sn.ReLU()], {}, TypeError, "to_onnx: expected net to be a Network, got list"),
    "a layout": (
        lambda: sn.Network([sn.ReLU()], (2, 2, 1)), {"layout": "nchw"}, ValueError,
        "expected layout to be NCHW or NHWC, got 'nchw'",
    ),
    "no shape": (lambda: sn.Network([sn.ReLU()]), {}, ValueError, "the input's shape is not known yet; pass it"),
    "a layer of one's own": (
        lambda: sn.Network([Half()], (5,)), {}, ValueError, "half1: a Half has no equivalent in ONNX",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "error", "message"), list(NOT_WRITTEN.values()), ids=list(NOT_WRITTEN))
def test_what_is_not_written(make, options, error, message, path):
    with pytest.raises(error, match=message):
        sn.interop.to_onnx(make(), path, **options)
    assert not path.exists()


def test_a_layer_of_one_s_own_says_what_it_is(path, monkeypatch):
    class Doubled(sn.Layer):
        kind = "doubled"

        def forward(self, x, training=False):
            return 2 * self.check_input(x)

    for factor, written in ((2, True), (3, False)):
        factors = np.full((1, 4, 1, 1), factor, np.float32)
        nodes = [sn.interop.OnnxNode("Mul", {"factors": factors}), sn.interop.OnnxNode("Relu")]
        record = sn.interop.Equivalent(onnx=lambda layer, shape, flattened, nodes=nodes: nodes)
        monkeypatch.setitem(equivalents.EQUIVALENTS, Doubled, record)
        net = sn.Network([sn.ReLU(), Doubled()], (5, 6, 4))
        if written:
            model = check_file(net, path, "NHWC")
            assert [node.name for node in model.graph.node][1:] == ["relu1", "doubled1.1", "doubled1.2"]
        else:
            with pytest.raises(ValueError, match="computes something else"):
                sn.interop.to_onnx(net, path)


def test_an_interrupted_write_leaves_the_old_file(path, monkeypatch):
    sn.interop.to_onnx(sn.Network([sn.Dense(3, 2)], (3,)), path)
    before = path.read_bytes()

    def interrupted(partial, content):
        with open(partial, "wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sn.interop.to_onnx(sn.Network([sn.Dense(3, 7)], (3,)), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_without_the_package_the_error_names_the_extra(path, monkeypatch, capsys):
    def without(name, *arguments, **options):
        if name.split(".")[0] == "onnx":
            raise ImportError(f"No module named {name!r}")
        return importing(name, *arguments, **options)

    importing = builtins.__import__
    for name in [name for name in sys.modules if name.split(".")[0] == "onnx"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without)
    net = sn.Network([sn.Dense(3, 2)], (3,))
    for call in (lambda: sn.interop.to_onnx(net, path), lambda: sn.interop.from_onnx(path)):
        with pytest.raises(ImportError, match=r'expected the package onnx .* pip install "scratchnet\[onnx\]"'):
            call()
    sn.save(net, path.with_name("net.safetensors"))
    assert main(["export", str(path.with_name("net.safetensors")), str(path)]) == 1
    assert 'pip install "scratchnet[onnx]"' in capsys.readouterr().err


# ---------------------------------------------------------------- files that others made


def random(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def node(op, *arrays, outputs=1, **attributes):
    """A node in a row: its operator, its arrays, its attributes."""
    return op, arrays, outputs, attributes


def graph_of(nodes, shape=("N", 4, 8, 6), dtype=TensorProto.FLOAT, opset=17, output=None, extra=(), domain=""):
    """A model whose nodes are in a row. shape : of the input, with N. output : the tensor that it gives."""
    made, weights, before = [], [], "x"
    for i, (op, arrays, outputs, attributes) in enumerate(nodes):
        names = [f"{i}.{j}" if array is not None else "" for j, array in enumerate(arrays)]
        weights += [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True) if a is not None]
        after = [f"y{i}", *(f"y{i}.{j}" for j in range(1, outputs))]
        made.append(helper.make_node(op, [before, *names], after, f"n{i}", domain=domain, **attributes))
        before = after[0]
    graph = helper.make_graph(
        [*made, *extra], "graph", [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(output or before, dtype, None)], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    given = model.graph.output[0].type.tensor_type
    if not given.HasField("shape"):  # no operator that onnx knows
        given.shape.SetInParent()
    return model


def save(model, path):
    path.write_bytes(model.SerializeToString())
    return path


W = random(5, 4, 3, 3)
STATISTICS = [np.abs(random(4, seed=i)) + 0.5 for i in range(4)]
DENSE = [node("Flatten", axis=1), node("Gemm", random(192, 3), random(3))]
TAKEN = {  # nodes, and the layers
    "conv": ([node("Conv", W, random(5), pads=[1, 2, 1, 2], strides=[2, 1])], "Conv2D"),
    "conv, same": ([node("Conv", W, auto_pad="SAME_UPPER", strides=[2, 2])], "Conv2D"),
    "conv, valid": ([node("Conv", W, auto_pad="VALID")], "Conv2D"),
    "conv, pads of same": ([node("Conv", W, pads=[0, 0, 1, 1], strides=[2, 2])], "Conv2D"),
    "depthwise": ([node("Conv", random(4, 1, 3, 2), random(4), group=4)], "DepthwiseConv2D"),
    "depthwise, multiplier 3": ([node("Conv", random(12, 1, 2, 2), group=4)], "DepthwiseConv2D"),
    "pointwise": ([node("Conv", random(7, 4, 1, 1))], "PointwiseConv2D"),
    "max pool": ([node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], "MaxPool2D"),
    "max pool, same, stride 1": ([node("MaxPool", kernel_shape=[4, 2], auto_pad="SAME_UPPER")], "MaxPool2D"),
    "max pool, stride 1": ([node("MaxPool", kernel_shape=[3, 2])], "MaxPool2D"),
    "average pool": ([node("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])], "AvgPool2D"),
    "padding counted where there is none": (
        [node("AveragePool", kernel_shape=[2, 2], count_include_pad=1)], "AvgPool2D",
    ),
    "global pool": ([node("GlobalAveragePool")], "AvgPool2D"),
    "batch norm": ([node("BatchNormalization", *STATISTICS)], "BatchNorm"),
    "identity": ([node("Identity"), node("Relu")], "ReLU"),
    "dropout": ([node("Relu"), node("Dropout", np.float32(0.25), outputs=2)], "ReLU Dropout"),
    "gemm": (DENSE, "Flatten Dense"),
    "gemm, transposed": ([DENSE[0], node("Gemm", random(3, 192), transB=1)], "Flatten Dense"),
    "gemm, one bias": ([DENSE[0], node("Gemm", random(192, 3), random(1))], "Flatten Dense"),
    "matmul": ([DENSE[0], node("MatMul", random(192, 3))], "Flatten Dense"),
    "matmul, add": (
        [DENSE[0], node("MatMul", random(192, 3)), node("Add", random(3)), node("Relu"), node("MatMul", random(3, 2))],
        "Flatten Dense ReLU Dense",
    ),
    "reshape": ([node("Reshape", np.array([0, -1])), *DENSE[1:]], "Flatten Dense"),
    "reshape, any batch": ([node("Reshape", np.array([-1, 192])), *DENSE[1:]], "Flatten Dense"),
    "normalised rows": ([DENSE[0], node("BatchNormalization", *(np.repeat(s, 48) for s in STATISTICS))],
                        "Flatten BatchNorm"),
    "resize": (
        [node("Resize", None, np.array([1, 1, 2, 0.5], np.float32), mode="linear")], "Resize",
    ),
    "transposed": (
        [node("Transpose", perm=[0, 3, 1, 2]), node("Conv", random(2, 6, 3, 3)), DENSE[0],
         node("Gemm", random(24, 3))],
        "Conv2D Flatten Dense",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "kinds"), list(TAKEN.values()), ids=list(TAKEN))
def test_what_is_taken(nodes, kinds, path):
    model = graph_of(nodes)
    net = sn.interop.from_onnx(save(model, path))
    assert " ".join(type(layer).__name__ for layer in net.layers) == kinds
    x = random(3, 4, 8, 6)
    theirs = ReferenceEvaluator(model).run(None, {"x": x})[0]
    ours = net.forward(x if nodes[0][0] == "Transpose" else np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    if theirs.ndim == 2 and theirs.shape[1] == 192:
        theirs, ours = np.sort(theirs), np.sort(ours)  # flattened in another order
    assert_close(ours, last(theirs), LIMIT, "outputs")


def test_constants_may_be_nodes_and_the_batch_may_be_fixed(path):
    model = graph_of([node("Reshape", np.array([2, -1])), node("MatMul", random(192, 3))], shape=(2, 4, 8, 6))
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    made = [helper.make_node("Constant", [], [name], value=tensor) for name, tensor in held.items()]
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    net = sn.interop.from_onnx(save(model, path))
    assert net.forward(random(5, 8, 6, 4)).shape == (5, 3)


def test_an_open_shape_is_asked_for(path):
    save(graph_of([node("Conv", W)], shape=("N", 4, "H", "W")), path)
    with pytest.raises(ValueError, match=r"leaves the input's shape open: \(None, None, 4\); give it, as in"):
        sn.interop.from_onnx(path)
    with pytest.raises(ValueError, match=r"expected the input_shape of the file, \(None, None, 4\), got \(9, 9, 3\)"):
        sn.interop.from_onnx(path, input_shape=(9, 9, 3))
    assert sn.interop.from_onnx(path, input_shape=(9, 7, 4)).output_shapes()[-1] == (7, 5, 5)


def branched():
    model = graph_of([node("Relu"), node("Relu")])
    model.graph.node.append(helper.make_node("Add", ["y0", "y1"], ["sum"], "both"))
    model.graph.output[0].name = "sum"
    return model


def with_two(what):
    model = graph_of([node("Relu")])
    getattr(model.graph, what).append(
        helper.make_tensor_value_info("x2" if what == "input" else "x", 1, ["N", 4, 8, 6])
    )
    return model


def in_other_file():
    model = graph_of([node("Conv", W)])
    (tensor,) = model.graph.initializer
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    tensor.ClearField("raw_data")
    return model


def half():
    return graph_of([node("Conv", W.astype(np.float16))], dtype=TensorProto.FLOAT16)


BACK = [0, 2, 3, 1]
REFUSED = {  # nodes, or what makes a model; and what the message says
    "dilation": ([node("Conv", W, dilations=[2, 2])], r"n0 \(Conv\): expected dilations to be .* got \[2, 2\]"),
    "groups": ([node("Conv", random(4, 2, 3, 3), group=2)], r"n0 \(Conv\): expected group to be 1 or the 4"),
    "same, before": ([node("Conv", W, auto_pad="SAME_LOWER")], r"n0 \(Conv\): expected auto_pad .* got SAME_LOWER"),
    "uneven pads": ([node("Conv", W, pads=[2, 0, 0, 0])], r"n0 \(Conv\): expected pads that are the same on"),
    "one axis": (lambda: graph_of([node("Conv", random(5, 4, 3))], ("N", 4, 8)), "expected an input x of 2 or 4 axes"),
    "ceil mode": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], "expected ceil_mode to be 0"),
    "pool's dilation": ([node("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])], r"\(MaxPool\): expected dilations"),
    "padding counted": (
        [node("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)],
        r"n0 \(AveragePool\): expected count_include_pad to be 0 where there is padding, got 1",
    ),
    "flattened elsewhere": ([node("Flatten", axis=2)], r"n0 \(Flatten\): expected axis to be 1, got 2"),
    "another shape": ([node("Reshape", np.array([0, 4, 48]))], r"n0 \(Reshape\): expected the shape \(N, -1\), as a"),
    "alpha": ([DENSE[0], node("Gemm", random(192, 3), alpha=0.5)], r"n1 \(Gemm\): expected alpha to be 1.0, got 0.5"),
    "bias alone": ([node("Relu"), node("Add", random(4, 1, 1))], r"n1 \(Add\): .* only biases directly behind"),
    "biases of rows": (
        lambda: graph_of([node("Gemm", random(6, 3), random(2, 3))], (2, 6)),
        r"n0 \(Gemm\): expected biases of shape \(3,\), got \(2, 3\)",
    ),
    "of images": ([node("MatMul", random(6, 3))], r"n0 \(Gemm|MatMul\): .*expected input of shape"),
    "transposed back": ([node("Relu"), node("Transpose", perm=BACK)], r"n1 \(Transpose\): .* only one from \(N, H, W"),
    "softmax": ([*DENSE, node("Softmax")], r"n2 \(Softmax\): Softmax has no equivalent here; a network here ends with"),
    "sigmoid": ([node("Sigmoid")], r"n0 \(Sigmoid\): Sigmoid has no equivalent here; take it out of the model. These"),
    "own operator": (
        lambda: graph_of([node("Relu")], domain="com.example"), r"n0 \(Relu\): com.example.Relu has no equivalent here",
    ),
    "nearest": (
        [node("Resize", None, np.array([1, 1, 2, 2], np.float32))], r"\(Resize\): expected mode to be linear, got near",
    ),
    "channels resized": (
        [node("Resize", None, np.array([1, 2, 2, 2], np.float32), mode="linear")], r"n0 \(Resize\): expected scales",
    ),
    "resized without end": (
        [node("Resize", None, np.array([1, 1, np.inf, 2], np.float32), mode="linear")], r"n0 \(Resize\): cannot conv",
    ),
    "in training": (
        [node("Dropout", np.float32(0.5), np.array(True))], r"n0 \(Dropout\): expected training_mode to be false",
    ),
    "branches": (branched, r"both \(Add\): expected nodes in a row, without branches: .* got y0, y1"),
    "an early output": (
        lambda: graph_of([node("Relu"), node("Relu")], output="y0"), "expected the result of the last node, y1, as the",
    ),
    "two inputs": (lambda: with_two("input"), r"expected one input, got 2 \(x, x2\); cut the model"),
    "two outputs": (lambda: with_two("output"), r"expected one output, got 2 \(y0, x\); cut the model"),
    "half precision": (half, "expected an input x of float32 or float64, got float16; convert the model"),
    "weights in another file": (in_other_file, r"expected all weights in this file, but 0.0 lies in another one"),
    "old": (lambda: graph_of([node("Relu")], opset=11), "expected opset 14 or later, got 11; convert it with onnx"),
}  # fmt: skip


@pytest.mark.parametrize(("what", "message"), list(REFUSED.values()), ids=list(REFUSED))
def test_what_is_refused(what, message, path):
    save(what() if callable(what) else graph_of(what), path)
    with pytest.raises(ValueError, match=message) as raised:
        sn.interop.from_onnx(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_refusals_come_before_anything_is_made(path, monkeypatch):
    def made(*arguments, **options):
        raise AssertionError("a layer was made")

    monkeypatch.setattr(sn.Conv2D, "__init__", made)
    with pytest.raises(ValueError, match="Sigmoid has no equivalent"):
        sn.interop.from_onnx(save(graph_of([node("Conv", W), node("Sigmoid")]), path))


@pytest.mark.parametrize("content", [b"", b"no protocol buffer", b"\x08\x08"], ids=["empty", "text", "nothing else"])
def test_a_file_of_another_kind_is_named(content, path):
    path.write_bytes(content)
    with pytest.raises(sn.FileFault, match="net.onnx: damaged, or no ONNX file"):
        sn.interop.from_onnx(path)


def test_damaged_files_raise_only_documented_errors(path):
    layers = [
        sn.Conv2D(1, 3, 3),
        sn.BatchNorm(3),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Resize(3),
        sn.Flatten(),
        sn.Dense(27, 4),
    ]
    sn.interop.to_onnx(sn.Network(layers, (8, 8, 1)), path, layout="NHWC")
    content, draws, raised = path.read_bytes(), random_module.Random(0), []
    for _ in range(400):
        path.write_bytes(damaged_bytes(draws, content))
        try:
            sn.interop.from_onnx(path)
        except ValueError as error:  # a FileFault is one, too
            raised.append(error)
    assert len(raised) > 100
    assert {type(error) for error in raised} <= {sn.FileFault, ValueError}
    assert all(str(error).startswith(f"{path}: ") for error in raised)


def test_a_file_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match="net.onnx: no such file"):
        sn.interop.from_onnx(path)


# ---------------------------------------------------------------- the command


@layouts
def test_the_command_writes_a_file(layout, tmp_path, capsys):
    net = sn.models.separable_cnn(dense_units=16, seed=3)
    model, path = tmp_path / "model.safetensors", tmp_path / "net.onnx"
    sn.save(net, model)
    assert main(["export", str(model), str(path), "--layout", layout]) == 0
    assert f"written:\n  {path}" in capsys.readouterr().out
    x = random(2, 28, 28, 1)
    assert np.abs(runtime(path).run(None, given(x, layout))[0] - net.forward(x)).max() < 1e-6


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["export", str(tmp_path / "none.safetensors"), str(tmp_path / "net.onnx")]) == 1
    assert "none.safetensors: no such file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
