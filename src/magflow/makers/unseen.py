"""What the members of an ensemble say of labels by fits that have not learnt from them, kept beside each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from magflow.core.arrays import decode_arrays
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction, Prediction, concatenate
from magflow.makers.documents import ModelDoc

MOST = 2000
"""Labels; of more, errors on those that were judged as they came are plenty, and the numbers would weigh too much."""
LABELS, COUNTS = "unseen_labels", "unseen_counts"


def pack_unseen(prediction: Prediction, labels: Sequence[LabeledFrame]) -> dict[str, np.ndarray]:
    """What a member's document keeps of a prediction for `labels`."""
    found = {f"unseen_{q}": getattr(prediction, q) for q in QUANTITIES}
    ids = np.array([item.label_id for item in labels], dtype=str)
    return {LABELS: ids, COUNTS: prediction.counts} | {name: x for name, x in found.items() if x is not None}


def unseen_by_ensemble(models: Sequence[ModelDoc], labels: Sequence[LabeledFrame]) -> EnsemblePrediction | None:
    """What the members say of `labels` together; None if one does not say it of each."""
    members = [_of(decode_arrays(document.arrays), labels) for document in models]
    told = [m for m in members if m is not None]
    return EnsemblePrediction.from_members(told) if told and len(told) == len(members) else None


def _of(arrays: Mapping[str, np.ndarray], labels: Sequence[LabeledFrame]) -> Prediction | None:
    if LABELS not in arrays or not labels:
        return None
    place = {label: k for k, label in enumerate(arrays[LABELS].tolist())}
    if not all(item.label_id in place for item in labels):
        return None
    kept = {q: arrays[f"unseen_{q}"] for q in QUANTITIES if f"unseen_{q}" in arrays}
    whole = Prediction(arrays[COUNTS], **kept)
    return concatenate([whole.frame(place[item.label_id]) for item in labels])
