"""What deviations are worth: error models from labels judged before they were learnt from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_assessment import labels_and_prediction

from magflow.core.calibration import Calibration, ErrorModel
from magflow.errors import InputError
from magflow.select.evidence import Evidence
from magflow.select.likelihood import error_model
from magflow.select.reliability import reliability


def test_scale_and_floor_of_a_known_error_are_found_again():
    rng = np.random.default_rng(0)
    sigma = rng.lognormal(0.0, 1.0, 4000)
    error = np.hypot(1.7 * sigma, 0.6) * rng.normal(size=4000)
    found = error_model(sigma, error, np.ones(4000))
    assert (found.scale, found.floor) == pytest.approx((1.7, 0.6), rel=0.1)
    told = reliability(found.of(sigma), error, labels=4000)
    assert told.coverage == pytest.approx((0.6827, 0.9545), abs=0.02)
    assert told.expected_error < 0.1 and 0.3 < told.spearman < 0.7
    assert sum(b.count for b in told.bins) == told.samples == 4000
    json.dumps(told.as_dict(), allow_nan=False)


def test_units_do_not_matter():
    rng = np.random.default_rng(1)
    sigma, error = rng.lognormal(size=50), rng.normal(size=50)
    one, other = (error_model(u * sigma, u * error, np.full(50, 0.2)) for u in (1.0, 1e-3))
    assert (other.scale, other.floor) == pytest.approx((one.scale, 1e-3 * one.floor), rel=1e-3)


def test_few_labels_move_the_scale_little_and_members_that_agree_leave_a_floor():
    eight = np.full(300, 8.0)
    few, many = (error_model(np.ones(300), eight, np.full(300, n / 300)) for n in (1, 300))
    assert 1.0 < few.scale < 1.6 and np.hypot(few.scale, few.floor) < np.hypot(many.scale, many.floor)
    assert np.hypot(many.scale, many.floor) == pytest.approx(8.0, rel=0.02)
    agreed = error_model(np.zeros(300), eight, np.ones(300))
    assert agreed.scale == pytest.approx(1.0) and agreed.floor == pytest.approx(8.0, rel=0.02)


@pytest.mark.parametrize(("sigma", "error"), [([], []), ([1.0, 2.0], [0.0, 0.0])])
def test_nothing_known_or_nothing_wrong_leaves_the_deviation_as_it_is(sigma, error):
    assert error_model(sigma, error, np.ones(len(sigma))) == ErrorModel(1.0, 0.0)


@pytest.mark.parametrize(
    ("sigma", "error", "weight"), [([1.0], [1.0, 2.0], [1.0]), ([-1.0], [1.0], [1.0]), ([1.0], [np.nan], [1.0])]
)
def test_bad_input_is_one_clear_error(sigma, error, weight):
    with pytest.raises(InputError):
        error_model(sigma, error, weight)
    with pytest.raises(InputError):
        reliability(sigma, error[: len(weight)] if weight != [1.0] else [np.nan], labels=1)


def test_a_label_counts_once_however_many_atoms_it_has():
    """The mean of three members is off by sigma / sqrt(3), while they spread by sigma."""
    prediction, items = labels_and_prediction(300, 0)
    evidence = Evidence.of(prediction, Calibration(), items, (), 1)
    found = evidence.calibration()
    assert set(found.models) == {"energy", "forces", "stress", "magnetic_forces", "magnetic_forces Fe"}
    for quantity, sigma in (("energy", 0.01), ("forces", 0.1), ("stress", 0.1)):
        model = found.of(quantity)
        assert np.hypot(model.scale * sigma, model.floor) == pytest.approx(sigma / np.sqrt(3), rel=0.15)
    doubled = Evidence(np.concatenate([evidence.rows, evidence.rows[evidence.rows[:, 3] == 1]]))
    again = doubled.calibration().of("forces")
    assert again.scale == pytest.approx(found.of("forces").scale, rel=1e-4)


def test_a_random_label_counts_twice():
    prediction, items = labels_and_prediction(20, 3)
    calm = Evidence.of(prediction, Calibration(), items, (), 1)
    ids = {item.frame.frame_id for item in items}
    drawn = Evidence.of(prediction, Calibration(), items, ids, 1)
    worse = calm.rows.copy()
    worse[:, 5] *= 5.0
    worse[:, 0] = 2.0
    both = [Evidence(np.concatenate([typical.rows, worse])).calibration() for typical in (calm, drawn)]
    assert both[1].of("forces").floor < both[0].of("forces").floor


def test_of_chosen_labels_the_last_count_and_of_random_ones_the_newest_ten():
    prediction, items = labels_and_prediction(6, 3)
    ids = [item.frame.frame_id for item in items]
    kept = Evidence.none()
    for iteration in range(1, 6):
        kept = kept.followed_by(Evidence.of(prediction, Calibration(), items, ids[:4], iteration))
    assert sorted(set(kept.rows[kept.drawn, 0])) == [3.0, 4.0, 5.0]
    assert set(kept.rows[~kept.drawn, 0]) == {5.0}
    blind = kept.followed_by(Evidence.none())
    np.testing.assert_array_equal(blind.rows, kept.rows)
    np.testing.assert_array_equal(Evidence.from_arrays(kept.arrays()).rows, kept.rows)
    assert not len(Evidence.from_arrays({}).rows)
    with pytest.raises(InputError, match="layout"):
        Evidence(np.zeros((2, 3)))


def test_claims_are_those_made_before_the_labels_came():
    prediction, items = labels_and_prediction(40, 5)
    known = Calibration({"forces": ErrorModel(1e-3, 1e3)})
    evidence = Evidence.of(prediction, known, items, {items[0].frame.frame_id}, 1)
    claims = evidence.claims()
    assert claims["chosen"]["forces"].coverage == (1.0, 1.0)
    assert claims["chosen"]["energy"].coverage[0] < 1.0
    assert claims["typical"]["energy"].labels == 1 and claims["chosen"]["energy"].labels == 39
    assert claims["chosen"]["magnetic_forces Fe"] == claims["chosen"]["magnetic_forces"]
