"""The site, built by `make docs`: pages in Markdown, the API from docstrings. Nothing is fetched, then or later."""

from __future__ import annotations

import builtins
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.napoleon import NumpyDocstring

import magflow
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
smartquotes = False  # --option is no dash

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = napoleon_numpy_docstring = False  # `as_written` does it
napoleon_use_param = False  # "members, bagging" share their words
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"magflow {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False


def as_written(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Read a docstring as numpydoc, and nothing else in it: |m| is no substitution, a property's "a: b" has no type."""
    for k, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = line.split("``")
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[k] = "``".join(parts)
    kind = "object" if what in ("attribute", "data", "property") else what
    lines[:] = str(NumpyDocstring(lines, app.config, app, kind, name, obj, options)).splitlines()


def without_arguments(
    app: Any, what: str, name: str, obj: Any, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A protocol is not called."""
    return ("" if getattr(obj, "_is_protocol", False) else signature), returns


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
    """Whether something is called so: by its full name, by a name of Python's, or somewhere in magflow."""
    parts = name.split(".")
    for k in range(len(parts) - 1, 0, -1):
        try:
            found = import_module(".".join(parts[:k]))
        except ImportError:
            continue
        return has(found, parts[k:])
    said = r"^\s*(?:class |def )?{0}\b(?:\(|:| =)|^\s*(?:from .*)?import .*\b{0}\b"
    return hasattr(builtins, name) or all(re.search(said.format(part), sources(), re.M) for part in parts)


def has(thing: Any, parts: list[str]) -> bool:
    """Whether attributes lead from `thing` to the last of `parts`; fields of a class count."""
    for part in parts:
        fields = {**getattr(thing, "__annotations__", {}), **getattr(thing, "model_fields", {})}
        if not hasattr(thing, part) and part not in fields:
            return False
        thing = getattr(thing, part, None)
    return True


@cache
def sources() -> str:
    """All of magflow."""
    return "\n".join(path.read_text(encoding="utf-8") for path in Path(magflow.__file__).parent.rglob("*.py"))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_written)
    app.connect("autodoc-process-signature", without_arguments)
    app.connect("missing-reference", private)
