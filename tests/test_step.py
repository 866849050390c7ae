"""`scratchnet step`: what a stage shows, the keys, and the program in a real terminal with pdb."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import select
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyte
import pytest
from rich.console import Console
from textual.widgets import Input, Static

import scratchnet as sn
from scratchnet.cli import main
from scratchnet.layers.base import snapshot
from scratchnet.models import ARCHITECTURES
from scratchnet.network import Loss
from scratchnet.show import terminal as step_app
from scratchnet.show.stages import (
    array_table,
    arrays,
    as_text,
    bars,
    describe,
    draw,
    in_characters,
    pictures,
    run_again,
    to_pixels,
    walk,
)
from scratchnet.show.subject import SHORT, UNTRAINED, from_file, how_well, small_cnn
from scratchnet.show.terminal import Jump, StepApp, colours, half_blocks

WAIT = 60  # seconds to wait for what normally takes less than one


@pytest.fixture(autouse=True)
def numpy_engine():
    """The command switches to the NumPy engine; restore the engine after each test."""
    with sn.use_engine("numpy"):
        yield


@pytest.fixture(autouse=True)
def colours_everywhere(monkeypatch):
    """The tests do not depend on the terminal that they are run from."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")


def small_net() -> sn.Network:
    layers = [
        sn.Conv2D(1, 4, 5, stride=4),
        sn.ReLU(),
        sn.MaxPool2D(3, stride=2),
        sn.Flatten(),
        sn.Dropout(0.5, rng=3),
        sn.Dense(36, 10),
    ]
    return sn.Network(layers, input_shape=(28, 28, 1), name="small")


def net_of_every_layer() -> sn.Network:
    """A network with all layers, at sizes that are drawn enlarged, unchanged and thinned out."""
    layers = [
        sn.Resize(60),
        sn.DepthwiseConv2D(1, (5, 3), multiplier=3, bias=True),
        sn.AvgPool2D(2),
        sn.PointwiseConv2D(3, 5),
        sn.ReLU(),
        sn.Conv2D(5, 2, 3, stride=2, bias=False),
        sn.MaxPool2D((3, 5), stride=2, padding=1),
        sn.Flatten(),
        sn.Dropout(0.4),
        sn.Dense(2 * 8 * 7, 10),
    ]
    return sn.Network(layers, input_shape=(28, 28, 1), name="every_layer")


NETS = {
    "small": small_net,
    "every_layer": net_of_every_layer,
    **{name: a.make for name, a in sn.models.ARCHITECTURES.items()},
}


@pytest.fixture
def digit(sample):
    """(image (1, 28, 28, 1), label (1,)): the first held-out digit, a 6."""
    return sample[1].images[:1], sample[1].labels[:1]


@pytest.fixture
def stages(digit):
    return walk(small_net(), *digit)


# ---------------------------------------------------------------- the walk


def test_the_walk_is_backprop(digit):
    net, plain = small_net(), small_net()
    weights = [p.value.copy() for p in net.parameters()]
    stages = walk(net, *digit)
    loss, dlogits = sn.softmax_cross_entropy(plain.forward(digit[0], training=True), digit[1])
    dx = plain.backward(dlogits)
    assert [s.number for s in stages] == list(range(1, 15))
    assert stages[6].step.output == loss
    np.testing.assert_array_equal(stages[-1].step.output, dx)
    for p, q, before in zip(net.parameters(), plain.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
        np.testing.assert_array_equal(p.value, before)


def test_a_backward_stage_knows_its_forward_stage(stages):
    for stage in stages:
        assert stage.forward.direction == "forward"
        assert stage.forward.layer.name == stage.step.layer.name
        assert stage.total == len(stages)


class CallsAtOnce:
    """Instead of pdb: run the function and record which one it was."""

    calls: list = []  # noqa: RUF012 (each test begins with an empty one)

    def __init__(self, nosigint):
        assert nosigint

    def runcall(self, function, *given):
        self.calls.append((function.__name__, function(*given)))


def test_running_a_stage_again_gives_the_same_numbers(digit, monkeypatch):
    monkeypatch.setattr("pdb.Pdb", CallsAtOnce)
    monkeypatch.setattr(CallsAtOnce, "calls", [])
    net = small_net()
    stages = walk(net, *digit)
    masks, state = net.layers[4].mask, snapshot(net.state())
    weights = [p.value.copy() for p in net.parameters()]
    for stage in stages:
        run_again(stage)
        name, out = CallsAtOnce.calls.pop()
        if isinstance(stage.step.layer, Loss):
            assert name == "softmax_cross_entropy"
            out = out[stage.step.direction == "backward"]
        else:
            assert name == stage.step.direction
        np.testing.assert_array_equal(out, stage.step.output)
        assert repr(snapshot(net.state())) == repr(state)
    assert 0 < masks.astype(bool).sum() < masks.size
    np.testing.assert_array_equal(net.layers[4].mask, masks)
    assert all(np.array_equal(p.value, before) for p, before in zip(net.parameters(), weights, strict=True))


def test_the_random_state_comes_back_even_from_an_error(stages, monkeypatch):
    def fail(*given):
        raise ValueError("typed in pdb")

    monkeypatch.setattr(CallsAtOnce, "runcall", fail)
    monkeypatch.setattr("pdb.Pdb", CallsAtOnce)
    net, after = stages[5].net, stages[5].state
    assert repr(snapshot(net.state())) == repr(after) != repr(stages[4].state)
    with pytest.raises(ValueError, match="typed in pdb"):
        run_again(stages[4])
    assert repr(snapshot(net.state())) == repr(after)


# ---------------------------------------------------------------- what a stage says


LAYERS = [
    name
    for name, thing in vars(sn.layers).items()
    if isinstance(thing, type) and issubclass(thing, sn.Layer) and name not in ("Layer", "WeightedLayer")
]


@pytest.mark.parametrize("name", [*LAYERS, "Loss"])
def test_the_math_is_that_of_the_layers_file(name):
    """Its right-hand sides are in the docstring word for word, or without the indices."""
    module = importlib.import_module("scratchnet.loss" if name == "Loss" else getattr(sn, name).__module__)
    words = " ".join(module.__doc__.split()).replace("col2im(dcolumns)", "col2im(dout @ w^T)")
    words += " dx[n, h, w, c] = dout[n, (h*W + w)*C + c]" if name == "Flatten" else ""  # there in words
    short = re.sub(r"\[.*?\]|\(kh, kw\)| over [nij, ]+(?= of)", "", words)
    formulas = (Loss if name == "Loss" else getattr(sn, name)).formulas
    for formula in [*formulas.forward, *formulas.backward]:
        right = re.split(r" \+?= |^where ", formula, maxsplit=1)[-1]
        assert right in words or right in short, formula


@pytest.mark.parametrize("name", list(NETS))
def test_every_stage_fits_a_small_terminal_in_plain_characters(name, digit):
    """80 x 24 characters, of which one line is for the keys."""
    for stage in walk(NETS[name](), *digit):
        page = as_text(stage)
        assert page.isascii()
        lines = page.splitlines()
        assert len(lines) <= 23, page
        assert max(map(len, lines)) <= 80, page
        assert lines[0] == f"stage {stage.number} of {stage.total}: {stage.step.layer.name} {stage.step.direction}"
        if not isinstance(stage.step.layer, Loss):
            assert repr(stage.step.layer) in page.replace("\n", " ")


def test_the_table_holds_input_output_and_gradients(stages):
    backward = stages[-1]
    assert list(arrays(backward.step)) == ["dout", "dx", "dw", "db"]
    rows = {line.split()[0]: line for line in array_table(backward).splitlines()}
    dw = backward.step.grads["conv1.w"]
    assert rows["dw"].split()[1:] == [*str(dw.shape).split(), *(f"{v:.3g}" for v in (dw.min(), dw.mean(), dw.max()))]
    assert list(arrays(stages[0].step)) == ["x", "out"]
    assert list(arrays(stages[6].step)) == ["logits z", "loss"]
    assert list(arrays(stages[7].step)) == ["dloss", "dlogits"]


def test_the_gradient_of_biases_is_named_only_where_there_are_any(digit):
    text = {stage.name: describe(stage) for stage in walk(net_of_every_layer(), *digit)}
    assert "db = " not in text["conv1 backward"]
    assert "db = " in text["depthwise1 backward"]


def test_a_layer_of_ones_own_says_where_its_math_is(digit):
    class Twice(sn.ReLU):
        pass

    net = sn.Network([Twice(), sn.Flatten(), sn.Dense(784, 10)])
    assert f"(the math of Twice is in {__name__})" in as_text(walk(net, *digit)[0])


# ---------------------------------------------------------------- what a stage draws


def test_the_digit_is_beside_its_gradient_in_the_last_stage(stages, digit):
    left, right = pictures(stages[-1])
    np.testing.assert_allclose(left.pixels, digit[0][0, ..., 0] / digit[0].max())
    dx = stages[-1].step.output[0, ..., 0]
    np.testing.assert_allclose(right.pixels, dx / np.abs(dx).max())
    assert (left.signed, right.signed) == (False, True)
    assert left.notes[:2] == ["x, the digit", "channel 0 of 1"]
    assert right.notes == ["dx", "channel 0 of 1", "28 x 28 pixels", f"{dx.min():.3g} to {dx.max():.3g}"]


def test_the_strongest_channel_is_drawn_and_the_others_follow(stages):
    out = stages[1].step.output[0]  # relu1 has as many channels in as out
    strongest = int(np.abs(out).mean(axis=(0, 1)).argmax())
    for turn in (0, 1, -1, 6):
        channel = (strongest + turn) % 4
        for picture in pictures(stages[1], turn):
            assert picture.notes[1] == f"channel {channel} of 4"
        shown = pictures(stages[1], turn)[1].pixels
        np.testing.assert_allclose(shown[::4, ::4], out[..., channel] / (out[..., channel].max() or 1), rtol=1e-6)


def test_small_images_are_enlarged_and_of_large_ones_some_pixels_are_shown():
    image = np.arange(49.0).reshape(7, 7)
    np.testing.assert_array_equal(to_pixels(image), np.kron(image / 48, np.ones((4, 4))))
    wide = np.arange(30 * 60.0).reshape(30, 60)
    picture = draw("x", wide[None, ..., None], channel=0, label=0)
    np.testing.assert_allclose(picture.pixels[:10, :20], wide[::3, ::3] / wide[::3, ::3].max())
    assert not picture.pixels[10:].any()
    assert picture.notes == ["x", "channel 0 of 1", "30 x 60 pixels", "shown: 10 x 20", "0 to 1.68e+03"]
    assert not to_pixels(np.zeros((28, 28))).any()


def test_signs_are_told_apart_without_colour():
    pixels = np.zeros((28, 28))
    pixels[0, :4] = [-1, -0.1, 0.1, 1]
    pixels[1, 4] = -0.5  # the stronger of two pixels that share a character
    assert in_characters(pixels, signed=True)[0] == "=-+#=" + " " * 23
    assert in_characters(np.abs(pixels), signed=False)[0][:4] == "@..@"
    grey = colours(np.array([-1, -0.1, 0, 0.1, 1.0]), signed=True) @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 15).all(), "darker to lighter"


def test_bars_mark_the_label():
    lines = bars(np.array([0.0, 0.5, 1.0]), label=1)
    assert lines == [
        " 0                         0",
        ">1 ########              0.5",
        " 2 ###############         1",
    ]
    lines = bars(np.array([-1.0, 0.5]), label=0)
    assert [line[3:18] for line in lines] == ["#######|       ", "       |####   "]
    assert {len(line) for line in lines} == {28}


def test_the_loss_shows_logits_probabilities_and_their_gradient(stages):
    left, right = pictures(stages[6])
    assert (left.notes[0], right.notes[0]) == ("logits z", "p")
    assert sum(float(line.split()[-1]) for line in right.bars) == pytest.approx(1, abs=0.01)
    p, dlogits = pictures(stages[7])
    assert p.bars == right.bars
    assert dlogits.bars[6].startswith(">6 #######|")
    assert all("|#" in line or float(line.split()[-1]) < 0.05 for k, line in enumerate(dlogits.bars) if k != 6)


def test_a_long_vector_is_drawn_in_rows(digit):
    stage = next(s for s in walk(sn.models.standard_cnn(), *digit) if s.name == "flatten1 forward")
    _, right = pictures(stage)
    assert right.notes[:3] == ["out", "784 of 3,136 numbers", "28 a row"]
    shown = stage.step.output[0, :784].reshape(28, 28)
    np.testing.assert_allclose(right.pixels, shown / np.abs(shown).max(), rtol=1e-6)


# ---------------------------------------------------------------- the app and its keys


def drive(app: StepApp, *keys: str, size: tuple[int, int] = (80, 24), then=lambda app: None):
    """Press keys in an app of this size; returns the result of `then(app)`."""

    async def press():
        async with app.run_test(size=size) as pilot:
            await pilot.press(*keys)
            await pilot.pause()
            return then(app)

    return asyncio.run(press())


def title(app: StepApp) -> str:
    return str(app.query_one("#title", Static).render())


def beside(app: StepApp) -> str:
    return str(app.query_one("#beside", Static).render())


KEYS = {
    "n": "stage 2 of 14: relu1 forward",
    "n n n b": "stage 3 of 14: pool1 forward",
    "right space enter left": "stage 3 of 14: pool1 forward",
    "b": "stage 1 of 14: conv1 forward",
    " ".join("n" * 20): "stage 14 of 14: conv1 backward",
    "j d e n s e space b a c k enter": "stage 9 of 14: dense1 backward",
    "j down down up down enter": "stage 3 of 14: pool1 forward",
    "j C O N V 1 space b enter": "stage 14 of 14: conv1 backward",
    "n j escape": "stage 2 of 14: relu1 forward",
    "n j f o o enter escape": "stage 2 of 14: relu1 forward",
    "j tab down down enter": "stage 3 of 14: pool1 forward",
}


@pytest.mark.parametrize("keys", list(KEYS))
def test_keys_lead_to_stages(stages, keys):
    assert drive(StepApp(stages, "a subject", 0), *keys.split(), then=title) == f"{KEYS[keys]}   a subject"


def test_jumping_narrows_the_list(stages):
    def matching(app):
        assert isinstance(app.screen, Jump)
        assert app.screen.query_one(Input).value == "pool"
        return [stage.name for stage in app.screen.matching]

    assert drive(StepApp(stages, "", 0), *"jpool", then=matching) == ["pool1 forward", "pool1 backward"]


def test_the_loss_is_found_by_the_name_that_everybody_uses(stages):
    def matching(app):
        return [stage.name for stage in app.screen.matching]

    found = drive(StepApp(stages, "", 0), *"jloss", then=matching)
    assert found == ["softmax_cross_entropy forward", "softmax_cross_entropy backward"]


UNKNOWN = {  # what is typed, what is said to be unknown, and the stages that are listed
    "conv": (None, ["conv1 forward", "conv1 backward"]),
    "covn1": ('No stage is named "covn1".', ["conv1 forward", "conv1 backward"]),
    "dence1 backwrad": ('No stage is named "dence1 backwrad".', ["dense1 backward"]),
    "dense1 sideways": ('No stage is named "dense1 sideways".', ["dense1 forward", "dense1 backward"]),
    "foo": ('No stage is named "foo".', []),
    "batch_normalisation_layer_1": ('No stage is named "batch_normalisation_l...".', []),
}


@pytest.mark.parametrize("typed", list(UNKNOWN))
def test_an_unknown_name_is_said_to_be_one(stages, typed):
    said, near = UNKNOWN[typed]

    def look(app):
        assert [stage.name for stage in app.screen.matching] == near
        line = app.screen.query_one("#unknown", Static)
        assert line.display == (said is not None)
        if said is not None:
            below = "The nearest are below." if near else "Nothing is near it."
            assert str(line.render()).splitlines() == [said, f"{below} Backspace: back to all 14."]
            assert max(map(len, str(line.render()).splitlines())) <= line.size.width
        return True

    assert drive(StepApp(stages, "", 0), "j", *(key if key != " " else "space" for key in typed), then=look)


def test_enter_goes_nowhere_until_a_near_name_is_chosen(stages):
    app = StepApp(stages, "s", 4)
    assert drive(app, *"jcovn1", "enter", "escape", then=title) == "stage 5 of 14: dropout1 forward   s"
    assert drive(StepApp(stages, "s", 4), *"jcovn1", "down", "down", "enter", then=title).startswith("stage 14 of 14")


def test_channels_turn_and_the_next_stage_begins_with_its_strongest(stages):
    def channel(app):
        return re.findall(r"channel \d of \d", beside(app))[-1]

    first, second = (pictures(stage)[1].notes[1] for stage in stages[:2])
    assert drive(StepApp(stages, "", 0), then=channel) == first
    assert drive(StepApp(stages, "", 0), "]", then=channel) == pictures(stages[0], 1)[1].notes[1] != first
    assert drive(StepApp(stages, "", 0), "[", "up", "down", "]", then=channel) == first
    assert drive(StepApp(stages, "", 0), "]", "n", then=channel) == second


def test_q_quits_and_d_asks_for_pdb_at_this_stage(stages):
    for key, asked in (("q", None), ("ctrl+c", None), ("d", 2)):
        app = StepApp(stages, "", 0)
        drive(app, "n", "n", key)
        assert (app.return_value, app.return_code) == (asked, 0)


ABOUT = """Trained just now: 250 steps of 32, on 8,000 training digits of the sample.
Right on 188 of 200 held-out digits of the sample; takes this one for 6: 100.0%."""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("every_layer", (80, 24)),
        ("every_layer", (120, 40)),
        ("standard_cnn", (80, 24)),
        ("separable_cnn", (80, 24)),
        ("four_conv_cnn", (120, 40)),
    ],
)
def test_nothing_is_cut(name, size, digit):
    """At every stage, everything to show is inside the screen."""

    def look(app):
        assert app.screen.max_scroll_y == 0, title(app)
        for widget in filter(lambda widget: widget.display, [*app.query(Static), *app.query("FooterKey")]):
            assert widget.region in app.screen.region, (title(app), widget)
            assert widget.virtual_size.height <= widget.size.height, (title(app), widget)
        for widget in app.query("#left, #right, #beside").results(Static):
            assert max(map(len, str(widget.render()).splitlines())) <= widget.size.width, (title(app), widget)

    async def walk_through():
        app = StepApp(walk(NETS[name](), *digit), f"{name}, digit 1999: a 7", 0, ABOUT)
        async with app.run_test(size=size) as pilot:
            for _ in app.stages:
                assert app.query_one("#about").display == (app.at == 0)
                look(app)
                await pilot.press("n")

    asyncio.run(walk_through())


@pytest.mark.parametrize(
    ("system", "variables", "blocks"),
    [("truecolor", {}, True), ("256", {}, True), ("standard", {}, False), ("truecolor", {"NO_COLOR": "1"}, False)],
)
def test_half_blocks_where_there_are_shades_and_characters_elsewhere(stages, monkeypatch, system, variables, blocks):
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", system)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def picture(app):
        return str(app.query_one("#right", Static).render()), beside(app)

    drawn, signs = drive(StepApp(stages, "", 13), then=picture)
    assert ("▀" * 28 in drawn) == blocks
    assert ("blue < 0" in signs) == blocks
    assert ("- or = negative" in signs) != blocks


def test_half_blocks_hold_both_pixels():
    pixels = np.zeros((28, 28))
    pixels[0, 0], pixels[1, 0] = 1, 0.5
    console = Console(width=40, color_system="truecolor", force_terminal=True)
    with console.capture() as captured:
        console.print(half_blocks(pixels, signed=False))
    assert captured.get().startswith("\x1b[38;2;255;255;255;48;2;127;127;127m▀")
    assert captured.get().count("▀") == 28 * 14


def test_the_app_comes_back_after_pdb_without_colours_if_it_had_none(stages, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    seen, answers = [], [3, 8, None]

    def run(app):
        seen.append((app.at, app.no_color))
        return answers[len(seen) - 1]

    debugged = []
    monkeypatch.setattr(StepApp, "run", run)
    monkeypatch.setattr(step_app, "in_pdb", lambda stage: debugged.append(stage.number - 1))
    step_app.run(stages, "")
    assert debugged == [3, 8]
    assert seen == [(0, True), (3, True), (8, True)]


def test_an_error_made_in_pdb_is_shown_and_ends_nothing(stages, monkeypatch, capsys):
    def fail(stage):
        raise ValueError("dout = 3")

    monkeypatch.setattr(step_app, "run_again", fail)
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt))
    step_app.in_pdb(stages[3])
    out, err = capsys.readouterr()
    assert "flatten1 forward, once more, under pdb" in out
    assert "Enter goes back" in out
    assert err.endswith("ValueError: dout = 3\n")


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    sn.save(small_net(), path)
    return str(path)


def head(out: str) -> list[str]:
    """What stands above the first stage."""
    return out.split("\n\n")[0].splitlines()


def test_without_a_model_a_small_network_learns_first(capsys, sample):
    assert main(["step", "--digit", "1"]) == 0
    out, err = capsys.readouterr()
    assert "small_cnn learns for some seconds; --untrained leaves that out" in err
    assert f"{SHORT.steps}/{SHORT.steps}" in err, "a progress bar"
    subject, weights, well = head(out)
    assert subject == f"small_cnn, digit 1: a {sample[1].labels[1]}"
    assert weights == "Trained just now: 250 steps of 32, on 8,000 training digits of the sample."
    right = int(re.fullmatch(r"Right on (\d+) of 200 held-out digits of the sample; takes .*%\.", well)[1])
    assert right > 170


def test_an_architecture_learns_on_the_engine_of_train(capsys, monkeypatch):
    seen = []

    def fit(net, train, **options):
        seen.append((net.name, sn.current_engine(), options["steps"]))

    monkeypatch.setattr("scratchnet.show.subject.fit", fit)
    for engine in ([], ["--engine", "numpy"]):
        with sn.use_engine("mine" if engine else "numba"):
            assert main(["step", "standard_cnn", *engine]) == 0
            assert sn.current_engine() == "numpy", "the walk is on the readable one"
    assert seen == [("standard_cnn", "numba", 250), ("standard_cnn", "numpy", 250)]
    assert "Trained just now" in capsys.readouterr().out


def test_first_weights_are_called_untrained(capsys, sample):
    nets = small_cnn((28, 28, 1), 10), sn.models.standard_cnn(seed=0, init=SHORT.init)
    for name, net in zip(([], ["standard_cnn"]), nets, strict=True):
        assert main(["step", *name, "--untrained"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert head(out)[1:] == [UNTRAINED, how_well(net, sample[1], 0)]


@pytest.mark.parametrize(
    ("trained_on", "said"),
    [
        (lambda sample: None, ", which does not say what it was trained on."),
        (lambda sample: sample[0], ", trained on the sample."),
    ],
)
def test_a_model_is_named_by_its_file_or_its_runs_folder(trained_on, said, tmp_path, monkeypatch, capsys, sample):
    monkeypatch.chdir(tmp_path)
    sn.save(small_net(), "run/model.safetensors", trained_on=trained_on(sample))
    for model in ("run", "run/model.safetensors"):
        assert main(["step", model]) == 0
        assert head(capsys.readouterr().out)[:2] == ["small, digit 0: a 6", f"From run/model.safetensors{said}"]


def test_what_is_said_of_the_weights_fits_a_line_each(tmp_path, sample):
    """A long path loses its beginning; classes and names of data sets of one's own their end."""
    classes = tuple(f"class {i}" for i in range(10))
    own = replace(
        sample[1], info=replace(sample[1].info, classes=classes, own=True), name="test pictures of " + "x" * 40
    )
    path = tmp_path / "a folder of a long name" / "net.safetensors"
    for trained_on, end in ((None, "does not say what it was trained on."), (own, "...")):
        sn.save(small_net(), path, trained_on=trained_on)
        said = from_file(path)
        assert re.fullmatch(r"From \.\.\..*net\.safetensors, .*", said)
        assert said.endswith(end)
        assert len(said) <= 80
    assert len(how_well(small_net(), own, 0)) == 80


def test_a_small_network_fits_all_images():
    for shape in ((28, 28, 1), (4, 4, 1), (7, 9, 3), (5, 30, 2)):
        assert small_cnn(shape, 3).output_shapes()[-1] == (3,)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scratchnet", "step", *arguments]


def test_piped_it_prints_all_stages(model, sample):
    """It does so without the terminal library, which takes longer to load than everything else."""
    program = "import sys; from scratchnet.cli import main; code = main(sys.argv[1:]); print('textual' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program, "step", model, "--digit", "4"], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    stages = walk(sn.load(model), sample[1].images[4:5], sample[1].labels[4:5])
    about = f"{from_file(Path(model))}\n{how_well(small_net(), sample[1], 4)}"
    pages = [f"small, digit 4: a {sample[1].labels[4]}\n{about}", *map(as_text, stages)]
    assert result.stdout == "\n\n".join(pages) + "\nFalse\n"
    assert "\x1b" not in result.stdout


MISTAKES = {
    "a digit that is not there": (["--digit", "2000"], "--digit: expected 0 to 1999, one of the held-out digits"),
    "a digit far away": (["--digit", "2000000"], "; got 2000000"),
    "a file without its weights": (["--untrained"], "--untrained: expected the name of an architecture, or none; "),
}


@pytest.mark.parametrize(("options", "message"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_mistakes_are_named(model, options, message, capsys):
    assert main(["step", model, *options]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("scratchnet: ")
    assert message in err


def test_help_has_an_example_and_names_the_engine(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["step", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "scratchnet step runs/standard_cnn --digit 3" in out
    assert "the kernels to run (default: numpy; an architecture" in " ".join(out.split())


def test_an_unknown_model_is_named(capsys):
    for name in ("step", "summary"):
        assert main([name, "alexnet"]) == 1
        assert capsys.readouterr().err == (
            "scratchnet: alexnet: neither a trained model's file, nor a run's folder, nor one of "
            f"{', '.join(ARCHITECTURES)}\n"
        )


def test_a_folder_without_a_model_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("step", "summary"):
        assert main([name, "run"]) == 1
        assert capsys.readouterr().err == (
            "scratchnet: run: expected a run's folder with model.safetensors, which is written when the run ends\n"
        )


# ---------------------------------------------------------------- in a real terminal

with contextlib.suppress(ImportError):  # on Windows, where the fixture `terminal` skips
    import fcntl
    import pty
    import termios


def for_pyte(written: bytes) -> bytes:
    """pyte's screen, which ignores a keyboard setting and clears where a terminal would switch screens."""
    return re.sub(rb"\x1b\[\?1049[hl]", b"\x1b[H\x1b[2J", written.replace(b"\x1b[<u", b""))


class Terminal:
    """A child process in a pseudo-terminal of 80 x 24, and the screen that a user would see."""

    def __init__(self, arguments: list[str], **variables: str) -> None:
        self.screen = pyte.Screen(80, 24)
        self.stream = pyte.ByteStream(self.screen)
        self.outer, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "COLORTERM")}
        environment |= {"TERM": "xterm-256color"} | variables
        self.child = subprocess.Popen(
            arguments, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
        )
        os.close(inner)
        self.raw = b""

    def press(self, keys: str) -> None:
        os.write(self.outer, keys.encode())

    def wait_for(self, *texts: str) -> str:
        """Read the child's output until all texts are on the screen; returns the screen."""
        end = time.monotonic() + WAIT
        while not all(text in "\n".join(self.screen.display) for text in texts):
            running = self.child.poll() is None and time.monotonic() < end
            assert running, "\n".join([f"waited for {texts}; the screen:", *self.screen.display])
            self.read()
        return "\n".join(self.screen.display)

    def read(self) -> None:
        if select.select([self.outer], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the child has closed its end
                written = os.read(self.outer, 65536)
                self.raw += written
                self.stream.feed(for_pyte(written))

    def exit_code(self) -> int:
        """Read until the child ends: a child that writes to a full terminal waits for ever."""
        end = time.monotonic() + WAIT
        while self.child.poll() is None:
            assert time.monotonic() < end, "\n".join(self.screen.display)
            self.read()
        self.read()
        return self.child.returncode

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.outer)


@pytest.fixture
def terminal():
    pytest.importorskip("termios", reason="Windows has no pseudo-terminal that a test can open")
    opened = []

    def start(arguments, **variables):
        opened.append(Terminal(arguments, **variables))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_walk_in_a_real_terminal_with_pdb(terminal, model):
    tty = terminal(command(model))
    texts = ("stage 1 of 14: conv1 forward", "digit 0: a 6", "does not say", "out = columns @ w + b", "quit")
    screen = tty.wait_for(*texts)
    assert screen.count("▀") == 2 * 28 * 14
    tty.press("n")
    tty.wait_for("stage 2 of 14: relu1 forward")
    tty.press("b")
    tty.wait_for("stage 1 of 14")
    tty.press("j")
    tty.wait_for("type a name")
    tty.press("conv1 backward")
    tty.wait_for("conv1 backward")
    tty.press("\r")
    tty.wait_for("stage 14 of 14: conv1 backward", "x, the digit", "dx = col2im(dout @ w^T)")
    tty.press("d")
    screen = tty.wait_for("conv1 backward, once more, under pdb", "(Pdb)", "dout = self.check_dout(dout)")
    tty.press("n\n")
    tty.wait_for("w, _ = self.weights")
    tty.press("n\n")
    tty.wait_for("-> dx, dw, db = ops.conv2d_backward(")
    tty.press("s\n")
    tty.wait_for("scratchnet/layers/conv.py", "conv2d_backward()", "--Call--")
    tty.press("p dout.shape\n")
    tty.wait_for("(1, 7, 7, 4)")
    tty.press("w\n")
    assert "textual" not in tty.wait_for("runcall()")
    tty.press("c\n")
    tty.wait_for("stage 14 of 14: conv1 backward", "quit")
    tty.press("b" * 7)
    tty.wait_for("stage 7 of 14: softmax_cross_entropy forward", ">6 ")
    tty.press("d")
    tty.wait_for("(Pdb)", "_check(logits, labels)")
    tty.press("q\n")
    tty.wait_for("stage 7 of 14", "quit")
    tty.press("q")
    assert tty.exit_code() == 0


def test_a_mistake_in_pdb_leads_back_to_the_walk(terminal, model):
    tty = terminal(command(model))
    tty.wait_for("stage 1 of 14", "quit")
    tty.press("d")
    tty.wait_for("(Pdb)")
    tty.press("x = 3\nc\n")
    tty.wait_for("expected input to be a NumPy array, got int", "Enter goes back")
    tty.press("\n")
    tty.wait_for("stage 1 of 14: conv1 forward", "quit")
    tty.press("\x03")
    assert tty.exit_code() == 0


def test_without_colours_there_are_none(terminal, model):
    tty = terminal(command(model), NO_COLOR="1")
    screen = tty.wait_for("stage 1 of 14: conv1 forward", "- or = negative", "quit")
    assert "▀" not in screen
    assert "@" in screen
    tty.press("d")
    tty.wait_for("(Pdb)")
    tty.press("c\n")
    tty.wait_for("stage 1 of 14: conv1 forward", "- or = negative", "quit")
    tty.press("q")
    assert tty.exit_code() == 0


def test_a_dumb_terminal_gets_plain_text(terminal, model):
    tty = terminal(command(model), TERM="dumb")
    assert tty.exit_code() == 0
    assert b"\x1b" not in tty.raw
