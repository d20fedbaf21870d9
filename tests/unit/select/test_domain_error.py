"""The error over the domain from random labels: its interval holds the truth as often as it says."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_assessment import labels_and_prediction

from magflow.core.comparison import rmse
from magflow.core.label import LabeledFrame
from magflow.select.domain_error import (
    SCATTER,
    Judged,
    domain_errors,
    judge_labels,
    labels_missing,
    labels_needed,
    newest,
    upper_ends,
)


def forces(sizes, weights=None, iteration=1) -> list[Judged]:
    weights = np.full(len(sizes), 6) if weights is None else weights
    return [Judged(iteration, {"forces": (float(e), int(n))}) for e, n in zip(sizes, weights, strict=True)]


def test_the_rmse_is_that_of_all_components_together():
    prediction, items = labels_and_prediction(12, 3)
    found = domain_errors(judge_labels(prediction, items, 1))
    assert {q: e.rmse for q, e in found.items()} == pytest.approx(rmse(prediction, items))
    assert {e.labels for e in found.values()} == {12}


def test_forces_that_vanish_by_symmetry_are_no_evidence():
    prediction, items = labels_and_prediction(4, 3)
    still = replace(items[0].label, forces=np.full_like(items[0].label.forces, 1e-9))
    found = judge_labels(prediction, [LabeledFrame(items[0].frame, still), *items[1:]], 1)
    assert "forces" not in found[0].errors and "energy" in found[0].errors
    assert domain_errors(found)["forces"].labels == 3


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    scale = rng.lognormal(0.0, 0.5, (2000, 10))  # frames differ, as they do
    squares = scale**2 * rng.chisquare(6, (2000, 10)) / 6
    truth = np.sqrt(np.exp(2 * 0.5**2))
    found = [domain_errors(forces(np.sqrt(m)))["forces"] for m in squares]
    inside = np.mean([e.low < truth < e.high for e in found])
    assert inside == pytest.approx(0.9, abs=0.04)


def test_frames_count_by_their_components():
    (found,) = domain_errors(forces([1.0, 3.0, 3.0], [30, 5, 5])).values()
    assert found.rmse == pytest.approx(np.sqrt((30 + 5 * 9 + 5 * 9) / 40))


def test_two_labels_give_no_interval_and_no_evidence():
    found = domain_errors(forces([0.01, 0.02]))
    assert found["forces"].high is None and upper_ends(found) == {}
    assert 0.02 < upper_ends(domain_errors(forces([0.02] * 12)))["forces"] < 0.03
    assert domain_errors([]) == {}


def test_the_oldest_iterations_are_left_out():
    judged = [j for i in range(8) for j in forces([0.1, 0.1], iteration=i)]
    assert sorted({j.iteration for j in newest(judged)}) == [3, 4, 5, 6, 7]
    assert len(newest(judged[:6])) == 6


def test_what_is_stored_comes_back():
    (judged,) = forces([0.25])
    assert Judged.from_dict(json.loads(json.dumps(asdict(judged)))) == judged


@pytest.mark.parametrize("ratio", [1.05, 1.3, 1.5, 2.0, 4.0])
def test_so_many_labels_are_needed_and_one_less_is_not_enough(ratio):
    needed = labels_needed(ratio, SCATTER)

    def high(n: int) -> float:
        """The upper end of n labels off by one, which scatter as little as is believed."""
        return domain_errors(forces(np.ones(n)))["forces"].high or np.inf

    assert high(needed) <= ratio < high(needed - 1)


def test_an_error_at_its_target_is_never_known_to_be_within_it():
    assert labels_needed(1.0, SCATTER) is labels_needed(0.5, SCATTER) is None


def test_what_is_missing_is_missing_to_the_quantity_that_needs_most():
    (few,), (many,) = (domain_errors(forces(np.full(n, 10.0)), scatter=2.0).values() for n in (5, 9))
    errors = {"energy": asdict(many), "forces": asdict(few)}
    missing = labels_missing(errors, {"energy": 15.0, "forces": 15.0})
    assert missing == labels_needed(1.5, 2.0) - 5
    assert labels_missing(errors, {"energy": 100.0}) == 0
    assert labels_missing(errors, {"energy": 9.0, "forces": 15.0}) is None
    assert labels_missing(errors, {"stress": 1.0}) is labels_missing(errors, {}) is None
