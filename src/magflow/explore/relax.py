"""Moments relaxed at fixed atoms on the mean of the ensemble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from magflow.core.frame import Frame
from magflow.core.moments import collinear
from magflow.core.protocols import Ensemble
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges, site_moments
from magflow.explore.health import HealthReason, moment_changes

TOLERANCE = 1e-3
"""eV/muB; moments count as relaxed when no magnetic force that is free to act exceeds it."""


class _NotFiniteError(Exception):
    """The ensemble gave an energy or a gradient that is not finite; ends the minimisation."""


@dataclass(frozen=True, eq=False)
class RelaxedMoments:
    """Result of :func:`relax_moments`.

    Parameters
    ----------
    frame
        The frame at the moments reached.
    converged
        True only if `magnetic_force_max` is within the tolerance.
    magnetic_force_max
        Largest magnetic force left, eV/muB; one that pushes a moment against its bound does not count.
    energy
        eV per cell.
    iterations
        Iterations of the minimiser.
    health
        Moments that collapsed, turned over or ended at a bound; energies or gradients that were not finite, in which
        case the frame is the one it started from.
    """

    frame: Frame
    converged: bool
    magnetic_force_max: float
    energy: float
    iterations: int
    health: tuple[HealthReason, ...]


def relax_moments(
    frame: Frame,
    ensemble: Ensemble,
    bounds: MomentRanges,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 200,
) -> RelaxedMoments:
    """Minimise the mean energy over the collinear moments at fixed atoms (L-BFGS-B, exact gradients).

    Parameters
    ----------
    frame
        Collinear frame; its moments are the start.
    ensemble
        Its mean magnetic forces are the gradient.
    bounds
        Range of |m| by element, muB; every moment stays in [-high, high], the range a potential is fitted on.
    tolerance
        eV/muB.
    max_iterations
        Iterations after which it gives up.

    Raises
    ------
    InputError
        If the frame has no moments or is non-collinear, or the ensemble knows no moments.
    """
    if frame.magmoms is None:
        raise InputError("a frame without moments has none to relax", where="moment relaxation")
    start = collinear(frame.magmoms)
    high = site_moments(frame.species, bounds).high

    def evaluate(m: FloatArray) -> tuple[float, FloatArray]:
        mean = ensemble.predict([frame.replace(magmoms=m)]).mean
        if mean.magnetic_forces is None:
            raise InputError("the ensemble knows no moments", where="moment relaxation", hint="use a magnetic family")
        if not (np.isfinite(mean.energy).all() and np.isfinite(mean.magnetic_forces).all()):
            raise _NotFiniteError
        return float(mean.energy[0]), -mean.magnetic_forces[:, 2]

    try:
        return _minimised(frame, start, evaluate, high, tolerance, max_iterations)
    except _NotFiniteError:
        return RelaxedMoments(frame, False, float("nan"), float("nan"), 0, (HealthReason.NOT_FINITE,))


def _minimised(
    frame: Frame,
    start: FloatArray,
    evaluate: Callable[[FloatArray], tuple[float, FloatArray]],
    high: FloatArray,
    tolerance: float,
    max_iterations: int,
) -> RelaxedMoments:
    """The minimisation itself: from `start` (N,) within +-`high` (N,), muB."""
    from scipy.optimize import minimize

    result = minimize(
        evaluate,
        np.clip(start, -high, high),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-high, high, strict=True)),
        options={"maxiter": max_iterations, "ftol": 0.0, "gtol": 0.5 * tolerance},
    )
    energy, gradient = evaluate(result.x)
    pushed_out = ((result.x >= high) & (gradient < 0)) | ((result.x <= -high) & (gradient > 0))
    left = float(np.abs(np.where(pushed_out, 0.0, gradient)).max())
    relaxed = frame.replace(magmoms=result.x)
    health = moment_changes(np.asarray(frame.magmoms), np.asarray(relaxed.magmoms))
    if np.any(pushed_out & (high > 0)):
        health = (*health, HealthReason.MOMENT_AT_BOUND)
    return RelaxedMoments(relaxed, left <= tolerance, left, energy, int(result.nit), health)
