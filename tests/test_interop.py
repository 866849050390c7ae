"""The three networks in PyTorch: the same function, the same gradients, the same training, both ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import assert_close
from torch import nn

import scratchnet as sn
from scratchnet.interop import images_to_torch
from scratchnet.models import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("engine")
every_model = pytest.mark.parametrize("name", list(ARCHITECTURES))

ODD_NETWORKS = {
    "asymmetric padding, overlapping pools": lambda: sn.Network(
        [
            sn.Conv2D(1, 4, (4, 3), stride=2, padding="same"),
            sn.MaxPool2D(3, 2, padding="same"),
            sn.DepthwiseConv2D(4, 3, stride=2, multiplier=2, bias=True),
            sn.AvgPool2D(2, 1, padding=1),
            sn.Flatten(),
            sn.Dense(8 * 5 * 5, 10, bias=False),
        ],
        input_shape=(28, 28, 1),
    ),
    "resized": lambda: sn.models.separable_cnn(resolution_multiplier=0.75, dense_units=32, seed=4),
    "wide": lambda: sn.models.separable_cnn(width_multiplier=0.3, dense_units=8, seed=4),
    "no padding, pool with padding": lambda: sn.Network(
        [sn.Conv2D(1, 3, 5, padding=0), sn.MaxPool2D(2, padding=1), sn.Conv2D(3, 2, 3, padding=(2, 0)), sn.Flatten()],
        input_shape=(28, 28, 1),
    ),
}
networks = pytest.mark.parametrize(
    "make", [*(a.make for a in ARCHITECTURES.values()), *ODD_NETWORKS.values()], ids=[*ARCHITECTURES, *ODD_NETWORKS]
)


@networks
def test_to_torch_computes_the_same(make, sample):
    net = make()
    x = sample[0].images[:8]
    theirs = sn.interop.to_torch(net).eval()(images_to_torch(x)).detach().numpy()
    ours = net.forward(x)
    if theirs.ndim == 2 and isinstance(net.layers[-1], sn.Flatten):
        theirs, ours = np.sort(theirs), np.sort(ours)  # flattened in another order
    assert np.abs(ours - theirs).max() < 1e-5


@networks
def test_from_torch_computes_the_same(make, sample):
    net = make()
    torch.manual_seed(1)
    torch_net = sn.interop.to_torch(net)
    for parameter in torch_net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert sn.interop.from_torch(torch_net, net) is net
    back = sn.interop.to_torch(net)
    for there, again in zip(torch_net.parameters(), back.parameters(), strict=True):
        assert torch.equal(there, again)


@every_model
def test_logits_agree_after_from_torch(name, sample):
    net, other = ARCHITECTURES[name].make(seed=1), ARCHITECTURES[name].make(seed=2)
    torch_net = sn.interop.to_torch(other).eval()
    sn.interop.from_torch(torch_net, net)
    x = sample[0].images[:8]
    assert np.abs(net.forward(x) - torch_net(images_to_torch(x)).detach().numpy()).max() < 1e-5


def gradients_from_torch(torch_net, net):
    """torch's gradients in our layout: they replace torch's weights, and `from_torch` converts them."""
    shadow = sn.interop.to_torch(net)
    with torch.no_grad():
        for mine, theirs in zip(shadow.parameters(), torch_net.parameters(), strict=True):
            mine.copy_(theirs.grad)
    kept = [p.value for p in net.parameters()]
    sn.interop.from_torch(shadow, net)
    gradients = {p.name: p.value for p in net.parameters()}
    for p, value in zip(net.parameters(), kept, strict=True):
        p.value = value
    return gradients


@every_model
def test_every_gradient_on_real_digits(name, sample):
    net = ARCHITECTURES[name].make(seed=3).astype(np.float64)
    x, labels = sample[0].images[:16].astype(np.float64), sample[0].labels[:16]
    torch_net = sn.interop.to_torch(net).eval()
    tx = images_to_torch(x).requires_grad_()
    tloss = F.cross_entropy(torch_net(tx), torch.tensor(labels))
    tloss.backward()

    loss, dlogits = sn.softmax_cross_entropy(net.forward(x), labels)
    dx = net.backward(dlogits)
    assert loss == pytest.approx(tloss.item(), rel=1e-12)
    assert_close(dx, tx.grad.numpy().transpose(0, 2, 3, 1), 1e-10, "dx")
    truth = gradients_from_torch(torch_net, net)
    for p in net.parameters():
        assert_close(p.grad, truth[p.name], 1e-10, p.name)


@every_model
def test_ten_training_steps_side_by_side(name, sample):
    net = ARCHITECTURES[name].make(seed=5).astype(np.float64)
    torch_net = sn.interop.to_torch(net).eval()  # eval: no dropout
    optimizer = sn.SGD(net.parameters(), lr=0.05, momentum=0.9)
    torch_optimizer = torch.optim.SGD(torch_net.parameters(), lr=0.05, momentum=0.9)
    batches = sample[0].batches(16, np.random.default_rng(0))
    for step, (x, labels) in zip(range(10), batches, strict=False):
        x = x.astype(np.float64)
        loss, dlogits = sn.softmax_cross_entropy(net.forward(x), labels)
        net.backward(dlogits)
        optimizer.step()
        torch_optimizer.zero_grad()
        tloss = F.cross_entropy(torch_net(images_to_torch(x)), torch.tensor(labels))
        tloss.backward()
        torch_optimizer.step()
        assert abs(loss - tloss.item()) < 1e-8, f"step {step}"


def test_what_pytorch_cannot_do_is_refused_by_name():
    uneven = sn.Network([sn.AvgPool2D(2, 1, padding="same")], input_shape=(5, 5, 1))
    with pytest.raises(ValueError, match="pool1: average pooling with padding .* has no equivalent in PyTorch"):
        sn.interop.to_torch(uneven)

    class Half(sn.Layer):
        kind = "half"

    with pytest.raises(ValueError, match="half1: a Half has no equivalent in PyTorch"):
        sn.interop.to_torch(sn.Network([Half()], input_shape=(5,)))


def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed():
    net = sn.models.standard_cnn()
    before = [p.value.copy() for p in net.parameters()]
    with pytest.raises(ValueError, match="standard_cnn has 4 layers with weights, but the PyTorch network has 6"):
        sn.interop.from_torch(sn.interop.to_torch(sn.models.four_conv_cnn()), net)
    small = sn.models.separable_cnn(dense_units=128)
    with pytest.raises(ValueError, match=r"dense1: expected weights for \(3136, 1024\) with bias"):
        sn.interop.from_torch(sn.interop.to_torch(small), sn.models.separable_cnn())
    swapped = torch.nn.Sequential(torch.nn.Linear(6, 2, bias=False))
    with pytest.raises(ValueError, match=r"dense1\.w: expected shape \(3, 4\), but PyTorch's"):
        sn.interop.from_torch(swapped, sn.Network([sn.Dense(3, 4, bias=False)], input_shape=(3,)))
    assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("which", [0, -1])
def test_weights_of_another_dtype_are_refused_and_nothing_is_changed(dtype, which):
    net = sn.Network([sn.Dense(4, 3), sn.Dense(3, 2)], input_shape=(4,))
    theirs = sn.interop.to_torch(sn.Network([sn.Dense(4, 3, rng=1), sn.Dense(3, 2, rng=1)], input_shape=(4,)))
    theirs[which].to(dtype)
    before = [p.value.copy() for p in net.parameters()]
    with pytest.raises(ValueError, match=f"dense.: expected weights of torch.float32 or .*, but .* has {dtype}"):
        sn.interop.from_torch(theirs, net)
    assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))


# ---------------------------------------------------------------- a network from the structure of PyTorch's


class Own(nn.Module):
    """Modules and functions, called by a forward of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Conv2d(4, 6, 1), nn.ReLU())
        self.last = nn.Linear(6 * 7 * 7, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.avg_pool2d(self.block(x), 2, stride=2)
        return self.last(F.dropout(x.reshape(x.size(0), -1), 0.3, self.training))


class Permuted(nn.Module):
    """A dense layer behind a flatten whose numbers are in another order than PyTorch's own."""

    def __init__(self, forward=lambda self, x: self.last(torch.flatten(x.permute(0, 2, 3, 1), 1))):
        super().__init__()
        self.last = nn.Linear(4 * 4 * 2, 3)
        self.way = forward

    def forward(self, x):
        return self.way(self, x)


def trained(norm, rng):
    """A batch normalisation with weights and statistics other than those that it begins with."""
    with torch.no_grad():
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name)[:] = torch.from_numpy(rng.uniform(0.5, 2, norm.num_features))
    return norm


def random_modules(seed):
    """A network of modules that scratchnet has too, drawn at random, and the shape of its input."""
    rng = np.random.default_rng(seed)
    C, H, W = (int(n) for n in rng.integers(1, 5, 1).tolist() + rng.integers(9, 15, 2).tolist())
    shape, modules, now = (H, W, C), [], C
    for kind in rng.choice(
        ["conv", "depthwise", "pointwise", "max", "avg", "relu", "identity", "resize", "batch norm"], 6
    ):
        kernel, stride = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        padding = int(rng.integers(0, kernel // 2 + 1))
        if kind == "conv":
            F_ = int(rng.integers(1, 6))
            padding = "same" if rng.random() < 0.3 and kernel % 2 else padding
            stride = 1 if padding == "same" else stride
            modules.append(nn.Conv2d(now, F_, kernel, stride, padding, bias=bool(rng.random() < 0.7)))
            now = F_
        elif kind == "depthwise":
            times = int(rng.integers(1, 3))
            modules.append(nn.Conv2d(now, now * times, (kernel, 2), 1, (padding, 1), groups=now))
            now *= times
        elif kind == "batch norm":
            modules.append(trained(nn.BatchNorm2d(now, float(rng.uniform(1e-5, 0.1)), float(rng.uniform(0, 0.9))), rng))
        elif kind == "pointwise":
            modules.append(nn.Conv2d(now, 3, 1))
            now = 3
        else:
            modules.append(
                {
                    "max": nn.MaxPool2d(2, 1, 1), "avg": nn.AvgPool2d(2, 1, 1, count_include_pad=False),
                    "relu": nn.ReLU(), "identity": nn.Identity(),
                    "resize": nn.Upsample((7, 9), mode="bilinear", align_corners=False),
                }[kind]
            )  # fmt: skip
    modules += [nn.AdaptiveAvgPool2d(1)] if rng.random() < 0.3 else []
    body = nn.Sequential(*modules)
    numbers = body(torch.zeros(1, C, H, W)).numel()
    return nn.Sequential(body, nn.Flatten(), nn.Dropout(0.2), nn.Linear(numbers, 7), nn.ReLU(), nn.Linear(7, 3)), shape


def test_batch_normalisation_goes_both_ways(rng):
    theirs = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), trained(nn.BatchNorm2d(3), rng), nn.Flatten(), nn.Linear(12, 4),
        trained(nn.BatchNorm1d(4, momentum=0.3), rng),
    )  # fmt: skip
    net = sn.interop.from_torch(theirs, input_shape=(4, 4, 2))
    assert net.layers[-1].momentum == 0.3
    x = rng.standard_normal((6, 4, 4, 2)).astype(np.float32)
    back = sn.interop.to_torch(net)
    for training in (False, True):
        with torch.no_grad():
            expected = theirs.train(training)(images_to_torch(x)).numpy()
            again = back.train(training)(images_to_torch(x)).numpy()
        assert_close(net.forward(x, training), expected, 1e-5, "outputs")
        assert_close(again, expected, 1e-5, "and back")
    for name in ("running_mean", "running_var"):
        assert_close(getattr(net.layers[1], name), getattr(theirs[1], name).numpy(), 1e-5, name)
    other = sn.Network([sn.Conv2D(2, 3, 3, padding=0), sn.ReLU()], (4, 4, 2))
    with pytest.raises(ValueError, match="network has 1 layers with weights, but the PyTorch network has 2"):
        sn.interop.from_torch(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), other)


@pytest.mark.parametrize("seed", range(12))
def test_a_network_is_made_from_modules(seed, rng):
    torch.manual_seed(seed)
    theirs, shape = random_modules(seed)
    with torch.no_grad():
        net = sn.interop.from_torch(theirs, input_shape=shape)
        x = rng.standard_normal((4, *shape)).astype(np.float32)
        expected = theirs.eval()(images_to_torch(x)).numpy()
    assert_close(net.forward(x), expected, 1e-5, "outputs")
    again = sn.interop.to_torch(net).eval()(images_to_torch(x)).detach().numpy()
    assert_close(again, expected, 1e-5, "and back")


def test_a_network_is_made_from_a_forward_of_its_own(rng):
    theirs = Own().double()
    net = sn.interop.from_torch(theirs, input_shape=(28, 28, 1))
    kinds = "Conv2D ReLU MaxPool2D DepthwiseConv2D PointwiseConv2D ReLU AvgPool2D Flatten Dropout Dense"
    assert " ".join(type(layer).__name__ for layer in net.layers) == kinds
    assert net.name == "Own"
    x = rng.standard_normal((2, 28, 28, 1))
    with torch.no_grad():
        assert_close(net.forward(x), theirs.eval()(images_to_torch(x)).numpy(), 1e-12, "outputs")


def test_a_single_module_and_one_without_images_are_networks(rng):
    for theirs, shape in ((nn.Linear(5, 3), (5,)), (nn.Conv2d(2, 3, 3), (6, 6, 2))):
        assert len(sn.interop.from_torch(theirs, input_shape=shape).layers) == 1


IMAGE = (8, 8, 4)
REFUSED = {  # modules, what the layer would be, and what the message names
    "dilation": (nn.Conv2d(4, 4, 3, padding=2, dilation=2), lambda: sn.Conv2D(4, 4, 3), r"dilation=\(2, 2\)"),
    "groups": (nn.Conv2d(4, 4, 3, padding=1, groups=2), lambda: sn.Conv2D(4, 4, 3), "groups=2"),
    "padding mode": (
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), lambda: sn.Conv2D(4, 4, 3), "padding_mode=circular",
    ),
    "same at stride 2": (nn.Conv2d(4, 4, 3, 2, 1), lambda: sn.Conv2D(4, 4, 3, 2), "computes something else"),
    "transposed": (nn.ConvTranspose2d(4, 4, 3, padding=1), lambda: sn.Conv2D(4, 4, 3), "ConvTranspose2d"),
    "ceil mode": (nn.MaxPool2d(3, 2, ceil_mode=True), lambda: sn.MaxPool2D(3, 2), "ceil_mode=True"),
    "padding counted": (nn.AvgPool2d(2, 2, 1), lambda: sn.AvgPool2D(2, 2, 1), "count_include_pad=True"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), lambda: sn.AvgPool2D(2), "divisor_override=3"),
    "pool's dilation": (nn.MaxPool2d(2, 1, dilation=2), lambda: sn.MaxPool2D(2, 1), "dilation=2"),
    "softmax": (nn.Softmax(1), lambda: sn.ReLU(), "Softmax"),
    "leaky": (nn.LeakyReLU(), lambda: sn.ReLU(), "LeakyReLU"),
    "batch norm of each batch": (
        nn.BatchNorm2d(4, track_running_stats=False), lambda: sn.BatchNorm(4), "track_running_stats=False|running_mean",
    ),
    "batch norm without weights": (
        nn.BatchNorm2d(4, affine=False), lambda: sn.BatchNorm(4), "affine=False|2 layers with weights",
    ),
    "instance norm": (nn.InstanceNorm2d(4), lambda: sn.BatchNorm(4), "InstanceNorm2d|2 layers with weights"),
    "channels dropped": (nn.Dropout2d(), lambda: sn.Dropout(0.5), "Dropout2d"),
    "nearest": (nn.Upsample((4, 4)), lambda: sn.Resize((4, 4)), "mode=nearest"),
    "scale": (nn.Upsample(scale_factor=2, mode="bilinear"), lambda: sn.Resize((16, 16)), "scale_factor=2"),
    "adaptive": (nn.AdaptiveAvgPool2d(3), lambda: sn.AvgPool2D(3), "output_size=3"),
    "flatten from the first axis": (nn.Flatten(0), lambda: sn.Flatten(), "start_dim=0"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_no_layer_does_is_refused_by_name(case):
    """Whether a network is made from the modules or given."""
    module, make, named = REFUSED[case]
    theirs = nn.Sequential(nn.Conv2d(4, 4, 1), module)
    if case not in ("same at stride 2", "scale"):
        with pytest.raises(ValueError, match=named):
            sn.interop.from_torch(theirs, input_shape=IMAGE)
    net = sn.Network([sn.PointwiseConv2D(4, 4), make()], IMAGE)
    before = [p.value.copy() for p in net.parameters()]
    if case in ("channels dropped", "scale"):  # the same outside training; the same by chance
        return
    with pytest.raises(ValueError, match=named):
        sn.interop.from_torch(theirs, net)
    assert all(np.array_equal(p.value, b) for p, b in zip(net.parameters(), before, strict=True))


def test_a_scale_in_place_of_a_size_is_refused():
    module, _, named = REFUSED["scale"]
    with pytest.raises(ValueError, match=named):
        sn.interop.from_torch(nn.Sequential(module), input_shape=IMAGE)


def test_the_dense_rows_are_proved_and_not_supposed():
    net = sn.Network([sn.Flatten(), sn.Dense(32, 3)], (4, 4, 2))
    with pytest.raises(ValueError, match=r"network: PyTorch's network computes something else: outputs are up to"):
        sn.interop.from_torch(Permuted(), net)
    right = Permuted(lambda self, x: self.last(torch.flatten(x, 1)))
    sn.interop.from_torch(right, net)


def test_a_flatten_behind_a_flatten_keeps_the_order(rng):
    net = sn.Network([sn.MaxPool2D(2), sn.Flatten(), sn.ReLU(), sn.Flatten(), sn.Dense(32, 3)], (8, 8, 2))
    x = rng.standard_normal((3, 8, 8, 2)).astype(np.float32)
    assert_close(sn.interop.to_torch(net)(images_to_torch(x)).detach().numpy(), net.forward(x), 1e-5, "outputs")


def test_a_record_that_is_wrong_is_noticed(monkeypatch):
    """A planted error in each direction: dense rows that stay in our order."""
    from scratchnet.interop import equivalents

    right = equivalents.EQUIVALENTS[sn.Dense]
    for direction in ("to_torch", "from_torch"):
        net = sn.Network([sn.Flatten(), sn.Dense(32, 3)], (4, 4, 2))
        theirs = sn.interop.to_torch(net)
        wrong = replace(right, **{direction: lambda layer, values, flattened: [values[0].T, *values[1:]]})
        monkeypatch.setitem(equivalents.EQUIVALENTS, sn.Dense, wrong)
        with pytest.raises(ValueError, match="computes something else"):
            sn.interop.to_torch(net) if direction == "to_torch" else sn.interop.from_torch(theirs, net)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda: nn.Linear(2, 2).state_dict(), TypeError, "expected a torch.nn.Module, got OrderedDict; for a state"),
        (lambda: None, TypeError, "expected a torch.nn.Module, got NoneType"),
        (lambda: nn.Linear(2, 3), ValueError, r"does not take inputs of \(3, 4, 8, 8\)|expected"),
        (lambda: Permuted(lambda self, x: self.last(x) if x.sum() > 0 else x), ValueError, "depends on more than its"),
        (lambda: Permuted(lambda self, x: x + self.last(x)), ValueError, "expected modules in a row, but .*add"),
        (lambda: Permuted(lambda self, x: torch.sigmoid(x)), ValueError, "sigmoid.* has no equivalent in scratchnet"),
    ],
)
def test_what_is_no_row_of_modules_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        sn.interop.from_torch(given(), input_shape=IMAGE)


def test_a_new_network_needs_the_shape_of_its_input():
    with pytest.raises(ValueError, match="expected a net to fill, or the input_shape of a new one"):
        sn.interop.from_torch(nn.Sequential(nn.Linear(3, 2)))
