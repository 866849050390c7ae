"""`scratchnet explore`: forward and backward through a network in the browser."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scratchnet.commands.options import add_command, add_data_options, whole_number
from scratchnet.commands.subject import check_fit, load_data, network, network_for, print_written
from scratchnet.models import ARCHITECTURES
from scratchnet.reading import user_path
from scratchnet.runs.options import check_data_dir

if TYPE_CHECKING:
    from scratchnet.explorer.opening import Opened


def add(commands: Any) -> None:
    """Declare the command and its options."""
    command = add_command(commands, "explore", explore, "%(prog)s runs/standard_cnn/model.safetensors")
    add_explorer_options(command)
    command.add_argument(
        "--port", type=whole_number(0, 65535), default=0, metavar="N", help="of this machine (default: any free one)"
    )
    command.add_argument("--no-browser", action="store_true", help="print the page's address, and open nothing")
    command.add_argument(
        "--export", type=user_path, metavar="PAGE.html", help="write a page of one walk that needs no server, and end"
    )
    command.add_argument(
        "--digit",
        type=whole_number(0),
        default=0,
        metavar="K",
        help="for --export: which of the test images (default: 0)",
    )


def add_explorer_options(command: Any) -> None:
    """Which network and which data to open in the explorer."""
    known = f"{', '.join(ARCHITECTURES)} (which learns for some seconds first), or a trained model's file"
    command.add_argument("model", nargs="?", metavar="MODEL", help=f"{known} (default: a small network)")
    command.add_argument("--untrained", action="store_true", help="do not train a named network first")
    add_data_options(command, default="sample")


def explore(options: argparse.Namespace) -> None:
    """Draw a digit in the browser, and walk forward and backward through a network, every number in reach."""
    opened = opened_for_explorer(options)
    if options.export is not None:
        from scratchnet.explorer.export import export_page

        export_page(opened, options.export, options.digit)
        print_written([options.export])
        return
    from scratchnet.explorer.run import serve

    serve(opened, options.port, not options.no_browser)


def opened_for_explorer(options: argparse.Namespace) -> Opened:
    """The network and the data that the explorer's options name. An architecture learns first, for some seconds."""
    from scratchnet.explorer.opening import Opened, trained
    from scratchnet.show.subject import small_cnn

    check_data_dir(options.data, options.data_dir)
    words = [options.model] if options.model else []
    words += ["--engine", options.engine] if options.engine else []
    words += ["--untrained"] if options.untrained else []
    words += ["--data", str(options.data)] if options.data != "sample" else []
    if options.model is not None and options.model not in ARCHITECTURES:
        net = network(options.model)
        training, test = load_data(vars(options))
        check_fit(net, test)
        return Opened(net, test, training, None, words)
    training, test = load_data(vars(options))
    net = network_for(ARCHITECTURES[options.model], training) if options.model else small_cnn()
    check_fit(net, test)
    first = None if options.untrained else trained(net, training)
    return Opened(net, test, training, first, words)
