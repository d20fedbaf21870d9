"""Figures of phonons: bands with the density of states, thermodynamic functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magflow.presentation.blocks import Plot, padded, plot
from magflow.presentation.style import SERIES, draw
from magflow.properties.harmonic import (
    BANDS,
    BRANCH,
    CAPACITY,
    DISTANCE,
    DOS,
    ENTROPY,
    FREE,
    FREQUENCY,
    STATES,
    TEMPERATURE,
    THERMODYNAMICS,
)
from magflow.properties.measurement import SPREAD, Curve, Measurement

_GREEK = {"G": "\N{GREEK CAPITAL LETTER GAMMA}"}


def figures(found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
    """Of all that have bands; thermodynamic functions of those that are stable."""
    shown = [(label, m.curves) for label, m in found if DOS in m.curves]
    if not shown:
        return []
    structure = found[0][1].structure
    stable = [(label, curves[THERMODYNAMICS]) for label, curves in shown if THERMODYNAMICS in curves]
    return [_bands(structure, shown), *([_functions(structure, stable)] if stable else [])]


def _bands(structure: str, shown: Sequence[tuple[str, Mapping[str, Curve]]]) -> Plot:
    """The stretches of the first potential set the lengths; those of the others are drawn to them."""
    stretches = [name for name in shown[0][1] if name.startswith(BANDS)]
    ends = {name: (shown[0][1][name][DISTANCE][0], shown[0][1][name][DISTANCE][-1]) for name in stretches}

    def paint(axes: Any) -> None:
        for k, (label, curves) in enumerate(shown):
            colour = SERIES[k % len(SERIES)]
            for name in stretches:
                if name in curves:
                    _stretch(axes[0], curves[name], ends[name], colour)
            axes[1].plot(curves[DOS][STATES], curves[DOS][FREQUENCY], color=colour, label=label)
        ticks = _ticks(stretches, ends)
        axes[0].set_xticks(list(ticks), list(ticks.values()))
        axes[0].set_xlim(0.0, max(ticks))
        axes[0].set_ylabel("Frequency (THz)")
        axes[0].grid(visible=False, axis="y")
        axes[0].axhline(0.0, color=axes[0].spines["left"].get_edgecolor(), linewidth=0.7)
        axes[1].set_xlabel("States (1/THz/atom)")
        axes[1].set_xlim(left=0.0)
        axes[1].legend()

    numbers = {
        f"{label}, {name}: {head}": column
        for label, curves in shown
        for name in [*(s for s in stretches if s in curves), DOS]
        for head, column in curves[name].items()
    }
    caption = f"Phonons of {structure}: bands and density of states; imaginary frequencies as negative ones."
    figure = draw(10.4, 3.6, paint, ncols=2, width_ratios=(3, 1), sharey=True)
    return plot(figure, f"phonons-{structure}", caption, padded(numbers), wide=True)


def _stretch(axes: Any, curve: Curve, ends: tuple[float, float], colour: str) -> None:
    x = np.linspace(*ends, len(curve[DISTANCE]))
    for head, column in curve.items():
        if head.startswith(BRANCH):
            y = np.asarray(column)
            axes.plot(x, y, color=colour, linewidth=1.0)
            if SPREAD + head in curve:
                band = np.asarray(curve[SPREAD + head])
                axes.fill_between(x, y - band, y + band, color=colour, alpha=0.18, linewidth=0)


def _ticks(stretches: Sequence[str], ends: Mapping[str, tuple[float, float]]) -> dict[float, str]:
    """Names of the high-symmetry points by their distance; two names where the path jumps."""
    ticks: dict[float, str] = {}
    for name in stretches:
        points = name.split(": ")[1].split("-")
        for at, point in zip(ends[name], points, strict=True):
            at, point = round(float(at), 9), _GREEK.get(point, point)
            here = ticks.get(at, point)
            ticks[at] = here if point in here.split("|") else f"{here}|{point}"
    return ticks


def _functions(structure: str, stable: Sequence[tuple[str, Curve]]) -> Plot:
    def paint(axes: Any) -> None:
        for panel, head, name in zip(
            axes,
            (FREE, ENTROPY, CAPACITY),
            ("Free energy", "Entropy", "C\N{LATIN SUBSCRIPT SMALL LETTER V}"),
            strict=True,
        ):
            for k, (label, curve) in enumerate(stable):
                panel.plot(curve[TEMPERATURE], curve[head], color=SERIES[k % len(SERIES)], label=label)
            panel.set_xlabel("Temperature (K)")
            panel.set_ylabel(f"{name} {head[head.index('(') :]}")
        axes[0].legend()

    numbers = {f"{label}: {head}": column for label, curve in stable for head, column in curve.items()}
    caption = f"Harmonic thermodynamic functions of {structure}, per mole of atoms."
    figure = draw(10.4, 2.8, paint, ncols=3)
    return plot(figure, f"phonon-thermodynamics-{structure}", caption, numbers, wide=True)
