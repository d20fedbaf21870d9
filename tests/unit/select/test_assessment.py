"""Errors on new labels, by quantity and stratum."""

from __future__ import annotations

import json

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.errors import InputError
from magflow.select.assessment import Assessment, assess

THEORY = LevelOfTheory("test", "1", LabelKind.CONSTRAINED, "none")


def labels_and_prediction(n: int, seed: int, masked: bool = True) -> tuple[EnsemblePrediction, list[LabeledFrame]]:
    """n labels, three members whose errors have a standard deviation of 0.01 eV/atom and 0.1 in all else."""
    rng = np.random.default_rng(seed)
    items, members = [], [[], [], []]
    for k in range(n):
        size = 1 + k % 2
        frame = Frame(
            ("Fe",) * size,
            np.eye(3) * 3,
            rng.uniform(0, 0.2, (size, 3)) + np.arange(size)[:, None] * 1.5,
            rng.uniform(1, 2, size),
        )
        pull = np.zeros((size, 3))
        pull[:, 2] = rng.normal(size=size)
        if masked and size == 2:
            pull[1] = np.nan
        energy, forces, stress = rng.normal(), rng.normal(size=(size, 3)), rng.normal(size=6)
        label = Label(frame.frame_id, THEORY, frame.orientation, energy, forces, stress, frame.magmoms, pull)
        items.append(LabeledFrame(frame, label))
        for member in members:
            member.append(
                Prediction(
                    np.array([size]),
                    np.array([energy + 0.01 * size * rng.normal()]),
                    forces + 0.1 * rng.normal(size=(size, 3)),
                    stress[None] + 0.1 * rng.normal(size=(1, 6)),
                    np.nan_to_num(pull) + 0.1 * rng.normal(size=(size, 3)) * [0, 0, 1],
                )
            )

    def join(parts):
        return Prediction(
            *(
                np.concatenate([getattr(p, name) for p in parts])
                for name in ("counts", "energy", "forces", "stress", "magnetic_forces")
            )
        )

    return EnsemblePrediction.from_members([join(m) for m in members]), items


def test_errors_of_a_known_ensemble():
    prediction, items = labels_and_prediction(300, 0)
    found = assess(prediction, items)
    # The mean of three members is off by sigma / sqrt(3), while they spread by sigma.
    assert found.rmse["energy"] == pytest.approx(0.01 / np.sqrt(3), rel=0.2)
    assert found.rmse["forces"] == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    assert found.errors["forces"].deviation_rms == pytest.approx(0.1, rel=0.1)
    assert found.errors["forces"].n == 450 * 3
    assert found.errors["magnetic_forces"].n == 300  # only z, and the second atom is free
    assert found.errors["magnetic_forces"].frames == 300
    assert set(found.strata) == {"Fe1 FM", "Fe2 FM"}
    assert found.errors["energy"].mae <= found.errors["energy"].rmse <= found.errors["energy"].max


def test_an_assessment_survives_json():
    prediction, items = labels_and_prediction(30, 1)
    found = assess(prediction, items)
    text = json.dumps(found.as_dict() | {"@module": "x", "calibration": {}}, allow_nan=False)
    assert Assessment.from_dict(json.loads(text)) == found


def test_no_labels_and_no_magnetic_forces():
    prediction, items = labels_and_prediction(4, 4)
    assert assess(EnsemblePrediction.from_members([_empty()]), []).errors == {}
    bare = EnsemblePrediction(_without_moments(prediction.mean), _without_moments(prediction.deviation))
    assert set(assess(bare, items).errors) == {"energy", "forces", "stress"}
    with pytest.raises(InputError, match="different frames"):
        assess(prediction, items[:2])


def _empty() -> Prediction:
    return Prediction(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), np.zeros((0, 3)))


def _without_moments(p: Prediction) -> Prediction:
    return Prediction(p.counts, p.energy, p.forces, p.stress)
