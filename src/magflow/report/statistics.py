"""The few statistics the page computes itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well the deviation of an ensemble foretells its error.

    Parameters
    ----------
    factor
        Deviation x factor ~ error.
    bin_deviation, bin_error
        (b,) RMS deviation and RMS error of entries of like deviation; equal numbers of entries per bin.
    within_one, within_two
        Fraction of the entries whose error lies within one and two calibrated deviations; 0.683 and 0.954 for
        normal errors of that width.
    """

    factor: float
    bin_deviation: FloatArray
    bin_error: FloatArray
    within_one: float
    within_two: float


def rmse(true: FloatArray, predicted: FloatArray) -> float:
    """Root of the mean squared difference; NaN if there is nothing."""
    return float(np.sqrt(np.mean((predicted - true) ** 2))) if len(true) else float("nan")


def calibration_of(deviation: FloatArray, error: FloatArray, factor: float | None = None, bins: int = 8) -> Calibration:
    """Bins and coverage of `deviation` and |`error`|, both (n,) in one unit.

    Without a `factor` it is the one that makes the mean square of error / (factor x deviation) one: the maximum
    likelihood scale of normal errors, Levi et al., Sensors 22, 5540 (2022), eq. 10.
    """
    known = deviation > 0
    deviation, error = deviation[known], np.abs(error[known])
    if not len(deviation):
        return Calibration(float("nan") if factor is None else factor, np.zeros(0), np.zeros(0), np.nan, np.nan)
    if factor is None:
        factor = float(np.sqrt(np.mean((error / deviation) ** 2)))
    groups = np.array_split(np.argsort(deviation, kind="stable"), max(1, min(bins, len(deviation) // 4)))
    return Calibration(
        factor,
        np.array([np.sqrt(np.mean(deviation[g] ** 2)) for g in groups]),
        np.array([np.sqrt(np.mean(error[g] ** 2)) for g in groups]),
        float(np.mean(error <= factor * deviation)),
        float(np.mean(error <= 2 * factor * deviation)),
    )
