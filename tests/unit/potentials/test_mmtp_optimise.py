"""The optimiser on least-squares problems whose answer is known."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from magflow.errors import InputError
from magflow.potentials.mmtp import bfgs
from magflow.potentials.mmtp.bfgs import begin_bfgs, bfgs_round, update
from magflow.potentials.mmtp.levenberg import inverse, levenberg_marquardt_step
from magflow.potentials.mmtp.objective import Magnified, Objective, Prior
from magflow.potentials.mmtp.optimise import Plan, best_start, minimise
from magflow.potentials.mmtp.state import Ending, Stage, State

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

    def pulled_back(self, parameters, residuals):
        return (np.exp(self.a @ parameters)[:, None] * self.a).T @ residuals

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


@pytest.mark.parametrize("sample", [0, 3, None])
def test_finds_the_minimum(sample):
    """By BFGS from the start, after three steps of Levenberg-Marquardt, and by that alone."""
    f = objective()
    plan = Plan(100, sample or 0, 1e-12, 100)
    found = minimise(f, plan, State.at(np.zeros(SIZE)), rough=None if sample is None else f)
    np.testing.assert_allclose(found.best, Exponentials().truth, atol=1e-4)
    objectives = [row["objective"] for row in found.history]
    assert objectives == sorted(objectives, reverse=True)
    assert found.ending is Ending.CONVERGED


def test_all_ways_end_at_the_same_regularised_minimum():
    f = objective(STRONG, noise=0.3)
    ends = [
        minimise(f, Plan(200, sample, 1e-12, 100), State.at(np.zeros(SIZE)), rough=rough).best
        for sample, rough in ((0, f), (4, f), (0, None))
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
    least = minimise(blind, Plan(200, 0, 1e-12, 100), State.at(np.zeros(SIZE))).objective
    start = minimise(informed, Plan(3, 0, 0.0, 99), State.at(np.zeros(SIZE))).best
    with_hessian, identity = State.at(start), State.at(start)
    begin_bfgs(informed, with_hessian)
    identity.inverse_hessian = np.eye(SIZE)
    needed = []
    for f, state in ((informed, with_hessian), (blind, identity)):
        state.objective = f.value(start)
        f.problem.seen.clear()
        while bfgs_round(f, state):
            pass
        needed.append(next((k for k, p in enumerate(f.problem.seen, start=1) if f.value(p) - least < 1e-8), np.inf))
    return needed[0], needed[1]


def test_a_sample_only_guides():
    """Levenberg-Marquardt sees other residuals; BFGS still ends at the minimum of the whole."""
    whole, sample = Exponentials(noise=0.3), Exponentials(seed=5, rows=ROWS, noise=0.3)
    stages = []
    found = minimise(
        Objective(whole, STRONG),
        Plan(100, 5, 1e-12, 100),
        State.at(np.zeros(SIZE)),
        rough=Objective(Magnified(sample, 1.0), STRONG),
        observe=lambda state: stages.append(state.stage),
    )
    assert Stage.BFGS in stages
    expected = minimise(Objective(whole, STRONG), Plan(200, 0, 1e-12, 100), State.at(np.zeros(SIZE)))
    np.testing.assert_allclose(found.best, expected.best, atol=1e-5)


def test_a_sample_that_tells_of_other_things_is_not_followed():
    """Two rows: their minimum is nowhere near that of the whole, and BFGS is not begun there."""
    whole, sample = Exponentials(noise=0.3), Exponentials(seed=5, rows=2)
    stages = []
    found = minimise(
        Objective(whole, STRONG),
        Plan(100, 8, 1e-12, 100),
        State.at(np.zeros(SIZE)),
        rough=Objective(Magnified(sample, ROWS / 2), STRONG),
        observe=lambda state: stages.append(state.stage),
    )
    expected = minimise(Objective(whole, STRONG), Plan(200, 0, 1e-12, 100), State.at(np.zeros(SIZE)))
    assert set(stages) == {Stage.SAMPLE, Stage.NEWTON}
    assert found.ending is Ending.CONVERGED
    np.testing.assert_allclose(found.best, expected.best, atol=1e-5)


def test_a_line_search_that_finds_nothing_is_no_convergence(monkeypatch):
    """Levenberg-Marquardt goes on where BFGS cannot."""
    f = objective(STRONG, noise=0.3)
    expected = minimise(f, Plan(200, 0, 1e-12, 100), State.at(np.zeros(SIZE)))
    monkeypatch.setattr(bfgs, "_length", lambda *of: None)
    found = minimise(f, Plan(200, 2, 1e-12, 100), State.at(np.zeros(SIZE)), rough=f)
    assert found.ending is Ending.CONVERGED
    np.testing.assert_allclose(found.best, expected.best, atol=1e-5)


def test_it_says_why_it_ended():
    f = objective(STRONG, noise=0.3)
    short = minimise(f, Plan(2, 0, 1e-6, 100), State.at(np.zeros(SIZE)))
    assert short.ending is Ending.ITERATIONS
    longer = minimise(f, Plan(100, 0, 1e-6, 100), short)
    assert longer.ending is Ending.CONVERGED and longer.iteration > 2
    _, gradient = f.normal(longer.best)
    left = gradient @ np.linalg.solve(f.normal(longer.best)[0], gradient)
    assert left < 1e-6 * longer.objective
    stuck = minimise(f, Plan(100, 0, 0.0, 100), State.at(longer.best))
    assert stuck.ending is Ending.STUCK


def test_the_best_of_several_starts_goes_on():
    f = objective(STRONG, noise=0.3)
    plan = Plan(100, 0, 1e-9, 100, trial_iterations=2)
    far, near = np.full(SIZE, 6.0), np.zeros(SIZE)
    state = best_start(f, plan, [far, near])
    assert state.iteration == 2 and state.ending is None
    alone = minimise(f, Plan(2, 0, 1e-9, 100), State.at(near))
    np.testing.assert_array_equal(state.parameters, alone.parameters)
    ended, once = minimise(f, plan, state), minimise(f, plan, State.at(near))
    np.testing.assert_array_equal(ended.best, once.best)


def test_geodesic_acceleration_follows_a_curved_valley():
    """Rosenbrock's valley in least-squares form; without acceleration it takes twice the steps."""
    steps = [_steps_in_the_valley(accelerated) for accelerated in (True, False)]
    assert 2 * steps[0] <= steps[1]


def _steps_in_the_valley(accelerated: bool) -> int:
    f = Objective(Valley(), Prior(np.full(2, 1e-12), np.zeros(2)))
    if not accelerated:
        f.problem.pulled_back = lambda parameters, residuals: np.zeros(2)
    state = State.at(np.array([-1.2, 1.0]))
    state.objective = f.value(state.parameters)
    for step in range(1, 1000):
        assert levenberg_marquardt_step(f, state)
        if state.objective < 1e-10:
            return step
    raise AssertionError("the minimum was not reached")


class Valley:
    """r = (100 (y - x^2), 1 - x)."""

    def residuals(self, p):
        return np.array([100.0 * (p[1] - p[0] ** 2), 1.0 - p[0]])

    def jacobian(self, p):
        return np.array([[-200.0 * p[0], 100.0], [-1.0, 0.0]])

    def loss(self, r):
        return float(r @ r)

    def pulled_back(self, p, r):
        return self.jacobian(p).T @ r

    def normal(self, p):
        j, r = self.jacobian(p), self.residuals(p)
        return j.T @ j, j.T @ r, self.loss(r)


@pytest.mark.parametrize("sample", [4, None])
def test_going_on_from_any_iteration_gives_the_same_bits(sample):
    plan = Plan(12, sample or 0, 0.0, 99)
    rough = None if sample is None else objective(STRONG, noise=0.3)
    states: list[State] = []
    held = Exponentials(seed=3, noise=0.3)

    def monitor(p):
        return held.loss(held.residuals(p))

    whole = minimise(
        objective(STRONG, noise=0.3),
        plan,
        State.at(np.zeros(SIZE)),
        rough=rough,
        monitor=monitor,
        observe=lambda s: states.append(copy.deepcopy(s)),
    )
    assert len(states) > 5
    for state in states:
        again = minimise(objective(STRONG, noise=0.3), plan, state, rough=rough, monitor=monitor)
        np.testing.assert_array_equal(again.best, whole.best)
        assert again.history == whole.history


def test_patience_keeps_the_best():
    held = Exponentials(seed=3, noise=2.0)
    state = minimise(
        objective(noise=2.0),
        Plan(100, 0, 0.0, 3),
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
