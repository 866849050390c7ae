"""Figures are drawn, have the right content, and are complete PNG files. (Legibility was judged by eye.)"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet.show.plots import draw_all


@pytest.fixture(scope="module")
def trained(sample):
    net = sn.models.separable_cnn(dense_units=8)
    history = sn.fit(
        net,
        sample[0][:256],
        sample[1][:64],
        optimizer=sn.Adam(net.parameters()),
        epochs=2,
        batch_size=64,
        progress=False,
    )
    return net, history


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_digits_are_labelled(sample):
    figure = sn.plots.digit_grid(sample[0])
    assert titles(figure) == [f"Label: {label}" for label in sample[0].labels[:16]]
    few = sn.plots.digit_grid(sample[0][:3])
    assert titles(few)[3:] == [""] * 13


def test_wrong_predictions_are_marked_not_by_colour_alone(sample):
    data = sample[1][:16]
    predicted = data.labels.copy()
    predicted[5] = (predicted[5] + 1) % 10
    figure = sn.plots.prediction_grid(data, predicted)
    marked = [i for i, title in enumerate(titles(figure)) if "✗" in title]
    framed = [i for i, axes in enumerate(figure.axes) if axes.spines["top"].get_linewidth() == 3]
    assert marked == framed == [5]
    assert titles(figure)[5] == f"Label: {data.labels[5]}\nPredicted: {predicted[5]}  ✗"


def test_the_confusion_matrix_counts(sample):
    data = sn.Dataset(sample[0].images[:4], np.array([0, 0, 1, 2]), "digits")
    figure = sn.plots.confusion_matrix(data, np.array([0, 1, 1, 2]), "net")
    texts = {(t.get_position()[::-1]): t.get_text() for t in figure.axes[0].texts}
    assert texts == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "1"}
    assert "net: 75.00% of 4 digits right" in titles(figure)[0]


def test_classes_are_called_by_their_names(sample):
    data = sn.Dataset(sample[0].images[:3], np.array([9, 0, 2]), "things", sn.data.DATASETS["fashion-mnist"])
    assert titles(sn.plots.digit_grid(data))[:3] == ["Label: Ankle boot", "Label: T-shirt/top", "Label: Pullover"]
    grid = sn.plots.prediction_grid(data, np.array([9, 0, 3]))
    assert titles(grid)[2] == "Label: Pullover\nPredicted: Dress  ✗"
    axes = sn.plots.confusion_matrix(data, np.array([9, 0, 3]), "net").axes[0]
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == list(data.info.classes)


def test_curves_hold_the_history_and_name_the_test_set(trained, sample):
    net, history = trained
    figure = sn.plots.training_curves({net.name: history})
    losses, accuracies = (axes.lines[0] for axes in figure.axes)
    assert losses.get_xdata().tolist() == [s["step"] for s in history.steps]
    assert losses.get_ydata()[2] == pytest.approx(np.mean([s["loss"] for s in history.steps[:3]]))
    assert accuracies.get_ydata().tolist() == [100 * e["test_accuracy"] for e in history.epochs]
    assert sample[1].name in titles(figure)[1]


def test_filters_and_feature_maps(trained, sample):
    net, _ = trained
    assert "depthwise1" in sn.plots.first_filters(net)._suptitle.get_text()
    assert len(sn.plots.first_filters(sn.models.standard_cnn()).axes) == 32
    figure = sn.plots.feature_maps(net, sample[1].images[0])
    names = [axes.get_ylabel().split("\n") for axes in figure.axes if axes.get_ylabel()]
    assert names[0] == ["input", "28x28x1"]
    assert names[-1] == ["pool2", "7x7x64"]


def test_a_network_without_convolutions_has_no_filters():
    with pytest.raises(ValueError, match="mlp: expected a convolution to draw, but it has none"):
        sn.plots.first_filters(sn.Network([sn.Flatten(), sn.Dense(4, 2)], name="mlp"))


def test_all_figures_are_written_as_png(trained, sample, tmp_path):
    net, history = trained
    paths = draw_all(tmp_path / "figures", sample[0], sample[1][:64], [net], {net.name: history})
    assert len(paths) == 6
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5, f"{path.name} is blank"
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == sorted(p.name for p in paths)
