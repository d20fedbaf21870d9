"""Phonons by finite displacements: phonopy chooses the displacements and does all that follows from the forces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.moments import is_collinear
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.explore.geometry import repeated
from magflow.explore.relaxation.settings import TOLERANCE
from magflow.presentation.blocks import Plot
from magflow.properties.base import PointProperty
from magflow.properties.harmonic import (
    BRANCH,
    CAPACITY,
    DOS,
    ENTROPY,
    FREE,
    TEMPERATURE,
    THERMODYNAMICS,
    Q,
    bands_of,
    phonopy_of,
    states_of,
    thermodynamics_of,
)
from magflow.properties.measurement import Curve, Measurement, Reading, Value
from magflow.properties.phonon_plots import figures
from magflow.properties.subject import Subject, UnmeasurableError

FINER = 100.0
"""Divides the tolerances of the relaxations: a displacement of 0.01 A moves a magnetic force by some meV/muB."""
DIGITS = 4
"""Of the lowest frequency: at Gamma it is zero but for rounding."""
IMAGINARY = 0.05
"""THz; imaginary frequencies below it are the noise of the acoustic modes at Gamma."""


class Phonons(PointProperty):
    """Harmonic phonons of the crystal at rest.

    The moments of a displaced supercell are at rest or those of the perfect crystal, as the subject says. The first
    frame is the perfect supercell, whose forces are subtracted. Thermodynamic functions are per mole of atoms.
    """

    name: ClassVar[str] = "phonons"
    title: ClassVar[str] = "Phonons"
    headline: ClassVar[tuple[str, ...]] = ("highest frequency",)

    supercell: tuple[int, int, int] | None = Field(
        default=None, description="repeats of the cell; left out: as few as make it `cutoffs` wide"
    )
    cutoffs: float = Field(
        default=2.0, ge=1, le=6, description="least width of the supercell, in cutoffs of the potential"
    )
    displacement: float = Field(default=0.01, gt=0, le=0.2, description="of an atom, A")
    mesh: float = Field(default=100.0, ge=10, le=500, description="density of the q-point mesh as phonopy counts it, A")
    temperatures: tuple[float, ...] = Field(
        default=(300.0,), description="K; of the free energy, entropy and heat capacity"
    )

    def quick(self) -> Self:
        """A small supercell and a coarse mesh."""
        return self.model_copy(update={"cutoffs": 1.5, "mesh": 40.0})

    def obstacle(self, subject: Subject) -> str:
        """The supercell is wider than the reach of the potential, and its moments are along one axis."""
        if subject.ensemble.magnetic and subject.frame.magmoms is not None and not is_collinear(subject.frame.magmoms):
            return "its moments are not collinear"
        width = _widths(subject.frame, self._repeats(subject)).min()
        if width < subject.ensemble.cutoff:
            return (
                f"the supercell is {width:.2f} A wide, less than the cutoff of {subject.ensemble.cutoff:g} A: "
                "a displaced atom would see its own image"
            )
        return ""

    def _repeats(self, subject: Subject) -> tuple[int, int, int]:
        if self.supercell is not None:
            return self.supercell
        widths = _widths(subject.frame, (1, 1, 1))
        a, b, c = (int(n) for n in np.ceil(self.cutoffs * subject.ensemble.cutoff / widths - 1e-6))
        return a, b, c

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The perfect supercell and those with one atom displaced."""
        perfect = repeated(subject.at_rest(finer=FINER), self._repeats(subject))
        phonons = phonopy_of(perfect)
        phonons.generate_displacements(distance=self.displacement)
        displaced = [perfect.replace(positions=s.positions) for s in phonons.supercells_with_displacements or ()]
        return [perfect, *subject.with_moments_at_rest(displaced, tolerance=TOLERANCE / FINER)]

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Force constants of the forces, and what phonopy derives from them."""
        phonons = phonopy_of(frames[0])
        phonons.dataset = _displacements(frames, points)
        phonons.produce_force_constants(show_drift=False)
        phonons.symmetrize_force_constants(show_drift=False)
        if not np.isfinite(np.asarray(phonons.force_constants, float)).all():
            raise UnmeasurableError("the forces give no force constants", where=subject.name)
        mesh = phonons.run_mesh(self.mesh)
        frequencies = np.asarray(mesh.frequencies)
        curves = bands_of(phonons)
        top, lowest, q = _extremes(frequencies, np.asarray(mesh.qpoints), curves)
        curves[DOS] = states_of(phonons, frequencies)
        values = (Value("highest frequency", "THz", top), Value("lowest frequency", "THz", round(lowest, DIGITS) + 0.0))
        if lowest < -IMAGINARY:
            at = ", ".join(f"{x:.3g}" for x in q)
            return Reading(values, curves, (f"imaginary modes, down to {-lowest:.3g}i THz at q = ({at})",))
        curves[THERMODYNAMICS] = thermodynamics_of(phonons, np.arange(0.0, 1001.0, 20.0))
        return Reading((*values, *_at(thermodynamics_of(phonons, np.array(self.temperatures)))), curves)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Bands with the density of states, and the thermodynamic functions."""
        return figures(found)


def _widths(frame: Frame, repeats: tuple[int, int, int]) -> FloatArray:
    """(3,) distances between opposite faces of the repeated cell, A."""
    widths: FloatArray = np.array(repeats) / np.linalg.norm(np.linalg.inv(frame.cell), axis=0)
    return widths


def _displacements(frames: Sequence[Frame], points: Prediction) -> Any:
    """Phonopy's data set of the frames after the first; the forces left on the atoms of the first are taken off.

    Raises
    ------
    UnmeasurableError
        If not exactly one atom of each is displaced.
    """
    perfect, still = frames[0], points.frame(0).forces
    inverse = np.linalg.inv(perfect.cell)
    first = []
    for k, frame in enumerate(frames[1:], start=1):
        moved = (frame.positions - perfect.positions) @ inverse
        moved = (moved - np.rint(moved)) @ perfect.cell
        atoms = np.flatnonzero(np.linalg.norm(moved, axis=1) > 1e-5)
        if len(atoms) != 1:
            raise UnmeasurableError("one atom of each supercell is displaced", seen=f"{len(atoms)} of supercell {k}")
        forces = points.frame(k).forces - still
        first.append({"number": int(atoms[0]), "displacement": moved[atoms[0]], "forces": forces})
    return {"natom": len(perfect), "first_atoms": first}


def _extremes(
    frequencies: FloatArray, points: FloatArray, bands: Mapping[str, Curve]
) -> tuple[float, float, FloatArray]:
    """Highest and lowest frequency, THz, of the mesh and the bands, and the q-point of the lowest (reduced)."""
    every = [frequencies]
    where = [points]
    for curve in bands.values():
        every.append(np.column_stack([c for head, c in curve.items() if head.startswith(BRANCH)]))
        where.append(np.column_stack([curve[head] for head in Q]))
    found, q = np.vstack(every), np.vstack(where)
    return float(found.max()), float(found.min()), q[found.min(axis=1).argmin()]


def _at(table: Curve) -> Iterator[Value]:
    """The thermodynamic functions at each temperature."""
    for k, t in enumerate(table[TEMPERATURE]):
        for name, unit, head in (
            ("vibrational free energy", "kJ/mol", FREE),
            ("vibrational entropy", "J/(K mol)", ENTROPY),
            ("vibrational heat capacity", "J/(K mol)", CAPACITY),
        ):
            yield Value(name, unit, float(table[head][k]), temperature=float(t))
