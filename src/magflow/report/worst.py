"""The labels that the ensemble was most wrong about, before it learnt from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from magflow.core.prediction import QUANTITIES
from magflow.core.types import FloatArray
from magflow.makers.documents import IterationDoc

MOST = 6
"""Labels that are shown."""


def worst_labels(
    iterations: Sequence[IterationDoc], parities: Sequence[Mapping[str, np.ndarray]], targets: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """label_id, the worst first, to the RMS error of each quantity over its components, house units.

    They are of the last iteration that was assessed. Errors are compared in units of the target, or of the RMSE of all
    where there is none. Empty before the first assessment, and for campaigns of releases that noted no labels.
    """
    last = next((pair for pair in zip(reversed(iterations), reversed(parities), strict=True) if pair[0].assessed), None)
    if last is None:
        return {}
    document, arrays = last
    errors = {q: _of_labels(arrays, q, len(document.assessed)) for q in QUANTITIES if f"{q}_label" in arrays}
    scores = np.zeros(len(document.assessed))
    for q, of_label in errors.items():
        scale = targets.get(q) or document.rmse.get(q) or np.inf
        scores = np.fmax(scores, of_label / scale)
    found = np.argsort(-scores, kind="stable")[:MOST]
    return {
        document.assessed[i]: {q: float(e[i]) for q, e in errors.items() if np.isfinite(e[i])} for i in found.tolist()
    }


def _of_labels(arrays: Mapping[str, np.ndarray], quantity: str, labels: int) -> FloatArray:
    """(labels,) RMS error over the components of each label, house units; NaN where a label has none."""
    owner = arrays[f"{quantity}_label"]
    squares = (arrays[f"{quantity}_predicted"] - arrays[f"{quantity}_true"]) ** 2
    counts = np.bincount(owner, minlength=labels)
    sums = np.bincount(owner, squares, minlength=labels)
    return np.where(counts > 0, np.sqrt(sums / np.maximum(counts, 1)), np.nan)
