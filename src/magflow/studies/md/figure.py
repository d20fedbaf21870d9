"""The course of a molecular dynamics run as one figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from magflow.core.types import FloatArray
from magflow.presentation.style import BLUE, ORANGE, PURPLE, RED, draw, plain_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def thermo_figure(course: Mapping[str, FloatArray], atoms: int, grade_stop: float | None = None) -> Figure:
    """Temperature, energies, pressure or volume, and what the ensemble knows, against time.

    Parameters
    ----------
    course
        Columns of the log (:data:`magflow.studies.md.directory.COLUMNS`), (n,) each.
    atoms
        Atoms of the run.
    grade_stop
        Extrapolation grade at which the run was to stop; drawn as a line.
    """
    time = course["time_fs"] / 1000.0

    def paint(panels: Any) -> None:
        temperature, energy, cell, known = panels.ravel()
        temperature.plot(time, course["temperature_K"], color=RED)
        temperature.set_title("Temperature (K)")
        for name, label, color in (("potential_eV", "potential", BLUE), ("conserved_eV", "conserved", ORANGE)):
            energy.plot(time, 1000.0 * (course[name] - course[name][0]) / atoms, color=color, label=label)
        energy.set_title("Change of energy (meV/atom)")
        energy.legend(loc="best")
        moves = np.ptp(course["volume_A3"]) > 0.0
        cell.plot(time, course["volume_A3"] / atoms if moves else course["pressure_GPa"], color=PURPLE)
        cell.set_title("Volume (A\N{SUPERSCRIPT THREE}/atom)" if moves else "Pressure (GPa)")
        graded = np.isfinite(course["grade"]).any()
        known.plot(time, course["grade"] if graded else 1000.0 * course["forces_deviation_eV_A"], color=BLUE)
        known.set_title("Extrapolation grade" if graded else "Deviation of a force (meV/A)")
        if graded and grade_stop is not None and np.nanmax(course["grade"]) > 0.3 * grade_stop:
            known.axhline(grade_stop, color=RED, linestyle=(0, (4, 3)), linewidth=1.1)
        for axes in (cell, known):
            axes.set_xlabel("Time (ps)")
        for axes in panels.ravel():
            plain_ticks(axes.xaxis)
            plain_ticks(axes.yaxis)

    return draw(7.6, 4.4, paint, nrows=2, ncols=2, sharex=True)
