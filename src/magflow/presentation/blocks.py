"""What the template puts on the page: tables, and figures with their numbers beside them."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from magflow.core.masking import mask
from magflow.presentation.style import to_svg
from magflow.presentation.tables import Table as Table
from magflow.presentation.tables import no_formula as no_formula

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROWS = 3000
"""Rows a page carries for one figure; of longer columns it carries evenly spaced rows and says so."""


@dataclass(frozen=True)
class Plot:
    """One figure: drawing, caption, and its numbers as a link that needs no network; `anchor` is its id on the page."""

    svg: Markup
    caption: str
    csv: Markup
    file: str
    rows: int
    shown: int
    wide: bool = False
    anchor: str = ""


def plot(
    figure: Figure,
    name: str,
    caption: str,
    numbers: Mapping[str, Any],
    *,
    wide: bool = False,
    always: int = 0,
    anchor: str = "",
) -> Plot:
    """A figure ready for the page.

    Parameters
    ----------
    name
        Unique on the page; the stem of the CSV file.
    numbers
        Columns of equal length; heads carry the unit.
    always
        First rows that are kept when the rest is thinned.
    anchor
        What links to the figure name it by.
    """
    link, rows, shown = csv_link(numbers, always)
    # the drawing comes from matplotlib, which escapes every text it writes
    drawing = Markup(to_svg(figure, name, caption))  # noqa: S704
    return Plot(drawing, caption, link, f"{name}.csv", rows, shown, wide, anchor)


def padded(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of one length, the shorter ones ended with NaN."""
    most = max(len(c) for c in columns.values())
    return {
        head: np.pad(np.asarray(c, float), (0, most - len(c)), constant_values=np.nan) for head, c in columns.items()
    }


def csv_link(numbers: Mapping[str, Any], always: int = 0) -> tuple[Markup, int, int]:
    """`numbers` as a ``data:`` link, the rows there are, the rows it holds."""
    columns = {head: np.asarray(values) for head, values in numbers.items()}
    rows = max((len(c) for c in columns.values()), default=0)
    always = min(always, MAX_ROWS, rows)
    keep = np.arange(rows)
    if rows > MAX_ROWS:
        keep = np.concatenate([keep[:always], np.linspace(always, rows - 1, MAX_ROWS - always).astype(int)])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(head) for head in columns])
    writer.writerows(zip(*([_cell(v) for v in c[keep]] for c in columns.values()), strict=True))
    text = base64.b64encode(buffer.getvalue().encode()).decode("ascii")
    return Markup(f"data:text/csv;charset=utf-8;base64,{text}"), rows, len(keep)  # noqa: S704


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, (int, np.integer)):
        return str(value)
    return str(no_formula(mask(str(value))))
