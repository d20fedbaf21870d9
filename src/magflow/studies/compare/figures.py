"""Families side by side: one panel per quantity, one for each cost; a dot per seed and a bar at the median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.presentation.style import MUTED, SERIES, WIDE, draw, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Panel:
    """One value of every fit: entry to one value per seed; an entry without the quantity is absent."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]


def comparison_figure(entries: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """`entries` from top to bottom in every panel; values on logarithmic axes."""
    columns = 3
    rows = -(-len(panels) // columns)

    def paint(grid: Any) -> None:
        cells = np.asarray(grid).ravel()
        for axes, panel in zip(cells, panels, strict=False):
            _panel(axes, entries, panel)
        for axes in cells[len(panels) :]:
            axes.set_visible(False)

    height = rows * (0.95 + 0.26 * max(len(entries), 2))
    return draw(WIDE, height, paint, nrows=rows, ncols=columns, sharey=True, squeeze=False)


def _panel(axes: Axes, entries: Sequence[str], panel: Panel) -> None:
    for row, entry in enumerate(entries):
        values = panel.values.get(entry, ())
        colour = SERIES[row % len(SERIES)]
        if len(values):
            axes.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=2.0)
            axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.7, markersize=4)
        else:
            place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "color": MUTED}
            axes.text(0.02, row, "none", **place)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.unit)
    axes.set_yticks(range(len(entries)), list(entries))
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xscale("log")
    _room(axes, [v for values in panel.values.values() for v in values if v > 0.0])
    plain_ticks(axes.xaxis)
    axes.grid(visible=False, axis="y")


def _room(axes: Axes, values: Sequence[float]) -> None:
    """At least a factor of two on the axis, so that a difference of a few percent looks like one."""
    if not values:
        axes.set_xlim(0.5, 2.0)
        return
    low, high = min(values), max(values)
    margin = max(1.15, float(np.sqrt(max(1.0, 2.0 * low / high))))
    axes.set_xlim(low / margin, high * margin)
