"""Calibration and assessment."""

from __future__ import annotations

import json

import numpy as np
import pytest

from magflow.core.frame import Frame
from magflow.core.label import Label, LabeledFrame, LabelKind, LevelOfTheory
from magflow.core.prediction import EnsemblePrediction, Prediction
from magflow.errors import InputError
from magflow.select.calibration import Assessment, assess, calibrate
from magflow.select.reliability import Calibration

THEORY = LevelOfTheory("test", "1", LabelKind.CONSTRAINED, "none")


def test_a_deviation_that_is_too_small_by_three_is_scaled_by_three():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 5, 4000)
    found = calibrate(sigma, 3 * sigma * rng.normal(size=4000), prior_strength=0)
    assert found.factor == pytest.approx(3.0, rel=0.05)
    assert found.coverage == pytest.approx((0.6827, 0.9545), abs=0.02)
    assert found.expected_error < 0.1
    assert 0.3 < found.spearman < 0.7
    assert [b.deviation for b in found.bins] == sorted(b.deviation for b in found.bins)
    assert sum(b.count for b in found.bins) == 4000


def test_a_deviation_that_means_nothing_shows():
    rng = np.random.default_rng(1)
    found = calibrate(rng.lognormal(0, 2, 2000), rng.normal(size=2000))
    assert abs(found.spearman) < 0.1
    assert found.expected_error > 0.5


def test_few_labels_move_the_factor_little():
    eight = 8.0 * np.sqrt(2 / np.pi)  # mean size of a normal error of width 8
    few = calibrate(np.ones(2), np.full(2, eight), previous=1.0, prior_strength=10)
    many = calibrate(np.ones(500), np.full(500, eight), previous=1.0, prior_strength=10)
    assert few.factor == pytest.approx(8 ** (2 / 12))
    assert many.factor == pytest.approx(8 ** (500 / 510))
    assert few.raw_factor == pytest.approx(8.0)
    assert calibrate(np.ones(2), np.full(2, eight), prior_strength=0).factor == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("sigma", "error"), [([], []), ([0.0, 0.0], [1.0, 2.0]), ([1.0], [0.0]), ([np.nan], [1.0]), ([1.0], [np.nan])]
)
def test_nothing_to_learn_keeps_the_factor(sigma, error):
    found = calibrate(sigma, error, previous=1.7)
    assert found.factor == 1.7
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("sigma", "error", "previous"), [([1.0], [1.0, 2.0], 1.0), ([-1.0], [1.0], 1.0), ([1.0], [1.0], 0.0)]
)
def test_bad_input_is_one_clear_error(sigma, error, previous):
    with pytest.raises(InputError):
        calibrate(sigma, error, previous=previous)


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


def test_errors_and_factors_of_a_known_ensemble():
    prediction, items = labels_and_prediction(300, 0)
    found = assess(prediction, items, prior_strength=0)
    # The mean of three members is off by sigma / sqrt(3), while they spread by sigma.
    assert found.rmse["energy"] == pytest.approx(0.01 / np.sqrt(3), rel=0.2)
    assert found.rmse["forces"] == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    assert found.factors == pytest.approx(dict.fromkeys(found.factors, 1 / np.sqrt(3)), rel=0.15)
    assert found.errors["forces"].n == 450 * 3
    assert found.errors["magnetic_forces"].n == 300  # only z, and the second atom is free
    assert found.errors["magnetic_forces"].frames == 300
    assert set(found.strata) == {"Fe1 FM", "Fe2 FM"}
    assert found.errors["energy"].mae <= found.errors["energy"].rmse <= found.errors["energy"].max


def test_frames_weigh_against_the_factor_before_and_not_their_components():
    prediction, items = labels_and_prediction(6, 2, masked=False)
    found = assess(prediction, items, previous={"forces": 4.0}, prior_strength=6.0)
    forces = found.calibration["forces"]
    assert forces.samples == 27  # of nine atoms in six frames
    assert forces.factor == pytest.approx(np.sqrt(4.0 * forces.raw_factor))
    assert found.factors["stress"] == pytest.approx(np.sqrt(found.calibration["stress"].raw_factor))


def test_an_assessment_survives_json():
    prediction, items = labels_and_prediction(30, 1)
    found = assess(prediction, items)
    text = json.dumps(found.as_dict() | {"@module": "x"}, allow_nan=False)
    assert Assessment.from_dict(json.loads(text)) == found
    assert Calibration.from_dict(found.calibration["energy"].as_dict()) == found.calibration["energy"]


def test_a_few_samples_of_large_deviation_do_not_decide_for_the_others():
    rng = np.random.default_rng(1)
    sigma = np.concatenate([np.full(900, 1.0), np.full(20, 20.0)])
    error = np.where(sigma > 1, 0.5, 2.0) * sigma * rng.normal(size=len(sigma))
    found = calibrate(sigma, error, prior_strength=0)
    assert found.error_rms / found.deviation_rms < 1.0
    assert found.factor > 1.3


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
