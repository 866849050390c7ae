"""The screens and keys of `scratchnet step`. What they show of a stage comes from `stages.py`.

When the user asks for pdb, the app ends, and starts again afterwards at the same stage. So pdb has the terminal to
itself, with no event loop below it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from difflib import get_close_matches
from typing import ClassVar

import numpy as np
from rich.style import Style
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static

from scratchnet.network import Loss
from scratchnet.show.stages import SIGNS, Picture, Stage, array_table, describe, notes, pictures, run_again

COLOUR_SIGNS = ["with signs: blue < 0,", "grey 0, yellow > 0"]
# From dark to light, so that they can be told apart without seeing colours.
NEGATIVE, ZERO, POSITIVE = np.array([[20, 40, 130], [128, 128, 128], [255, 240, 150]])


def run(stages: list[Stage], subject: str, about: str = "") -> None:
    """Show the stages until the user quits.

    `subject` names the network and the digit; `about` says on the first screen where the weights come from.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a closed window ends the walk, even if a parent ignores SIGHUP
    no_color = os.environ.get("NO_COLOR")
    at: int | None = 0
    while at is not None:
        if no_color is not None:
            os.environ["NO_COLOR"] = no_color  # the app removes it when it starts
        at = StepApp(stages, subject, at, about).run()
        if at is not None:
            in_pdb(stages[at])


def in_pdb(stage: Stage) -> None:
    """Run the stage once more under pdb. An error that the user makes there is shown, and the walk goes on after it."""
    print(f"\n{stage.name}, once more, under pdb. n: next line, s: step into, ll: this")
    print("function, r: run to its end (back from a helper: r, then n), p NAME: print,")
    print("w: where am I, c: run on and go back to the walk\n")
    try:
        run_again(stage)
    except Exception:
        traceback.print_exc()
        with contextlib.suppress(EOFError):
            input("\nEnter goes back to the walk ")


class StepApp(App[int]):
    """One screen for each stage. Returns the index of a stage to run under pdb, or None to quit."""

    ENABLE_COMMAND_PALETTE = False
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-low"), (30, "-high")]  # noqa: RUF012 (App's own type)
    CSS = """
    #title { background: $primary; text-style: bold; height: 1; }
    #pictures { height: 14; }
    #left, #right { width: 28; margin-right: 1; }
    #beside { width: 1fr; margin-left: 1; }
    .-high #title, .-high #about, .-high #text, .-high #table { margin-bottom: 1; }
    """
    BINDINGS: ClassVar = [
        Binding("n,right,space,enter", "go(1)", "next", key_display="n"),
        Binding("b,left", "go(-1)", "back", key_display="b"),
        Binding("j", "jump", "jump to a layer"),
        Binding("d", "debug", "pdb here"),
        Binding("right_square_bracket,up", "turn(1)", "channel", key_display="[ ]"),
        Binding("left_square_bracket,down", "turn(-1)", show=False),
        Binding("pageup", "screen.page_up", show=False),  # for terminals of fewer than 24 lines
        Binding("pagedown", "screen.page_down", show=False),
        Binding("q,ctrl+c", "quit", "quit", key_display="q"),
    ]

    def __init__(self, stages: list[Stage], subject: str, at: int, about: str = "") -> None:
        super().__init__()
        self.stages, self.subject, self.at, self.about, self.channel = stages, subject, at, about, 0
        # Half blocks need many shades. With no colours, or only sixteen, characters show more.
        self.shades = self.console.color_system in ("256", "truecolor") and not self.no_color

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(self.about, id="about", markup=False)
        yield Static(id="text", markup=False)
        yield Static(id="table", markup=False)
        with Horizontal(id="pictures"):
            yield Static(id="left", markup=False)
            yield Static(id="right", markup=False)
            yield Static(id="beside", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Put the current stage on the screen."""
        stage = self.stages[self.at]
        left, right = pictures(stage, self.channel)
        texts: dict[str, str | Text] = {
            "title": f"stage {stage.number} of {stage.total}: {stage.name}   {self.subject}",
            "text": describe(stage),
            "table": array_table(stage),
            "left": self.paint(left),
            "right": self.paint(right),
            "beside": "\n".join(notes(left, right, COLOUR_SIGNS if self.shades else SIGNS)),
        }
        for name, text in texts.items():
            self.query_one(f"#{name}", Static).update(text)
        self.query_one("#about").display = bool(self.about) and self.at == 0

    def paint(self, picture: Picture) -> Text:
        """A picture in half blocks, or in characters if it is bars or there are no shades."""
        if self.shades and not picture.bars:
            return half_blocks(picture.pixels, picture.signed)
        return Text("\n".join(picture.lines()))

    def action_go(self, by: int) -> None:
        self.go_to(min(max(self.at + by, 0), len(self.stages) - 1))

    def action_turn(self, by: int) -> None:
        self.channel += by
        self.show()

    def action_jump(self) -> None:
        self.push_screen(Jump(self.stages), self.go_to)

    def action_debug(self) -> None:
        self.exit(self.at)

    def go_to(self, at: int | None) -> None:
        """Show stage `at` with its strongest channel; None changes nothing."""
        if at is not None and at != self.at:
            self.at, self.channel = at, 0
            self.show()


class Jump(ModalScreen[int]):
    """A list of all stages, narrowed by what is typed: "conv2 b" leaves the backward stage of conv2.

    If no stage has such a name, it says so, and lists those with the nearest names. Enter then goes nowhere until one
    of them is chosen.
    """

    CSS = """
    Jump { align: center middle; }
    Jump Vertical { width: 50; height: 80%; }
    Jump OptionList { height: 1fr; }
    Jump OptionList > .option-list--option-highlighted { text-style: bold reverse; }
    """
    BINDINGS: ClassVar = [
        Binding("up", "up", show=False),
        Binding("down", "down", show=False),
        Binding("escape", "dismiss", "back to the stage"),
    ]

    def __init__(self, stages: list[Stage]) -> None:
        super().__init__()
        self.stages = stages

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input(placeholder="type a name, such as conv2 backward")
            yield Static(id="unknown", markup=False)
            yield OptionList()
        yield Footer()

    def on_mount(self) -> None:
        self.narrow("")

    def narrow(self, typed: str) -> None:
        """List the stages whose names contain every word that was typed."""
        words = typed.lower().split()
        self.matching = [stage for stage in self.stages if all(word in searched(stage) for word in words)]
        known = bool(self.matching)
        if not known:
            self.matching = nearest(words, self.stages)
        unknown = self.query_one("#unknown", Static)
        unknown.update(unknown_name(typed, len(self.matching), len(self.stages)))
        unknown.display = not known
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([f"{stage.number:3} {stage.name}" for stage in self.matching])
        options.highlighted = 0 if known else None

    def on_input_changed(self, event: Input.Changed) -> None:
        self.narrow(event.value)

    def on_input_submitted(self) -> None:
        self.choose(self.query_one(OptionList).highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.choose(event.option_index)

    def choose(self, index: int | None) -> None:
        if index is not None:
            self.dismiss(self.matching[index].number - 1)

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()


def searched(stage: Stage) -> str:
    """The text in which typed words are looked for: the stage's name, and "loss" for the loss."""
    return f"{stage.name} loss" if isinstance(stage.step.layer, Loss) else stage.name


def nearest(words: list[str], stages: list[Stage]) -> list[Stage]:
    """The stages of which each typed word is nearly a word of the name: "covn2" is nearly conv2."""
    known = {word for stage in stages for word in searched(stage).lower().split()}
    meant = [{word, *get_close_matches(word, known, n=3)} for word in words]
    meant = [alike for alike in meant if alike & known] or [set()]  # a word that is like nothing says nothing
    return [stage for stage in stages if all(alike & set(searched(stage).lower().split()) for alike in meant)]


def unknown_name(typed: str, near: int, total: int) -> str:
    """What to say of a typed name that no stage has."""
    named = typed if len(typed) <= 24 else f"{typed[:21]}..."
    below = "The nearest are below." if near else "Nothing is near it."
    return f'No stage is named "{named}".\n{below} Backspace: back to all {total}.'


def half_blocks(pixels: np.ndarray, signed: bool) -> Text:
    """Pixels (28, 28) from -1 to 1 as 14 lines; each character shows two pixels, one in each half."""
    text = Text(no_wrap=True)
    rgb = colours(pixels, signed)
    for upper, lower in zip(rgb[0::2], rgb[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color="rgb({},{},{})".format(*above), bgcolor="rgb({},{},{})".format(*below)))
        text.append("\n")
    return text


def colours(pixels: np.ndarray, signed: bool) -> np.ndarray:
    """Colours (..., 3) from 0 to 255: black to white; with signs, from dark blue through grey to light yellow."""
    value = pixels[..., None]
    if not signed:
        return (np.ones(3) * 255 * value).astype(int)
    strength = np.sqrt(np.abs(value))  # else most of a gradient, far below its largest entry, would be grey
    return (ZERO + strength * (np.where(value < 0, NEGATIVE, POSITIVE) - ZERO)).astype(int)
