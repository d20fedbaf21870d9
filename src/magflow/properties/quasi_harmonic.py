"""The crystal at temperature from phonons at several volumes: the quasi-harmonic approximation, by phonopy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction, concatenate
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.explore.relaxation.held import Held
from magflow.presentation.blocks import Plot, plot
from magflow.presentation.style import SERIES, draw
from magflow.properties.base import PointProperty
from magflow.properties.harmonic import CAPACITY, ENTROPY, FREE, TEMPERATURE, thermodynamics_of
from magflow.properties.measurement import Curve, Measurement, Reading, Value
from magflow.properties.phonons import FINER, Phonons, check_stable
from magflow.properties.subject import Subject, UnmeasurableError

CURVE = "quasi-harmonic"
VOLUME, EXPANSION = "volume (A^3/atom)", "linear thermal expansion (1e-6/K)"
BULK, AT_PRESSURE = "bulk modulus (GPa)", "heat capacity at constant pressure (J/(K mol))"
GRUENEISEN = "Grueneisen parameter"
HEADS = (VOLUME, EXPANSION, BULK, AT_PRESSURE, GRUENEISEN)
STEP, BEYOND = 10.0, 3
"""K between temperatures, and how many phonopy takes beyond the last that it answers."""


class QuasiHarmonic(PointProperty):
    """Thermal expansion, bulk modulus and heat capacity at zero pressure, nuclei as quantum oscillators.

    Free energies of the phonons at some volumes, atoms, shape and moments at rest at each, are added to the energies,
    and a Vinet curve is fitted at each temperature. What phonons do to each other at one volume is left out: see
    `thermal` for molecular dynamics. Heat capacities are per mole of atoms.
    """

    name: ClassVar[str] = "quasi-harmonic"
    title: ClassVar[str] = "Quasi-harmonic approximation"
    headline: ClassVar[tuple[str, ...]] = ("linear thermal expansion",)

    volumes: int = Field(default=7, ge=5, le=21, description="volumes")
    width: float = Field(
        default=0.12, gt=0, le=0.4, description="how far they go, as a share; a third below the one at rest, else above"
    )
    temperatures: tuple[float, ...] = Field(default=(300.0,), description="K; above zero")
    phonons: Phonons = Field(default=Phonons(mesh=40.0), description="of each volume, by displacements")

    def quick(self) -> Self:
        """Fewer volumes, small supercells."""
        return self.model_copy(update={"volumes": 5, "phonons": self.phonons.quick()})

    def obstacle(self, subject: Subject) -> str:
        """What stands in the way of phonons; second derivatives instead of displacements."""
        if self.phonons.by_hessian(subject):
            return "it takes phonons by displacements: modes clamped and relaxed"
        if min(self.temperatures, default=0.0) <= 0.0:
            return "temperatures are above 0 K"
        return self.phonons.obstacle(subject)

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """At each volume, the smallest first, the perfect supercell and those with one atom displaced."""
        rest = subject.at_rest(finer=FINER)
        shares = np.linspace(-self.width / 3.0, 2.0 * self.width / 3.0, self.volumes)
        frames: list[Frame] = []
        for k, scale in enumerate(np.cbrt(1.0 + shares)):
            scaled = rest.replace(cell=scale * rest.cell, positions=scale * rest.positions)
            still = subject.at_rest(Held.VOLUME, frame=scaled, finer=FINER)
            frames += self.phonons.displaced(subject, still)
            progress((k + 1) / self.volumes, f"volume {k + 1} of {self.volumes}")
        return frames

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Phonons of each volume, and what phonopy makes of their free energies."""
        table = np.arange(0.0, max(self.temperatures) + (BEYOND + 1.5) * STEP, STEP)
        volumes, energies, tables = [], [], list[Curve]()
        for first, last in _volumes(frames):
            some = concatenate([points.frame(k) for k in range(first, last)])
            volumes.append(frames[first].volume / len(frames[first]))
            energies.append(float(some.energy_per_atom[0]))
            tables.append(self._functions(subject, frames[first:last], some, table))
        curve = _expanded(np.array(volumes), np.array(energies), tables)
        known = curve[TEMPERATURE][(curve[VOLUME] > volumes[0]) & (curve[VOLUME] < volumes[-1])]
        if not len(known) or known.max() < max(self.temperatures):
            raise UnmeasurableError(
                "the crystal leaves the volumes asked for",
                where=subject.name,
                seen=f"up to {curve[VOLUME].max():.4g} A^3/atom at up to {max(self.temperatures):g} K",
                expected=f"within {volumes[0]:.4g} to {volumes[-1]:.4g} A^3/atom",
                hint="a larger width, or lower temperatures",
            )
        return Reading(tuple(self._values(curve)), {CURVE: curve}, self.phonons.told(subject))

    def _functions(self, subject: Subject, frames: Sequence[Frame], points: Prediction, table: FloatArray) -> Curve:
        """Thermodynamic functions of one volume."""
        phonons = self.phonons.solved(subject, frames, points)
        volume = f"{frames[0].volume / len(frames[0]):.4g} A^3/atom"
        hint = "a smaller width, if smaller volumes have none"
        check_stable(subject, phonons, self.phonons.mesh, "have no free energy", hint, volume)
        return thermodynamics_of(phonons, table)

    def _values(self, curve: Curve) -> Iterator[Value]:
        """At the temperatures asked for, between those of the curve."""
        for t in self.temperatures:
            for head in HEADS:
                name, _, unit = head.partition(" (")
                value = float(np.interp(t, curve[TEMPERATURE], curve[head]))
                yield Value(name, unit[:-1], value, temperature=t)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Expansion, bulk modulus and heat capacity against temperature."""
        shown = [(label, m.curves[CURVE]) for label, m in found if CURVE in m.curves]
        if not shown:
            return []

        def paint(axes: Any) -> None:
            for panel, head in zip(axes, (EXPANSION, BULK, AT_PRESSURE), strict=True):
                for k, (label, curve) in enumerate(shown):
                    panel.plot(curve[TEMPERATURE], curve[head], color=SERIES[k % len(SERIES)], label=label)
                panel.set_xlabel("Temperature (K)")
                panel.set_ylabel(head[0].upper() + head[1:])
            axes[0].legend()

        numbers = {f"{label}: {head}": column for label, curve in shown for head, column in curve.items()}
        structure = found[0][1].structure
        caption = f"Quasi-harmonic expansion, bulk modulus and heat capacity at constant pressure of {structure}."
        return [plot(draw(10.4, 2.8, paint, ncols=3), f"quasi-harmonic-{structure}", caption, numbers, wide=True)]


def _volumes(frames: Sequence[Frame]) -> Iterator[tuple[int, int]]:
    """First and one past the last frame of each volume: the cell changes where one begins."""
    starts = [0, *(k for k in range(1, len(frames)) if not np.array_equal(frames[k].cell, frames[k - 1].cell))]
    return pairwise([*starts, len(frames)])


def _expanded(volumes: FloatArray, energies: FloatArray, tables: Sequence[Curve]) -> Curve:
    """Columns against temperature, all but the last ones of the tables.

    Parameters
    ----------
    volumes, energies
        (volumes,) A^3 and eV per atom.
    tables
        Thermodynamic functions of each volume at the same temperatures.
    """
    from phonopy import PhonopyQHA

    free, capacity, entropy = (np.column_stack([t[head] for t in tables]) for head in (FREE, CAPACITY, ENTROPY))
    temperatures = tables[0][TEMPERATURE]
    last = len(temperatures) - BEYOND
    found = PhonopyQHA(
        volumes=volumes,
        electronic_energies=energies,
        temperatures=temperatures,
        free_energy=free,
        cv=capacity,
        entropy=entropy,
        t_max=float(temperatures[last - 1]),
    )
    columns = (
        temperatures,
        np.asarray(found.volume_temperature),
        1e6 / 3.0 * np.asarray(found.thermal_expansion),
        np.asarray(found.bulk_modulus_temperature),
        np.asarray(found.heat_capacity_P_numerical),
        np.asarray(found.gruneisen_temperature),
    )
    return {head: column[:last] for head, column in zip((TEMPERATURE, *HEADS), columns, strict=True)}
