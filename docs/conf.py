"""The site, built by `make docs`: pages in Markdown, the API from docstrings. Nothing is fetched, then or later."""

from __future__ import annotations

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
]
nitpicky = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"magflow {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
