"""Regularised Levenberg-Marquardt on normal equations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from magflow.core.types import FloatArray
from magflow.errors import InputError


class LeastSquares(Protocol):
    """What the optimiser needs to know of a problem."""

    def normal(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """J^T J, J^T r, |r|^2."""

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Residuals, not weighted."""

    def loss(self, residuals: FloatArray) -> float:
        """Weighted sum of squares."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian prior: the penalty is sum precision (p - centre)^2."""

    precision: FloatArray
    centre: FloatArray

    def penalty(self, parameters: FloatArray) -> float:
        """Value of the penalty."""
        return float((self.precision * (parameters - self.centre) ** 2).sum())


@dataclass(eq=False)
class Outcome:
    """Where the optimiser ended."""

    parameters: FloatArray
    converged: bool = False
    iterations: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Stopping:
    """When to stop: iterations, relative decrease of the objective, iterations without a better `monitor`."""

    max_iterations: int
    tolerance: float
    patience: int


def levenberg_marquardt(
    problem: LeastSquares,
    start: FloatArray,
    prior: Prior,
    stopping: Stopping,
    *,
    monitor: Callable[[FloatArray], float] | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Minimise |r(p)|^2 + prior.

    Steps solve (J^T J + P + mu D) s = -(J^T r + P (p - p0)), D the diagonal of the first two terms; the damping mu
    follows Nielsen's rule (Madsen, Nielsen, Tingleff, "Methods for non-linear least squares problems", 2004).

    Parameters
    ----------
    monitor
        Validation loss; the parameters with the smallest one are returned, and the fit stops after
        `stopping.patience` iterations without a smaller one.
    report
        Called after each iteration with its number and the objective.

    Raises
    ------
    InputError
        If the objective is not finite at the start.
    """
    p = start.copy()
    jtj, jtr, data = problem.normal(p)
    objective = data + prior.penalty(p)
    if not np.isfinite(objective):
        raise InputError(
            "the fit starts from values that are not finite", hint="look for broken labels or a broken start"
        )
    best = Outcome(p.copy())
    best_monitor = monitor(p) if monitor else np.inf
    since_best = 0
    outcome = Outcome(p)
    damping, growth = 1e-3, 2.0
    for iteration in range(1, stopping.max_iterations + 1):
        matrix = jtj + np.diag(prior.precision)
        gradient = jtr + prior.precision * (p - prior.centre)
        accepted = False
        while not accepted and damping < 1e12:
            step = _solve(matrix, gradient, damping)
            trial = p + step
            residuals = problem.residuals(trial)
            value = problem.loss(residuals) + prior.penalty(trial)
            predicted = float(step @ (damping * np.diag(matrix) * step - gradient))
            if np.isfinite(value) and value < objective and predicted > 0.0:
                ratio = (objective - value) / predicted
                damping *= max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
                growth, accepted = 2.0, True
            else:
                damping *= growth
                growth *= 2.0
        if not accepted:
            outcome.converged = True
            break
        decrease = (objective - value) / objective
        p, objective = trial, value
        outcome.iterations = iteration
        row = {"iteration": float(iteration), "objective": objective, "damping": damping}
        if monitor:
            row["monitor"] = monitor(p)
            since_best += 1
            if row["monitor"] < best_monitor:
                best_monitor, since_best = row["monitor"], 0
                best.parameters = p.copy()
        outcome.history.append(row)
        if report:
            report(iteration, objective)
        if decrease < stopping.tolerance or (monitor and since_best >= stopping.patience):
            outcome.converged = True
            break
        if iteration < stopping.max_iterations:
            jtj, jtr, _ = problem.normal(p)
    outcome.parameters = best.parameters if monitor else p
    return outcome


def _solve(matrix: FloatArray, gradient: FloatArray, damping: float) -> FloatArray:
    diagonal = np.diag(matrix).copy()
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
    scaled = matrix * scale[:, None] * scale[None, :]
    scaled[np.diag_indices_from(scaled)] += damping + 1e-14
    try:
        factor = cho_factor(scaled, lower=True, check_finite=False)
    except LinAlgError:
        return -scale * np.linalg.lstsq(scaled, scale * gradient, rcond=1e-14)[0]
    return -scale * cho_solve(factor, scale * gradient, check_finite=False)
