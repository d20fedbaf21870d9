"""Health checks: what can go wrong on the way to a new frame, each with a name that is counted in the report."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import numpy as np

from magflow.core.moments import ZERO_MOMENT
from magflow.core.types import FloatArray


class HealthReason(StrEnum):
    """What the health checks met, and how MD runs ended."""

    COMPLETED = "completed"
    GRADE_BREAK = "extrapolation-grade"
    DEVIATION_BREAK = "forces-deviation"
    PULLED_IN = "pulled-in-from-min-distance"
    MIN_DISTANCE = "min-distance"
    NOT_FINITE = "not-finite"
    ENERGY_BLOW_UP = "energy-blow-up"
    TEMPERATURE_EXPLOSION = "temperature-explosion"
    MOMENT_COLLAPSE = "moment-collapse"
    MOMENT_FLIP = "moment-flip"
    MOMENT_AT_BOUND = "moment-at-bound"
    MOMENTS_ALL_ZERO = "moments-all-zero"
    VOLUME_CHANGE = "volume-change"
    RELAXATION_UNCONVERGED = "moments-not-relaxed"
    NO_CRYSTAL = "no-crystal-to-cut"
    CUT_TOO_CLOSE = "cut-too-close"


def moment_changes(before: FloatArray, after: FloatArray, zero: float = ZERO_MOMENT) -> tuple[HealthReason, ...]:
    """Whether moments collapsed or turned over between two states of one structure.

    Parameters
    ----------
    before, after
        (N, 3) collinear moments, muB.
    zero
        Below it a moment counts as gone, muB.

    Returns
    -------
    tuple
        MOMENT_COLLAPSE if a polarised site (above 2 `zero`) lost its moment; MOMENT_FLIP if the relative signs of
        the polarised sites changed. Reversing all of them is time reversal and no flip.
    """
    old, new = before[:, 2], after[:, 2]
    reasons = []
    if np.any((np.abs(old) > 2.0 * zero) & (np.abs(new) < zero)):
        reasons.append(HealthReason.MOMENT_COLLAPSE)
    kept = np.sign(old * new)[(np.abs(old) >= zero) & (np.abs(new) >= zero)]
    if np.unique(kept).size > 1:
        reasons.append(HealthReason.MOMENT_FLIP)
    return tuple(reasons)


def counted(reasons: Iterable[HealthReason]) -> dict[str, int]:
    """How often each reason was met, in the order of :class:`HealthReason`; those that were not are left out."""
    met = list(reasons)
    return {str(reason): met.count(reason) for reason in HealthReason if reason in met}
