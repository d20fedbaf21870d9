"""Self-contained HTML pages: one file, nothing loaded, every text escaped and without credentials.

The one script they run orders the rows of tables; they name its hash, so that no other runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from magflow.core.masking import mask
from magflow.presentation.sections import Section
from magflow.presentation.style import light_colours

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_HERE = "magflow.presentation"


def page(title: str, lead: str, heading: str, sections: Sequence[Section]) -> str:
    """A page of sections.

    Parameters
    ----------
    title
        Of the window.
    lead
        Small print above the `heading`.
    """
    return render(_HERE, "sections.html.j2", title=title, lead=lead, heading=heading, sections=sections)


def fragment(section: Section) -> str:
    """A section by itself, for a notebook."""
    return render(_HERE, "fragment.html.j2", shown=section, colours=light_colours())


def render(package: str, template: str, **context: Any) -> str:
    """The page that a template of `package` makes of `context`; it extends ``page.html.j2`` of this room.

    Every text of `context` is escaped and stripped of credentials on its way; the page may load nothing and run no
    script but the one that orders tables (it says so itself, in its content security policy).
    """
    made = {"style": _part("style.css"), "script": _part("sort.js"), "script_hash": script_hash()}
    return _environment(package).get_template(template).render(context, **made)


def script_hash() -> str:
    """The script of every page as a content security policy names it: ``sha256-...``."""
    digest = hashlib.sha256(_part("sort.js").encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@cache
def _environment(package: str) -> Environment:
    """Templates of `package` and of this room: texts are escaped and lose credentials, unknown names are errors."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in dict.fromkeys((package, _HERE))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_masked,
    )


@cache
def _part(name: str) -> Markup:
    """Style sheet or script that every page holds."""
    from markupsafe import Markup

    return Markup(resources.files(_HERE).joinpath("templates", name).read_text(encoding="utf-8"))  # noqa: S704


def _masked(value: Any) -> Any:
    """Hook of the templates: plain strings lose credentials, markup made here passes."""
    return value if not isinstance(value, str) or hasattr(value, "__html__") else mask(value)
