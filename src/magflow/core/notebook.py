"""What a notebook shows of an object: a few facts, every text escaped and without credentials."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from magflow.core.masking import mask


def facts_html(title: str, facts: Mapping[str, object]) -> str:
    """A title and one row per fact, those left out that are None or empty; for ``_repr_html_``."""
    rows = "".join(
        f'<tr><th style="text-align:left">{_safe(name)}</th><td style="text-align:left">{_safe(value)}</td></tr>'
        for name, value in facts.items()
        if value is not None and value != ""
    )
    return f"<div><strong>{_safe(title)}</strong><table>{rows}</table></div>"


def _safe(value: object) -> str:
    return escape(mask(str(value)))
