"""A page that needs no server: one file with one digit's walk, all its arrays, and where every number comes from.

The modules of the page are written one after the other, without their imports and exports: a browser that opens a file
from a disk loads no other file. The data is that of `Recording`. Of a weight with too many numbers for a page, as that
of a dense layer, the largest terms of each sum are written instead.
"""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.explorer.opening import Opened
from scratchnet.explorer.recording import LONGEST, Recording
from scratchnet.explorer.server import ASSETS
from scratchnet.explorer.session import Session
from scratchnet.layers import Dense
from scratchnet.writing import write_text_atomically

KEPT = 16  # terms of a sum with too many weights
DIGITS = 7  # significant ones of a number that is written as text
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.M)


def export_page(opened: Opened, path: str | Path, digit: int = 0) -> None:
    """Write a page of one image's walk.

    Raises
    ------
    ValueError
        If the data has no image of this number.
    """
    session = Session(opened)
    seen = session.choose({"digit": digit})
    recording = session._walk()
    packed = recording.packed()
    data = {
        "info": session.describe({}) | {"summary": ""},
        "seen": seen,
        "walk": base64.b64encode(packed).decode(),
        "sums": recording.as_data(),
        "kept": [kept_terms(recording, stage) for stage in range(len(recording.stages))],
    }
    write_text_atomically(path, page_with(data))


def page_with(data: dict[str, Any]) -> str:
    """The page, its style, its modules and its data in one text."""
    text = ASSETS["index.html"].decode()
    recorded = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    icon = base64.b64encode(ASSETS["icon.svg"]).decode()
    replacements = {
        '<link rel="icon" href="icon.svg">': f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">',
        '<link rel="stylesheet" href="style.css">': f"<style>\n{ASSETS['style.css'].decode()}</style>",
        '<script type="module" src="main.js"></script>': f"<script>globalThis.RECORDED = {recorded};</script>\n"
        f'<script type="module">\n{in_one("main.js")}</script>',
        "<title>scratchnet explorer</title>": f"<title>{html.escape(data['info']['net'])} · scratchnet</title>",
    }
    for old, new in replacements.items():
        if old not in text:
            raise RuntimeError(f"index.html: expected {old}, which an exported page replaces")
        text = text.replace(old, new)
    return text


def in_one(name: str, written: set[str] | None = None) -> str:
    """A module after all that it imports, each once."""
    written = set() if written is None else written
    written.add(name)
    source = ASSETS[name].decode()
    needed = [module for module in IMPORT.findall(source) if module not in written]
    parts = [in_one(module, written) for module in needed if module not in written]
    return "".join(parts) + re.sub(r"^export ", "", IMPORT.sub("", source), flags=re.M)


def kept_terms(recording: Recording, stage: int) -> dict[str, Any]:
    """The largest terms of the sums of a dense layer whose weights are too many: of each unit that the stage makes."""
    layer, held = recording.stages[stage].step.layer, recording.arrays[stage]
    if not isinstance(layer, Dense) or layer.w.value.size <= LONGEST:
        return {}
    forward = recording.stages[stage].step.direction == "forward"
    given = held["x"] if forward else held["dout"]
    weights = held["w"] if forward else held["w"].T  # (terms, units)
    products = given[:, None].astype(np.float64) * weights
    at = np.argsort(-np.abs(products), axis=0, kind="stable")[:KEPT].T  # (units, KEPT)
    chosen = weights.T[np.arange(len(at))[:, None], at]
    written = {
        "at": at.tolist(),
        "w": [[_rounded(value) for value in row] for row in chosen],
        "totals": [_rounded(value) for value in products.sum(axis=0)],
    }
    return {"out" if forward else "dx": written}


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
