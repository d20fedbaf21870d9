"""Formation energy, lattice parameter and total moment against the composition, drawn with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magflow.presentation.blocks import Plot, padded, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.at_rest import line
from magflow.properties.measurement import Curve

LOWEST, MEAN, EACH, CELLS = "lowest", "mean", "decorations", "cells"
X = "x"
ENERGY, HULL = "formation energy (eV/atom)", "convex hull (eV/atom)"
VOLUME, LATTICE, MOMENT = "volume (A^3/atom)", "lattice parameter (A)", "total moment (muB/atom)"
HEADS = {
    VOLUME: "Volume (A\N{SUPERSCRIPT THREE}/atom)",
    LATTICE: "Lattice parameter (A)",
    MOMENT: "Total moment (\N{GREEK SMALL LETTER MU}B/atom)",
}


def figure(structure: str, shown: Sequence[tuple[str, Mapping[str, Curve]]]) -> Plot:
    """The curves of some measurements of `structure`, each under its label; those of DFT have energies only."""
    cells = {head for _, curves in shown for head in curves.get(CELLS, {})}
    size = LATTICE if LATTICE in cells else VOLUME
    panels = [size, *([MOMENT] if MOMENT in cells else [])]

    def paint(axes: Any) -> None:
        first, *others = axes
        for k, (label, curves) in enumerate(shown):
            style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)]}
            _energies(first, curves, label, style)
            for panel, head in zip(others, panels, strict=True):
                if head in curves.get(CELLS, {}):
                    line(panel, curves[CELLS], (X, head), 1.0, {**style, "label": label})
        first.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        first.set_ylabel("Formation energy (meV/atom)")
        first.legend()
        for panel, head in zip(others, panels, strict=True):
            panel.set_ylabel(HEADS[head])
        for panel in axes:
            panel.set_xlabel("x")

    caption = (
        f"Alloys on the lattice of {structure}, x the share of the other element: the lowest decoration, the convex "
        "hull (dashed) and the mean of the decorations (open, single ones as points); lattice and moment are means. "
        "Bands: spread of the ensemble."
    )
    numbers = {
        f"{label}, {name}: {head}": np.asarray(column)
        for label, curves in shown
        for name, curve in curves.items()
        for head, column in curve.items()
    }
    drawing = draw(3.5 * (1 + len(panels)), 3.2, paint, ncols=1 + len(panels))
    return plot(drawing, f"composition-{structure}", caption, padded(numbers), wide=True)


def _energies(panel: Any, curves: Mapping[str, Curve], label: str, style: Mapping[str, Any]) -> None:
    """The lowest decorations with their hull, and the mean of all of them."""
    lowest = curves[LOWEST]
    line(panel, lowest, (X, ENERGY), 1e3, {**style, "linestyle": "none", "label": f"{label}, lowest"})
    panel.plot(lowest[X], 1e3 * lowest[HULL], color=style["color"], linestyle="--", linewidth=1.0)
    if MEAN in curves:
        hollow = {"markerfacecolor": "none", "linewidth": 0.9, "label": f"{label}, mean"}
        line(panel, curves[MEAN], (X, ENERGY), 1e3, {**style, **hollow})
        each = curves[EACH]
        panel.plot(each[X], 1e3 * each[ENERGY], color=style["color"], linestyle="none", marker=".", markersize=2.0)
