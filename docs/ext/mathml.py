"""Formulas as MathML, which browsers draw themselves: the pages need no script and no network for them."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert_to_element
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

# The number of children that these elements must have. With another number, a browser draws no fraction or index.
PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}


def mathml(latex: str, display: str) -> str:
    """A formula in LaTeX as a <math> element; `display` is "inline" or "block".

    Raises ExtensionError for LaTeX that latex2mathml cannot read, or that it passes on without converting it.
    """
    source = re.sub(r"\\mathrm\{(\w)\}", r"\\text{\1}", latex)  # as text, because a single letter would be in italics
    if display == "block" and r"\\" in source and r"\begin" not in source:
        source = rf"\begin{{split}}{source}\end{{split}}"
    try:
        formula = convert_to_element(source, display=display)
    except Exception as error:  # its exceptions have no common base, and no message
        raise ExtensionError(f"not a formula: {latex!r} ({type(error).__name__})") from error
    for element in formula.iter():
        element.text = html.unescape(element.text or "")  # it writes characters as references: &#x0003D;
        if not understood(element):
            misread = ElementTree.tostring(element, encoding="unicode")
            raise ExtensionError(f"{latex!r}: latex2mathml misread it as {misread}; write it in another way")
    return ElementTree.tostring(formula, encoding="unicode")


def understood(element: ElementTree.Element) -> bool:
    """Whether latex2mathml converted this element: it left no command, column or line break, and the children fit."""
    left_over = "\\" in element.text or element.text == "&" or "linebreak" in element.attrib
    return not left_over and len(element) == PARTS.get(element.tag, len(element))


def inline(self, node: nodes.math) -> None:
    """Write a formula within a line of text."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(self, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, with its number if it has a label."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})</span>')
    self.body.append(mathml(node.astext(), "block") + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
