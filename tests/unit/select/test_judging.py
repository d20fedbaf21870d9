"""Sanity limits, trust levels, scores, quotas and diversity."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from magflow.core.frame import Frame
from magflow.errors import InputError
from magflow.select.diversity import farthest, standardise
from magflow.select.quotas import allocate, stratum
from magflow.select.reasons import Reason
from magflow.select.sanity import insane
from magflow.select.settings import SanitySettings, SelectSettings
from magflow.select.uncertainty import judge, trust_levels

TARGETS = {"energy": 0.005, "forces": 0.04}


def dimer(distance: float, species=("Fe", "Al"), moments=(2.0, 0.0), box: float = 6.0) -> Frame:
    return Frame(species, np.eye(3) * box, np.array([[0, 0, 0], [distance, 0, 0]]), moments)


def test_atoms_too_close_also_through_the_boundary():
    limits = SanitySettings(min_distance=1.5)
    assert insane([dimer(1.6), dimer(1.4), dimer(4.6)], limits) == [None, Reason.TOO_CLOSE, Reason.TOO_CLOSE]
    assert insane([dimer(0.7, box=1.4)], limits) == [Reason.TOO_CLOSE]
    assert insane([dimer(0.1)], SanitySettings(min_distance=0)) == [None]


def test_limits_per_pair_override_the_global_one():
    limits = SanitySettings(min_distance=1.0, min_distance_pairs={"Fe-Al": 2.0})
    assert insane([dimer(1.5), dimer(1.5, species=("Fe", "Fe"))], limits) == [Reason.TOO_CLOSE, None]
    for pair in ("Fe-Al", "Al-Fe"):
        closer = SanitySettings(min_distance=2.0, min_distance_pairs={pair: 1.0})
        assert insane([dimer(1.5), dimer(1.5, species=("Fe", "Fe"))], closer) == [None, Reason.TOO_CLOSE]


def test_volume_moment_and_force_limits():
    limits = SanitySettings(volume_per_atom=(50, 150), max_moment={"Fe": 3.0}, max_force=10.0)
    frames = [dimer(3), dimer(3, box=8), dimer(3, moments=(3.1, 0.0)), dimer(3, moments=(0.0, 9.0)), dimer(3), dimer(3)]
    reasons = insane(frames, limits, np.array([1.0, 1.0, 1.0, 1.0, 11.0, np.nan]))
    assert reasons == [None, Reason.BAD_VOLUME, Reason.BAD_MOMENT, None, Reason.FORCE_TOO_LARGE, Reason.FORCE_TOO_LARGE]
    with pytest.raises(InputError, match="max_forces"):
        insane(frames, limits, np.zeros(2))


def test_the_score_is_the_formula():
    deviations = {"energy": np.array([0.01]), "forces": np.array([0.02])}
    verdict = judge(deviations, np.array([4.0]), SelectSettings(), TARGETS)
    assert verdict.score == pytest.approx(np.sqrt((2.0**2 + 0.5**2 + 2.0**2) / 3))
    assert judge(deviations, None, SelectSettings(), TARGETS).score == pytest.approx(np.sqrt((4 + 0.25) / 2))
    explicit = SelectSettings(trust={"energy": {"low": 0.002, "high": 1.0}})
    for targets, size in ((TARGETS, 0.01 / 0.005), ({}, 0.01 / 0.002)):  # the target, else the low level
        assert judge(deviations, None, explicit, targets).score == pytest.approx(size)


def test_a_far_outlier_of_the_grade_counts_as_one_at_the_break():
    settings = SelectSettings(grade_save=2.0, grade_break=10.0)
    deviations = {"energy": np.full(3, 0.01)}
    verdict = judge(deviations, np.array([10.0, 1e6, np.inf]), settings, TARGETS)
    assert verdict.score == pytest.approx(np.full(3, np.sqrt((2.0**2 + 5.0**2) / 2)))
    missing = judge(deviations, np.array([1.0, np.nan, 1.0]), settings, TARGETS)
    assert missing.unknown.tolist() == [False, True, False] and np.isnan(missing.score[1])


def test_one_quantity_or_a_grade_above_its_level_makes_a_candidate():
    deviations = {"energy": np.array([0.004, 0.006, 0.004, np.nan]), "forces": np.full(4, 0.01)}
    verdict = judge(deviations, np.array([1.0, 1.0, 2.5, 1.0]), SelectSettings(), TARGETS)
    assert verdict.candidate.tolist() == [False, True, True, False]
    assert verdict.accurate.tolist() == [True, False, False, False]
    assert verdict.unknown.tolist() == [False, False, False, True]
    assert np.isnan(verdict.score[3])


@pytest.mark.parametrize("accurate", [1, 9])
def test_frames_are_failed_only_once_most_are_accurate(accurate):
    energy = np.array([1.0] + [0.001] * accurate + [0.02] * (10 - accurate))
    verdict = judge({"energy": energy}, None, SelectSettings(), {"energy": 0.005})
    assert verdict.failed.tolist() == [accurate == 9] + [False] * 10
    grades = np.array([np.inf] + [1.0] * 10)
    verdict = judge({"energy": energy * 0.01 + 1e-5}, grades, SelectSettings(), {"energy": 0.005})
    assert verdict.failed[0]


def test_trust_levels():
    assert trust_levels(SelectSettings(), TARGETS) == {"energy": (0.005, 0.15), "forces": (0.04, 1.2)}
    explicit = SelectSettings(trust={"stress": {"low": 0.001, "high": 0.1}})
    assert trust_levels(explicit, {}) == {"stress": (0.001, 0.1)}
    for targets in ({}, {"energies": 1.0}, {"energy": float("nan")}, {"energy": 0.0}):
        with pytest.raises(InputError):
            trust_levels(SelectSettings(), targets)
    with pytest.raises(InputError, match="no deviation"):
        judge({"stress": np.ones(2)}, None, SelectSettings(), TARGETS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"batchsize": 3},
        {"trust": {"energy": {"low": 0.01, "high": 0.001}}},
        {"trust": {"energy": {"low": float("nan"), "high": 1.0}}},
        {"trust": {}},
        {"trust": "automatic"},
        {"grade_save": 10.0, "grade_break": 2.0},
        {"auto_trust": {"low": 3.0, "high": 2.0}},
        {"sanity": {"volume_per_atom": [20, 10]}},
        {"sanity": {"min_distance_pairs": {"FeAl": 2.0}}},
        {"diversity": {"fraction": 1.5}},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        SelectSettings.model_validate(wrong)


def test_settings_describe_every_field():
    def fields(model):
        for name, field in model.model_fields.items():
            yield name, field
            if hasattr(field.annotation, "model_fields"):
                yield from fields(field.annotation)

    assert all(field.description for _, field in fields(SelectSettings))


def test_quotas():
    assert allocate(10, {"a": 60, "b": 40}) == {"a": 6, "b": 4}
    assert allocate(10, {"a": 98, "b": 2}, minimum_share=0.2) == {"a": 8, "b": 2}
    assert allocate(10, {"a": 100, "b": 1}, minimum_share=0.2) == {"a": 9, "b": 1}
    assert allocate(2, {"a": 5, "b": 9, "c": 1}, minimum_share=0.1) == {"a": 1, "b": 1, "c": 0}
    assert allocate(10, {"a": 50, "b": 50}, shares={"a": 0, "b": 1}) == {"a": 0, "b": 10}
    assert allocate(10, {"a": 50, "b": 4}, shares={"a": 0, "b": 1}) == {"a": 6, "b": 4}


def test_a_stratum_without_a_share_does_not_outweigh_those_with_one():
    """Snapshots of molecular dynamics bring strata nobody thought of: 24 frames of 900 are no 24 shares beside 8."""
    available = {"FM": 600, "AFM": 276, "NM": 24}
    assert allocate(16, available, shares={"FM": 5, "AFM": 3}) == {"FM": 10, "AFM": 6, "NM": 0}
    scaled = allocate(160, available, shares={"FM": 500, "AFM": 300})
    assert scaled == allocate(160, available, shares={"FM": 5, "AFM": 3}) == {"FM": 97, "AFM": 59, "NM": 4}
    assert allocate(6, {"NM": 40, "FiM": 20}, shares={"FM": 5}) == {"NM": 4, "FiM": 2}
    with pytest.raises(InputError):
        allocate(-1, {"a": 1})


def test_a_stratum_is_composition_and_ordering():
    assert stratum(dimer(2.5)) == "Al1Fe1 FM"
    assert stratum(dimer(2.5, species=("Fe", "Fe"), moments=(2.0, -2.0))) == "Fe2 AFM"


def test_farthest_points_of_a_line():
    points = np.array([[0.0], [1.0], [2.0], [10.0], [4.9]])
    assert farthest(points, np.array([[0.0]]), 2).tolist() == [3, 4]
    assert farthest(points, np.zeros((0, 1)), 1).tolist() == [4]  # nearest to the mean, 3.58
    assert farthest(points, points[1:4], 5).tolist() == [4, 0]  # nothing that is taken already
    assert farthest(np.zeros((3, 2)), np.zeros((1, 2)), 2).tolist() == []
    assert farthest(points, points, 0).tolist() == []


def test_standardised_columns_have_unit_variance_and_constant_ones_go():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3)) * [1.0, 1e-3, 1e3]
    values = np.column_stack([values, np.full(50, 7.0)])
    points, known = standardise(values[2:], values[:2])
    assert points.shape == (48, 3)
    assert np.concatenate([points, known]).std(axis=0) == pytest.approx(np.ones(3))


def test_one_quantity_above_its_high_level_is_enough_to_fail_and_every_one_below_its_low_to_be_accurate():
    """Half the pool is accurate in both, so that frames may fail at all."""
    energy = np.array([0.001] * 4 + [1.0, 0.001, 0.02, 1.0])
    forces = np.array([0.001] * 4 + [0.001, 9.0, 0.001, 9.0])
    verdict = judge({"energy": energy, "forces": forces}, None, SelectSettings(), TARGETS)
    assert verdict.failed.tolist() == [False] * 4 + [True, True, False, True]
    assert verdict.accurate.tolist() == [True] * 4 + [False] * 4


def test_a_deviation_at_its_level_is_accurate_and_one_above_is_not():
    assert not judge(
        {"energy": np.array([0.004]), "forces": np.array([0.06])}, None, SelectSettings(), TARGETS
    ).accurate
    at_level = {"energy": np.array([0.005]), "forces": np.array([0.04])}
    assert judge(at_level, np.array([2.0]), SelectSettings(), TARGETS).accurate.all()


def test_every_reason_says_what_it_means():
    assert all(reason.meaning for reason in Reason)
    assert all(reason.meaning.startswith("to be labelled") == reason.selected for reason in Reason)
