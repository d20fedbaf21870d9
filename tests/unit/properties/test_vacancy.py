"""Vacancies of copper, against ASE."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import UnitCellFilter
from ase.optimize import BFGS

from exact_potentials import AsePotential, alone, fcc
from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.properties.base import Work
from magflow.properties.subject import Subject
from magflow.properties.vacancy import Vacancy


def test_copper_agrees_with_ase(tmp_path):
    found = Vacancy(atoms=32).measure(
        Subject(alone(AsePotential(EMT, ["Cu"], 6.0)), "fcc-Cu", fcc(3.6, "Cu")), Work(tmp_path)
    )
    assert not found.failure
    assert found.atoms == 32
    perfect = bulk("Cu", a=3.6, cubic=True) * (2, 2, 2)
    vacant = perfect[1:]
    energies = []
    for atoms in (perfect, vacant):
        atoms.calc = EMT()
        BFGS(UnitCellFilter(atoms), logfile=None).run(fmax=0.005, steps=200)
        energies.append(atoms.get_potential_energy())
    assert found.value("vacancy formation energy").value == pytest.approx(energies[1] - 31 / 32 * energies[0], abs=2e-3)
    assert 0.5 < found.value("vacancy formation volume").value < 1.0


def test_compounds_are_refused(tmp_path):
    b2 = Frame(("Cu", "Al"), 2.9 * np.eye(3), [[0, 0, 0], [1.45] * 3])
    subject = Subject(alone(AsePotential(EMT, ["Al", "Cu"], 6.0)), "B2", b2)
    with pytest.raises(InputError, match="chemical potentials"):
        Vacancy().measure(subject, Work(tmp_path))
