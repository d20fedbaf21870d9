"""Levenberg-Marquardt on normal equations, with geodesic acceleration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.state import State

MAX_DAMPING = 1e12
ACCELERATION = 0.75
"""Largest acceleration beside the velocity of a step; beyond it the residuals bend too much for the step."""


def levenberg_marquardt_step(objective: Objective, state: State) -> bool:
    """Move `state` by one accepted step; False if no damping gives one. Notes in ``state.promise`` what it could gain.

    The velocity v solves (H + mu D) v = -g, with H half the Gauss-Newton Hessian, g half the gradient and D the
    diagonal of H. The step is v + a/2 with the geodesic acceleration a, the solution of (H + mu D) a = -J^T r'', where
    r'' is the second derivative of the residuals along v: it follows a curved valley where v alone leaves it
    (Transtrum, Sethna, arXiv:1201.5885). The damping mu follows Nielsen's rule (Madsen, Nielsen, Tingleff, "Methods
    for non-linear least squares problems", 2004).
    """
    matrix, gradient = objective.normal(state.parameters)
    diagonal = np.diag(matrix).copy()
    state.promise = promise(matrix, gradient)
    while state.damping < MAX_DAMPING:
        factor = Factor.of(matrix, state.damping)
        velocity = -factor.solve(gradient)
        acceleration = -factor.solve(objective.bending(state.parameters, velocity))
        ratio = np.sqrt((diagonal @ acceleration**2) / (diagonal @ velocity**2))
        if ratio <= ACCELERATION:
            trial = state.parameters + velocity + 0.5 * acceleration
            value = objective.value(trial)
            predicted = float(velocity @ (state.damping * diagonal * velocity - gradient))
            if np.isfinite(value) and value < state.objective and predicted > 0.0:
                gain = (state.objective - value) / predicted
                state.damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
                state.growth = 2.0
                state.move(trial, value)
                return True
        state.damping *= state.growth
        state.growth *= 2.0
    return False


def promise(matrix: FloatArray, gradient: FloatArray) -> float:
    """What a step without damping would take off the objective if the residuals were linear: g^T H^-1 g."""
    return float(gradient @ Factor.of(matrix, 0.0).solve(gradient))


def _scaled(matrix: FloatArray, damping: float) -> tuple[FloatArray, FloatArray]:
    """`matrix` with unit diagonal plus `damping`, and the scale of each unknown."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale[:, None] * scale[None, :]
    scaled[np.diag_indices_from(scaled)] += damping + 1e-14
    return scaled, scale


@dataclass(frozen=True, eq=False)
class Factor:
    """Solves (H + damping D) x = b for several b."""

    scaled: FloatArray
    scale: FloatArray
    factor: tuple[FloatArray, bool] | None

    @classmethod
    def of(cls, matrix: FloatArray, damping: float) -> Factor:
        """Of H = `matrix`; where that is singular but for rounding, least squares stand in."""
        scaled, scale = _scaled(matrix, damping)
        try:
            return cls(scaled, scale, cho_factor(scaled, lower=True, check_finite=False))
        except LinAlgError:
            return cls(scaled, scale, None)

    def solve(self, right: FloatArray) -> FloatArray:
        """(n,) solution for one right-hand side."""
        scaled = self.scale * right
        found: FloatArray
        if self.factor is None:
            found = np.linalg.lstsq(self.scaled, scaled, rcond=1e-14)[0].astype(float)
        else:
            found = cho_solve(self.factor, scaled, check_finite=False)
        return self.scale * found


def inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a symmetric matrix whose eigenvalues are not negative but for rounding."""
    damping = 0.0
    while True:
        scaled, scale = _scaled(matrix, damping)
        try:
            factor = cho_factor(scaled, lower=True, check_finite=False)
        except LinAlgError:
            damping = max(10.0 * damping, 1e-12)
            continue
        found: FloatArray = cho_solve(factor, np.eye(len(matrix)), check_finite=False)
        return 0.5 * (found + found.T) * scale[:, None] * scale[None, :]
