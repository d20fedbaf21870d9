"""Filters on the fields of a document reach the documents of a store, whatever connects them."""

from __future__ import annotations

import pytest

from magflow.makers.documents import BatchDoc, ModelDoc, OutcomeDoc
from magflow.stores import queries
from magflow.stores.jobstore import campaign_store


@pytest.fixture
def store(tmp_path):
    made = campaign_store(tmp_path)
    made.connect()
    for k in range(4):
        said = {"name": "x", "reason": "iterations", "explanation": "", "models": [], "calibration": {}, "rmse": {}}
        document = OutcomeDoc(campaign="c", iteration=k, labels=10 * k, core_hours=0.0, **said)
        made.update({"uuid": f"u{k}", "index": 1, "name": "x", "output": document.model_dump(mode="json")})
    return made


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"labels": {"$gt": 10}}, [2, 3]),
        ({"$or": [{"iteration": 0}, {"labels": 30}]}, [0, 3]),
        ({"$nor": [{"iteration": 0}, {"labels": 30}]}, [1, 2]),
        ({"$and": [{"iteration": {"$gt": 0}}, {"$or": [{"labels": 10}, {"labels": 0}]}]}, [1]),
    ],
)
def test_filters_on_fields_however_they_are_joined(store, criteria, found):
    assert [d.iteration for d in queries.documents(store, OutcomeDoc, criteria)] == found


def test_the_outcome_is_the_latest(store):
    assert queries.outcome(store, "c").iteration == 3 and queries.outcome(store, "other") is None


def test_the_newest_ensemble_is_the_latest_that_is_whole(store):
    said = {"settings": {}, "elements": ["Fe"], "n_labels": 9, "dataset": "d", "level_of_theory": {}, "rmse": {}}
    said |= {"family": "mmtp", "converged": True, "cpu_seconds": 1.0, "wall_seconds": 1.0, "arrays": ""}
    for iteration, member in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)):
        document = ModelDoc(campaign="c", iteration=iteration, member=member, seed=member, **said)
        made = {"uuid": f"m{iteration}{member}", "index": 1, "name": "x", "output": document.model_dump(mode="json")}
        store.update(made)
    found = queries.latest_models(store, "c", arrays=False)
    assert [(m.iteration, m.member) for m in found] == [(1, 0), (1, 1)]


def batch(iteration, label_ids, failed, **suspects):
    cost = {"cpu_seconds": 0.0, "wall_seconds": 0.0, "core_hours": 0.0, "levels_of_theory": [], "reused": 0}
    return BatchDoc(
        campaign="c", iteration=iteration, label_ids=label_ids, failed=failed, arrays="", **cost, **suspects
    )


def test_labels_are_doubted_until_a_later_batch_takes_them(store, monkeypatch):
    """By batches that say how many suspects they hold, and by older ones that do not; others are not read."""
    parts = [
        batch(0, ["a", "b"], {"x": "suspect", "y": "crash"}),
        batch(1, ["d"], {"z": "suspect"}, suspects=1),
        batch(2, ["x", "e"], {"w": "crash"}, suspects=0),
        batch(3, ["f"], {}, suspects=0),
    ]
    for one in parts:
        store.update({"uuid": f"b{one.iteration}", "index": 1, "name": "b", "output": one.model_dump(mode="json")})
    read = []
    documents = queries.documents

    def noted(*args, **kwargs):
        for found in documents(*args, **kwargs):
            read.append(found.iteration)
            yield found

    monkeypatch.setattr(queries, "documents", noted)
    assert queries.doubted(store, "c") == {"z"}
    assert read == [0, 1, 2]
    assert queries.doubted(store, "other") == set()
