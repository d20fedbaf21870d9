"""Moments relaxed at fixed atoms on a potential or on the mean of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from magflow.core.frame import Frame
from magflow.core.protocols import Ensemble, Potential
from magflow.errors import InputError
from magflow.explore.candidate import MomentRanges
from magflow.explore.health import HealthReason
from magflow.explore.relaxation.held import Held
from magflow.explore.relaxation.joint import Relaxation, relax_many
from magflow.explore.relaxation.settings import TOLERANCE, RelaxSettings

_STILL = frozenset({Held.CELL, Held.ATOMS})


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
    evaluations
        Predictions spent on this frame.
    health
        Moments that collapsed, turned over or ended at a bound; energies or gradients that were not finite, in which
        case the frame is the one it started from.
    """

    frame: Frame
    converged: bool
    magnetic_force_max: float
    energy: float
    evaluations: int
    health: tuple[HealthReason, ...]


def relax_moments(
    frame: Frame,
    model: Ensemble | Potential,
    bounds: MomentRanges,
    *,
    tolerance: float = TOLERANCE,
    max_evaluations: int = 200,
) -> RelaxedMoments:
    """Minimise the energy over the collinear moments at fixed atoms, with exact gradients.

    Parameters
    ----------
    frame
        Collinear frame; its moments are the start.
    model
        Its (mean) magnetic forces are the gradient.
    bounds
        Range of |m| by element, muB; every moment stays in [-high, high], the range a potential is fitted on.
    tolerance
        eV/muB.
    max_evaluations
        Predictions after which it gives up.

    Raises
    ------
    InputError
        If the frame has no moments or is non-collinear, or the model knows no moments.
    """
    return relax_moments_many([frame], model, bounds, tolerance=tolerance, max_evaluations=max_evaluations)[0]


def relax_moments_many(
    frames: Sequence[Frame],
    model: Ensemble | Potential,
    bounds: MomentRanges,
    *,
    tolerance: float = TOLERANCE,
    max_evaluations: int = 200,
) -> list[RelaxedMoments]:
    """:func:`relax_moments` of many frames with one prediction call per step for all that are not converged."""
    if any(frame.magmoms is None for frame in frames):
        raise InputError("a frame without moments has none to relax", where="moment relaxation")
    settings = RelaxSettings(_STILL, magnetic_forces_tolerance=tolerance, max_evaluations=max_evaluations)
    return [_summary(r) for r in relax_many(frames, model, bounds, settings)]


def _summary(relaxation: Relaxation) -> RelaxedMoments:
    r = relaxation
    if not r.steps:
        return RelaxedMoments(r.frame, False, float("nan"), float("nan"), r.evaluations, r.health)
    end = r.steps[-1]
    left = end.residuals.magnetic_forces or 0.0
    return RelaxedMoments(r.frame, r.converged, left, end.energy, r.evaluations, r.health)
