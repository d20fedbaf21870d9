"""Potentials whose answers are known: ASE's calculators and the spin-lattice model as a potential of magflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from magflow.core.frame import Frame
from magflow.core.prediction import Prediction, concatenate
from magflow.dft.spin_lattice import SpinLatticeModel, calculator
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble


class AsePotential:
    """Any calculator of ASE, without moments."""

    family = "ase"
    magnetic = False

    def __init__(self, make: Callable[[], Calculator], species: Sequence[str], cutoff: float) -> None:
        self.make, self.species, self.cutoff = make, tuple(species), cutoff

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        calc, parts = self.make(), []
        for f in frames:
            atoms = Atoms(f.species, cell=f.cell, positions=f.positions, pbc=True, calculator=calc)
            stress = atoms.get_stress()
            forces, energy = atoms.get_forces(), atoms.get_potential_energy()
            parts.append(Prediction(np.array([len(f)]), np.array([energy]), forces, stress[None]))
        none = Prediction(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)))
        return concatenate(parts) if parts else none

    def to_bytes(self) -> bytes:
        return f"{self.family} {self.species} {self.cutoff}".encode()

    def calculator(self) -> Calculator:
        return self.make()


class ModelPotential:
    """The spin-lattice model Hamiltonian (a model, not DFT), which reads moments."""

    family = "spin-lattice"
    magnetic = True
    species = ("Al", "Fe")
    cutoff = 5.0
    max_moment = {"Al": 0.3, "Fe": 3.0}  # noqa: RUF012

    def __init__(self) -> None:
        self.model = SpinLatticeModel()

    def predict(self, frames: Sequence[Frame]) -> Prediction:
        if any(f.magmoms is None for f in frames):
            raise InputError("a frame without moments")
        return self.model.predict(frames)

    def to_bytes(self) -> bytes:
        return b"spin-lattice"

    def calculator(self) -> Calculator:
        return calculator(self.model)


def alone(potential: AsePotential | ModelPotential) -> PotentialEnsemble:
    """It as an ensemble of one."""
    return PotentialEnsemble((potential,), potential.family)


def bcc(a: float, element: str = "Fe", moment: float | None = None) -> Frame:
    """The two atoms of the cubic cell, parallel."""
    moments = None if moment is None else [moment, moment]
    return Frame((element, element), a * np.eye(3), [[0, 0, 0], [a / 2] * 3], moments)  # type: ignore[arg-type]


def fcc(a: float, element: str) -> Frame:
    """The four atoms of the cubic cell."""
    corners = a / 2 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Frame((element,) * 4, a * np.eye(3), corners)
