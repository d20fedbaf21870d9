"""Products of the real nequip with the Hessian in positions and moments, and phonons by them."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.hessian import hessian
from magflow.errors import InputError
from magflow.explore.geometry import repeated
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.nequip import NequipFamily, NequipSpinFamily
from magflow.properties.base import Work
from magflow.properties.measurement import Moments
from magflow.properties.modes import Mode
from magflow.properties.phonons import ForceConstants, Phonons
from magflow.properties.subject import Subject
from magflow.testing.springs import ELEMENTS, springs, two_atoms, without_moments

pytestmark = [pytest.mark.nequip, pytest.mark.slow, pytest.mark.usefixtures("nequip")]

NET = {"cutoff": 3.5, "features": 8, "radial_neurons": 16, "radial_functions": 6, "epochs": 20}
REVERSED = np.array([1.0, 1.0, 1.0, -1.0])


@pytest.fixture(scope="module", params=[NequipFamily, NequipSpinFamily], ids=["nequip", "nequip-spin"])
def potential(request, nequip):
    labels = [springs(frame) for frame in two_atoms(16, seed=0)]
    family = request.param(**NET, layers=1, learning_rate=(2e-2, 1e-4))
    labels = labels if family.magnetic else without_moments(labels)
    return family.fit(labels, elements=ELEMENTS, seed=1)[0]


def skewed() -> Frame:
    """Four atoms in a cell without symmetry, moments of both signs."""
    rng = np.random.default_rng(3)
    cell = 3.1 * np.array([[2.0, 0.1, 0.0], [0.2, 1.0, 0.3], [0.0, -0.2, 1.0]])
    positions = np.array([[0.0, 0, 0], [3.1, 0, 0], [1.5, 1.6, 1.5], [4.6, 1.4, 1.7]]) + rng.normal(0, 0.1, (4, 3))
    return Frame(tuple(ELEMENTS) * 2, cell, positions, rng.uniform(-1, 1, 4) * [0.2, 2.5, 0.2, 2.5])


def gradient(potential, frame) -> np.ndarray:
    """(N, 4) dE/dr and dE/dm."""
    said = potential.predict([frame])
    magnetic = np.zeros(len(frame)) if said.magnetic_forces is None else said.magnetic_forces[:, 2]
    return -np.column_stack([said.forces, magnetic])


def test_product_is_the_derivative_of_the_gradient(potential):
    frame, step = skewed(), 3e-4
    before = gradient(potential, frame)
    along = np.random.default_rng(7).normal(size=(3, 4, 4))
    along[1, :, 3] = 0.0
    along[2, :, :3] = 0.0
    products = potential.hessian_vector_product(frame, along)
    np.testing.assert_array_equal(gradient(potential, frame), before)
    for vector, product in zip(along, products, strict=True):
        if not potential.magnetic:
            vector = vector * [1.0, 1.0, 1.0, 0.0]

        def slope(h: float, v=vector) -> np.ndarray:
            moved = frame.replace(positions=frame.positions + h * v[:, :3], magmoms=frame.magmoms[:, 2] + h * v[:, 3])
            return gradient(potential, moved)

        terms = ((1, 45.0), (2, -9.0), (3, 1.0))
        expected = sum(w * (slope(k * step) - slope(-k * step)) for k, w in terms) / (60 * step)
        np.testing.assert_allclose(product, expected, rtol=0, atol=1e-9 + 1e-6 * np.abs(expected).max())


def test_hessian_is_symmetric_with_sum_rule_and_time_reversal(potential):
    found = hessian(potential, skewed()).array
    rounding = 1e-12 * np.abs(found).max()
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), atol=rounding)
    np.testing.assert_allclose(found[..., :3].sum(axis=2), 0.0, atol=10 * rounding)
    reversed_ = hessian(potential, skewed().time_reversed()).array
    np.testing.assert_allclose(reversed_, found * REVERSED[:, None, None] * REVERSED, atol=rounding)
    assert found[:, 3].any() == potential.magnetic


def test_phonons_by_the_hessian_are_those_of_displacements(potential, tmp_path):
    cell = 2.87 * np.eye(3)
    crystal = Frame(("Fe", "Fe"), cell, np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]) @ cell, np.full(2, 1.5))
    of = Subject(PotentialEnsemble((potential,), potential.family), "bcc-Fe", crystal, Moments.FIXED)
    settings = {"supercell": (2, 2, 2), "mesh": 20.0}
    highest = []
    for how in ForceConstants:
        found = Phonons(force_constants=how, **settings).measure(of, Work(tmp_path))
        assert not found.failure and (Mode.CLAMPED.told in found.remarks) == potential.magnetic
        highest.append(found.value("highest frequency").value)
    assert highest[1] == pytest.approx(highest[0], rel=1e-3)


def test_vectors_and_frames_that_do_not_fit_are_refused(potential):
    with pytest.raises(InputError, match="vector"):
        potential.hessian_vector_product(skewed(), np.zeros((1, 3, 4)))
    if potential.magnetic:
        with pytest.raises(InputError, match="no moments"):
            potential.hessian_vector_product(skewed().non_magnetic(), np.zeros((1, 4, 4)))
    assert potential.hessian_vector_product(repeated(skewed(), (1, 1, 2)), np.zeros((0, 8, 4))).shape == (0, 8, 4)
