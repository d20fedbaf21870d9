"""BFGS with a dense inverse Hessian (Nocedal, Wright, "Numerical optimization", 2006, chapters 3 and 6)."""

from __future__ import annotations

import warnings

import numpy as np

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.levenberg import inverse
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.state import State

ROUND = 10
"""Steps that count as one iteration."""
DECREASE, CURVATURE = 1e-4, 0.9
"""Constants of the strong Wolfe conditions."""
TRIALS = 10
"""Lengths one line search tries."""


def begin_bfgs(rough: Objective, state: State) -> None:
    """Prepare `state` for :func:`bfgs_round` with the Gauss-Newton Hessian of `rough`."""
    matrix, _ = rough.normal(state.parameters)
    state.inverse_hessian = np.ascontiguousarray(0.5 * inverse(matrix))
    state.previous = np.nan


def bfgs_round(objective: Objective, state: State) -> bool:
    """Move `state` by up to :data:`ROUND` steps; False if there was none that lowers the objective."""
    hessian = state.inverse_hessian
    if hessian is None:
        raise ValueError("bfgs_round needs begin_bfgs")
    points = _Memory(objective)
    _, gradient = points(state.parameters)
    for taken in range(ROUND):
        direction = -(hessian @ gradient)
        length = _length(points, state, direction, gradient)
        if length is None:
            return taken > 0
        trial = state.parameters + length * direction
        value, slope = points(trial)
        if not value < state.objective:
            return taken > 0
        update(hessian, trial - state.parameters, slope - gradient)
        state.move(trial, value)
        gradient = slope
    return True


def update(hessian: FloatArray, step: FloatArray, change: FloatArray) -> None:
    """Make the inverse `hessian` (n, n) map the `change` of the gradient to the `step`, in place (eq. 6.17)."""
    curvature = float(step @ change)
    if curvature <= 0.0:
        return
    product = hessian @ change
    mixed = np.outer(product, step)
    hessian -= (mixed + mixed.T) / curvature
    hessian += (1.0 + change @ product / curvature) / curvature * np.outer(step, step)


class _Memory:
    """Value and gradient of one point, computed once and together: scipy asks for them one by one."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.point = np.full(1, np.nan)

    def __call__(self, point: FloatArray) -> tuple[float, FloatArray]:
        if not np.array_equal(point, self.point):
            self.found = self.objective.value_and_gradient(point)
            self.point = point.copy()
        return self.found


def _length(points: _Memory, state: State, direction: FloatArray, gradient: FloatArray) -> float | None:
    """How far along `direction` the strong Wolfe conditions hold; None if no trial met them."""
    from scipy.optimize import line_search

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a search without success returns None
        length, *_ = line_search(
            lambda p: points(p)[0],
            lambda p: points(p)[1],
            state.parameters,
            direction,
            gradient,
            state.objective,
            None if np.isnan(state.previous) else state.previous,
            c1=DECREASE,
            c2=CURVATURE,
            maxiter=TRIALS,
        )
    return None if length is None else float(length)
