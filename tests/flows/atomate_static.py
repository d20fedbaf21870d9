"""atomate2's own ASE Maker on the model Hamiltonian: a static Maker of another package."""

from __future__ import annotations

from dataclasses import dataclass

from atomate2.ase.jobs import AseRelaxMaker

from magflow.dft.spin_lattice.calculator import SpinLatticeCalculator


@dataclass
class SpinLatticeStaticMaker(AseRelaxMaker):
    """One step of no relaxation."""

    name: str = "model Hamiltonian static"
    steps: int = 1
    relax_cell: bool = False

    def _get_calculator(self):
        return SpinLatticeCalculator()
