"""The directive `.. formulas:: MODULE`: a module's docstring, with its formulas typeset.

A docstring has its formulas in indented blocks of plain text, for readers of the code. The content of the directive has
the same formulas in LaTeX: one paragraph for each block, in the same order. `tests/test_docs.py` compares the two.
"""

from __future__ import annotations

import importlib
import inspect
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# Matches LaTeX that must stay as it is, or else (in the group) a name of several letters, such as dout.
COMMAND_OR_NAME = re.compile(r"\\(?:text|begin|end|operatorname)\{[^}]*\}|\\[A-Za-z]+|([A-Za-z]{2,})")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, which blank lines separate."""
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def is_formula(paragraph: str) -> bool:
    """Whether a paragraph of a docstring is a block of formulas: all its lines are indented."""
    return all(line.startswith("    ") for line in paragraph.splitlines())


def with_upright_names(latex: str) -> str:
    """LaTeX with names of several letters set upright: `dout` is not a product of four variables."""
    return COMMAND_OR_NAME.sub(lambda found: rf"\mathrm{{{found[1]}}}" if found[1] else found[0], latex)


class Formulas(SphinxDirective):
    """A module's docstring, with the LaTeX of the directive's content in place of its blocks of formulas."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(self.arguments[0])
        self.env.note_dependency(inspect.getfile(module))
        latex = paragraphs("\n".join(self.content))
        text = paragraphs(inspect.getdoc(module) or "")
        blocks = sum(map(is_formula, text))
        if len(latex) != blocks:
            raise self.error(
                f"expected a paragraph of LaTeX for each of the {blocks} indented blocks in the docstring of "
                f"{module.__name__}, in the same order; got {len(latex)}"
            )
        formulas = iter(latex)
        shown = [
            ".. math::\n\n" + "\n".join(f"   {line}" for line in with_upright_names(next(formulas)).splitlines())
            if is_formula(part)
            else part
            for part in text
        ]
        return self.parse_text_to_nodes("\n\n".join(shown))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("formulas", Formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
