"""Predictions of an ensemble as extended XYZ: what ``magflow predict`` writes.

Per frame: ``energy`` (eV), ``stress`` (3 x 3, eV/A^3), ``energy_deviation`` (eV), ``stress_deviation`` (Voigt xx yy zz
yz xz xy, eV/A^3), ``extrapolation_grade``. Per atom: ``forces`` and ``forces_deviation`` (eV/A), ``magnetic_forces``
and ``magnetic_forces_deviation`` (eV/muB, in the shape the moments had). Deviations belong to components, not norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from magflow.core.comparison import rmse
from magflow.core.label import LabeledFrame
from magflow.core.prediction import QUANTITIES, EnsemblePrediction, concatenate
from magflow.core.protocols import Ensemble
from magflow.core.types import BoolArray, FloatArray
from magflow.core.units import tensor, voigt
from magflow.errors import InputError
from magflow.io.reading import REFERENCE
from magflow.io.records import Record, build_label, located

DEVIATION = "_deviation"
GRADE = "extrapolation_grade"
EXTRAPOLATION = 2.0
"""Extrapolation grade above which a frame counts as outside the training set (the `save` level of MLIP)."""
UNCERTAIN_FORCE = 0.3
"""eV/A; calibrated deviation of a force above which a frame counts as outside, whatever its grade."""

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
                "the moments are missing",
                where=f"{where}: frame {i}" if len(records) > 1 else where,
                expected="a column magmoms, muB (extended XYZ), or initial magnetic moments (ASE)",
                hint="nothing is guessed: --magmoms EL=MUB,.. gives all atoms of an element the same one",
            )


def evaluate(ensemble: Ensemble, records: Sequence[Record], *, where: str) -> EnsemblePrediction:
    """The ensemble's prediction for all records.

    Raises
    ------
    InputError
        If the ensemble refuses a frame; names the first one, counted from 1.
    """
    try:
        return ensemble.predict([record.frame for record in records])
    except InputError:
        for i, record in enumerate(records, start=1):
            with located(f"{where}: frame {i}"):
                ensemble.predict([record.frame])
        raise


def predicted_records(
    records: Sequence[Record],
    prediction: EnsemblePrediction,
    *,
    grades: FloatArray | None = None,
) -> list[Record]:
    """`records` with the predictions and their deviations as keys and columns.

    Parameters
    ----------
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
        info |= {"energy_deviation": float(deviation.energy[0]), "stress_deviation": deviation.stress[0]}
        if grades is not None:
            info[GRADE] = float(grades[i])
        columns |= {"forces": mean.forces, "forces_deviation": deviation.forces}
        if mean.magnetic_forces is not None and deviation.magnetic_forces is not None:
            columns["magnetic_forces"] = _shaped(mean.magnetic_forces, record)
            columns["magnetic_forces_deviation"] = _shaped(deviation.magnetic_forces, record)
        out.append(replace(record, label=None, info=info, columns=columns))
    return out


def _shaped(vectors: FloatArray, record: Record) -> np.ndarray:
    """(N, 3), or the z components where the frame gave its moments as (N,)."""
    return vectors if record.vector_moments else vectors[:, 2]


def reference_errors(records: Sequence[Record], prediction: EnsemblePrediction) -> tuple[dict[str, float], int]:
    """Quantity to RMSE of the mean (:func:`magflow.core.comparison.rmse`) on the labels that the frames were read with,
    and how many these are.

    They are the values under names that begin with ``reference_``. Frames without an energy, or with values of a wrong
    shape or that are not finite, are left out.
    """
    labels, means, deviations = [], [], []
    for i, record in enumerate(records):
        label = _reference(record)
        if label is not None:
            labels.append(label)
            means.append(prediction.mean.frame(i))
            deviations.append(prediction.deviation.frame(i))
    if not labels:
        return {}, 0
    return rmse(EnsemblePrediction(concatenate(means), concatenate(deviations)), labels), len(labels)


def _reference(record: Record) -> LabeledFrame | None:
    """A frame with the label that it was read with; None without one that can be used."""
    n, given = len(record.frame), {**record.info, **record.columns}
    energy, stress, magnetic = (given.get(REFERENCE + name) for name in ("energy", "stress", "magnetic_forces"))
    if energy is None:
        return None
    try:
        label = build_label(
            record.frame,
            energy=energy,
            level_of_theory=None,
            forces=given.get(REFERENCE + "forces"),
            stress=None if stress is None else _voigt(np.asarray(stress, dtype=float)),
            magnetic_forces=None if magnetic is None else _vectors(magnetic, n),
        )
    except (InputError, ValueError, TypeError):
        return None
    return LabeledFrame(record.frame, label)


def _voigt(stress: FloatArray) -> FloatArray:
    """(6,) of what a file may hold: six numbers, or a tensor of nine."""
    return stress.ravel() if stress.size == 6 else voigt(stress.reshape(3, 3))


def _vectors(column: np.ndarray, n: int) -> FloatArray:
    """(N, 3) of components along z or of vectors."""
    return np.column_stack([np.zeros((n, 2)), column]) if np.ndim(column) == 1 else column


def outside(prediction: EnsemblePrediction, grades: FloatArray | None) -> BoolArray:
    """(n,) whether a frame is outside the training set: by its grade, if there are grades, or by its forces.

    The two fail in different places: the grade follows from what the labels leave undecided near one fit, the deviation
    from what fits that start elsewhere make of it.
    """
    far: BoolArray = prediction.frame_deviation("forces") > UNCERTAIN_FORCE
    return far if grades is None else far | (grades > EXTRAPOLATION)


def why_outside(prediction: EnsemblePrediction, grade: float | None) -> list[str]:
    """The reasons of :func:`outside` for the one frame of `prediction`; none if it is inside."""
    reasons = []
    if grade is not None and grade > EXTRAPOLATION:
        reasons.append(f"extrapolation grade {grade:.3g}, above {EXTRAPOLATION:g}")
    deviation = float(prediction.frame_deviation("forces")[0])
    if deviation > UNCERTAIN_FORCE:
        reasons.append(f"calibrated deviation of a force {deviation:.3g} eV/A, above {UNCERTAIN_FORCE:g}")
    return reasons


def summary(prediction: EnsemblePrediction, grades: FloatArray | None) -> dict[str, float | int]:
    """Number of frames, those :func:`outside` and those with a grade above :data:`EXTRAPOLATION`, and the largest
    deviation by quantity.
    """
    told: dict[str, float | int] = {"frames": len(prediction.mean)}
    told["outside"] = int(outside(prediction, grades).sum())
    if grades is not None:
        told["extrapolating"] = int((grades > EXTRAPOLATION).sum())
    for quantity in QUANTITIES:
        told[f"largest_{quantity}{DEVIATION}"] = float(prediction.frame_deviation(quantity).max(initial=0.0))
    return told
