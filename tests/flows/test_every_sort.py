"""Every sort of campaign can be moved, asked, reported and taken up again, and each of its jobs says whose it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from atomate_static import SpinLatticeStaticMaker
from given_labels import write_labels
from running import work

from magflow.campaign.build import campaign_maker
from magflow.campaign.directory import CampaignDirectory
from magflow.campaign.load import load_campaign
from magflow.execution.campaign import failed_labels, retry_campaign, submit_campaign
from magflow.execution.local.queue import JobQueue
from magflow.execution.local.reader import QueueReader
from magflow.makers.documents import Purpose
from magflow.makers.iteration import ActiveLearningMaker
from magflow.makers.label import LabelMaker
from magflow.makers.roles import Category, Phase, Tag
from magflow.report.record import read_record
from magflow.select.reasons import Reason
from magflow.stores import contents, queries
from magflow.stores.jobstore import campaign_store
from magflow.stores.move import copy_campaign

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Sort:
    """How a campaign comes to be: files beside it, changes of the tiny one and its Maker, what is done at its end."""

    changes: dict[str, Any] = field(default_factory=dict)
    files: Callable[[Path], object] = lambda folder: None
    swap: Callable[[ActiveLearningMaker], ActiveLearningMaker] = lambda maker: maker
    then: Callable[[CampaignDirectory], object] | None = None


def with_atomate(maker: ActiveLearningMaker) -> ActiveLearningMaker:
    """The same loop, labelled by a static Maker of atomate2."""
    label = LabelMaker(engine=SpinLatticeStaticMaker(), campaign=maker.campaign)
    return replace(maker, iteration=replace(maker.iteration, label=label))


def retry(here: CampaignDirectory) -> None:
    assert retry_campaign(here)[0] == len(failed_labels(here)) > 0
    work(here)


SORTS = {
    "plain": Sort(),
    "transfer": Sort({"transfer": {"non_magnetic": 6, "test": 4}}),
    "retried": Sort({"seed": 2, "label": {"settings": {"failure_rate": 0.5}}}, then=retry),
    "atomate": Sort(swap=with_atomate),
    "warm": Sort({"labels": ["given.extxyz"]}, files=lambda folder: write_labels(folder / "given.extxyz", 8)),
}


@dataclass(frozen=True)
class Finished:
    here: CampaignDirectory
    maker: ActiveLearningMaker


@pytest.fixture(scope="module", params=SORTS)
def finished(request, tmp_path_factory, write_campaign) -> Finished:
    sort, folder = SORTS[request.param], tmp_path_factory.mktemp(request.param)
    sort.files(folder)
    file = write_campaign(folder / "tiny.yaml", stop={"labels": 12}, **sort.changes)
    here = CampaignDirectory.prepare(folder / "run", file, load_campaign(file))
    maker = sort.swap(campaign_maker(here.spec))
    queue = JobQueue(here.path)
    queue.submit(maker.make())
    work(here)
    if sort.then is not None:
        sort.then(here)
    assert queries.outcome(here.store).reason == "label-budget"
    return Finished(here, maker)


def test_no_maker_of_campaigns_is_left_out(write_campaign, tmp_path):
    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(k) for k in kind.__subclasses__() if k.__module__.startswith("magflow.")))

    made = set()
    for sort in SORTS.values():
        sort.files(tmp_path)
        file = write_campaign(tmp_path / "tiny.yaml", **sort.changes)
        made.add(type(sort.swap(campaign_maker(load_campaign(file)))))
    assert made == below(ActiveLearningMaker)


def test_every_document_is_marked_as_the_campaigns(finished):
    here = finished.here
    documents = list(here.store.query({}, properties=["metadata", "name"]))
    assert {d["metadata"].get("campaign") for d in documents} == {here.id}


def test_every_job_says_what_it_is(finished):
    jobs = QueueReader(finished.here.path).jobs()
    tags = [Tag.read(job.metadata, "a name for people") for job in jobs]
    assert None not in tags
    assert [str(tag.category) for tag in tags] == [job.category for job in jobs]
    fits = [tag for tag in tags if tag.phase in (Phase.TRAIN, Phase.PRETRAIN, Phase.CONTROL)]
    assert {tag.member for tag in fits} == {0, 1} and {tag.category for tag in fits} == {Category.TRAIN}
    first = [tag.category for tag in tags if tag.phase is Phase.EXPLORE and tag.iteration == 0]
    bought = {d.purpose for d in queries.labels(finished.here.store)} - {Purpose.IMPORTED}
    moves = queries.labels(finished.here.store, criteria={"purpose": "imported"})
    assert first == [Category.MD if moves else Category.LIGHT], (
        "without an ensemble there is nothing to move atoms with"
    )
    labels = [tag for tag in tags if tag.category is Category.DFT]
    assert {tag.purpose for tag in labels} == bought and Purpose.CAMPAIGN in bought


def test_all_of_it_moves(finished, tmp_path):
    source, target = finished.here.store, campaign_store(tmp_path)
    target.connect()
    moved = copy_campaign(source, target, finished.here.id)
    assert moved.documents == moved.new == source.count() == target.count()
    assert {d.label_id for d in queries.labels(target)} == {d.label_id for d in queries.labels(source)}
    assert list(contents.frames(target)) == list(contents.frames(source))
    assert contents.latest_ensemble(target).members
    assert queries.outcome(target) == queries.outcome(source)


def test_a_campaign_of_the_first_release_moves_whole_though_some_jobs_are_not_marked(finished, tmp_path):
    source, target = (campaign_store(Path(tempfile.mkdtemp(dir=tmp_path))) for _ in range(2))
    source.connect()
    copy_campaign(finished.here.store, source)
    for document in list(source.docs_store.query({})):
        document["metadata"].pop("campaign")
        source.docs_store.update(document, key=["uuid", "index"])
    stranger = {"uuid": "other", "index": 1, "metadata": {}, "hosts": ["elsewhere"], "output": {}}
    source.docs_store.update(stranger, key=["uuid", "index"])
    target.connect()
    assert copy_campaign(source, target, finished.here.id).documents == finished.here.store.count()


def test_what_was_offered_is_stored_once_and_every_frame_can_be_asked_for(finished):
    here = finished.here
    rows = list(contents.frames(here.store))
    offered = queries.selections(here.store)
    assert len(rows) == sum(d.offered for d in offered)
    assert not any(d.frames for d in offered)
    chosen = [r["frame_id"] for r in rows if Reason(r["reason"]).selected]
    assert sorted(chosen) == sorted(f for d in offered for f in d.selected)
    labelled = {d.frame_id for d in queries.labels(here.store, criteria=queries.CHOSEN)}
    assert labelled == set(chosen)
    some = next(r for r in rows if r["reason"] == "selected" and r["formula"] == "Fe2")
    label = queries.labels(here.store, criteria={"frame_id": some["frame_id"]})[0]
    assert (label.source, label.ordering) == (some["source"], some["ordering"])
    assert label.volume_per_atom == pytest.approx(some["volume"])


def test_it_is_reported(finished):
    record = read_record(finished.here.path)
    assert len(record.usable) + len(record.failed) == 12
    assert [len(pool["volume"]) for pool in record.pools] == [d.offered for d in record.selections]
    transfers = any(label.purpose is Purpose.PRETRAINING for label in record.beside)
    points = record.studies["transfer"].points if transfers else ()
    assert len(points) == (2 * len(record.iterations) if transfers else 0), "two ways to fit in each iteration"


def test_it_is_taken_up_again_without_a_new_job(finished):
    queue = JobQueue(finished.here.path)
    before = QueueReader(finished.here.path).counts()
    assert queue.submit(finished.maker.make()) == 0
    assert submit_campaign(finished.here) == 0
    assert QueueReader(finished.here.path).counts() == before
