"""What a notebook shows: tables that hold the same as the plain text, and no markup from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.network import Network

EVIL = "<script>alert('x')</script>&"


class Cells(HTMLParser):
    """The texts of a table, by the kind of element; an element that is not closed in order is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.rows = [], {}, []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in {"table", "caption", "tr", "th", "td", "b", "p", "code", "br", "ul", "li"}, tag
        self.rows += [[]] if tag == "tr" else []
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
            if self.rows and self.open[-1] in ("td", "th", "b"):
                self.rows[-1].append(data)


def net(name="small"):
    layers = [sn.Conv2D(1, 4, 5, stride=4), sn.ReLU(), sn.BatchNorm(4), sn.Flatten(), sn.Dense(196, 10)]
    return Network(layers, input_shape=(28, 28, 1), name=name)


def words(text):
    return [line.split() for line in text.splitlines() if not line.startswith("---")]


def test_a_network_is_shown_as_its_summary():
    table = Cells(net()._repr_html_())
    title, header, *rows = words(net().summary())
    assert " ".join(title) == table.texts["caption"][0]
    assert " ".join(header) == " ".join(table.rows[0])
    assert [" ".join(cells).split() for cells in table.rows[1:]] == rows
    assert "not trained" in table.texts["th"], "as batch normalisation keeps statistics"


def test_a_network_of_an_unknown_input_is_shown_as_plain_text():
    unknown = Network([sn.Conv2D(1, 4, 3), sn.ReLU()])
    assert unknown._repr_html_() is None
    unknown.forward(np.zeros((1, 8, 8, 1), np.float32))
    assert "8 x 8 x 4" in unknown._repr_html_()


def test_print_and_the_plain_repr_stay():
    small = net()
    assert str(small) == repr(small)
    assert repr(small).startswith("Network([Conv2D(in_channels=1, filters=4,")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_step_is_shown_with_its_math_and_its_arrays(sample, direction):
    steps = {
        (step.layer.name, step.direction): step for step in net().steps(sample[1].images[:2], sample[1].labels[:2])
    }
    table = Cells(steps["conv1", direction]._repr_html_())
    assert table.texts["caption"] == [f"conv1 {direction}"]
    x = steps["conv1", "forward"].input
    if direction == "forward":
        assert table.texts["code"] == ["out = columns @ w + b"]
        assert [row[0] for row in table.rows] == ["array", "x", "out"]
        assert [cell.strip() for cell in table.rows[1]] == ["x", "(2, 28, 28, 1)", "0", f"{x.mean():.3g}", "1"]
    else:
        assert "dw = columns^T @ dout" in table.texts["code"]
        assert [row[0] for row in table.rows] == ["array", "dout", "dx", "dw", "db"]
        assert table.rows[3][1] == "(5, 5, 1, 4)"
    loss = Cells(steps["softmax_cross_entropy", "backward"]._repr_html_())
    assert [row[0] for row in loss.rows] == ["array", "dloss", "dlogits"]


def test_a_report_marks_what_is_wrong(rng):
    class Wrong(sn.ReLU):
        def backward(self, dout, need_dx=True):
            return super().backward(dout) * 2

    for layer, verdict in ((sn.ReLU(), "ok"), (Wrong(), "WRONG")):
        report = sn.gradcheck(layer, rng.standard_normal((2, 3)))
        table = Cells(report._repr_html_())
        assert table.texts["caption"] == [str(report).splitlines()[0]]
        assert [" ".join(row) for row in table.rows] == [
            " ".join(line.split()) for line in str(report).splitlines()[1:4] if not line.startswith("---")
        ]
        assert table.texts.get("b", []) == (["WRONG"] if verdict == "WRONG" else [])


def test_the_notes_of_a_report_are_shown():
    report = sn.gradcheck(sn.ReLU(), np.array([[0.0, 1.0]]))
    table = Cells(report._repr_html_())
    assert "at a kink" in table.texts["li"][0]
    assert table.texts["li"][0] in str(report)


def test_what_comes_from_outside_is_text(sample, rng):
    evil = net(EVIL)
    assert Cells(evil._repr_html_()).texts["caption"][0].startswith(EVIL)
    layer = evil.layers[0]
    steps = list(evil.steps(sample[1].images[:1], sample[1].labels[:1]))
    layer.name = EVIL
    assert Cells(steps[0]._repr_html_()).texts["caption"] == [f"{EVIL} forward"]
    layer.w.name = EVIL
    report = sn.gradcheck(layer, rng.standard_normal((1, 6, 6, 1)), max_entries=3)
    assert EVIL in Cells(report._repr_html_()).rows[2]


def test_nothing_sets_a_colour_or_runs(sample):
    small = net()
    shown = [small, *small.steps(sample[1].images[:1], sample[1].labels[:1])]
    for text in (thing._repr_html_() for thing in shown):
        assert not re.search(r"(?<!: )color: (?!inherit)|background|<script| on\w+=|http", text)
