from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings

from magflow.core.label import LabelKind
from magflow.errors import InputError
from magflow.io.ase_atoms import from_atoms, set_moments, to_atoms
from magflow.io.reading import Reading
from strategies import LEVEL, frames, labeled_frames, same_frame, same_numbers


@given(frames())
@settings(deadline=None, max_examples=50)
def test_frames_survive(frame):
    record = from_atoms(to_atoms(frame))
    assert same_frame(record.frame, frame)
    assert record.label is None


@given(labeled_frames())
@settings(deadline=None, max_examples=50)
def test_labels_survive(item):
    atoms = to_atoms(item)
    record = from_atoms(atoms, LEVEL)
    assert same_frame(record.frame, item.frame)
    assert same_numbers(record.label, item.label)
    assert record.label.label_id == item.label_id
    assert atoms.get_potential_energy() == item.label.energy


def test_no_moments_is_not_zero_moments():
    atoms = Atoms("Fe", cell=[2.8] * 3, pbc=True)
    assert from_atoms(atoms).frame.magmoms is None
    atoms.set_initial_magnetic_moments([0.0])
    assert from_atoms(atoms).frame.magmoms.tolist() == [[0, 0, 0]]


def test_presets_of_bulk_can_be_replaced_by_vectors():
    """ase.build.bulk presets 2.3 muB as (N,); a plain exchange for (N, 3) raises."""
    atoms = bulk("Fe")
    vectors = np.array([[1.0, 0.0, 2.0]])
    with pytest.raises(ValueError, match="wrong shape"):
        atoms.set_initial_magnetic_moments(vectors)
    set_moments(atoms, vectors)
    assert from_atoms(atoms).frame.magmoms.tolist() == vectors.tolist()


def test_initial_moments_are_a_guess_and_results_are_results():
    """Of a bare frame they are the moments; beside results they are kept, told and used for nothing."""
    atoms = Atoms("Fe", cell=[2.8] * 3, pbc=True, magmoms=[2.5])
    assert from_atoms(atoms).frame.magmoms[0, 2] == 2.5
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.array([2.2]))
    reading = Reading()
    record = from_atoms(atoms, reading=reading)
    assert record.frame.magmoms[0, 2] == record.label.magmoms[0, 2] == 2.2
    assert "initial_magmoms" in "".join(reading.findings.lines())
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    record = from_atoms(atoms)
    assert record.label.magmoms is None and record.configuration.magmoms is None
    assert record.label.level_of_theory.kind is LabelKind.SPIN_POLARISED


def test_results_of_other_positions_are_no_label():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.get_potential_energy()
    assert from_atoms(atoms).label is not None
    atoms.positions[0] += 0.1
    assert from_atoms(atoms).label is None


def test_collinear_magnetic_forces_lie_along_z():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1, 1, 1]], cell=[2.8] * 3, pbc=True, magmoms=[2.5, -2.5])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    atoms.new_array("magnetic_forces", np.array([0.1, np.nan]))
    forces = from_atoms(atoms).label.magnetic_forces
    assert forces[0].tolist() == [0, 0, 0.1]
    assert np.isnan(forces[1]).all()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("Fe", cell=[2, 2, 2], pbc=[True, True, False]), "not periodic"),
        (Atoms("X", cell=[2, 2, 2], pbc=True), "unknown element"),
        (Atoms("Fe", pbc=True), "no volume"),
        (Atoms("Fe", positions=[[0, 0, np.nan]], cell=[2, 2, 2], pbc=True), "not finite"),
    ],
)
def test_bad_atoms(atoms, message):
    with pytest.raises(InputError, match=message):
        from_atoms(atoms)
