"""Products with the Hessian in positions and moments: against finite differences, and what every Hessian keeps."""

from __future__ import annotations

import numpy as np
import pytest
from mmtp_models import random_frame, random_potential

from magflow.core.hessian import Hessian, hessian
from magflow.errors import InputError
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp.geometry import build_geometry
from magflow.potentials.mmtp.model import Form
from magflow.potentials.mmtp.native import kernel

CASES = [
    (Form.EVEN, 8, 3, 5),
    (Form.EVEN, 12, 2, 8),
    (Form.PAPER, 8, 2, 5),
    (Form.EVEN, 16, 3, 8),
    (Form.EVEN, 8, 1, 8),
]
REVERSED = np.array([1.0, 1.0, 1.0, -1.0])


@pytest.fixture(params=CASES, ids=lambda c: "-".join(map(str, c)))
def potential(request):
    form, level, n_psi, n_phi = request.param
    return random_potential(form, level=level, n_psi=n_psi, n_phi=n_phi)


def gradient(potential, frame):
    """(N, 4) dE/dr and dE/dm."""
    said = potential.predict([frame])
    magnetic = np.zeros(len(frame)) if said.magnetic_forces is None else said.magnetic_forces[:, 2]
    return -np.column_stack([said.forces, magnetic])


def moved(frame, by):
    return frame.replace(positions=frame.positions + by[:, :3], magmoms=frame.magmoms[:, 2] + by[:, 3])


def smooth_frame(potential):
    """A frame without a pair so close to the cutoff that a step of the differences takes it across."""
    for seed in range(3, 100):
        frame = random_frame(seed)
        wider = build_geometry([frame], potential.species, potential.cutoff + 0.1, magnetic=False)
        distances = np.linalg.norm(wider.vector, axis=1)
        if np.abs(distances - potential.cutoff).min() > 2e-3:
            return frame
    raise AssertionError("no such frame")


def differences(potential, frame, along, step=3e-4):
    """Sixth-order central difference of the gradient."""
    terms = ((1, 45.0), (2, -9.0), (3, 1.0))
    up_down = [
        w * (gradient(potential, moved(frame, k * step * along)) - gradient(potential, moved(frame, -k * step * along)))
        for k, w in terms
    ]
    return sum(up_down) / (60 * step)


@pytest.mark.parametrize("beyond", [False, True], ids=["inside", "beyond the fitted range"])
def test_product_is_the_derivative_of_the_gradient(potential, beyond):
    frame = smooth_frame(potential)
    if beyond:
        moments = frame.magmoms[:, 2].copy()
        moments[0] = 5.0
        frame = frame.replace(magmoms=moments)
    along = np.random.default_rng(7).uniform(-1.0, 1.0, size=(3, 4, 4))
    along[1, :, 3] = 0.0
    along[2, :, :3] = 0.0
    products = potential.hessian_vector_product(frame, along)
    for vector, product in zip(along, products, strict=True):
        expected = differences(potential, frame, vector)
        np.testing.assert_allclose(product, expected, rtol=0, atol=1e-8 + 1e-6 * np.abs(expected).max())


def test_hessian_is_symmetric_with_sum_rule_and_time_reversal(potential):
    frame = random_frame(4)
    found = hessian(potential, frame).array
    rounding = 1e-11 * np.abs(found).max()
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), atol=rounding)
    np.testing.assert_allclose(found[..., :3].sum(axis=2), 0.0, atol=10 * rounding)
    reversed_ = hessian(potential, frame.time_reversed()).array
    np.testing.assert_allclose(reversed_, found * REVERSED[:, None, None] * REVERSED, atol=rounding)
    if not potential.magnetic:
        assert not found[:, 3].any()


def test_every_instruction_set_says_the_same():
    potential, frame = random_potential(level=12), random_frame(5)
    along = np.random.default_rng(1).normal(size=(2, 4, 4))
    geometry = build_geometry([frame], potential.species, potential.cutoff, magnetic=True)
    said = [
        kernel().hessian_products(
            potential.model.spec,
            potential.model.parameters,
            geometry.packing(2, name),
            geometry.moment,
            geometry.vector,
            1.0,
            along,
        )
        for name in kernel().instruction_sets()
    ]
    for other in said[1:]:
        np.testing.assert_allclose(other, said[0], atol=1e-12 * np.abs(said[0]).max())


def test_ensemble_gives_the_hessian_of_its_mean():
    members, frame = tuple(random_potential(seed=k) for k in (1, 2)), random_frame(6)
    ensemble = PotentialEnsemble(members, "mmtp")
    expected = np.mean([hessian(m, frame).array for m in members], axis=0)
    np.testing.assert_allclose(hessian(ensemble, frame).array, expected, atol=1e-12)
    assert ensemble.gives_hessian


@pytest.mark.parametrize("vectors", [np.zeros((4, 4)), np.zeros((1, 3, 4)), np.full((1, 4, 4), np.nan)])
def test_vectors_that_do_not_fit_are_refused(vectors):
    with pytest.raises(InputError, match="vector"):
        random_potential().hessian_vector_product(random_frame(1), vectors)


def test_moments_that_follow():
    """E = k r^2 / 2 + g r m + a m^2 / 2 has the curvature k - g^2 / a once m has followed r."""
    array = np.zeros((1, 4, 1, 4))
    array[0, :3, 0, :3] = 6.0 * np.eye(3)
    array[0, 0, 0, 3] = array[0, 3, 0, 0] = 1.5
    array[0, 3, 0, 3] = 0.5
    found = Hessian(array)
    np.testing.assert_allclose(found.adiabatic(), np.diag([6.0 - 1.5**2 / 0.5, 6.0, 6.0]))
    np.testing.assert_allclose(found.coupling, [[1.5], [0.0], [0.0]])
    np.testing.assert_allclose(found.stiffness, [[0.5]])
    array[0, 3, 0, 3] = -0.5
    with pytest.raises(InputError, match="at no minimum") as caught:
        Hessian(array).adiabatic()
    assert "-0.5" in str(caught.value)
