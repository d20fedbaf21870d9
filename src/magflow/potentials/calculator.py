"""ASE calculator for any Potential."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import ArrayLike

from magflow.core.frame import Frame
from magflow.core.moments import GivenMoments, as_vectors, is_collinear
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.core.protocols import KnowsAtomicEnergies, SupportsGrades, TellsMagnetic, has_grades, parts_of
from magflow.errors import InputError
from magflow.io.predictions import why_outside

_INITIAL, _ACHIEVED = "initial_magmoms", "magmoms"


class ExtrapolationWarning(UserWarning):
    """A potential is asked about atoms unlike those it was fitted on."""


class Predicts(Protocol):
    """A potential, or an ensemble."""

    def predict(self, frames: Sequence[Frame]) -> Prediction | EnsemblePrediction:
        """What it says of some frames."""


def frame_of(atoms: Atoms, *, magnetic: bool, moments: GivenMoments | None = None) -> Frame:
    """The frame a potential is evaluated at.

    Parameters
    ----------
    magnetic
        Whether it needs moments.
    moments
        These moments; None: ``initial_magmoms``, else the ``magmoms`` that another calculator found.

    Raises
    ------
    InputError
        If the cell is not periodic in three directions, or moments are needed and nobody has set them: ASE's zeros for
        atoms without moments are no moments.
    """
    if not all(atoms.pbc):
        raise InputError(
            "the cell is not periodic in all directions", seen=atoms.pbc.tolist(), hint="add vacuum and set pbc=True"
        )
    species = tuple(atoms.get_chemical_symbols())
    magmoms = as_vectors(_moments_of(atoms, species, moments), len(species)) if magnetic else None
    return Frame(species, np.array(atoms.cell), atoms.positions, magmoms)


def _moments_of(atoms: Atoms, species: Sequence[str], moments: GivenMoments | None) -> ArrayLike:
    if isinstance(moments, Mapping):
        if missing := sorted(set(species) - set(moments)):
            raise InputError("moments= leaves out an element", seen=", ".join(missing), expected="muB of every element")
        return [float(moments[s]) for s in species]
    if moments is not None:
        return moments
    for name in (_INITIAL, _ACHIEVED):
        if atoms.has(name):
            return atoms.arrays[name]
    achieved: ArrayLike | None = getattr(atoms.calc, "results", {}).get(_ACHIEVED)
    if achieved is not None and not atoms.calc.check_state(atoms):
        return achieved
    raise InputError(
        "a magnetic potential needs moments, and the atoms have none",
        where="calculator",
        expected="the moment of every atom, muB; zeros if they are to carry none",
        hint="atoms.set_initial_magnetic_moments([..]), or calculator(moments={'Fe': 2.2, ..})",
    )


class FrameCalculator(Calculator):
    """Evaluates a potential, or an ensemble, on ASE atoms.

    Results: ``energy`` (= ``free_energy``, eV), ``forces``, ``stress`` (eV/A^3, positive in tension); of a magnetic
    potential ``magmoms``, the moments it was evaluated at (muB), and ``magnetic_forces`` (N, 3) -dE/dm (eV/muB); where
    the family knows them ``energies`` (N,) eV and ``grade``, the extrapolation grade; of an ensemble ``deviations``, a
    dict with the calibrated deviation of each quantity. It can be pickled and copied.

    Parameters
    ----------
    moments
        See :func:`frame_of`.

    Warns
    -----
    ExtrapolationWarning
        Once, when the grade exceeds 2, or the calibrated deviation of a force 0.3 eV/A.
    """

    def __init__(self, potential: Predicts, *, moments: GivenMoments | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.potential = potential
        self.moments = moments
        self.magnetic = not isinstance(potential, TellsMagnetic) or potential.magnetic
        self._warned = False
        names = ["energy", "free_energy", "forces", "stress", "deviations"]
        names += ["magmoms", "magnetic_forces"] if self.magnetic else []
        self._sums = all(isinstance(p, KnowsAtomicEnergies) for p in parts_of(potential))
        self._grades = has_grades(potential)
        names += ["energies"] if self._sums else []
        names += ["grade"] if self._grades else []
        self.implemented_properties = names

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Everything at once. Keeps a copy of the atoms, so that later changes of them are seen."""
        source = atoms if atoms is not None else self.atoms
        if source is None:
            raise InputError("there are no atoms to evaluate", hint="calculate(atoms)")
        frame = frame_of(source, magnetic=self.magnetic, moments=self.moments)
        super().calculate(atoms, properties or ["energy"], system_changes)
        said = self.potential.predict([frame])
        prediction = said if isinstance(said, EnsemblePrediction) else EnsemblePrediction.from_members([said])
        self.results = _results(prediction.mean)
        if prediction is said:
            self.results["deviations"] = _results(prediction.deviation)
        if frame.magmoms is not None:
            self.results["magmoms"] = frame.magmoms[:, 2] if is_collinear(frame.magmoms) else frame.magmoms.copy()
        if isinstance(self.potential, KnowsAtomicEnergies) and self._sums and "energies" in (properties or ()):
            self.results["energies"] = self.potential.atomic_energies([frame])
        if isinstance(self.potential, SupportsGrades) and self._grades:
            self.results["grade"] = float(self.potential.grades([frame])[0])
        if not self._warned:
            self._warn(why_outside(prediction, self.results.get("grade")))

    def _warn(self, reasons: Sequence[str]) -> None:
        if reasons:
            self._warned = True
            text = f"these atoms are outside the training set: {'; '.join(reasons)}; not said again"
            warnings.warn(text, ExtrapolationWarning, stacklevel=3)


def _results(prediction: Prediction) -> dict[str, Any]:
    energy = float(prediction.energy[0])
    out: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "forces": prediction.forces,
        "stress": prediction.stress[0],
    }
    if prediction.magnetic_forces is not None:
        out["magnetic_forces"] = prediction.magnetic_forces
    return out
