"""Calculators of ASE as potentials: what they say is handed on, what they refuse is one line."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from exact_potentials import bcc, fcc
from magflow.core.protocols import Potential
from magflow.errors import InputError, MissingToolError
from magflow.potentials.any_calculator import CalculatorPotential, make_calculator


class Spring(Calculator):
    """Energy by moments, no stress."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, k: float = 1.0) -> None:
        super().__init__()
        self.k = k

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moments = atoms.get_initial_magnetic_moments()
        self.results = {"energy": self.k * float(np.sum(moments)), "forces": np.zeros((len(atoms), 3))}


def test_it_says_what_the_calculator_says():
    frames = [fcc(3.6, "Cu"), bcc(2.9, "Cu")]
    potential = CalculatorPotential(EMT())
    assert isinstance(potential, Potential)
    found = potential.predict(frames)
    for k, frame in enumerate(frames):
        atoms = Atoms(frame.species, cell=frame.cell, positions=frame.positions, pbc=True, calculator=EMT())
        one = found.frame(k)
        assert one.energy[0] == pytest.approx(atoms.get_potential_energy())
        assert np.allclose(one.forces, atoms.get_forces())
        assert np.allclose(one.stress[0], atoms.get_stress())
    assert len(potential.predict([])) == 0


def test_moments_are_handed_on_and_a_stress_that_is_none_is_not_made_up():
    found = CalculatorPotential(Spring()).predict([bcc(2.84, moment=2.2)])
    assert found.energy[0] == pytest.approx(4.4)
    assert np.isnan(found.stress).all()


def test_what_it_refuses_is_one_line_with_its_name():
    with pytest.raises(InputError, match="the calculator fails") as caught:
        CalculatorPotential(EMT(), "mine").predict([bcc(3.0, "W")])
    assert "mine" in str(caught.value)
    with pytest.raises(InputError, match="no finite energy"):
        CalculatorPotential(Spring(np.nan)).predict([bcc(2.84, moment=2.2)])
    with pytest.raises(InputError, match="cannot be saved"):
        CalculatorPotential(EMT()).to_bytes()


def test_one_is_made_of_its_name_and_settings():
    assert isinstance(make_calculator("ase.calculators.emt:EMT", {"asap_cutoff": True}), EMT)


@pytest.mark.parametrize(
    ("spec", "settings", "kind", "said"),
    [
        ("emt", {}, InputError, "MODULE:CALLABLE"),
        (":EMT", {}, InputError, "MODULE:CALLABLE"),
        ("no_such_module:EMT", {}, MissingToolError, "does not import"),
        ("ase.calculators.emt:Nothing", {}, InputError, "nothing callable"),
        ("ase.calculators.emt:parameters", {}, InputError, "nothing callable"),
        ("ase.calculators.lj:LennardJones.no.where", {}, InputError, "nothing callable"),
        ("test_any_calculator:Spring", {"stiff": 1}, InputError, "not made of these settings"),
        ("builtins:dict", {}, InputError, "not a calculator"),
    ],
)
def test_what_is_no_calculator_is_refused(spec, settings, kind, said):
    with pytest.raises(kind, match=said):
        make_calculator(spec, settings)
