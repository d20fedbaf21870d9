"""The site, built by `make docs`: pages in Markdown, the API from docstrings. Nothing is fetched, then or later."""

from __future__ import annotations

import builtins
import sys
from functools import reduce
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx import addnodes

from magflow.core.release import __version__

project = "magflow"
author = "The magflow developers"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
nitpicky = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"magflow {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

BEFORE_NAPOLEON = 400


def as_written(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leave alone what docstrings do not mean: in |m| no substitution, in a property's "a: b" no type a."""
    for k, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = line.split("``")
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[k] = "``".join(parts)
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")


def private(app: Any, env: object, node: addnodes.pending_xref, shown: nodes.Element) -> nodes.Element | None:
    """Show a name without a link, if it exists and has no place on the site; one that does not exist is an error.

    Annotations are left to mypy.
    """
    above: nodes.Node | None = node
    while above is not None and not isinstance(above, addnodes.desc_signature):
        above = above.parent
    name = node["reftarget"].partition("[")[0]
    return shown if above is not None or not name.replace(".", "").isidentifier() or exists(name) else None


def exists(name: str) -> bool:
    """Whether something is called so: by its full name, by a name of Python's, or in some module of magflow."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:k]))
        except ImportError:
            continue
        return has(found, parts[k:])
    return has(builtins, parts) or any(has(m, parts) for n, m in list(sys.modules.items()) if n.startswith("magflow."))


def has(thing: object, parts: list[str]) -> bool:
    """Whether attributes lead from `thing` to the last of `parts`; fields of a class count."""
    missing = object()

    def step(at: object, part: str) -> object:
        fields = {**getattr(at, "__annotations__", {}), **getattr(at, "model_fields", {})}
        return missing if at is missing else getattr(at, part, fields.get(part, missing))

    return reduce(step, parts, thing) is not missing


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_written, priority=BEFORE_NAPOLEON)
    app.connect("missing-reference", private)
