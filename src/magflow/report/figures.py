"""The figures: pure functions, arrays in and a matplotlib figure out. Units are those shown on the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.calibration import ErrorModel
from magflow.core.frame import Frame
from magflow.core.masking import mask
from magflow.core.types import BoolArray, FloatArray, IntArray
from magflow.presentation.quantities import Quantity
from magflow.presentation.style import (
    ANCHOR,
    BLUE,
    DENSE,
    GREY,
    HALF,
    INK,
    MARKERS,
    MUTED,
    PAPER,
    RED,
    SERIES,
    WIDE,
    draw,
    empty,
    plain_ticks,
)  # fmt: skip
from magflow.select.reliability import Bin, rms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POOL = 4000
"""Offered frames drawn behind the labelled ones, evenly spaced in the pool; more only swell the page."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """Error of one quantity over a campaign, one entry per assessed iteration.

    `labels` and `cost` (in `cost_unit`) are what the assessed ensemble had taken; `error` and `train` (m,) are in the
    unit of the quantity; `train` is the RMSE of that ensemble on its own training set, NaN where unknown.
    """

    labels: IntArray
    cost: FloatArray
    error: FloatArray
    train: FloatArray
    target: float | None = None
    cost_unit: str = "core-hours"


def convergence(quantity: Quantity, data: Convergence) -> Figure:
    """RMSE on new labels against the labels (left) and the computing time (right) that it took."""

    def paint(panels: Any) -> None:
        spent = f"{data.cost_unit.capitalize()} spent"
        for axes, x, title in zip(panels, (data.labels, data.cost), ("Labels trained on", spent), strict=True):
            _errors(axes, np.asarray(x, dtype=float), data)
            axes.set_xlabel(title)
        panels[0].set_ylabel(f"RMSE ({quantity.unit})")
        panels[0].set_title(quantity.title)
        handles, names = panels[0].get_legend_handles_labels()
        if handles:
            place = {"loc": "lower right", "bbox_to_anchor": (1.02, 1.0), "ncols": len(names), "columnspacing": 1.2}
            panels[1].legend(handles, names, **place)

    return draw(HALF, 2.7, paint, ncols=2, sharey=True)


def _errors(axes: Axes, x: FloatArray, data: Convergence) -> None:
    shown = np.concatenate([data.error, data.train, [] if data.target is None else [data.target]])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if not len(data.error) or not shown.size:
        empty(axes, "not assessed yet")
        return
    axes.plot(x, data.error, color=BLUE, marker="o", label="new labels", zorder=3)
    if np.isfinite(data.train).any():
        axes.plot(x, data.train, color=GREY, marker="s", markersize=3, linewidth=1.0, label="training", zorder=2)
    if data.target is not None:
        axes.axhline(data.target, color=RED, linestyle=(0, (4, 3)), linewidth=1.1, label="target", zorder=1)
    axes.set_yscale("log")
    axes.set_ylim(shown.min() / 1.5, shown.max() * 1.5)
    if (x > 0).all() and x.max() > 8 * x.min():
        axes.set_xscale("log")
    else:
        axes.margins(x=0.08)
    plain_ticks(axes.xaxis, 4)
    plain_ticks(axes.yaxis)


def parity(
    quantity: Quantity,
    true: FloatArray,
    predicted: FloatArray,
    latest: BoolArray,
    marked: Mapping[str, BoolArray] = MappingProxyType({}),
) -> Figure:
    """Predicted against labelled values (n,), the entries of the latest iteration (n,) bool in front.

    Below, the error of each entry, in the unit errors are read in: on the diagonal a good fit hides everything.
    Entries (n,) bool of `marked` labels are ringed, and lead to the label.
    """

    def paint(panels: Any) -> None:
        upper, lower = panels
        upper.set_ylabel(f"Predicted ({quantity.value_unit})")
        upper.set_title(quantity.title)
        lower.set_xlabel(f"Labelled ({quantity.value_unit})")
        lower.set_ylabel(f"Error ({quantity.unit})")
        if not len(true):
            empty(upper, "no predictions to compare yet")
            return
        error = (predicted - true) / quantity.value_factor * quantity.factor
        span = np.array([min(true.min(), predicted.min()), max(true.max(), predicted.max())])
        margin = 0.04 * max(float(np.ptp(span)), 1e-9)
        span += (-margin, margin)
        upper.plot(span, span, color=MUTED, linewidth=0.8, zorder=1)
        lower.axhline(0.0, color=MUTED, linewidth=0.8, zorder=1)
        groups = ((np.logical_not(latest), GREY, "earlier iterations", 8), (latest, BLUE, "latest iteration", 11))
        for rows, colour, name, size in groups:
            if rows.any():
                text = f"{name}: RMSE {rms(error[rows]):.3g} {quantity.unit}"
                _scatter(upper, true[rows], predicted[rows], colour, size, label=text)
                _scatter(lower, true[rows], error[rows], colour, size)
        for label, rows in marked.items():
            for axes, y in ((upper, predicted), (lower, error)):
                ring = {
                    "marker": "o",
                    "markersize": 6.0,
                    "fillstyle": "none",
                    "linestyle": "none",
                    "markeredgewidth": 0.7,
                }
                axes.plot(true[rows], y[rows], color=RED, url=f"#{ANCHOR}{label}", zorder=4, **ring)
        upper.set(xlim=span, ylim=span)
        upper.legend(loc="upper left", handletextpad=0.2)
        for axis in (upper.xaxis, upper.yaxis):
            plain_ticks(axis)
        plain_ticks(lower.yaxis, 4)

    return draw(HALF, 5.0, paint, nrows=2, sharex=True, height_ratios=(3.2, 1))


_TURN, _TILT = np.radians([28.0, 14.0])
_RIGHT = np.array([np.cos(_TURN), np.sin(_TURN), 0.0])
_UP = np.array([-np.sin(_TURN) * np.sin(_TILT), np.cos(_TURN) * np.sin(_TILT), np.cos(_TILT)])
"""Of the eye that looks at a structure: z is nearly upright, so that moments along it show in full."""

_ATOM = 0.42
"""Radius of a drawn atom over the covalent one."""


def structure(frame: Frame, longest: float) -> Figure:
    """One cell, seen from the side, moments as arrows: one of `longest` muB is as long as neighbours are apart."""
    from ase.data import covalent_radii
    from matplotlib.patches import Circle

    look = np.stack([_RIGHT, _UP, np.cross(_RIGHT, _UP)], axis=1)
    positions, corners = _within(frame) @ look, _edges(frame.cell) @ look
    radii = _ATOM * covalent_radii[frame.numbers]
    scale = 0.0 if longest <= 0 else 0.9 * covalent_radii[frame.numbers].max() / longest
    moments = scale * (np.zeros_like(frame.positions) if frame.magmoms is None else frame.magmoms) @ look
    colours = {s: SERIES[i % len(SERIES)] for i, s in enumerate(sorted(set(frame.species)))}

    def paint(axes: Any) -> None:
        for start, end in corners:
            axes.plot(*np.stack([start[:2], end[:2]], axis=1), color=MUTED, linewidth=0.7, zorder=1)
        for rank, i in enumerate(np.argsort(positions[:, 2])):
            (x, y), z = positions[i, :2], 2 + 3 * rank
            axes.add_patch(
                Circle((x, y), radii[i], facecolor=colours[frame.species[i]], edgecolor=INK, lw=0.6, zorder=z)
            )
            if np.linalg.norm(moments[i]) > 0.3 * radii[i]:
                tail, head = (x, y) - moments[i, :2], (x, y) + moments[i, :2]
                arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", head, tail, arrowprops=arrow, zorder=z + 1)
            axes.text(x + 0.8 * radii[i], y - 0.8 * radii[i], f"{frame.species[i]} {i + 1}", va="top", zorder=z + 2)
        reach = radii.max() + 0.5 * float(np.abs(moments).max(initial=0.0))
        both = np.concatenate([positions[:, :2], corners[..., :2].reshape(-1, 2)])
        (left, low), (right, top) = both.min(axis=0) - reach, both.max(axis=0) + reach
        axes.set(xlim=(left, right), ylim=(low, top), aspect="equal")
        axes.set_axis_off()

    return draw(HALF, 2.6, paint)


def _within(frame: Frame) -> FloatArray:
    """(N, 3) A, the image of each atom in the cell; what sticks out by little stays where it is."""
    shares = frame.positions @ np.linalg.inv(frame.cell)
    return np.asarray(((shares + 0.1) % 1.0 - 0.1) @ frame.cell)


def _edges(cell: FloatArray) -> FloatArray:
    """(12, 2, 3) A, both ends of each edge of a cell."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    ends = [(a, b) for a in corners for b in corners if (b - a).min() == 0 and (b - a).sum() == 1]
    return np.array(ends) @ cell


def _short(text: str, most: int = 32) -> str:
    """A name that leaves room for the drawing; masked first, for half a secret is one too."""
    text = mask(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _scatter(
    axes: Axes, x: FloatArray, y: FloatArray, colour: str, size: float, *, label: str | None = None,
    marker: str = "o", alpha: float = 0.75, zorder: float = 2,
) -> None:  # fmt: skip
    edge = {"edgecolors": PAPER, "linewidths": 0.3} if len(x) <= DENSE // 3 else {"edgecolors": "none"}
    axes.scatter(
        x, y, s=size, color=colour, alpha=alpha, marker=marker, label=label, zorder=zorder,
        rasterized=len(x) > DENSE, **edge,
    )  # fmt: skip


def calibration(
    quantity: Quantity, deviation: FloatArray, error: FloatArray, model: ErrorModel, bins: Sequence[Bin]
) -> Figure:
    """Error |predicted - labelled| against the raw deviation of the ensemble, both (n,), and the error expected for it.

    `bins` are of the raw deviation; all in the unit of `quantity`.
    """

    def paint(axes: Any) -> None:
        axes.set_xlabel(f"Deviation of the ensemble ({quantity.unit})")
        axes.set_ylabel(f"|error| ({quantity.unit})")
        axes.set_title(quantity.title)
        shown = (deviation > 0) & (error > 0)
        if not shown.any():
            empty(axes, "no deviations to compare yet")
            return
        x, y = deviation[shown], error[shown]
        _scatter(axes, x, y, SERIES[4], 7, alpha=0.5)
        span = np.array([x.min() / 1.3, x.max() * 1.3])
        axes.plot(span, span, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.0, label="y = x")
        along = np.geomspace(span[0], span[1], 50)
        label = f"{model.scale:.2f} x and {model.floor:.2g} (calibrated)"
        axes.plot(along, model.of(along), color=RED, linewidth=1.3, label=label)
        dots = {"color": INK, "marker": "o", "linestyle": "none", "markersize": 5}
        axes.plot(*np.array([(b.deviation, b.error) for b in bins]).T, label="RMS of a bin", zorder=4, **dots)
        axes.set_xscale("log")
        axes.set_yscale("log")
        low = max(float(np.quantile(y, 0.01)), y.max() * 1e-4)
        expected = model.of(span)
        top = max(float(y.max()), float(expected[1]), float(span[1])) * 1.6
        axes.set(xlim=span, ylim=(min(low, float(span[0]), float(expected[0])) / 1.3, top))
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        axes.legend(loc="lower right")

    return draw(HALF, 3.5, paint)


def coverage(points: Mapping[str, tuple[FloatArray, FloatArray]], pool: tuple[FloatArray, FloatArray]) -> Figure:
    """Largest moment (muB) against volume (A^3/atom): `pool` offered behind, labelled frames by stratum in front."""

    def paint(axes: Any) -> None:
        axes.set_xlabel("Volume (Å³/atom)")
        axes.set_ylabel("Largest moment in the frame (μB)")
        if not points and not len(pool[0]):
            empty(axes, "nothing labelled yet")
            return
        if len(pool[0]):
            alpha = 0.5 if len(pool[0]) < DENSE else 0.25
            drawn = np.linspace(0, len(pool[0]) - 1, min(len(pool[0]), MAX_POOL)).astype(int)
            _scatter(
                axes, pool[0][drawn], pool[1][drawn], GREY, 5, label=f"offered ({len(pool[0])})", alpha=alpha, zorder=1
            )
        for i, (stratum, (volume, moment)) in enumerate(points.items()):
            kind = {"marker": MARKERS[i // len(SERIES) % len(MARKERS)], "label": f"{_short(stratum)} ({len(volume)})"}
            _scatter(axes, volume, moment, SERIES[i % len(SERIES)], 20, alpha=0.9, zorder=3, **kind)
        plain_ticks(axes.xaxis, 8)
        plain_ticks(axes.yaxis, 6)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="Frames", alignment="left", markerscale=1.3)

    return draw(WIDE, 4.2, paint)


def stacked(names: Sequence[str], parts: Mapping[str, FloatArray], title: str, *, share: bool = False) -> Figure:
    """One horizontal bar per name, made of `parts` (n,) each; `share` scales every bar to 100 %."""
    rows = np.arange(len(names))

    def paint(axes: Any) -> None:
        axes.set_xlabel(title)
        if not len(names) or not parts:
            empty(axes, "nothing yet")
            return
        total = np.sum(list(parts.values()), axis=0)
        scale = 100.0 / np.where(total > 0, total, 1.0) if share else np.ones(len(names))
        left = np.zeros(len(names))
        for i, (part, values) in enumerate(parts.items()):
            width = np.asarray(values) * scale
            axes.barh(
                rows, width, 0.62, left=left, color=SERIES[i % len(SERIES)], edgecolor=PAPER, linewidth=0.6,
                label=_short(part), hatch=("", "////", "....")[i // len(SERIES) % 3],
            )  # fmt: skip
            left = left + width
        axes.set_yticks(rows, [_short(n) for n in names])
        axes.set_ylim(max(len(names), 3) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 100 if share else float(left.max()) * 1.02 or 1.0)
        plain_ticks(axes.xaxis, 8)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return draw(WIDE, 1.0 + 0.27 * max(len(names), 3, 0.62 * len(parts)), paint)


def durations(cpu_seconds: FloatArray) -> Figure:
    """Histogram of the CPU time of labels (n,) s, with the median."""
    fast = len(cpu_seconds) > 0 and float(np.median(cpu_seconds)) < 0.1
    shown, unit = (cpu_seconds * 1e3, "ms") if fast else (cpu_seconds, "s")

    def paint(axes: Any) -> None:
        axes.set_xlabel(f"CPU time of a label ({unit})")
        axes.set_ylabel("Labels")
        if not len(cpu_seconds):
            empty(axes, "no label computed yet")
            return
        low, high = float(shown.min()), float(shown.max())
        wide = low > 0 and high > 20 * low
        bins = np.geomspace(low, high, 25) if wide else np.linspace(low, max(high, low + 1e-6), 25)
        axes.hist(shown, bins, color=SERIES[4], edgecolor=PAPER, linewidth=0.5)
        median = float(np.median(shown))
        axes.axvline(median, color=INK, linewidth=1.1, label=f"median {median:.3g} {unit}")
        if wide:
            axes.set_xscale("log")
        plain_ticks(axes.xaxis, 7)
        plain_ticks(axes.yaxis, 4, whole=True)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))

    return draw(WIDE, 2.4, paint)


def timeline(
    lanes: Sequence[str], lane: IntArray, start: FloatArray, duration: FloatArray, kinds: Sequence[str]
) -> Figure:
    """Jobs as bars, in lanes; `start` and `duration` (n,) in minutes, `kinds` (n,) decide the colour."""
    from matplotlib.collections import PolyCollection

    def paint(axes: Any) -> None:
        axes.set_xlabel("Minutes since the first job")
        if not len(start):
            empty(axes, "no job has run yet")
            return
        dense = len(start) > DENSE
        for i, kind in enumerate(dict.fromkeys(kinds)):
            rows = np.array([k == kind for k in kinds])
            colour = SERIES[i % len(SERIES)]
            low = lane[rows] - 0.3
            corners = np.stack([start[rows], low, start[rows] + duration[rows], low + 0.6], axis=1)
            bars = corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
            axes.add_collection(
                PolyCollection(list(bars), color=colour, label=_short(kind), linewidths=0.2, rasterized=dense)
            )
        axes.set_xlim(0, float((start + duration).max()) * 1.02 or 1.0)
        axes.set_yticks(range(len(lanes)), lanes)
        axes.set_ylim(max(len(lanes), 2) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        plain_ticks(axes.xaxis, 8)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return draw(WIDE, 1.0 + 0.27 * max(len(lanes), 3), paint)


__all__ = [
    "Convergence",
    "calibration",
    "convergence",
    "coverage",
    "durations",
    "parity",
    "stacked",
    "structure",
    "timeline",
]
