"""Equation of state: volume, lattice parameter, bulk modulus and energy at rest, by a Birch-Murnaghan fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.relaxation.held import Held
from magflow.explore.symmetry import FIRST_CUBIC, atoms_of_conventional_cell
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import MARKERS, SERIES, draw
from magflow.properties.at_rest import mean_moments
from magflow.properties.base import PointProperty
from magflow.properties.measurement import Measurement, Reading, Value
from magflow.properties.subject import Subject, UnmeasurableError

CURVE = "energy"
VOLUME, ENERGY, MOMENT = "volume (A^3/atom)", "energy (eV/atom)", "mean |m| (muB)"


class EquationOfState(PointProperty):
    """Energies at some volumes about the one at rest; the shape of the cell and the fractional positions are kept.

    A fit of third order in the Eulerian strain (Birch, Phys. Rev. 71, 809 (1947)), as pymatgen makes it.
    """

    name: ClassVar[str] = "equation-of-state"
    title: ClassVar[str] = "Equation of state"
    headline: ClassVar[tuple[str, ...]] = ("a0", "volume", "bulk modulus", "moment")

    points: int = Field(default=9, ge=5, le=51, description="volumes")
    width: float = Field(default=0.06, gt=0, le=0.3, description="largest relative change of the volume")

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The crystal at volumes spread evenly about its volume at rest."""
        rest = subject.at_rest(Held.SHAPE, Held.ATOMS)
        scales = np.cbrt(1.0 + np.linspace(-self.width, self.width, self.points))
        return subject.with_moments_at_rest(
            [rest.replace(cell=s * rest.cell, positions=s * rest.positions) for s in scales]
        )

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Fit the energies."""
        from pymatgen.analysis.eos import EOS, EOSError

        volumes = np.array([f.volume / len(f) for f in frames])
        energies = points.energy_per_atom
        if not volumes[0] < volumes[np.argmin(energies)] < volumes[-1]:
            raise UnmeasurableError("the energy has no minimum between the volumes", where=subject.name)
        try:
            fit = EOS("birch_murnaghan").fit(volumes.tolist(), energies.tolist())
        except EOSError as error:
            raise UnmeasurableError("no equation of state fits", where=subject.name, seen=str(error)) from error
        values = [
            Value("volume", "A^3/atom", float(fit.v0)),
            Value("bulk modulus", "GPa", float(fit.b0) * EV_PER_A3_IN_GPA),
            Value("pressure derivative of the bulk modulus", "", float(fit.b1)),
            Value("energy", "eV/atom", float(fit.e0)),
        ]
        edge = _cubic_edge(subject, float(fit.v0))
        if edge is not None:
            values.insert(0, Value("a0", "A", edge))
        curve: dict[str, FloatArray] = {VOLUME: volumes, ENERGY: energies}
        moments = mean_moments(subject, frames)
        if moments is not None:
            curve[MOMENT] = moments
            values.append(Value("moment", "muB/atom", float(np.interp(fit.v0, volumes, moments))))
        return Reading(tuple(values), {CURVE: curve})

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Energies against volume, from the lowest of each curve."""
        shown = [(label, m.curves[CURVE]) for label, m in found if CURVE in m.curves]
        if not shown:
            return []

        def paint(axes: Any) -> None:
            for k, (label, curve) in enumerate(shown):
                style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)]}
                axes.plot(curve[VOLUME], 1e3 * (curve[ENERGY] - curve[ENERGY].min()), label=label, **style)
            axes.set_xlabel("Volume (A\N{SUPERSCRIPT THREE}/atom)")
            axes.set_ylabel("Energy (meV/atom)")
            axes.legend()

        numbers = {f"{label}: {head}": column for label, curve in shown for head, column in curve.items()}
        structure = found[0][1].structure
        caption = f"Energy of {structure} against volume, from the lowest point of each curve."
        return [plot(draw(5.1, 3.2, paint), f"eos-{structure}", caption, numbers)]


def _cubic_edge(subject: Subject, volume: float) -> float | None:
    """Edge of the conventional cell at `volume` (A^3/atom), A; None if the crystal is not cubic."""
    if subject.space_group < FIRST_CUBIC:
        return None
    return float(np.cbrt(volume * atoms_of_conventional_cell(subject.frame)))
