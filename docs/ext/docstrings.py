"""Complete the docstrings for Sphinx: link short names in backticks, and add the source of a method.

A layer's file names the source of its method once, at the top. In the reference, each function has its own page, so the
source is repeated there.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def name_the_source(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Add the source that the file of a function or class names, unless its own docstring names one."""
    several = name.startswith("scratchnet.optim")  # a file of several methods, each of which names its own source
    if what not in ("function", "class") or several or any("Source" in line for line in lines):
        return
    module = inspect.getdoc(inspect.getmodule(obj)) or ""
    source = re.search(r"Sources?: .*?(?=\n\n|\Z)", module, re.DOTALL)
    if source:
        lines += ["", source.group().replace("\n", " "), ""]


def find_by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.TextElement
) -> nodes.reference | None:
    """The link for a short name in backticks, if only one public name ends in it: `Conv2D` is scratchnet.Conv2D."""
    if node.get("refdomain") != "py" or node["reftype"] != "obj":
        return None
    ending = f".{node['reftarget']}"
    found = [(name, entry) for name, entry in env.domains["py"].objects.items() if name.endswith(ending)]
    if len(found) != 1:
        return None  # there is no such name, or several, as with `load`
    ((name, entry),) = found
    if entry.objtype not in ("class", "function"):
        return None  # `steps` is more often an argument than the method Network.steps
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contents, name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", name_the_source, priority=900)  # after numpydoc has made its sections
    app.connect("missing-reference", find_by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
