"""How many photographs of digits are read right: `python -m benchmarks.photos MODEL.safetensors`.

Each photograph is made here, from a digit of MNIST's test set. The digit is not blown up: its outline is drawn again at
the size of the photograph, and its middle line is drawn with pens of other widths. Then come paper, light, surroundings
and camera. Each condition is one function in `CONDITIONS`; all of them get the same digits. The table sets the accuracy
of each beside that of the clean digits, which the network gets as MNIST has them.

`NOT_DIGITS` are pictures to which no digit is the answer. A confident answer to them is a wrong one.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib import get_data_path
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from scipy.ndimage import distance_transform_edt, gaussian_filter

import scratchnet as sn
from scratchnet.data.photographs import read_digit
from scratchnet.progress import progress_bar
from scratchnet.reading import FileFault
from scratchnet.show.plots import save_figure
from scratchnet.tables import table

SIDE = 400  # height and width of a photograph, in pixels
DIGIT = 240  # of the 28 x 28 pixels of MNIST, in the photograph
PAPER, INK = 235.0, 40.0  # brightness
CONFIDENT = 0.9  # an answer with a higher probability should not be wrong


class Photograph(NamedTuple):
    """A picture, and how it is stored."""

    picture: Image.Image
    format: str = "PNG"
    options: Mapping[str, Any] = MappingProxyType({})


Condition = Callable[[np.random.Generator, np.ndarray], "Photograph | np.ndarray"]


# ---------------------------------------------------------------- strokes


def outline(digit: np.ndarray, size: int = DIGIT) -> np.ndarray:
    """A digit (28, 28) as strokes (size, size) with a sharp outline; how much of each pixel is ink, 0 to 1."""
    large = Image.fromarray(digit.reshape(28, 28)).resize((size, size), Image.Resampling.BICUBIC)
    smooth = gaussian_filter(np.asarray(large), size / 56)
    return ((smooth - 0.4) * size / 40 + 0.5).clip(0, 1)


def drawn(digit: np.ndarray, pen: float, size: int = DIGIT) -> np.ndarray:
    """A digit's middle line drawn with a round pen `pen` pixels wide, (size, size)."""
    from skimage.morphology import skeletonize

    middle = skeletonize(outline(digit, size) > 0.5)
    return (pen / 2 + 0.5 - distance_transform_edt(~middle)).clip(0, 1)


def placed(strokes: np.ndarray, side: int = SIDE, at: tuple[int, int] | None = None) -> np.ndarray:
    """Strokes in the middle of a photograph (side, side), or with their corner at `at`; they may hang over its edge."""
    top, left = at or ((side - len(strokes)) // 2,) * 2
    margin = len(strokes)
    mask = np.zeros((side + 2 * margin,) * 2, np.float32)
    mask[margin + top : 2 * margin + top, margin + left : 2 * margin + left] = strokes
    return mask[margin:-margin, margin:-margin]


def inked(paper: np.ndarray | float, mask: np.ndarray, ink: np.ndarray | float = INK) -> np.ndarray:
    """Brightness (H, W), 0 to 255: ink on paper where the mask says."""
    return paper * (1 - mask) + ink * mask


def across(side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, from 0 to 1."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j].astype(np.float32)
    return y, x


# ---------------------------------------------------------------- paper, pens, light, surroundings, camera


def sheet(rng, digit):
    return inked(PAPER, placed(outline(digit)))


def grey_paper(rng, digit):
    return inked(150.0, placed(outline(digit)))


def coloured_paper(rng, digit):
    mask = placed(outline(digit))[..., None]
    paper = rng.choice([(250, 230, 120), (180, 220, 250), (245, 190, 200), (190, 235, 190)])
    ink = rng.choice([(20, 40, 160), (20, 20, 20), (170, 20, 30)])
    return Photograph(Image.fromarray((paper * (1 - mask) + ink * mask).astype(np.uint8)))


def lines(step: float, upright: bool, strength: float) -> np.ndarray:
    """Paper (SIDE, SIDE) with printed lines `step` pixels apart, 2 pixels wide."""
    printed = np.arange(SIDE) % step < 2
    paper = np.full((SIDE, SIDE), PAPER)
    paper[printed] -= strength
    if upright:
        paper[:, printed] = PAPER - strength
    return paper


def ruled_paper(rng, digit):
    return inked(lines(rng.uniform(40, 70), False, rng.uniform(40, 90)), placed(outline(digit)))


def squared_paper(rng, digit):
    return inked(lines(rng.uniform(18, 40), True, rng.uniform(40, 90)), placed(outline(digit)))


def pen(width: float) -> Condition:
    return lambda rng, digit: inked(PAPER, placed(drawn(digit, width)))


def marker(rng, digit):
    return inked(PAPER, placed(drawn(digit, 26)), 15.0)


def pencil(rng, digit):
    grain = 120 + 40 * rng.standard_normal((SIDE, SIDE))
    return inked(PAPER, placed(drawn(digit, 5)), grain.clip(60, 225)) + rng.normal(0, 3, (SIDE, SIDE))


def chalk(rng, digit):
    board = 60 + 12 * np.asarray(
        Image.fromarray(rng.standard_normal((20, 20)).astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    )
    return inked(board, placed(drawn(digit, 14)) * rng.uniform(0.6, 1, (SIDE, SIDE)), 235.0)


def shadow(softness: float) -> Condition:
    """Half of the sheet lies in a shadow whose edge is `softness` of its side wide."""

    def condition(rng, digit):
        y, x = across()
        angle = rng.uniform(0, 2 * np.pi)
        along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - rng.uniform(-0.15, 0.15)
        light = 1 - 0.45 * (along / softness + 0.5).clip(0, 1)
        return inked(PAPER, placed(outline(digit))) * light

    return condition


def falling_light(rng, digit):
    y, x = across()
    angle = rng.uniform(0, 2 * np.pi)
    along = 0.5 + (x - 0.5) * np.cos(angle) / 1.5 + (y - 0.5) * np.sin(angle) / 1.5
    return inked(PAPER, placed(outline(digit))) * (1 - 0.65 * along)


def on_table(edges: int) -> Condition:
    """The sheet lies on a table, which shows at some of the four edges."""

    def condition(rng, digit):
        values = inked(PAPER, placed(outline(digit)))
        table = rng.uniform(40, 130)
        wood = table + 8 * np.sin(np.arange(SIDE) / rng.uniform(3, 15)) + rng.normal(0, 4, (SIDE, SIDE))
        for edge in rng.permutation(4)[:edges] if edges != 2 else rng.choice([[0, 2], [0, 1], [2, 3]]):
            strip = round(rng.uniform(0.02, 0.15) * SIDE)
            values = np.rot90(values, edge).copy()
            values[:strip] = wood[:strip]
            values = np.rot90(values, -edge)
        return values

    return condition


def framed(brightness: float) -> Condition:
    """A frame of one colour around the picture, as some programs leave it."""

    def condition(rng, digit):
        values = inked(PAPER, placed(outline(digit)))
        width = rng.integers(4, 40)
        whole = np.full_like(values, brightness)
        whole[width:-width, width:-width] = values[width:-width, width:-width]
        return whole

    return condition


def bars(rng, digit):
    values = inked(PAPER, placed(outline(digit)))
    height = rng.integers(20, 80)
    values[:height] = values[-height:] = 0
    return values


def specks(rng, digit):
    values = inked(PAPER, placed(outline(digit)))
    for _ in range(40):
        y, x = rng.integers(0, SIDE - 6, 2)
        size = rng.integers(1, 6)
        values[y : y + size, x : x + size] = rng.uniform(30, 180)
    return values


def jpeg(rng, digit):
    return Photograph(as_picture(inked(PAPER, placed(outline(digit)))), "JPEG", {"quality": 30})


def noise(rng, digit):
    return inked(190.0, placed(outline(digit)), 70.0) + rng.normal(0, 25, (SIDE, SIDE))


def blur(rng, digit):
    return Photograph(as_picture(sheet(rng, digit)).filter(ImageFilter.GaussianBlur(6)))


def turned(rng, digit):
    mask = Image.fromarray(placed(outline(digit)).astype(np.float32))
    return inked(PAPER, np.asarray(mask.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR)))


def perspective(rng, digit):
    """Seen from above or below: the far edge of the sheet is shorter by a tenth to a quarter."""
    shrink = rng.uniform(0.1, 0.25) * SIDE / 2
    corners = [(0.0, 0.0), (0.0, SIDE), (SIDE, SIDE), (SIDE, 0.0)]  # upper left, lower left, lower right, upper right
    left, right = rng.choice([(0, 3), (1, 2)])
    corners[left] = (-shrink, corners[left][1])
    corners[right] = (SIDE + shrink, corners[right][1])
    quad = tuple(value for corner in corners for value in corner)
    picture, way = as_picture(sheet(rng, digit)), Image.Transform.QUAD
    return Photograph(picture.transform(picture.size, way, quad, Image.Resampling.BILINEAR, fillcolor=int(PAPER)))


def exif(rng, digit):
    """A camera held upright stores the picture on its side, and says so."""
    stored = as_picture(sheet(rng, digit)).rotate(90, expand=True)  # orientation 6: to be turned clockwise
    notes = Image.Exif()
    notes[0x0112] = 6
    return Photograph(stored, "JPEG", {"exif": notes})


def large(rng, digit):
    """12 megapixels, a ballpoint's line of 12 pixels, uneven light, the camera's noise."""
    side = 3464
    y, x = across(side)
    values = inked(PAPER, placed(drawn(digit, 12, 1200), side)) * (1 - 0.3 * x * y)
    return Photograph(as_picture(values + rng.normal(0, 6, values.shape).astype(np.float32)), "JPEG", {"quality": 85})


def screenshot(rng, digit):
    """A drawing program: a title bar, a toolbar with buttons, a white canvas with the digit."""
    values = inked(255.0, placed(outline(digit)), 0.0)
    values[:24] = 60
    values[24:50] = 225
    for button in range(8, 200, 24):
        values[30:44, button : button + 14] = 120
    return values


def at_the_edge(rng, digit):
    """The strokes reach the edge of the picture, but are whole."""
    strokes = outline(digit)
    rows, columns = np.flatnonzero(strokes.max(1) > 0.5), np.flatnonzero(strokes.max(0) > 0.5)
    at = [(SIDE - len(strokes)) // 2] * 2
    edge = rng.integers(0, 4)
    used = (rows, columns)[edge % 2]
    at[edge % 2] = int(-used[0]) if edge < 2 else int(SIDE - 1 - used[-1])
    return inked(PAPER, placed(strokes, at=(at[0], at[1])))


CONDITIONS: dict[str, Condition] = {
    "white paper": sheet,
    "grey paper": grey_paper,
    "coloured paper, coloured ink": coloured_paper,
    "ruled paper": ruled_paper,
    "squared paper": squared_paper,
    **{f"pen of {width} px": pen(width) for width in (1, 2, 4, 8, 14)},
    "marker of 26 px": marker,
    "pencil": pencil,
    "chalk on a board": chalk,
    "soft shadow": shadow(0.5),
    "hard shadow": shadow(0.01),
    "light falling off": falling_light,
    **{f"table at {edges} edge{'s'[: edges > 1]}": on_table(edges) for edges in (1, 2, 4)},
    "black frame": framed(0.0),
    "white frame": framed(255.0),
    "bars above and below": bars,
    "specks and dust": specks,
    "JPEG of quality 30": jpeg,
    "noise": noise,
    "blur": blur,
    "turned by up to 20°": turned,
    "perspective": perspective,
    "EXIF: on its side": exif,
    "12 megapixels": large,
    "screenshot": screenshot,
    "touches the edge": at_the_edge,
}


# ---------------------------------------------------------------- what is not a digit


def blank(rng, digit):
    y, x = across()
    return PAPER * (1 - 0.4 * x * y) + rng.normal(0, 4, (SIDE, SIDE))


def three_digits(rng, digit):
    strokes = outline(digit, 130)
    mask = sum(placed(strokes, at=(135, left)) for left in (5, 135, 265))
    return inked(PAPER, np.minimum(mask, 1))


def word(rng, digit):
    picture = Image.new("L", (SIDE, SIDE), 235)
    text = str(rng.choice(["hello", "Monday", "network", "milk", "gradient"]))
    font = ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 80)
    ImageDraw.Draw(picture).text((SIDE / 2, SIDE / 2), text, 40, font, "mm")
    return Photograph(picture)


def face(rng, digit):
    picture = Image.fromarray((150 + 50 * rng.standard_normal((12, 12))).clip(0, 255).astype(np.uint8))
    picture = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((100, 60, 300, 340), 190)
    for left in (150, 220):
        draw.ellipse((left, 150, left + 34, 170), 60)
    draw.arc((150, 220, 250, 290), 20, 160, 70, 8)
    return Photograph(picture.filter(ImageFilter.GaussianBlur(2)))


NOT_DIGITS: dict[str, Condition] = {
    "blank page": blank,
    "three digits": three_digits,
    "a word": word,
    "a face": face,
}


# ---------------------------------------------------------------- reading them


def as_picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def stored(photograph: Photograph | np.ndarray) -> io.BytesIO:
    """The photograph as a file in memory."""
    if not isinstance(photograph, Photograph):
        photograph = Photograph(as_picture(photograph))
    file = io.BytesIO()
    photograph.picture.save(file, photograph.format, **photograph.options)
    return file


class Row(NamedTuple):
    """What came of one condition's photographs, as shares of them."""

    right: float
    confident_and_wrong: float
    none: float  #: read_digit says that it finds no digit


def read_all(net: sn.Network, condition: Condition, digits: np.ndarray, labels: np.ndarray | None, seed: int) -> Row:
    """The row of one condition. labels : (N,), or None where no digit is right."""
    found, of = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photograph"
        for i, digit in enumerate(digits):
            path.write_bytes(stored(condition(np.random.default_rng((seed, i)), digit)).getvalue())
            try:
                found.append(read_digit(path))
                of.append(i)
            except FileFault:
                continue
    if not found:
        return Row(0.0, 0.0, 1.0)
    answers = sn.data.mean_over_turns(net.predict, np.stack(found))  # as `scratchnet predict` does
    right = answers.argmax(axis=1) == labels[of] if labels is not None else np.zeros(len(of), bool)
    wrong = (answers.max(axis=1) > CONFIDENT) & ~right
    N = len(digits)
    return Row(right.sum() / N, wrong.sum() / N, 1 - len(of) / N)


def cells(row: Row, share: float, digits: bool) -> list[str]:
    """The cells of a row after its name; where no answer is right, the first two are empty."""
    right = [f"{row.right:.1%}", f"{share:.1%}"] if digits else ["", ""]
    return [*right, f"{row.confident_and_wrong:.1%}", f"{row.none:.1%}"]


def contact_sheet(digits: np.ndarray, seed: int) -> Figure:
    """One photograph of each condition, with its name."""
    everything = {**CONDITIONS, **NOT_DIGITS}
    figure = Figure(figsize=(9, 1.35 * -(-len(everything) // 6) + 0.2), layout="constrained")
    for place, (name, condition) in enumerate(everything.items()):
        axes = figure.add_subplot(-(-len(everything) // 6), 6, place + 1)
        photograph = condition(np.random.default_rng((seed, place)), digits[place % len(digits)])
        with Image.open(stored(photograph)) as picture:
            small = ImageOps.exif_transpose(picture).convert("RGB")
            small.thumbnail((SIDE, SIDE))
        axes.imshow(small)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name.replace(", ", ",\n"), fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a network that was trained on MNIST")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--count", type=int, default=200, help="photographs of each condition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="write a PNG with one photograph of each condition")
    parser.add_argument("--only", nargs="*", help="names of conditions")
    options = parser.parse_args(arguments)
    sn.use_engine("numba")
    net = sn.load(options.model)
    _, test = sn.data.load(options.data)
    chosen = np.random.default_rng(options.seed).permutation(len(test.images))[: options.count]
    digits, labels = test.images[chosen], test.labels[chosen]
    if options.picture:
        save_figure(contact_sheet(digits, options.seed), options.picture)
    clean = (net.predict(digits).argmax(axis=1) == labels).mean()
    rows, shares = [], []
    everything = {name: (c, labels) for name, c in CONDITIONS.items()} | {n: (c, None) for n, c in NOT_DIGITS.items()}
    if unknown := set(options.only or ()) - set(everything):
        raise SystemExit(f"not known: {', '.join(sorted(unknown))}; expected some of {', '.join(everything)}")
    for name in progress_bar(options.only or list(everything), "photographs", True):
        condition, truth = everything[name]
        row = read_all(net, condition, digits, truth, options.seed)
        share = row.right / clean
        if truth is not None:
            shares.append(share)
        rows.append((name, *cells(row, share, truth is not None)))
    print(f"clean digits: {clean:.1%} right")
    if shares:
        print(f"photographs of digits: {np.mean(shares):.1%} of that on the mean, {np.min(shares):.1%} at least")
    print(table(["condition", "right", "of clean", "wrong above 90 %", "no digit found"], rows))


if __name__ == "__main__":
    main()
