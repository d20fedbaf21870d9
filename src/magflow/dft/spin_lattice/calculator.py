"""ASE calculator on the spin-lattice model Hamiltonian (a model, not DFT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from magflow.core.frame import Frame
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.errors import InputError


class SpinLatticeCalculator(Calculator):
    """Energy and derivatives at the ``initial_magmoms`` of the atoms, (N,) along z or (N, 3), in muB.

    Beside the ASE properties `results` holds ``magnetic_forces`` (N, 3) eV/muB, -dE/dm.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "magmoms"]  # noqa: RUF012

    def __init__(self, model: SpinLatticeModel | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model or SpinLatticeModel()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """ASE's hook; fills `results`."""
        super().calculate(atoms, list(properties), list(system_changes))
        if self.atoms is None:
            raise InputError("there are no atoms to evaluate", hint="calculate(atoms)")
        here = self.atoms
        moments = here.get_initial_magnetic_moments()
        frame = Frame(tuple(here.get_chemical_symbols()), np.array(here.cell), here.positions, moments)
        p = self.model.predict([frame])
        self.results = {
            "energy": float(p.energy[0]),
            "free_energy": float(p.energy[0]),
            "forces": p.forces,
            "stress": p.stress[0],
            "magmoms": np.array(moments, dtype=float),
            "magnetic_forces": p.magnetic_forces,
        }


def calculator(model: SpinLatticeModel | None = None) -> SpinLatticeCalculator:
    """ASE calculator of `model`, the Fe-Al model Hamiltonian by default."""
    return SpinLatticeCalculator(model)
