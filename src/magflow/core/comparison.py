"""Predictions beside labels, component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.types import FloatArray


@dataclass(frozen=True, eq=False)
class Compared:
    """Labelled components of one quantity, flat: label, prediction, raw deviation, and the index of their label.

    Energies are per atom. Magnetic forces count where :attr:`LabeledFrame.magnetic_force_mask` says so.
    """

    true: FloatArray
    predicted: FloatArray
    deviation: FloatArray
    owner: np.ndarray

    @property
    def error(self) -> FloatArray:
        """Prediction - label."""
        return self.predicted - self.true


def compare(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame], quantity: str) -> Compared:
    """Set a prediction of the configurations of `labels` beside what they say; empty where either has nothing."""
    mean, spread = getattr(prediction.mean, quantity), getattr(prediction.deviation, quantity)
    empty = np.zeros(0)
    if mean is None or not len(labels):
        return Compared(empty, empty, empty, np.zeros(0, dtype=np.int64))
    counts = prediction.mean.counts
    index = np.arange(len(labels))
    if quantity == "energy":
        true = np.array([item.label.energy for item in labels], dtype=float) / counts
        mean, spread, owner = mean / counts, spread / counts, index
    elif quantity == "stress":
        true = np.array([_or_nan(item.label.stress, (6,)) for item in labels])
        owner = np.broadcast_to(index[:, None], true.shape)
    else:
        true = np.concatenate([_or_nan(getattr(item.label, quantity), (len(item.frame), 3)) for item in labels])
        owner = np.broadcast_to(np.repeat(index, counts)[:, None], true.shape)
    known = np.isfinite(true)
    if quantity == "magnetic_forces":
        known &= np.concatenate([item.magnetic_force_mask for item in labels])
    return Compared(true[known], mean[known], spread[known], owner[known])


def parity(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame]) -> dict[str, FloatArray]:
    """Flat ``<quantity>_true``, ``_predicted`` and ``_deviation`` of all labelled components; energy per atom."""
    arrays = {}
    for quantity in QUANTITIES:
        compared = compare(prediction, labels, quantity)
        arrays[f"{quantity}_true"] = compared.true
        arrays[f"{quantity}_predicted"] = compared.predicted
        arrays[f"{quantity}_deviation"] = compared.deviation
    return arrays


def _or_nan(values: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    return np.full(shape, np.nan) if values is None else values
