"""What the jobs of exploration, selection and training take from the documents of earlier iterations."""

from __future__ import annotations

import numpy as np
import pytest
from maker_documents import CAMPAIGN, FAMILY, batch_of, frames, labelled

from magflow.core.arrays import decode_arrays
from magflow.core.calibration import Calibration
from magflow.explore.prototypes import PrototypeSettings, build_prototypes
from magflow.explore.settings import ExploreSettings
from magflow.makers.assess import AssessMaker
from magflow.makers.base import Campaign
from magflow.makers.documents import CandidatesDoc
from magflow.makers.ensembles import ensemble_of
from magflow.makers.explore import ExploreMaker
from magflow.makers.iteration import progress_of
from magflow.makers.packing import pack_batch, pack_candidates, unpack_candidates
from magflow.makers.select import SelectMaker
from magflow.makers.train import TrainMaker
from magflow.select.settings import SelectSettings, Strategy
from magflow.select.stopping import StopRules

ACTIVE = SelectSettings(initial=4, batch=3, sanity={"min_distance": 1.0}, trust={"energy": {"low": 1e-9, "high": 1e9}})
RANDOM = ACTIVE.model_copy(update={"strategy": Strategy.RANDOM})


def candidates(pool) -> CandidatesDoc:
    return CandidatesDoc(
        campaign=CAMPAIGN.id,
        iteration=0,
        offered=len(pool),
        sources={},
        health={},
        wall_seconds=0.0,
        cpu_seconds=0.0,
        arrays=pack_candidates(pool, [f"place {i}" for i in range(len(pool))]),
    )


@pytest.fixture(scope="module")
def assessed(models):
    """An iteration that attempted nine labels and got six."""
    maker = AssessMaker(campaign=CAMPAIGN, stop=StopRules({"energy": 1e-9}, labels=100))
    failed = {str(k): "time-limit" for k in range(3)}
    chosen = {"offered": 9, "selected": ["x"] * 9, "exhausted": False, "explore_seconds": 0.0, "select_seconds": 0.0}
    return maker.make.original(maker, [], models, batch_of(labelled(6, 3), failed), chosen, None, 0)


def choose(pool, settings=RANDOM, batches=(), models=(), previous=None, iteration=0, budget=None):
    maker = SelectMaker(settings=settings, campaign=CAMPAIGN, targets={"energy": 1e-9}, label_budget=budget)
    return maker.make.original(maker, candidates(pool), list(batches), list(models), previous, iteration)


def test_frames_that_are_labelled_or_have_failed_are_not_chosen_again(models):
    items, failed, new = labelled(3, 1), frames(2, 2), frames(4, 3)
    done = batch_of(items).model_copy(update={"arrays": pack_batch(items, failed)})
    found = choose([*(i.frame for i in items), *failed, *new], batches=[done])
    assert sorted(found.rows) == [5, 6, 7, 8]
    assert found.reasons == {"selected": 4, "duplicate-of-training": 5}
    assert [f"place {r}" for r in found.rows] == found.sources
    assert len(choose([f for i in items for f in (i.frame,)], batches=[done]).rows) == 0


def test_what_was_spent_counts_failed_labels(assessed, models):
    assert assessed.labels_attempted == 9
    assert progress_of(assessed).labels == 9
    found = choose(frames(8, 5), models=models, settings=ACTIVE, previous=assessed, iteration=1, budget=11)
    assert len(found.rows) == 2 and found.reasons["over-budget"] == 1
    assert not choose(frames(8, 5), models=models, settings=ACTIVE, previous=assessed, iteration=1, budget=5).rows


def test_each_iteration_and_each_campaign_draws_others():
    pool = frames(40, 6)
    first, second = (choose(pool, iteration=i).selected for i in (0, 1))
    assert first != second and first == choose(pool[::-1], iteration=0).selected
    other = Campaign("c0ffee", "small", ["Al", "Fe"], 12)
    words = [("explore",), ("select", 0), ("select", 1), ("train", 0), ("train", 1), ("replay", 1)]
    assert len({c.seed_for(*w) for c in (CAMPAIGN, other) for w in words}) == 2 * len(words)
    assert CAMPAIGN.seed_for("train", 1) == 1559158534


def test_deviations_are_calibrated_before_they_are_held_against_trust_levels_and_stored(assessed, models):
    pool = frames(6, 7)
    raw = choose(pool, models=models, settings=ACTIVE, iteration=1)
    calibrated = assessed.model_copy(update={"calibration": {"energy": 3.0}})
    scaled = choose(pool, models=models, settings=ACTIVE, previous=calibrated, iteration=1)
    before, after = (decode_arrays(d.arrays) for d in (raw, scaled))
    np.testing.assert_allclose(after["deviation_energy"], 3.0 * before["deviation_energy"])
    np.testing.assert_allclose(after["deviation_forces"], before["deviation_forces"])
    assert (after["score"] > before["score"]).all()


@pytest.fixture(scope="module")
def explorer():
    settings = PrototypeSettings(
        name="B2", builder={"structure": "b2", "species": ["Fe", "Al"], "a": 2.9}, orderings=["FM"]
    )
    moments = {"Fe": (1.0, 2.0)}
    prototypes = build_prototypes([settings], ["Al", "Fe"], None, moments)
    return ExploreMaker(
        settings=ExploreSettings(candidates=8), campaign=CAMPAIGN, prototypes=prototypes, moments=moments
    )


def test_exploration_goes_on_where_it_stopped(explorer):
    found = [unpack_candidates(explorer.make.original(explorer, [], None, i).arrays) for i in range(3)]
    ids = [{f.frame_id for f in f_ if f} for f_, _ in found]
    assert [len(s) for s in ids] == [9, 8, 8], "the ideal prototype, and eight samples each"
    assert not ids[0] & ids[1] and not ids[1] & ids[2] and not ids[0] & ids[2]
    assert len(found[0][1]) == 9 and not found[0][1][0].startswith("perturbation")


def test_an_ensemble_is_that_of_its_members_in_order(models):
    forwards, backwards = ensemble_of(models, {"energy": 2.0}), ensemble_of(models[::-1])
    assert [m.to_bytes() for m in forwards.members] == [m.to_bytes() for m in backwards.members]
    assert forwards.calibration.as_dict() == {"energy": {"scale": 2.0, "floor": 0.0}}
    assert backwards.calibration == Calibration()
    assert forwards.members[0].to_bytes() != forwards.members[1].to_bytes()


def test_members_differ_and_each_starts_from_its_own_predecessor(models):
    assert models[0].seed != models[1].seed
    for warm, expected in ((True, ["a", "b"]), (False, [None, None])):
        maker = TrainMaker(family=FAMILY, campaign=CAMPAIGN, members=2, warm_start=warm)
        jobs = maker.ensemble(["first", "second"], ["a", "b"], 1)
        assert [getattr(j.function_args[1], "uuid", None) for j in jobs] == expected
        assert [j.function_args[2] for j in jobs] == [0, 1]
        assert {tuple(r.uuid for r in j.function_args[0]) for j in jobs} == {("first", "second")}
        assert maker.uuids(1) == [j.uuid for j in jobs]
    assert not any(j.function_args[1] for j in maker.ensemble(["first"], [], 0))


def test_a_reference_model_is_no_member_of_the_campaign():
    maker = TrainMaker(family=FAMILY, campaign=CAMPAIGN, members=1, reference=True)
    document = maker.make.original(maker, [batch_of(labelled(4)), batch_of(labelled(6))], None, 0, 0)
    assert document.doc_type == "reference-model"
    assert document.n_labels == 6, "a label in two batches is learnt from once"
