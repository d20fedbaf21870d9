"""How numbers, durations, counts and compositions are written for people."""

from __future__ import annotations

import re
from math import isfinite

NONE = "–"
"""Shown where there is no figure."""


def number(value: float | None, digits: int = 3) -> str:
    """A figure for a table: `digits` significant ones, a dash where there is none."""
    if value is None or not isfinite(value):
        return NONE
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits - 1}e}"
    from numpy import format_float_positional

    return format_float_positional(value, digits, unique=False, fractional=False, trim="-")


def seconds(value: float, digits: int = 3) -> str:
    """A duration as a person says it, of so many significant digits."""
    if value < 0.1:
        return f"{number(value * 1e3, digits)} ms"
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if value >= 1.5 * size:
            return f"{number(value / size, digits)} {unit}"
    return f"{number(value, digits)} s"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """``1 label``, ``2 labels``."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def without_ones(text: str) -> str:
    """``Al1Fe1 FM`` as ``AlFe FM``."""
    return re.sub(r"(?<=[A-Za-z])1(?![0-9])", "", text)
