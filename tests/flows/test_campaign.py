"""The whole loop on the model Hamiltonian: the same under every executor, resumable, stopped for a stated reason."""

from __future__ import annotations

import threading

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from running import run, work
from typer.testing import CliRunner

from magflow.campaign.build import campaign_maker
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.cli.app import app
from magflow.execution.campaign import failed_labels, retry_campaign, submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.local.reader import QueueReader
from magflow.execution.states import JobState
from magflow.execution.status import campaign_status
from magflow.stores import contents, queries

pytestmark = pytest.mark.timeout(300)


def science(store: JobStore) -> dict[str, object]:
    """What must not depend on where the campaign ran."""
    return {
        "labels": sorted(d.label_id for d in queries.labels(store)),
        "selected": [d.selected for d in queries.selections(store)],
        "reasons": [d.reasons for d in queries.selections(store)],
        "rmse": [d.rmse for d in queries.iterations(store)],
        "outcome": getattr(queries.outcome(store), "reason", None),
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_campaign):
    """One tiny campaign finished by worker processes, for tests that only read."""
    folder = tmp_path_factory.mktemp("finished")
    file = write_campaign(folder / "tiny.yaml")
    here = CampaignDirectory.prepare(folder / "run", file, load_campaign(file))
    submit_campaign(here)
    LocalExecutor(here.path, workers=2).run()
    return file, here


def test_the_budget_ends_it_and_every_frame_offered_has_a_reason(finished):
    _, here = finished
    outcome = queries.outcome(here.store)
    assert outcome.reason == "label-budget"
    assert "20 labels" in outcome.explanation
    iterations = queries.iterations(here.store)
    assert [d.labels_total for d in iterations] == [10, 15, 20]
    assert iterations[0].assessment is None
    assert all(d.rmse["energy"] > 0 and d.calibration["forces"]["scale"] > 0 for d in iterations[1:])
    for selection in queries.selections(here.store):
        assert sum(selection.reasons.values()) == selection.offered
        drawn = selection.reasons["selected-at-random"]
        assert drawn == len(selection.drawn) == round(0.25 * len(selection.selected))
        assert drawn + selection.reasons["selected"] == len(selection.selected)
    rows = list(contents.frames(here.store, {"reason": {"$in": ["selected", "selected-at-random"]}}))
    assert len(rows) == 20
    assert not any((here.path / "jobs").glob("*")), "directories of finished jobs are left behind"


def test_run_locally_and_the_local_executor_agree(finished):
    file, here = finished
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(campaign_maker(load_campaign(file)).make(), store=store, ensure_success=True, log=False)
    expected, seen = science(here.store), science(store)
    rmse = zip(expected.pop("rmse"), seen.pop("rmse"), strict=True)
    assert seen == expected
    for a, b in rmse:
        assert b == pytest.approx(a, rel=1e-6)


def test_running_again_computes_nothing(finished):
    file, here = finished
    before = QueueReader(here.path).counts()
    assert submit_campaign(CampaignDirectory.prepare(here.path, file, load_campaign(file))) == 0
    assert QueueReader(here.path).counts() == before


def test_a_larger_budget_continues_without_computing_a_label_twice(campaign_file, tmp_path):
    here = run(campaign_file(stop={"labels": 12}), tmp_path / "run")
    first = {d.label_id for d in queries.labels(here.store)}
    assert queries.outcome(here.store).labels == 12
    here = run(campaign_file(stop={"labels": 18}), tmp_path / "run")
    labels = [d.label_id for d in queries.labels(here.store)]
    assert len(labels) == len(set(labels)) == 18
    assert first < set(labels)
    assert queries.outcome(here.store).labels == 18


def test_another_question_is_refused(campaign_file, tmp_path):
    run(campaign_file(stop={"labels": 10}), tmp_path / "run")
    result = CliRunner().invoke(app, ["run", str(campaign_file(seed=4)), "--dir", str(tmp_path / "run")])
    assert result.exit_code == 5
    assert "another campaign" in result.stderr


def test_failed_labels_are_data_and_can_be_offered_again(campaign_file, tmp_path):
    file = campaign_file(label={"settings": {"failure_rate": 0.4}})
    here = run(file, tmp_path / "run")
    failed = failed_labels(here)
    assert 0 < len(failed) < 20
    assert {d.failure for d in failed} == {"scf-unconverged"}
    assert queries.outcome(here.store).reason == "label-budget"
    assert len(queries.labels(here.store)) == 20, "failed labels count against the budget"
    assert campaign_status(here).failures == {"scf-unconverged": len(failed)}
    assert retry_campaign(here, "time-limit") == (0, 0)
    assert retry_campaign(here, "scf-unconverged")[0] == len(failed)
    # this engine fails the same frames again: the retry is recorded, and the outcome says what happened
    work(here)
    retried = [d for d in queries.batches(here.store) if d.retried]
    assert len(retried) == 1
    assert set(retried[0].failed) == {d.label_id for d in failed}


def test_retried_labels_that_succeed_are_learnt_from(campaign_file, tmp_path, monkeypatch):
    here = run(campaign_file(label={"settings": {"failure_rate": 0.4}}), tmp_path / "run")
    before = queries.outcome(here.store)
    failed = failed_labels(here)
    retry_campaign(here)
    # the cause is removed: the same jobs now meet an engine that does not fail
    from magflow.dft.spin_lattice import SpinLatticeEngine

    monkeypatch.setattr(SpinLatticeEngine, "_draw", lambda self, frame: 1.0)
    work(here)
    after = queries.outcome(here.store)
    assert after.iteration == before.iteration + 1
    assert not failed_labels(here)
    assert len(contents.labelled_frames(here.store)) == 20
    assert queries.latest_models(here.store)[0].n_labels == 20
    assert len(failed) == 20 - before.labels


def test_a_campaign_that_goes_on_is_not_continued_a_second_time(campaign_file, tmp_path):
    """It is submitted again between two iterations: the last one has ended, the next one is not there yet."""
    from magflow.execution.local.queue import JobQueue
    from magflow.execution.local.worker import Worker

    file = campaign_file()
    here = CampaignDirectory.prepare(tmp_path / "run", file, load_campaign(file))
    submit_campaign(here)

    class AfterOneIteration(threading.Event):
        def is_set(self):
            return bool(queries.iterations(here.store))

    Worker(JobQueue(here.path), here.store, "test").run(AfterOneIteration())
    counts = QueueReader(here.path).counts()
    assert counts[JobState.READY] == 1
    assert submit_campaign(here) == 0
    assert QueueReader(here.path).counts() == counts


def test_a_batch_that_fails_whole_stops_the_campaign_with_its_reason(campaign_file, tmp_path):
    file = campaign_file(label={"settings": {"failure_rate": 1.0}})
    result = CliRunner().invoke(app, ["run", str(file), "--dir", str(tmp_path / "run"), "--quiet"])
    assert result.exit_code == 5, result.output
    assert "batch-failed" in result.output
    here = CampaignDirectory.existing(tmp_path / "run")
    assert "10 scf-unconverged" in queries.outcome(here.store).explanation
    assert QueueReader(here.path).counts()[JobState.FAILED] == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_random_selection_is_a_control_with_the_same_budget(campaign_file, tmp_path):
    here = run(campaign_file(select={"strategy": "random"}), tmp_path / "run")
    assert len(queries.labels(here.store)) == 20
    assert [len(d.selected) for d in queries.selections(here.store)] == [10, 5, 5]


def test_another_seed_selects_other_frames(campaign_file, tmp_path, finished):
    here = run(campaign_file(seed=4), tmp_path / "run")
    mine = {f for s in queries.selections(here.store) for f in s.selected}
    theirs = {f for s in queries.selections(finished[1].store) for f in s.selected}
    prototypes = 3
    assert len(mine & theirs) <= prototypes
