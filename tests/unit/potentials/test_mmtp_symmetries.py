from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmtp_models import random_frame, random_potential
from scipy.spatial.transform import Rotation

from magflow.core.frame import Frame
from magflow.potentials.mmtp.model import Form

SPECIES = [("Fe",), ("Al", "Fe"), ("Al", "Cr", "Fe")]
potentials = st.builds(
    lambda form, level, species, seed: random_potential(
        form, level=level, n_psi=3 if form is Form.EVEN else 2, species=species, seed=seed
    ),
    st.sampled_from(list(Form)),
    st.sampled_from([6, 8, 12]),
    st.sampled_from(SPECIES),
    st.integers(0, 100),
)
seeds = st.integers(0, 10_000)
few = settings(max_examples=15, deadline=None)


def same(a, b, order=None):
    n = np.arange(len(a.forces)) if order is None else order
    np.testing.assert_allclose(b.energy, a.energy, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(b.forces, a.forces[n], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(b.stress, a.stress, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(b.magnetic_forces, a.magnetic_forces[n], rtol=1e-8, atol=1e-8)


@few
@given(potentials, seeds)
def test_permutation(potential, seed):
    frame = random_frame(seed, potential.species)
    order = np.random.default_rng(seed).permutation(len(frame))
    shuffled = Frame(tuple(frame.species[k] for k in order), frame.cell, frame.positions[order], frame.magmoms[order])
    same(potential.predict([frame]), potential.predict([shuffled]), order)


@few
@given(potentials, seeds)
def test_translation_and_wrapping(potential, seed):
    frame = random_frame(seed, potential.species)
    rng = np.random.default_rng(seed)
    moved = frame.positions + rng.normal(size=3) + rng.integers(-2, 3, (len(frame), 3)) @ frame.cell
    same(potential.predict([frame]), potential.predict([frame.replace(positions=moved)]))


@few
@given(potentials, seeds)
def test_rotation_and_reflection(potential, seed):
    frame = random_frame(seed, potential.species)
    turn = Rotation.random(random_state=seed).as_matrix() * (-1 if seed % 2 else 1)
    turned = frame.replace(cell=frame.cell @ turn.T, positions=frame.positions @ turn.T)
    before, after = potential.predict([frame]), potential.predict([turned])
    np.testing.assert_allclose(after.energy, before.energy, rtol=1e-10)
    np.testing.assert_allclose(after.forces, before.forces @ turn.T, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(after.magnetic_forces, before.magnetic_forces, rtol=1e-8, atol=1e-8)


@few
@given(potentials, seeds)
def test_time_reversal(potential, seed):
    frame = random_frame(seed, potential.species)
    before, after = potential.predict([frame]), potential.predict([frame.time_reversed()])
    np.testing.assert_allclose(after.energy, before.energy, rtol=1e-11)
    np.testing.assert_allclose(after.forces, before.forces, atol=1e-9)
    np.testing.assert_allclose(after.magnetic_forces, -before.magnetic_forces, atol=1e-9)


@few
@given(potentials, seeds)
def test_supercell(potential, seed):
    frame = random_frame(seed, potential.species)
    shifts = np.array([[0, 0, 0], [1, 0, 0]]) @ frame.cell
    doubled = Frame(
        frame.species * 2,
        frame.cell * np.array([[2.0], [1.0], [1.0]]),
        np.concatenate([frame.positions + s for s in shifts]),
        np.concatenate([frame.magmoms] * 2),
    )
    one, two = potential.predict([frame]), potential.predict([doubled])
    np.testing.assert_allclose(two.energy, 2 * one.energy, rtol=1e-10)
    np.testing.assert_allclose(two.forces, np.concatenate([one.forces] * 2), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(two.stress, one.stress, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(potential.descriptors([doubled]), potential.descriptors([frame]), rtol=1e-7, atol=1e-7)


@few
@given(potentials, st.lists(seeds, min_size=1, max_size=6))
def test_batching_changes_nothing(potential, chosen):
    frames = [random_frame(s, potential.species, n=1 + s % 4) for s in chosen]
    together = potential.predict(frames)
    for k, frame in enumerate(frames):
        same(potential.predict([frame]), together.frame(k))


@pytest.mark.parametrize("form", list(Form))
def test_forces_add_up_to_zero(form):
    prediction = random_potential(form, n_psi=2).predict([random_frame(1)])
    np.testing.assert_allclose(prediction.forces.sum(axis=0), 0.0, atol=1e-10)


def test_atomic_energies_add_up():
    potential = random_potential(Form.PAPER, n_psi=2)
    frames = [random_frame(1), random_frame(2, n=3)]
    atoms = potential.atomic_energies(frames)
    np.testing.assert_allclose([atoms[:4].sum(), atoms[4:].sum()], potential.predict(frames).energy)
