"""Optimisers and schedules against PyTorch's, step for step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scratchnet as sn
from scratchnet.layers import Parameter

SETTINGS = {
    "SGD": (sn.SGD, torch.optim.SGD, {"lr": 0.05}),
    "SGD weight decay": (sn.SGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "SGD momentum": (sn.SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "SGD Nesterov": (sn.SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    "Adam": (sn.Adam, torch.optim.Adam, {"lr": 0.03}),
    "Adam all": (sn.Adam, torch.optim.Adam, {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
}


@pytest.mark.parametrize(("ours", "theirs", "settings"), list(SETTINGS.values()), ids=list(SETTINGS))
@pytest.mark.usefixtures("engine")
def test_fifty_steps_equal_pytorchs(ours, theirs, settings, rng):
    starts = [rng.standard_normal(shape) for shape in [(4, 3), (3,)]]
    parameters = [Parameter(f"p{i}", start.copy()) for i, start in enumerate(starts)]
    tensors = [torch.tensor(start, requires_grad=True) for start in starts]
    optimizer, torch_optimizer = ours(parameters, **settings), theirs(tensors, **settings)
    for _ in range(50):
        for p, t in zip(parameters, tensors, strict=True):
            p.grad = np.sin(3 * p.value) + rng.standard_normal(p.value.shape)
            t.grad = torch.tensor(p.grad)
        kept = [p.grad.copy() for p in parameters]
        optimizer.step()
        torch_optimizer.step()
        for p, t, grad in zip(parameters, tensors, kept, strict=True):
            assert np.abs(p.value - t.detach().numpy()).max() < 1e-12
            assert np.array_equal(p.grad, grad), "a step must not change the gradients"


@pytest.mark.parametrize("make", [sn.SGD, sn.Adam, lambda p: sn.SGD(p, momentum=0.9, weight_decay=0.1)])
@pytest.mark.usefixtures("engine")
def test_float32_weights_stay_float32(make, rng):
    p = Parameter("p", rng.standard_normal((5, 5)).astype(np.float32))
    value = p.value
    p.grad = rng.standard_normal((5, 5)).astype(np.float32)
    optimizer = make([p])
    optimizer.step()
    assert p.value is value, "updated in place"
    assert all(array.dtype == np.float32 for array in optimizer.state[0].values())


@pytest.mark.parametrize("make", [sn.SGD, sn.Adam, lambda p: sn.SGD(p, momentum=0.9)])
@pytest.mark.parametrize("odd", ["a gradient of another dtype", "columns before rows"])
def test_the_mirror_takes_arrays_that_are_not_one_stretch_of_one_dtype(make, odd, rng):
    results = []
    start, grad = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    for engine in ("numpy", "numba"):
        p = Parameter("p", np.array(start, order="F" if odd == "columns before rows" else "C"))
        p.grad = grad.astype(np.float32 if odd == "a gradient of another dtype" else np.float64)
        with sn.use_engine(engine):
            make([p]).step()
        results.append(p.value)
    assert np.array_equal(*results)
    assert not np.array_equal(results[0], start)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: sn.SGD(p, lr=-1), "expected lr to be a finite number of at least 0, got -1"),
        (lambda p: sn.SGD(p, lr=float("nan")), "expected lr"),
        (lambda p: sn.SGD(p, momentum=1.0), "expected momentum to be at least 0 and below 1"),
        (lambda p: sn.SGD(p, nesterov=True), "expected a momentum above 0 with nesterov=True"),
        (lambda p: sn.SGD(p, weight_decay=-0.1), "expected weight_decay"),
        (lambda p: sn.Adam(p, betas=(0.9, 1.0)), "expected beta2"),
        (lambda p: sn.Adam(p, eps=-1.0), "expected eps"),
        (lambda p: sn.SGD([]), "SGD: expected at least one parameter, got none"),
        (lambda p: sn.cosine(0.1, steps=0), "cosine: expected steps to be a positive integer, got 0"),
        (lambda p: sn.step_decay(0.1, every=0), "step_decay: expected every to be a positive integer, got 0"),
        (lambda p: sn.constant(-1), "expected lr"),
        (lambda p: sn.step_decay(0.1, every=1, factor=-1), "expected factor"),
        (
            lambda p: sn.one_cycle(0.1, 10, warm_up=2),
            "one_cycle: expected warm_up to be from 0 to 1, a share of the steps, got 2",
        ),
    ],
)
def test_a_setting_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make([Parameter("p", np.zeros(2))])


def test_layers_are_no_parameters():
    with pytest.raises(TypeError, match=r"SGD: expected parameters, as net\.parameters\(\) gives, got Dense"):
        sn.SGD([sn.Dense(2, 2)])


def test_a_step_without_gradients_says_so():
    with pytest.raises(RuntimeError, match="SGD: w has no gradient yet; call backward before step"):
        sn.SGD(sn.Dense(2, 2).parameters()).step()


@pytest.mark.parametrize("kind", [sn.SGD, sn.Adam])
def test_a_gradient_of_another_shape_changes_nothing(kind, engine):
    parameters = [Parameter("a", np.ones((2, 3))), Parameter("b", np.ones(3))]
    optimizer = kind(parameters)
    parameters[0].grad, parameters[1].grad = np.ones((2, 3)), np.ones(1)  # NumPy would spread the second
    with pytest.raises(ValueError, match=r"expected a gradient of shape \(3,\) for b, got \(1,\)"):
        optimizer.step()
    assert all((p.value == 1).all() for p in parameters)
    assert optimizer.steps == 0
    assert optimizer.state == [{}, {}]


def test_an_optimiser_of_ones_own_is_told_what_to_define():
    p = Parameter("p", np.zeros(2))
    p.grad = np.ones(2)
    with pytest.raises(NotImplementedError, match="Optimizer has to define update"):
        sn.optim.Optimizer([p], lr=0.1).step()


def torch_rates(make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sn.constant(0.5), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        (sn.step_decay(0.5, every=7, factor=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.3)),
        (sn.cosine(0.5, 40, 0.01), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, 0.01)),
        (
            sn.one_cycle(0.5, 40, warm_up=0.25),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=40, pct_start=0.25, cycle_momentum=False),
        ),
        (
            sn.one_cycle(0.5, 40),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=40, cycle_momentum=False),
        ),
    ],
    ids=["constant", "step", "cosine", "one-cycle, a quarter up", "one-cycle"],
)
def test_schedules_equal_pytorchs(ours, theirs):
    steps = 39
    assert [ours(step) for step in range(steps)] == pytest.approx(torch_rates(theirs, steps), rel=1e-9)


def test_schedules_hold_their_last_rate():
    assert sn.cosine(0.5, 10, 0.1)(99) == pytest.approx(0.1)
    assert sn.one_cycle(0.5, 10)(99) == sn.one_cycle(0.5, 10)(9)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_few_steps_is_finite(steps):
    rates = [sn.one_cycle(0.5, steps)(step) for step in range(steps)]
    assert all(0 <= rate <= 0.5 for rate in rates)
