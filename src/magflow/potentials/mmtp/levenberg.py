"""Levenberg-Marquardt on normal equations."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from magflow.core.types import FloatArray
from magflow.potentials.mmtp.objective import Objective
from magflow.potentials.mmtp.state import State

MAX_DAMPING = 1e12


def levenberg_marquardt_step(objective: Objective, state: State) -> bool:
    """Move `state` by one accepted step; False if no damping gives one.

    The step solves (H + mu D) s = -g, with H half the Gauss-Newton Hessian, g half the gradient and D the diagonal
    of H; the damping mu follows Nielsen's rule (Madsen, Nielsen, Tingleff, "Methods for non-linear least squares
    problems", 2004).
    """
    matrix, gradient = objective.normal(state.parameters)
    while state.damping < MAX_DAMPING:
        step = _solve(matrix, gradient, state.damping)
        trial = state.parameters + step
        value = objective.value(trial)
        predicted = float(step @ (state.damping * np.diag(matrix) * step - gradient))
        if np.isfinite(value) and value < state.objective and predicted > 0.0:
            ratio = (state.objective - value) / predicted
            state.damping *= max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
            state.growth = 2.0
            state.move(trial, value)
            return True
        state.damping *= state.growth
        state.growth *= 2.0
    return False


def _scaled(matrix: FloatArray, damping: float) -> tuple[FloatArray, FloatArray]:
    """`matrix` with unit diagonal plus `damping`, and the scale of each unknown."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale[:, None] * scale[None, :]
    scaled[np.diag_indices_from(scaled)] += damping + 1e-14
    return scaled, scale


def _solve(matrix: FloatArray, gradient: FloatArray, damping: float) -> FloatArray:
    scaled, scale = _scaled(matrix, damping)
    try:
        factor = cho_factor(scaled, lower=True, check_finite=False)
    except LinAlgError:
        return -scale * np.linalg.lstsq(scaled, scale * gradient, rcond=1e-14)[0]
    step: FloatArray = cho_solve(factor, scale * gradient, check_finite=False)
    return -scale * step


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
