"""Text of the pages that scripts print."""

from __future__ import annotations

import re
from textwrap import wrap

WIDTH = 116
"""Characters of a line of a page."""


def filled(text: str, indent: str = "") -> str:
    """`text` in lines that are short enough."""
    return "\n".join(wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))


def escaped(text: str) -> str:
    """`text` without what Markdown would take for tags; code stays as it is."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else piece.replace("<", r"\<") for piece in pieces)
