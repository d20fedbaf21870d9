"""Relaxation on a fitted mMTP: one answer from many starts, exact gradients, time reversal."""

from __future__ import annotations

import numpy as np
import pytest
from mmtp_toy import toy_labels
from scipy.optimize import minimize

from magflow.core.frame import Frame
from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.explore.relaxation.coordinates import JointCoordinates
from magflow.explore.relaxation.joint import relax, relax_many
from magflow.explore.relaxation.settings import RelaxSettings
from magflow.potentials.ensemble import PotentialEnsemble
from magflow.potentials.mmtp import MmtpFamily

CUBE = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
A = 2.85


@pytest.fixture(scope="module")
def potential():
    family = MmtpFamily(level=4, cutoff=4.5, max_iterations=60)
    return family.fit(toy_labels(60, 3), elements=["Al", "Fe"], seed=1)[0]


@pytest.fixture(scope="module")
def bounds(potential):
    return {element: (0.0, most) for element, most in potential.max_moment.items()}


@pytest.fixture(scope="module")
def settings(potential):
    """The toy only repels: the pressure holds it at the volume it was fitted at."""
    stress = potential.predict([Frame(("Fe", "Al"), A * np.eye(3), A * CUBE, [1.5, 0.0])]).stress[0]
    return RelaxSettings(
        pressure_gpa=-float(stress[:3].mean()) * EV_PER_A3_IN_GPA,
        forces_tolerance=1e-4,
        magnetic_forces_tolerance=1e-4,
        stress_tolerance_gpa=1e-3,
    )


def distorted(seed, moments=(1.5, 0.05)):
    rng = np.random.default_rng(seed)
    cell = A * (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3)))
    return Frame(("Fe", "Al"), cell, CUBE @ cell + rng.normal(0, 0.04, (2, 3)), moments)


def test_known_minimum_from_several_starts(potential, bounds, settings):
    most = np.array([bounds["Fe"][1], bounds["Al"][1]])

    def enthalpy(x):
        cell = np.diag([x[0], x[0], x[1]])
        frame = Frame(("Fe", "Al"), cell, CUBE @ cell, x[2:])
        return float(potential.predict([frame]).energy[0]) + settings.pressure * frame.volume

    known = minimize(  # the toy prefers a tetragonal cell
        enthalpy,
        [2.3, 4.3, 2.5, 0.1],
        method="Nelder-Mead",
        bounds=[(2.0, 3.2), (2.0, 4.8), *((-m, m) for m in most)],
        options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 2000},
    )
    for r in relax_many([distorted(k) for k in range(5)], potential, bounds, settings):
        assert r.converged
        assert r.enthalpy == pytest.approx(known.fun, abs=1e-6)
        lengths = np.sort(np.linalg.norm(r.frame.cell, axis=1))
        assert lengths == pytest.approx(known.x[[0, 0, 1]], abs=1e-3)
        assert r.frame.magmoms[:, 2] == pytest.approx(known.x[2:], abs=1e-3)


def test_time_reversal(potential, bounds, settings):
    one = relax(distorted(7), potential, bounds, settings)
    other = relax(distorted(7).time_reversed(), potential, bounds, settings)
    assert other.enthalpy == pytest.approx(one.enthalpy, abs=1e-9)
    assert other.frame.magmoms == pytest.approx(-one.frame.magmoms, abs=1e-6)


def test_gradient_of_the_joint_variables(potential, bounds):
    c = JointCoordinates.free(distorted(1), frozenset(), bounds, 0.5)
    x = c.start + np.random.default_rng(0).normal(0, 0.02, len(c.start))
    h = 1e-4
    points = [c.frame(x + s) for s in (h * np.vstack([np.eye(len(x)), -np.eye(len(x))]))]
    values = potential.predict(points).energy + 0.5 * np.array([f.volume for f in points])
    numeric = (values[: len(x)] - values[len(x) :]) / (2 * h)
    assert c.gradient(x, potential.predict([c.frame(x)])) == pytest.approx(numeric, abs=1e-6)


def test_an_ensemble_relaxes_on_its_mean(potential, bounds, settings):
    other = MmtpFamily(level=4, cutoff=4.5, max_iterations=60).fit(toy_labels(60, 4), elements=["Al", "Fe"], seed=2)[0]
    r = relax(distorted(2), PotentialEnsemble((potential, other), "mmtp"), bounds, settings)
    mean = 0.5 * (potential.predict([r.frame]).forces + other.predict([r.frame]).forces)
    assert r.converged
    assert np.abs(mean).max() <= 1e-4


def test_a_non_magnetic_potential(settings):
    family = MmtpFamily(level=4, cutoff=4.5, max_iterations=60)
    plain = family.fit(toy_labels(40, 5, magnetic=False), elements=["Al", "Fe"], seed=1)[0]
    r = relax(distorted(3).non_magnetic(), plain, None, settings)
    assert r.converged
    assert r.frame.magmoms is None
