"""What commands work on, networks and data, and what they say at their end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scratchnet as sn
from scratchnet.models import ARCHITECTURES, Architecture
from scratchnet.reading import user_path
from scratchnet.runs.options import MODEL, TRAIN_DEFAULTS


def network(model: str) -> sn.Network:
    """An untrained architecture by its name, or a trained model by its file or its run's folder."""
    return ARCHITECTURES[model].make() if model in ARCHITECTURES else sn.load(model_file(model))


def model_file(model: str) -> Path:
    """The file of a trained model, which is named by its path or by its run's folder."""
    path = user_path(model)
    if not path.exists():
        raise FileNotFoundError(
            f"{model}: neither a trained model's file, nor a run's folder, nor one of {', '.join(ARCHITECTURES)}"
        )
    if not path.is_dir():
        return path
    if not (path / MODEL).exists():
        raise FileNotFoundError(f"{path}: expected a run's folder with {MODEL}, which is written when the run ends")
    return path / MODEL


def network_for(architecture: Architecture, data: sn.Dataset, **options: Any) -> sn.Network:
    """An untrained network for the data: the usual one if it takes the data, and made to fit for one's own."""
    shape, classes = data.images.shape[1:], data.class_count()
    own = data.info is not None and data.info.own
    usual = architecture.takes(shape, classes) and not own
    net = architecture.make(**options) if usual else architecture.make_for(shape, classes, **options)
    check_fit(net, data)
    return net


def check_fit(net: sn.Network, data: sn.Dataset) -> None:
    """ValueError if the network takes images of another shape, or has fewer outputs than the data has classes."""
    shape, classes = data.images.shape[1:], data.class_count()
    if net.input_shape not in (None, shape):
        raise ValueError(
            f"{net.name}: takes images of shape {net.input_shape}, but the {data.name} has images of shape {shape}; "
            "name data that fits with --data"
        )
    outputs = net.output_shapes(shape)[-1][-1]
    if outputs < classes:
        raise ValueError(f"{net.name}: has {outputs} outputs, but the {data.name} has {classes} classes")


def load_data(settings: dict[str, Any]) -> tuple[sn.Dataset, sn.Dataset]:
    """The training and the test part of the data that the settings of a run, or the options of a command, name."""
    train_images = settings.get("train_images", TRAIN_DEFAULTS["train_images"])
    return sn.data.load(settings["data"], settings["data_dir"], train_images, settings["transpose"])


def print_written(paths: Sequence[Path]) -> None:
    """Print the paths of the files that a command wrote. An OSError names those that are not there any more."""
    print("written:\n" + "\n".join(f"  {path}" for path in paths if path.exists()))
    gone = [str(path) for path in paths if not path.exists()]
    if gone:
        raise FileNotFoundError(f"deleted or moved since they were written: {', '.join(gone)}")
