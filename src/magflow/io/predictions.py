"""Predictions of an ensemble as extended XYZ: what ``magflow predict`` writes.

Per frame: ``energy`` (eV), ``stress`` (3 x 3, eV/A^3), ``energy_deviation`` (eV), ``stress_deviation`` (Voigt xx yy zz
yz xz xy, eV/A^3), ``extrapolation_grade``. Per atom: ``forces`` and ``forces_deviation`` (eV/A), ``magnetic_forces``
and ``magnetic_forces_deviation`` (eV/muB, in the shape the moments had). Deviations belong to components, not norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from magflow.core.prediction import QUANTITIES, EnsemblePrediction, Prediction
from magflow.core.types import FloatArray
from magflow.core.units import tensor
from magflow.errors import InputError
from magflow.io.records import Record

DEVIATION = "_deviation"
GRADE = "extrapolation_grade"

_REPLACED = {*QUANTITIES, *(q + DEVIATION for q in QUANTITIES), "free_energy", GRADE}


def check_predictable(records: Sequence[Record], species: Sequence[str], *, magnetic: bool, where: str) -> None:
    """Refuse frames that a potential of `species` cannot evaluate.

    Raises
    ------
    InputError
        Names the first such frame, counted from 1.
    """
    for i, record in enumerate(records, start=1):
        foreign = sorted(set(record.frame.species) - set(species))
        if foreign:
            raise InputError(
                "an element that the potential does not know",
                where=f"{where}: frame {i}",
                seen=", ".join(foreign),
                expected="only " + ", ".join(species),
            )
        if magnetic and record.frame.magmoms is None:
            raise InputError(
                "the column magmoms is missing",
                where=f"{where}: frame {i}",
                expected="magmoms:R:1 (collinear) or magmoms:R:3, muB",
                hint="give every atom the moment it is to be evaluated at; nothing is guessed",
            )


def predicted_records(
    records: Sequence[Record],
    prediction: EnsemblePrediction,
    *,
    calibration: Mapping[str, float] | None = None,
    grades: FloatArray | None = None,
) -> list[Record]:
    """`records` with the predictions and their deviations as keys and columns.

    Parameters
    ----------
    calibration
        Factor by quantity that the deviation is multiplied with; None or absent: 1.
    grades
        (n,) extrapolation grade of each frame.
    """
    out = []
    for i, record in enumerate(records):
        info = {k: v for k, v in record.info.items() if k not in _REPLACED}
        columns = {k: v for k, v in record.columns.items() if k not in _REPLACED}
        mean, deviation = prediction.mean.frame(i), prediction.deviation.frame(i)
        info |= {"energy": float(mean.energy[0]), "free_energy": float(mean.energy[0])}
        info["stress"] = tensor(mean.stress[0]).ravel()
        scaled = _scaled(deviation, calibration or {})
        info |= {"energy_deviation": float(scaled["energy"][0]), "stress_deviation": scaled["stress"][0]}
        if grades is not None:
            info[GRADE] = float(grades[i])
        columns |= {"forces": mean.forces, "forces_deviation": scaled["forces"]}
        if mean.magnetic_forces is not None:
            columns["magnetic_forces"] = _shaped(mean.magnetic_forces, record)
            columns["magnetic_forces_deviation"] = _shaped(scaled["magnetic_forces"], record)
        out.append(replace(record, label=None, info=info, columns=columns))
    return out


def _scaled(deviation: Prediction, calibration: Mapping[str, float]) -> dict[str, Any]:
    values = {name: getattr(deviation, name) for name in QUANTITIES}
    return {name: v if v is None else v * calibration.get(name, 1.0) for name, v in values.items()}


def _shaped(vectors: FloatArray, record: Record) -> np.ndarray:
    """(N, 3), or the z components where the frame gave its moments as (N,)."""
    return vectors if record.vector_moments else vectors[:, 2]
