"""Relative errors of forces: by metal, against the number of labels, and against a setting that is varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.presentation.style import HALF, MARKERS, MUTED, SERIES, WIDE, draw, empty, plain_ticks
from magflow.studies.tm.result import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR = "Relative force error (%)"
_COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """One set of curves.

    Parameters
    ----------
    curves
        Name of a curve to its points, x to the error over the seeds.
    ticks
        x to what is written below it; where there is none, the number itself.
    """

    title: str
    x: str
    curves: Mapping[str, Mapping[float, Spread]]
    ticks: Mapping[float, str] = field(default_factory=dict)


def metals_figure(subjects: Sequence[str], errors: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A place per subject, and in it a dot per seed and a bar at the median for each contender.

    Parameters
    ----------
    errors
        Contender to subject to one error per seed, %.
    """

    def paint(axes: Axes) -> None:
        width = 0.8 / max(len(errors), 1)
        for k, (contender, found) in enumerate(errors.items()):
            colour, marker = _look(k)
            for place, subject in enumerate(subjects):
                values = found.get(subject, ())
                x = place - 0.4 + (k + 0.5) * width
                if len(values):
                    axes.plot([x - 0.4 * width, x + 0.4 * width], [np.median(values)] * 2, color=colour, linewidth=2.0)
                    axes.plot([x] * len(values), values, marker, color=colour, alpha=0.7, markersize=3.5)
            axes.plot([], [], marker, color=colour, label=contender)
        axes.set_xticks(range(len(subjects)), [s.replace(", ", "\n") for s in subjects])
        axes.set_xlim(-0.5, len(subjects) - 0.5)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel(ERROR)
        axes.grid(visible=False, axis="x")
        for border in range(1, len(subjects)):
            axes.axvline(border - 0.5, color=MUTED, linewidth=0.4, alpha=0.5)
        _legend(axes, WIDE)

    return draw(WIDE, 3.4, paint)


def curves_figure(panels: Sequence[Panel], *, logarithmic: bool) -> Figure:
    """A panel beside another, the same errors on all of them: the median over the seeds, and their range as a band."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width = WIDE if len(panels) > 1 else HALF
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))

    def paint(grid: Any) -> None:
        cells = np.asarray(grid).ravel()
        for axes, panel in zip(cells, panels, strict=False):
            _curves(axes, panel, names, logarithmic)
        for axes in cells[len(panels) :]:
            axes.set_visible(False)
        for axes in cells[:: columns or 1]:
            axes.set_ylabel(ERROR)
        _legend(cells[0], width, names)

    return draw(width, 0.5 + 2.2 * rows, paint, nrows=rows, ncols=columns, sharey=True, squeeze=False)


def points_figure(panels: Sequence[Panel], names: Sequence[Mapping[float, str]]) -> Figure:
    """A panel beside another: points without a line, the range over the seeds as a bar, and the name of each x.

    Parameters
    ----------
    names
        Of each panel, x to what is written above its points.
    """
    known = list(dict.fromkeys(name for panel in panels for name in panel.curves))

    def paint(grid: Any) -> None:
        cells = np.asarray(grid).ravel()
        most = max(spread.high for panel in panels for points in panel.curves.values() for spread in points.values())
        for axes, panel, written in zip(cells, panels, names, strict=True):
            for name, points in panel.curves.items():
                colour, marker = _look(known.index(name))
                for x, spread in points.items():
                    axes.plot([x, x], [spread.low, spread.high], color=colour, linewidth=1.0)
                    axes.plot([x], [spread.median], marker, color=colour, markersize=4.0)
            for x, word in written.items():
                top = max(points[x].high for points in panel.curves.values() if x in points)
                axes.annotate(
                    word,
                    (x, top),
                    (0, 5),
                    textcoords="offset points",
                    rotation=90,
                    ha="center",
                    va="bottom",
                    fontsize=6,
                )
            axes.set_xlabel(panel.x)
            axes.set_xmargin(0.15)
            axes.locator_params(axis="x", nbins=4)
            axes.set_ylim(0.0, 1.45 * most)
        cells[0].set_ylabel(ERROR)
        _legend(cells[0], WIDE, known)

    return draw(WIDE if len(panels) > 1 else HALF, 3.0, paint, ncols=len(panels), sharey=True, squeeze=False)


def _curves(axes: Axes, panel: Panel, names: Sequence[str], logarithmic: bool) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    for name, points in panel.curves.items():
        colour, marker = _look(names.index(name))
        x = sorted(points)
        band = np.array([[points[v].median, points[v].low, points[v].high] for v in x]).T
        axes.fill_between(x, band[1], band[2], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, band[0], color=colour, marker=marker, markersize=3.5)
    if not any(panel.curves.values()):
        empty(axes, "no potential")
        return
    axes.set_yscale("log")
    if logarithmic:
        axes.set_xscale("log")
    places = sorted({v for points in panel.curves.values() for v in points})
    axes.set_xticks(places, [panel.ticks.get(x, f"{x:g}") for x in places])
    axes.minorticks_off()
    plain_ticks(axes.yaxis)


def _legend(axes: Axes, width: float, names: Sequence[str] = ()) -> None:
    """Above the figure, in as many columns as `width` inches hold."""
    for k, name in enumerate(names):
        colour, marker = _look(k)
        axes.plot([], [], color=colour, marker=marker, markersize=3.5, label=name)
    handles, labels = axes.get_legend_handles_labels()
    across = int(8 * width) // max(map(len, labels), default=1)
    axes.figure.legend(handles, labels, loc="outside upper left", ncols=max(1, min(len(labels), across)))


def _look(k: int) -> tuple[str, str]:
    return SERIES[k % len(SERIES)], MARKERS[k % len(MARKERS)]
