"""Make the picture in README.md: a drawn 3 in the explorer, at the backward pass of a convolution.

python scripts/explorer_picture.py        # needs playwright and Chromium
"""

import math
import shutil
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import scratchnet as sn
from scratchnet.explorer.opening import Opened, compile_for, trained
from scratchnet.explorer.server import Explorer
from scratchnet.show.subject import small_cnn

PICTURE = Path(__file__).parent.parent / "docs" / "explorer.png"
SIZE = {"width": 1400, "height": 1480}
ARCS = [(0.33, 0.18, -160), (0.65, 0.2, -90)]  # a 3: the middle of each bow, half its height, where it begins
STAGE = "stage 15:"  # conv2 backward


def main() -> None:
    """Write the picture."""
    training, test = sn.data.load("sample")
    net = small_cnn()
    first = trained(net, training)
    compile_for(net)
    explorer = Explorer(Opened(net, test, training, first, []))
    threading.Thread(target=explorer.serve_forever).start()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = chromium.new_page(viewport=SIZE, device_scale_factor=1.5, color_scheme="light")
            page.goto(explorer.address)
            page.wait_for_selector("body[data-ready]")
            page.click("#tour-skip")
            draw(page)
            page.locator(f"#strip button[aria-label^='{STAGE}']").click()
            page.wait_for_timeout(1000)
            page.locator(".grids .cells").nth(1).locator("span").nth(17).hover()  # a weight, and what it meets
            page.wait_for_timeout(200)
            page.screenshot(path=PICTURE)
            chromium.close()
    finally:
        explorer.end()


def draw(page: Page) -> None:
    """Draw the digit with the mouse."""
    pad = page.locator("#pad").bounding_box()
    assert pad is not None
    angles = [
        (y, r, math.radians(a))
        for (y, r, begin), end in zip(ARCS, (90, 150), strict=True)
        for a in range(begin, end, 10)
    ]
    shares = [(0.48 + 0.2 * math.cos(a), y + r * math.sin(a)) for y, r, a in angles]
    points = [(pad["x"] + x * pad["width"], pad["y"] + y * pad["height"]) for x, y in shares]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
