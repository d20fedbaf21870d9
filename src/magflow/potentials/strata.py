"""How well a potential meets labels, in whole and per stratum: composition, magnetic ordering, volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from magflow.core.comparison import Compared, compare
from magflow.core.frame import Frame
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction
from magflow.core.types import FloatArray

MAX_COMPOSITIONS = 12
"""Compositions told apart; the rarer ones share :data:`OTHERS`."""
OTHERS = "others"
WORST = 3
"""Labels named per quantity."""
NEAR = 0.02
"""Relative difference of volume up to which a frame counts as near its usual volume."""


class VolumeClass(StrEnum):
    """Where the volume of a frame lies."""

    COMPRESSED = "compressed"
    EQUILIBRIUM = "equilibrium"
    EXPANDED = "expanded"


@dataclass(frozen=True)
class UsualVolume:
    """The volume an atom of each species usually takes, A^3: least squares over the frames of a training set."""

    of_species: Mapping[str, float]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> UsualVolume:
        """From `frames`; of smallest norm where their compositions do not fix it."""
        species = sorted({s for frame in frames for s in frame.species})
        counts = np.array([[frame.species.count(s) for s in species] for frame in frames], dtype=float)
        volumes = np.array([frame.volume for frame in frames])
        found = np.linalg.lstsq(counts, volumes, rcond=None)[0]
        return cls(dict(zip(species, found.tolist(), strict=True)))

    def classify(self, frame: Frame) -> VolumeClass:
        """Compressed or expanded if the volume differs by more than :data:`NEAR` from that of its species."""
        usual = sum(self.of_species.get(s, np.nan) for s in frame.species)
        if frame.volume < (1.0 - NEAR) * usual:
            return VolumeClass.COMPRESSED
        return VolumeClass.EXPANDED if frame.volume > (1.0 + NEAR) * usual else VolumeClass.EQUILIBRIUM


def residual_report(
    items: Sequence[LabeledFrame], prediction: EnsemblePrediction, usual_volume: UsualVolume
) -> dict[str, Any]:
    """Errors of `prediction` on `items`, JSON-ready, in house units (energy per atom, the others per component).

    Parameters
    ----------
    prediction
        Of the configurations of `items`, the stress with what labels carry beyond the potential's own.

    Returns
    -------
    ``errors``: quantity to ``n``, ``rmse``, ``mae``, ``max``. ``strata``: ``composition``, ``ordering``, ``volume`` to
    stratum to ``labels`` and ``errors``. ``worst``: quantity to the labels of largest RMSE, worst first.
    """
    compared = {q: compare(prediction, items, q) for q in QUANTITIES}
    everything = np.ones(len(items), dtype=bool)
    strata = {}
    for kind, names in _strata(items, usual_volume).items():
        strata[kind] = {
            name: {"labels": int((names == name).sum()), "errors": _errors(compared, names == name)}
            for name in sorted(set(names.tolist()))
        }
    return {
        "labels": len(items),
        "errors": _errors(compared, everything),
        "strata": strata,
        "worst": {q: worst for q, c in compared.items() if (worst := _worst(c, items))},
    }


def _strata(items: Sequence[LabeledFrame], usual_volume: UsualVolume) -> dict[str, np.ndarray]:
    """Kind of stratum to the stratum of each label."""
    frames = [item.configuration for item in items]
    common = {name for name, _ in Counter(f.formula for f in frames).most_common(MAX_COMPOSITIONS)}
    return {
        "composition": np.array([f.formula if f.formula in common else OTHERS for f in frames]),
        "ordering": np.array([str(f.ordering) for f in frames]),
        "volume": np.array([str(usual_volume.classify(f)) for f in frames]),
    }


def _errors(compared: Mapping[str, Compared], chosen: np.ndarray) -> dict[str, dict[str, float]]:
    """Statistics of the `chosen` (n,) labels per quantity; a quantity none of them has is absent."""
    out = {}
    for quantity, c in compared.items():
        size = np.abs(c.error[chosen[c.owner]])
        if len(size):
            out[quantity] = {
                "n": len(size),
                "rmse": _short(np.sqrt((size**2).mean())),
                "mae": _short(size.mean()),
                "max": _short(size.max()),
            }
    return out


def _worst(compared: Compared, items: Sequence[LabeledFrame]) -> list[dict[str, Any]]:
    """The labels with the largest RMSE over their components."""
    n = np.bincount(compared.owner, minlength=len(items))
    rmse: FloatArray = np.sqrt(
        np.bincount(compared.owner, weights=compared.error**2, minlength=len(items)) / np.maximum(n, 1)
    )
    order = [k for k in np.argsort(-rmse, kind="stable")[:WORST].tolist() if n[k]]
    return [{"label_id": items[k].label_id, "formula": items[k].frame.formula, "rmse": _short(rmse[k])} for k in order]


def _short(value: float) -> float:
    """Four significant digits: what a table shows and a document need hold."""
    return float(f"{value:.4g}")
