"""Files, calculator, descriptors and grades of one potential."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from mmtp_models import random_frame, random_potential
from mmtp_toy import toy_labels

from magflow.errors import InputError, MissingToolError
from magflow.potentials.mmtp import MmtpFamily, MmtpPotential, native
from magflow.potentials.mmtp.model import Form


def atoms_of(frame):
    return Atoms(frame.species, positions=frame.positions, cell=frame.cell, pbc=True, magmoms=frame.magmoms[:, 2])


@pytest.fixture(scope="module")
def fitted():
    labels = toy_labels(40, seed=2)
    family = MmtpFamily(level=6, cutoff=4.5, n_radial=5, max_iterations=8)
    return family.fit(labels, elements=("Al", "Fe"), seed=0)[0], [item.configuration for item in labels]


@pytest.mark.parametrize("form", list(Form))
def test_round_trip(form):
    potential = random_potential(form, n_psi=2)
    loaded = MmtpPotential.from_bytes(potential.to_bytes())
    frame = random_frame(0)
    assert loaded.predict([frame]).energy == potential.predict([frame]).energy
    assert loaded.model.header() == potential.model.header()


def test_round_trip_keeps_the_active_set(fitted):
    potential, frames = fitted
    loaded = MmtpPotential.from_bytes(potential.to_bytes())
    np.testing.assert_array_equal(loaded.grades(frames), potential.grades(frames))


DATA = random_potential(level=6).to_bytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_an_input_error_or_the_same_model(position, change, cut):
    damaged = DATA[:position] if cut else DATA[:position] + bytes([DATA[position] ^ change]) + DATA[position + 1 :]
    try:
        loaded = MmtpPotential.from_bytes(damaged)
    except InputError as error:
        assert "mMTP" in str(error) or "damaged" in str(error)
    else:
        np.testing.assert_array_equal(loaded.model.parameters, random_potential(level=6).model.parameters)


def test_calculator_sees_atoms_changed_in_place():
    potential, frame = random_potential(), random_frame(1)
    atoms = atoms_of(frame)
    atoms.calc = potential.calculator()
    first = atoms.get_forces().copy()
    atoms.positions[0] += 0.05
    second = atoms.get_forces().copy()
    assert not np.allclose(first, second)
    moved = frame.replace(positions=atoms.positions.copy())
    np.testing.assert_allclose(second, potential.predict([moved]).forces)
    moments = frame.magmoms[:, 2] * 0.5
    atoms.set_initial_magnetic_moments(moments)
    expected = potential.predict([moved.replace(magmoms=moments)])
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[0])
    np.testing.assert_allclose(atoms.calc.results["magnetic_forces"], expected.magnetic_forces)
    np.testing.assert_allclose(atoms.get_stress(), expected.stress[0])
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_calculator_refuses_a_molecule():
    atoms = atoms_of(random_frame(1))
    atoms.pbc = False
    atoms.calc = random_potential().calculator()
    with pytest.raises(InputError, match="periodic"):
        atoms.get_potential_energy()


def test_descriptors_tell_frames_apart_but_not_time_reversal(fitted):
    potential, frames = fitted
    d = potential.descriptors(frames)
    np.testing.assert_allclose(potential.descriptors([f.time_reversed() for f in frames]), d, atol=1e-12)
    assert len(np.unique(d.round(6), axis=0)) == len(frames)


def test_descriptors_are_share_mean_and_spread_of_every_species():
    potential, frames = random_potential(), [random_frame(seed) for seed in range(4)]
    for frame, found in zip(frames, potential.descriptors(frames), strict=True):
        values, expected = potential.basis_values(potential.geometry([frame])), []
        for element in potential.species:
            mine = values[np.array(frame.species) == element]
            if len(mine) == 0:
                mine = np.zeros((1, values.shape[1]))
            expected += [[frame.species.count(element) / len(frame)], mine.mean(axis=0), mine.std(axis=0)]
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-12)


def test_grades_are_low_on_the_training_set_and_high_outside(fitted):
    potential, frames = fitted
    assert potential.grades(frames).max() < 1.01
    strained = [f.replace(cell=f.cell * 0.85, positions=f.positions * 0.85) for f in frames]
    assert np.median(potential.grades(strained)) > 2.0
    polarised = [f.replace(magmoms=f.magmoms * 3.0) for f in frames]
    assert np.median(potential.grades(polarised)) > 2.0


def test_a_frame_takes_the_grade_of_its_worst_atom_or_of_itself(fitted):
    potential, frames = fitted
    atoms = potential.atom_grades(frames).reshape(-1, 2).max(axis=1)
    grades = potential.grades(frames)
    assert (grades >= atoms).all() and (grades == atoms).any()


def test_no_active_set():
    with pytest.raises(InputError, match="active set"):
        random_potential().grades([random_frame(0)])


def test_kernel_that_is_not_built(monkeypatch):
    def absent(name):
        raise ImportError("no such module")

    native.kernel.cache_clear()
    monkeypatch.setattr(native, "import_module", absent)
    with pytest.raises(MissingToolError, match="kernel"):
        native.kernel()
    probe = MmtpFamily().probe()[0]
    assert not probe.ok and "pip install" in probe.hint
