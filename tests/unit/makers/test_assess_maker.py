"""What decides whether a campaign goes on: rows of good iterations, counts, costs and calibration."""

from __future__ import annotations

import numpy as np
import pytest
from maker_documents import CAMPAIGN, batch_of, labelled

from magflow.core.arrays import decode_arrays, encode_arrays
from magflow.core.comparison import compare
from magflow.makers.assess import AssessMaker
from magflow.makers.documents import IterationDoc
from magflow.makers.ensembles import ensemble_of
from magflow.makers.unseen import unseen_by_ensemble
from magflow.potentials.ensemble import as_labelled
from magflow.select.domain_error import Judged, domain_errors
from magflow.select.stopping import StopRules

EASY, HARD = {"energy": 1e3}, {"energy": 1e-9}


@pytest.fixture(scope="module")
def run(models):
    """Assesses one iteration of four new labels, two failed ones and known costs."""

    def assess(rules: StopRules, previous: IterationDoc | None = None, old=models, **selection) -> IterationDoc:
        maker = AssessMaker(campaign=CAMPAIGN, stop=rules)
        batch = batch_of(labelled(4, 9), {"a": "time-limit", "b": "time-limit"}, core_hours=2.0, cpu_seconds=99.0)
        chosen = {"offered": 30, "selected": ["x"] * 6, "exhausted": False} | selection
        chosen |= {"explore_seconds": 3600.0, "select_seconds": 1800.0}
        new = [m.model_copy(update={"wall_seconds": 900.0}) for m in models]
        return maker.make.original(maker, old, new, batch, chosen, previous, 1 if previous else 0)

    return assess


def test_a_miss_ends_the_row_of_good_iterations(run):
    once = run(StopRules(EASY, consecutive=3, iterations=9))
    assert (once.within_target, once.streak) == (True, 1)
    twice = run(StopRules(EASY, consecutive=3, iterations=9), once)
    assert twice.streak == 2 and twice.stop is None
    missed = run(StopRules(HARD, consecutive=3, iterations=9), twice)
    assert (missed.within_target, missed.streak) == (False, 0)
    assert run(StopRules(EASY, consecutive=3, iterations=9), twice).stop == "target-reached"


def test_labels_and_core_hours_add_up_over_iterations_and_phases(run):
    first = run(StopRules(EASY, labels=100))
    assert first.core_hours == pytest.approx({"explore": 1.0, "select": 0.5, "label": 2.0, "train": 0.5})
    assert first.core_hours_total == pytest.approx(4.0)
    assert (first.labels_new, first.labels_failed, first.labels_total, first.labels_attempted) == (4, 2, 4, 6)
    assert (first.offered, first.selected, first.failures) == (30, 6, {"time-limit": 2})
    second = run(StopRules(EASY, labels=12, consecutive=9), first)
    assert second.core_hours_total == pytest.approx(8.0)
    assert (second.labels_total, second.labels_attempted) == (8, 12)
    assert second.stop == "label-budget", "failed labels count against the budget"


def test_without_an_old_ensemble_nothing_is_learnt_and_the_calibration_stays(run):
    known = {"energy": {"scale": 3.0, "floor": 0.1}}
    before = run(StopRules(EASY, labels=100)).model_copy(update={"calibration": known, "streak": 1})
    blind = run(StopRules(EASY, labels=100), before, old=[])
    assert blind.assessment is None and blind.rmse == {} and blind.streak == 0
    assert blind.calibration == known


def test_random_labels_of_earlier_iterations_count_and_chosen_ones_do_not(run):
    ids = [item.frame.frame_id for item in labelled(4, 9)]
    rules = StopRules(EASY, labels=100)
    chosen, half = run(rules), run(rules, drawn=ids[:2])
    assert set(chosen.calibration) > {"energy", "forces", "stress"} and set(chosen.reliability) == {"chosen"}
    assert {which: of["energy"]["labels"] for which, of in half.reliability.items()} == {"typical": 2, "chosen": 2}
    assert run(rules, chosen).calibration["energy"] == pytest.approx(chosen.calibration["energy"])
    after = run(rules, half)
    assert {which: of["energy"]["labels"] for which, of in after.reliability.items()} == {"typical": 2, "chosen": 4}
    assert after.calibration["energy"] != pytest.approx(chosen.calibration["energy"])


def test_deviations_are_held_to_what_had_been_claimed(run):
    rules = StopRules(EASY, labels=100)
    first = run(rules)
    wide = {"calibration": {q: {"scale": 1.0, "floor": 1e3} for q in first.calibration}}
    assert first.reliability["chosen"]["forces"]["coverage"][0] < 1.0
    told = run(rules, first.model_copy(update=wide))
    assert told.reliability["chosen"]["forces"]["coverage"] == [1.0, 1.0]
    assert told.calibration["forces"] == pytest.approx(first.calibration["forces"]), "claims are no evidence"


def test_an_exhausted_pool_ends_it_and_the_error_in_training_is_the_members_mean(run, models):
    assert run(StopRules(EASY, labels=100), exhausted=True).stop == "pool-exhausted"
    mean = np.mean([m.rmse["train"]["forces"] for m in models])
    assert run(StopRules(EASY, labels=100)).train_rmse["forces"] == pytest.approx(mean)


def test_random_labels_speak_for_the_domain_and_the_others_for_hard_frames(run):
    ids = [item.frame.frame_id for item in labelled(4, 9)]
    plain = run(StopRules(EASY, labels=100))
    assert plain.judged == [] and plain.domain == {}
    first = run(StopRules(EASY, labels=100), drawn=ids[:2])
    assert len(first.judged) == 2 and first.domain["energy"]["labels"] == 2 and first.domain["energy"]["high"] is None
    squares = (2 * first.rmse["energy"] ** 2 + 2 * first.domain["energy"]["rmse"] ** 2) / 4
    assert np.sqrt(squares) == pytest.approx(plain.rmse["energy"])
    second = run(StopRules(EASY, labels=100), first, drawn=ids[:2])
    assert sorted(j["iteration"] for j in second.judged) == [0, 0, 1, 1]
    assert second.domain["energy"]["low"] < second.domain["energy"]["rmse"] < second.domain["energy"]["high"]
    assert IterationDoc(**second.model_dump()).domain == second.domain


def test_an_error_over_the_domain_is_evidence_once_its_upper_end_is_within_the_target(run):
    hard = run(StopRules(EASY, labels=100)).rmse["energy"]
    rules = StopRules({"energy": 0.5 * hard}, labels=100)

    def known(labels: int, share: float) -> IterationDoc:
        """An iteration before which had judged that many random labels, each off by a share of the hard ones' error."""
        judged = [{"iteration": 0, "errors": {"energy": (share * hard, 1)}}] * labels
        return run(rules).model_copy(update={"judged": judged})

    assert not run(rules).within_target
    assert run(rules, known(8, 0.2)).within_target
    assert not run(rules, known(8, 0.45)).within_target, "0.45 may as well be 0.7"
    assert not run(rules, known(2, 0.2)).within_target, "two labels are no evidence"
    assert run(rules, known(8, 0.2), old=[]).streak == 0


@pytest.fixture(scope="module")
def after(models):
    """Assesses an iteration without old models, whose new ones tell what they say of six labels unseen."""

    def assess(new=models, labels: int = 6, **selection) -> IterationDoc:
        maker = AssessMaker(campaign=CAMPAIGN, stop=StopRules(EASY, labels=100))
        batch = batch_of(labelled(labels), {}, core_hours=2.0, cpu_seconds=99.0)
        chosen = {"offered": 30, "selected": [], "exhausted": False, "explore_seconds": 0.0, "select_seconds": 0.0}
        return maker.make.original(maker, [], new, batch, chosen | selection, None, 0, [batch])

    return assess


def test_labels_that_were_learnt_from_are_judged_as_if_they_had_not_been(after, models):
    known = labelled(6)
    seen = compare(as_labelled(ensemble_of(models), known), known, "forces")
    unseen = compare(unseen_by_ensemble(models, known), known, "forces")
    assert np.abs(unseen.error).mean() > np.abs(seen.error).mean()
    told = after()
    assert told.domain == {} and told.judged == [], "no label was drawn at random"


def test_every_random_label_so_far_speaks_for_the_domain_by_the_new_models(after, models):
    known = labelled(6)
    ids = [item.frame.frame_id for item in known[:4]]
    told = after(drawn=ids)
    assert told.drawn == ids and len(told.judged) == 4
    unseen = compare(unseen_by_ensemble(models, known), known, "energy")
    assert told.domain["energy"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(unseen.error[:4]))))
    assert told.domain["energy"]["high"] > domain_errors([Judged.from_dict(j) for j in told.judged])["energy"].high
    assert len(after(drawn=[*ids[:2], "of a label that failed"]).judged) == 2


def test_models_that_do_not_tell_leave_it_to_the_labels_as_they_came(after, models):
    silent = [
        m.model_copy(update={"arrays": encode_arrays({"model": decode_arrays(m.arrays)["model"]})}) for m in models
    ]
    ids = [item.frame.frame_id for item in labelled(7)]
    for told in (
        after(new=silent, drawn=ids),
        after(new=[models[0], silent[1]], drawn=ids),
        after(labels=7, drawn=ids),
    ):
        assert told.judged == [] and told.domain == {}
