"""`scratchnet export`: a trained model as an ONNX file."""

from __future__ import annotations

import argparse
from typing import Any

import scratchnet as sn
from scratchnet.commands.options import add_command
from scratchnet.commands.subject import print_written
from scratchnet.interop.onnx_export import LAYOUTS
from scratchnet.reading import user_path


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(
        commands, "export", export, "%(prog)s runs/standard_cnn/model.safetensors net.onnx --layout NHWC"
    )
    command.add_argument("model", type=user_path, help="a trained model's file")
    command.add_argument("onnx", type=user_path, metavar="NET.onnx", help="the file to write")
    command.add_argument(
        "--layout", choices=LAYOUTS, default=LAYOUTS[0], help="the order of the images' axes (default: %(default)s)"
    )


def export(options: argparse.Namespace) -> None:
    """Write a trained model to an ONNX file, for other runtimes."""
    net = sn.load(options.model)
    sn.interop.to_onnx(net, options.onnx, layout=options.layout)
    print(f"{net.name}: takes images as {options.layout}; computes what it does here, up to rounding")
    print_written([options.onnx])
