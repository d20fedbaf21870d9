"""Phonons by finite displacements or by the Hessian: phonopy chooses the displacements and does all that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from magflow.core.frame import Frame
from magflow.core.hessian import Hessian
from magflow.core.moments import is_collinear
from magflow.core.prediction import Prediction
from magflow.core.protocols import WorkProgress, silent
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.explore.relaxation.settings import TOLERANCE
from magflow.presentation.blocks import Plot
from magflow.properties.base import PointProperty, Work
from magflow.properties.charges import NOTE, charged, why_not_charged
from magflow.properties.displaced import displaced_frames
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
    thermal_displacements,
    thermodynamics_of,
)
from magflow.properties.magnetic_modes import check_free, hessians, movable
from magflow.properties.measurement import Curve, Measurement, Moments, Reading, Value
from magflow.properties.modes import Mode
from magflow.properties.moment_response import response_of
from magflow.properties.phonon_plots import figures
from magflow.properties.phonopy_export import write_cell
from magflow.properties.subject import Subject, UnmeasurableError
from magflow.properties.vibrations import IMAGINARY

if TYPE_CHECKING:
    from phonopy import Phonopy

DISPLACEMENT = "mean square thermal displacement"
FINER = 100.0
"""Divides the tolerances of the relaxations: a displacement of 0.01 A moves a magnetic force by some meV/muB."""
CONSTANTS = "force constants (eV/A^2)"
"""Array of a reading, (N, N, 3, 3)."""
DIGITS = 4
"""Of the lowest frequency: at Gamma it is zero but for rounding."""


class ForceConstants(StrEnum):
    """Where force constants come from."""

    DISPLACEMENTS = "displacements"
    """Forces of supercells with one atom displaced."""
    HESSIAN = "hessian"
    """Second derivatives of the energy, where the family gives them."""


class Phonons(PointProperty):
    """Harmonic phonons of the crystal at rest, in one of three magnetic modes, which the result names.

    The first frame is the perfect supercell, whose forces are subtracted from those of displaced ones. Thermodynamic
    functions are per mole of atoms.
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
    force_constants: ForceConstants = Field(
        default=ForceConstants.DISPLACEMENTS,
        description="from displacements, or from the Hessian, where stiffness and coupling of the moments are told too",
    )
    mode: Mode | None = Field(
        default=None,
        description="what moments do while an atom is displaced: clamped, relaxed (at rest in each supercell) or "
        "adiabatic (they follow by algebra, and their stiffness and coupling are told; from the Hessian, or from "
        "differences of forces and magnetic forces). Left out: clamped where moments are kept, else relaxed, from the "
        "Hessian adiabatic",
    )
    displacement: float = Field(default=0.01, gt=0, le=0.2, description="of an atom, A")
    born: str = Field(
        default="",
        description="text of a BORN file of phonopy, for the long waves of an insulator: dielectric constant and Born "
        "charges of the primitive cell",
    )
    mesh: float = Field(default=100.0, ge=10, le=500, description="density of the q-point mesh as phonopy counts it, A")
    temperatures: tuple[float, ...] = Field(
        default=(300.0,), description="K; of the free energy, entropy and heat capacity"
    )

    def quick(self) -> Self:
        """A small supercell and a coarse mesh."""
        return self.model_copy(update={"cutoffs": 1.5, "mesh": 40.0})

    def obstacle(self, subject: Subject) -> str:
        """Wider than the reach of the potential, moments along one axis, what the mode needs."""
        if subject.ensemble.magnetic and subject.frame.magmoms is not None and not is_collinear(subject.frame.magmoms):
            return "its moments are not collinear"
        unfit = self._unfit(subject)
        if unfit:
            return unfit
        if self.born and (why := why_not_charged(subject.frame, self.born)):
            return why
        return too_narrow(subject, self.repeats(subject))

    def _unfit(self, subject: Subject) -> str:
        """Why the mode cannot be had; empty if it can."""
        ensemble, mode = subject.ensemble, self._mode(subject)
        if self.mode in (Mode.RELAXED, Mode.ADIABATIC) and not ensemble.magnetic:
            return f"potentials of family {ensemble.family_name} read no moments: there is no mode {self.mode}"
        by_hessian = self.force_constants is ForceConstants.HESSIAN
        if mode is Mode.RELAXED and (by_hessian or subject.moments is not Moments.RELAXED):
            return "the mode relaxed takes displacements, and moments that are at rest in every configuration"
        if mode is Mode.ADIABATIC and subject.moments is Moments.FIXED:
            return "its moments are kept, and cannot follow the atoms"
        if by_hessian and self.mode is not Mode.ADIABATIC and not ensemble.gives_hessian:
            return f"potentials of family {ensemble.family_name} have no second derivatives"
        if by_hessian and ensemble.roughness:
            return f"the Hessian of potentials of family {ensemble.family_name} is not their force constants"
        return ""

    def _mode(self, subject: Subject) -> Mode | None:
        """What the moments do; None where there are none."""
        if not subject.ensemble.magnetic or self.mode is not None:
            return self.mode
        if subject.moments is not Moments.RELAXED:
            return Mode.CLAMPED
        return Mode.ADIABATIC if self.force_constants is ForceConstants.HESSIAN else Mode.RELAXED

    def by_hessian(self, subject: Subject) -> bool:
        """Whether force constants come from second derivatives, not from displacements."""
        return self.force_constants is ForceConstants.HESSIAN or self._mode(subject) is Mode.ADIABATIC

    def repeats(self, subject: Subject) -> tuple[int, int, int]:
        """How often the cell is repeated along each of its vectors."""
        if self.supercell is not None:
            return self.supercell
        return as_wide_as(subject.frame, self.cutoffs * subject.ensemble.cutoff)

    def frames(self, subject: Subject, progress: WorkProgress = silent) -> list[Frame]:
        """The perfect supercell; without the Hessian those with one atom displaced, too."""
        rest = subject.at_rest(finer=FINER)
        if self.by_hessian(subject):
            return [repeated(rest, self.repeats(subject))]
        return self.displaced(subject, rest)

    def for_labels(self, subject: Subject) -> list[Frame]:
        """DFT gives forces: the perfect supercell and those with one atom displaced."""
        return self.displaced(subject, subject.at_rest(finer=FINER))

    def displaced(self, subject: Subject, rest: Frame) -> list[Frame]:
        """The supercell of a crystal at rest, perfect and with one atom displaced."""
        perfect = repeated(rest, self.repeats(subject))
        return [perfect, *self.followed(subject, displaced_frames(perfect, self.displacement))]

    def followed(self, subject: Subject, displaced: Sequence[Frame]) -> list[Frame]:
        """Frames with displaced atoms, their moments where the mode wants them.

        Raises
        ------
        UnmeasurableError
            If the moments of one do not come to rest.
        """
        if self._mode(subject) is Mode.CLAMPED:
            return list(displaced)
        return subject.with_moments_at_rest(displaced, tolerance=TOLERANCE / FINER)

    def leave(self, work: Work, frames: Sequence[Frame], reading: Reading) -> None:
        """The force constants of the mean energy as files of phonopy, with what the moments do in their first line."""
        if CONSTANTS in reading.arrays:
            note = "; ".join(reading.remarks)
            write_cell(work.directory, frames[0], reading.arrays[CONSTANTS], note, born=self.born)

    def read(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Reading:
        """Force constants of the forces, and what phonopy derives from them."""
        return self._derived(self.solved(subject, frames, points)) + Reading((), {}, self.told(subject))

    def solved(self, subject: Subject, frames: Sequence[Frame], points: Prediction) -> Phonopy:
        """Phonopy with the force constants of displacements (:func:`solved`), and the charges asked for."""
        return charged(solved(subject, frames, points), self.born)

    def told(self, subject: Subject) -> tuple[str, ...]:
        """What the moments do while atoms are displaced, and that there are charges, as remarks; often nothing."""
        mode = self._mode(subject)
        moments = () if mode is None else ((Mode.CLAMPED if mode is Mode.CLAMPED else Mode.RELAXED).told,)
        return moments + self._charges_told

    @property
    def _charges_told(self) -> tuple[str, ...]:
        return (NOTE,) if self.born else ()

    def answers(self, subject: Subject, frames: Sequence[Frame]) -> tuple[Reading, list[Reading]]:
        """From the Hessian of the mean energy and of each member's, where the mode or the settings ask for it."""
        if not self.by_hessian(subject):
            return super().answers(subject, frames)
        if self._mode(subject) is Mode.ADIABATIC:
            check_free(subject, frames[0])
        own, told = hessians(subject, frames[0])
        mean = Hessian(np.asarray(np.mean([h.array for h in own], axis=0)))
        reading, members = self._from_hessian(subject, frames[0], mean), list[Reading]()
        for one in own if len(own) > 1 else ():
            try:
                members.append(self._from_hessian(subject, frames[0], one))
            except UnmeasurableError:
                continue
        return reading + Reading((), {}, told), members

    def _from_hessian(self, subject: Subject, perfect: Frame, found: Hessian) -> Reading:
        mode = self._mode(subject)
        try:
            constants = found.adiabatic(movable(subject, perfect)) if mode is Mode.ADIABATIC else found.positions
        except InputError as error:
            raise UnmeasurableError("moments cannot follow the atoms", where=subject.name, seen=str(error)) from error
        phonons, n = phonopy_of(perfect), len(perfect)
        phonons.force_constants = np.ascontiguousarray(constants.reshape(n, 3, n, 3).transpose(0, 2, 1, 3))
        reading = self._derived(charged(symmetrised(subject, phonons), self.born)) + Reading((), {}, self._charges_told)
        if mode is None:
            return reading
        return reading + response_of(perfect, found, phonons.primitive.p2s_map) + Reading((), {}, (mode.told,))

    def _derived(self, phonons: Phonopy) -> Reading:
        """What phonopy derives from its force constants."""
        mesh = phonons.run_mesh(self.mesh)
        frequencies = np.asarray(mesh.frequencies)
        curves = bands_of(phonons)
        top, lowest, q = _extremes(frequencies, np.asarray(mesh.qpoints), curves)
        curves[DOS] = states_of(phonons, frequencies)
        arrays = {CONSTANTS: np.array(phonons.force_constants)}
        values: tuple[Value, ...] = (
            Value("highest frequency", "THz", top),
            Value("lowest frequency", "THz", round(lowest, DIGITS) + 0.0),
        )
        if lowest < -IMAGINARY:
            return Reading(values, curves, (f"imaginary modes, down to {-lowest:.3g}i THz at q = ({q})",), arrays)
        curves[THERMODYNAMICS] = thermodynamics_of(phonons, np.arange(0.0, 1001.0, 20.0))
        values += tuple(_at(thermodynamics_of(phonons, np.array(self.temperatures))))
        for element, squares in thermal_displacements(phonons, np.array(self.temperatures)).items():
            values += tuple(
                Value(DISPLACEMENT, "A^2", float(u), temperature=t, at=element)
                for t, u in zip(self.temperatures, squares, strict=True)
            )
        return Reading(values, curves, (), arrays)

    def plots(self, found: Sequence[tuple[str, Measurement]]) -> list[Plot]:
        """Bands with the density of states, and the thermodynamic functions."""
        return figures(found)


def as_wide_as(frame: Frame, width: float) -> tuple[int, int, int]:
    """Fewest repeats of a cell that lie `width`, A, apart from their images."""
    a, b, c = (int(n) for n in np.ceil(width / _widths(frame, (1, 1, 1)) - 1e-6))
    return a, b, c


def too_narrow(subject: Subject, repeats: tuple[int, int, int]) -> str:
    """Why a supercell is no place to displace an atom in; empty if it is wide enough."""
    width, cutoff = _widths(subject.frame, repeats).min(), subject.ensemble.cutoff
    if width >= cutoff:
        return ""
    return (
        f"the supercell is {width:.2f} A wide, less than the cutoff of {cutoff:g} A: "
        "a displaced atom would see its own image"
    )


def _widths(frame: Frame, repeats: tuple[int, int, int]) -> FloatArray:
    """(3,) distances between opposite faces of the repeated cell, A."""
    widths: FloatArray = np.array(repeats) / np.linalg.norm(np.linalg.inv(frame.cell), axis=0)
    return widths


def solved(subject: Subject, frames: Sequence[Frame], points: Prediction) -> Phonopy:
    """Phonopy with the force constants of displacements.

    Parameters
    ----------
    frames, points
        The perfect supercell and those with one atom displaced, and what is predicted of them.

    Raises
    ------
    UnmeasurableError
        If not exactly one atom of each is displaced, or the forces give none.
    """
    phonons = phonopy_of(frames[0])
    phonons.dataset = _displacements(frames, points)
    phonons.produce_force_constants(show_drift=False)
    return symmetrised(subject, phonons)


def symmetrised(subject: Subject, phonons: Phonopy) -> Phonopy:
    """The same, its force constants made symmetric and rid of what a translation would do.

    Raises
    ------
    UnmeasurableError
        If they are not finite.
    """
    phonons.symmetrize_force_constants(show_drift=False)
    if not np.isfinite(np.asarray(phonons.force_constants, float)).all():
        raise UnmeasurableError("the forces give no force constants", where=subject.name)
    return phonons


def check_stable(subject: Subject, phonons: Any, mesh: float, why: str, hint: str, of: str = "") -> None:
    """No waves on the mesh that grow.

    Parameters
    ----------
    mesh
        Density of the q-points as phonopy counts it, A.
    why, hint
        What cannot be said of them, and what may help.
    of
        Which of several phonons of the subject these are.

    Raises
    ------
    UnmeasurableError
        If there are some.
    """
    found = phonons.run_mesh(mesh)
    lowest, q = softest(np.asarray(found.frequencies), np.asarray(found.qpoints))
    if lowest < -IMAGINARY:
        seen = f"{-lowest:.3g}i THz at q = ({q})" + (f", {of}" if of else "")
        raise UnmeasurableError(f"imaginary modes {why}", where=subject.name, seen=seen, hint=hint)


def softest(frequencies: FloatArray, points: FloatArray) -> tuple[float, str]:
    """The lowest frequency, THz, and its q-point in words (reduced).

    Parameters
    ----------
    frequencies, points
        (q-points, branches) THz and (q-points, 3).
    """
    q = points[frequencies.min(axis=1).argmin()]
    return float(frequencies.min()), ", ".join(f"{x:.3g}" for x in q)


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


def _extremes(frequencies: FloatArray, points: FloatArray, bands: Mapping[str, Curve]) -> tuple[float, float, str]:
    """Highest and lowest frequency, THz, of the mesh and the bands, and the q-point of the lowest in words."""
    every = [frequencies]
    where = [points]
    for curve in bands.values():
        every.append(np.column_stack([c for head, c in curve.items() if head.startswith(BRANCH)]))
        where.append(np.column_stack([curve[head] for head in Q]))
    found = np.vstack(every)
    return float(found.max()), *softest(found, np.vstack(where))


def _at(table: Curve) -> Iterator[Value]:
    """The thermodynamic functions at each temperature."""
    for k, t in enumerate(table[TEMPERATURE]):
        for name, unit, head in (
            ("vibrational free energy", "kJ/mol", FREE),
            ("vibrational entropy", "J/(K mol)", ENTROPY),
            ("vibrational heat capacity", "J/(K mol)", CAPACITY),
        ):
            yield Value(name, unit, float(table[head][k]), temperature=float(t))
