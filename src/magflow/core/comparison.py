"""Predictions beside labels, component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers

from magflow.core.label import LabeledFrame
from magflow.core.prediction import LAYOUTS, QUANTITIES, EnsemblePrediction
from magflow.core.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Compared:
    """Labelled components of one quantity, flat: label, prediction, deviation, the index of their label and the atomic
    number of their atom, 0 for what is no atom's.

    Energies are per atom. Magnetic forces count where :attr:`LabeledFrame.magnetic_force_mask` says so.
    """

    true: FloatArray
    predicted: FloatArray
    deviation: FloatArray
    owner: IntArray
    element: IntArray

    @property
    def error(self) -> FloatArray:
        """Prediction - label."""
        return self.predicted - self.true


def compare(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame], quantity: str) -> Compared:
    """Set a prediction of the configurations of `labels` beside what they say; empty where either has nothing."""
    mean: FloatArray | None = getattr(prediction.mean, quantity)
    spread: FloatArray | None = getattr(prediction.deviation, quantity)
    empty = np.zeros(0)
    if mean is None or spread is None or not len(labels):
        return Compared(empty, empty, empty, *np.zeros((2, 0), dtype=np.int64))
    layout = LAYOUTS[quantity]
    values = [layout.values(len(item.frame)) for item in labels]
    shapes = [(n, *layout.components) for n in values]
    parts = [_or_nan(item.components(quantity), shape) for item, shape in zip(labels, shapes, strict=True)]
    true = np.concatenate(parts)
    if layout.extensive:
        counts = prediction.mean.counts
        true, mean, spread = true / counts, mean / counts, spread / counts
    known = np.isfinite(true)

    def spread_out(values_per_row: np.ndarray) -> IntArray:
        """One number per atom or frame as one per labelled component."""
        column = values_per_row.reshape(-1, *(1 for _ in layout.components))
        return np.broadcast_to(column, true.shape)[known]

    owner = np.repeat(np.arange(len(labels)), values)
    element = np.zeros_like(owner)
    if layout.per_atom:
        element[:] = [atomic_numbers[s] for item in labels for s in item.frame.species]
    return Compared(true[known], mean[known], spread[known], spread_out(owner), spread_out(element))


def rmse(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame]) -> dict[str, float]:
    """Quantity to RMSE of the mean over all labelled components, house units; energy per atom."""
    errors = {quantity: compare(prediction, labels, quantity).error for quantity in QUANTITIES}
    return {quantity: float(np.sqrt(np.mean(error**2))) for quantity, error in errors.items() if len(error)}


def parity(prediction: EnsemblePrediction, labels: Sequence[LabeledFrame]) -> dict[str, np.ndarray]:
    """Flat ``<quantity>_true``, ``_predicted`` and ``_deviation`` of all labelled components; energy per atom.

    ``<quantity>_label`` is the index of the label that each belongs to.
    """
    arrays: dict[str, np.ndarray] = {}
    for quantity in QUANTITIES:
        compared = compare(prediction, labels, quantity)
        arrays[f"{quantity}_true"] = compared.true
        arrays[f"{quantity}_predicted"] = compared.predicted
        arrays[f"{quantity}_deviation"] = compared.deviation
        arrays[f"{quantity}_label"] = compared.owner
    return arrays


def _or_nan(values: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    return np.full(shape, np.nan) if values is None else values.reshape(shape)
