"""The ASE calculator: whose moments it takes, what it returns, and that others can copy it."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from mmtp_models import random_frame, random_potential

from magflow.core.calibration import Calibration
from magflow.errors import InputError
from magflow.io.ase_atoms import to_atoms
from magflow.potentials.calculator import ExtrapolationWarning, FrameCalculator, frame_of
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.grade import select_active_set

FRAMES = [random_frame(seed) for seed in range(30)]
FRAME = FRAMES[0]


def graded(seed=0):
    potential = random_potential(level=6, n_psi=2)
    rng = np.random.default_rng(seed)
    model = replace(potential.model, parameters=potential.model.parameters * rng.normal(1.0, 0.1 * seed))
    potential = replace(potential, model=model)
    return replace(potential, active=select_active_set(potential, potential.geometry(FRAMES)))


def bare(frame=FRAME):
    return Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True)


@pytest.fixture(scope="module")
def ensemble():
    return PotentialEnsemble((graded(), graded(1)), "mmtp", Calibration.from_dict({"forces": 2.0}))


def test_moments_that_nobody_set_are_not_zero(ensemble):
    atoms = bare()
    atoms.calc = ensemble.calculator()
    with pytest.raises(InputError, match="set_initial_magnetic_moments"):
        atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments(np.zeros(len(atoms)))
    zero = ensemble.predict([FRAME.replace(magmoms=np.zeros(len(FRAME)))]).mean.energy[0]
    assert atoms.get_potential_energy() == pytest.approx(zero)


def test_which_moments_go_first():
    achieved, initial = np.full(len(FRAME), 0.5), np.full(len(FRAME), 0.7)
    atoms = bare()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=achieved)
    assert frame_of(atoms, magnetic=True).magmoms[:, 2].tolist() == achieved.tolist()
    atoms.positions[0] += 0.1  # results of other atoms are no results
    with pytest.raises(InputError, match="none"):
        frame_of(atoms, magnetic=True)
    atoms.calc = None
    atoms.set_array("magmoms", achieved)
    assert frame_of(atoms, magnetic=True).magmoms[:, 2].tolist() == achieved.tolist()
    atoms.set_initial_magnetic_moments(initial)
    assert frame_of(atoms, magnetic=True).magmoms[:, 2].tolist() == initial.tolist()
    given = {"Al": 0.1, "Fe": 2.0}
    expected = [given[s] for s in FRAME.species]
    assert frame_of(atoms, magnetic=True, moments=given).magmoms[:, 2].tolist() == expected
    assert frame_of(atoms, magnetic=False).magmoms is None


def test_moments_that_do_not_fit():
    with pytest.raises(InputError, match=r"leaves out an element.*Fe"):
        frame_of(bare(), magnetic=True, moments={"Al": 0.0})
    with pytest.raises(InputError, match="wrong number of moments"):
        frame_of(bare(), magnetic=True, moments=[1.0])


def test_results_of_an_ensemble(ensemble):
    atoms = to_atoms(FRAME)
    atoms.calc = ensemble.calculator()
    energies, predicted = atoms.get_potential_energies(), ensemble.predict([FRAME])
    results = atoms.calc.results
    assert energies.sum() == pytest.approx(results["energy"]) == pytest.approx(predicted.mean.energy[0])
    np.testing.assert_allclose(results["magmoms"], FRAME.magmoms[:, 2])
    np.testing.assert_allclose(results["magnetic_forces"], predicted.mean.magnetic_forces)
    np.testing.assert_allclose(results["deviations"]["forces"], predicted.deviation.forces)
    assert results["grade"] == pytest.approx(ensemble.grades([FRAME])[0])
    assert set(results) - {"energies"} <= {*atoms.calc.implemented_properties}


def test_a_potential_without_an_active_set_has_no_grade():
    calculator = random_potential(level=6, n_psi=2).calculator()
    calculator.calculate(to_atoms(FRAME))
    assert "grade" not in calculator.results and "grade" not in calculator.implemented_properties


def test_one_warning_when_it_extrapolates(ensemble):
    atoms = to_atoms(FRAME)
    atoms.calc = ensemble.calculator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments(FRAME.magmoms[:, 2] * 3.0)
    with pytest.warns(ExtrapolationWarning, match="outside the training set"):
        atoms.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.set_initial_magnetic_moments(FRAME.magmoms[:, 2] * 3.1)
        atoms.get_potential_energy()


def _forces(calculator):
    calculator.calculate(to_atoms(FRAME))
    return calculator.results["forces"]


def test_copies(ensemble):
    calculator = ensemble.calculator(moments={"Al": 0.05, "Fe": 2.0})
    expected = _forces(calculator)
    np.testing.assert_array_equal(_forces(copy.deepcopy(calculator)), expected)
    np.testing.assert_array_equal(_forces(pickle.loads(pickle.dumps(calculator))), expected)


def test_ase_relaxes_on_it(ensemble):
    atoms = to_atoms(FRAME)
    atoms.calc = ensemble.calculator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        BFGS(atoms, logfile=None).run(fmax=0.05, steps=3)
    assert isinstance(atoms.calc, FrameCalculator) and atoms.calc.results["magmoms"].shape == (len(FRAME),)
