"""The three networks in PyTorch: the same function, the same gradients, the same training, both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import assert_close

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
