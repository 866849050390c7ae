"""What the docstrings write in plain text, told to Sphinx: formulas in indented blocks, short names in backticks."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def keep_formulas(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show the indented blocks of a module's docstring as they stand: they are formulas, aligned by hand."""
    if what != "module":
        return
    text: list[str] = []
    in_block = False
    for line in lines:
        indented = line.startswith(" ")
        if indented and not in_block and text and not text[-1]:
            text += ["::", ""]
        if line:
            in_block = indented
        text.append(line)
    lines[:] = text


def find_by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.TextElement
) -> nodes.reference | None:
    """Where a name in backticks leads that stands in another module: `Conv2D` is scratchnet.Conv2D, and no other."""
    if node.get("refdomain") != "py" or node["reftype"] != "obj":
        return None
    ending = f".{node['reftarget']}"
    found = [(name, entry) for name, entry in env.domains["py"].objects.items() if name.endswith(ending)]
    if len(found) != 1:
        return None  # no such name, or several, as with `load`
    ((name, entry),) = found
    if entry.objtype not in ("class", "function"):
        return None  # `steps` alone is more often an argument than the method Network.steps
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contents, name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", keep_formulas)
    app.connect("missing-reference", find_by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
