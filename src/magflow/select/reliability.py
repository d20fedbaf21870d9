r"""How large the true error is for a given ensemble deviation, and whether the deviation means anything at all.

The factor of a quantity is :math:`c = \sqrt{\pi/2}\, \langle |e| \rangle / \langle \sigma \rangle`, the scale of
:math:`e \sim N(0, c^2 \sigma^2)`. Means rather than root mean squares, because those belong to the few samples of
largest deviation: active selection makes sure there are some, and on constrained-DFT labels their factor was half of
what typical frames needed. The ratio of means rather than the mean of ratios, because the deviation of a few members
is itself noisy, and often near zero by chance. With few labels the factor is noisy too, so its logarithm is drawn
towards the previous one as if that came from `prior_strength` labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from magflow.core.types import FloatArray
from magflow.errors import InputError

COVERAGE = (0.6827, 0.9545)
"""Fraction of a normal distribution within 1 and 2 sigma."""
PRIOR_STRENGTH = 10.0
"""Labels the previous factor counts as."""
_BINS = 10
_SMALLEST_BIN = 5


@dataclass(frozen=True)
class Bin:
    """Samples of similar deviation: their number, RMS calibrated deviation and RMS error, house unit."""

    count: int
    deviation: float
    error: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of one quantity.

    Parameters
    ----------
    factor
        What a raw deviation is multiplied by.
    samples
        Pairs of deviation and error it rests on.
    raw_factor
        The factor of these samples alone; None if no deviation was above zero.
    deviation_rms, error_rms
        RMS raw deviation and RMS error, house unit.
    spearman
        Rank correlation of deviation and error size; None if either is constant.
    expected_error
        Expected normalised calibration error: mean over the samples of the difference of RMS error and RMS deviation
        of their bin over the RMS deviation (Levi et al., Sensors 22, 5540 (2022)).
    coverage
        Share of errors within 1 and 2 calibrated deviations; 0.683 and 0.954 for a normal distribution.
    bins
        In order of deviation, equally filled.
    """

    factor: float = 1.0
    samples: int = 0
    raw_factor: float | None = None
    deviation_rms: float = 0.0
    error_rms: float = 0.0
    spearman: float | None = None
    expected_error: float | None = None
    coverage: tuple[float, float] | None = None
    bins: tuple[Bin, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {
            "coverage": None if self.coverage is None else list(self.coverage),
            "bins": [asdict(b) for b in self.bins],
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Calibration:
        """Inverse of :meth:`as_dict`; keys that start with ``@`` are ignored."""
        known = {k: v for k, v in d.items() if not k.startswith("@")}
        coverage = known.get("coverage")
        return cls(
            **known
            | {
                "coverage": None if coverage is None else (coverage[0], coverage[1]),
                "bins": tuple(Bin(**{k: b[k] for k in ("count", "deviation", "error")}) for b in known.get("bins", ())),
            }
        )


def calibrate(
    deviation: ArrayLike,
    true_error: ArrayLike,
    *,
    previous: float = 1.0,
    weight: float | None = None,
    prior_strength: float = PRIOR_STRENGTH,
) -> Calibration:
    """Scale and diagnose deviations by true errors.

    Parameters
    ----------
    deviation, true_error
        Same shape, house unit; pairs with a value that is not finite are left out.
    previous
        Factor known before; what is returned when nothing can be learnt.
    weight
        Labels the samples count as against `prior_strength`; components of one frame are not independent. Default: the
        number of samples.
    prior_strength
        Labels the previous factor counts as; 0 forgets it.

    Raises
    ------
    InputError
        On different shapes, a negative deviation, or a previous factor that is not positive.
    """
    sigma, error = _checked(deviation, true_error, previous)
    n = len(sigma)
    deviation_rms, error_rms = rms(sigma), rms(error)
    # Zero error over many labels (a perfect potential) would give the factor 0 for ever: keep the old one.
    usable = deviation_rms > 0 and error_rms > 0
    raw = float(np.sqrt(np.pi / 2) * np.abs(error).mean() / sigma.mean()) if usable else None
    factor = shrink(raw, n if weight is None else weight, previous, prior_strength)
    if not n:
        return Calibration(factor=factor)
    scaled = sigma * factor
    bins = reliability(scaled, error)
    return Calibration(
        factor=factor,
        samples=n,
        raw_factor=raw,
        deviation_rms=deviation_rms,
        error_rms=error_rms,
        spearman=spearman(sigma, np.abs(error)),
        expected_error=expected_calibration_error(bins),
        coverage=(float(np.mean(np.abs(error) <= scaled)), float(np.mean(np.abs(error) <= 2 * scaled))),
        bins=bins,
    )


def shrink(raw: float | None, weight: float, previous: float, prior_strength: float) -> float:
    """Weighted geometric mean of the new and the previous factor."""
    if raw is None or weight <= 0:
        return previous
    share = weight / (weight + prior_strength)
    return float(np.exp(share * np.log(raw) + (1 - share) * np.log(previous)))


def rms(values: FloatArray) -> float:
    """Root mean square; 0 for none."""
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def spearman(a: FloatArray, b: FloatArray) -> float | None:
    """Rank correlation; None if there are fewer than three samples or one side is constant."""
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def reliability(deviation: FloatArray, error: FloatArray) -> tuple[Bin, ...]:
    """RMS error against RMS deviation in up to ten equally filled bins of at least five samples."""
    order = np.argsort(deviation, kind="stable")
    parts = np.array_split(order, max(1, min(_BINS, len(order) // _SMALLEST_BIN)))
    return tuple(Bin(len(part), rms(deviation[part]), rms(error[part])) for part in parts if len(part))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """See :class:`Calibration`; None if a bin has no deviation."""
    if not bins or min(b.deviation for b in bins) == 0.0:
        return None
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.error - b.deviation) / b.deviation for b in bins) / total


def _checked(deviation: ArrayLike, true_error: ArrayLike, previous: float) -> tuple[FloatArray, FloatArray]:
    sigma, error = np.asarray(deviation, dtype=float), np.asarray(true_error, dtype=float)
    if sigma.shape != error.shape:
        raise InputError("deviations and errors differ in shape", seen=f"{sigma.shape} and {error.shape}")
    finite = np.isfinite(sigma) & np.isfinite(error)
    sigma, error = sigma[finite].ravel(), error[finite].ravel()
    if (sigma < 0).any():
        raise InputError("a deviation is negative", seen=float(sigma.min()))
    if not (np.isfinite(previous) and previous > 0):
        raise InputError("a calibration factor is not positive", seen=previous)
    return sigma, error
