"""One stage of a walk once more, in a debugger: what the page's button *debugger* copies.

    python -m scratchnet.explorer.again runs/standard_cnn/model.safetensors --stage 17 --line 92 --label 3 --digit 0

It opens the network as `scratchnet explore` does, walks to the stage, and stops at that line. A debugger that runs it,
as VS Code's, stops before the stage instead; *Step Into* leads to the line.
"""

from __future__ import annotations

import argparse
import base64
import pdb
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import scratchnet as sn
from scratchnet.commands.explore import add_explorer_options, opened_for_explorer
from scratchnet.engine import ENGINES, READABLE_ENGINE
from scratchnet.exercises.running import debugged
from scratchnet.explorer.source import source_of
from scratchnet.loss import softmax_cross_entropy
from scratchnet.network import Loss
from scratchnet.show.stages import Stage, walk


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the network, walk to a stage, and stop in it."""
    options = _options(arguments)
    _heed_breakpoints(False)
    if options.engine:
        sn.use_engine(options.engine)  # that of the page: it may have trained the network
    given = opened_for_explorer(options)
    sn.use_engine(READABLE_ENGINE)  # the one to step through
    x, label = given.data.images[options.digit : options.digit + 1], options.label
    if options.image:
        numbers = np.frombuffer(zlib.decompress(base64.urlsafe_b64decode(options.image)), "<f4")
        x = numbers.astype(np.float32).reshape(x.shape)
    stages = walk(given.net, x, np.array([label]), options.training)
    if not 1 <= options.stage <= len(stages):
        raise SystemExit(f"--stage: expected 1 to {len(stages)}, got {options.stage}")
    stop_in(stages[options.stage - 1], options.line)


def stop_in(stage: Stage, line: int) -> None:
    """Run a stage again, from the same state, and stop at this line of its source."""
    stage.net.set_state(stage.state)
    _heed_breakpoints(True)
    if debugged():  # already: this one stops here, before the stage
        breakpoint()
        call(stage, lambda function, *given: function(*given))
        return
    debugger = pdb.Pdb(nosigint=True)
    source = source_of(stage.step.layer, stage.step.direction)
    is_top = line == source["lines"][0][0]  # pdb stops there by itself
    has_break = not is_top and not debugger.set_break(source["path"], line)
    if has_break:
        debugger.rcLines.append("continue")
    call(stage, debugger.runcall)
    if has_break and not any(point.hits for point in debugger.get_breaks(source["path"], line)):
        print(f"{stage.name} did not reach line {line}: it returned before.")


def _heed_breakpoints(on: bool) -> None:
    """Whether breakpoints of VS Code's debugger hold, if it runs this: the walk passes the same lines before."""
    debugpy = sys.modules.get("debugpy")
    if debugpy is not None and debugpy.is_client_connected():  # others import it and do not use it
        debugpy.trace_this_thread(on)


def call(stage: Stage, run: Callable[..., Any]) -> None:
    """The stage's own call."""
    layer, given = stage.step.layer, stage.step.input
    if isinstance(layer, Loss):
        run(softmax_cross_entropy, stage.forward.input, stage.labels)
    elif stage.step.direction == "forward":
        run(layer.forward, given, stage.training)
    else:
        run(layer.backward, given)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scratchnet.explorer.again", description=__doc__)
    add_explorer_options(parser)
    parser.add_argument("--engine", choices=ENGINES, help="that trains a named network")
    for name, what in (("stage", "from 1"), ("line", "of its source"), ("label", "of the image")):
        parser.add_argument(f"--{name}", type=int, required=True, help=what)
    parser.add_argument("--digit", type=int, default=0, help="which image of the data set")
    parser.add_argument("--image", help="or the image itself: its float32 numbers, compressed, in base64")
    parser.add_argument("--no-training", dest="training", action="store_false", help="without dropout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
