r"""How true deviations were that had been claimed: how many errors they covered, and whether they rank frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.types import FloatArray
from magflow.errors import InputError

COVERAGE = (0.6827, 0.9545)
"""Fraction of a normal distribution within 1 and 2 sigma."""
_BINS = 10
_SMALLEST_BIN = 5


@dataclass(frozen=True)
class Bin:
    """Samples of similar deviation: their number, RMS deviation and RMS error, house unit."""

    count: int
    deviation: float
    error: float


@dataclass(frozen=True)
class Reliability:
    """Deviations beside the errors found.

    Parameters
    ----------
    labels, samples
        Labels, and their components.
    deviation_rms, error_rms
        RMS deviation and RMS error, house unit.
    spearman
        Rank correlation of deviation and error size; None if either is constant.
    expected_error
        Expected normalised calibration error: mean over the samples of the difference of RMS error and RMS deviation
        of their bin over the RMS deviation (Levi et al., Sensors 22, 5540 (2022)).
    coverage
        Share of errors within 1 and 2 deviations; 0.683 and 0.954 for a normal distribution.
    bins
        In order of deviation, equally filled.
    """

    labels: int
    samples: int
    deviation_rms: float
    error_rms: float
    spearman: float | None
    expected_error: float | None
    coverage: tuple[float, float]
    bins: tuple[Bin, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"coverage": list(self.coverage), "bins": [asdict(b) for b in self.bins]}


def reliability(deviation: ArrayLike, error: ArrayLike, *, labels: int) -> Reliability:
    """Hold (n,) deviations against (n,) errors, n > 0, of `labels` labels; house units.

    Raises
    ------
    InputError
        On different shapes, no samples, a number that is not finite, or a deviation below zero.
    """
    sigma, size = np.asarray(deviation, dtype=float), np.abs(np.asarray(error, dtype=float))
    if sigma.shape != size.shape or sigma.ndim != 1 or not len(sigma):
        raise InputError("deviations and errors differ in shape", seen=f"{sigma.shape} and {size.shape}")
    if not np.isfinite([sigma, size]).all() or (sigma < 0.0).any():
        raise InputError("deviations or errors are out of range", expected="finite, and no deviation below 0")
    bins = binned(sigma, size)
    return Reliability(
        labels=labels,
        samples=len(sigma),
        deviation_rms=rms(sigma),
        error_rms=rms(size),
        spearman=spearman(sigma, size),
        expected_error=expected_calibration_error(bins),
        coverage=(float(np.mean(size <= sigma)), float(np.mean(size <= 2.0 * sigma))),
        bins=bins,
    )


def rms(values: FloatArray) -> float:
    """Root mean square; 0 for none."""
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def spearman(a: FloatArray, b: FloatArray) -> float | None:
    """Rank correlation; None if there are fewer than three samples or one side is constant."""
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def binned(deviation: FloatArray, error: FloatArray) -> tuple[Bin, ...]:
    """RMS error against RMS deviation in up to ten equally filled bins of at least five samples."""
    order = np.argsort(deviation, kind="stable")
    parts = np.array_split(order, max(1, min(_BINS, len(order) // _SMALLEST_BIN)))
    return tuple(Bin(len(part), rms(deviation[part]), rms(error[part])) for part in parts if len(part))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """See :class:`Reliability`; None if a bin has no deviation."""
    if not bins or min(b.deviation for b in bins) == 0.0:
        return None
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.error - b.deviation) / b.deviation for b in bins) / total
