"""The optimiser on least-squares problems whose answer is known."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from magflow.errors import InputError
from magflow.potentials.mmtp.bfgs import update
from magflow.potentials.mmtp.levenberg import inverse
from magflow.potentials.mmtp.objective import Magnified, Objective, Prior
from magflow.potentials.mmtp.optimise import Plan, minimise
from magflow.potentials.mmtp.state import State

ROWS, SIZE = 60, 8


class Exponentials:
    """r_k = exp(a_k . p) - y_k: smooth, not linear, with exact derivatives."""

    def __init__(self, seed: int = 0, rows: int = ROWS, noise: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.a = rng.normal(size=(rows, SIZE)) * 0.4
        self.truth = np.random.default_rng(99).normal(size=SIZE)
        self.y = np.exp(self.a @ self.truth) + noise * rng.normal(size=rows)
        self.seen: list[np.ndarray] = []

    def residuals(self, parameters):
        return np.exp(self.a @ parameters) - self.y

    def loss(self, residuals):
        return float(residuals @ residuals)

    def normal(self, parameters):
        r, jacobian = self.residuals(parameters), np.exp(self.a @ parameters)[:, None] * self.a
        return jacobian.T @ jacobian, jacobian.T @ r, self.loss(r)

    def loss_and_gradient(self, parameters):
        self.seen.append(parameters.copy())
        _, jtr, loss = self.normal(parameters)
        return loss, 2.0 * jtr


FLAT = Prior(np.full(SIZE, 1e-9), np.zeros(SIZE))
STRONG = Prior(np.linspace(0.1, 2.0, SIZE), np.linspace(-1, 1, SIZE))


def objective(prior: Prior = FLAT, **kwargs: object) -> Objective:
    return Objective(Exponentials(**kwargs), prior)


def test_gradient_and_normal_agree_with_finite_differences():
    f = objective(STRONG, noise=0.1)
    p, h = np.linspace(-0.5, 0.5, SIZE), 1e-6
    value, gradient = f.value_and_gradient(p)
    assert value == pytest.approx(f.value(p))
    numeric = [(f.value(p + h * e) - f.value(p - h * e)) / (2 * h) for e in np.eye(SIZE)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6)
    np.testing.assert_allclose(2.0 * f.normal(p)[1], gradient, rtol=1e-12)


@pytest.mark.parametrize("newton", [0, 3, 100])
def test_finds_the_minimum(newton):
    found = minimise(objective(), Plan(100, newton, 1e-12, 100), State.at(np.zeros(SIZE)))
    np.testing.assert_allclose(found.best, Exponentials().truth, atol=1e-4)
    objectives = [row["objective"] for row in found.history]
    assert objectives == sorted(objectives, reverse=True)
    assert (found.inverse_hessian is None) == (newton == 100)


def test_all_ways_end_at_the_same_regularised_minimum():
    ends = [
        minimise(objective(STRONG, noise=0.3), Plan(200, newton, 1e-14, 100), State.at(np.zeros(SIZE))).best
        for newton in (0, 4, 200)
    ]
    np.testing.assert_allclose(ends[0], ends[2], atol=1e-5)
    np.testing.assert_allclose(ends[1], ends[2], atol=1e-5)


def test_the_hessian_of_levenberg_marquardt_saves_steps():
    """Gradients until the minimum is reached; a last line search that finds nothing is none of its business."""
    with_it, without = zip(*(_gradients_needed(seed) for seed in range(6)), strict=True)
    assert all(few < many for few, many in zip(with_it, without, strict=True))
    assert sum(with_it) < 0.5 * sum(without)


def _gradients_needed(seed: int) -> tuple[float, float]:
    """From one start, with the Hessian and without; infinite if the minimum is never reached."""
    informed, blind = (objective(STRONG, seed=seed, noise=0.3) for _ in range(2))
    least = minimise(blind, Plan(200, 200, 1e-14, 100), State.at(np.zeros(SIZE))).objective
    start = minimise(informed, Plan(3, 3, 0.0, 99), State.at(np.zeros(SIZE))).best
    identity = State.at(start)
    identity.iteration, identity.objective, identity.inverse_hessian = 1, blind.value(start), np.eye(SIZE)
    needed = []
    for f, plan, state in (
        (informed, Plan(20, 0, 1e-9, 99), State.at(start)),
        (blind, Plan(21, 0, 1e-9, 99), identity),
    ):
        f.problem.seen.clear()
        minimise(f, plan, state)
        needed.append(next((k for k, p in enumerate(f.problem.seen, start=1) if f.value(p) - least < 1e-8), np.inf))
    return needed[0], needed[1]


def test_a_sample_only_guides():
    """Levenberg-Marquardt sees other residuals; BFGS still ends at the minimum of the whole."""
    whole, sample = Exponentials(noise=0.3), Exponentials(seed=5, rows=ROWS // 2, noise=0.3)
    found = minimise(
        Objective(whole, STRONG),
        Plan(100, 5, 1e-14, 100),
        State.at(np.zeros(SIZE)),
        rough=Objective(Magnified(sample, 2.0), STRONG),
    )
    expected = minimise(Objective(whole, STRONG), Plan(200, 200, 1e-14, 100), State.at(np.zeros(SIZE)))
    np.testing.assert_allclose(found.best, expected.best, atol=1e-5)


@pytest.mark.parametrize("newton", [4, 30])
def test_going_on_from_any_iteration_gives_the_same_bits(newton):
    plan = Plan(12, newton, 0.0, 99)
    states: list[State] = []
    held = Exponentials(seed=3, noise=0.3)

    def monitor(p):
        return held.loss(held.residuals(p))

    whole = minimise(
        objective(STRONG, noise=0.3),
        plan,
        State.at(np.zeros(SIZE)),
        monitor=monitor,
        observe=lambda s: states.append(copy.deepcopy(s)),
    )
    assert len(states) > 5
    for state in states:
        again = minimise(objective(STRONG, noise=0.3), plan, state, monitor=monitor)
        np.testing.assert_array_equal(again.best, whole.best)
        assert again.history == whole.history


def test_patience_keeps_the_best():
    held = Exponentials(seed=3, noise=2.0)
    state = minimise(
        objective(noise=2.0),
        Plan(100, 100, 0.0, 3),
        State.at(np.zeros(SIZE)),
        monitor=lambda p: held.loss(held.residuals(p)),
    )
    monitor = [row["monitor"] for row in state.history]
    assert len(monitor) < 100 and int(np.argmin(monitor)) == len(monitor) - 4
    assert held.loss(held.residuals(state.best)) == min(monitor) == state.best_monitor


def test_update_keeps_the_secant_and_symmetry():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 5))
    hessian = root @ root.T
    step, change = rng.normal(size=5), rng.normal(size=5)
    change *= np.sign(step @ change)
    update(hessian, step, change)
    np.testing.assert_allclose(hessian @ change, step, atol=1e-10)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-10)
    assert np.linalg.eigvalsh(hessian).min() > 0
    before = hessian.copy()
    update(hessian, step, -change)
    np.testing.assert_array_equal(hessian, before)


def test_inverse_of_a_badly_scaled_and_of_a_singular_matrix():
    scale = np.logspace(-6, 6, 5)
    root = np.random.default_rng(2).normal(size=(9, 5)) * scale
    np.testing.assert_allclose(inverse(root.T @ root) @ (root.T @ root) * scale[:, None] / scale, np.eye(5), atol=1e-6)
    assert np.isfinite(inverse(np.ones((3, 3)))).all()


def test_a_start_that_is_not_finite():
    with pytest.raises(InputError, match="not finite"):
        minimise(objective(), Plan(3, 3, 0.0, 3), State.at(np.full(SIZE, np.nan)))
