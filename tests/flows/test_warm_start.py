"""Campaigns that start from labels others have computed."""

from __future__ import annotations

import time

import pytest
from given_labels import labels, write_labels
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from running import run, work
from test_killed_campaign import acknowledged, start

from magflow.campaign.build import campaign_id, campaign_maker
from magflow.campaign.check import check_campaign, require_ready
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.campaign.source import CampaignFileError
from magflow.core.label import LabelKind
from magflow.errors import InputError
from magflow.execution.campaign import submit_campaign
from magflow.execution.local.executor import LocalExecutor
from magflow.execution.status import campaign_status
from magflow.makers.documents import Purpose
from magflow.report.page import render
from magflow.report.record import read_record
from magflow.stores import queries

pytestmark = pytest.mark.timeout(300)

SMALL = {"select": {"initial": 6, "batch": 3}, "explore": {"candidates": 30}}
TUNED = LabelKind.SPIN_POLARISED


def run_in_memory(file) -> JobStore:
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(campaign_maker(load_campaign(file)).make(), store=store, ensure_success=True, log=False)
    return store


@pytest.fixture(scope="module")
def own(tmp_path_factory, write_campaign):
    """A finished campaign that started from eight labels of its own level of theory."""
    folder = tmp_path_factory.mktemp("own")
    write_labels(folder / "given.extxyz", 8)
    file = write_campaign(folder / "tiny.yaml", labels=["given.extxyz"], stop={"labels": 6}, **SMALL)
    return file, run(file, folder / "run")


def test_the_first_batch_is_chosen_by_an_ensemble_and_held_against_it(own):
    _, here = own
    first, second = queries.iterations(here.store)
    assert (first.labels_new, second.labels_new) == (3, 3), "no first batch of select.initial"
    assert first.assessment is not None and first.rmse["energy"] > 0
    assert queries.selections(here.store)[0].trust
    assert {m.n_labels for m in queries.latest_models(here.store)} == {8 + 6}


def test_labels_from_files_are_documents_that_cost_nothing_and_count_against_no_budget(own):
    _, here = own
    imported = queries.labels(here.store, criteria={"purpose": "imported"})
    assert {d.label_id for d in imported} == {item.label_id for item in labels(8)}
    assert {(d.source, d.core_hours, d.reused, d.state) for d in imported} == {("import:given.extxyz", 0.0, True, "ok")}
    status = campaign_status(here)
    assert (status.labels, status.beside) == (6, {"imported": (8, 8)})
    assert queries.outcome(here.store).labels == 6
    chosen = {d.label_id for d in queries.labels(here.store, criteria={"purpose": "campaign"})}
    assert not chosen & {d.label_id for d in imported}
    assert "imported labels" in render(read_record(here.path))


def test_a_larger_budget_goes_on_with_the_labels_from_files(own, write_campaign):
    file, here = own
    assert submit_campaign(here) == 0
    larger = write_campaign(file, labels=["given.extxyz"], stop={"labels": 9}, **SMALL)
    longer = CampaignDirectory.prepare(here.path, larger, load_campaign(larger))
    assert submit_campaign(longer) > 0
    work(longer)
    assert {m.n_labels for m in queries.latest_models(longer.store)} == {8 + 9}


def test_after_a_kill_nothing_is_taken_in_twice(tmp_path, write_campaign):
    write_labels(tmp_path / "given.extxyz", 8)
    alone = {"labels": ["given.extxyz"], "stop": {"labels": 3}, "execution": {"workers": 1}}
    file, place = write_campaign(tmp_path / "tiny.yaml", **alone, **SMALL), tmp_path / "run"
    killed = start(file, place)
    while killed.poll() is None and not acknowledged(place):
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    before = acknowledged(place)
    assert 0 < len(before) <= 8 + 3
    submit_campaign(CampaignDirectory.prepare(place, file, load_campaign(file)))
    assert LocalExecutor(place, workers=1).run().ok
    after = acknowledged(place)
    assert before.items() <= after.items() and len(after) == 8 + 3


def test_another_file_is_another_campaign_and_a_moved_one_is_not(tmp_path, write_campaign):
    write_labels(tmp_path / "a.extxyz", 3)
    write_labels(tmp_path / "b.extxyz", 4)
    (tmp_path / "moved.extxyz").write_bytes((tmp_path / "a.extxyz").read_bytes())
    ids = [
        campaign_id(load_campaign(write_campaign(tmp_path / "tiny.yaml", **({"labels": [name]} if name else {}))))
        for name in ("a.extxyz", "moved.extxyz", "b.extxyz", None)
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3


def test_a_file_that_changed_after_submission_is_refused(tmp_path, write_campaign):
    write_labels(tmp_path / "a.extxyz", 3)
    maker = campaign_maker(load_campaign(write_campaign(tmp_path / "tiny.yaml", labels=["a.extxyz"])))
    write_labels(tmp_path / "a.extxyz", 4)
    with pytest.raises(InputError, match="another than when the campaign was submitted"):
        maker.own.dataset()


def test_another_level_is_refused_in_one_line_that_names_both(tmp_path, write_campaign):
    write_labels(tmp_path / "free.extxyz", 4, kind=TUNED)
    spec = load_campaign(write_campaign(tmp_path / "tiny.yaml", labels=["free.extxyz"]))
    with pytest.raises(InputError) as caught:
        require_ready(spec, tmp_path / "run")
    text = str(caught.value)
    assert "\n" not in text
    assert "1 none spin-polarised (kind spin-polarised, not constrained)" in text and "1 none constrained" in text
    assert "`mixed: true`" in text


def test_another_level_starts_every_fit_and_joins_none(tmp_path, write_campaign):
    write_labels(tmp_path / "free.extxyz", 8, kind=TUNED)
    file = write_campaign(
        tmp_path / "tiny.yaml", labels=[{"path": "free.extxyz", "mixed": True}], stop={"labels": 6}, **SMALL
    )
    store = run_in_memory(file)
    first, second = queries.iterations(store)
    assert (first.labels_new, first.assessment, first.streak) == (3, None, 0), "energies of two levels do not compare"
    assert second.assessment is not None
    assert {m.n_labels for m in queries.models(store)} == {3, 6}
    reference = [d["output"] for d in store.query({"output.doc_type": "reference-model"})]
    assert {(d["n_labels"], d["level_of_theory"]["kind"]) for d in reference} == {(8, "spin-polarised")}


def test_labels_without_moments_start_the_fits_and_leave_the_first_batch_to_diversity(tmp_path, write_campaign):
    write_labels(tmp_path / "plain.extxyz", 8, kind=LabelKind.NON_MAGNETIC)
    labels = [{"path": "plain.extxyz", "mixed": True}]
    file = write_campaign(tmp_path / "tiny.yaml", labels=labels, stop={"labels": 6}, **SMALL)
    assert campaign_maker(load_campaign(file)).first_models == []
    (first,) = queries.iterations(run_in_memory(file))
    assert (first.labels_new, first.assessment) == (6, None)


def test_both_at_once_begin_with_an_ensemble_tuned_to_the_own_labels(tmp_path, write_campaign):
    write_labels(tmp_path / "own.extxyz", 5)
    write_labels(tmp_path / "free.extxyz", 8, seed=1, kind=TUNED)
    both = ["own.extxyz", {"path": "free.extxyz", "mixed": True}]
    file = write_campaign(tmp_path / "tiny.yaml", labels=both, stop={"labels": 3}, **SMALL)
    store = run_in_memory(file)
    (only,) = queries.iterations(store)
    assert only.assessment is not None
    assert {m.n_labels for m in queries.models(store)} == {5 + 3}
    purposes = [d.purpose for d in queries.labels(store)]
    assert (purposes.count(Purpose.IMPORTED), purposes.count(Purpose.CAMPAIGN)) == (13, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a.extxyz"], "transfer": {"non_magnetic": 4, "test": 2}}, "either labels or transfer"),
        ({"labels": [{"path": "a.extxyz", "mixed": True}], "train": {"warm_start": True}}, "no train.warm_start"),
        ({"labels": [{"path": "a", "mixed": True, "level_of_theory": "own"}]}, "either mixed: true or"),
        ({"labels": [{"pth": "a"}]}, "did you mean path"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, write_campaign, changes, message):
    with pytest.raises(CampaignFileError, match=message):
        load_campaign(write_campaign(tmp_path / "tiny.yaml", **changes))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "plain.extxyz", "level_of_theory": "own"}, "of another level of theory"),
        ({"path": "own.extxyz", "mixed": True}, "beside labels of the campaign's own level"),
        ({"path": "absent.extxyz"}, "no such file or folder"),
        ({"path": "own.extxyz", "elements": ["Al", "Fe"]}, "means nothing here"),
    ],
)
def test_check_tells_what_is_wrong_with_a_file(tmp_path, write_campaign, entry, message):
    write_labels(tmp_path / "own.extxyz", 3)
    write_labels(tmp_path / "plain.extxyz", 3, kind=LabelKind.NON_MAGNETIC)
    spec = load_campaign(write_campaign(tmp_path / "tiny.yaml", labels=[entry]))
    failed = [probe.detail for probe in check_campaign(spec, tmp_path) if not probe.ok]
    assert len(failed) == 1 and message in failed[0]
