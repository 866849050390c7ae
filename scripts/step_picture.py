"""Make the picture in README.md: the last stage of `scratchnet step standard_cnn`, the backward pass of conv1.

The network learns first, as it does for that command.

python scripts/step_picture.py        # needs playwright and Chromium, which draw the screen
"""

import asyncio
import re
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

import scratchnet as sn
from scratchnet.engine import DEFAULT_ENGINE, READABLE_ENGINE
from scratchnet.runs.recipes import SAMPLE
from scratchnet.show.stages import walk
from scratchnet.show.subject import train_shortly
from scratchnet.show.terminal import StepApp

PICTURE = Path(__file__).parent.parent / "docs" / "step.png"
SIZE = (88, 24)  # columns and rows of the terminal
WIDTH = 900  # of the picture in CSS pixels; each is drawn as 2 x 2 pixels


async def screen(app: StepApp) -> str:
    """The app's screen as SVG, in a font of this computer instead of a downloaded one."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        drawn = app.export_screenshot(title="scratchnet step standard_cnn")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def main() -> None:
    """Write the picture."""
    train, digits = sn.data.load("sample")
    net = sn.models.standard_cnn(seed=0, init=SAMPLE.init)
    with sn.use_engine(DEFAULT_ENGINE):
        train_shortly(net, train)
    sn.use_engine(READABLE_ENGINE)
    stages = walk(net, digits.images[:1], digits.labels[:1])
    app = StepApp(stages, f"{net.name}, digit 0: a {digits.labels[0]}", at=len(stages) - 1)
    app.shades = True  # as in a terminal with many colours
    drawn = asyncio.run(screen(app))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(device_scale_factor=2)
        page.set_content(f"<style>svg {{ width: {WIDTH}px; display: block }}</style>{drawn}")
        page.locator("svg").screenshot(path=PICTURE, omit_background=True)
        chromium.close()


if __name__ == "__main__":
    main()
