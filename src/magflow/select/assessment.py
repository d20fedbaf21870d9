"""Errors of an ensemble on labels it has not seen, per quantity and per stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from magflow.core.comparison import compare
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.types import FloatArray, IntArray
from magflow.errors import InputError
from magflow.select.quotas import stratum


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
    labels
        Labels assessed.
    """

    errors: Mapping[str, ErrorStats] = field(default_factory=dict)
    strata: Mapping[str, Mapping[str, ErrorStats]] = field(default_factory=dict)
    labels: int = 0

    @property
    def rmse(self) -> dict[str, float]:
        """RMSE per quantity."""
        return {q: e.rmse for q, e in self.errors.items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "labels": self.labels,
            "errors": {q: asdict(e) for q, e in self.errors.items()},
            "strata": {s: {q: asdict(e) for q, e in d.items()} for s, d in self.strata.items()},
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Assessment:
        """Inverse of :meth:`as_dict`; other keys are ignored."""

        def stats(values: Mapping[str, Any]) -> dict[str, ErrorStats]:
            return {q: ErrorStats(**_plain(e)) for q, e in _plain(values).items()}

        return cls(
            errors=stats(d["errors"]),
            strata={s: stats(v) for s, v in _plain(d["strata"]).items()},
            labels=d["labels"],
        )


def assess(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame]) -> Assessment:
    """Hold the mean of an ensemble against labels.

    Parameters
    ----------
    prediction
        For the configurations of `labels`, in their order.
    labels
        New labels. What a label lacks (NaN magnetic forces of atoms that were not constrained) is skipped.

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
    errors = {}
    strata: dict[str, dict[str, ErrorStats]] = {}
    for quantity in QUANTITIES:
        compared = compare(prediction, labels, quantity)
        error, sigma, owner = compared.error, compared.deviation, compared.owner
        if not len(error):
            continue
        errors[quantity] = _stats(error, sigma, owner)
        for name in sorted(set(names)):
            here = names[owner] == name
            if here.any():
                strata.setdefault(name, {})[quantity] = _stats(error[here], sigma[here], owner[here])
    return Assessment(errors, strata, len(labels))


def _plain(d: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in d.items() if not k.startswith("@")}


def _stats(error: FloatArray, sigma: FloatArray, owner: IntArray) -> ErrorStats:
    size = np.abs(error)
    return ErrorStats(
        n=len(error),
        frames=len(np.unique(owner)),
        rmse=float(np.sqrt(np.mean(size**2))),
        mae=float(size.mean()),
        max=float(size.max()),
        deviation_rms=float(np.sqrt(np.mean(sigma**2))),
    )
