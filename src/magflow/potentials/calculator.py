"""ASE calculator for any Potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from magflow.core.frame import Frame
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.errors import InputError


def frame_of(atoms: Atoms, *, magnetic: bool) -> Frame:
    """The frame a potential is evaluated at.

    Raises
    ------
    InputError
        If the cell is not periodic in three directions.
    """
    if not all(atoms.pbc):
        raise InputError(
            "the cell is not periodic in all directions", seen=atoms.pbc.tolist(), hint="add vacuum and set pbc=True"
        )
    magmoms = atoms.get_initial_magnetic_moments() if magnetic else None
    return Frame(tuple(atoms.get_chemical_symbols()), np.array(atoms.cell), atoms.positions, magmoms)


class Predicts(Protocol):
    """A potential, or an ensemble."""

    @property
    def magnetic(self) -> bool:
        """Whether it reads moments."""

    def predict(self, frames: Sequence[Frame]) -> Prediction | EnsemblePrediction:
        """What it says of some frames."""


class FrameCalculator(Calculator):
    """Evaluates a potential, or an ensemble, on ASE atoms.

    Moments are read from ``initial_magmoms``. Results: ``energy`` (= ``free_energy``, eV), ``forces``,
    ``stress`` (eV/A^3, positive in tension), ``magnetic_forces`` (N, 3) eV/muB; of an ensemble also ``deviations``,
    a dict with the standard deviation of each.
    """

    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]  # ASE does not say it is the class's
        "energy",
        "free_energy",
        "forces",
        "stress",
        "magnetic_forces",
        "deviations",
    ]

    def __init__(self, potential: Predicts, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Everything at once. Keeps a copy of the atoms, so that later changes of them are seen."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        if self.atoms is None:
            raise InputError("there are no atoms to evaluate", hint="calculate(atoms)")
        prediction = self.potential.predict([frame_of(self.atoms, magnetic=self.potential.magnetic)])
        if isinstance(prediction, EnsemblePrediction):
            self.results = _results(prediction.mean)
            self.results["deviations"] = _results(prediction.deviation)
        else:
            self.results = _results(prediction)


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
