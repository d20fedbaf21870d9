"""Errors of an ensemble on labels it has not seen, per quantity and per stratum, with the calibration that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from magflow.core.comparison import Compared, compare
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.types import FloatArray
from magflow.errors import InputError
from magflow.select.quotas import stratum
from magflow.select.reliability import PRIOR_STRENGTH, Bin, Calibration, calibrate


@dataclass(frozen=True)
class ErrorStats:
    """Errors of one quantity in its house unit: energy per atom, the others per component.

    `n` values from `frames` frames; `deviation_rms` is the raw RMS deviation of the same values.
    """

    n: int
    frames: int
    rmse: float
    mae: float
    max: float
    deviation_rms: float


@dataclass(frozen=True)
class Assessment:
    """How well predictions met labels.

    Parameters
    ----------
    errors
        Quantity to its errors over all labels; a quantity without any label is absent.
    strata
        Stratum (composition and ordering) to quantity to errors.
    calibration
        Quantity to calibration.
    labels
        Labels assessed.
    """

    errors: Mapping[str, ErrorStats] = field(default_factory=dict)
    strata: Mapping[str, Mapping[str, ErrorStats]] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    labels: int = 0

    @property
    def rmse(self) -> dict[str, float]:
        """RMSE per quantity."""
        return {q: e.rmse for q, e in self.errors.items()}

    @property
    def factors(self) -> dict[str, float]:
        """Calibration factor per quantity."""
        return {q: c.factor for q, c in self.calibration.items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "labels": self.labels,
            "errors": {q: asdict(e) for q, e in self.errors.items()},
            "strata": {s: {q: asdict(e) for q, e in d.items()} for s, d in self.strata.items()},
            "calibration": {q: c.as_dict() for q, c in self.calibration.items()},
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Assessment:
        """Inverse of :meth:`as_dict`; keys that start with ``@`` are ignored."""

        def stats(values: Mapping[str, Any]) -> dict[str, ErrorStats]:
            return {q: ErrorStats(**_plain(e)) for q, e in _plain(values).items()}

        return cls(
            errors=stats(d["errors"]),
            strata={s: stats(v) for s, v in _plain(d["strata"]).items()},
            calibration={q: Calibration.from_dict(c) for q, c in _plain(d["calibration"]).items()},
            labels=d["labels"],
        )


def assess(
    prediction: EnsemblePrediction,
    labels: Sequence[LabeledFrame],
    *,
    previous: Mapping[str, float] | None = None,
    prior_strength: float = PRIOR_STRENGTH,
) -> Assessment:
    """Hold the mean of an ensemble against labels.

    Parameters
    ----------
    prediction
        For the configurations of `labels`, in their order.
    labels
        New labels. What a label lacks (NaN magnetic forces of atoms that were not constrained) is skipped.
    previous
        Calibration factors so far; 1 where missing.
    prior_strength
        Labels the previous factors count as.

    Raises
    ------
    InputError
        If prediction and labels are of different frames.
    """
    counts = np.array([len(item.frame) for item in labels], dtype=np.int64)
    if not np.array_equal(counts, prediction.mean.counts):
        raise InputError(
            "prediction and labels are of different frames",
            seen=f"{len(prediction.mean)} predictions for {len(labels)} labels, or other numbers of atoms",
        )
    names = np.array([stratum(item.frame) for item in labels], dtype=object)
    errors, calibration = {}, {}
    strata: dict[str, dict[str, ErrorStats]] = {}
    for quantity in QUANTITIES:
        compared = compare(prediction, labels, quantity)
        error, sigma, owner = compared.error, compared.deviation, compared.owner
        if not len(error):
            continue
        errors[quantity] = _stats(error, sigma, owner)
        calibration[quantity] = calibrate(
            sigma,
            error,
            previous=(previous or {}).get(quantity, 1.0),
            weight=len(np.unique(owner)),
            prior_strength=prior_strength,
        )
        for name in sorted(set(names)):
            here = names[owner] == name
            if here.any():
                strata.setdefault(name, {})[quantity] = _stats(error[here], sigma[here], owner[here])
    return Assessment(errors, strata, calibration, len(labels))


def _plain(d: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in d.items() if not k.startswith("@")}


def _stats(error: FloatArray, sigma: FloatArray, owner: np.ndarray) -> ErrorStats:
    size = np.abs(error)
    return ErrorStats(
        n=len(error),
        frames=len(np.unique(owner)),
        rmse=float(np.sqrt(np.mean(size**2))),
        mae=float(size.mean()),
        max=float(size.max()),
        deviation_rms=float(np.sqrt(np.mean(sigma**2))),
    )


__all__ = ["Assessment", "Bin", "Calibration", "Compared", "ErrorStats", "assess", "calibrate", "compare"]
