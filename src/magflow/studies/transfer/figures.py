"""Error against labels and cost, from scratch and with transfer: a curve per way to fit, a band over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.types import FloatArray
from magflow.presentation.quantities import Quantity
from magflow.presentation.style import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, WIDE, draw, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (GREY, ORANGE, BLUE, GREEN, PURPLE)


@dataclass(frozen=True, eq=False)
class Curve:
    """One way to fit: `labels` (n,) and `cost` (n,), and the median, least and largest `error` (3, n) over seeds."""

    labels: FloatArray
    cost: FloatArray
    error: FloatArray


def transfer_figure(
    quantities: Sequence[Quantity], curves: Mapping[str, Mapping[str, Curve]], cost_unit: str
) -> Figure:
    """One column per quantity: error against the magnetic labels above, against the cost of all labels below.

    Parameters
    ----------
    curves
        Name of a way to fit, to quantity, to its curve; errors in the unit the quantity is shown in.
    cost_unit
        Of the lower row.
    """

    def paint(panels: Any) -> None:
        for column, q in zip(np.atleast_2d(panels).T, quantities, strict=True):
            for k, (name, found) in enumerate(curves.items()):
                if q.name in found:
                    _curve(column, found[q.name], name, k)
            column[0].set_title(q.title)
            column[0].set_ylabel(f"RMSE ({q.unit})")
            column[1].set_ylabel(f"RMSE ({q.unit})")
            column[0].set_xlabel("Magnetic labels")
            column[1].set_xlabel(f"All labels ({cost_unit})")
        handles, names = panels[0][0].get_legend_handles_labels()
        panels[0][0].figure.legend(handles, names, loc="outside upper left", ncols=len(names))

    return draw(WIDE, 5.0, paint, nrows=2, ncols=len(quantities), sharey="col", squeeze=False)


def _curve(column: Sequence[Axes], curve: Curve, name: str, k: int) -> None:
    colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
    for axes, x in zip(column, (curve.labels, curve.cost), strict=True):
        axes.fill_between(x, curve.error[1], curve.error[2], color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, curve.error[0], color=colour, marker=marker, markersize=3.5, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
