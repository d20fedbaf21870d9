"""The minimisation alone: minima that are known, bounds, honesty when nothing helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, rosen, rosen_der

from magflow.explore.relaxation.descent import Descent, pushed_out


def minimised(fun, start, low=-np.inf, high=np.inf, longest=1.0, evaluations=500, tolerance=1e-7):
    """The descent at its end, and how many evaluations it took."""
    n = len(start)
    d = Descent(np.asarray(start, float), np.full(n, low), np.full(n, high), np.full(n, longest))
    spent = 0
    while spent < evaluations:
        spent += 1
        d.tell(*fun(d.trial))
        free = ~pushed_out(d.x, d.gradient, d.low, d.high)
        if d.stalled or np.abs(np.where(free, d.gradient, 0.0)).max() < tolerance:
            break
    return d, spent


def quadratic(n, seed, spread=30.0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    hessian = (q * np.geomspace(1.0 / spread, 1.0, n)) @ q.T
    centre = rng.normal(size=n)
    return lambda x: (0.5 * (x - centre) @ hessian @ (x - centre), hessian @ (x - centre)), centre


def test_a_quadratic_takes_about_as_many_evaluations_as_it_has_variables():
    fun, centre = quadratic(12, 0)
    d, spent = minimised(fun, np.zeros(12))
    assert d.x == pytest.approx(centre, abs=1e-5)
    assert spent < 40


def test_each_variable_is_as_stiff_as_it_turns_out_to_be():
    """Moments of aluminium and of iron in FeAl, 8 and 0.1 eV/muB^2: all but diagonal."""
    rng, n = np.random.default_rng(5), 120
    stiff = np.where(np.arange(n) % 2, 8.0, 0.1) * rng.uniform(0.5, 2.0, n)
    mixed = rng.normal(scale=0.02, size=(n, n))
    hessian = np.sqrt(np.outer(stiff, stiff)) * (np.eye(n) + 0.5 * (mixed + mixed.T))
    centre = rng.normal(size=n)
    d, spent = minimised(lambda x: (0.5 * (x - centre) @ hessian @ (x - centre), hessian @ (x - centre)), np.zeros(n))
    assert d.x == pytest.approx(centre, abs=1e-5)
    assert spent < 80, "235 with one stiffness for all"


def test_a_curved_valley():
    d, spent = minimised(lambda x: (rosen(x), rosen_der(x)), [-1.2, 1.0, 0.8])
    assert d.x == pytest.approx(np.ones(3), abs=1e-5)
    assert spent < 120


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 1.5))
def test_with_bounds_it_agrees_with_scipy(seed, half):
    fun, _ = quadratic(6, seed)
    d, _ = minimised(fun, np.zeros(6), -half, half)
    known = minimize(fun, np.zeros(6), jac=True, bounds=[(-half, half)] * 6, method="L-BFGS-B", options={"gtol": 1e-9})
    assert (np.abs(d.x) <= half).all()
    assert d.energy == pytest.approx(known.fun, abs=1e-7)


def test_energies_never_rise_and_steps_keep_their_length():
    seen = []
    d = Descent(np.array([3.0, -2.0]), np.full(2, -np.inf), np.full(2, np.inf), np.full(2, 0.25))
    for _ in range(60):
        before = d.x
        if d.tell(rosen(d.trial), rosen_der(d.trial)):
            seen.append(d.energy)
            if len(seen) > 1:
                assert np.abs(d.x - before).max() <= 0.25 + 1e-12
    assert seen == sorted(seen, reverse=True)


def test_it_leaves_a_saddle_it_starts_beside():
    def double_well(x):
        return float(x[0] ** 4 - x[0] ** 2), np.array([4 * x[0] ** 3 - 2 * x[0]])

    d, spent = minimised(double_well, [1e-3])
    assert d.x[0] == pytest.approx(np.sqrt(0.5), abs=1e-5)
    assert spent < 30


def test_a_trial_that_has_no_energy_is_stepped_back_from():
    def walled(x):
        return (np.inf, np.zeros(1)) if x[0] > 1.0 else (float(-x[0] + 0.6 * x[0] ** 2), np.array([1.2 * x[0] - 1.0]))

    d, _ = minimised(walled, [-3.0], longest=10.0)
    assert d.x[0] == pytest.approx(1.0 / 1.2, abs=1e-5)


def test_a_gradient_that_lies_ends_in_a_stall():
    d, spent = minimised(lambda x: (float(x @ x), -2.0 * x), [1.0, 1.0])
    assert d.stalled
    assert spent < 100
